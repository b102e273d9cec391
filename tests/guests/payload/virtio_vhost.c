/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: an interface that the host's kernel serves bears a driver that means no good. Chains
 * that are none get the device to need a reset, by either queue; after it frames pass both ways. A
 * frame that is shorter than its header, to which the kernel comes back without end, holds up
 * nobody else. The host is 10.1.0.1.
 * Output: "virtio_vhost: needs resets", "virtio_vhost: spins", after a byte of input "virtio_vhost:
 * ok", with such a frame still there; exit status 0.
 */
#include "tests/guests/payload/virtio.h"

enum {
	RX,
	TX,
	HEADER_LEN = 12,
	FRAME_LEN = 54,
	BUFFER_LEN = 2048,
	ROUNDS = 40000, /* of a request of the disk each, until something must have been seen */
	SHORT_LEN = 4,

	REG_LSR = 5,
	LSR_DATA_READY = 1,
};

#define F_VERSION_1 (UINT64_C(1) << 32)
#define F_INDIRECT_DESC (UINT64_C(1) << 28)

static uint8_t received[QUEUE_SIZE][BUFFER_LEN];
static volatile struct desc table[2] __attribute__((aligned(16)));
/* Asks who has 10.1.0.1, which somebody answers. */
static struct {
	uint8_t header[HEADER_LEN];
	uint8_t to[6];
	uint8_t from[6];
	uint8_t type[2];
	uint8_t arp[8];
	uint8_t sender[6];
	uint8_t sender_ip[4];
	uint8_t target[6];
	uint8_t target_ip[4];
} question = {
	.to = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	.from = {6, 0, 0, 0, 0, 1},
	.type = {0x08, 0x06},
	.arp = {0, 1, 8, 0, 6, 4, 0, 1},
	.sender = {6, 0, 0, 0, 0, 1},
	.sender_ip = {10, 1, 0, 2},
	.target_ip = {10, 1, 0, 1},
};
static uint64_t ram_end;
static struct device *const net = &devices[DEV_NET];

/* --- A driver that behaves --- */

static void begin(void)
{
	device_begin(net, F_VERSION_1 | F_INDIRECT_DESC);
	device_queue(net, RX);
	device_queue(net, TX);
	device_run(net);
}

static void ask(void)
{
	volatile struct rings *rings = net->rings[TX];

	if (rings->used.idx == rings->avail.idx) {
		desc_set(&rings->desc[0], &question, sizeof(question), 0, 0);
		rings_offer(rings, 0);
		device_notify(net, TX);
	}
}

static bool needs_reset(void)
{
	return (device_read(net, REG_STATUS) & STATUS_NEEDS_RESET) != 0;
}

/* A frame goes out and one comes in. The host may have to be asked again: its end comes up late. */
static bool net_works(void)
{
	volatile struct rings *rx = net->rings[RX];
	volatile struct rings *tx = net->rings[TX];

	begin();
	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		desc_set(&rx->desc[i], received[i], BUFFER_LEN, DESC_WRITE, 0);
		rings_offer(rx, i);
	}
	device_notify(net, RX);
	for (unsigned i = 0; i < ROUNDS && disk_works(1); i++) {
		if (rx->used.idx > 0 && tx->used.idx > 0) {
			return true;
		}
		ask();
	}
	print("virtio_vhost: frames out ");
	print_number(tx->used.idx);
	print(", in ");
	print_number(rx->used.idx);
	print(", status ");
	print_number(device_read(net, REG_STATUS));
	print("\n");
	return false;
}

/* --- One that does not --- */

static void outside(volatile struct rings *rings, uint16_t flags, uint64_t addr)
{
	desc_set(&rings->desc[0], (volatile void *)addr, BUFFER_LEN, flags, 0);
	rings_offer(rings, 0);
}

static void loop(volatile struct rings *rings, uint16_t flags, uint16_t len)
{
	for (uint16_t i = 0; i < len; i++) {
		desc_set(&rings->desc[i], scratch, HEADER_LEN, DESC_NEXT | flags,
			 (uint16_t)((i + 1) % len));
	}
	rings_offer(rings, 0);
}

