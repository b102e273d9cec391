/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that one machine writes to are no other's. Those of raw drives and of pmem devices are
 * locked from the machine's start on, shared if all its devices on the file only read. Overlays
 * lock themselves. VMM thread. [docs/block.md]
 */
#ifndef VMM_RESOURCES_CLAIMS_H
#define VMM_RESOURCES_CLAIMS_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct microvm;

/*
 * Has the files of a machine locked that begins. One that goes on from a state which others may go
 * on from, too, must have them: else ERR_BAD_STATE, with the device and the file. One that boots
 * has them as after claims_adapt. Waits for files of a process that was killed, whose locks end
 * some milliseconds later, with its io_uring.
 */
MUST_CHECK int claims_begin(struct microvm *microvm, struct error *err);

/*
 * Has the machine's files locked as its devices need it now; after each change of them. A file that
 * another process has is used all the same, with a warning, as guests may agree on who writes
 * [compat].
 */
void claims_adapt(struct microvm *microvm);

/* Of a machine that has failed to begin: others may have the files until it tries again. */
void claims_drop(struct microvm *microvm);

/* Of a paused machine that was saved: who loads the snapshot gets the files. */
void claims_hand_over(struct microvm *microvm);

/* And takes back those that it had, or fails as claims_begin. Of a machine that has all: fine. */
MUST_CHECK int claims_take_back(struct microvm *microvm, struct error *err);

#endif
