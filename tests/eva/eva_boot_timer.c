/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that accesses it anywhere by up to 8 bytes.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"

#include "devices/platform/boot_timer.c"

void main(void)
{
	const struct boot_timer_config config = {.fired = note};
	struct boot_timer *timer = NULL;
	struct error err = {0};

	if (boot_timer_new(&config, &timer, &err) == 0) {
		access_any(&boot_timer_bus_ops, timer);
	}
	boot_timer_free(timer);
}
