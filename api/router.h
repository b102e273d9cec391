/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out which resource a request is for, and answers it. */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include <stddef.h>

#include "api/resource.h"
#include "vmm/action.h"
#include "vmm/base/http.h"
#include "vmm/base/metrics.h"
#include "vmm/metrics_groups.h"

struct router {
	action_fn execute;
	void *arg;
	const char *arch;	 /* arch_name */
	struct api_metrics *api; /* counted into; outlives the router; NULL: nobody counts */
	struct metrics *metrics; /* for GET /metrics; likewise */
};

/* An http_handler whose `arg` is the router. Always sets a status; keeps nothing. */
void router_handle(void *arg, const struct http_request *request, struct http_response *response);

enum route_flag {
	BODY_ABSENT = 1,  /* takes requests without a body */
	BODY_PRESENT = 2, /* takes requests with one */
	BODY_READ = 4,	  /* which is JSON */
	ROUTE_UNKNOWN = 8 /* a path that does not exist, but has a sentence of its own */
};

/* A token of a route's path: itself, or one of these. */
#define ROUTE_ID "{id}" /* required, and checked */
#define ROUTE_ANY NULL	/* anything, or nothing */

struct route {
	enum http_method method;
	unsigned flags; /* enum route_flag */
	struct resource_path path;
	resource_fn answer;
	/* Offsets in struct api_metrics of what counts requests and those that failed; 0: none. */
	size_t count;
	size_t fails;
};

/* For the test of the API's description: the first route that fits a request takes it. */
extern const struct route router_routes[];
extern const size_t router_route_count;

#endif
