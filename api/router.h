/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out which resource a request is for, and answers it. */
#ifndef API_ROUTER_H
#define API_ROUTER_H

#include "vmm/base/http.h"
#include "vmm/base/metrics.h"
#include "vmm/control/process_metrics.h"
#include "vmm/resources/request.h"

struct router {
	request_fn execute;
	void *arg;
	struct api_metrics *api; /* counted into; outlives the router; NULL: nobody counts */
	struct metrics *metrics; /* for GET /metrics; likewise */
};

/* An http_handler whose `arg` is the router. Always sets a status, or owes the answer. */
void router_handle(void *arg, const struct http_request *http, struct http_response *response);

/* The http_resume for it. */
void router_resume(void *arg, struct http_owed *owed, bool is_late, struct http_response *response);

#endif
