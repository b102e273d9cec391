/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests in flight.
 *
 * Theory of operation. A request has a slot from queueing to its end, and at most one entry in the
 * ring, whose user_data is the slot's number. There are as many slots as entries, so the submission
 * queue has room for every slot, and the completion queue, which is twice as long, can't overflow.
 * A request that takes several calls (blk_io.h) is queued again with each.
 *
 * Entries are handed to the kernel when the owner looks for ends, once for all that it queued. If
 * the kernel does not take them (out of memory), they are withdrawn and done at once on this
 * thread: late, but never lost.
 *
 * The kernel does what it can in the submitting thread, such as a read of cached data. The calls of
 * a long request are left to its worker threads, so that they hold up nothing else. So are all
 * calls while an fallocate is in flight: it holds a lock of the file (mapping.invalidate_lock), for
 * which reading ahead waits even where the kernel was told not to wait.
 *
 * The ring is restricted to four operations on registered files, of which there are but the
 * drive's and its base, so that whoever gets hold of it can do no more than this device does. It
 * has none of the flags that tie it to one thread: a reset waits on a vCPU's thread. What the
 * kernel has to do on the submitting thread it does all the same, whatever that thread is doing.
 */
#include "devices/virtio/blk/blk_uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "devices/virtio/blk/blk_sync.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	FILES = 2, /* a file and its base */
};

struct blk_uring {
	/* immutable */
	bool has_ring;
	unsigned entries;
	/* under the owner's lock */
	int fd;		/* the owner's */
	int file_index; /* where it is registered, with its base next; the other two are free */
	struct io_uring ring;
	unsigned queued;     /* entries that the kernel did not take yet */
	unsigned in_kernel;  /* entries whose completion was not seen yet */
	unsigned allocating; /* requests whose call is an fallocate */
	unsigned free_count;
	uint8_t free[BLK_URING_ENTRIES]; /* slots */
	unsigned withdrawn_count;
	uint8_t withdrawn[BLK_URING_ENTRIES]; /* slots that are to be done without the ring */
	struct blk_io ios[BLK_URING_ENTRIES];
	struct iovec iovs[][VIRTQ_IOV_MAX]; /* per slot */
};

_Static_assert(BLK_URING_ENTRIES <= UINT8_MAX + 1, "slots fit in a byte");

static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction rules[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		 .sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC},
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
		 .register_op = IORING_REGISTER_FILES_UPDATE},
	};

	return io_uring_register_restrictions(ring, rules, ARRAY_COUNT(rules));
}

static int set_up_ring(struct blk_uring *uring, int base_fd)
{
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	const int files[2 * FILES] = {uring->fd, base_fd, -1, -1};
	int rc = io_uring_queue_init_params(uring->entries, &uring->ring, &params);

	if (rc < 0) {
		return rc;
	}
	uring->has_ring = true;
	rc = io_uring_register_files(&uring->ring, files, ARRAY_COUNT(files));
	rc = rc < 0 ? rc : restrict_ring(&uring->ring);
	/* Else a process that is forked would keep the ring, and the file. */
	rc = rc < 0 ? rc : io_uring_ring_dontfork(&uring->ring);
	return rc < 0 ? rc : io_uring_enable_rings(&uring->ring);
}

int blk_uring_new(int fd, int base_fd, unsigned entries, struct blk_uring **out)
{
	/* So large that it is a mapping of its own: pages that no request needs are not used. */
	struct blk_uring *uring = calloc(1, sizeof(*uring) + entries * sizeof(*uring->iovs));
	int rc = -ENOMEM;

	if (uring != NULL) {
		uring->fd = fd;
		uring->entries = entries;
		rc = set_up_ring(uring, base_fd);
	}
	if (rc < 0) {
		blk_uring_free(uring);
		errno = -rc;
		return -1;
	}
	for (unsigned i = 0; i < entries; i++) {
		uring->free[uring->free_count++] = (uint8_t)i;
	}
	*out = uring;
	return 0;
}

void blk_uring_free(struct blk_uring *uring)
{
	if (uring == NULL) {
		return;
	}
	if (uring->has_ring) {
		blk_uring_abandon(uring);
		io_uring_queue_exit(&uring->ring);
	}
	free(uring);
}

int blk_uring_event_fd(const struct blk_uring *uring)
{
	return uring->ring.ring_fd;
}

struct blk_io *blk_uring_slot(struct blk_uring *uring)
{
	if (uring->free_count == 0) {
		return NULL;
	}
	unsigned slot = uring->free[uring->free_count - 1];

	uring->ios[slot].iov = uring->iovs[slot];
	return &uring->ios[slot];
}

static bool is_allocating(const struct blk_io *io)
{
	return blk_io_call(io) == BLK_CALL_FALLOCATE;
}

/* Before the request of the slot is advanced: its call has ended. */
static void note_end(struct blk_uring *uring, unsigned slot)
{
	uring->allocating -= is_allocating(&uring->ios[slot]);
}

static void release(struct blk_uring *uring, unsigned slot)
{
	uring->free[uring->free_count++] = (uint8_t)slot;
}

