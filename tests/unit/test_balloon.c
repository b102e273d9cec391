/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon, from its driver's side and from the API's. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/balloon.h"
#include "tests/fake/alloc_guard.h"
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

static void make(const struct balloon_config *config)
{
	struct error err = {0};

	vdriver_init(&driver);
	mem = driver.mem;
	cr_assert_eq(balloon_new(vdriver_env(&driver), config, &balloon, &err), 0, "%s", err.msg);
	driver.dev = balloon_virtio(balloon); /* readable before it is started */
	metrics = balloon_metrics(balloon);
}

static void unmake(void)
{
	balloon_free(balloon);
	vdriver_destroy(&driver);
	balloon = NULL;
}

static void tear_down(void)
{
	if (balloon != NULL) {
		unmake();
	}
}

TestSuite(balloon, .fini = tear_down);

static void run(void)
{
	vdriver_run(&driver);
}

static void run_once(void)
{
	struct error err = {0};

	cr_assert_eq(evloop_run_once(&driver.loop, 0, &err), 0);
}

/* Up to DRIVER_OK with these features of the balloon. */
static void start(uint64_t features)
{
	cr_assert(vdriver_start(&driver, balloon_virtio(balloon), features));
	cr_assert_lt(driver.free_at.v, BORDER - MIB);
	memset(next_desc, 0, sizeof(next_desc));
	run();
}

static void reset(void)
{
	vdriver_stop(&driver);
}

/* Offers a chain of segments that may be anywhere. */
static void offer(unsigned queue, const struct seg *segs, size_t count)
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
static bool take(unsigned queue)
{
	struct vring_used used;

	if (!vring_take_used(&driver.queues[queue].ring, &used)) {
		return false;
	}
	cr_expect_eq(used.len, 0);
	return true;
}

static uint32_t config_word(uint64_t offset)
{
	uint32_t word;

	vdriver_read_config(&driver, offset, &word, sizeof(word));
	return word;
}

static bool take_config_interrupt(void)
{
	bool is_there = (vdriver_read(&driver, REG_INTERRUPT_STATUS) & INT_CONFIG) != 0;

	vdriver_write(&driver, REG_INTERRUPT_ACK, INT_CONFIG);
	return is_there;
}

/* --- memory --- */

/* What the monitor has of the memory, page by page. */
static size_t resident(uint64_t gpa, uint64_t len)
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
static void touch(uint64_t gpa, uint64_t len)
{
	for (uint64_t at = gpa; at < gpa + len; at += PAGE) {
		const uint64_t mark = at | 1;

		cr_assert_eq(gmem_write(mem, GPA(at), &mark, sizeof(mark)), 0);
	}
}

static bool is_zero(uint64_t gpa)
{
	uint64_t mark;

	cr_assert_eq(gmem_read(mem, GPA(gpa), &mark, sizeof(mark)), 0);
	return mark == 0;
}

/* --- what the guest sends --- */

static uint32_t pfn_of(uint64_t gpa)
{
	return (uint32_t)(gpa / PAGE);
}

/* Sends a list that lies at `at`. */
static void offer_list(unsigned queue, uint64_t at, const uint32_t *pfns, size_t count)
{
	cr_assert_eq(gmem_write(mem, GPA(at), pfns, count * sizeof(pfns[0])), 0);
	offer(queue, &(struct seg){at, (uint32_t)(count * sizeof(pfns[0])), false}, 1);
}

static void offer_stats(const struct stat *stats, size_t count)
{
	cr_assert_eq(gmem_write(mem, GPA(STATS), stats, count * sizeof(stats[0])), 0);
	offer(2, &(struct seg){STATS, (uint32_t)(count * sizeof(stats[0])), false}, 1);
}

static void offer_cmd(unsigned queue, uint32_t cmd)
{
	cr_assert_eq(gmem_write(mem, GPA(LIST), &cmd, sizeof(cmd)), 0);
	offer(queue, &(struct seg){LIST, sizeof(cmd), false}, 1);
}

static void offer_range(unsigned queue, uint64_t gpa, uint32_t len)
{
	offer(queue, &(struct seg){gpa, len, true}, 1);
}

