/* SPDX-License-Identifier: Apache-2.0 */
/* Routes requests by method, presence of a body, and the first tokens of the path.
 *
 * Theory of operation
 *
 * The path is cut at its slashes; those at its start count as none, and tokens that no route asks
 * for are ignored ("/version/x" is "/version") [compat]. A request that fits no route gets the
 * sentence that Firecracker has for it: first that the body is missing or too much, whatever the
 * path, then that the path is unknown. Order in the table matters only where a row has ROUTE_ANY.
 */
#include "api/router.h"

#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "api/res_actions.h"
#include "api/res_balloon.h"
#include "api/res_boot_source.h"
#include "api/res_cpu_config.h"
#include "api/res_drives.h"
#include "api/res_entropy.h"
#include "api/res_hotplug.h"
#include "api/res_instance.h"
#include "api/res_logger.h"
#include "api/res_machine_config.h"
#include "api/res_metrics.h"
#include "api/res_mmds.h"
#include "api/res_network_interfaces.h"
#include "api/res_pmem.h"
#include "api/res_serial.h"
#include "api/res_snapshot.h"
#include "api/res_vm.h"
#include "api/res_vsock.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

enum {
	TOKEN_COUNT = 3,
	NS_PER_US = 1000,
	SHOWN_LEN = 1536, /* of a body in the log, whose lines are bounded too */
};

static const char json_fault_text[] =
	"An error occurred when deserializing the json body of a request.";

/* As in sentences, and as Firecracker logs them. */
static const struct {
	const char *name;
	const char *title;
	const char *wrong_body; /* for a request that has none, or that must have none */
} methods[] = {
	[HTTP_GET] = {"GET", "Get", "GET request cannot have a body."},
	[HTTP_PUT] = {"PUT", "Put", "Empty PUT request."},
	[HTTP_PATCH] = {"PATCH", "Patch", "Empty PATCH request."},
	[HTTP_DELETE] = {"DELETE", "Delete", "Empty Delete request."},
};

/* --- What is below a path that is known, but not known itself --- */

static int refuse_below(const char *method, const char *prefix, const char *token,
			struct error *err)
{
	char quoted[JSON_QUOTE_LEN];

	json_quote(token, strlen(token), quoted, sizeof(quoted));
	return error_set(err, ERR_BAD_REQUEST, "Unrecognized %s request path `%s%s`.", method,
			 prefix, quoted);
}

static int refuse_get_balloon(struct resource_call *call, struct error *err)
{
	return refuse_below("GET", "", call->path.second, err);
}

static int refuse_get_hinting(struct resource_call *call, struct error *err)
{
	return refuse_below("GET", "/hinting/", call->path.third, err);
}

static int refuse_patch_hinting(struct resource_call *call, struct error *err)
{
	return refuse_below("PATCH", "/hinting/", call->path.third, err);
}

static int refuse_put_mmds(struct resource_call *call, struct error *err)
{
	return refuse_below("PUT", "", call->path.second, err);
}

static COLD int refuse_path(enum http_method method, const char *prefix, const char *token,
			    struct error *err)
{
	char quoted[JSON_QUOTE_LEN];

	json_quote(token, strlen(token), quoted, sizeof(quoted));
	return error_set(err, ERR_BAD_REQUEST, "Invalid request method and/or path: %s %s%s.",
			 methods[method].name, prefix, quoted);
}

static int refuse_put_snapshot(struct resource_call *call, struct error *err)
{
	if (call->path.second[0] == '\0') {
		return error_set(err, ERR_BAD_REQUEST, "Missing snapshot operation type.");
	}
	return refuse_path(HTTP_PUT, "/snapshot/", call->path.second, err);
}

/* --- The table --- */

enum {
	NONE = BODY_ABSENT,
	JSON = BODY_PRESENT | BODY_READ,
	MAYBE = BODY_ABSENT | BODY_PRESENT | BODY_READ,
	UNREAD = BODY_ABSENT | BODY_PRESENT,
	UNKNOWN = BODY_PRESENT | ROUTE_UNKNOWN,
};

#define ID ROUTE_ID
#define ANY ROUTE_ANY

