/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as a series of system calls.
 *
 * Theory of operation. Most requests are one call. More are needed where a request moves more than
 * BLK_CALL_MAX bytes, or the host did less than it was asked for (a short read or write goes on
 * behind what is done), was interrupted, has several ranges to go through, or does not know a call:
 * zeroes are punched (if the guest allows that) or else zero-ranged, and written if the file system
 * has neither. A discard is a hint, so where it can't be done it is done already.
 *
 * A call of a longer request has as many whole iovecs as fit. One that is longer by itself is moved
 * in parts, each described by a copy.
 *
 * Neither kind of fallocate changes the file's size, so that a file cut behind our back stays one:
 * reads beyond its end fail.
 */
#include "devices/virtio/blk/blk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "devices/virtio/blk/blk_overlay.h"
#include "vmm/base/bytes.h"
#include "vmm/base/iov.h"

enum {
	RETRIES_MAX = 64,
	ZEROES_LEN = 4096,
};

static const uint8_t zeroes[ZEROES_LEN];

static enum blk_progress fail(struct blk_io *io, int sys)
{
	io->sys = sys;
	return BLK_IO_FAILED;
}

/* Chooses what the next call moves: a part of a long iovec, or as many whole ones as fit. */
static void choose_part(struct blk_io *io)
{
	uint64_t max = BLK_CALL_MAX;
	uint64_t len = 0;
	size_t end = io->iov_next;

	if (io->overlay != NULL && io->op == BLK_OP_READ && io->len > 0) {
		max = min_u64(max, blk_overlay_run(io));
	}
	/*@ loop invariant io->iov_next <= end <= io->iov_count;
	  @ loop invariant len <= max && (end == io->iov_next ==> len == 0);
	  @ loop assigns end, len;
	  @*/
	for (; end < io->iov_count && io->iov[end].iov_len <= max - len; end++) {
		len += io->iov[end].iov_len;
	}
	io->call_count = (unsigned)(end - io->iov_next);
	io->call_len = len;
	if (len > 0) {
		return;
	}
	io->iov_next = end;
	io->call_count = 0;
	io->part = (struct iovec){0};
	if (end < io->iov_count) {
		io->part = io->iov[end];
		io->part.iov_len = min_u64(io->part.iov_len, max);
		io->call_len = io->part.iov_len;
	}
}

/* As much of the range as one call can write. */
static void fill_with_zeroes(struct blk_io *io)
{
	struct iovec *iov = io->iov;
	uint64_t left = io->len;
	size_t count = 0;

	/*@ loop invariant count <= VIRTQ_IOV_MAX;
	  @ loop assigns left, count, iov[0 .. VIRTQ_IOV_MAX - 1];
	  @*/
	while (left > 0 && count < VIRTQ_IOV_MAX) {
		size_t len = min_u64(left, ZEROES_LEN);

		/* Only ever read from; struct iovec can't say so. */
		iov[count++] = (struct iovec){
			.iov_base = (void *)(uintptr_t)zeroes,
			.iov_len = len,
		};
		left -= len;
	}
	io->iov_next = 0;
	io->iov_count = count;
	io->call_count = (unsigned)count;
	io->call_len = io->len - left;
}

static enum blk_progress next_range(struct blk_io *io)
{
	/*@ loop invariant io->iov == \at(io->iov, Pre);
	  @ loop invariant io->iov_next == \at(io->iov_next, Pre);
	  @ loop invariant io->iov_count == \at(io->iov_count, Pre);
	  @ loop invariant io->call_count == \at(io->call_count, Pre);
	  @ loop assigns io->range_next, io->way, io->offset, io->len;
	  @*/
	while (io->range_next < io->range_count) {
		const struct blk_range *range = &io->ranges[io->range_next++];
		bool is_hole = io->op == BLK_OP_DISCARD || range->may_unmap;

		io->way = is_hole ? BLK_WAY_PUNCH : BLK_WAY_ZERO;
		io->offset = range->offset;
		io->len = range->len;
		if (io->overlay != NULL && io->op == BLK_OP_DISCARD && io->len > 0) {
			blk_overlay_clip(io->overlay, &io->offset, &io->len);
		}
		if (io->len > 0) {
			return BLK_IO_MORE;
		}
	}
	return BLK_IO_DONE;
}

