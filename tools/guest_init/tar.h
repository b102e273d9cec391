/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories as a tar archive, ustar with GNU's long names and what matters of pax: the
 * same code at both ends of squibctl cp. What an archive says is a stranger's word.
 */
#ifndef TOOLS_GUEST_INIT_TAR_H
#define TOOLS_GUEST_INIT_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TAR_BLOCK = 512,
	TAR_PATH_MAX = 4096, /* bytes of a path, with its NUL */
	TAR_DEPTH_MAX = 64,  /* directories in directories that are packed */
	TAR_FAULT_LEN = 512,
};

enum tar_kind {
	TAR_FILE = '0',
	TAR_LINK = '1', /* a hard one */
	TAR_SYMLINK = '2',
	TAR_DIR = '5',
	TAR_LONG_LINK = 'K', /* its bytes are what the next entry links to */
	TAR_LONG_NAME = 'L', /* the next one's name */
	TAR_PAX = 'x',	     /* members of the next one */
	TAR_PAX_ALL = 'g'    /* members of all that come */
};

/* What went wrong. */
struct tar_fault {
	char text[TAR_FAULT_LEN]; /* a sentence; names in it may be a stranger's */
	unsigned left_out;	  /* devices, sockets and the like, which are no fault */
};

/* An entry's head. */
struct tar_head {
	uint8_t kind; /* an enum tar_kind, or one that we don't know */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t size; /* bytes behind the head, up to the next whole block */
	uint64_t mtime;
	char name[TAR_PATH_MAX];
	char link[TAR_PATH_MAX];
};

/* Writes a head. Names that are too long for it are cut: their own entries come before it. */
void tar_head_write(const struct tar_head *head, uint8_t block[TAR_BLOCK]);

/* Reads a head. false: it is none. */
bool tar_head_read(const uint8_t block[TAR_BLOCK], struct tar_head *head);

/* Whether a head has no room for that name, or that link. */
bool tar_is_long(const char *name);

/*
 * Takes the members of a pax entry that are in place of the next head's own: path, linkpath, size.
 * false: they are malformed.
 */
bool tar_pax_read(const char *text, size_t len, struct tar_head *head);

/*
 * Packs a file, or a directory with all that is in it, into an archive. The entries are called as
 * the last part of `path`, or "." where that names a directory by a dot. Links are not followed,
 * but those that `path` leads through. false: see the fault.
 */
bool tar_pack(int out, const char *path, struct tar_fault *fault);

/*
 * Unpacks an archive into the directory `path`; if there is none, its one file or directory is
 * called so. Nothing is made or written outside: names that lead elsewhere are a fault, and a link
 * is never followed. What is made belongs to this process; of modes, set-id bits are left out.
 * false: see the fault; what was unpacked until then stays.
 */
bool tar_unpack(int in, const char *path, struct tar_fault *fault);

#endif