static uint64_t count(const struct metric *metric)
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

/* --- what it offers --- */

Test(balloon, offers_what_it_is_configured_to)
{
	static const struct {
		struct balloon_config config;
		uint64_t features;
		unsigned queues;
	} cases[] = {
		{{0}, 0, 2},
		{{.deflate_on_oom = true}, 1 << 2, 2},
		{{.stats_polling_interval_s = 1}, 1 << 1, 3},
		{{.free_page_hinting = true}, 1 << 3, 3},
		{{.free_page_reporting = true}, 1 << 5, 3},
		{{.free_page_hinting = true, .free_page_reporting = true}, 1 << 3 | 1 << 5, 4},
		{with_all, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5, 5},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&cases[i].config);
		const struct virtio_dev *dev = balloon_virtio(balloon);

		cr_expect_eq(dev->offered & 0xffffff, cases[i].features, "case %zu", i);
		cr_expect_eq(dev->queue_count, cases[i].queues, "case %zu", i);
		cr_expect_eq(dev->config_len, 12);
		cr_expect_eq(dev->ops->type, 5);
		cr_expect_str_eq(dev->id, "balloon");
		unmake();
	}
}

/* [linux drivers/virtio/virtio_mmio.c, vm_find_vqs] leaves no gaps. */
Test(balloon, queues_have_roles_by_the_features_that_the_driver_took)
{
	static const struct {
		uint64_t acked;
		unsigned report; /* the queue; 0: none */
		unsigned queues;
	} cases[] = {
		{1 << 1 | 1 << 3 | 1 << 5, 4, 5}, {1 << 3 | 1 << 5, 3, 4},
		{1 << 1 | 1 << 5, 3, 4},	  {1 << 5, 2, 3},
		{1 << 1 | 1 << 3, 0, 5},	  {0, 0, 5},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&with_all);
		start(cases[i].acked);
		for (unsigned queue = 2; queue < cases[i].queues; queue++) {
			touch(PAGES, PAGE);
			offer_range(queue, PAGES, PAGE);
			run();
			cr_expect_eq(is_zero(PAGES), queue == cases[i].report, "case %zu, queue %u",
				     i, queue);
		}
		unmake();
	}
}

/* --- inflation --- */

Test(balloon, inflation_gives_memory_back_to_the_host)
{
	uint32_t pfns[64];

	make(&plain);
	start(0);
	touch(PAGES, 128 * PAGE);
	cr_assert_eq(resident(PAGES, 128 * PAGE), 128);
	for (uint32_t i = 0; i < 64; i++) {
		pfns[i] = pfn_of(PAGES) + 2 * (63 - i); /* every second one, from the last on */
	}
	offer_list(INFLATE, LIST, pfns, 64);
	run();
	cr_expect(take(INFLATE));
	cr_expect_eq(resident(PAGES, 128 * PAGE), 64);
	for (unsigned i = 0; i < 128; i++) {
		cr_expect_eq(is_zero(PAGES + i * PAGE), i % 2 == 0, "page %u", i);
	}
	cr_expect_eq(count(&metrics->inflate_count), 1);
	cr_expect_eq(count(&metrics->event_fails), 0);
}

Test(balloon, deflation_changes_nothing)
{
	const uint32_t pfn = pfn_of(PAGES);

	make(&plain);
	start(0);
	touch(PAGES, PAGE);
	offer_list(DEFLATE, LIST, &pfn, 1);
	run();
	cr_expect(take(DEFLATE));
	cr_expect_not(is_zero(PAGES));
	cr_expect_eq(count(&metrics->deflate_count), 1);
}

