/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a compressed file beside its frames, each a frame that decompressors skip:
 *
 *   extents: where the file had data, as pairs of u64 (begin, end); ours
 *   seek table: how long each frame is, compressed and not; the last thing in the file
 *
 * [zstd contrib/seekable_format/zstd_seekable_compression_format.md, 0.1.0]
 */
#ifndef TOOLS_SNAPSHOT_EDITOR_SEEK_TABLE_H
#define TOOLS_SNAPSHOT_EDITOR_SEEK_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "tools/snapshot_editor/extents.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	SEEK_FOOTER_LEN = 9,
	SEEK_HEAD_LEN = 8,
	SEEK_ENTRY_LEN = 8,    /* without a checksum: frames have their own */
	EXTENTS_HEAD_LEN = 24, /* a frame's head, a magic text, the file's length */
	EXTENTS_TAIL_LEN = 8,  /* CRC-64 of all behind the frame's head */
};

struct seek_entry {
	uint32_t packed; /* bytes in the compressed file */
	uint32_t plain;	 /* of the decompressed one */
};

struct seek_table {
	struct seek_entry *entries; /* heap */
	size_t count;
	uint64_t packed; /* where the table's own frame begins: the sum of all */
	uint64_t plain;
};

void seek_table_destroy(struct seek_table *table); /* a zeroed one is fine */

/* Appends an entry. */
MUST_CHECK int seek_table_add(struct seek_table *table, struct seek_entry entry, struct error *err);

/* The table as a frame, a heap block of *len bytes. */
MUST_CHECK int seek_table_write(const struct seek_table *table, uint8_t **bytes, size_t *len,
				struct error *err);

/* How long the frame is, by the last bytes of a file of `file_len` bytes. ERR_CORRUPT: none. */
MUST_CHECK int seek_footer_read(const uint8_t footer[SEEK_FOOTER_LEN], uint64_t file_len,
				size_t *len, struct error *err);

/* Reads the frame at the end of a file of `file_len` bytes into a zeroed table. */
MUST_CHECK int seek_table_read(const uint8_t *bytes, size_t len, uint64_t file_len,
			       struct seek_table *table, struct error *err);

/* The extents of a file of `file_len` bytes as a frame, a heap block of *len bytes. */
MUST_CHECK int extents_write(const struct extents *extents, uint64_t file_len, uint8_t **bytes,
			     size_t *len, struct error *err);

/*
 * Reads such a frame into zeroed *extents, of a file of `file_len` bytes. 1: done; 0: it is
 * another frame; -1, ERR_CORRUPT: it is damaged, or of another file.
 */
MUST_CHECK int extents_read(const uint8_t *bytes, size_t len, uint64_t file_len,
			    struct extents *extents, struct error *err);

#endif
