/* SPDX-License-Identifier: Apache-2.0 */
/* What a chain asks of a block device: accepted, answered, or not even that. */
#include <criterion/criterion.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>

#include "devices/virtio/blk/blk_req.h"
#include "vmm/base/bytes.h"

enum {
	SECTORS = 1000,
	LARGEST = 0xfffffe00 /* the most whole sectors that 32 bits can count */
};

struct request {
	const char *name;
	uint32_t type;
	uint64_t sector;
	uint32_t read_len; /* with the header */
	uint32_t write_len;
	bool is_read_only;
};

#define IN VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT
#define FLUSH VIRTIO_BLK_T_FLUSH
#define ID VIRTIO_BLK_T_GET_ID
#define DISCARD VIRTIO_BLK_T_DISCARD
#define ZEROES VIRTIO_BLK_T_WRITE_ZEROES
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP

struct accepted {
	struct request request;
	enum blk_op op;
	uint64_t offset;
	uint32_t data_at;
	uint32_t data_len;
};

static const struct accepted accepted[] = {
	{{"one sector read", IN, 0, 16, 513, false}, BLK_OP_READ, 0, 0, 512},
	{{"the last sector read", IN, 999, 16, 513, false}, BLK_OP_READ, 999 * 512, 0, 512},
	{{"the whole disk read", IN, 0, 16, 512001, false}, BLK_OP_READ, 0, 0, 512000},
	{{"a read with bytes behind the header", IN, 1, 99, 513, false}, BLK_OP_READ, 512, 0, 512},
	{{"a read from a read-only disk", IN, 0, 16, 513, true}, BLK_OP_READ, 0, 0, 512},
	{{"one sector written", OUT, 2, 16 + 512, 1, false}, BLK_OP_WRITE, 1024, 16, 512},
	{{"a write with room behind it", OUT, 2, 16 + 512, 9, false}, BLK_OP_WRITE, 1024, 16, 512},
	{{"a flush", FLUSH, 0, 16, 1, false}, BLK_OP_FLUSH, 0, 0, 0},
	{{"a flush with a sector and data", FLUSH, 99999, 528, 513, false}, BLK_OP_FLUSH, 0, 0, 0},
	{{"a flush of a read-only disk", FLUSH, 0, 16, 1, true}, BLK_OP_FLUSH, 0, 0, 0},
	{{"the id", ID, 0, 16, 21, false}, BLK_OP_GET_ID, 0, 0, 20},
	{{"the id with more room", ID, 0, 16, 513, false}, BLK_OP_GET_ID, 0, 0, 20},
	{{"a discard", DISCARD, 0, 32, 1, false}, BLK_OP_DISCARD, 0, 16, 16},
	{{"a discard of 16 ranges", DISCARD, 0, 272, 1, false}, BLK_OP_DISCARD, 0, 16, 256},
	{{"zeroes", ZEROES, 0, 32, 1, false}, BLK_OP_ZEROES, 0, 16, 16},
};

/* Stands for "given back without an answer". */
#define BAD 0xff

struct refused {
	struct request request;
	uint8_t expected; /* a status, or BAD */
};

