/* SPDX-License-Identifier: Apache-2.0 */
/* What children have in place of their parent's: drives, of which none is another machine's; TAPs.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/squib.h"

#define CHILD(name, overrides)                                                                     \
	"{\"id\": \"" name "\", \"api_sock\": \"" name ".sock\", \"ends_with_parent\": true, "     \
	"\"drive_overrides\": [" overrides "]}"
#define DRIVE(id, path) "{\"drive_id\": \"" id "\", \"path_on_host\": \"" path "\"}"

static bool forks(struct squib *squib, const char *children)
{
	return squib_api(squib, 200, "PUT", "/fork", "{\"children\": [%s]}", children);
}

static bool is_refused(struct squib *squib, const char *children, const char *path)
{
	char why[128];

	snprintf(why, sizeof(why), "%s of the drive", path);
	return squib_api(squib, 400, "PUT", "/fork", "{\"children\": [%s]}", children) &&
	       (strstr(squib->answer, why) != NULL ||
		squib_fail(squib, "the refusal is: %.300s", squib->answer));
}

static bool start(struct squib *squib)
{
	static const char *const disks[] = {"data", "shared", "a.disk", "b.disk"};
	char data[PATH_LEN];
	char other_name[PATH_LEN];

	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		if (!squib_write(squib, disks[i], "")) {
			return false;
		}
	}
	squib_path(squib, "data", data);
	squib_path(squib, "data2", other_name);
	return (link(data, other_name) == 0 || squib_fail(squib, "cannot link")) &&
	       fork_configure(squib, ", \"forkable\": true") &&
	       squib_put(squib, "/drives/data",
			 "{\"drive_id\": \"data\", \"path_on_host\": \"data\", "
			 "\"is_root_device\": false}") &&
	       squib_put(squib, "/drives/shared",
			 "{\"drive_id\": \"shared\", \"path_on_host\": \"shared\", "
			 "\"is_root_device\": false, \"is_read_only\": true, "
			 "\"io_engine\": \"Async\"}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "round: 2", NULL);
}

/* An image has nothing of its machine's rings, which would keep the files of its drives open. */
static bool image_has_no_rings(struct squib *squib)
{
	pid_t image;
	char path[PATH_LEN];
	char line[PATH_LEN];
	bool ok = true;

	if (!squib_api(squib, 200, "PUT", "/fork", "{\"keep\": \"i\"}") ||
	    fork_processes(squib, FORK_IMAGE, &image, 1) != 1) {
		return squib_fail(squib, "there is no image");
	}
	snprintf(path, sizeof(path), "/proc/%d/maps", image);
	FILE *maps = fopen(path, "re");

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		ok = ok && strstr(line, "io_uring") == NULL;
	}
	if (maps != NULL) {
		fclose(maps);
	}
	return (ok && maps != NULL) || squib_fail(squib, "the image has a ring of its machine");
}

bool fork_drives_test(struct squib *squib)
{
	return start(squib) &&
	       /* The parent's, by any name, and also to read. */
	       is_refused(squib, CHILD("a", DRIVE("data", "data")), "data") &&
	       is_refused(squib, CHILD("a", DRIVE("data", "./data")), "./data") &&
	       is_refused(squib, CHILD("a", DRIVE("data", "data2")), "data2") &&
	       is_refused(squib, CHILD("a", DRIVE("data", "a.disk") ", " DRIVE("shared", "data")),
			  "data") &&
	       /* A writer of what others only read goes on, and says so. */
	       forks(squib, CHILD("w", DRIVE("data", "shared"))) &&
	       squib_expect(squib, "[w:main] The file shared of the drive data is in use", NULL) &&
	       /* A sibling's. */
	       is_refused(squib,
			  CHILD("a", DRIVE("data", "a.disk")) ", " CHILD("b",
									 DRIVE("data", "./a.disk")),
			  "a.disk") &&
	       /* Now that those are gone, one that lives, with a disk of its own. */
	       forks(squib, CHILD("a", DRIVE("data", "a.disk"))) &&
	       is_refused(squib, CHILD("b", DRIVE("data", "a.disk")), "a.disk") &&
	       is_refused(squib, CHILD("b", DRIVE("data", "b.disk") ", " DRIVE("shared", "a.disk")),
			  "a.disk") &&
	       forks(squib, CHILD("b", DRIVE("data", "b.disk"))) &&
	       squib_child(squib, "a", 200, "GET", "/", NULL) &&
	       squib_child(squib, "b", 200, "GET", "/", NULL) && image_has_no_rings(squib) &&
	       squib_expect(squib, "round: ", NULL);
}

/* --- Interfaces --- */

const char *fork_networks_lacks(void)
{
	return geteuid() != 0				 ? "only root can make a TAP"
	       : access("/dev/net/tun", R_OK | W_OK) < 0 ? "there is no /dev/net/tun"
							 : NULL;
}

/* TAPs are made as they are opened, and go with who opened them. */
static bool put_interface(struct squib *squib, unsigned number, unsigned pairs)
{
	char path[64];

	snprintf(path, sizeof(path), "/network-interfaces/eth%u", number);
	return squib_put(squib, path,
			 "{\"iface_id\": \"eth%u\", \"host_dev_name\": \"sq%de%u\", "
			 "\"queue_pairs\": %u}",
			 number, squib->pid % 100000, number, pairs);
}

/*
 * Forks a machine with three interfaces, the first with two queue pairs, to the TAPs `names`. Those
 * of one pair each are compared by kcmp.
 */
static bool fork_networks(struct squib *squib, unsigned status, const char *const names[3])
{
	if (!fork_configure(squib, ", \"forkable\": true")) {
		return false;
	}
	int pid = squib->pid % 100000;

	return put_interface(squib, 0, 2) && put_interface(squib, 1, 1) &&
	       put_interface(squib, 2, 1) && squib_api_start(squib, 204) &&
	       squib_expect(squib, "round: 2", NULL) &&
	       squib_api(squib, status, "PUT", "/fork",
			 "{\"children\": [{\"id\": \"a\", \"api_sock\": \"a.sock\", "
			 "\"ends_with_parent\": true, \"network_overrides\": [{\"iface_id\": "
			 "\"eth0\", \"host_dev_name\": \"sq%d%s\"}, {\"iface_id\": \"eth1\", "
			 "\"host_dev_name\": \"sq%d%s\"}, {\"iface_id\": \"eth2\", "
			 "\"host_dev_name\": \"sq%d%s\"}]}]}",
			 pid, names[0], pid, names[1], pid, names[2]);
}

bool fork_networks_test(struct squib *squib)
{
	static const char *const names[] = {"a0", "a1", "a2"};

	return fork_networks(squib, 200, names) && squib_child(squib, "a", 200, "GET", "/", NULL);
}

/* Whatever is wrong with a child's TAP, the child says it, under its filter. */
bool fork_no_tap_test(struct squib *squib)
{
	static const char *const names[] = {"e1", "a1",
					    "a2"}; /* the first is there, with one queue */

	return fork_networks(squib, 400, names) &&
	       (strstr(squib->answer, "It is no TAP with several queues (multi_queue).") != NULL ||
		squib_fail(squib, "the refusal is: %.300s", squib->answer));
}
