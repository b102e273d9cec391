/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as guest memory.
 *
 * Theory of operation. A file is mapped shared, so that the guest's writes are in the host's page
 * cache at once and machines share its pages, or privately, if the file is not to be written to.
 * The pages behind its end up to the next 2 MiB are memory of this process.
 *
 * A file can lose its pages at any time: cut by somebody, or sparse on a disk that is full. An
 * access from here would be a SIGBUS, so there is none. A copy is made by the kernel, by way of a
 * memfd: it answers EFAULT. Iovecs are for system calls anyway. A vCPU's KVM_RUN fails with EFAULT,
 * and would do so for ever; gmem_pmem_mend puts memory of zeroes where pages are missing. The guest
 * goes on, and from then on its flushes fail.
 *
 * On x86 KVM_RUN fails only while the guest has interrupts off. Else KVM brings the page in the
 * background, as one that has to be read from a disk (asynchronous page faults), takes it for
 * brought, and begins again, without an end. So somebody has to look (gmem_pmem_watch). That a file
 * was cut can be seen. That a vCPU waits for a hole can't: holes are made inaccessible while the
 * disk is full, for which KVM_RUN fails always, and the first access tells. Holes of a private file
 * need room only on a tmpfs, where even reading one takes a page: zeroes are put there at once.
 *
 * All files have their place in one reservation, at the distance from its begin that the guest
 * finds them at. It lasts as long as the guest's memory. So an address of a file that was taken out
 * is never that of anything but a later file, whatever call with an iovec is still under way.
 */
#include "vmm/base/gmem_pmem.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_internal.h"
#include "vmm/base/log.h"

enum {
	COPY_LEN = 64 * 1024, /* bytes of one copy by way of the memfd */
	HOLES_MAX = 4096,     /* of one file, since each is a mapping, and a process has 65530 */
	PROBES_MAX = 2048,    /* pages of holes that are looked at at once: some milliseconds */
	ROOM_MIN = 64 * 1024, /* bytes; a disk with less is taken for full */
};

struct region {
	int fd;	      /* -1: there is none */
	bool is_left; /* of a file that is gone: memory of zeroes is in its place */
	uint64_t base;
	uint64_t len;
	uint64_t file_len;
	uint64_t backed_len; /* the first bytes, which are the file's pages */
	bool is_private;
	bool has_failed; /* what the guest writes may be lost */
	bool is_fenced;	 /* nobody can access its holes */
	bool is_lost;	 /* zeroes can't be put where pages are missing: nobody tries again */
	bool is_hungry;	 /* private, and reading a hole takes room on its disk */
	unsigned hole_count;
	uint64_t filled_len; /* the first bytes of a hungry one whose holes were looked at */
	char name[GMEM_PMEM_NAME_LEN];
};

struct gmem_pmem {
	struct gmem_range room;
	uint8_t *hva; /* of the room's begin */
	uint8_t *reservation;
	uint64_t reservation_len;
	int copies; /* memfd, for one copy at a time */
	pthread_mutex_t lock;
	unsigned end;
	struct region regions[GMEM_PMEM_MAX];
};

