/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes the seek table and the list of extents. */
#include "tools/snapshot_editor/seek_table.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	DESCRIPTOR_CHECKSUMS = 0x80,
	DESCRIPTOR_RESERVED = 0x7c,
	CHECKSUM_LEN = 4,
	FRAMES_MAX = 0x8000000, /* as the format has it */
};

static const uint32_t table_frame = 0x184d2a5e;	  /* a skippable frame's magic number */
static const uint32_t table_magic = 0x8f92eab1;	  /* at the end */
static const uint32_t extents_frame = 0x184d2a53; /* another one's */
static const char extents_magic[8] = "squibext";

void seek_table_destroy(struct seek_table *table)
{
	free(table->entries);
	*table = (struct seek_table){0};
}

int seek_table_add(struct seek_table *table, struct seek_entry entry, struct error *err)
{
	/* Grows when the count is a power of two. */
	if ((table->count & (table->count - 1)) == 0) {
		size_t room = table->count == 0 ? 1 : 2 * table->count;
		struct seek_entry *entries =
			reallocarray(table->entries, room, sizeof(*table->entries));

		if (entries == NULL) {
			return error_sys(err, "Cannot allocate the seek table");
		}
		table->entries = entries;
	}
	table->entries[table->count++] = entry;
	table->packed += entry.packed;
	table->plain += entry.plain;
	return 0;
}

int seek_table_write(const struct seek_table *table, uint8_t **bytes, size_t *len,
		     struct error *err)
{
	size_t content = table->count * SEEK_ENTRY_LEN + SEEK_FOOTER_LEN;
	uint8_t *frame = NULL;

	if (table->count > FRAMES_MAX) {
		return error_set(err, ERR_TOO_LARGE, "The file is too long for a seek table");
	}
	frame = malloc(SEEK_HEAD_LEN + content);
	if (frame == NULL) {
		return error_sys(err, "Cannot allocate the seek table");
	}
	store_le32(frame, table_frame);
	store_le32(frame + 4, (uint32_t)content);
	for (size_t i = 0; i < table->count; i++) {
		uint8_t *entry = frame + SEEK_HEAD_LEN + i * SEEK_ENTRY_LEN;

		store_le32(entry, table->entries[i].packed);
		store_le32(entry + 4, table->entries[i].plain);
	}
	uint8_t *footer = frame + SEEK_HEAD_LEN + content - SEEK_FOOTER_LEN;

	store_le32(footer, (uint32_t)table->count);
	footer[4] = 0;
	store_le32(footer + 5, table_magic);
	*bytes = frame;
	*len = SEEK_HEAD_LEN + content;
	return 0;
}

static size_t entry_len(const uint8_t *footer)
{
	return SEEK_ENTRY_LEN + ((footer[4] & DESCRIPTOR_CHECKSUMS) != 0 ? CHECKSUM_LEN : 0);
}

int seek_footer_read(const uint8_t footer[SEEK_FOOTER_LEN], uint64_t file_len, size_t *len,
		     struct error *err)
{
	uint32_t count = load_le32(footer);

	if (load_le32(footer + 5) != table_magic || (footer[4] & DESCRIPTOR_RESERVED) != 0) {
		return error_set(err, ERR_CORRUPT, "It does not end with a seek table");
	}
	uint64_t frame = SEEK_HEAD_LEN + (uint64_t)count * entry_len(footer) + SEEK_FOOTER_LEN;

	if (count > FRAMES_MAX || frame > file_len) {
		return error_set(err, ERR_CORRUPT,
				 "Its seek table has %u frames, which do not fit into the file",
				 count);
	}
	*len = (size_t)frame;
	return 0;
}

int seek_table_read(const uint8_t *bytes, size_t len, uint64_t file_len, struct seek_table *table,
		    struct error *err)
{
	const uint8_t *footer = bytes + len - SEEK_FOOTER_LEN;

	if (load_le32(bytes) != table_frame || load_le32(bytes + 4) != len - SEEK_HEAD_LEN) {
		return error_set(err, ERR_CORRUPT, "Its seek table is no frame");
	}
	for (uint32_t i = 0; i < load_le32(footer); i++) {
		const uint8_t *entry = bytes + SEEK_HEAD_LEN + i * entry_len(footer);

		if (seek_table_add(table,
				   (struct seek_entry){load_le32(entry), load_le32(entry + 4)},
				   err) < 0) {
			return -1;
		}
	}
	if (table->packed != file_len - len) {
		return error_set(
			err, ERR_CORRUPT, "Its seek table is of %llu bytes, and there are %llu",
			(unsigned long long)table->packed, (unsigned long long)(file_len - len));
	}
	return 0;
}

