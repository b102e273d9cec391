/* SPDX-License-Identifier: Apache-2.0 */
/* The memory device, from its driver's side. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "devices/virtio/mem/mem.h"
#include "devices/virtio/mem/mem_req.h"
#include "tests/lib/vdriver.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_plug.h"

#define BASE (8 * GIB)
#define BLOCK (2 * MIB)
#define INACCESSIBLE (UINT64_C(1) << 1)

enum {
	TOTAL_MIB = 512,
	CONFIG_USABLE = 32,
	CONFIG_PLUGGED = 40,
	CONFIG_REQUESTED = 48,
	REG_INTERRUPT_STATUS = 0x60,
	INT_CONFIG = 2,
	NOTHING = 0xeeee, /* vdriver's pattern: the device has not written */
};

static struct vdriver driver;
static struct mem *mem;
static struct mem_metrics *metrics;

static void make_device(const struct mem_config *config)
{
	struct error err = {0};

	cr_assert_eq(mem_new(vdriver_env(&driver), config, &mem, &err), 0, "%s", err.msg);
	metrics = mem_metrics(mem);
}

static void make(const struct mem_config *config)
{
	const struct gmem_range range = {GPA(BASE), config->total_size_mib * MIB};
	struct error err = {0};

	vdriver_init(&driver);
	cr_assert_eq(gmem_plug_add(driver.mem, range, mem_unit_len(config), &err), 0, "%s",
		     err.msg);
	make_device(config);
	cr_assert(vdriver_start(&driver, mem_virtio(mem), ~UINT64_C(0)));
}

static const struct mem_config usual = {TOTAL_MIB, 2, 128};

static void unmake(void)
{
	mem_free(mem);
	mem = NULL;
	vdriver_destroy(&driver);
}

static void tear_down(void)
{
	if (mem != NULL) {
		unmake();
	}
}

TestSuite(mem, .fini = tear_down);

static uint64_t config_of(uint64_t offset)
{
	uint64_t value;

	vdriver_read_config(&driver, offset, &value, sizeof(value));
	return value;
}

static void request(uint32_t mib)
{
	struct error err = {0};

	cr_assert_eq(mem_request(mem, mib, &err), 0, "%s", err.msg);
}

struct resp {
	uint16_t type;
	uint16_t state;
};

static unsigned send(uint16_t type, uint64_t addr, uint16_t count)
{
	uint8_t bytes[MEM_REQ_LEN] = {0};
	const struct vbuf bufs[] = {{bytes, sizeof(bytes), 0}, {NULL, MEM_RESP_LEN, VBUF_WRITABLE}};

	store_le16(bytes, type);
	store_le64(bytes + 8, addr);
	store_le16(bytes + 16, count);
	unsigned chain = vdriver_add(&driver, 0, bufs, ARRAY_COUNT(bufs));

	vdriver_kick(&driver, 0);
	return chain;
}

static struct resp hear(unsigned chain)
{
	uint8_t bytes[MEM_RESP_LEN];
	struct vring_used used;

	vdriver_run(&driver);
	cr_assert(vdriver_used(&driver, 0, &used));
	cr_assert_eq(used.id, chain);
	cr_assert_eq(used.len, MEM_RESP_LEN);
	vdriver_get(&driver, 0, chain, 1, bytes, sizeof(bytes));
	return (struct resp){load_le16(bytes), load_le16(bytes + 8)};
}

static struct resp ask(uint16_t type, uint64_t addr, uint16_t count)
{
	return hear(send(type, addr, count));
}

#define EXPECT(request, first, count, answer)                                                      \
	cr_expect_eq(ask(request, BASE + (first)*BLOCK, count).type, answer)

static bool is_ram(uint64_t block)
{
	return gmem_contains(driver.mem, GPA(BASE + block * BLOCK), BLOCK);
}

static void touch(uint64_t block)
{
	const uint64_t word = 1;

	cr_assert_eq(gmem_write(driver.mem, GPA(BASE + block * BLOCK), &word, sizeof(word)), 0);
}

