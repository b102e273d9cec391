/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/reply.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "vmm/base/bytes.h"

Test(reply, any_sentence_becomes_valid_json)
{
	static const struct {
		const char *msg;
		const char *body;
	} cases[] = {
		{"a \"b\" \\c/", "{\"fault_message\":\"a \\\"b\\\" \\\\c/\"}"},
		{"a\nb\tc\x01", "{\"fault_message\":\"a\\nb\\tc\\u0001\"}"},
		{"\xc3\xa9", "{\"fault_message\":\"\xc3\xa9\"}"},
		/* Cut within a character. */
		{"\xc3\xa9 \xc3", "{\"fault_message\":\"?? ?\"}"},
		{"", "{\"fault_message\":\"\"}"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct http_response response = {0};
		struct error err = {.kind = ERR_BAD_REQUEST};

		strcpy(err.msg, cases[i].msg);
		reply_fault(&response, &err);
		cr_expect_eq(response.status, 400);
		cr_expect_str_eq(response.body, cases[i].body, "%s", response.body);
		cr_expect_eq(response.body_len, strlen(cases[i].body));
		free(response.body);
	}
}

Test(reply, success_is_200_with_a_body_and_204_without)
{
	struct http_response response = {0};
	json_t *object = json_pack("{s:i, s:[]}", "b", 1, "a");

	reply_success(&response, object);
	cr_expect_eq(response.status, 200);
	cr_expect_str_eq(response.body, "{\"b\":1,\"a\":[]}");
	free(response.body);
	json_decref(object);

	response = (struct http_response){0};
	reply_success(&response, NULL);
	cr_expect_eq(response.status, 204);
	cr_expect_null(response.body);
}
