/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay in use.
 *
 * Theory of operation. A bit of the map says that a cluster is the overlay's own; all others are
 * read from the base. Bits are set and never cleared, and zeroes are clusters of our own that are
 * holes in the file.
 *
 * A request to clusters that are all our own is that of a raw file, at another offset. One that
 * changes others (a write, zeroes, a discard of whole clusters) holds them in a struct blk_copy
 * until it ends, and whoever else would change them waits. It goes through phases: the first and
 * the last cluster are copied from the base if only a part of them is to be changed; then come the
 * calls for the data, as of a raw file; then the bits are set. So a cluster is read from the base
 * until all of it is in the overlay.
 *
 * When the file gets the bits depends on who has to survive what. A drive whose guest flushes
 * (is_deferred) gets them by its flushes: the data are synchronised, then the blocks of the map
 * written as they were before that, then they are synchronised. After a power loss the map names
 * nothing that is not there. A drive that is not flushed has its bits written by the request that
 * sets them, before it is answered: after a kill of the monitor alone nothing is missing. The
 * write's source is a map besides (`stored`), so that a cluster is used when its bit is written.
 *
 * Writes of the map may overtake each other. Each takes the bytes when it is made, under the lock
 * that the kernel has for writes to a file, so that the last one has the bits of all before it.
 */
#include "devices/virtio/blk/blk_overlay.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"

enum {
	BITS_OF_WORD = 64,
};

static uint64_t cluster_len(const struct blk_overlay *overlay)
{
	return UINT64_C(1) << overlay->head.cluster_shift;
}

static uint64_t cluster_of(const struct blk_overlay *overlay, uint64_t offset)
{
	return offset >> overlay->head.cluster_shift;
}

/* The clusters of some bytes, at least one; `end` is behind the last. */
static uint64_t cluster_end(const struct blk_overlay *overlay, uint64_t offset, uint64_t len)
{
	return cluster_of(overlay, offset + len - 1) + 1;
}

static bool is_own(const struct blk_overlay *overlay, uint64_t first, uint64_t end)
{
	return overlay_find(overlay->own, first, end, false) == end;
}

int blk_overlay_new(const struct overlay_head *head, const char *path, int *base_fd,
		    struct blk_overlay **out, struct error *err)
{
	struct blk_overlay *overlay = calloc(1, sizeof(*overlay));
	size_t map_len = (size_t)overlay_map_len(head);

	if (overlay == NULL) {
		return error_sys(err, "Cannot allocate an overlay");
	}
	overlay->head = *head;
	overlay->data_at = overlay_data_at(head);
	overlay->base_fd = -1;
	overlay->block_count = map_len / OVERLAY_BLOCK;
	overlay->path = strdup(path);
	overlay->own = calloc(1, map_len);
	overlay->stored = calloc(1, map_len);
	overlay->dirty = calloc(1, overlay->block_count);
	overlay->flushed = calloc(1, overlay->block_count);
	overlay->buffers = calloc(BLK_COPIES_MAX, cluster_len(overlay));
	if (overlay->path == NULL || overlay->own == NULL || overlay->stored == NULL ||
	    overlay->dirty == NULL || overlay->flushed == NULL || overlay->buffers == NULL) {
		blk_overlay_free(overlay);
		return error_sys(err, "Cannot allocate the map of an overlay");
	}
	for (unsigned i = 0; i < BLK_COPIES_MAX; i++) {
		overlay->copies[i].buffer = overlay->buffers + i * cluster_len(overlay);
	}
	overlay->base_fd = fd_take(base_fd);
	*out = overlay;
	return 0;
}

void blk_overlay_free(struct blk_overlay *overlay)
{
	if (overlay == NULL) {
		return;
	}
	fd_close(&overlay->base_fd);
	free(overlay->path);
	free(overlay->own);
	free(overlay->stored);
	free(overlay->dirty);
	free(overlay->flushed);
	free(overlay->buffers);
	free(overlay);
}

int blk_overlay_use(struct blk_overlay *overlay, int fd, bool is_deferred, struct error *err)
{
	size_t map_len = (size_t)overlay_map_len(&overlay->head);

	if (overlay->is_used) {
		memset(overlay->own, 0, map_len);
		memset(overlay->stored, 0, map_len);
	}
	overlay->is_used = true;
	overlay->is_deferred = is_deferred;
	if (overlay_read_map(fd, &overlay->head, overlay->own, err) < 0) {
		return -1;
	}
	for (uint64_t i = 0; i < map_len / sizeof(*overlay->own) && !is_deferred; i++) {
		if (overlay->own[i] != 0) {
			overlay->stored[i] = overlay->own[i];
		}
	}
	return 0;
}