Test(mem, plugs_up_to_what_is_requested)
{
	make(&usual);
	cr_expect_eq(config_of(0), BLOCK);
	cr_expect_eq(config_of(16), BASE);
	cr_expect_eq(config_of(24), TOTAL_MIB * MIB);
	cr_expect_eq(config_of(CONFIG_USABLE), 0);
	EXPECT(MEM_PLUG, 0, 1, MEM_ERROR); /* nothing is usable */
	vdriver_interrupts(&driver);
	request(8);
	cr_expect((vdriver_read(&driver, REG_INTERRUPT_STATUS) & INT_CONFIG) != 0);
	cr_expect_eq(config_of(CONFIG_USABLE), 128 * MIB, "whole slots");
	cr_expect_eq(config_of(CONFIG_REQUESTED), 8 * MIB);
	EXPECT(MEM_PLUG, 1, 2, MEM_ACK);
	cr_expect(!is_ram(0) && is_ram(1) && is_ram(2) && !is_ram(3));
	cr_expect_eq(config_of(CONFIG_PLUGGED), 2 * BLOCK);
	/* One more than is requested: the driver is to look at that again. */
	EXPECT(MEM_PLUG, 10, 3, MEM_NACK);
	EXPECT(MEM_PLUG, 10, 2, MEM_ACK);
	request(0);
	cr_expect_eq(config_of(CONFIG_USABLE), 128 * MIB);
	EXPECT(MEM_UNPLUG, 1, 2, MEM_ACK);
	cr_expect(!is_ram(1) && !is_ram(2) && is_ram(10));
	cr_expect_eq(config_of(CONFIG_PLUGGED), 2 * BLOCK);
	EXPECT(MEM_UNPLUG_ALL, 99, 99, MEM_ACK);
	cr_expect(!is_ram(10));
	cr_expect_eq(config_of(CONFIG_PLUGGED), 0);
	cr_expect_eq(config_of(CONFIG_USABLE), 0);
	cr_expect_eq(metrics->plug_count.value, 4);
	cr_expect_eq(metrics->plug_fails.value, 2);
	cr_expect_eq(metrics->plug_bytes.value, 4 * BLOCK);
	cr_expect_eq(metrics->unplug_count.value, 1);
	cr_expect_eq(metrics->unplug_bytes.value, 2 * BLOCK);
	cr_expect_eq(metrics->unplug_all_count.value, 1);
	cr_expect_eq(metrics->queue_event_fails.value, 0);
}

Test(mem, tells_the_state_of_blocks)
{
	make(&usual);
	request(128);
	EXPECT(MEM_PLUG, 4, 4, MEM_ACK);
	cr_expect_eq(ask(MEM_STATE, BASE, 4).state, MEM_UNPLUGGED);
	cr_expect_eq(ask(MEM_STATE, BASE + 4 * BLOCK, 4).state, MEM_PLUGGED);
	cr_expect_eq(ask(MEM_STATE, BASE + 3 * BLOCK, 2).state, MEM_MIXED);
	cr_expect_eq(ask(MEM_STATE, BASE, 64).state, MEM_MIXED);
	cr_expect_eq(ask(MEM_STATE, BASE, 65).type, MEM_ERROR);
	cr_expect_eq(metrics->state_count.value, 5);
	cr_expect_eq(metrics->state_fails.value, 1);
}

/* Wrap-around and alignment in an address and a number of blocks. */
Test(mem, refuses_blocks_that_are_not_usable)
{
	static const struct {
		uint64_t addr;
		uint16_t count;
	} cases[] = {
		{BASE, 0},
		{BASE + 1, 1},
		{BASE + BLOCK / 2, 1},
		{BASE - BLOCK, 1},
		{BASE - BLOCK, 2},
		{0, 1},
		{0, UINT16_MAX},
		{BASE + 128 * MIB, 1},
		{BASE + 126 * MIB, 2},
		{BASE, 65},
		{BASE, UINT16_MAX},
		{UINT64_MAX, 1},
		{UINT64_MAX - BLOCK + 1, 1},
		{UINT64_MAX - BLOCK + 1, 2},
		{UINT64_C(1) << 63, UINT16_MAX},
		{BASE + TOTAL_MIB * MIB, 1},
	};

	make(&usual);
	request(128);
	EXPECT(MEM_PLUG, 0, 64, MEM_ACK);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		for (uint16_t type = MEM_PLUG; type <= MEM_STATE; type++) {
			if (type != MEM_UNPLUG_ALL) {
				cr_expect_eq(ask(type, cases[i].addr, cases[i].count).type,
					     MEM_ERROR, "case %zu, type %u", i, type);
			}
		}
	}
	cr_expect_eq(config_of(CONFIG_PLUGGED), 128 * MIB);
	EXPECT(MEM_PLUG, 0, 1, MEM_NACK);
	request(256);
	EXPECT(MEM_PLUG, 63, 2, MEM_ERROR); /* one of them is plugged */
	EXPECT(MEM_UNPLUG, 63, 2, MEM_ERROR);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 128 * MIB);
	cr_expect_eq(ask(4, BASE, 1).type, MEM_ERROR);
	cr_expect_eq(ask(UINT16_MAX, BASE, 1).type, MEM_ERROR);
	cr_expect_eq(metrics->queue_event_fails.value, 2);
}

