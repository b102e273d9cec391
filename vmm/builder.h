/* SPDX-License-Identifier: Apache-2.0 */
/* From a configuration to a machine that is ready to run. */
#ifndef VMM_BUILDER_H
#define VMM_BUILDER_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/config.h"
#include "vmm/console.h"
#include "vmm/devmgr.h"
#include "vmm/timeline.h"
#include "vmm/vm.h"

/* All that one running guest consists of. */
struct microvm {
	struct vm vm;
	struct devmgr devmgr;
	struct console console;
};

struct builder_params {
	const struct vm_config *config;
	struct evloop *loop;		  /* outlives the microvm */
	struct timeline *timeline;	  /* the same */
	struct metrics *metrics;	  /* the same; NULL: nobody asks for counts */
	const struct filter_set *filters; /* the same; NULL: none */
	const struct landlock *landlock;  /* the same */
	bool has_boot_timer;
};

/*
 * Builds the machine in a zeroed *microvm, with its vCPUs parked before the first instruction. On
 * failure everything that was built is destroyed, the sentence names the step, and the
 * configuration can be mended and tried again. VMM thread.
 */
MUST_CHECK int builder_build(struct microvm *microvm, const struct builder_params *params,
			     struct error *err);

/* Stops the vCPUs, frees everything and leaves zeroes. A zeroed one is fine. VMM thread. */
void microvm_destroy(struct microvm *microvm);

#endif
