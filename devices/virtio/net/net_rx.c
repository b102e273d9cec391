/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive buffers of the network device: chains taken from the queue before their frame is there.
 *
 * Theory of operation. How long a frame is, only the read tells, so it is read into all buffers
 * that the longest one may need. They are held here as a queue of chains, whose memory lies in a
 * row of iovecs in `iov`: one readv takes them as they are. What a frame did not need stays for the
 * next one, and goes out of the front as frames are delivered. When the row reaches the end of
 * `iov`, it moves to the beginning: rare with the few segments per chain that drivers use, and at
 * most 16 KiB.
 *
 * Drivers cut their buffers out of larger pieces of memory, so that a chain often begins where the
 * one before it ends; then they share an iovec. The kernel copies and checks each iovec in each
 * readv, which for a short frame would cost more than the frame.
 *
 * A read that fills the buffers to the last byte could have been cut off. One byte of ours behind
 * them tells: it is reached only by frames that don't fit.
 */
#include "devices/virtio/net/net_rx.h"

#include "vmm/base/bytes.h"
#include "vmm/base/iov.h"

enum {
	NUM_BUFFERS = 10, /* offset in the header */
	/* One is for the surplus. */
	IOV_CAP = NET_IOV_MAX - 1,
};

_Static_assert((int)VIRTQ_IOV_MAX <= (int)IOV_CAP, "a chain fits if it is alone");

void net_rx_clear(struct net_rx *rx)
{
	rx->first = 0;
	rx->count = 0;
	rx->len = 0;
	rx->iov_first = 0;
	rx->iov_end = 0;
}

static struct net_rx_chain *chain_at(struct net_rx *rx, unsigned index)
{
	return &rx->chains[(rx->first + index) % VIRTQ_SIZE_MAX];
}

void net_rx_return(struct net_rx *rx, struct virtq *vq)
{
	for (unsigned i = 0; i < rx->count; i++) {
		virtq_push(vq, chain_at(rx, i)->head, 0);
	}
	net_rx_clear(rx);
}

void net_rx_rewind(struct net_rx *rx, struct virtq *vq)
{
	virtq_rewind(vq, (uint16_t)rx->count);
	net_rx_clear(rx);
}

/* The address of a writable byte. The caller has checked that the chain has so many. */
static gpa_t find_byte(const struct virtq_chain *chain, uint32_t offset)
{
	unsigned i = chain->readable;

	while (i + 1u < chain->count && offset >= chain->segs[i].len) {
		offset -= chain->segs[i].len;
		i++;
	}
	return GPA(chain->segs[i].gpa.v + offset);
}

/* Takes `len` bytes off the front of the row. */
static void drop_front(struct net_rx *rx, uint64_t len)
{
	rx->len -= len;
	rx->iov_first = iov_advance(rx->iov, rx->iov_first, rx->iov_end, len);
}

/* Moves the row to the beginning of `iov`. */
static void move_row(struct net_rx *rx)
{
	size_t to = 0;

	for (size_t from = rx->iov_first; from < rx->iov_end; from++) {
		const struct iovec moved = rx->iov[from];

		rx->iov[to++] = moved;
	}
	rx->iov_first = 0;
	rx->iov_end = to;
}

bool net_rx_add(struct net_rx *rx, struct gmem *mem, const struct virtq_chain *chain)
{
	struct virtq_span span = {.side = VIRTQ_WRITABLE, .len = chain->write_len};

	if (rx->count == VIRTQ_SIZE_MAX) {
		return false;
	}
	if (rx->iov_first > 0 && rx->iov_end + VIRTQ_IOV_MAX > IOV_CAP) {
		move_row(rx);
	}
	struct virtq_iov row = {
		.iov = rx->iov,
		.cap = IOV_CAP,
		.count = rx->iov_end,
		.first = rx->iov_first,
	};

	if (virtq_chain_iov(mem, chain, span, &row) < 0) {
		return false;
	}
	*chain_at(rx, rx->count) = (struct net_rx_chain){
		.head = chain->head,
		.len = chain->write_len,
		.num_buffers = {find_byte(chain, NUM_BUFFERS), find_byte(chain, NUM_BUFFERS + 1)},
	};
	rx->count++;
	rx->len += chain->write_len;
	rx->iov_end = row.count;
	return true;
}

const struct iovec *net_rx_iov(struct net_rx *rx, size_t *count)
{
	rx->iov[rx->iov_end] = (struct iovec){.iov_base = &rx->surplus, .iov_len = 1};
	*count = rx->iov_end - rx->iov_first + 1;
	return rx->iov + rx->iov_first;
}

/* How many chains, from the first, a frame of `len` bytes takes. */
static unsigned count_chains(struct net_rx *rx, uint32_t len)
{
	uint64_t sum = 0;
	unsigned count = 0;

	do {
		sum += chain_at(rx, count)->len;
		count++;
	} while (sum < len && count < rx->count);
	return count;
}

/* num_buffers is not the TAP's to write: it leaves those bytes as the driver had them. */
static void complete_header(struct net_rx *rx, struct gmem *mem, unsigned chains)
{
	const struct net_rx_chain *first = chain_at(rx, 0);
	uint8_t bytes[2];

	store_le16(bytes, (uint16_t)chains);
	for (size_t i = 0; i < ARRAY_COUNT(bytes); i++) {
		/* It was RAM when the chain was checked, and RAM doesn't go away. */
		(void)!gmem_write(mem, first->num_buffers[i], &bytes[i], 1);
	}
}

void net_rx_deliver(struct net_rx *rx, struct gmem *mem, struct virtq *vq, uint32_t len)
{
	unsigned chains = count_chains(rx, len);
	uint64_t taken = 0;

	complete_header(rx, mem, chains);
	for (unsigned i = 0; i < chains; i++) {
		const struct net_rx_chain *chain = chain_at(rx, 0);
		uint32_t written = (uint32_t)min_u64(len, chain->len);

		virtq_push(vq, chain->head, written);
		len -= written;
		taken += chain->len;
		rx->first = (rx->first + 1) % VIRTQ_SIZE_MAX;
		rx->count--;
	}
	drop_front(rx, taken);
	if (rx->count == 0) {
		net_rx_clear(rx);
	}
}