Test(mem, gives_back_chains_that_are_no_requests)
{
	const uint8_t bytes[MEM_REQ_LEN] = {MEM_UNPLUG_ALL};
	const struct {
		struct vbuf bufs[2];
		size_t count;
	} cases[] = {
		{{{bytes, MEM_REQ_LEN, 0}}, 1},
		{{{NULL, MEM_RESP_LEN, VBUF_WRITABLE}}, 1},
		{{{bytes, MEM_REQ_LEN - 1, 0}, {NULL, MEM_RESP_LEN, VBUF_WRITABLE}}, 2},
		{{{bytes, MEM_REQ_LEN, 0}, {NULL, MEM_RESP_LEN - 1, VBUF_WRITABLE}}, 2},
	};

	make(&usual);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vring_used used;

		vdriver_add(&driver, 0, cases[i].bufs, cases[i].count);
		vdriver_kick(&driver, 0);
		vdriver_run(&driver);
		cr_assert(vdriver_used(&driver, 0, &used), "case %zu", i);
		cr_expect_eq(used.len, 0, "case %zu", i);
	}
	cr_expect_eq(metrics->queue_event_fails.value, ARRAY_COUNT(cases));
	cr_expect_eq(metrics->unplug_all_count.value, 0);
}

Test(mem, a_driver_that_reads_what_is_not_plugged_does_not_start)
{
	make(&usual);
	cr_expect(!vdriver_start(&driver, mem_virtio(mem), ~INACCESSIBLE));
	cr_expect_eq(metrics->activate_fails.value, 1);
}

Test(mem, guest_memory_must_have_room_for_it)
{
	static const struct mem_config other = {TOTAL_MIB * 2, 2, 128};
	struct error err = {0};
	struct mem *none = NULL;

	make(&usual);
	cr_expect_eq(mem_new(vdriver_env(&driver), &other, &none, &err), -1);
	cr_expect_str_eq(err.msg, "Guest memory has no room for 1024 MiB that are plugged in");
	cr_expect_null(none);
}

Test(mem, only_sizes_that_can_be_are_requested)
{
	struct error err = {0};

	make(&usual);
	cr_expect_eq(mem_request(mem, 3, &err), -1);
	cr_expect_str_eq(err.msg, "Size 3145728 is invalid: it must be a multiple of block size "
				  "and less than the total size");
	err = (struct error){0};
	cr_expect_eq(mem_request(mem, TOTAL_MIB + 2, &err), -1);
	err = (struct error){0};
	/* 2^32 MiB would be 0 in 32 bits. */
	cr_expect_eq(mem_request(mem, UINT32_MAX - 1, &err), -1);
	err = (struct error){0};
	request(TOTAL_MIB);
	cr_expect_eq(config_of(CONFIG_USABLE), TOTAL_MIB * MIB);
	vdriver_stop(&driver);
	cr_expect_eq(mem_request(mem, 2, &err), -1);
	cr_expect_str_eq(err.msg, "Device is not active");
}

Test(mem, a_reset_leaves_blocks_as_they_are)
{
	struct mem_status status;

	make(&usual);
	request(128);
	EXPECT(MEM_PLUG, 0, 3, MEM_ACK);
	touch(2);
	cr_assert(vdriver_start(&driver, mem_virtio(mem), ~UINT64_C(0)));
	cr_expect(is_ram(2));
	mem_get_status(mem, &status);
	cr_expect(status.plugged_size_mib == 6 && status.requested_size_mib == 128);
	EXPECT(MEM_UNPLUG_ALL, 0, 0, MEM_ACK);
	cr_expect(!is_ram(2));
}

