/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the metadata service as bytes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/packet.h"
#include "vmm/base/bytes.h"

enum {
	IP_AT = 14,
	TCP_AT = 34,
	OPTIONS_AT = 54,
};

static const uint8_t service[] = {169, 254, 169, 254};
static const struct mmds_address guest = {{2, 0, 0, 0, 0, 5}, {169, 254, 1, 2}, 40000};
static const struct mmds_address local = {{6, 1, 0x23, 0x45, 0x67, 1}, {169, 254, 169, 254}, 80};

/* Ethernet; hardware, protocol, lengths, a request; from; to. */
static const uint8_t arp_request[] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,	 0,   0,   0,	0, 7, 0x08, 0x06, //
	0,    1,    0x08, 0,	6,    4,    0,	 1,				  //
	2,    0,    0,	  0,	0,    5,    169, 254, 1,   2,			  //
	0,    0,    0,	  0,	0,    0,    169, 254, 169, 254,			  //
};

/* Ethernet; IPv4, in two lines; TCP, in two lines; "hi". */
static const uint8_t tcp_frame[] = {
	6,    1,    0x23, 0x45, 0x67, 1,    2,	  0,   0,  0, 0,    5,	  0x08, 0x00, //
	0x45, 0,    0,	  42,	0x12, 0x34, 0x40, 0,   64, 6, 0x29, 0x9d,	      //
	169,  254,  1,	  2,	169,  254,  169,  254,				      //
	0x9c, 0x40, 0,	  80,	0,    0,    0,	  7,   0,  0, 0,    9,		      //
	0x50, 0x18, 0x10, 0,	0x9b, 0xc3, 0,	  0,				      //
	'h',  'i',								      //
};

/* A copy that the test spoils, exactly as long as it is for the sanitizers' sake. */
static uint8_t *copy_of(const uint8_t *frame, size_t len)
{
	uint8_t *copy = malloc(len);

	cr_assert_not_null(copy);
	memcpy(copy, frame, len);
	return copy;
}

static uint16_t sum_of(const uint8_t *data, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
	}
	while (sum > 0xffff) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

/* Makes the checksum at `at` right again; what it covers sums up to `sum` without it. */
static void set_checksum(uint8_t *frame, size_t at, uint16_t sum)
{
	sum = (uint16_t)~sum;
	frame[at] = (uint8_t)(sum >> 8);
	frame[at + 1] = (uint8_t)sum;
}

static void seal(uint8_t *frame, size_t len)
{
	uint32_t pseudo = sum_of(frame + IP_AT + 12, 8, 6 + (uint32_t)(len - TCP_AT));

	frame[IP_AT + 10] = frame[IP_AT + 11] = 0;
	set_checksum(frame, IP_AT + 10, sum_of(frame + IP_AT, 20, 0));
	frame[TCP_AT + 16] = frame[TCP_AT + 17] = 0;
	set_checksum(frame, TCP_AT + 16, sum_of(frame + TCP_AT, len - TCP_AT, pseudo));
}

static enum mmds_packet_kind parse(const uint8_t *data, size_t len, struct mmds_packet *packet)
{
	return mmds_packet_parse(&(struct mmds_frame){.data = data, .len = len}, packet);
}

Test(mmds_packet, what_is_sent_to_the_address_is_the_services)
{
	static const uint8_t other[] = {169, 254, 169, 253};
	static const uint8_t vlan[MMDS_HEAD_LEN] = {[12] = 0x81, [30] = 169, 254, 169, 254};
	static const uint8_t ipv6[MMDS_HEAD_LEN] = {[12] = 0x86, 0xdd, [30] = 169, 254, 169, 254};

	cr_expect(mmds_packet_is_for(arp_request, sizeof(arp_request), service));
	cr_expect(mmds_packet_is_for(tcp_frame, MMDS_HEAD_LEN, service));
	cr_expect(mmds_packet_is_for(tcp_frame, 34, service));
	cr_expect_not(mmds_packet_is_for(arp_request, sizeof(arp_request), other));
	cr_expect_not(mmds_packet_is_for(tcp_frame, MMDS_HEAD_LEN, other));
	cr_expect_not(mmds_packet_is_for(vlan, sizeof(vlan), service));
	cr_expect_not(mmds_packet_is_for(ipv6, sizeof(ipv6), service));
	for (size_t len = 0; len < MMDS_HEAD_LEN; len++) {
		uint8_t *arp = copy_of(arp_request, len);
		uint8_t *tcp = copy_of(tcp_frame, len);

		cr_expect_not(mmds_packet_is_for(arp, len, service), "%zu", len);
		cr_expect_eq(mmds_packet_is_for(tcp, len, service), len >= 34, "%zu", len);
		free(arp);
		free(tcp);
	}
}

