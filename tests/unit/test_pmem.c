/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent memory device, from its driver's side. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/pmem/pmem.h"
#include "tests/fake/alloc_guard.h"
#include "tests/lib/capture.h"
#include "tests/lib/vdriver.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pmem.h"

#define ROOM (512 * GIB)
#define FILE_LEN (3 * MIB)

enum {
	ANSWERED = 4, /* bytes */
	EIO_ANSWER = 1,
	NEEDS_RESET = 64,
};

static struct vdriver driver;
static struct pmem *pmem;
static struct pmem_metrics *metrics;
static unsigned place;
static int file; /* the test's own */
static uint64_t now_ns;

static uint64_t script_ns(clockid_t id)
{
	(void)id;
	return now_ns;
}

static void map(bool is_private)
{
	char path[] = "/tmp/test_pmem.XXXXXX";
	struct error err = {0};
	int fd = mkstemp(path);
	const struct gmem_pmem_file mapped = {
		.name = "p", .fd = dup(fd), .is_private = is_private, .room = {{ROOM}, GIB}};

	unlink(path);
	cr_assert(fd >= 0 && ftruncate(fd, FILE_LEN) == 0);
	cr_assert_eq(gmem_pmem_add(driver.mem, &mapped, &place, &err), 0, "%s", err.msg);
	file = fd;
}

static void build(struct pmem_config *config)
{
	const struct pmem_parts parts = {.config = config, .index = place};
	struct error err = {0};

	config->id = (char *)"p";
	cr_assert_eq(pmem_new(vdriver_env(&driver), &parts, &pmem, &err), 0, "%s", err.msg);
	metrics = pmem_metrics(pmem);
}

static void start(void)
{
	cr_assert(vdriver_start(&driver, pmem_virtio(pmem), ~UINT64_C(0)));
	vdriver_run(&driver);
}

static void make(struct pmem_config config)
{
	vdriver_init(&driver);
	driver.clock.now_ns = script_ns;
	map(config.read_only);
	build(&config);
	start();
}

static void tear_down(void)
{
	pmem_free(pmem);
	vdriver_destroy(&driver);
}

TestSuite(pmem, .fini = tear_down, .timeout = 30);

static unsigned add(uint32_t type)
{
	const struct vbuf bufs[] = {{&type, sizeof(type), 0}, {NULL, 4, VBUF_WRITABLE}};

	return vdriver_add(&driver, 0, bufs, 2);
}

/* The answer to the next request that came back; -1: it was none. */
static int64_t answer(void)
{
	struct vring_used used;
	uint32_t value;

	vdriver_wait_used(&driver, 0);
	cr_assert(vdriver_used(&driver, 0, &used));
	if (used.len != ANSWERED) {
		return -1;
	}
	vdriver_get(&driver, 0, used.id, 1, &value, sizeof(value));
	return value;
}

static bool is_silent(void)
{
	struct vring_used used;

	vdriver_run(&driver);
	return !vdriver_used(&driver, 0, &used);
}

static int64_t flush(void)
{
	add(0);
	vdriver_kick(&driver, 0);
	return answer();
}

#define ONE_IN_A_SECOND                                                                            \
	{                                                                                          \
		.rate_limiter = {.ops = {.size = 1, .refill_time_ms = 1000}, .has_ops = true},     \
		.has_rate_limiter = true                                                           \
	}

Test(pmem, tells_where_its_memory_is)
{
	uint64_t config[2];

	make((struct pmem_config){0});
	const struct virtio_dev *dev = pmem_virtio(pmem);

	vdriver_read_config(&driver, 0, config, sizeof(config));
	cr_expect(config[0] == ROOM && config[1] == 4 * MIB, "%llx %llx",
		  (unsigned long long)config[0], (unsigned long long)config[1]);
	cr_expect(dev->class->type == 27 && dev->queue_count == 1 && dev->config_len == 16);
	cr_expect_eq(dev->offered & 0xffffff, 0);
	vdriver_write_config(&driver, 0, config, sizeof(config));
	cr_expect_eq(metric_get(&metrics->cfg_fails), 1);
}

