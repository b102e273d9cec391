/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/mmds/mmds.c: what guests are answered. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/mmds/mmds.h"
#include "devices/mmds/mmds_json.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"

/* The body's length goes where the @ is. */
#define HEAD(version, status, lines, type)                                                         \
	"HTTP/1." version " " status                                                               \
	" \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n" lines "Content-Type: " type   \
	"\r\nContent-Length: @\r\n\r\n"
#define PLAIN(status) HEAD("1", status, "", "text/plain")
#define JSON(status) HEAD("1", status, "", "application/json")
#define NO_TTL                                                                                     \
	PLAIN("400")                                                                               \
	"Token time to live value not found. Use `X-metadata-token-ttl-seconds` or "               \
	"`X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime."
#define NO_TOKEN                                                                                   \
	PLAIN("401")                                                                               \
	"No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to "  \
	"specify the session token."
#define BAD_TOKEN PLAIN("401") "MMDS token not valid."
#define UNSUPPORTED PLAIN("501") "Cannot retrieve value. The value has an unsupported type."

static const char data[] =
	"{\"latest\":{\"meta-data\":{\"ami-id\":\"ami-1\",\"n\":1.0,\"empty\":{},"
	"\"list\":[\"x\",{\"k\":\"v\"}],\"text\":\"\"}}}";

static uint64_t now_s = 1000;

static uint64_t now_ns(clockid_t id)
{
	cr_expect_eq(id, CLOCK_MONOTONIC);
	return now_s * 1000000000;
}

static const struct clock test_clock = {.now_ns = now_ns};

/* Stores a document, which is the callee's. */
static int put(struct mmds *mmds, json_t *document, struct error *err)
{
	int result = mmds_put(mmds, &document, mmds_json_print(document, NULL), err);

	json_decref(document);
	return result;
}

static struct mmds *create(enum mmds_version version, bool imds_compat, const char *text)
{
	const struct mmds_settings settings = {.version = version, .imds_compat = imds_compat};
	struct mmds *mmds = NULL;
	json_t *document = NULL;
	struct error err = {0};

	cr_assert_eq(mmds_new("vm", 4096, &test_clock, &mmds, &err), 0, "%s", err.msg);
	mmds_configure(mmds, &settings);
	if (text != NULL) {
		cr_assert_eq(mmds_json_load(text, strlen(text), "Bad", &document, &err), 0);
		cr_assert_eq(put(mmds, document, &err), 0, "%s", err.msg);
	}
	return mmds;
}

/* The answer to a request of `len` bytes, NUL-terminated; the request is a block of its own. */
static char *ask(struct mmds *mmds, const char *request, size_t len)
{
	struct mmds_response response;
	char *copy = malloc(len + 1);
	char *text;

	cr_assert_not_null(copy);
	memcpy(copy, request, len);
	cr_assert_eq(mmds_handle(mmds, copy, len, &response), 0);
	free(copy);
	text = strndup(response.text, response.len);
	mmds_response_free(&response);
	cr_expect_null(response.text);
	return text;
}

static void expect(struct mmds *mmds, const char *request, const char *expected)
{
	char *text = ask(mmds, request, strlen(request));
	const char *mark = strchr(expected, '@');
	char whole[1024];

	(void)!snprintf(whole, sizeof(whole), "%.*s%zu%s", (int)(mark - expected), expected,
			strlen(mark + 5), mark + 1);
	cr_expect_str_eq(text, whole, "[%s] is answered [%s], not [%s]", request, text, whole);
	free(text);
}

struct vector {
	const char *request;
	const char *response;
};

static void expect_all(struct mmds *mmds, const struct vector *vectors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		expect(mmds, vectors[i].request, vectors[i].response);
	}
	mmds_free(mmds);
}

/* A token of a guest's, 48 bytes long. */
static void get_token(struct mmds *mmds, char token[64])
{
	static const char head[] = "HTTP/1.1 200 \r\nServer: Firecracker API\r\n"
				   "Connection: keep-alive\r\n"
				   "X-metadata-token-ttl-seconds: 60\r\n"
				   "Content-Type: text/plain\r\nContent-Length: 48\r\n\r\n";
	static const char request[] = "PUT /latest/api/token HTTP/1.1\r\n"
				      "X-metadata-token-ttl-seconds: 60\r\n\r\n";
	char *text = ask(mmds, request, strlen(request));

	cr_assert_eq(strncmp(text, head, strlen(head)), 0, "%s", text);
	cr_assert_eq(strlen(text), strlen(head) + 48);
	(void)stpcpy(token, text + strlen(head));
	free(text);
}

