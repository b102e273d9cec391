/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a page fault handler brings: a process of the test, which serves pages of the memory
 * file as Firecracker's handlers do, or misbehaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/devices/machine.h"
#include "tests/lib/huge_pool.h"

enum {
	COUNTED = 20,
	SERVED_BY_DEAD = 4, /* pages */
	REGIONS_MAX = 4,
	MEM_MIB = 16,
};

struct region {
	unsigned long long base, size, offset, page_size;
};

struct handler {
	int listener;
	int socket;
	int uffd;
	const char *memory; /* the memory file, mapped */
	size_t memory_len;
	struct region regions[REGIONS_MAX];
	size_t region_count;
};

/* --- the handler, which is a process of its own --- */

static void die(const char *what)
{
	perror(what);
	_exit(EXIT_FAILURE);
}

/* Takes the descriptor and the regions out of the one message. */
static void shake_hands(struct handler *handler)
{
	static char message[4096];
	struct iovec iov = {message, sizeof(message) - 1};
	char control[CMSG_SPACE(sizeof(int))];
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};

	handler->socket = accept(handler->listener, NULL, NULL);
	ssize_t len = recvmsg(handler->socket, &msg, MSG_CMSG_CLOEXEC);

	if (len <= 0 || CMSG_FIRSTHDR(&msg) == NULL) {
		die("no handshake");
	}
	memcpy(&handler->uffd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	for (const char *at = message; (at = strchr(at, '{')) != NULL; at++) {
		struct region *region = &handler->regions[handler->region_count];

		if (handler->region_count == REGIONS_MAX ||
		    sscanf(at,
			   "{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,"
			   "\"page_size\":%llu",
			   &region->base, &region->size, &region->offset,
			   &region->page_size) != 4) {
			die("the handshake's regions");
		}
		handler->region_count++;
	}
}

static void serve_fault(const struct handler *handler, unsigned long long address)
{
	for (size_t i = 0; i < handler->region_count; i++) {
		const struct region *region = &handler->regions[i];
		unsigned long long page = address & ~(region->page_size - 1);
		struct uffdio_copy copy = {
			.dst = page,
			.src = (uintptr_t)handler->memory + region->offset + (page - region->base),
			.len = region->page_size,
		};

		if (address >= region->base && address < region->base + region->size) {
			if (ioctl(handler->uffd, UFFDIO_COPY, &copy) < 0 && errno != EEXIST) {
				die("UFFDIO_COPY");
			}
			return;
		}
	}
	die("a fault outside of all regions");
}

/* Serves `most` faults, or until squib hangs up. */
static void serve(struct handler *handler, unsigned most)
{
	struct pollfd fds[] = {{.fd = handler->uffd, .events = POLLIN},
			       {.fd = handler->socket, .events = POLLIN}};

	for (unsigned served = 0; served < most && poll(fds, 2, -1) > 0 && fds[1].revents == 0;) {
		struct uffd_msg event;

		if (read(handler->uffd, &event, sizeof(event)) == sizeof(event) &&
		    event.event == UFFD_EVENT_PAGEFAULT) {
			serve_fault(handler, event.arg.pagefault.address);
			served++;
		}
	}
}

static bool listen_at(struct squib *squib, const char *name, int *listener)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[PATH_LEN];

	squib_path(squib, name, path);
	unlink(path);
	if (strlen(path) >= sizeof(address.sun_path)) {
		return squib_fail(squib, "the handler's path is too long");
	}
	strcpy(address.sun_path, path);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return (bind(*listener, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
		listen(*listener, 1) == 0) ||
	       squib_fail(squib, "the handler can't listen");
}

/* Starts a handler that serves `most` faults and then ends; its pid, or -1. */
static pid_t start_handler(struct squib *squib, unsigned most)
{
	struct handler handler = {0};

	if (!listen_at(squib, "pager.sock", &handler.listener)) {
		return -1;
	}
	pid_t pid = fork();

	if (pid == 0) {
		char path[PATH_LEN];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		squib_path(squib, "memory", path);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		handler.memory_len = (size_t)lseek(fd, 0, SEEK_END);
		handler.memory = mmap(NULL, handler.memory_len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (fd < 0 || handler.memory == MAP_FAILED) {
			die("the memory file");
		}
		shake_hands(&handler);
		serve(&handler, most);
		_exit(EXIT_SUCCESS);
	}
	close(handler.listener);
	return pid;
}

/* --- tests --- */

static bool expect_count(struct squib *squib, unsigned count)
{
	bool is_ok = true;

	while (count-- > 0 && is_ok) {
		is_ok = squib_expect(squib, "count: ", NULL);
	}
	return is_ok;
}

/* As files; its process ends, and another one waits for a load. */
static bool save_and_end(struct squib *squib)
{
	char path[PATH_LEN];

	if (!squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") ||
	    !squib_put(squib, "/snapshot/create",
		       "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}")) {
		return false;
	}
	squib_stop(squib);
	squib_path(squib, "api.sock", path);
	unlink(path);
	return squib_serve(squib, NULL);
}

/* A machine that counts. */
static bool make_snapshot_on(struct squib *squib, const char *pages)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = MEM_MIB, .payload = "count"};

	return machine_configure(squib, &guest) &&
	       squib_patch(squib, "/machine-config", "{\"huge_pages\": \"%s\"}", pages) &&
	       squib_api_start(squib, 204) && expect_count(squib, COUNTED) && save_and_end(squib);
}

static bool make_snapshot(struct squib *squib)
{
	return make_snapshot_on(squib, "None");
}

