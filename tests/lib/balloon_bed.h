/* SPDX-License-Identifier: Apache-2.0 */
/* A balloon and its driver, for the tests of both of its modules. */
#ifndef TESTS_LIB_BALLOON_BED_H
#define TESTS_LIB_BALLOON_BED_H

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/virtio/balloon.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

enum {
	INFLATE,
	DEFLATE,
};

enum {
	PAGE = 4096,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_CONFIG_GENERATION = 0xfc,
	INT_CONFIG = 2,
	STATUS_NEEDS_RESET = 64,
	RAM_MIB = 33,
};

/* Places in the driver's memory that it does not use itself. */
#define BORDER (16 * MIB)
#define PAGES (20 * MIB)
#define LIST (24 * MIB)
#define STATS (25 * MIB)
#define HOLE VDRIVER_HOLE
#define END (VDRIVER_HIGH + VDRIVER_HIGH_LEN)

/* As the guest has it [virtio-1.2 §5.5.6.3]. */
struct __attribute__((packed)) stat {
	uint16_t tag;
	uint64_t value;
};

struct seg {
	uint64_t gpa;
	uint32_t len;
	bool is_writable;
};

static struct vdriver driver;
static struct gmem *mem;
static struct balloon *balloon;
static struct balloon_metrics *metrics;
static uint16_t next_desc[VIRTIO_QUEUES_MAX];

static inline void make(const struct balloon_config *config)
{
	struct error err = {0};

	vdriver_init(&driver);
	mem = driver.mem;
	cr_assert_eq(balloon_new(vdriver_env(&driver), config, &balloon, &err), 0, "%s", err.msg);
	driver.dev = balloon_virtio(balloon); /* readable before it is started */
	metrics = balloon_metrics(balloon);
}

static inline void unmake(void)
{
	balloon_free(balloon);
	vdriver_destroy(&driver);
	balloon = NULL;
}

static inline void tear_down(void)
{
	if (balloon != NULL) {
		unmake();
	}
}

static inline void run(void)
{
	vdriver_run(&driver);
}

static inline void run_once(void)
{
	struct error err = {0};

	cr_assert_eq(evloop_run_once(&driver.loop, 0, &err), 0);
}

/* Up to DRIVER_OK with these features of the balloon. */
static inline void start(uint64_t features)
{
	cr_assert(vdriver_start(&driver, balloon_virtio(balloon), features));
	cr_assert_lt(driver.free_at.v, BORDER - MIB);
	memset(next_desc, 0, sizeof(next_desc));
	run();
}

static inline void reset(void)
{
	vdriver_stop(&driver);
}

/* Offers a chain of segments that may be anywhere. */
static inline void offer(unsigned queue, const struct seg *segs, size_t count)
{
	struct vring *ring = &driver.queues[queue].ring;
	uint16_t head = next_desc[queue];

	for (size_t i = 0; i < count; i++) {
		uint16_t next = (uint16_t)((next_desc[queue] + 1) % ring->size);
		struct vring_desc desc = {
			.addr = segs[i].gpa,
			.len = segs[i].len,
			.flags = (uint16_t)((segs[i].is_writable ? VRING_WRITE : 0) |
					    (i + 1 < count ? VRING_NEXT : 0)),
			.next = next,
		};

		vring_set_desc(ring, next_desc[queue], desc);
		next_desc[queue] = next;
	}
	vring_offer(ring, head);
	vdriver_notify(&driver, queue);
}

/* A chain came back, with nothing written. */
static inline bool take(unsigned queue)
{
	struct vring_used used;

	if (!vring_take_used(&driver.queues[queue].ring, &used)) {
		return false;
	}
	cr_expect_eq(used.len, 0);
	return true;
}

static inline uint32_t config_word(uint64_t offset)
{
	uint32_t word;

	vdriver_read_config(&driver, offset, &word, sizeof(word));
	return word;
}

