/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any head, and heads that are written with any numbers and names. Of pax: a member of any bytes,
 * of each length up to MEMBER and of the longest that are taken and refused. The walk from member
 * to member, tar_pax_read, is called with none here: all of it is shown by wp_tar_pax.c.
 *
 * Options: -eva-precision 2
 */
#include "tests/eva/printf.h"

#include <string.h>

enum {
	MEMBER = 16
};

#define memcmp(one, other, len) (look_at(one, len), look_at(other, len), any_bool())

#include "tools/guest_init/tar.c"

static struct tar_head head;

static void read_head(void)
{
	static uint8_t block[TAR_BLOCK];

	fill(block, sizeof(block));
	if (tar_head_read(block, &head)) {
		keep(head.size + head.mode + head.uid + head.gid + head.mtime + head.kind);
	}
}

static void write_head(void)
{
	static uint8_t block[TAR_BLOCK];

	fill(&head, sizeof(head));
	head.name[TAR_PATH_MAX - 1] = '\0';
	head.link[TAR_PATH_MAX - 1] = '\0';
	keep(tar_is_long(head.name));
	tar_head_write(&head, block);
	keep(block[TAR_BLOCK - 1]);
}

/* At the end of what there is. */
static void take(size_t len)
{
	/* And a byte, for what has no byte to be at. */
	static char text[TAR_PATH_MAX + MEMBER + 1];
	const char *member = text + sizeof(text) - 1 - len;

	fill(text, sizeof(text));
	keep(take_member(member, len, &head));
	keep(head.size);
}

void main(void)
{
	write_head();
	/*@ loop unroll MEMBER + 1; */
	for (size_t len = 0; len <= MEMBER; len++) {
		take(len);
	}
	take(TAR_PATH_MAX + sizeof("linkpath=") - 2);
	take(TAR_PATH_MAX + sizeof("linkpath=") - 1);
	take(TAR_PATH_MAX + MEMBER);
	keep(tar_pax_read("", 0, &head));
	read_head();
}
