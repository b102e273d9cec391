/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the state of a back-end, and gives it to another one.
 *
 * Theory of operation. The bytes go through a pipe, of which the back-end gets one end. Whoever
 * writes closes its end when all is written; a question at the end, CHECK_DEVICE_STATE, tells
 * whether the back-end has made sense of it. Nothing here waits but poll(2), with what is left of
 * one deadline, so that a back-end that writes for ever, or never, or does not read, costs that
 * time and VIRTIO_REMOTE_MAX bytes at most. It can open the other end of the pipe as well
 * [proc(5)], and take away what it has written after poll has told of it: our end never waits by
 * itself.
 *
 * A back-end may answer with a descriptor of its own to be used in place of ours. No such one is
 * known, and it is refused: descriptors of back-ends are never taken.
 */
#include "devices/virtio/vhost/vhost_state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

enum {
	FAILED = 0xff,	     /* bits of the answers: 0 is success */
	TAKES_OURS = 1 << 8, /* the pipe that was sent is used */
};

/* --- Questions --- */

static int ask(struct vhost_link *link, const struct vhost_msg *msg, int fd, uint64_t deadline_ms,
	       uint64_t *answer, struct error *err)
{
	enum vhost_request request = (enum vhost_request)load_le32(msg->bytes);

	if (vhost_link_ask(link, msg, fd, err) < 0 || vhost_link_wait(link, deadline_ms, err) < 0) {
		return -1;
	}
	if (vhost_reply_u64(&link->reply, request, answer, err) < 0) {
		link->awaited = request;
		return -1;
	}
	return 0;
}

/* Makes a pipe, whose end *ours stays here. */
static int begin(struct vhost_link *link, enum vhost_direction direction, int *ours,
		 uint64_t deadline_ms, struct error *err)
{
	AUTO_FD theirs = -1;
	struct vhost_msg msg;
	uint64_t answer;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		return error_sys(err, "Cannot make a pipe for the state of a back-end");
	}
	*ours = ends[direction == VHOST_SAVE ? 0 : 1];
	theirs = ends[direction == VHOST_SAVE ? 1 : 0];
	if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0) {
		return error_sys(err, "Cannot prepare a pipe for the state of a back-end");
	}
	vhost_msg_state(&msg, direction);
	if (ask(link, &msg, theirs, deadline_ms, &answer, err) < 0) {
		return -1;
	}
	if ((answer & FAILED) != 0) {
		return error_set(err, ERR_HOST, "The back-end refuses to %s its state",
				 direction == VHOST_SAVE ? "save" : "load");
	}
	return (answer & TAKES_OURS) != 0
		       ? 0
		       : error_set(err, ERR_HOST,
				   "The back-end wants its state to go by a descriptor of its own");
}

static int check(struct vhost_link *link, enum vhost_direction direction, uint64_t deadline_ms,
		 struct error *err)
{
	struct vhost_msg msg;
	uint64_t answer;

	vhost_msg_plain(&msg, VHOST_CHECK_DEVICE_STATE);
	if (ask(link, &msg, -1, deadline_ms, &answer, err) < 0) {
		return -1;
	}
	return answer == 0 ? 0
			   : error_set(err, ERR_HOST,
				       "The back-end has failed to %s its state, see its own log",
				       direction == VHOST_SAVE ? "save" : "load");
}

/* --- Bytes --- */

static int wait_for(int fd, short events, uint64_t deadline_ms, struct error *err)
{
	struct pollfd source = {.fd = fd, .events = events};
	int ready;

	do {
		uint64_t now_ms = clock_now_ms();

		ready = now_ms < deadline_ms ? poll(&source, 1, (int)(deadline_ms - now_ms)) : 0;
	} while (ready < 0 && errno == EINTR);
	return ready > 0 ? 0
			 : error_set(err, ERR_HOST, "The back-end has not %s its state in time",
				     events == POLLIN ? "written all of" : "read all of");
}

/* Reads up to the end of the pipe. One more byte than there is room for is too much. */
static int receive(int fd, struct virtio_remote_state *state, uint64_t deadline_ms,
		   struct error *err)
{
	size_t len = 0;

	while (len <= VIRTIO_REMOTE_MAX) {
		if (wait_for(fd, POLLIN, deadline_ms, err) < 0) {
			return -1;
		}
		ssize_t got = read(fd, state->bytes + len, VIRTIO_REMOTE_MAX + 1 - len);

		if (got < 0 && errno == EAGAIN) {
			continue;
		}
		if (got < 0) {
			return error_sys(err, "Cannot read the state of the back-end");
		}
		if (got == 0) {
			state->len = (uint32_t)len;
			return 0;
		}
		len += (size_t)got;
	}
	return error_set(err, ERR_HOST, "The back-end has more than %d bytes of state",
			 VIRTIO_REMOTE_MAX);
}

static int hand_over(int fd, const struct virtio_remote_state *state, uint64_t deadline_ms,
		     struct error *err)
{
	for (size_t done = 0; done < state->len;) {
		if (wait_for(fd, POLLOUT, deadline_ms, err) < 0) {
			return -1;
		}
		ssize_t put = write(fd, state->bytes + done, state->len - done);

		if (put < 0 && errno == EAGAIN) {
			continue;
		}
		if (put < 0) {
			return error_sys(err, "The back-end does not read all of its state");
		}
		done += (size_t)put;
	}
	return 0;
}

/* --- Both ways --- */

int vhost_state_save(struct vhost_link *link, struct virtio_remote_state *state,
		     uint64_t deadline_ms, struct error *err)
{
	struct error ignored = {0};
	AUTO_FD ours = -1;

	state->bytes = malloc(VIRTIO_REMOTE_MAX + 1); /* untouched pages cost nothing */
	if (state->bytes == NULL) {
		return error_sys(err, "Cannot allocate the state of a back-end");
	}
	if (begin(link, VHOST_SAVE, &ours, deadline_ms, err) < 0) {
		return -1;
	}
	int result = receive(ours, state, deadline_ms, err);

	/* One that still writes has to find out that nobody reads. */
	fd_close(&ours);
	int checked = check(link, VHOST_SAVE, deadline_ms, result < 0 ? &ignored : err);

	return result < 0 ? -1 : checked;
}

int vhost_state_load(struct vhost_link *link, const struct virtio_remote_state *state,
		     uint64_t deadline_ms, struct error *err)
{
	AUTO_FD ours = -1;

	if (begin(link, VHOST_LOAD, &ours, deadline_ms, err) < 0 ||
	    hand_over(ours, state, deadline_ms, err) < 0) {
		return -1;
	}
	fd_close(&ours);
	return check(link, VHOST_LOAD, deadline_ms, err);
}
