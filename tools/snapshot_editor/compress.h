/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory files, compressed: zstd frames of 1 MiB each that stand for themselves, with a seek table,
 * so that any part can be had without the others; `zstd -d` reads them too. Holes stay holes, and
 * zeroes stay data: layers can be compressed.
 */
#ifndef TOOLS_SNAPSHOT_EDITOR_COMPRESS_H
#define TOOLS_SNAPSHOT_EDITOR_COMPRESS_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	COMPRESS_CHUNK = 1024 * 1024,
	COMPRESS_LEVEL = 3,
	COMPRESS_LEVEL_MIN = 1,
	COMPRESS_LEVEL_MAX = 19,
};

/* Both write the file `to`, which is complete and on disk when they return, or as it was. */
MUST_CHECK int compress_file(const char *from, const char *to, int level, struct error *err);

/* ERR_CORRUPT names the first frame that is damaged. */
MUST_CHECK int decompress_file(const char *from, const char *to, struct error *err);

#endif
