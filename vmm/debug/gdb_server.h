/* SPDX-License-Identifier: Apache-2.0 */
/* A server for gdb, on a Unix socket: see docs/debugging.md. All on the VMM thread. */
#ifndef VMM_DEBUG_GDB_SERVER_H
#define VMM_DEBUG_GDB_SERVER_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/machine/vm.h"

struct gdb_server;

/* What is asked for. */
struct gdb_config {
	const char *path; /* of the socket; NULL: no debugging */
	bool waits;	  /* the guest executes nothing until a debugger lets it */
};

/*
 * Listens for a debugger of a machine whose vCPUs have not run yet. The socket is for the owner of
 * the process alone. NULL: it failed, and left nothing behind.
 */
struct gdb_server *gdb_server_new(const struct gdb_config *config, struct vm *vm,
				  struct evloop *loop, struct error *err);

/*
 * Ends the connection: a debugger that waits is told why the guest has ended, and squib's exit
 * status. The socket's file stays, as that of the API does. After vm_stop. NULL is fine.
 */
void gdb_server_free(struct gdb_server *server);

/* Whether a debugger is connected: then the guest may have its breakpoints. NULL is fine. */
bool gdb_server_is_attached(const struct gdb_server *server);

#endif
