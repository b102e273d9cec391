/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the resource that a request is for, reads its body, has the machine do it, and answers.
 *
 * Theory of operation. The path is cut at its slashes; those at its start count as none. Of the
 * resources whose path begins it, the one with the most tokens is meant; tokens after those and
 * after an id are ignored ("/version/x" is "/version") [compat]. A request that fits none gets the
 * sentence that Firecracker has for it: first that the body is missing or too much, whatever the
 * path, then that the path is unknown.
 */
#include "api/router.h"

#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "api/server.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/control/process_metrics.h"
#include "vmm/resources/resource.h"

enum {
	SHOWN_LEN = 1536, /* of a body in the log, whose lines are bounded too */
};

static const char json_fault_text[] =
	"An error occurred when deserializing the json body of a request.";

/* Names of methods in sentences and in the log [compat]. */
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

/* --- Paths that do not exist, but have a sentence of their own [compat] --- */

static COLD int refuse_path(enum http_method method, const char *prefix, const char *token,
			    struct error *err)
{
	char quoted[JSON_QUOTE_LEN];

	json_quote(token, strlen(token), quoted, sizeof(quoted));
	return error_set(err, ERR_BAD_REQUEST, "Invalid request method and/or path: %s %s%s.",
			 methods[method].name, prefix, quoted);
}

static COLD int refuse_unrecognized(enum http_method method, const char *prefix, const char *token,
				    struct error *err)
{
	char quoted[JSON_QUOTE_LEN];

	json_quote(token, strlen(token), quoted, sizeof(quoted));
	return error_set(err, ERR_BAD_REQUEST, "Unrecognized %s request path `%s%s`.",
			 methods[method].name, prefix, quoted);
}

static COLD int refuse_snapshot(enum http_method method, const char *prefix, const char *token,
				struct error *err)
{
	if (token[0] == '\0') {
		return error_set(err, ERR_BAD_REQUEST, "Missing snapshot operation type.");
	}
	return refuse_path(method, prefix, token, err);
}

/* What the resource above has alone. Below /snapshot all is as before it had GET [compat]. */
static COLD int refuse_below(enum http_method method, const char *prefix, const char *token,
			     struct error *err)
{
	(void)token;
	return refuse_path(method, "", prefix, err);
}

static const struct dead_end {
	enum http_method method;
	bool fits_body;	      /* requests with the wrong kind of body, too */
	const char *above[2]; /* what the unknown token follows */
	bool may_be_empty;    /* that token */
	const char *prefix;   /* of the token in the sentence */
	int (*refuse)(enum http_method method, const char *prefix, const char *token,
		      struct error *err);
} dead_ends[] = {
	{HTTP_GET, false, {"balloon", "hinting"}, true, "/hinting/", refuse_unrecognized},
	{HTTP_GET, false, {"balloon"}, false, "", refuse_unrecognized},
	{HTTP_PATCH, true, {"balloon", "hinting"}, true, "/hinting/", refuse_unrecognized},
	{HTTP_GET, false, {"snapshot"}, false, "snapshot", refuse_below},
	{HTTP_GET, false, {"fork"}, false, "fork", refuse_below},
	{HTTP_PUT, false, {"fork"}, false, "fork", refuse_below},
	{HTTP_PUT, false, {"mmds"}, false, "", refuse_unrecognized},
	{HTTP_PUT, false, {"snapshot"}, true, "/snapshot/", refuse_snapshot},
};

/* --- Finding the resource --- */

struct path {
	const char *tokens[RESOURCE_TOKENS]; /* absent ones are empty */
};

/* Cuts `text` in place. */
static struct path split(char *text)
{
	struct path path = {{"", "", ""}};
	char *next = text + strspn(text, "/");

	for (size_t i = 0; i < RESOURCE_TOKENS && next != NULL; i++) {
		path.tokens[i] = strsep(&next, "/");
	}
	return path;
}

