/* SPDX-License-Identifier: Apache-2.0 */
/* A block request as a series of calls: what follows on what the host answers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>

#include "devices/virtio/blk/blk_io.h"
#include "vmm/base/bytes.h"

static struct iovec iov[VIRTQ_IOV_MAX];
static uint8_t buffer[4096];

enum {
	PUNCH = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
	ZERO = FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE
};

/* Three pieces of 1000, 2000 and 1096 bytes at 8192. */
static struct blk_io transfer(enum blk_op op)
{
	iov[0] = (struct iovec){buffer, 1000};
	iov[1] = (struct iovec){buffer + 1000, 2000};
	iov[2] = (struct iovec){buffer + 3000, 1096};
	return (struct blk_io){
		.op = op, .iov = iov, .iov_count = 3, .offset = 8192, .len = sizeof(buffer)};
}

static struct blk_io range(enum blk_op op, bool may_unmap)
{
	return (struct blk_io){
		.op = op,
		.iov = iov,
		.range_count = 1,
		.ranges = {{.offset = 4096, .len = 3 * MIB, .may_unmap = may_unmap}},
	};
}

static void expect_fallocate(const struct blk_io *io, int mode, uint64_t offset, uint64_t len)
{
	const struct blk_step step = blk_io_step(io);

	cr_assert_eq(step.call, BLK_CALL_FALLOCATE);
	cr_assert_eq(step.mode, mode, "mode %#x", step.mode);
	cr_assert_eq(step.offset, offset);
	cr_assert_eq(step.len, len);
}

Test(blk_io, a_transfer_is_one_call_when_the_host_does_it_all)
{
	struct blk_io io = transfer(BLK_OP_READ);

	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	const struct blk_step step = blk_io_step(&io);

	cr_assert_eq(step.call, BLK_CALL_READV);
	cr_assert_eq(step.offset, 8192);
	cr_assert_eq(step.iov_count, 3);
	cr_assert_eq(blk_io_advance(&io, sizeof(buffer)), BLK_IO_DONE);
}