Test(mmds, version_1_answers_without_a_token)
{
	static const struct vector vectors[] = {
		{"GET /latest/meta-data/ami-id HTTP/1.1\r\n\r\n", PLAIN("200") "ami-1"},
		{"GET http://169.254.169.254/latest/meta-data/ami-id HTTP/1.0\r\n\r\n",
		 HEAD("0", "200", "", "text/plain") "ami-1"},
		{"GET //latest//meta-data/ HTTP/1.1\r\n\r\n",
		 PLAIN("200") "ami-id\nempty/\nlist\nn\ntext"},
		{"GET / HTTP/1.1\r\n\r\n", PLAIN("200") "latest/"},
		{"GET /latest/meta-data/empty HTTP/1.1\r\n\r\n", PLAIN("200")},
		{"GET /latest/meta-data/text HTTP/1.1\r\n\r\n", PLAIN("200")},
		{"GET /latest/meta-data/list/0 HTTP/1.1\r\n\r\n", PLAIN("200") "x"},
		{"GET /latest/meta-data/n HTTP/1.1\r\n\r\n", UNSUPPORTED},
		{"GET /latest/meta-data/list HTTP/1.1\r\n\r\n", UNSUPPORTED},
		{"GET //latest/x HTTP/1.1\r\n\r\n", PLAIN("404") "Resource not found: //latest/x."},
		{"GET /latest/meta-data HTTP/1.1\r\nAccept: application/json\r\n\r\n",
		 JSON("200") "{\"ami-id\":\"ami-1\",\"empty\":{},\"list\":[\"x\",{\"k\":"
			     "\"v\"}],\"n\":1.0,\"text\":\"\"}"},
		{"GET /latest/meta-data/n HTTP/1.1\r\naccept:application/json\r\n\r\n",
		 JSON("200") "1.0"},
		{"GET /latest/meta-data/ami-id HTTP/1.1\r\nAccept: application/json\r\n\r\n",
		 JSON("200") "\"ami-1\""},
		{"GET /latest/meta-data/ami-id HTTP/1.1\r\nAccept: */*\r\n\r\n",
		 PLAIN("200") "ami-1"},
		{"GET /none HTTP/1.1\r\nAccept: application/json\r\n\r\n",
		 PLAIN("404") "Resource not found: /none."},
		{"GET /latest/meta-data/ami-id HTTP/1.1\r\nX-Forwarded-For: a\r\n\r\n",
		 PLAIN("200") "ami-1"},
	};

	expect_all(create(MMDS_V1, false, data), vectors, ARRAY_COUNT(vectors));
}

Test(mmds, with_imds_compat_no_answer_is_json)
{
	static const struct vector vectors[] = {
		{"GET /latest/meta-data/empty HTTP/1.1\r\nAccept: application/json\r\n\r\n",
		 PLAIN("200")},
		{"GET /latest/meta-data/n HTTP/1.1\r\nAccept: application/json\r\n\r\n",
		 UNSUPPORTED},
	};

	expect_all(create(MMDS_V1, true, data), vectors, ARRAY_COUNT(vectors));
}

Test(mmds, without_data_there_is_a_null)
{
	static const struct vector vectors[] = {
		{"GET / HTTP/1.1\r\n\r\n", UNSUPPORTED},
		{"GET / HTTP/1.1\r\nAccept: application/json\r\n\r\n", JSON("200") "null"},
		{"GET /a HTTP/1.1\r\n\r\n", PLAIN("404") "Resource not found: /a."},
	};

	expect_all(create(MMDS_V1, false, NULL), vectors, ARRAY_COUNT(vectors));
}

