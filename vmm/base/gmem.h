/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: its regions, and the only ways to reach the bytes in it. */
#ifndef VMM_BASE_GMEM_H
#define VMM_BASE_GMEM_H

#include <stdatomic.h>
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
	GMEM_FILE,     /* private mapping of a file: by gmem_new_file alone */
};

enum {
	GMEM_REGIONS_MAX = 8,
	GMEM_DIRTY_PAGE = 4096, /* bytes per bit of all bitmaps of pages */
	GMEM_WORD_PAGES = 64,	/* bits per word of them */
};

/* A region, for KVM_SET_USER_MEMORY_REGION and for other processes that map it. */
struct gmem_slot {
	gpa_t base;
	uint64_t len;
	uint64_t hva;	   /* address in this process; not to be dereferenced outside gmem.c */
	int fd;		   /* of the file behind it, which stays gmem's; -1: there is none */
	uint64_t offset;   /* in that file */
	bool is_shared;	   /* what the guest writes is seen through fd */
	uint64_t page_len; /* of the pages that back it, as far as we ask for them */
	bool is_paged;	   /* pages that are missing come from a gmem_pager */
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

/*
 * The same on a file that holds the ranges behind each other, as a snapshot's memory file does. The
 * guest's writes stay in this process. The file must not shrink while the memory is used; one that
 * is too short is ERR_CORRUPT. `fd` stays the caller's.
 */
MUST_CHECK int gmem_new_file(const struct gmem_range *ranges, size_t count, int fd,
			     struct gmem **mem, struct error *err);

void gmem_free(struct gmem *mem); /* NULL is fine */
size_t gmem_region_count(const struct gmem *mem);
struct gmem_slot gmem_slot(const struct gmem *mem, size_t index);

/* Bytes of all regions, also of what is not plugged (gmem_plug.h). */
uint64_t gmem_len(const struct gmem *mem);

/* All of [gpa, gpa + len) is RAM, over region borders where regions touch. False on overflow. */
bool gmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * Copies between guest memory and a buffer of ours. -1 if any byte of the range is not RAM; then
 * nothing was copied. Safe from any thread; the guest may change the bytes at the same time, so
 * check the copy, never the original. write_code is for instructions: no cache keeps the old ones.
 */
MUST_CHECK int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len);
MUST_CHECK int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len);
MUST_CHECK int gmem_write_code(struct gmem *mem, gpa_t gpa, const void *buf, size_t len);

/* What a system call does with guest memory. */
enum gmem_access {
	GMEM_READ,
	GMEM_WRITE,
};

/*
 * Describes a range as iovecs for a system call; *count says how many were filled. -1 if the range
 * is not all RAM. The iovecs are for system calls only: the memory behind them is the guest's and
 * is never dereferenced. GMEM_WRITE marks the range as written to at once; who keeps iovecs over
 * gmem_dirty_take asks for them again.
 */
MUST_CHECK int gmem_iov(struct gmem *mem, struct gmem_range range, enum gmem_access access,
			struct iovec iov[GMEM_REGIONS_MAX], size_t *count);

/*
 * Fills [gpa, gpa + len) with the `len` bytes of `fd` at `offset`, without a copy in between. A
 * range outside RAM is ERR_CORRUPT, a shorter file too; both name what did not fit.
 */
MUST_CHECK int gmem_load_file(struct gmem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len,
			      struct error *err);

/*
 * The bytes of one ring, all in one region, for virtq.c alone, which reaches them by single-copy
 * atomic accesses until gmem_ring_unmap (gmem_plug.h). NULL if they are not RAM, or in two regions.
 */
void *gmem_ring_map(struct gmem *mem, gpa_t gpa, uint64_t len);

/* The marks of a ring, which virtq.c sets after it has stored there; words NULL: not tracked. */
struct gmem_marks {
	_Atomic uint64_t *words;
	uint64_t first; /* pages */
	uint64_t last;
};

struct gmem_marks gmem_ring_marks(struct gmem *mem, gpa_t gpa, uint64_t len);
void gmem_mark(const struct gmem_marks *marks); /* untracked ones are fine */

/*
 * Gives the host back what backs [gpa, gpa + len), which the guest then finds zeroed, or as it is
 * in the file of gmem_new_file. Only whole pages of the backing inside the range are affected. -1
 * if the range is not all RAM or the host refuses.
 */
MUST_CHECK int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * From now on a bitmap per region has the pages that this process has written to or discarded, or
 * handed to the kernel to write to; KVM has its own of the guest's writes. Before the first queue
 * starts. Idempotent.
 */
MUST_CHECK int gmem_track_dirty(struct gmem *mem, struct error *err);

/*
 * Adds a region's bits to a bitmap of `words` words (gmem_bitmap_words), and clears them. A page is
 * to be read after its bit was taken. put_back is for bits whose pages could not be saved. Any
 * thread; the memory is tracked.
 */
void gmem_dirty_take(struct gmem *mem, size_t index, uint64_t *bitmap, size_t words);
void gmem_dirty_put_back(struct gmem *mem, size_t index, const uint64_t *bitmap, size_t words);

#endif
