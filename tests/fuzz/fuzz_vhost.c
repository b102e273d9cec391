/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what a vhost-user back-end says. The input is what it sends, all of it at once: the
 * answers of a handshake, then one to a question for the configuration. Whatever it is, the link
 * ends after as many answers as were asked for, and never waits.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/vhost/vhost_link.h"

enum {
	ANSWERS_MAX = VHOST_STEP_READY, /* of a handshake */
	INPUT_MAX = 4096,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
	if (!is_true) {
		abort();
	}
}

static void ask_config(struct vhost_link *link, const struct vhost_wants *wants)
{
	struct error err = {0};
	struct vhost_msg msg;

	vhost_msg_config(&msg, wants->config_len);
	if (vhost_link_ask(link, &msg, -1, &err) == 0 && vhost_link_read(link, &err) > 0) {
		(void)!vhost_link_take_config(link, wants, &err);
	}
	/* A stop of a ring, whose answer is in the rest or not there. */
	error_clear(&err);
	if (link->awaited == VHOST_NONE) {
		uint16_t base;

		(void)!vhost_link_stop(link, 0, vhost_deadline_ms(), &base, &err);
	}
}

static void greet(struct vhost_link *link, const struct vhost_wants *wants)
{
	struct error err = {0};
	unsigned answers = 0;

	if (vhost_link_greet(link, wants, &err) < 0) {
		return;
	}
	while (link->step != VHOST_STEP_READY) {
		if (vhost_link_read(link, &err) <= 0 || vhost_link_advance(link, wants, &err) < 0) {
			return;
		}
		require(++answers <= ANSWERS_MAX);
	}
	require(link->awaited == VHOST_NONE);
	require(link->inflight.len <= 1 << 20);
	ask_config(link, wants);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhost_wants wants = {.queues = 2, .least_queues = 2};
	struct vhost_link link = {.fd = -1};
	int ends[2];

	if (size < 1 || size > INPUT_MAX) {
		return 0;
	}
	wants.config_len = data[0] % (VHOST_CONFIG_MAX + 1);
	wants.queues_at = wants.config_len > 34 ? 34 : 0;
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	require(write(ends[1], data + 1, size - 1) == (ssize_t)size - 1);
	shutdown(ends[1], SHUT_WR);
	link.fd = ends[0];
	greet(&link, &wants);
	vhost_link_close(&link);
	close(ends[1]);
	return 0;
}
