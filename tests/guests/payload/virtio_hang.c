/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a reset of a disk whose host does not answer waits for what is in flight, and then the
 * disk works.
 * Output: "virtio_hang: resets" before the reset, then "virtio_hang: ok"; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

enum {
	BLOCK_IN = 0,
	EXITS = 1000, /* until the request has surely got to the host */
};

static volatile struct {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
	uint8_t data[SECTOR];
	uint8_t status;
} request;

static void put(volatile struct desc *desc, volatile void *addr, uint32_t len, uint16_t flags)
{
	desc->addr = (uint64_t)addr;
	desc->len = len;
	desc->flags = flags;
}

/* Reads a sector; true if the answer has not come when it must have got to the host. */
static bool hangs(const struct device *disk)
{
	volatile struct rings *rings = disk->rings[0];

	request.type = BLOCK_IN;
	put(&rings->desc[0], &request, 16, DESC_NEXT);
	put(&rings->desc[1], request.data, SECTOR, DESC_NEXT | DESC_WRITE);
	put(&rings->desc[2], &request.status, 1, DESC_WRITE);
	rings->desc[0].next = 1;
	rings->desc[1].next = 2;
	rings_offer(rings, 0);
	device_notify(disk, 0);
	for (unsigned i = 0; i < EXITS; i++) {
		(void)device_read(disk, REG_STATUS);
	}
	return rings->used.idx == 0;
}

void guest_main(void)
{
	struct device *disk = &devices[DEV_BLOCK];
	bool is_ok = devices_find();

	if (is_ok) {
		device_start(disk);
		is_ok = hangs(disk);
		print("virtio_hang: resets\n");
		device_write(disk, REG_STATUS, 0);
		print("virtio_hang: was reset\n");
		device_start(disk);
		is_ok = disk_works(1) && is_ok;
	}
	print(is_ok ? "virtio_hang: ok\n" : "virtio_hang: wrong\n");
}