Test(mmds, requests_that_are_none_are_refused)
{
	static const struct vector vectors[] = {
		{"", JSON("400") "Invalid request."},
		{"GET / HTTP/1.1\r\n", JSON("400") "Invalid request."},
		{"GET / HTTP/1.1\n\n", JSON("400") "Invalid request."},
		{"GET /\r\n\r\n", JSON("400") "Invalid request."},
		{"POST / HTTP/1.0\r\n\r\n", JSON("501") "Unsupported HTTP method."},
		{"get / HTTP/1.1\r\n\r\n", JSON("501") "Unsupported HTTP method."},
		{"GET / HTTP/2.0\r\n\r\n", JSON("501") "Unsupported HTTP version."},
		{"GET  HTTP/1.1\r\n\r\n", JSON("400") "Empty URI not allowed."},
		{"GET \xff HTTP/1.1\r\n\r\n", JSON("400") "Cannot parse URI as UTF-8."},
		{"GET / HTTP/1.1\r\nx\r\n\r\n",
		 JSON("400") "Header is incorrectly formatted. Key: x"},
		{"GET / HTTP/1.0\r\nx\r\n\r\n",
		 JSON("400") "Header is incorrectly formatted. Key: x"},
		{"GET / HTTP/1.1\r\nContent-Length: alpha\r\n\r\n",
		 JSON("400") "Invalid value. Key:Content-Length; Value: alpha"},
		{"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", JSON("400") "Invalid request."},
		{"PUT / HTTP/1.1\r\nContent-Length: 4294967295\r\n\r\nx",
		 JSON("400") "Invalid request."},
		{"GET latest HTTP/1.0\r\n\r\n", HEAD("0", "400", "", "text/plain") "Invalid URI."},
		{"PUT http://169.254.169.254 HTTP/1.1\r\n\r\n", PLAIN("400") "Invalid URI."},
		{"PATCH / HTTP/1.1\r\n\r\n",
		 HEAD("1", "405", "Allow: GET, PUT\r\n", "text/plain") "Not allowed HTTP method."},
		{"DELETE /a HTTP/1.0\r\n\r\n",
		 HEAD("0", "405", "Allow: GET, PUT\r\n", "text/plain") "Not allowed HTTP method."},
	};

	expect_all(create(MMDS_V1, false, data), vectors, ARRAY_COUNT(vectors));
}

Test(mmds, tokens_are_refused_with_a_reason)
{
#define TOKEN "PUT /latest/api/token HTTP/1.1\r\n"
#define OUT_OF_RANGE(number)                                                                       \
	PLAIN("400")                                                                               \
	"Invalid time to live value provided for token: " number ". Please provide a value "       \
	"between 1 and 21600."
#define BAD_VALUE(name, value)                                                                     \
	PLAIN("400") "Invalid header. Reason: Invalid value. Key:" name "; Value:" value
	static const struct vector vectors[] = {
		{TOKEN "\r\n", NO_TTL},
		{TOKEN "X-metadata-token: 60\r\n\r\n", NO_TTL},
		{TOKEN "X-metadata-token-ttl-seconds: 0\r\n\r\n", OUT_OF_RANGE("0")},
		{TOKEN "X-aws-ec2-metadata-token-ttl-seconds: 21601\r\n\r\n",
		 OUT_OF_RANGE("21601")},
		{TOKEN "x-METADATA-token-ttl-seconds: 4294967295\r\n\r\n",
		 OUT_OF_RANGE("4294967295")},
		{TOKEN "x-METADATA-token-ttl-seconds: 4294967296\r\n\r\n",
		 BAD_VALUE("x-METADATA-token-ttl-seconds", "4294967296")},
		{TOKEN "X-aws-ec2-metadata-token-ttl-seconds: -1\r\n\r\n",
		 BAD_VALUE("X-aws-ec2-metadata-token-ttl-seconds", "-1")},
		{TOKEN "X-metadata-token-ttl-seconds: 1 0\r\n\r\n",
		 BAD_VALUE("X-metadata-token-ttl-seconds", "1 0")},
		{TOKEN "X-metadata-token-ttl-seconds:\r\n\r\n",
		 BAD_VALUE("X-metadata-token-ttl-seconds", "")},
		{TOKEN "X-metadata-token-ttl-seconds: +\r\n\r\n",
		 BAD_VALUE("X-metadata-token-ttl-seconds", "+")},
		{TOKEN "x-Forwarded-FOR: 1.2.3.4\r\nX-metadata-token-ttl-seconds: 60\r\n\r\n",
		 PLAIN("400") "Invalid header. Reason: Unsupported header name. Key: "
			      "x-Forwarded-FOR"},
		{"PUT /x HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
		 PLAIN("400") "Invalid header. Reason: Unsupported header name. Key: "
			      "X-Forwarded-For"},
		{"PUT /latest/api/token/ HTTP/1.1\r\nX-metadata-token-ttl-seconds: 60\r\n\r\n",
		 PLAIN("404") "Resource not found: /latest/api/token/."},
		{"PUT /latest/api HTTP/1.1\r\n\r\n",
		 PLAIN("404") "Resource not found: /latest/api."},
	};

	expect_all(create(MMDS_V2, false, data), vectors, ARRAY_COUNT(vectors));
}

