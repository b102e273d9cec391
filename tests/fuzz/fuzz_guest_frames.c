/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what squibctl and a guest's first process read of each other: a stream of frames, which
 * comes in pieces; each request in it, which is written again as it was read; its user, whom two
 * texts from the input do or do not have.
 */
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tools/guest_init/frames.h"
#include "tools/guest_init/run_request.h"
#include "tools/guest_init/user.h"

enum {
	PIECE_MAX = 4096
};

static struct frames stream;
static struct run_request request;

static void look_up(const struct run_request *of)
{
	const char *passwd = of->words[0];
	const char *group = of->env_count > 0 ? of->env[0] : "";
	struct user user;

	if (user_find(passwd, group, of->user, &user)) {
		require(user.group_count <= USER_GROUPS_MAX);
		require(strlen(user.home) < sizeof(user.home));
	}
}

static void check_frame(const struct frame *frame)
{
	static uint8_t again[FRAME_MAX];
	uint32_t number;

	require(frame->len <= FRAME_MAX && frame->kind >= FRAME_RUN && frame->kind < FRAME_KINDS);
	require(frame->data >= stream.in && frame->data + frame->len <= stream.in + stream.in_end);
	require(frame_number(frame, &number) == (frame->len >= sizeof(number)));
	if (frame->kind == FRAME_RUN && run_request_read(frame->data, frame->len, &request)) {
		size_t len = run_request_write(&request, again, sizeof(again));

		require(len == frame->len);
		look_up(&request);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame frame;
	enum frames_state state = FRAMES_MORE;
	int ends[2];

	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	memset(&stream, 0, sizeof(stream));
	stream.fd = ends[0];
	while (size > 0 && state != FRAMES_BROKEN) {
		size_t piece = 1 + data[0] * 17U % PIECE_MAX;

		piece = piece < size ? piece : size;
		require(write(ends[1], data, piece) == (ssize_t)piece);
		data += piece;
		size -= piece;
		require(frames_fill(&stream));
		while ((state = frames_next(&stream, &frame)) == FRAMES_FRAME) {
			check_frame(&frame);
		}
		require(stream.in_end <= sizeof(stream.in) && stream.in_start <= stream.in_end);
	}
	close(ends[0]);
	close(ends[1]);
	return 0;
}
