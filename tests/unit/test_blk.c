/* SPDX-License-Identifier: Apache-2.0 */
/* The block device as its driver sees it, with either engine. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fake/alloc_guard.h"
#include "tests/lib/blk_guest.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"

#define BIT(n) (UINT64_C(1) << (n))
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP

static struct blk_guest guest;
static int log_fd;

static void keep_log(void)
{
	log_fd = capture_log(LOG_WARN);
}

TestSuite(blk, .init = keep_log);

/* What a test does with a drive of each engine; of Sync, with a file that may wait and without. */
static void on_each(void (*configure)(void), void (*check)(void))
{
	static const struct {
		enum blk_io_engine engine;
		bool is_in_memory;
	} kinds[] = {{BLK_ENGINE_SYNC, true}, {BLK_ENGINE_SYNC, false}, {BLK_ENGINE_ASYNC, false}};

	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		blk_guest_init(&guest, kinds[i].engine);
		guest.file.is_in_memory = kinds[i].is_in_memory;
		if (configure != NULL) {
			configure();
		}
		blk_guest_start(&guest);
		check();
		blk_guest_destroy(&guest);
	}
}

static const char *engine(void)
{
	return guest.config.io_engine == BLK_ENGINE_SYNC ? "Sync" : "Async";
}

static bool is_done_at_once(void)
{
	return guest.config.io_engine == BLK_ENGINE_SYNC && guest.file.is_in_memory;
}

static void fill(uint8_t *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		data[i] = (uint8_t)(seed + i * 7 + i / 512);
	}
}

static uint64_t counted(const struct metric *metric)
{
	return metric_get(metric);
}

static uint64_t frozen_ns;

static uint64_t frozen(clockid_t id)
{
	(void)id;
	return frozen_ns;
}

/* No turn of a queue ends for its time. */
static void stop_clock(void)
{
	guest.driver.clock.now_ns = frozen;
}

/* --- what it offers --- */

struct offer {
	const char *name;
	enum blk_cache_type cache_type;
	bool is_read_only;
	uint8_t num_queues;
	uint64_t with;
	uint64_t without;
};

Test(blk, features_follow_from_the_configuration)
{
	static const uint64_t change = BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	static const uint64_t flush = BIT(VIRTIO_BLK_F_FLUSH);
	static const uint64_t ro = BIT(VIRTIO_BLK_F_RO);
	static const uint64_t mq = BIT(VIRTIO_BLK_F_MQ);
	const struct offer offers[] = {
		{"plain", BLK_CACHE_UNSAFE, false, 0, change, flush | ro | mq},
		{"writeback", BLK_CACHE_WRITEBACK, false, 1, flush | change, ro | mq},
		{"read-only", BLK_CACHE_UNSAFE, true, 1, ro, flush | change | mq},
		{"multi-queue", BLK_CACHE_UNSAFE, false, 2, mq | change, flush | ro},
		{"most queues", BLK_CACHE_WRITEBACK, true, 16, mq | flush | ro, change},
	};

	for (size_t i = 0; i < ARRAY_COUNT(offers); i++) {
		const struct offer *offer = &offers[i];

		blk_guest_init(&guest, BLK_ENGINE_SYNC);
		guest.config.cache_type = offer->cache_type;
		guest.config.is_read_only = offer->is_read_only;
		guest.config.num_queues = offer->num_queues;
		blk_guest_start(&guest);
		uint64_t offered = vdriver_offered(&guest.driver);

		cr_expect_eq(offered & offer->with, offer->with, "%s: %#lx", offer->name,
			     (unsigned long)offered);
		cr_expect_eq(offered & offer->without, 0, "%s: %#lx", offer->name,
			     (unsigned long)offered);
		cr_expect(offered & BIT(VIRTIO_BLK_F_SEG_MAX), "%s", offer->name);
		blk_guest_destroy(&guest);
	}
}

