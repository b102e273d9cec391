/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of memory files.
 *
 * Theory of operation. The lock of the content says that the file is mapped, by any number, or
 * that one overwrites it. A machine that saves over its own file must give up its share to get the
 * lock alone, and take the share again afterwards: between the two steps another one could begin to
 * write. So who writes has the writer's lock besides, first and last of all.
 */
#include "vmm/persist/memory_lock.h"

#include "vmm/base/file_lock.h"

int memory_lock_share(int fd, const char *name, struct error *err)
{
	return file_lock(fd, FILE_CONTENT, true, 0)
		       ? 0
		       : error_set(err, ERR_BAD_STATE,
				   "%s is being written to by another process, or is the disk of a "
				   "machine: load it when that is done",
				   name);
}

int memory_lock_begin(int fd, int own, const char *name, struct error *err)
{
	if (file_lock(fd, FILE_WRITER, false, 0)) {
		file_unlock(own, FILE_CONTENT);
		if (file_lock(fd, FILE_CONTENT, false, 0)) {
			return 0;
		}
		memory_lock_end(fd, own);
	}
	return error_set(err, ERR_BAD_STATE,
			 "%s is the memory of another machine, or somebody writes to it: what is "
			 "overwritten there would change under its guest. Name another file, or "
			 "end that machine first",
			 name);
}

void memory_lock_end(int fd, int own)
{
	file_unlock(fd, FILE_CONTENT);
	if (own >= 0) {
		(void)file_lock(own, FILE_CONTENT, true, 0);
	}
	file_unlock(fd, FILE_WRITER);
}
