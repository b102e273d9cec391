/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of a loaded machine that it has used so far, as a file: the next load of the same
 * snapshot brings them in before the guest runs, with few calls in place of a fault each.
 */
#ifndef VMM_PERSIST_WORKING_SET_H
#define VMM_PERSIST_WORKING_SET_H

#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

struct working_set {
	uint64_t memory_len; /* of the machine, in bytes */
	uint32_t count;
	struct working_range *ranges; /* heap */
};

/* Fills a zeroed *set with the pages that were read and written to. VMM thread. */
MUST_CHECK int working_set_find(const struct gmem *mem, struct working_set *set, struct error *err);
void working_set_destroy(struct working_set *set); /* a zeroed one is fine */

MUST_CHECK int working_set_write(struct working_set *set, const char *path, struct error *err);

/* Reads a file, which is not trusted, into a zeroed *set. */
MUST_CHECK int working_set_read(const char *path, struct working_set *set, struct error *err);

/*
 * Brings the pages in: those that were written to as pages of this process. ERR_CORRUPT: the set is
 * not that of such a memory. A host before Linux 5.14 can't; then nothing happens. VMM thread,
 * before any vCPU runs.
 */
MUST_CHECK int working_set_load(struct gmem *mem, const struct working_set *set, struct error *err);

#endif
