/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: rings may be anywhere and hold anything: each queue of each device is given bad places
 * and then bad contents; other devices go on, and the same device does after a reset.
 * Output: a line per device, then "virtio_rings: ok"; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

static uint64_t ram_end;

/* --- bad places --- */

struct place {
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
};

static unsigned bad_places(const struct device *device, unsigned queue, struct place *places)
{
	const uint64_t desc = (uint64_t)&device->rings[queue]->desc;
	const uint64_t avail = (uint64_t)&device->rings[queue]->avail;
	const uint64_t used = (uint64_t)&device->rings[queue]->used;
	const uint64_t other = (uint64_t)&device->rings[(queue + 1) % QUEUES_MAX]->desc;
	const struct place all[] = {
		{virtio_window, avail, used},
		{desc, virtio_window, used},
		{desc, avail, virtio_window},
		{ram_end - 16, avail, used},
		{desc, ram_end - 2, used},
		{desc, avail, ram_end - 4},
		{ram_end, ram_end, ram_end},
		{desc + 1, avail, used},
		{desc, avail + 1, used},
		{desc, avail, used + 2},
		{desc, desc, desc},
		{desc, avail, avail & ~UINT64_C(3)},
		{other, other, other},
		{UINT64_MAX - 15, UINT64_MAX - 1, UINT64_MAX - 3},
		{UINT64_C(1) << 63, avail, used},
		{0, 0, 0},
	};

	for (unsigned i = 0; i < COUNT_OF(all); i++) {
		places[i] = all[i];
	}
	return COUNT_OF(all);
}

/* --- bad contents --- */

static void chain(volatile struct desc *desc, uint64_t addr, uint32_t len, uint16_t flags)
{
	desc->addr = addr;
	desc->len = len;
	desc->flags = flags;
	desc->next = 0;
}

static void jump(volatile struct rings *rings, uint16_t by)
{
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		rings->avail.ring[i] = (uint16_t)i;
		chain(&rings->desc[i], (uint64_t)scratch, 64, i % 2 ? DESC_WRITE : 0);
	}
	rings->avail.idx = (uint16_t)(rings->avail.idx + by);
}

static void fill(volatile struct rings *rings, uint64_t addr, uint32_t len)
{
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		chain(&rings->desc[i], addr, len, i % 2 ? DESC_WRITE : 0);
		rings_offer(rings, (uint16_t)i);
	}
}

/* Each descriptor leads to the next; the last one back to the first. */
static void loop(volatile struct rings *rings, unsigned len, uint16_t flags)
{
	for (unsigned i = 0; i < len; i++) {
		chain(&rings->desc[i], (uint64_t)scratch, 16, DESC_NEXT | flags);
		rings->desc[i].next = (uint16_t)((i + 1) % len);
	}
	rings_offer(rings, 0);
}

static void one(volatile struct rings *rings, uint64_t addr, uint32_t len, uint16_t flags,
		uint16_t next)
{
	chain(&rings->desc[0], addr, len, flags);
	rings->desc[0].next = next;
	chain(&rings->desc[1], (uint64_t)scratch, 1, DESC_WRITE);
	rings_offer(rings, 0);
}

/* Single bytes, whatever the device takes for its header. */
static void crumbs(volatile struct rings *rings, bool is_backwards)
{
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		bool is_write = (i < QUEUE_SIZE / 2) == is_backwards;

		chain(&rings->desc[i], (uint64_t)scratch + i, 1,
		      (uint16_t)(DESC_NEXT | (is_write ? DESC_WRITE : 0)));
		rings->desc[i].next = (uint16_t)(i + 1);
	}
	rings->desc[QUEUE_SIZE - 1].flags &= (uint16_t)~DESC_NEXT;
	rings_offer(rings, 0);
}

/* A table of descriptors, of `len` bytes, whose last is another table. */
static void table(volatile struct rings *rings, uint32_t len, uint16_t flags)
{
	volatile struct desc *inner = (volatile struct desc *)scratch;

	for (unsigned i = 0; i < 32; i++) {
		chain(&inner[i], (uint64_t)scratch, 64, DESC_NEXT | (i > 15 ? DESC_INDIRECT : 0));
		inner[i].next = (uint16_t)(i + 1);
	}
	one(rings, (uint64_t)scratch, len, flags, 1);
}

static void noise(volatile struct rings *rings)
{
	volatile uint64_t *words = (volatile uint64_t *)rings;

	for (size_t i = 0; i < sizeof(rings->desc); i += 8) {
		words[i / 8] = random_next();
	}
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		rings_offer(rings, (uint16_t)random_next());
	}
}