static const struct refused refused[] = {
	{{"one sector beyond the end", IN, 1000, 16, 513, false}, IOERR},
	{{"the end within the request", IN, 999, 16, 1025, false}, IOERR},
	{{"a sector that overflows bytes", IN, UINT64_MAX >> 9, 16, 513, false}, IOERR},
	{{"the largest sector", IN, UINT64_MAX, 16, 513, false}, IOERR},
	{{"the largest sector, written", OUT, UINT64_MAX, 16 + 512, 1, false}, IOERR},
	{{"a sum that overflows", IN, UINT64_MAX - 1, 16, 1025, false}, IOERR},
	{{"the longest read", IN, 0, 16, LARGEST + 1, false}, IOERR},
	{{"half a sector", IN, 0, 16, 257, false}, IOERR},
	{{"a sector and a byte", IN, 0, 16, 514, false}, IOERR},
	{{"a read of nothing", IN, 0, 16, 1, false}, OK},
	{{"a read of nothing at the end", IN, 1000, 16, 1, false}, OK},
	{{"a read of nothing beyond the end", IN, 1001, 16, 1, false}, IOERR},
	{{"a write beyond the end", OUT, 1000, 16 + 512, 1, false}, IOERR},
	{{"a write to a read-only disk", OUT, 0, 16 + 512, 1, true}, IOERR},
	{{"a write of nothing to a read-only disk", OUT, 0, 16, 1, true}, IOERR},
	{{"a write of half a sector", OUT, 0, 16 + 256, 1, false}, IOERR},
	{{"no header", IN, 0, 0, 513, false}, BAD},
	{{"a header cut short", IN, 0, 15, 513, false}, BAD},
	{{"no status", OUT, 0, 16 + 512, 0, false}, BAD},
	{{"neither", FLUSH, 0, 0, 0, false}, BAD},
	{{"the id with less room", ID, 0, 16, 20, false}, IOERR},
	{{"a discard of 17 ranges", DISCARD, 0, 288, 1, false}, IOERR},
	{{"a discard of none", DISCARD, 0, 16, 1, false}, IOERR},
	{{"a discard of half a range", DISCARD, 0, 24, 1, false}, IOERR},
	{{"a discard of one and a half", DISCARD, 0, 40, 1, false}, IOERR},
	{{"a discard on a read-only disk", DISCARD, 0, 32, 1, true}, IOERR},
	{{"zeroes for two ranges", ZEROES, 0, 48, 1, false}, IOERR},
	{{"zeroes on a read-only disk", ZEROES, 0, 32, 1, true}, IOERR},
	{{"the longest discard", DISCARD, 0, 0xfffffff0, 1, false}, IOERR},
	{{"a SCSI command", 2, 0, 16, 513, false}, UNSUPP},
	{{"a secure erase", 14, 0, 32, 1, false}, UNSUPP},
	{{"an unknown type", 0xffffffff, 0, 16, 1, false}, UNSUPP},
	{{"an unknown type without a status", 0xffffffff, 0, 16, 0, false}, BAD},
};

static enum blk_verdict parse_request(const struct request *request, struct blk_req *req,
				      uint8_t *status)
{
	const struct blk_disk disk = {SECTORS, request->is_read_only};
	struct virtq_chain *chain = calloc(1, sizeof(*chain));
	uint8_t header[BLK_HEADER_LEN] = {0};

	cr_assert_not_null(chain);
	chain->read_len = request->read_len;
	chain->write_len = request->write_len;
	store_le32(header, request->type);
	store_le64(header + 8, request->sector);
	enum blk_verdict verdict = blk_req_parse(&disk, chain, header, req, status);

	free(chain);
	return verdict;
}

Test(blk_req, a_request_that_is_right_is_to_be_done)
{
	for (size_t i = 0; i < ARRAY_COUNT(accepted); i++) {
		const struct accepted *row = &accepted[i];
		const char *name = row->request.name;
		struct blk_req req = {0};
		uint8_t status = OK;

		cr_expect_eq(parse_request(&row->request, &req, &status), BLK_REQ_OK, "%s", name);
		cr_expect_eq(req.op, row->op, "%s: operation %d", name, req.op);
		cr_expect_eq(req.offset, row->offset, "%s: offset", name);
		cr_expect_eq(req.data.len, row->data_len, "%s: length %u", name, req.data.len);
		cr_expect(req.data.len == 0 || req.data.offset == row->data_at, "%s: at %u", name,
			  req.data.offset);
	}
}

Test(blk_req, a_request_that_is_wrong_is_answered_or_else_given_back)
{
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
		const struct refused *row = &refused[i];
		const char *name = row->request.name;
		struct blk_req req = {0};
		uint8_t status = BAD;
		enum blk_verdict verdict = parse_request(&row->request, &req, &status);

		cr_expect_eq(verdict, row->expected == BAD ? BLK_REQ_BAD : BLK_REQ_ANSWER,
			     "%s: verdict %d", name, verdict);
		cr_expect_eq(status, row->expected, "%s: status %u", name, status);
	}
}

struct range {
	const char *name;
	enum blk_op op;
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags;
	uint8_t expected;
};

