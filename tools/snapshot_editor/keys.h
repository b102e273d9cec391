/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 keys as files of one line: what it is, and 64 hex digits. */
#ifndef TOOLS_SNAPSHOT_EDITOR_KEYS_H
#define TOOLS_SNAPSHOT_EDITOR_KEYS_H

#include <stdint.h>

#include "tools/snapshot_editor/manifest.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Makes a key: the secret half in a new file at `path`, for its owner alone, the other in path.pub.
 */
MUST_CHECK int keys_make(const char *path, struct error *err);

MUST_CHECK int keys_read_secret(const char *path, uint8_t seed[MANIFEST_SEED_LEN],
				struct error *err);
MUST_CHECK int keys_read_public(const char *path, uint8_t key[MANIFEST_KEY_LEN], struct error *err);

#endif
