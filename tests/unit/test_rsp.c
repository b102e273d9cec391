/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/debug/rsp.c: packets, acknowledgements, and input that is none. */
#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/debug/rsp.h"

static struct rsp rsp;

static void feed(const char *bytes, size_t len)
{
	cr_assert(len <= rsp_room(&rsp));
	memcpy(rsp.in + rsp.in_len, bytes, len);
	rsp.in_len += len;
}

/* What is pending is sent. */
static void expect_sent(const char *expected)
{
	cr_expect_eq(rsp_pending(&rsp), strlen(expected), "%.*s", (int)rsp_pending(&rsp),
		     rsp.out + rsp.out_sent);
	cr_expect(memcmp(rsp.out + rsp.out_sent, expected, strlen(expected)) == 0,
		  "%.*s in place of %s", (int)rsp_pending(&rsp), rsp.out + rsp.out_sent, expected);
	rsp.out_sent = rsp.out_len;
}

Test(rsp, packets_are_found_among_other_bytes_however_they_arrive)
{
	static const char stream[] = "++junk$qC#b4\x03+$#00";
	static const enum rsp_event events[] = {RSP_PACKET, RSP_INTERRUPT, RSP_PACKET};
	size_t found = 0;

	rsp_init(&rsp);
	for (size_t i = 0; i < strlen(stream); i++) {
		feed(stream + i, 1);
		enum rsp_event event = rsp_next(&rsp);

		if (event == RSP_MORE) {
			continue;
		}
		cr_assert(found < ARRAY_COUNT(events));
		cr_expect_eq(event, events[found], "event %zu: %d", found, (int)event);
		if (event == RSP_PACKET) {
			cr_expect_str_eq(rsp.data, found == 0 ? "qC" : "");
			expect_sent("+");
		}
		found++;
	}
	cr_expect_eq(found, ARRAY_COUNT(events));
}

Test(rsp, a_wrong_sum_is_refused_and_the_next_packet_is_read)
{
	static const char *const wrong[] = {"$g#68", "$g#6x", "$g#", "$g#6"};

	for (size_t i = 0; i < 2; i++) {
		rsp_init(&rsp);
		feed(wrong[i], strlen(wrong[i]));
		feed("$?#3F", 5);
		cr_expect_eq(rsp_next(&rsp), RSP_REFUSED, "%s", wrong[i]);
		expect_sent("-");
		cr_expect_eq(rsp_next(&rsp), RSP_PACKET);
		cr_expect_str_eq(rsp.data, "?");
		expect_sent("+");
	}
	for (size_t i = 2; i < ARRAY_COUNT(wrong); i++) {
		rsp_init(&rsp);
		feed(wrong[i], strlen(wrong[i]));
		cr_expect_eq(rsp_next(&rsp), RSP_MORE, "%s", wrong[i]);
	}
	rsp_init(&rsp);
	feed("$a\0b#c3", 7);
	cr_expect_eq(rsp_next(&rsp), RSP_REFUSED);
}

Test(rsp, the_last_packet_is_sent_again_without_its_acknowledgement)
{
	rsp_init(&rsp);
	feed("$?#3f", 5);
	cr_assert_eq(rsp_next(&rsp), RSP_PACKET);
	rsp_begin(&rsp);
	rsp_add(&rsp, "T%02x", 5);
	rsp_end(&rsp);
	expect_sent("+$T05#b9");
	feed("-", 1);
	cr_assert_eq(rsp_next(&rsp), RSP_AGAIN);
	rsp_resend(&rsp);
	expect_sent("$T05#b9");
	rsp.is_quiet = true;
	feed("-$?#3f", 6);
	cr_assert_eq(rsp_next(&rsp), RSP_PACKET);
	cr_expect_eq(rsp_pending(&rsp), 0);
}

Test(rsp, what_is_too_long_ends_the_connection)
{
	static char full[RSP_DATA_MAX + RSP_FRAME];

	memset(full, 'x', sizeof(full));
	full[0] = '$';
	rsp_init(&rsp);
	feed(full, sizeof(full) - 1);
	cr_expect_eq(rsp_next(&rsp), RSP_MORE);
	feed("#", 1);
	cr_expect_eq(rsp_next(&rsp), RSP_LOST);
	/* As long as may be: each byte is 'x', 0x78 * 4096. */
	rsp_init(&rsp);
	memcpy(full + sizeof(full) - 3, "#00", 3);
	feed(full, sizeof(full));
	cr_expect_eq(rsp_next(&rsp), RSP_PACKET);
	cr_expect_eq(strlen(rsp.data), RSP_DATA_MAX);
	/* What begins no packet needs no room. */
	rsp_init(&rsp);
	full[0] = 'x';
	feed(full, sizeof(full));
	cr_expect_eq(rsp_next(&rsp), RSP_MORE);
	cr_expect_eq(rsp_room(&rsp), sizeof(full));
}

Test(rsp, an_answer_that_does_not_fit_is_empty)
{
	static uint8_t bytes[RSP_DATA_MAX / 2];
	static char text[RSP_DATA_MAX + 2];

	memset(text, 'y', sizeof(text) - 1);
	rsp_init(&rsp);
	rsp_begin(&rsp);
	rsp_add_hex(&rsp, bytes, sizeof(bytes));
	rsp_end(&rsp);
	cr_expect_eq(rsp_pending(&rsp), RSP_DATA_MAX + RSP_FRAME);
	rsp.out_sent = rsp.out_len;
	rsp_begin(&rsp);
	rsp_add(&rsp, "m");
	rsp_add_hex(&rsp, bytes, sizeof(bytes));
	rsp_end(&rsp);
	expect_sent("$#00");
	rsp_begin(&rsp);
	rsp_add(&rsp, "%s", text + 1);
	rsp_end(&rsp);
	cr_expect_eq(rsp_pending(&rsp), RSP_DATA_MAX + RSP_FRAME);
	rsp.out_sent = rsp.out_len;
	rsp_begin(&rsp);
	rsp_add(&rsp, "%s", text);
	rsp_end(&rsp);
	expect_sent("$#00");
}

Test(rsp, numbers_and_bytes_have_their_digits)
{
	uint64_t value;
	uint8_t bytes[3];

	cr_expect(rsp_take_number(&(struct rsp_text){"fFffFfff00000001,"}, &value));
	cr_expect_eq(value, UINT64_C(0xffffffff00000001));
	cr_expect_not(rsp_take_number(&(struct rsp_text){"00000000000000001"}, &value));
	cr_expect_not(rsp_take_number(&(struct rsp_text){""}, &value));
	cr_expect_not(rsp_take_number(&(struct rsp_text){"-1"}, &value));
	cr_expect(rsp_take_bytes(&(struct rsp_text){"00A1ff"}, bytes, 3));
	cr_expect(bytes[0] == 0 && bytes[1] == 0xa1 && bytes[2] == 0xff);
	cr_expect_not(rsp_take_bytes(&(struct rsp_text){"00a1f"}, bytes, 3));
	cr_expect_not(rsp_take_bytes(&(struct rsp_text){"00g1ff"}, bytes, 3));
}