/* Bytes of a response in what was just unplugged go nowhere; the queue goes on. */
Test(mem, a_response_may_lose_its_place)
{
	uint8_t bytes[MEM_REQ_LEN] = {0};
	const struct vbuf bufs[] = {{bytes, sizeof(bytes), 0}, {NULL, MEM_RESP_LEN, VBUF_WRITABLE}};
	struct vring_used used;

	make(&usual);
	cr_assert(vdriver_start(&driver, mem_virtio(mem), INACCESSIBLE)); /* no tables */
	request(128);
	EXPECT(MEM_PLUG, 0, 1, MEM_ACK);
	store_le16(bytes, MEM_UNPLUG_ALL);
	unsigned chain = vdriver_add(&driver, 0, bufs, ARRAY_COUNT(bufs));
	struct vring *ring = &driver.queues[0].ring;
	uint16_t second = driver.queues[0].next[chain];
	const struct vring_desc moved = {.addr = BASE, .len = MEM_RESP_LEN, .flags = VRING_WRITE};

	vring_set_desc(ring, second, moved);
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	cr_assert(vdriver_used(&driver, 0, &used));
	cr_expect_eq(used.len, 0);
	cr_expect_eq(metrics->queue_event_fails.value, 1);
	cr_expect_eq(ask(MEM_STATE, BASE, 1).type, MEM_ERROR, "nothing is usable any more");
}

/* --- What takes several turns --- */

static void run_once(void)
{
	struct error err = {0};

	cr_assert_eq(evloop_run_once(&driver.loop, 0, &err), 0);
}

Test(mem, an_unplug_of_much_takes_several_turns)
{
	struct vring_used used;
	unsigned turns = 0;

	make(&usual);
	request(TOTAL_MIB);
	EXPECT(MEM_PLUG, 0, TOTAL_MIB / 2, MEM_ACK);
	unsigned chain = send(MEM_UNPLUG, BASE, TOTAL_MIB / 2);

	while (turns < 1000 && !vdriver_used(&driver, 0, &used)) {
		run_once();
		turns++;
	}
	cr_expect_geq(turns, 4);
	cr_expect_eq(used.id, chain);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 0);
}

Test(mem, a_block_may_be_larger_than_a_piece)
{
	static const struct mem_config large = {TOTAL_MIB, 128, 256};

	make(&large);
	cr_expect_eq(mem_unit_len(&large), 32 * MIB);
	request(256);
	cr_expect_eq(ask(MEM_PLUG, BASE + 32 * MIB, 1).type, MEM_ERROR);
	cr_expect_eq(ask(MEM_PLUG, BASE + 128 * MIB, 1).type, MEM_ACK);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 128 * MIB);
	cr_expect(gmem_contains(driver.mem, GPA(BASE + 128 * MIB), 128 * MIB));
	cr_expect(!gmem_contains(driver.mem, GPA(BASE + 256 * MIB), 1));
	cr_expect_eq(ask(MEM_UNPLUG, BASE + 128 * MIB, 1).type, MEM_ACK);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 0);
}

static struct state_bed bed;

/* In the middle of a request, after one turn; another device over the same memory ends it. */
Test(mem, a_request_goes_on_in_a_machine_that_is_loaded)
{
	make(&usual);
	request(TOTAL_MIB);
	EXPECT(MEM_PLUG, 0, TOTAL_MIB / 2, MEM_ACK);
	unsigned chain = send(MEM_UNPLUG, BASE + 2 * BLOCK, TOTAL_MIB / 2 - 2);

	run_once();
	uint64_t plugged = config_of(CONFIG_PLUGGED);

	cr_assert(plugged > 4 * MIB && plugged < TOTAL_MIB * MIB);
	state_bed_take(&bed, &driver);
	mem_free(mem);
	make_device(&usual);
	state_bed_give(&bed, &driver, mem_virtio(mem));
	cr_expect_eq(hear(chain).type, MEM_ACK);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 2 * BLOCK);
	cr_expect_eq(config_of(CONFIG_REQUESTED), TOTAL_MIB * MIB);
	cr_expect(is_ram(1) && !is_ram(2));
	EXPECT(MEM_UNPLUG, 0, 2, MEM_ACK);
}

