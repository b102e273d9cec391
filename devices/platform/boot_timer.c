/* SPDX-License-Identifier: Apache-2.0 */
/* The boot timer: one magic byte at offset 0 [compat]. No state, so no lock. */
#include "devices/platform/boot_timer.h"

#include <stdlib.h>

enum {
	BOOTED = 123
};

struct boot_timer {
	struct boot_timer_config config;
};

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	const struct boot_timer *timer = device;

	if (offset == 0 && len == 1 && data[0] == BOOTED) {
		timer->config.fired(timer->config.arg);
	}
}

const struct bus_ops boot_timer_bus_ops = {
	.read = bus_read_zero,
	.write = bus_write,
};

int boot_timer_new(const struct boot_timer_config *config, struct boot_timer **out,
		   struct error *err)
{
	struct boot_timer *timer = calloc(1, sizeof(*timer));

	if (timer == NULL) {
		return error_sys(err, "Cannot allocate the boot timer");
	}
	timer->config = *config;
	*out = timer;
	return 0;
}

void boot_timer_free(struct boot_timer *timer)
{
	free(timer);
}
