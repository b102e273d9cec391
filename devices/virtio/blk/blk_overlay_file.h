/* SPDX-License-Identifier: Apache-2.0 */
/* The format of overlay files (docs/overlay.md), for squib and its tools. */
#ifndef DEVICES_VIRTIO_BLK_OVERLAY_FILE_H
#define DEVICES_VIRTIO_BLK_OVERLAY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/bytes.h"
#include "vmm/base/error.h"

enum {
	OVERLAY_BLOCK = 4096, /* the header, and what the map is made of */
	OVERLAY_MAP_AT = OVERLAY_BLOCK,
	OVERLAY_CLUSTER_SHIFT = 16, /* unless its maker says otherwise */
	OVERLAY_CLUSTER_SHIFT_MIN = 12,
	OVERLAY_CLUSTER_SHIFT_MAX = 18,
	OVERLAY_NAME_MAX = 1024, /* with its NUL */
	OVERLAY_MAP_MAX = 4 << 20,
};

/* What a header says. */
struct overlay_head {
	unsigned cluster_shift;
	uint64_t disk_len;		  /* bytes, whole sectors */
	uint64_t base_len;		  /* bytes */
	uint64_t base_sum;		  /* of overlay_base_sum */
	char base_name[OVERLAY_NAME_MAX]; /* as its maker called the base: for people only */
};

static inline uint64_t overlay_clusters(const struct overlay_head *head)
{
	return (head->disk_len + (UINT64_C(1) << head->cluster_shift) - 1) >> head->cluster_shift;
}

/* Bytes of the map: a bit per cluster, in whole blocks. */
static inline uint64_t overlay_map_len(const struct overlay_head *head)
{
	return align_up((overlay_clusters(head) + 7) / 8, OVERLAY_BLOCK);
}

/* Where the disk's first byte is in the file. */
static inline uint64_t overlay_data_at(const struct overlay_head *head)
{
	return align_up(OVERLAY_MAP_AT + overlay_map_len(head),
			UINT64_C(1) << OVERLAY_CLUSTER_SHIFT_MAX);
}

/* The first cluster from `from` on whose bit is `is_set`, or `end`. */
uint64_t overlay_find(const uint64_t *map, uint64_t from, uint64_t end, bool is_set);
void overlay_set(uint64_t *map, uint64_t from, uint64_t end);

/*
 * A base is known by its length and by a sum over its first and last block. One that is itself an
 * overlay is refused.
 */
MUST_CHECK int overlay_base_sum(int base_fd, uint64_t base_len, uint64_t *sum, struct error *err);

/*
 * Makes an overlay of an empty file: `disk_len` is 0 (as long as the base) or more than that, then
 * the disk has zeroes behind the base. Fills the rest of *head but for its shift and name. The
 * header is not synchronised: the first flush does that, or the caller.
 */
MUST_CHECK int overlay_format(int fd, int base_fd, uint64_t base_len, struct overlay_head *head,
			      struct error *err);

/*
 * Reads and checks the header, and that the file is as long as it says. `path` is for the
 * sentence. ERR_CORRUPT names the field.
 */
MUST_CHECK int overlay_read_head(int fd, const char *path, struct overlay_head *head,
				 struct error *err);

/* Whether the overlay was made over this base. */
MUST_CHECK int overlay_check_base(const struct overlay_head *head, const char *path, int base_fd,
				  uint64_t base_len, struct error *err);

/*
 * Reads the map into overlay_map_len zeroes. Pages that the file has as holes are not touched, so
 * that the map of a large disk that was hardly written to takes no memory. ERR_CORRUPT if it has
 * bits of clusters that the disk does not have.
 */
MUST_CHECK int overlay_read_map(int fd, const struct overlay_head *head, uint64_t *map,
				struct error *err);

/*
 * One machine at a time, or several that only read: ERR_BAD_STATE if another one has it, and still
 * has it after `patience_ms`. Of a monitor that was killed the lock ends when the kernel has taken
 * its io_uring apart, some milliseconds later. A file system without locks has none.
 */
MUST_CHECK int overlay_lock(int fd, const char *path, bool is_read_only, unsigned patience_ms,
			    struct error *err);
void overlay_unlock(int fd);

#endif
