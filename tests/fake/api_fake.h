/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of api/: a machine that records what it is asked, and calls of single resources. */
#ifndef TESTS_FAKE_API_FAKE_H
#define TESTS_FAKE_API_FAKE_H

#include "api/resource.h"
#include "vmm/base/http.h"

struct api_fake {
	/* What it answers. */
	struct vm_config config;
	enum vm_state state;
	const char *arch;  /* "x86_64" at first */
	const char *fault; /* every action but GET fails so; NULL: none does */
	struct balloon_stats stats;
	struct balloon_hinting hinting;
	/* What it was asked: the last action but GET, whose strings it owns, and how many there
	 * were. */
	struct action asked;
	unsigned count;
};

/* The caller zeroes *fake before, and frees it after. Files are not opened. */
void api_fake_init(struct api_fake *fake);
void api_fake_destroy(struct api_fake *fake);

/* An action_fn whose `arg` is the fake. Its id is "fake-id". */
int api_fake_execute(void *fake, struct action *action, struct error *err);

/* Parses `text` (whose faults begin with "Bad") and calls `fn` with it. */
int api_fake_call(resource_fn fn, struct resource_call *call, const char *text, struct error *err);

/*
 * Sends a request through the router; `line` is a method and a path ("GET /version"), `body` may be
 * NULL. The caller frees the body of the response.
 */
struct http_response api_fake_request(struct api_fake *fake, const char *line, const char *body);

#endif
