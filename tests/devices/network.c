/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces on TAPs, by name and by descriptor; virtio sockets; entropy; under Linux. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

static bool interface_request(int fd, unsigned long request, struct ifreq *ifr, const char *name)
{
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	return ioctl(fd, request, ifr) == 0;
}

bool host_net_up(struct squib *squib, const char *name, const char *address, int mtu)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&ifr.ifr_addr;
	bool ok;

	in->sin_family = AF_INET;
	inet_pton(AF_INET, address, &in->sin_addr);
	ok = interface_request(fd, SIOCSIFADDR, &ifr, name);
	inet_pton(AF_INET, "255.255.255.0", &in->sin_addr);
	ok = ok && interface_request(fd, SIOCSIFNETMASK, &ifr, name);
	ifr = (struct ifreq){.ifr_mtu = mtu};
	ok = ok && interface_request(fd, SIOCSIFMTU, &ifr, name);
	ifr = (struct ifreq){.ifr_flags = IFF_UP | IFF_RUNNING};
	ok = ok && interface_request(fd, SIOCSIFFLAGS, &ifr, name);
	int sys = errno;

	close(fd);
	return ok || squib_fail(squib, "cannot set up %s: %s", name, strerror(sys));
}

bool host_net_switch(struct squib *squib, const char *name, bool is_on)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_flags = (short)(is_on ? IFF_UP | IFF_RUNNING : 0)};
	bool ok = interface_request(fd, SIOCSIFFLAGS, &ifr, name);

	close(fd);
	return ok || squib_fail(squib, "cannot switch %s: %s", name, strerror(errno));
}

bool host_net_delete(struct squib *squib, const char *name)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = RTM_DELLINK,
			 .nlmsg_flags = NLM_F_REQUEST},
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct ifreq ifr = {0};
	bool ok = interface_request(fd, SIOCGIFINDEX, &ifr, name);

	request.info.ifi_index = ifr.ifr_ifindex;
	ok = ok && send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request) &&
	     /* It is done by then. */
	     !interface_request(fd, SIOCGIFINDEX, &ifr, name);
	close(fd);
	return ok || squib_fail(squib, "cannot delete %s: %s", name, strerror(errno));
}

bool host_net_isolate(struct squib *squib)
{
	return unshare(CLONE_NEWNET) == 0 ||
	       squib_fail(squib, "no network namespace: %s", strerror(errno));
}

static int make_tap(struct squib *squib, const char *name, int flags, bool is_lasting)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
	int fd = open("/dev/net/tun", O_RDWR);

	if (fd >= 0 && (!interface_request(fd, TUNSETIFF, &ifr, name) ||
			ioctl(fd, TUNSETPERSIST, is_lasting ? 1 : 0) < 0)) {
		close(fd);
		fd = -1;
	}
	if (fd < 0) {
		squib_fail(squib, "cannot make the TAP %s: %s", name, strerror(errno));
	}
	return fd;
}

int host_net_tap(struct squib *squib, const char *name, bool is_lasting)
{
	return make_tap(squib, name, 0, is_lasting);
}

int host_net_queue(struct squib *squib, const char *name)
{
	return make_tap(squib, name, IFF_MULTI_QUEUE, true);
}

bool host_net_forget_offloads(struct squib *squib, int tap)
{
	return ioctl(tap, TUNSETOFFLOAD, 0) == 0 ||
	       squib_fail(squib, "cannot change the offloads of a TAP: %s", strerror(errno));
}

static bool check_addresses(struct squib *squib)
{
	return squib_expect(squib, "ok: eth0 06:00:ac:10:00:02 mtu 1400", NULL) &&
	       squib_expect(squib, "ok: eth1 ", NULL) && machine_meet(squib, "addresses") &&
	       host_net_up(squib, "tap0", "10.1.0.1", 1400) &&
	       host_net_up(squib, "tap1", "10.2.0.1", 9000) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: pings", NULL);
}

/*
 * Floods the guest while it floods us; busy streams have both directions of the TAP, so that a ping
 * or two may find its queue full.
 */
