/* SPDX-License-Identifier: Apache-2.0 */
/* A network device on a back-end at the end of a stream, which the test plays. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/net/net_frames.h"
#include "tests/fake/alloc_guard.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/net_rig.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_connect.h"
#include "vmm/base/unix_listen.h"

#define F_STATUS BIT(16)

enum {
	CONFIG_STATUS = 6,
	BODY = 60, /* bytes of a short frame */
};

static char dir[] = "/tmp/squib-stream-XXXXXX";
static char path[] = "/tmp/squib-stream-XXXXXX/s";
static int listener = -1;
static int back = -1; /* the back-end's end */
static unsigned fds;

static void set_up(void)
{
	rig_set_up();
	cr_assert_not_null(mkdtemp(dir));
	memcpy(path, dir, strlen(dir));
	fds = kvm_fake_open_fds();
	cr_assert(unix_listen(path, false, &listener) == UNIX_LISTENS);
}

static void tear_down(void)
{
	net_free(rig.net);
	rig.net = NULL;
	fd_close(&back);
	fd_close(&listener);
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
	unlink(path);
	rmdir(dir);
	rig_tear_down();
}

TestSuite(net_stream, .init = set_up, .fini = tear_down, .timeout = 20);

static void accept_back(void)
{
	fd_close(&back);
	back = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	cr_assert_geq(back, 0, "%s", strerror(errno));
}

static void make(const struct net_config *more)
{
	static char name[] = "eth0";
	struct net_config config = more != NULL ? *more : (struct net_config){0};
	struct error err = {0};
	int connection = -1;

	config.iface_id = name;
	config.has_backend = true;
	config.backend = (struct net_backend){NET_BACKEND_STREAM, path};
	cr_assert_eq(net_new_stream(vdriver_env(&rig.driver), &config, &connection, &rig.net, &err),
		     0, "%s", err.msg);
	rig.metrics = net_metrics(rig.net);
	accept_back();
}

static void start(uint64_t features)
{
	if (rig.net == NULL) {
		make(NULL);
	}
	cr_assert(vdriver_start(&rig.driver, net_virtio(rig.net), features));
	vdriver_run(&rig.driver);
}

/* --- The back-end --- */

static void say(const void *bytes, size_t len)
{
	cr_assert_eq(send(back, bytes, len, MSG_NOSIGNAL), (ssize_t)len, "%s", strerror(errno));
}

static void say_length(uint32_t len)
{
	const uint8_t bytes[] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
				 (uint8_t)len};

	say(bytes, sizeof(bytes));
}

/* A frame as rig_fill makes it, without the header. */
static const uint8_t *frame_of(size_t len, unsigned seed)
{
	static uint8_t frame[FRAME_MAX];

	rig_fill(frame, HEADER_LEN + len, seed);
	return frame + HEADER_LEN;
}

static void say_frame(size_t len, unsigned seed)
{
	say_length((uint32_t)len);
	say(frame_of(len, seed), len);
}

/* Takes bytes of the guest's, for whose rest the device may have to see that there is room. */
static void take(uint8_t *to, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = recv(back, to + done, len - done, 0);

		if (got > 0) {
			done += (size_t)got;
		} else {
			cr_assert_gt(vdriver_run(&rig.driver), 0, "%zu of %zu bytes come", done,
				     len);
		}
	}
}

