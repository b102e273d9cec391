/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's life: start, pause, resume, end. */
#ifndef VMM_CONTROL_CONTROLLER_H
#define VMM_CONTROL_CONTROLLER_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/confine/confine.h"
#include "vmm/control/telemetry.h"
#include "vmm/debug/gdb_server.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/timeline.h"

enum vm_state {
	VM_NOT_STARTED,
	VM_RUNNING,
	VM_PAUSED
};

/* All on the VMM thread. */
struct controller {
	/* set by the owner; what they point to outlives the controller */
	struct evloop *loop;
	struct timeline *timeline;
	const char *id;
	struct telemetry *telemetry;
	const struct confine *confine; /* NULL: nothing holds threads in */
	bool has_boot_timer;
	bool has_pci;		/* of machines that boot: a loaded one has what it was saved with */
	const char *gdb_socket; /* of --gdb-socket; NULL: none */
	/* the controller's; zeroed at first */
	enum vm_state state;
	struct machine machine;	     /* zeroes while VM_NOT_STARTED */
	struct ev_source end;	     /* the guest ended */
	struct gdb_server *debugger; /* NULL: nothing of the sort was asked for */
};

/* What to start. */
struct start_plan {
	struct machine_plan
		machine;  /* loop, timeline and all below it are the controller's to set */
	bool is_paused;	  /* the machine stays paused: a loaded one that is not to run yet */
	bool is_forkable; /* the VMM thread gets the filter of those that fork */
	bool is_forked;	  /* the thread has that filter from its parent */
	bool has_vhost;	  /* threads get the filters of those that speak with the kernel's vhost */
	struct gdb_config debug;
	/*
	 * Waits until the machine, which is made, is wanted; a failure undoes the start. It is the
	 * last thing that an unconfined VMM thread does. NULL: it is wanted.
	 */
	int (*await)(void *arg, struct error *err);
	void *await_arg;
	/* Allows the files that the running machine may open again (landlock_allow). */
	int (*allow)(void *arg, const struct landlock *landlock, int rules, struct error *err);
	void *arg;
};

/*
 * Makes the machine, confines the VMM thread and lets the guest run (unless it is to stay paused).
 * A failed start leaves nothing behind and can be tried again. (Where only the last step fails, and
 * Landlock is in force by then, which nothing takes back, the process ends.) When the guest ends by
 * itself, the event loop is stopped.
 */
MUST_CHECK int controller_start(struct controller *controller, const struct start_plan *plan,
				struct error *err);

/* Of a started machine; idempotent. A failed pause leaves the machine running. */
MUST_CHECK int controller_pause(struct controller *controller, struct error *err);
void controller_resume(struct controller *controller);

/*
 * Logs and counts how long an action took that began at `begin_ns` of the monotonic clock, in
 * Firecracker's words [compat].
 */
void controller_note_latency(const char *what, struct metric *metric, uint64_t begin_ns);

/* After the loop: 0 if the guest ended well or never ran, else -1 and why it can't go on. */
MUST_CHECK int controller_result(const struct controller *controller, struct error *err);

/* Ends the guest, if any, and frees everything. A zeroed one is fine. */
void controller_destroy(struct controller *controller);

#endif
