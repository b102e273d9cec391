/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: requests that are as much work as a driver can ask for are done, and answered once. One
 * read goes 254 times to the same 4 MiB; then the queue is kept full of flushes.
 * Output: "virtio_heavy: reads", "virtio_heavy: has read", then "virtio_heavy: ok"; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

enum {
	BLOCK_IN = 0,
	BLOCK_FLUSH = 4,
	SEGMENTS = 254,
	SEGMENT_LEN = 4 << 20,
	FLUSHES = 4096,
	LOOKS = 500, /* at memory, between two exits */
};

#define F_VERSION_1 (UINT64_C(1) << 32)
#define F_INDIRECT_DESC (UINT64_C(1) << 28)

static uint8_t target[SEGMENT_LEN] __attribute__((aligned(0x1000)));
static volatile struct desc table[SEGMENTS + 2] __attribute__((aligned(16)));
static volatile struct {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
	uint8_t status;
} request;

static void set(volatile struct desc *desc, volatile void *addr, uint32_t len, uint16_t flags)
{
	desc->addr = (uint64_t)addr;
	desc->len = len;
	desc->flags = flags;
}

/* The request, with `segments` to be written, as a table that each descriptor of the queue is. */
static void prepare(volatile struct rings *rings, uint32_t type, uint16_t segments)
{
	request.type = type;
	request.status = 0xff;
	set(&table[0], &request, 16, DESC_NEXT);
	for (uint16_t i = 1; i <= segments; i++) {
		set(&table[i], target, SEGMENT_LEN, DESC_NEXT | DESC_WRITE);
	}
	set(&table[segments + 1], &request.status, 1, DESC_WRITE);
	for (uint16_t i = 0; i <= segments; i++) {
		table[i].next = (uint16_t)(i + 1);
	}
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		set(&rings->desc[i], table, (segments + 2u) * sizeof(table[0]), DESC_INDIRECT);
	}
}

static void wait_used(const struct device *disk, uint16_t before)
{
	volatile struct rings *rings = disk->rings[0];

	while (rings->used.idx == before) {
		for (unsigned i = 0; i < LOOKS && rings->used.idx == before; i++) {
		}
		(void)device_read(disk, REG_STATUS);
	}
}

static bool reads(const struct device *disk)
{
	volatile struct rings *rings = disk->rings[0];

	prepare(rings, BLOCK_IN, SEGMENTS);
	rings_offer(rings, 0);
	device_notify(disk, 0);
	wait_used(disk, 0);
	return rings->used.idx == 1 && request.status == 0 &&
	       rings->used.ring[0].len == SEGMENTS * (uint32_t)SEGMENT_LEN + 1;
}

static bool flushes(const struct device *disk)
{
	volatile struct rings *rings = disk->rings[0];
	uint16_t used = rings->used.idx;
	uint16_t end = (uint16_t)(used + FLUSHES);

	prepare(rings, BLOCK_FLUSH, 0);
	while (used != end) {
		while (rings->avail.idx != end &&
		       (uint16_t)(rings->avail.idx - used) < QUEUE_SIZE) {
			rings_offer(rings, rings->avail.idx % QUEUE_SIZE);
		}
		device_notify(disk, 0);
		wait_used(disk, used);
		used = rings->used.idx;
	}
	return request.status == 0;
}

void guest_main(void)
{
	struct device *disk = &devices[DEV_BLOCK];
	bool is_ok = devices_find();

	if (is_ok) {
		device_begin(disk, F_VERSION_1 | F_INDIRECT_DESC);
		device_queue(disk, 0);
		device_run(disk);
		print("virtio_heavy: reads\n");
		is_ok = reads(disk);
		print("virtio_heavy: has read\n");
		is_ok = flushes(disk) && is_ok;
		device_start(disk);
		is_ok = disk_works(1) && is_ok;
	}
	print(is_ok ? "virtio_heavy: ok\n" : "virtio_heavy: wrong\n");
}
