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

static bool interface_request(int fd, unsigned long request, struct ifreq *ifr, const char *name)
{
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	return ioctl(fd, request, ifr) == 0;
}

bool host_net_up(struct machine *machine, const char *name, const char *address, int mtu)
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
	return ok || machine_fail(machine, "cannot set up %s: %s", name, strerror(sys));
}

bool host_net_switch(struct machine *machine, const char *name, bool is_on)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_flags = (short)(is_on ? IFF_UP | IFF_RUNNING : 0)};
	bool ok = interface_request(fd, SIOCSIFFLAGS, &ifr, name);

	close(fd);
	return ok || machine_fail(machine, "cannot switch %s: %s", name, strerror(errno));
}

bool host_net_delete(struct machine *machine, const char *name)
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
	return ok || machine_fail(machine, "cannot delete %s: %s", name, strerror(errno));
}

bool host_net_isolate(struct machine *machine)
{
	return unshare(CLONE_NEWNET) == 0 ||
	       machine_fail(machine, "no network namespace: %s", strerror(errno));
}

/* A TAP that squib inherits. */
static int open_tap(struct machine *machine, const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR);

	if (fd >= 0 && !interface_request(fd, TUNSETIFF, &ifr, name)) {
		close(fd);
		fd = -1;
	}
	if (fd < 0) {
		machine_fail(machine, "cannot make the TAP %s: %s", name, strerror(errno));
	}
	return fd;
}

static bool check_addresses(struct machine *machine)
{
	return machine_expect(machine, "ok: eth0 06:00:ac:10:00:02 mtu 1400", NULL) &&
	       machine_expect(machine, "ok: eth1 ", NULL) && machine_meet(machine, "addresses") &&
	       host_net_up(machine, "tap0", "10.1.0.1", 1400) &&
	       host_net_up(machine, "tap1", "10.2.0.1", 9000) && machine_go_on(machine) &&
	       machine_expect(machine, "ok: pings", NULL);
}

/* Floods the guest while it floods us; busy streams have both directions of the TAP. */
static bool flood(struct machine *machine)
{
	pid_t ping =
		machine_spawn(machine, "%s/run ping -4 -n -q -f -c 150 10.1.0.2", env("LOAD_DIR"));

	if (!machine_go_on(machine) || !machine_meet(machine, "flooded") ||
	    !machine_reap(machine, ping, "ping")) {
		return false;
	}
	size_t len = 0;
	char *said = squib_file(&machine->squib, "host", &len);
	bool is_lossless = said != NULL && strstr(said, " 0% packet loss") != NULL;

	free(said);
	return is_lossless || machine_fail(machine, "the host's pings were lost");
}

static bool transfer(struct machine *machine)
{
	/* Three rounds of 2 connections each, then 2 after eth0 was bound again. */
	pid_t by_name = machine_spawn(machine, "serve tcp:10.1.0.1:5000 8");
	pid_t by_fd = machine_spawn(machine, "serve tcp:10.2.0.1:5000 6");

	return machine_expect(machine, "ok: transfers with offloads", NULL) &&
	       machine_expect(machine, "ok: transfers without the guest's offloads", NULL) &&
	       machine_meet(machine, "host's offloads off") &&
	       machine_run(machine, "offload tap0 off") &&
	       machine_run(machine, "offload tap1 off") && machine_go_on(machine) &&
	       machine_expect(machine, "ok: transfers without offloads", NULL) &&
	       machine_run(machine, "offload tap0 on") && machine_meet(machine, "serving iperf3") &&
	       machine_run(machine, "%s/run iperf3 -c 10.1.0.2 -n 1M -P 2 --bidir",
			   env("LOAD_DIR")) &&
	       machine_go_on(machine) && machine_meet(machine, "streams") && flood(machine) &&
	       machine_go_on(machine) && machine_expect(machine, "ok: pings amid streams", NULL) &&
	       machine_expect(machine, "ok: eth0 and eth1 were unbound and bound", NULL) &&
	       machine_reap(machine, by_name, "serve tap0") &&
	       machine_reap(machine, by_fd, "serve tap1");
}

static bool run_network(struct machine *machine)
{
	int tap1 = host_net_isolate(machine) ? open_tap(machine, "tap1") : -1;
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = "/tests/network.sh", .root = machine->root};
	bool ok =
		tap1 >= 0 && machine_configure(machine, &guest) &&
		machine_api(machine, 204, "PUT", "/network-interfaces/eth0",
			    "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\", \"guest_mac\": "
			    "\"06:00:AC:10:00:02\", \"mtu\": 1400}") &&
		machine_api(machine, 204, "PUT", "/network-interfaces/eth1",
			    "{\"iface_id\": \"eth1\", \"host_dev_name\": \"fd:%d\", \"mtu\": 9000}",
			    tap1);

	if (tap1 >= 0) {
		/* squib has its own. */
		close(tap1);
	}
	/* For the guest's clients, in this namespace; it listens before the guest has booted. */
	pid_t server = ok ? machine_spawn(machine, "%s/run iperf3 -s -4", env("LOAD_DIR")) : -1;

	ok = ok && machine_start(machine) && check_addresses(machine) && transfer(machine) &&
	     machine_expect(machine, "network: done", NULL) && machine_ends(machine);
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	return ok;
}

static bool try_vsock(struct machine *machine)
{
	pid_t few = machine_spawn(machine, "serve unix:v.sock_7000 3");
	pid_t many = machine_spawn(machine, "serve unix:v.sock_7001 100");
	pid_t later = machine_spawn(machine, "serve unix:v.sock_7004 2");

	return machine_expect(machine, "ok: vsock to the host", NULL) &&
	       machine_reap(machine, few, "serve 7000") &&
	       machine_reap(machine, many, "serve 7001") &&
	       machine_meet(machine, "serving vsock") &&
	       machine_run(machine, "send uds:v.sock:7002 1024 1024 3") && machine_go_on(machine) &&
	       machine_meet(machine, "serving vsock 100 times") &&
	       machine_run(machine, "send uds:v.sock:7003 2 2 100") && machine_go_on(machine) &&
	       machine_expect(machine, "ok: vsock was unbound and bound", NULL) &&
	       machine_reap(machine, later, "serve 7004");
}

static bool run_sockets(struct machine *machine)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 192, .script = "/tests/sockets.sh", .root = machine->root};

	return machine_configure(machine, &guest) &&
	       machine_api(machine, 204, "PUT", "/vsock",
			   "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       machine_api(machine, 204, "PUT", "/entropy", "{}") && machine_start(machine) &&
	       try_vsock(machine) && machine_expect(machine, "ok: entropy", NULL) &&
	       machine_expect(machine, "sockets: done", NULL) && machine_ends(machine);
}

const struct device_test network_tests[] = {
	{"network: two TAPs, streams and floods, offloads, MTU, unbind", run_network, 600},
	{"sockets: vsock both ways, 100 connections, half-close, unbind; entropy", run_sockets,
	 300},
	{NULL, NULL, 0},
};
