/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of any kind, and calls that return anything: an error, or any number of bytes. Neither
 * iovecs nor ranges need to fit the length that is said. The file is raw, or an overlay that wants
 * phases in any order and says anything of its clusters. Not shown here, but by tests/wp, is that
 * the iovecs of a step end where the request's do: EVA relates no two members of a structure.
 */
#include "tests/eva/eva.h"

#include "devices/virtio/blk/blk_io.c"

static uint8_t buffer[1];
static struct iovec iovs[VIRTQ_IOV_MAX];

/* --- In place of blk_overlay.c --- */

static struct blk_overlay overlay;
static struct blk_copy copy;

void blk_overlay_begin(struct blk_io *io)
{
	io->phase = BLK_PHASE_BEGIN;
	io->data_at = any_u64();
	io->copy = any_bool() ? &copy : NULL;
}

bool blk_overlay_next(struct blk_io *io)
{
	io->phase = any_between(BLK_PHASE_DATA, BLK_PHASE_SYNC);
	io->own = (struct iovec){buffer, any_u64()};
	io->own_offset = any_u64();
	return any_bool();
}

enum blk_progress blk_overlay_advance(struct blk_io *io, uint64_t done)
{
	(void)io;
	(void)done;
	return any_bool() ? BLK_IO_MORE : BLK_IO_DONE;
}

void blk_overlay_end(struct blk_io *io, bool is_done)
{
	(void)is_done;
	io->copy = NULL;
}

uint64_t blk_overlay_run(struct blk_io *io)
{
	io->is_base = any_bool();
	io->data_at = any_u64();
	return any_u64();
}

void blk_overlay_clip(const struct blk_overlay *of, uint64_t *offset, uint64_t *len)
{
	(void)of;
	*offset = any_u64();
	*len = any_u64();
}

void blk_overlay_note_discard(struct blk_overlay *of, uint64_t offset, uint64_t len)
{
	(void)of;
	(void)offset;
	(void)len;
}

/* --- The requests --- */

static void play(enum blk_op op)
{
	struct blk_io io = {.op = op, .iov = iovs, .offset = any_u64(), .len = any_u64()};

	io.overlay = any_bool() ? &overlay : NULL;

	for (size_t i = 0; i < VIRTQ_IOV_MAX; i++) {
		iovs[i] = (struct iovec){buffer, any_u64()};
	}
	if (op == BLK_OP_DISCARD || op == BLK_OP_ZEROES) {
		io.range_count = any_between(0, BLK_RANGES_MAX);
		for (unsigned i = 0; i < BLK_RANGES_MAX; i++) {
			io.ranges[i] = (struct blk_range){any_u64(), any_u64(), any_bool()};
		}
	} else {
		io.iov_count = any_between(0, VIRTQ_IOV_MAX);
	}
	if (blk_io_start(&io) != BLK_IO_MORE) {
		return;
	}
	while (any_bool()) {
		keep(blk_io_step(&io).iov_count);
		/* -errno, or a length */
		if (blk_io_advance(&io, Frama_C_long_interval(-4095, INT64_MAX)) != BLK_IO_MORE) {
			return;
		}
	}
}

void main(void)
{
	/*@ widen_hints global:"all", 16, 512; */
	play(BLK_OP_READ);
	play(BLK_OP_WRITE);
	play(BLK_OP_FLUSH);
	play(BLK_OP_DISCARD);
	play(BLK_OP_ZEROES);
}
