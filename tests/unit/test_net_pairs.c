/* SPDX-License-Identifier: Apache-2.0 */
/* A network device with several queue pairs: its control queue, and who reads what. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net_rig.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

#define F_CTRL_VQ BIT(17)
#define F_MQ BIT(22)
#define F_PAIRS (F_CTRL_VQ | F_MQ)

enum {
	PAIRS = 4,
	CONTROL = 2 * PAIRS,
	BUFFER = 1536,
	CONFIG_PAIRS = 8,
	UNANSWERED = 0xee, /* as vdriver fills what the device writes */
};

static struct vdriver *const driver = &rig.driver;
static int hosts[PAIRS];
static struct net_tap tap;
static struct state_bed bed;

static uint32_t known_offloads; /* of the TAP */

static uint32_t probe(int fd)
{
	(void)fd;
	return known_offloads;
}

static int set_none(int fd, uint32_t offloads, struct error *err)
{
	(void)fd;
	(void)offloads;
	(void)err;
	return 0;
}

static const struct net_tap_ops ops = {probe, set_none};

static void set_up(void)
{
	int pair[2];

	rig_set_up();
	tap = (struct net_tap){.count = PAIRS, .ops = &ops};
	for (unsigned i = 0; i < PAIRS; i++) {
		cr_assert_eq(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			0);
		tap.fd[i] = pair[0];
		hosts[i] = pair[1];
	}
}

static void tear_down(void)
{
	rig_tear_down();
	for (unsigned i = 0; i < PAIRS; i++) {
		fd_close(&tap.fd[i]);
		fd_close(&hosts[i]);
	}
}

TestSuite(net_pairs, .init = set_up, .fini = tear_down);

static void make(const struct net_config *config)
{
	static char name[] = "eth0";
	const struct net_config plain = {.iface_id = name};
	struct error err = {0};

	net_free(rig.net);
	cr_assert_eq(net_new(vdriver_env(driver), config != NULL ? config : &plain, &tap, &rig.net,
			     &err),
		     0, "%s", err.msg);
	rig.metrics = net_metrics(rig.net);
}

static void start(uint64_t features)
{
	make(NULL);
	cr_assert(vdriver_start(driver, net_virtio(rig.net), features));
	vdriver_run(driver);
}

/* The answer to a command of `len` bytes at the queue `queue`. */
static uint8_t command(unsigned queue, const void *bytes, uint32_t len)
{
	const struct vbuf bufs[] = {{.data = bytes, .len = len},
				    {.len = 1, .flags = VBUF_WRITABLE}};
	unsigned chain = vdriver_add(driver, queue, bufs, 2);
	struct vring_used used;
	uint8_t answer;

	vdriver_kick(driver, queue);
	vdriver_run(driver);
	if (!vdriver_used(driver, queue, &used)) {
		return UNANSWERED;
	}
	cr_expect_eq(used.len, 1);
	vdriver_get(driver, queue, chain, 1, &answer, 1);
	return answer;
}

static uint8_t use_pairs(unsigned count)
{
	const uint8_t bytes[] = {4, 0, (uint8_t)count, (uint8_t)(count >> 8)};

	return command(CONTROL, bytes, sizeof(bytes));
}

static void post(unsigned pair, unsigned count)
{
	const struct vbuf buf = {.len = BUFFER, .flags = VBUF_WRITABLE};

	for (unsigned i = 0; i < count; i++) {
		vdriver_add(driver, 2 * pair, &buf, 1);
	}
	vdriver_kick(driver, 2 * pair);
	vdriver_run(driver);
}

static void send_to(unsigned port, unsigned seed)
{
	uint8_t frame[100];

	rig_fill(frame, sizeof(frame), seed);
	cr_assert_eq(send(hosts[port], frame, sizeof(frame), MSG_NOSIGNAL), 100);
	vdriver_run(driver);
}

/* Takes a frame of send_to at a pair's queue; false: there is none. */
static bool take(unsigned pair, unsigned seed)
{
	uint8_t got[100];
	uint8_t expected[100];
	struct vring_used used;

	if (!vdriver_used(driver, 2 * pair, &used)) {
		return false;
	}
	cr_assert_eq(used.len, sizeof(got));
	vdriver_get(driver, 2 * pair, used.id, 0, got, sizeof(got));
	rig_fill(expected, sizeof(expected), seed);
	store_le16(expected + 10, 1);
	cr_expect_arr_eq(got, expected, sizeof(got));
	return true;
}

