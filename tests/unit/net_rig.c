/* SPDX-License-Identifier: Apache-2.0 */
/* A network device between a driver in process and a socket that stands for the TAP. */
#include "tests/unit/net_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

struct net_rig rig;
struct net_rig_tap rig_tap;

static uint32_t probe_offloads(int fd)
{
	cr_assert_eq(fd, rig.tap);
	return rig_tap.known;
}

static int set_offloads(int fd, uint32_t offloads, struct error *err)
{
	cr_assert_eq(fd, rig.tap);
	if (rig_tap.is_failing) {
		errno = EINVAL;
		return error_sys(err, "No offloads today");
	}
	rig_tap.in_force = offloads;
	rig_tap.calls++;
	return 0;
}

void rig_set_up(void)
{
	int pair[2];
	int room = 1 << 20;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
		     0);
	rig = (struct net_rig){.tap = pair[0], .host = pair[1]};
	setsockopt(rig.host, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(rig.tap, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	rig_tap = (struct net_rig_tap){.known = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 |
						NET_OFFLOAD_TSO6 | NET_OFFLOAD_UFO};
	vdriver_init(&rig.driver);
}

void rig_tear_down(void)
{
	net_free(rig.net);
	vdriver_destroy(&rig.driver);
	fd_close(&rig.tap);
	fd_close(&rig.host);
}

void rig_make(const struct net_config *config)
{
	static const struct net_tap_ops ops = {
		.probe_offloads = probe_offloads,
		.set_offloads = set_offloads,
	};
	static char name[] = "eth0";
	const struct net_config plain = {.iface_id = name};
	const struct net_tap tap = {.count = 1, .fd = {rig.tap}, .ops = &ops};
	struct error err = {0};

	cr_assert_eq(net_new(vdriver_env(&rig.driver), config != NULL ? config : &plain, &tap,
			     &rig.net, &err),
		     0, "%s", err.msg);
	rig.metrics = net_metrics(rig.net);
}

void rig_start(uint64_t features)
{
	if (rig.net == NULL) {
		rig_make(NULL);
	}
	cr_assert(vdriver_start(&rig.driver, net_virtio(rig.net), features));
	vdriver_run(&rig.driver);
}

void rig_fill(uint8_t *frame, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		frame[i] = i < HEADER_LEN ? 0 : (uint8_t)(i * 31 + (i >> 8) + seed * 7 + 1);
	}
}

bool rig_send(size_t len, unsigned seed)
{
	static uint8_t frame[FRAME_MAX + 100];

	cr_assert_leq(len, sizeof(frame));
	rig_fill(frame, len, seed);
	ssize_t sent = send(rig.host, frame, len, MSG_NOSIGNAL);

	cr_assert(sent == (ssize_t)len || (sent < 0 && errno == EAGAIN), "%s", strerror(errno));
	return sent >= 0;
}

ssize_t rig_receive(uint8_t *frame, size_t cap)
{
	return recv(rig.host, frame, cap, MSG_TRUNC);
}

unsigned rig_post(uint32_t len, unsigned count)
{
	static struct vbuf bufs[VIRTQ_CHAIN_MAX];

	for (unsigned i = 0; i < count; i++) {
		bufs[i] = (struct vbuf){.len = len, .flags = VBUF_WRITABLE};
	}
	return vdriver_add(&rig.driver, RX, bufs, count);
}

unsigned rig_offer(size_t len, uint32_t segment, unsigned seed)
{
	static struct vbuf bufs[VIRTQ_CHAIN_MAX];
	static uint8_t frame[FRAME_MAX + 100];
	size_t count = 0;

	rig_fill(frame, len, seed);
	for (size_t at = 0; at < len; at += bufs[count++].len) {
		cr_assert_lt(count, VIRTQ_CHAIN_MAX);
		bufs[count] = (struct vbuf){.data = frame + at,
					    .len = (uint32_t)min_u64(segment, len - at)};
	}
	return vdriver_add(&rig.driver, TX, bufs, count);
}

void rig_gather(unsigned chain, unsigned segments, uint32_t segment, uint8_t *to, size_t len)
{
	for (unsigned i = 0; i < segments && len > 0; i++) {
		size_t part = min_u64(segment, len);

		vdriver_get(&rig.driver, RX, chain, i, to, part);
		to += part;
		len -= part;
	}
	cr_assert_eq(len, 0, "the chain is shorter than its used length");
}
