/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block requests in flight with the Async engine: more of them than there are slots, a reset, a new
 * file, a pause and the end under them, and a host that does not want them.
 *
 * The drive's "file" is a pipe: a read is in flight until a test writes to it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_uring.h"
#include "devices/virtio/core/virtio_leave.h"
#include "tests/lib/blk_guest.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"

#define OK VIRTIO_BLK_S_OK

enum {
	LEN = 512,
	FEED_DELAY_US = 20000, /* long enough that the other side usually waits by then */
};

static struct blk_guest guest;
static int feeder;	    /* the pipe's other end */
static unsigned feed_count; /* sectors that feed() writes */

static int log_fd;

static void keep_log(void)
{
	log_fd = capture_log(LOG_WARN);
}

TestSuite(blk_flight, .init = keep_log, .timeout = 60);

static void use_pipe(void)
{
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	close(guest.file.fd);
	guest.file.fd = ends[0];
	guest.file.is_in_memory = false;
	feeder = ends[1];
}

static void start_on_pipe(void)
{
	blk_guest_init(&guest, BLK_ENGINE_ASYNC);
	use_pipe();
	blk_guest_start(&guest);
}

static void finish(void)
{
	blk_guest_destroy(&guest);
	close(feeder);
}

static unsigned add_read(unsigned queue)
{
	const struct vbuf buf = {NULL, LEN, VBUF_WRITABLE};
	const struct blk_guest_req req = {VIRTIO_BLK_T_IN, 0, &buf, 1};

	return blk_guest_add(&guest, queue, &req);
}

static unsigned start_read(void)
{
	unsigned chain = add_read(0);

	vdriver_kick(&guest.driver, 0);
	vdriver_run(&guest.driver);
	return chain;
}

static void *feed(void *arg)
{
	uint8_t sector[LEN];

	(void)arg;
	usleep(FEED_DELAY_US);
	memset(sector, 0x77, sizeof(sector));
	for (unsigned i = 0; i < feed_count; i++) {
		cr_assert_eq(write(feeder, sector, sizeof(sector)), LEN);
	}
	return NULL;
}

static pthread_t feed_later(unsigned count)
{
	pthread_t thread;

	feed_count = count;
	cr_assert_eq(pthread_create(&thread, NULL, feed, NULL), 0);
	return thread;
}

static void feed_now(unsigned count)
{
	cr_assert_eq(pthread_join(feed_later(count), NULL), 0);
}

static void expect_answer(unsigned queue, unsigned chain)
{
	struct vring_used used;
	uint8_t data[LEN];

	cr_assert(vdriver_used(&guest.driver, queue, &used));
	cr_assert_eq(used.id, chain);
	cr_assert_eq(used.len, LEN + 1);
	cr_assert_eq(blk_guest_status(&guest, queue, chain, 1), OK);
	vdriver_get(&guest.driver, queue, chain, 1, data, sizeof(data));
	cr_assert(data[0] == 0x77 && data[LEN - 1] == 0x77);
}

Test(blk_flight, a_request_is_in_flight_until_the_file_answers)
{
	struct vring_used used;

	start_on_pipe();
	unsigned chain = start_read();

	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	cr_assert_eq(blk_guest_status(&guest, 0, chain, 1), BLK_GUEST_PENDING);
	feed_now(1);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	cr_assert_eq(vdriver_interrupts(&guest.driver), 1);
	finish();
}

Test(blk_flight, a_short_read_goes_on)
{
	uint8_t part[LEN];

	start_on_pipe();
	unsigned chain = start_read();

	memset(part, 0x77, sizeof(part));
	for (unsigned done = 0; done < LEN; done += 64) {
		cr_assert_eq(write(feeder, part, 64), 64);
		usleep(1000);
		vdriver_run(&guest.driver);
	}
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	finish();
}

/* --- more than fits --- */

