/* SPDX-License-Identifier: Apache-2.0 */
/* A balloon and its driver, for the tests of both of its modules. */
#include "tests/unit/balloon_bed.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

struct vdriver driver;
struct gmem *mem;
struct balloon *balloon;
struct balloon_metrics *metrics;
uint16_t next_desc[VIRTIO_QUEUES_MAX];

void make(const struct balloon_config *config)
{
	struct error err = {0};

	vdriver_init(&driver);
	mem = driver.mem;
	cr_assert_eq(balloon_new(vdriver_env(&driver), config, &balloon, &err), 0, "%s", err.msg);
	vdriver_plug(&driver, balloon_virtio(balloon)); /* readable before it is started */
	metrics = balloon_metrics(balloon);
}

void unmake(void)
{
	balloon_free(balloon);
	vdriver_destroy(&driver);
	balloon = NULL;
}

void tear_down(void)
{
	if (balloon != NULL) {
		unmake();
	}
}

void run(void)
{
	vdriver_run(&driver);
}

void run_once(void)
{
	struct error err = {0};

	cr_assert_eq(evloop_run_once(&driver.loop, 0, &err), 0);
}

/* Up to DRIVER_OK with these features of the balloon. */
void start(uint64_t features)
{
	cr_assert(vdriver_start(&driver, balloon_virtio(balloon), features));
	cr_assert_lt(driver.free_at.v, BORDER - MIB);
	memset(next_desc, 0, sizeof(next_desc));
	run();
}

void reset(void)
{
	vdriver_stop(&driver);
}

/* Offers a chain of segments that may be anywhere. */
void offer(unsigned queue, const struct seg *segs, size_t count)
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
bool take(unsigned queue)
{
	struct vring_used used;

	if (!vring_take_used(&driver.queues[queue].ring, &used)) {
		return false;
	}
	cr_expect_eq(used.len, 0);
	return true;
}

uint32_t config_word(uint64_t offset)
{
	uint32_t word;

	vdriver_read_config(&driver, offset, &word, sizeof(word));
	return word;
}

bool take_config_interrupt(void)
{
	bool is_there = (vdriver_read(&driver, REG_INTERRUPT_STATUS) & INT_CONFIG) != 0;

	vdriver_write(&driver, REG_INTERRUPT_ACK, INT_CONFIG);
	return is_there;
}

/* --- memory --- */

/* What the monitor has of the memory, page by page. */
size_t resident(uint64_t gpa, uint64_t len)
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
void touch(uint64_t gpa, uint64_t len)
{
	for (uint64_t at = gpa; at < gpa + len; at += PAGE) {
		const uint64_t mark = at | 1;

		cr_assert_eq(gmem_write(mem, GPA(at), &mark, sizeof(mark)), 0);
	}
}

bool is_zero(uint64_t gpa)
{
	uint64_t mark;

	cr_assert_eq(gmem_read(mem, GPA(gpa), &mark, sizeof(mark)), 0);
	return mark == 0;
}

/* --- what the guest sends --- */

uint32_t pfn_of(uint64_t gpa)
{
	return (uint32_t)(gpa / PAGE);
}

/* Sends a list that lies at `at`. */
void offer_list(unsigned queue, uint64_t at, const uint32_t *pfns, size_t count)
{
	cr_assert_eq(gmem_write(mem, GPA(at), pfns, count * sizeof(pfns[0])), 0);
	offer(queue, &(struct seg){at, (uint32_t)(count * sizeof(pfns[0])), false}, 1);
}

void offer_stats(const struct stat *stats, size_t count)
{
	cr_assert_eq(gmem_write(mem, GPA(STATS), stats, count * sizeof(stats[0])), 0);
	offer(2, &(struct seg){STATS, (uint32_t)(count * sizeof(stats[0])), false}, 1);
}

void offer_cmd(unsigned queue, uint32_t cmd)
{
	cr_assert_eq(gmem_write(mem, GPA(LIST), &cmd, sizeof(cmd)), 0);
	offer(queue, &(struct seg){LIST, sizeof(cmd), false}, 1);
}

void offer_range(unsigned queue, uint64_t gpa, uint32_t len)
{
	offer(queue, &(struct seg){gpa, len, true}, 1);
}

uint64_t count(const struct metric *metric)
{
	return metric_get(metric);
}

const struct balloon_config plain = {.amount_mib = 1};
const struct balloon_config with_stats = {.stats_polling_interval_s = 1};
const struct balloon_config with_hinting = {.free_page_hinting = true};
const struct balloon_config with_reporting = {.free_page_reporting = true};
const struct balloon_config with_all = {
	.amount_mib = 3,
	.deflate_on_oom = true,
	.stats_polling_interval_s = 1,
	.free_page_hinting = true,
	.free_page_reporting = true,
};

struct balloon_hinting hinting(void)
{
	struct balloon_hinting status;
	struct error err = {0};

	cr_assert_eq(balloon_get_hinting(balloon, &status, &err), 0, "%s", err.msg);
	return status;
}

void start_hinting(bool acknowledge_on_stop)
{
	struct error err = {0};

	cr_assert_eq(balloon_start_hinting(balloon, acknowledge_on_stop, &err), 0, "%s", err.msg);
	cr_assert(take_config_interrupt());
}
