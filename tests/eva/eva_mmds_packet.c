/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any frame of up to 96 bytes, which have room for all headers with all options, each of them as
 * long as its buffer. Segments to the guest with any numbers and with each length of payload that
 * is a multiple of 292.
 *
 * Options: -eva-precision 6
 */
#include "tests/eva/eva.h"

#include "devices/mmds/packet.c"

enum {
	FRAME_LEN = 96,
	PAYLOAD_STEP = 292, /* 5 of them are MMDS_MSS_MAX */
};

static void parse(size_t len)
{
	uint8_t room[FRAME_LEN];
	uint8_t ipv4[MMDS_IPV4_LEN];
	struct mmds_frame frame = {room + sizeof(room) - len, len, any_bool()};
	struct mmds_packet packet;

	fill(room, sizeof(room));
	fill(ipv4, sizeof(ipv4));
	if (!mmds_packet_is_for(frame.data, len, ipv4)) {
		return;
	}
	switch (mmds_packet_parse(&frame, &packet)) {
	case MMDS_PACKET_TCP:
		keep(packet.to_port);
		keep(packet.segment.mss);
		keep(packet.segment.len);
		break;
	case MMDS_PACKET_ARP:
		keep(packet.from.mac[5]);
		break;
	default:
		break;
	}
}

static void write(uint16_t len)
{
	static uint8_t payload[MMDS_MSS_MAX];
	uint8_t buf[MMDS_FRAME_MAX];
	struct mmds_address from;
	struct mmds_address to;
	struct mmds_segment segment;

	fill(&from, sizeof(from));
	fill(&to, sizeof(to));
	segment = (struct mmds_segment){
		.seq = any_u32(),
		.ack = any_u32(),
		.window = (uint16_t)any_u32(),
		.mss = len == 0 ? (uint16_t)any_u32() : 0,
		.flags = (uint8_t)any_u32(),
		.len = len,
		.payload = payload,
	};
	keep(mmds_packet_write_tcp(buf, &from, &to, &segment));
	keep(mmds_packet_write_arp(buf, &from, &to));
}

void main(void)
{
	/*@ loop unroll FRAME_LEN + 1; */
	for (size_t len = 0; len <= FRAME_LEN; len++) {
		parse(len);
	}
	/*@ loop unroll MMDS_MSS_MAX / PAYLOAD_STEP + 1; */
	for (uint16_t len = 0; len <= MMDS_MSS_MAX; len += PAYLOAD_STEP) {
		write(len);
	}
}