static void offer(unsigned pair, unsigned seed)
{
	static uint8_t frame[100];
	const struct vbuf buf = {.data = frame, .len = sizeof(frame)};

	rig_fill(frame, sizeof(frame), seed);
	vdriver_add(driver, 2 * pair + 1, &buf, 1);
	vdriver_kick(driver, 2 * pair + 1);
	vdriver_run(driver);
}

static bool is_sent(unsigned port, unsigned seed)
{
	uint8_t got[200];
	uint8_t expected[100];

	if (recv(hosts[port], got, sizeof(got), 0) != sizeof(expected)) {
		return false;
	}
	rig_fill(expected, sizeof(expected), seed);
	cr_expect_arr_eq(got, expected, sizeof(expected));
	return true;
}

Test(net_pairs, the_guest_is_told_of_them_and_of_none_where_there_is_one)
{
	uint8_t config[12];

	make(NULL);
	vdriver_plug(driver, net_virtio(rig.net));
	cr_expect_eq(net_virtio(rig.net)->queue_count, 2 * PAIRS + 1);
	cr_expect_eq(net_virtio(rig.net)->offered & F_PAIRS, F_PAIRS);
	vdriver_read_config(driver, 0, config, sizeof(config));
	cr_expect_eq(load_le16(config + CONFIG_PAIRS), PAIRS);
	tap.count = 1;
	make(NULL);
	vdriver_plug(driver, net_virtio(rig.net));
	cr_expect_eq(net_virtio(rig.net)->queue_count, 2);
	cr_expect_eq(net_virtio(rig.net)->offered & F_PAIRS, 0);
	vdriver_read_config(driver, 0, config, sizeof(config));
	cr_expect_eq(load_le16(config + CONFIG_PAIRS), 0);
	tap.count = PAIRS;
}

Test(net_pairs, each_pair_in_use_has_its_queue_of_the_tap)
{
	start(F_PAIRS);
	cr_assert_eq(use_pairs(PAIRS), 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		post(i, 4);
	}
	for (unsigned i = 0; i < PAIRS; i++) {
		send_to(i, i);
		offer(i, 10 + i);
	}
	for (unsigned i = 0; i < PAIRS; i++) {
		cr_expect(take(i, i), "pair %u", i);
		cr_expect_not(take(i, i), "pair %u", i);
		cr_expect(is_sent(i, 10 + i), "pair %u", i);
		cr_expect_not(is_sent(i, 10 + i), "pair %u", i);
	}
	cr_expect_eq(metric_get(&rig.metrics->rx_count), PAIRS);
	cr_expect_eq(metric_get(&rig.metrics->tx_count), PAIRS);
}

Test(net_pairs, frames_of_pairs_that_are_not_in_use_come_to_those_that_are)
{
	static const struct {
		unsigned in_use;
		unsigned reader[PAIRS]; /* of each queue of the TAP */
	} cases[] = {
		{1, {0, 0, 0, 0}}, {2, {0, 1, 0, 1}}, {3, {0, 1, 2, 0}},
		{4, {0, 1, 2, 3}}, {1, {0, 0, 0, 0}},
	};

	start(F_PAIRS);
	for (unsigned i = 0; i < PAIRS; i++) {
		post(i, 30);
	}
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		if (i > 0) {
			cr_assert_eq(use_pairs(cases[i].in_use), 0);
		}
		for (unsigned port = 0; port < PAIRS; port++) {
			for (unsigned pair = 0; pair < PAIRS; pair++) {
				cr_expect_not(take(pair, 0));
			}
			send_to(port, port);
			cr_expect(take(cases[i].reader[port], port), "case %zu, port %u", i, port);
			/* No edge of an end tells it from this one. */
			send_to(port, port + 50);
			cr_expect(take(cases[i].reader[port], port + 50), "case %zu", i);
		}
	}
}