static void flood(unsigned queues, unsigned count)
{
	struct vring_used used;
	unsigned done = 0;

	for (unsigned q = 0; q < queues; q++) {
		for (unsigned i = 0; i < count; i++) {
			add_read(q);
		}
		vdriver_kick(&guest.driver, q);
	}
	vdriver_run(&guest.driver);
	cr_assert_gt(metric_get(&blk_metrics(guest.blk)->io_engine_throttled_events), 0);
	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	while (done < queues * count) {
		feed_now(50);
		for (unsigned got = 0; got < 50;) {
			vdriver_run(&guest.driver);
			for (unsigned q = 0; q < queues; q++) {
				while (vdriver_used(&guest.driver, q, &used)) {
					cr_assert_eq(blk_guest_status(&guest, q, used.id, 1), OK);
					got++;
				}
			}
		}
		done += 50;
	}
}

Test(blk_flight, requests_beyond_the_slots_wait_for_completions)
{
	start_on_pipe();
	flood(1, 250);
	flood(1, 250);
	finish();
}

Test(blk_flight, two_queues_share_the_slots)
{
	blk_guest_init(&guest, BLK_ENGINE_ASYNC);
	guest.config.num_queues = 2;
	use_pipe();
	blk_guest_start(&guest);
	flood(2, 200);
	finish();
}

Test(blk_flight, a_pause_ends_what_is_in_flight_and_the_rest_follows_after_it)
{
	struct vring_used used;
	unsigned done = 0;

	start_on_pipe();
	for (unsigned i = 0; i < 200; i++) {
		add_read(0);
	}
	vdriver_kick(&guest.driver, 0);
	vdriver_run(&guest.driver);
	pthread_t thread = feed_later(BLK_URING_ENTRIES);

	vdriver_pause(&guest.driver);
	pthread_join(thread, NULL);
	vdriver_run(&guest.driver);
	while (vdriver_used(&guest.driver, 0, &used)) {
		done++;
	}
	cr_assert_eq(done, BLK_URING_ENTRIES);
	vdriver_resume(&guest.driver);
	feed_now(200 - BLK_URING_ENTRIES);
	while (done < 200) {
		vdriver_wait_used(&guest.driver, 0);
		done += vdriver_used(&guest.driver, 0, &used);
	}
	finish();
}

static struct blk_file other_file(uint64_t sectors)
{
	struct blk_file file = {
		.is_in_memory = true,
		.fd = memfd_create("other", MFD_CLOEXEC),
		.sectors = sectors,
		.id = "other",
	};
	uint8_t data[LEN];

	memset(data, 0x33, sizeof(data));
	cr_assert_eq(ftruncate(file.fd, (off_t)sectors * LEN), 0);
	cr_assert_eq(pwrite(file.fd, data, sizeof(data), 0), LEN);
	return file;
}

/* --- the Sync engine --- */

/* From now on the system call `number` fails with `sys` in this process. */
static void forbid(long number, int sys)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)sys),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_COUNT(code), code};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* On a file of which each read would wait, as told by `sys`. */
static void start_sync(int sys)
{
	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	use_pipe();
	blk_guest_start(&guest);
	forbid(SYS_preadv2, sys);
}

Test(blk_flight, with_the_sync_engine_too_a_read_that_would_wait_is_in_flight)
{
	static const int reasons[] = {EAGAIN, EOPNOTSUPP};
	struct vring_used used;

	for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
		start_sync(reasons[i]);
		start_read();
		start_read();
		cr_assert_not(vdriver_used(&guest.driver, 0, &used));
		feed_now(2);
		for (unsigned j = 0; j < 2; j++) {
			vdriver_wait_used(&guest.driver, 0);
			cr_assert(vdriver_used(&guest.driver, 0, &used));
			cr_assert_eq(blk_guest_status(&guest, 0, used.id, 1), OK);
		}
		finish();
	}
}

Test(blk_flight, a_pause_and_a_reset_wait_for_it_too)
{
	struct vring_used used;

	start_sync(EAGAIN);
	unsigned chain = start_read();
	pthread_t thread = feed_later(1);

	vdriver_pause(&guest.driver);
	pthread_join(thread, NULL);
	expect_answer(0, chain);
	vdriver_resume(&guest.driver);
	start_read();
	thread = feed_later(1);
	vdriver_stop(&guest.driver);
	pthread_join(thread, NULL);
	vdriver_run(&guest.driver);
	cr_assert_not(vdriver_used(&guest.driver, 0, &used), "an answer after the reset");
	finish();
}