Test(blk, the_configuration_tells_size_and_limits_and_is_read_only)
{
	struct virtio_blk_config config = {0};
	uint8_t byte = 1;

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	guest.config.num_queues = 3;
	blk_guest_start(&guest);
	vdriver_write_config(&guest.driver, 0, &byte, 1);
	vdriver_read_config(&guest.driver, 0, &config, 60);
	cr_expect_eq(config.capacity, BLK_GUEST_SECTORS);
	cr_expect_eq(config.seg_max, 254);
	cr_expect_eq(config.num_queues, 3);
	cr_expect_gt(config.max_discard_sectors, 0);
	cr_expect_gt(config.max_discard_seg, 0);
	cr_expect_eq(config.discard_sector_alignment, 1);
	cr_expect_gt(config.max_write_zeroes_sectors, 0);
	cr_expect_eq(config.max_write_zeroes_seg, 1);
	cr_expect_eq(config.write_zeroes_may_unmap, 1);
	cr_expect_eq(counted(&blk_metrics(guest.blk)->cfg_fails), 1);
	blk_guest_destroy(&guest);
}

/* --- requests --- */

static void check_read_and_write(void)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} cases[] = {{0, 512}, {2047, 512}, {7, 4096}, {100, 512 * 1000}, {0, 512 * 2048}};
	static uint8_t out[512 * 2048], in[512 * 2048];
	struct blk_metrics *metrics = blk_metrics(guest.blk);
	uint64_t bytes = 0;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		fill(out, cases[i].len, (unsigned)i);
		cr_assert_eq(blk_guest_write(&guest, cases[i].sector, out, cases[i].len), OK);
		cr_assert_eq(pread(guest.file.fd, in, cases[i].len, (off_t)cases[i].sector * 512),
			     cases[i].len);
		cr_assert_arr_eq(in, out, cases[i].len, "%s, case %zu: written", engine(), i);
		memset(in, 0, cases[i].len);
		cr_assert_eq(blk_guest_read(&guest, cases[i].sector, in, cases[i].len), OK);
		cr_assert_arr_eq(in, out, cases[i].len, "%s, case %zu: read", engine(), i);
		bytes += cases[i].len;
	}
	cr_expect_eq(counted(&metrics->read_count), ARRAY_COUNT(cases));
	cr_expect_eq(counted(&metrics->write_count), ARRAY_COUNT(cases));
	cr_expect_eq(counted(&metrics->read_bytes), bytes);
	cr_expect_eq(counted(&metrics->write_bytes), bytes);
	cr_expect_eq(counted(&metrics->invalid_reqs_count), 0);
	cr_expect_eq(counted(&metrics->execute_fails), 0);
	cr_expect_gt(counted(&metrics->queue_event_count), 0);
}

Test(blk, what_is_written_is_in_the_file_and_read_back)
{
	on_each(NULL, check_read_and_write);
}