/* Takes one whole frame of the guest's. */
static void expect_from_guest(size_t len, unsigned seed)
{
	static uint8_t got[FRAME_MAX];
	uint8_t prefix[4];

	take(prefix, sizeof(prefix));
	cr_assert_eq((size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 |
			     prefix[3],
		     len);
	take(got, len);
	cr_assert_arr_eq(got, frame_of(len, seed), len);
}

static bool has_nothing(void)
{
	uint8_t byte;

	return recv(back, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

/* --- The guest --- */

static void expect_in_guest(unsigned chain, uint32_t segment, size_t len, unsigned seed)
{
	static const uint8_t header[HEADER_LEN] = {[10] = 1};
	static uint8_t got[FRAME_MAX];
	struct vring_used used;

	cr_assert(vdriver_used(&rig.driver, RX, &used));
	cr_assert_eq(used.id, chain);
	cr_assert_eq(used.len, HEADER_LEN + len);
	rig_gather(chain, 1, segment, got, HEADER_LEN + len);
	cr_expect_arr_eq(got, header, HEADER_LEN);
	cr_expect_arr_eq(got + HEADER_LEN, frame_of(len, seed), len);
}

static void go(unsigned queue)
{
	vdriver_kick(&rig.driver, queue);
	vdriver_run(&rig.driver);
}

static unsigned link_status(void)
{
	uint8_t bytes[2];

	vdriver_read_config(&rig.driver, CONFIG_STATUS, bytes, sizeof(bytes));
	return load_le16(bytes);
}

static bool link_is_up(void *arg)
{
	(void)arg;
	return link_status() == 1;
}

/* --- Frames --- */

Test(net_stream, finished_frames_alone_are_offered_and_a_link)
{
	static char mac[] = "06:00:00:00:00:01";
	const struct net_config config = {.guest_mac = mac, .mtu = 9000};

	make(&config);
	vdriver_plug(&rig.driver, net_virtio(rig.net));
	cr_expect_eq(vdriver_offered(&rig.driver) & ~(F_VERSION_1 | F_EVENT_IDX | F_INDIRECT_DESC),
		     F_MRG_RXBUF | F_STATUS | F_MAC | F_MTU);
	cr_expect_eq(link_status(), 1);
}

Test(net_stream, frames_go_both_ways)
{
	start(F_MRG_RXBUF);
	unsigned first = rig_post(2048, 1);
	unsigned second = rig_post(2048, 1);

	go(RX);
	say_frame(BODY, 1);
	say_frame(1514, 2);
	alloc_guard_begin();
	vdriver_run(&rig.driver);
	cr_expect_eq(alloc_guard_end(), 0);
	expect_in_guest(first, 2048, BODY, 1);
	expect_in_guest(second, 2048, 1514, 2);

	rig_offer(HEADER_LEN + BODY, BODY, 3);
	rig_offer(HEADER_LEN + 1514, 100, 4);
	rig_offer(FRAME_MAX, 4096, 5);
	alloc_guard_begin();
	go(TX);
	cr_expect_eq(alloc_guard_end(), 0);
	expect_from_guest(BODY, 3);
	expect_from_guest(1514, 4);
	expect_from_guest(FRAME_MAX - HEADER_LEN, 5);
	cr_expect_eq(metric_get(&rig.metrics->rx_packets_count), 2);
	cr_expect_eq(metric_get(&rig.metrics->rx_bytes_count), 2 * HEADER_LEN + BODY + 1514);
	cr_expect_eq(metric_get(&rig.metrics->tx_packets_count), 3);
	cr_expect_eq(metric_get(&rig.metrics->tap_write_fails), 0);
}

/* As many buffers as it needs, and no more. */
Test(net_stream, a_long_frame_is_spread_over_merged_buffers)
{
	static uint8_t got[FRAME_MAX];
	unsigned chains[4];
	struct vring_used used;

	start(F_MRG_RXBUF);
	for (unsigned i = 0; i < 4; i++) {
		chains[i] = rig_post(1000, 1);
	}
	go(RX);
	say_frame(2500, 7);
	vdriver_run(&rig.driver);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(vdriver_used(&rig.driver, RX, &used));
		cr_assert_eq(used.id, chains[i]);
		cr_assert_eq(used.len, i < 2 ? 1000 : HEADER_LEN + 500);
		vdriver_get(&rig.driver, RX, chains[i], 0, got + i * 1000, used.len);
	}
	cr_expect_eq(load_le16(got + 10), 3);
	cr_expect_arr_eq(got + HEADER_LEN, frame_of(2500, 7), 2500);
	/* The last one is for the next. */
	say_frame(BODY, 8);
	vdriver_run(&rig.driver);
	expect_in_guest(chains[3], 1000, BODY, 8);
}

Test(net_stream, a_frame_waits_for_buffers_without_a_loss)
{
	start(F_MRG_RXBUF);
	unsigned small = rig_post(100, 1);
	struct vring_used used;

	go(RX);
	say_frame(1514, 1);
	say_frame(BODY, 2);
	vdriver_run(&rig.driver);
	cr_assert_not(vdriver_used(&rig.driver, RX, &used));
	rig_post(2048, 1);
	unsigned last = rig_post(2048, 1);

	go(RX);
	cr_assert(vdriver_used(&rig.driver, RX, &used));
	cr_expect_eq(used.id, small);
	cr_assert(vdriver_used(&rig.driver, RX, &used));
	expect_in_guest(last, 2048, BODY, 2);
}

Test(net_stream, without_merging_what_does_not_fit_is_dropped)
{
	start(0);
	unsigned chain = rig_post(1000, 1);

	go(RX);
	say_frame(1514, 1);
	say_frame(BODY, 2);
	vdriver_run(&rig.driver);
	expect_in_guest(chain, 1000, BODY, 2);
	cr_expect_eq(metric_get(&rig.metrics->rx_fails), 1);
}

Test(net_stream, a_frame_that_dribbles_comes_whole_and_in_order)
{
	start(F_MRG_RXBUF);
	unsigned first = rig_post(2048, 1);
	unsigned second = rig_post(2048, 1);
	const uint8_t *body = frame_of(200, 1);
	uint8_t bytes[204] = {0, 0, 0, 200};

	memcpy(bytes + 4, body, 200);
	go(RX);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		say(bytes + i, 1);
		vdriver_run(&rig.driver);
	}
	say_frame(BODY, 2);
	vdriver_run(&rig.driver);
	expect_in_guest(first, 2048, 200, 1);
	expect_in_guest(second, 2048, BODY, 2);
}

/* The socket's buffer fills up, then ours; then frames stay in the guest's queue. */
Test(net_stream, a_back_end_that_reads_nothing_holds_the_guest_back_and_loses_nothing)
{
	enum {
		FRAMES = 200,
		LEN = 9000
	};
	struct vring_used used;
	unsigned answered = 0;

	start(F_MRG_RXBUF);
	for (unsigned i = 0; i < FRAMES; i++) {
		rig_offer(HEADER_LEN + LEN, HEADER_LEN + LEN, i);
	}
	go(TX);
	while (vdriver_used(&rig.driver, TX, &used)) {
		answered++;
	}
	cr_assert_lt(answered, FRAMES);
	for (unsigned i = 0; i < FRAMES; i++) {
		expect_from_guest(LEN, i);
	}
	while (vdriver_used(&rig.driver, TX, &used)) {
		answered++;
	}
	cr_expect_eq(answered, FRAMES);
	cr_expect_eq(metric_get(&rig.metrics->tap_write_fails), 0);
}

/* More than the socket takes, and less than it takes with our buffer: nothing waits in the queue.
 */
Test(net_stream, the_rest_of_the_last_frame_goes_once_there_is_room)
{
	enum {
		FRAMES = 4,
		LEN = FRAME_MAX - HEADER_LEN
	};
	struct vring_used used;

	start(F_MRG_RXBUF);
	for (unsigned i = 0; i < FRAMES; i++) {
		rig_offer(FRAME_MAX, FRAME_MAX, i);
	}
	go(TX);
	for (unsigned i = 0; i < FRAMES; i++) {
		cr_assert(vdriver_used(&rig.driver, TX, &used));
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		expect_from_guest(LEN, i);
	}
}

Test(net_stream, limits_hold_both_directions)
{
	const struct net_config config = {
		.rx_rate_limiter = {.ops = {.size = 1, .refill_time_ms = 3600000}, .has_ops = true},
		.has_rx_rate_limiter = true,
		.tx_rate_limiter = {.ops = {.size = 1, .refill_time_ms = 3600000}, .has_ops = true},
		.has_tx_rate_limiter = true,
	};
	struct vring_used used;
	struct error err = {0};

	make(&config);
	start(F_MRG_RXBUF);
	unsigned first = rig_post(2048, 1);
	unsigned second = rig_post(2048, 1);

	go(RX);
	say_frame(BODY, 1);
	say_frame(BODY, 2);
	vdriver_run(&rig.driver);
	expect_in_guest(first, 2048, BODY, 1);
	cr_expect_not(vdriver_used(&rig.driver, RX, &used));
	rig_offer(HEADER_LEN + BODY, 4096, 3);
	rig_offer(HEADER_LEN + BODY, 4096, 4);
	go(TX);
	expect_from_guest(BODY, 3);
	cr_expect(has_nothing());
	cr_assert_eq(net_set_limits(rig.net, &(struct limiter_config){.has_ops = true},
				    &(struct limiter_config){.has_ops = true}, &err),
		     0);
	vdriver_run(&rig.driver);
	expect_in_guest(second, 2048, BODY, 2);
	expect_from_guest(BODY, 4);
}

Test(net_stream, a_pause_loses_no_frame)
{
	start(F_MRG_RXBUF);
	unsigned first = rig_post(1000, 1);
	struct vring_used used;

	go(RX);
	say_frame(1514, 1); /* half of it is in the first buffer */
	vdriver_run(&rig.driver);
	rig_offer(HEADER_LEN + BODY, 4096, 3);
	vdriver_pause(&rig.driver);
	vdriver_resume(&rig.driver);
	vdriver_run(&rig.driver);
	rig_post(1000, 1);
	go(RX);
	cr_assert(vdriver_used(&rig.driver, RX, &used));
	cr_expect_eq(used.id, first);
	cr_expect_eq(used.len, 1000);
	cr_assert(vdriver_used(&rig.driver, RX, &used));
	cr_expect_eq(used.len, HEADER_LEN + 514);
	expect_from_guest(BODY, 3);
}

/* The link is the host's: another than at the save is told to the driver. */
Test(net_stream, a_machine_that_is_loaded_has_the_link_that_there_is)
{
	static struct state_bed bed;

	start(F_STATUS | F_MRG_RXBUF);
	fd_close(&back);
	vdriver_run(&rig.driver);
	cr_assert_eq(link_status(), 0);
	state_bed_take(&bed, &rig.driver);
	net_free(rig.net);
	rig.net = NULL;
	make(NULL);
	(void)vdriver_interrupts(&rig.driver);
	state_bed_give(&bed, &rig.driver, net_virtio(rig.net));
	cr_expect_eq(link_status(), 1);
	cr_expect_geq(vdriver_interrupts(&rig.driver), 1);
	rig_offer(HEADER_LEN + BODY, 4096, 1);
	go(TX);
	expect_from_guest(BODY, 1);
}

/* --- Back-ends that misbehave --- */

/* Its link goes down, and up with the next back-end; frames pass again. */
static void expect_loss_and_return(void)
{
	uint64_t lost = metric_get(&rig.metrics->tap_write_fails);
	struct vring_used used;

	vdriver_run(&rig.driver);
	cr_expect_eq(link_status(), 0);
	cr_expect_geq(vdriver_interrupts(&rig.driver), 1);
	while (vdriver_used(&rig.driver, TX, &used)) {
	}
	rig_offer(HEADER_LEN + BODY, 4096, 1);
	go(TX);
	cr_expect(vdriver_used(&rig.driver, TX, &used), "what is sent is lost");
	cr_expect_eq(metric_get(&rig.metrics->tap_write_fails), lost + 1);
	vdriver_wait(&rig.driver, link_is_up, NULL);
	accept_back();
	unsigned chain = rig_post(2048, 1);

	rig_offer(HEADER_LEN + BODY, 4096, 2);
	go(TX);
	go(RX);
	expect_from_guest(BODY, 2);
	say_frame(BODY, 3);
	vdriver_run(&rig.driver);
	expect_in_guest(chain, 2048, BODY, 3);
}

Test(net_stream, one_that_goes_is_the_end_of_a_cable_until_the_next_comes)
{
	start(F_MRG_RXBUF | F_STATUS);
	fd_close(&back);
	expect_loss_and_return();
	/* Between, and behind a part of a frame. */
	say_length(1514);
	say("part", 4);
	fd_close(&back);
	expect_loss_and_return();
}

Test(net_stream, one_that_goes_amid_a_frame_leaves_nothing_of_it_in_the_next)
{
	start(F_MRG_RXBUF | F_STATUS);
	unsigned chain = rig_post(1000, 1);

	go(RX);
	say_frame(1514, 1); /* its first part is in the buffer */
	vdriver_run(&rig.driver);
	fd_close(&back);
	rig_offer(HEADER_LEN + BODY, 4096, 1);
	go(TX); /* which finds that it has gone */
	vdriver_wait(&rig.driver, link_is_up, NULL);
	accept_back();
	say_frame(BODY, 2);
	vdriver_run(&rig.driver);
	expect_in_guest(chain, 1000, BODY, 2);
}

/* As on a cable: what waits for room is lost, and the next back-end gets nothing of it. */
Test(net_stream, one_that_goes_while_it_holds_the_guest_back_takes_all_with_it)
{
	enum {
		FRAMES = 200,
		LEN = 9000
	};
	struct vring_used used;
	unsigned answered = 0;

	start(F_MRG_RXBUF | F_STATUS);
	for (unsigned i = 0; i < FRAMES; i++) {
		rig_offer(HEADER_LEN + LEN, HEADER_LEN + LEN, i);
	}
	go(TX);
	/* The guest's receive queue finds it out. */
	say_length(UINT32_MAX);
	vdriver_run(&rig.driver);
	cr_expect_eq(link_status(), 0);
	while (vdriver_used(&rig.driver, TX, &used)) {
		answered++;
	}
	cr_expect_eq(answered, FRAMES);
	vdriver_wait(&rig.driver, link_is_up, NULL);
	accept_back();
	rig_offer(HEADER_LEN + BODY, 4096, 1);
	go(TX);
	expect_from_guest(BODY, 1);
}

Test(net_stream, a_length_that_no_frame_has_ends_the_connection)
{
	static const uint32_t lengths[] = {NET_FRAMES_MAX + 1, 1u << 31, UINT32_MAX};

	start(F_MRG_RXBUF | F_STATUS);
	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		say_length(lengths[i]);
		expect_loss_and_return();
	}
}

