/* SPDX-License-Identifier: Apache-2.0 */
/* A drive that is saved and loaded: no request is lost, and the guest learns what has changed. */
#include <criterion/criterion.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/blk_guest.h"
#include "tests/lib/capture.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"

enum {
	SECTOR = 512,
	BATCH = 40,
	REG_INTERRUPT_STATUS = 0x60,
	INT_CONFIG = 2,
};

static struct blk_guest guest;
static struct state_bed bed;

TestSuite(blk_state);

static void make_again(void)
{
	struct error err = {0};

	blk_free(guest.blk);
	cr_assert(blk_new(vdriver_env(&guest.driver), &guest.config, &guest.file, &guest.blk,
			  &err) == 0,
		  "%s", err.msg);
}

static void move(void)
{
	state_bed_take(&bed, &guest.driver);
	make_again();
	state_bed_give(&bed, &guest.driver, blk_virtio(guest.blk));
}

/* Offers writes of one sector each, marked by their number. */
static void add_writes(unsigned queue, unsigned first, unsigned count)
{
	uint8_t data[SECTOR];
	const struct vbuf buf = {data, sizeof(data), 0};

	for (unsigned i = first; i < first + count; i++) {
		const struct blk_guest_req req = {VIRTIO_BLK_T_OUT, i, &buf, 1};

		memset(data, (int)(i + 1), sizeof(data));
		blk_guest_add(&guest, queue, &req);
	}
}

static void check_writes(unsigned queue, unsigned count)
{
	struct vring_used used;

	for (unsigned i = 0; i < count; i++) {
		vdriver_wait_used(&guest.driver, queue);
		cr_assert(vdriver_used(&guest.driver, queue, &used));
		cr_assert_eq(blk_guest_status(&guest, queue, used.id, 1), VIRTIO_BLK_S_OK);
	}
}

static void check_file(unsigned count)
{
	uint8_t data[SECTOR];

	for (unsigned i = 0; i < count; i++) {
		cr_assert_eq(pread(guest.file.fd, data, sizeof(data), (off_t)i * SECTOR), SECTOR);
		cr_assert(data[0] == (uint8_t)(i + 1) && data[SECTOR - 1] == data[0], "%u", i);
	}
}

Test(blk_state, requests_of_all_queues_are_done_once_before_or_after)
{
	static const enum blk_io_engine engines[] = {BLK_ENGINE_SYNC, BLK_ENGINE_ASYNC};

	for (size_t i = 0; i < ARRAY_COUNT(engines); i++) {
		blk_guest_init(&guest, engines[i]);
		guest.config.num_queues = 2;
		blk_guest_start(&guest);
		for (unsigned round = 0; round < 6; round++) {
			unsigned first = round * 3 * BATCH;

			add_writes(0, first, BATCH);
			vdriver_kick(&guest.driver, 0);
			if (round % 2 == 0) { /* else all is in the queue, or in flight */
				vdriver_run(&guest.driver);
			}
			add_writes(0, first + BATCH, BATCH);
			add_writes(1, first + 2 * BATCH, BATCH);
			move();
			check_writes(0, 2 * BATCH);
			check_writes(1, BATCH);
		}
		check_file(18 * BATCH);
		blk_guest_destroy(&guest);
	}
}

Test(blk_state, a_file_of_another_size_is_told_to_the_guest)
{
	uint64_t capacity = 0;
	int log = capture_log(LOG_WARN);

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	blk_guest_start(&guest);
	move();
	vdriver_run(&guest.driver);
	cr_expect_eq(vdriver_read(&guest.driver, REG_INTERRUPT_STATUS), 0);
	cr_expect_str_eq(captured(log), "");
	guest.file.sectors = 1024;
	move();
	cr_expect(strstr(captured(log), "had the capacity in sectors ") != NULL &&
			  strstr(captured(log), " when it was saved, and has 1024 now: its driver "
						"is told") != NULL,
		  "%s", captured(log));
	vdriver_run(&guest.driver);
	vdriver_read_config(&guest.driver, 0, &capacity, sizeof(capacity));
	cr_expect_eq(capacity, 1024);
	cr_expect_eq(vdriver_read(&guest.driver, REG_INTERRUPT_STATUS), INT_CONFIG);
	cr_expect_eq(blk_virtio(guest.blk)->config_generation, 1);
	cr_expect_eq(blk_guest_write(&guest, 1024, "", 1), VIRTIO_BLK_S_IOERR);
	blk_guest_destroy(&guest);
}

Test(blk_state, what_the_driver_uses_and_the_drive_lacks_is_named)
{
	struct error err = {0};

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	guest.config.cache_type = BLK_CACHE_WRITEBACK;
	blk_guest_start(&guest);
	state_bed_take(&bed, &guest.driver);
	guest.config.cache_type = BLK_CACHE_UNSAFE;
	guest.config.is_read_only = true;
	make_again();
	cr_assert(state_bed_load(&bed, &guest.driver, blk_virtio(guest.blk), &err) < 0);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg,
			 "The block device disk can't be loaded: its driver uses features that it "
			 "does not have here: VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_DISCARD, "
			 "VIRTIO_BLK_F_WRITE_ZEROES");
	blk_guest_destroy(&guest);
}

Test(blk_state, other_limits_than_the_driver_knows_are_refused)
{
	struct error err = {0};

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	blk_guest_start(&guest);
	state_bed_take(&bed, &guest.driver);
	bed.state.config[12] ^= 1; /* seg_max */
	make_again();
	cr_assert(state_bed_load(&bed, &guest.driver, blk_virtio(guest.blk), &err) < 0);
	cr_expect_str_eq(err.msg, "The block device disk can't be loaded: it has another set of "
				  "limits now than its driver knows");
	blk_guest_destroy(&guest);
}

static uint64_t now_ns;

static uint64_t still(clockid_t id)
{
	(void)id;
	return now_ns;
}

Test(blk_state, a_load_gives_no_burst_and_no_full_bucket)
{
	const struct token_bucket_config three = {
		.size = 2, .one_time_burst = 1, .refill_time_ms = 3600000};
	struct vring_used used;
	unsigned done = 0;

	now_ns = 1000000;
	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	guest.driver.clock.now_ns = still;
	guest.config.has_rate_limiter = true;
	guest.config.rate_limiter = (struct limiter_config){.ops = three, .has_ops = true};
	blk_guest_start(&guest);
	add_writes(0, 0, 10);
	vdriver_kick(&guest.driver, 0);
	vdriver_run(&guest.driver);
	for (unsigned i = 0; i < 3; i++) {
		move();
		vdriver_run(&guest.driver);
	}
	while (vdriver_used(&guest.driver, 0, &used)) {
		done++;
	}
	cr_expect_eq(done, 3);
	/* The token that comes each half hour is had by the loaded drive as well. */
	now_ns += 1800 * NS_PER_S;
	move();
	vdriver_run(&guest.driver);
	cr_expect(vdriver_used(&guest.driver, 0, &used));
	cr_expect(!vdriver_used(&guest.driver, 0, &used));
	blk_guest_destroy(&guest);
}