static void check_used_length(void)
{
	static const uint8_t data[1024];
	const struct vbuf in = {NULL, 1024, VBUF_WRITABLE};
	const struct vbuf out = {data, 1024, 0};
	const struct vbuf id = {NULL, 20, VBUF_WRITABLE};
	const struct {
		struct blk_guest_req req;
		uint32_t len;
	} cases[] = {
		{{VIRTIO_BLK_T_IN, 0, &in, 1}, 1025},	{{VIRTIO_BLK_T_OUT, 0, &out, 1}, 1},
		{{VIRTIO_BLK_T_IN, 2047, &in, 1}, 1},	{{VIRTIO_BLK_T_FLUSH, 0, NULL, 0}, 1},
		{{VIRTIO_BLK_T_GET_ID, 0, &id, 1}, 21}, {{999, 0, NULL, 0}, 1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vring_used used;

		blk_guest_do(&guest, &cases[i].req, &used);
		cr_expect_eq(used.len, cases[i].len, "%s, case %zu: %u", engine(), i, used.len);
	}
}

Test(blk, the_used_length_counts_the_data_and_the_status)
{
	on_each(NULL, check_used_length);
}

static void check_batch(void)
{
	enum {
		COUNT = 32 /* the Sync engine has as many in flight */
	};
	uint8_t data[512];
	const struct vbuf buf = {data, sizeof(data), 0};
	unsigned chains[COUNT];
	struct vring_used used;

	for (unsigned i = 0; i < COUNT; i++) {
		const struct blk_guest_req req = {VIRTIO_BLK_T_OUT, i, &buf, 1};

		fill(data, sizeof(data), i);
		chains[i] = blk_guest_add(&guest, 0, &req);
	}
	vdriver_kick(&guest.driver, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		vdriver_wait_used(&guest.driver, 0);
		cr_assert(vdriver_used(&guest.driver, 0, &used));
	}
	for (unsigned i = 0; i < COUNT; i++) {
		uint8_t expected[512];

		cr_assert_eq(blk_guest_status(&guest, 0, chains[i], 1), OK);
		fill(expected, sizeof(expected), i);
		cr_assert_eq(pread(guest.file.fd, data, 512, 512 * (off_t)i), 512);
		cr_assert_arr_eq(data, expected, 512, "%s, request %u", engine(), i);
	}
	cr_assert_eq(counted(&blk_metrics(guest.blk)->queue_event_count), 2,
		     "the first is of the start");
	if (is_done_at_once()) {
		cr_assert_eq(vdriver_interrupts(&guest.driver), 1);
	}
}

Test(blk, a_batch_is_one_notification_and_for_the_sync_engine_one_interrupt)
{
	on_each(stop_clock, check_batch);
}

static void check_allocations(void)
{
	static const uint8_t range[16] = {[8] = 1};
	const struct vbuf in = {NULL, 4096, VBUF_WRITABLE};
	const struct vbuf out = {NULL, 4096, 0};
	const struct vbuf id = {NULL, 20, VBUF_WRITABLE};
	const struct vbuf ranges = {range, 16, 0};
	const struct blk_guest_req reqs[] = {
		{VIRTIO_BLK_T_IN, 0, &in, 1},	       {VIRTIO_BLK_T_OUT, 0, &out, 1},
		{VIRTIO_BLK_T_FLUSH, 0, NULL, 0},      {VIRTIO_BLK_T_GET_ID, 0, &id, 1},
		{VIRTIO_BLK_T_DISCARD, 0, &ranges, 1}, {VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1},
		{VIRTIO_BLK_T_IN, 9999, &in, 1},       {99, 0, NULL, 0},
	};
	struct vring_used used;

	for (unsigned round = 0; round < 5; round++) {
		for (size_t i = 0; i < ARRAY_COUNT(reqs); i++) {
			blk_guest_add(&guest, 0, &reqs[i]);
		}
		alloc_guard_begin();
		vdriver_kick(&guest.driver, 0);
		for (size_t done = 0; done < ARRAY_COUNT(reqs); done++) {
			vdriver_wait_used(&guest.driver, 0);
			vdriver_used(&guest.driver, 0, &used);
		}
		cr_assert_eq(alloc_guard_end(), 0, "%s", engine());
	}
}

Test(blk, nothing_is_allocated_for_a_request)
{
	on_each(NULL, check_allocations);
}

static void check_flush(void)
{
	const struct blk_guest_req req = {VIRTIO_BLK_T_FLUSH, 0, NULL, 0};

	cr_assert_eq(blk_guest_do(&guest, &req, NULL), OK);
	cr_assert_eq(counted(&blk_metrics(guest.blk)->flush_count), 1);
}

static void writeback(void)
{
	guest.config.cache_type = BLK_CACHE_WRITEBACK;
}

Test(blk, a_flush_is_done_whether_it_was_offered_or_not)
{
	on_each(NULL, check_flush);
	on_each(writeback, check_flush);
}

static void check_id(void)
{
	const struct vbuf buf = {NULL, 20, VBUF_WRITABLE};
	const struct blk_guest_req req = {VIRTIO_BLK_T_GET_ID, 0, &buf, 1};
	struct vring_used used;
	char id[20];

	cr_assert_eq(blk_guest_do(&guest, &req, &used), OK);
	vdriver_get(&guest.driver, 0, used.id, 1, id, sizeof(id));
	cr_assert_arr_eq(id, guest.file.id, sizeof(id));
}

Test(blk, the_id_is_the_files)
{
	on_each(NULL, check_id);
}

/* --- discard and zeroes --- */

static uint8_t change(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	uint8_t range[16];
	const struct vbuf buf = {range, sizeof(range), 0};
	const struct blk_guest_req req = {type, 0, &buf, 1};

	store_le64(range, sector);
	store_le32(range + 8, sectors);
	store_le32(range + 12, flags);
	return blk_guest_do(&guest, &req, NULL);
}

static void write_all(uint8_t byte)
{
	static uint8_t data[512 * 2048];

	memset(data, byte, sizeof(data));
	cr_assert_eq(blk_guest_write(&guest, 0, data, sizeof(data)), OK);
}

/* Sectors [first, first + count) are zeroes and all others `byte`. */
static void expect_zeroes(uint64_t first, uint64_t count, uint8_t byte)
{
	static uint8_t data[512 * 2048];

	cr_assert_eq(pread(guest.file.fd, data, sizeof(data), 0), sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++) {
		bool is_zero = i / 512 >= first && i / 512 < first + count;

		cr_assert_eq(data[i], is_zero ? 0 : byte, "%s: byte %zu is %u", engine(), i,
			     data[i]);
	}
}

static off_t blocks(void)
{
	struct stat st;

	cr_assert_eq(fstat(guest.file.fd, &st), 0);
	return st.st_blocks;
}

static void check_discard(void)
{
	write_all(0x5a);
	off_t before = blocks();

	cr_assert_eq(change(VIRTIO_BLK_T_DISCARD, 1024, 1024, 0), OK);
	cr_assert_leq(blocks(), before - 1024, "%s", engine());
	expect_zeroes(1024, 1024, 0x5a);
	cr_assert_eq(change(VIRTIO_BLK_T_DISCARD, 2048, 1, 0), IOERR);
	cr_assert_eq(change(VIRTIO_BLK_T_DISCARD, 0, 1, 1), UNSUPP);
	expect_zeroes(1024, 1024, 0x5a);
}

Test(blk, a_discard_gives_room_back_to_the_host)
{
	on_each(NULL, check_discard);
}

static void check_zeroes(void)
{
	write_all(0x5a);
	cr_assert_eq(change(VIRTIO_BLK_T_WRITE_ZEROES, 3, 1000, 0), OK);
	expect_zeroes(3, 1000, 0x5a);
	write_all(0xa5);
	cr_assert_eq(change(VIRTIO_BLK_T_WRITE_ZEROES, 1, 2047, 1), OK);
	expect_zeroes(1, 2047, 0xa5);
	cr_assert_eq(change(VIRTIO_BLK_T_WRITE_ZEROES, 0, 2049, 0), IOERR);
	cr_assert_eq(change(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2), UNSUPP);
	expect_zeroes(1, 2047, 0xa5);
}

/* A file in /tmp, whose file system has zero ranges as a rule; a memfd has none. */
static void use_tmp(void)
{
	char path[] = "/tmp/squib-blk-XXXXXX";
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && unlink(path) == 0 && ftruncate(fd, BLK_GUEST_SECTORS * 512) == 0);
	close(guest.file.fd);
	guest.file.fd = fd;
}

