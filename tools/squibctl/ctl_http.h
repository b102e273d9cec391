/* SPDX-License-Identifier: Apache-2.0 */
/* A client of HTTP over a Unix socket: one request at a time, answers of a bounded size. */
#ifndef TOOLS_CTL_HTTP_H
#define TOOLS_CTL_HTTP_H

#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	CTL_HEAD_MAX = 16 << 10, /* of status line and headers */
	CTL_BODY_MAX = 16 << 20,
	CTL_STATUS_CONTINUE = 100,
	CTL_STATUS_OK = 200,
	CTL_STATUS_FAULT = 400, /* this and all above */
};

enum {
	CTL_FDS_MAX = 2 /* with one request */
};

/* Descriptors that are sent with a request, which calls them sent:0 and so on. */
struct ctl_fds {
	int items[CTL_FDS_MAX];
	size_t count;
};

struct ctl_reply {
	unsigned status;
	char *body; /* heap, NUL-terminated; NULL: none */
	size_t body_len;
};

/* What ctl_http_parse found at the begin of some bytes. Offsets in bytes. */
struct ctl_http_message {
	unsigned status;
	size_t body_start;
	size_t body_len;
};

/*
 * Looks at the first `len` bytes of an answer. Returns 1 if they hold the whole message, then
 * *message is set; 0 if more must be read; -1 if this is no HTTP that squib would send.
 */
MUST_CHECK int ctl_http_parse(const char *bytes, size_t len, struct ctl_http_message *message,
			      struct error *err);

/* Connects to the socket at `path`; *fd is the caller's to close. The error says what to do. */
MUST_CHECK int ctl_http_connect(const char *path, int *fd, struct error *err);

/* The same; neither connecting, nor a wait for the next bytes of an answer, takes longer. */
MUST_CHECK int ctl_http_connect_for(const char *path, unsigned seconds, int *fd, struct error *err);

/*
 * Sends one request (`body` NULL: none) and waits for its answer, whatever its status. On success
 * the caller frees reply->body.
 */
MUST_CHECK int ctl_http_exchange(int fd, const char *method, const char *path, const char *body,
				 struct ctl_reply *reply, struct error *err);

/*
 * The two halves of it, for who has to do while squib works: the socket is readable then. `fds`,
 * which stay the caller's, are sent with the request; NULL: none.
 */
MUST_CHECK int ctl_http_send(int fd, const char *method, const char *path, const char *body,
			     const struct ctl_fds *fds, struct error *err);
MUST_CHECK int ctl_http_receive(int fd, struct ctl_reply *reply, struct error *err);

/* Waits until the other side closes the connection. */
MUST_CHECK int ctl_http_wait_end(int fd, struct error *err);

#endif
