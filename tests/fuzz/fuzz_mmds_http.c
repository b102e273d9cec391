/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what guests ask the metadata service. The first byte has the settings, the rest is a
 * request, in which the byte 1 stands for a valid token. Each answer must be a response of a known
 * status whose body has the length that it says, and is JSON if it says so.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/mmds.h"
#include "devices/mmds/mmds_json.h"
#include "tests/fuzz/fuzz.h"

enum {
	TOKEN_MARK = 1,
	TOKEN_LEN = 48
};

static const char data[] =
	"{\"latest\":{\"meta-data\":{\"ami-id\":\"ami-1\",\"n\":1.5,\"list\":[\"x\",{\"k\":\"v\"},["
	"]],"
	"\"a/b\":{\"~\":\"c\"},\"\":null,\"text\":\"a\\u0000\\n\"}},\"a\":{\"b\":{}}}";

static uint64_t now_ns(clockid_t id)
{
	(void)id;
	return 1;
}

static const struct clock still_clock = {.now_ns = now_ns};

static struct mmds *create(uint8_t flags)
{
	const struct mmds_settings settings = {.version = (flags & 1) != 0 ? MMDS_V2 : MMDS_V1,
					       .imds_compat = (flags & 2) != 0};
	struct error err = {0};
	struct mmds *mmds;
	json_t *document;

	require(mmds_new("fuzz", sizeof(data), &still_clock, &mmds, &err) == 0);
	require(mmds_json_load(data, strlen(data), "", &document, &err) == 0);
	require(mmds_put(mmds, &document, strlen(data), &err) == 0);
	json_decref(document);
	mmds_configure(mmds, &settings);
	return mmds;
}

/* Answers a request; the response is NUL-terminated, the caller frees it. */
static char *ask(struct mmds *mmds, const char *request, size_t len, size_t *response_len)
{
	struct mmds_response response;
	char *text;

	require(mmds_handle(mmds, request, len, &response) == 0);
	*response_len = response.len;
	text = malloc(response.len + 1);
	require(text != NULL);
	memcpy(text, response.text, response.len);
	text[response.len] = '\0';
	mmds_response_free(&response);
	return text;
}

static void check(const char *response, size_t len)
{
	static const char *const statuses[] = {"200", "400", "401", "404", "405", "501"};
	const char *body = strstr(response, "\r\n\r\n");
	const char *length = strstr(response, "\r\nContent-Length: ");
	bool is_known = false;

	require(strncmp(response, "HTTP/1.", 7) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
		is_known |= strncmp(response + 9, statuses[i], 3) == 0;
	}
	require(is_known && body != NULL && length != NULL && length < body);
	body += 4;
	require(strtoul(length + 18, NULL, 10) == len - (size_t)(body - response));
	if (strncmp(response + 9, "200", 3) == 0 &&
	    strstr(response, "\r\nContent-Type: application/json\r\n") != NULL) {
		struct error err = {0};
		json_t *json;

		require(mmds_json_load(body, len - (size_t)(body - response), "", &json, &err) ==
			0);
		json_decref(json);
	}
}

static void get_token(struct mmds *mmds, char token[TOKEN_LEN])
{
	static const char request[] = "PUT /latest/api/token HTTP/1.1\r\n"
				      "X-metadata-token-ttl-seconds: 1\r\n\r\n";
	size_t len;
	char *response = ask(mmds, request, strlen(request), &len);

	require(len > TOKEN_LEN);
	memcpy(token, response + len - TOKEN_LEN, TOKEN_LEN);
	free(response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data_in, size_t size)
{
	struct mmds *mmds;
	char token[TOKEN_LEN];
	char *request = malloc(size * TOKEN_LEN + 1);
	size_t len = 0;
	char *response;

	require(request != NULL);
	mmds = create(size > 0 ? data_in[0] : 0);
	get_token(mmds, token);
	for (size_t i = 1; i < size; i++) {
		if (data_in[i] == TOKEN_MARK) {
			memcpy(request + len, token, TOKEN_LEN);
			len += TOKEN_LEN;
		} else {
			request[len++] = (char)data_in[i];
		}
	}
	/* No longer than it is, so that the sanitizer sees what is read beyond it. */
	request = realloc(request, len + (len == 0));
	require(request != NULL);
	response = ask(mmds, request, len, &len);
	check(response, len);
	free(response);
	free(request);
	mmds_free(mmds);
	return 0;
}
