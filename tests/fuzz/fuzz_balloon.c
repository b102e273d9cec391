/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the balloon: an input is a program of what a driver and the API do. Besides the
 * sanitizers' checks, no chain may come back that was not offered, and the guest must not change
 * the target or what lies behind the configuration.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/balloon/balloon.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

enum {
	SEGS_MAX = 8,
	QUEUE_SIZE = 16,
	TURNS_MAX = 6, /* of the event loop, in one go: lists may be long */
	AMOUNT_MAX = 34,
};

enum action {
	ACT_CHAIN,  /* offers the segments that follow */
	ACT_FILL,   /* writes what follows to the guest's memory */
	ACT_RUN,    /* lets the device work */
	ACT_START,  /* resets it and starts it with some features */
	ACT_STOP,   /* resets it */
	ACT_CONFIG, /* the driver writes to the configuration */
	ACT_AVAIL,  /* any index of the available ring */
	ACT_AMOUNT, /* the API */
	ACT_STATS,  /* asks for statistics by a new interval, and looks at them */
	ACT_START_HINTING,
	ACT_STOP_HINTING,
	ACT_RESUME,
	ACTIONS
};

struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t queue;
	uint8_t count; /* of segments or bytes that follow */
	uint32_t value;
};

struct __attribute__((packed)) seg {
	uint32_t where;
	uint32_t len;
	uint8_t flags;
};

struct bed {
	struct vdriver driver;
	struct balloon *balloon;
	unsigned queue_count;
	uint16_t next_desc;
	uint32_t target_pages;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	be_quiet();
	return 0;
}

/* Near to where things happen: the rings, a border of regions, the hole, the end of memory. */
static uint64_t address(uint32_t where)
{
	static const uint64_t bases[] = {
		0,
		VDRIVER_MEM_LEN / 2 - MIB,
		VDRIVER_HOLE - MIB,
		VDRIVER_HIGH,
	};

	return bases[where % 4] + (where >> 2) % (2 * MIB);
}

static void start(struct bed *bed, uint64_t features)
{
	if (!vdriver_start(&bed->driver, balloon_virtio(bed->balloon), features)) {
		abort();
	}
}

static void offer(struct bed *bed, const struct step *step, const uint8_t *data, size_t count)
{
	unsigned queue = step->queue % bed->queue_count;
	struct vring *ring = &bed->driver.queues[queue].ring;
	uint16_t head = bed->next_desc;

	for (size_t i = 0; i < count; i++) {
		struct seg seg;
		uint16_t next = (uint16_t)((bed->next_desc + 1) % QUEUE_SIZE);

		memcpy(&seg, data + i * sizeof(seg), sizeof(seg));
		struct vring_desc desc = {
			.addr = address(seg.where),
			.len = seg.len % (32 * MIB),
			.flags = (uint16_t)((seg.flags & VRING_WRITE) |
					    (i + 1 < count ? VRING_NEXT : 0)),
			.next = next,
		};

		vring_set_desc(ring, bed->next_desc, desc);
		bed->next_desc = next;
	}
	vring_offer(ring, head);
	vdriver_notify(&bed->driver, queue);
}

static void run(struct bed *bed)
{
	struct error err = {0};

	for (unsigned i = 0; i < TURNS_MAX; i++) {
		if (evloop_run_once(&bed->driver.loop, 0, &err) < 0) {
			abort();
		}
	}
}

static void ask_stats(struct bed *bed, uint16_t seconds)
{
	struct balloon_stats stats = {0};
	struct error err = {0};

	if (balloon_set_stats_interval(bed->balloon, seconds, &err) == 0 &&
	    balloon_get_stats(bed->balloon, &stats, &err) == 0 &&
	    (stats.present >> BALLOON_STATS_TAGS != 0 || stats.target_pages != bed->target_pages)) {
		abort();
	}
}

