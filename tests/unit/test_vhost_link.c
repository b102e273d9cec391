/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vhost_link.c alone, by what a back-end has sent before it is read. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/vhost/vhost_link.h"
#include "vmm/base/bytes.h"

enum {
	FLAG_REPLY = 5, /* version 1, and a reply */
	U64_LEN = VHOST_HEADER_LEN + 8,
};

static struct vhost_link ours = {.fd = -1};
static struct error err;
static int peer;

static void set_up(void)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	ours.fd = ends[0];
	peer = ends[1];
}

static void tear_down(void)
{
	vhost_link_close(&ours);
	close(peer);
}

TestSuite(vhost_link, .init = set_up, .fini = tear_down, .timeout = 20);

/* A reply with 8 bytes of payload: a number, or a ring and its base. */
static void reply(uint8_t bytes[U64_LEN], enum vhost_request request, uint64_t payload)
{
	store_le32(bytes, request);
	store_le32(bytes + 4, FLAG_REPLY);
	store_le32(bytes + 8, 8);
	store_le64(bytes + VHOST_HEADER_LEN, payload);
}

Test(vhost_link, no_byte_is_read_behind_a_reply)
{
	uint8_t bytes[2 * U64_LEN];
	struct vhost_msg msg;

	reply(bytes, VHOST_GET_FEATURES, 0x1234);
	reply(bytes + U64_LEN, VHOST_GET_FEATURES, 0x5678);
	vhost_msg_plain(&msg, VHOST_GET_FEATURES);
	cr_assert_eq(vhost_link_ask(&ours, &msg, -1, &err), 0, "%s", err.msg);
	cr_assert_eq(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	cr_assert_eq(vhost_link_read(&ours, &err), 1, "%s", err.msg);
	cr_expect_eq(ours.reply.len, U64_LEN);
	cr_expect_eq(load_le64(ours.reply.bytes + VHOST_HEADER_LEN), 0x1234);
	cr_expect_eq(vhost_link_read(&ours, &err), -1);
	cr_expect_str_eq(err.msg, "The back-end sends a message that nobody has asked for");
}

Test(vhost_link, a_ring_is_stopped_by_its_own_answer)
{
	uint8_t bytes[U64_LEN];
	uint16_t base;

	reply(bytes, VHOST_GET_VRING_BASE, 3 | UINT64_C(7) << 32);
	cr_assert_eq(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	cr_expect_eq(vhost_link_stop(&ours, 3, vhost_deadline_ms(), &base, &err), 0, "%s", err.msg);
	cr_expect_eq(base, 7);
	cr_expect_eq(ours.awaited, VHOST_NONE);
	/* The next one is that of ring 3 again, where ring 2 is stopped. */
	cr_assert_eq(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	cr_expect_eq(vhost_link_stop(&ours, 2, vhost_deadline_ms(), &base, &err), -1);
}
