/* SPDX-License-Identifier: Apache-2.0 */
/* The process that keeps one machine: squib's parent, and the one that its main command talks to.
 */
#ifndef TOOLS_CTL_KEEPER_H
#define TOOLS_CTL_KEEPER_H

#include "tools/guest_init/run_request.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Where a machine's squib comes from. */
enum keeper_way {
	KEEPER_BOOTS, /* it is started with the machine's vm.json, and runs the command */
	KEEPER_LOADS, /* it is started, and loads a snapshot: the command runs in that */
	KEEPER_TAKES, /* it is the record's, a fork: the command runs, and so does passt */
};

struct keeper_plan {
	enum keeper_way way;
	const char *load;	     /* the body of PUT /snapshot/load */
	struct run_request *request; /* with RUN_TAKE unless it boots; the keeper sets the clock */
	bool removes;		     /* the machine at its end */
	bool waits;		     /* once it is loaded, for who comes next */
};

/*
 * Makes the process, which has the machine's squib run the command in the guest, or takes one over
 * that runs, and writes its output to the machine's log and its exit status to the record. It has
 * no terminal and outlives its parent. *client is a stream of frames for session_run, as if it were
 * the guest; the caller closes it, at any time. A machine that `waits` is loaded and paused when
 * FRAME_DONE comes; it goes on for the one who connects to KEEPER_SOCKET after *client was closed,
 * and gets FRAME_DONE when its command runs.
 */
MUST_CHECK int keeper_start(struct machine *machine, const struct keeper_plan *plan, int *client,
			    struct error *err);

/*
 * Where another one may take the place of a client that has gone: a socket of frames, which begins
 * with FRAME_DONE, once the command runs, and what credit there is. One that comes while another is
 * there gets FRAME_FAILED.
 */
#define KEEPER_SOCKET "attach"

/* The log's two files: a newer one, and an older one that it was before it got too long. */
#define KEEPER_LOG "log"
#define KEEPER_LOG_OLD "log.1"

#endif
