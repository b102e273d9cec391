/* SPDX-License-Identifier: Apache-2.0 */
/*
 * squibctl mem.
 *
 * Theory of operation. `set` asks for a size by PATCH /hotplug/memory, and then looks again and
 * again what the guest has plugged, until that is the size, or nothing has changed for a while: a
 * guest may lack a driver, or be unable to do without its memory.
 */
#include "tools/squibctl/ctl_mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_request.h"
#include "vmm/base/clock.h"

enum {
	PATIENCE_S = 10,
	LOOK_US = 50000,
	BODY_LEN = 64,
};

static const char path[] = "/hotplug/memory";

struct memory {
	json_int_t total, plugged, requested, block; /* MiB */
};

static enum ctl_exit get_memory(int fd, struct memory *memory)
{
	struct ctl_reply reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", path, NULL, &reply);

	if (code != CTL_EXIT_OK) {
		return code;
	}
	json_t *answer = json_loads(reply.body != NULL ? reply.body : "", 0, NULL);

	if (json_unpack(answer, "{s:I, s:I, s:I, s:I}", "plugged_size_mib", &memory->plugged,
			"requested_size_mib", &memory->requested, "total_size_mib", &memory->total,
			"block_size_mib", &memory->block) < 0) {
		code = ctl_fail(
			CTL_EXIT_NO_CONNECTION,
			"The answers on the socket are not squib's; is this its API socket?", NULL);
	}
	json_decref(answer);
	free(reply.body);
	return code;
}

static enum ctl_exit show(int fd)
{
	struct memory memory = {0};
	enum ctl_exit code = get_memory(fd, &memory);

	if (code == CTL_EXIT_OK) {
		printf("plugged    %lld MiB\nrequested  %lld MiB\ntotal      %lld MiB\n"
		       "blocks     %lld MiB\n",
		       (long long)memory.plugged, (long long)memory.requested,
		       (long long)memory.total, (long long)memory.block);
	}
	return code;
}

/* Shows each change, and the end of it. */
static enum ctl_exit follow(int fd)
{
	struct memory memory = {.plugged = -1};
	uint64_t changed = 0;

	for (;;) {
		json_int_t before = memory.plugged;
		enum ctl_exit code = get_memory(fd, &memory);
		uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);

		if (code != CTL_EXIT_OK) {
			return code;
		}
		if (memory.plugged != before) {
			changed = now;
			printf("plugged %lld of %lld MiB\n", (long long)memory.plugged,
			       (long long)memory.requested);
			fflush(stdout);
		}
		if (memory.plugged == memory.requested) {
			return CTL_EXIT_OK;
		}
		if (now - changed > PATIENCE_S * NS_PER_S) {
			return ctl_fail(CTL_EXIT_REFUSED,
					memory.plugged < memory.requested
						? "The guest plugs in no more"
						: "The guest unplugs no more",
					memory.plugged < memory.requested
						? "its kernel logs why; it goes on trying"
						: "it needs the memory, or cannot move what is in "
						  "it; it goes on trying");
		}
		usleep(LOOK_US);
	}
}

/* The size is digits alone (ctl_args.c), which squib judges. */
static enum ctl_exit set(int fd, const char *size)
{
	struct ctl_reply reply = {0};
	char body[BODY_LEN];

	(void)!snprintf(body, sizeof(body), "{\"requested_size_mib\":%.20s}", size);
	enum ctl_exit code = ctl_request(fd, "PATCH", path, body, &reply);

	free(reply.body);
	return code == CTL_EXIT_OK ? follow(fd) : code;
}

enum ctl_exit ctl_mem_run(int fd, const struct ctl_args *args)
{
	return strcmp(args->operands[0], "show") == 0 ? show(fd) : set(fd, args->operands[1]);
}