/* Each list names one good page, the first of PAGES. */
Test(balloon, numbers_that_make_no_sense_are_skipped_and_counted)
{
	static const struct {
		const char *name;
		uint32_t pfns[6];
		size_t count;
		uint64_t fails;
	} cases[] = {
		{"repeated", {PAGES / PAGE, PAGES / PAGE, PAGES / PAGE}, 3, 2},
		{"in the hole", {HOLE / PAGE, PAGES / PAGE, HOLE / PAGE + 1}, 3, 2},
		{"the last before the hole", {PAGES / PAGE, HOLE / PAGE - 1, HOLE / PAGE}, 3, 1},
		{"beyond RAM", {END / PAGE, PAGES / PAGE, END / PAGE + 1, END / PAGE - 1}, 4, 2},
		{"the greatest", {UINT32_MAX, PAGES / PAGE, UINT32_MAX - 1, UINT32_MAX}, 4, 3},
		{"one good", {PAGES / PAGE}, 1, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&plain);
		start(0);
		touch(PAGES, 2 * PAGE);
		offer_list(INFLATE, LIST, cases[i].pfns, cases[i].count);
		run();
		cr_expect(take(INFLATE), "%s", cases[i].name);
		cr_expect(is_zero(PAGES), "%s", cases[i].name);
		cr_expect_not(is_zero(PAGES + PAGE), "%s", cases[i].name);
		cr_expect_eq(count(&metrics->event_fails), cases[i].fails, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon, lists_of_any_shape_and_place_are_survived)
{
	static const struct {
		const char *name;
		struct seg segs[4];
		size_t count;
		uint64_t fails;
		bool is_done; /* the page PAGES is given back */
	} cases[] = {
		{"unaligned", {{LIST + 1, 4, false}}, 1, 0, true},
		{"in single bytes",
		 {{LIST + 1, 1, false}, {LIST + 2, 1, false}, {LIST + 3, 2, false}},
		 3,
		 0,
		 true},
		{"over the border of two regions", {{BORDER - 3, 4, false}}, 1, 0, true},
		{"three bytes", {{LIST + 1, 3, false}}, 1, 1, false},
		{"five bytes", {{LIST + 1, 5, false}}, 1, 1, true},
		{"to be written", {{LIST + 1, 4, true}}, 1, 1, false},
		{"with a writable part", {{LIST + 1, 4, false}, {LIST + 64, 8, true}}, 2, 0, true},
		{"beyond RAM", {{END - 2, 4, false}}, 1, 1, false},
		{"in the hole", {{HOLE, 4, false}}, 1, 1, false},
		{"empty", {{LIST, 0, false}}, 1, 1, false},
	};
	const uint32_t pfn = pfn_of(PAGES);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&plain);
		start(0);
		touch(PAGES, PAGE);
		cr_assert_eq(gmem_write(mem, GPA(LIST + 1), &pfn, sizeof(pfn)), 0);
		cr_assert_eq(gmem_write(mem, GPA(BORDER - 3), &pfn, sizeof(pfn)), 0);
		offer(INFLATE, cases[i].segs, cases[i].count);
		run();
		cr_expect(take(INFLATE), "%s", cases[i].name);
		cr_expect_eq(is_zero(PAGES), cases[i].is_done, "%s", cases[i].name);
		cr_expect_eq(count(&metrics->event_fails), cases[i].fails, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon, pages_on_both_sides_of_a_border_are_given_back)
{
	const uint32_t pfns[] = {BORDER / PAGE - 1, BORDER / PAGE, BORDER / PAGE + 1};

	make(&plain);
	start(0);
	touch(BORDER - 2 * PAGE, 4 * PAGE);
	offer_list(INFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	run();
	cr_expect_eq(resident(BORDER - 2 * PAGE, 4 * PAGE), 1);
	cr_expect_eq(count(&metrics->event_fails), 0);
}

/* More numbers than there are pages, in a chain of many parts, and the list among the pages. */
Test(balloon, a_list_of_65536_numbers_is_done_in_turns)
{
	enum {
		PARTS = 64,
		NUMBERS = 65536
	};
	static uint32_t pfns[NUMBERS];
	struct seg segs[PARTS];

	make(&plain);
	start(0);
	touch(PAGES, 1024 * PAGE);
	for (uint32_t i = 0; i < NUMBERS; i++) {
		pfns[i] = pfn_of(PAGES) + i % 1024;
	}
	cr_assert_eq(gmem_write(mem, GPA(LIST), pfns, sizeof(pfns)), 0);
	for (unsigned i = 0; i < PARTS; i++) {
		segs[i] =
			(struct seg){LIST + i * sizeof(pfns) / PARTS, sizeof(pfns) / PARTS, false};
	}
	offer(INFLATE, segs, PARTS);
	run_once();
	cr_expect_not(take(INFLATE), "not in one turn");
	run();
	cr_expect(take(INFLATE));
	cr_expect_eq(resident(PAGES, 1024 * PAGE), 0);
	cr_expect_eq(count(&metrics->inflate_count), 1);
	cr_expect_eq(count(&metrics->event_fails), 0);
}

Test(balloon, a_list_that_names_itself_and_its_rings_is_survived)
{
	uint32_t pfns[512];

	make(&plain);
	start(0);
	for (uint32_t i = 0; i < ARRAY_COUNT(pfns) / 2; i++) {
		pfns[i] = pfn_of(driver.queues[INFLATE].ring.desc.v) + i;
		pfns[i + ARRAY_COUNT(pfns) / 2] = pfn_of(LIST) + i;
	}
	offer_list(INFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	run();
	cr_expect_eq(resident(LIST, 4 * PAGE), 0);
	/* Its indexes are 0 now, which is behind us. */
	cr_expect(vdriver_status(&driver) & STATUS_NEEDS_RESET);
	start(0);
	touch(PAGES, PAGE);
	pfns[0] = pfn_of(PAGES);
	offer_list(INFLATE, LIST, pfns, 1);
	run();
	cr_expect(take(INFLATE));
	cr_expect(is_zero(PAGES));
}

Test(balloon, a_reset_in_the_midst_of_a_list_ends_it)
{
	enum {
		NUMBERS = 16384
	};
	static uint32_t pfns[NUMBERS];
	const uint32_t pfn = pfn_of(PAGES);

	make(&plain);
	start(0);
	for (uint32_t i = 0; i < NUMBERS; i++) {
		pfns[i] = pfn_of(PAGES);
	}
	offer_list(INFLATE, LIST, pfns, NUMBERS);
	run_once();
	cr_assert_not(take(INFLATE));
	uint64_t inflated = count(&metrics->inflate_count);

	reset();
	run();
	start(0);
	run();
	cr_expect_not(take(INFLATE));
	touch(PAGES, PAGE);
	offer_list(INFLATE, LIST, &pfn, 1);
	run();
	cr_expect(take(INFLATE));
	cr_expect(is_zero(PAGES));
	cr_expect_eq(count(&metrics->inflate_count), inflated + 1);
}

/* --- configuration --- */

Test(balloon, a_new_amount_reaches_the_driver)
{
	struct error err = {0};

	make(&with_all);
	cr_expect_eq(config_word(0), 3 * 256);
	cr_expect_eq(balloon_set_amount(balloon, 1, &err), -1);
	cr_expect_str_eq(err.msg, "Device not activated yet.");
	cr_expect_eq(err.kind, ERR_BAD_STATE);
	error_clear(&err);
	start(0);
	uint32_t generation = vdriver_read(&driver, REG_CONFIG_GENERATION);

	cr_assert_eq(balloon_set_amount(balloon, RAM_MIB, &err), 0);
	cr_expect_eq(config_word(0), RAM_MIB * 256);
	cr_expect_neq(vdriver_read(&driver, REG_CONFIG_GENERATION), generation);
	cr_expect(take_config_interrupt());
	cr_expect_eq(balloon_set_amount(balloon, RAM_MIB + 1, &err), -1);
	cr_expect_str_eq(err.msg, "Requested memory should be less than 34MiB");
	cr_expect_eq(err.kind, ERR_BAD_REQUEST);
	cr_expect_eq(config_word(0), RAM_MIB * 256);
	error_clear(&err);
	cr_expect_eq(balloon_set_amount(balloon, UINT32_MAX, &err), -1);
	cr_expect_str_eq(err.msg, "Requested memory should be less than 4294967295MiB");
	cr_expect_not(take_config_interrupt());
}

Test(balloon, an_amount_beyond_the_device_is_refused)
{
	const struct balloon_config config = {.amount_mib = UINT32_MAX / 256 + 1};
	struct balloon *none = NULL;
	struct error err = {0};

	make(&plain);
	cr_expect_eq(balloon_new(vdriver_env(&driver), &config, &none, &err), -1);
	cr_expect_str_eq(err.msg, "Requested memory should be less than 16777215MiB");
	cr_expect_null(none);
}

Test(balloon, the_driver_writes_nothing_but_actual)
{
	uint8_t all[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct balloon_stats stats;
	struct error err = {0};

	make(&with_all);
	start(1 << 1);
	for (unsigned offset = 0; offset < 12; offset++) {
		for (uint32_t len = 1; len <= 8; len++) {
			vdriver_write_config(&driver, offset, all, len);
		}
	}
	cr_expect_eq(config_word(0), 3 * 256);
	cr_expect_eq(config_word(8), 0);
	store_le32(all, 513);
	vdriver_write_config(&driver, 4, all, 4);
	cr_expect_eq(config_word(4), 513);
	cr_assert_eq(balloon_get_stats(balloon, &stats, &err), 0);
	cr_expect_eq(stats.actual_pages, 513);
	cr_expect_eq(stats.actual_mib, 2);
	cr_expect_eq(stats.target_pages, 3 * 256);
	cr_expect_eq(stats.target_mib, 3);
	reset();
	cr_expect_eq(config_word(4), 0);
	cr_expect_eq(config_word(0), 3 * 256);
}

/* --- statistics --- */

Test(balloon, statistics_are_kept_by_tag)
{
	struct stat stats[BALLOON_STATS_TAGS];
	struct balloon_stats got;
	struct error err = {0};

	make(&with_stats);
	start(1 << 1);
	for (uint16_t tag = 0; tag < BALLOON_STATS_TAGS; tag++) {
		stats[tag] = (struct stat){.tag = tag, .value = UINT64_MAX - tag};
	}
	offer_stats(stats, 3);
	run();
	cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
	cr_expect_eq(got.present, 7);
	/* The buffer is kept until newer ones are wanted. */
	cr_expect_not(take(2));
	cr_assert_eq(balloon_set_stats_interval(balloon, 2, &err), 0);
	cr_expect(take(2));
	offer_stats(stats + 3, BALLOON_STATS_TAGS - 3);
	run();
	cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
	cr_expect_eq(got.present, 0xffff);
	for (uint16_t tag = 0; tag < BALLOON_STATS_TAGS; tag++) {
		cr_expect_eq(got.values[tag], UINT64_MAX - tag, "tag %u", tag);
	}
	cr_expect_eq(count(&metrics->stats_updates_count), 2);
	cr_expect_eq(count(&metrics->stats_update_fails), 0);
	/* A driver that starts anew has told nothing yet. */
	reset();
	cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
	cr_expect_eq(got.present, 0);
}

Test(balloon, useless_statistics_are_counted_and_their_buffer_kept)
{
	static const struct {
		const char *name;
		struct seg seg;
		uint64_t fails;
		uint32_t present;
		bool is_kept;
	} cases[] = {
		{"of odd length", {STATS, 15, false}, 1, 0, true},
		{"shorter than one", {STATS, 9, false}, 1, 0, true},
		{"to be written", {STATS, 10, true}, 0, 0, true},
		{"too many", {STATS, 2570, false}, 1, 0, true},
		{"many", {STATS, 2560, false}, 255, 1, true},
		{"enormous", {0, HOLE, false}, 1, 0, true},
		{"with an unknown tag", {STATS, 20, false}, 1, 1, true},
		{"beyond RAM", {END - 5, 10, false}, 1, 0, false},
		{"empty", {STATS, 0, false}, 1, 0, false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct stat stats[256];
		struct balloon_stats got;
		struct error err = {0};

		make(&with_stats);
		start(1 << 1);
		for (size_t j = 0; j < ARRAY_COUNT(stats); j++) {
			stats[j] = (struct stat){.tag = j == 0 ? 0 : 16, .value = j};
		}
		cr_assert_eq(gmem_write(mem, GPA(STATS), stats, sizeof(stats)), 0);
		offer(2, &cases[i].seg, 1);
		run();
		cr_assert_eq(balloon_get_stats(balloon, &got, &err), 0);
		cr_expect_eq(got.present, cases[i].present, "%s", cases[i].name);
		cr_expect_eq(count(&metrics->stats_update_fails), cases[i].fails, "%s",
			     cases[i].name);
		cr_expect_neq(take(2), cases[i].is_kept, "%s", cases[i].name);
		cr_assert_eq(balloon_set_stats_interval(balloon, 9, &err), 0);
		cr_expect_eq(take(2), cases[i].is_kept, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon, a_second_buffer_for_statistics_gives_the_first_back)
{
	const struct stat stats[] = {{0, 1}, {1, 2}};
	struct error err = {0};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	cr_expect_not(take(2));
	for (unsigned i = 0; i < 1000; i++) {
		offer_stats(stats, 2);
		run();
		cr_assert(take(2), "buffer %u", i);
		cr_assert_not(take(2), "buffer %u", i);
	}
	cr_assert_eq(balloon_set_stats_interval(balloon, 9, &err), 0);
	cr_expect(take(2));
	cr_assert_eq(balloon_set_stats_interval(balloon, 8, &err), 0);
	cr_expect_not(take(2), "there is none to give back");
}

Test(balloon, the_timer_asks_for_statistics_but_not_of_a_paused_guest)
{
	const struct stat stats[] = {{0, 1}};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	evloop_freeze(&driver.loop);
	usleep(1100 * 1000);
	run();
	cr_expect_not(take(2));
	evloop_thaw(&driver.loop);
	run();
	cr_expect(take(2));
}

Test(balloon, a_timer_that_outlives_its_driver_does_nothing)
{
	const struct stat stats[] = {{0, 1}};

	make(&with_stats);
	start(1 << 1);
	offer_stats(stats, 1);
	run();
	reset();
	usleep(1100 * 1000);
	run();
	start(1 << 1);
	run();
	cr_expect_not(take(2));
	offer_stats(stats, 1);
	run();
	cr_expect_not(take(2), "the first of the new driver's is kept");
}

Test(balloon, statistics_are_refused_as_the_api_has_it)
{
	struct balloon_stats stats;
	struct error err = {0};

	make(&plain);
	cr_expect_eq(balloon_get_stats(balloon, &stats, &err), -1);
	cr_expect_str_eq(err.msg, "Received stats query when stats are disabled.");
	error_clear(&err);
	cr_expect_eq(balloon_set_stats_interval(balloon, 1, &err), -1);
	cr_expect_str_eq(err.msg, "Statistics cannot be enabled/disabled after activation.");
	error_clear(&err);
	cr_expect_eq(balloon_set_stats_interval(balloon, 0, &err), 0);
	unmake();
	make(&with_stats);
	cr_expect_eq(balloon_set_stats_interval(balloon, 0, &err), -1);
	cr_expect_str_eq(err.msg, "Statistics cannot be enabled/disabled after activation.");
	error_clear(&err);
	/* Before the driver is there, both are fine [compat]. */
	cr_expect_eq(balloon_set_stats_interval(balloon, 7, &err), 0);
	cr_expect_eq(balloon_get_stats(balloon, &stats, &err), 0);
}

/* --- hinting --- */

static struct balloon_hinting hinting(void)
{
	struct balloon_hinting status;
	struct error err = {0};

	cr_assert_eq(balloon_get_hinting(balloon, &status, &err), 0, "%s", err.msg);
	return status;
}

static void start_hinting(bool acknowledge_on_stop)
{
	struct error err = {0};

	cr_assert_eq(balloon_start_hinting(balloon, acknowledge_on_stop, &err), 0, "%s", err.msg);
	cr_assert(take_config_interrupt());
}

/* Sends a range and tells whether it was given back. */
static bool is_hint_heard(void)
{
	touch(PAGES, 4 * PAGE);
	offer_range(2, PAGES, 4 * PAGE);
	run();
	cr_assert(take(2));
	return resident(PAGES, 4 * PAGE) == 0;
}

static void say(uint32_t cmd)
{
	offer_cmd(2, cmd);
	run();
	cr_assert(take(2));
}

Test(balloon, a_hinting_run_gives_back_what_is_free)
{
	make(&with_hinting);
	start(1 << 3);
	cr_expect_eq(hinting().host_cmd, 0);
	cr_expect_not(hinting().has_guest_cmd);
	cr_expect_not(is_hint_heard(), "before any run");
	start_hinting(true);
	cr_expect_eq(hinting().host_cmd, 2);
	cr_expect_eq(config_word(8), 2);
	cr_expect_not(is_hint_heard(), "before the guest has joined the run");
	say(2);
	cr_expect(hinting().has_guest_cmd && hinting().guest_cmd == 2);
	cr_expect(is_hint_heard());
	cr_expect_eq(count(&metrics->free_page_hint_count), 1);
	cr_expect_eq(count(&metrics->free_page_hint_freed), 4 * PAGE);
	say(0);
	cr_expect_eq(hinting().host_cmd, 1, "acknowledged");
	cr_expect_eq(config_word(8), 1);
	cr_expect(take_config_interrupt());
	cr_expect_eq(hinting().guest_cmd, 0);
	say(0);
	cr_expect_not(take_config_interrupt(), "once is enough");
	cr_expect_not(is_hint_heard(), "after the run");
	start_hinting(true);
	cr_expect_eq(hinting().host_cmd, 3);
	cr_expect_eq(count(&metrics->free_page_hint_fails), 0);
}

Test(balloon, a_run_that_is_not_acknowledged_lasts_until_it_is_stopped)
{
	struct error err = {0};

	make(&with_hinting);
	start(1 << 3);
	start_hinting(false);
	say(2);
	say(0);
	cr_expect_eq(hinting().host_cmd, 2);
	cr_expect_not(take_config_interrupt());
	cr_assert_eq(balloon_stop_hinting(balloon, &err), 0);
	cr_expect_eq(config_word(8), 1);
	cr_expect(take_config_interrupt());
}

Test(balloon, what_belongs_to_another_run_is_not_heard)
{
	struct error err = {0};

	make(&with_hinting);
	start(1 << 3);
	start_hinting(true);
	say(2);
	start_hinting(true);
	cr_expect_not(is_hint_heard(), "of the first run, in the second");
	say(0);
	cr_expect_eq(hinting().host_cmd, 3, "the first run's end is not the second's");
	say(3);
	cr_expect(is_hint_heard());
	say(4);
	cr_expect_not(is_hint_heard(), "of a run that does not exist");
	say(3);
	cr_assert_eq(balloon_stop_hinting(balloon, &err), 0);
	cr_expect_not(is_hint_heard(), "after stop");
	cr_assert(take_config_interrupt());
	start_hinting(true);
	say(4);
	balloon_resume(balloon);
	cr_expect_eq(hinting().host_cmd, 1, "over after a pause");
	cr_expect(take_config_interrupt());
	cr_expect_not(is_hint_heard(), "after a pause");
	balloon_resume(balloon);
	cr_expect_not(take_config_interrupt());
}

Test(balloon, a_command_and_ranges_may_share_a_chain)
{
	const uint32_t cmd = 2;
	const struct seg segs[] = {
		{LIST, 4, false},
		{PAGES, PAGE, true},
		{PAGES + 2 * PAGE, PAGE, true},
	};

	make(&with_hinting);
	start(1 << 3);
	start_hinting(true);
	touch(PAGES, 3 * PAGE);
	cr_assert_eq(gmem_write(mem, GPA(LIST), &cmd, sizeof(cmd)), 0);
	offer(2, segs, ARRAY_COUNT(segs));
	run();
	cr_expect(take(2));
	cr_expect_eq(resident(PAGES, 3 * PAGE), 1);
}

Test(balloon, hinting_is_refused_as_the_api_has_it)
{
	struct balloon_hinting status;
	struct error err = {0};

	make(&plain);
	start(0);
	cr_expect_eq(balloon_start_hinting(balloon, true, &err), -1);
	cr_expect_str_eq(err.msg, "Attempting to use hinting when not enabled");
	error_clear(&err);
	cr_expect_eq(balloon_stop_hinting(balloon, &err), -1);
	cr_expect_str_eq(err.msg, "Attempting to use hinting when not enabled");
	error_clear(&err);
	cr_expect_eq(balloon_get_hinting(balloon, &status, &err), -1);
	cr_expect_str_eq(err.msg, "Attempting to use hinting when not enabled");
	error_clear(&err);
	unmake();
	make(&with_hinting);
	cr_expect_eq(balloon_start_hinting(balloon, true, &err), -1);
	cr_expect_str_eq(err.msg, "Device not activated yet.");
	error_clear(&err);
	cr_expect_eq(balloon_stop_hinting(balloon, &err), -1);
	cr_expect_str_eq(err.msg, "Device not activated yet.");
	cr_expect_eq(hinting().host_cmd, 0);
	start(1 << 3);
	start_hinting(true);
	cr_expect_eq(hinting().host_cmd, 2, "a refused start has no number");
	reset();
	cr_expect_eq(hinting().host_cmd, 0);
	cr_expect_eq(config_word(8), 0);
}

/* --- reporting --- */

Test(balloon, reported_ranges_are_given_back_in_whole_pages)
{
	static const struct {
		const char *name;
		struct seg seg;
		size_t left;	/* of 8 pages around */
		uint64_t freed; /* pages */
	} cases[] = {
		{"aligned", {BORDER - 2 * PAGE, 2 * PAGE, true}, 6, 2},
		{"over the border", {BORDER - PAGE, 3 * PAGE, true}, 5, 3},
		{"from within a page", {BORDER - 2 * PAGE + 1, 2 * PAGE - 1, true}, 7, 1},
		{"to within a page", {BORDER - 2 * PAGE, 2 * PAGE - 1, true}, 7, 1},
		{"less than a page", {BORDER + 1, PAGE - 1, true}, 8, 0},
		{"parts of two pages", {BORDER + 1, PAGE, true}, 8, 0},
		{"one byte", {BORDER, 1, true}, 8, 0},
		{"to be read", {BORDER, PAGE, false}, 8, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		make(&with_reporting);
		start(1 << 5);
		touch(BORDER - 4 * PAGE, 8 * PAGE);
		offer(2, &cases[i].seg, 1);
		run();
		cr_expect(take(2), "%s", cases[i].name);
		cr_expect_eq(resident(BORDER - 4 * PAGE, 8 * PAGE), cases[i].left, "%s",
			     cases[i].name);
		cr_expect_eq(count(&metrics->free_page_report_freed), cases[i].freed * PAGE, "%s",
			     cases[i].name);
		cr_expect_eq(count(&metrics->free_page_report_fails), 0, "%s", cases[i].name);
		unmake();
	}
}

Test(balloon, reports_of_what_is_not_memory_are_counted)
{
	make(&with_reporting);
	start(1 << 5);
	touch(PAGES, PAGE);
	offer_range(2, END - PAGE, 2 * PAGE);
	offer_range(2, HOLE, PAGE);
	offer_range(2, PAGES, PAGE);
	run();
	for (unsigned i = 0; i < 3; i++) {
		cr_expect(take(2));
	}
	cr_expect_eq(count(&metrics->free_page_report_fails), 2);
	cr_expect_eq(count(&metrics->free_page_report_count), 1);
	cr_expect(is_zero(PAGES));
}

Test(balloon, allocates_nothing_while_it_works)
{
	const struct stat stats[] = {{0, 1}};
	uint32_t pfns[1024];
	struct error err = {0};

	make(&with_all);
	start(1 << 1 | 1 << 3 | 1 << 5);
	for (uint32_t i = 0; i < ARRAY_COUNT(pfns); i++) {
		pfns[i] = pfn_of(PAGES) + i * 7 % 1024;
	}
	cr_assert_eq(balloon_start_hinting(balloon, true, &err), 0);
	offer_list(INFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	offer_list(DEFLATE, LIST, pfns, ARRAY_COUNT(pfns));
	offer_stats(stats, 1);
	offer_range(3, PAGES, PAGE);
	offer_range(4, PAGES, PAGE);
	alloc_guard_begin();
	run();
	cr_expect_eq(alloc_guard_end(), 0);
	cr_expect_eq(count(&metrics->free_page_report_count), 1);
}
