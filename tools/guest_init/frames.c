/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a non-blocking stream, through two buffers. */
#include "tools/guest_init/frames.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

bool frames_fill(struct frames *frames)
{
	size_t have = frames->in_end - frames->in_start;

	if (frames->in_start > 0) {
		memmove(frames->in, frames->in + frames->in_start, have);
		frames->in_start = 0;
		frames->in_end = have;
	}
	ssize_t got = read(frames->fd, frames->in + have, sizeof(frames->in) - have);

	if (got > 0) {
		frames->in_end += (size_t)got;
	}
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

enum frames_state frames_next(struct frames *frames, struct frame *frame)
{
	const uint8_t *head = frames->in + frames->in_start;
	size_t have = frames->in_end - frames->in_start;

	if (have < FRAME_HEAD) {
		return FRAMES_MORE;
	}
	uint32_t len = load_le32(head);
	uint32_t kind = load_le32(head + sizeof(len));

	if (len > FRAME_MAX || kind < FRAME_RUN || kind >= FRAME_KINDS) {
		return FRAMES_BROKEN;
	}
	if (have - FRAME_HEAD < len) {
		return FRAMES_MORE;
	}
	*frame = (struct frame){
		.kind = (enum frame_kind)kind, .len = len, .data = head + FRAME_HEAD};
	frames->in_start += FRAME_HEAD + len;
	return FRAMES_FRAME;
}

bool frames_have_room(const struct frames *frames, size_t len)
{
	size_t used = frames->out_end - frames->out_start;

	return used + FRAME_HEAD + len + FRAME_SMALL <= sizeof(frames->out);
}

void frame_head(uint8_t *head, enum frame_kind kind, size_t len)
{
	store_le32(head, (uint32_t)len);
	store_le32(head + sizeof(uint32_t), (uint32_t)kind);
}

bool frames_put(struct frames *frames, enum frame_kind kind, const void *data, size_t len)
{
	size_t used = frames->out_end - frames->out_start;

	if (len > FRAME_MAX || used + FRAME_HEAD + len > sizeof(frames->out)) {
		return false;
	}
	memmove(frames->out, frames->out + frames->out_start, used);
	frame_head(frames->out + used, kind, len);
	if (len > 0) {
		memcpy(frames->out + used + FRAME_HEAD, data, len);
	}
	frames->out_start = 0;
	frames->out_end = used + FRAME_HEAD + len;
	return true;
}

bool frames_put_number(struct frames *frames, enum frame_kind kind, uint32_t number)
{
	return frames_put(frames, kind, &number, sizeof(number));
}

bool frames_wait(const struct frames *frames)
{
	return frames->out_end > frames->out_start;
}

void frames_flush(struct frames *frames)
{
	if (!frames_wait(frames)) {
		return;
	}
	ssize_t done = send(frames->fd, frames->out + frames->out_start,
			    frames->out_end - frames->out_start, MSG_NOSIGNAL);

	if (done > 0) {
		frames->out_start += (size_t)done;
	} else if (errno != EAGAIN && errno != EINTR) {
		frames->out_start = frames->out_end;
	}
}

bool frame_number(const struct frame *frame, uint32_t *number)
{
	if (frame->len < sizeof(*number)) {
		return false;
	}
	*number = load_le32(frame->data);
	return true;
}
