/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAPs by name and by inherited descriptor, in a network namespace of the test's own, so that
 * nothing of the host's is touched. Without the right to make one these tests are skipped.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/net/net_tap.h"
#include "vmm/base/bytes.h"

#define FAILED "Could not create the network device: Open tap device failed: "
#define IFREQ FAILED "Error while creating ifreq structure: "
#define BACKEND ". Invalid TUN/TAP Backend provided by "
#define DOCS "Check our documentation on setting up the network devices."

TestSuite(net_tap);

static void need_taps(void)
{
	int fd = -1;

	if (unshare(CLONE_NEWNET) == 0) {
		fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	}
	if (fd < 0) {
		cr_skip_test("no TAP can be made here: %s", strerror(errno));
	}
	close(fd);
}

static void expect_failure(const char *name, const char *message)
{
	struct error err = {0};
	struct net_tap tap = {0};

	cr_assert_eq(net_tap_open(name, 1, &tap, &err), -1, "%s", name);
	cr_assert_str_eq(err.msg, message);
	cr_assert_eq(tap.count, 0);
}

static int open_tap(const char *name)
{
	struct error err = {0};
	struct net_tap tap = {0};

	cr_assert_eq(net_tap_open(name, 1, &tap, &err), 0, "%s", err.msg);
	cr_assert_eq(tap.count, 1);
	return tap.fd[0];
}

/* As another program would open it. */
static int open_raw(const char *name, int flags)
{
	struct ifreq ifr = {.ifr_flags = (short)flags};
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	cr_assert(fd >= 0);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &ifr), 0, "%s", strerror(errno));
	return fd;
}

