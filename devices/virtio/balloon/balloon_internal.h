/* SPDX-License-Identifier: Apache-2.0 */
/* What balloon.c and balloon_steps.c share: the device's state and its jobs. */
#ifndef DEVICES_VIRTIO_BALLOON_INTERNAL_H
#define DEVICES_VIRTIO_BALLOON_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/core/virtq.h"
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
 * A turn's work, in units of about 16 us: a chain, a call to the host, some page frame numbers, or
 * memory given back.
 */
enum {
	TURN_STEPS = 128,
	STEP_PFNS = 16,
	STEP_BYTES = 1024 * 1024,
};

/* How far a queue is with the chain that is its next. */
struct job {
	bool is_open;
	bool is_new; /* no step was taken */
	uint16_t head;
	uint16_t seg;  /* of ranges: the one under way */
	uint64_t done; /* bytes of the list, or of the segment */
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
	struct ev_timer timer;		/* of statistics; made if there are any */
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
 * Does the next part of a queue's open job, with the chain in dev.chain, and closes it after the
 * last. The queue has a role.
 */
void balloon_step(struct balloon *balloon, unsigned index);

/* Tells the guest a hinting command: CMD_DONE or the id of a run. */
void balloon_set_host_cmd(struct balloon *balloon, uint32_t cmd);

/* Gives the buffer of statistics back, if one is kept; the caller publishes. */
void balloon_return_stats(struct balloon *balloon);

/* Asks the guest for newer statistics, if it is waiting for that. */
void balloon_request_stats(struct balloon *balloon);

/* Starts the timer of statistics, or stops it (0). */
void balloon_set_timer(struct balloon *balloon, uint16_t seconds);

#endif
