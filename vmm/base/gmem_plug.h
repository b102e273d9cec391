/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that comes and goes: one region of address space, made of blocks, of which those are
 * RAM that are plugged. What is not plugged backs nothing and can't be touched by anybody.
 */
#ifndef VMM_BASE_GMEM_PLUG_H
#define VMM_BASE_GMEM_PLUG_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum {
	/*
	 * Places at which the mapping is split. The host has vm.max_map_count for the whole process
	 * (65530 unless it was changed); the other half stays for everything else.
	 */
	GMEM_BORDERS_MAX = 32768,
};

/* Blocks of the region, counted from its begin. */
struct gmem_blocks {
	uint64_t first;
	uint64_t count;
};

/*
 * Adds the region behind the others, of the same backing, with all blocks unplugged. It is above
 * them, and begins and ends on blocks; a block is a multiple of 2 MiB. A memory has one at most. On
 * a file (gmem_new_file) the region follows the others there too. While the memory is made.
 */
MUST_CHECK int gmem_plug_add(struct gmem *mem, struct gmem_range range, uint64_t block_len,
			     struct error *err);

/* Whether there is such a region; then its range, the length of a block and its blocks. */
bool gmem_plug_region(const struct gmem *mem, struct gmem_range *range, uint64_t *block_len,
		      struct gmem_blocks *all);

/* How many of the blocks are plugged; they are within the region, here and below. */
uint64_t gmem_plugged(const struct gmem *mem, struct gmem_blocks blocks);

/*
 * Makes blocks RAM, none of which is plugged. Their bytes are zero, or as in the file of
 * gmem_new_file. On the pool of 2 MiB pages they get their pages at once: an empty pool is an error
 * here rather than the guest's end later. After a failure none of them is plugged. VMM thread.
 */
MUST_CHECK int gmem_plug(struct gmem *mem, struct gmem_blocks blocks, struct error *err);

/*
 * Takes blocks away: from now on they are no RAM, and who touches them all the same gets EFAULT. A
 * block in which a ring lies stays: -1, as are all of them if the host refuses. Their pages are
 * freed by gmem_plug_discard, which is called afterwards and may take long (about 30 ms per GiB).
 * VMM thread.
 */
MUST_CHECK int gmem_unplug(struct gmem *mem, struct gmem_blocks blocks, struct error *err);
MUST_CHECK int gmem_plug_discard(struct gmem *mem, struct gmem_blocks blocks);

/* Whether a ring lies in one of the blocks. */
bool gmem_plug_has_ring(struct gmem *mem, struct gmem_blocks blocks);

/* The end of what gmem_ring_map began: the ring is not reached any more. */
void gmem_ring_unmap(struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * The end of the run of pages of region `index` that begins at `page`, all RAM or none of them,
 * which *is_ram says. What is no RAM must not be read.
 */
uint64_t gmem_ram_run(const struct gmem *mem, size_t index, uint64_t page, bool *is_ram);

/*
 * Which blocks are plugged, as a bitmap of (blocks + 63) / 64 words that stays gmem's: for a
 * snapshot. The load, into a region that was just added, plugs them without giving them pages;
 * bits beyond the last block are ignored. gmem_plug_settle does that, after the memory was filled.
 */
const _Atomic uint64_t *gmem_plug_bits(const struct gmem *mem, uint32_t *words);
MUST_CHECK int gmem_plug_load(struct gmem *mem, const uint64_t *bits, struct error *err);
MUST_CHECK int gmem_plug_settle(struct gmem *mem, struct error *err);

/*
 * In a process that was forked: the rings of the other process's queues do not count any more. VMM
 * thread, with no other.
 */
void gmem_plug_inherit(struct gmem *mem);

#endif
