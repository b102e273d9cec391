/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues [virtio-1.2 §2.7].
 *
 * Theory of operation
 *
 * Three rings lie in guest memory: descriptors and available entries, which the driver writes, and
 * used entries, which we write. The driver runs at the same time and may be hostile, so
 *
 * - what it writes is loaded once, by one atomic access that the compiler can't repeat, and checked
 *   on the copy; a chain is copied whole before its device sees it;
 * - what is ours (next_avail, next_used, published) is kept here and never read back;
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
#include "devices/virtio/virtq.h"

#include "vmm/base/bytes.h"

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

/* --- single-copy atomic accesses; every offset is aligned as virtq_start checked the rings --- */

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

/* --- start and stop --- */

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

int virtq_start(struct virtq *vq, const struct virtq_config *config, struct gmem *mem,
		uint64_t features, struct error *err)
{
	struct virtq started = {
		.mem = mem,
		.size = config->size,
		.has_event_idx = (features >> FEATURE_EVENT_IDX & 1) != 0,
		.has_indirect = (features >> FEATURE_INDIRECT_DESC & 1) != 0,
	};
	uint64_t size = config->size;

	if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) != 0) {
		return error_set(err, ERR_GUEST,
				 "A queue size of %u is not a power of two up to %d",
				 (unsigned)size, VIRTQ_SIZE_MAX);
	}
	/* Both rings end in an event index, whether it is used or not [virtio-1.2 §2.7]. */
	uint64_t avail_len = RING_ENTRIES + size * AVAIL_ENTRY_LEN + sizeof(uint16_t);
	uint64_t used_len = RING_ENTRIES + size * USED_ENTRY_LEN + sizeof(uint16_t);

	started.desc = map_ring(mem, config->desc, size * DESC_LEN, 16);
	if (started.desc == NULL) {
		return bad_ring("descriptor table", config->desc, err);
	}
	started.avail = map_ring(mem, config->avail, avail_len, 2);
	if (started.avail == NULL) {
		return bad_ring("available ring", config->avail, err);
	}
	started.used = map_ring(mem, config->used, used_len, 4);
	if (started.used == NULL) {
		return bad_ring("used ring", config->used, err);
	}
	*vq = started;
	return 0;
}

void virtq_stop(struct virtq *vq)
{
	*vq = (struct virtq){0};
}

/* --- taking chains --- */

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

