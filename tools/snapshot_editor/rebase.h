/* SPDX-License-Identifier: Apache-2.0 */
/* Merging a layer, the memory file of a Diff, into the memory file that it belongs to. */
#ifndef TOOLS_SNAPSHOT_EDITOR_REBASE_H
#define TOOLS_SNAPSHOT_EDITOR_REBASE_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Copies what the file `layer` has data for over the same places of the file `base`, which is on
 * disk when this returns. They must be equally long. After a failure half-way `base` is neither
 * the old nor the new one; merging again mends it.
 */
MUST_CHECK int rebase(const char *base, const char *layer, struct error *err);

#endif