Test(blk, zeroes_are_read_back_whatever_the_host_can_do)
{
	on_each(NULL, check_zeroes);
	on_each(use_tmp, check_zeroes);
}

Test(blk, discards_work_on_other_file_systems)
{
	on_each(use_tmp, check_discard);
}

/* --- what is refused --- */

static void check_refusals(void)
{
	static uint8_t data[1024];

	cr_expect_eq(blk_guest_read(&guest, 2048, data, 512), IOERR);
	cr_expect_eq(blk_guest_read(&guest, 2047, data, 1024), IOERR);
	cr_expect_eq(blk_guest_read(&guest, UINT64_MAX, data, 512), IOERR);
	cr_expect_eq(blk_guest_read(&guest, 0, data, 100), IOERR);
	cr_expect_eq(blk_guest_write(&guest, 2047, data, 1024), IOERR);
	const struct blk_guest_req unknown = {77, 0, NULL, 0};

	cr_expect_eq(blk_guest_do(&guest, &unknown, NULL), UNSUPP);
	cr_expect_eq(counted(&blk_metrics(guest.blk)->invalid_reqs_count), 6);
	cr_expect_eq(counted(&blk_metrics(guest.blk)->read_count), 0);
	struct stat st;

	cr_assert_eq(fstat(guest.file.fd, &st), 0);
	cr_expect_eq(st.st_size, BLK_GUEST_SECTORS * 512, "a write beyond the end made it grow");
	cr_expect_eq(blk_guest_read(&guest, 0, data, 512), OK, "%s: afterwards", engine());
}

