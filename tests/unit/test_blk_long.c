/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block requests of several calls: what has its turn between the calls, and what a reset, a pause
 * or a new file makes of the rest.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/blk_guest.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"

#define OK VIRTIO_BLK_S_OK

enum {
	PARTS = 5,
	PART_LEN = 4 << 20, /* the same as of a call */
	LONG_LEN = PARTS * PART_LEN,
	SHORT_LEN = 512,
	SIDE_QUEUE = 1,
};

static struct blk_guest guest;
static int feeder; /* the other end of a drive that is a pipe */
static uint8_t data[LONG_LEN];

static void be_quiet(void)
{
	capture_log(LOG_WARN);
}

TestSuite(blk_long, .init = be_quiet, .timeout = 20);

static uint64_t frozen(clockid_t id)
{
	(void)id;
	return 0;
}

/* Two queues; a turn is as many calls on every host, since the clock stands. */
static void prepare(enum blk_io_engine engine)
{
	blk_guest_init(&guest, engine);
	guest.config.num_queues = 2;
	guest.driver.clock.now_ns = frozen;
	guest.file.sectors = LONG_LEN / 512;
	cr_assert_eq(ftruncate(guest.file.fd, LONG_LEN), 0);
}

static void start_on_pipe(void)
{
	int ends[2];

	prepare(BLK_ENGINE_ASYNC);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	close(guest.file.fd);
	guest.file.fd = ends[0];
	feeder = ends[1];
	blk_guest_start(&guest);
}

static void fill(uint8_t seed)
{
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(seed + i * 7 + i / 512);
	}
}

static unsigned add_long(uint32_t type)
{
	struct vbuf bufs[PARTS];
	const struct blk_guest_req req = {type, 0, bufs, PARTS};

	for (size_t i = 0; i < PARTS; i++) {
		bufs[i] = (struct vbuf){&data[i * PART_LEN], PART_LEN, 0};
		if (type == VIRTIO_BLK_T_IN) {
			bufs[i] = (struct vbuf){NULL, PART_LEN, VBUF_WRITABLE};
		}
	}
	unsigned chain = blk_guest_add(&guest, 0, &req);

	vdriver_kick(&guest.driver, 0);
	return chain;
}

static unsigned add_short(unsigned queue)
{
	const struct vbuf buf = {NULL, SHORT_LEN, VBUF_WRITABLE};
	const struct blk_guest_req req = {VIRTIO_BLK_T_IN, 0, &buf, 1};
	unsigned chain = blk_guest_add(&guest, queue, &req);

	vdriver_kick(&guest.driver, queue);
	return chain;
}

static void run_once(void)
{
	struct error err = {0};

	cr_assert_eq(evloop_run_once(&guest.driver.loop, 0, &err), 0);
}

static bool has_answer(unsigned queue)
{
	struct vring_used used;

	return vdriver_used(&guest.driver, queue, &used);
}

/* The answer of the long request, which read what `data` has if `is_read`. */
static void expect_long(unsigned chain, bool is_read)
{
	static uint8_t part[PART_LEN];
	struct vring_used used;

	vdriver_wait_used(&guest.driver, 0);
	cr_assert(vdriver_used(&guest.driver, 0, &used));
	cr_assert_eq(used.id, chain);
	cr_assert_eq(used.len, (is_read ? LONG_LEN : 0) + 1);
	cr_assert_eq(blk_guest_status(&guest, 0, chain, PARTS), OK);
	cr_assert_not(has_answer(0), "a second answer");
	for (unsigned i = 0; is_read && i < PARTS; i++) {
		vdriver_get(&guest.driver, 0, chain, i + 1, part, sizeof(part));
		cr_assert_arr_eq(part, &data[i * PART_LEN], PART_LEN);
	}
}

Test(blk_long, a_long_request_moves_all_its_bytes_and_is_answered_once)
{
	static const enum blk_io_engine engines[] = {BLK_ENGINE_SYNC, BLK_ENGINE_ASYNC};
	uint8_t sector[SHORT_LEN];

	for (size_t i = 0; i < ARRAY_COUNT(engines); i++) {
		prepare(engines[i]);
		blk_guest_start(&guest);
		fill((uint8_t)(i + 1));
		expect_long(add_long(VIRTIO_BLK_T_OUT), false);
		expect_long(add_long(VIRTIO_BLK_T_IN), true);
		cr_assert_eq(pread(guest.file.fd, sector, SHORT_LEN, LONG_LEN - SHORT_LEN),
			     SHORT_LEN);
		cr_assert_arr_eq(sector, &data[LONG_LEN - SHORT_LEN], SHORT_LEN);
		cr_assert_eq(metric_get(&blk_metrics(guest.blk)->read_bytes), LONG_LEN);
		cr_assert_eq(metric_get(&blk_metrics(guest.blk)->write_count), 1);
		blk_guest_destroy(&guest);
	}
}

