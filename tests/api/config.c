/* SPDX-License-Identifier: Apache-2.0 */
/* $config{...}: the answer of GET /vm/config, as config.json has it but for some members. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/script.h"

static const char mark[] = "$config";

bool config_expand(struct script *script, struct text *text)
{
	char path[PATH_LEN];

	if (strncmp(text->at, mark, strlen(mark)) != 0) {
		return true;
	}
	snprintf(path, sizeof(path), "%.400s/config.json", env("API_DIR"));
	json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	json_t *others = json_loads(text->at + strlen(mark), JSON_REJECT_DUPLICATES, NULL);
	bool is_ok = config != NULL && json_object_update_recursive(config, others) == 0;
	char *merged = is_ok ? json_dumps(config, JSON_COMPACT) : NULL;

	if (merged != NULL) {
		text->len = strlen(merged);
		memcpy(text->at, merged, text->len + 1);
	}
	is_ok = merged != NULL;
	free(merged);
	json_decref(config);
	json_decref(others);
	return is_ok || script_fail(script, "%s or what follows it is no JSON object", mark);
}
