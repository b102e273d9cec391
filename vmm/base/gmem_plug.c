/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that is plugged and unplugged.
 *
 * Theory of operation. The whole region is one mapping and one memory slot of KVM from the start:
 * a slot that is set while the machine runs would wait for a grace period of the kernel (vm.c).
 * Blocks that are not plugged are mapped without any permission and hold no page. So they cost
 * address space alone, and whoever touches one is noticed: a system call gets EFAULT, and so does
 * KVM_RUN, which ends the machine (vcpu.c). Our own copies ask the bitmap first, under a lock that
 * keeps blocks from going meanwhile. Rings are read and written without that lock: a block with a
 * ring in it stays.
 *
 * Each change of permissions may split a mapping of the process, of which the host allows a limited
 * number. The kernel joins what is alike again, but not always, so each place where the mapping was
 * ever split counts against GMEM_BORDERS_MAX.
 */
#include "vmm/base/gmem_plug.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/base/bytes.h"
#include "vmm/base/gmem_internal.h"

static uint64_t words_of(uint64_t bits)
{
	return (bits + GMEM_WORD_PAGES - 1) / GMEM_WORD_PAGES;
}

/* --- The region --- */

static struct gmem_plug *new_plug(uint64_t count, uint64_t block_len)
{
	struct gmem_plug *plug = calloc(1, sizeof(*plug));

	if (plug == NULL) {
		return NULL;
	}
	plug->block_len = block_len;
	plug->count = count;
	pthread_rwlock_init(&plug->lock, NULL);
	plug->plugged = calloc(words_of(count), sizeof(*plug->plugged));
	plug->rings = calloc(count, sizeof(*plug->rings));
	plug->borders = calloc(words_of(count), sizeof(*plug->borders));
	if (plug->plugged == NULL || plug->rings == NULL || plug->borders == NULL) {
		gmem_plug_free(plug);
		return NULL;
	}
	return plug;
}

void gmem_plug_free(struct gmem_plug *plug)
{
	if (plug != NULL) {
		pthread_rwlock_destroy(&plug->lock);
		free(plug->plugged);
		free(plug->rings);
		free(plug->borders);
		free(plug);
	}
}

/* A page beyond the end of a file would be a SIGBUS. */
static int check_file(const struct gmem *mem, struct error *err)
{
	int fd = mem->regions[0].fd;
	struct stat st;

	if (mem->regions[0].backing != GMEM_FILE) {
		return 0;
	}
	if (fstat(fd, &st) < 0) {
		return error_sys(err, "Cannot find out how long the memory file is");
	}
	return (uint64_t)st.st_size >= gmem_len(mem)
		       ? 0
		       : error_set(err, ERR_CORRUPT,
				   "The memory file has %llu bytes, and the memory of the guest "
				   "%llu",
				   (unsigned long long)st.st_size,
				   (unsigned long long)gmem_len(mem));
}

int gmem_plug_add(struct gmem *mem, struct gmem_range range, uint64_t block_len, struct error *err)
{
	const struct gmem_region *first = &mem->regions[0];

	assert(mem->count > 0 && mem->pluggable == NULL && !mem->is_tracked);
	assert(block_len > 0 && is_aligned(block_len, GMEM_HUGE_PAGE) &&
	       is_aligned(range.base.v | range.len, block_len) && range.len > 0);
	if (gmem_add_region(mem, &range, first->backing, first->fd, true, err) < 0) {
		return -1;
	}
	struct gmem_region *region = &mem->regions[mem->count - 1];

	region->plug = new_plug(range.len / block_len, block_len);
	if (region->plug == NULL) {
		return error_sys(err, "Cannot describe memory that is plugged in");
	}
	mem->pluggable = region;
	return check_file(mem, err);
}

bool gmem_plug_region(const struct gmem *mem, struct gmem_range *range, uint64_t *block_len,
		      struct gmem_blocks *all)
{
	const struct gmem_region *region = mem->pluggable;

