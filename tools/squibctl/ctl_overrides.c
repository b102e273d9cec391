/* SPDX-License-Identifier: Apache-2.0 */
/* Overrides of squibctl's command line as JSON. */
#include "tools/squibctl/ctl_overrides.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"

char *ctl_expand(const char *pattern, unsigned long number)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL) {
		return NULL;
	}
	for (const char *at = pattern; *at != '\0'; at++) {
		if (*at == '%' && number != 0) {
			fprintf(out, "%lu", number);
		} else {
			fputc(*at, out);
		}
	}
	return fclose(out) == 0 ? text : NULL;
}

json_t *ctl_expanded(const char *pattern, unsigned long number)
{
	AUTO_FREE char *text = ctl_expand(pattern, number);

	return text != NULL ? json_string(text) : NULL;
}

json_t *ctl_overrides(const struct ctl_words *words, const char *id_key, const char *key,
		      unsigned long number)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < words->count; i++) {
		const char *word = words->items[i];
		size_t id_len = strcspn(word, "=");
		json_t *item = json_pack("{s:s%, s:o}", id_key, word, id_len, key,
					 ctl_expanded(word + id_len + 1, number));

		if (json_array_append_new(list, item) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
