/* SPDX-License-Identifier: Apache-2.0 */
/* [linux Documentation/driver-api/early-userspace/buffer-format.rst] */
#include "tools/squibctl/ctl_newc.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/base/bytes.h"

enum {
	ALIGN = 4,
	HEAD_LEN = 110, /* "070701" and 13 numbers of 8 hexadecimal digits */
};

struct archive {
	uint8_t *to;
	size_t cap;
	size_t len;
};

static void add(struct archive *archive, const void *data, size_t len)
{
	if (len > 0 && archive->len <= archive->cap && len <= archive->cap - archive->len) {
		memcpy(archive->to + archive->len, data, len);
	}
	archive->len += len;
}

static void pad(struct archive *archive)
{
	static const uint8_t zeroes[ALIGN];

	add(archive, zeroes, align_up(archive->len, ALIGN) - archive->len);
}

static void add_entry(struct archive *archive, const struct newc_entry *entry, unsigned inode)
{
	char head[HEAD_LEN + 1];
	size_t name_len = strlen(entry->name) + 1;
	unsigned links = S_ISDIR(entry->mode) ? 2 : 1;

	snprintf(head, sizeof(head), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 inode, entry->mode, 0, 0, links, 0, (unsigned)entry->len, 0, 0, entry->major,
		 entry->minor, (unsigned)name_len, 0);
	add(archive, head, HEAD_LEN);
	add(archive, entry->name, name_len);
	pad(archive);
	add(archive, entry->data, entry->len);
	pad(archive);
}

size_t newc_write(const struct newc_entry *entries, void *to, size_t cap)
{
	static const struct newc_entry end = {.name = "TRAILER!!!"};
	struct archive archive = {.to = to, .cap = cap};
	unsigned inode = 1;

	for (const struct newc_entry *entry = entries; entry->name != NULL; entry++) {
		add_entry(&archive, entry, inode++);
	}
	add_entry(&archive, &end, 0);
	return archive.len;
}
