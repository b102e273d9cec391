/* SPDX-License-Identifier: Apache-2.0 */
/* What a descriptor chain asks of a block device, checked. */
#include "devices/virtio/blk/blk_req.h"

#include <linux/virtio_blk.h>

#include "vmm/base/bytes.h"

/* Offsets in the header and in a range [virtio-1.2 §5.2.6]. */
enum {
	HEADER_TYPE = 0,
	HEADER_SECTOR = 8,
	RANGE_SECTOR = 0,
	RANGE_SECTORS = 8,
	RANGE_FLAGS = 12,
};

/* [sector, sector + count) lies on the disk. */
static bool is_on_disk(const struct blk_disk *disk, uint64_t sector, uint64_t count)
{
	return sector <= disk->sectors && count <= disk->sectors - sector;
}

static enum blk_verdict answer(uint8_t *status, uint8_t value)
{
	*status = value;
	return BLK_REQ_ANSWER;
}

static enum blk_verdict parse_transfer(const struct blk_disk *disk, uint64_t sector,
				       struct blk_req *req, uint8_t *status)
{
	uint32_t len = req->data.len;

	if (req->op == BLK_OP_WRITE && disk->is_read_only) {
		return answer(status, VIRTIO_BLK_S_IOERR);
	}
	if (len % BLK_SECTOR_LEN != 0 || !is_on_disk(disk, sector, len / BLK_SECTOR_LEN)) {
		return answer(status, VIRTIO_BLK_S_IOERR);
	}
	if (len == 0) {
		return answer(status, VIRTIO_BLK_S_OK);
	}
	req->offset = sector << BLK_SECTOR_SHIFT;
	return BLK_REQ_OK;
}

static enum blk_verdict parse_ranges(const struct blk_disk *disk, struct blk_req *req,
				     uint8_t *status)
{
	uint32_t max = req->op == BLK_OP_DISCARD ? BLK_RANGES_MAX : BLK_ZEROES_RANGES_MAX;
	uint32_t len = req->data.len;

	if (disk->is_read_only || len == 0 || len % BLK_RANGE_LEN != 0 ||
	    len / BLK_RANGE_LEN > max) {
		return answer(status, VIRTIO_BLK_S_IOERR);
	}
	return BLK_REQ_OK;
}

static enum blk_verdict parse_id(struct blk_req *req, uint8_t *status)
{
	if (req->data.len < BLK_ID_LEN) {
		return answer(status, VIRTIO_BLK_S_IOERR);
	}
	req->data.len = BLK_ID_LEN;
	return BLK_REQ_OK;
}

enum blk_verdict blk_req_parse(const struct blk_disk *disk, const struct virtq_chain *chain,
			       const uint8_t header[BLK_HEADER_LEN], struct blk_req *req,
			       uint8_t *status)
{
	if (chain->read_len < BLK_HEADER_LEN || chain->write_len < 1) {
		return BLK_REQ_BAD;
	}
	const struct virtq_span to_disk = {
		.side = VIRTQ_READABLE,
		.offset = BLK_HEADER_LEN,
		.len = chain->read_len - BLK_HEADER_LEN,
	};
	const struct virtq_span from_disk = {
		.side = VIRTQ_WRITABLE,
		.len = chain->write_len - 1,
	};
	uint64_t sector = load_le64(header + HEADER_SECTOR);

	switch (load_le32(header + HEADER_TYPE)) {
	case VIRTIO_BLK_T_IN:
		*req = (struct blk_req){.op = BLK_OP_READ, .data = from_disk};
		return parse_transfer(disk, sector, req, status);
	case VIRTIO_BLK_T_OUT:
		*req = (struct blk_req){.op = BLK_OP_WRITE, .data = to_disk};
		return parse_transfer(disk, sector, req, status);
	case VIRTIO_BLK_T_FLUSH:
		*req = (struct blk_req){.op = BLK_OP_FLUSH};
		return BLK_REQ_OK;
	case VIRTIO_BLK_T_GET_ID:
		*req = (struct blk_req){.op = BLK_OP_GET_ID, .data = from_disk};
		return parse_id(req, status);
	case VIRTIO_BLK_T_DISCARD:
		*req = (struct blk_req){.op = BLK_OP_DISCARD, .data = to_disk};
		return parse_ranges(disk, req, status);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		*req = (struct blk_req){.op = BLK_OP_ZEROES, .data = to_disk};
		return parse_ranges(disk, req, status);
	default:
		return answer(status, VIRTIO_BLK_S_UNSUPP);
	}
}

/* Unknown flags, and any for a discard, are UNSUPP; all else IOERR [virtio-1.2 §5.2.6.2]. */
static uint8_t parse_range(const struct blk_disk *disk, enum blk_op op, const uint8_t *bytes,
			   struct blk_range *range)
{
	uint64_t sector = load_le64(bytes + RANGE_SECTOR);
	uint32_t sectors = load_le32(bytes + RANGE_SECTORS);
	uint32_t flags = load_le32(bytes + RANGE_FLAGS);
	uint32_t known = op == BLK_OP_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	uint32_t max = op == BLK_OP_ZEROES ? BLK_ZEROES_SECTORS_MAX : BLK_DISCARD_SECTORS_MAX;

	if ((flags & ~known) != 0) {
		return VIRTIO_BLK_S_UNSUPP;
	}
	if (sectors > max || !is_on_disk(disk, sector, sectors)) {
		return VIRTIO_BLK_S_IOERR;
	}
	*range = (struct blk_range){
		.offset = sector << BLK_SECTOR_SHIFT,
		.len = (uint64_t)sectors << BLK_SECTOR_SHIFT,
		.may_unmap = flags != 0,
	};
	return VIRTIO_BLK_S_OK;
}

uint8_t blk_req_ranges(const struct blk_disk *disk, enum blk_op op, const uint8_t *bytes,
		       size_t len, struct blk_range ranges[BLK_RANGES_MAX])
{
	for (size_t i = 0; i < len / BLK_RANGE_LEN && i < BLK_RANGES_MAX; i++) {
		uint8_t status = parse_range(disk, op, bytes + i * BLK_RANGE_LEN, &ranges[i]);

		if (status != VIRTIO_BLK_S_OK) {
			return status;
		}
	}
	return VIRTIO_BLK_S_OK;
}