Test(mmds_packet, arp_of_other_kinds_is_not_the_services)
{
	/* Hardware, protocol and lengths are Ethernet's and IPv4's. */
	for (size_t at = IP_AT; at < IP_AT + 6; at++) {
		uint8_t *frame = copy_of(arp_request, sizeof(arp_request));

		frame[at] ^= 2;
		cr_expect_not(mmds_packet_is_for(frame, sizeof(arp_request), service), "%zu", at);
		free(frame);
	}
}

Test(mmds_packet, an_arp_request_tells_who_asks)
{
	struct mmds_packet packet;
	uint8_t *frame = copy_of(arp_request, sizeof(arp_request));

	cr_expect_eq(parse(frame, sizeof(arp_request), &packet), MMDS_PACKET_ARP);
	cr_expect_arr_eq(packet.from.mac, guest.mac, MMDS_MAC_LEN);
	cr_expect_arr_eq(packet.from.ipv4, guest.ipv4, MMDS_IPV4_LEN);
	cr_expect_eq(parse(frame, sizeof(arp_request) - 1, &packet), MMDS_PACKET_BAD);
	cr_expect_eq(parse(frame, 13, &packet), MMDS_PACKET_BAD_ETH);
	frame[IP_AT + 7] = 2; /* a reply */
	cr_expect_eq(parse(frame, sizeof(arp_request), &packet), MMDS_PACKET_UNUSUAL);
	free(frame);
}

Test(mmds_packet, every_field_of_a_segment_has_its_place)
{
	struct mmds_packet packet;
	uint8_t frame[sizeof(tcp_frame) + 4];

	memcpy(frame, tcp_frame, sizeof(tcp_frame));
	/* The padding behind a short packet is none of its payload. */
	memset(frame + sizeof(tcp_frame), 0xee, 4);
	cr_assert_eq(parse(frame, sizeof(frame), &packet), MMDS_PACKET_TCP);
	cr_expect_arr_eq(packet.from.mac, guest.mac, MMDS_MAC_LEN);
	cr_expect_arr_eq(packet.from.ipv4, guest.ipv4, MMDS_IPV4_LEN);
	cr_expect_eq(packet.from.port, 40000);
	cr_expect_eq(packet.to_port, 80);
	cr_expect_eq(packet.segment.seq, 7);
	cr_expect_eq(packet.segment.ack, 9);
	cr_expect_eq(packet.segment.window, 4096);
	cr_expect_eq(packet.segment.flags, MMDS_TCP_ACK | MMDS_TCP_PSH);
	cr_expect_eq(packet.segment.mss, 0);
	cr_expect_eq(packet.segment.len, 2);
	cr_expect_arr_eq(packet.segment.payload, "hi", 2);
}

Test(mmds_packet, headers_that_contradict_themselves_are_bad)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
		enum mmds_packet_kind kind;
	} cases[] = {
		{"nothing", 0, 6, MMDS_PACKET_TCP},
		{"version 6", IP_AT, 0x65, MMDS_PACKET_BAD},
		{"a header of 16 bytes", IP_AT, 0x44, MMDS_PACKET_UNUSUAL},
		{"options", IP_AT, 0x46, MMDS_PACKET_UNUSUAL},
		{"less than a header", IP_AT + 3, 19, MMDS_PACKET_BAD},
		{"more than there is", IP_AT + 3, 43, MMDS_PACKET_BAD},
		{"much more", IP_AT + 2, 0xff, MMDS_PACKET_BAD},
		{"no TCP header", IP_AT + 3, 39, MMDS_PACKET_BAD},
		{"nothing at all", IP_AT + 3, 20, MMDS_PACKET_BAD},
		{"the first fragment", IP_AT + 6, 0x20, MMDS_PACKET_UNUSUAL},
		{"a later fragment", IP_AT + 7, 1, MMDS_PACKET_UNUSUAL},
		{"UDP", IP_AT + 9, 17, MMDS_PACKET_UNUSUAL},
		{"a TCP header of 16 bytes", TCP_AT + 12, 0x40, MMDS_PACKET_BAD},
		{"a longer TCP header than there is", TCP_AT + 12, 0x60, MMDS_PACKET_BAD},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct mmds_packet packet;
		uint8_t *frame = copy_of(tcp_frame, sizeof(tcp_frame));

		frame[cases[i].at] = cases[i].value;
		seal(frame, (size_t)min_u64(max_u64(IP_AT + frame[IP_AT + 3], TCP_AT + 20),
					    sizeof(tcp_frame)));
		cr_expect_eq(parse(frame, sizeof(tcp_frame), &packet), cases[i].kind, "%s",
			     cases[i].what);
		free(frame);
	}
}

