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

enum {
	/* Of a process that was killed the locks end some milliseconds later, with its io_uring. */
	CLAIMS_START_PATIENCE_MS = 1000,
};

/*
 * Has the machine's files locked as its devices need it now; after each change of them. Fails with
 * ERR_BAD_STATE, the device and the file where another process has a lock that forbids that, and
 * still has it after `patience_ms` (0: does not sleep). Idempotent.
 */
MUST_CHECK int claims_take(const struct microvm *microvm, unsigned patience_ms, struct error *err);

/* The same after a device is gone, which nothing can forbid. */
void claims_retake(const struct microvm *microvm);

/* Of a paused machine that was saved: who loads the snapshot gets them. */
void claims_hand_over(const struct microvm *microvm);

#endif
