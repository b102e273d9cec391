/* SPDX-License-Identifier: Apache-2.0 */
/* What balloon.c and balloon_steps.c share: the device's state and its jobs. */
#ifndef DEVICES_VIRTIO_BALLOON_INTERNAL_H
#define DEVICES_VIRTIO_BALLOON_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/balloon.h"
#include "devices/virtio/virtq.h"
#include "vmm/base/evloop.h"

/* Offsets in the configuration [virtio-1.2 §5.5.4]; poison_val is not there [compat]. */
enum {
	CONFIG_NUM_PAGES = 0,
	CONFIG_ACTUAL = 4,
	CONFIG_CMD_ID = 8,
	CONFIG_LEN = 12,
};

/* Commands of a hinting run; its own id is CMD_FIRST or greater [virtio-1.2 §5.5.6.5]. */
enum {
	CMD_STOP = 0,
	CMD_DONE = 1,
	CMD_FIRST = 2,
	CMD_LEN = 4,
};

enum role {
	ROLE_NONE, /* of a queue whose feature the driver did not acknowledge */
	ROLE_INFLATE,
	ROLE_DEFLATE,
	ROLE_STATS,
	ROLE_HINT,
	ROLE_REPORT,
	ROLES,
	QUEUES_MAX = ROLES - 1,
};

enum {
	PAGE_SHIFT = 12, /* of page frame numbers */
	PAGES_PER_MIB = 256,
	AMOUNT_MAX_MIB = UINT32_MAX / PAGES_PER_MIB,
	PFNS_PER_PIECE = 1024,
	STAT_LEN = 10,	 /* a tag (u16) and a value (u64) */
	STATS_MAX = 256, /* in a buffer: what newer drivers may have, with room [compat] */
};

/*
 * A turn's work, in units of about a microsecond: one page frame number is 1, a chain or a call to
 * the host 16, and each 64 KiB of memory given back 1.
 */
enum {
	TURN_COST = 2048,
	STEP_COST = 16,
	COST_SHIFT = 16,
};

/* The chain that a queue is at. */
struct job {
	bool is_open;
	bool is_new;   /* no step was taken */
	uint16_t seg;  /* of ranges: the one under way */
	uint64_t done; /* bytes of the list, or of the segment */
	struct virtq_chain chain;
};

struct hinting {
	struct balloon_hinting status;
	uint32_t last_cmd; /* the run started last */
	bool acknowledge_on_stop;
};

struct balloon {
	struct virtio_dev dev;
	/* immutable */
	bool has_stats;
	bool has_hinting;
	struct ev_source timer;		/* of statistics; fd -1 without them */
	struct balloon_metrics metrics; /* shared */
	/* under the device's lock */
	enum role roles[QUEUES_MAX]; /* by queue, while active */
	uint16_t stats_interval_s;
	bool is_timer_armed;
	bool has_stats_head; /* a buffer of the guest's is kept */
	uint16_t stats_head;
	unsigned stats_index; /* the queue that it came from */
	struct balloon_stats stats;
	struct hinting hinting;
	uint32_t pfns[PFNS_PER_PIECE];
	uint8_t stats_bytes[STATS_MAX * STAT_LEN];
	struct job jobs[QUEUES_MAX];
};

/* --- balloon_steps.c; under the device's lock --- */

/* Where the failures of a queue are counted. */
struct metric *balloon_fails(struct balloon *balloon, unsigned index);

/*
 * Does the next part of a queue's open job, and closes it after the last. Returns what it cost. The
 * queue has a role.
 */
unsigned balloon_step(struct balloon *balloon, unsigned index);

/* Tells the guest a hinting command: CMD_DONE or the id of a run. */
void balloon_set_host_cmd(struct balloon *balloon, uint32_t cmd);

/* Asks the guest for newer statistics, if it is waiting for that. */
void balloon_request_stats(struct balloon *balloon);

/* Starts the timer of statistics, or stops it (0). */
void balloon_set_timer(struct balloon *balloon, uint16_t seconds);

#endif