Test(blk, what_is_wrong_is_refused_and_the_next_request_served)
{
	on_each(NULL, check_refusals);
}

static void read_only(void)
{
	guest.config.is_read_only = true;
}

static void check_read_only(void)
{
	static uint8_t data[512];

	memset(data, 1, sizeof(data));
	cr_expect_eq(blk_guest_write(&guest, 0, data, sizeof(data)), IOERR);
	cr_expect_eq(change(VIRTIO_BLK_T_DISCARD, 0, 1, 0), IOERR);
	cr_expect_eq(change(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), IOERR);
	cr_expect_eq(blk_guest_read(&guest, 0, data, sizeof(data)), OK);
	cr_expect_eq(data[0], 0);
	check_flush();
}

Test(blk, a_read_only_drive_is_not_changed)
{
	on_each(read_only, check_read_only);
}

static void check_bad_chains(void)
{
	static const uint8_t header[16];
	const struct vbuf readable[] = {{header, 16, 0}, {header, 16, 0}};
	const struct vbuf writable[] = {{NULL, 512, VBUF_WRITABLE}, {NULL, 1, VBUF_WRITABLE}};
	const struct vbuf cut[] = {{header, 15, 0}, {NULL, 513, VBUF_WRITABLE}};
	const struct vbuf *const chains[] = {readable, writable, cut};
	struct vring_used used;

	for (size_t i = 0; i < ARRAY_COUNT(chains); i++) {
		uint8_t byte;
		unsigned chain = vdriver_add(&guest.driver, 0, chains[i], 2);

		vdriver_kick(&guest.driver, 0);
		vdriver_run(&guest.driver);
		cr_assert(vdriver_used(&guest.driver, 0, &used), "%s, chain %zu", engine(), i);
		cr_assert(used.id == chain && used.len == 0);
		if (chains[i] != readable) {
			vdriver_get(&guest.driver, 0, chain, 1, &byte, 1);
			cr_assert_eq(byte, 0xee, "%s, chain %zu: touched", engine(), i);
		}
	}
	cr_assert_eq(counted(&blk_metrics(guest.blk)->invalid_reqs_count), 3);
}

Test(blk, a_chain_without_room_for_header_or_status_is_given_back_untouched)
{
	on_each(NULL, check_bad_chains);
}

/* --- framing --- */

static void check_framing(void)
{
	uint8_t out[16 + 1024] = {VIRTIO_BLK_T_OUT};
	uint8_t in[16] = {VIRTIO_BLK_T_IN};
	struct vbuf bufs[64];
	uint8_t data[1025];
	struct vring_used used;

	/* Header and data of a write in pieces of 1 and 31 bytes, then the status alone. */
	fill(out + 16, 1024, 3);
	store_le64(out + 8, 5);
	size_t count = 0;

	for (size_t at = 0; at < sizeof(out); count++) {
		uint32_t len = at < 16 ? 1 : (uint32_t)min_u64(31, sizeof(out) - at);

		bufs[count] = (struct vbuf){out + at, len, 0};
		at += len;
	}
	bufs[count++] = (struct vbuf){NULL, 1, VBUF_WRITABLE};
	unsigned chain = vdriver_add(&guest.driver, 0, bufs, count);

	vdriver_kick(&guest.driver, 0);
	vdriver_wait_used(&guest.driver, 0);
	cr_assert(vdriver_used(&guest.driver, 0, &used));
	vdriver_get(&guest.driver, 0, chain, (unsigned)count - 1, data, 1);
	cr_assert_eq(data[0], OK);
	cr_assert_eq(pread(guest.file.fd, data, 1024, (off_t)5 * 512), 1024);
	cr_assert_arr_eq(data, out + 16, 1024);

	/* A read with its status behind the data in one segment. */
	store_le64(in + 8, 5);
	bufs[0] = (struct vbuf){in, 16, 0};
	bufs[1] = (struct vbuf){NULL, 3, VBUF_WRITABLE};
	bufs[2] = (struct vbuf){NULL, 1022, VBUF_WRITABLE};
	chain = vdriver_add(&guest.driver, 0, bufs, 3);
	vdriver_kick(&guest.driver, 0);
	vdriver_wait_used(&guest.driver, 0);
	cr_assert(vdriver_used(&guest.driver, 0, &used));
	cr_assert_eq(used.len, 1025);
	vdriver_get(&guest.driver, 0, chain, 1, data, 3);
	vdriver_get(&guest.driver, 0, chain, 2, data + 3, 1022);
	cr_assert_arr_eq(data, out + 16, 1024);
	cr_assert_eq(data[1024], OK);
}