Test(net_pairs, what_waits_for_a_pair_goes_to_another_one_when_that_is_no_more_in_use)
{
	start(F_PAIRS);
	cr_assert_eq(use_pairs(2), 0);
	post(0, 4);
	send_to(1, 3); /* the second pair has no buffer */
	cr_expect_not(take(0, 3));
	cr_assert_eq(use_pairs(1), 0);
	cr_expect(take(0, 3));
}

Test(net_pairs, all_that_waits_at_several_queues_of_the_tap_is_read)
{
	start(F_PAIRS);
	for (unsigned i = 0; i < 40; i++) {
		send_to(i % PAIRS, 7);
	}
	post(0, 60);
	for (unsigned i = 0; i < 40; i++) {
		cr_assert(take(0, 7), "frame %u", i);
	}
}

Test(net_pairs, a_pair_that_is_not_in_use_sends_nothing_until_it_is)
{
	start(F_PAIRS);
	offer(2, 1);
	cr_expect_not(is_sent(2, 1));
	cr_assert_eq(use_pairs(3), 0);
	cr_expect(is_sent(2, 1));
	cr_assert_eq(use_pairs(2), 0);
	offer(2, 2);
	cr_expect_not(is_sent(2, 2));
	/* The next driver begins with one. */
	vdriver_stop(driver);
	cr_assert(vdriver_start(driver, net_virtio(rig.net), F_PAIRS));
	vdriver_run(driver);
	offer(1, 3);
	cr_expect_not(is_sent(1, 3));
	offer(0, 4);
	cr_expect(is_sent(0, 4));
}