	if (region == NULL) {
		return false;
	}
	*range = (struct gmem_range){region->base, region->len};
	*block_len = region->plug->block_len;
	*all = (struct gmem_blocks){0, region->plug->count};
	return true;
}

/* --- Looking --- */

uint64_t gmem_plugged_len(const struct gmem_plug *plug, uint64_t offset, uint64_t len)
{
	uint64_t found = 0;

	while (found < len && gmem_block_is_plugged(plug, (offset + found) / plug->block_len)) {
		found += plug->block_len - (offset + found) % plug->block_len;
	}
	return min_u64(found, len);
}

uint64_t gmem_plugged(const struct gmem *mem, struct gmem_blocks blocks)
{
	const struct gmem_plug *plug = mem->pluggable->plug;
	uint64_t count = 0;

	assert(blocks.first <= plug->count && blocks.count <= plug->count - blocks.first);
	for (uint64_t i = 0; i < blocks.count;) {
		uint64_t bit = (blocks.first + i) % GMEM_WORD_PAGES;
		uint64_t bits = min_u64(GMEM_WORD_PAGES - bit, blocks.count - i);
		uint64_t word = atomic_load_explicit(
			&plug->plugged[(blocks.first + i) / GMEM_WORD_PAGES], memory_order_relaxed);

		word = word >> bit << (GMEM_WORD_PAGES - bits);
		count += (uint64_t)__builtin_popcountll(word);
		i += bits;
	}
	return count;
}

uint64_t gmem_ram_run(const struct gmem *mem, size_t index, uint64_t page, bool *is_ram)
{
	const struct gmem_region *region = &mem->regions[index];
	const struct gmem_plug *plug = region->plug;
	uint64_t end = region->len / GMEM_DIRTY_PAGE;

	*is_ram = true;
	if (plug == NULL) {
		return end;
	}
	uint64_t pages = plug->block_len / GMEM_DIRTY_PAGE;
	uint64_t block = page / pages;

	*is_ram = gmem_block_is_plugged(plug, block);
	do {
		block++;
	} while (block < plug->count && gmem_block_is_plugged(plug, block) == *is_ram);
	return block * pages;
}

/* --- Rings --- */

/* The blocks that a part of the region lies in. */
static struct gmem_blocks blocks_of(const struct gmem_region *region, gpa_t gpa, uint64_t len)
{
	uint64_t offset = gpa.v - region->base.v;
	uint64_t first = offset / region->plug->block_len;
	uint64_t last = (offset + len - 1) / region->plug->block_len;

	return (struct gmem_blocks){first, last - first + 1};
}

static bool is_within(const struct gmem_region *region, gpa_t gpa, uint64_t len)
{
	return region != NULL && len > 0 && gpa.v >= region->base.v &&
	       gpa.v - region->base.v < region->len &&
	       len <= region->len - (gpa.v - region->base.v);
}

int gmem_ring_count(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	struct gmem_region *region = mem->pluggable;
	int result = 0;

	if (!is_within(region, gpa, len)) {
		return 0;
	}
	struct gmem_plug *plug = region->plug;
	struct gmem_blocks blocks = blocks_of(region, gpa, len);

	pthread_rwlock_wrlock(&plug->lock);
	if (gmem_plugged(mem, blocks) < blocks.count) {
		result = -1;
	}
	for (uint64_t i = 0; result == 0 && i < blocks.count; i++) {
		plug->rings[blocks.first + i]++;
	}
	pthread_rwlock_unlock(&plug->lock);
	return result;
}

void gmem_ring_unmap(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	struct gmem_region *region = mem->pluggable;

	if (!is_within(region, gpa, len)) {
		return;
	}
	struct gmem_plug *plug = region->plug;
	struct gmem_blocks blocks = blocks_of(region, gpa, len);

	pthread_rwlock_wrlock(&plug->lock);
	for (uint64_t i = 0; i < blocks.count; i++) {
		assert(plug->rings[blocks.first + i] > 0);
		plug->rings[blocks.first + i]--;
	}
	pthread_rwlock_unlock(&plug->lock);
}

