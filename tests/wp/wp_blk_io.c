/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The iovecs of a step are some of its request's, and end where those end; or one that is a part of
 * one of them; or one of the overlay's own. Taken for granted: a request begins with as many iovecs
 * as its array has, and an overlay leaves them alone.
 *
 * Functions: iov_advance choose_part fill_with_zeroes next_range start_data go_on blk_io_start
 *	transfer_step own_step blk_io_call blk_io_step advance_transfer next_way advance_failed
 *	advance_own advance_data blk_io_advance fail
 */
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/uio.h>

/*@ assigns \nothing;
  @ ensures \result == (a < b ? a : b);
  @ exits \false;
  @*/
static inline uint64_t min_u64(uint64_t a, uint64_t b);

/*@ requires next <= end ==> \valid(iov + (next .. end - 1));
  @ assigns iov[next .. end - 1];
  @ ensures next <= end ==> next <= \result <= end;
  @*/
static inline size_t iov_advance(struct iovec *iov, size_t next, size_t end, uint64_t len);

#include "devices/virtio/blk/blk_io.h"
#include "devices/virtio/blk/blk_overlay.h"

/*@ predicate room(struct blk_io *io) =
  @	\valid(io) && \valid(io->iov + (0 .. VIRTQ_IOV_MAX - 1)) &&
  @	\separated(io, io->iov + (0 .. VIRTQ_IOV_MAX - 1)) &&
  @	0 <= io->iov_count <= VIRTQ_IOV_MAX;
  @ predicate fits(struct blk_io *io) =
  @	room(io) && 0 <= io->iov_next <= io->iov_count &&
  @	0 <= io->call_count <= io->iov_count - io->iov_next;
  @*/

/*@ assigns io->is_base, io->data_at; */
uint64_t blk_overlay_run(struct blk_io *io);

/*@ assigns io->phase, io->data_at, io->copy, io->is_flush_of_map; */
void blk_overlay_begin(struct blk_io *io);

/*@ assigns io->phase, io->own, io->own_offset, io->sys; */
bool blk_overlay_next(struct blk_io *io);

/*@ assigns io->phase, io->own, io->own_offset, io->sys; */
enum blk_progress blk_overlay_advance(struct blk_io *io, uint64_t done);

/*@ assigns io->copy; */
void blk_overlay_end(struct blk_io *io, bool is_done);

/*@ assigns *offset, *len; */
void blk_overlay_clip(const struct blk_overlay *of, uint64_t *offset, uint64_t *len);

/*@ assigns \nothing; */
void blk_overlay_note_discard(struct blk_overlay *of, uint64_t offset, uint64_t len);

/*@ assigns \nothing; */
static bool is_unknown_call(int sys);

/*@ requires fits(io);
  @ assigns io->sys;
  @ ensures fits(io);
  @*/
static enum blk_progress fail(struct blk_io *io, int sys);

/*@ requires room(io) && io->iov_next <= io->iov_count;
  @ assigns io->is_base, io->data_at, io->iov_next, io->call_count, io->call_len, io->part;
  @ ensures fits(io);
  @ ensures io->call_count == 0 && io->part.iov_len > 0 ==>
  @	io->iov_next < io->iov_count && io->part.iov_base == io->iov[io->iov_next].iov_base &&
  @	io->part.iov_len <= io->iov[io->iov_next].iov_len;
  @*/
static void choose_part(struct blk_io *io);

/*@ requires room(io);
  @ assigns io->iov_next, io->iov_count, io->iov[0 .. VIRTQ_IOV_MAX - 1], io->call_count,
  @	io->call_len;
  @ ensures fits(io);
  @*/
static void fill_with_zeroes(struct blk_io *io);

/*@ requires fits(io);
  @ assigns *io;
  @ ensures fits(io) && io->iov == \old(io->iov);
  @*/
static enum blk_progress next_range(struct blk_io *io);

/*@ requires fits(io);
  @ assigns *io;
  @ ensures fits(io) && io->iov == \old(io->iov);
  @*/
static enum blk_progress start_data(struct blk_io *io);

/*@ requires fits(io);
  @ assigns *io;
  @ ensures fits(io);
  @*/
static enum blk_progress go_on(struct blk_io *io, enum blk_progress progress);

/*@ requires room(io);
  @ assigns *io;
  @ ensures fits(io);
  @*/
enum blk_progress blk_io_start(struct blk_io *io);

/*@ requires \valid_read(io);
  @ assigns \nothing;
  @*/
enum blk_call blk_io_call(const struct blk_io *io);

/*@ predicate ends_in_time(struct blk_step step, struct blk_io *io) =
  @	step.iov_count == 0 || (step.iov == &io->part && step.iov_count == 1) ||
  @	(step.iov == &io->own && step.iov_count == 1) ||
  @	(step.iov == io->iov + io->iov_next &&
  @		io->iov_next + step.iov_count <= io->iov_count);
  @*/

/*@ requires fits((struct blk_io *)io);
  @ assigns \nothing;
  @ ensures ends_in_time(\result, (struct blk_io *)io);
  @*/
static struct blk_step transfer_step(const struct blk_io *io, enum blk_call call);

/*@ requires \valid_read(io);
  @ assigns \nothing;
  @ ensures ends_in_time(\result, (struct blk_io *)io);
  @*/
static struct blk_step own_step(const struct blk_io *io, enum blk_call call);

/*@ requires fits((struct blk_io *)io);
  @ assigns \nothing;
  @ ensures ends_in_time(\result, (struct blk_io *)io);
  @*/
struct blk_step blk_io_step(const struct blk_io *io);

/*@ requires fits(io);
  @ assigns *io, io->iov[0 .. VIRTQ_IOV_MAX - 1];
  @ ensures fits(io);
  @*/
static enum blk_progress advance_transfer(struct blk_io *io, uint64_t done);

/*@ requires fits(io);
  @ assigns *io, io->iov[0 .. VIRTQ_IOV_MAX - 1];
  @ ensures fits(io);
  @*/
static enum blk_progress next_way(struct blk_io *io);

/*@ requires fits(io);
  @ assigns *io, io->iov[0 .. VIRTQ_IOV_MAX - 1];
  @ ensures fits(io);
  @*/
static enum blk_progress advance_failed(struct blk_io *io, enum blk_call call, int sys);

/*@ requires fits(io);
  @ assigns *io;
  @ ensures fits(io);
  @*/
static enum blk_progress advance_own(struct blk_io *io, enum blk_call call, uint64_t done);

/*@ requires fits(io);
  @ assigns *io, io->iov[0 .. VIRTQ_IOV_MAX - 1];
  @ ensures fits(io);
  @*/
static enum blk_progress advance_data(struct blk_io *io, enum blk_call call, uint64_t done);

/*@ requires fits(io);
  @ assigns *io, io->iov[0 .. VIRTQ_IOV_MAX - 1];
  @ ensures fits(io);
  @*/
enum blk_progress blk_io_advance(struct blk_io *io, int64_t result);

#include "devices/virtio/blk/blk_io.c"
