/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines that are handed on by descriptor: a live snapshot to memfds that came with the request,
 * which are sealed, and loads of them in other processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/forks.h"
#include "tests/e2e/guest_test.h"
#include "tests/lib/api_client.h"
#include "tests/lib/squib.h"

enum {
	FDS_MAX = 6,
	MEMORY = 64 << 20, /* bytes of the guest */
	SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
};

#define SAVE "PUT", "/snapshot/create"
#define LOAD "PUT", "/snapshot/load"
#define LIVE "{\"snapshot_type\": \"Live\", \"snapshot_path\": \"%s\", \"mem_file_path\": \"%s\"}"
#define FROM                                                                                       \
	"{\"snapshot_path\": \"%s\", \"mem_backend\": {\"backend_type\": \"File\", "               \
	"\"backend_path\": \"%s\"}, \"resume_vm\": true}"

struct handed {
	int fds[FDS_MAX];
	size_t count;
};

/* All of a request in one message, with the descriptors beside it. */
static bool send_with(int fd, const char *text, size_t len, const struct handed *handed)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {(char *)text, len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (handed->count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(handed->count * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(handed->count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), handed->fds, handed->count * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)len;
}

/* A request that comes with descriptors. `why`: what the refusal says; NULL: it is done. */
__attribute__((format(printf, 6, 7))) static bool ask(struct squib *squib,
						      const struct handed *handed, const char *why,
						      const char *method, const char *path,
						      const char *fmt, ...)
{
	char body[512];
	char text[1024];
	bool is_whole;
	va_list args;

	va_start(args, fmt);
	int body_len = vsnprintf(body, sizeof(body), fmt, args);

	va_end(args);
	size_t len = api_format_request(text, sizeof(text), method, path, body, (size_t)body_len);

	if (!send_with(squib->api, text, len, handed)) {
		return squib_fail(squib, "cannot send descriptors: %s", strerror(errno));
	}
	len = api_receive(squib->api, squib->answer, ANSWER_LEN - 1, PATIENCE_MS, &is_whole);
	squib->answer[len] = '\0';
	bool is_done = strncmp(squib->answer, "HTTP/1.1 204", 12) == 0;

	return (is_whole && (why == NULL ? is_done : strstr(squib->answer, why) != NULL)) ||
	       squib_fail(squib, "%s with %s: %.300s", path, body, squib->answer);
}

static int new_memfd(void)
{
	return memfd_create("handed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

static void close_all(struct handed *handed)
{
	for (size_t i = 0; i < handed->count; i++) {
		close(handed->fds[i]);
	}
	handed->count = 0;
}

static struct handed two_memfds(void)
{
	return (struct handed){{new_memfd(), new_memfd()}, 2};
}

/* Whoever has one of them can neither write to it nor cut it. */
static bool are_sealed(struct squib *squib, const struct handed *handed)
{
	for (size_t i = 0; i < handed->count; i++) {
		int fd = handed->fds[i];

		if (fcntl(fd, F_GET_SEALS) != SEALS || pwrite(fd, "x", 1, 0) >= 0 ||
		    ftruncate(fd, 0) == 0 || ftruncate(fd, 2L * MEMORY) == 0) {
			return squib_fail(squib, "descriptor %zu is not sealed", i);
		}
	}
	struct stat st;

	return (fstat(handed->fds[1], &st) == 0 && st.st_size == MEMORY) ||
	       squib_fail(squib, "the memory is not as long as the guest's");
}

/* What a live snapshot is not written to. */
static bool refuse_saves(struct squib *squib)
{
	struct handed files = two_memfds();
	struct handed none = {.count = 0};
	struct handed many = {{files.fds[0], files.fds[1], files.fds[0], files.fds[1], files.fds[0],
			       files.fds[1]},
			      FDS_MAX};
	int plain = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int unsealable = memfd_create("unsealable", MFD_CLOEXEC);
	struct handed wrong = {{files.fds[0], plain, unsealable}, 3};
	bool ok = ask(squib, &none, "sent:0 did not come", SAVE, LIVE, "sent:1", "sent:0") &&
		  ask(squib, &files, "sent:2 did not come", SAVE, LIVE, "sent:0", "sent:2") &&
		  ask(squib, &files, "sent:1 is named twice", SAVE, LIVE, "sent:1", "sent:1") &&
		  ask(squib, &files, "sent:x is no descriptor", SAVE, LIVE, "sent:0", "sent:x") &&
		  ask(squib, &files, "sent:10 is no descriptor", SAVE, LIVE, "sent:0", "sent:10") &&
		  ask(squib, &files, "Either both files", SAVE, LIVE, "sent:0", "memory") &&
		  ask(squib, &many, "More than 4 descriptors", SAVE, LIVE, "sent:0", "sent:1") &&
		  ask(squib, &wrong, "sent:1 can't be sealed", SAVE, LIVE, "sent:0", "sent:1") &&
		  ask(squib, &wrong, "sent:2 can't be sealed", SAVE, LIVE, "sent:0", "sent:2") &&
		  ask(squib, &files, "Only a live snapshot is written to descriptors", SAVE,
		      "{\"snapshot_path\": \"sent:0\", \"mem_file_path\": \"sent:1\"}");

	close(plain);
	close(unsealable);
	close_all(&files);
	return ok;
}

/* Somebody could write to it still. */
static bool refuse_mapped(struct squib *squib)
{
	struct handed files = two_memfds();
	void *page = MAP_FAILED;

	if (ftruncate(files.fds[1], MEMORY) == 0) {
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, files.fds[1], 0);
	}
	bool ok = page != MAP_FAILED && ask(squib, &files, NULL, SAVE, LIVE, "sent:0", "sent:1") &&
		  live_await(squib, "Cannot seal sent:1");

	munmap(page, 4096);
	close_all(&files);
	return ok;
}

/* What no machine has its memory from. */
static bool refuse_loads(struct squib *squib, const struct handed *files)
{
	int unsealed = new_memfd();
	int cut = new_memfd();
	int pair[2];

	if (ftruncate(unsealed, MEMORY) < 0 || ftruncate(cut, MEMORY / 2) < 0 ||
	    fcntl(cut, F_ADD_SEALS, SEALS) < 0 || pipe(pair) < 0) {
		return squib_fail(squib, "cannot make memfds: %s", strerror(errno));
	}
	const struct handed wrong = {{files->fds[0], unsealed, cut, pair[0]}, 4};
	bool ok = ask(squib, &wrong, "sent:1 is not sealed", LOAD, FROM, "sent:0", "sent:1") &&
		  ask(squib, &wrong, "sent:1 is not sealed", LOAD, FROM, "sent:1", "sent:0") &&
		  ask(squib, &wrong, "The memory file has 33554432 bytes", LOAD, FROM, "sent:0",
		      "sent:2") &&
		  ask(squib, &wrong, "sent:3 is not a regular file", LOAD, FROM, "sent:0",
		      "sent:3") &&
		  ask(squib, &wrong, "sent:3 is not a regular file", LOAD, FROM, "sent:3",
		      "sent:2") &&
		  ask(squib, files, "sent:2 did not come", LOAD, FROM, "sent:0", "sent:2") &&
		  ask(squib, files, "sent:0 is named twice", LOAD, FROM, "sent:0", "sent:0");

	close(unsealed);
	close(cut);
	close(pair[0]);
	close(pair[1]);
	return ok;
}

static bool goes_on(struct squib *squib)
{
	return squib_expect(squib, "round: ", NULL) && squib_expect(squib, "round: ", NULL);
}

bool handed_on_test(struct squib *squib)
{
	if (!fork_start(squib, ", \"forkable\": true")) {
		return false;
	}
	unsigned before = fork_descriptors(squib->pid);

	if (!refuse_saves(squib) || !refuse_mapped(squib)) {
		return false;
	}
	struct handed files = two_memfds();

	if (!ask(squib, &files, NULL, SAVE, LIVE, "sent:0", "sent:1") ||
	    !live_await(squib, "Done") || !are_sealed(squib, &files) ||
	    !squib_expect(squib, "round: ", NULL) ||
	    /* What is refused afterwards changes nothing that is told of it. */
	    !refuse_saves(squib) || !live_await(squib, "Done")) {
		return false;
	}
	unsigned after = fork_descriptors(squib->pid);

	if (before != after) {
		return squib_fail(squib, "%u descriptors have become %u", before, after);
	}
	/* Loads that are refused leave a squib that loads; and the machine can be handed on again.
	 */
	bool ok = squib_replace(squib, NULL) && refuse_loads(squib, &files) &&
		  ask(squib, &files, NULL, LOAD, FROM, "sent:0", "sent:1") && goes_on(squib);
	struct handed next = two_memfds();

	ok = ok && ask(squib, &next, NULL, SAVE, LIVE, "sent:0", "sent:1") &&
	     live_await(squib, "Done") && goes_on(squib) && squib_replace(squib, NULL) &&
	     ask(squib, &next, NULL, LOAD, FROM, "sent:0", "sent:1") && goes_on(squib);
	close_all(&next);
	close_all(&files);
	return ok;
}