Test(blk, the_cut_of_a_request_into_segments_does_not_matter)
{
	on_each(NULL, check_framing);
}

static void small_and_simple(void)
{
	stop_clock();
	guest.driver.queue_size = 128;
	guest.features = ~(BIT(28) | BIT(29)); /* neither indirect tables nor an event index */
}

Test(blk, requests_work_in_a_small_queue_without_indirect_tables_and_event_index)
{
	on_each(small_and_simple, check_framing);
	on_each(small_and_simple, check_batch);
}

/* --- when the host fails --- */

static void fail_writes(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", guest.file.fd);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	close(guest.file.fd);
	guest.file.fd = fd;
}

static void check_failed_writes(void)
{
	uint8_t data[512] = {1};

	cr_assert_eq(blk_guest_write(&guest, 0, data, sizeof(data)), IOERR, "%s", engine());
	cr_assert_eq(blk_guest_write(&guest, 0, data, sizeof(data)), IOERR, "%s", engine());
	cr_assert_eq(change(VIRTIO_BLK_T_DISCARD, 0, 1, 0), IOERR);
	cr_assert_eq(change(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), IOERR);
	cr_assert_eq(counted(&blk_metrics(guest.blk)->execute_fails), 4);
	cr_assert_eq(counted(&blk_metrics(guest.blk)->write_count), 0);
	cr_assert_eq(blk_guest_read(&guest, 0, data, sizeof(data)), OK);
}

Test(blk, what_the_host_fails_to_do_is_an_error_for_the_guest)
{
	static const char line[] =
		"The drive disk failed to write: Bad file descriptor (os error 9)";

	on_each(fail_writes, check_failed_writes);
	/* Once for each drive, though each failed twice. */
	cr_assert_eq(count_of(captured(log_fd), line), 3);
}

static void check_truncated(void)
{
	uint8_t data[1024];

	write_all(0x11);
	cr_assert_eq(ftruncate(guest.file.fd, (off_t)512 * 1000), 0);
	cr_expect_eq(blk_guest_read(&guest, 1000, data, 512), IOERR, "%s", engine());
	cr_expect_eq(blk_guest_read(&guest, 999, data, 1024), IOERR, "%s", engine());
	cr_expect_eq(blk_guest_read(&guest, 999, data, 512), OK);
	cr_expect_eq(counted(&blk_metrics(guest.blk)->execute_fails), 2);
}

Test(blk, reads_beyond_the_end_of_a_file_that_was_cut_fail)
{
	on_each(NULL, check_truncated);
}

Test(blk, a_write_that_the_host_has_no_room_for_fails)
{
	const struct rlimit limit = {(rlim_t)512 * 100, RLIM_INFINITY};
	uint8_t data[1024] = {1};

	signal(SIGXFSZ, SIG_IGN);
	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	use_tmp();
	blk_guest_start(&guest);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_expect_eq(blk_guest_write(&guest, 99, data, 512), OK);
	cr_expect_eq(blk_guest_write(&guest, 99, data, 1024), IOERR);
	cr_expect_eq(blk_guest_write(&guest, 100, data, 512), IOERR);
	cr_expect_eq(counted(&blk_metrics(guest.blk)->execute_fails), 2);
	blk_guest_destroy(&guest);
}

/* --- several queues --- */

static void two_queues(void)
{
	guest.config.num_queues = 2;
}