Test(mmds, version_2_wants_a_token)
{
	static const char *const names[] = {"X-metadata-token", "X-aws-ec2-metadata-token",
					    "x-METADATA-TOKEN"};
	struct mmds *mmds = create(MMDS_V2, false, data);
	char request[256];
	char token[64];

	get_token(mmds, token);
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		(void)!snprintf(request, sizeof(request),
				"GET /latest/meta-data/ami-id HTTP/1.1\r\n%s: %s\r\n\r\n", names[i],
				token);
		now_s = 1059;
		expect(mmds, request, PLAIN("200") "ami-1");
		now_s = 1060;
		expect(mmds, request, BAD_TOKEN);
		now_s = 1000;
	}
	expect(mmds, "GET / HTTP/1.1\r\n\r\n", NO_TOKEN);
	expect(mmds, "GET / HTTP/1.1\r\nX-metadata-token: x\r\n\r\n", BAD_TOKEN);
	expect(mmds, "GET / HTTP/1.1\r\nX-metadata-token:\r\n\r\n", BAD_TOKEN);
	expect(mmds, "GET /none HTTP/1.1\r\n\r\n", NO_TOKEN);
	expect(mmds, "DELETE / HTTP/1.1\r\n\r\n",
	       HEAD("1", "405", "Allow: GET, PUT\r\n", "text/plain") "Not allowed HTTP method.");

	mmds_forget_tokens(mmds);
	expect(mmds, request, BAD_TOKEN);
	cr_expect_eq(metric_get(&mmds_metrics(mmds)->rx_no_token), 2);
	cr_expect_eq(metric_get(&mmds_metrics(mmds)->rx_invalid_token), 6);
	mmds_free(mmds);
}

Test(mmds, the_header_of_a_token_s_life_comes_back_as_it_was_sent)
{
	static const char *const cases[][2] = {
		{"PUT /latest/api/token HTTP/1.1\r\nx-aws-EC2-metadata-token-ttl-seconds: "
		 "+021600\r\n\r\n",
		 "HTTP/1.1 200 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		 "x-aws-EC2-metadata-token-ttl-seconds: 21600\r\nContent-Type: text/plain\r\n"},
		{"PUT //latest///api/token HTTP/1.0\r\nContent-Length: 0\r\n"
		 "X-metadata-token-ttl-seconds: 1\r\n\r\n",
		 "HTTP/1.0 200 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		 "X-metadata-token-ttl-seconds: 1\r\nContent-Type: text/plain\r\n"},
	};
	struct mmds *mmds = create(MMDS_V1, false, data);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char *text = ask(mmds, cases[i][0], strlen(cases[i][0]));

		cr_expect_eq(strncmp(text, cases[i][1], strlen(cases[i][1])), 0, "%s", text);
		free(text);
	}
	mmds_free(mmds);
}

Test(mmds, version_1_counts_tokens_and_goes_on)
{
	struct mmds *mmds = create(MMDS_V1, false, data);
	char request[256];
	char token[64];

	get_token(mmds, token);
	(void)!snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nX-metadata-token: %s\r\n\r\n",
			token);
	expect(mmds, request, PLAIN("200") "latest/");
	cr_expect_eq(metric_get(&mmds_metrics(mmds)->rx_no_token), 0);
	cr_expect_eq(metric_get(&mmds_metrics(mmds)->rx_invalid_token), 0);
	expect(mmds, "GET / HTTP/1.1\r\n\r\n", PLAIN("200") "latest/");
	expect(mmds, "GET / HTTP/1.1\r\nX-aws-ec2-metadata-token: x\r\n\r\n",
	       PLAIN("200") "latest/");
	cr_expect_eq(metric_get(&mmds_metrics(mmds)->rx_no_token), 1);
	cr_expect_eq(metric_get(&mmds_metrics(mmds)->rx_invalid_token), 1);
	mmds_free(mmds);
}

