/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/guest_init: frames, requests, users. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/frames_pair.h"
#include "tools/guest_init/frames.h"
#include "tools/guest_init/run_request.h"
#include "tools/guest_init/user.h"
#include "vmm/base/bytes.h"

static struct frames one;
static struct frames other;

Test(guest_frames, arrive_whole_and_in_order)
{
	static uint8_t bytes[FRAME_MAX];
	struct frame frame;
	uint32_t number;

	frames_pair(&one, &other);
	memset(bytes, 0x5a, sizeof(bytes));
	cr_assert(frames_put_number(&one, FRAME_CREDIT, 7));
	cr_assert(frames_put(&one, FRAME_STDOUT, bytes, sizeof(bytes)));
	cr_assert(frames_put(&one, FRAME_STDIN, NULL, 0));
	cr_expect(frames_wait(&one));
	/* The socket may take it in parts. */
	unsigned count = 0;

	while (count < 3) {
		frames_flush(&one);
		cr_assert(frames_fill(&other));
		while (frames_next(&other, &frame) == FRAMES_FRAME) {
			count++;
			if (count == 1) {
				cr_expect(frame.kind == FRAME_CREDIT &&
					  frame_number(&frame, &number) && number == 7);
			} else if (count == 2) {
				cr_expect_eq(frame.len, sizeof(bytes));
				cr_expect_arr_eq(frame.data, bytes, sizeof(bytes));
			} else {
				cr_expect(frame.kind == FRAME_STDIN && frame.len == 0);
			}
		}
	}
	cr_expect_not(frames_wait(&one));
}

Test(guest_frames, what_is_no_frame_is_told)
{
	static const struct {
		uint32_t len;
		uint32_t kind;
	} heads[] = {
		{FRAME_MAX + 1, FRAME_STDOUT}, {UINT32_MAX, FRAME_STDOUT}, {0, 0}, {0, FRAME_KINDS},
		{0, 1U << 8 | FRAME_STDOUT},
	};
	struct frame frame;

	for (size_t i = 0; i < ARRAY_COUNT(heads); i++) {
		frames_pair(&one, &other);
		cr_assert_eq(write(one.fd, &heads[i], sizeof(heads[i])), sizeof(heads[i]));
		cr_assert(frames_fill(&other));
		cr_expect_eq(frames_next(&other, &frame), FRAMES_BROKEN, "%zu", i);
	}
}

Test(guest_frames, a_part_is_no_frame_yet)
{
	const uint32_t head[] = {4, FRAME_EXIT};
	struct frame frame;

	frames_pair(&one, &other);
	cr_assert_eq(write(one.fd, head, 6), 6);
	cr_assert(frames_fill(&other));
	cr_expect_eq(frames_next(&other, &frame), FRAMES_MORE);
	cr_assert_eq(write(one.fd, (const char *)head + 6, 2), 2);
	cr_assert(frames_fill(&other));
	cr_expect_eq(frames_next(&other, &frame), FRAMES_MORE);
	cr_assert_eq(write(one.fd, "\x01\0\0\0", 4), 4);
	cr_assert(frames_fill(&other));
	cr_expect_eq(frames_next(&other, &frame), FRAMES_FRAME);
	close(one.fd);
	cr_expect_not(frames_fill(&other));
}

Test(guest_frames, room_is_left_for_numbers)
{
	static const uint8_t bytes[DATA_MAX];

	frames_pair(&one, &other);
	while (frames_have_room(&one, sizeof(bytes))) {
		cr_assert(frames_put(&one, FRAME_STDOUT, bytes, sizeof(bytes)));
	}
	for (unsigned i = 0; i < 3; i++) {
		cr_expect(frames_put_number(&one, FRAME_EXIT, 0));
	}
	while (frames_put(&one, FRAME_STDOUT, bytes, 1)) {
	}
	cr_expect_leq(one.out_end, sizeof(one.out));
	cr_expect_not(frames_put(&one, FRAME_STDOUT, bytes, FRAME_MAX + 1));
}

/* --- requests --- */

static const struct run_request sample = {
	.flags = RUN_TTY | RUN_MAIN,
	.rows = 24,
	.columns = 80,
	.clock_s = 1234567890123,
	.host = "vm",
	.user = "web:extra",
	.dir = "",
	.word_count = 2,
	.words = {"sh", ""},
	.env_count = 1,
	.env = {"A=b"},
	.mount_count = 1,
	.mounts = {"volume0 ro /a b"},
};

