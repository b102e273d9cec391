/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: checked copies, iovecs and marks of what was written.
 *
 * Theory of operation. Every access names a guest-physical range. find() returns the part of it
 * that lies in one region; callers walk from part to part, after is_ram_behind has said that all of
 * the range is RAM, so a copy is done whole or not at all. Nearly every range is one part of plain
 * RAM, which find_whole() finds at once. Pointers into guest memory stay in this
 * file; system calls get iovecs, and the virtqueues, which need atomic accesses, get their rings.
 */
#include "vmm/base/gmem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/attr.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_internal.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/base/iov.h"

size_t gmem_region_count(const struct gmem *mem)
{
	return mem->count;
}

struct gmem_slot gmem_slot(const struct gmem *mem, size_t index)
{
	const struct gmem_region *region = &mem->regions[index];

	return (struct gmem_slot){
		.base = region->base,
		.len = region->len,
		.hva = (uintptr_t)region->hva,
		.fd = region->fd,
		.offset = region->offset,
		.is_shared = region->backing == GMEM_MEMFD,
		.page_len = region->backing == GMEM_HUGE_2M ? GMEM_HUGE_PAGE : GMEM_DIRTY_PAGE,
		.is_paged = region->is_paged,
	};
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

static const struct gmem_region *find_region(const struct gmem *mem, uint64_t gpa)
{
	for (size_t i = 0; i < mem->count; i++) {
		const struct gmem_region *region = &mem->regions[i];

		if (gpa >= region->base.v && gpa - region->base.v < region->len) {
			return region;
		}
	}
	return NULL;
}

/*
 * All of a range, if it lies in one region without blocks that come and go, as nearly all do: then
 * there is nothing to hold and no next part. Else NULL, and for no bytes. Every segment of a queue
 * comes by here.
 */
static inline uint8_t *find_whole(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	const struct gmem_region *end = mem->regions + mem->count;

	for (const struct gmem_region *region = mem->regions; region < end; region++) {
		/* Of an address below the region it wraps, to more than any length. */
		uint64_t offset = gpa - region->base.v;

		if (offset < region->len) {
			return len - 1 < region->len - offset && region->plug == NULL
				       ? region->hva + offset
				       : NULL;
		}
	}
	return NULL;
}

static struct span find(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	const struct gmem_region *region = find_region(mem, gpa);

	if (region == NULL) {
		return (struct span){0};
	}
	uint64_t offset = gpa - region->base.v;
	uint64_t part = min_u64(len, region->len - offset);

	if (region->plug != NULL) {
		part = gmem_plugged_len(region->plug, offset, part);
	}
	return (struct span){.hva = region->hva + offset, .len = part};
}

/* --- marks --- */

/*
 * A mark is set after the write, with release, and taken with acquire before the page is read: who
 * takes it either sees what was written, or the mark comes again.
 */
void gmem_mark(const struct gmem_marks *marks)
{
	if (marks->words == NULL) {
		return;
	}
	for (uint64_t page = marks->first; page <= marks->last; page++) {
		uint64_t bit = UINT64_C(1) << page % GMEM_WORD_PAGES;

		atomic_fetch_or_explicit(&marks->words[page / GMEM_WORD_PAGES], bit,
					 memory_order_release);
	}
}

/* The marks of a range, as far as it lies in one region. */
static struct gmem_marks marks_of(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	const struct gmem_region *region = find_region(mem, gpa);

	if (region == NULL || region->dirty == NULL || len == 0) {
		return (struct gmem_marks){0};
	}
	uint64_t offset = gpa - region->base.v;

	return (struct gmem_marks){
		.words = region->dirty,
		.first = offset / GMEM_DIRTY_PAGE,
		.last = (offset + min_u64(len, region->len - offset) - 1) / GMEM_DIRTY_PAGE,
	};
}

static NOINLINE void mark_tracked(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	struct gmem_marks marks = marks_of(mem, gpa, len);

	gmem_mark(&marks);
}

/* Marks a part of one region. */
static inline void mark(const struct gmem *mem, uint64_t gpa, uint64_t len)
{
	if (mem->is_tracked) {
		mark_tracked(mem, gpa, len);
	}
}

int gmem_track_dirty(struct gmem *mem, struct error *err)
{
	for (size_t i = 0; i < mem->count; i++) {
		struct gmem_region *region = &mem->regions[i];

		if (region->dirty == NULL) {
			region->dirty = calloc(gmem_bitmap_words(mem, i), sizeof(*region->dirty));
		}
		if (region->dirty == NULL) {
			return error_sys(err, "Cannot track which guest memory is written to");
		}
	}
	mem->is_tracked = true;
	return 0;
}

void gmem_dirty_take(struct gmem *mem, size_t index, uint64_t *bitmap, size_t words)
{
	struct gmem_region *region = &mem->regions[index];
	bool is_ram = true;
	size_t run_end = 0;

	assert(region->dirty != NULL && words == gmem_bitmap_words(mem, index));
	for (size_t i = 0; i < words; i++) {
		/* What is not plugged can't be saved: its marks stay until it is. */
		if (i == run_end) {
			run_end = align_up(gmem_ram_run(mem, index, i * GMEM_WORD_PAGES, &is_ram),
					   GMEM_WORD_PAGES) /
				  GMEM_WORD_PAGES;
		}
		if (is_ram && atomic_load_explicit(&region->dirty[i], memory_order_relaxed) != 0) {
			bitmap[i] |= atomic_exchange_explicit(&region->dirty[i], 0,
							      memory_order_acquire);
		}
	}
}

void gmem_dirty_put_back(struct gmem *mem, size_t index, const uint64_t *bitmap, size_t words)
{
	struct gmem_region *region = &mem->regions[index];

	assert(region->dirty != NULL && words == gmem_bitmap_words(mem, index));
	for (size_t i = 0; i < words; i++) {
		atomic_fetch_or_explicit(&region->dirty[i], bitmap[i], memory_order_relaxed);
	}
}

void gmem_mark_part(const struct gmem_region *region, uint64_t offset, uint64_t len)
{
	const struct gmem_marks marks = {
		.words = region->dirty,
		.first = offset / GMEM_DIRTY_PAGE,
		.last = (offset + len - 1) / GMEM_DIRTY_PAGE,
	};

	gmem_mark(&marks);
}

void gmem_dirty_all(struct gmem *mem)
{
	for (size_t i = 0; i < mem->count; i++) {
		gmem_mark_part(&mem->regions[i], 0, mem->regions[i].len);
	}
}

/* --- bytes --- */

/* Beyond its first part, which find() has found and which mostly is all of it. */
static bool is_ram_behind(const struct gmem *mem, gpa_t gpa, uint64_t len, uint64_t first)
{
	uint64_t end;

	if (first == len) {
		return true;
	}
	if (first == 0 || !add_u64(gpa.v, len, &end)) {
		return false;
	}
	for (uint64_t at = gpa.v + first; at < end;) {
		uint64_t part = find(mem, at, end - at).len;

		if (part == 0) {
			return false;
		}
		at += part;
	}
	return true;
}

static bool is_ram(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	return is_ram_behind(mem, gpa, len, find(mem, gpa.v, len).len);
}

/* The part behind `done` bytes of a range; of no length at its end. */
static struct span next_span(const struct gmem *mem, gpa_t gpa, uint64_t done, uint64_t len)
{
	return done < len ? find(mem, gpa.v + done, len - done) : (struct span){0};
}

static NOINLINE bool has_parts(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	return is_ram(mem, gpa, len) || gmem_pmem_contains(mem, gpa, len);
}

bool gmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	return find_whole(mem, gpa.v, len) != NULL || has_parts(mem, gpa, len);
}

