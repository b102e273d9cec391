/* SPDX-License-Identifier: Apache-2.0 */
/* What a descriptor chain asks of a block device, checked. Pure [virtio-1.2 §5.2.6]. */
#ifndef DEVICES_VIRTIO_BLK_REQ_H
#define DEVICES_VIRTIO_BLK_REQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/core/virtq.h"
#include "vmm/base/attr.h"

enum {
	BLK_SECTOR_SHIFT = 9, /* of 512 bytes, always [virtio-1.2 §5.2.4] */
	BLK_SECTOR_LEN = 1 << BLK_SECTOR_SHIFT,
	BLK_HEADER_LEN = 16,
	BLK_RANGE_LEN = 16, /* of one range to be discarded or zeroed */
	BLK_ID_LEN = 20,
};

/* What the configuration space tells, and requests are held to. */
enum {
	BLK_RANGES_MAX = 16, /* in one discard */
	BLK_DISCARD_SECTORS_MAX = 1 << 18,
	BLK_ZEROES_RANGES_MAX = 1, /* Linux has no use for more */
	/* Less than to be discarded: a host without a call for it has to write them all. */
	BLK_ZEROES_SECTORS_MAX = 1 << 15,
};

enum blk_op {
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_FLUSH,
	BLK_OP_GET_ID,
	BLK_OP_DISCARD,
	BLK_OP_ZEROES,
};

struct blk_disk {
	uint64_t sectors; /* below 2^54, as files are */
	bool is_read_only;
};

struct blk_req {
	enum blk_op op;
	uint64_t offset;	/* in bytes, of reads and writes */
	struct virtq_span data; /* also the ranges, or where the id goes */
};

enum blk_verdict {
	BLK_REQ_OK,	/* to be done */
	BLK_REQ_ANSWER, /* nothing to do but to give *status */
	BLK_REQ_BAD,	/* no room for a header or a status: not even an answer is possible */
};

/*
 * `header` is a copy of the first bytes that the chain has for us to read; its last byte for us to
 * write is the status. How both sides are cut into segments does not matter [virtio-1.2 §2.7.4.2].
 * *req is filled for BLK_REQ_OK, *status (VIRTIO_BLK_S_*) for BLK_REQ_ANSWER.
 */
MUST_CHECK enum blk_verdict blk_req_parse(const struct blk_disk *disk,
					  const struct virtq_chain *chain,
					  const uint8_t header[BLK_HEADER_LEN], struct blk_req *req,
					  uint8_t *status);

/* A part of the disk, in bytes. */
struct blk_range {
	uint64_t offset;
	uint64_t len; /* may be 0 */
	bool may_unmap;
};

/*
 * Decodes and checks a copy of the `len` bytes of req->data of a BLK_OP_DISCARD or BLK_OP_ZEROES.
 * Returns VIRTIO_BLK_S_OK, and a range for every BLK_RANGE_LEN bytes, or what to answer.
 */
MUST_CHECK uint8_t blk_req_ranges(const struct blk_disk *disk, enum blk_op op, const uint8_t *bytes,
				  size_t len, struct blk_range ranges[BLK_RANGES_MAX]);

#endif
