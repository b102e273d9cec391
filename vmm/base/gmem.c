/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: regions of address space between guards, and checked copies.
 *
 * Theory of operation. Each region is one mapping [compat: monitoring tools find guest RAM by the
 * size of its mapping], placed inside a larger PROT_NONE reservation, so that whatever runs over
 * either end of a region faults instead of reaching other memory. The reservation is rounded so
 * that the region starts on a 2 MiB boundary, where huge pages can back it from the first byte.
 *
 * Every access names a guest-physical range. find() returns the part of it that lies in one region;
 * callers walk from part to part, after gmem_contains has said that all of the range is RAM, so a
 * copy is done whole or not at all. Pointers into guest memory stay in this file; system calls get
 * iovecs, and the virtqueues, which need atomic accesses, get their rings.
 */
#include "vmm/base/gmem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* Not in every libc's headers [linux mmap(2)]. */
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif

enum {
	LOAD_IOVECS = GMEM_REGIONS_MAX
};

static const uint64_t huge_page = 2 * MIB;
static const uint64_t guard = 64 * KIB; /* at least; a multiple of any page size KVM hosts use */
static const uint64_t region_align = 4 * KIB;

struct region {
	gpa_t base;
	uint64_t len;
	uint8_t *hva;
	uint8_t *reservation;
	uint64_t reservation_len;
};

/* Immutable after gmem_new, so any thread may use it without a lock. */
struct gmem {
	enum gmem_backing backing;
	size_t count;
	struct region regions[GMEM_REGIONS_MAX];
};

static int map_region(struct region *region, enum gmem_backing backing, struct error *err)
{
	AUTO_FD memfd = -1;
	int flags = MAP_FIXED | MAP_NORESERVE | MAP_PRIVATE;

	switch (backing) {
	case GMEM_ANON:
	case GMEM_ANON_THP:
		flags |= MAP_ANONYMOUS;
		break;
	case GMEM_HUGE_2M:
		/* Without MAP_NORESERVE: a pool that is too small must fail here, not by SIGBUS. */
		flags = (flags & ~MAP_NORESERVE) | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB;
		break;
	case GMEM_MEMFD:
		flags = MAP_FIXED | MAP_NORESERVE | MAP_SHARED;
		memfd = memfd_create("guest_mem", MFD_CLOEXEC);
		if (memfd < 0 || ftruncate(memfd, (off_t)region->len) < 0) {
			return error_sys(err, "Cannot create a memfd for guest memory");
		}
		break;
	}
	if (mmap(region->hva, region->len, PROT_READ | PROT_WRITE, flags, memfd, 0) == MAP_FAILED) {
		return error_sys(err, "Cannot create mmap region");
	}
	if (backing == GMEM_ANON_THP && madvise(region->hva, region->len, MADV_HUGEPAGE) < 0) {
		return error_sys(err, "Cannot enable transparent huge pages for guest memory");
	}
	/* What a guest knows is not for whoever gets to see a core file of its monitor. */
	if (madvise(region->hva, region->len, MADV_DONTDUMP) < 0) {
		return error_sys(err, "Cannot keep guest memory out of core dumps");
	}
	return 0;
}

/* A number of the pool of 2 MiB pages; false where the host does not tell. */
static bool pool_number(const char *name, uint64_t *number)
{
	AUTO_FREE char *text = NULL;
	char path[96];
	struct error ignored = {0};
	size_t len;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-2048kB/%s", name);
	if (read_file(path, "number", 64, &text, &len, &ignored) < 0) {
		return false;
	}
	*number = strtoull(text, NULL, 10);
	return true;
}

/*
 * Says behind `err`, which a refused mapping has set, what the pool lacks. Its beginning is what
 * clients know [compat]. With nothing of the guest's memory reserved.
 */
