/* SPDX-License-Identifier: Apache-2.0 */
/* For units: a microVM on the scripted KVM and the fake architecture, asked as the API asks. */
#ifndef TESTS_UNIT_API_BED_H
#define TESTS_UNIT_API_BED_H

#include <stddef.h>

#include "vmm/base/http.h"
#include "vmm/resources/microvm.h"

struct api_bed {
	struct evloop loop;
	struct timeline timeline;
	struct telemetry telemetry;
	struct confine confine; /* zeroed: holds nobody in */
	struct microvm microvm; /* its id is "tester" */
};

extern struct api_bed api_bed;

/* In a process of its own, as criterion runs each test. The log goes to a memfd: see capture.h. */
void api_bed_init(void);
void api_bed_destroy(void);

/*
 * Sends a request through the router to the microVM, on this thread. `line` is a method and a path
 * ("GET /version"), `body` may be NULL. The caller frees the body of the response.
 */
struct http_response api_bed_request(const char *line, const char *body);

/* A request and its answer: NULL: 204; a fault: 400 and its message; else 200 and the body. */
struct api_bed_case {
	const char *line;
	const char *body;
	const char *answer;
};

#define API_FAULT(text) "{\"fault_message\":\"" text "\"}"

void api_bed_expect(const char *line, const char *body, const char *answer);
void api_bed_expect_all(const struct api_bed_case *cases, size_t count);

/* A kernel that the fake architecture takes is put, and the guest starts, which must work. */
void api_bed_put_kernel(void);
void api_bed_start(void);

/* What a start or an end might leave behind; to be compared by api_bed_expect_same. */
struct api_bed_mark {
	unsigned fds;
	unsigned threads;
	unsigned mappings;
	unsigned sources; /* of metrics */
};

struct api_bed_mark api_bed_mark(void);
void api_bed_expect_same(const struct api_bed_mark *before, const char *what);

#endif
