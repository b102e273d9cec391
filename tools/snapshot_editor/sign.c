/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes files chunk by chunk.
 *
 * A chunk in a hole is not read: all of them have the hash of zeroes, which is made once.
 */
#include "tools/snapshot_editor/sign.h"

#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/lib/output.h"
#include "tools/lib/progress.h"
#include "tools/snapshot_editor/extents.h"
#include "tools/snapshot_editor/keys.h"
#include "tools/snapshot_editor/manifest.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

_Static_assert(MANIFEST_HASH_LEN == crypto_generichash_BYTES, "blake2b-256");

/* A file whose chunks are hashed one after the other. */
struct source {
	const char *path;
	const char *what; /* "state" or "memory" */
	int fd;
	uint64_t len;
	struct extents extents;
	size_t next;
	uint8_t *chunk;
	struct manifest_hash zeroes; /* the hash of a whole chunk of them */
};

static void hash_bytes(const uint8_t *bytes, size_t len, struct manifest_hash *hash)
{
	crypto_generichash(hash->bytes, sizeof(hash->bytes), bytes, len, NULL, 0);
}

static int source_open(struct source *source, const char *path, const char *what, struct error *err)
{
	*source = (struct source){.path = path, .what = what, .fd = -1};
	if (fd_open_file(path, path, &source->fd, &source->len, err) < 0) {
		return -1;
	}
	source->chunk = calloc(1, MANIFEST_CHUNK);
	if (source->chunk == NULL) {
		return error_sys(err, "Cannot allocate a chunk");
	}
	hash_bytes(source->chunk, MANIFEST_CHUNK, &source->zeroes);
	return extents_find(source->fd, source->len, &source->extents, err);
}

static void source_close(struct source *source)
{
	extents_destroy(&source->extents);
	free(source->chunk);
	fd_close(&source->fd);
}

static int hash_chunk(struct source *source, size_t index, struct manifest_hash *hash,
		      struct error *err)
{
	uint64_t at = (uint64_t)index * MANIFEST_CHUNK;
	struct extent chunk = {at, min_u64(at + MANIFEST_CHUNK, source->len)};
	size_t len = (size_t)(chunk.end - chunk.start);
	struct extent part;

	if (len == MANIFEST_CHUNK && !extents_next(&source->extents, &source->next, chunk, &part)) {
		*hash = source->zeroes;
		return 0;
	}
	if (pread_full(source->fd, source->chunk, len, at, err) < 0) {
		return error_wrap(err, "%s", source->path);
	}
	hash_bytes(source->chunk, len, hash);
	return 0;
}

/* --- Signing --- */

static int hash_chunks(struct source *source, struct manifest_file *file, struct error *err)
{
	struct progress progress;
	int result = manifest_file_init(file, source->len, err);

	progress_begin(&progress, "hashing", source->len);
	for (size_t i = 0; i < file->count && result == 0; i++) {
		result = hash_chunk(source, i, &file->hashes[i], err);
		progress_set(&progress, (uint64_t)i * MANIFEST_CHUNK);
	}
	progress_end(&progress);
	return result;
}

static int hash_file(const char *path, const char *what, struct manifest_file *file,
		     struct error *err)
{
	struct source source;
	int result = source_open(&source, path, what, err);

	if (result == 0) {
		result = hash_chunks(&source, file, err);
	}
	source_close(&source);
	return result;
}

static int manifest_path(const struct sign_files *files, char path[PATH_MAX], struct error *err)
{
	int len = files->manifest != NULL ? snprintf(path, PATH_MAX, "%s", files->manifest)
					  : snprintf(path, PATH_MAX, "%s.sig", files->state);

	return len < PATH_MAX
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST, "The name of the manifest is too long");
}

static int write_manifest(const struct manifest *manifest, struct output *output, struct error *err)
{
	AUTO_FREE char *text = NULL;

	return manifest_write(manifest, &text, err) < 0 ||
			       output_fill(output, text, strlen(text), err) < 0
		       ? -1
		       : output_commit(output, err);
}

