/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's life: which action is legal in which state, and what it does. */
#ifndef VMM_CONTROLLER_H
#define VMM_CONTROLLER_H

#include <stdbool.h>

#include "vmm/action.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/builder.h"
#include "vmm/telemetry.h"
#include "vmm/timeline.h"

/* All on the VMM thread. */
struct controller {
	struct evloop *loop;		  /* outlives the controller */
	struct timeline *timeline;	  /* the same */
	const char *id;			  /* the same */
	struct telemetry *telemetry;	  /* the same */
	const struct filter_set *filters; /* the same; NULL: none */
	const struct landlock *landlock;  /* the same */
	bool has_boot_timer;
	enum vm_state state;
	struct vm_config config;
	struct microvm microvm;
	struct ev_source end; /* the guest ended */
};

/* The caller has set the fields up to has_boot_timer; the rest is zeroed. */
void controller_init(struct controller *controller);

/* Ends the guest, if any, and frees everything. A zeroed one is fine. */
void controller_destroy(struct controller *controller);

/*
 * An action_fn whose `arg` is the controller. A failed start leaves nothing behind and can be tried
 * again. When the guest ends by itself, the event loop is stopped.
 */
MUST_CHECK int controller_execute(void *controller, struct action *action, struct error *err);

/* After the loop: 0 if the guest ended well or never ran, else -1 and why it can't go on. */
MUST_CHECK int controller_result(const struct controller *controller, struct error *err);

#endif
