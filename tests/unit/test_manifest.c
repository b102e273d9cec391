/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/snapshot_editor/manifest.c. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tools/snapshot_editor/manifest.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static const uint8_t seed[MANIFEST_SEED_LEN] = {1, 2, 3};

/* A state of 5 bytes and a memory of one MiB and a byte, signed. */
static void make(struct manifest *manifest)
{
	struct error err = {0};

	*manifest = (struct manifest){0};
	cr_assert(sodium_init() >= 0);
	cr_assert_eq(manifest_file_init(&manifest->state, 5, &err), 0);
	cr_assert_eq(manifest_file_init(&manifest->memory, MANIFEST_CHUNK + 1, &err), 0);
	cr_assert(manifest->state.count == 1 && manifest->memory.count == 2);
	manifest->memory.hashes[1].bytes[0] = 7;
	cr_assert_eq(manifest_sign(manifest, seed, &err), 0, "%s", err.msg);
}

static char *text_of(const struct manifest *manifest)
{
	char *text = NULL;
	struct error err = {0};

	cr_assert_eq(manifest_write(manifest, &text, &err), 0, "%s", err.msg);
	return text;
}

Test(manifest, what_is_written_is_read_and_its_signature_holds)
{
	struct manifest manifest;
	struct manifest again = {0};
	struct error err = {0};

	make(&manifest);
	AUTO_FREE char *text = text_of(&manifest);

	cr_assert_eq(manifest_read(text, strlen(text), &again, &err), 0, "%s", err.msg);
	cr_expect(again.state.len == 5 && again.memory.len == MANIFEST_CHUNK + 1);
	cr_expect_eq(again.memory.hashes[1].bytes[0], 7);
	cr_expect_eq(manifest_verify(&again, manifest.key, &err), 0, "%s", err.msg);
	manifest_destroy(&manifest);
	manifest_destroy(&again);
}

/* What is signed is text that other programs can make: keys sorted, no spaces. */
Test(manifest, the_signature_is_of_a_text_that_anybody_can_make)
{
	struct manifest manifest;

	make(&manifest);
	AUTO_FREE char *text = text_of(&manifest);
	json_t *json = json_loads(text, 0, NULL);
	AUTO_FREE char *body =
		json_dumps(json_object_get(json, "signed"), JSON_COMPACT | JSON_SORT_KEYS);

	cr_expect(strncmp(body, "{\"chunk_size\":1048576,\"hash\":\"blake2b-256\",\"memory\":{",
			  52) == 0,
		  "%s", body);
	cr_expect_eq(crypto_sign_verify_detached(manifest.signature, (const uint8_t *)body,
						 strlen(body), manifest.key),
		     0);
	json_decref(json);
	manifest_destroy(&manifest);
}

Test(manifest, a_snapshot_without_memory_has_null_for_it)
{
	struct manifest manifest;
	struct manifest again = {0};
	struct error err = {0};

	make(&manifest);
	free(manifest.memory.hashes);
	manifest.memory = (struct manifest_file){0};
	cr_assert_eq(manifest_sign(&manifest, seed, &err), 0);
	AUTO_FREE char *text = text_of(&manifest);

	cr_expect_not_null(strstr(text, "\"memory\": null"), "%s", text);
	cr_assert_eq(manifest_read(text, strlen(text), &again, &err), 0, "%s", err.msg);
	cr_expect(!again.memory.is_there && again.state.is_there);
	cr_expect_eq(manifest_verify(&again, manifest.key, &err), 0);
	manifest_destroy(&manifest);
	manifest_destroy(&again);
}

Test(manifest, one_that_was_changed_or_signed_by_others_is_refused)
{
	struct manifest manifest;
	uint8_t other[MANIFEST_KEY_LEN];
	struct error err = {0};

	make(&manifest);
	memcpy(other, manifest.key, sizeof(other));
	other[0] ^= 1;
	cr_expect_eq(manifest_verify(&manifest, other, &err), -1);
	cr_expect_str_eq(err.msg, "The manifest was signed by another key");
	error_clear(&err);
	manifest.memory.hashes[1].bytes[31] ^= 1;
	cr_expect_eq(manifest_verify(&manifest, manifest.key, &err), -1);
	cr_expect_str_eq(err.msg, "The signature is not of this manifest: it was changed");
	error_clear(&err);
	manifest.memory.hashes[1].bytes[31] ^= 1;
	manifest.memory.len--; /* the same number of chunks */
	cr_expect_eq(manifest_verify(&manifest, manifest.key, &err), -1);
	manifest_destroy(&manifest);
}

/* Replaces the first `from` in a good manifest's text. */
static char *changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out = NULL;

	cr_assert_not_null(at, "%s", from);
	cr_assert(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

Test(manifest, what_is_none_is_refused)
{
	static const struct {
		const char *from;
		const char *to;
		const char *msg;
	} cases[] = {
		{"{", "[", "This is no manifest: "},
		{"\"signed\"", "\"sinned\"", "it has no object \"signed\" of five members"},
		{"\"version\": 1", "\"version\": 2", "The manifest has another version than 1"},
		{"\"version\": 1", "\"version\": 1, \"more\": 1", "of five members"},
		{"blake2b-256", "blake2b-255", "it has other chunks"},
		{"1048576", "1048577", "it has other chunks"},
		{"\"key\": \"", "\"key\": \"0", "its key or signature is missing"},
		{"\"signature\": \"", "\"signature\": \"x", "its key or signature is missing"},
		{"\"size\": 1048577", "\"size\": -1", "a file's size is missing"},
		{"\"size\": 1048577", "\"size\": 9007199254740992", "a file's size is missing"},
		{"\"size\": 1048577", "\"size\": 1048576", "not as many chunks"},
		{"\"size\": 1048577", "\"size\": 2097153", "not as many chunks"},
		{"\"07", "\"g7", "a chunk's hash is none"},
		{"\"07", "\"7", "a chunk's hash is none"},
		{"\"state\": {", "\"state\": {\"x\": 1, ", "a file's size is missing"},
	};
	struct manifest manifest;

	make(&manifest);
	AUTO_FREE char *text = text_of(&manifest);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		AUTO_FREE char *bad = changed(text, cases[i].from, cases[i].to);
		struct manifest again = {0};
		struct error err = {0};

		cr_expect_eq(manifest_read(bad, strlen(bad), &again, &err), -1, "case %zu", i);
		cr_expect_not_null(strstr(err.msg, cases[i].msg), "case %zu: %s", i, err.msg);
		manifest_destroy(&again);
	}
	manifest_destroy(&manifest);
}