Test(net_pairs, a_frame_that_waits_for_room_is_sent_once_its_pair_is_in_use_again)
{
	unsigned sent = 0;
	uint8_t got[200];
	int room = 1; /* the kernel's least */

	cr_assert_eq(setsockopt(tap.fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	start(F_PAIRS);
	cr_assert_eq(use_pairs(2), 0);
	while (metric_get(&rig.metrics->tx_count) == sent) {
		sent++;
		offer(1, 1); /* until the socket is full */
	}
	cr_assert_eq(use_pairs(1), 0);
	while (recv(hosts[1], got, sizeof(got), 0) > 0) {
	}
	vdriver_run(driver);
	cr_expect_eq(recv(hosts[1], got, sizeof(got), 0), -1, "the pair is not in use");
	cr_assert_eq(use_pairs(2), 0);
	cr_expect_eq(recv(hosts[1], got, sizeof(got), 0), 100);
}

Test(net_pairs, commands_that_nobody_may_send_are_refused_and_change_nothing)
{
	static const struct {
		uint8_t bytes[8];
		uint32_t len;
	} cases[] = {
		{{4, 0, 0, 0}, 4},	   /* no pair */
		{{4, 0, PAIRS + 1, 0}, 4}, /* more than there are */
		{{4, 0, PAIRS, 1}, 4},	   /* both bytes count */
		{{4, 0, 0, 0x80}, 4},	   /* the most that any device has */
		{{4, 1, 2, 0}, 4},	   /* receive steering, which is not offered */
		{{4, 2, 2, 0}, 4},
		{{0, 0, 1, 0}, 4},	       /* promiscuous mode */
		{{1, 1, 6, 0, 0, 0, 0, 1}, 8}, /* the MAC address */
		{{3, 0}, 2},		       /* an announcement is acknowledged */
		{{5, 0}, 2},
		{{255, 255, 255, 255}, 4},
		{{4, 0, 2}, 3},
		{{4, 0}, 2},
		{{4}, 1},
		{{4, 0, 2, 0, 0}, 5},
	};

	start(F_PAIRS);
	cr_assert_eq(use_pairs(2), 0);
	post(1, 30);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect_eq(command(CONTROL, cases[i].bytes, cases[i].len), 1, "case %zu", i);
		send_to(1, 9);
		cr_expect(take(1, 9), "case %zu", i);
	}
	cr_expect_eq(metric_get(&rig.metrics->cfg_fails), ARRAY_COUNT(cases));
	cr_assert_eq(use_pairs(2), 0);
}

Test(net_pairs, a_command_without_room_for_its_answer_is_not_carried_out)
{
	static const uint8_t bytes[] = {4, 0, 2, 0};
	const struct vbuf bufs[] = {{.data = bytes, .len = 2}, {.data = bytes + 2, .len = 2}};
	const struct vbuf answer_alone = {.len = 1, .flags = VBUF_WRITABLE};
	struct vring_used used;

	start(F_PAIRS);
	vdriver_add(driver, CONTROL, bufs, 2);
	vdriver_add(driver, CONTROL, &answer_alone, 1);
	vdriver_kick(driver, CONTROL);
	vdriver_run(driver);
	cr_assert(vdriver_used(driver, CONTROL, &used));
	cr_expect_eq(used.len, 0);
	cr_assert(vdriver_used(driver, CONTROL, &used));
	cr_expect_eq(used.len, 1);
	post(0, 4);
	send_to(1, 5);
	cr_expect(take(0, 5), "one pair is in use");
	cr_expect_eq(metric_get(&rig.metrics->cfg_fails), 2);
}

Test(net_pairs, the_control_queue_is_where_the_drivers_features_put_it)
{
	static const uint8_t bytes[] = {4, 0, 2, 0};

	/* Without VIRTIO_NET_F_MQ it is behind the first pair, and knows no command. */
	start(F_CTRL_VQ);
	cr_expect_eq(command(2, bytes, sizeof(bytes)), 1);
	cr_expect_eq(command(CONTROL, bytes, sizeof(bytes)), UNANSWERED);
	/* Without VIRTIO_NET_F_CTRL_VQ there is none. */
	start(F_MQ);
	cr_expect_eq(command(CONTROL, bytes, sizeof(bytes)), UNANSWERED);
	start(0);
	cr_expect_eq(command(CONTROL, bytes, sizeof(bytes)), UNANSWERED);
	cr_expect_eq(command(2, bytes, sizeof(bytes)), UNANSWERED);
	post(0, 4);
	send_to(3, 1);
	cr_expect(take(0, 1), "a driver that knows of one pair gets the frames of all");
}

static uint64_t now_ns;

static uint64_t still(clockid_t id)
{
	(void)id;
	return now_ns;
}

Test(net_pairs, all_share_one_limit_in_each_direction)
{
	static char name[] = "eth0";
	const struct limiter_config limit = {.ops = {.size = 2, .refill_time_ms = 3600000},
					     .has_ops = true};
	const struct net_config config = {
		.iface_id = name,
		.rx_rate_limiter = limit,
		.has_rx_rate_limiter = true,
		.tx_rate_limiter = limit,
		.has_tx_rate_limiter = true,
	};
	const struct limiter_config none = {.has_ops = true};
	struct error err = {0};
	unsigned sent = 0;
	unsigned taken = 0;

	now_ns = 1000000;
	driver->clock.now_ns = still;
	make(&config);
	cr_assert(vdriver_start(driver, net_virtio(rig.net), F_PAIRS));
	vdriver_run(driver);
	cr_assert_eq(use_pairs(PAIRS), 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		post(i, 4);
		send_to(i, i);
		offer(i, i);
	}
	for (unsigned i = 0; i < PAIRS; i++) {
		taken += take(i, i);
		sent += is_sent(i, i);
	}
	cr_expect_eq(taken, 2);
	cr_expect_eq(sent, 2);
	cr_assert_eq(net_set_limits(rig.net, &none, &none, &err), 0);
	vdriver_run(driver);
	for (unsigned i = 0; i < PAIRS; i++) {
		taken += take(i, i);
		sent += is_sent(i, i);
	}
	cr_expect_eq(taken, PAIRS);
	cr_expect_eq(sent, PAIRS);
}

Test(net_pairs, a_frame_that_waits_for_the_limit_comes_before_its_pair_goes_out_of_use)
{
	static char name[] = "eth0";
	const struct net_config config = {
		.iface_id = name,
		.rx_rate_limiter = {.ops = {.size = 1, .refill_time_ms = 3600000}, .has_ops = true},
		.has_rx_rate_limiter = true,
	};

	now_ns = 1000000;
	driver->clock.now_ns = still;
	make(&config);
	cr_assert(vdriver_start(driver, net_virtio(rig.net), F_PAIRS));
	vdriver_run(driver);
	cr_assert_eq(use_pairs(2), 0);
	post(0, 4);
	post(1, 4);
	send_to(0, 0);
	send_to(1, 1); /* is read, and waits */
	cr_assert(take(0, 0));
	cr_assert_not(take(1, 1));
	cr_assert_eq(use_pairs(1), 0);
	cr_expect(take(1, 1));
	/* It is paid for before the next one. */
	send_to(1, 2);
	cr_expect_not(take(0, 2));
}

/* --- Saved and loaded --- */

static void give_back(void)
{
	state_bed_take(&bed, driver);
	make(NULL);
	state_bed_give(&bed, driver, net_virtio(rig.net));
	vdriver_run(driver);
}

Test(net_pairs, as_many_are_in_use_after_a_load)
{
	start(F_PAIRS);
	cr_assert_eq(use_pairs(3), 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		post(i, 10);
	}
	for (unsigned round = 0; round < 3; round++) {
		give_back();
		for (unsigned i = 0; i < PAIRS; i++) {
			send_to(i, i);
			cr_expect(take(i % 3, i), "round %u, port %u", round, i);
		}
		offer(2, round);
		cr_expect(is_sent(2, round));
		offer(3, round);
		cr_expect_not(is_sent(3, round));
	}
	cr_assert_eq(use_pairs(4), 0);
	cr_expect(is_sent(3, 0));
}

Test(net_pairs, a_state_that_no_driver_leads_to_is_refused)
{
	enum {
		IN_USE = 204 /* bytes: pairs_in_use is behind limits, debts and address */
	};
	static const struct {
		uint64_t features;
		uint32_t in_use;
	} cases[] = {
		{F_PAIRS, 0}, {F_PAIRS, PAIRS + 1}, {F_PAIRS, UINT32_MAX}, {F_CTRL_VQ, 2},
		{F_MQ, 2},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		start(cases[i].features);
		state_bed_take(&bed, driver);
		memcpy((uint8_t *)bed.state.own + IN_USE, &cases[i].in_use,
		       sizeof(cases[i].in_use));
		make(NULL);
		cr_assert(state_bed_load(&bed, driver, net_virtio(rig.net), &err) < 0, "case %zu",
			  i);
		cr_expect(strstr(err.msg, "no driver can use") != NULL, "case %zu: %s", i, err.msg);
	}
}

Test(net_pairs, a_tap_with_fewer_queues_can_not_take_the_place_of_one)
{
	struct error err = {0};

	start(F_PAIRS);
	state_bed_take(&bed, driver);
	tap.count = 2;
	make(NULL);
	tap.count = PAIRS;
	cr_assert(state_bed_load(&bed, driver, net_virtio(rig.net), &err) < 0);
	cr_expect_str_eq(err.msg, "The net device eth0 can't be loaded: it has 9 queues and not 5");
}

static void *stop_driver(void *arg)
{
	vdriver_stop(arg);
	return NULL;
}

/* The reset is under way, and the lock free: it was given up. */
static bool is_free_amid_reset(struct virtio_dev *dev)
{
	if (pthread_mutex_trylock(&dev->lock) != 0) {
		return false;
	}
	bool is_amid = !dev->is_active;

	pthread_mutex_unlock(&dev->lock);
	return is_amid;
}

Test(net_pairs, a_reset_that_throws_frames_away_holds_nobody_up)
{
	pthread_t thread;
	unsigned turns = 0;

	known_offloads = NET_OFFLOAD_CSUM;
	start(F_PAIRS | F_GUEST_CSUM);
	/* So that the reset takes for as long as we like: it waits for a frame to throw away. */
	cr_assert_eq(fcntl(tap.fd[0], F_SETFL, 0), 0);
	cr_assert_eq(pthread_create(&thread, NULL, stop_driver, driver), 0);
	while (!is_free_amid_reset(net_virtio(rig.net)) && turns++ < 2000) {
		usleep(1000);
	}
	cr_expect_lt(turns, 2000, "the lock is held");
	fd_close(&hosts[0]);
	pthread_join(thread, NULL);
}
