/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests of snapshots as JSON, and their signatures. */
#include "tools/snapshot_editor/manifest.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"

enum {
	VERSION = 1,
	LEN_MAX_BITS = 53, /* of a file's length, so that every reader of JSON keeps it */
};

static const char hash_name[] = "blake2b-256";

_Static_assert(MANIFEST_SEED_LEN == crypto_sign_SEEDBYTES, "Ed25519");
_Static_assert(MANIFEST_KEY_LEN == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(MANIFEST_SIGNATURE_LEN == crypto_sign_BYTES, "Ed25519");

static int no_memory(struct error *err)
{
	return error_set(err, ERR_HOST, "There is no memory for the manifest");
}

void manifest_destroy(struct manifest *manifest)
{
	free(manifest->state.hashes);
	free(manifest->memory.hashes);
	*manifest = (struct manifest){0};
}

int manifest_file_init(struct manifest_file *file, uint64_t len, struct error *err)
{
	size_t count = (size_t)(len / MANIFEST_CHUNK + (len % MANIFEST_CHUNK != 0));

	*file = (struct manifest_file){.is_there = true, .len = len, .count = count};
	file->hashes = calloc(count + 1, sizeof(*file->hashes));
	if (file->hashes == NULL) {
		(void)no_memory(err);
		return -1;
	}
	return 0;
}

/* --- Writing --- */

static json_t *hex_json(const uint8_t *bytes, size_t len)
{
	char text[2 * MANIFEST_SIGNATURE_LEN + 1];

	return json_string(sodium_bin2hex(text, sizeof(text), bytes, len));
}

/* NULL: there is no memory. */
static json_t *file_json(const struct manifest_file *file)
{
	json_t *chunks = json_array();

	if (!file->is_there) {
		json_decref(chunks);
		return json_null();
	}
	for (size_t i = 0; i < file->count; i++) {
		if (json_array_append_new(chunks,
					  hex_json(file->hashes[i].bytes, MANIFEST_HASH_LEN)) < 0) {
			json_decref(chunks);
			return NULL;
		}
	}
	return json_pack("{s:I, s:o}", "size", (json_int_t)file->len, "chunks", chunks);
}

static json_t *signed_json(const struct manifest *manifest)
{
	return json_pack("{s:i, s:i, s:s, s:o, s:o}", "version", VERSION, "chunk_size",
			 MANIFEST_CHUNK, "hash", hash_name, "state", file_json(&manifest->state),
			 "memory", file_json(&manifest->memory));
}

/* The text that is signed, a heap block; NULL: there is no memory. */
static char *signed_text(const struct manifest *manifest)
{
	json_t *json = signed_json(manifest);
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(json);
	return text;
}

int manifest_write(const struct manifest *manifest, char **text, struct error *err)
{
	json_t *json =
		json_pack("{s:o, s:o, s:o}", "key", hex_json(manifest->key, MANIFEST_KEY_LEN),
			  "signature", hex_json(manifest->signature, MANIFEST_SIGNATURE_LEN),
			  "signed", signed_json(manifest));

	*text = json_dumps(json, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(json);
	return *text != NULL ? 0 : no_memory(err);
}

/* --- Signatures --- */

int manifest_sign(struct manifest *manifest, const uint8_t seed[MANIFEST_SEED_LEN],
		  struct error *err)
{
	AUTO_FREE char *text = signed_text(manifest);
	uint8_t secret[crypto_sign_SECRETKEYBYTES];

	if (text == NULL) {
		return no_memory(err);
	}
	crypto_sign_seed_keypair(manifest->key, secret, seed);
	crypto_sign_detached(manifest->signature, NULL, (const uint8_t *)text, strlen(text),
			     secret);
	sodium_memzero(secret, sizeof(secret));
	return 0;
}

int manifest_verify(const struct manifest *manifest, const uint8_t key[MANIFEST_KEY_LEN],
		    struct error *err)
{
	AUTO_FREE char *text = signed_text(manifest);

	if (text == NULL) {
		return no_memory(err);
	}
	if (memcmp(key, manifest->key, MANIFEST_KEY_LEN) != 0) {
		return error_set(err, ERR_CORRUPT, "The manifest was signed by another key");
	}
	if (crypto_sign_verify_detached(manifest->signature, (const uint8_t *)text, strlen(text),
					key) != 0) {
		return error_set(err, ERR_CORRUPT,
				 "The signature is not of this manifest: it was changed");
	}
	return 0;
}

/* --- Reading --- */

static int bad(struct error *err, const char *what)
{
	return error_set(err, ERR_CORRUPT, "This is no manifest: %s", what);
}

static bool read_hex(const json_t *json, uint8_t *bytes, size_t len)
{
	const char *text = json_string_value(json);
	size_t read_len = 0;

	return text != NULL && strlen(text) == 2 * len &&
	       sodium_hex2bin(bytes, len, text, 2 * len, NULL, &read_len, NULL) == 0 &&
	       read_len == len;
}

static int read_manifest_file(json_t *json, struct manifest_file *file, struct error *err)
{
	const json_t *size = json_object_get(json, "size");
	const json_t *chunks = json_object_get(json, "chunks");
	json_int_t len = json_integer_value(size);

	if (json_is_null(json)) {
		return 0;
	}
	if (!json_is_integer(size) || len < 0 || len >> LEN_MAX_BITS != 0 ||
	    json_object_size(json) != 2) {
		return bad(err, "a file's size is missing or no size");
	}
	uint64_t count = (uint64_t)len / MANIFEST_CHUNK + (len % MANIFEST_CHUNK != 0);

	if (!json_is_array(chunks) || json_array_size(chunks) != count) {
		return bad(err, "there are not as many chunks as a file of its size has");
	}
	if (manifest_file_init(file, (uint64_t)len, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < file->count; i++) {
		if (!read_hex(json_array_get(chunks, i), file->hashes[i].bytes,
			      MANIFEST_HASH_LEN)) {
			return bad(err, "a chunk's hash is none");
		}
	}
	return 0;
}

static int read_root(const json_t *root, struct manifest *manifest, struct error *err)
{
	const json_t *body = json_object_get(root, "signed");
	const char *hash = json_string_value(json_object_get(body, "hash"));

	if (!json_is_object(body) || json_object_size(body) != 5) {
		return bad(err, "it has no object \"signed\" of five members");
	}
	if (json_integer_value(json_object_get(body, "version")) != VERSION) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The manifest has another version than %d, the one that is known",
				 VERSION);
	}
	if (hash == NULL || strcmp(hash, hash_name) != 0 ||
	    json_integer_value(json_object_get(body, "chunk_size")) != MANIFEST_CHUNK) {
		return bad(err, "it has other chunks than those of 1 MiB, by blake2b-256");
	}
	if (!read_hex(json_object_get(root, "key"), manifest->key, MANIFEST_KEY_LEN) ||
	    !read_hex(json_object_get(root, "signature"), manifest->signature,
		      MANIFEST_SIGNATURE_LEN)) {
		return bad(err, "its key or signature is missing or too short");
	}
	return read_manifest_file(json_object_get(body, "state"), &manifest->state, err) < 0
		       ? -1
		       : read_manifest_file(json_object_get(body, "memory"), &manifest->memory,
					    err);
}

int manifest_read(const char *text, size_t len, struct manifest *manifest, struct error *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	int result = root != NULL ? read_root(root, manifest, err) : bad(err, why.text);

	json_decref(root);
	return result;
}