static void act_as_api(struct bed *bed, const struct step *step)
{
	uint32_t amount = step->value % (AMOUNT_MAX + 1);
	struct error err = {0};

	switch (step->action % ACTIONS) {
	case ACT_AMOUNT:
		if (balloon_set_amount(bed->balloon, amount, &err) == 0) {
			bed->target_pages = amount * 256;
		}
		break;
	case ACT_STATS:
		ask_stats(bed, (uint16_t)step->value);
		break;
	case ACT_START_HINTING:
		(void)!balloon_start_hinting(bed->balloon, step->value % 2 == 0, &err);
		break;
	case ACT_STOP_HINTING:
		(void)!balloon_stop_hinting(bed->balloon, &err);
		break;
	default:
		virtio_quiesce(balloon_virtio(bed->balloon));
		virtio_resume(balloon_virtio(bed->balloon));
		break;
	}
}

/* Returns how many of the `size` bytes after the step belong to it. */
static size_t play(struct bed *bed, const struct step *step, const uint8_t *data, size_t size)
{
	size_t len = min_u64(step->count, size);
	size_t segs = min_u64(step->count % SEGS_MAX + 1, size / sizeof(struct seg));
	unsigned queue = step->queue % bed->queue_count;

	switch (step->action % ACTIONS) {
	case ACT_CHAIN:
		if (segs > 0) {
			offer(bed, step, data, segs);
		}
		return segs * sizeof(struct seg);
	case ACT_FILL:
		(void)!gmem_write(bed->driver.mem, GPA(address(step->value)), data, len);
		return len;
	case ACT_RUN:
		run(bed);
		return 0;
	case ACT_START:
		start(bed, step->value | (uint64_t)step->queue << 28);
		return 0;
	case ACT_STOP:
		vdriver_stop(&bed->driver);
		return 0;
	case ACT_CONFIG:
		len = min_u64(len, 8);
		if (len > 0) {
			vdriver_write_config(&bed->driver, step->value % 16, data, (uint32_t)len);
		}
		return len;
	case ACT_AVAIL:
		vring_set_avail_idx(&bed->driver.queues[queue].ring, (uint16_t)step->value);
		return 0;
	default:
		act_as_api(bed, step);
		return 0;
	}
}

static void check(struct bed *bed)
{
	const struct virtio_dev *dev = balloon_virtio(bed->balloon);

	if (load_le32(dev->config) != bed->target_pages) {
		abort();
	}
	for (size_t i = dev->config_len; i < VIRTIO_CONFIG_MAX; i++) {
		if (dev->config[i] != 0) {
			abort();
		}
	}
	for (unsigned i = 0; i < bed->queue_count; i++) {
		const struct virtq *vq = &dev->queues[i].vq;

		if ((uint16_t)(vq->next_avail - vq->next_used) > QUEUE_SIZE) {
			abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bed bed;
	struct error err = {0};
	struct input input = {data, size};
	struct step step;

	if (size == 0) {
		return 0;
	}
	const struct balloon_config config = {
		.amount_mib = 1,
		.deflate_on_oom = (data[0] & 1) != 0,
		.stats_polling_interval_s = (data[0] & 2) != 0 ? 1 : 0,
		.free_page_hinting = (data[0] & 4) != 0,
		.free_page_reporting = (data[0] & 8) != 0,
	};

	input_skip(&input, 1);
	bed = (struct bed){.target_pages = 256};
	vdriver_init(&bed.driver);
	bed.driver.queue_size = QUEUE_SIZE;
	if (balloon_new(vdriver_env(&bed.driver), &config, &bed.balloon, &err) < 0) {
		abort();
	}
	bed.queue_count = balloon_virtio(bed.balloon)->queue_count;
	start(&bed, UINT64_MAX);
	while (input_take(&input, &step, sizeof(step))) {
		input_skip(&input, play(&bed, &step, input.data, input.size));
		check(&bed);
	}
	run(&bed);
	check(&bed);
	balloon_free(bed.balloon);
	vdriver_destroy(&bed.driver);
	return 0;
}
