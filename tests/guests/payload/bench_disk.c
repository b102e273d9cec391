/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not a test: reads and writes the drive for tests/bench/devices.c, one request at a time and 32.
 * Output: "bench: begin ROW" and "bench: end ROW COUNT 0" for each row, "bench: done".
 *
 * Theory of operation. What counts is the monitor's processor time while the data goes past the
 * guest. So the driver is the least there can be: it asks for no interrupt, offers a whole batch
 * before it notifies, and polls. After each line it is idle for a while, in which the runner looks
 * at the clocks.
 */
#include "tests/guests/payload/guest.h"

/* Of a row; disk.c has fewer. */
#ifndef REQUESTS
#define REQUESTS 4096
#endif

enum {
	REG_DEVICE_ID = 0x08,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = 0x50,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80,
	REG_QUEUE_AVAIL = 0x90,
	REG_QUEUE_USED = 0xa0,

	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 1 | 2,
	STATUS_FEATURES_OK = 8,
	STATUS_DRIVER_OK = 4,
	DEVICE_BLOCK = 2,
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	NO_INTERRUPT = 1,

	DEPTH_MAX = 32,
	QUEUE_SIZE = 128, /* three descriptors for each request */
	DISK_LEN = 16 << 20,
	SECTOR = 512,
	LEN_MAX = 128 << 10,
	SETTLE = 100000, /* reads of memory: tens of milliseconds on an interpreting KVM */
};

/*
 * Where QEMU's microvm, an x86_64 machine, has its virtio devices; squib's first is at
 * virtio_window. Elsewhere nothing or memory is there, in which no device's number is found.
 */
enum {
	MICROVM_STEP = 0x200,
	MICROVM_COUNT = 24,
};
static const uint64_t microvm_base = 0xfeb00000;

struct request {
	uint32_t type; /* 0: in, 1: out */
	uint32_t reserved;
	uint64_t sector;
	uint8_t status;
};

static volatile struct {
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
		uint16_t next;
	} desc[QUEUE_SIZE];
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[QUEUE_SIZE];
	} avail;
	struct {
		uint16_t flags;
		uint16_t idx;
		uint32_t ring[2 * QUEUE_SIZE];
	} used __attribute__((aligned(16)));
} rings __attribute__((aligned(0x1000)));

static volatile struct request requests[DEPTH_MAX];
static uint64_t window_base;
static uint8_t data[DEPTH_MAX][LEN_MAX] __attribute__((aligned(0x1000)));

static void write_reg(unsigned reg, uint32_t value)
{
	memory_write(window_base + reg, 4, value);
}

static bool is_device_at(uint64_t base)
{
	window_base = base;
	return memory_read(base + REG_DEVICE_ID, 4) == DEVICE_BLOCK;
}

static bool find_device(void)
{
	bool is_found = is_device_at(virtio_window);

	for (unsigned i = 0; i < MICROVM_COUNT && !is_found; i++) {
		is_found = is_device_at(microvm_base + i * MICROVM_STEP);
	}
	return is_found;
}

static void start_device(void)
{
	write_reg(REG_STATUS, STATUS_ACKNOWLEDGE);
	write_reg(REG_STATUS, STATUS_DRIVER);
	write_reg(REG_DRIVER_FEATURES_SEL, 1);
	write_reg(REG_DRIVER_FEATURES, 1); /* VERSION_1, and nothing else */
	write_reg(REG_STATUS, STATUS_DRIVER | STATUS_FEATURES_OK);
	rings.avail.flags = NO_INTERRUPT;
	write_reg(REG_QUEUE_NUM, QUEUE_SIZE);
	write_reg(REG_QUEUE_DESC, (uint32_t)(uint64_t)&rings.desc);
	write_reg(REG_QUEUE_AVAIL, (uint32_t)(uint64_t)&rings.avail);
	write_reg(REG_QUEUE_USED, (uint32_t)(uint64_t)&rings.used);
	write_reg(REG_QUEUE_READY, 1);
	write_reg(REG_STATUS, STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

static void set_desc(unsigned index, volatile void *addr, uint32_t len, uint16_t flags)
{
	rings.desc[index].addr = (uint64_t)addr;
	rings.desc[index].len = len;
	rings.desc[index].flags = flags;
	rings.desc[index].next = (uint16_t)(index + 1);
}

static void prepare(unsigned depth, uint32_t len, bool is_write)
{
	for (unsigned i = 0; i < depth; i++) {
		requests[i].type = is_write;
		set_desc(3 * i, &requests[i], 16, DESC_NEXT);
		set_desc(3 * i + 1, data[i], len, DESC_NEXT | (is_write ? 0 : DESC_WRITE));
		set_desc(3 * i + 2, &requests[i].status, 1, DESC_WRITE);
	}
}

static bool transfer(unsigned depth, uint32_t len, unsigned count)
{
	static unsigned number;
	unsigned count_of_places = DISK_LEN / len;
	uint16_t idx = rings.avail.idx;

	for (unsigned done = 0; done < count; done += depth) {
		for (unsigned i = 0; i < depth; i++) {
			/* Far apart: nothing to merge. */
			requests[i].sector = (number++ * 7 + 3) % count_of_places * (len / SECTOR);
			requests[i].status = 0xff;
			rings.avail.ring[idx++ % QUEUE_SIZE] = (uint16_t)(3 * i);
		}
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		rings.avail.idx = idx;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		write_reg(REG_QUEUE_NOTIFY, 0);
		while (rings.used.idx != idx) {
		}
		for (unsigned i = 0; i < depth; i++) {
			if (requests[i].status != 0) {
				return false;
			}
		}
	}
	return true;
}

static void settle(void)
{
	for (unsigned i = 0; i < SETTLE; i++) {
		(void)rings.used.flags;
	}
}

static void print_row(const char *what, unsigned depth, uint32_t len, bool is_write)
{
	print(what);
	print(is_write ? "write " : "read ");
	print_number(len >> 10);
	print(" KiB, depth ");
	print_number(depth);
}

static bool measure(unsigned depth, uint32_t len, bool is_write)
{
	unsigned count = len == LEN_MAX ? REQUESTS / 4 : REQUESTS;
	bool ok;

	prepare(depth, len, is_write);
	print_row("bench: begin ", depth, len, is_write);
	print("\n");
	settle();
	ok = transfer(depth, len, count);
	print_row("bench: end ", depth, len, is_write);
	print("\t");
	print_number(count);
	print("\t0\n");
	settle();
	return ok;
}

void guest_main(void)
{
	bool ok = find_device();

	if (ok) {
		start_device();
	}
	for (uint32_t len = 4096; len <= LEN_MAX; len *= LEN_MAX / 4096) {
		for (unsigned i = 0; i < 4; i++) {
			ok = ok && measure(i % 2 == 0 ? 1 : DEPTH_MAX, len, i >= 2);
		}
	}
	print(ok ? "bench: done\n" : "bench: failed\n");
}