/* --- the cost of requests --- */

Test(blk_long, a_turn_has_as_many_requests_as_their_kind_allows)
{
	static const uint8_t range[16] = {[8] = 8};
	static const uint8_t hole[16] = {[8] = 8, [12] = 1}; /* which every host can make */
	static const struct vbuf ranges = {range, sizeof(range), 0};
	static const struct vbuf holes = {hole, sizeof(hole), 0};
	static const struct vbuf sector = {NULL, SHORT_LEN, VBUF_WRITABLE};
	static const struct vbuf much = {NULL, 2 << 20, VBUF_WRITABLE};
	static const struct {
		struct blk_guest_req req;
		unsigned in_a_turn;
	} cases[] = {
		{{VIRTIO_BLK_T_FLUSH, 0, NULL, 0}, 1},
		{{VIRTIO_BLK_T_DISCARD, 0, &ranges, 1}, 4},
		{{VIRTIO_BLK_T_WRITE_ZEROES, 0, &holes, 1}, 4},
		{{VIRTIO_BLK_T_IN, 0, &sector, 1}, 10},
		{{VIRTIO_BLK_T_IN, 0, &much, 1}, 8},
		{{VIRTIO_BLK_T_IN, LONG_LEN / 512 - 1, &sector, 1}, 1}, /* the file is cut there */
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		unsigned done = 0;

		prepare(BLK_ENGINE_SYNC);
		cr_assert_eq(ftruncate(guest.file.fd, LONG_LEN - SHORT_LEN), 0);
		blk_guest_start(&guest);
		for (unsigned k = 0; k < 10; k++) {
			blk_guest_add(&guest, 0, &cases[i].req);
		}
		vdriver_kick(&guest.driver, 0);
		run_once();
		while (has_answer(0)) {
			done++;
		}
		cr_expect_eq(done, cases[i].in_a_turn, "case %zu: %u", i, done);
		vdriver_run(&guest.driver);
		while (has_answer(0)) {
			done++;
		}
		cr_expect_eq(done, 10, "case %zu: %u", i, done);
		blk_guest_destroy(&guest);
	}
}

static uint64_t slow_ns;

/* Each look at the clock is a millisecond later than the last one. */
static uint64_t slow(clockid_t id)
{
	(void)id;
	return slow_ns += UINT64_C(1000000);
}

Test(blk_long, what_the_disk_takes_is_taken_from_the_turn)
{
	unsigned done = 0;

	prepare(BLK_ENGINE_SYNC);
	blk_guest_start(&guest);
	guest.driver.clock.now_ns = slow;
	for (unsigned i = 0; i < 10; i++) {
		add_short(0);
	}
	run_once();
	while (has_answer(0)) {
		done++;
	}
	cr_assert_eq(done, 1, "%u", done);
	blk_guest_destroy(&guest);
}

/* --- the Sync engine --- */

static unsigned wakes;

static void on_wake(struct ev_wake *wake)
{
	wakes++;
	ev_wake_signal(wake);
}

static void start_on_file(void)
{
	prepare(BLK_ENGINE_SYNC);
	fill(9);
	cr_assert_eq(pwrite(guest.file.fd, data, sizeof(data), 0), LONG_LEN);
	blk_guest_start(&guest);
}

/* A long read, which is under way when the function returns. */
static unsigned start_long(void)
{
	start_on_file();
	unsigned chain = add_long(VIRTIO_BLK_T_IN);

	run_once();
	cr_assert_not(has_answer(0));
	return chain;
}

Test(blk_long, other_sources_of_the_loop_have_their_turn_between_the_calls)
{
	struct ev_wake other = {.fn = on_wake};
	struct error err = {0};
	unsigned chain = start_long();

	cr_assert_eq(ev_wake_init(&other, &guest.driver.loop, &err), 0);
	ev_wake_signal(&other);
	for (unsigned before = 0; !has_answer(0); before = wakes) {
		cr_assert(before == 0 || wakes == before, "the answer is late");
		run_once();
	}
	cr_assert_gt(wakes, 0);
	cr_assert_eq(blk_guest_status(&guest, 0, chain, PARTS), OK);
	ev_wake_destroy(&other);
	blk_guest_destroy(&guest);
}

Test(blk_long, another_queue_waits_for_the_end_and_is_next_then)
{
	start_on_file();
	add_long(VIRTIO_BLK_T_IN);
	add_short(SIDE_QUEUE);
	run_once();
	cr_assert_not(has_answer(0));
	add_short(0);
	while (!has_answer(0)) {
		cr_assert_not(has_answer(SIDE_QUEUE));
		run_once();
	}
	cr_assert_not(has_answer(0), "its own queue goes on before the other one");
	vdriver_run(&guest.driver);
	cr_assert(has_answer(0));
	cr_assert(has_answer(SIDE_QUEUE));
	blk_guest_destroy(&guest);
}

