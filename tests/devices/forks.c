/* SPDX-License-Identifier: Apache-2.0 */
/* Linux guests that are forked while they write to a disk. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	RANDOM_LEN = 32, /* digits */
	PATIENCE_S = 120,
	WARM = 10, /* children */
	TRIES = 50,
	ANSWER_MAX = 128,
};

static bool copy(struct squib *squib, const char *from, const char *to)
{
	size_t len = 0;
	char *bytes = squib_file(squib, from, &len);
	char path[PATH_LEN];

	squib_path(squib, to, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = bytes != NULL && fd >= 0 && write(fd, bytes, len) == (ssize_t)len;

	free(bytes);
	if (fd >= 0) {
		close(fd);
	}
	return ok || squib_fail(squib, "cannot copy the disk %s", from);
}

/* The random number that a child's guest prints behind "child of <number>: ". */
static bool hear(struct squib *squib, const char *name, unsigned number,
		 char random[RANDOM_LEN + 1])
{
	uint64_t deadline = now_ms() + PATIENCE_S * UINT64_C(1000);
	char file[64];
	char words[64];
	char called[64];

	snprintf(called, sizeof(called), "name: %s\r", name);
	snprintf(file, sizeof(file), "%s.out", name);
	snprintf(words, sizeof(words), "child of %u: ", number);
	do {
		char *text = squib_text(squib, file);
		bool is_named = text != NULL && strstr(text, called) != NULL;
		const char *at = text != NULL ? strstr(text, words) : NULL;
		bool is_wrong = text != NULL && strstr(text, "WRONG:") != NULL;
		bool is_heard = at != NULL && strlen(at + strlen(words)) > RANDOM_LEN;

		if (is_heard) {
			snprintf(random, RANDOM_LEN + 1, "%.*s", RANDOM_LEN, at + strlen(words));
		}
		free(text);
		if (is_wrong) {
			squib_show(squib, file);
			return squib_fail(squib, "the guest of %s found something wrong", name);
		}
		if (is_heard) {
			return is_named ||
			       squib_fail(squib, "the guest of %s is called otherwise", name);
		}
		sleep_ms(100);
	} while (now_ms() < deadline);
	squib_show(squib, file);
	return squib_fail(squib, "the guest of %s does not find out that it was forked", name);
}

static bool make_taps(struct squib *squib)
{
	static const char *const names[] = {"tap0", "tapa", "tapb", "tapaa"};

	if (!host_net_isolate(squib)) {
		return false;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int tap = host_net_tap(squib, names[i], true);

		if (tap < 0) {
			return false;
		}
		close(tap);
	}
	return true;
}

/* Gives a child that waits its own metadata, and lets it go. */
static bool name_child(struct squib *squib, const char *name)
{
	char data[64];

	snprintf(data, sizeof(data), "{\"name\": \"%s\"}", name);
	return squib_child(squib, name, 204, "PUT", "/mmds", data) &&
	       squib_child(squib, name, 204, "PATCH", "/vm", "{\"state\": \"Resumed\"}");
}

#define CHILD(name)                                                                                \
	"{\"id\": \"" name "\", \"api_sock\": \"" name ".sock\", \"serial_out_path\": \"" name     \
	".out\", \"ends_with_parent\": true, \"paused\": true, \"drive_overrides\": "              \
	"[{\"drive_id\": \"data\", \"path_on_host\": \"" name                                      \
	".disk\"}], \"network_overrides\": [{\"iface_id\": \"eth0\", \"host_dev_name\": "          \
	"\"tap" name "\"}]}"

static bool fork_twice(struct squib *squib)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       copy(squib, "data", "a.disk") && copy(squib, "data", "b.disk") &&
	       squib_api(squib, 200, "PUT", "/fork",
			 "{\"children\": [" CHILD("a") ", " CHILD("b") "]}") &&
	       saved_resume(squib) && name_child(squib, "a") && name_child(squib, "b");
}