Test(blk_io, a_short_transfer_goes_on_behind_what_is_done)
{
	static const struct {
		int64_t done;
		uint64_t offset;
		unsigned iov_count;
		size_t at;  /* in the buffer */
		size_t len; /* of the first piece left */
	} cases[] = {
		{1, 8193, 3, 1, 999},
		{999, 8192 + 999, 3, 999, 1},
		{1000, 8192 + 1000, 2, 1000, 2000},
		{1001, 8192 + 1001, 2, 1001, 1999},
		{3000, 8192 + 3000, 1, 3000, 1096},
		{4095, 8192 + 4095, 1, 4095, 1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_io io = transfer(BLK_OP_WRITE);

		cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
		cr_assert_eq(blk_io_advance(&io, cases[i].done), BLK_IO_MORE);
		const struct blk_step step = blk_io_step(&io);

		cr_assert_eq(step.call, BLK_CALL_WRITEV);
		cr_assert_eq(step.offset, cases[i].offset, "case %zu", i);
		cr_assert_eq(step.iov_count, cases[i].iov_count, "case %zu", i);
		cr_assert_eq(step.iov[0].iov_base, buffer + cases[i].at, "case %zu", i);
		cr_assert_eq(step.iov[0].iov_len, cases[i].len, "case %zu", i);
		cr_assert_eq(blk_io_advance(&io, (int64_t)sizeof(buffer) - cases[i].done),
			     BLK_IO_DONE);
	}
}

/* Iovecs of `len` bytes each, `sum` in all. Nothing looks at their memory. */
static struct blk_io long_transfer(size_t len, size_t sum)
{
	struct blk_io io = {.op = BLK_OP_WRITE, .iov = iov, .len = sum, .data_len = (uint32_t)sum};

	for (size_t at = 0; at < sum; at += len) {
		iov[io.iov_count++] = (struct iovec){
			.iov_base = (void *)(uintptr_t)(GIB + at),
			.iov_len = min_u64(len, sum - at),
		};
	}
	return io;
}

/* Makes the call, which does `share` of each 8 bytes; the iovecs are in their order, without gaps.
 */
static enum blk_progress move_part(struct blk_io *io, uint64_t *at, unsigned share)
{
	const struct blk_step step = blk_io_step(io);
	uint64_t len = 0;

	for (unsigned i = 0; i < step.iov_count; i++) {
		cr_assert_eq((uintptr_t)step.iov[i].iov_base, GIB + *at + len);
		len += step.iov[i].iov_len;
	}
	cr_assert_eq(step.len, len);
	cr_assert_eq(step.offset, *at);
	cr_assert(len > 0 && len <= BLK_CALL_MAX, "%llu bytes", (unsigned long long)len);
	uint64_t done = len / 8 * share + len % 8;

	*at += done;
	return blk_io_advance(io, (int64_t)done);
}

Test(blk_io, a_call_moves_no_more_than_its_share_of_a_long_request)
{
	static const struct {
		size_t len; /* of an iovec */
		size_t sum;
		unsigned calls;
		bool is_long;
	} cases[] = {
		{4 * MIB, 4 * MIB, 1, false},
		{16384, 4 * MIB, 1, false},
		{4 * MIB + 512, 4 * MIB + 512, 2, true},
		{16 * MIB, 254 * 16 * MIB, 254 * 4, true},
		{3 * MIB, 30 * MIB, 10, true},
		{512 * 33, 512 * 33 * 500, 3, true},
		{MIB, 9 * MIB, 3, true},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_io io = long_transfer(cases[i].len, cases[i].sum);
		enum blk_progress progress = blk_io_start(&io);
		uint64_t at = 0;
		unsigned calls = 0;

		cr_assert_eq(blk_io_is_long(&io), cases[i].is_long, "case %zu", i);
		for (; progress == BLK_IO_MORE; calls++) {
			progress = move_part(&io, &at, 8);
		}
		cr_assert_eq(progress, BLK_IO_DONE);
		cr_assert_eq(at, cases[i].sum, "case %zu", i);
		cr_assert_eq(calls, cases[i].calls, "case %zu: %u calls", i, calls);
	}
}

Test(blk_io, a_long_request_goes_on_behind_short_calls)
{
	struct blk_io io = long_transfer(3 * MIB + 512, 20 * MIB);
	enum blk_progress progress = blk_io_start(&io);
	uint64_t at = 0;

	for (unsigned i = 0; progress == BLK_IO_MORE; i++) {
		cr_assert_eq(blk_io_advance(&io, -EINTR), BLK_IO_MORE);
		progress = move_part(&io, &at, i % 8 + 1);
	}
	cr_assert_eq(progress, BLK_IO_DONE);
	cr_assert_eq(at, 20 * MIB);
}

Test(blk_io, a_host_that_did_more_than_a_call_asked_for_is_an_error)
{
	struct blk_io io = long_transfer(MIB, 9 * MIB);

	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	cr_assert_eq(blk_io_advance(&io, BLK_CALL_MAX + 1), BLK_IO_FAILED);
	cr_assert_eq(io.sys, EIO);
}

Test(blk_io, the_end_of_the_file_is_an_error)
{
	static const enum blk_op both[] = {BLK_OP_READ, BLK_OP_WRITE};

	for (size_t i = 0; i < ARRAY_COUNT(both); i++) {
		struct blk_io io = transfer(both[i]);

		cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
		cr_assert_eq(blk_io_advance(&io, 100), BLK_IO_MORE);
		cr_assert_eq(blk_io_advance(&io, 0), BLK_IO_FAILED);
		cr_assert_eq(io.sys, EIO);
	}
}

Test(blk_io, an_interrupted_call_is_made_again_but_not_for_ever)
{
	static const int codes[] = {EINTR, EAGAIN};

	for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
		struct blk_io io = transfer(BLK_OP_READ);
		enum blk_progress progress = blk_io_start(&io);
		unsigned calls = 0;

		while (progress == BLK_IO_MORE && calls < 1000) {
			progress = blk_io_advance(&io, -codes[i]);
			calls++;
		}
		cr_assert_eq(progress, BLK_IO_FAILED, "error %d: after %u calls", codes[i], calls);
		cr_assert_eq(io.sys, codes[i]);
		cr_assert_gt(calls, 10);
	}
}

Test(blk_io, progress_renews_the_patience)
{
	struct blk_io io = transfer(BLK_OP_READ);
	enum blk_progress progress = blk_io_start(&io);

	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(progress, BLK_IO_MORE);
		cr_assert_eq(blk_io_advance(&io, -EINTR), BLK_IO_MORE, "call %u", i);
		progress = blk_io_advance(&io, 1);
	}
}