/* Under the lock. */
static bool has_ring(const struct gmem_plug *plug, struct gmem_blocks blocks)
{
	for (uint64_t i = 0; i < blocks.count; i++) {
		if (plug->rings[blocks.first + i] > 0) {
			return true;
		}
	}
	return false;
}

bool gmem_plug_has_ring(struct gmem *mem, struct gmem_blocks blocks)
{
	struct gmem_plug *plug = mem->pluggable->plug;

	pthread_rwlock_rdlock(&plug->lock);
	bool has = has_ring(plug, blocks);

	pthread_rwlock_unlock(&plug->lock);
	return has;
}

void gmem_plug_inherit(struct gmem *mem)
{
	if (mem->pluggable != NULL) {
		struct gmem_plug *plug = mem->pluggable->plug;

		pthread_rwlock_init(&plug->lock, NULL);
		memset(plug->rings, 0, plug->count * sizeof(*plug->rings));
	}
}

/* --- Coming and going --- */

/* The mapping is split before this block, unless it is an end of the region. */
static bool is_new_border(const struct gmem_plug *plug, uint64_t block)
{
	return block > 0 && block < plug->count &&
	       (plug->borders[block / GMEM_WORD_PAGES] >> block % GMEM_WORD_PAGES & 1) == 0;
}

static void add_border(struct gmem_plug *plug, uint64_t block)
{
	if (is_new_border(plug, block)) {
		plug->borders[block / GMEM_WORD_PAGES] |= UINT64_C(1) << block % GMEM_WORD_PAGES;
		plug->border_count++;
	}
}

/* Gives the blocks these permissions in one piece. */
static int protect(const struct gmem_region *region, struct gmem_blocks blocks, int prot,
		   struct error *err)
{
	struct gmem_plug *plug = region->plug;
	uint64_t end = blocks.first + blocks.count;
	unsigned more = (unsigned)is_new_border(plug, blocks.first) + is_new_border(plug, end);

	if (plug->border_count + more > GMEM_BORDERS_MAX) {
		return error_set(err, ERR_HOST,
				 "The memory that is plugged in is in too many pieces: a larger "
				 "block_size_mib makes fewer");
	}
	if (mprotect(region->hva + blocks.first * plug->block_len, blocks.count * plug->block_len,
		     prot) < 0) {
		return error_sys(err, "Cannot change what may be done with guest memory");
	}
	add_border(plug, blocks.first);
	add_border(plug, end);
	return 0;
}

/* Under the lock. */
static void set_bits(struct gmem_plug *plug, struct gmem_blocks blocks, bool is_plugged)
{
	for (uint64_t i = blocks.first; i < blocks.first + blocks.count; i++) {
		_Atomic uint64_t *word = &plug->plugged[i / GMEM_WORD_PAGES];
		uint64_t bit = UINT64_C(1) << i % GMEM_WORD_PAGES;
		uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

		atomic_store_explicit(word, is_plugged ? old | bit : old & ~bit,
				      memory_order_relaxed);
	}
}

/* Of the pool of huge pages: each block has its pages as long as it is plugged. */
static int give_pages(const struct gmem_region *region, struct gmem_blocks blocks,
		      struct error *err)
{
	uint64_t len = region->plug->block_len;

	if (region->backing != GMEM_HUGE_2M ||
	    madvise(region->hva + blocks.first * len, blocks.count * len, MADV_POPULATE_WRITE) ==
		    0) {
		return 0;
	}
	return error_sys(err, "The pool of huge pages of 2 MiB has no pages for memory that is "
			      "plugged in; see vm.nr_hugepages");
}

