/* SPDX-License-Identifier: Apache-2.0 */
/* All that the control plane can ask of the machine: one tagged union, answered in place. */
#ifndef VMM_ACTION_H
#define VMM_ACTION_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/config.h"

/* When each is legal, and how its errors begin, is a table in vmm/controller.c. */
enum action_kind {
	ACTION_GET, /* config, state and id are filled in for every action; this one does no more */
	ACTION_PUT_MACHINE, /* PATCH too: the caller merges into what GET gave */
	ACTION_PUT_BOOT_SOURCE,
	ACTION_PUT_SERIAL,
	ACTION_PUT_LOGGER,
	ACTION_PUT_METRICS,
	ACTION_START,
	ACTION_PAUSE,
	ACTION_RESUME,
	ACTION_CTRL_ALT_DEL,
	ACTION_FLUSH_METRICS,
	/* Devices. After the start PUT asks to plug one in. */
	ACTION_PUT_DRIVE,
	ACTION_PATCH_DRIVE,
	ACTION_PUT_NET,
	ACTION_PATCH_NET,
	ACTION_PUT_PMEM,
	ACTION_UNPLUG, /* any device */
	ACTION_PUT_VSOCK,
	ACTION_PUT_ENTROPY,
	ACTION_PUT_BALLOON,
	ACTION_GET_BALLOON, /* fails where there is none */
	ACTION_PATCH_BALLOON,
	ACTION_GET_BALLOON_STATS,
	ACTION_PATCH_BALLOON_STATS,
	ACTION_START_HINTING,
	ACTION_GET_HINTING,
	ACTION_STOP_HINTING,
	ACTION_KINDS,
};

enum vm_state {
	VM_NOT_STARTED,
	VM_RUNNING,
	VM_PAUSED
};

struct action {
	enum action_kind kind;
	union {
		struct machine_config machine;
		/* Strings pass to the machine on success and stay the caller's on failure. */
		struct boot_source_config boot_source;
		struct serial_sink_config serial;
		struct metrics_sink_config metrics;
		struct log_config log; /* strings are the caller's */
		struct blk_config drive;
		struct net_config net;
		struct vsock_config vsock;
		struct drive_update drive_update; /* strings are the caller's */
		struct net_update net_update;	  /* the same */
		struct rng_config entropy;
		struct balloon_config balloon;
		uint32_t amount_mib;		   /* PATCH_BALLOON */
		uint16_t stats_polling_interval_s; /* PATCH_BALLOON_STATS */
		bool acknowledge_on_stop;	   /* START_HINTING */
		/* answers */
		struct balloon_stats stats;
		struct balloon_hinting hinting;
	};
	/* The answer; `config` and `id` may be read until the next action. */
	const struct vm_config *config;
	const char *id;
	enum vm_state state;
};

/* Executes one action; on failure the machine is as before. Whose thread is the caller's to know.
 */
typedef int (*action_fn)(void *arg, struct action *action, struct error *err);

#endif
