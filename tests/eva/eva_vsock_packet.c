/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any header; any line up to the longest, each of them as long as its buffer.
 *
 * Options: -eva-precision 8
 */
#include "tests/eva/eva.h"

#include "devices/virtio/vsock/vsock_packet.c"

static void parse_greeting(size_t len)
{
	uint8_t room[VSOCK_GREETING_MAX];
	uint32_t port;

	fill(room, sizeof(room));
	if (vsock_greeting_parse(room + sizeof(room) - len, len, &port)) {
		keep(port);
	}
}

void main(void)
{
	uint8_t bytes[VSOCK_HEADER_LEN];
	struct vsock_header header;

	fill(bytes, sizeof(bytes));
	vsock_header_decode(bytes, &header);
	vsock_header_encode(&header, bytes);
	keep(vsock_header_check(&header, any_u64(), any_u32()));
	/*@ loop unroll VSOCK_GREETING_MAX + 1; */
	for (size_t len = 0; len <= VSOCK_GREETING_MAX; len++) {
		parse_greeting(len);
	}
}