static inline bool take_config_interrupt(void)
{
	bool is_there = (vdriver_read(&driver, REG_INTERRUPT_STATUS) & INT_CONFIG) != 0;

	vdriver_write(&driver, REG_INTERRUPT_ACK, INT_CONFIG);
	return is_there;
}

/* --- memory --- */

/* What the monitor has of the memory, page by page. */
static inline size_t resident(uint64_t gpa, uint64_t len)
{
	static unsigned char pages[BORDER / PAGE];
	size_t count = 0;

	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		struct gmem_slot slot = gmem_slot(mem, i);
		uint64_t first = max_u64(gpa, slot.base.v);
		uint64_t end = min_u64(gpa + len, slot.base.v + slot.len);

		if (first >= end) {
			continue;
		}
		void *at = (void *)(uintptr_t)(slot.hva + first - slot.base.v); // NOLINT

		cr_assert_eq(mincore(at, end - first, pages), 0);
		for (size_t page = 0; page < (end - first) / PAGE; page++) {
			count += pages[page] & 1;
		}
	}
	return count;
}

/* Writes to each page, so that it costs memory. */
static inline void touch(uint64_t gpa, uint64_t len)
{
	for (uint64_t at = gpa; at < gpa + len; at += PAGE) {
		const uint64_t mark = at | 1;

		cr_assert_eq(gmem_write(mem, GPA(at), &mark, sizeof(mark)), 0);
	}
}

static inline bool is_zero(uint64_t gpa)
{
	uint64_t mark;

	cr_assert_eq(gmem_read(mem, GPA(gpa), &mark, sizeof(mark)), 0);
	return mark == 0;
}

/* --- what the guest sends --- */

static inline uint32_t pfn_of(uint64_t gpa)
{
	return (uint32_t)(gpa / PAGE);
}

/* Sends a list that lies at `at`. */
static inline void offer_list(unsigned queue, uint64_t at, const uint32_t *pfns, size_t count)
{
	cr_assert_eq(gmem_write(mem, GPA(at), pfns, count * sizeof(pfns[0])), 0);
	offer(queue, &(struct seg){at, (uint32_t)(count * sizeof(pfns[0])), false}, 1);
}

static inline void offer_stats(const struct stat *stats, size_t count)
{
	cr_assert_eq(gmem_write(mem, GPA(STATS), stats, count * sizeof(stats[0])), 0);
	offer(2, &(struct seg){STATS, (uint32_t)(count * sizeof(stats[0])), false}, 1);
}

static inline void offer_cmd(unsigned queue, uint32_t cmd)
{
	cr_assert_eq(gmem_write(mem, GPA(LIST), &cmd, sizeof(cmd)), 0);
	offer(queue, &(struct seg){LIST, sizeof(cmd), false}, 1);
}

static inline void offer_range(unsigned queue, uint64_t gpa, uint32_t len)
{
	offer(queue, &(struct seg){gpa, len, true}, 1);
}

static inline uint64_t count(const struct metric *metric)
{
	return metric_get(metric);
}

static const struct balloon_config plain = {.amount_mib = 1};
static const struct balloon_config with_stats = {.stats_polling_interval_s = 1};
static const struct balloon_config with_hinting = {.free_page_hinting = true};
static const struct balloon_config with_reporting = {.free_page_reporting = true};
static const struct balloon_config with_all = {
	.amount_mib = 3,
	.deflate_on_oom = true,
	.stats_polling_interval_s = 1,
	.free_page_hinting = true,
	.free_page_reporting = true,
};

static inline struct balloon_hinting hinting(void)
{
	struct balloon_hinting status;
	struct error err = {0};

	cr_assert_eq(balloon_get_hinting(balloon, &status, &err), 0, "%s", err.msg);
	return status;
}

static inline void start_hinting(bool acknowledge_on_stop)
{
	struct error err = {0};

	cr_assert_eq(balloon_start_hinting(balloon, acknowledge_on_stop, &err), 0, "%s", err.msg);
	cr_assert(take_config_interrupt());
}

#endif
