/* SPDX-License-Identifier: Apache-2.0 */
/* The system pool: memory below 1 MiB where firmware tables go. */
#include "sysmem.h"

#include "vmm/base/bytes.h"

enum {
	SYSMEM_ALIGN = 16 /* of the MP floating pointer [mp-1.4 4]; suits all tables */
};

struct sysmem sysmem_init(struct gmem *mem)
{
	return (struct sysmem){mem, LAYOUT_SYSTEM};
}

int sysmem_put(struct sysmem *sys, const void *table, size_t len, uint64_t *at, struct error *err)
{
	if (len > LAYOUT_VMCLOCK - sys->next ||
	    gmem_write(sys->mem, GPA(sys->next), table, len) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has no room for a firmware table of %zu bytes below "
				 "1 MiB",
				 len);
	}
	if (at != NULL) {
		*at = sys->next;
	}
	/* The pool's end is aligned too, so this never passes it. */
	sys->next = align_up(sys->next + len, SYSMEM_ALIGN);
	return 0;
}
