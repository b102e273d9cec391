/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small virtio device that copies what it reads, for fuzzers of transports: an input is a program
 * of accesses, writes to guest memory and turns of the event loop. A device that is active must
 * have come through the whole handshake, and its class is called in no other order.
 */
#ifndef TESTS_FUZZ_COPIER_H
#define TESTS_FUZZ_COPIER_H

#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/pci.h"
#include "devices/virtio/core/virtio.h"
#include "tests/fuzz/fuzz.h"

enum {
	QUEUES = 2,
	CONFIG_LEN = 13,
	HANDSHAKE = 15, /* the status behind it */
};

struct copier {
	struct virtio_dev dev;
	union {
		struct virtio_mmio mmio;
		struct virtio_pci pci;
	};
	struct virtq_chain chain;
	uint8_t data[4096];
	unsigned interrupts;
	bool is_activated; /* and not reset since */
};

/* An access of 1 to 8 bytes, by a copy that is just as long; bytes behind it stay as they are. */
void read_bus(const struct bus_ops *ops, void *device, uint64_t offset, uint32_t len);
void write_bus(const struct bus_ops *ops, void *device, uint64_t offset, uint64_t value,
	       uint32_t len);

/* What an input can do besides accesses. */
enum copier_action {
	COPIER_MEMORY,
	COPIER_LOOP,
	COPIER_CONFIG,
};

void copier_act(struct copier *copier, struct evloop *loop, enum copier_action action,
		struct input *input);

/* Makes a machine with one, plugged in by `plug`, and has `act` work the input off; returns 0. */
int copier_run(const uint8_t *data, size_t size, void (*plug)(struct copier *copier),
	       void (*act)(struct copier *copier, struct evloop *loop, struct input *input));

#endif