static uint64_t page_len(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint8_t *hva_of(const struct gmem_pmem *pmem, uint64_t gpa)
{
	return pmem->hva + (gpa - pmem->room.base.v);
}

/* --- Places --- */

/* Where the room begins: behind the RAM, which may reach into it. */
static int find_room(const struct gmem *mem, const struct gmem_range *wanted,
		     struct gmem_range *room, struct error *err)
{
	uint64_t begin = wanted->base.v;
	uint64_t end = wanted->base.v + wanted->len;

	for (size_t i = 0; i < mem->count; i++) {
		uint64_t ram_end = mem->regions[i].base.v + mem->regions[i].len;

		if (ram_end > begin) {
			begin = align_up(ram_end, GMEM_PMEM_ALIGN);
		}
	}
	if (begin >= end) {
		return error_set(err, ERR_TOO_LARGE,
				 "The RAM of this machine leaves no addresses for persistent "
				 "memory");
	}
	*room = (struct gmem_range){GPA(begin), end - begin};
	return 0;
}

static int reserve(struct gmem_pmem *pmem, struct error *err)
{
	/* Guards of one alignment on both sides, and room to align. */
	uint64_t len = pmem->room.len + UINT64_C(3) * GMEM_PMEM_ALIGN;
	void *reservation =
		mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (reservation == MAP_FAILED) {
		return error_sys(err,
				 "Cannot reserve %llu bytes of addresses for persistent memory",
				 (unsigned long long)len);
	}
	pmem->reservation = reservation;
	pmem->reservation_len = len;
	uint64_t first = (uintptr_t)reservation + GMEM_PMEM_ALIGN;

	pmem->hva =
		pmem->reservation + GMEM_PMEM_ALIGN + (align_up(first, GMEM_PMEM_ALIGN) - first);
	pmem->copies = memfd_create("squib_copies", MFD_CLOEXEC);
	return pmem->copies < 0
		       ? error_sys(err, "Cannot create a memfd for copies of persistent memory")
		       : 0;
}

static void drop(struct gmem *mem)
{
	struct gmem_pmem *pmem = mem->pmem;

	if (pmem == NULL) {
		return;
	}
	if (pmem->reservation != NULL) {
		munmap(pmem->reservation, pmem->reservation_len);
	}
	free(pmem);
	mem->pmem = NULL;
}

void gmem_pmem_free(struct gmem *mem)
{
	if (mem->pmem == NULL) {
		return;
	}
	for (unsigned i = 0; i < mem->pmem->end; i++) {
		fd_close(&mem->pmem->regions[i].fd);
	}
	fd_close(&mem->pmem->copies);
	drop(mem);
}

void gmem_pmem_forget(struct gmem *mem)
{
	drop(mem);
}

/* What all files need, with the first of them. */
static int open_room(struct gmem *mem, const struct gmem_range *wanted, struct error *err)
{
	if (mem->pmem != NULL) {
		return 0;
	}
	struct gmem_pmem *pmem = calloc(1, sizeof(*pmem));

	if (pmem == NULL) {
		return error_sys(err, "Cannot describe persistent memory");
	}
	mem->pmem = pmem;
	pmem->copies = -1;
	pthread_mutex_init(&pmem->lock, NULL);
	for (size_t i = 0; i < ARRAY_COUNT(pmem->regions); i++) {
		pmem->regions[i].fd = -1;
	}
	if (find_room(mem, wanted, &pmem->room, err) < 0 || reserve(pmem, err) < 0) {
		gmem_pmem_free(mem);
		return -1;
	}
	return 0;
}

static bool is_taken(const struct region *region)
{
	return region->fd >= 0 || region->is_left;
}

/* [base, base + len) lies in the room, and beside all files. */
static bool is_free(const struct gmem_pmem *pmem, uint64_t base, uint64_t len)
{
	const struct gmem_range *room = &pmem->room;

	if (base < room->base.v || base - room->base.v > room->len ||
	    len > room->len - (base - room->base.v)) {
		return false;
	}
	for (unsigned i = 0; i < pmem->end; i++) {
		const struct region *other = &pmem->regions[i];

		if (is_taken(other) && base < other->base + other->len &&
		    other->base < base + len) {
			return false;
		}
	}
	return true;
}

/* The lowest place: the room's begin, or right behind a file. 0: there is none. */
static uint64_t find_place(const struct gmem_pmem *pmem, uint64_t len)
{
	uint64_t best = is_free(pmem, pmem->room.base.v, len) ? pmem->room.base.v : 0;

	for (unsigned i = 0; i < pmem->end; i++) {
		const struct region *other = &pmem->regions[i];
		uint64_t behind = other->base + other->len;

		if (is_taken(other) && (best == 0 || behind < best) && is_free(pmem, behind, len)) {
			best = behind;
		}
	}
	return best;
}

static int choose_place(const struct gmem_pmem *pmem, const struct gmem_pmem_file *file,
			struct region *region, struct error *err)
{
	bool is_given = file->base != 0;

	region->base = is_given ? file->base : find_place(pmem, region->len);
	if (region->base != 0 && is_aligned(region->base, GMEM_PMEM_ALIGN) &&
	    is_free(pmem, region->base, region->len)) {
		return 0;
	}
	return error_set(err, is_given ? ERR_CORRUPT : ERR_TOO_LARGE,
			 is_given ? "There is no place for %llu bytes of persistent memory where "
				    "it was"
				  : "There are no addresses for %llu bytes of persistent memory",
			 (unsigned long long)region->len);
}

/* --- Mappings --- */

/* Memory of zeroes at [from, to) of a region, in place of what is there. */
static int map_zeroes(const struct gmem_pmem *pmem, const struct region *region, uint64_t from,
		      uint64_t to)
{
	uint8_t *at = hva_of(pmem, region->base + from);

	if (from == to) {
		return 0;
	}
	return mmap(at, to - from, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED ||
			       madvise(at, to - from, MADV_DONTDUMP) < 0
		       ? -1
		       : 0;
}

static bool protect(const struct gmem_pmem *pmem, const struct region *region, uint64_t from,
		    uint64_t to, int access)
{
	return mprotect(hva_of(pmem, region->base + from), to - from, access) == 0;
}

static int map_region(const struct gmem_pmem *pmem, const struct region *region, struct error *err)
{
	uint8_t *at = hva_of(pmem, region->base);
	int kind = region->is_private ? MAP_PRIVATE : MAP_SHARED;

	if (mmap(at, region->backed_len, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE | MAP_FIXED,
		 region->fd, 0) == MAP_FAILED) {
		return error_sys(err, "Cannot map the file");
	}
	/* A core file of the monitor must not contain the memory of its guest. */
	if (madvise(at, region->backed_len, MADV_DONTDUMP) < 0 ||
	    map_zeroes(pmem, region, region->backed_len, region->len) < 0) {
		return error_sys(err, "Cannot map what is behind the end of the file");
	}
	return 0;
}

/* Nothing is there any more, and the addresses stay reserved. */
static void unmap_region(const struct gmem_pmem *pmem, const struct region *region)
{
	(void)!mmap(hva_of(pmem, region->base), region->len, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static int measure(const struct gmem_pmem_file *file, struct region *region, struct error *err)
{
	struct stat st;
	struct statfs fs;

	if (fstat(file->fd, &st) < 0) {
		return error_sys(err, "Error accessing backing file");
	}
	if (st.st_size == 0) {
		return error_set(err, ERR_BAD_REQUEST, "Error backing file size is 0");
	}
	region->file_len = (uint64_t)st.st_size;
	region->backed_len = align_up(region->file_len, page_len());
	region->len = align_up(region->file_len, GMEM_PMEM_ALIGN);
	region->is_hungry = file->is_private && fstatfs(file->fd, &fs) == 0 &&
			    (uint32_t)fs.f_type == (uint32_t)TMPFS_MAGIC;
	return 0;
}

static int add(struct gmem_pmem *pmem, const struct gmem_pmem_file *file, unsigned *index,
	       struct error *err)
{
	struct region region = {.fd = file->fd, .is_private = file->is_private};
	unsigned at = 0;

	while (at < GMEM_PMEM_MAX && is_taken(&pmem->regions[at])) {
		at++;
	}
	if (at == GMEM_PMEM_MAX) {
		return error_set(err, ERR_TOO_LARGE,
				 "A machine has at most %d devices of persistent memory",
				 GMEM_PMEM_MAX);
	}
	(void)!snprintf(region.name, sizeof(region.name), "%s", file->name);
	if (measure(file, &region, err) < 0 || choose_place(pmem, file, &region, err) < 0) {
		return -1;
	}
	if (map_region(pmem, &region, err) < 0) {
		unmap_region(pmem, &region);
		return -1;
	}
	pmem->regions[at] = region;
	pmem->end = at >= pmem->end ? at + 1 : pmem->end;
	*index = at;
	return 0;
}

int gmem_pmem_add(struct gmem *mem, const struct gmem_pmem_file *file, unsigned *index,
		  struct error *err)
{
	return open_room(mem, &file->room, err) < 0 ? -1 : add(mem->pmem, file, index, err);
}

void gmem_pmem_remove(struct gmem *mem, unsigned index)
{
	struct region *region = &mem->pmem->regions[index];

	assert(index < mem->pmem->end && region->fd >= 0);
	if (map_zeroes(mem->pmem, region, 0, region->len) < 0) {
		unmap_region(mem->pmem, region); /* a guest that touches it ends */
	}
	fd_close(&region->fd);
	region->is_left = true;
}

bool gmem_pmem_is_left(const struct gmem *mem, unsigned index)
{
	return mem->pmem->regions[index].is_left;
}

void gmem_pmem_clear(struct gmem *mem, unsigned index)
{
	struct region *region = &mem->pmem->regions[index];

	assert(region->is_left);
	unmap_region(mem->pmem, region);
	region->is_left = false;
}

/* --- What is told of them --- */

unsigned gmem_pmem_end(const struct gmem *mem)
{
	return mem->pmem != NULL ? mem->pmem->end : 0;
}

bool gmem_pmem_get(const struct gmem *mem, unsigned index, struct gmem_pmem_info *info)
{
	const struct region *region = &mem->pmem->regions[index];

	*info = (struct gmem_pmem_info){
		.base = GPA(region->base),
		.len = region->len,
		.file_len = region->file_len,
		.fd = region->fd,
		.is_private = region->is_private,
	};
	return region->fd >= 0;
}

struct gmem_slot gmem_pmem_slot(const struct gmem *mem, unsigned index)
{
	const struct region *region = &mem->pmem->regions[index];

	return (struct gmem_slot){
		.base = GPA(region->base),
		.len = region->len,
		.hva = (uintptr_t)hva_of(mem->pmem, region->base),
		.fd = region->fd,
		.is_shared = !region->is_private,
		.page_len = page_len(),
	};
}

/* The file's bytes now; a file that can't be asked has none. */
static uint64_t length_of(const struct region *region)
{
	struct stat st;

	return fstat(region->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

bool gmem_pmem_is_whole(const struct gmem *mem, unsigned index)
{
	const struct region *region = &mem->pmem->regions[index];

	return !region->has_failed && length_of(region) >= region->file_len;
}

/* --- Bytes --- */

/* All of the range lies in one file's memory; NULL: it does not. */
static const struct region *find(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < gmem_pmem_end(mem); i++) {
		const struct region *region = &mem->pmem->regions[i];

		if (region->fd >= 0 && gpa.v >= region->base &&
		    gpa.v - region->base < region->len &&
		    len <= region->len - (gpa.v - region->base)) {
			return region;
		}
	}
	return NULL;
}

bool gmem_pmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	return find(mem, gpa, len) != NULL;
}

size_t gmem_pmem_iov(const struct gmem *mem, const struct gmem_range *range, struct iovec *iov)
{
	if (find(mem, range->base, range->len) == NULL) {
		return 0;
	}
	*iov = (struct iovec){hva_of(mem->pmem, range->base.v), range->len};
	return 1;
}

/* Has the kernel move bytes that we must not touch; -1 where it meets a page that is not there. */
static int move(struct gmem_pmem *pmem, const void *from, void *to, size_t len)
{
	const struct iovec source = {(void *)(uintptr_t)from, len}; // NOLINT
	const struct iovec target = {to, len};

	pthread_mutex_lock(&pmem->lock);
	bool is_moved = pwritev(pmem->copies, &source, 1, 0) == (ssize_t)len &&
			preadv(pmem->copies, &target, 1, 0) == (ssize_t)len;

	pthread_mutex_unlock(&pmem->lock);
	return is_moved ? 0 : -1;
}

int gmem_pmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	int result = find(mem, gpa, len) != NULL ? 0 : -1;

	for (size_t done = 0; result == 0 && done < len; done += COPY_LEN) {
		result = move(mem->pmem, hva_of(mem->pmem, gpa.v + done), (char *)buf + done,
			      min_u64(len - done, COPY_LEN));
	}
	return result;
}

int gmem_pmem_write(const struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	int result = find(mem, gpa, len) != NULL ? 0 : -1;

	for (size_t done = 0; result == 0 && done < len; done += COPY_LEN) {
		result = move(mem->pmem, (const char *)buf + done, hva_of(mem->pmem, gpa.v + done),
			      min_u64(len - done, COPY_LEN));
	}
	return result;
}

/* --- Pages that are lost --- */

/* The first bytes of a region that the file has pages for now. */
static uint64_t kept_len(const struct region *region)
{
	return min_u64(align_up(length_of(region), page_len()), region->backed_len);
}

static bool is_cut(const struct region *region)
{
	return kept_len(region) < region->backed_len;
}

/* The next hole from `at` on, in whole pages. False: there is none. */
static bool next_hole(const struct region *region, uint64_t at, uint64_t *begin, uint64_t *end)
{
	while (at < region->backed_len) {
		off_t hole = lseek(region->fd, (off_t)at, SEEK_HOLE);
		off_t data = hole < 0 ? -1 : lseek(region->fd, hole, SEEK_DATA);

		if (hole < 0 || (uint64_t)hole >= region->backed_len) {
			return false;
		}
		at = data < 0 ? region->backed_len : (uint64_t)data;
		*begin = align_up((uint64_t)hole, page_len());
		*end = min_u64(align_down(at, page_len()), region->backed_len);
		if (*begin < *end) {
			return true;
		}
	}
	return false;
}

/* A file system without a limit has no blocks. */
static bool is_disk_full(const struct region *region)
{
	struct statfs fs;

	return fstatfs(region->fd, &fs) == 0 && fs.f_blocks != 0 &&
	       (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < ROOM_MIN;
}

/*
 * The disk has no room for a hole of a file that is written to; some may have room that was set
 * aside. Holes are filled once: those that were have the guest's bytes. Before Linux 5.14 there is
 * no asking.
 */
static bool has_refused_hole(const struct gmem_pmem *pmem, const struct region *region)
{
	uint64_t begin;
	uint64_t end = 0;

	if (region->is_private || region->hole_count > 0) {
		return false;
	}
	for (unsigned i = 0; i < HOLES_MAX && next_hole(region, end, &begin, &end); i++) {
		if (madvise(hva_of(pmem, region->base + begin), page_len(), MADV_POPULATE_WRITE) <
		    0) {
			return true;
		}
	}
	return false;
}

/* A private file has holes for which there is no room, and which were not looked at yet. */
static bool has_hungry_hole(const struct region *region)
{
	uint64_t begin;
	uint64_t end;

	return region->is_hungry && region->filled_len < region->backed_len &&
	       is_disk_full(region) && next_hole(region, region->filled_len, &begin, &end);
}

bool gmem_pmem_is_torn(const struct gmem *mem)
{
	for (unsigned i = 0; i < gmem_pmem_end(mem); i++) {
		const struct region *region = &mem->pmem->regions[i];

		if (region->fd >= 0 && !region->is_lost &&
		    (region->is_fenced || is_cut(region) || has_refused_hole(mem->pmem, region) ||
		     has_hungry_hole(region))) {
			return true;
		}
	}
	return false;
}

/* Who misses a page of it is told so. */
static COLD void give_up(struct region *region)
{
	log_error("Zeroes can't be put in place of pages that the file of the pmem device %s has "
		  "lost: %s (os error %d). A guest that touches them ends",
		  region->name, error_os_text(errno), errno);
	region->is_lost = true;
	region->has_failed = true;
}

static void mend_cut(const struct gmem_pmem *pmem, struct region *region)
{
	uint64_t kept = kept_len(region);

	if (map_zeroes(pmem, region, kept, region->backed_len) < 0) {
		give_up(region);
		return;
	}
	log_error("The file of the pmem device %s was cut from %llu to %llu bytes: its guest finds "
		  "zeroes in place of the rest, and its flushes fail from now on",
		  region->name, (unsigned long long)region->file_len,
		  (unsigned long long)length_of(region));
	region->backed_len = kept;
	region->has_failed = true;
}

static void fill_holes(const struct gmem_pmem *pmem, struct region *region)
{
	uint64_t begin;
	uint64_t end = 0;
	bool has_failed = false;

	while (!has_failed && region->hole_count < HOLES_MAX &&
	       next_hole(region, end, &begin, &end)) {
		has_failed = map_zeroes(pmem, region, begin, end) < 0;
		region->hole_count += !has_failed;
	}
	if (region->hole_count == 0) {
		/* If there is no hole any more, who looks next finds what there is. */
		if (has_failed) {
			give_up(region);
		}
		return;
	}
	log_error("The disk has no room for the holes of the file of the pmem device %s: what its "
		  "guest writes there stays in memory, and its flushes fail from now on",
		  region->name);
	region->has_failed = true;
}

/* The end of the pages from `at` on that are all there, or all missing. */
static uint64_t end_of_run(struct gmem_pmem *pmem, const struct region *region, uint64_t at,
			   uint64_t end, bool is_there, unsigned *probes)
{
	char byte = 0;

	while (at < end && *probes < PROBES_MAX &&
	       (move(pmem, hva_of(pmem, region->base + at), &byte, 1) == 0) == is_there) {
		at += page_len();
		++*probes;
	}
	return at;
}

/*
 * A hole of a private file has pages that the guest has written to, which are memory of this
 * process already: only what is missing between them becomes zeroes. Nothing is lost by that. True:
 * there is more to look at.
 */
static bool fill_private(struct gmem_pmem *pmem, struct region *region)
{
	unsigned probes = 0;
	uint64_t begin;
	uint64_t end;

	while (region->hole_count < HOLES_MAX &&
	       next_hole(region, region->filled_len, &begin, &end)) {
		uint64_t first = end_of_run(pmem, region, begin, end, true, &probes);
		uint64_t behind = end_of_run(pmem, region, first, end, false, &probes);

		if (first < behind && map_zeroes(pmem, region, first, behind) < 0) {
			give_up(region);
			return false;
		}
		if (first < behind && region->hole_count++ == 0) {
			log_error("The disk has no room for the holes of the file of the pmem "
				  "device %s, which is read-only: zeroes of this machine's memory "
				  "are there from now on",
				  region->name);
		}
		region->filled_len = behind;
		if (probes == PROBES_MAX) {
			return true;
		}
	}
	region->filled_len = region->backed_len;
	return false;
}

static bool mend_region(struct gmem_pmem *pmem, struct region *region)
{
	if (region->is_fenced) {
		(void)protect(pmem, region, 0, region->backed_len, PROT_READ | PROT_WRITE);
		region->is_fenced = false;
	}
	if (is_cut(region)) {
		mend_cut(pmem, region);
	} else if (has_refused_hole(pmem, region)) {
		fill_holes(pmem, region);
	} else if (has_hungry_hole(region)) {
		return fill_private(pmem, region);
	}
	return false;
}

bool gmem_pmem_mend(struct gmem *mem)
{
	bool has_more = false;

	for (unsigned i = 0; i < gmem_pmem_end(mem); i++) {
		if (mem->pmem->regions[i].fd >= 0 && !mem->pmem->regions[i].is_lost) {
			has_more |= mend_region(mem->pmem, &mem->pmem->regions[i]);
		}
	}
	return has_more;
}

/* --- Pages that KVM does not miss --- */

static void fence(const struct gmem_pmem *pmem, struct region *region)
{
	uint64_t begin;
	uint64_t end = 0;

	for (unsigned i = 0; i < HOLES_MAX && next_hole(region, end, &begin, &end); i++) {
		region->is_fenced |= protect(pmem, region, begin, end, PROT_NONE);
	}
}

bool gmem_pmem_watch(struct gmem *mem)
{
	bool is_torn = false;

	for (unsigned i = 0; i < gmem_pmem_end(mem); i++) {
		struct region *region = &mem->pmem->regions[i];

		if (region->fd < 0 || region->is_lost) {
			continue;
		}
		is_torn |= is_cut(region) || has_hungry_hole(region);
		if (!region->is_private && !region->is_fenced && region->hole_count == 0 &&
		    is_disk_full(region)) {
			fence(mem->pmem, region);
		}
	}
	return is_torn;
}
