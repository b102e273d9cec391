/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is signed of a snapshot: the lengths of its files and a hash of each MiB, as JSON:
 *
 *   {"key": HEX, "signature": HEX, "signed": {"chunk_size": 1048576, "hash": "blake2b-256",
 *    "memory": {"chunks": [HEX, ...], "size": N} or null, "state": {...}, "version": 1}}
 *
 * The signature is Ed25519, over the text of "signed" with its keys sorted and without spaces.
 */
#ifndef TOOLS_SNAPSHOT_EDITOR_MANIFEST_H
#define TOOLS_SNAPSHOT_EDITOR_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	MANIFEST_CHUNK =
		1024 * 1024, /* bytes that a hash is of; the last one of a file may be less */
	MANIFEST_HASH_LEN = 32,
	MANIFEST_SEED_LEN = 32, /* a secret key */
	MANIFEST_KEY_LEN = 32,	/* a public one */
	MANIFEST_SIGNATURE_LEN = 64,
	MANIFEST_TEXT_MAX = 256 * 1024 * 1024, /* of a manifest: memory of 3 TiB */
};

struct manifest_hash {
	uint8_t bytes[MANIFEST_HASH_LEN];
};

struct manifest_file {
	bool is_there;
	uint64_t len;
	size_t count; /* of chunks, as len has it */
	struct manifest_hash *hashes;
};

struct manifest {
	struct manifest_file state;
	struct manifest_file memory;
	uint8_t key[MANIFEST_KEY_LEN];
	uint8_t signature[MANIFEST_SIGNATURE_LEN];
};

void manifest_destroy(struct manifest *manifest); /* a zeroed one is fine */

/* Makes room for the hashes of a file of `len` bytes. */
MUST_CHECK int manifest_file_init(struct manifest_file *file, uint64_t len, struct error *err);

/* Sets key and signature. */
MUST_CHECK int manifest_sign(struct manifest *manifest, const uint8_t seed[MANIFEST_SEED_LEN],
			     struct error *err);

/* Whether it was signed by the secret of this public key: ERR_CORRUPT if not. */
MUST_CHECK int manifest_verify(const struct manifest *manifest, const uint8_t key[MANIFEST_KEY_LEN],
			       struct error *err);

/* As text, a heap block. */
MUST_CHECK int manifest_write(const struct manifest *manifest, char **text, struct error *err);

/* Reads a text that nobody trusts into a zeroed manifest. */
MUST_CHECK int manifest_read(const char *text, size_t len, struct manifest *manifest,
			     struct error *err);

#endif