Test(blk_flight, what_is_in_the_page_cache_is_read_at_once_without_the_ring)
{

	uint8_t data[LEN];
	struct iovec iov = {data, LEN};
	FILE *file = tmpfile();

	cr_assert_not_null(file);
	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	close(guest.file.fd);
	guest.file.fd = dup(fileno(file));
	guest.file.is_in_memory = false;
	fclose(file);
	cr_assert_eq(ftruncate(guest.file.fd, BLK_GUEST_SECTORS * 512), 0);
	blk_guest_start(&guest);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	if (preadv2(guest.file.fd, &iov, 1, 0, RWF_NOWAIT) < 0) {
		cr_skip_test("the file system of /tmp does not know RWF_NOWAIT");
	}
	forbid(SYS_io_uring_enter, EAGAIN);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	cr_assert_eq(count_of(captured(log_fd), "io_uring does not take"), 0);
	/* But a flush waits, and has to go by the ring. */
	const struct blk_guest_req flush = {.type = VIRTIO_BLK_T_FLUSH};

	cr_assert_eq(blk_guest_do(&guest, &flush, NULL), OK);
	cr_assert_eq(count_of(captured(log_fd), "io_uring does not take"), 1);
	blk_guest_destroy(&guest);
}

Test(blk_flight, a_host_without_io_uring_makes_the_sync_engine_wait)
{
	uint8_t data[LEN] = {1};
	struct blk_file file = other_file(8);
	struct error err = {0};

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	guest.file.is_in_memory = false;
	forbid(SYS_io_uring_setup, EPERM);
	blk_guest_start(&guest);
	cr_assert_eq(count_of(captured(log_fd),
			      "The device disk does without io_uring, which this host refuses: "
			      "while its disk is slow, the whole microVM waits: Operation not "
			      "permitted (os error 1)"),
		     1);
	cr_assert_eq(blk_guest_write(&guest, 0, data, LEN), OK);
	cr_assert_eq(blk_set_file(guest.blk, &file, &err), 0, "%s", err.msg);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	cr_assert_eq(data[0], 0x33);
	blk_guest_destroy(&guest);
	blk_file_close(&file);
}

/* In memory to a disk that waits, and back. */
Test(blk_flight, another_file_may_be_of_another_kind)
{
	struct blk_file file = other_file(8);
	struct error err = {0};
	struct vring_used used;
	uint8_t data[LEN];
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	const struct blk_file disk = {.fd = ends[0], .sectors = 8};

	feeder = ends[1];
	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	blk_guest_start(&guest);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	cr_assert_eq(blk_set_file(guest.blk, &disk, &err), 0, "%s", err.msg);
	forbid(SYS_preadv2, EAGAIN);
	unsigned chain = start_read();

	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	feed_now(1);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	cr_assert_eq(blk_set_file(guest.blk, &file, &err), 0, "%s", err.msg);
	/* Made at once, whatever it answers. */
	forbid(SYS_pread64, EAGAIN);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), VIRTIO_BLK_S_IOERR);
	finish();
	blk_file_close(&file);
	close(ends[0]);
}

/* --- a reset --- */

static atomic_bool is_reset;

static void *reset_on_a_vcpu(void *arg)
{
	(void)arg;
	vdriver_stop(&guest.driver);
	atomic_store(&is_reset, true);
	return NULL;
}

/* A reset that waits on another thread for a read, whose chain is returned. */
static unsigned reset_amid_a_read(pthread_t *vcpu)
{
	start_on_pipe();
	unsigned chain = start_read();

	atomic_store(&is_reset, false);
	cr_assert_eq(pthread_create(vcpu, NULL, reset_on_a_vcpu, NULL), 0);
	usleep(FEED_DELAY_US);
	return chain;
}

Test(blk_flight, a_reset_waits_for_what_is_in_flight_without_the_main_thread)
{
	pthread_t vcpu;
	struct vring_used used;

	unsigned chain = reset_amid_a_read(&vcpu);

	cr_assert_not(atomic_load(&is_reset));
	feed_now(1);
	cr_assert_eq(pthread_join(vcpu, NULL), 0);
	vdriver_run(&guest.driver);
	cr_assert_not(vdriver_used(&guest.driver, 0, &used), "an answer after the reset");
	cr_assert_eq(blk_guest_status(&guest, 0, chain, 1), BLK_GUEST_PENDING);

	/* And the next driver has nothing of the first one's. */
	cr_assert(vdriver_start(&guest.driver, blk_virtio(guest.blk), UINT64_MAX));
	chain = start_read();
	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	feed_now(1);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	finish();
}