Test(blk_long, a_reset_drops_the_calls_that_are_left)
{
	uint8_t last[SHORT_LEN];
	unsigned chain = start_long();

	vdriver_stop(&guest.driver);
	vdriver_run(&guest.driver);
	cr_assert_not(has_answer(0), "an answer after the reset");
	cr_assert_eq(blk_guest_status(&guest, 0, chain, PARTS), BLK_GUEST_PENDING);
	vdriver_get(&guest.driver, 0, chain, PARTS, last, sizeof(last));
	cr_assert_eq(last[SHORT_LEN - 1], BLK_GUEST_PENDING);
	cr_assert(vdriver_start(&guest.driver, blk_virtio(guest.blk), UINT64_MAX));
	expect_long(add_long(VIRTIO_BLK_T_IN), true);
	blk_guest_destroy(&guest);
}

Test(blk_long, a_pause_puts_it_back_and_it_is_done_anew_after_it)
{
	unsigned chain = start_long();

	vdriver_pause(&guest.driver);
	vdriver_run(&guest.driver);
	cr_assert_not(has_answer(0));
	vdriver_resume(&guest.driver);
	expect_long(chain, true);
	blk_guest_destroy(&guest);
}

Test(blk_long, it_is_done_on_another_file_as_a_whole)
{
	struct blk_file old, file = {.fd = memfd_create("other", MFD_CLOEXEC), .id = "other"};
	struct error err = {0};
	unsigned chain = start_long();

	fill(77);
	file.sectors = guest.file.sectors;
	cr_assert_eq(pwrite(file.fd, data, sizeof(data), 0), LONG_LEN);
	cr_assert_eq(blk_set_file(guest.blk, &file, &err), 0, "%s", err.msg);
	old = guest.file;
	guest.file = file;
	blk_file_close(&old);
	expect_long(chain, true);
	blk_guest_destroy(&guest);
}

/* --- the Async engine --- */

static void *feed(void *arg)
{
	size_t len = *(const size_t *)arg;

	for (size_t done = 0; done < len;) {
		ssize_t part = write(feeder, data + done, len - done);

		cr_assert_gt(part, 0);
		done += (size_t)part;
	}
	return NULL;
}

static pthread_t start_feeding(const size_t *len)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, feed, (void *)(uintptr_t)len), 0);
	return thread;
}

static void finish(void)
{
	blk_guest_destroy(&guest);
	close(feeder);
}

static const size_t short_len = SHORT_LEN;
static const size_t long_len = LONG_LEN;

Test(blk_long, a_long_request_is_in_flight_alone)
{
	start_on_pipe();
	fill(3);
	add_short(SIDE_QUEUE);
	vdriver_run(&guest.driver);
	unsigned chain = add_long(VIRTIO_BLK_T_IN);

	vdriver_run(&guest.driver);
	add_short(SIDE_QUEUE);
	vdriver_run(&guest.driver);
	pthread_join(start_feeding(&short_len), NULL);
	vdriver_wait_used(&guest.driver, SIDE_QUEUE);
	cr_assert(has_answer(SIDE_QUEUE));
	pthread_t thread = start_feeding(&long_len);

	expect_long(chain, true);
	pthread_join(thread, NULL);
	cr_assert_not(has_answer(SIDE_QUEUE), "it took bytes of the long one");
	pthread_join(start_feeding(&short_len), NULL);
	vdriver_wait_used(&guest.driver, SIDE_QUEUE);
	cr_assert(has_answer(SIDE_QUEUE));
	finish();
}

/* A read from the pipe ends a call with what is there. */
Test(blk_long, a_pause_waits_for_one_call_and_a_reset_too)
{
	start_on_pipe();
	fill(5);
	unsigned chain = add_long(VIRTIO_BLK_T_IN);

	vdriver_run(&guest.driver);
	pthread_t thread = start_feeding(&short_len);

	vdriver_pause(&guest.driver);
	pthread_join(thread, NULL);
	cr_assert_not(has_answer(0));
	vdriver_resume(&guest.driver);
	thread = start_feeding(&long_len);
	expect_long(chain, true);
	pthread_join(thread, NULL);

	chain = add_long(VIRTIO_BLK_T_IN);
	vdriver_run(&guest.driver);
	thread = start_feeding(&short_len);
	vdriver_stop(&guest.driver);
	pthread_join(thread, NULL);
	vdriver_run(&guest.driver);
	cr_assert_not(has_answer(0));
	cr_assert_eq(blk_guest_status(&guest, 0, chain, PARTS), BLK_GUEST_PENDING);
	finish();
}