Test(mmds_packet, a_frame_cut_anywhere_is_bad)
{
	uint8_t frame[sizeof(tcp_frame)];
	struct mmds_packet packet;

	memcpy(frame, tcp_frame, sizeof(frame));
	seal(frame, sizeof(frame));
	for (size_t len = 0; len < sizeof(frame); len++) {
		uint8_t *cut = copy_of(frame, len);

		cr_expect_eq(parse(cut, len, &packet),
			     len < IP_AT ? MMDS_PACKET_BAD_ETH : MMDS_PACKET_BAD, "%zu", len);
		free(cut);
	}
}

Test(mmds_packet, every_byte_is_under_a_checksum)
{
	struct mmds_packet packet;

	for (size_t at = IP_AT; at < sizeof(tcp_frame); at++) {
		uint8_t *frame = copy_of(tcp_frame, sizeof(tcp_frame));

		seal(frame, sizeof(tcp_frame));
		cr_assert_eq(parse(frame, sizeof(tcp_frame), &packet), MMDS_PACKET_TCP);
		frame[at] ^= 1;
		cr_expect_neq(parse(frame, sizeof(tcp_frame), &packet), MMDS_PACKET_TCP, "%zu", at);
		free(frame);
	}
}

Test(mmds_packet, a_checksum_that_the_guest_left_out_is_not_verified)
{
	struct mmds_packet packet;
	uint8_t *data = copy_of(tcp_frame, sizeof(tcp_frame));
	struct mmds_frame frame = {data, sizeof(tcp_frame), .is_checksum_partial = true};

	seal(data, sizeof(tcp_frame));
	data[TCP_AT + 16] ^= 0xff;
	cr_expect_eq(mmds_packet_parse(&frame, &packet), MMDS_PACKET_TCP);
	data[IP_AT + 8] ^= 1; /* that of the IPv4 header is always there */
	cr_expect_eq(mmds_packet_parse(&frame, &packet), MMDS_PACKET_BAD);
	free(data);
}