/* A child of a child, whose guest has gone on. */
static bool fork_child(struct squib *squib)
{
	return squib_child(squib, "a", 204, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
	       copy(squib, "a.disk", "aa.disk") &&
	       squib_child(squib, "a", 200, "PUT", "/fork", "{\"children\": [" CHILD("aa") "]}") &&
	       squib_child(squib, "a", 204, "PATCH", "/vm", "{\"state\": \"Resumed\"}") &&
	       name_child(squib, "aa");
}

static bool run_fork(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = is_x86() ? "/tests/fork.sh 0xde000"
						       : "/tests/fork.sh 0x801fe000",
				    .root = machine_root()};
	char a[RANDOM_LEN + 1];
	char b[RANDOM_LEN + 1];
	char aa[RANDOM_LEN + 1];

	if (!make_taps(squib) || !machine_configure(squib, &guest) ||
	    !squib_patch(squib, "/machine-config",
			 "{\"forkable\": true, \"huge_pages\": \"Transparent\"}") ||
	    !machine_make_disk(squib, "data", 4) ||
	    !squib_put(squib, "/drives/data",
		       "{\"drive_id\": \"data\", \"path_on_host\": \"data\", \"is_root_device\": "
		       "false, \"cache_type\": \"Writeback\"}") ||
	    !squib_put(squib, "/network-interfaces/eth0",
		       "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") ||
	    !squib_put(squib, "/mmds/config", "{\"network_interfaces\": [\"eth0\"]}") ||
	    !squib_put(squib, "/mmds", "{\"name\": \"parent\"}") || !squib_api_start(squib, 204) ||
	    !squib_expect(squib, "ready: writing", NULL) || !fork_twice(squib) ||
	    !hear(squib, "a", 1, a) || !hear(squib, "b", 1, b) || !fork_child(squib) ||
	    !hear(squib, "aa", 2, aa)) {
		return false;
	}
	if (strcmp(a, b) == 0 || strcmp(a, aa) == 0) {
		return squib_fail(squib, "the random numbers are %s, %s, %s", a, b, aa);
	}
	/* A disk that two machines would write to. */
	return squib_api(squib, 400, "PUT", "/fork",
			 "{\"children\": [{\"id\": \"x\", \"api_sock\": \"x.sock\"}]}") &&
	       (strstr(squib->answer, "`data` of drives is the parent's alone") != NULL ||
		squib_fail(squib, "the refusal is %.300s", squib->answer));
}

/* --- The example of docs/forks.md --- */

/* A connection to a port of the guest whose socket is at `name`; -1: there is none. */
static int connect_guest(const struct squib *squib, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[PATH_LEN];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval patience = {.tv_sec = PATIENCE_S};

	squib_path(squib, name, path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    dprintf(fd, "CONNECT 7000\n") < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* All that comes of it. */
static void hear_guest(const struct squib *squib, const char *name, char text[ANSWER_MAX])
{
	int fd = connect_guest(squib, name);
	size_t len = 0;
	ssize_t got = fd >= 0 ? 1 : 0;

	while (got > 0 && len < ANSWER_MAX - 1) {
		got = read(fd, text + len, ANSWER_MAX - 1 - len);
		len += got > 0 ? (size_t)got : 0;
	}
	text[len] = '\0';
	if (fd >= 0) {
		close(fd);
	}
}

/*
 * What the guest says: behind "OK <port>", a line of the number. A connection that is there when
 * the guest learns that it is a clone ends with all others of its parent's.
 */
static bool ask_guest(struct squib *squib, const char *name, char random[RANDOM_LEN + 1])
{
	char text[ANSWER_MAX] = "";

	for (unsigned i = 0; i < TRIES; i++) {
		hear_guest(squib, name, text);
		const char *line = strchr(text, '\n');

		if (strncmp(text, "OK ", 3) == 0 && line != NULL &&
		    strlen(line + 1) == RANDOM_LEN + 1) {
			memcpy(random, line + 1, RANDOM_LEN);
			random[RANDOM_LEN] = '\0';
			return true;
		}
		sleep_ms(100);
	}
	return squib_fail(squib, "%s: the guest says: %s", name, text);
}

static bool all_differ(struct squib *squib)
{
	char random[WARM + 1][RANDOM_LEN + 1];

	for (unsigned i = 0; i <= WARM; i++) {
		char name[64] = "v.sock";

		if (i > 0) {
			snprintf(name, sizeof(name), "children/%u.vsock", i);
		}
		/* A first one could be that of the very moment of the fork. */
		if (!ask_guest(squib, name, random[i]) || !ask_guest(squib, name, random[i])) {
			return false;
		}
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(random[i], random[j]) == 0) {
				return squib_fail(squib, "guests %u and %u both say %s", i, j,
						  random[i]);
			}
		}
	}
	return true;
}