static void prepare(struct io_uring_sqe *sqe, int file, const struct blk_step *step)
{
	switch (step->call) {
	case BLK_CALL_READV:
		io_uring_prep_readv(sqe, file, step->iov, step->iov_count, step->offset);
		break;
	case BLK_CALL_WRITEV:
		io_uring_prep_writev(sqe, file, step->iov, step->iov_count, step->offset);
		break;
	case BLK_CALL_FALLOCATE:
		io_uring_prep_fallocate(sqe, file, step->mode, (off_t)step->offset,
					(off_t)step->len);
		break;
	case BLK_CALL_FDATASYNC:
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void queue_step(struct blk_uring *uring, unsigned slot)
{
	const struct blk_step step = blk_io_step(&uring->ios[slot]);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	uring->allocating += step.call == BLK_CALL_FALLOCATE;
	if (sqe == NULL) { /* there is one per slot, so this can't be */
		uring->withdrawn[uring->withdrawn_count++] = (uint8_t)slot;
		return;
	}
	prepare(sqe, uring->file_index + step.is_base, &step);
	if (blk_io_is_long(&uring->ios[slot]) || uring->allocating > 0) {
		sqe->flags |= IOSQE_ASYNC;
	}
	sqe->user_data = slot;
	uring->queued++;
}

void blk_uring_queue(struct blk_uring *uring, struct blk_io *io)
{
	uring->free_count--;
	queue_step(uring, (unsigned)(io - uring->ios));
}

/*
 * Takes back the entries between the kernel's head and our tail, which it looks at only when it is
 * entered, so that between two submissions both are ours.
 */
static void withdraw(struct blk_uring *uring)
{
	struct io_uring_sq *sq = &uring->ring.sq;
	unsigned head = *sq->khead;
	unsigned mask = *sq->kring_mask;

	for (unsigned i = 0; i < uring->queued; i++) {
		const struct io_uring_sqe *sqe = &sq->sqes[(head + i) & mask];

		uring->withdrawn[uring->withdrawn_count++] = (uint8_t)sqe->user_data;
	}
	*sq->ktail = head;
	sq->sqe_head = head;
	sq->sqe_tail = head;
	uring->queued = 0;
}

static void submit(struct blk_uring *uring)
{
	while (uring->queued > 0) {
		int taken = io_uring_submit(&uring->ring);

		if (taken == -EINTR) {
			continue;
		}
		if (taken <= 0) {
			log_guest_warn("io_uring does not take %u requests: %s (os error %d)",
				       uring->queued, error_os_text(-taken), -taken);
			withdraw(uring);
			return;
		}
		uring->queued -= (unsigned)taken;
		uring->in_kernel += (unsigned)taken;
	}
}

/* The next completion, or false. */
static bool take_completion(struct blk_uring *uring, unsigned *slot, int *result)
{
	struct io_uring_cqe *cqe = NULL;

	if (io_uring_peek_cqe(&uring->ring, &cqe) < 0) {
		return false;
	}
	*slot = (unsigned)cqe->user_data;
	*result = cqe->res;
	io_uring_cqe_seen(&uring->ring, cqe);
	uring->in_kernel--;
	return true;
}

struct blk_io *blk_uring_reap(struct blk_uring *uring, enum blk_progress *progress)
{
	for (;;) {
		unsigned slot;
		int result;

		submit(uring);
		if (uring->withdrawn_count > 0) {
			slot = uring->withdrawn[--uring->withdrawn_count];
			const struct blk_step step = blk_io_step(&uring->ios[slot]);

			note_end(uring, slot);
			*progress = blk_sync_step(uring->fd, &uring->ios[slot], &step);
		} else if (take_completion(uring, &slot, &result)) {
			note_end(uring, slot);
			*progress = blk_io_advance(&uring->ios[slot], result);
		} else {
			return NULL;
		}
		if (*progress != BLK_IO_MORE) {
			release(uring, slot);
			return &uring->ios[slot];
		}
		queue_step(uring, slot);
	}
}

bool blk_uring_is_allocating(const struct blk_uring *uring)
{
	return uring->allocating > 0;
}

unsigned blk_uring_in_flight(const struct blk_uring *uring)
{
	return uring->entries - uring->free_count;
}

void blk_uring_wait(struct blk_uring *uring)
{
	struct io_uring_cqe *cqe = NULL;
	int rc;

	do {
		rc = io_uring_wait_cqe(&uring->ring, &cqe);
	} while (rc == -EINTR);
}

void blk_uring_abandon(struct blk_uring *uring)
{
	unsigned slot;
	int result;

	withdraw(uring);
	while (uring->withdrawn_count > 0) {
		release(uring, uring->withdrawn[--uring->withdrawn_count]);
	}
	while (uring->in_kernel > 0) {
		if (take_completion(uring, &slot, &result)) {
			release(uring, slot);
		} else {
			blk_uring_wait(uring);
		}
	}
	uring->allocating = 0;
}

/* One by one, as the filter allows. */
static int register_files(struct blk_uring *uring, int at, int fd, int base_fd)
{
	const int files[FILES] = {fd, base_fd};
	int rc = 0;

	for (int i = 0; i < FILES && rc >= 0; i++) {
		rc = io_uring_register_files_update(&uring->ring, (unsigned)(at + i), &files[i], 1);
	}
	return rc;
}

/* The kernel forgets the old file of a place before it looks at the new one: hence two places. */
int blk_uring_set_file(struct blk_uring *uring, int fd, int base_fd, struct error *err)
{
	int next = FILES - uring->file_index;
	int rc = register_files(uring, next, fd, base_fd);

	(void)register_files(uring, rc < 0 ? next : uring->file_index, -1, -1);
	if (rc < 0) {
		errno = -rc;
		return error_sys(err, "Cannot hand the new file to io_uring");
	}
	uring->file_index = next;
	uring->fd = fd;
	return 0;
}