Test(pmem, a_flush_is_answered)
{
	make((struct pmem_config){0});
	cr_expect_eq(flush(), 0);
	cr_expect_eq(vdriver_interrupts(&driver), 1);
	cr_expect_eq(metric_get(&metrics->event_fails), 0);
	cr_expect_geq(metric_get(&metrics->queue_event_count), 1);
}

Test(pmem, one_flush_answers_all_that_are_there)
{
	make((struct pmem_config)ONE_IN_A_SECOND);
	for (unsigned i = 0; i < VDRIVER_QUEUE_SIZE / 2; i++) {
		add(0);
	}
	vdriver_kick(&driver, 0);
	for (unsigned i = 0; i < VDRIVER_QUEUE_SIZE / 2; i++) {
		cr_assert_eq(answer(), 0);
	}
	cr_expect_eq(metric_get(&metrics->rate_limiter_throttled_events), 0);
}

/* What was written before a request is not covered by a flush that has begun already. */
Test(pmem, what_comes_during_a_flush_waits_for_the_next_one)
{
	make((struct pmem_config)ONE_IN_A_SECOND);
	add(0);
	vdriver_kick(&driver, 0);
	cr_assert_eq(answer(), 0);
	add(0);
	add(0);
	vdriver_kick(&driver, 0);
	cr_expect(is_silent());
	cr_expect_geq(metric_get(&metrics->rate_limiter_throttled_events), 1);
	now_ns += NS_PER_S;
	vdriver_notify(&driver, 0);
}

Test(pmem, a_flush_costs_the_length_of_the_file)
{
	make((struct pmem_config){
		.rate_limiter = {.bandwidth = {.size = 2 * FILE_LEN, .refill_time_ms = 1000},
				 .has_bandwidth = true},
		.has_rate_limiter = true});
	cr_expect_eq(flush(), 0);
	cr_expect_eq(flush(), 0);
	add(0);
	vdriver_kick(&driver, 0);
	cr_expect(is_silent(), "a third one is too much");
	/* Another limit lets it go on. */
	const struct limiter_config none = {.has_bandwidth = true};
	struct error err = {0};

	cr_assert_eq(pmem_set_limits(pmem, &none, &err), 0);
	cr_expect_eq(answer(), 0);
}

Test(pmem, what_is_no_flush_comes_back_without_an_answer)
{
	static const uint32_t type;
	static const struct vbuf cases[][3] = {
		{{NULL, 4, VBUF_WRITABLE}},
		{{&type, 4, 0}},
		{{&type, 3, 0}, {NULL, 4, VBUF_WRITABLE}},
		{{&type, 4, 0}, {NULL, 3, VBUF_WRITABLE}},
		{{&type, 4, 0}, {NULL, 8, VBUF_WRITABLE}},
		{{&type, 4, 0}, {NULL, 2, VBUF_WRITABLE}, {NULL, 2, VBUF_WRITABLE}},
		{{&type, 4, 0}, {&type, 4, 0}, {NULL, 4, VBUF_WRITABLE}},
	};
	static const size_t counts[] = {1, 1, 2, 2, 2, 3, 3};

	make((struct pmem_config){0});
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		vdriver_add(&driver, 0, cases[i], counts[i]);
		vdriver_kick(&driver, 0);
		cr_expect_eq(answer(), -1, "%zu", i);
	}
	add(1);
	vdriver_kick(&driver, 0);
	cr_expect_eq(answer(), -1);
	cr_expect_eq(metric_get(&metrics->event_fails), ARRAY_COUNT(cases) + 1);
	cr_expect_eq(flush(), 0);
}

Test(pmem, nothing_is_allocated)
{
	make((struct pmem_config){0});
	add(0);
	alloc_guard_begin();
	vdriver_kick(&driver, 0);
	vdriver_wait_used(&driver, 0);
	cr_expect_eq(alloc_guard_end(), 0);
}

