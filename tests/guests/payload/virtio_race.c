/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: descriptors and rings may change while the device reads them: a second vCPU does
 * nothing else. Other devices go on, and the same device does after a reset.
 * Output: a line per device, then "virtio_race: ok"; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

enum {
	ROUNDS = 120,
	PATIENCE = 400000, /* exits */
};

/* What the second vCPU spoils; NULL: nothing now. */
static volatile struct rings *volatile target;
static volatile bool is_idle;

static void flip(volatile struct rings *rings, uint64_t end)
{
	volatile struct desc *desc = &rings->desc[random_next() % QUEUE_SIZE];
	static const uint32_t lens[] = {16, 0, UINT32_MAX, SECTOR};

	desc->addr = random_next() % 4 == 0 ? end : (uint64_t)scratch;
	desc->len = lens[random_next() % COUNT_OF(lens)];
	desc->flags = (uint16_t)(random_next() & (DESC_NEXT | DESC_WRITE | DESC_INDIRECT));
	desc->next = (uint16_t)(random_next() % (QUEUE_SIZE + 1));
	desc->addr = (uint64_t)scratch;
	rings->avail.idx = (uint16_t)(rings->avail.idx + random_next() % 2);
	rings->avail.ring[random_next() % QUEUE_SIZE] = (uint16_t)(random_next() % QUEUE_SIZE);
}

void guest_secondary(void)
{
	struct ram_range ranges[16];
	size_t count = ram_ranges(ranges, COUNT_OF(ranges));
	uint64_t end = ranges[count - 1].base + ranges[count - 1].len - 8;

	for (;;) {
		volatile struct rings *rings = target;

		is_idle = rings == NULL;
		if (rings != NULL) {
			flip(rings, end);
		}
	}
}

static void stop_flipping(void)
{
	target = NULL;
	is_idle = false;
	memory_barrier();
	while (!is_idle) {
	}
}

static bool try_queue(unsigned which, unsigned queue)
{
	struct device *device = &devices[which];
	bool is_ok = true;

	for (unsigned i = 0; is_ok && i < ROUNDS; i++) {
		/* It may have been broken by what it saw. */
		if (i % 8 == 0) {
			stop_flipping();
			device_start(device);
			target = device->rings[queue];
		}
		rings_offer(device->rings[queue], (uint16_t)(i % QUEUE_SIZE));
		device_notify(device, queue);
		if (i % 8 == 7) {
			is_ok = which == DEV_BLOCK ? entropy_works() : disk_works(i);
		}
	}
	stop_flipping();
	return is_ok;
}

void guest_main(void)
{
	bool is_ok = devices_find();
	unsigned cpus = cpus_start();

	for (unsigned i = 0; i < PATIENCE && !is_idle; i++) {
		(void)device_read(&devices[0], REG_STATUS);
	}
	if (!is_idle) {
		print("the second of ");
		print_number(cpus);
		print(" vCPUs does not run\n");
		is_ok = false;
	}
	if (is_ok) {
		device_start(&devices[DEV_BLOCK]);
		device_start(&devices[DEV_ENTROPY]);
	}
	for (unsigned i = 0; is_ok && i < DEVICES; i++) {
		for (unsigned j = 0; is_ok && j < devices[i].queues; j++) {
			is_ok = try_queue(i, j);
		}
		device_start(&devices[i]);
		is_ok = is_ok && disk_works(1) && entropy_works();
		print(device_names[i]);
		print(is_ok ? ": bears it\n" : ": does not\n");
	}
	print(is_ok ? "virtio_race: ok\n" : "virtio_race: wrong\n");
}
