/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of the kind that Linux takes as an initrd: cpio, "newc". */
#ifndef TOOLS_CTL_NEWC_H
#define TOOLS_CTL_NEWC_H

#include <stddef.h>
#include <stdint.h>

struct newc_entry {
	const char *name; /* without a slash in front; NULL ends a list */
	uint32_t mode;	  /* of stat(2) */
	uint32_t major;	  /* of a device */
	uint32_t minor;
	const void *data; /* of a file */
	size_t len;
};

/*
 * Writes an archive of these entries, which all belong to root. Returns its length, or the one that
 * it would have if that is more than `cap`. Equal entries make equal bytes.
 */
size_t newc_write(const struct newc_entry *entries, void *to, size_t cap);

#endif