static void explain_pool(const struct gmem_range *ranges, size_t count, struct error *err)
{
	unsigned long long needed = 0;
	uint64_t total = 0;
	uint64_t unused = 0;
	uint64_t reserved = 0;
	size_t len = strlen(err->msg);
	char *end = err->msg + len;
	size_t room = sizeof(err->msg) - len;

	for (size_t i = 0; i < count; i++) {
		needed += ranges[i].len / huge_page;
	}
	bool is_told = pool_number("nr_hugepages", &total) &&
		       pool_number("free_hugepages", &unused) &&
		       pool_number("resv_hugepages", &reserved);
	/* Read one after the other, so they may not fit together. */
	unsigned long long left = unused > reserved ? unused - reserved : 0;

	if (err->sys != ENOMEM) {
		snprintf(end, room, "; does this host have huge pages of 2 MiB?");
	} else if (!is_told) {
		snprintf(end, room, "; %llu huge pages of 2 MiB are needed, see vm.nr_hugepages",
			 needed);
	} else if (left >= needed) {
		snprintf(
			end, room,
			"; %llu huge pages of 2 MiB are needed and %llu are free, but withheld: by "
			"a cgroup's limit?",
			needed, left);
	} else {
		snprintf(end, room,
			 "; %llu huge pages of 2 MiB are needed and %llu are free: enlarge the "
			 "pool with sysctl vm.nr_hugepages=%llu",
			 needed, left, total + needed - left);
	}
}

static int add_region(struct gmem *mem, const struct gmem_range *range, enum gmem_backing backing,
		      struct error *err)
{
	struct region *region = &mem->regions[mem->count];
	uint64_t reservation_len;

	if (!add_u64(range->len, 2 * guard + huge_page, &reservation_len)) {
		return error_set(err, ERR_BAD_REQUEST, "Guest memory of 2^64 bytes is impossible");
	}
	void *reservation = mmap(NULL, reservation_len, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (reservation == MAP_FAILED) {
		return error_sys(err, "Cannot create mmap region");
	}
	region->base = range->base;
	region->len = range->len;
	region->reservation = reservation;
	region->reservation_len = reservation_len;
	uint64_t first = (uintptr_t)reservation + guard;

	region->hva = region->reservation + guard + (align_up(first, huge_page) - first);
	mem->count++;
	return map_region(region, backing, err);
}

int gmem_new(const struct gmem_range *ranges, size_t count, enum gmem_backing backing,
	     struct gmem **mem, struct error *err)
{
	struct gmem *made = calloc(1, sizeof(*made));

	if (made == NULL) {
		return error_sys(err, "Cannot describe guest memory");
	}
	made->backing = backing;
	if (count > GMEM_REGIONS_MAX) {
		error_set(err, ERR_BAD_REQUEST, "Guest memory has at most %d regions",
			  GMEM_REGIONS_MAX);
		goto fail;
	}
	/* The kernel would round a hugetlb mapping up, over the guard behind it. */
	uint64_t align = backing == GMEM_HUGE_2M ? huge_page : region_align;
	uint64_t end = 0;

	for (size_t i = 0; i < count; i++) {
		if (ranges[i].len == 0 || ranges[i].base.v < end ||
		    !is_aligned(ranges[i].base.v | ranges[i].len, align) ||
		    !add_u64(ranges[i].base.v, ranges[i].len, &end)) {
			error_set(err, ERR_BAD_REQUEST,
				  "Guest memory region %zu is empty, unaligned or out of order", i);
			goto fail;
		}
		if (add_region(made, &ranges[i], backing, err) < 0) {
			goto fail;
		}
	}
	*mem = made;
	return 0;
fail:
	gmem_free(made);
	if (backing == GMEM_HUGE_2M && err->kind == ERR_HOST) {
		explain_pool(ranges, count, err);
	}
	return -1;
}

void gmem_free(struct gmem *mem)
{
	if (mem == NULL) {
		return;
	}
	for (size_t i = 0; i < mem->count; i++) {
		munmap(mem->regions[i].reservation, mem->regions[i].reservation_len);
	}
	free(mem);
}

size_t gmem_region_count(const struct gmem *mem)
{
	return mem->count;
}

struct gmem_slot gmem_slot(const struct gmem *mem, size_t index)
{
	const struct region *region = &mem->regions[index];

	return (struct gmem_slot){
		.base = region->base, .len = region->len, .hva = (uintptr_t)region->hva};
}

uint64_t gmem_len(const struct gmem *mem)
{
	uint64_t len = 0;

	for (size_t i = 0; i < mem->count; i++) {
		len += mem->regions[i].len;
	}
	return len;
}

/* The first bytes of a range, as far as they lie in one region. */
struct span {
	uint8_t *hva;
	uint64_t len; /* 0: `gpa` is not RAM */
};

static struct span find(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	for (size_t i = 0; i < mem->count; i++) {
		const struct region *region = &mem->regions[i];

		if (gpa >= region->base.v && gpa - region->base.v < region->len) {
			uint64_t offset = gpa - region->base.v;

			return (struct span){.hva = region->hva + offset,
					     .len = min_u64(len, region->len - offset)};
		}
	}
	return (struct span){0};
}

bool gmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t end;