static void check_two_queues(void)
{
	uint8_t data[512];
	const struct vbuf buf = {data, sizeof(data), 0};
	struct vring_used used;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 2; i++) {
			const struct blk_guest_req req = {VIRTIO_BLK_T_OUT, round * 2 + i, &buf, 1};

			memset(data, (int)(round * 2 + i + 1), sizeof(data));
			blk_guest_add(&guest, i, &req);
		}
		for (unsigned i = 0; i < 2; i++) {
			vdriver_kick(&guest.driver, i);
		}
		for (unsigned i = 0; i < 2; i++) {
			vdriver_wait_used(&guest.driver, i);
			cr_assert(vdriver_used(&guest.driver, i, &used));
			cr_assert_eq(blk_guest_status(&guest, i, used.id, 1), OK);
		}
	}
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(pread(guest.file.fd, data, 512, (off_t)512 * i), 512);
		cr_assert_eq(data[0], i + 1);
	}
}

Test(blk, each_queue_is_served)
{
	on_each(two_queues, check_two_queues);
}

Test(blk, a_queue_that_the_driver_does_not_use_is_left_alone)
{
	uint8_t data[512] = {1};
	struct error err = {0};

	blk_guest_init(&guest, BLK_ENGINE_SYNC);
	two_queues();
	cr_assert_eq(
		blk_new(vdriver_env(&guest.driver), &guest.config, &guest.file, &guest.blk, &err),
		0);
	cr_assert(vdriver_begin(&guest.driver, blk_virtio(guest.blk), UINT64_MAX));
	vdriver_write(&guest.driver, 0x30, 1);
	vdriver_write(&guest.driver, 0x44, 0);
	cr_assert(vdriver_finish(&guest.driver));
	vdriver_run(&guest.driver);
	vdriver_notify(&guest.driver, 1);
	vdriver_run(&guest.driver);
	cr_assert_eq(blk_guest_write(&guest, 0, data, sizeof(data)), OK);
	blk_guest_destroy(&guest);
}

/* --- limits --- */

/* Two requests, or 1024 bytes, in 20 ms of a clock that stands. */
static void limit_ops(void)
{
	stop_clock();
	guest.config.has_rate_limiter = true;
	guest.config.rate_limiter =
		(struct limiter_config){.ops = {.size = 2, .refill_time_ms = 20}, .has_ops = true};
}

static void limit_bytes(void)
{
	stop_clock();
	guest.config.has_rate_limiter = true;
	guest.config.rate_limiter = (struct limiter_config){
		.bandwidth = {.size = 1024, .refill_time_ms = 20}, .has_bandwidth = true};
}

static unsigned take_all(unsigned queue)
{
	struct vring_used used;
	unsigned count = 0;

	while (vdriver_used(&guest.driver, queue, &used)) {
		count++;
	}
	return count;
}

static void add_writes(unsigned count)
{
	static const uint8_t data[512];
	const struct vbuf buf = {data, sizeof(data), 0};

	for (unsigned i = 0; i < count; i++) {
		const struct blk_guest_req req = {VIRTIO_BLK_T_OUT, i, &buf, 1};

		blk_guest_add(&guest, 0, &req);
	}
	vdriver_kick(&guest.driver, 0);
}

static void check_limits(void)
{
	struct blk_metrics *metrics = blk_metrics(guest.blk);
	unsigned done = 0;

	add_writes(6);
	vdriver_wait_used(&guest.driver, 0);
	virtio_quiesce(blk_virtio(guest.blk));
	cr_assert_eq(done += take_all(0), 2, "%s: %u", engine(), done);
	while (done < 6) {
		frozen_ns += UINT64_C(20000000);
		vdriver_wait_used(&guest.driver, 0);
		virtio_quiesce(blk_virtio(guest.blk));
		done += take_all(0);
		cr_assert_eq(done % 2, 0, "%s: %u", engine(), done);
	}
	cr_expect_gt(counted(&metrics->rate_limiter_throttled_events), 0);
	cr_expect_gt(counted(&metrics->rate_limiter_event_count), 0);
	cr_expect_eq(counted(&metrics->write_count), 6);
}

