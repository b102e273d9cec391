/* SPDX-License-Identifier: Apache-2.0 */
/* Drives that a fork copies by reference, on a file system that can: XFS on a loop device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/squib.h"

enum {
	FILE_SYSTEM_LEN = 320 << 20, /* mkfs.xfs makes no smaller ones */
};

const char *fork_copies_lacks(void)
{
	char line[64];
	bool has_xfs = false;
	FILE *list = fopen("/proc/filesystems", "re");

	while (list != NULL && fgets(line, sizeof(line), list) != NULL) {
		has_xfs = has_xfs || strcmp(line, "\txfs\n") == 0;
	}
	if (list != NULL) {
		fclose(list);
	}
	return geteuid() != 0				? "only root can mount"
	       : !has_xfs				? "this kernel has no XFS"
	       : access("/usr/sbin/mkfs.xfs", X_OK) < 0 ? "there is no mkfs.xfs"
							: NULL;
}

static bool mount_xfs(struct squib *squib)
{
	char path[PATH_LEN];
	char command[PATH_LEN + 128];

	squib_path(squib, "fs", path);
	if (mkdir(path, 0700) < 0 || !squib_write(squib, "fs.img", "")) {
		return squib_fail(squib, "cannot make a directory");
	}
	squib_path(squib, "fs.img", path);
	snprintf(command, sizeof(command),
		 "cd %s && /usr/sbin/mkfs.xfs -q -m reflink=1 fs.img && mount -o loop fs.img fs",
		 squib->dir);
	return (truncate(path, FILE_SYSTEM_LEN) == 0 && system(command) == 0) ||
	       squib_fail(squib, "cannot mount an XFS");
}

#define CHILD(name, disk)                                                                          \
	"{\"id\": \"" name "\", \"api_sock\": \"" name ".sock\", \"ends_with_parent\": true, "     \
	"\"drive_overrides\": [{\"drive_id\": \"data\", \"path_on_host\": \"" disk                 \
	"\", \"copy\": true}]}"

static bool is_refused(struct squib *squib, const char *body, const char *why)
{
	return squib_api(squib, 400, "PUT", "/fork", "%s", body) &&
	       (strstr(squib->answer, why) != NULL ||
		squib_fail(squib, "the refusal is: %.400s", squib->answer));
}

static bool holds(struct squib *squib, const char *name, const char *content)
{
	char *text = squib_text(squib, name);
	bool ok = text != NULL && strcmp(text, content) == 0;

	free(text);
	return ok || squib_fail(squib, "%s does not hold \"%s\"", name, content);
}

static bool start(struct squib *squib, const char *data)
{
	return squib_write(squib, data, "then") && fork_configure(squib, ", \"forkable\": true") &&
	       squib_put(squib, "/drives/data",
			 "{\"drive_id\": \"data\", \"path_on_host\": \"%s\", "
			 "\"is_root_device\": false}",
			 data) &&
	       squib_api_start(squib, 204) && squib_expect(squib, "round: 2", NULL);
}

static bool copy_all(struct squib *squib)
{
	return start(squib, "fs/data") &&
	       squib_api(squib, 200, "PUT", "/fork",
			 "{\"keep\": \"i\", \"children\": [" CHILD("a", "fs/a") ", " CHILD(
				 "b", "fs/b") "]}") &&
	       holds(squib, "fs/a", "then") && holds(squib, "fs/b", "then") &&
	       squib_child(squib, "a", 200, "GET", "/", NULL) &&
	       /* What is kept is of that instant. */
	       squib_write(squib, "fs/data", "now") && holds(squib, "fs/a", "then") &&
	       squib_api(squib, 200, "PUT", "/fork",
			 "{\"image\": \"i\", \"children\": [" CHILD("c", "fs/c") "]}") &&
	       holds(squib, "fs/c", "then");
}

/* Whatever fails leaves no file, and overwrites none. */
static bool copy_nothing(struct squib *squib)
{
	return is_refused(squib, "{\"children\": [" CHILD("d", "fs/a") "]}", "File exists") &&
	       holds(squib, "fs/a", "then") &&
	       is_refused(squib,
			  "{\"children\": [" CHILD("d", "fs/d") ", {\"id\": \"e\", "
								"\"api_sock\": \"none/e\"}]}",
			  "No child was made") &&
	       (fork_is_gone(squib, "fs/d") || squib_fail(squib, "a copy is left")) &&
	       is_refused(squib, "{\"children\": [" CHILD("d", "d") "]}",
			  "that is another file system than that of fs/data") &&
	       squib_api(squib, 200, "PUT", "/fork", "{\"keep\": \"plain\"}") &&
	       is_refused(squib, "{\"image\": \"plain\", \"children\": [" CHILD("d", "fs/d") "]}",
			  "The image has no copy of drive `data`") &&
	       (fork_is_gone(squib, "fs/d") || squib_fail(squib, "a copy is left"));
}

bool fork_copies_test(struct squib *squib)
{
	char path[PATH_LEN];
	bool ok = mount_xfs(squib) && copy_all(squib) && copy_nothing(squib);

	squib_stop(squib);
	ok = fork_all_end(squib) && ok;
	squib_path(squib, "fs", path);
	umount2(path, MNT_DETACH);
	return ok;
}

/* On a file system that can't, which is most likely that of the test's directory. */
bool fork_no_copies_test(struct squib *squib)
{
	return start(squib, "data") &&
	       is_refused(squib, "{\"children\": [" CHILD("a", "a") "]}",
			  "is on a file system that can't copy by reference (") &&
	       (fork_is_gone(squib, "a") || squib_fail(squib, "a copy is left")) &&
	       squib_expect(squib, "round: ", NULL);
}
