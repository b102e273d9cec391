/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the memory device: an input is a program of what a driver and the API do. Besides the
 * sanitizers' checks, no chain may come back that was not offered; the sizes in the configuration
 * must be those of the memory; and what is plugged must be RAM that bears a write, all else none.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/mem/mem.h"
#include "devices/virtio/mem/mem_req.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_plug.h"

#define BASE (UINT64_C(8) << 30)

enum {
	QUEUE_SIZE = 16,
	TURNS_MAX = 8,
	TOTAL_MIB = 256,
	UNITS_MAX = 128,
	CONFIG_USABLE = 32,
	CONFIG_PLUGGED = 40,
	CONFIG_REQUESTED = 48,
};

enum action {
	ACT_REQUEST, /* one that makes sense, mostly */
	ACT_RAW,     /* any bytes in any chain */
	ACT_RUN,
	ACT_START,
	ACT_STOP,
	ACT_SIZE, /* the API */
	ACT_RING, /* a queue of another device begins, or ends, in what may be plugged */
	ACT_RESUME,
	ACT_TOUCH,
	ACTIONS
};

struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t type;
	uint16_t count;
	uint32_t value;
};

struct bed {
	struct vdriver driver;
	struct mem *mem;
	struct virtq other;
	uint16_t next_desc;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	be_quiet();
	return 0;
}

static uint64_t config_of(struct bed *bed, uint64_t offset)
{
	uint64_t value;

	vdriver_read_config(&bed->driver, offset, &value, sizeof(value));
	return value;
}

/* What must hold between two steps. */
static void check(struct bed *bed)
{
	struct gmem_range range;
	uint64_t unit;
	struct gmem_blocks all;
	uint64_t ram = 0;

	require(gmem_plug_region(bed->driver.mem, &range, &unit, &all));
	for (uint64_t i = 0; i < all.count; i++) {
		gpa_t at = GPA(range.base.v + i * unit);
		bool is_plugged = gmem_plugged(bed->driver.mem, (struct gmem_blocks){i, 1}) == 1;

		require(gmem_contains(bed->driver.mem, at, unit) == is_plugged);
		require(gmem_write(bed->driver.mem, at, "x", 1) == (is_plugged ? 0 : -1));
		ram += is_plugged ? unit : 0;
	}
	require(config_of(bed, CONFIG_PLUGGED) == ram);
	require(config_of(bed, CONFIG_REQUESTED) <= range.len);
	require(config_of(bed, CONFIG_USABLE) <= range.len);
}

static void start(struct bed *bed, bool is_right)
{
	require(vdriver_start(&bed->driver, mem_virtio(bed->mem), is_right ? 2 : 0) == is_right);
	bed->next_desc = 0;
}

/* The request lies in the driver's memory, the response anywhere. */
static void offer(struct bed *bed, const uint8_t bytes[MEM_REQ_LEN], uint64_t answer, uint32_t len)
{
	struct vring *ring = &bed->driver.queues[0].ring;
	uint16_t head = bed->next_desc;
	uint16_t second = (uint16_t)((head + 1) % QUEUE_SIZE);
	uint64_t at = VDRIVER_MEM_LEN - MIB + head * UINT64_C(64);
	const struct vring_desc descs[] = {
		{.addr = at, .len = MEM_REQ_LEN, .flags = VRING_NEXT, .next = second},
		{.addr = answer, .len = len, .flags = VRING_WRITE},
	};

	require(gmem_write(bed->driver.mem, GPA(at), bytes, MEM_REQ_LEN) == 0);
	vring_set_desc(ring, head, descs[0]);
	vring_set_desc(ring, second, descs[1]);
	bed->next_desc = (uint16_t)((second + 1) % QUEUE_SIZE);
	vring_offer(ring, head);
	vdriver_notify(&bed->driver, 0);
}