/* Part by part. */
static NOINLINE int read_parts(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	uint8_t *to = buf;
	struct gmem_plug *held = gmem_plug_hold(mem, gpa, len);
	struct span span = find(mem, gpa.v, len);
	bool is_here = is_ram_behind(mem, gpa, len, span.len);

	for (size_t done = 0; is_here && done < len && span.hva != NULL;) {
		memcpy(to + done, span.hva, span.len);
		done += span.len;
		span = next_span(mem, gpa, done, len);
	}
	gmem_plug_release(held);
	return is_here ? 0 : gmem_pmem_read(mem, gpa, buf, len);
}

int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	const uint8_t *whole = find_whole(mem, gpa.v, len);

	if (whole == NULL) {
		return read_parts(mem, gpa, buf, len);
	}
	memcpy(buf, whole, len);
	return 0;
}

/* Part by part. */
static NOINLINE int write_parts(struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	struct gmem_plug *held = gmem_plug_hold(mem, gpa, len);
	struct span span = find(mem, gpa.v, len);
	bool is_here = is_ram_behind(mem, gpa, len, span.len);

	for (size_t done = 0; is_here && done < len && span.hva != NULL;) {
		memcpy(span.hva, from + done, span.len);
		mark(mem, gpa.v + done, span.len);
		done += span.len;
		span = next_span(mem, gpa, done, len);
	}
	gmem_plug_release(held);
	return is_here ? 0 : gmem_pmem_write(mem, gpa, buf, len);
}