Test(blk_flight, the_event_loop_goes_on_while_a_reset_waits)
{
	static const struct limiter_config limits = {.ops = {.size = 1000, .refill_time_ms = 1000},
						     .has_ops = true};
	struct error err = {0};
	pthread_t vcpu;

	reset_amid_a_read(&vcpu);
	/* Kicks, completions, timers and limits: each takes the lock, which the reset has given up.
	 */
	for (unsigned i = 0; i < 100; i++) {
		virtio_kick(blk_virtio(guest.blk), 0);
		vdriver_run(&guest.driver);
	}
	cr_assert_eq(blk_set_limits(guest.blk, &limits, &err), 0);
	cr_assert_not(atomic_load(&is_reset), "the read is still in flight");
	feed_now(1);
	cr_assert_eq(pthread_join(vcpu, NULL), 0);
	finish();
}

static void *change_file(void *arg)
{
	struct error err = {0};

	cr_assert_eq(blk_set_file(guest.blk, arg, &err), 0, "%s", err.msg);
	return NULL;
}

Test(blk_flight, a_new_file_waits_for_a_reset_that_waits)
{
	struct blk_file file = other_file(8);
	pthread_t vcpu, client;

	start_on_pipe();
	start_read();
	cr_assert_eq(pthread_create(&vcpu, NULL, reset_on_a_vcpu, NULL), 0);
	usleep(FEED_DELAY_US);
	cr_assert_eq(pthread_create(&client, NULL, change_file, &file), 0);
	usleep(FEED_DELAY_US);
	cr_assert_eq(metric_get(&blk_metrics(guest.blk)->update_count), 0);
	feed_now(1);
	cr_assert_eq(pthread_join(vcpu, NULL), 0);
	cr_assert_eq(pthread_join(client, NULL), 0);
	cr_assert_eq(metric_get(&blk_metrics(guest.blk)->update_count), 1);
	finish();
	blk_file_close(&file);
}

Test(blk_flight, a_reset_with_all_slots_in_flight_frees_them_all)
{
	start_on_pipe();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 250; i++) {
			add_read(0);
		}
		vdriver_kick(&guest.driver, 0);
		vdriver_run(&guest.driver);
		pthread_t thread = feed_later(BLK_URING_ENTRIES);

		vdriver_stop(&guest.driver);
		pthread_join(thread, NULL);
		vdriver_run(&guest.driver);
		cr_assert(vdriver_start(&guest.driver, blk_virtio(guest.blk), UINT64_MAX));
	}
	unsigned chain = start_read();

	feed_now(1);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	finish();
}

/* --- a device that leaves --- */

static int idle;

/* Once for each time that it was told. */
static bool was_told(void)
{
	eventfd_t count;

	return eventfd_read(idle, &count) == 0;
}

static void leave_with_a_read_in_flight(void)
{
	idle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cr_assert(idle >= 0);
	cr_assert_not(virtio_leave(blk_virtio(guest.blk), idle));
	cr_assert(virtio_is_busy(blk_virtio(guest.blk)));
	cr_assert_not(was_told());
}

Test(blk_flight, a_drive_that_leaves_answers_what_is_in_flight_and_takes_nothing)
{
	struct vring_used used;

	start_on_pipe();
	unsigned first = start_read();

	leave_with_a_read_in_flight();
	unsigned second = start_read();

	feed_now(2);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, first);
	cr_assert(was_told());
	cr_assert_not(virtio_is_busy(blk_virtio(guest.blk)));
	vdriver_kick(&guest.driver, 0);
	vdriver_run(&guest.driver);
	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	/* A pause changes nothing of that. */
	virtio_resume(blk_virtio(guest.blk));
	vdriver_run(&guest.driver);
	cr_assert(was_told());
	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	/* Which stays after all. */
	virtio_stay(blk_virtio(guest.blk));
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, second);
	vdriver_run(&guest.driver);
	cr_assert_not(was_told());
	cr_assert(virtio_leave(blk_virtio(guest.blk), idle), "nothing is in flight");
	finish();
	close(idle);
}

