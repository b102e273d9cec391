/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues [virtio-1.2 §2.7].
 *
 * Theory of operation. Three rings lie in guest memory: descriptors and available entries, which
 * the driver writes, and used entries, which we write. The driver runs at the same time and may be
 * hostile, so
 *
 * - what it writes is loaded once, by one atomic access that the compiler can't repeat, and checked
 *   on the copy; a chain is copied whole before its device sees it;
 * - what is ours (next_avail, next_used, published) is kept here and never read back; so it is all
 *   that a snapshot needs besides memory;
 * - whatever a descriptor says, a walk takes at most VIRTQ_CHAIN_MAX steps of bounded work.
 *
 * Indexes are 16 bits wide and wrap; entries are found by their lower bits. The driver can't be
 * more than `size` ahead of us: if it seems so, its index is nonsense and the queue is broken.
 *
 * Notifications. Each side may say that it needs none, either by a flag or, with the event index,
 * by the index of which it wants to hear [virtio-1.2 §2.7.10]. Both sides first store their own
 * index or wish, then load the other's; as neither load may pass the store before it, at least one
 * of the two sees what the other did. These stores and loads are sequentially consistent, which
 * both architectures make to hold against the guest's own full barriers as well: x86 by a locked
 * store, aarch64 by STLR and LDAR, which keep their order.
 */
#include "devices/virtio/core/virtq.h"

#include <assert.h>

#include "vmm/base/bytes.h"
#include "vmm/base/gmem_plug.h"

/* Bits of a descriptor [virtio-1.2 §2.7.5]; the device ignores all others. */
enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
};

enum {
	AVAIL_NO_INTERRUPT = 1, /* [virtio-1.2 §2.7.6] */
	USED_NO_NOTIFY = 1,	/* [virtio-1.2 §2.7.8] */
};

/* Offsets in both rings [virtio-1.2 §2.7.6, §2.7.8]; an event index follows the last entry. */
enum {
	RING_FLAGS = 0,
	RING_IDX = 2,
	RING_ENTRIES = 4,
	AVAIL_ENTRY_LEN = 2,
	USED_ENTRY_LEN = 8,
	DESC_LEN = 16,
};

/* Feature bits [virtio-1.2 §6]. */
enum {
	FEATURE_INDIRECT_DESC = 28,
	FEATURE_EVENT_IDX = 29,
};

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

_Static_assert(sizeof(struct desc) == DESC_LEN, "as in guest memory");

/* --- Single-copy atomic accesses; every offset is aligned as virtq_start checked the rings --- */

