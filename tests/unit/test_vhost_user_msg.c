/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the vhost-user protocol as bytes. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/vhost/vhost_user_msg.h"
#include "vmm/base/bytes.h"

static struct vhost_msg msg;
static struct error err;

/* The message is these bytes, of which the header's length is that of the others. */
static void expect(const uint8_t *bytes, size_t len)
{
	cr_assert_eq(msg.len, len, "%zu bytes", msg.len);
	cr_assert_arr_eq(msg.bytes, bytes, len);
}

#define EXPECT(...)                                                                                \
	do {                                                                                       \
		static const uint8_t bytes_[] = {__VA_ARGS__};                                     \
		expect(bytes_, sizeof(bytes_));                                                    \
	} while (0)

Test(vhost_user_msg, each_message_is_what_the_protocol_says)
{
	vhost_msg_plain(&msg, VHOST_SET_OWNER);
	EXPECT(3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
	vhost_msg_u64(&msg, VHOST_SET_FEATURES, 0x0807060504030201);
	EXPECT(2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8);
	vhost_msg_ring(&msg, VHOST_SET_VRING_BASE, 3, 0x1234);
	EXPECT(10, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0x34, 0x12, 0, 0);
	vhost_msg_config(&msg, 2);
	EXPECT(24, 0, 0, 0, 1, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	vhost_msg_addr(&msg, &(struct vhost_ring_addr){1, 0x11, 0x22, 0x33});
	EXPECT(9, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0,
	       0, 0x22, 0, 0, 0, 0, 0, 0, 0, 0x33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	vhost_msg_memory(&msg, &(struct vhost_region){1, 2, 4}, 1);
	EXPECT(5, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
	       2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0);
	vhost_msg_inflight(&msg, VHOST_SET_INFLIGHT_FD, &(struct vhost_inflight){0x1000, 2, 256});
	EXPECT(32, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	       0, 2, 0, 0, 1, 0, 0, 0, 0);
}

static void reply(enum vhost_request request, uint32_t flags, const uint8_t *payload, uint32_t len)
{
	store_le32(msg.bytes, request);
	store_le32(msg.bytes + 4, flags);
	store_le32(msg.bytes + 8, len);
	memcpy(msg.bytes + VHOST_HEADER_LEN, payload, len);
	msg.len = VHOST_HEADER_LEN + len;
	error_clear(&err);
}

Test(vhost_user_msg, a_length_is_told_as_soon_as_its_header_is_there)
{
	static const uint8_t payload[8];

	reply(VHOST_GET_FEATURES, 5, payload, 8);
	msg.len = 0;
	cr_expect_eq(vhost_msg_wanted(&msg), VHOST_HEADER_LEN);
	msg.len = VHOST_HEADER_LEN - 1;
	cr_expect_eq(vhost_msg_wanted(&msg), VHOST_HEADER_LEN);
	msg.len = VHOST_HEADER_LEN;
	cr_expect_eq(vhost_msg_wanted(&msg), VHOST_HEADER_LEN + 8u);
	store_le32(msg.bytes + 8, VHOST_PAYLOAD_MAX);
	cr_expect_eq(vhost_msg_wanted(&msg), VHOST_MSG_MAX);
	store_le32(msg.bytes + 8, VHOST_PAYLOAD_MAX + 1);
	cr_expect_eq(vhost_msg_wanted(&msg), 0);
	store_le32(msg.bytes + 8, UINT32_MAX);
	cr_expect_eq(vhost_msg_wanted(&msg), 0);
}

static const uint8_t number[8] = {1, 2, 3, 4, 5, 6, 7, 8};

Test(vhost_user_msg, a_number_is_taken_from_the_reply_to_its_request_alone)
{
	static const struct {
		enum vhost_request request;
		uint32_t flags;
		uint32_t len;
		const char *why; /* NULL: it is taken */
	} cases[] = {
		{VHOST_GET_FEATURES, 5, 8, NULL},
		{VHOST_GET_FEATURES, 13, 8, NULL}, /* a bit that we do not know */
		{VHOST_GET_FEATURES, 5, 7, "has 7 bytes in place of 8"},
		{VHOST_GET_FEATURES, 5, 0, "has 0 bytes in place of 8"},
		{VHOST_GET_FEATURES, 1, 8, "a message 1 with flags 0x1 in place of its reply"},
		{VHOST_GET_FEATURES, 6, 8, "a message 1 with flags 0x6 in place of its reply"},
		{VHOST_GET_FEATURES, 4, 8, "a message 1 with flags 0x4 in place of its reply"},
		{VHOST_GET_QUEUE_NUM, 5, 8, "a message 17 with flags 0x5 in place of its reply"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t value = 0;

		reply(cases[i].request, cases[i].flags, number, cases[i].len);
		int result = vhost_reply_u64(&msg, VHOST_GET_FEATURES, &value, &err);

		cr_expect_eq(result, cases[i].why == NULL ? 0 : -1, "case %zu", i);
		if (cases[i].why == NULL) {
			cr_expect_eq(value, 0x0807060504030201);
		} else {
			cr_expect_not_null(strstr(err.msg, cases[i].why), "case %zu: %s", i,
					   err.msg);
		}
	}
	reply(VHOST_GET_FEATURES, 5, number, 8);
	msg.len--;
	uint64_t value;

	cr_expect_eq(vhost_reply_u64(&msg, VHOST_GET_FEATURES, &value, &err), -1);
	cr_expect_not_null(strstr(err.msg, "is cut off"));
}

Test(vhost_user_msg, a_stopped_ring_is_the_one_that_was_asked_for)
{
	static const uint8_t ring[8] = {2, 0, 0, 0, 7, 0, 0, 0};
	uint16_t base;

	reply(VHOST_GET_VRING_BASE, 5, ring, 8);
	cr_expect_eq(vhost_reply_base(&msg, 2, &base, &err), 0);
	cr_expect_eq(base, 7);
	cr_expect_eq(vhost_reply_base(&msg, 1, &base, &err), -1);
	cr_expect_str_eq(err.msg, "The back-end has stopped the ring 2, not 1");
	reply(VHOST_GET_VRING_BASE, 5, ring, 4);
	cr_expect_eq(vhost_reply_base(&msg, 2, &base, &err), -1);
}

Test(vhost_user_msg, a_configuration_is_all_that_was_asked_for_and_no_more)
{
	static const struct {
		uint8_t offset, len;
		uint32_t payload;
		const char *why;
	} cases[] = {
		{0, 4, 16, NULL},
		{0, 4, 0, "refuses to tell its configuration"},
		{0, 4, 15, "has 15 bytes in place of 16"},
		{0, 4, 17, "has 17 bytes in place of 16"},
		{1, 4, 16, "tells 4 bytes of its configuration from byte 1 on"},
		{0, 5, 16, "tells 5 bytes of its configuration from byte 0 on"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t payload[17] = {
			[0] = cases[i].offset, [4] = cases[i].len, [12] = 9, 8, 7, 6};
		uint8_t config[5] = {[4] = 0xee};

		reply(VHOST_GET_CONFIG, 5, payload, cases[i].payload);
		int result = vhost_reply_config(&msg, config, 4, &err);

		cr_expect_eq(result, cases[i].why == NULL ? 0 : -1, "case %zu", i);
		if (cases[i].why == NULL) {
			cr_expect_arr_eq(config, ((const uint8_t[]){9, 8, 7, 6, 0xee}), 5);
		} else {
			cr_expect_not_null(strstr(err.msg, cases[i].why), "case %zu: %s", i,
					   err.msg);
		}
	}
}

Test(vhost_user_msg, memory_for_requests_in_flight_has_a_length_padded_or_not)
{
	uint8_t payload[24] = {[1] = 0x10, [16] = 3, [18] = 0, [19] = 1};

	for (uint32_t len = 19; len <= 24; len++) {
		struct vhost_inflight inflight = {0};

		reply(VHOST_GET_INFLIGHT_FD, 5, payload, len);
		cr_expect_eq(vhost_reply_inflight(&msg, &inflight, &err),
			     len == 20 || len == 24 ? 0 : -1, "%u bytes", len);
		cr_expect_eq(inflight.len, len == 20 || len == 24 ? 0x1000u : 0u);
	}
}