static void expect_ready(int fd)
{
	struct ifreq ifr = {0};
	int header = 0;

	cr_assert_eq(ioctl(fd, TUNGETIFF, &ifr), 0);
	cr_assert_eq(ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE),
		     IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	cr_assert_eq(ioctl(fd, TUNGETVNETHDRSZ, &header), 0);
	cr_assert_eq(header, 12);
	cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

Test(net_tap, a_tap_is_made_and_opened_by_name)
{
	need_taps();
	int fd = open_tap("squib0");

	expect_ready(fd);
	cr_assert_neq(if_nametoindex("squib0"), 0);
	close(fd);
	cr_assert_eq(if_nametoindex("squib0"), 0, "it went with its descriptor");
}

Test(net_tap, a_persistent_tap_is_opened_by_name)
{
	need_taps();
	int fd = open_raw("kept0", IFF_TAP | IFF_NO_PI);

	cr_assert_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	fd = open_tap("kept0");
	expect_ready(fd);
	close(fd);
	cr_assert_neq(if_nametoindex("kept0"), 0);
}

Test(net_tap, names_that_cannot_be_opened_are_refused_in_firecrackers_words)
{
	static const struct {
		const char *name;
		const char *message;
	} cases[] = {
		{"abcdefghijklmnop", FAILED "Invalid interface name"},
		{"busy0", IFREQ "Resource busy (os error 16)" BACKEND "busy0. " DOCS},
		{"tun0", IFREQ "Invalid argument (os error 22)" BACKEND "tun0. " DOCS
			       " The interface is a TUN device, which carries no "
			       "Ethernet frames: make it with `mode tap`."},
		{"multi0", IFREQ "Invalid argument (os error 22)" BACKEND "multi0. " DOCS
				 " The TAP has several queues: make it without "
				 "multi_queue, or give the interface `queue_pairs`."},
		{"a/b", IFREQ "Invalid argument (os error 22)" BACKEND "a/b. " DOCS},
		{"lo", IFREQ "Invalid argument (os error 22)" BACKEND "lo. " DOCS
			     " The interface is there and is no TAP: make one under "
			     "another name."},
	};

	need_taps();
	int busy = open_tap("busy0");
	int tun = open_raw("tun0", IFF_TUN | IFF_NO_PI);
	int multi = open_raw("multi0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);

	cr_assert_eq(ioctl(multi, TUNSETPERSIST, 1), 0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		expect_failure(cases[i].name, cases[i].message);
	}
	close(busy);
	close(tun);
	close(multi);
}

Test(net_tap, an_inherited_tap_is_duplicated_and_not_passed_on)
{
	char name[16];

	need_taps();
	int given = open_raw("given0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);

	snprintf(name, sizeof(name), "fd:%d", given);
	for (int i = 0; i < 2; i++) {
		struct sock_fprog filter = {.len = 1};
		int fd = open_tap(name);

		cr_assert_eq(ioctl(given, TUNGETFILTER, &filter), 0);
		cr_assert_eq(filter.len, 0, "no filter of ours stays behind");

		cr_assert_neq(fd, given);
		expect_ready(fd);
		close(fd);
	}
	cr_assert(fcntl(given, F_GETFD) & FD_CLOEXEC);
	close(given);
}

Test(net_tap, the_same_tap_is_known_whatever_it_is_called)
{
	char name[16];

	need_taps();
	int given = open_raw("given0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	int other = open_raw("given1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);

	snprintf(name, sizeof(name), "fd:0%d", given);
	int fd = open_tap(name);

	const struct net_tap tap = {.count = 1, .fd = {fd}};

	cr_expect(net_tap_is_same(&(struct net_tap){.count = 1, .fd = {given}}, &tap));
	cr_expect(net_tap_is_same(&tap, &tap));
	cr_expect_not(net_tap_is_same(&(struct net_tap){.count = 1, .fd = {other}}, &tap));
	cr_expect_not(net_tap_is_same(&(struct net_tap){0}, &tap));
	close(fd);
	close(given);
	close(other);
}

Test(net_tap, a_descriptor_of_the_wrong_kind_is_refused_with_the_reason)
{
	static const struct {
		const char *name;
		int flags;
		const char *reason;
	} cases[] = {
		{"k0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR,
		 "is not a TAP: squib carries Ethernet frames. "},
		{"k1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE,
		 "is one queue of several (IFF_MULTI_QUEUE). "},
		{"k2", IFF_TAP | IFF_NO_PI, "was opened without IFF_VNET_HDR. "},
		{"k3", IFF_TAP | IFF_VNET_HDR, "was opened without IFF_NO_PI. "},
	};

	need_taps();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int fd = open_raw(cases[i].name, cases[i].flags);
		char name[16];
		char message[256];

		snprintf(name, sizeof(name), "fd:%d", fd);
		snprintf(message, sizeof(message), FAILED "%s (%s) %s" DOCS, name, cases[i].name,
			 cases[i].reason);
		expect_failure(name, message);
		close(fd);
	}
}

/* --- several queues --- */

enum {
	MULTI = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
};

static void expect_queues(const char *name, unsigned queues)
{
	struct error err = {0};
	struct net_tap tap;

	cr_assert_eq(net_tap_open(name, queues, &tap, &err), 0, "%s", err.msg);
	cr_assert_eq(tap.count, queues);
	for (unsigned i = 0; i < queues; i++) {
		struct ifreq ifr = {0};
		int header = 0;

		cr_assert_eq(ioctl(tap.fd[i], TUNGETIFF, &ifr), 0);
		cr_expect_eq(ifr.ifr_flags & MULTI, MULTI);
		cr_expect_str_eq(ifr.ifr_name, tap.name);
		cr_expect_eq(ioctl(tap.fd[i], TUNGETVNETHDRSZ, &header), 0);
		cr_expect_eq(header, 12);
		cr_expect(fcntl(tap.fd[i], F_GETFL) & O_NONBLOCK);
		cr_expect(fcntl(tap.fd[i], F_GETFD) & FD_CLOEXEC);
	}
	net_tap_close(&tap);
	cr_expect_eq(tap.count, 0);
}

static void refuse_queues(const char *name, unsigned queues, const char *message)
{
	struct error err = {0};
	struct net_tap tap;

	cr_assert_eq(net_tap_open(name, queues, &tap, &err), -1, "%s", name);
	cr_expect_str_eq(err.msg, message);
	cr_expect_eq(tap.count, 0);
}

Test(net_tap, a_tap_is_opened_once_for_each_queue)
{
	need_taps();
	expect_queues("mq0", 8);
	cr_expect_eq(if_nametoindex("mq0"), 0, "it went with its descriptors");
	int kept = open_raw("mq1", MULTI);
	int single = open_raw("one0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);

	cr_assert_eq(ioctl(kept, TUNSETPERSIST, 1), 0);
	cr_assert_eq(ioctl(single, TUNSETPERSIST, 1), 0);
	expect_queues("mq1", 2);
	refuse_queues("one0", 2,
		      IFREQ "Invalid argument (os error 22)" BACKEND "one0. " DOCS
			    " The TAP has one queue: make it with multi_queue, or leave "
			    "`queue_pairs` out.");
	close(kept);
	close(single);
}

Test(net_tap, a_list_of_descriptors_is_one_of_a_taps_queues)
{
	char name[64];
	char message[256];
	int fds[4];

	need_taps();
	for (size_t i = 0; i < 3; i++) {
		fds[i] = open_raw("mq0", MULTI);
	}
	fds[3] = open_raw("mq1", MULTI);
	int single = open_raw("one0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);

	snprintf(name, sizeof(name), "fd:%d,%d,%d", fds[0], fds[1], fds[2]);
	expect_queues(name, 3);
	expect_queues(name, 3);
	snprintf(message, sizeof(message),
		 FAILED "%s has 3 descriptors, and the interface 4 queue pairs: give one for each",
		 name);
	refuse_queues(name, 4, message);
	snprintf(name, sizeof(name), "fd:%d,%d", fds[0], fds[3]);
	snprintf(message, sizeof(message), FAILED "%s names queues of several TAPs", name);
	refuse_queues(name, 2, message);
	snprintf(name, sizeof(name), "fd:%d,%d,%d", fds[0], fds[1], fds[0]);
	snprintf(message, sizeof(message), FAILED "%s names one queue twice", name);
	refuse_queues(name, 3, message);
	snprintf(name, sizeof(name), "fd:%d,%d", single, fds[0]);
	snprintf(message, sizeof(message),
		 FAILED
		 "%s (one0) has one queue alone: `queue_pairs` asks for IFF_MULTI_QUEUE. " DOCS,
		 name);
	refuse_queues(name, 2, message);
	close(single);
	for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
		close(fds[i]);
	}
}

Test(net_tap, more_queues_of_one_tap_are_the_same_tap)
{
	struct error err = {0};
	struct net_tap taps[3];

	need_taps();
	cr_assert_eq(net_tap_open("mq0", 2, &taps[0], &err), 0, "%s", err.msg);
	cr_assert_eq(net_tap_open("mq0", 3, &taps[1], &err), 0, "%s", err.msg);
	cr_assert_eq(net_tap_open("mq1", 2, &taps[2], &err), 0, "%s", err.msg);
	cr_expect(net_tap_is_same(&taps[0], &taps[1]));
	cr_expect_not(net_tap_is_same(&taps[0], &taps[2]));
	for (size_t i = 0; i < ARRAY_COUNT(taps); i++) {
		net_tap_close(&taps[i]);
	}
}

Test(net_tap, a_number_that_is_no_tap_is_refused)
{
	static const struct {
		const char *name;
		const char *message;
	} cases[] = {
		{"fd:", FAILED "fd: names no descriptor"},
		{"fd:x", FAILED "fd:x names no descriptor"},
		{"fd:3x", FAILED "fd:3x names no descriptor"},
		{"fd:-1", FAILED "fd:-1 names no descriptor"},
		{"fd:3,", FAILED "fd:3, names no descriptor"},
		{"fd:,3", FAILED "fd:,3 names no descriptor"},
		{"fd:3,,4", FAILED "fd:3,,4 names no descriptor"},
		{"fd:1,2,3,4,5,6,7,8,9", FAILED "fd:1,2,3,4,5,6,7,8,9 names no descriptor"},
		{"fd:3,4", FAILED "fd:3,4 has 2 descriptors, and the interface 1 queue pairs: give "
				  "one for each"},
		{"fd:+3", FAILED "fd:+3 names no descriptor"},
		{"fd:2147483648", FAILED "fd:2147483648 names no descriptor"},
		{"fd:99999999999999999999", FAILED "fd:99999999999999999999 names no descriptor"},
		{"fd:1000000",
		 IFREQ "Bad file descriptor (os error 9)" BACKEND "fd:1000000. " DOCS},
	};
	int pair[2];
	char name[16];
	char message[320];

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		expect_failure(cases[i].name, cases[i].message);
	}
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	snprintf(name, sizeof(name), "fd:%d", pair[0]);
	snprintf(message, sizeof(message),
		 IFREQ "Not a tty (os error 25)" BACKEND "%s. " DOCS
		       " The descriptor is of no TAP.",
		 name);
	expect_failure(name, message);
	close(pair[0]);
	close(pair[1]);
}

Test(net_tap, offloads_are_probed_set_and_taken_back)
{
	struct error err = {0};

	need_taps();
	int fd = open_tap("off0");
	uint32_t known = net_tap_host.probe_offloads(fd);

	/* Since Linux 4.14 at the latest; USO came as a pair in 6.2. */
	cr_assert_eq(known & (NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6),
		     NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6);
	cr_assert((known & NET_OFFLOAD_USO) == 0 || (known & NET_OFFLOAD_USO) == NET_OFFLOAD_USO);
	cr_assert_eq(net_tap_host.set_offloads(fd, known, &err), 0, "%s", err.msg);
	cr_assert_eq(net_tap_host.set_offloads(fd, 0, &err), 0, "%s", err.msg);
	cr_assert_eq(net_tap_host.set_offloads(fd, 1u << 31, &err), -1);
	cr_assert_str_eq(err.msg,
			 "Error while setting the offload flags: Invalid argument (os error 22)");
	close(fd);
}

Test(net_tap, a_socket_has_no_offloads)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	cr_assert_eq(net_tap_host.probe_offloads(pair[0]), 0);
	close(pair[0]);
	close(pair[1]);
}