static bool add_segment(const struct gmem *mem, struct virtq_chain *chain, const struct desc *desc)
{
	bool is_writable = (desc->flags & DESC_WRITE) != 0;
	uint32_t *sum = is_writable ? &chain->write_len : &chain->read_len;

	if (desc->len == 0 || chain->count >= VIRTQ_CHAIN_MAX ||
	    (!is_writable && chain->readable < chain->count) ||
	    __builtin_add_overflow(*sum, desc->len, sum) ||
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
	WINDOW_LEN = 16 /* descriptors: a few cache lines, enough for most requests at once */
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
	/* Ends by add_segment at the latest, when the chain is full. */
	for (;;) {
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
	if (!walk(vq, chain)) {
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

void virtq_undo_pop(struct virtq *vq)
{
	vq->next_avail--;
}

/* --- giving back --- */

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
	vq->published = now;
	if (!vq->has_event_idx) {
		return (load16(vq->avail, RING_FLAGS) & AVAIL_NO_INTERRUPT) == 0;
	}
	uint16_t event = load16(vq->avail, RING_ENTRIES + (size_t)vq->size * AVAIL_ENTRY_LEN);

	/* Whether entry number `event` is among those just published [virtio-1.2 §2.7.7.2]. */
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtq_arm_kick(struct virtq *vq)
{
	if (vq->size == 0) {
		return false;
	}
	/*
	 * The load can't pass the store: pairs with the driver's full barrier between its index and
	 * its look at our wish. Either it sees the wish, or we its index.
	 */
	if (vq->has_event_idx) {
		store16(vq->used, RING_ENTRIES + (size_t)vq->size * USED_ENTRY_LEN, vq->next_avail);
	} else {
		store16(vq->used, RING_FLAGS, 0);
	}
	return load16(vq->avail, RING_IDX) != vq->next_avail;
}

void virtq_disarm_kick(struct virtq *vq)
{
	/* With the event index, the one that was last asked for is in the past soon enough. */
	if (vq->size != 0 && !vq->has_event_idx) {
		store16(vq->used, RING_FLAGS, USED_NO_NOTIFY);
	}
}

/* --- the bytes of a chain --- */

/* Goes through the parts of a span that lie in one segment each. */
struct cursor {
	const struct virtq_chain *chain;
	unsigned index; /* of the segment */
	unsigned end;	/* of its side */
	uint32_t offset;
	uint32_t left;
};

static bool cursor_init(struct cursor *cursor, const struct virtq_chain *chain,
			struct virtq_span span)
{
	bool is_readable = span.side == VIRTQ_READABLE;
	uint32_t side_len = is_readable ? chain->read_len : chain->write_len;

	*cursor = (struct cursor){
		.chain = chain,
		.index = is_readable ? 0 : chain->readable,
		.end = is_readable ? chain->readable : chain->count,
		.offset = span.offset,
		.left = span.len,
	};
	return span.offset <= side_len && span.len <= side_len - span.offset;
}

/* The next part, or one of no length at the end. */
static struct virtq_seg cursor_next(struct cursor *cursor)
{
	for (; cursor->left > 0 && cursor->index < cursor->end; cursor->index++) {
		const struct virtq_seg *seg = &cursor->chain->segs[cursor->index];

		if (cursor->offset >= seg->len) {
			cursor->offset -= seg->len;
			continue;
		}
		struct virtq_seg part = {
			.gpa = GPA(seg->gpa.v + cursor->offset),
			.len = (uint32_t)min_u64(cursor->left, seg->len - cursor->offset),
		};

		cursor->left -= part.len;
		cursor->offset = 0;
		cursor->index++;
		return part;
	}
	return (struct virtq_seg){0};
}

int virtq_chain_read(const struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		     void *buf, size_t len)
{
	struct virtq_span span = {.side = VIRTQ_READABLE, .offset = offset, .len = (uint32_t)len};
	struct cursor cursor;
	uint8_t *to = buf;

	if (len > UINT32_MAX || !cursor_init(&cursor, chain, span)) {
		return -1;
	}
	for (struct virtq_seg part = cursor_next(&cursor); part.len > 0;
	     part = cursor_next(&cursor)) {
		if (gmem_read(mem, part.gpa, to, part.len) < 0) {
			return -1;
		}
		to += part.len;
	}
	return 0;
}

int virtq_chain_write(struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		      const void *buf, size_t len)
{
	struct virtq_span span = {.side = VIRTQ_WRITABLE, .offset = offset, .len = (uint32_t)len};
	struct cursor cursor;
	const uint8_t *from = buf;

	if (len > UINT32_MAX || !cursor_init(&cursor, chain, span)) {
		return -1;
	}
	for (struct virtq_seg part = cursor_next(&cursor); part.len > 0;
	     part = cursor_next(&cursor)) {
		if (gmem_write(mem, part.gpa, from, part.len) < 0) {
			return -1;
		}
		from += part.len;
	}
	return 0;
}

/* Adds one iovec, to the last one if they touch; `first` is the first that may grow. */
static bool add_iovec(struct virtq_iov *iov, size_t first, const struct iovec *part)
{
	if (iov->count > first) {
		struct iovec *last = &iov->iov[iov->count - 1];

		if ((uintptr_t)last->iov_base + last->iov_len == (uintptr_t)part->iov_base) {
			last->iov_len += part->iov_len;
			return true;
		}
	}
	if (iov->count == iov->cap) {
		return false;
	}
	iov->iov[iov->count++] = *part;
	return true;
}

int virtq_chain_iov(struct gmem *mem, const struct virtq_chain *chain, struct virtq_span span,
		    struct virtq_iov *iov)
{
	struct cursor cursor;
	size_t first = iov->count;

	if (!cursor_init(&cursor, chain, span)) {
		return -1;
	}
	for (struct virtq_seg part = cursor_next(&cursor); part.len > 0;
	     part = cursor_next(&cursor)) {
		struct iovec parts[GMEM_REGIONS_MAX] = {0};
		size_t count = 0;

		if (gmem_iov(mem, part.gpa, part.len, parts, GMEM_REGIONS_MAX, &count) < 0) {
			goto fail;
		}
		for (size_t i = 0; i < count; i++) {
			if (!add_iovec(iov, first, &parts[i])) {
				goto fail;
			}
		}
	}
	return 0;
fail:
	iov->count = first;
	return -1;
}
