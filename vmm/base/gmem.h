/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: its regions, and the only ways to reach the bytes in it. */
#ifndef VMM_BASE_GMEM_H
#define VMM_BASE_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* A guest-physical address. A struct, so that it is never mistaken for a length or a pointer. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x) ((gpa_t){(x)})

struct gmem_range {
	gpa_t base;
	uint64_t len; /* bytes */
};

enum gmem_backing {
	GMEM_ANON,     /* private anonymous memory, 4 KiB pages unless the host says otherwise */
	GMEM_ANON_THP, /* the same, with transparent huge pages asked for */
	GMEM_HUGE_2M,  /* private anonymous 2 MiB pages from the hugetlb pool */
	GMEM_MEMFD,    /* shared memfd, for memory that another process must see */
};

enum {
	GMEM_REGIONS_MAX = 8
};

/* What KVM_SET_USER_MEMORY_REGION needs of a region. Only vmm/vm.c asks for it. */
struct gmem_slot {
	gpa_t base;
	uint64_t len;
	uint64_t hva; /* address in this process; not to be dereferenced outside gmem.c */
};

struct gmem;

/*
 * Reserves address space for `count` ranges (ascending, not overlapping, not empty, aligned to
 * 4 KiB, for GMEM_HUGE_2M to 2 MiB) with an inaccessible guard on both sides of each. Nothing is
 * touched, so a page costs memory only once the guest or a loader writes to it. The caller owns
 * *mem and frees it with gmem_free.
 */
MUST_CHECK int gmem_new(const struct gmem_range *ranges, size_t count, enum gmem_backing backing,
			struct gmem **mem, struct error *err);
void gmem_free(struct gmem *mem); /* NULL is fine */

size_t gmem_region_count(const struct gmem *mem);
struct gmem_slot gmem_slot(const struct gmem *mem, size_t index);

/* Bytes of RAM in all regions. */
uint64_t gmem_len(const struct gmem *mem);

/* All of [gpa, gpa + len) is RAM, over region borders where regions touch. False on overflow. */
bool gmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * Copies between guest memory and a buffer of ours. -1 if any byte of the range is not RAM; then
 * nothing was copied. Safe from any thread; the guest may change the bytes at the same time, so
 * check the copy, never the original.
 */
MUST_CHECK int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len);
MUST_CHECK int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len);

/*
 * Describes [gpa, gpa + len) as at most `cap` iovecs for a system call; *count says how many were
 * filled. -1 if the range is not all RAM or needs more than `cap`. The iovecs are for system calls
 * only: the memory behind them is the guest's and is never dereferenced.
 */
MUST_CHECK int gmem_iov(struct gmem *mem, gpa_t gpa, uint64_t len, struct iovec *iov, size_t cap,
			size_t *count);

/*
 * Fills [gpa, gpa + len) with the `len` bytes of `fd` at `offset`, without a copy in between. A
 * range outside RAM is ERR_CORRUPT, a shorter file too; both name what did not fit.
 */
MUST_CHECK int gmem_load_file(struct gmem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len,
			      struct error *err);

/*
 * The bytes of one ring, all in one region, for devices/virtio/virtq.c alone, which reaches them by
 * single-copy atomic accesses. NULL if the range is not RAM or crosses a region's border.
 */
void *gmem_ring_map(struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * Gives the host back what backs [gpa, gpa + len), which the guest then finds zeroed. Only whole
 * pages of the backing inside the range are affected. -1 if the range is not all RAM or the host
 * refuses.
 */
MUST_CHECK int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len);

#endif