static enum blk_progress start_data(struct blk_io *io)
{
	if (io->op == BLK_OP_DISCARD || io->op == BLK_OP_ZEROES) {
		return next_range(io);
	}
	if (io->op == BLK_OP_FLUSH) {
		return BLK_IO_MORE;
	}
	choose_part(io);
	return io->len > 0 ? BLK_IO_MORE : BLK_IO_DONE;
}

/* When a phase of an overlay's request ends, the next one begins. */
static enum blk_progress go_on(struct blk_io *io, enum blk_progress progress)
{
	/*@ loop invariant \valid(io) && io->iov == \at(io->iov, Pre);
	  @ loop invariant io->iov_next + io->call_count <= io->iov_count <= VIRTQ_IOV_MAX;
	  @ loop assigns *io, progress;
	  @*/
	while (progress == BLK_IO_DONE && blk_overlay_next(io)) {
		progress = io->phase == BLK_PHASE_DATA ? start_data(io) : BLK_IO_MORE;
	}
	if (progress != BLK_IO_MORE) {
		blk_overlay_end(io, progress == BLK_IO_DONE);
	}
	return progress;
}

enum blk_progress blk_io_start(struct blk_io *io)
{
	io->iov_next = 0;
	io->call_count = 0;
	io->range_next = 0;
	io->retries = 0;
	io->sys = 0;
	io->phase = BLK_PHASE_DATA;
	io->is_base = false;
	io->data_at = 0;
	io->copy = NULL;
	if (io->overlay == NULL) {
		return start_data(io);
	}
	blk_overlay_begin(io);
	return go_on(io, BLK_IO_DONE);
}

static struct blk_step transfer_step(const struct blk_io *io, enum blk_call call)
{
	return (struct blk_step){
		.call = call,
		.is_base = io->is_base,
		.offset = io->offset + io->data_at,
		.len = io->call_len,
		.iov = io->call_count > 0 ? io->iov + io->iov_next : &io->part,
		.iov_count = io->call_count > 0 ? io->call_count : 1,
	};
}

enum blk_call blk_io_call(const struct blk_io *io)
{
	if (io->phase != BLK_PHASE_DATA) {
		return io->phase == BLK_PHASE_SYNC   ? BLK_CALL_FDATASYNC
		       : io->phase == BLK_PHASE_READ ? BLK_CALL_READV
						     : BLK_CALL_WRITEV;
	}
	switch (io->op) {
	case BLK_OP_READ:
		return BLK_CALL_READV;
	case BLK_OP_WRITE:
		return BLK_CALL_WRITEV;
	case BLK_OP_DISCARD:
	case BLK_OP_ZEROES:
		return io->way == BLK_WAY_WRITE ? BLK_CALL_WRITEV : BLK_CALL_FALLOCATE;
	case BLK_OP_FLUSH:
	case BLK_OP_GET_ID:
		break;
	}
	return BLK_CALL_FDATASYNC;
}

/* A transfer between a file and our own memory. */
static struct blk_step own_step(const struct blk_io *io, enum blk_call call)
{
	return (struct blk_step){
		.call = call,
		.is_base = call == BLK_CALL_READV,
		.offset = io->own_offset,
		.len = io->own.iov_len,
		.iov = &io->own,
		.iov_count = 1,
	};
}

struct blk_step blk_io_step(const struct blk_io *io)
{
	enum blk_call call = blk_io_call(io);