Test(net_stream, short_frames_are_dropped_in_both_directions)
{
	start(F_MRG_RXBUF | F_STATUS);
	unsigned chain = rig_post(2048, 1);

	go(RX);
	say_length(0);
	say_frame(1, 1);
	say_frame(13, 2);
	say_frame(14, 3);
	vdriver_run(&rig.driver);
	expect_in_guest(chain, 2048, 14, 3);
	cr_expect_eq(metric_get(&rig.metrics->rx_fails), 3);
	rig_offer(HEADER_LEN + 13, 4096, 4);
	rig_offer(HEADER_LEN + 14, 4096, 5);
	go(TX);
	expect_from_guest(14, 5);
	cr_expect_eq(metric_get(&rig.metrics->tap_write_fails), 1);
}

/* Of one turn of the loop: a flood of nothing does not keep the others from theirs. */
Test(net_stream, a_flood_is_taken_in_turns)
{
	static uint8_t zeroes[64 * 1024];
	struct error err = {0};

	start(F_MRG_RXBUF | F_STATUS);
	rig_post(2048, 1);
	go(RX);
	say(zeroes, sizeof(zeroes));
	uint64_t all = sizeof(zeroes) / 4;

	cr_assert_eq(evloop_run_once(&rig.driver.loop, 0, &err), 0);
	cr_expect_lt(metric_get(&rig.metrics->rx_fails), all);
	vdriver_run(&rig.driver);
	cr_expect_eq(metric_get(&rig.metrics->rx_fails), all);
	cr_expect_eq(link_status(), 1);
}

