/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sleep control and status registers [acpi-6.5 4.8.3.7]. Both read 0: nothing ever wakes the
 * machine. No state, so no lock.
 */
#include "devices/platform/acpi_sleep.h"

#include <stdlib.h>

#include "vmm/base/log.h"

enum {
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 7,
	SLEEP_ENABLE = 1 << 5,
};

struct acpi_sleep {
	const struct machine_ops *machine_ops;
	void *machine;
};

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	const struct acpi_sleep *sleep = device;

	if (offset == ACPI_SLEEP_CONTROL && len == 1 && (data[0] & SLEEP_ENABLE) != 0 &&
	    (data[0] >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == ACPI_SLEEP_S5) {
		log_guest_info("The guest powered off.");
		sleep->machine_ops->reset(sleep->machine);
	}
}

const struct bus_ops acpi_sleep_bus_ops = {
	.read = bus_read_zero,
	.write = bus_write,
};

int acpi_sleep_new(const struct dev_env *env, struct acpi_sleep **out, struct error *err)
{
	struct acpi_sleep *sleep = calloc(1, sizeof(*sleep));

	if (sleep == NULL) {
		return error_sys(err, "Cannot allocate the sleep registers");
	}
	sleep->machine_ops = env->machine_ops;
	sleep->machine = env->machine;
	*out = sleep;
	return 0;
}

void acpi_sleep_free(struct acpi_sleep *sleep)
{
	free(sleep);
}
