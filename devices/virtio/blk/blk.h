/* SPDX-License-Identifier: Apache-2.0 */
/* The block device, on a file or block device of the host [virtio-1.2 §5.2]. */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"
#include "vmm/base/metric.h"

enum blk_cache_type {
	BLK_CACHE_UNSAFE, /* flushes are not offered to the guest */
	BLK_CACHE_WRITEBACK,
};

enum blk_io_engine {
	BLK_ENGINE_SYNC,  /* on the VMM thread; what would wait for a disk, by io_uring */
	BLK_ENGINE_ASYNC, /* io_uring */
};

enum {
	BLK_QUEUES_MAX = 16
};

/* A drive as the API describes it. Strings are heap blocks of the configuration; NULL: absent. */
struct blk_config {
	char *drive_id;
	char *partuuid;
	bool is_root_device;
	enum blk_cache_type cache_type;
	bool is_read_only;
	char *path_on_host;
	char *base; /* NULL: the file is raw, else an overlay over this one */
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
	enum blk_io_engine io_engine;
	char *socket;	    /* of a vhost-user backend */
	uint8_t num_queues; /* 1 to BLK_QUEUES_MAX; 0: not given, 1 */
};

struct blk_overlay;

/* The open backing file. Owned by the configuration; a device borrows it. */
struct blk_file {
	int fd;		   /* -1: none */
	uint64_t sectors;  /* of 512 bytes; a shorter tail is dropped, with a warning [compat] */
	char id[20];	   /* what GET_ID answers: st_dev, st_rdev and st_ino in decimal [compat] */
	bool is_lockable;  /* not a character device, which has nothing that two would spoil */
	bool is_in_memory; /* of a tmpfs or ramfs, as is its base: no call waits for a disk */
	struct blk_overlay *overlay; /* NULL: it is raw */
};

/* Opens a regular file or block device. */
MUST_CHECK int blk_file_open(const char *path, bool is_read_only, struct blk_file *file,
			     struct error *err);

/* An overlay, over a base that is only read. */
struct blk_overlay_paths {
	const char *own;
	const char *base;
	bool is_read_only;
	bool may_be_made; /* of an empty file */
};

MUST_CHECK int blk_file_open_overlay(const struct blk_overlay_paths *paths, struct blk_file *file,
				     struct error *err);
void blk_file_close(struct blk_file *file);
int blk_file_base_fd(const struct blk_file *file); /* of an overlay; -1: it is raw */

/*
 * The descriptor of a file that its drive's end, or closing it, writes to the disk; -1: neither
 * does. Whoever may wait for the disk can synchronise it before.
 */
int blk_file_unwritten(const struct blk_file *file, const struct blk_config *config);

struct blk_metrics {
	struct metric activate_fails;
	struct metric cfg_fails;
	struct metric no_avail_buffer;
	struct metric event_fails;
	struct metric execute_fails;
	struct metric invalid_reqs_count;
	struct metric flush_count;
	struct metric queue_event_count;
	struct metric rate_limiter_event_count;
	struct metric update_count;
	struct metric update_fails;
	struct metric read_bytes;
	struct metric write_bytes;
	struct metric read_count;
	struct metric write_count;
	struct metric_latency read_agg;
	struct metric_latency write_agg;
	struct metric rate_limiter_throttled_events;
	struct metric io_engine_throttled_events;
	struct metric remaining_reqs_count;
};

extern const struct metric_group blk_metric_group; /* "block": the sum over all drives */

extern const struct virtio_class blk_class;

struct blk;
struct blk_rings;

/*
 * Reads *config and borrows *file during and after the call: it stays open until blk_free or
 * blk_set_file. An overlay that another machine has is refused. The caller owns *out. VMM thread,
 * like all below.
 */
MUST_CHECK int blk_new(const struct dev_env *env, const struct blk_config *config,
		       const struct blk_file *file, struct blk **out, struct error *err);
void blk_free(struct blk *blk); /* drains what is in flight; NULL is fine */

/* The caller has synchronised the file, and nothing is written any more: blk_free does not. */
void blk_set_synchronised(struct blk *blk);

/*
 * The same on a thread that may make no io_uring: the drive has one of `rings` until blk_free.
 * Where none is left, the Async engine is refused.
 */
MUST_CHECK int blk_new_plugged(const struct dev_env *env, const struct blk_config *config,
			       const struct blk_file *file, struct blk_rings *rings,
			       struct blk **out, struct error *err);

struct virtio_dev *blk_virtio(struct blk *blk);
struct blk_metrics *blk_metrics(struct blk *blk);

/*
 * Goes on with another file, once nothing is in flight on the old one, which the caller may close
 * then; the guest gets the new capacity. On failure the device is as before.
 */
MUST_CHECK int blk_set_file(struct blk *blk, const struct blk_file *file, struct error *err);

MUST_CHECK int blk_set_limits(struct blk *blk, const struct limiter_config *limits,
			      struct error *err);

#endif