/* Returns false when there are no more. */
static bool spoil(volatile struct rings *rings, size_t which)
{
	static const uint16_t jumps[] = {QUEUE_SIZE, QUEUE_SIZE + 1, 1000, 0x7fff, 0x8000, 0xffff};
	const uint64_t addrs[] = {virtio_window, ram_end - 1,	    ram_end,
				  UINT64_MAX,	 UINT64_C(1) << 63, 0};
	static const uint32_t lens[] = {0, 1, 4096, UINT32_MAX};

	if (which < COUNT_OF(jumps)) {
		jump(rings, jumps[which]);
		return true;
	}
	which -= COUNT_OF(jumps);
	if (which < COUNT_OF(addrs) - 1) {
		fill(rings, addrs[which], 4096);
		return true;
	}
	which -= COUNT_OF(addrs) - 1;
	if (which < COUNT_OF(lens)) {
		fill(rings, (uint64_t)scratch, lens[which]);
		return true;
	}
	which -= COUNT_OF(lens);
	switch (which) {
	case 0:
	case 1:
	case 2:
		loop(rings, which == 2 ? QUEUE_SIZE : 1 + (unsigned)which, 0);
		break;
	case 3:
	case 4:
		loop(rings, which == 4 ? QUEUE_SIZE : 2, DESC_WRITE);
		break;
	case 5:
		one(rings, (uint64_t)scratch, 16, DESC_NEXT, QUEUE_SIZE);
		break;
	case 6:
		one(rings, (uint64_t)scratch, 16, DESC_NEXT, 0xffff);
		break;
	case 7:
		one(rings, (uint64_t)scratch, 16, DESC_NEXT | DESC_WRITE, 1);
		break;
	case 8:
		rings_offer(rings, QUEUE_SIZE);
		break;
	case 9:
		rings_offer(rings, 0xffff);
		break;
	case 10:
	case 11:
		crumbs(rings, which == 10);
		break;
	case 12:
		table(rings, 16 * 16, DESC_INDIRECT);
		break;
	case 13:
		table(rings, 17, DESC_INDIRECT | DESC_NEXT);
		break;
	case 14:
		table(rings, 0, DESC_INDIRECT | DESC_WRITE);
		break;
	case 15:
		table(rings, UINT32_MAX, DESC_INDIRECT);
		break;
	case 16:
		/* The used ring as a buffer to be written. */
		one(rings, (uint64_t)&rings->used, sizeof(rings->used), DESC_WRITE, 0);
		break;
	case 17:
		/* The descriptors themselves. */
		one(rings, (uint64_t)rings, sizeof(*rings), DESC_WRITE, 0);
		break;
	case 18:
		noise(rings);
		break;
	default:
		return false;
	}
	return true;
}

/* --- the devices in turn --- */

/* What works beside the one that is tried. */
static bool others_work(unsigned tried)
{
	return tried == DEV_BLOCK ? entropy_works() : disk_works(tried);
}

static void begin(struct device *device)
{
	/* All that it offers, but for the event index: we ask for every notification. */
	device_begin(device, ~(UINT64_C(1) << 29));
}

static bool try_places(unsigned which, unsigned queue)
{
	struct device *device = &devices[which];
	struct place places[QUEUE_SIZE];
	unsigned count = bad_places(device, queue, places);
	bool is_ok = true;

	for (unsigned i = 0; is_ok && i < count; i++) {
		begin(device);
		for (unsigned j = 0; j < device->queues; j++) {
			if (j != queue) {
				device_queue(device, j);
			}
		}
		device_queue_at(device, queue, places[i].desc, places[i].avail, places[i].used);
		device_run(device);
		device_notify(device, queue);
		is_ok = others_work(which);
		if (!is_ok) {
			print("after bad place ");
			print_number(i);
			print("\n");
		}
	}
	return is_ok;
}

static bool try_contents(unsigned which, unsigned queue)
{
	struct device *device = &devices[which];
	bool is_ok = true;

	for (unsigned i = 0; is_ok; i++) {
		begin(device);
		for (unsigned j = 0; j < device->queues; j++) {
			device_queue(device, j);
		}
		device_run(device);
		if (!spoil(device->rings[queue], i)) {
			break;
		}
		device_notify(device, queue);
		device_notify(device, queue);
		is_ok = others_work(which);
		if (!is_ok) {
			print("after bad contents ");
			print_number(i);
			print("\n");
		}
	}
	return is_ok;
}

static uint64_t end_of_ram(void)
{
	struct ram_range ranges[16];
	size_t count = ram_ranges(ranges, COUNT_OF(ranges));

	return count > 0 ? ranges[count - 1].base + ranges[count - 1].len : 0;
}

void guest_main(void)
{
	bool is_ok = devices_find();

	ram_end = end_of_ram();
	if (is_ok) {
		device_start(&devices[DEV_BLOCK]);
		device_start(&devices[DEV_ENTROPY]);
	}
	for (unsigned i = 0; is_ok && i < DEVICES; i++) {
		for (unsigned j = 0; is_ok && j < devices[i].queues; j++) {
			is_ok = try_places(i, j) && try_contents(i, j);
		}
		device_start(&devices[i]);
		is_ok = is_ok && disk_works(1) && entropy_works();
		print(device_names[i]);
		print(is_ok ? ": bears it\n" : ": does not\n");
	}
	print(is_ok ? "virtio_rings: ok\n" : "virtio_rings: wrong\n");
}