Test(mmds, a_header_may_have_nuls_and_be_long)
{
	static const char request[] = "PUT /latest/api/token HTTP/1.1\r\n"
				      "X-metadata-token-ttl-seconds: 60\0\r\n\r\n";
	static const char start[] = "PUT /latest/api/token HTTP/1.1\r\n"
				    "X-aws-ec2-metadata-token-ttl-seconds: ";
	struct mmds *mmds = create(MMDS_V2, false, data);
	char *text = ask(mmds, request, sizeof(request) - 1);
	char longest[2048];

	cr_expect_eq(strncmp(text, "HTTP/1.1 400 ", 13), 0, "%s", text);
	free(text);
	memset(longest, '1', sizeof(longest));
	memcpy(longest, start, strlen(start));
	/* The line has 1024 bytes. */
	memcpy(longest + 32 + 1022, "\r\n\r\n", 4);
	text = ask(mmds, longest, 32 + 1026);
	cr_expect_not_null(strstr(text, "Reason: Invalid value. Key:X-aws-ec2-metadata-token-ttl-"
					"seconds; Value:11111"));
	free(text);
	mmds_free(mmds);
}

Test(mmds, clients_get_the_data_as_text)
{
	static const char *const cases[][2] = {
		{NULL, "{}"},
		{"null", "{}"},
		{"{\"b\":1,\"a\":[]}", "{\"a\":[],\"b\":1}"},
		{"7", "7"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct mmds *mmds = create(MMDS_V1, false, cases[i][0]);
		struct error err = {0};
		char *text = NULL;
		size_t len = 0;

		json_t *document = mmds_data(mmds);

		cr_expect_eq(mmds_print(document, &text, &len, &err), 0);
		json_decref(document);
		cr_expect_str_eq(text, cases[i][1]);
		cr_expect_eq(len, strlen(cases[i][1]));
		free(text);
		mmds_free(mmds);
	}
}

static unsigned lines_with(const char *text, const char *part)
{
	unsigned count = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		count++;
	}
	return count;
}

Test(mmds, the_first_fetch_of_a_path_is_logged)
{
	static const char part[] = "The guest has fetched the metadata at /";
	int log = capture_log(LOG_INFO);
	struct mmds *mmds = create(MMDS_V1, false, "{\"a\":\"x\",\"b\":\"y\"}");
	struct error err = {0};
	char large[5000]; /* more than the limit */
	char request[64];
	json_t *document;

	for (unsigned round = 0; round < 3; round++) {
		free(ask(mmds, "GET /a HTTP/1.1\r\n\r\n", 19));
		free(ask(mmds, "GET /none HTTP/1.1\r\n\r\n", 22));
	}
	cr_expect_eq(lines_with(captured(log), part), 1, "%s", captured(log));
	free(ask(mmds, "GET /b HTTP/1.1\r\n\r\n", 19));
	cr_expect_eq(lines_with(captured(log), part), 2);
	/* Data that are refused change nothing. */
	memset(large, 'x', sizeof(large));
	large[0] = '"';
	large[sizeof(large) - 1] = '"';
	cr_assert(mmds_json_load(large, sizeof(large), "bad", &document, &err) == 0);
	cr_assert(put(mmds, document, &err) < 0);
	error_clear(&err);
	free(ask(mmds, "GET /a HTTP/1.1\r\n\r\n", 19));
	cr_expect_eq(lines_with(captured(log), part), 2);
	/* New data are fetched anew. */
	cr_assert(mmds_json_load("{\"a\":\"z\"}", 9, "bad", &document, &err) == 0);
	cr_assert(put(mmds, document, &err) == 0);
	free(ask(mmds, "GET /a HTTP/1.1\r\n\r\n", 19));
	cr_expect_eq(lines_with(captured(log), part), 3);
	/* A guest can't fill the log by spelling a path in many ways. */
	for (unsigned i = 0; i < 200; i++) {
		int len = snprintf(request, sizeof(request), "GET %.*s/a HTTP/1.1\r\n\r\n",
				   (int)(i % 30), "//////////////////////////////");

		free(ask(mmds, request, (size_t)len));
	}
	cr_expect_leq(lines_with(captured(log), part), 3 + 30);
	mmds_free(mmds);
	close(log);
}

Test(mmds, the_address_is_ec2_s_until_another_is_set)
{
	static const uint8_t address[] = {169, 254, 169, 254};
	const struct mmds_settings other = {.address = {169, 254, 1, 1}};
	struct mmds *mmds = NULL;
	struct error err = {0};

	cr_assert_eq(mmds_new("vm", 64, &test_clock, &mmds, &err), 0);
	cr_expect_eq(memcmp(mmds_settings(mmds)->address, address, sizeof(address)), 0);
	cr_expect_eq(mmds_settings(mmds)->version, MMDS_V1);
	mmds_configure(mmds, &other);
	cr_expect_eq(memcmp(mmds_settings(mmds)->address, other.address, sizeof(address)), 0);
	mmds_free(mmds);
}
