/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with a guest's first process: tools/guest_init/frames.h. */
#ifndef TOOLS_CTL_SESSION_H
#define TOOLS_CTL_SESSION_H

#include <stdbool.h>

#include "tools/guest_init/frames.h"
#include "tools/guest_init/run_request.h"
#include "tools/squibctl/ctl_deadline.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	SESSION_ANSWER_MS = 3000, /* squib itself waits for 2 s, once there is a driver */
	STATUS_OURS = 125,	  /* what a user gets for a fault that is not the command's */
	STATUS_SIGNAL = 128,
	STATUS_DETACHED = 256, /* the user has gone by Ctrl-P Ctrl-Q */
};

struct session_options {
	bool has_terminal; /* the command has one: ours is made raw if we have one */
	bool has_input;
	bool only_starts;  /* do not stay until it ends */
	bool attaches;	   /* to one that runs, whose keeper tells the credit */
	bool is_plain;	   /* what it says on its error output is no terminal's business */
	bool may_detach;   /* on a terminal of ours, by Ctrl-P Ctrl-Q */
	bool no_signals;   /* they are the caller's */
	int end;	   /* once this is readable it is an error to wait longer; 0: none */
	uint64_t deadline; /* for its end; 0: none */
};

/*
 * Connects to the machine's Unix socket `file`. *fd is the caller's, and blocks.
 */
MUST_CHECK int session_open(const struct machine *machine, const char *file, int *fd,
			    struct error *err);

/* Connects to the machine's keeper. *fd is the caller's, and does not block. */
MUST_CHECK int session_keeper(const struct machine *machine, int *fd, struct error *err);

/*
 * Connects to the guest's first process by way of the machine's vsock device. Returns 1 and *fd,
 * non-blocking and the caller's; 0: nobody listens in the guest now, or has answered by the
 * deadline, or `wake` (-1: none) has become readable before; -1: there is no such device.
 */
MUST_CHECK int session_connect(const struct machine *machine, uint64_t deadline, int wake, int *fd,
			       struct error *err);

/* The same for SESSION_ANSWER_MS, where it is an error that nobody listens. */
MUST_CHECK int session_reach(const struct machine *machine, int *fd, struct error *err);

/*
 * Passes on input, output, signals and the terminal's size until the command ends. Returns its exit
 * status, STATUS_OURS and up, STATUS_DETACHED, or -1 with an error.
 */
MUST_CHECK int session_run(struct frames *frames, const struct session_options *options,
			   struct error *err);

/*
 * Fills in what a command is run with: `process` has Args, Env, User and WorkingDir, which must
 * last as long as the request.
 */
MUST_CHECK int session_request(const json_t *process, const struct session_options *options,
			       struct run_request *request, struct error *err);

/* Puts it into the stream. */
MUST_CHECK int session_put_request(struct frames *frames, const struct run_request *request,
				   struct error *err);

/*
 * Whether a signal ends a conversation here, in place of being passed on: any before the command
 * runs, and later a second one that asks for an end, some seconds after the first. A guest that
 * does not listen must not hold on to whoever wants to leave. *asked_ns is 0 to begin with.
 */
bool session_ends_by(uint32_t number, bool has_begun, uint64_t *asked_ns);

/* Sends a signal to the machine's main command. A guest that has not answered by then is an error.
 */
MUST_CHECK int session_signal(const struct machine *machine, int number, uint64_t deadline,
			      struct error *err);

#endif
