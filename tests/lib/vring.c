/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's side of a split virtqueue. */
#include "tests/lib/vring.h"

#include <stdlib.h>

#include "vmm/base/bytes.h"

enum {
	DESC_LEN = 16,
	RING_IDX = 2,
	RING_ENTRIES = 4,
};

static void *at(const struct vring *ring, gpa_t base, uint64_t offset, uint64_t len)
{
	void *bytes = gmem_ring_map(ring->mem, GPA(base.v + offset), len);

	if (bytes == NULL) {
		abort();
	}
	return bytes;
}

static uint16_t load16(const struct vring *ring, gpa_t base, uint64_t offset)
{
	return __atomic_load_n((uint16_t *)at(ring, base, offset, 2), __ATOMIC_SEQ_CST);
}

static void store16(struct vring *ring, gpa_t base, uint64_t offset, uint16_t value)
{
	__atomic_store_n((uint16_t *)at(ring, base, offset, 2), value, __ATOMIC_SEQ_CST);
}

uint64_t vring_len(uint16_t size)
{
	return align_up(size * DESC_LEN + RING_ENTRIES + size * 2u + 2, 16) +
	       align_up(RING_ENTRIES + size * 8u + 2, 16);
}

void vring_init(struct vring *ring, struct gmem *mem, gpa_t base, uint16_t size)
{
	*ring = (struct vring){.mem = mem, .size = size, .desc = base};
	ring->avail = GPA(base.v + (uint64_t)size * DESC_LEN);
	ring->used = GPA(align_up(ring->avail.v + RING_ENTRIES + size * 2u + 2, 16));
	for (uint64_t done = 0; done < vring_len(size); done += 2) {
		store16(ring, base, done, 0);
	}
}

void vring_seek(struct vring *ring, uint16_t index)
{
	ring->avail_idx = index;
	ring->used_idx = index;
	store16(ring, ring->avail, RING_IDX, index);
	store16(ring, ring->used, RING_IDX, index);
	vring_set_used_event(ring, index);
}

struct virtq_config vring_config(const struct vring *ring)
{
	return (struct virtq_config){
		.size = ring->size,
		.is_ready = true,
		.desc = ring->desc,
		.avail = ring->avail,
		.used = ring->used,
	};
}

static void set_desc(struct vring *ring, gpa_t table, uint16_t index, struct vring_desc desc)
{
	gpa_t gpa = GPA(table.v + (uint64_t)index * DESC_LEN);
	/* Tables need not be aligned nor in one region when they are indirect. */
	uint64_t *words = is_aligned(gpa.v, 8) ? gmem_ring_map(ring->mem, gpa, DESC_LEN) : NULL;

	if (words != NULL) {
		__atomic_store_n(&words[0], desc.addr, __ATOMIC_RELAXED);
		__atomic_store_n(&words[1],
				 desc.len | (uint64_t)desc.flags << 32 | (uint64_t)desc.next << 48,
				 __ATOMIC_RELAXED);
		return;
	}
	if (gmem_write(ring->mem, gpa, &desc, sizeof(desc)) < 0) {
		abort();
	}
}

void vring_set_desc(struct vring *ring, uint16_t index, struct vring_desc desc)
{
	set_desc(ring, ring->desc, index, desc);
}

void vring_set_indirect(struct vring *ring, gpa_t table, uint16_t index, struct vring_desc desc)
{
	set_desc(ring, table, index, desc);
}

void vring_enter(struct vring *ring, uint16_t head)
{
	unsigned slot = ring->avail_idx % ring->size;

	store16(ring, ring->avail, RING_ENTRIES + slot * 2, head);
	ring->avail_idx++;
}

void vring_show(struct vring *ring)
{
	vring_set_avail_idx(ring, ring->avail_idx);
}

void vring_offer(struct vring *ring, uint16_t head)
{
	vring_enter(ring, head);
	vring_show(ring);
}

void vring_set_avail_idx(struct vring *ring, uint16_t index)
{
	store16(ring, ring->avail, RING_IDX, index);
}

bool vring_take_used(struct vring *ring, struct vring_used *used)
{
	if (vring_used_idx(ring) == ring->used_idx) {
		return false;
	}
	unsigned slot = ring->used_idx % ring->size;
	const uint32_t *entry = at(ring, ring->used, RING_ENTRIES + slot * 8, 8);

	used->id = __atomic_load_n(&entry[0], __ATOMIC_RELAXED);
	used->len = __atomic_load_n(&entry[1], __ATOMIC_RELAXED);
	ring->used_idx++;
	return true;
}

uint16_t vring_used_idx(const struct vring *ring)
{
	return load16(ring, ring->used, RING_IDX);
}

void vring_set_no_interrupt(struct vring *ring, bool is_silent)
{
	store16(ring, ring->avail, 0, is_silent);
}

void vring_set_used_event(struct vring *ring, uint16_t index)
{
	store16(ring, ring->avail, RING_ENTRIES + ring->size * 2u, index);
}

bool vring_is_no_notify(const struct vring *ring)
{
	return load16(ring, ring->used, 0) != 0;
}

uint16_t vring_avail_event(const struct vring *ring)
{
	return load16(ring, ring->used, RING_ENTRIES + ring->size * 8u);
}
