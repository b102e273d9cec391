/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of the socket device as bytes, and the greeting of its clients. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/vsock/vsock_packet.h"
#include "vmm/base/bytes.h"

enum {
	GUEST = 3
};

static const struct vsock_header good = {
	.src_cid = GUEST,
	.dst_cid = VSOCK_HOST_CID,
	.src_port = 1000,
	.dst_port = 52,
	.type = VSOCK_TYPE_STREAM,
	.op = VSOCK_OP_RW,
	.len = 100,
};

Test(vsock_packet, every_field_has_its_place)
{
	static const uint8_t bytes[VSOCK_HEADER_LEN] = {
		1,  2,	3,  4,	5,  6,	7,  8,	9,  10, 11, 12, 13, 14, 15,
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
		31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
	};
	struct vsock_header header;
	uint8_t again[VSOCK_HEADER_LEN];

	vsock_header_decode(bytes, &header);
	cr_assert_eq(header.src_cid, 0x0807060504030201);
	cr_assert_eq(header.dst_cid, 0x100f0e0d0c0b0a09);
	cr_assert_eq(header.src_port, 0x14131211);
	cr_assert_eq(header.dst_port, 0x18171615);
	cr_assert_eq(header.len, 0x1c1b1a19);
	cr_assert_eq(header.type, 0x1e1d);
	cr_assert_eq(header.op, 0x201f);
	cr_assert_eq(header.flags, 0x24232221);
	cr_assert_eq(header.buf_alloc, 0x28272625);
	cr_assert_eq(header.fwd_cnt, 0x2c2b2a29);
	vsock_header_encode(&header, again);
	cr_assert_arr_eq(again, bytes, sizeof(bytes));
}

Test(vsock_packet, only_a_sound_packet_from_the_guest_to_the_host_is_accepted)
{
	static const struct {
		size_t offset;
		size_t size;
		uint64_t value;
		uint32_t room;
		enum vsock_verdict verdict;
	} cases[] = {
		{0, 0, 0, 100, VSOCK_ACCEPT},
		{0, 0, 0, 99, VSOCK_DROP},
		{0, 0, 0, 0, VSOCK_DROP},
#define FIELD(name) offsetof(struct vsock_header, name), sizeof(good.name)
		{FIELD(len), 0, 0, VSOCK_ACCEPT},
		{FIELD(len), VSOCK_PAYLOAD_MAX, UINT32_MAX, VSOCK_ACCEPT},
		{FIELD(len), VSOCK_PAYLOAD_MAX + 1, UINT32_MAX, VSOCK_DROP},
		{FIELD(len), UINT32_MAX, UINT32_MAX, VSOCK_DROP},
		{FIELD(src_cid), GUEST + 1, 100, VSOCK_DROP},
		{FIELD(src_cid), VSOCK_HOST_CID, 100, VSOCK_DROP},
		{FIELD(src_cid), GUEST | UINT64_C(1) << 32, 100, VSOCK_DROP},
		{FIELD(dst_cid), GUEST, 100, VSOCK_DROP},
		{FIELD(dst_cid), 0, 100, VSOCK_DROP},
		{FIELD(dst_cid), UINT64_MAX, 100, VSOCK_DROP},
		{FIELD(type), 0, 100, VSOCK_REFUSE},
		{FIELD(type), 2, 100, VSOCK_REFUSE},
		{FIELD(op), VSOCK_OP_INVALID, 100, VSOCK_REFUSE},
		{FIELD(op), VSOCK_OP_REQUEST, 100, VSOCK_ACCEPT},
		{FIELD(op), VSOCK_OP_CREDIT_REQUEST, 100, VSOCK_ACCEPT},
		{FIELD(op), VSOCK_OP_CREDIT_REQUEST + 1, 100, VSOCK_REFUSE},
		{FIELD(op), UINT16_MAX, 100, VSOCK_REFUSE},
		{FIELD(src_port), UINT32_MAX, 100, VSOCK_ACCEPT},
		{FIELD(dst_port), UINT32_MAX, 100, VSOCK_ACCEPT},
#undef FIELD
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vsock_header header = good;

		memcpy((uint8_t *)&header + cases[i].offset, &cases[i].value, cases[i].size);
		cr_expect_eq(vsock_header_check(&header, GUEST, cases[i].room), cases[i].verdict,
			     "case %zu", i);
	}
}

Test(vsock_packet, a_greeting_names_a_port)
{
	static const struct {
		const char *line;
		uint32_t port;
	} cases[] = {
		{"CONNECT 52\n", 52},	  {"connect 52\n", 52},
		{"cOnNeCt 0\n", 0},	  {"CONNECT 4294967295\n", UINT32_MAX},
		{"CONNECT 00052\n", 52},  {"CONNECT  52\n", 52},
		{"CONNECT\t52 \r\n", 52},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint32_t port = 1;

		cr_expect(vsock_greeting_parse((const uint8_t *)cases[i].line,
					       strlen(cases[i].line), &port),
			  "%s", cases[i].line);
		cr_expect_eq(port, cases[i].port, "%s", cases[i].line);
	}
}

Test(vsock_packet, all_else_is_no_greeting)
{
	static const char *const lines[] = {
		"",
		"\n",
		"CONNECT",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT 52",
		"CONNECT52\n",
		" CONNECT 52\n",
		"CONNECTX 52\n",
		"CONNECS 52\n",
		"#ONNECT 52\n",
		"CONNECT -1\n",
		"CONNECT +1\n",
		"CONNECT 0x10\n",
		"CONNECT 5 2\n",
		"CONNECT 52x\n",
		"CONNECT 52\n\n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999999999999999\n",
		"GET / HTTP/1.1\r\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		uint32_t port;

		cr_expect_not(
			vsock_greeting_parse((const uint8_t *)lines[i], strlen(lines[i]), &port),
			"%s", lines[i]);
	}
}