/* --- Which file --- */

uint64_t blk_overlay_run(struct blk_io *io)
{
	const struct blk_overlay *overlay = io->overlay;
	uint64_t first = cluster_of(overlay, io->offset);
	uint64_t end = cluster_end(overlay, io->offset, io->len);

	io->is_base = !is_own(overlay, first, first + 1);
	io->data_at = io->is_base ? 0 : overlay->data_at;
	uint64_t next = overlay_find(overlay->own, first, end, io->is_base);

	return next == end ? io->len : (next << overlay->head.cluster_shift) - io->offset;
}

/* The disk may end within a cluster: what lies behind its end is covered. */
static bool covers_end(const struct blk_overlay *overlay, uint64_t offset)
{
	return is_aligned(offset, cluster_len(overlay)) || offset == overlay->head.disk_len;
}

void blk_overlay_clip(const struct blk_overlay *overlay, uint64_t *offset, uint64_t *len)
{
	uint64_t start = *offset;
	uint64_t end = start + *len;
	uint64_t first = cluster_of(overlay, start);
	uint64_t last = cluster_end(overlay, start, *len) - 1;

	if (!is_aligned(start, cluster_len(overlay)) && !is_own(overlay, first, first + 1)) {
		start = align_up(start, cluster_len(overlay));
	}
	if (!covers_end(overlay, end) && !is_own(overlay, last, last + 1)) {
		end = align_down(end, cluster_len(overlay));
	}
	*offset = start;
	*len = end > start ? end - start : 0;
}

/* --- Who changes what --- */

/* The clusters that a request changes and that are not all our own; false: there are none. */
static bool find_changed(const struct blk_io *io, uint64_t *first, uint64_t *end)
{
	const struct blk_overlay *overlay = io->overlay;

	*first = UINT64_MAX;
	*end = 0;
	if (io->op == BLK_OP_WRITE) {
		*first = cluster_of(overlay, io->offset);
		*end = cluster_end(overlay, io->offset, io->len);
		return !is_own(overlay, *first, *end);
	}
	if (io->op != BLK_OP_DISCARD && io->op != BLK_OP_ZEROES) {
		return false;
	}
	bool is_changed = false;

	for (unsigned i = 0; i < io->range_count; i++) {
		uint64_t offset = io->ranges[i].offset;
		uint64_t len = io->ranges[i].len;

		if (len > 0 && io->op == BLK_OP_DISCARD) {
			blk_overlay_clip(overlay, &offset, &len);
		}
		if (len > 0) {
			uint64_t from = cluster_of(overlay, offset);
			uint64_t to = cluster_end(overlay, offset, len);

			*first = min_u64(*first, from);
			*end = max_u64(*end, to);
			is_changed = is_changed || !is_own(overlay, from, to);
		}
	}
	return is_changed;
}

bool blk_overlay_must_wait(const struct blk_io *io)
{
	const struct blk_overlay *overlay = io->overlay;
	uint64_t first, end;

	if (io->op == BLK_OP_FLUSH) {
		return overlay->is_flushing;
	}
	if (overlay->copy_count == 0 || !find_changed(io, &first, &end)) {
		return false;
	}
	for (unsigned i = 0; i < BLK_COPIES_MAX; i++) {
		const struct blk_copy *copy = &overlay->copies[i];

		if (copy->is_used && first < copy->end && copy->first < end) {
			return true;
		}
	}
	return overlay->copy_count == BLK_COPIES_MAX;
}

static struct blk_copy *take_copy(struct blk_overlay *overlay)
{
	struct blk_copy *copy = overlay->copies;

	while (copy->is_used) {
		copy++; /* there is one: see blk_overlay_must_wait */
	}
	copy->is_used = true;
	copy->partial_count = 0;
	copy->partial_next = 0;
	overlay->copy_count++;
	return copy;
}

static void give_copy(struct blk_overlay *overlay, struct blk_copy *copy)
{
	copy->is_used = false;
	overlay->copy_count--;
}

