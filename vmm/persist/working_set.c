/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and replays working sets.
 *
 * Theory of operation. The page tables of this process tell which pages were touched since the load
 * [linux Documentation/admin-guide/mm/pagemap.rst]: of a mapped file those that were only read,
 * which are the file's, and those that were written to, which are own. Runs of pages become ranges
 * of the memory file, since the next process has its memory elsewhere.
 *
 * A replay first asks the kernel to read all ranges of the file ahead, so that a disk sees them at
 * once, then maps them. What was written to will be again, so it is copied at once, too.
 */
#include "vmm/persist/working_set.h"

#include <stdlib.h>

#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/persist/coded_file.h"
#include "vmm/persist/page_sets.h"
#include "vmm/version.h"

enum {
	RANGES_MAX = 400000, /* as many as fit into a file */
	FORMAT = 1,
};

#define MAGIC UINT64_C(0x7465735f6b726f77) /* "work_set" */

struct working_range {
	uint64_t first; /* pages of the memory file */
	uint64_t pages;
	bool is_written;
};

static const struct codec_section section = {
	.tag = CODEC_TAG('W', 'S', 'E', 'T'), .version = 1, .name = "working set"};

/* --- finding --- */

static int add_range(struct working_set *set, const struct working_range *range, struct error *err)
{
	/* Grows at powers of two. */
	if ((set->count & (set->count - 1)) == 0) {
		size_t room = set->count == 0 ? 1 : 2 * (size_t)set->count;
		void *longer = reallocarray(set->ranges, room, sizeof(*range));

		if (longer == NULL) {
			return error_sys(err, "Cannot list the working set");
		}
		set->ranges = longer;
	}
	if (set->count == RANGES_MAX) {
		return error_set(
			err, ERR_TOO_LARGE,
			"The working set has more than %d runs of pages: record it earlier",
			RANGES_MAX);
	}
	set->ranges[set->count++] = *range;
	return 0;
}

/* Adds the runs of a bitmap of one region. */
static int add_runs(struct working_set *set, const uint64_t *bits, const struct gmem_range *region,
		    bool is_written, struct error *err)
{
	uint64_t pages = region->len / GMEM_DIRTY_PAGE;

	for (uint64_t page = 0; page < pages;) {
		uint64_t end = page_run_end(bits, page, pages);
		const struct working_range range = {
			.first = region->base.v / GMEM_DIRTY_PAGE + page,
			.pages = end - page,
			.is_written = is_written,
		};

		if (page_bit(bits, page) && add_range(set, &range, err) < 0) {
			return -1;
		}
		page = end;
	}
	return 0;
}

static int find_in_region(const struct gmem *mem, size_t index, const struct page_sets *touched,
			  const struct page_sets *own, struct working_set *set, struct error *err)
{
	struct gmem_slot slot = gmem_slot(mem, index);
	/* In the memory file, not in the guest. */
	const struct gmem_range region = {GPA(set->memory_len), slot.len};
	uint64_t *bits = touched->bits[index];

	if (gmem_touched_pages(mem, index, bits, own->bits[index], err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < gmem_bitmap_words(mem, index); i++) {
		bits[i] &= ~own->bits[index][i];
	}
	set->memory_len += slot.len;
	return add_runs(set, bits, &region, false, err) < 0
		       ? -1
		       : add_runs(set, own->bits[index], &region, true, err);
}

int working_set_find(const struct gmem *mem, struct working_set *set, struct error *err)
{
	struct page_sets touched = {0};
	struct page_sets own = {0};
	int result = page_sets_init(&touched, mem, err);

	if (result == 0) {
		result = page_sets_init(&own, mem, err);
	}
	for (size_t i = 0; i < gmem_region_count(mem) && result == 0; i++) {
		result = find_in_region(mem, i, &touched, &own, set, err);
	}
	page_sets_destroy(&touched);
	page_sets_destroy(&own);
	return result;
}

void working_set_destroy(struct working_set *set)
{
	free(set->ranges);
	*set = (struct working_set){0};
}

/* --- files --- */

static void code(struct codec *codec, void *thing)
{
	struct working_set *set = thing;

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u64(codec, "memory_len", &set->memory_len);
	codec_count(codec, "ranges", &set->count, RANGES_MAX);
	if (codec->mode == CODEC_LOAD && set->count > 0) {
		set->ranges = calloc(set->count, sizeof(*set->ranges));
		if (set->ranges == NULL) {
			(void)error_sys(&codec->err, "Cannot list the working set");
			set->count = 0;
		}
	}
	for (uint32_t i = 0; i < set->count; i++) {
		codec_begin_item(codec, "range", i);
		codec_u64(codec, "first", &set->ranges[i].first);
		codec_u64(codec, "pages", &set->ranges[i].pages);
		codec_bool(codec, "is_written", &set->ranges[i].is_written);
		codec_end(codec);
	}
	codec_section_end(codec);
}

static const struct coded_file this_file = {
	.head = {.magic = MAGIC, .format = FORMAT, .writer = SQUIB_VERSION, .what = "working set"},
	.code = code,
	.cannot_make = "Cannot make the working set",
	.cannot_open = "Cannot open the working set",
	.cannot_load = "Cannot load the working set",
};

int working_set_write(struct working_set *set, const char *path, struct error *err)
{
	return coded_file_write(&this_file, path, set, err);
}

int working_set_read(const char *path, struct working_set *set, struct error *err)
{
	return coded_file_read(&this_file, path, set, err);
}

/* --- replaying --- */

/* What to do with a part of a range that lies in one region. */
typedef int (*part_fn)(struct gmem *mem, size_t index, const struct gmem_part *part,
		       struct error *err);

/* Calls fn for each part of each range. The ranges are within the memory. */
static int for_parts(struct gmem *mem, const struct working_set *set, part_fn fn, struct error *err)
{
	uint64_t begin = 0;

	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		uint64_t end = begin + gmem_slot(mem, i).len / GMEM_DIRTY_PAGE;

		for (uint32_t r = 0; r < set->count; r++) {
			const struct working_range *range = &set->ranges[r];
			uint64_t first = max_u64(range->first, begin);
			uint64_t last = min_u64(range->first + range->pages, end);
			const struct gmem_part part = {first - begin, last - begin,
						       range->is_written};

			if (first < last && fn(mem, i, &part, err) < 0) {
				return -1;
			}
		}
		begin = end;
	}
	return 0;
}

static int check(const struct gmem *mem, const struct working_set *set, struct error *err)
{
	uint64_t pages = gmem_len(mem) / GMEM_DIRTY_PAGE;

	if (set->memory_len != gmem_len(mem)) {
		return error_set(err, ERR_CORRUPT,
				 "The working set is that of a memory of %llu bytes, and this one "
				 "has %llu",
				 (unsigned long long)set->memory_len,
				 (unsigned long long)gmem_len(mem));
	}
	for (uint32_t i = 0; i < set->count; i++) {
		const struct working_range *range = &set->ranges[i];

		if (range->first > pages || range->pages > pages - range->first) {
			return error_set(err, ERR_CORRUPT,
					 "Section working set, field range[%u]: it ends beyond the "
					 "memory",
					 i);
		}
	}
	return 0;
}

int working_set_load(struct gmem *mem, const struct working_set *set, struct error *err)
{
	return check(mem, set, err) < 0 || for_parts(mem, set, gmem_read_ahead, err) < 0
		       ? -1
		       : for_parts(mem, set, gmem_populate, err);
}