static void one(volatile struct rings *rings, uint16_t flags, uint16_t next, uint16_t head)
{
	desc_set(&rings->desc[0], scratch, FRAME_LEN, flags, next);
	rings_offer(rings, head);
}

/* A table of descriptors, of which the first is a chain, or a table itself. */
static void indirect(volatile struct rings *rings, uint16_t flags, uint32_t len, uint16_t inner)
{
	desc_set(&table[0], scratch, FRAME_LEN, flags | inner, 0);
	desc_set(&rings->desc[0], table, len, DESC_INDIRECT, 0);
	rings_offer(rings, 0);
}

/* `flags` are those of good buffers of the queue. False when there are no more. */
static bool spoil(volatile struct rings *rings, uint16_t flags, unsigned which)
{
	switch (which) {
	case 0:
		outside(rings, flags, virtio_window);
		break;
	case 1:
		outside(rings, flags, ram_end - 1);
		break;
	case 2:
		outside(rings, flags, UINT64_C(1) << 63);
		break;
	case 3:
		outside(rings, flags, UINT64_MAX - 1);
		break;
	case 4:
		loop(rings, flags, 1);
		break;
	case 5:
		loop(rings, flags, QUEUE_SIZE);
		break;
	case 6:
		one(rings, flags | DESC_NEXT, QUEUE_SIZE, 0);
		break;
	case 7:
		one(rings, flags, 0, QUEUE_SIZE);
		break;
	case 8:
		one(rings, flags ^ DESC_WRITE, 0, 0);
		break;
	case 9:
		rings->avail.idx = 1000;
		break;
	case 10:
		indirect(rings, flags, sizeof(table[0]) + 1, 0);
		break;
	case 11:
		indirect(rings, flags, sizeof(table[0]), DESC_INDIRECT);
		break;
	case 12:
		desc_set(&rings->desc[0], (volatile void *)virtio_window, 16, DESC_INDIRECT, 0);
		rings_offer(rings, 0);
		break;
	default:
		return false;
	}
	return true;
}

/* The kernel looks at buffers for frames when there is one, for which the host is asked. */
static bool is_found_out(unsigned queue)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (needs_reset()) {
			return true;
		}
		if (queue == RX) {
			ask();
		}
		if (!disk_works(2)) {
			return false;
		}
	}
	return false;
}

static bool try_queue(unsigned queue)
{
	for (unsigned i = 0;; i++) {
		begin();
		if (!spoil(net->rings[queue], queue == RX ? DESC_WRITE : 0, i)) {
			return true;
		}
		device_notify(net, queue);
		if (!is_found_out(queue) || !net_works()) {
			print("virtio_vhost: after contents ");
			print_number(i);
			print(queue == RX ? " of frames in\n" : " of frames out\n");
			return false;
		}
	}
}

/* --- And one that wants a processor of the host --- */

static void spin(void)
{
	volatile struct rings *rings = net->rings[TX];

	begin();
	desc_set(&rings->desc[0], scratch, SHORT_LEN, 0, 0);
	rings_offer(rings, 0);
	device_notify(net, TX);
}

static bool spin_until_input(void)
{
	spin();
	print("virtio_vhost: spins\n");
	while ((serial_in(REG_LSR) & LSR_DATA_READY) == 0) {
		if (!disk_works(3) || !entropy_works() || needs_reset()) {
			return false;
		}
	}
	return true;
}

void guest_main(void)
{
	struct ram_range ranges[16];
	bool is_ok = devices_find();
	size_t count = ram_ranges(ranges, COUNT_OF(ranges));

	ram_end = count > 0 ? ranges[count - 1].base + ranges[count - 1].len : 0;
	if (is_ok) {
		device_start(&devices[DEV_BLOCK]);
		device_start(&devices[DEV_ENTROPY]);
	}
	is_ok = is_ok && net_works() && try_queue(TX) && try_queue(RX);
	print(is_ok ? "virtio_vhost: needs resets\n" : "virtio_vhost: wrong\n");
	is_ok = is_ok && spin_until_input() && net_works();
	spin();
	print(is_ok ? "virtio_vhost: ok\n" : "virtio_vhost: wrong\n");
}
