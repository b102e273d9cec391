/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of guest memory a snapshot has to write.
 *
 * Theory of operation. A page of a private mapping is this process's own once it was written to;
 * before, it is what is behind the mapping: zeroes, or the bytes of a file. The kernel's page
 * tables tell the two apart [linux Documentation/admin-guide/mm/pagemap.rst], swapped pages
 * included, without touching a page. A jail has no /proc to read them from. There mincore(2) tells
 * which pages are in memory, which own ones are unless the host swaps. Of anonymous memory those
 * are the own ones; of a file their bytes are compared with the file's, and where the host swaps
 * those of all pages. The answer is the same, and the price is a read of them. Of memory that other
 * processes share, a memfd, all that is no hole is own.
 */
#include "vmm/base/gmem_pages.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_internal.h"
#include "vmm/base/gmem_plug.h"

enum {
	CHUNK_PAGES = 512, /* that are looked at in one go */
	COMPARED_LEN = 64 * 1024,
	OTHERS_MAX = 64 * 1024, /* pages of a region among which another one is looked for */
	OTHERS_READ_MAX = 4096, /* of these: some milliseconds */
};

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_OF_FILE (UINT64_C(1) << 61)

/* Pages of one region, and the bitmap that those which are own are entered in. */
struct look {
	const struct gmem *mem;
	size_t index;
	const struct gmem_region *region; /* of that index */
	uint64_t *bitmap;
	uint64_t *touched; /* the same for pages that are mapped at all; NULL: not asked for */
	int pagemap;
};

static void set_bit(uint64_t *bitmap, uint64_t page)
{
	bitmap[page / GMEM_WORD_PAGES] |= UINT64_C(1) << page % GMEM_WORD_PAGES;
}

static void enter(const struct look *look, uint64_t page)
{
	set_bit(look->bitmap, page);
}

/* Looks at `count` pages from `first` on: CHUNK_PAGES at most, but for look_for_data. */
typedef int (*look_fn)(const struct look *look, uint64_t first, uint64_t count, struct error *err);

static int look_in_pagemap(const struct look *look, uint64_t first, uint64_t count,
			   struct error *err)
{
	uint64_t entries[CHUNK_PAGES];
	uint64_t at = ((uintptr_t)look->region->hva / GMEM_DIRTY_PAGE + first) * sizeof(entries[0]);
	const struct iovec iov = {entries, count * sizeof(entries[0])};

	if (preadv(look->pagemap, &iov, 1, (off_t)at) != (ssize_t)iov.iov_len) {
		return error_sys(err, "Cannot read which pages of guest memory are in use");
	}
	for (uint64_t i = 0; i < count; i++) {
		bool is_here =
			(entries[i] & PAGEMAP_PRESENT) != 0 && (entries[i] & PAGEMAP_OF_FILE) == 0;

		if (is_here || (entries[i] & PAGEMAP_SWAPPED) != 0) {
			enter(look, first + i);
		}
		if (look->touched != NULL &&
		    (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0) {
			set_bit(look->touched, first + i);
		}
	}
	return 0;
}

/* Which of up to CHUNK_PAGES pages are in memory: bit 0 of each byte. */
static int ask_resident(const struct gmem_region *region, uint64_t first, uint64_t count,
			unsigned char resident[CHUNK_PAGES], struct error *err)
{
	return mincore(region->hva + first * GMEM_DIRTY_PAGE, count * GMEM_DIRTY_PAGE, resident) ==
			       0
		       ? 0
		       : error_sys(err, "Cannot find out which pages of guest memory are in use");
}

static int look_by_mincore(const struct look *look, uint64_t first, uint64_t count,
			   struct error *err)
{
	unsigned char resident[CHUNK_PAGES];

