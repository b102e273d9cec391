/* SPDX-License-Identifier: Apache-2.0 */
/* What gdb can ask for: the packets of its remote serial protocol, by their data. VMM thread. */
#ifndef VMM_DEBUG_GDB_COMMAND_H
#define VMM_DEBUG_GDB_COMMAND_H

#include "vmm/debug/rsp.h"
#include "vmm/debug/target.h"

/* A debugger that is attached. */
struct gdb_session {
	struct rsp rsp;
	struct target target;
	struct target_stop stop; /* the last one; its vCPU is what gdb looks at until it chooses */
	unsigned vcpu;		 /* whose registers and memory gdb asks for */
	bool is_running;	 /* gdb has let vCPUs go, and waits for a stop */
};

enum gdb_next {
	GDB_GO_ON,
	GDB_STOPPED,  /* the vCPUs need not go, they have stopped again: gdb_report */
	GDB_DETACHED, /* send what there is, then end the connection */
	GDB_KILLED,   /* the same, and end the microVM */
};

/* Does what the packet in session->rsp asks for, and makes the answer. */
enum gdb_next gdb_command(struct gdb_session *session);

/* Makes the packet that says why the guest has stopped (session->stop). */
void gdb_report(struct gdb_session *session);

#endif
