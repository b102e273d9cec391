/* SPDX-License-Identifier: Apache-2.0 */
/* Signing the files of a snapshot, and checking that they are what was signed. */
#ifndef TOOLS_SNAPSHOT_EDITOR_SIGN_H
#define TOOLS_SNAPSHOT_EDITOR_SIGN_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct sign_files {
	const char *state;
	const char *memory;   /* NULL: none */
	const char *manifest; /* NULL: the state's name and ".sig" */
};

/* Writes the manifest of the files, signed by the secret key at `key`. */
MUST_CHECK int sign_snapshot(const struct sign_files *files, const char *key, struct error *err);

/* Checks by the public key at `key`. ERR_CORRUPT names the first chunk that differs. */
MUST_CHECK int sign_check(const struct sign_files *files, const char *key, struct error *err);

#endif
