/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real binary under test: a process in a directory of its own, its console and its API.
 *
 * Functions that return bool return false after a failure; `failure` then has the message of the
 * first one.
 */
#ifndef TESTS_LIB_SQUIB_H
#define TESTS_LIB_SQUIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/lib/testbed.h"

enum {
	PATIENCE_MS = 90000, /* for the API and for the end; software emulation is slow */
	MESSAGE_LEN = 512,
	ANSWER_LEN = 1 << 15,
};

/* The files that squib_expect reads: what squib printed with its console, and its log. */
enum {
	SQUIB_OUT,
	SQUIB_LOG,
	SQUIB_TEXTS
};

struct squib {
	char dir[PATH_LEN];
	pid_t pid;  /* 0: not running */
	int status; /* once it has ended: its exit status, or KILLED_BY + signal */
	uid_t user; /* whom it and programs beside it run as, with the group; 0: as we are */
	gid_t group;
	int in;		  /* standard input of the next start, which closes it; -1: /dev/null */
	int out;	  /* standard output and error likewise; -1: the file "out" */
	int typing;	  /* the other end of `in`: what is written there is typed; -1: none */
	const char *flag; /* of each start with an API, besides its arguments; NULL: none */
	int api;	  /* a connection to the API; -1: none */
	size_t matched[SQUIB_TEXTS]; /* what comes before was consumed by squib_expect */
	uint64_t deadline_ms;	     /* of the test */
	char failure[MESSAGE_LEN];
	char answer[ANSWER_LEN]; /* the last answer's body */
};

/* Makes the directory. Waits for the guest end `timeout_s` from now. */
bool squib_init(struct squib *squib, unsigned timeout_s);

/* Kills what runs, and removes the directory with the files in it. */
void squib_destroy(struct squib *squib);

/* Notes the message, unless there is one. Returns false. */
__attribute__((format(printf, 2, 3))) bool squib_fail(struct squib *squib, const char *fmt, ...);

/* --- its life --- */

/* Standard input of the next start is a pipe, for squib_type. */
bool squib_open_console(struct squib *squib);

/* In a process that is to execute a program: takes on user and group, and no other group. */
bool squib_become(const struct squib *squib);

/*
 * Starts $SQUIB with these arguments (NULL ends them), in the directory. Its life is bound to ours.
 * false: there is no process; a binary that can't be executed exits with 127.
 */
bool squib_start(struct squib *squib, const char *const *args);

/*
 * Starts it afresh with --api-sock api.sock, --log-path log and the arguments `more` (NULL for
 * none), a console to type on unless `in` is set, and connects to its API.
 */
bool squib_serve(struct squib *squib, const char *const *more);

/* Kills what runs and serves as above, but for console and log, which go on in their files. */
bool squib_replace(struct squib *squib, const char *const *more);

/* Waits for its end, *status as above. false: it goes on; this is no failure. */
bool squib_wait(struct squib *squib, unsigned timeout_ms, int *status);

/* Waits for its end, which must be with this status. */
bool squib_ends(struct squib *squib, int status);

/* Kills what runs, and closes the connection to the API. */
void squib_stop(struct squib *squib);

/* --- its API --- */

/* A request, with a body if the format makes one; the status of its answer must be `status`. */
__attribute__((format(printf, 5, 6))) bool squib_api(struct squib *squib, unsigned status,
						     const char *method, const char *path,
						     const char *fmt, ...);

/* The most common ones: "/path", format, values; the answer is to be 204. */
#define squib_put(squib, ...) squib_api(squib, 204, "PUT", __VA_ARGS__)
#define squib_patch(squib, ...) squib_api(squib, 204, "PATCH", __VA_ARGS__)

/* PUT /actions InstanceStart. */
bool squib_api_start(struct squib *squib, unsigned status);

/* All processes of a machine and its forks have its directory. */
bool squib_owns(const struct squib *squib, pid_t pid);

/* The same of another squib with a socket in the directory, <child>.sock; `body` NULL: none. */
bool squib_child(struct squib *squib, const char *child, unsigned status, const char *method,
		 const char *path, const char *body);

/* The number behind "name": in the last answer; -1 without. */
long squib_answer_number(const struct squib *squib, const char *name);

/* --- its console --- */

/*
 * Waits until the console or the log has `text`, behind what was waited for last there. The rest of
 * its line is copied to `rest` where that is not NULL. A line of the console with "WRONG:", which
 * is what guests call wrong, is a failure.
 */
bool squib_expect(struct squib *squib, const char *text, char rest[MESSAGE_LEN]);

/* Whether the console has `text` by now, wherever. */
bool squib_says(const struct squib *squib, const char *text);

/* Types on the console. */
bool squib_type(struct squib *squib, const char *text);

/* Types a line, and waits for a text. */
bool squib_ask(struct squib *squib, const char *line, const char *text);

/* --- files of its directory --- */

void squib_path(const struct squib *squib, const char *name, char path[PATH_LEN]);

/* The content, as a heap block with a NUL behind; NULL: no such file. */
char *squib_file(const struct squib *squib, const char *name, size_t *len);

/* The same as text to search in: NULs in it become '?'. */
char *squib_text(const struct squib *squib, const char *name);

/* Writes a file. */
bool squib_write(struct squib *squib, const char *name, const char *content);

/* Prints the end of a file, if it is there. */
void squib_show(const struct squib *squib, const char *name);

#endif
