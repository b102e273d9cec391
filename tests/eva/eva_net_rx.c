/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of any segments with a writable one, added, delivered and given back in any order, any
 * number of times; frames of any length. What describes a chain, virtq_chain.c, fills any part of
 * the room that it is given, and stops at its end.
 */
#include "tests/eva/gmem.h"

#include "devices/virtio/net/net_rx.c"

static struct net_rx rx;
static struct virtq vq;
static struct virtq_chain chain;
static struct gmem guest;

void virtq_push(struct virtq *queue, uint16_t head, uint32_t written)
{
	(void)queue;
	keep(head);
	keep(written);
}

void virtq_rewind(struct virtq *queue, uint16_t count)
{
	(void)queue;
	keep(count);
}

int virtq_chain_iov(struct gmem *mem, const struct virtq_chain *from, struct virtq_span span,
		    struct virtq_iov *iov)
{
	static uint8_t somewhere[1];

	(void)mem;
	(void)from;
	(void)span;
	if (any_bool()) {
		return -1;
	}
	while (iov->count < iov->cap && any_bool()) {
		iov->iov[iov->count++] = (struct iovec){somewhere, any_u64()};
	}
	return 0;
}

static void make_chain(void)
{
	for (unsigned i = 0; i < VIRTQ_CHAIN_MAX; i++) {
		chain.segs[i].gpa.v = any_u64();
		chain.segs[i].len = any_u32();
	}
	chain.head = (uint16_t)any_u32();
	chain.count = (uint16_t)any_between(1, VIRTQ_CHAIN_MAX);
	chain.readable = (uint16_t)any_between(0, VIRTQ_CHAIN_MAX - 1);
	chain.write_len = any_u32();
}

static void use(void)
{
	size_t count;

	switch (any_between(0, 4)) {
	case 0:
		make_chain();
		(void)!net_rx_add(&rx, &guest, &chain);
		break;
	case 1:
		keep(net_rx_iov(&rx, &count)->iov_len);
		keep(count);
		break;
	case 2:
		net_rx_deliver(&rx, &guest, &vq, any_u32());
		break;
	case 3:
		net_rx_return(&rx, &vq);
		break;
	default:
		net_rx_rewind(&rx, &vq);
		break;
	}
}

void main(void)
{
	/*@ widen_hints global:"all", 255, 256, 1022, 1023; */
	net_rx_clear(&rx);
	while (any_bool()) {
		use();
	}
}
