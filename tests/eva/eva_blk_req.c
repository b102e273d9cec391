/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any header and ranges, of a chain of any lengths, for any disk below 2^54 sectors.
 *
 * Options: -eva-precision 3 -eva-split-return full
 */
#include "tests/eva/eva.h"

#include "devices/virtio/blk/blk_req.c"

static void parse_ranges_of(const struct blk_disk *disk, enum blk_op op, size_t len)
{
	uint8_t bytes[BLK_RANGES_MAX * BLK_RANGE_LEN];
	struct blk_range ranges[BLK_RANGES_MAX];

	fill(bytes, sizeof(bytes));
	(void)!blk_req_ranges(disk, op, bytes, len, ranges);
}

void main(void)
{
	struct blk_disk disk = {any_between(0, UINT64_C(1) << 54), any_bool()};
	struct virtq_chain chain = {.read_len = any_u32(), .write_len = any_u32()};
	uint8_t header[BLK_HEADER_LEN];
	struct blk_req req;
	uint8_t status;

	fill(header, sizeof(header));
	enum blk_verdict verdict = blk_req_parse(&disk, &chain, header, &req, &status);

	/* What was promised is filled. */
	if (verdict == BLK_REQ_OK) {
		keep(req.op);
		keep(req.offset);
		keep(req.data.len);
	} else if (verdict == BLK_REQ_ANSWER) {
		keep(status);
	}
	parse_ranges_of(&disk, BLK_OP_DISCARD, any_between(0, BLK_RANGES_MAX * BLK_RANGE_LEN));
	parse_ranges_of(&disk, BLK_OP_ZEROES, any_between(0, BLK_RANGES_MAX * BLK_RANGE_LEN));
}