Test(guest_run_request, is_read_as_it_was_written)
{
	static uint8_t payload[256];
	static struct run_request request;
	size_t len = run_request_write(&sample, payload, sizeof(payload));

	cr_assert_gt(len, 0);
	cr_assert(run_request_read(payload, len, &request));
	cr_expect(request.flags == sample.flags && request.rows == 24 && request.columns == 80);
	cr_expect_eq(request.clock_s, sample.clock_s);
	cr_expect_str_eq(request.host, "vm");
	cr_expect_str_eq(request.user, "web:extra");
	cr_expect_str_eq(request.dir, "");
	cr_assert(request.word_count == 2 && request.env_count == 1);
	cr_expect_str_eq(request.words[1], "");
	cr_expect_null(request.words[2]);
	cr_expect_str_eq(request.env[0], "A=b");
	cr_expect_null(request.env[1]);
	cr_expect_eq(request.mount_count, 1);
	cr_expect_str_eq(request.mounts[0], "volume0 ro /a b");
}

Test(guest_run_request, one_that_is_cut_or_too_long_is_none)
{
	static uint8_t payload[256];
	static struct run_request request;
	size_t len = run_request_write(&sample, payload, sizeof(payload));

	for (size_t i = 0; i < len; i++) {
		/* In memory of its own, so that a sanitizer sees what is read behind it. */
		uint8_t *copy = malloc(i + 1);

		memcpy(copy, payload, i);
		cr_expect_not(run_request_read(copy, i, &request), "%zu", i);
		cr_expect_eq(run_request_write(&sample, copy, i), 0, "%zu", i);
		free(copy);
	}
	cr_expect_not(run_request_read(payload, len + 1, &request));
}

Test(guest_run_request, counts_are_bounded)
{
	static uint8_t payload[256];
	static struct run_request request;
	static const size_t counts[] = {12, 16, 20};
	size_t len = run_request_write(&sample, payload, sizeof(payload));

	for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
		uint32_t count = load_le32(payload + counts[i]);

		store_le32(payload + counts[i], RUN_WORDS_MAX + 1);
		cr_expect_not(run_request_read(payload, len, &request));
		store_le32(payload + counts[i], count);
	}
	store_le32(payload, RUN_FLAGS + 1);
	cr_expect_not(run_request_read(payload, len, &request));
}

/* --- users --- */

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "short\n"
			     "web:x:1000:1001::/home/web:/bin/sh\n"
			     "bad:x:no:1::/:/bin/sh\n"
			     "last:x:7:8";
static const char group[] = "root:x:0:\nwebs:x:1001:\nextra:x:77:other,web\nmore:x:78:webs,we\n"
			    "end:x:79:web";

Test(guest_user, is_found_by_name_and_number)
{
	static const struct {
		const char *wanted;
		uid_t uid;
		gid_t gid;
		unsigned groups;
		const char *home;
	} cases[] = {
		{"", 0, 0, 0, "/root"},
		{"web", 1000, 1001, 2, "/home/web"},
		{"1000", 1000, 1001, 2, "/home/web"},
		{"web:extra", 1000, 77, 0, "/home/web"},
		{"web:5", 1000, 5, 0, "/home/web"},
		{"4242", 4242, 0, 0, "/"},
		{":77", 0, 77, 0, "/root"},
		{"last", 7, 8, 0, "/"},
	};
	struct user user;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_assert(user_find(passwd, group, cases[i].wanted, &user), "%s", cases[i].wanted);
		cr_expect(user.uid == cases[i].uid && user.gid == cases[i].gid, "%s",
			  cases[i].wanted);
		cr_expect_eq(user.group_count, cases[i].groups, "%s", cases[i].wanted);
		cr_expect_str_eq(user.home, cases[i].home);
	}
	cr_assert(user_find(passwd, group, "web", &user));
	cr_expect(user.groups[0] == 77 && user.groups[1] == 79);
	cr_assert(user_find("", "", "", &user));
	cr_expect(user.uid == 0 && user.gid == 0);
}

Test(guest_user, who_is_not_there_is_not_found)
{
	static const char *const wanted[] = {"nobody", "web:none",    "bad", "short",
					     "web:",   "99999999999", "-1"};
	struct user user;

	for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
		cr_expect_not(user_find(passwd, group, wanted[i], &user), "%s", wanted[i]);
	}
}
