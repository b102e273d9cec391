/* SPDX-License-Identifier: Apache-2.0 */
/* The API's socket: a thread that serves HTTP on a Unix stream socket. */
#ifndef API_SERVER_H
#define API_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/http.h"

enum {
	API_CONNECTIONS_MAX = 10 /* at once [compat] */
};

/* What an answer waits for, embedded in its handler's own. */
struct http_owed {
	int fd;		      /* to get readable; no other answer waits for it. The handler's */
	uint64_t deadline_ns; /* of CLOCK_MONOTONIC: it comes then in any case */
};

/*
 * Answers a request whose answer was owed, which it may be again. `is_late`: nothing came of what
 * it waited for. Called once for each; *owed is the handler's again. On the server's thread.
 */
typedef void (*http_resume)(void *arg, struct http_owed *owed, bool is_late,
			    struct http_response *response);

struct api_server_config {
	const char *path;     /* of the socket, which must not exist yet; used during the call */
	uint64_t payload_max; /* bytes of a request's body */
	http_handler handler; /* called on the server's thread, one request at a time */
	http_resume resume;   /* for answers that it owes, while it handles others; else NULL */
	void *arg;
	/*
	 * How long a connection must have been quiet to make room for another one, when all are
	 * taken.
	 */
	uint64_t quiet_ms;
	void (*confine)(void *arg); /* called first on the server's thread; NULL: nothing to do */
	void *confine_arg;
};

struct api_server;

/* All of these are for the thread that made the server; NULL is fine for stop and free. */

/*
 * Binds the socket and listens: from now on clients connect, and wait. The file's mode is the
 * umask's affair, and the file stays when the server ends [compat].
 */
MUST_CHECK int api_server_new(const struct api_server_config *config, struct api_server **out,
			      struct error *err);

/* Starts the thread "fc_api", which takes no signals but those that it causes itself. */
MUST_CHECK int api_server_start(struct api_server *server, struct error *err);

/*
 * Ends the thread; the request that it is at is still answered, and owed answers are as late ones.
 * If the handler may be waiting, the caller makes it return first. Idempotent.
 */
void api_server_stop(struct api_server *server);

/* After api_server_stop. */
void api_server_free(struct api_server *server);

#endif
