/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forks.
 *
 * Theory of operation. Child number N is called <name>-N, and its socket and its console are in the
 * directory that was named, as squib sees it. In what children override a % stands for N. They are
 * asked for in batches that fit into a request: the first one makes the image and keeps it, the
 * others are of the same instant, and in the end the image is dropped unless it is to be kept.
 */
#include "tools/squibctl/ctl_fork.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/lib/progress.h"
#include "tools/squibctl/ctl_overrides.h"
#include "tools/squibctl/ctl_request.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

enum {
	BATCH = 64,	    /* children of a request */
	COUNT_MAX = 100000, /* of a command */
};

struct job {
	const struct ctl_args *args;
	unsigned long count;
	const char *image; /* that is kept by now; NULL: none */
	bool has_head;	   /* the line above those of the children is printed */
	char own_image[32];
};

static json_t *child(const struct ctl_args *args, unsigned long number)
{
	const char *name = args->name != NULL ? args->name : "child";
	AUTO_FREE char *id = NULL;
	AUTO_FREE char *path = NULL;
	size_t i;
	json_t *drive;

	if (asprintf(&id, "%s-%lu", name, number) < 0 ||
	    asprintf(&path, "%s/%s", args->operands[0], id) < 0) {
		return NULL;
	}
	json_t *json = json_pack(
		"{s:s, s:s++, s:s++, s:b, s:b, s:o, s:o, s:o}", "id", id, "api_sock", path, ".sock",
		"", "serial_out_path", path, ".out", "", "paused", args->paused, "ends_with_parent",
		args->ends_with_parent, "drive_overrides",
		ctl_overrides(&args->drives, "drive_id", "path_on_host", number), "pmem_overrides",
		ctl_overrides(&args->pmems, "id", "path_on_host", number), "network_overrides",
		ctl_overrides(&args->nets, "iface_id", "host_dev_name", number));

	json_array_foreach(json_object_get(json, "drive_overrides"), i, drive)
	{
		json_object_set_new(drive, "copy", json_boolean(args->copy));
	}
	if (json != NULL && args->vsock != NULL) {
		json_object_set_new(
			json, "vsock_override",
			json_pack("{s:o}", "uds_path", ctl_expanded(args->vsock, number)));
	}
	return json;
}

/* The request for children first ... first + count - 1; NULL if memory is short. */
static char *body(const struct job *job, unsigned long first, unsigned long count)
{
	json_t *list = json_array();
	bool keeps = job->image == NULL && (job->args->keep != NULL || count < job->count);

	for (unsigned long i = 0; i < count; i++) {
		json_array_append_new(list, child(job->args, first + i));
	}
	json_t *json = json_pack("{s:o, s:b, s:s*, s:s*, s:o*}", "children", list, "all_or_none", 0,
				 "image", job->image, "keep", keeps ? job->own_image : NULL,
				 "landlock", job->args->landlock ? json_true() : NULL);
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return text;
}

static const char *text_of(json_t *child, const char *key)
{
	const char *text = json_string_value(json_object_get(child, key));

	return text != NULL ? text : "?";
}

static unsigned count_failed(json_t *children)
{
	unsigned failed = 0;
	size_t i;
	json_t *child;

	json_array_foreach(children, i, child)
	{
		failed += json_object_get(child, "error") != NULL;
	}
	return failed;
}

/* One line per child. */
static void print_children(struct job *job, json_t *children)
{
	size_t i;
	json_t *child;

	if (!job->has_head) {
		printf("%-20s %10s  %s\n", "ID", "PID", "SOCKET");
		job->has_head = true;
	}
	json_array_foreach(children, i, child)
	{
		if (json_object_get(child, "error") != NULL) {
			printf("%-20s %10s  %s\n", text_of(child, "id"), "failed",
			       text_of(child, "error"));
		} else {
			printf("%-20s %10lld  %s\n", text_of(child, "id"),
			       (long long)json_integer_value(json_object_get(child, "pid")),
			       text_of(child, "api_sock"));
		}
	}
}

/* What fails for all has one cause, such as a directory that is missing: told once. */
static enum ctl_exit fail_all(json_t *children)
{
	json_t *first = json_array_get(children, 0);

	fprintf(stderr, "squibctl: no child was made; of %s, the first: %s\n", text_of(first, "id"),
		text_of(first, "error"));
	return CTL_EXIT_REFUSED;
}

static enum ctl_exit tell(struct job *job, const char *answer, unsigned *failed)
{
	json_t *json = json_loads(answer != NULL ? answer : "", 0, NULL);
	json_t *children = json_object_get(json, "children");
	unsigned count = count_failed(children);
	enum ctl_exit code = CTL_EXIT_OK;

	if (count > 1 && count == json_array_size(children)) {
		code = fail_all(children);
	} else {
		print_children(job, children);
	}
	*failed += count;
	json_decref(json);
	return code;
}

static enum ctl_exit fork_batch(int fd, struct job *job, unsigned long first, unsigned long count,
				unsigned *failed)
{
	AUTO_FREE char *text = body(job, first, count);
	struct ctl_reply reply = {0};

	if (text == NULL) {
		return ctl_fail(CTL_EXIT_USAGE, "A name on the command line is no UTF-8", NULL);
	}
	enum ctl_exit code = ctl_request(fd, "PUT", "/fork", text, &reply);

	if (code == CTL_EXIT_OK) {
		job->image = job->image != NULL ? job->image : job->own_image;
		code = tell(job, reply.body, failed);
	}
	free(reply.body);
	return code;
}

static void drop_image(int fd, const struct job *job)
{
	char path[64];
	struct ctl_reply reply = {0};

	snprintf(path, sizeof(path), "/fork/%s", job->own_image);
	(void)ctl_request(fd, "DELETE", path, NULL, &reply);
	free(reply.body);
}

static bool read_count(const char *text, unsigned long *count)
{
	char *end;

	*count = text != NULL ? strtoul(text, &end, 10) : 1;
	return text == NULL || (*text != '\0' && *end == '\0' && *count > 0 && *count <= COUNT_MAX);
}

enum ctl_exit ctl_fork_run(int fd, const struct ctl_args *args)
{
	struct job job = {.args = args, .image = args->image};
	struct progress progress;
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);
	enum ctl_exit code = CTL_EXIT_OK;
	unsigned failed = 0;
	unsigned long done = 0;

	if (!read_count(args->count, &job.count)) {
		return ctl_fail(CTL_EXIT_USAGE, "--count is a number from 1 to 100000", NULL);
	}
	snprintf(job.own_image, sizeof(job.own_image), "%s",
		 args->keep != NULL ? args->keep : "squibctl");
	progress_begin(&progress, "forking", 0);
	while (done < job.count && code == CTL_EXIT_OK) {
		unsigned long left = job.count - done;
		unsigned long count = left < BATCH ? left : BATCH;

		code = fork_batch(fd, &job, done + 1, count, &failed);
		done += count;
	}
	progress_end(&progress);
	if (job.count > BATCH && args->keep == NULL && args->image == NULL && done > 0) {
		drop_image(fd, &job);
	}
	if (code != CTL_EXIT_OK) {
		return code;
	}
	unsigned long made = job.count - failed;

	fprintf(stderr, "%lu %s in %.3f s\n", made, made == 1 ? "child" : "children",
		(double)(clock_host.now_ns(CLOCK_MONOTONIC) - begin) / NS_PER_S);
	return failed == 0 ? CTL_EXIT_OK : CTL_EXIT_REFUSED;
}
