/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: what a guest plugs in is memory, and what it unplugs is none. The machine's only virtio
 * device is that of memory. Follows the requested size: "hotplug: plugged <blocks>" when it is
 * reached, or the device takes no more, "hotplug: unplugged" at 0. Rings in what is not plugged
 * stop the device: "hotplug: a ring is refused". One block requested: it touches the one behind,
 * which it has not plugged, and says "WRONG: ..." if it is still there. Output begins with
 * "hotplug: ready".
 */
#include "tests/guests/payload/virtio.h"

enum {
	DEVICE_ID = 24,
	CONFIG_BASE = 16,
	CONFIG_REQUESTED = 48,
	PLUG = 0,
	UNPLUG = 1,
	UNPLUG_ALL = 2,
	ACK = 0,
	REQ_LEN = 24,
	RESP_LEN = 10,
	PATIENCE = 100000000,
};

#define BLOCK UINT64_C(0x200000)
#define FEATURES (UINT64_C(1) << 32 | 1 << 1)

static struct rings rings __attribute__((aligned(0x1000)));
static struct device device;
static uint64_t base;
static uint64_t plugged; /* blocks from the base on */

static volatile struct {
	uint16_t type;
	uint16_t padding[3];
	uint64_t addr;
	uint16_t count;
	uint16_t padding2[3];
	uint16_t answer;
	uint16_t padding3[3];
	uint16_t state;
} request __attribute__((aligned(64)));

static uint64_t config_of(unsigned offset)
{
	return device_read(&device, REG_CONFIG + offset) |
	       (uint64_t)device_read(&device, REG_CONFIG + offset + 4) << 32;
}

static uint16_t ask(uint16_t type, uint64_t block)
{
	volatile struct rings *at = &rings;
	uint16_t used = at->used.idx;

	request.type = type;
	request.addr = base + block * BLOCK;
	request.count = 1;
	request.answer = 0xffff;
	at->desc[0].addr = (uint64_t)&request;
	at->desc[0].len = REQ_LEN;
	at->desc[0].flags = DESC_NEXT;
	at->desc[0].next = 1;
	at->desc[1].addr = (uint64_t)&request.answer;
	at->desc[1].len = RESP_LEN;
	at->desc[1].flags = DESC_WRITE;
	rings_offer(at, 0);
	device_notify(&device, 0);
	for (unsigned i = 0; i < PATIENCE && at->used.idx == used; i++) {
		if (i % 500 == 0) {
			(void)device_read(&device, REG_STATUS);
		}
		memory_barrier();
	}
	return request.answer;
}

static void start(void)
{
	device_begin(&device, FEATURES);
	device_queue(&device, 0);
	device_run(&device);
}

/* Each block has a word of its own, and keeps it, over a save and a load too. */
static void check_words(void)
{
	for (uint64_t i = 0; i < plugged; i++) {
		if (*map_word(base + i * BLOCK + BLOCK - 8) != i + 1) {
			print("WRONG: a block has forgotten its word\n");
			return;
		}
	}
}

static void grow(uint64_t blocks)
{
	check_words();
	for (; plugged < blocks && ask(PLUG, plugged) == ACK; plugged++) {
		*map_word(base + plugged * BLOCK + BLOCK - 8) = plugged + 1;
	}
	check_words();
	print("hotplug: plugged ");
	print_hex(plugged);
	print("\n");
}

/* What it says, it says when the device works again. */
static void shrink(void)
{
	bool is_refused;

	while (plugged > 0 && ask(UNPLUG, plugged - 1) == ACK) {
		plugged--;
	}
	device_begin(&device, FEATURES);
	device_queue_at(&device, 0, base, base + 0x1000, base + 0x2000);
	device_run(&device);
	is_refused = (device_read(&device, REG_STATUS) & STATUS_NEEDS_RESET) != 0;
	start();
	print(plugged == 0 ? "hotplug: unplugged\n" : "WRONG: a block can't be unplugged\n");
	print(is_refused ? "hotplug: a ring is refused\n"
			 : "WRONG: a ring is taken that is not in memory\n");
}

static void touch(void)
{
	print("hotplug: touching\n");
	*map_word(base + BLOCK) = 1;
	print("WRONG: what is not plugged is there\n");
}

void guest_main(void)
{
	uint64_t seen = 0;

	device.base = virtio_window;
	device.rings[0] = &rings;
	if (device_read(&device, REG_DEVICE_ID) != DEVICE_ID) {
		print("WRONG: there is no memory device\n");
		return;
	}
	start();
	base = config_of(CONFIG_BASE);
	print("hotplug: ready\n");
	for (;;) {
		uint64_t blocks = config_of(CONFIG_REQUESTED) / BLOCK;

		if (blocks == seen) {
			continue;
		}
		seen = blocks;
		if (blocks == 0) {
			shrink();
		} else if (blocks == 1) {
			touch();
		} else {
			grow(blocks);
		}
	}
}
