/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All kinds of virtio devices, each in a guest that is played (vdriver.h) and on a host that is
 * played: disks in memory, socket pairs, a vhost-user back-end. While a bed is there, its time goes
 * on by bed_pass alone, and nothing waits for the back-end: who would, finds its answer or none.
 */
#ifndef TESTS_FUZZ_BED_H
#define TESTS_FUZZ_BED_H

#include <stdint.h>

#include "devices/virtio/blk/blk.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver_pci.h"

enum {
	BED_KINDS = 13,
	BED_SAVED_KINDS = 10, /* the first ones: snapshots have them */
	BED_SEGMENTS_MAX = 3,
	BED_HEAD_MAX = 64,
	BED_TIMERS_MAX = 256, /* descriptors, by their number */
};

/* Settings that several kinds have, and those of disks and networks. */
enum {
	BED_LIMITED = 1,
	BED_READ_ONLY = 2,
	BED_BLK_TWO_QUEUES = 4,
	BED_NET_PAIRS = 32,
};

/* A part of a chain: what is not in `head` is what the memory has. */
struct bed_segment {
	uint8_t head[BED_HEAD_MAX];
	uint32_t head_len;
	uint32_t len;
	bool is_writable;
};

struct bed_request {
	unsigned queue;
	unsigned count;
	struct bed_segment segments[BED_SEGMENTS_MAX];
};

struct bed;

struct bed_kind {
	const char *name;
	bool is_remote;			/* its memory is shared, and a back-end has the queues */
	void (*open)(struct bed *bed);	/* the host's side; NULL: there is none */
	void (*close)(struct bed *bed); /* after the device has gone */
	void (*make)(struct bed *bed);	/* sets bed->own and bed->dev */
	/* A request as a driver makes it, with numbers from the input. */
	void (*ask)(struct input *input, struct bed_request *request);
	void (*act)(struct bed *bed, struct input *input); /* what the host does; NULL: nothing */
};

extern const struct bed_kind bed_kinds[BED_KINDS];

struct bed {
	struct vdriver driver;
	const struct bed_kind *kind;
	uint8_t settings; /* the kind's, and the two above */
	bool is_on_pci;
	struct virtio_pci pci;
	void *own; /* struct blk, struct net ... */
	struct virtio_dev *dev;
	/* the host's side; -1: none */
	struct blk_file file, base;
	int listener;	 /* or a TAP, or a file of persistent memory */
	int host;	 /* the other end of what the device has */
	int call;	 /* by which a back-end calls the guest */
	uint8_t fault;	 /* of a back-end's next answer; 0: none */
	unsigned region; /* of persistent memory */
	uint64_t now_ns;
	uint64_t due_ns[BED_TIMERS_MAX], period_ns[BED_TIMERS_MAX]; /* 0: none */
};

/* One at a time. `settings` as above; the device is plugged in, and no driver is there. */
void bed_open(struct bed *bed, unsigned kind, uint8_t settings, bool is_on_pci);
void bed_close(struct bed *bed);

/* A new device takes the old one's place, as it was made. */
void bed_remake(struct bed *bed);

/* Time goes on: timers that are due then are ready. */
void bed_pass(struct bed *bed, uint64_t ns);

#endif
