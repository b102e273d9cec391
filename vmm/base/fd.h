/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and heap blocks that close themselves, and whole reads. */
#ifndef VMM_BASE_FD_H
#define VMM_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Closes *fd unless it is -1, and sets it to -1. Keeps errno. */
void fd_close(int *fd);

/* Hands a descriptor on: returns *fd and leaves -1 behind. */
int fd_take(int *fd);

/* free(*(void **)pointer), then NULL: the cleanup of AUTO_FREE. */
void free_pointer(void *pointer);

/*
 * For locals only, always initialised: `AUTO_FD fd = -1;`, `AUTO_FREE char *text = NULL;`.
 * Ownership leaves by fd_take or by setting the pointer to NULL.
 */
#define AUTO_FD __attribute__((cleanup(fd_close))) int
#define AUTO_FREE __attribute__((cleanup(free_pointer)))

/*
 * Opens `path` read-only and close-on-exec. Refuses what is not a regular file, since reading a
 * FIFO or a device could block for ever. *len is its size in bytes (may be NULL). `what` names the
 * file's role in the sentence, e.g. "The kernel file".
 */
MUST_CHECK int fd_open_file(const char *path, const char *what, int *fd, uint64_t *len,
			    struct error *err);

/* Reads exactly `len` bytes at `offset`; a shorter file is an error. Retries EINTR. */
MUST_CHECK int pread_full(int fd, void *buf, size_t len, uint64_t offset, struct error *err);

/* Closes all descriptors from 3 on but the `count` ones of `keep` (-1 there is none). */
MUST_CHECK int fd_close_all_but(int *keep, size_t count, struct error *err);

/* Both are of one file, by whatever names they were opened. */
bool fd_is_same_file(int a, int b);

/*
 * Makes sure that descriptors 0 to 2 are open (on /dev/null where they are not), so that no file
 * of ours becomes somebody's standard output. First thing in a process.
 */
MUST_CHECK int fd_open_standard(struct error *err);

/*
 * Raises the process's limit of descriptors to what it may: a shell's soft limit of 1,024 is there
 * for programs that use select(2). Other processes are not affected, the jailer's limit is a hard
 * one.
 */
void fd_raise_limit(void);

/*
 * What a guest makes squib open has a descriptor below this number; those from there on are kept
 * for the API, files that a client names and the like. Before the seccomp filter.
 */
int fd_guest_end(void);

/*
 * Reads the whole of a file of at most `limit` bytes into a fresh NUL-terminated heap block, which
 * the caller frees. *len is without the NUL.
 */
MUST_CHECK int read_file(const char *path, const char *what, size_t limit, char **text, size_t *len,
			 struct error *err);

#endif