/* How many tokens `pattern` has if they begin the path, else -1. */
static int match(const char *const *pattern, size_t len, const struct path *path)
{
	size_t i = 0;

	for (; i < len && pattern[i] != NULL; i++) {
		if (strcmp(pattern[i], path->tokens[i]) != 0) {
			return -1;
		}
	}
	return (int)i;
}

static bool takes_body(const struct method *method, const struct http_request *request)
{
	bool has_body = request->body != NULL;

	if (method->states == 0) {
		return false;
	}
	switch (method->body) {
	case BODY_NONE:
		return !has_body;
	case BODY_JSON:
	case BODY_TEXT:
		return has_body;
	case BODY_MAYBE:
	case BODY_UNREAD:
		break;
	}
	return true;
}

/* The number of tokens of the resource found; -1, and NULL: none fits. */
static int find_resource(const struct http_request *request, const struct path *path,
			 const struct resource **found)
{
	int longest = -1;

	*found = NULL;
	for (size_t i = 0; resources[i] != NULL; i++) {
		const struct resource *resource = resources[i];
		int len = match(resource->path, RESOURCE_TOKENS, path);
		/* The row of an architecture goes before that of all. */
		bool is_better = len > longest || (len == longest && resource->arch != NULL);

		if (len >= 0 && is_better && resource_is_here(resource) &&
		    takes_body(&resource->methods[request->method], request)) {
			longest = len;
			*found = resource;
		}
	}
	return longest;
}