Test(blk_flight, a_drive_that_leaves_is_busy_while_a_reset_waits)
{
	pthread_t vcpu;

	reset_amid_a_read(&vcpu);
	leave_with_a_read_in_flight();
	feed_now(1);
	cr_assert_eq(pthread_join(vcpu, NULL), 0);
	cr_assert(was_told());
	cr_assert_not(virtio_is_busy(blk_virtio(guest.blk)));
	finish();
	close(idle);
}

Test(blk_flight, completions_for_a_queue_that_broke_are_dropped)
{
	struct vring_used used;

	start_on_pipe();
	start_read();
	vring_set_avail_idx(&guest.driver.queues[0].ring, 9999);
	vdriver_notify(&guest.driver, 0);
	vdriver_run(&guest.driver);
	cr_assert(vdriver_status(&guest.driver) & 64);
	feed_now(1);
	usleep(FEED_DELAY_US);
	vdriver_run(&guest.driver);
	cr_assert_not(vdriver_used(&guest.driver, 0, &used));
	cr_assert(vdriver_start(&guest.driver, blk_virtio(guest.blk), UINT64_MAX));
	unsigned chain = start_read();

	feed_now(1);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	finish();
}

Test(blk_flight, the_end_of_the_device_waits_for_what_is_in_flight)
{
	start_on_pipe();
	start_read();
	pthread_t thread = feed_later(1);

	blk_free(guest.blk);
	guest.blk = NULL;
	pthread_join(thread, NULL);
	finish();
}

/* --- another file --- */

Test(blk_flight, a_new_file_waits_for_what_is_in_flight_on_the_old_one)
{
	struct blk_file file = other_file(8);
	struct error err = {0};
	uint64_t capacity;
	uint8_t data[LEN];

	start_on_pipe();
	unsigned chain = start_read();
	pthread_t thread = feed_later(1);

	cr_assert_eq(blk_set_file(guest.blk, &file, &err), 0, "%s", err.msg);
	pthread_join(thread, NULL);
	blk_file_close(&guest.file);
	struct pollfd writer = {.fd = feeder};

	cr_assert(poll(&writer, 1, 10000) == 1 && (writer.revents & POLLERR),
		  "somebody still has the old file");
	expect_answer(0, chain);
	vdriver_read_config(&guest.driver, 0, &capacity, sizeof(capacity));
	cr_assert_eq(capacity, 8);
	cr_assert_eq(vdriver_interrupts(&guest.driver), 2, "one of the answer, one of the size");
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	cr_assert_eq(data[0], 0x33);
	cr_assert_eq(blk_guest_read(&guest, 8, data, LEN), VIRTIO_BLK_S_IOERR);
	struct blk_file third = other_file(16);

	cr_assert_eq(blk_set_file(guest.blk, &third, &err), 0, "%s", err.msg);
	blk_file_close(&file);
	cr_assert_eq(blk_guest_write(&guest, 15, data, LEN), OK);
	cr_assert_eq(metric_get(&blk_metrics(guest.blk)->update_count), 2);
	finish();
	blk_file_close(&third);
}

Test(blk_flight, the_sync_engine_takes_another_file_too)
{
	struct blk_file file = other_file(8);
	struct error err = {0};
	uint8_t data[LEN];

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	blk_guest_start(&guest);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	cr_assert_eq(data[0], 0);
	cr_assert_eq(blk_set_file(guest.blk, &file, &err), 0, "%s", err.msg);
	blk_file_close(&guest.file);
	cr_assert_eq(blk_guest_read(&guest, 0, data, LEN), OK);
	cr_assert_eq(data[0], 0x33);
	cr_assert_eq(blk_guest_read(&guest, 8, data, LEN), VIRTIO_BLK_S_IOERR);
	blk_guest_destroy(&guest);
	blk_file_close(&file);
}

