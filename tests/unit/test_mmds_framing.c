/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request to the metadata service ends. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/framing.h"
#include "vmm/base/bytes.h"

enum {
	MAX = 100
};

Test(mmds_framing, a_request_ends_behind_its_body)
{
	static const struct {
		const char *data;
		size_t len; /* of the first request */
	} cases[] = {
		{"", 0},
		{"\r\n", 0},
		{"GET / HTTP/1.1\r\n", 0},
		{"GET / HTTP/1.1\r\n\r", 0},
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 18},
		{"GET / HTTP/1.1\n\n", 16},
		{"GET / HTTP/1.1\nA: b\r\n\n", 22},
		{"GET / HTTP/1.1\r\nA: b\r\n\r\n", 24},
		{"GET / HTTP/1.1\r\n \r\n\r\n", 21},
		/* An empty line first is none of a head's end [compat]. */
		{"\r\nGET /\r\n", 0},
		{"\r\nGET /\r\n\r\n", 11},
		{"\r\n\r\n", 4},
		{"P\r\nContent-Length: 3\r\n\r\n", 0},
		{"P\r\nContent-Length: 3\r\n\r\nab", 0},
		{"P\r\nContent-Length: 3\r\n\r\nabc", 27},
		{"P\r\nContent-Length: 3\r\n\r\nabcd", 27},
		{"P\r\ncontent-LENGTH:3\r\n\r\nabc", 26},
		{"P\r\n content-length \t:\t+3 \r\n\r\nabc", 32},
		{"P\nContent-Length: 3\n\nabc", 24},
		{"P\r\nContent-Length: 0\r\n\r\nabc", 24},
		{"P\r\nContent-Lengths: 3\r\n\r\n", 25},
		{"P\r\nContent-Lengt: 3\r\n\r\n", 23},
		{"P\r\nX-Content-Length: 3\r\n\r\n", 26},
		{"P\r\nA: Content-Length: 3\r\n\r\n", 27},
		/* No lengths, so there is no body to wait for. */
		{"P\r\nContent-Length:\r\n\r\n", 22},
		{"P\r\nContent-Length: +\r\n\r\n", 24},
		{"P\r\nContent-Length: -3\r\n\r\n", 25},
		{"P\r\nContent-Length: 3x\r\n\r\n", 25},
		{"P\r\nContent-Length: 3 3\r\n\r\n", 26},
		{"P\r\nContent-Length: 4294967296\r\n\r\n", 33},
		{"P\r\nContent-Length: 99999999999999999999999\r\n\r\n", 46},
		/* In the request's line it is no header. */
		{"Content-Length: 3\r\n\r\n", 21},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		size_t len = strlen(cases[i].data);
		char *data = malloc(len + 1); /* an exact one, for the sanitizers */
		bool is_cut;

		memcpy(data, cases[i].data, len);
		cr_expect_eq(mmds_request_len(data, len, MAX, &is_cut), cases[i].len,
			     "case %zu: %s", i, cases[i].data);
		cr_expect_not(is_cut, "case %zu", i);
		free(data);
	}
}

Test(mmds_framing, a_body_that_does_not_fit_is_left_out)
{
	static const struct {
		const char *data;
		size_t len;
		bool is_cut;
	} cases[] = {
		{"P\r\nContent-Length: 75\r\n\r\n", 0, false}, /* 25 bytes of head */
		{"P\r\nContent-Length: 76\r\n\r\n", 25, true},
		{"P\r\nContent-Length: 4294967295\r\n\r\nabc", 33, true},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		bool is_cut;

		cr_expect_eq(mmds_request_len(cases[i].data, strlen(cases[i].data), MAX, &is_cut),
			     cases[i].len, "case %zu", i);
		cr_expect_eq(is_cut, cases[i].is_cut, "case %zu", i);
	}
}
