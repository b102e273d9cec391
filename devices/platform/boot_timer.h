/* SPDX-License-Identifier: Apache-2.0 */
/* The boot timer: a guest's init says "booted" by writing one byte. */
#ifndef DEVICES_PLATFORM_BOOT_TIMER_H
#define DEVICES_PLATFORM_BOOT_TIMER_H

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct boot_timer_config {
	/* The guest has booted. On a vCPU thread, as often as the guest likes. */
	void (*fired)(void *arg);
	void *arg;
};

/* Without state that a guest could see: there is nothing to save. */
struct boot_timer;

extern const struct bus_ops boot_timer_bus_ops;

/* Copies *config. The caller owns *out and frees it (NULL is fine). */
MUST_CHECK int boot_timer_new(const struct boot_timer_config *config, struct boot_timer **out,
			      struct error *err);
void boot_timer_free(struct boot_timer *timer);

#endif
