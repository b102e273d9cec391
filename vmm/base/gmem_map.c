/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the regions of guest memory are made.
 *
 * Theory of operation. Each region is one mapping [compat: monitoring tools find guest RAM by the
 * size of its mapping], placed inside a larger PROT_NONE reservation, so that whatever runs over
 * either end of a region faults instead of reaching other memory. The reservation is rounded so
 * that the region starts on a 2 MiB boundary, where huge pages can back it from the first byte.
 *
 * A private mapping of a file shows the file's bytes until a page is written to, which then is a
 * page of this process. So a machine that is loaded from a file starts without reading it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_internal.h"

/* Not in every libc's headers [linux mmap(2)]. */
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif

static const uint64_t guard = 64 * KIB; /* at least; a multiple of any page size KVM hosts use */
static const uint64_t region_align = 4 * KIB;

/* What is behind all regions of a memory. */
struct source {
	enum gmem_backing backing;
	int fd; /* of GMEM_FILE */
};

/* The descriptor and the offset of what is behind a region, if that is a file. */
static int open_file(struct gmem_region *region, const struct source *source, uint64_t offset,
		     struct error *err)
{
	if (source->backing == GMEM_FILE) {
		region->fd = fcntl(source->fd, F_DUPFD_CLOEXEC, 0);
		region->offset = offset;
		return region->fd < 0 ? error_sys(err, "Cannot keep the memory file open") : 0;
	}
	if (source->backing == GMEM_MEMFD) {
		/* Whoever else has it may write to it, but a page that went would be a SIGBUS. */
		region->fd = memfd_create("guest_mem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (region->fd < 0 || ftruncate(region->fd, (off_t)region->len) < 0 ||
		    fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
			return error_sys(err, "Cannot create a memfd for guest memory");
		}
	}
	return 0;
}

static int map_region(struct gmem_region *region, bool is_pluggable, struct error *err)
{
	static const int flags[] = {
		[GMEM_ANON] = MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS,
		[GMEM_ANON_THP] = MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS,
		/* Without MAP_NORESERVE: a pool that is too small must fail here, not by SIGBUS. */
		[GMEM_HUGE_2M] = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB,
		[GMEM_MEMFD] = MAP_SHARED | MAP_NORESERVE,
		[GMEM_FILE] = MAP_PRIVATE | MAP_NORESERVE,
	};

	/* Blocks take their pages from a pool when they are plugged. */
	int prot = is_pluggable ? PROT_NONE : PROT_READ | PROT_WRITE;
	int how = MAP_FIXED | flags[region->backing] | (is_pluggable ? MAP_NORESERVE : 0);

	if (mmap(region->hva, region->len, prot, how, region->fd, (off_t)region->offset) ==
	    MAP_FAILED) {
		return error_sys(err, "Cannot create mmap region");
	}
	if (region->backing == GMEM_ANON_THP &&
	    madvise(region->hva, region->len, MADV_HUGEPAGE) < 0) {
		return error_sys(err, "Cannot enable transparent huge pages for guest memory");
	}
	/* A core file of the monitor must not contain the memory of its guest. */
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
		needed += ranges[i].len / GMEM_HUGE_PAGE;
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

int gmem_add_region(struct gmem *mem, const struct gmem_range *range, enum gmem_backing backing,
		    int fd, bool is_pluggable, struct error *err)
{
	const struct source source = {.backing = backing, .fd = fd};
	struct gmem_region *region = &mem->regions[mem->count];
	uint64_t offset = gmem_len(mem); /* of regions behind each other in one file */
	uint64_t reservation_len;

	if (!add_u64(range->len, 2 * guard + GMEM_HUGE_PAGE, &reservation_len)) {
		return error_set(err, ERR_BAD_REQUEST, "Guest memory of 2^64 bytes is impossible");
	}
	void *reservation = mmap(NULL, reservation_len, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (reservation == MAP_FAILED) {
		return error_sys(err, "Cannot create mmap region");
	}
	*region = (struct gmem_region){
		.base = range->base,
		.len = range->len,
		.reservation = reservation,
		.reservation_len = reservation_len,
		.backing = backing,
		.fd = -1,
	};
	uint64_t first = (uintptr_t)reservation + guard;

	region->hva = region->reservation + guard + (align_up(first, GMEM_HUGE_PAGE) - first);
	mem->count++;
	return open_file(region, &source, offset, err) < 0 ? -1
							   : map_region(region, is_pluggable, err);
}

/* Adds all regions; what is made so far is in *mem after a failure too. */
static int add_regions(struct gmem *mem, const struct gmem_range *ranges, size_t count,
		       const struct source *source, struct error *err)
{
	/* The kernel would round a hugetlb mapping up, over the guard behind it. */
	uint64_t align = source->backing == GMEM_HUGE_2M ? GMEM_HUGE_PAGE : region_align;
	uint64_t end = 0;

	if (count > GMEM_REGIONS_MAX) {
		return error_set(err, ERR_BAD_REQUEST, "Guest memory has at most %d regions",
				 GMEM_REGIONS_MAX);
	}
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].len == 0 || ranges[i].base.v < end ||
		    !is_aligned(ranges[i].base.v | ranges[i].len, align) ||
		    !add_u64(ranges[i].base.v, ranges[i].len, &end)) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"Guest memory region %zu is empty, unaligned or out of order", i);
		}
		if (gmem_add_region(mem, &ranges[i], source->backing, source->fd, false, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int make(const struct gmem_range *ranges, size_t count, const struct source *source,
		struct gmem **mem, struct error *err)
{
	struct gmem *made = calloc(1, sizeof(*made));

	if (made == NULL) {
		return error_sys(err, "Cannot describe guest memory");
	}
	if (add_regions(made, ranges, count, source, err) < 0) {
		gmem_free(made);
		return -1;
	}
	*mem = made;
	return 0;
}

int gmem_new(const struct gmem_range *ranges, size_t count, enum gmem_backing backing,
	     struct gmem **mem, struct error *err)
{
	const struct source source = {.backing = backing, .fd = -1};

	assert(backing != GMEM_FILE);
	if (make(ranges, count, &source, mem, err) < 0) {
		if (backing == GMEM_HUGE_2M && err->kind == ERR_HOST) {
			explain_pool(ranges, count, err);
		}
		return -1;
	}
	return 0;
}

int gmem_new_file(const struct gmem_range *ranges, size_t count, int fd, struct gmem **mem,
		  struct error *err)
{
	const struct source source = {.backing = GMEM_FILE, .fd = fd};
	struct gmem *made = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		return error_sys(err, "Cannot find out how long the memory file is");
	}
	if (make(ranges, count, &source, &made, err) < 0) {
		return -1;
	}
	/* A page beyond the end would be a SIGBUS. */
	if ((uint64_t)st.st_size < gmem_len(made)) {
		error_set(err, ERR_CORRUPT,
			  "The memory file has %llu bytes, and the memory of the guest %llu",
			  (unsigned long long)st.st_size, (unsigned long long)gmem_len(made));
		gmem_free(made);
		return -1;
	}
	*mem = made;
	return 0;
}

void gmem_free(struct gmem *mem)
{
	if (mem == NULL) {
		return;
	}
	for (size_t i = 0; i < mem->count; i++) {
		struct gmem_region *region = &mem->regions[i];

		munmap(region->reservation, region->reservation_len);
		fd_close(&region->fd);
		free(region->dirty);
		gmem_plug_free(region->plug);
	}
	gmem_pmem_free(mem);
	free(mem);
}
