/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes metadata: the input is a document, a patch and a path, with the byte 1 between them. What
 * is written must read back as the same, a patch must change nothing when it comes again, and a
 * value has the length that was measured.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/mmds_json.h"
#include "devices/mmds/mmds_store.h"
#include "tests/fuzz/fuzz.h"

enum {
	LIMIT = 256 * 1024,
	MARK = 1
};

static char *print(json_t *value, size_t *len)
{
	char *text;

	*len = mmds_json_print(value, NULL);
	text = malloc(*len + 1);
	require(text != NULL && mmds_json_print(value, text) == *len);
	text[*len] = '\0';
	return text;
}

static bool read_text(const char *text, size_t len, json_t **document)
{
	struct error err = {0};
	/* No longer than it is, so that the sanitizer sees what is read beyond it. */
	char *copy = malloc(len + (len == 0));
	bool is_good;

	require(copy != NULL);
	memcpy(copy, text, len);
	is_good = mmds_json_load(copy, len, "Bad", document, &err) == 0;
	free(copy);
	if (!is_good) {
		require_fault(&err);
	}
	return is_good;
}

/* What was written is read and written again. */
static void check_round(json_t *value)
{
	size_t len;
	size_t again_len;
	char *text = print(value, &len);
	char *again;
	json_t *document;

	require(read_text(text, len, &document));
	again = print(document, &again_len);
	require(len == again_len && memcmp(text, again, len) == 0);
	json_decref(document);
	free(again);
	free(text);
}

/* Stores a document, which is the callee's; false: it does not fit. */
static bool put(struct mmds_store *store, json_t *document)
{
	struct error err = {0};
	bool is_put = mmds_store_put(store, &document, mmds_json_print(document, NULL), &err) == 0;

	require(is_put || err.kind == ERR_NO_ROOM);
	json_decref(document);
	return is_put;
}

/* The document stays as it was, whoever has it. */
static json_t *merge(json_t *document, json_t *patch)
{
	size_t lens[2];
	char *before = print(document, &lens[0]);
	json_t *merged = mmds_store_merge(document, patch);
	char *after = print(document, &lens[1]);

	require(merged != NULL);
	require(lens[0] == lens[1] && memcmp(before, after, lens[0]) == 0);
	free(before);
	free(after);
	return merged;
}

static void check_patch(struct mmds_store *store, const char *text, size_t len)
{
	json_t *patch;
	size_t lens[2];
	char *texts[2];

	if (!read_text(text, len, &patch)) {
		return;
	}
	for (size_t i = 0; i < 2; i++) {
		json_t *merged = merge(store->document, patch);

		texts[i] = print(merged, &lens[i]);
		(void)put(store, merged);
	}
	require(lens[0] == lens[1] && memcmp(texts[0], texts[1], lens[0]) == 0);
	free(texts[0]);
	free(texts[1]);
	json_decref(patch);
	check_round(store->document);
}

static void check_path(const struct mmds_store *store, const char *path)
{
	json_t *value = mmds_store_find(store, path);
	size_t len;
	size_t written;

	if (value == NULL) {
		return;
	}
	check_round(value);
	if (mmds_store_print_imds(value, NULL, &len) == 0) {
		char *text = malloc(len + (len == 0));

		require(text != NULL && mmds_store_print_imds(value, text, &written) == 0 &&
			written == len);
		free(text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *parts[3];
	size_t lens[3];
	struct mmds_store store;
	json_t *document;

	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		const uint8_t *end = size > 0 ? memchr(data, MARK, size) : NULL;

		lens[i] = end != NULL ? (size_t)(end - data) : size;
		parts[i] = malloc(lens[i] + 1);
		require(parts[i] != NULL);
		memcpy(parts[i], data, lens[i]);
		parts[i][lens[i]] = '\0';
		data += lens[i] + (end != NULL);
		size -= lens[i] + (end != NULL);
	}
	mmds_store_init(&store, LIMIT);
	if (read_text(parts[0], lens[0], &document)) {
		check_round(document);
		if (put(&store, document)) {
			check_patch(&store, parts[1], lens[1]);
		}
		check_path(&store, parts[2]);
	}
	mmds_store_destroy(&store);
	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		free(parts[i]);
	}
	return 0;
}
