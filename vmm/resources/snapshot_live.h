/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that are written while the guest runs. */
#ifndef VMM_RESOURCES_SNAPSHOT_LIVE_H
#define VMM_RESOURCES_SNAPSHOT_LIVE_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/sent.h"
#include "vmm/resources/microvm.h"

/*
 * Forks an image of the machine, which writes both files, and returns when the guest runs again.
 * The files have other names until they are complete. In place of both paths there may be names of
 * memfds in `sent`, which are taken, and sealed when they are complete. GET /snapshot tells the
 * result. VMM thread.
 */
MUST_CHECK int snapshot_live_start(struct microvm *microvm, const char *state_path,
				   const char *memory_path, struct sent *sent, struct error *err);

/* Ends an image that is still writing, and removes what it has written. A zeroed one is fine. */
void snapshot_live_destroy(struct snapshot_live *live, struct evloop *loop);

#endif