static const struct range ranges[] = {
	{"a discard", BLK_OP_DISCARD, 10, 5, 0, OK},
	{"a discard of the disk", BLK_OP_DISCARD, 0, 1000, 0, OK},
	{"a discard of nothing", BLK_OP_DISCARD, 1000, 0, 0, OK},
	{"a discard beyond the end", BLK_OP_DISCARD, 1000, 1, 0, IOERR},
	{"a discard over the end", BLK_OP_DISCARD, 999, 2, 0, IOERR},
	{"a discard that wraps", BLK_OP_DISCARD, UINT64_MAX, 2, 0, IOERR},
	{"a discard with unmap", BLK_OP_DISCARD, 0, 1, 1, UNSUPP},
	{"a discard with an unknown flag", BLK_OP_DISCARD, 0, 1, 2, UNSUPP},
	{"zeroes", BLK_OP_ZEROES, 10, 5, 0, OK},
	{"zeroes with unmap", BLK_OP_ZEROES, 10, 5, 1, OK},
	{"zeroes with an unknown flag", BLK_OP_ZEROES, 10, 5, 3, UNSUPP},
	{"zeroes with the last flag", BLK_OP_ZEROES, 10, 5, 0x80000000, UNSUPP},
	{"zeroes over the end", BLK_OP_ZEROES, 1, 1000, 0, IOERR},
	{"zeroes that wrap", BLK_OP_ZEROES, UINT64_MAX - 1, 4, 0, IOERR},
};

static uint8_t parse(const struct blk_disk *disk, const struct range *range, struct blk_range *out)
{
	uint8_t bytes[BLK_RANGE_LEN];

	store_le64(bytes, range->sector);
	store_le32(bytes + 8, range->sectors);
	store_le32(bytes + 12, range->flags);
	return blk_req_ranges(disk, range->op, bytes, sizeof(bytes), out);
}

Test(blk_req, each_range_is_checked_against_the_disk_and_its_flags)
{
	const struct blk_disk disk = {.sectors = SECTORS};

	for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
		const struct range *range = &ranges[i];
		struct blk_range out[BLK_RANGES_MAX] = {0};
		uint8_t status = parse(&disk, range, out);

		cr_expect_eq(status, range->expected, "%s: status %u", range->name, status);
		if (status == OK) {
			cr_expect_eq(out[0].offset, range->sector * 512, "%s", range->name);
			cr_expect_eq(out[0].len, range->sectors * 512u, "%s", range->name);
			cr_expect_eq(out[0].may_unmap, range->flags == 1, "%s", range->name);
		}
	}
}

Test(blk_req, ranges_are_held_to_the_limits_that_the_configuration_tells)
{
	const struct blk_disk disk = {.sectors = UINT64_C(1) << 40};
	const struct range cases[] = {
		{"discard", BLK_OP_DISCARD, 0, BLK_DISCARD_SECTORS_MAX, 0, OK},
		{"discard", BLK_OP_DISCARD, 0, BLK_DISCARD_SECTORS_MAX + 1, 0, IOERR},
		{"zeroes", BLK_OP_ZEROES, 0, BLK_ZEROES_SECTORS_MAX, 0, OK},
		{"zeroes", BLK_OP_ZEROES, 0, BLK_ZEROES_SECTORS_MAX + 1, 0, IOERR},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_range out[BLK_RANGES_MAX];

		cr_expect_eq(parse(&disk, &cases[i], out), cases[i].expected, "%s %u",
			     cases[i].name, cases[i].sectors);
	}
}

Test(blk_req, one_bad_range_among_good_ones_fails_all)
{
	const struct blk_disk disk = {.sectors = SECTORS};
	uint8_t bytes[3 * BLK_RANGE_LEN] = {0};
	struct blk_range out[BLK_RANGES_MAX];

	for (size_t i = 0; i < 3; i++) {
		store_le64(bytes + i * BLK_RANGE_LEN, i * 100);
		store_le32(bytes + i * BLK_RANGE_LEN + 8, 100);
	}
	cr_expect_eq(blk_req_ranges(&disk, BLK_OP_DISCARD, bytes, sizeof(bytes), out), OK);
	cr_expect_eq(out[2].offset, 200 * 512);
	store_le64(bytes + 2 * (size_t)BLK_RANGE_LEN, SECTORS);
	cr_expect_eq(blk_req_ranges(&disk, BLK_OP_DISCARD, bytes, sizeof(bytes), out), IOERR);
}