Test(blk_io, other_errors_end_a_request)
{
	static const int codes[] = {EIO, ENOSPC, EFBIG, EBADF, EFAULT, EINVAL};

	for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
		struct blk_io io = transfer(BLK_OP_WRITE);

		cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
		cr_assert_eq(blk_io_advance(&io, -codes[i]), BLK_IO_FAILED);
		cr_assert_eq(io.sys, codes[i]);
	}
}

Test(blk_io, a_flush_is_one_call)
{
	struct blk_io io = {.op = BLK_OP_FLUSH};

	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	cr_assert_eq(blk_io_step(&io).call, BLK_CALL_FDATASYNC);
	cr_assert_eq(blk_io_advance(&io, 0), BLK_IO_DONE);
	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	cr_assert_eq(blk_io_advance(&io, -EIO), BLK_IO_FAILED);
}

Test(blk_io, a_discard_goes_through_its_ranges_and_skips_empty_ones)
{
	struct blk_io io = {
		.op = BLK_OP_DISCARD,
		.range_count = 4,
		.ranges = {{.offset = 512},
			   {.offset = 1024, .len = 512},
			   {.offset = 512},
			   {.offset = 8192, .len = 4096}},
	};

	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	expect_fallocate(&io, PUNCH, 1024, 512);
	cr_assert_eq(blk_io_advance(&io, 0), BLK_IO_MORE);
	expect_fallocate(&io, PUNCH, 8192, 4096);
	cr_assert_eq(blk_io_advance(&io, 0), BLK_IO_DONE);
}

Test(blk_io, only_empty_ranges_are_no_call_at_all)
{
	struct blk_io io = {.op = BLK_OP_DISCARD, .range_count = 2};

	cr_assert_eq(blk_io_start(&io), BLK_IO_DONE);
}

Test(blk_io, a_discard_that_the_host_can_not_do_is_done)
{
	static const int codes[] = {EOPNOTSUPP, ENOSYS, EINVAL, ENODEV};

	for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
		struct blk_io io = range(BLK_OP_DISCARD, false);

		cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
		cr_assert_eq(blk_io_advance(&io, -codes[i]), BLK_IO_DONE);
	}
}

Test(blk_io, a_discard_that_fails_is_an_error)
{
	struct blk_io io = range(BLK_OP_DISCARD, false);

	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	cr_assert_eq(blk_io_advance(&io, -EIO), BLK_IO_FAILED);
}

Test(blk_io, zeroes_keep_their_blocks_unless_the_guest_allows_otherwise)
{
	struct blk_io io = range(BLK_OP_ZEROES, false);

	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	expect_fallocate(&io, ZERO, 4096, 3 * MIB);
	cr_assert_eq(blk_io_advance(&io, 0), BLK_IO_DONE);
	io = range(BLK_OP_ZEROES, true);
	cr_assert_eq(blk_io_start(&io), BLK_IO_MORE);
	expect_fallocate(&io, PUNCH, 4096, 3 * MIB);
	cr_assert_eq(blk_io_advance(&io, -EOPNOTSUPP), BLK_IO_MORE);
	expect_fallocate(&io, ZERO, 4096, 3 * MIB);
	cr_assert_eq(blk_io_advance(&io, 0), BLK_IO_DONE);
}

/* The bytes of a step, which must be zeroes. */
static uint64_t step_len(const struct blk_step *step)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < step->iov_count; i++) {
		const uint8_t *bytes = step->iov[i].iov_base;

		for (size_t at = 0; at < step->iov[i].iov_len; at++) {
			cr_assert_eq(bytes[at], 0);
		}
		len += step->iov[i].iov_len;
	}
	return len;
}

Test(blk_io, zeroes_are_written_where_no_call_makes_them)
{
	struct blk_io io = range(BLK_OP_ZEROES, false);
	uint64_t done = 0;
	enum blk_progress progress = blk_io_start(&io);

	cr_assert_eq(progress, BLK_IO_MORE);
	progress = blk_io_advance(&io, -EOPNOTSUPP);
	while (progress == BLK_IO_MORE) {
		const struct blk_step step = blk_io_step(&io);
		uint64_t len = step_len(&step);

		cr_assert_eq(step.call, BLK_CALL_WRITEV);
		cr_assert_eq(step.offset, 4096 + done);
		cr_assert_eq(step.len, len);
		/* Short by an odd number each time, until little is left. */
		len = len > 10000 ? len - 1234 : len;
		done += len;
		progress = blk_io_advance(&io, (int64_t)len);
	}
	cr_assert_eq(progress, BLK_IO_DONE);
	cr_assert_eq(done, 3 * MIB);
}
