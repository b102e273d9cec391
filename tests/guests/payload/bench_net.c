/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not a test: sends frames that the host sends back, for tests/bench/devices.c, one at a time and
 * 16. Output: "bench: begin ROW" and "bench: end ROW COUNT 0" for each row, "bench: done".
 *
 * What counts is the monitor's processor time, so the driver polls, as that of bench_disk.c. Frames
 * of other protocols, which a host sends by itself, go back to the queue and are not counted.
 */
#include "tests/guests/payload/virtio.h"

enum {
	RX,
	TX,
	NO_INTERRUPT = 1,
	HEADER_LEN = 12,
	BUFFER_LEN = 2048,
	TYPE_AT = HEADER_LEN + 12, /* of Ethernet's header */
	TYPE = 0x88b5,		   /* for experiments [IEEE 802] */
	COUNT = 4096,
	SETTLE = 100000, /* as bench_disk.c's */
	PATIENCE = 200000000,
};

static struct rings rings[2] __attribute__((aligned(0x1000)));
static struct device net;
static volatile uint8_t received[QUEUE_SIZE][BUFFER_LEN];
static volatile uint8_t sent[BUFFER_LEN];
static uint16_t seen; /* entries of the receive queue's used ring */

static void settle(void)
{
	for (unsigned i = 0; i < SETTLE; i++) {
		(void)*(volatile uint16_t *)&rings[RX].used.flags;
	}
}

static void post(uint16_t buffer)
{
	desc_set(&rings[RX].desc[buffer], received[buffer], BUFFER_LEN, DESC_WRITE, 0);
	rings_offer(&rings[RX], buffer);
}

static void start(void)
{
	net.base = virtio_window;
	net.queues = 2;
	net.rings[RX] = &rings[RX];
	net.rings[TX] = &rings[TX];
	device_start(&net);
	for (unsigned i = 0; i < COUNT_OF(rings); i++) {
		rings[i].avail.flags = NO_INTERRUPT;
	}
	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		post(i);
	}
	device_notify(&net, RX);
	for (unsigned i = 0; i < 12; i++) {
		sent[HEADER_LEN + i] = i < 6 ? 0xff : 0x06;
	}
	sent[TYPE_AT] = TYPE >> 8;
	sent[TYPE_AT + 1] = TYPE & 0xff;
}

/* Takes what has come; how many of ours. */
static unsigned take(void)
{
	unsigned count = 0;

	while (seen != *(volatile uint16_t *)&rings[RX].used.idx) {
		uint16_t buffer = (uint16_t)rings[RX].used.ring[seen % QUEUE_SIZE].id;

		count += received[buffer][TYPE_AT] == TYPE >> 8 &&
			 received[buffer][TYPE_AT + 1] == (TYPE & 0xff);
		post(buffer);
		seen++;
	}
	if (count > 0) {
		device_notify(&net, RX);
	}
	return count;
}

static bool echo(unsigned depth, uint32_t len)
{
	for (unsigned done = 0; done < COUNT; done += depth) {
		unsigned back = 0;

		for (unsigned i = 0; i < depth; i++) {
			desc_set(&rings[TX].desc[i], sent, HEADER_LEN + len, 0, 0);
			rings_offer(&rings[TX], (uint16_t)i);
		}
		device_notify(&net, TX);
		for (unsigned i = 0; back < depth; i++) {
			back += take();
			if (i == PATIENCE) {
				return false;
			}
		}
	}
	return true;
}

static void print_row(const char *what, unsigned depth, uint32_t len)
{
	print(what);
	print("echo ");
	print_number(len);
	print(" bytes, depth ");
	print_number(depth);
}

static bool measure(unsigned depth, uint32_t len)
{
	print_row("bench: begin ", depth, len);
	print("\n");
	settle();
	bool ok = echo(depth, len);

	print_row("bench: end ", depth, len);
	print("\t");
	print_number(COUNT);
	print("\t0\n");
	settle();
	return ok;
}

void guest_main(void)
{
	bool ok = true;

	start();
	for (unsigned depth = 1; depth <= QUEUE_SIZE; depth *= QUEUE_SIZE) {
		ok = ok && measure(depth, 60) && measure(depth, 1514);
	}
	print(ok ? "bench: done\n" : "bench: failed\n");
}