Test(mem, a_state_that_cannot_be_is_refused)
{
	static const struct {
		size_t offset; /* in the configuration */
		uint64_t value;
	} cases[] = {
		{CONFIG_USABLE, TOTAL_MIB * MIB + BLOCK},
		{CONFIG_USABLE, BLOCK + 1},
		{CONFIG_REQUESTED, UINT64_MAX},
		{CONFIG_REQUESTED, 1},
	};

	make(&usual);
	request(128);
	state_bed_take(&bed, &driver);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		static struct state_bed spoilt;
		struct error err = {0};

		spoilt = bed;
		store_le64(spoilt.state.config + cases[i].offset, cases[i].value);
		mem_free(mem);
		make_device(&usual);
		cr_expect(state_bed_load(&spoilt, &driver, mem_virtio(mem), &err) < 0, "case %zu",
			  i);
		cr_expect(strstr(err.msg, "its sizes or its request are impossible") != NULL, "%s",
			  err.msg);
	}
}

/* --- Rings and buffers in what comes and goes --- */

Test(mem, what_a_ring_lies_in_stays)
{
	struct virtq vq = {0};
	struct virtq_config config = {.size = 16,
				      .desc = GPA(BASE + BLOCK),
				      .avail = GPA(BASE + BLOCK + 4096),
				      .used = GPA(BASE + BLOCK + 8192)};
	struct error err = {0};

	make(&usual);
	request(128);
	EXPECT(MEM_PLUG, 0, 3, MEM_ACK);
	cr_assert_eq(virtq_start(&vq, &config, driver.mem, 0, &err), 0, "%s", err.msg);
	EXPECT(MEM_UNPLUG, 0, 3, MEM_BUSY);
	EXPECT(MEM_UNPLUG_ALL, 0, 0, MEM_BUSY);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 3 * BLOCK);
	EXPECT(MEM_UNPLUG, 2, 1, MEM_ACK);
	virtq_stop(&vq);
	EXPECT(MEM_UNPLUG_ALL, 0, 0, MEM_ACK);
	cr_expect_eq(metric_get(&metrics->unplug_discard_fails), 0);
}

/* The host allows a limited number of mappings: a plug that finds no more is undone. */
Test(mem, what_the_host_refuses_leaves_nothing_plugged)
{
	static const struct mem_config huge = {128 * 1024, 2, 128};
	uint64_t block = 1;

	make(&huge);
	request(huge.total_size_mib);
	while (ask(MEM_PLUG, BASE + block * BLOCK, 1).type == MEM_ACK) {
		block += 2;
	}
	uint64_t plugged = config_of(CONFIG_PLUGGED);

	cr_expect_gt(block, 16000);
	cr_expect(!is_ram(block));
	/* 100 blocks, of which the first pieces have their borders already. */
	EXPECT(MEM_PLUG, block + 2, 100, MEM_BUSY);
	cr_expect_eq(config_of(CONFIG_PLUGGED), plugged);
	EXPECT(MEM_UNPLUG_ALL, 0, 0, MEM_ACK);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 0);
}

/* Bytes of memory that this process may write to, as RLIMIT_DATA counts them. */
static uint64_t data_len(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[128];
	unsigned long kib = 0;

	cr_assert(status != NULL);
	while (kib == 0 && fgets(line, sizeof(line), status) != NULL) {
		(void)sscanf(line, "VmData: %lu", &kib);
	}
	fclose(status);
	cr_assert(kib > 0);
	return kib * KIB;
}

/* Pieces of a request are of 32 MiB: some are plugged before the host refuses one. */
Test(mem, a_plug_that_the_host_refuses_half_way_is_undone)
{
	struct rlimit old;

	make(&usual);
	request(TOTAL_MIB);
	EXPECT(MEM_PLUG, 200, 1, MEM_ACK);
	cr_assert_eq(getrlimit(RLIMIT_DATA, &old), 0);
	const struct rlimit tight = {data_len() + 80 * MIB, old.rlim_max};

	cr_assert_eq(setrlimit(RLIMIT_DATA, &tight), 0);
	EXPECT(MEM_PLUG, 0, 100, MEM_BUSY);
	cr_assert_eq(setrlimit(RLIMIT_DATA, &old), 0);
	cr_expect_eq(config_of(CONFIG_PLUGGED), BLOCK, "what was there before");
	cr_expect(!is_ram(0) && !is_ram(16) && is_ram(200));
	/* The driver tries again later. */
	EXPECT(MEM_PLUG, 0, 100, MEM_ACK);
	cr_expect_eq(config_of(CONFIG_PLUGGED), 101 * BLOCK);
}
