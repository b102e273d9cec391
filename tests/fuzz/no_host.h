/* SPDX-License-Identifier: Apache-2.0 */
/* For fuzzers of requests: what would open or create files that an input names is not done. */
#ifndef TESTS_FUZZ_NO_HOST_H
#define TESTS_FUZZ_NO_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

static bool touches_host(const struct request *request)
{
	static const struct resource *const host[] = {
		&actions_resource, &boot_source_resource, &drive_resource, &logger_resource,
		&metrics_resource, &net_resource,	  &vsock_resource,
	};

	for (size_t i = 0; i < ARRAY_COUNT(host); i++) {
		if (request->resource == host[i] && request->method->body == BODY_JSON) {
			return true;
		}
	}
	return request->resource == &actions_resource;
}

/* A request_fn whose `arg` is the microVM. */
static int run_without_host(void *arg, struct request *request, struct error *err)
{
	return touches_host(request) ? 0 : request_run(arg, request, err);
}

#endif