int extents_write(const struct extents *extents, uint64_t file_len, uint8_t **bytes, size_t *len,
		  struct error *err)
{
	uint64_t total = EXTENTS_HEAD_LEN + extents->count * (uint64_t)sizeof(struct extent) +
			 EXTENTS_TAIL_LEN;
	uint8_t *frame = total <= UINT32_MAX ? malloc((size_t)total) : NULL;

	if (frame == NULL) {
		return error_set(err, ERR_TOO_LARGE, "The file has too many holes: %zu",
				 extents->count);
	}
	store_le32(frame, extents_frame);
	store_le32(frame + 4, (uint32_t)total - SEEK_HEAD_LEN);
	memcpy(frame + SEEK_HEAD_LEN, extents_magic, sizeof(extents_magic));
	store_le64(frame + SEEK_HEAD_LEN + sizeof(extents_magic), file_len);
	for (size_t i = 0; i < extents->count; i++) {
		uint8_t *pair = frame + EXTENTS_HEAD_LEN + i * sizeof(struct extent);

		store_le64(pair, extents->items[i].start);
		store_le64(pair + 8, extents->items[i].end);
	}
	uint8_t *tail = frame + total - EXTENTS_TAIL_LEN;

	store_le64(tail, crc64(frame + SEEK_HEAD_LEN, (size_t)(tail - frame) - SEEK_HEAD_LEN));
	*bytes = frame;
	*len = (size_t)total;
	return 0;
}

/* The frame is whole, and of a file of this length. The seek table says the length too. */
static int check_extents(const uint8_t *bytes, size_t len, uint64_t file_len, struct error *err)
{
	const size_t least = EXTENTS_HEAD_LEN + EXTENTS_TAIL_LEN;

	if (len < least || load_le32(bytes + 4) != len - SEEK_HEAD_LEN ||
	    (len - least) % sizeof(struct extent) != 0 ||
	    memcmp(bytes + SEEK_HEAD_LEN, extents_magic, sizeof(extents_magic)) != 0 ||
	    crc64(bytes + SEEK_HEAD_LEN, len - SEEK_HEAD_LEN - EXTENTS_TAIL_LEN) !=
		    load_le64(bytes + len - EXTENTS_TAIL_LEN)) {
		return error_set(err, ERR_CORRUPT, "Its list of holes is damaged");
	}
	if (load_le64(bytes + SEEK_HEAD_LEN + sizeof(extents_magic)) != file_len) {
		return error_set(err, ERR_CORRUPT,
				 "Its seek table is damaged: it is of %llu bytes in place of %llu",
				 (unsigned long long)file_len,
				 (unsigned long long)load_le64(bytes + SEEK_HEAD_LEN +
							       sizeof(extents_magic)));
	}
	return 0;
}

int extents_read(const uint8_t *bytes, size_t len, uint64_t file_len, struct extents *extents,
		 struct error *err)
{
	uint64_t last = 0;

	if (len < SEEK_HEAD_LEN || load_le32(bytes) != extents_frame) {
		return 0;
	}
	if (check_extents(bytes, len, file_len, err) < 0) {
		return -1;
	}
	extents->count = (len - EXTENTS_HEAD_LEN - EXTENTS_TAIL_LEN) / sizeof(struct extent);
	extents->items = calloc(extents->count + 1, sizeof(*extents->items));
	if (extents->items == NULL) {
		return error_sys(err, "Cannot allocate the list of holes");
	}
	for (size_t i = 0; i < extents->count; i++) {
		const uint8_t *pair = bytes + EXTENTS_HEAD_LEN + i * sizeof(struct extent);
		struct extent extent = {load_le64(pair), load_le64(pair + 8)};

		if (extent.start < last || extent.end <= extent.start || extent.end > file_len) {
			return error_set(err, ERR_CORRUPT, "Its list of holes is out of order");
		}
		last = extent.end;
		extents->items[i] = extent;
		extents->bytes += extent.end - extent.start;
	}
	return 1;
}
