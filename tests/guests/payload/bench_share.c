/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not a test: uses all of an image for tests/bench/pmem. From persistent memory it reads a word of
 * each page; from a drive it reads all into memory of its own, as the page cache of a guest would.
 * Output: "share: <MiB> MiB". It never ends.
 */
#include "tests/guests/payload/virtio.h"

enum {
	DEVICE_BLOCK = 2,
	DEVICE_PMEM = 27,
	WINDOWS = 16,
	PAGE = 0x1000,
	MIB = 0x100000,
	PART = 128 << 10,
	IMAGE_MAX = 32 * MIB,
	MICROVM_STEP = 0x200, /* of QEMU's microvm */
	MICROVM_COUNT = 24,
};

static const uint64_t microvm_base = 0xfeb00000;
static struct rings memory __attribute__((aligned(0x1000)));
static uint8_t image[IMAGE_MAX] __attribute__((aligned(0x1000)));

static bool is_at(struct device *device, uint64_t base, uint32_t id)
{
	device->base = base;
	return device_read(device, REG_DEVICE_ID) == id;
}

static bool find(struct device *device, uint32_t id)
{
	for (unsigned i = 0; i < WINDOWS; i++) {
		if (is_at(device, virtio_window + (uint64_t)i * WINDOW_LEN, id)) {
			return true;
		}
	}
	for (unsigned i = 0; i < MICROVM_COUNT; i++) {
		if (is_at(device, microvm_base + (uint64_t)i * MICROVM_STEP, id)) {
			return true;
		}
	}
	return false;
}

static uint64_t config_word(const struct device *device, unsigned offset)
{
	return device_read(device, REG_CONFIG + offset) |
	       (uint64_t)device_read(device, REG_CONFIG + offset + 4) << 32;
}

static uint64_t read_memory(const struct device *device)
{
	uint64_t start = config_word(device, 0);
	uint64_t len = config_word(device, 8);

	for (uint64_t at = 0; at < len; at += PAGE) {
		(void)*map_word(start + at);
	}
	return len;
}

static uint64_t read_drive(struct device *device)
{
	static volatile struct {
		uint32_t type;
		uint32_t reserved;
		uint64_t sector;
		uint8_t status;
	} request;
	uint64_t len = config_word(device, 0) * SECTOR;

	len = len < IMAGE_MAX ? len : IMAGE_MAX;
	device->queues = 1;
	device->rings[0] = &memory;
	device_start(device);
	for (uint64_t at = 0; at < len; at += PART) {
		uint16_t used = memory.used.idx;

		request.sector = at / SECTOR;
		desc_set(&memory.desc[0], &request, 16, DESC_NEXT, 1);
		desc_set(&memory.desc[1], image + at, PART, DESC_NEXT | DESC_WRITE, 2);
		desc_set(&memory.desc[2], &request.status, 1, DESC_WRITE, 0);
		rings_offer(&memory, 0);
		device_notify(device, 0);
		while (*(volatile uint16_t *)&memory.used.idx == used) {
		}
	}
	return len;
}

void guest_main(void)
{
	struct device device = {0};
	uint64_t len = 0;

	if (find(&device, DEVICE_PMEM)) {
		len = read_memory(&device);
	} else if (find(&device, DEVICE_BLOCK)) {
		len = read_drive(&device);
	}
	print("share: ");
	print_number(len / MIB);
	print(" MiB\n");
	for (;;) {
		cpu_idle();
	}
}