static uint16_t load16(const void *ring, size_t offset)
{
	const uint16_t *at = (const void *)((const uint8_t *)ring + offset);

	return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static void store16(void *ring, size_t offset, uint16_t value)
{
	uint16_t *at = (void *)((uint8_t *)ring + offset);

	__atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

static void store32(void *ring, size_t offset, uint32_t value)
{
	uint32_t *at = (void *)((uint8_t *)ring + offset);

	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

static uint64_t load64(const void *ring, size_t offset)
{
	const uint64_t *at = (const void *)((const uint8_t *)ring + offset);

	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* --- Start and stop --- */

static void *map_ring(struct gmem *mem, gpa_t gpa, uint64_t len, uint64_t align)
{
	return is_aligned(gpa.v, align) ? gmem_ring_map(mem, gpa, len) : NULL;
}

static int bad_ring(const char *name, gpa_t gpa, struct error *err)
{
	return error_set(err, ERR_GUEST,
			 "The %s at guest address %#llx is unaligned or not in guest memory", name,
			 (unsigned long long)gpa.v);
}

/* Bytes of the rings. Both end in an event index, whether it is used or not [virtio-1.2 §2.7]. */
static uint64_t desc_len(const struct virtq *vq)
{
	return (uint64_t)vq->size * DESC_LEN;
}

static uint64_t avail_len(const struct virtq *vq)
{
	return RING_ENTRIES + (uint64_t)vq->size * AVAIL_ENTRY_LEN + sizeof(uint16_t);
}

static uint64_t used_len(const struct virtq *vq)
{
	return RING_ENTRIES + (uint64_t)vq->size * USED_ENTRY_LEN + sizeof(uint16_t);
}

/* Those that are mapped. */
static void unmap_rings(struct virtq *vq)
{
	if (vq->desc != NULL) {
		gmem_ring_unmap(vq->mem, vq->desc_gpa, desc_len(vq));
	}
	if (vq->avail != NULL) {
		gmem_ring_unmap(vq->mem, vq->avail_gpa, avail_len(vq));
	}
	if (vq->used != NULL) {
		gmem_ring_unmap(vq->mem, vq->used_gpa, used_len(vq));
	}
}

static int map_rings(struct virtq *vq, struct error *err)
{
	vq->desc = map_ring(vq->mem, vq->desc_gpa, desc_len(vq), 16);
	if (vq->desc == NULL) {
		return bad_ring("descriptor table", vq->desc_gpa, err);
	}
	vq->avail = map_ring(vq->mem, vq->avail_gpa, avail_len(vq), 2);
	if (vq->avail == NULL) {
		return bad_ring("available ring", vq->avail_gpa, err);
	}
	vq->used = map_ring(vq->mem, vq->used_gpa, used_len(vq), 4);
	if (vq->used == NULL) {
		return bad_ring("used ring", vq->used_gpa, err);
	}
	return 0;
}

int virtq_start(struct virtq *vq, const struct virtq_config *config, struct gmem *mem,
		uint64_t features, struct error *err)
{
	struct virtq started = {
		.mem = mem,
		.size = config->size,
		.has_event_idx = (features >> FEATURE_EVENT_IDX & 1) != 0,
		.has_indirect = (features >> FEATURE_INDIRECT_DESC & 1) != 0,
		.desc_gpa = config->desc,
		.avail_gpa = config->avail,
		.used_gpa = config->used,
	};
	uint64_t size = config->size;

	if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) != 0) {
		return error_set(err, ERR_GUEST,
				 "A queue size of %u is not a power of two up to %d",
				 (unsigned)size, VIRTQ_SIZE_MAX);
	}
	if (map_rings(&started, err) < 0) {
		unmap_rings(&started);
		return -1;
	}
	started.used_marks = gmem_ring_marks(mem, config->used, used_len(&started));
	*vq = started;
	return 0;
}

void virtq_stop(struct virtq *vq)
{
	unmap_rings(vq);
	*vq = (struct virtq){0};
}

void virtq_save(const struct virtq *vq, struct virtq_state *state)
{
	assert(vq->size != 0 && vq->published == vq->next_used);
	*state = (struct virtq_state){
		.size = vq->size,
		.has_event_idx = vq->has_event_idx,
		.has_indirect = vq->has_indirect,
		.desc = vq->desc_gpa,
		.avail = vq->avail_gpa,
		.used = vq->used_gpa,
		.next_avail = vq->next_avail,
		.next_used = vq->next_used,
	};
}

int virtq_restore(struct virtq *vq, const struct virtq_state *state, struct gmem *mem,
		  struct error *err)
{
	const struct virtq_config config = {
		.size = state->size,
		.is_ready = true,
		.desc = state->desc,
		.avail = state->avail,
		.used = state->used,
	};
	uint64_t features = (uint64_t)state->has_event_idx << FEATURE_EVENT_IDX |
			    (uint64_t)state->has_indirect << FEATURE_INDIRECT_DESC;
	uint16_t held = state->next_avail - state->next_used;

	if (virtq_start(vq, &config, mem, features, err) < 0) {
		return -1;
	}
	if (held > state->size) {
		virtq_stop(vq);
		return error_set(err, ERR_CORRUPT,
				 "A queue of %u entries can't have taken %u chains and given back "
				 "%u",
				 (unsigned)state->size, (unsigned)state->next_avail,
				 (unsigned)state->next_used);
	}
	vq->next_avail = state->next_avail;
	vq->next_used = state->next_used;
	vq->published = state->next_used;
	return 0;
}

void virtq_seek(struct virtq *vq, uint16_t index)
{
	assert(vq->size != 0);
	vq->next_avail = index;
	vq->next_used = index;
	vq->published = index;
}

/* --- Taking chains --- */

/*
 * The driver's index. An acquire at the least: pairs with the write barrier (or store-release) of
 * the driver between its entries and descriptors and this index, so what is loaded after it is as
 * it was then.
 */
static uint16_t avail_idx(const struct virtq *vq)
{
	return load16(vq->avail, RING_IDX);
}

static struct desc load_desc(const struct virtq *vq, uint16_t index)
{
	struct desc desc = {.addr = load64(vq->desc, (size_t)index * DESC_LEN)};
	uint64_t rest = load64(vq->desc, (size_t)index * DESC_LEN + sizeof(desc.addr));

	desc.len = (uint32_t)rest;
	desc.flags = (uint16_t)(rest >> 32);
	desc.next = (uint16_t)(rest >> 48);
	return desc;
}

static inline bool add_segment(const struct gmem *mem, struct virtq_chain *chain,
			       const struct desc *desc)
{
	bool is_writable = (desc->flags & DESC_WRITE) != 0;
	uint32_t *sum = is_writable ? &chain->write_len : &chain->read_len;

	if (!is_writable && chain->readable < chain->count) {
		return false;
	}
	if (desc->len == 0) {
		return true; /* allowed, and nothing to read or write [virtio-1.2 §2.7.5] */
	}
	if (chain->count >= VIRTQ_CHAIN_MAX || __builtin_add_overflow(*sum, desc->len, sum) ||
	    !gmem_contains(mem, GPA(desc->addr), desc->len)) {
		return false;
	}
	chain->segs[chain->count] = (struct virtq_seg){.gpa = GPA(desc->addr), .len = desc->len};
	chain->count++;
	if (!is_writable) {
		chain->readable = chain->count;
	}
	return true;
}

enum {
	WINDOW_LEN = 4 /* descriptors: a cache line, enough for most requests at once */
};

/*
 * Walks a table in guest memory. It is copied window by window; drivers chain its entries in their
 * order, so each is copied once, and one that they chain otherwise is still checked on its copy.
 */
static bool walk_indirect(const struct gmem *mem, struct virtq_chain *chain,
			  const struct desc *table)
{
	struct desc window[WINDOW_LEN] = {0};
	uint32_t table_count = table->len / DESC_LEN;
	uint32_t first = 0;
	uint32_t count = 0; /* in the window, from entry `first` on */
	uint32_t index = 0;

	if (table->len == 0 || table->len % DESC_LEN != 0 ||
	    !gmem_contains(mem, GPA(table->addr), table->len)) {
		return false;
	}
	for (unsigned steps = 0; steps < VIRTQ_CHAIN_MAX; steps++) {
		if (index < first || index >= first + count) {
			first = index;
			count = (uint32_t)min_u64(table_count - first, WINDOW_LEN);
			if (gmem_read(mem, GPA(table->addr + (uint64_t)first * DESC_LEN), window,
				      (size_t)count * DESC_LEN) < 0) {
				return false;
			}
		}
		const struct desc *desc = &window[index - first];

		if ((desc->flags & DESC_INDIRECT) != 0 || !add_segment(mem, chain, desc)) {
			return false;
		}
		if ((desc->flags & DESC_NEXT) == 0) {
			return true;
		}
		index = desc->next;
		if (index >= table_count) {
			return false;
		}
	}
	return false; /* longer than any chain, or a loop */
}

/* A table may end a chain of plain descriptors [virtio-1.2 §2.7.5.3.2]. */
static bool walk(const struct virtq *vq, struct virtq_chain *chain)
{
	uint16_t index = chain->head;

	for (unsigned steps = 0; steps < vq->size; steps++) {
		struct desc desc = load_desc(vq, index);

		if ((desc.flags & DESC_INDIRECT) != 0) {
			return vq->has_indirect && (desc.flags & DESC_NEXT) == 0 &&
			       walk_indirect(vq->mem, chain, &desc);
		}
		if (!add_segment(vq->mem, chain, &desc)) {
			return false;
		}
		if ((desc.flags & DESC_NEXT) == 0) {
			return true;
		}
		index = desc.next;
		if (index >= vq->size) {
			return false;
		}
	}
	return false; /* more steps than descriptors: a loop */
}

static void empty_chain(struct virtq_chain *chain, uint16_t head)
{
	chain->head = head;
	chain->count = 0;
	chain->readable = 0;
	chain->read_len = 0;
	chain->write_len = 0;
}

enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
	if (vq->size == 0) {
		return VIRTQ_EMPTY;
	}
	uint16_t pending = avail_idx(vq) - vq->next_avail;

	if (pending == 0) {
		return VIRTQ_EMPTY;
	}
	size_t slot = vq->next_avail & (vq->size - 1u);
	uint16_t head = load16(vq->avail, RING_ENTRIES + slot * AVAIL_ENTRY_LEN);

	if (pending > vq->size || head >= vq->size) {
		return VIRTQ_BROKEN;
	}
	vq->next_avail++;
	empty_chain(chain, head);
	if (!walk(vq, chain) || chain->count == 0) {
		empty_chain(chain, head);
		return VIRTQ_BAD;
	}
	return VIRTQ_OK;
}

uint16_t virtq_pending(struct virtq *vq)
{
	if (vq->size == 0) {
		return 0;
	}
	uint16_t pending = avail_idx(vq) - vq->next_avail;

	return pending <= vq->size ? pending : 0;
}

uint16_t virtq_held(const struct virtq *vq)
{
	return vq->next_avail - vq->next_used;
}

void virtq_rewind(struct virtq *vq, uint16_t count)
{
	if (vq->size != 0) {
		assert(count <= virtq_held(vq));
		vq->next_avail -= count;
	}
}

/* --- Giving back --- */

/* After stores that the driver can see. Entries are seen with the index, so pushing marks nothing.
 */
static void mark_used(const struct virtq *vq)
{
	if (vq->used_marks.words != NULL) {
		gmem_mark(&vq->used_marks);
	}
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	if (vq->size == 0) {
		return;
	}
	size_t slot = vq->next_used & (vq->size - 1u);

	store32(vq->used, RING_ENTRIES + slot * USED_ENTRY_LEN, head);
	store32(vq->used, RING_ENTRIES + slot * USED_ENTRY_LEN + sizeof(uint32_t), written);
	vq->next_used++;
}

bool virtq_publish(struct virtq *vq)
{
	uint16_t before = vq->published;
	uint16_t now = vq->next_used;

	if (now == before) {
		return false;
	}
	/*
	 * The store releases the entries and all data that was written for them: pairs with the
	 * driver's read barrier after it has loaded this index. The load below can't pass it: pairs
	 * with the driver's full barrier between its wish and its last look at this index.
	 */
	store16(vq->used, RING_IDX, now);
	mark_used(vq);
	vq->published = now;
	if (!vq->has_event_idx) {
		return (load16(vq->avail, RING_FLAGS) & AVAIL_NO_INTERRUPT) == 0;
	}
	uint16_t event = load16(vq->avail, RING_ENTRIES + (size_t)vq->size * AVAIL_ENTRY_LEN);

	/* Whether entry number `event` is among those just published [virtio-1.2 §2.7.7.2]. */
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtq_arm_kick_at(struct virtq *vq, uint16_t index)
{
	if (vq->size == 0) {
		return false;
	}
	/*
	 * The load can't pass the store: pairs with the driver's full barrier between its index and
	 * its look at our wish. Either it sees the wish, or we its index.
	 */
	if (vq->has_event_idx) {
		store16(vq->used, RING_ENTRIES + (size_t)vq->size * USED_ENTRY_LEN, index);
	} else {
		store16(vq->used, RING_FLAGS, 0);
	}
	mark_used(vq);
	uint16_t shown = load16(vq->avail, RING_IDX) - vq->next_avail;

	return shown > (uint16_t)(index - vq->next_avail);
}

bool virtq_arm_kick(struct virtq *vq)
{
	return virtq_arm_kick_at(vq, vq->next_avail);
}

void virtq_disarm_kick(struct virtq *vq)
{
	/* With the event index, the one that was last asked for is in the past soon enough. */
	if (vq->size != 0 && !vq->has_event_idx) {
		store16(vq->used, RING_FLAGS, USED_NO_NOTIFY);
		mark_used(vq);
	}
}
