/* SPDX-License-Identifier: Apache-2.0 */
/* A whole microVM for units. */
#include "tests/unit/api_bed.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/router.h"
#include "api/server.h"
#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

enum {
	SETTLE_TRIES = 1000, /* milliseconds */
};

struct api_bed api_bed;

static char kernel_path[64];

static void *do_nothing(void *arg)
{
	return arg;
}

void api_bed_init(void)
{
	const struct metric_group *groups[TELEMETRY_GROUPS_MAX];
	struct error err = {0};
	pthread_t thread;

	/* ThreadSanitizer's own thread starts with the first of ours. */
	cr_assert(pthread_create(&thread, NULL, do_nothing, NULL) == 0);
	pthread_join(thread, NULL);
	capture_log(LOG_INFO);
	(void)!snprintf(kernel_path, sizeof(kernel_path), "/proc/self/fd/%d",
			file_of("the kernel", 10));
	api_bed = (struct api_bed){0};
	cr_assert(evloop_init(&api_bed.loop, &err) == 0, "%s", err.msg);
	telemetry_init(&api_bed.telemetry, groups,
		       resource_metric_groups(groups, ARRAY_COUNT(groups)));
	api_bed.microvm.controller = (struct controller){
		.loop = &api_bed.loop,
		.timeline = &api_bed.timeline,
		.id = "tester",
		.telemetry = &api_bed.telemetry,
		.confine = &api_bed.confine,
	};
	api_bed.microvm.metadata_max = 64;
	microvm_init(&api_bed.microvm);
}

void api_bed_destroy(void)
{
	microvm_destroy(&api_bed.microvm);
	telemetry_destroy(&api_bed.telemetry);
	evloop_destroy(&api_bed.loop);
}

struct http_response api_bed_request(const char *line, const char *body)
{
	static const char *const methods[HTTP_METHODS] = {"GET ", "PUT ", "PATCH ", "DELETE "};
	struct router router = {
		.execute = request_run_here,
		.arg = &api_bed.microvm,
		.api = &api_bed.telemetry.api,
		.metrics = &api_bed.telemetry.metrics,
	};
	struct http_request request = {
		.body = body,
		.body_len = body != NULL ? strlen(body) : 0,
	};
	struct http_response response = {0};

	while (strncmp(line, methods[request.method], strlen(methods[request.method])) != 0) {
		request.method++;
	}
	request.path = line + strlen(methods[request.method]);
	router_handle(&router, &request, &response);
	while (response.owed != NULL) {
		struct http_owed *owed = response.owed;
		struct pollfd event = {.fd = owed->fd, .events = POLLIN};

		response = (struct http_response){0};
		router_resume(&router, owed, poll(&event, 1, -1) <= 0, &response);
	}
	return response;
}

void api_bed_expect(const char *line, const char *body, const char *answer)
{
	struct http_response response = api_bed_request(line, body);
	unsigned status = 204;

	if (answer != NULL) {
		status = strncmp(answer, "{\"fault_message\"", 16) == 0 ? 400 : 200;
	}
	cr_expect_eq(response.status, status, "%s %s: %u %s", line, body, response.status,
		     response.body);
	if (answer == NULL) {
		cr_expect_null(response.body, "%s: %s", line, response.body);
	} else {
		cr_assert_not_null(response.body, "%s", line);
		cr_expect_str_eq(response.body, answer, "%s %s: %s", line, body, response.body);
		cr_expect_eq(response.body_len, strlen(answer));
	}
	cr_expect_null(response.content_type);
	free(response.body);
}

void api_bed_expect_all(const struct api_bed_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		api_bed_expect(cases[i].line, cases[i].body, cases[i].answer);
	}
}

void api_bed_put_kernel(void)
{
	char body[128];

	(void)!snprintf(body, sizeof(body), "{\"kernel_image_path\":\"%s\"}", kernel_path);
	api_bed_expect("PUT /boot-source", body, NULL);
}

void api_bed_start(void)
{
	api_bed_put_kernel();
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}", NULL);
}

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	while (readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count;
}

/* Those of the length of a region of guest memory: an allocator's own come and go. */
static unsigned count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long begin;
	unsigned long end;
	char line[512];
	unsigned count = 0;

	while (fgets(line, sizeof(line), maps) != NULL) {
		count += sscanf(line, "%lx-%lx", &begin, &end) == 2 && end - begin == 64 * MIB;
	}
	fclose(maps);
	return count;
}

struct api_bed_mark api_bed_mark(void)
{
	struct api_bed_mark mark = {
		.fds = kvm_fake_open_fds(),
		.threads = count_entries("/proc/self/task"),
		.mappings = count_mappings(),
	};

	for (const struct metric_source *at = api_bed.telemetry.metrics.sources; at != NULL;
	     at = at->next) {
		mark.sources++;
	}
	return mark;
}

/* The kernel lists a thread for a moment after it was joined: both marks may have such a one. */
static struct api_bed_mark settled_mark(unsigned threads)
{
	struct api_bed_mark mark = api_bed_mark();

	for (unsigned tries = 0; mark.threads > threads && tries < SETTLE_TRIES; tries++) {
		usleep(1000);
		mark = api_bed_mark();
	}
	return mark;
}

void api_bed_expect_same(const struct api_bed_mark *before, const char *what)
{
	const struct api_bed_mark after = settled_mark(before->threads);

	cr_expect_eq(after.fds, before->fds, "%s: %u descriptors are left", what,
		     after.fds - before->fds);
	cr_expect_leq(after.threads, before->threads, "%s: threads are left", what);
	cr_expect_eq(after.mappings, before->mappings, "%s: memory is left", what);
	cr_expect_eq(after.sources, before->sources, "%s: sources of metrics are left", what);
	cr_expect_eq(arch_fake_alive(), 0, "%s: objects of the architecture are left", what);
	cr_expect_not(api_bed.loop.is_frozen, "%s: the loop is frozen", what);
}