Test(blk, requests_beyond_the_rate_wait_for_the_timer)
{
	on_each(limit_ops, check_limits);
	on_each(limit_bytes, check_limits);
}

static void check_new_limits(void)
{
	const struct limiter_config none = {.has_bandwidth = true, .has_ops = true};
	struct error err = {0};
	unsigned done = 0;

	add_writes(6);
	vdriver_wait_used(&guest.driver, 0);
	virtio_quiesce(blk_virtio(guest.blk));
	cr_assert_eq(done += take_all(0), 2);
	cr_assert_eq(blk_set_limits(guest.blk, &none, &err), 0, "%s", err.msg);
	while (done < 6) {
		vdriver_wait_used(&guest.driver, 0);
		done += take_all(0);
	}
}

Test(blk, limits_that_are_lifted_let_waiting_requests_go)
{
	on_each(limit_ops, check_new_limits);
}

/* --- guests that mean no good --- */

static void check_rings_as_data(void)
{
	struct vdriver *driver = &guest.driver;
	struct vring *ring = &driver->queues[0].ring;
	const gpa_t targets[] = {ring->desc, ring->avail, ring->used};
	static uint8_t noise[4096];

	fill(noise, sizeof(noise), 3);
	cr_assert_eq(blk_guest_write(&guest, 0, noise, sizeof(noise)), OK);
	for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
		for (unsigned type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			bool is_read = type == VIRTIO_BLK_T_IN;
			const struct vbuf buf = {.len = sizeof(noise),
						 .flags = is_read ? VBUF_WRITABLE : 0};
			const struct blk_guest_req req = {
				.type = type, .sector = is_read ? 0 : 64, .bufs = &buf, .count = 1};

			for (unsigned j = 0; j < 4; j++) {
				unsigned chain = blk_guest_add(&guest, 0, &req);
				uint16_t data = driver->queues[0].next[chain];
				const struct vring_desc desc = {
					.addr = targets[i].v,
					.len = sizeof(noise),
					.flags = VRING_NEXT | (is_read ? VRING_WRITE : 0),
					.next = driver->queues[0].next[data]};

				vring_set_desc(ring, data, desc);
			}
			vdriver_kick(driver, 0);
			vdriver_run(driver);
			/* Those not done by now meet the reset. */
			if (is_read && targets[i].v == ring->avail.v && is_done_at_once()) {
				cr_expect(vdriver_status(driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
			}
			vdriver_stop(driver);
			vdriver_run(driver);
			cr_assert(vdriver_start(driver, blk_virtio(guest.blk), 0), "%zu", i);
			memset(noise, 0, sizeof(noise));
			cr_assert_eq(blk_guest_read(&guest, 0, noise, sizeof(noise)), OK);
		}
	}
}

static void without_indirect_tables(void)
{
	guest.features = 0;
}

Test(blk, data_that_is_the_rings_themselves_does_no_harm)
{
	on_each(without_indirect_tables, check_rings_as_data);
}

/* A header that names another file would make the guest read that. */
static void check_format(void)
{
	static const char secret[] = "/etc/hostname";
	uint8_t header[512] = "QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x70\0\0\0\x0d";
	uint8_t back[512];
	uint64_t sectors;

	memcpy(header + 0x70, secret, sizeof(secret));
	cr_assert_eq(blk_guest_write(&guest, 0, header, sizeof(header)), OK);
	blk_free(guest.blk);
	guest.blk = NULL;
	blk_guest_start(&guest);
	vdriver_read_config(&guest.driver, 0, &sectors, sizeof(sectors));
	cr_expect_eq(sectors, BLK_GUEST_SECTORS);
	cr_assert_eq(blk_guest_read(&guest, 0, back, sizeof(back)), OK);
	cr_expect_arr_eq(back, header, sizeof(back));
	memset(header, 0, sizeof(header));
	cr_assert_eq(blk_guest_read(&guest, 8, back, sizeof(back)), OK);
	cr_expect_arr_eq(back, header, sizeof(back));
}

Test(blk, a_disk_is_raw_whatever_the_guest_writes_to_it)
{
	on_each(NULL, check_format);
}