int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	uint8_t *whole = find_whole(mem, gpa.v, len);

	if (whole == NULL) {
		return write_parts(mem, gpa, buf, len);
	}
	memcpy(whole, buf, len);
	mark(mem, gpa.v, len);
	return 0;
}

/* Part by part. */
static NOINLINE int iov_of_parts(struct gmem *mem, struct gmem_range range, enum gmem_access access,
				 struct iovec iov[GMEM_REGIONS_MAX], size_t *count)
{
	struct gmem_plug *held = gmem_plug_hold(mem, range.base, range.len);
	struct span span = find(mem, range.base.v, range.len);
	bool is_here = is_ram_behind(mem, range.base, range.len, span.len);

	*count = 0;
	for (uint64_t done = 0; is_here && done < range.len;) {
		if (access == GMEM_WRITE) {
			mark(mem, range.base.v + done, span.len);
		}
		iov[(*count)++] = (struct iovec){.iov_base = span.hva, .iov_len = span.len};
		done += span.len;
		span = next_span(mem, range.base, done, range.len);
	}
	gmem_plug_release(held);
	if (!is_here) {
		*count = gmem_pmem_iov(mem, &range, iov);
	}
	return is_here || *count > 0 ? 0 : -1;
}

int gmem_iov(struct gmem *mem, struct gmem_range range, enum gmem_access access,
	     struct iovec iov[GMEM_REGIONS_MAX], size_t *count)
{
	uint8_t *whole = find_whole(mem, range.base.v, range.len);

	if (whole == NULL) {
		return iov_of_parts(mem, range, access, iov, count);
	}
	if (access == GMEM_WRITE) {
		mark(mem, range.base.v, range.len);
	}
	iov[0] = (struct iovec){.iov_base = whole, .iov_len = range.len};
	*count = 1;
	return 0;
}

int gmem_write_code(struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count;

	if (gmem_write(mem, gpa, buf, len) < 0 ||
	    gmem_iov(mem, (struct gmem_range){gpa, len}, GMEM_READ, iov, &count) < 0) {
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		char *begin = iov[i].iov_base;

		/* Nothing on x86_64; a processor of Arm may have caches that do not know. */
		__builtin___clear_cache(begin, begin + iov[i].iov_len);
	}
	return 0;
}

int gmem_load_file(struct gmem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len,
		   struct error *err)
{
	const struct gmem_range range = {gpa, len};
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t next = 0;
	size_t count;

	if (gmem_iov(mem, range, GMEM_WRITE, iov, &count) < 0) {
		return error_set(err, ERR_CORRUPT,
				 "%#llx bytes at guest address %#llx lie outside guest memory",
				 (unsigned long long)len, (unsigned long long)gpa.v);
	}
	while (next < count) {
		ssize_t got = preadv(fd, iov + next, (int)(count - next), (off_t)offset);

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
		next = iov_advance(iov, next, count, (uint64_t)got);
	}
	return 0;
}

void *gmem_ring_map(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	struct span span = find(mem, gpa.v, len);

	return span.len == len && gmem_ring_count(mem, gpa, len) == 0 ? span.hva : NULL;
}

struct gmem_marks gmem_ring_marks(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	return marks_of(mem, gpa.v, len);
}

/* --- giving back --- */

/* Discards the whole pages of the backing in [offset, offset + len) of a region. */
static int discard_pages(const struct gmem_region *region, uint64_t offset, uint64_t len)
{
	uint64_t page =
		region->backing == GMEM_HUGE_2M ? GMEM_HUGE_PAGE : (uint64_t)sysconf(_SC_PAGESIZE);
	/* Regions begin on a border of any page. */
	uint64_t first = align_up(offset, page);
	uint64_t end = align_down(offset + len, page);

	if (first >= end) {
		return 0;
	}
	/* By madvise the pages of a shared file would only be unmapped. */
	return region->backing == GMEM_MEMFD
		       ? fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(region->offset + first), (off_t)(end - first))
		       : madvise(region->hva + first, end - first, MADV_DONTNEED);
}

int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	if (!is_ram(mem, gpa, len)) {
		return -1;
	}
	for (uint64_t done = 0; done < len;) {
		const struct gmem_region *region = find_region(mem, gpa.v + done);

		assert(region != NULL); /* all of the range is RAM */
		uint64_t offset = gpa.v + done - region->base.v;
		uint64_t part = min_u64(len - done, region->len - offset);

		if (discard_pages(region, offset, part) < 0) {
			return -1;
		}
		mark(mem, gpa.v + done, part);
		done += part;
	}
	return 0;
}