	switch (call) {
	case BLK_CALL_READV:
	case BLK_CALL_WRITEV:
		return io->phase == BLK_PHASE_DATA ? transfer_step(io, call) : own_step(io, call);
	case BLK_CALL_FALLOCATE:
		return (struct blk_step){
			.call = call,
			.mode = FALLOC_FL_KEEP_SIZE |
				(io->way == BLK_WAY_PUNCH ? FALLOC_FL_PUNCH_HOLE
							  : FALLOC_FL_ZERO_RANGE),
			.offset = io->offset + io->data_at,
			.len = io->len,
		};
	case BLK_CALL_FDATASYNC:
		break;
	}
	return (struct blk_step){.call = BLK_CALL_FDATASYNC};
}

static enum blk_progress advance_transfer(struct blk_io *io, uint64_t done)
{
	/* 0: the end of a file that was cut, or of a device. More than asked for can't be. */
	if (done == 0 || done > io->call_len) {
		return fail(io, EIO);
	}
	io->retries = 0;
	io->offset += done;
	io->len -= done;
	if (io->len == 0) {
		return io->range_count == 0 ? BLK_IO_DONE : next_range(io);
	}
	if (io->range_count == 0) {
		io->iov_next = iov_advance(io->iov, io->iov_next, io->iov_count, done);
		choose_part(io);
		return BLK_IO_MORE;
	}
	fill_with_zeroes(io);
	return BLK_IO_MORE;
}

/*
 * EINVAL is how block devices refuse a range that is not made of their own, larger sectors; others
 * do so for a mode that they don't know.
 */
static bool is_unknown_call(int sys)
{
	return sys == EOPNOTSUPP || sys == ENOSYS || sys == EINVAL || sys == ENODEV;
}

static enum blk_progress next_way(struct blk_io *io)
{
	if (io->op == BLK_OP_DISCARD) {
		return next_range(io);
	}
	if (io->way == BLK_WAY_PUNCH) {
		io->way = BLK_WAY_ZERO;
	} else {
		io->way = BLK_WAY_WRITE;
		fill_with_zeroes(io);
	}
	return BLK_IO_MORE;
}

static enum blk_progress advance_failed(struct blk_io *io, enum blk_call call, int sys)
{
	if ((sys == EINTR || sys == EAGAIN) && io->retries < RETRIES_MAX) {
		io->retries++;
		return BLK_IO_MORE;
	}
	if (call == BLK_CALL_FALLOCATE && is_unknown_call(sys)) {
		return next_way(io);
	}
	return fail(io, sys);
}

static enum blk_progress advance_own(struct blk_io *io, enum blk_call call, uint64_t done)
{
	if (call != BLK_CALL_FDATASYNC && (done == 0 || done > io->own.iov_len)) {
		return fail(io, EIO);
	}
	io->retries = 0;
	return blk_overlay_advance(io, done);
}

static enum blk_progress advance_data(struct blk_io *io, enum blk_call call, uint64_t done)
{
	switch (call) {
	case BLK_CALL_READV:
	case BLK_CALL_WRITEV:
		return advance_transfer(io, done);
	case BLK_CALL_FALLOCATE:
		io->retries = 0;
		if (io->copy != NULL && io->op == BLK_OP_DISCARD) {
			blk_overlay_note_discard(io->overlay, io->offset, io->len);
		}
		return next_range(io);
	case BLK_CALL_FDATASYNC:
		break;
	}
	return BLK_IO_DONE;
}

enum blk_progress blk_io_advance(struct blk_io *io, int64_t result)
{
	enum blk_call call = blk_io_call(io);
	enum blk_progress progress;

	if (result < 0) {
		progress = advance_failed(io, call, (int)-result);
	} else if (io->phase == BLK_PHASE_DATA) {
		progress = advance_data(io, call, (uint64_t)result);
	} else {
		progress = advance_own(io, call, (uint64_t)result);
	}
	return io->overlay != NULL ? go_on(io, progress) : progress;
}
