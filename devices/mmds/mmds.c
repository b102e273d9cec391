/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata service answers.
 *
 * Theory of operation. A request is parsed, headers that matter are copied as they come by, and a
 * row of `methods` answers it: with a sentence, or with a value of the store. The response is
 * measured, allocated once, and written. Statuses, sentences and the order of checks are [compat].
 */
#include "devices/mmds/mmds.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "devices/mmds/mmds_json.h"
#include "devices/mmds/mmds_store.h"
#include "devices/mmds/mmds_token.h"
#include "vmm/base/bytes.h"
#include "vmm/base/http.h"
#include "vmm/base/json.h"
#include "vmm/base/log.h"

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(mmds_metrics, rx_accepted)},
	{METRIC_COUNT(mmds_metrics, rx_accepted_err)},
	{METRIC_COUNT(mmds_metrics, rx_accepted_unusual)},
	{METRIC_COUNT(mmds_metrics, rx_bad_eth)},
	{METRIC_COUNT(mmds_metrics, rx_invalid_token)},
	{METRIC_COUNT(mmds_metrics, rx_no_token)},
	{METRIC_COUNT(mmds_metrics, rx_count)},
	{METRIC_ROW(mmds_metrics, tx_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(mmds_metrics, tx_count)},
	{METRIC_COUNT(mmds_metrics, tx_errors)},
	{METRIC_COUNT(mmds_metrics, tx_frames)},
	{METRIC_COUNT(mmds_metrics, connections_created)},
	{METRIC_COUNT(mmds_metrics, connections_destroyed)},
};

const struct metric_group mmds_metric_group = {
	METRIC_GROUP("mmds", mmds_metrics, metric_fields, 0)};

enum {
	FETCHED_MAX = 64 /* paths whose first fetch is logged */
};

struct mmds {
	const struct clock *clock;
	struct mmds_settings settings;
	struct mmds_store store;
	struct mmds_tokens tokens;
	uint64_t fetched[FETCHED_MAX]; /* hashes of paths, since the data was put */
	size_t fetched_count;
	struct mmds_metrics metrics; /* shared */
};

static const char plain_text[] = "text/plain";
static const char json_text[] = "application/json";

/* --- Life and settings --- */

int mmds_new(const char *id, uint64_t limit, const struct clock *clock, struct mmds **out,
	     struct error *err)
{
	struct mmds *mmds = calloc(1, sizeof(*mmds));

	if (mmds == NULL) {
		return error_sys(err, "Cannot create the metadata service");
	}
	if (mmds_tokens_init(&mmds->tokens, id) < 0) {
		free(mmds);
		return error_set(err, ERR_HOST,
				 "Cannot create the metadata service: libsodium does not start");
	}
	mmds->clock = clock;
	mmds->settings = (struct mmds_settings){.address = {169, 254, 169, 254}};
	mmds_store_init(&mmds->store, limit);
	*out = mmds;
	return 0;
}

void mmds_free(struct mmds *mmds)
{
	if (mmds != NULL) {
		mmds_store_destroy(&mmds->store);
		mmds_tokens_forget(&mmds->tokens);
		free(mmds);
	}
}

void mmds_configure(struct mmds *mmds, const struct mmds_settings *settings)
{
	mmds->settings = *settings;
}

const struct mmds_settings *mmds_settings(const struct mmds *mmds)
{
	return &mmds->settings;
}

struct mmds_metrics *mmds_metrics(struct mmds *mmds)
{
	return &mmds->metrics;
}

void mmds_forget_tokens(struct mmds *mmds)
{
	mmds_tokens_forget(&mmds->tokens);
}

/* --- Data --- */

json_t *mmds_data(const struct mmds *mmds)
{
	return json_incref(mmds->store.document);
}

int mmds_refuse(struct error *err)
{
	return error_set(err, ERR_BAD_STATE, "The MMDS data store is not initialized.");
}

int mmds_want_data(const struct mmds *mmds, struct error *err)
{
	return mmds->store.is_put ? 0 : mmds_refuse(err);
}

int mmds_put(struct mmds *mmds, json_t **document, size_t len, struct error *err)
{
	if (mmds_store_put(&mmds->store, document, len, err) < 0) {
		return -1;
	}
	mmds->fetched_count = 0;
	return 0;
}

