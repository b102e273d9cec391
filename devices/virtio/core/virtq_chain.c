/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a chain: copied, or described for a system call. */
#include "devices/virtio/core/virtq_chain.h"

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/bytes.h"

/* Goes through the parts of a span that lie in one segment each. */
struct cursor {
	const struct virtq_chain *chain;
	unsigned index; /* of the segment */
	unsigned end;	/* of its side */
	uint32_t offset;
	uint32_t left;
};

/*@ requires \valid(cursor);
  @ assigns *cursor;
  @ ensures cursor->left == span.len;
  @*/
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
/*@ requires \valid(cursor);
  @ assigns *cursor;
  @ ensures cursor->left + \result.len == \old(cursor->left);
  @*/
static struct virtq_seg cursor_next(struct cursor *cursor)
{
	/*@ loop invariant cursor->left == \at(cursor->left, Pre);
	  @ loop assigns *cursor;
	  @*/
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

/* All of the span lies in the first segment of its side, as headers do; false also for nothing. */
static bool is_in_first(const struct virtq_chain *chain, const struct virtq_span *span,
			struct virtq_seg *part)
{
	unsigned first = span->side == VIRTQ_READABLE ? 0 : chain->readable;
	unsigned end = span->side == VIRTQ_READABLE ? chain->readable : chain->count;

	if (first >= end || span->len == 0 || span->offset > chain->segs[first].len ||
	    span->len > chain->segs[first].len - span->offset) {
		return false;
	}
	*part = (struct virtq_seg){GPA(chain->segs[first].gpa.v + span->offset), span->len};
	return true;
}

int virtq_chain_read(const struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		     void *buf, size_t len)
{
	struct virtq_span span = {.side = VIRTQ_READABLE, .offset = offset, .len = (uint32_t)len};
	struct virtq_seg whole = {0};
	struct cursor cursor;
	uint8_t *to = buf;

	if (len <= UINT32_MAX && is_in_first(chain, &span, &whole)) {
		return gmem_read(mem, whole.gpa, buf, len);
	}
	if (len > UINT32_MAX || !cursor_init(&cursor, chain, span)) {
		return -1;
	}
	/*@ loop invariant cursor.left + part.len <= len;
	  @ loop invariant to == (uint8_t *)buf + (len - cursor.left - part.len);
	  @ loop assigns part, cursor, to, ((uint8_t *)buf)[0 .. len - 1];
	  @*/
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
	/*@ loop invariant cursor.left + part.len <= len;
	  @ loop invariant from == (const uint8_t *)buf + (len - cursor.left - part.len);
	  @ loop assigns part, cursor, from;
	  @*/
	for (struct virtq_seg part = cursor_next(&cursor); part.len > 0;
	     part = cursor_next(&cursor)) {
		if (gmem_write(mem, part.gpa, from, part.len) < 0) {
			return -1;
		}
		from += part.len;
	}
	return 0;
}

/* Adds one iovec, to the last one if they touch. */
static bool add_iovec(struct virtq_iov *iov, const struct iovec *part)
{
	if (iov->count > iov->first) {
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

/* They may lie behind the list, where they come. */
static inline bool add_parts(struct virtq_iov *iov, const struct iovec *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!add_iovec(iov, &parts[i])) {
			return false;
		}
	}
	return true;
}

/* Of a list that is nearly full. */
static NOINLINE bool add_last(struct gmem *mem, const struct gmem_range *range,
			      enum gmem_access access, struct virtq_iov *iov)
{
	struct iovec parts[GMEM_REGIONS_MAX] = {0};
	size_t count = 0;

	return gmem_iov(mem, *range, access, parts, &count) == 0 && add_parts(iov, parts, count);
}

/*
 * Adds the iovecs of a segment, of which there are several only across regions. Where the list has
 * room for so many they are made in their places.
 */
static bool add_segment(struct gmem *mem, const struct virtq_seg *seg, enum gmem_access access,
			struct virtq_iov *iov)
{
	const struct gmem_range range = {seg->gpa, seg->len};
	size_t count = 0;

	if (iov->cap - iov->count < GMEM_REGIONS_MAX) {
		return add_last(mem, &range, access, iov);
	}
	struct iovec *parts = iov->iov + iov->count;

	return gmem_iov(mem, range, access, parts, &count) == 0 && add_parts(iov, parts, count);
}

int virtq_chain_iov(struct gmem *mem, const struct virtq_chain *chain, struct virtq_span span,
		    struct virtq_iov *iov)
{
	enum gmem_access access = span.side == VIRTQ_READABLE ? GMEM_READ : GMEM_WRITE;
	size_t before = iov->count;
	struct iovec last = {0};
	struct virtq_seg whole = {0};
	struct cursor cursor;
	bool is_added = true;

	if (before > iov->first) {
		last = iov->iov[before - 1];
	}
	if (is_in_first(chain, &span, &whole)) {
		is_added = add_segment(mem, &whole, access, iov);
	} else if (!cursor_init(&cursor, chain, span)) {
		return -1;
	} else {
		for (struct virtq_seg part = cursor_next(&cursor); is_added && part.len > 0;
		     part = cursor_next(&cursor)) {
			is_added = add_segment(mem, &part, access, iov);
		}
	}
	if (is_added) {
		return 0;
	}
	iov->count = before;
	if (before > iov->first) {
		iov->iov[before - 1] = last;
	}
	return -1;
}