Test(pmem, flushes_of_a_file_that_was_cut_fail)
{
	make((struct pmem_config){0});
	cr_assert_eq(ftruncate(file, MIB), 0);
	int log = capture_log(LOG_WARN);

	cr_expect_eq(flush(), EIO_ANSWER);
	cr_expect_eq(flush(), EIO_ANSWER);
	cr_expect_eq(metric_get(&metrics->event_fails), 2);
	cr_expect_eq(count_of(captured(log), "The pmem device p failed to flush: I/O error"), 1,
		     "%s", captured(log));
	/* Nor does a longer one bring back what the guest had. */
	gmem_pmem_mend(driver.mem);
	cr_assert_eq(ftruncate(file, FILE_LEN), 0);
	cr_expect_eq(flush(), EIO_ANSWER);
}

Test(pmem, a_private_file_has_nothing_to_flush)
{
	make((struct pmem_config){.read_only = true});
	cr_expect_eq(flush(), 0);
	cr_assert_eq(ftruncate(file, MIB), 0);
	cr_expect_eq(flush(), EIO_ANSWER);
}

Test(pmem, a_ring_of_its_memory_is_refused)
{
	make((struct pmem_config){0});
	cr_assert(vdriver_begin(&driver, pmem_virtio(pmem), ~UINT64_C(0)));
	vdriver_write(&driver, 0x030, 0);	   /* QueueSel */
	vdriver_write(&driver, 0x080, 0);	   /* QueueDescLow */
	vdriver_write(&driver, 0x084, ROOM >> 32); /* QueueDescHigh */
	cr_expect(!vdriver_finish(&driver));
	cr_expect(vdriver_status(&driver) & NEEDS_RESET);
}

Test(pmem, a_reset_forgets_what_is_in_flight)
{
	make((struct pmem_config){0});
	for (unsigned round = 0; round < 20; round++) {
		add(0);
		vdriver_kick(&driver, 0);
		if (round % 2 == 0) {
			vdriver_run(&driver);
		}
		start();
	}
	cr_expect_eq(flush(), 0);
}

Test(pmem, a_broken_queue_needs_a_reset_and_works_after_it)
{
	make((struct pmem_config){0});
	add(0);
	vring_set_avail_idx(&driver.queues[0].ring, 1000);
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	cr_expect(vdriver_status(&driver) & NEEDS_RESET);
	cr_expect_eq(metric_get(&metrics->event_fails), 1);
	start();
	cr_expect_eq(flush(), 0);
}

static void renew(struct pmem_config config)
{
	pmem_free(pmem);
	build(&config);
}

Test(pmem, a_saved_device_goes_on_with_its_limit)
{
	static struct state_bed bed;

	make((struct pmem_config)ONE_IN_A_SECOND);
	cr_assert_eq(flush(), 0);
	add(0);
	state_bed_take(&bed, &driver);
	renew((struct pmem_config)ONE_IN_A_SECOND);
	state_bed_give(&bed, &driver, pmem_virtio(pmem));
	cr_expect(is_silent(), "its bucket is as empty as it was");
}

Test(pmem, requests_are_answered_once_before_or_after_a_pause)
{
	static struct state_bed bed;

	make((struct pmem_config){0});
	for (unsigned round = 0; round < 10; round++) {
		add(0);
		add(0);
		vdriver_kick(&driver, 0);
		if (round % 2 == 0) {
			vdriver_run(&driver);
		}
		state_bed_take(&bed, &driver);
		renew((struct pmem_config){0});
		state_bed_give(&bed, &driver, pmem_virtio(pmem));
		cr_assert_eq(answer(), 0);
		cr_assert_eq(answer(), 0);
		cr_assert(is_silent());
	}
}

Test(pmem, another_place_or_size_is_refused)
{
	static struct state_bed bed;
	struct error err = {0};

	make((struct pmem_config){0});
	state_bed_take(&bed, &driver);
	renew((struct pmem_config){0});
	store_le64(bed.state.config + 8, 2 * MIB);
	cr_expect(state_bed_load(&bed, &driver, pmem_virtio(pmem), &err) < 0);
	cr_expect(strstr(err.msg, "size") != NULL, "%s", err.msg);
}
