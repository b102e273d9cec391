/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that come and go while a guest uses them: nothing of them may be left. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"
#include "tests/lib/api_client.h"

enum {
	WARM_UP = 20,
	CYCLES = 100,
	OWN_KIB = 1024, /* by which the monitor may have grown */
	SECTORS = 128,
	SECTOR_LEN = 512,
	MEM_MIB = 64,
	PCI_KIB = 128, /* of a machine with a bus more than of one without */
};

#define DISK_MARK UINT64_C(0x7371756200000000)

/* What a cycle might leave behind. */
struct mark {
	long fds;
	long threads;
	long mappings;
	long own_kib;
};

static long count_in(const struct squib *squib, const char *what)
{
	char path[64];
	long count = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", squib->pid, what);
	DIR *dir = opendir(path);

	while (dir != NULL && readdir(dir) != NULL) {
		count++;
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return count;
}

static struct mark mark(const struct squib *squib)
{
	struct mark mark = {
		.fds = count_in(squib, "fd"),
		.threads = count_in(squib, "task"),
		.own_kib = proc_own_kib(squib->pid, MEM_MIB, "Anonymous"),
	};
	char path[64];
	char line[512];

	snprintf(path, sizeof(path), "/proc/%d/smaps", squib->pid);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		mark.mappings += strncmp(line, "VmFlags:", 8) == 0;
	}
	if (file != NULL) {
		fclose(file);
	}
	return mark;
}

/* A disk whose words the guest knows. */
static bool make_disk(struct squib *squib)
{
	static uint64_t words[SECTORS * SECTOR_LEN / 8];
	char path[PATH_LEN];

	for (size_t i = 0; i < sizeof(words) / 8; i++) {
		words[i] = DISK_MARK + i * 8;
	}
	squib_path(squib, "disk", path);
	FILE *file = fopen(path, "we");
	bool is_ok = file != NULL && fwrite(words, sizeof(words), 1, file) == 1;

	return file != NULL && fclose(file) == 0 && is_ok
		       ? true
		       : squib_fail(squib, "no disk can be made");
}

static const char *const with_pci[] = {"--enable-pci", NULL};

static bool configure(struct squib *squib, const char *payload, unsigned ports)
{
	char kernel[PATH_LEN];

	payload_path(payload, kernel);
	return squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
			 kernel) &&
	       squib_put(squib, "/machine-config",
			 "{\"vcpu_count\": 2, \"mem_size_mib\": %u, \"pci_hotplug_ports\": %u}",
			 MEM_MIB, ports);
}

static bool start(struct squib *squib, const char *payload, unsigned ports)
{
	return make_disk(squib) && squib_serve(squib, with_pci) &&
	       configure(squib, payload, ports) && squib_api_start(squib, 204);
}

static bool plug(struct squib *squib, const char *id, const char *engine)
{
	char path[64];

	snprintf(path, sizeof(path), "/drives/%s", id);
	return squib_put(squib, path,
			 "{\"drive_id\": \"%s\", \"is_root_device\": false, \"path_on_host\": "
			 "\"disk\", \"io_engine\": \"%s\"}",
			 id, engine);
}

/* Two drives, which go in another order than they came in. */
static bool cycle(struct squib *squib, unsigned round)
{
	bool is_first = round % 2 == 0;

	return plug(squib, "a", round % 3 == 0 ? "Async" : "Sync") &&
	       plug(squib, "b", round % 3 == 1 ? "Async" : "Sync") &&
	       squib_api(squib, 204, "DELETE", is_first ? "/drives/a" : "/drives/b", "%s", "") &&
	       squib_api(squib, 204, "DELETE", is_first ? "/drives/b" : "/drives/a", "%s", "");
}

static bool run_cycles(struct squib *squib, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!cycle(squib, i)) {
			return false;
		}
	}
	return true;
}

static bool run(struct squib *squib, unsigned ports)
{
	if (!start(squib, "plug", ports) || !squib_expect(squib, "plug: ready", NULL) ||
	    !plug(squib, "first", "Sync") || !squib_expect(squib, "plug: used", NULL) ||
	    !run_cycles(squib, WARM_UP)) {
		return false;
	}
	struct mark before = mark(squib);

	if (!run_cycles(squib, CYCLES)) {
		return false;
	}
	struct mark after = mark(squib);

	if (after.fds != before.fds || after.threads != before.threads ||
	    after.mappings > before.mappings + 1 || after.own_kib > before.own_kib + OWN_KIB) {
		return squib_fail(squib,
				  "after %d cycles: %ld descriptors in place of %ld, %ld threads "
				  "(%ld), %ld mappings (%ld), %ld KiB (%ld)",
				  CYCLES, after.fds, before.fds, after.threads, before.threads,
				  after.mappings, before.mappings, after.own_kib, before.own_kib);
	}
	return !squib_says(squib, "WRONG:") || squib_fail(squib, "the guest found something wrong");
}

