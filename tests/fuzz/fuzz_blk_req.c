/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what the block device makes of a chain: whatever passes must lie on the disk and within
 * the chain, and end after a bounded number of calls, whatever the host answers to them.
 */
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/blk/blk_io.h"
#include "devices/virtio/blk/blk_req.h"
#include "vmm/base/bytes.h"

enum {
	CALLS_MAX = 2000000 /* each 27th part of a long request, after 64 interruptions */
};

struct __attribute__((packed)) input {
	uint8_t header[BLK_HEADER_LEN];
	uint32_t read_len;
	uint32_t write_len;
	uint64_t sectors;
	uint8_t is_read_only;
	/* followed by ranges, then by what calls return */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
	if (!is_true) {
		abort();
	}
}

static void check_span(const struct virtq_chain *chain, const struct blk_req *req)
{
	uint64_t end = (uint64_t)req->data.offset + req->data.len;

	if (req->data.side == VIRTQ_READABLE) {
		require(end <= chain->read_len);
	} else {
		require(end < chain->write_len); /* the status is not data */
	}
}

static void check_place(const struct blk_disk *disk, uint64_t offset, uint64_t len)
{
	uint64_t bytes = disk->sectors << BLK_SECTOR_SHIFT;

	require(offset <= bytes && len <= bytes - offset);
	require(offset % BLK_SECTOR_LEN == 0 && len % BLK_SECTOR_LEN == 0);
}

/* Plays the host: each byte is an answer. */
static int64_t answer(const struct blk_step *step, uint8_t how)
{
	uint64_t len = 0;

	if (how >= 128) {
		return -(int64_t)(how - 127);
	}
	for (unsigned i = 0; i < step->iov_count; i++) {
		len += step->iov[i].iov_len;
	}
	return how > 100 ? (int64_t)(len / (how - 100u)) : (int64_t)len;
}

static void run(const struct blk_disk *disk, struct blk_io *io, const uint8_t *data, size_t size)
{
	enum blk_progress progress = blk_io_start(io);

	for (unsigned i = 0; progress == BLK_IO_MORE; i++) {
		const struct blk_step step = blk_io_step(io);

		require(i < CALLS_MAX);
		if (step.call != BLK_CALL_FDATASYNC) {
			uint64_t len = 0;

			for (unsigned k = 0; k < step.iov_count; k++) {
				len += step.iov[k].iov_len;
			}
			require(step.call == BLK_CALL_FALLOCATE || len == step.len);
			require(len <= BLK_CALL_MAX && step.len > 0);
			require(step.offset + step.len <= disk->sectors << BLK_SECTOR_SHIFT);
		}
		progress = blk_io_advance(io, answer(&step, size > 0 ? data[i % size] : 0));
	}
}

static void do_ranges(const struct blk_disk *disk, const struct blk_req *req, const uint8_t *data,
		      size_t size)
{
	static struct iovec iov[VIRTQ_IOV_MAX];
	struct blk_io io = {.op = req->op, .iov = iov};
	uint8_t bytes[BLK_RANGES_MAX * BLK_RANGE_LEN] = {0};

	require(req->data.len <= sizeof(bytes) && req->data.len > 0);
	io.range_count = req->data.len / BLK_RANGE_LEN;
	memcpy(bytes, data, min_u64(size, req->data.len));
	if (blk_req_ranges(disk, req->op, bytes, req->data.len, io.ranges) != VIRTIO_BLK_S_OK) {
		return;
	}
	for (unsigned i = 0; i < io.range_count; i++) {
		check_place(disk, io.ranges[i].offset, io.ranges[i].len);
	}
	size_t taken = min_u64(size, req->data.len);

	run(disk, &io, data + taken, size - taken);
}

static void do_transfer(const struct blk_disk *disk, const struct blk_req *req, const uint8_t *data,
			size_t size)
{
	static uint8_t byte;
	static struct iovec iov[VIRTQ_IOV_MAX];
	struct blk_io io = {
		.op = req->op,
		.iov = iov,
		.iov_count = 2,
		.offset = req->offset,
		.len = req->data.len,
	};

	check_place(disk, req->offset, req->data.len);
	require(req->op == BLK_OP_READ || !disk->is_read_only);
	/* Cut somewhere; the bytes are never touched. */
	iov[0] = (struct iovec){&byte, req->data.len / 3};
	iov[1] = (struct iovec){&byte, req->data.len - req->data.len / 3};
	run(disk, &io, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct virtq_chain chain;
	struct input input;
	struct blk_req req = {0};
	uint8_t status = 0;

	if (size < sizeof(input)) {
		return 0;
	}
	memcpy(&input, data, sizeof(input));
	data += sizeof(input);
	size -= sizeof(input);
	const struct blk_disk disk = {
		.sectors = input.sectors & ((UINT64_C(1) << 54) - 1),
		.is_read_only = (input.is_read_only & 1) != 0,
	};

	chain.read_len = input.read_len;
	chain.write_len = input.write_len;
	enum blk_verdict verdict = blk_req_parse(&disk, &chain, input.header, &req, &status);

	require((verdict == BLK_REQ_BAD) ==
		(chain.read_len < BLK_HEADER_LEN || chain.write_len == 0));
	if (verdict != BLK_REQ_OK) {
		return 0;
	}
	check_span(&chain, &req);
	if (req.op == BLK_OP_READ || req.op == BLK_OP_WRITE) {
		do_transfer(&disk, &req, data, size);
	} else if (req.op == BLK_OP_DISCARD || req.op == BLK_OP_ZEROES) {
		do_ranges(&disk, &req, data, size);
	}
	return 0;
}
