/* SPDX-License-Identifier: Apache-2.0 */
/* Puts, patches and finds metadata. The sentences are [compat]. */
#include "devices/mmds/mmds_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/mmds_json.h"
#include "vmm/base/bytes.h"
#include "vmm/base/http.h"
#include "vmm/base/json.h"

void mmds_store_init(struct mmds_store *store, uint64_t limit)
{
	*store = (struct mmds_store){.document = json_null(), .limit = limit};
}

void mmds_store_destroy(struct mmds_store *store)
{
	json_decref(store->document);
	*store = (struct mmds_store){0};
}

/* --- Changes --- */

int mmds_store_put(struct mmds_store *store, json_t **document, size_t len, struct error *err)
{
	json_t *old = store->document;

	if (len > store->limit) {
		return error_set(err, ERR_NO_ROOM, "The MMDS patch request doesn't fit.");
	}
	store->document = *document;
	store->is_put = true;
	*document = old;
	return 0;
}

/* Objects of the new document that a patch is being merged into, each with the patch's own. */
struct merge {
	struct {
		json_t *target;
		json_t *patch;
		void *iter; /* the next member of the patch */
	} levels[JSON_DEPTH_MAX];
	size_t depth;
};

static void enter(struct merge *merge, json_t *target, json_t *patch)
{
	assert(merge->depth < ARRAY_COUNT(merge->levels));
	merge->levels[merge->depth].target = target;
	merge->levels[merge->depth].patch = patch;
	merge->levels[merge->depth++].iter = json_object_iter(patch);
}

/* A member of the patch: takes one away, goes into an object, or takes the place of anything. */
static int merge_member(struct merge *merge, json_t *target, const char *key, json_t *value)
{
	json_t *old = json_object_get(target, key);
	json_t *entered;

	if (json_is_null(value)) {
		json_object_del(target, key);
		return 0;
	}
	if (!json_is_object(value)) {
		return json_object_set_nocheck(target, key, value);
	}
	/* The old one is the old document's as well: its members change in a copy. */
	entered = json_is_object(old) ? json_copy(old) : json_object();
	if (json_object_set_new_nocheck(target, key, entered) < 0) {
		return -1;
	}
	enter(merge, entered, value);
	return 0;
}

static int merge_objects(json_t *target, json_t *patch)
{
	struct merge merge = {.depth = 0};

	enter(&merge, target, patch);
	while (merge.depth > 0) {
		json_t *into = merge.levels[merge.depth - 1].target;
		json_t *from = merge.levels[merge.depth - 1].patch;
		void *iter = merge.levels[merge.depth - 1].iter;

		if (iter == NULL) {
			merge.depth--;
			if (mmds_json_sort(into) < 0) {
				return -1;
			}
			continue;
		}
		merge.levels[merge.depth - 1].iter = json_object_iter_next(from, iter);
		if (merge_member(&merge, into, json_object_iter_key(iter),
				 json_object_iter_value(iter)) < 0) {
			return -1;
		}
	}
	return 0;
}

json_t *mmds_store_merge(json_t *document, json_t *patch)
{
	json_t *merged;

	if (!json_is_object(patch)) {
		return json_incref(patch);
	}
	merged = json_is_object(document) ? json_copy(document) : json_object();
	if (merged != NULL && merge_objects(merged, patch) < 0) {
		json_decref(merged);
		return NULL;
	}
	return merged;
}

/* --- Paths --- */

/* An element's number, written without a sign and without zeros in front. */
static json_t *find_element(const json_t *array, const char *token, size_t len)
{
	size_t index = 0;

	if (len == 0 || (token[0] == '0' && len > 1)) {
		return NULL;
	}
	for (size_t i = 0; i < len; i++) {
		if (token[i] < '0' || token[i] > '9' ||
		    __builtin_mul_overflow(index, (size_t)10, &index) ||
		    __builtin_add_overflow(index, (size_t)(token[i] - '0'), &index)) {
			return NULL;
		}
	}
	return json_array_get(array, index);
}

/* Copies a token with its escapes undone, NUL-terminated; returns its length. */
static size_t unescape(const char *token, size_t len, char to[HTTP_LINE_LEN])
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		char c = token[i];

		if (c == '~' && i + 1 < len && (token[i + 1] == '0' || token[i + 1] == '1')) {
			c = token[++i] == '0' ? '~' : '/';
		}
		to[used++] = c;
	}
	to[used] = '\0';
	return used;
}

/* Cuts the next token off *path, which is at slashes. false: the path ends in at most one. */
static bool next_token(const char **path, const char **token, size_t *len)
{
	*path += strspn(*path, "/");
	*token = *path;
	*len = strcspn(*path, "/");
	*path += *len;
	return *len > 0;
}

json_t *mmds_store_find(const struct mmds_store *store, const char *path)
{
	json_t *value = store->document;
	char key[HTTP_LINE_LEN];
	const char *token;
	size_t len;

	while (value != NULL && next_token(&path, &token, &len)) {
		if (len >= sizeof(key)) {
			return NULL;
		}
		len = unescape(token, len, key);
		value = json_is_array(value) ? find_element(value, key, len)
					     : json_object_get(value, key);
	}
	return value;
}

/* --- EC2's format --- */

static size_t put(char *to, size_t len, const char *text, size_t text_len)
{
	if (to != NULL) {
		memcpy(to + len, text, text_len);
	}
	return len + text_len;
}

int mmds_store_print_imds(json_t *value, char *to, size_t *len)
{
	const char *text = mmds_json_string(value, len);
	void *first = json_object_iter(value);
	void *iter;

	if (text != NULL) {
		(void)put(to, 0, text, *len);
		return 0;
	}
	if (!json_is_object(value)) {
		return -1;
	}
	*len = 0;
	for (iter = first; iter != NULL; iter = json_object_iter_next(value, iter)) {
		const char *key = json_object_iter_key(iter);

		if (iter != first) {
			*len = put(to, *len, "\n", 1);
		}
		*len = put(to, *len, key, strlen(key));
		if (json_is_object(json_object_iter_value(iter))) {
			*len = put(to, *len, "/", 1);
		}
	}
	return 0;
}