static bool flood(struct squib *squib)
{
	pid_t ping =
		machine_spawn(squib, "%s/run ping -4 -n -q -f -c 150 10.1.0.2", env("LOAD_DIR"));

	if (!machine_go_on(squib) || !machine_meet(squib, "flooded") ||
	    !machine_reap(squib, ping, "ping")) {
		return false;
	}
	size_t len = 0;
	char *said = squib_file(squib, "host", &len);
	const char *sum = said != NULL ? strstr(said, "150 packets transmitted, ") : NULL;
	long received = 0;

	if (sum != NULL) {
		received = strtol(sum + strlen("150 packets transmitted, "), NULL, 10);
	}

	free(said);
	return received >= 148 ||
	       squib_fail(squib, "only %ld of the host's 150 pings were answered", received);
}

static bool transfer(struct squib *squib)
{
	/* Three rounds of 2 connections each, then 2 after eth0 was bound again. */
	pid_t by_name = machine_spawn(squib, "serve tcp:10.1.0.1:5000 8");
	pid_t by_fd = machine_spawn(squib, "serve tcp:10.2.0.1:5000 6");

	return squib_expect(squib, "ok: transfers with offloads", NULL) &&
	       squib_expect(squib, "ok: transfers without the guest's offloads", NULL) &&
	       machine_meet(squib, "host's offloads off") &&
	       machine_run(squib, "offload tap0 off") && machine_run(squib, "offload tap1 off") &&
	       machine_go_on(squib) &&
	       squib_expect(squib, "ok: transfers without offloads", NULL) &&
	       machine_run(squib, "offload tap0 on") && machine_meet(squib, "serving iperf3") &&
	       machine_run(squib, "%s/run iperf3 -c 10.1.0.2 -n 1M -P 2 --bidir",
			   env("LOAD_DIR")) &&
	       machine_go_on(squib) && machine_meet(squib, "streams") && flood(squib) &&
	       machine_go_on(squib) && squib_expect(squib, "ok: pings amid streams", NULL) &&
	       squib_expect(squib, "ok: eth0 and eth1 were unbound and bound", NULL) &&
	       machine_reap(squib, by_name, "serve tap0") &&
	       machine_reap(squib, by_fd, "serve tap1");
}

static bool run_network(struct squib *squib)
{
	int tap1 = host_net_isolate(squib) ? host_net_tap(squib, "tap1", false) : -1;
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = "/tests/network.sh", .root = machine_root()};
	bool ok = tap1 >= 0 && machine_configure(squib, &guest) &&
		  squib_put(squib, "/network-interfaces/eth0",
			    "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\", \"guest_mac\": "
			    "\"06:00:AC:10:00:02\", \"mtu\": 1400}") &&
		  squib_put(squib, "/network-interfaces/eth1",
			    "{\"iface_id\": \"eth1\", \"host_dev_name\": \"fd:%d\", \"mtu\": 9000}",
			    tap1);

	if (tap1 >= 0) {
		/* squib has its own. */
		close(tap1);
	}
	/* For the guest's clients, in this namespace; it listens before the guest has booted. */
	pid_t server = ok ? machine_spawn(squib, "%s/run iperf3 -s -4", env("LOAD_DIR")) : -1;

	ok = ok && squib_api_start(squib, 204) && check_addresses(squib) && transfer(squib) &&
	     squib_expect(squib, "network: done", NULL) && squib_ends(squib, 0);
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	return ok;
}

static bool try_vsock(struct squib *squib)
{
	pid_t few = machine_spawn(squib, "serve unix:v.sock_7000 3");
	pid_t many = machine_spawn(squib, "serve unix:v.sock_7001 100");
	pid_t later = machine_spawn(squib, "serve unix:v.sock_7004 2");

	return squib_expect(squib, "ok: vsock to the host", NULL) &&
	       machine_reap(squib, few, "serve 7000") && machine_reap(squib, many, "serve 7001") &&
	       machine_meet(squib, "serving vsock") &&
	       machine_run(squib, "send uds:v.sock:7002 1024 1024 3") && machine_go_on(squib) &&
	       machine_meet(squib, "serving vsock 100 times") &&
	       machine_run(squib, "send uds:v.sock:7003 2 2 100") && machine_go_on(squib) &&
	       squib_expect(squib, "ok: vsock was unbound and bound", NULL) &&
	       machine_reap(squib, later, "serve 7004");
}

