/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that accesses a frame of any interrupts anywhere by up to 8 bytes.
 *
 * Options: -eva-precision 1 -eva-domains cvalue
 */
#include "tests/eva/bus.h"

#include "devices/pci/v2m.c"

void main(void)
{
	struct v2m_frame frame = {.first = any_u32(), .count = any_u32()};

	access_any(&v2m_bus_ops, &frame);
}
