/* SPDX-License-Identifier: Apache-2.0 */
/* The process that keeps one machine: squib's parent, and the one that its main command talks to.
 */
#ifndef TOOLS_CTL_KEEPER_H
#define TOOLS_CTL_KEEPER_H

#include "tools/guest_init/run_request.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Makes the process, which starts squib with the machine's vm.json, runs the command in the guest,
 * writes its output to the machine's log and its exit status to the record, and with `removes`
 * removes the machine at its end. It has no terminal and outlives its parent. *client is a stream
 * of frames for session_run, as if it were the guest; the caller closes it, at any time.
 */
MUST_CHECK int keeper_start(struct machine *machine, const struct run_request *request,
			    bool removes, int *client, struct error *err);

/*
 * Where another one may take the place of a client that has gone: a socket of frames, which begins
 * with FRAME_DONE and what credit there is. One that comes while another is there gets
 * FRAME_FAILED.
 */
#define KEEPER_SOCKET "attach"

/* The log's two files: a newer one, and an older one that it was before it got too long. */
#define KEEPER_LOG "log"
#define KEEPER_LOG_OLD "log.1"

#endif