#define GETS(name) offsetof(struct api_metrics, get.name##_count), 0
#define PUTS(name)                                                                                 \
	offsetof(struct api_metrics, put.name##_count),                                            \
		offsetof(struct api_metrics, put.name##_fails)
#define PATCHES(name)                                                                              \
	offsetof(struct api_metrics, patch.name##_count),                                          \
		offsetof(struct api_metrics, patch.name##_fails)
#define UNCOUNTED 0, 0

// clang-format off
const struct route router_routes[] = {
	{HTTP_GET, NONE, {"", ANY, ANY}, res_instance_get, GETS(instance_info)},
	{HTTP_GET, NONE, {"balloon", "", ANY}, res_balloon_get, UNCOUNTED},
	{HTTP_GET, NONE, {"balloon", "statistics", ANY}, res_balloon_statistics_get, UNCOUNTED},
	{HTTP_GET, NONE, {"balloon", "hinting", "status"},
	 res_balloon_hinting_status_get, UNCOUNTED},
	{HTTP_GET, NONE | ROUTE_UNKNOWN, {"balloon", "hinting", ANY},
	 refuse_get_hinting, UNCOUNTED},
	{HTTP_GET, NONE | ROUTE_UNKNOWN, {"balloon", ANY, ANY}, refuse_get_balloon, UNCOUNTED},
	{HTTP_GET, NONE, {"metrics", ANY, ANY}, res_metrics_get, UNCOUNTED},
	{HTTP_GET, NONE, {"version", ANY, ANY}, res_version_get, GETS(vmm_version)},
	{HTTP_GET, NONE, {"vm", "config", ANY}, res_vm_config_get, UNCOUNTED},
	{HTTP_GET, NONE, {"machine-config", ANY, ANY}, res_machine_config_get, GETS(machine_cfg)},
	{HTTP_GET, NONE, {"mmds", ANY, ANY}, res_mmds_get, GETS(mmds)},
	{HTTP_GET, NONE, {"hotplug", "memory", ANY}, res_hotplug_get, GETS(hotplug_memory)},

	{HTTP_PUT, JSON, {"actions", ANY, ANY}, res_actions_put, PUTS(actions)},
	{HTTP_PUT, JSON, {"balloon", ANY, ANY}, res_balloon_put, UNCOUNTED},
	{HTTP_PUT, JSON, {"boot-source", ANY, ANY}, res_boot_source_put, PUTS(boot_source)},
	{HTTP_PUT, JSON, {"cpu-config", ANY, ANY}, res_cpu_config_put, PUTS(cpu_cfg)},
	{HTTP_PUT, JSON, {"drives", ID, ANY}, res_drives_put, PUTS(drive)},
	{HTTP_PUT, JSON, {"pmem", ID, ANY}, res_pmem_put, PUTS(pmem)},
	{HTTP_PUT, JSON, {"logger", ANY, ANY}, res_logger_put, PUTS(logger)},
	{HTTP_PUT, JSON, {"serial", ANY, ANY}, res_serial_put, PUTS(serial)},
	{HTTP_PUT, JSON, {"machine-config", ANY, ANY}, res_machine_config_put, PUTS(machine_cfg)},
	{HTTP_PUT, JSON, {"metrics", ANY, ANY}, res_metrics_put, PUTS(metrics)},
	{HTTP_PUT, JSON, {"mmds", "", ANY}, res_mmds_put, PUTS(mmds)},
	{HTTP_PUT, JSON, {"mmds", "config", ANY}, res_mmds_config_put, PUTS(mmds)},
	{HTTP_PUT, UNKNOWN, {"mmds", ANY, ANY}, refuse_put_mmds, UNCOUNTED},
	{HTTP_PUT, JSON, {"network-interfaces", ID, ANY},
	 res_network_interfaces_put, PUTS(network)},
	{HTTP_PUT, JSON, {"snapshot", "create", ANY}, res_snapshot_create_put, UNCOUNTED},
	{HTTP_PUT, JSON, {"snapshot", "load", ANY}, res_snapshot_load_put, UNCOUNTED},
	{HTTP_PUT, UNKNOWN, {"snapshot", ANY, ANY}, refuse_put_snapshot, UNCOUNTED},
	{HTTP_PUT, JSON, {"vsock", ANY, ANY}, res_vsock_put, PUTS(vsock)},
	{HTTP_PUT, JSON, {"entropy", ANY, ANY}, res_entropy_put, UNCOUNTED},
	{HTTP_PUT, JSON, {"hotplug", "memory", ANY}, res_hotplug_put, PUTS(hotplug_memory)},

	{HTTP_PATCH, JSON, {"balloon", "statistics", ANY}, res_balloon_statistics_patch, UNCOUNTED},
	{HTTP_PATCH, MAYBE, {"balloon", "hinting", "start"}, res_balloon_hinting_start, UNCOUNTED},
	{HTTP_PATCH, UNREAD, {"balloon", "hinting", "stop"}, res_balloon_hinting_stop, UNCOUNTED},
	{HTTP_PATCH, UNKNOWN | BODY_ABSENT, {"balloon", "hinting", ANY},
	 refuse_patch_hinting, UNCOUNTED},
	{HTTP_PATCH, JSON, {"balloon", ANY, ANY}, res_balloon_patch, UNCOUNTED},
	{HTTP_PATCH, JSON, {"drives", ID, ANY}, res_drives_patch, PATCHES(drive)},
	{HTTP_PATCH, JSON, {"machine-config", ANY, ANY},
	 res_machine_config_patch, PATCHES(machine_cfg)},
	{HTTP_PATCH, JSON, {"mmds", ANY, ANY}, res_mmds_patch, PATCHES(mmds)},
	{HTTP_PATCH, JSON, {"network-interfaces", ID, ANY},
	 res_network_interfaces_patch, PATCHES(network)},
	{HTTP_PATCH, JSON, {"pmem", ID, ANY}, res_pmem_patch, PATCHES(pmem)},
	{HTTP_PATCH, JSON, {"vm", ANY, ANY}, res_vm_patch, UNCOUNTED},
	{HTTP_PATCH, JSON, {"hotplug", "memory", ANY}, res_hotplug_patch, PATCHES(hotplug_memory)},

	{HTTP_DELETE, NONE, {"drives", ID, ANY}, resource_unplug, UNCOUNTED},
	{HTTP_DELETE, NONE, {"pmem", ID, ANY}, resource_unplug, UNCOUNTED},
	{HTTP_DELETE, NONE, {"network-interfaces", ID, ANY}, resource_unplug, UNCOUNTED},
};
// clang-format on

const size_t router_route_count = ARRAY_COUNT(router_routes);

/* --- Finding the route --- */

static bool is_id(const char *pattern)
{
	return pattern != ROUTE_ANY && strcmp(pattern, ROUTE_ID) == 0;
}

static bool token_fits(const char *pattern, const char *token)
{
	return pattern == ROUTE_ANY || is_id(pattern) || strcmp(pattern, token) == 0;
}

static const struct route *find_route(const struct http_request *request,
				      const struct resource_path *path)
{
	unsigned body = request->body != NULL ? BODY_PRESENT : BODY_ABSENT;

	for (size_t i = 0; i < ARRAY_COUNT(router_routes); i++) {
		const struct route *route = &router_routes[i];

		if (route->method == request->method && (route->flags & body) != 0 &&
		    token_fits(route->path.first, path->first) &&
		    token_fits(route->path.second, path->second) &&
		    token_fits(route->path.third, path->third)) {
			return route;
		}
	}
	return NULL;
}

/* Cuts `text` in place. */
static struct resource_path split(char *text)
{
	const char *tokens[TOKEN_COUNT] = {"", "", ""};
	char *next = text + strspn(text, "/");

	for (size_t i = 0; i < TOKEN_COUNT && next != NULL; i++) {
		tokens[i] = strsep(&next, "/");
	}
	return (struct resource_path){tokens[0], tokens[1], tokens[2]};
}

/*
 * Bytes above ASCII pass, though Firecracker takes only letters and digits of all scripts there:
 * that would need tables of them, and no harm comes from the others.
 */
static int check_id(const char *id, struct error *err)
{
	if (id[0] == '\0') {
		return error_set(err, ERR_BAD_REQUEST, "The ID cannot be empty.");
	}
	for (const char *c = id; *c != '\0'; c++) {
		bool is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
		bool is_digit = *c >= '0' && *c <= '9';

		if (!is_letter && !is_digit && *c != '_' && (unsigned char)*c < 0x80) {
			return error_set(err, ERR_BAD_REQUEST,
					 "API Resource IDs can only contain alphanumeric "
					 "characters and underscores.");
		}
	}
	return 0;
}

static COLD int refuse(const struct http_request *request, const struct resource_path *path,
		       struct error *err)
{
	bool wants_body = request->method == HTTP_PUT || request->method == HTTP_PATCH;

	if (wants_body != (request->body != NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s", methods[request->method].wrong_body);
	}
	return refuse_path(request->method, "", path->first, err);
}

/* --- Answering --- */

static void count(const struct router *router, size_t offset)
{
	if (router->api != NULL && offset != 0) {
		metric_add((struct metric *)((char *)router->api + offset), 1);
	}
}

static int answer_route(const struct route *route, struct resource_call *call,
			const struct http_request *request, struct error *err)
{
	struct json_doc doc = {0};
	struct json_value root;
	int result;

	if (is_id(route->path.second) && check_id(call->path.second, err) < 0) {
		return -1;
	}
	if ((route->flags & BODY_READ) != 0 && request->body != NULL) {
		if (json_doc_load(request->body, request->body_len, json_fault_text, &doc, err) <
		    0) {
			return -1;
		}
		root = json_doc_root(&doc);
		call->json = &root;
	}
	result = route->answer(call, err);
	json_doc_free(&doc);
	call->json = NULL;
	return result;
}

static int answer(const struct router *router, struct resource_call *call,
		  const struct http_request *request, struct error *err)
{
	const struct route *route = find_route(request, &call->path);

	if (route == NULL) {
		return refuse(request, &call->path, err);
	}
	count(router, route->count);
	if (answer_route(route, call, request, err) < 0) {
		count(router, route->fails);
		return -1;
	}
	return 0;
}

/* Metadata may be secret, and CPU templates are long: neither is shown [compat]. */
static void log_request(const struct http_request *request)
{
	const char *title = methods[request->method].title;
	char path[JSON_QUOTE_LEN];
	char body[SHOWN_LEN];

	json_quote(request->path, strlen(request->path), path, sizeof(path));
	if (request->body == NULL || strcmp(request->path, "/mmds") == 0) {
		log_info("The API server received a %s request on \"%s\".", title, path);
		return;
	}
	if (strcmp(request->path, "/cpu-config") == 0 && !log_enabled(LOG_DEBUG, __FILE__)) {
		log_info("The API server received a %s request on \"%s\". To view the CPU "
			 "template received by the API, configure log-level to DEBUG.",
			 title, path);
		return;
	}
	json_quote(request->body, request->body_len, body, sizeof(body));
	log_info("The API server received a %s request on \"%s\" with body \"%s\".", title, path,
		 body);
}

static unsigned long long elapsed_us(uint64_t begin_ns)
{
	return (clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns) / NS_PER_US;
}

void router_handle(void *arg, const struct http_request *request, struct http_response *response)
{
	const struct router *router = arg;
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);
	AUTO_FREE char *path = strdup(request->path);
	struct resource_call call = {
		.execute = router->execute,
		.arg = router->arg,
		.arch = router->arch,
		.metrics = router->metrics,
	};
	struct error err = {0};
	int result;

	log_request(request);
	if (path == NULL) {
		result = error_sys(&err, "Cannot read the request");
	} else {
		call.path = split(path);
		result = answer(router, &call, request, &err);
	}
	if (result < 0) {
		reply_fault(response, &err);
	} else if (call.text != NULL) {
		reply_text(response, call.text, call.text_len, call.text_type);
	} else {
		reply_success(response, call.reply);
	}
	if (result == 0 && call.timed != NULL) {
		unsigned long long us = elapsed_us(begin);

		log_info("'%s' API request took %llu us.", call.timed, us);
		if (router->api != NULL) {
			metric_set((struct metric *)((char *)router->api + call.timed_metric), us);
		}
	}
	if (call.deprecation != NULL) {
		log_warn("%s", call.deprecation);
		response->is_deprecated = true;
		if (router->api != NULL) {
			metric_add(&router->api->deprecated.deprecated_http_api_calls, 1);
		}
	}
	json_decref(call.reply);
	log_debug("Total previous API call duration: %llu us.", elapsed_us(begin));
}