	if (ask_resident(look->region, first, count, resident, err) < 0) {
		return -1;
	}
	for (uint64_t i = 0; i < count; i++) {
		if ((resident[i] & 1) != 0) {
			enter(look, first + i);
		}
	}
	return 0;
}

/* What is there of a memfd, which is the memory itself: looking at bytes would fill its holes. */
static int look_for_data(const struct look *look, uint64_t first, uint64_t count, struct error *err)
{
	const struct gmem_region *region = look->region;
	off_t begin = (off_t)region->offset;
	off_t at = begin + (off_t)(first * GMEM_DIRTY_PAGE);
	off_t end = at + (off_t)(count * GMEM_DIRTY_PAGE);

	while (at < end) {
		off_t data = lseek(region->fd, at, SEEK_DATA);
		off_t hole = data < 0 ? data : lseek(region->fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO) {
			break; /* a hole up to the end of the file */
		}
		if (hole < 0) {
			return error_sys(err, "Cannot find out which memory is in use");
		}
		for (at = data; at < end && at < hole; at += GMEM_DIRTY_PAGE) {
			enter(look, (uint64_t)(at - begin) / GMEM_DIRTY_PAGE);
		}
	}
	return 0;
}

/* Reads what the file behind the region has for pages from `page` on, `left` of them or fewer. */
static int read_behind(const struct gmem_region *region, uint64_t page, uint64_t left,
		       uint8_t behind[COMPARED_LEN], struct error *err)
{
	unsigned long long at = region->offset + page * GMEM_DIRTY_PAGE;
	const struct iovec iov = {behind, min_u64(left * GMEM_DIRTY_PAGE, COMPARED_LEN)};

	return preadv(region->fd, &iov, 1, (off_t)at) == (ssize_t)iov.iov_len
		       ? 0
		       : error_sys(err, "Cannot read the memory file at offset %llu", at);
}

/* Compares those of the pages that are `resident`; NULL: all. */
static int compare_pages(const struct look *look, uint64_t first, uint64_t count,
			 const unsigned char *resident, struct error *err)
{
	static const uint8_t zeroes[GMEM_DIRTY_PAGE];
	uint8_t behind[COMPARED_LEN];
	const struct gmem_region *region = look->region;
	bool has_file = region->backing == GMEM_FILE;
	uint64_t read_end = 0; /* of the pages that `behind` has or had */

	for (uint64_t i = 0; i < count; i++) {
		uint64_t in_buffer = i * GMEM_DIRTY_PAGE % COMPARED_LEN;
		uint64_t buffer_first = i - in_buffer / GMEM_DIRTY_PAGE;

		if (resident != NULL && (resident[i] & 1) == 0) {
			continue;
		}
		if (has_file && i >= read_end) {
			if (read_behind(region, first + buffer_first, count - buffer_first, behind,
					err) < 0) {
				return -1;
			}
			read_end = buffer_first + COMPARED_LEN / GMEM_DIRTY_PAGE;
		}
		if (memcmp(region->hva + (first + i) * GMEM_DIRTY_PAGE,
			   has_file ? behind + in_buffer : zeroes, GMEM_DIRTY_PAGE) != 0) {
			enter(look, first + i);
		}
	}
	return 0;
}

static int compare(const struct look *look, uint64_t first, uint64_t count, struct error *err)
{
	return compare_pages(look, first, count, NULL, err);
}

/* Where nothing is swapped an own page is resident. */
static int compare_resident(const struct look *look, uint64_t first, uint64_t count,
			    struct error *err)
{
	unsigned char resident[CHUNK_PAGES];

