/* SPDX-License-Identifier: Apache-2.0 */
/* A network without a privilege: squib and passt are processes of a user who may use /dev/kvm. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/route.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/devices/host_disk.h"
#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"

enum {
	USER = 4711, /* nobody else's */
	KVM_GROUP = 4712,
};

/* --- The user --- */

/* What the user must be able to read lies in folders that are root's alone, so it is mounted. */
static const struct seen {
	const char *variable;
	const char *name; /* in the test's directory */
	bool is_file;
} seen[] = {
	{"SQUIB", "squib", true},
	{"GUEST_DIR", "guest", false},

	{"GT", "gt", true},
	{"KERNEL_DIR", "kernel", false},
	{"DEVICES_DIR", "devices", false},
	{"BACKENDS_DIR", "backends", false},
};

enum {
	SEEN = sizeof(seen) / sizeof(seen[0])
};

/* What is to be undone. */
struct lent {
	char values[SEEN][PATH_LEN]; /* of the variables */
	unsigned count;
	struct stat kvm;
};

static bool show(struct squib *squib, const struct seen *item, char old[PATH_LEN])
{
	char path[PATH_LEN];

	snprintf(old, PATH_LEN, "%s", env(item->variable));
	squib_path(squib, item->name, path);
	bool is_made = item->is_file ? squib_write(squib, item->name, "") : mkdir(path, 0755) == 0;

	return (is_made && mount(old, path, NULL, MS_BIND, NULL) == 0 &&
		setenv(item->variable, path, 1) == 0) ||
	       squib_fail(squib, "cannot show the user %s: %s", old, strerror(errno));
}

/* The user has the test's directory and, by his group, /dev/kvm. */
static bool lend(struct squib *squib, struct lent *lent)
{
	if (!host_mounts_isolate(squib) || stat("/dev/kvm", &lent->kvm) < 0 ||
	    chown("/dev/kvm", lent->kvm.st_uid, KVM_GROUP) < 0 || chmod("/dev/kvm", 0660) < 0 ||
	    chown(squib->dir, USER, KVM_GROUP) < 0) {
		return squib_fail(squib, "cannot lend /dev/kvm: %s", strerror(errno));
	}
	for (; lent->count < SEEN; lent->count++) {
		if (!show(squib, &seen[lent->count], lent->values[lent->count])) {
			return false;
		}
	}
	squib->user = USER;
	squib->group = KVM_GROUP;
	return true;
}

static void take_back(struct squib *squib, struct lent *lent)
{
	char path[PATH_LEN];

	while (lent->count-- > 0) {
		setenv(seen[lent->count].variable, lent->values[lent->count], 1);
		squib_path(squib, seen[lent->count].name, path);
		umount2(path, MNT_DETACH);
		rmdir(path);
	}
	if (chown("/dev/kvm", lent->kvm.st_uid, lent->kvm.st_gid) < 0 ||
	    chmod("/dev/kvm", lent->kvm.st_mode & 0777) < 0) {
		squib_fail(squib, "/dev/kvm stays another's: %s", strerror(errno));
	}
}

/* --- The host's network --- */

/* What passt takes for the way to the world, which it wants to see though nothing goes there. */
static bool make_uplink(struct squib *squib)
{
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	struct sockaddr_in *gateway = (struct sockaddr_in *)&route.rt_gateway;
	int tap = host_net_isolate(squib) ? host_net_tap(squib, "up0", true) : -1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	route.rt_dst.sa_family = AF_INET;
	route.rt_genmask.sa_family = AF_INET;
	gateway->sin_family = AF_INET;
	inet_pton(AF_INET, "10.9.0.1", &gateway->sin_addr);
	bool ok = tap >= 0 && host_net_up(squib, "up0", "10.9.0.2", 1500) &&
		  host_net_up(squib, "lo", "127.0.0.1", 65536) &&
		  (ioctl(fd, SIOCADDRT, &route) == 0 ||
		   squib_fail(squib, "no default route: %s", strerror(errno)));

	close(fd);
	/* tap stays open, as an interface without a carrier is none to passt. */
	return ok;
}

static pid_t start_passt(struct squib *squib, const char *socket)
{
	char path[PATH_LEN];

	squib_path(squib, socket, path);
	unlink(path);
	pid_t passt = machine_spawn(squib,
				    "%.300s/passt -f -q -4 -s %s -iup0 -a10.9.0.15 -n24 -g10.9.0.1 "
				    "-t5001 -u5001",
				    env("BACKENDS_DIR"), path);

	return machine_wait_socket(squib, socket, "passt") ? passt : -1;
}

static bool end_passt(pid_t *passt)
{
	bool ok = kill(*passt, SIGKILL) == 0 && waitpid(*passt, NULL, 0) == *passt;

	*passt = -1;
	return ok;
}

/* --- Datagrams --- */

static int open_socket(struct squib *squib, uint16_t port)
{
	const struct sockaddr_in at = {.sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (port != 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		squib_fail(squib, "no port %u: %s", port, strerror(errno));
	}
	return fd;
}

/* Takes a datagram of this text; who sent it is in *from. */
static bool take_text(struct squib *squib, int fd, const char *text, struct sockaddr_in *from)
{
	socklen_t len = sizeof(*from);
	char got[64] = "";

	(void)!recvfrom(fd, got, sizeof(got) - 1, 0, (struct sockaddr *)from, &len);
	return strcmp(got, text) == 0 ||
	       squib_fail(squib, "\"%s\" comes in place of \"%s\"", got, text);
}

static bool send_text(int fd, const char *text, const struct sockaddr_in *to)
{
	return sendto(fd, text, strlen(text), 0, (const struct sockaddr *)to, sizeof(*to)) > 0;
}

static bool talk(struct squib *squib, int server, int client)
{
	struct sockaddr_in from = {0};
	const struct sockaddr_in forwarded = {.sin_family = AF_INET,
					      .sin_port = htons(5001),
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return squib_expect(squib, "udp: gateway", NULL) &&
	       take_text(squib, server, "from the guest", &from) &&
	       send_text(server, "from the host", &from) &&
	       squib_expect(squib, "udp: answered", NULL) &&
	       send_text(client, "to the guest", &forwarded) &&
	       take_text(squib, client, "to the host", &from) &&
	       squib_expect(squib, "udp: done", NULL) && squib_ends(squib, 0);
}

static bool run_payload(struct squib *squib, pid_t *passt)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 64, .payload = "udp"};
	int server = open_socket(squib, 5000);
	int client = open_socket(squib, 0);
	bool ok = (*passt = start_passt(squib, "passt.sock")) > 0 &&
		  machine_configure(squib, &guest) &&
		  squib_put(squib, "/network-interfaces/eth0",
			    "{\"iface_id\": \"eth0\", \"backend\": {\"type\": \"stream\", "
			    "\"socket\": \"passt.sock\"}}") &&
		  squib_api_start(squib, 204) && talk(squib, server, client);

	close(server);
	close(client);
	return ok;
}

static bool run_passt(struct squib *squib)
{
	static struct lent lent;
	pid_t passt = -1;

	lent = (struct lent){0};
	bool ok = make_uplink(squib) && lend(squib, &lent) && run_payload(squib, &passt);

	squib_stop(squib);
	if (passt > 0) {
		(void)end_passt(&passt);
	}
	take_back(squib, &lent);
	return ok && squib->failure[0] == '\0';
}

const struct device_test passt_tests[] = {
	{"payload passt: datagrams to the host and from it, without a privilege", run_passt, 60},
	{0},
};
