/* SPDX-License-Identifier: Apache-2.0 */
/* One machine: memory, VM, devices and console; made as one list of steps, paused and ended. */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/gmem.h"
#include "vmm/machine/console.h"
#include "vmm/machine/devmgr.h"
#include "vmm/machine/loader.h"
#include "vmm/machine/machine_state.h"
#include "vmm/machine/mender.h"
#include "vmm/machine/timeline.h"
#include "vmm/machine/vm.h"

/* What a machine is loaded from, in place of booting. All pointers are borrowed. */
struct machine_source {
	const struct machine_state *state;
	struct arch_load clock;
	struct gmem **memory; /* memory that is there, which the machine takes; NULL: it is made */
	int memory_fd;	      /* the memory file, to be mapped; -1: `fill` has the memory's bytes */
	/* Fills memory that was just made, or sees to that later. NULL: a file has all. */
	int (*fill)(void *arg, struct gmem *mem, struct error *err);
	void *arg;
};

/* Address space for memory that is plugged in while the machine runs. */
struct machine_plug {
	uint64_t len;	    /* bytes, a multiple of block_len; 0: none */
	uint64_t block_len; /* as gmem_plug_add wants it */
	uint64_t align;	    /* of its place, a power of two */
};

/* What the machine is to be. All pointers are borrowed; what is marked (+) outlives the machine. */
struct machine_plan {
	struct arch_machine shape;
	uint64_t mem_size_mib;
	enum gmem_backing backing;
	struct machine_plug plug;
	bool is_tracked; /* which pages are written to, for snapshots of what changed */
	const struct machine_source *source; /* NULL: it boots */
	struct boot_source boot;
	struct console_config console;
	bool has_boot_timer;
	/*
	 * Maps files into the guest (gmem_pmem_add), where they were if the machine is loaded.
	 * NULL: none.
	 */
	int (*map)(void *arg, struct gmem *mem, const struct machine_state *saved,
		   struct error *err);
	/* Attaches the virtio devices, in their order (+). What it attached, the machine frees. */
	int (*attach)(void *arg, const struct attachment *at, struct error *err);
	void *arg;
	struct evloop *loop;	       /* (+) */
	struct timeline *timeline;     /* (+) */
	struct metrics *metrics;       /* (+) NULL: nothing is counted */
	const struct confine *confine; /* (+) of the vCPU threads; NULL: none */
	bool has_vhost;		       /* (+) these may stop the kernel's vhost */
};

/* All that one running guest consists of. */
struct machine {
	struct gmem *mem; /* NULL: this machine is not made */
	struct vm vm;
	struct devmgr devmgr;
	struct console console;
	struct mender mender;
};

/*
 * Makes the machine in a zeroed *machine, with its vCPUs parked before the first instruction, or
 * before the next one of the machine that it is loaded from. On
 * failure everything that was made is undone, *machine is zeroed, and the sentence names the step.
 * VMM thread.
 */
MUST_CHECK int machine_init(struct machine *machine, const struct machine_plan *plan,
			    struct error *err);

/* Stops the vCPUs, frees everything and leaves zeroes. A zeroed one is fine. VMM thread. */
void machine_destroy(struct machine *machine);

/*
 * Parks the vCPUs and stops the devices: afterwards nothing of the machine touches guest memory.
 * On failure the machine runs as before. Idempotent. VMM thread.
 */
MUST_CHECK int machine_pause(struct machine *machine, struct error *err);

/* The opposite; also lets a machine go that was just made. Idempotent. VMM thread. */
void machine_resume(struct machine *machine);

#endif