int mmds_patch(struct mmds *mmds, json_t **document, size_t len, struct error *err)
{
	return mmds_store_put(&mmds->store, document, len, err);
}

int mmds_merge(json_t *document, json_t *patch, json_t **merged, struct error *err)
{
	*merged = mmds_store_merge(document, patch);
	return *merged != NULL ? 0 : error_set(err, ERR_HOST, "Out of memory for the metadata");
}

int mmds_print(json_t *document, char **text, size_t *len, struct error *err)
{
	bool is_null = json_is_null(document);

	*len = is_null ? 2 : mmds_json_print(document, NULL);
	*text = malloc(*len + 1);
	if (*text == NULL) {
		return error_sys(err, "Cannot show the metadata");
	}
	if (is_null) {
		memcpy(*text, "{}", *len); /* [compat] */
	} else {
		(void)mmds_json_print(document, *text);
	}
	(*text)[*len] = '\0';
	return 0;
}

/* --- Requests --- */

enum header {
	HEADER_TOKEN,
	HEADER_TTL,
	HEADER_FORWARDED,
	HEADERS
};

enum {
	HEADER_NAME_LEN = 40
};

static const struct {
	const char *name;
	enum header header;
} header_names[] = {
	{"x-metadata-token", HEADER_TOKEN},
	{"x-aws-ec2-metadata-token", HEADER_TOKEN},
	{"x-metadata-token-ttl-seconds", HEADER_TTL},
	{"x-aws-ec2-metadata-token-ttl-seconds", HEADER_TTL},
	{"x-forwarded-for", HEADER_FORWARDED},
};

/* A request, and what answers it. */
struct exchange {
	struct mmds *mmds;
	struct http_parser parser;
	struct http_request request;
	struct kept_header {
		bool is_there;
		char name[HEADER_NAME_LEN]; /* as it was sent */
		char value[HTTP_LINE_LEN];
		size_t value_len;
	} headers[HEADERS];
	/* the answer */
	struct http_response response;
	char lines[HTTP_HEADERS_LEN]; /* of the response's head */
	json_t *value;		      /* the store's, which the body shows; NULL: the text does */
	bool is_json;		      /* how it does */
	char text[HTTP_ERROR_LEN];
	size_t text_len;
};

/* Of a header that comes twice, the last one counts. */
static void keep_header(void *arg, const struct http_header *header)
{
	struct exchange *exchange = arg;

	for (size_t i = 0; i < ARRAY_COUNT(header_names); i++) {
		const char *name = header_names[i].name;
		struct kept_header *kept = &exchange->headers[header_names[i].header];

		if (strlen(name) == header->name_len &&
		    strncasecmp(name, header->name, header->name_len) == 0) {
			kept->is_there = true;
			memcpy(kept->name, header->name, header->name_len);
			kept->name[header->name_len] = '\0';
			kept->value_len = min_u64(header->value_len, sizeof(kept->value) - 1);
			memcpy(kept->value, header->value, kept->value_len);
			kept->value[kept->value_len] = '\0';
		}
	}
}

/* --- Answers --- */

PRINTF(3, 4)
static void say(struct exchange *exchange, unsigned status, const char *fmt, ...)
{
	va_list args;
	int len;

	exchange->response.status = status;
	exchange->response.content_type = plain_text;
	va_start(args, fmt);
	len = vsnprintf(exchange->text, sizeof(exchange->text), fmt, args);
	va_end(args);
	exchange->text_len = min_u64((uint64_t)len, sizeof(exchange->text) - 1);
}

static void say_not_found(struct exchange *exchange)
{
	say(exchange, 404, "Resource not found: %s.", exchange->request.path);
}

/* Bad requests are answered in HTTP/1.1. Guests are not shown the titles of the parser's reasons.
 */
static void say_bad(struct exchange *exchange, const char *reason)
{
	static const struct {
		const char *title;
		unsigned status;
	} titles[] = {
		{"Invalid HTTP Method: ", 501},
		{"Invalid HTTP Version: ", 501},
		{"Invalid URI: ", 400},
		{"Invalid header. Reason: ", 400},
	};
	unsigned status = 400;

	for (size_t i = 0; i < ARRAY_COUNT(titles); i++) {
		size_t len = strlen(titles[i].title);

		if (strncmp(reason, titles[i].title, len) == 0) {
			reason += len;
			status = titles[i].status;
			break;
		}
	}
	exchange->request.version = HTTP_1_1;
	say(exchange, status, "%s", reason);
	exchange->response.content_type = json_text; /* though it is none [compat] */
}

