/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a machine.
 *
 * Theory of operation. passt is one process for the machine, in its own sandbox, at the other end
 * of the interface's frames; it makes the guest's connections its own. The guest's addresses are
 * the same in all machines, since nobody but passt sees them. The host's loopback is not among what
 * they reach: a guest is a stranger there.
 */
#include "tools/squibctl/ctl_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/squibctl/ctl_helper.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

#define GUEST_ADDRESS "10.0.2.15"
#define GUEST_PREFIX "24"
#define GATEWAY "10.0.2.2"
#define NAME_SERVER "10.0.2.3"

enum {
	MTU = 65520, /* the longest frames that passt takes: each costs the same */
	PORT_MAX = 65535,
	ARGV_MAX = 32 + 2 * CTL_WORDS_MAX,
	STATUS_EXEC = 127,
};

bool ctl_net_is_user(const struct machine *machine)
{
	const char *net = ctl_machine_text(machine, "net");

	return net != NULL && strcmp(net, "user") == 0;
}

/* --- what was asked for --- */

/* A port, with `end` behind it; *text moves behind that. */
static bool take_port(const char **text, char end)
{
	char *at;
	unsigned long port = strtoul(*text, &at, 10);
	bool is_port = (*text)[0] >= '0' && (*text)[0] <= '9' && port > 0 && port <= PORT_MAX;

	if (!is_port || *at != end) {
		return false;
	}
	*text = at + (end != '\0' ? 1 : 0);
	return true;
}

char *ctl_net_publish(const char *word)
{
	AUTO_FREE char *text = strdup(word);
	char *protocol = text != NULL ? strchr(text, '/') : NULL;
	char *ports = text;
	struct in_addr address;

	if (text == NULL) {
		return NULL;
	}
	if (protocol != NULL) {
		*protocol++ = '\0';
		if (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0) {
			return NULL;
		}
	}
	bool is_udp = protocol != NULL && strcmp(protocol, "udp") == 0;
	char *colon = strchr(text, ':');
	bool has_address = colon != NULL && strchr(colon + 1, ':') != NULL;

	if (has_address) {
		*colon = '\0';
		ports = colon + 1;
		if (inet_pton(AF_INET, text, &address) != 1) {
			return NULL;
		}
	}
	const char *at = ports;

	if (!take_port(&at, ':') || !take_port(&at, '\0')) {
		return NULL;
	}
	return ctl_text("-%c%s%s%s", is_udp ? 'u' : 't', has_address ? text : "",
			has_address ? "/" : "", ports);
}

/* "none", "user", "tap=DEV". What is published needs the second one. */
static const char *kind_of(const struct ctl_args *args)
{
	const char *published = args->run.publish.count > 0 ? "user" : "none";

	return args->nets.count > 0 ? args->nets.items[0] : published;
}

/* A TAP that is not there would be made by the kernel, for root, and lead nowhere. */
static int check_kind(const char *kind, struct error *err)
{
	const char *tap = kind + strlen("tap=");

	if (strcmp(kind, "none") == 0 || strcmp(kind, "user") == 0) {
		return 0;
	}
	if (strncmp(kind, "tap=", strlen("tap=")) != 0 || *tap == '\0') {
		return error_set(err, ERR_BAD_REQUEST, "--net is none, user or tap=NAME, not '%s'",
				 kind);
	}
	return if_nametoindex(tap) > 0
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "There is no network interface %s: ip tuntap add %s mode tap "
				   "makes one",
				   tap, tap);
}

int ctl_net_check(const struct ctl_args *args, struct error *err)
{
	const char *kind = kind_of(args);

	if (check_kind(kind, err) < 0) {
		return -1;
	}
	if (args->run.publish.count > 0 && strcmp(kind, "user") != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--publish goes with --net user, not with %s", kind);
	}
	for (unsigned i = 0; i < args->run.publish.count; i++) {
		AUTO_FREE char *words = ctl_net_publish(args->run.publish.items[i]);

		if (words == NULL) {
			return error_set(err, ERR_BAD_REQUEST,
					 "--publish is [ADDRESS:]HOST:GUEST[/udp] of ports, not "
					 "'%s'",
					 args->run.publish.items[i]);
		}
	}
	return 0;
}

