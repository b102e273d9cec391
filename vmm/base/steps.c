/* SPDX-License-Identifier: Apache-2.0 */
/* Runs steps, and walks them back. */
#include "vmm/base/steps.h"

int steps_run(const struct step *steps, size_t count, void *arg, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (steps[i].run(arg, err) < 0) {
			steps_undo(steps, i + 1, arg);
			return -1;
		}
	}
	return 0;
}

void steps_undo(const struct step *steps, size_t count, void *arg)
{
	while (count-- > 0) {
		if (steps[count].undo != NULL) {
			steps[count].undo(arg);
		}
	}
}