static void request(struct bed *bed, const struct step *step)
{
	uint8_t bytes[MEM_REQ_LEN] = {0};

	store_le16(bytes, step->type % 5);
	store_le64(bytes + 8, BASE + step->value % (UNITS_MAX + 2) * 2 * MIB);
	store_le16(bytes + 16, step->count % (UNITS_MAX + 2));
	offer(bed, bytes, VDRIVER_MEM_LEN - 2 * MIB, MEM_RESP_LEN);
}

static void run(struct bed *bed)
{
	struct error err = {0};

	for (unsigned i = 0; i < TURNS_MAX; i++) {
		require(evloop_run_once(&bed->driver.loop, 0, &err) == 0);
	}
}

static void turn_ring(struct bed *bed, const struct step *step)
{
	uint64_t at = BASE + step->value % (UNITS_MAX * 512) * 4096;
	const struct virtq_config config = {
		.size = 256, .desc = GPA(at), .avail = GPA(at + 4096), .used = GPA(at + 8192)};
	struct error err = {0};

	if (bed->other.size != 0) {
		virtq_stop(&bed->other);
	} else if (virtq_start(&bed->other, &config, bed->driver.mem, 0, &err) == 0) {
		virtq_push(&bed->other, 0, 0);
		(void)!virtq_publish(&bed->other);
	}
}

static void play(struct bed *bed, const struct step *step, struct input *input)
{
	uint8_t bytes[MEM_REQ_LEN] = {0};
	struct error err = {0};

	switch (step->action % ACTIONS) {
	case ACT_REQUEST:
		request(bed, step);
		break;
	case ACT_RAW:
		(void)!input_take(input, bytes, sizeof(bytes));
		offer(bed, bytes, BASE + step->value % (TOTAL_MIB * MIB), step->count % 64);
		break;
	case ACT_RUN:
		run(bed);
		break;
	case ACT_START:
		start(bed, step->type % 8 != 0);
		break;
	case ACT_STOP:
		vdriver_stop(&bed->driver);
		break;
	case ACT_SIZE:
		(void)!mem_request(bed->mem, step->value % (TOTAL_MIB + 3), &err);
		break;
	case ACT_RING:
		turn_ring(bed, step);
		break;
	case ACT_TOUCH:
		if (bed->other.size != 0) {
			virtq_push(&bed->other, 0, 0);
			(void)!virtq_publish(&bed->other);
		}
		break;
	default:
		virtio_quiesce(mem_virtio(bed->mem));
		virtio_resume(mem_virtio(bed->mem));
		break;
	}
}

static void look_at_used(struct bed *bed)
{
	struct vring_used used;

	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		if (!vring_take_used(&bed->driver.queues[0].ring, &used)) {
			return;
		}
		require(used.id < QUEUE_SIZE && used.len <= MEM_RESP_LEN);
	}
}

static void make(struct bed *bed, uint8_t kind)
{
	static const struct mem_config configs[] = {
		{TOTAL_MIB, 2, 128}, {TOTAL_MIB, 4, 128}, {TOTAL_MIB, 64, 128}};
	const struct mem_config *config = &configs[kind % ARRAY_COUNT(configs)];
	const struct gmem_range range = {GPA(BASE), TOTAL_MIB * MIB};
	struct error err = {0};

	vdriver_init(&bed->driver);
	bed->driver.queue_size = QUEUE_SIZE;
	require(gmem_plug_add(bed->driver.mem, range, mem_unit_len(config), &err) == 0);
	require(mem_new(vdriver_env(&bed->driver), config, &bed->mem, &err) == 0);
	start(bed, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bed bed;
	struct input input = {data, size};
	struct step step;

	memset(&bed, 0, sizeof(bed));
	make(&bed, (uint8_t)input_number(&input, 1));
	while (input_take(&input, &step, sizeof(step))) {
		play(&bed, &step, &input);
		look_at_used(&bed);
		check(&bed);
	}
	virtq_stop(&bed.other);
	mem_free(bed.mem);
	vdriver_destroy(&bed.driver);
	return 0;
}