static bool run_sockets(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = "/tests/sockets.sh", .root = machine_root()};

	return machine_configure(squib, &guest) &&
	       squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_put(squib, "/entropy", "{}") && squib_api_start(squib, 204) &&
	       try_vsock(squib) && squib_expect(squib, "ok: entropy", NULL) &&
	       squib_expect(squib, "sockets: done", NULL) && squib_ends(squib, 0);
}

enum {
	PAIRS = 4,
	TRANSFERS = 6, /* each of so many connections */
};

/* Saved, and loaded with the queues as descriptors; a TAP with one queue can't take their place. */
static bool renew_queues(struct squib *squib)
{
	int fds[PAIRS];
	char more[192];
	bool ok = saved_save(squib, "Full");

	squib_stop(squib);
	for (size_t i = 0; i < PAIRS; i++) {
		fds[i] = ok ? host_net_queue(squib, "tap0") : -1;
		ok = ok && fds[i] >= 0;
	}
	int single = ok ? host_net_tap(squib, "tap1", true) : -1;

	close(single);
	snprintf(more, sizeof(more),
		 SAVED_RESUMES ", \"network_overrides\": [{\"iface_id\": \"eth0\", "
			       "\"host_dev_name\": \"fd:%d,%d,%d,%d\"}]",
		 fds[0], fds[1], fds[2], fds[3]);
	ok = ok && squib_replace(squib, NULL) &&
	     squib_api(squib, 400, "PUT", "/snapshot/load",
		       "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_path\": "
		       "\"memory\", \"backend_type\": \"File\"}, \"network_overrides\": "
		       "[{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap1\"}]}") &&
	     squib_replace(squib, NULL) && saved_load(squib, more);
	for (size_t i = 0; i < PAIRS; i++) {
		if (fds[i] >= 0) {
			close(fds[i]);
		}
	}
	return ok;
}

static bool carry(struct squib *squib)
{
	pid_t server = machine_spawn(squib, "serve tcp:10.1.0.1:5000 %d", PAIRS * TRANSFERS);

	return machine_go_on(squib) &&
	       squib_expect(squib, "ok: all of 4 queue pairs carry", NULL) &&
	       machine_meet(squib, "a save") && renew_queues(squib) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: all of 4 queue pairs carry", NULL) &&
	       squib_expect(squib, "ok: all of 2 queue pairs carry", NULL) &&
	       squib_expect(squib, "ok: all of 1 queue pairs carry", NULL) &&
	       squib_expect(squib, "ok: all of 4 queue pairs carry", NULL) &&
	       machine_reap(squib, server, "serve tap0");
}

static bool run_queues(struct squib *squib)
{
	const struct guest guest = {.vcpus = PAIRS,
				    .mem_mib = 192,
				    .script = "/tests/queues.sh",
				    .root = machine_root()};
	int queue = host_net_isolate(squib) ? host_net_queue(squib, "tap0") : -1;

	if (queue >= 0) {
		close(queue);
	}
	return queue >= 0 && machine_configure(squib, &guest) &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\", "
			 "\"queue_pairs\": %d}",
			 PAIRS) &&
	       host_net_up(squib, "tap0", "10.1.0.1", 1500) && squib_api_start(squib, 204) &&
	       machine_meet(squib, "addresses") && carry(squib) &&
	       squib_expect(squib, "queues: done", NULL) && squib_ends(squib, 0);
}

const struct device_test network_tests[] = {
	{"network: two TAPs, streams and floods, offloads, MTU, unbind", run_network, 600},
	{"network: a queue pair for each of four CPUs, a load, fewer and more of them", run_queues,
	 300},
	{"sockets: vsock both ways, 100 connections, half-close, unbind; entropy", run_sockets,
	 300},
	{NULL, NULL, 0},
};
