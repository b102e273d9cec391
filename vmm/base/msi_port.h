/* SPDX-License-Identifier: Apache-2.0 */
/* How a device sends interrupts that are messages, without knowing who delivers them. */
#ifndef VMM_BASE_MSI_PORT_H
#define VMM_BASE_MSI_PORT_H

#include <stdint.h>

struct msi_port {
	/*
	 * From now on vector `vector` is this message. What can't be so stays as it was, which is
	 * logged. One call at a time, on the thread of who configures; may wait for KVM.
	 */
	void (*route)(void *arg, unsigned vector, uint64_t address, uint32_t data);
	/* Sends the message of a vector. Any thread; never blocks. */
	void (*send)(void *arg, unsigned vector);
	void *arg;
};

#endif