	if (!add_u64(gpa.v, len, &end)) {
		return false;
	}
	for (uint64_t at = gpa.v; at < end;) {
		uint64_t part = find(mem, at, end - at).len;

		if (part == 0) {
			return false;
		}
		at += part;
	}
	return true;
}

int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (!gmem_contains(mem, gpa, len)) {
		return -1;
	}
	for (size_t done = 0; done < len;) {
		struct span span = find(mem, gpa.v + done, len - done);

		memcpy(to + done, span.hva, span.len);
		done += span.len;
	}
	return 0;
}

int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (!gmem_contains(mem, gpa, len)) {
		return -1;
	}
	for (size_t done = 0; done < len;) {
		struct span span = find(mem, gpa.v + done, len - done);

		memcpy(span.hva, from + done, span.len);
		done += span.len;
	}
	return 0;
}

int gmem_iov(struct gmem *mem, gpa_t gpa, uint64_t len, struct iovec *iov, size_t cap,
	     size_t *count)
{
	size_t used = 0;

	if (!gmem_contains(mem, gpa, len)) {
		return -1;
	}
	for (uint64_t done = 0; done < len; used++) {
		struct span span = find(mem, gpa.v + done, len - done);

		if (used == cap) {
			return -1;
		}
		iov[used] = (struct iovec){.iov_base = span.hva, .iov_len = span.len};
		done += span.len;
	}
	*count = used;
	return 0;
}

/* Drops the first `len` bytes of *iov; returns how many elements are left. */
static size_t iov_advance(struct iovec **iov, size_t count, size_t len)
{
	while (count > 0 && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		count--;
	}
	if (count > 0) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
	return count;
}

int gmem_load_file(struct gmem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len,
		   struct error *err)
{
	struct iovec iov[LOAD_IOVECS];
	struct iovec *next = iov;
	size_t left;

	if (gmem_iov(mem, gpa, len, iov, LOAD_IOVECS, &left) < 0) {
		return error_set(err, ERR_CORRUPT,
				 "%#llx bytes at guest address %#llx lie outside guest memory",
				 (unsigned long long)len, (unsigned long long)gpa.v);
	}
	while (left > 0) {
		ssize_t got = preadv(fd, next, (int)left, (off_t)offset);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return error_sys(err, "Cannot read the file at offset %llu",
					 (unsigned long long)offset);
		}
		if (got == 0) {
			return error_set(err, ERR_CORRUPT,
					 "The file ends too early, at offset %llu",
					 (unsigned long long)offset);
		}
		offset += (uint64_t)got;
		left = iov_advance(&next, left, (size_t)got);
	}
	return 0;
}

void *gmem_ring_map(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	struct span span = find(mem, gpa.v, len);

	return span.len == len ? span.hva : NULL;
}

/* Discards the whole pages of `page` bytes in a part of one region. */
static int discard_pages(const struct span *span, uint64_t page, int advice)
{
	uint64_t ragged = align_up((uintptr_t)span->hva, page) - (uintptr_t)span->hva;

	if (span->len < ragged) {
		return 0;
	}
	uint64_t len = align_down(span->len - ragged, page);

	return len == 0 ? 0 : madvise(span->hva + ragged, len, advice);
}

int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t page = mem->backing == GMEM_HUGE_2M ? huge_page : (uint64_t)sysconf(_SC_PAGESIZE);
	/* Without MADV_REMOVE the pages of a shared file would only be unmapped [madvise(2)]. */
	int advice = mem->backing == GMEM_MEMFD ? MADV_REMOVE : MADV_DONTNEED;

	if (!gmem_contains(mem, gpa, len)) {
		return -1;
	}
	for (uint64_t done = 0; done < len;) {
		struct span span = find(mem, gpa.v + done, len - done);

		if (discard_pages(&span, page, advice) < 0) {
			return -1;
		}
		done += span.len;
	}
	return 0;
}