/* The dead end that a request has come to, if it is deeper than `len` tokens. */
static const struct dead_end *find_dead_end(const struct http_request *request,
					    const struct path *path, int len, const char **token)
{
	bool wants_body = request->method == HTTP_PUT || request->method == HTTP_PATCH;
	bool is_right = wants_body == (request->body != NULL);

	for (size_t i = 0; i < ARRAY_COUNT(dead_ends); i++) {
		const struct dead_end *end = &dead_ends[i];
		int depth = match(end->above, ARRAY_COUNT(end->above), path);

		if (end->method == request->method && depth > 0 && depth >= len &&
		    (is_right || end->fits_body)) {
			*token = path->tokens[depth];
			if (end->may_be_empty || (*token)[0] != '\0') {
				return end;
			}
		}
	}
	return NULL;
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

static COLD int refuse(const struct http_request *request, const struct path *path,
		       struct error *err)
{
	bool wants_body = request->method == HTTP_PUT || request->method == HTTP_PATCH;

	if (wants_body != (request->body != NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s", methods[request->method].wrong_body);
	}
	return refuse_path(request->method, "", path->tokens[0], err);
}

/* --- Answering --- */

static void count(const struct router *router, size_t offset)
{
	if (router->api != NULL && offset != 0) {
		metric_add((struct metric *)((char *)router->api + offset), 1);
	}
}

static int read_body(struct request *request, const struct http_request *http, struct error *err)
{
	struct json_doc doc = {0};
	struct json_value root;
	int result;

	if (http->body == NULL || request->method->body == BODY_UNREAD) {
		return request_read(request, NULL, err);
	}
	if (request->method->body == BODY_TEXT) {
		request->unread = (struct json_doc){
			.text = http->body, .len = http->body_len, .fault = json_fault_text};
		return request_read(request, NULL, err);
	}
	if (json_doc_load(http->body, http->body_len, json_fault_text, &doc, err) < 0) {
		return -1;
	}
	root = json_doc_root(&doc);
	result = request_read(request, &root, err);
	json_doc_free(&doc);
	return result;
}

static int execute(const struct router *router, struct request *request, struct error *err)
{
	/* Its check has answered the request already: the VMM thread is not asked. */
	if (request->reply != NULL || request->text != NULL) {
		return 0;
	}
	return request_do(request, router->execute, router->arg, err);
}

static int answer(const struct router *router, struct request *request,
		  const struct http_request *http, char *text, struct error *err)
{
	struct path path = split(text);
	int len = find_resource(http, &path, &request->resource);
	const char *token;
	const struct dead_end *end = find_dead_end(http, &path, len, &token);

	if (end != NULL) {
		return end->refuse(end->method, end->prefix, token, err);
	}
	if (request->resource == NULL) {
		return refuse(http, &path, err);
	}
	const struct method *method = &request->resource->methods[http->method];

	request->method = method;
	request->id = request->resource->has_id ? path.tokens[len] : NULL;
	count(router, method->count);
	if (request->id != NULL && check_id(request->id, err) < 0) {
		return -1;
	}
	if (read_body(request, http, err) < 0) {
		/* [compat] A body that is wrong is counted, and no other failure. */
		if (err->kind == ERR_BAD_REQUEST) {
			count(router, method->fails);
		}
		return -1;
	}
	return execute(router, request, err);
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

static void finish(const struct router *router, const struct request *request,
		   struct http_response *response, uint64_t begin_ns, int result)
{
	if (result == 0 && request->timed != NULL) {
		unsigned long long us = elapsed_us(begin_ns);

		log_info("'%s' API request took %llu us.", request->timed, us);
		if (router->api != NULL) {
			metric_set((struct metric *)((char *)router->api + request->timed_metric),
				   us);
		}
	}
	if (request->deprecation != NULL) {
		log_warn("%s", request->deprecation);
		response->is_deprecated = true;
		if (router->api != NULL) {
			metric_add(&router->api->deprecated.deprecated_http_api_calls, 1);
		}
	}
	log_debug("Total previous API call duration: %llu us.", elapsed_us(begin_ns));
}

/* A request on its way, which may have to wait. */
struct call {
	struct http_owed owed;
	struct request request;
	uint64_t begin_ns;
	char path[]; /* of the request, cut at its slashes */
};

static struct call *new_call(const struct router *router, const struct http_request *http)
{
	size_t size = strlen(http->path) + 1;
	struct call *call = calloc(1, sizeof(*call) + size);

	if (call != NULL) {
		call->request.metrics = router->metrics;
		call->request.sent = http->sent;
		call->begin_ns = clock_host.now_ns(CLOCK_MONOTONIC);
		memcpy(call->path, http->path, size);
	}
	return call;
}

static void reply(const struct router *router, struct call *call, int result,
		  const struct error *err, struct http_response *response)
{
	struct request *request = &call->request;

	if (result == REQUEST_WAITS) {
		call->owed.fd = request->event;
		call->owed.deadline_ns =
			clock_host.now_ns(CLOCK_MONOTONIC) + request->patience_ms * NS_PER_MS;
		response->owed = &call->owed;
		request->sent = NULL;
		return;
	}
	if (result < 0) {
		reply_fault(response, err);
	} else if (request->text != NULL) {
		reply_text(response, request->text, request->text_len, request->text_type);
		request->text = NULL;
	} else {
		reply_success(response, request->reply);
	}
	finish(router, request, response, call->begin_ns, result);
	request_destroy(request);
	free(call);
}

void router_handle(void *arg, const struct http_request *http, struct http_response *response)
{
	const struct router *router = arg;
	struct call *call = new_call(router, http);
	struct error err = {0};

	log_request(http);
	if (call == NULL) {
		(void)error_sys(&err, "Cannot read the request");
		reply_fault(response, &err);
		return;
	}
	int result = answer(router, &call->request, http, call->path, &err);

	reply(router, call, result, &err, response);
}

void router_resume(void *arg, struct http_owed *owed, bool is_late, struct http_response *response)
{
	const struct router *router = arg;
	struct call *call = container_of(owed, struct call, owed);
	struct error err = {0};

	call->request.is_late = is_late;
	int result = request_go_on(&call->request, router->execute, router->arg, &err);

	reply(router, call, result, &err, response);
}
