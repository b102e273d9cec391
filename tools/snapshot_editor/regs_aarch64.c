/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64 saves registers as a list of ids and values. */
#include "tools/snapshot_editor/regs.h"

#include <inttypes.h>
#include <string.h>

#include "arch/aarch64/vcpu_state.h"

/* Takes the register with this id out of the list. False: it is not in it. */
static bool remove_reg(struct arch_vcpu_state *state, uint64_t id)
{
	struct saved_reg reg;
	size_t start = 0;
	size_t end = 0;

	while (saved_reg_next(state, &end, &reg)) {
		if (reg.id == id) {
			memmove(state->regs + start, state->regs + end, state->regs_len - end);
			state->regs_len -= (uint32_t)(end - start);
			state->reg_count--;
			return true;
		}
		start = end;
	}
	return false;
}

int regs_remove(struct arch_vcpu_state *state, unsigned index, const struct regs_list *list,
		FILE *out, struct error *err)
{
	(void)err;
	fprintf(out, "Modifying state for vCPU %u\n", index);
	for (size_t i = 0; i < list->count; i++) {
		fprintf(out, "Register %#" PRIx64 ": %s\n", list->ids[i],
			remove_reg(state, list->ids[i]) ? "removed" : "not present");
	}
	return 0;
}