Test(net_stream, descriptors_that_come_along_are_not_kept)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint8_t runt[4] = {0};
	struct iovec iov = {runt, sizeof(runt)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	start(F_MRG_RXBUF);
	*cmsg = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(cmsg), &listener, sizeof(listener));
	unsigned before = kvm_fake_open_fds();

	cr_assert_eq(sendmsg(back, &msg, 0), 4);
	vdriver_run(&rig.driver);
	cr_expect_eq(metric_get(&rig.metrics->rx_fails), 1);
	cr_expect_eq(kvm_fake_open_fds(), before);
}

Test(net_stream, a_driver_that_starts_later_finds_what_has_become_of_the_link)
{
	make(NULL);
	vdriver_plug(&rig.driver, net_virtio(rig.net));
	fd_close(&back);
	vdriver_run(&rig.driver);
	start(F_STATUS);
	cr_expect_eq(link_status(), 0);
	vdriver_wait(&rig.driver, link_is_up, NULL);
	accept_back();
	vdriver_stop(&rig.driver);
	start(F_STATUS | F_MRG_RXBUF);
	unsigned chain = rig_post(2048, 1);

	go(RX);
	say_frame(BODY, 1);
	vdriver_run(&rig.driver);
	expect_in_guest(chain, 2048, BODY, 1);
}

Test(net_stream, one_that_is_not_there_is_refused_when_the_device_is_made)
{
	static char name[] = "eth0";
	const struct net_config config = {.iface_id = name, .backend = {NET_BACKEND_STREAM, path}};
	struct error err = {0};
	int connection = -1;

	fd_close(&listener);
	cr_expect_eq(net_new_stream(vdriver_env(&rig.driver), &config, &connection, &rig.net, &err),
		     -1);
	cr_expect_str_eq(err.msg, "Failed to connect to UDS Unix stream: Connection refused (os "
				  "error 111)");
}