static void add_partial(const struct blk_overlay *overlay, struct blk_copy *copy, uint64_t cluster)
{
	bool is_there = copy->partial_count > 0 && copy->partial[0] == cluster;

	if (!is_there && !is_own(overlay, cluster, cluster + 1)) {
		copy->partial[copy->partial_count++] = cluster;
	}
}

/* --- The map --- */

static void note(struct blk_overlay *overlay, uint64_t first, uint64_t end)
{
	if (!overlay->is_deferred) {
		overlay_set(overlay->stored, first, end);
		return;
	}
	uint64_t last_block = (end - 1) / 8 / OVERLAY_BLOCK;

	overlay_set(overlay->own, first, end);
	for (uint64_t block = first / 8 / OVERLAY_BLOCK; block <= last_block; block++) {
		overlay->dirty[block] = 1;
	}
}

void blk_overlay_note_discard(struct blk_overlay *overlay, uint64_t offset, uint64_t len)
{
	note(overlay, cluster_of(overlay, offset), cluster_end(overlay, offset, len));
}

/*
 * Within the clusters of a request, which nobody else changes meanwhile. A bit that an earlier one
 * failed to write may be among them: all of its cluster was there by then, and still is.
 */
static void take_stored(struct blk_overlay *overlay, const struct blk_copy *copy)
{
	for (uint64_t at = copy->first; at < copy->end;) {
		uint64_t count = min_u64(BITS_OF_WORD - at % BITS_OF_WORD, copy->end - at);
		uint64_t bits = count == BITS_OF_WORD ? UINT64_MAX : (UINT64_C(1) << count) - 1;
		uint64_t mask = bits << at % BITS_OF_WORD;

		overlay->own[at / BITS_OF_WORD] |= overlay->stored[at / BITS_OF_WORD] & mask;
		at += count;
	}
}

static void move(struct blk_io *io, enum blk_phase phase, void *memory, uint64_t offset, size_t len)
{
	io->phase = phase;
	io->own = (struct iovec){memory, len};
	io->own_offset = offset;
}

/* --- Flushes --- */

/* What was written before is synchronised by this flush, so its bits may be written after that. */
static void begin_flush(struct blk_overlay *overlay)
{
	for (uint64_t i = 0; overlay->is_deferred && i < overlay->block_count; i++) {
		if (overlay->dirty[i]) {
			size_t at = (size_t)i * OVERLAY_BLOCK;

			memcpy((uint8_t *)overlay->stored + at, (uint8_t *)overlay->own + at,
			       OVERLAY_BLOCK);
			overlay->dirty[i] = 0;
			overlay->flushed[i] = 1;
			overlay->is_flushing = true;
		}
	}
}

static void end_flush(struct blk_overlay *overlay, bool is_done)
{
	for (uint64_t i = 0; overlay->is_flushing && i < overlay->block_count; i++) {
		overlay->dirty[i] |= !is_done && overlay->flushed[i];
		overlay->flushed[i] = 0;
	}
	overlay->is_flushing = false;
}

bool blk_overlay_is_dirty(const struct blk_overlay *overlay)
{
	return memchr(overlay->dirty, 1, overlay->block_count) != NULL;
}

/* Writes the next blocks that lie side by side, from `block` on; false: there are none. */
static bool write_blocks(struct blk_io *io, uint64_t block)
{
	struct blk_overlay *overlay = io->overlay;
	uint64_t end;

	while (block < overlay->block_count && !overlay->flushed[block]) {
		block++;
	}
	for (end = block; end < overlay->block_count && overlay->flushed[end];) {
		end++;
	}
	if (block == end) {
		return false;
	}
	move(io, BLK_PHASE_MAP, (uint8_t *)overlay->stored + block * OVERLAY_BLOCK,
	     OVERLAY_MAP_AT + block * OVERLAY_BLOCK, (size_t)(end - block) * OVERLAY_BLOCK);
	return true;
}

/* --- Phases --- */

