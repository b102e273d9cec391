/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of any kind, and calls that return anything: an error, or any number of bytes. Neither
 * iovecs nor ranges need to fit the length that is said. Not shown is that the iovecs of a step end
 * where the request's do: EVA relates no two members of a structure.
 */
#include "tests/eva/eva.h"

#include "devices/virtio/blk/blk_io.c"

static uint8_t buffer[1];
static struct iovec iovs[VIRTQ_IOV_MAX];

static void play(enum blk_op op)
{
	struct blk_io io = {.op = op, .iov = iovs, .offset = any_u64(), .len = any_u64()};

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