static void answer_with_value(struct exchange *exchange)
{
	const char *accept = exchange->request.accept;
	bool wants_json = accept != NULL && strcmp(accept, json_text) == 0;
	json_t *value = mmds_store_find(&exchange->mmds->store, exchange->request.path);
	size_t len;

	wants_json &= !exchange->mmds->settings.imds_compat;
	if (value == NULL) {
		say_not_found(exchange);
		return;
	}
	if (!wants_json && mmds_store_print_imds(value, NULL, &len) < 0) {
		say(exchange, 501, "Cannot retrieve value. The value has an unsupported type.");
		return;
	}
	exchange->response.status = 200;
	exchange->response.content_type = wants_json ? json_text : plain_text;
	exchange->value = value;
	exchange->is_json = wants_json;
}

static void answer_get(struct exchange *exchange)
{
	struct mmds *mmds = exchange->mmds;
	const struct kept_header *token = &exchange->headers[HEADER_TOKEN];
	bool is_needed = mmds->settings.version == MMDS_V2;

	if (!token->is_there) {
		metric_add(&mmds->metrics.rx_no_token, 1);
		if (is_needed) {
			say(exchange, 401,
			    "No MMDS token provided. Use `X-metadata-token` or "
			    "`X-aws-ec2-metadata-token` header to specify the session token.");
			return;
		}
	} else if (!mmds_token_is_valid(&mmds->tokens, token->value, token->value_len,
					mmds->clock->now_ns(CLOCK_MONOTONIC))) {
		metric_add(&mmds->metrics.rx_invalid_token, 1);
		if (is_needed) {
			say(exchange, 401, "MMDS token not valid.");
			return;
		}
	}
	answer_with_value(exchange);
}

/* Whether the path is that of tokens; several slashes in a row are one. */
static bool is_token_path(const char *path)
{
	const char *wanted = "/latest/api/token";

	while (*wanted != '\0' && *path == *wanted) {
		path += *wanted == '/' ? strspn(path, "/") : 1;
		wanted++;
	}
	return *wanted == '\0' && *path == '\0';
}

/* A decimal number, which may have a plus in front [compat: Rust's u32]. */
static bool parse_u32(const struct kept_header *header, uint32_t *number)
{
	const char *digits = header->value + (header->value[0] == '+' ? 1 : 0);

	*number = 0;
	if (*digits == '\0' || header->value_len != strlen(header->value)) {
		return false;
	}
	for (; *digits != '\0'; digits++) {
		if (*digits < '0' || *digits > '9' ||
		    __builtin_mul_overflow(*number, UINT32_C(10), number) ||
		    __builtin_add_overflow(*number, (uint32_t)(*digits - '0'), number)) {
			return false;
		}
	}
	return true;
}

static void answer_with_token(struct exchange *exchange, const char *header, uint32_t ttl_s)
{
	struct mmds *mmds = exchange->mmds;
	char token[MMDS_TOKEN_LEN + 1];

	if (ttl_s < MMDS_TOKEN_TTL_MIN_S || ttl_s > MMDS_TOKEN_TTL_MAX_S) {
		say(exchange, 400,
		    "Invalid time to live value provided for token: %u. Please provide a value "
		    "between %d and %d.",
		    ttl_s, MMDS_TOKEN_TTL_MIN_S, MMDS_TOKEN_TTL_MAX_S);
		return;
	}
	if (mmds_token_make(&mmds->tokens, ttl_s, mmds->clock->now_ns(CLOCK_MONOTONIC), token) <
	    0) {
		say(exchange, 400, "Failed to generate a key");
		return;
	}
	say(exchange, 200, "%s", token);
	(void)!snprintf(exchange->lines, sizeof(exchange->lines), "%s: %u\r\n", header, ttl_s);
}