void blk_overlay_begin(struct blk_io *io)
{
	struct blk_overlay *overlay = io->overlay;
	uint64_t first, end;

	io->phase = BLK_PHASE_BEGIN;
	io->data_at = overlay->data_at;
	io->is_flush_of_map = false;
	if (io->op == BLK_OP_FLUSH) {
		begin_flush(overlay);
		io->is_flush_of_map = overlay->is_flushing;
		return;
	}
	if (!find_changed(io, &first, &end)) {
		return;
	}
	struct blk_copy *copy = take_copy(overlay);
	uint64_t offset = io->op == BLK_OP_WRITE ? io->offset : io->ranges[0].offset;
	uint64_t len = io->op == BLK_OP_WRITE ? io->len : io->ranges[0].len;

	io->copy = copy;
	copy->first = first;
	copy->end = end;
	if (io->op == BLK_OP_DISCARD) {
		return;
	}
	_Static_assert(BLK_ZEROES_RANGES_MAX == 1, "zeroes have one first and one last cluster");
	if (!is_aligned(offset, cluster_len(overlay))) {
		add_partial(overlay, copy, first);
	}
	if (!covers_end(overlay, offset + len)) {
		add_partial(overlay, copy, end - 1);
	}
}

static void read_cluster(struct blk_io *io)
{
	const struct blk_overlay *overlay = io->overlay;
	uint64_t at = io->copy->partial[io->copy->partial_next] << overlay->head.cluster_shift;
	uint64_t len = min_u64(cluster_len(overlay), overlay->head.disk_len - at);

	move(io, BLK_PHASE_READ, io->copy->buffer, at, (size_t)len);
}

static void write_cluster(struct blk_io *io)
{
	const struct blk_overlay *overlay = io->overlay;
	uint64_t at = io->copy->partial[io->copy->partial_next++] << overlay->head.cluster_shift;
	uint64_t len = min_u64(cluster_len(overlay), overlay->head.disk_len - at);

	move(io, BLK_PHASE_WRITE, io->copy->buffer, overlay->data_at + at, (size_t)len);
}

/* The data are there. */
static bool begin_map(struct blk_io *io)
{
	struct blk_overlay *overlay = io->overlay;
	const struct blk_copy *copy = io->copy;

	if (io->op == BLK_OP_FLUSH) {
		return io->is_flush_of_map && write_blocks(io, 0);
	}
	if (copy == NULL) {
		return false;
	}
	if (io->op != BLK_OP_DISCARD) {
		note(overlay, copy->first, copy->end);
	}
	if (overlay->is_deferred) {
		return false;
	}
	uint64_t from = copy->first / 8;

	move(io, BLK_PHASE_MAP, (uint8_t *)overlay->stored + from, OVERLAY_MAP_AT + from,
	     (size_t)((copy->end + 7) / 8 - from));
	return true;
}

static bool end_map(struct blk_io *io)
{
	if (io->op != BLK_OP_FLUSH) {
		take_stored(io->overlay, io->copy);
		return false;
	}
	if (!write_blocks(io, (io->own_offset - OVERLAY_MAP_AT) / OVERLAY_BLOCK)) {
		io->phase = BLK_PHASE_SYNC;
	}
	return true;
}

bool blk_overlay_next(struct blk_io *io)
{
	switch (io->phase) {
	case BLK_PHASE_BEGIN:
	case BLK_PHASE_WRITE:
		if (io->copy != NULL && io->copy->partial_next < io->copy->partial_count) {
			read_cluster(io);
		} else {
			io->phase = BLK_PHASE_DATA;
		}
		return true;
	case BLK_PHASE_READ:
		write_cluster(io);
		return true;
	case BLK_PHASE_DATA:
		return begin_map(io);
	case BLK_PHASE_MAP:
		return end_map(io);
	case BLK_PHASE_SYNC:
		break;
	}
	return false;
}

enum blk_progress blk_overlay_advance(struct blk_io *io, uint64_t done)
{
	if (io->phase == BLK_PHASE_SYNC) {
		return BLK_IO_DONE;
	}
	io->own.iov_base = (uint8_t *)io->own.iov_base + done;
	io->own.iov_len -= done;
	io->own_offset += done;
	return io->own.iov_len > 0 ? BLK_IO_MORE : BLK_IO_DONE;
}

void blk_overlay_end(struct blk_io *io, bool is_done)
{
	struct blk_overlay *overlay = io->overlay;

	if (io->is_flush_of_map) {
		end_flush(overlay, is_done);
	}
	if (io->copy != NULL) {
		give_copy(overlay, io->copy);
		io->copy = NULL;
	}
}

void blk_overlay_forget(struct blk_overlay *overlay)
{
	end_flush(overlay, false);
	for (unsigned i = 0; i < BLK_COPIES_MAX; i++) {
		if (overlay->copies[i].is_used) {
			give_copy(overlay, &overlay->copies[i]);
		}
	}
}