/* Waits until a program of the host's has printed the text; returns what is behind it. */
static bool host_says(struct squib *squib, const char *text, char *rest, size_t cap)
{
	bool is_said = false;

	while (!is_said && now_ms() < squib->deadline_ms) {
		char *said = squib_text(squib, "host");
		const char *at = said != NULL ? strstr(said, text) : NULL;

		is_said = at != NULL;
		snprintf(rest, cap, "%s", is_said ? at + strlen(text) : "");
		free(said);
		sleep_ms(20);
	}
	return is_said || squib_fail(squib, "no program says '%s'", text);
}

/* A machine of a pool goes on from an image of the running one, which came by descriptor. */
static bool goes_on_in_pool(struct squib *squib, int beside)
{
	char parent[RANDOM_LEN + 1];
	char random[RANDOM_LEN + 1];
	char rest[64];
	pid_t taken = 0;
	pid_t keeper = machine_spawn(squib,
				     "%.*ssquibctl -s api.sock pool start --live --vsock "
				     "children/%%.pooled pool",
				     beside, env("GT"));
	bool ok = host_says(squib, "ready: 1", rest, sizeof(rest)) &&
		  ask_guest(squib, "v.sock", parent) &&
		  machine_run(squib, "%.*ssquibctl pool take pool", beside, env("GT")) &&
		  host_says(squib, "pool/1.sock ", rest, sizeof(rest));

	taken = atoi(rest);
	/* Neither of them is needed by it. */
	kill(keeper, SIGTERM);
	ok = machine_reap(squib, keeper, "squibctl pool start") && ok;
	squib_stop(squib);
	ok = ok && ask_guest(squib, "children/1.pooled", random) &&
	     (strcmp(parent, random) != 0 || squib_fail(squib, "both say %s", random));
	if (taken > 0) {
		kill(taken, SIGKILL);
	}
	return ok;
}

static bool run_warm(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 1, .mem_mib = 128, .script = "/tests/warm.sh", .root = machine_root()};
	char path[PATH_LEN];
	/* squibctl is beside gt. */
	int beside = (int)strlen(env("GT")) - (int)strlen("gt");

	squib_path(squib, "children", path);
	return (mkdir(path, 0700) == 0 || squib_fail(squib, "cannot make a directory")) &&
	       machine_configure(squib, &guest) &&
	       squib_patch(squib, "/machine-config",
			   "{\"forkable\": true, \"huge_pages\": \"Transparent\"}") &&
	       squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "answer: ready", NULL) &&
	       machine_run(squib,
			   "%.*ssquibctl -s api.sock fork -n %d --ends-with-parent --vsock "
			   "children/%%.vsock children",
			   beside, env("GT"), WARM) &&
	       all_differ(squib) && goes_on_in_pool(squib, beside);
}

const struct device_test fork_tests[] = {
	{"fork: Linux that writes to a disk, children, and a child's child", run_fork, 600},
	{"fork: a warm guest, ten times; each child answers with a random number of its own",
	 run_warm, 600},
	{NULL, NULL, 0},
};
