/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of files that several processes use [linux fcntl(2), "Open file description locks"]. The
 * kernel compares files whatever their paths, and drops a lock with the last descriptor of the open
 * file that it was taken by. They bind those who ask for them, and nobody else.
 */
#ifndef VMM_BASE_FILE_LOCK_H
#define VMM_BASE_FILE_LOCK_H

#include <stdbool.h>

/* The bytes that stand for something: other programs lock bytes further behind. */
enum file_part {
	FILE_CONTENT, /* the first: who reads shares it, who writes has it alone */
	FILE_WRITER,  /* the second: who is about to write, and waits for nobody */
	FILE_WHOLE,
};

/*
 * Locks a part, or changes the lock that this open file has on it. Returns false if another open
 * file, of this or another process, has a lock that forbids that, and still has it after
 * `patience_ms` (0: does not sleep). A shared lock needs a file that is open for reading, another
 * one a file that is open for writing. Where there are no locks nobody has one: true. Any thread.
 */
bool file_lock(int fd, enum file_part part, bool is_shared, unsigned patience_ms);

/* Keeps errno; fine for what is not locked, and for -1. */
void file_unlock(int fd, enum file_part part);

#endif
