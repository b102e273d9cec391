/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that fill several chains.
 *
 * Theory of operation. How many bytes a socket has, only the read tells. So chains are popped
 * before it, and those that it did not reach are rewound right after it: they were popped last, and
 * nothing was pushed meanwhile. A read so leaves no chain taken but those that it filled.
 */
#include "devices/virtio/vsock/vsock_io.h"

#include <stdbool.h>

#include "devices/virtio/vsock/vsock_packet.h"
#include "vmm/base/bytes.h"

/* Has the payload go on in the next chain; false if that is not of the usual shape. */
static bool add_follower(struct vsock_io *io, struct virtq_iov *iov, uint32_t room)
{
	struct virtq_chain *next = &io->next;

	switch (virtq_pop(io->rx, next)) {
	case VIRTQ_OK:
		break;
	case VIRTQ_BAD:
		virtq_rewind(io->rx, 1);
		return false;
	case VIRTQ_EMPTY:
	case VIRTQ_BROKEN:
		return false;
	}
	struct vsock_follower follower = {.head = next->head, .gpa = next->segs[0].gpa};

	if (next->count != 1 || next->write_len <= VSOCK_HEADER_LEN) {
		virtq_rewind(io->rx, 1);
		return false;
	}
	follower.len = (uint32_t)min_u64(next->write_len - VSOCK_HEADER_LEN, room);
	const struct virtq_span span = {VIRTQ_WRITABLE, VSOCK_HEADER_LEN, follower.len};

	if (virtq_chain_iov(io->mem, next, span, iov) < 0) {
		virtq_rewind(io->rx, 1);
		return false;
	}
	io->followers[io->followers_count++] = follower;
	return true;
}

uint32_t vsock_io_add_followers(struct vsock_io *io, struct virtq_iov *iov, uint32_t room,
				unsigned batch)
{
	uint32_t len = 0;

	while (io->followers_count + 1 < batch && len < room && add_follower(io, iov, room - len)) {
		len += io->followers[io->followers_count - 1].len;
	}
	return len;
}

void vsock_io_trim_followers(struct vsock_io *io, uint32_t len)
{
	unsigned count = 0;

	while (len > 0) {
		struct vsock_follower *follower = &io->followers[count++];

		follower->len = (uint32_t)min_u64(follower->len, len);
		len -= follower->len;
	}
	if (io->followers_count > count) {
		virtq_rewind(io->rx, (uint16_t)(io->followers_count - count));
		io->followers_count = count;
	}
}
