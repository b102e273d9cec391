/* SPDX-License-Identifier: Apache-2.0 */
/* What every device has: the address-space side, and the services that it is handed. */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include <stdint.h>

#include "vmm/base/clock.h"
#include "vmm/base/evloop.h"
#include "vmm/base/gmem.h"
#include "vmm/base/irq_line.h"

/*
 * A device as seen from a bus: `offset` is relative to where it is attached, `len` is 1 to 8
 * bytes. `data` arrives zeroed in a read, so a device that does not know an offset leaves it alone
 * and the guest reads 0 [compat]. Called on vCPU threads: a device locks its own state. Any value
 * at any offset with any length must be harmless.
 */
struct bus_ops {
	void (*read)(void *device, uint64_t offset, uint8_t *data, uint32_t len);
	void (*write)(void *device, uint64_t offset, const uint8_t *data, uint32_t len);
};

/* The read of a device that is only written to. */
static inline void bus_read_zero(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)len;
}

/* What a device may ask of the machine it is in. Callable from any thread. */
struct machine_ops {
	/* The guest asked for a reset: the VM is stopped and the process ends with success. */
	void (*reset)(void *machine);
};

/* The services that a constructor is handed; all outlive the device. */
struct dev_env {
	struct gmem *mem;
	struct evloop *loop;
	struct irq_line irq;
	const struct clock *clock;
	const struct machine_ops *machine_ops;
	void *machine;
};

#endif