void ctl_net_record(const struct ctl_args *args, const struct machine *machine)
{
	json_t *publish = json_array();

	for (unsigned i = 0; i < args->run.publish.count; i++) {
		AUTO_FREE char *words = ctl_net_publish(args->run.publish.items[i]);

		json_array_append_new(publish, json_string(words));
	}
	json_object_set_new(machine->record, "net", json_string(kind_of(args)));
	json_object_set_new(machine->record, "publish", publish);
}

/* --- who needs to know --- */

json_t *ctl_net_config(const struct ctl_args *args, const struct machine *machine)
{
	AUTO_FREE char *socket = ctl_helper_file(machine, CTL_NET_HELPER, "sock");
	const char *kind = kind_of(args);

	if (ctl_net_is_user(machine)) {
		return json_pack("[{s:s, s:i, s:{s:s, s:s}}]", "iface_id", "eth0", "mtu", MTU,
				 "backend", "type", "stream", "socket", socket);
	}
	if (strcmp(kind, "none") == 0) {
		return json_array();
	}
	return json_pack("[{s:s, s:s}]", "iface_id", "eth0", "host_dev_name",
			 kind + strlen("tap="));
}

const char *ctl_net_boot_args(const struct machine *machine)
{
	return ctl_net_is_user(machine) ? " squib.net=" GUEST_ADDRESS "/" GUEST_PREFIX "," GATEWAY
					  "," NAME_SERVER
					: "";
}

/* --- passt --- */

static _Noreturn void be_passt(const struct machine *machine)
{
	AUTO_FREE char *socket = ctl_helper_file(machine, CTL_NET_HELPER, "sock");
	AUTO_FREE char *log = ctl_helper_file(machine, CTL_NET_HELPER, "log");
	const char *argv[ARGV_MAX] = {
		"passt",       "--foreground",	"--quiet",   "--one-off",  "--ipv4-only",
		"--no-map-gw", "--socket",	socket,	     "--log-file", log,
		"--address",   GUEST_ADDRESS,	"--netmask", GUEST_PREFIX, "--gateway",
		GATEWAY,       "--dns-forward", NAME_SERVER,
	};
	const json_t *publish = json_object_get(machine->record, "publish");
	const json_t *words;
	struct error ignored = {0};
	int none = -1;
	size_t count = 0;
	size_t i;

	/* It lives as long as the machine, not as whoever made that. */
	(void)!fd_close_all_but(&none, 1, &ignored);
	while (argv[count] != NULL) {
		count++;
	}
	if (geteuid() == 0) {
		/* It would become nobody, whom the machine's directory is closed to. */
		argv[count++] = "--runas";
		argv[count++] = "0:0";
	}
	json_array_foreach(publish, i, words)
	{
		if (count < ARGV_MAX - 1) {
			argv[count++] = json_string_value(words);
		}
	}
	execvp(argv[0], (char *const *)argv);
	dprintf(STDERR_FILENO, "%s: install the package passt", strerror(errno));
	_exit(STATUS_EXEC);
}

int ctl_net_start(const struct machine *machine, pid_t *pid, struct error *err)
{
	*pid = 0;
	if (!ctl_net_is_user(machine)) {
		return 0;
	}
	*pid = ctl_helper_fork(machine, CTL_NET_HELPER);
	if (*pid == 0) {
		be_passt(machine);
	}
	return *pid < 0 ? error_sys(err, "Cannot make a process")
			: ctl_helper_await(machine, CTL_NET_HELPER, *pid,
					   "give the machine the host's network by passt", err);
}
