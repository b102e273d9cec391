/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a memory file. A machine that is loaded has it mapped, and shares a lock on it with
 * others for as long as it has; whoever overwrites the file has the lock alone. See file_lock.h for
 * where these locks hold.
 */
#ifndef VMM_PERSIST_MEMORY_LOCK_H
#define VMM_PERSIST_MEMORY_LOCK_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Before a file that is open for reading is mapped; the lock lasts until it is closed, also by
 * another process that has inherited it. Fails while the file is being overwritten. VMM thread.
 */
MUST_CHECK int memory_lock_share(int fd, const char *name, struct error *err);

/*
 * Before a file that is open for writing is overwritten. `own`: the caller's own memory is mapped
 * from the same file by this descriptor, whose lock is given up meanwhile; else -1. Fails where
 * somebody else has the file, and then nothing has changed.
 */
MUST_CHECK int memory_lock_begin(int fd, int own, const char *name, struct error *err);

/* Done, well or not: `own` has its lock again. Before `fd` is closed. */
void memory_lock_end(int fd, int own);

#endif