Test(mmds_packet, the_mss_is_found_among_options)
{
	static const struct {
		size_t len; /* of 4 bytes each */
		uint8_t options[12];
		enum mmds_packet_kind kind;
		uint16_t mss;
	} cases[] = {
		{0, {0}, MMDS_PACKET_TCP, 0},
		{4, {2, 4, 5, 0xb4}, MMDS_PACKET_TCP, 1460},
		{8, {1, 1, 2, 4, 5, 0xb4, 0, 0}, MMDS_PACKET_TCP, 1460},
		{12, {3, 3, 7, 8, 5, 9, 9, 9, 2, 4, 1, 0}, MMDS_PACKET_TCP, 256},
		{8, {0, 2, 4, 5, 0xb4, 0, 0, 0}, MMDS_PACKET_TCP, 0}, /* behind the end */
		{4, {2, 4, 0, 28}, MMDS_PACKET_TCP, 28},
		{4, {2, 4, 0, 27}, MMDS_PACKET_BAD, 0},
		{4, {2, 4, 0xff, 0xff}, MMDS_PACKET_TCP, 65535},
		{4, {2, 3, 5, 0}, MMDS_PACKET_BAD, 0},
		{4, {1, 1, 1, 2}, MMDS_PACKET_BAD, 0}, /* its length is not there */
		{4, {1, 2, 4, 5}, MMDS_PACKET_BAD, 0},
		{4, {9, 0, 0, 0}, MMDS_PACKET_BAD, 0}, /* it would never end */
		{4, {9, 1, 0, 0}, MMDS_PACKET_BAD, 0},
		{4, {9, 5, 0, 0}, MMDS_PACKET_BAD, 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		size_t len = OPTIONS_AT + cases[i].len;
		uint8_t *frame = malloc(len);
		struct mmds_packet packet;

		memcpy(frame, tcp_frame, OPTIONS_AT);
		memcpy(frame + OPTIONS_AT, cases[i].options, cases[i].len);
		frame[IP_AT + 3] = (uint8_t)(len - IP_AT);
		frame[TCP_AT + 12] = (uint8_t)((5 + cases[i].len / 4) << 4);
		frame[TCP_AT + 13] = MMDS_TCP_SYN;
		seal(frame, len);
		cr_assert_eq(parse(frame, len, &packet), cases[i].kind, "case %zu", i);
		if (cases[i].kind == MMDS_PACKET_TCP) {
			cr_expect_eq(packet.segment.mss, cases[i].mss, "case %zu", i);
		}
		/* Other segments have no options that matter. */
		frame[TCP_AT + 13] = MMDS_TCP_ACK;
		seal(frame, len);
		cr_expect_eq(parse(frame, len, &packet), MMDS_PACKET_TCP, "case %zu", i);
		free(frame);
	}
}

Test(mmds_packet, an_arp_reply_goes_to_who_asked)
{
	static const uint8_t wanted[] = {
		2,   0,	  0,	0,   0, 5, 6, 1, 0x23, 0x45, 0x67, 1,	 0x08, 0x06,
		0,   1,	  0x08, 0,   6, 4, 0, 2, 6,    1,    0x23, 0x45, 0x67, 1,
		169, 254, 169,	254, 2, 0, 0, 0, 0,    5,    169,  254,	 1,    2,
	};
	uint8_t buf[MMDS_FRAME_MAX];

	cr_assert_eq(mmds_packet_write_arp(buf, &local, &guest), sizeof(wanted));
	cr_expect_arr_eq(buf, wanted, sizeof(wanted));
}

Test(mmds_packet, a_segment_is_written_with_its_checksums)
{
	static const uint8_t payload[MMDS_MSS_MAX] = {'h', 'i', 0xff, 0xff, 7};
	static const struct {
		struct mmds_segment segment;
		size_t len;
	} cases[] = {
		{{.seq = 0x01020304, .ack = 0x05060708, .flags = MMDS_TCP_ACK, .window = 2500}, 54},
		{{.seq = 1, .ack = 2, .mss = 1460, .flags = MMDS_TCP_SYN | MMDS_TCP_ACK}, 58},
		{{.ack = 2, .flags = MMDS_TCP_ACK, .payload = payload, .len = 5}, 59},
		{{.ack = 2, .flags = MMDS_TCP_ACK, .payload = payload, .len = MMDS_MSS_MAX},
		 MMDS_FRAME_MAX},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct mmds_segment *segment = &cases[i].segment;
		uint8_t buf[MMDS_FRAME_MAX];
		uint8_t sealed[MMDS_FRAME_MAX];
		struct mmds_packet packet;
		size_t len;

		memset(buf, 0xee, sizeof(buf));
		len = mmds_packet_write_tcp(buf, &local, &guest, segment);
		cr_assert_eq(len, cases[i].len, "case %zu", i);
		memcpy(sealed, buf, len);
		seal(sealed, len);
		cr_expect_arr_eq(buf, sealed, len, "case %zu", i);
		cr_expect_arr_eq(buf, guest.mac, MMDS_MAC_LEN);
		cr_expect_eq(buf[IP_AT + 8], 1, "its TTL");
		cr_assert_eq(parse(buf, len, &packet), MMDS_PACKET_TCP, "case %zu", i);
		cr_expect_eq(packet.from.port, 80);
		cr_expect_eq(packet.to_port, 40000);
		cr_expect_eq(packet.segment.seq, segment->seq);
		cr_expect_eq(packet.segment.ack, segment->ack);
		cr_expect_eq(packet.segment.window, segment->window);
		cr_expect_eq(packet.segment.flags, segment->flags);
		cr_expect_eq(packet.segment.mss, segment->mss);
		cr_assert_eq(packet.segment.len, segment->len);
		cr_expect_arr_eq(packet.segment.payload, payload, segment->len);
	}
}
