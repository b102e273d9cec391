/* SPDX-License-Identifier: Apache-2.0 */
/* What FRAME_RUN says: a command and how it is run. */
#ifndef TOOLS_GUEST_INIT_RUN_REQUEST_H
#define TOOLS_GUEST_INIT_RUN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RUN_WORDS_MAX = 1024, /* of a command, and variables of its environment */
	RUN_MOUNTS_MAX = 8,
};

enum run_flag {
	RUN_TTY = 1,	 /* with a terminal */
	RUN_STDIN = 2,	 /* with an input; without, it is empty */
	RUN_MAIN = 4,	 /* the machine ends with it */
	RUN_PACK = 8,	 /* no program: the word is a path, packed as an archive (tar.h) */
	RUN_UNPACK = 16, /* the same, where the archive that is the input is unpacked */
	RUN_TAKE = 32,	 /* no program: the connection is that of the main command from now on */
	RUN_FLAGS = 63
};

struct run_request {
	uint32_t flags;
	uint32_t rows; /* of the terminal; 0: nobody knows */
	uint32_t columns;
	uint64_t clock_s; /* seconds since 1970, to set a clock that is far from it; 0: leave it */
	const char *host; /* name of the machine; "": leave it */
	const char *user; /* NAME|UID[:GROUP|GID]; "": root */
	const char *dir;  /* to run in, made if it is not there; "": / */
	unsigned word_count;
	unsigned env_count;
	unsigned mount_count;
	const char *words[RUN_WORDS_MAX + 1]; /* NULL ends them */
	const char *env[RUN_WORDS_MAX + 1];   /* NAME=VALUE */
	const char *mounts[RUN_MOUNTS_MAX];   /* "TAG ro PATH" or "TAG rw PATH", of virtio-fs */
};

/* Writes the payload of a frame. Returns its length; 0: it is longer than `cap` bytes. */
size_t run_request_write(const struct run_request *request, uint8_t *to, size_t cap);

/* Reads one. The strings are in `from`. false: it is none. */
bool run_request_read(const uint8_t *from, size_t len, struct run_request *request);

#endif