bool plug_cycles_test(struct squib *squib)
{
	return run(squib, 0);
}

bool plug_ports_test(struct squib *squib)
{
	return run(squib, 2);
}

/* --- A guest that takes its time --- */

/* A request on a connection of its own, whose answer is read later. */
static int ask_beside(struct squib *squib, const char *request)
{
	char path[PATH_LEN];

	squib_path(squib, "api.sock", path);
	int fd = api_connect(path, PATIENCE_MS);

	if (fd < 0 || !api_send(fd, request, strlen(request), PATIENCE_MS)) {
		squib_fail(squib, "cannot ask: %s", request);
	}
	return fd;
}

static bool is_answered(struct squib *squib, int fd, const char *status)
{
	char answer[1024];
	bool is_whole;
	size_t len = api_receive(fd, answer, sizeof(answer) - 1, PATIENCE_MS, &is_whole);

	answer[len] = '\0';
	close(fd);
	return (is_whole && strncmp(answer, status, strlen(status)) == 0) ||
	       squib_fail(squib, "the answer is %s, not %s", answer, status);
}

static bool is_busy(struct squib *squib, const char *method, const char *body)
{
	return squib_api(squib, 400, method, "/drives/a", "%s", body) &&
	       (strstr(squib->answer, "a is being unplugged: wait") != NULL ||
		squib_fail(squib, "%s is answered %.200s", method, squib->answer));
}

/* The API has answers for all others while a request waits for the guest. */
bool plug_patience_test(struct squib *squib)
{
	static const char request[] = "DELETE /drives/a HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = -1;

	if (!squib_open_console(squib) || !start(squib, "ports", 1)) {
		return false;
	}
	for (unsigned round = 0; round < 2; round++) {
		if (!plug(squib, "a", "Sync") || !plug(squib, "b", "Sync") ||
		    !squib_expect(squib, "ports: ready", NULL) ||
		    (fd = ask_beside(squib, request)) < 0 ||
		    !squib_expect(squib, "ports: asked", NULL)) {
			return false;
		}
		if (!squib_api(squib, 200, "GET", "/", "%s", "") ||
		    !squib_api(squib, 204, "PATCH", "/drives/b",
			       "{\"drive_id\": \"b\", \"path_on_host\": \"disk\"}") ||
		    !squib_api(squib, 204, "DELETE", "/drives/b", "%s", "") ||
		    !is_busy(squib, "DELETE", "") ||
		    !is_busy(squib, "PATCH", "{\"drive_id\": \"a\", \"path_on_host\": \"disk\"}")) {
			return false;
		}
		if (!squib_type(squib, "g") || !squib_expect(squib, "ports: given", NULL) ||
		    !is_answered(squib, fd, "HTTP/1.1 204")) {
			return false;
		}
	}
	/* Nobody waits for the guest of a machine that ends. */
	if (!plug(squib, "a", "Sync") || !squib_expect(squib, "ports: ready", NULL) ||
	    (fd = ask_beside(squib, request)) < 0 || !squib_expect(squib, "ports: asked", NULL)) {
		return false;
	}
	return squib_type(squib, "q") && squib_ends(squib, 0) &&
	       is_answered(squib, fd, "HTTP/1.1 400");
}

/* --- What a bus costs --- */

static bool start_idle(struct squib *squib, long *own_kib)
{
	if (!configure(squib, "idle", 0) || !plug(squib, "a", "Async") ||
	    !plug(squib, "b", "Sync") || !squib_api_start(squib, 204) ||
	    !squib_expect(squib, "idle: ready", NULL)) {
		return false;
	}
	*own_kib = proc_own_kib(squib->pid, MEM_MIB, "Anonymous");
	return true;
}

bool plug_memory_test(struct squib *squib)
{
	long without = 0;
	long with = 0;

	if (!make_disk(squib) || !squib_serve(squib, NULL) || !start_idle(squib, &without) ||
	    !squib_replace(squib, with_pci) || !start_idle(squib, &with)) {
		return false;
	}
	return with <= without + PCI_KIB ||
	       squib_fail(squib, "a machine with a bus has %ld KiB of its own, not %ld", with,
			  without);
}