	return ask_resident(look->region, first, count, resident, err) < 0
		       ? -1
		       : compare_pages(look, first, count, resident, err);
}

static bool host_swaps(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 || info.totalswap > 0;
}

/* Of memory that can't be told from what was behind it. */
static int enter_all(const struct look *look, uint64_t first, uint64_t count, struct error *err)
{
	(void)err;
	for (uint64_t i = 0; i < count; i++) {
		enter(look, first + i);
	}
	return 0;
}

/*
 * Bytes say what is own only where it is known what was behind them. It is not where a page fault
 * handler brings the pages, nor with pages of 2 MiB, into which a file may have been copied.
 */
static look_fn choose(const struct look *look)
{
	enum gmem_backing backing = look->region->backing;
	bool is_huge = backing == GMEM_HUGE_2M;
	look_fn by_bytes = look->region->is_paged || is_huge ? enter_all : compare;

	if (backing == GMEM_MEMFD) {
		return look_for_data;
	}
	if (sysconf(_SC_PAGESIZE) != GMEM_DIRTY_PAGE) {
		return by_bytes;
	}
	if (look->pagemap >= 0) {
		return look_in_pagemap;
	}
	/* Pages of 2 MiB are never swapped. */
	bool is_swapped = !is_huge && host_swaps();

	if (backing != GMEM_FILE && !is_swapped) {
		return look_by_mincore;
	}
	return by_bytes == compare && !is_swapped ? compare_resident : by_bytes;
}

size_t gmem_bitmap_words(const struct gmem *mem, size_t index)
{
	const uint64_t bytes_per_word = (uint64_t)GMEM_WORD_PAGES * GMEM_DIRTY_PAGE;

	return align_up(mem->regions[index].len, bytes_per_word) / bytes_per_word;
}

static int open_pagemap(void)
{
	return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static int look_at_all(const struct look *look, look_fn fn, struct error *err)
{
	uint64_t pages = look->region->len / GMEM_DIRTY_PAGE;
	/* Looking for a hole goes through all that is before it: once, not from each chunk on. */
	uint64_t chunk = fn == look_for_data ? pages : CHUNK_PAGES;
	uint64_t run_end = 0;
	bool is_ram = true;

	for (uint64_t done = 0; done < pages;) {
		if (done == run_end) {
			run_end = gmem_ram_run(look->mem, look->index, done, &is_ram);
		}
		uint64_t count = is_ram ? min_u64(run_end - done, chunk) : run_end - done;

		if (is_ram && fn(look, done, count, err) < 0) {
			return -1;
		}
		done += count;
	}
	return 0;
}

int gmem_own_pages(const struct gmem *mem, size_t index, uint64_t *bitmap, struct error *err)
{
	AUTO_FD pagemap = open_pagemap(); /* -1: other ways are taken */
	const struct look look = {.mem = mem,
				  .index = index,
				  .region = &mem->regions[index],
				  .bitmap = bitmap,
				  .pagemap = pagemap};

	return look_at_all(&look, choose(&look), err);
}

int gmem_touched_pages(const struct gmem *mem, size_t index, uint64_t *touched, uint64_t *own,
		       struct error *err)
{
	AUTO_FD pagemap = open_pagemap();
	const struct look look = {.mem = mem,
				  .index = index,
				  .region = &mem->regions[index],
				  .bitmap = own,
				  .touched = touched,
				  .pagemap = pagemap};

	if (pagemap < 0) {
		return error_sys(err,
				 "Which pages were used can't be read from /proc/self/pagemap");
	}
	if (sysconf(_SC_PAGESIZE) != GMEM_DIRTY_PAGE) {
		return error_set(
			err, ERR_NOT_SUPPORTED,
			"Which pages were used is known on hosts with pages of 4 KiB only");
	}
	return look_at_all(&look, look_in_pagemap, err);
}

/* What is resident costs no fault, and asks neither a disk nor a page fault handler. */
bool gmem_find_other(const struct gmem *mem, size_t index, const uint64_t *bitmap, uint64_t *page)
{
	const struct gmem_region *region = &mem->regions[index];
	uint64_t end = min_u64(region->len / GMEM_DIRTY_PAGE, OTHERS_MAX);
	unsigned char resident[CHUNK_PAGES];
	unsigned left = sysconf(_SC_PAGESIZE) == GMEM_DIRTY_PAGE ? OTHERS_READ_MAX : 0;
	struct error ignored = {0};

	for (uint64_t first = *page; first < end && left > 0; first += CHUNK_PAGES) {
		uint64_t count = min_u64(end - first, CHUNK_PAGES);

		if (ask_resident(region, first, count, resident, &ignored) < 0) {
			return false;
		}
		for (uint64_t i = 0; i < count && left > 0; i++) {
			bool is_in = bitmap[(first + i) / GMEM_WORD_PAGES] >>
					     (first + i) % GMEM_WORD_PAGES &
				     1;

			if (is_in || (resident[i] & 1) == 0) {
				continue;
			}
			if (!gmem_is_zero(mem, index, first + i)) {
				*page = first + i;
				return true;
			}
			left--;
		}
	}
	return false;
}

/* --- bringing pages in --- */

int gmem_read_ahead(struct gmem *mem, size_t index, const struct gmem_part *part, struct error *err)
{
	const struct gmem_region *region = &mem->regions[index];

	(void)err;
	if (region->fd >= 0) {
		/* A hint: what is wrong with the file shows when it is read. */
		(void)posix_fadvise(
			region->fd, (off_t)(region->offset + part->first * GMEM_DIRTY_PAGE),
			(off_t)((part->end - part->first) * GMEM_DIRTY_PAGE), POSIX_FADV_WILLNEED);
	}
	return 0;
}

int gmem_populate(struct gmem *mem, size_t index, const struct gmem_part *part, struct error *err)
{
	int advice = part->is_written ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	for (uint64_t page = part->first; page < part->end;) {
		bool is_ram;
		uint64_t end = min_u64(gmem_ram_run(mem, index, page, &is_ram), part->end);

		if (is_ram &&
		    madvise(mem->regions[index].hva + page * GMEM_DIRTY_PAGE,
			    (end - page) * GMEM_DIRTY_PAGE, advice) < 0 &&
		    errno != EINVAL) {
			return error_sys(err, "Cannot bring the working set into memory");
		}
		page = end;
	}
	return 0;
}

bool gmem_is_zero(const struct gmem *mem, size_t index, uint64_t page)
{
	const uint64_t *words =
		(const uint64_t *)(const void *)(mem->regions[index].hva + page * GMEM_DIRTY_PAGE);

	const struct gmem_plug *plug = mem->regions[index].plug;

	assert(page < mem->regions[index].len / GMEM_DIRTY_PAGE);
	if (plug != NULL && gmem_plugged_len(plug, page * GMEM_DIRTY_PAGE, 1) == 0) {
		return true;
	}
	for (size_t i = 0; i < GMEM_DIRTY_PAGE / sizeof(*words); i += 8) {
		if ((words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
		     words[i + 5] | words[i + 6] | words[i + 7]) != 0) {
			return false;
		}
	}
	return true;
}

int gmem_check_behind(const struct gmem *mem, struct error *err)
{
	const struct gmem_slot slot = gmem_slot(mem, 0);
	struct stat st;

	/* The files of shared memory, one for each region, are sealed. */
	if (slot.fd >= 0 && !slot.is_shared && fstat(slot.fd, &st) == 0 &&
	    (uint64_t)st.st_size < gmem_len(mem)) {
		return error_set(err, ERR_HOST,
				 "The file that this machine has its memory from was cut to %lld "
				 "bytes: what was behind is lost",
				 (long long)st.st_size);
	}
	return 0;
}
