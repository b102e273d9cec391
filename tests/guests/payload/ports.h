/* SPDX-License-Identifier: Apache-2.0 */
/* Hot-plug ports, as their registers are in configuration space [pcie-5.0 §7.5.3]. */
#ifndef TESTS_GUEST_PORTS_H
#define TESTS_GUEST_PORTS_H

#include "tests/guests/payload/virtio.h"

enum {
	PORT_SLOT = 31, /* of the first port, downwards */
	PORT_SLOT_CONTROL = 0x68,
	PORT_SLOT_STATUS = 0x6a,
	PORT_ENABLED = 0x1021,
	PORT_POWER_OFF = 0x400,
};

static inline uint64_t port_space(unsigned port)
{
	return pci_ecam + (uint64_t)(PORT_SLOT - port) * PCI_SLOT_LEN;
}

#endif
