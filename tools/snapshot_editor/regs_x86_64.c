/* SPDX-License-Identifier: Apache-2.0 */
/* x86_64 saves the registers that every CPU has as structures, from which nothing can be removed.
 */
#include "tools/snapshot_editor/regs.h"

int regs_remove(struct arch_vcpu_state *state, unsigned index, const struct regs_list *list,
		FILE *out, struct error *err)
{
	(void)state;
	(void)index;
	(void)list;
	(void)out;
	return error_set(err, ERR_NOT_SUPPORTED,
			 "remove-regs is for state files of aarch64: x86_64 has no registers with "
			 "ids of KVM");
}
