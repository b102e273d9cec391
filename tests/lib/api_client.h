/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the API that sees bytes: it trusts nothing that the server says. */
#ifndef TESTS_LIB_API_CLIENT_H
#define TESTS_LIB_API_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
	API_HEAD_MAX = 2048 /* of an answer that a client takes */
};

/* A connection to the socket, which blocks; -1 with errno. Tries until the time is over. */
int api_connect(const char *path, unsigned timeout_ms);

/* Sends all. false: the server takes no more, or is gone. */
bool api_send(int fd, const char *data, size_t len, unsigned timeout_ms);

/*
 * Reads exactly one answer: its head, and as much behind as its Content-Length says. Returns the
 * length of it, or of what came until the time was over, the server closed, or `cap` was reached;
 * *is_whole tells. An answer whose status is 100 is one of its own.
 */
size_t api_receive(int fd, char *answer, size_t cap, unsigned timeout_ms, bool *is_whole);

/* Reads up to `len` bytes until the time is over or the server closes; returns how many came. */
size_t api_read(int fd, char *data, size_t len, unsigned timeout_ms, bool *is_closed);

/*
 * The answer that the API gives, whole: `body` NULL for none, else of `len` bytes; with the header
 * of a deprecated request. Returns the length, or 0 if `cap` is too small.
 */
size_t api_format_answer(char *to, size_t cap, unsigned status, bool is_deprecated,
			 const char *body, size_t len);

/* One request as common clients write it. `body` NULL: none. Returns as above. */
size_t api_format_request(char *to, size_t cap, const char *method, const char *path,
			  const char *body, size_t len);

/*
 * One request, `body` NULL for none, and the body of its answer as a string, cut to `cap`. Returns
 * the status; 0, with what came, if the request could not be sent or the answer is not whole.
 */
unsigned api_ask(int fd, const char *method, const char *path, const char *body, char *answer,
		 size_t cap, unsigned timeout_ms);

#endif
