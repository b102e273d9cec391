/* SPDX-License-Identifier: Apache-2.0 */
/* What gmem.c, gmem_map.c, gmem_plug.c and gmem_pmem.c share: the regions. */
#ifndef VMM_BASE_GMEM_INTERNAL_H
#define VMM_BASE_GMEM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "vmm/base/gmem.h"

/* Not in every libc's headers; Linux 5.14 [linux madvise(2)]. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum {
	GMEM_HUGE_PAGE = 2 * 1024 * 1024 /* bytes, of GMEM_HUGE_2M */
};

/* The blocks of a region that is plugged and unplugged. */
struct gmem_plug {
	uint64_t block_len;
	uint64_t count;
	/*
	 * Held for reading while bytes are copied, so that no block goes meanwhile, for writing
	 * while one comes or goes, and to count rings.
	 */
	pthread_rwlock_t lock;
	_Atomic uint64_t *plugged; /* a bit per block; written under the lock */
	uint16_t *rings;	   /* by block: how many lie in it; under the lock */
	/* the VMM thread's */
	uint64_t *borders; /* a bit per block: the mapping was split before it */
	uint64_t border_count;
};

struct gmem_region {
	gpa_t base;
	uint64_t len;
	uint8_t *hva;
	uint8_t *reservation; /* the region and its guards */
	uint64_t reservation_len;
	enum gmem_backing backing;
	bool is_paged; /* behind it is a page fault handler */
	int fd;	       /* of the file behind it; -1: none */
	uint64_t offset;
	_Atomic uint64_t *dirty; /* a bit per GMEM_DIRTY_PAGE; NULL: not tracked */
	struct gmem_plug *plug;	 /* NULL: all of it is RAM */
};

/*
 * Immutable once the machine has its devices, so any thread may use it without a lock. The bits of
 * `dirty` are shared, and so is `plug`.
 */
struct gmem {
	size_t count;
	bool is_tracked;	       /* every region has `dirty` */
	struct gmem_region *pluggable; /* the one with `plug`; NULL: none */
	struct gmem_region regions[GMEM_REGIONS_MAX];
	struct gmem_pmem *pmem; /* files beside the RAM, the VMM thread's; NULL: none yet */
};

static inline bool gmem_block_is_plugged(const struct gmem_plug *plug, uint64_t block)
{
	uint64_t word =
		atomic_load_explicit(&plug->plugged[block / GMEM_WORD_PAGES], memory_order_relaxed);

	return (word >> block % GMEM_WORD_PAGES & 1) != 0;
}

/* gmem.c: marks the pages of a part as written to, if the region is tracked. */
void gmem_mark_part(const struct gmem_region *region, uint64_t offset, uint64_t len);

/* How many of the `len` bytes from `offset` of the region on are plugged, without a gap. */
uint64_t gmem_plugged_len(const struct gmem_plug *plug, uint64_t offset, uint64_t len);

/*
 * Keeps blocks from coming and going while a range is copied; NULL: there are none in it. The
 * release takes NULL.
 */
static inline struct gmem_plug *gmem_plug_hold(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	const struct gmem_region *region = mem->pluggable;

	if (region == NULL || gpa.v >= region->base.v + region->len ||
	    (gpa.v < region->base.v && len <= region->base.v - gpa.v)) {
		return NULL;
	}
	pthread_rwlock_rdlock(&region->plug->lock);
	return region->plug;
}

static inline void gmem_plug_release(struct gmem_plug *plug)
{
	if (plug != NULL) {
		pthread_rwlock_unlock(&plug->lock);
	}
}

/* Counts a ring in the blocks that it lies in; -1: one of them is not plugged. */
MUST_CHECK int gmem_ring_count(struct gmem *mem, gpa_t gpa, uint64_t len);

/* gmem_map.c: one more region, behind the others. `backing` of a file: `fd`, which stays. */
MUST_CHECK int gmem_add_region(struct gmem *mem, const struct gmem_range *range,
			       enum gmem_backing backing, int fd, bool is_pluggable,
			       struct error *err);

/* gmem_plug.c; NULL is fine. */
void gmem_plug_free(struct gmem_plug *plug);

/* Of gmem_pmem.c; none of them is for RAM. A range is all of one file's memory, or refused. */
bool gmem_pmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len);
size_t gmem_pmem_iov(const struct gmem *mem, const struct gmem_range *range, struct iovec *iov);
MUST_CHECK int gmem_pmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len);
MUST_CHECK int gmem_pmem_write(const struct gmem *mem, gpa_t gpa, const void *buf, size_t len);
void gmem_pmem_free(struct gmem *mem);

#endif
