/* SPDX-License-Identifier: Apache-2.0 */
/* A device on a bus for EVA: a guest that accesses it anywhere, by 1 to 8 bytes; saved states. */
#ifndef TESTS_EVA_BUS_H
#define TESTS_EVA_BUS_H

#include "devices/device.h"
#include "tests/eva/atomic.h"
#include "tests/eva/codec.h"
#include "tests/eva/error.h"

/* What an interrupt or a request of the machine does. */
static inline void note(void *arg)
{
	(void)arg;
}

static inline void access_any(const struct bus_ops *ops, void *device)
{
	uint8_t data[8];

	fill(data, sizeof(data));
	if (any_bool()) {
		ops->read(device, any_u64(), data, (uint32_t)any_between(1, sizeof(data)));
		keep(data[0]);
	} else {
		ops->write(device, any_u64(), data, (uint32_t)any_between(1, sizeof(data)));
	}
}

#endif