static bool load(struct squib *squib)
{
	return squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_path\": "
			 "\"pager.sock\", \"backend_type\": \"Uffd\"}, \"resume_vm\": true}");
}

/* Saved again it has all of the memory, also what the handler had not brought: it loads. */
static bool save_and_load_file(struct squib *squib)
{
	char path[PATH_LEN];

	if (!squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") ||
	    !squib_put(squib, "/snapshot/create",
		       "{\"snapshot_path\": \"state2\", \"mem_file_path\": \"memory2\"}")) {
		return false;
	}
	squib_stop(squib);
	squib_path(squib, "api.sock", path);
	unlink(path);
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state2\", \"mem_backend\": {\"backend_path\": "
			 "\"memory2\", \"backend_type\": \"File\"}, \"resume_vm\": true}") &&
	       expect_count(squib, COUNTED);
}

static bool has_huge_pages(struct squib *squib)
{
	return huge_pool("free_hugepages") < huge_pool("nr_hugepages") ||
	       squib_fail(squib, "no page of the machine is one of 2 MiB");
}

static bool run_handler_on(struct squib *squib, const char *pages, bool is_huge)
{
	pid_t pid = make_snapshot_on(squib, pages) ? start_handler(squib, UINT32_MAX) : -1;
	int status = -1;
	bool is_ok = pid > 0 && load(squib) && expect_count(squib, COUNTED) &&
		     (!is_huge || has_huge_pages(squib)) && save_and_load_file(squib);

	if (pid > 0) {
		/* Squib's end is the handler's. */
		squib_stop(squib);
		waitpid(pid, &status, 0);
	}
	return is_ok &&
	       (status == 0 || squib_fail(squib, "the handler ended with status %#x", status));
}

static bool run_handler(struct squib *squib)
{
	return run_handler_on(squib, "None", false);
}

/* Where nobody else needs the pool: it is set, and set back. */
static bool run_huge_handler(struct squib *squib)
{
	long old = huge_pool("nr_hugepages");
	bool is_ok = (huge_pool_set(MEM_MIB / 2) ||
		      squib_fail(squib, "the pool can't be of %d pages", MEM_MIB / 2)) &&
		     run_handler_on(squib, "2M", true);

	(void)!huge_pool_set(old);
	return is_ok;
}

static bool resize(struct squib *squib, int mib, const char *answer)
{
	return squib_patch(squib, "/hotplug/memory", "{\"requested_size_mib\": %d}", mib) &&
	       squib_expect(squib, answer, NULL);
}

static bool make_plugged_snapshot(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = MEM_MIB, .payload = "hotplug"};

	return machine_configure(squib, &guest) &&
	       squib_put(squib, "/hotplug/memory", "{\"total_size_mib\": 128}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "hotplug: ready", NULL) &&
	       resize(squib, 64, "hotplug: plugged 0x20") && save_and_end(squib);
}

/* The guest finds what it had plugged in, plugs in more and gives all away. */
static bool run_plugged(struct squib *squib)
{
	pid_t pid = make_plugged_snapshot(squib) ? start_handler(squib, UINT32_MAX) : -1;
	int status = -1;
	bool is_ok = pid > 0 && load(squib) && resize(squib, 128, "hotplug: plugged 0x40") &&
		     resize(squib, 0, "hotplug: unplugged") && save_and_end(squib);

	if (pid > 0) {
		squib_stop(squib);
		waitpid(pid, &status, 0);
	}
	return is_ok &&
	       (status == 0 || squib_fail(squib, "the handler ended with status %#x", status));
}

/*
 * It brings what the load itself writes to (generation id, VMClock) and little more, and dies: the
 * guest stands still, and the API answers.
 */
static bool run_dead_handler(struct squib *squib)
{
	pid_t pid = make_snapshot(squib) ? start_handler(squib, SERVED_BY_DEAD) : -1;
	bool is_ok = pid > 0 && load(squib);

	if (pid > 0) {
		waitpid(pid, NULL, 0);
	}
	for (unsigned i = 0; i < 3 && is_ok; i++) {
		is_ok = squib_api(squib, 200, "GET", "/", NULL) &&
			squib_api(squib, 200, "GET", "/vm/config", NULL);
		usleep(20000);
	}
	return is_ok && (kill(squib->pid, SIGTERM) == 0) && squib_ends(squib, KILLED_BY + SIGTERM);
}

/* Nobody is there: the load is refused, and the process takes another one. */
static bool run_no_handler(struct squib *squib)
{
	return make_snapshot(squib) &&
	       squib_api(squib, 400, "PUT", "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_path\": "
			 "\"pager.sock\", \"backend_type\": \"Uffd\"}}") &&
	       (strstr(squib->answer, "Failed to connect to UDS Unix stream: No such file") !=
			NULL ||
		squib_fail(squib, "the refusal is %.300s", squib->answer)) &&
	       squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\", "
			 "\"resume_vm\": true}") &&
	       expect_count(squib, COUNTED);
}

const struct device_test pager_tests[] = {
	{"payload pager: a page fault handler brings the memory", run_handler, 60},
	{"payload pager: a page fault handler brings memory that is plugged in", run_plugged, 60},
	{"payload pager: a handler that dies holds the guest and not the API", run_dead_handler,
	 60},
	{"payload pager: without a handler nothing is loaded", run_no_handler, 60},
	{"pager: a page fault handler brings pages of 2 MiB", run_huge_handler, 120},
	{NULL, NULL, 0},
};
