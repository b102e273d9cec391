/* SPDX-License-Identifier: Apache-2.0 */
/* What gdb is told of the vCPUs' registers: its target description [gdb manual, G]. Pure. */
#ifndef VMM_DEBUG_DESCRIPTION_H
#define VMM_DEBUG_DESCRIPTION_H

#include "vmm/base/text.h"

enum {
	DESCRIPTION_MAX = 16 * 1024 /* bytes, of each architecture */
};

/* Adds the XML of the architecture's registers (arch/debug.h), in the order of its table. */
void description_add(struct text *xml);

#endif
