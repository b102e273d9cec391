/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that copies and describes parts of any chain, in memory that may be RAM or not.
 *
 * Options: -eva-precision 3 -eva-split-return full
 *
 * Not shown here, but by tests/wp, is that a copy ends where its buffer does: that is a sum of
 * lengths, and EVA relates no two numbers so. The copies' other accesses are checked.
 */
#include "tests/eva/gmem.h"

#include "devices/virtio/core/virtq_chain.c"

static struct virtq_chain chain;
static struct gmem guest;
static uint8_t buffer[64];
static struct iovec list[16];

/* What virtq_pop promises of its counts; addresses and lengths are any. */
static void make_chain(void)
{
	for (unsigned i = 0; i < VIRTQ_CHAIN_MAX; i++) {
		chain.segs[i].gpa.v = any_u64();
		chain.segs[i].len = any_u32();
	}
	chain.head = (uint16_t)any_u32();
	chain.count = (uint16_t)any_between(0, VIRTQ_CHAIN_MAX);
	chain.readable = (uint16_t)any_between(0, VIRTQ_CHAIN_MAX);
	chain.read_len = any_u32();
	chain.write_len = any_u32();
}

void main(void)
{
	uint32_t offset = any_u32();
	size_t len = any_between(0, sizeof(buffer));
	struct virtq_span span = {any_bool() ? VIRTQ_READABLE : VIRTQ_WRITABLE, any_u32(),
				  any_u32()};
	struct virtq_iov iov = {.iov = list, .cap = 16, .count = any_between(0, 16)};

	make_chain();
	is_buffer_checked = false;
	(void)!virtq_chain_read(&guest, &chain, offset, buffer, len);
	(void)!virtq_chain_write(&guest, &chain, offset, buffer, len);
	is_buffer_checked = true;
	iov.first = any_u64();
	(void)!virtq_chain_iov(&guest, &chain, span, &iov);
}