static void answer_put(struct exchange *exchange)
{
	const struct kept_header *ttl = &exchange->headers[HEADER_TTL];
	const struct kept_header *forwarded = &exchange->headers[HEADER_FORWARDED];
	uint32_t ttl_s;

	/* Whoever asks for somebody else must not get a token. */
	if (forwarded->is_there) {
		say(exchange, 400, "Invalid header. Reason: Unsupported header name. Key: %s",
		    forwarded->name);
	} else if (!is_token_path(exchange->request.path)) {
		say_not_found(exchange);
	} else if (!ttl->is_there) {
		say(exchange, 400,
		    "Token time to live value not found. Use `X-metadata-token-ttl-seconds` or "
		    "`X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's "
		    "lifetime.");
	} else if (!parse_u32(ttl, &ttl_s)) {
		say(exchange, 400, "Invalid header. Reason: Invalid value. Key:%s; Value:%s",
		    ttl->name, ttl->value);
	} else {
		answer_with_token(exchange, ttl->name, ttl_s);
	}
}

static void refuse_method(struct exchange *exchange)
{
	say(exchange, 405, "Not allowed HTTP method.");
	(void)stpcpy(exchange->lines, "Allow: GET, PUT\r\n");
}

static void (*const methods[HTTP_METHODS])(struct exchange *exchange) = {
	[HTTP_GET] = answer_get,
	[HTTP_PUT] = answer_put,
	[HTTP_PATCH] = refuse_method,
	[HTTP_DELETE] = refuse_method,
};

/* Reads the request and answers it, in words or by a value. */
static void answer(struct exchange *exchange, const char *text, size_t len)
{
	struct http_parser *parser = &exchange->parser;
	enum http_event event;
	size_t used;

	http_parser_init(parser, 0);
	parser->on_header = keep_header;
	parser->header_arg = exchange;
	event = http_parser_feed(parser, text, len, &used);
	http_parser_request(parser, &exchange->request);
	if (event != HTTP_REQUEST) {
		say_bad(exchange, event == HTTP_BAD && parser->state != HTTP_IN_BODY
					  ? parser->error
					  : "Invalid request."); /* it has a body, or no end */
	} else if (!exchange->request.has_path) {
		say(exchange, 400, "Invalid URI.");
	} else {
		methods[exchange->request.method](exchange);
	}
}

/* Logs the first fetch of a path: whoever put the data there learns that the guest has it. */
static void log_first_fetch(struct mmds *mmds, const char *path)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	char quoted[JSON_QUOTE_LEN];

	for (const char *at = path; *at != '\0'; at++) {
		hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
	}
	for (size_t i = 0; i < mmds->fetched_count; i++) {
		if (mmds->fetched[i] == hash) {
			return;
		}
	}
	if (mmds->fetched_count < FETCHED_MAX) {
		mmds->fetched[mmds->fetched_count++] = hash;
		json_quote(path, strlen(path), quoted, sizeof(quoted));
		log_info("The guest has fetched the metadata at %s.", quoted);
	}
}

/* --- Responses --- */

static size_t print_body(const struct exchange *exchange, char *to)
{
	size_t len = exchange->text_len;

	if (exchange->value != NULL && exchange->is_json) {
		return mmds_json_print(exchange->value, to);
	}
	if (exchange->value != NULL) {
		(void)!mmds_store_print_imds(exchange->value, to, &len);
	} else if (to != NULL) {
		memcpy(to, exchange->text, len);
	}
	return len;
}

int mmds_handle(struct mmds *mmds, const char *request, size_t len, struct mmds_response *out)
{
	struct exchange exchange = {.mmds = mmds};
	char head[HTTP_HEAD_LEN];
	size_t head_len;

	*out = (struct mmds_response){0};
	answer(&exchange, request, len);
	if (exchange.value != NULL) {
		log_first_fetch(mmds, exchange.request.path);
	}
	exchange.response.headers = exchange.lines;
	exchange.response.body = exchange.text;
	exchange.response.body_len = print_body(&exchange, NULL);
	head_len = http_format_head(head, exchange.request.version, &exchange.response);
	out->text = malloc(head_len + exchange.response.body_len);
	if (out->text != NULL) {
		memcpy(out->text, head, head_len);
		out->len = head_len + print_body(&exchange, out->text + head_len);
	}
	http_parser_destroy(&exchange.parser);
	return out->text != NULL ? 0 : -1;
}

void mmds_response_free(struct mmds_response *response)
{
	free(response->text);
	*response = (struct mmds_response){0};
}