Test(blk_flight, a_file_that_io_uring_does_not_take_changes_nothing)
{
	const struct blk_file file = {.fd = 12345, .sectors = 8};
	struct error err = {0};
	uint64_t capacity;

	start_on_pipe();
	cr_assert_eq(blk_set_file(guest.blk, &file, &err), -1);
	cr_assert_str_eq(err.msg, "Cannot hand the new file to io_uring: Bad file descriptor "
				  "(os error 9)");
	vdriver_read_config(&guest.driver, 0, &capacity, sizeof(capacity));
	cr_assert_eq(capacity, BLK_GUEST_SECTORS);
	cr_assert_eq(vdriver_interrupts(&guest.driver), 0);
	cr_assert_eq(metric_get(&blk_metrics(guest.blk)->update_fails), 1);
	unsigned chain = start_read();

	feed_now(1);
	vdriver_wait_used(&guest.driver, 0);
	expect_answer(0, chain);
	finish();
}

/* --- a host that does not want --- */

Test(blk_flight, a_host_without_io_uring_is_told_in_a_sentence)
{
	struct error err = {0};

	blk_guest_init(&guest, BLK_ENGINE_ASYNC);
	forbid(SYS_io_uring_setup, EPERM);
	cr_assert_eq(
		blk_new(vdriver_env(&guest.driver), &guest.config, &guest.file, &guest.blk, &err),
		-1);
	cr_assert_null(guest.blk);
	cr_assert_str_eq(err.msg, "The Async engine needs io_uring, which this host refuses: "
				  "Operation not permitted (os error 1)");
	blk_guest_destroy(&guest);
}

Test(blk_flight, requests_that_io_uring_does_not_take_are_done_all_the_same)
{
	uint8_t data[LEN];

	blk_guest_init(&guest, BLK_ENGINE_ASYNC);
	blk_guest_start(&guest);
	memset(data, 0x11, sizeof(data));
	cr_assert_eq(blk_guest_write(&guest, 0, data, LEN), OK);
	forbid(SYS_io_uring_enter, EAGAIN);
	for (unsigned i = 0; i < 300; i++) {
		memset(data, (int)i + 1, sizeof(data));
		cr_assert_eq(blk_guest_write(&guest, i, data, LEN), OK);
		cr_assert_eq(blk_guest_read(&guest, i, data, LEN), OK);
		cr_assert_eq(data[0], (uint8_t)(i + 1));
	}
	blk_guest_destroy(&guest);
}

Test(blk_flight, more_of_them_than_there_are_slots_are_done_too)
{
	struct vring_used used;
	unsigned done = 0;

	blk_guest_init(&guest, BLK_ENGINE_ASYNC);
	blk_guest_start(&guest);
	forbid(SYS_io_uring_enter, EAGAIN);
	for (unsigned i = 0; i < 250; i++) {
		add_read(0);
	}
	vdriver_kick(&guest.driver, 0);
	vdriver_run(&guest.driver);
	while (vdriver_used(&guest.driver, 0, &used)) {
		cr_assert_eq(blk_guest_status(&guest, 0, used.id, 1), OK);
		done++;
	}
	cr_assert_eq(done, 250, "%u", done);
	blk_guest_destroy(&guest);
}

Test(blk_flight, what_was_reaped_wakes_nobody)
{
	uint8_t data[LEN];
	int ends[2];
	struct blk_uring *uring = NULL;
	enum blk_progress progress;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(blk_uring_new(ends[0], -1, BLK_URING_ENTRIES, &uring), 0);
	struct pollfd event = {.fd = blk_uring_event_fd(uring), .events = POLLIN};

	for (unsigned i = 0; i < 3; i++) {
		struct blk_io *io = blk_uring_slot(uring);

		io->op = BLK_OP_READ;
		io->iov[0] = (struct iovec){data, sizeof(data)};
		io->iov_count = 1;
		io->offset = 0;
		io->len = sizeof(data);
		cr_assert_eq(blk_io_start(io), BLK_IO_MORE);
		blk_uring_queue(uring, io);
		cr_assert_null(blk_uring_reap(uring, &progress));
		cr_assert_eq(poll(&event, 1, 0), 0, "nothing has ended");
		cr_assert_eq(write(ends[1], data, sizeof(data)), sizeof(data));
		cr_assert_eq(poll(&event, 1, -1), 1);
		cr_assert_eq(blk_uring_reap(uring, &progress), io);
		cr_assert_eq(progress, BLK_IO_DONE);
		cr_assert_eq(poll(&event, 1, 0), 0, "all is reaped");
	}
	blk_uring_free(uring);
	close(ends[0]);
	close(ends[1]);
}