int sign_snapshot(const struct sign_files *files, const char *key, struct error *err)
{
	const char *const inputs[] = {key, files->state, files->memory, NULL};
	struct manifest manifest = {0};
	struct output output = {.fd = -1};
	uint8_t seed[MANIFEST_SEED_LEN];
	char path[PATH_MAX];

	if (keys_read_secret(key, seed, err) < 0) {
		return -1;
	}
	int result = manifest_path(files, path, err);

	if (result == 0) {
		result = output_open(&output, path, inputs, err);
	}
	if (result == 0) {
		result = hash_file(files->state, "state", &manifest.state, err);
	}
	if (result == 0 && files->memory != NULL) {
		result = hash_file(files->memory, "memory", &manifest.memory, err);
	}
	if (result == 0) {
		result = manifest_sign(&manifest, seed, err);
	}
	if (result == 0) {
		result = write_manifest(&manifest, &output, err);
	}
	output_discard(&output);
	sodium_memzero(seed, sizeof(seed));
	manifest_destroy(&manifest);
	return result;
}

/* --- Checking --- */

static int compare_chunks(struct source *source, const struct manifest_file *file,
			  struct error *err)
{
	struct progress progress;
	int result = 0;

	progress_begin(&progress, "checking", source->len);
	for (size_t i = 0; i < file->count && result == 0; i++) {
		struct manifest_hash hash;

		result = hash_chunk(source, i, &hash, err);
		progress_set(&progress, (uint64_t)i * MANIFEST_CHUNK);
		if (result == 0 && memcmp(&hash, &file->hashes[i], sizeof(hash)) != 0) {
			uint64_t at = (uint64_t)i * MANIFEST_CHUNK;

			result = error_set(
				err, ERR_CORRUPT,
				"Chunk %zu of the %s file %s, bytes %llu to %llu, is "
				"not what was signed",
				i, source->what, source->path, (unsigned long long)at,
				(unsigned long long)min_u64(at + MANIFEST_CHUNK, source->len) - 1);
		}
	}
	progress_end(&progress);
	return result;
}

static int compare_file(const char *path, const char *what, const struct manifest_file *file,
			struct error *err)
{
	struct source source;
	int result = source_open(&source, path, what, err);

	if (result == 0 && source.len != file->len) {
		result = error_set(
			err, ERR_CORRUPT,
			"The %s file %s has %llu bytes, and the one that was signed %llu", what,
			path, (unsigned long long)source.len, (unsigned long long)file->len);
	}
	if (result == 0) {
		result = compare_chunks(&source, file, err);
	}
	source_close(&source);
	return result;
}

static int read_manifest(const char *path, struct manifest *manifest, struct error *err)
{
	AUTO_FREE char *text = NULL;
	size_t len;

	if (read_file(path, "The manifest", MANIFEST_TEXT_MAX, &text, &len, err) < 0) {
		return -1;
	}
	return manifest_read(text, len, manifest, err) < 0 ? error_wrap(err, "%s", path) : 0;
}

static int check_files(const struct sign_files *files, const struct manifest *manifest,
		       struct error *err)
{
	if (!manifest->state.is_there) {
		return error_set(err, ERR_CORRUPT, "The manifest is of no state file");
	}
	if (manifest->memory.is_there != (files->memory != NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s",
				 manifest->memory.is_there
					 ? "The manifest is of a memory file too: name it by "
					   "--memory-path"
					 : "The manifest is of no memory file, so this one is not "
					   "known to be good");
	}
	if (compare_file(files->state, "state", &manifest->state, err) < 0) {
		return -1;
	}
	return files->memory == NULL
		       ? 0
		       : compare_file(files->memory, "memory", &manifest->memory, err);
}

int sign_check(const struct sign_files *files, const char *key, struct error *err)
{
	struct manifest manifest = {0};
	uint8_t public_key[MANIFEST_KEY_LEN];
	char path[PATH_MAX];

	if (keys_read_public(key, public_key, err) < 0 || manifest_path(files, path, err) < 0) {
		return -1;
	}
	int result = read_manifest(path, &manifest, err);

	if (result == 0) {
		result = manifest_verify(&manifest, public_key, err);
	}
	if (result == 0) {
		result = check_files(files, &manifest, err);
	}
	manifest_destroy(&manifest);
	return result;
}
