/* SPDX-License-Identifier: Apache-2.0 */
/* What children of a fork have in place of their parent's drives: copies by reference. */
#ifndef VMM_RESOURCES_FORK_COPIES_H
#define VMM_RESOURCES_FORK_COPIES_H

#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/schema.h"
#include "vmm/resources/microvm.h"

struct fork_birth;

/* Drives as of the instant of a fork: files without a name. Zeroed: none. */
struct fork_copies {
	size_t count;
	struct {
		const char *drive_id; /* of the configuration */
		int fd;
	} items[CONFIG_DEVICES_MAX];
};

/*
 * Copies, by reference, each drive of which a child is to have a copy; the machine stands still.
 * The copies are in the directories of the first of these children's files. VMM thread.
 */
MUST_CHECK int fork_copies_make(const struct vm_config *config, const struct schema_list *children,
				struct fork_copies *copies, struct error *err);
void fork_copies_close(struct fork_copies *copies);

/* Makes a child's files of the copies; the second removes them again. VMM thread. */
MUST_CHECK int fork_copies_give(struct fork_birth *birth, struct error *err);
void fork_copies_take_back(struct fork_birth *birth);

#endif
