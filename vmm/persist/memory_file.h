/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as a file: the regions behind each other, raw [compat]. Written sparse: a page of
 * zeroes is a hole.
 */
#ifndef VMM_PERSIST_MEMORY_FILE_H
#define VMM_PERSIST_MEMORY_FILE_H

#include <stdatomic.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"
#include "vmm/persist/page_sets.h"

/* What the sentence begins with if there can't be such a file [compat]. */
extern const char memory_file_cannot_make[];

/*
 * Makes the file at `path` hold all of guest memory, on disk when this returns. A file of just that
 * length is updated in place, also the one that the memory is a private mapping of; of any other
 * file nothing stays. One that another machine has its memory from is refused (memory_lock.h). On
 * failure the file is incomplete. Nothing runs meanwhile. *done, which
 * another process may look at, is how many bytes of guest memory the file has by now, holes too;
 * NULL: nobody looks. VMM thread.
 */
MUST_CHECK int memory_file_save(const struct gmem *mem, const char *path, _Atomic uint64_t *done,
				struct error *err);

/* Whether memory_file_save would get the file, which is made if there is none. VMM thread. */
MUST_CHECK int memory_file_check(const struct gmem *mem, const char *path, struct error *err);

/*
 * The same as memory_file_save to a file that is open for writing, and stays the caller's. It is
 * not synced, since it has no name.
 */
MUST_CHECK int memory_file_write(const struct gmem *mem, int fd, _Atomic uint64_t *done,
				 struct error *err);

/*
 * The same as memory_file_save for the pages of `changed` alone, zeroes among them written as data:
 * a layer for the file that they are changes to, or that file itself.
 */
MUST_CHECK int memory_file_save_pages(const struct gmem *mem, const struct page_sets *changed,
				      const char *path, struct error *err);

/*
 * Copies all that the file has into memory that was just made: what can't be a mapping of a file.
 * One that is too short is ERR_CORRUPT. VMM thread, before any vCPU runs.
 */
MUST_CHECK int memory_file_load(struct gmem *mem, int fd, struct error *err);

/*
 * Fails if the file lacks the page at `base_page` (0: there is no such page), which is not zero in
 * the memory that it is to be: it is a layer that was not merged into its base. The number is not
 * trusted.
 */
MUST_CHECK int memory_file_check_whole(int fd, const char *name, uint64_t base_page,
				       struct error *err);

/* Where data (SEEK_DATA) or a hole (SEEK_HOLE) begins in a file, from `at` on; `end` if not before.
 */
uint64_t memory_file_seek(int fd, uint64_t at, uint64_t end, int whence);

#endif