/* A run of blocks of which none is plugged. */
static int plug_run(const struct gmem_region *region, struct gmem_blocks run, struct error *err)
{
	struct error ignored = {0};

	if (protect(region, run, PROT_READ | PROT_WRITE, err) < 0) {
		return -1;
	}
	if (give_pages(region, run, err) < 0) {
		(void)!protect(region, run, PROT_NONE, &ignored);
		(void)madvise(region->hva + run.first * region->plug->block_len,
			      run.count * region->plug->block_len, MADV_DONTNEED);
		return -1;
	}
	pthread_rwlock_wrlock(&region->plug->lock);
	set_bits(region->plug, run, true);
	pthread_rwlock_unlock(&region->plug->lock);
	return 0;
}

int gmem_plug(struct gmem *mem, struct gmem_blocks blocks, struct error *err)
{
	if (gmem_plugged(mem, blocks) != 0) {
		return error_set(err, ERR_BAD_STATE, "Some of the blocks are plugged already");
	}
	return plug_run(mem->pluggable, blocks, err);
}

int gmem_unplug(struct gmem *mem, struct gmem_blocks blocks, struct error *err)
{
	struct gmem_region *region = mem->pluggable;
	struct gmem_plug *plug = region->plug;
	int result = -1;

	pthread_rwlock_wrlock(&plug->lock);
	if (has_ring(plug, blocks)) {
		error_set(err, ERR_GUEST, "A queue has its ring in memory that is to be unplugged");
	} else {
		result = protect(region, blocks, PROT_NONE, err);
	}
	if (result == 0) {
		set_bits(plug, blocks, false);
	}
	pthread_rwlock_unlock(&plug->lock);
	return result;
}

int gmem_plug_discard(struct gmem *mem, struct gmem_blocks blocks)
{
	const struct gmem_region *region = mem->pluggable;
	uint64_t at = blocks.first * region->plug->block_len;
	uint64_t len = blocks.count * region->plug->block_len;

	/* What is plugged again later has other bytes than it had. */
	gmem_mark_part(region, at, len);
	/* MADV_REMOVE wants a mapping that may be written to [madvise(2)]. */
	return region->backing == GMEM_MEMFD
		       ? fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(region->offset + at), (off_t)len)
		       : madvise(region->hva + at, len, MADV_DONTNEED);
}

/* --- Snapshots --- */

const _Atomic uint64_t *gmem_plug_bits(const struct gmem *mem, uint32_t *words)
{
	*words = 0;
	if (mem->pluggable == NULL) {
		return NULL;
	}
	*words = (uint32_t)words_of(mem->pluggable->plug->count);
	return mem->pluggable->plug->plugged;
}

/* Calls fn for each run of blocks that are plugged. */
static int for_runs(const struct gmem_region *region,
		    int (*fn)(const struct gmem_region *region, struct gmem_blocks run,
			      struct error *err),
		    struct error *err)
{
	const struct gmem_plug *plug = region->plug;

	for (uint64_t at = 0; at < plug->count;) {
		uint64_t offset = at * plug->block_len;
		uint64_t count =
			gmem_plugged_len(plug, offset, region->len - offset) / plug->block_len;

		if (count > 0 && fn(region, (struct gmem_blocks){at, count}, err) < 0) {
			return -1;
		}
		at += count + 1;
	}
	return 0;
}

static int open_run(const struct gmem_region *region, struct gmem_blocks run, struct error *err)
{
	return protect(region, run, PROT_READ | PROT_WRITE, err);
}

int gmem_plug_load(struct gmem *mem, const uint64_t *bits, struct error *err)
{
	struct gmem_plug *plug = mem->pluggable->plug;

	for (uint64_t i = 0; i < plug->count; i++) {
		if ((bits[i / GMEM_WORD_PAGES] >> i % GMEM_WORD_PAGES & 1) != 0) {
			set_bits(plug, (struct gmem_blocks){i, 1}, true);
		}
	}
	return for_runs(mem->pluggable, open_run, err);
}

int gmem_plug_settle(struct gmem *mem, struct error *err)
{
	const struct gmem_region *region = mem->pluggable;

	/* A page fault handler has the pages of the others. */
	return region->is_paged ? 0 : for_runs(region, give_pages, err);
}
