/* SPDX-License-Identifier: Apache-2.0 */
/* A request as a series of system calls, the same for each engine that makes them. Pure. */
#ifndef DEVICES_VIRTIO_BLK_IO_H
#define DEVICES_VIRTIO_BLK_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/virtio/blk/blk_req.h"
#include "devices/virtio/core/virtq.h"
#include "vmm/base/attr.h"
#include "vmm/base/gmem.h"

enum {
	/*
	 * What one call moves at most. The largest request that Linux makes without being told
	 * otherwise (BLK_DEF_MAX_SECTORS_CAP) is one call, which copies for about a millisecond.
	 */
	BLK_CALL_MAX = 4 << 20,
};

enum blk_call {
	BLK_CALL_READV,
	BLK_CALL_WRITEV,
	BLK_CALL_FDATASYNC,
	BLK_CALL_FALLOCATE,
};

/* What a range is done with; the next one where the host does not know the call. */
enum blk_way {
	BLK_WAY_PUNCH,
	BLK_WAY_ZERO,
	BLK_WAY_WRITE,
};

/* What a request of an overlay goes through (blk_overlay.c); of a raw file all are its data. */
enum blk_phase {
	BLK_PHASE_DATA,
	BLK_PHASE_BEGIN,
	BLK_PHASE_READ,	 /* a cluster of the base into a buffer */
	BLK_PHASE_WRITE, /* and on into the overlay */
	BLK_PHASE_MAP,
	BLK_PHASE_SYNC,
};

struct blk_overlay;
struct blk_copy;

struct blk_io {
	/* the owner's: whom to answer, and how */
	uint16_t queue;
	uint16_t head;
	gpa_t status; /* where its byte is */
	uint32_t data_len;
	uint64_t started_ns;
	/* filled before blk_io_start */
	enum blk_op op;		     /* all but BLK_OP_GET_ID */
	struct blk_overlay *overlay; /* NULL: the file is raw */
	struct iovec *iov;	     /* of VIRTQ_IOV_MAX, used up by the way */
	size_t iov_count;	     /* of reads and writes */
	uint64_t offset;	     /* of reads and writes */
	uint64_t len;		     /* the iovecs' sum */
	unsigned range_count;	     /* of discards and zeroes */
	struct blk_range ranges[BLK_RANGES_MAX];
	/* blk_io.c's */
	size_t iov_next;
	unsigned call_count; /* iovecs of the next call from iov_next on; 0: it has `part` */
	uint64_t call_len;
	struct iovec part; /* of iov[iov_next], which is longer than one call */
	unsigned range_next;
	enum blk_way way;
	unsigned retries; /* without progress */
	enum blk_phase phase;
	bool is_base;	  /* the next call for the data is on the base */
	uint64_t data_at; /* of the disk's first byte in the file of the next call for the data */
	/* of an overlay */
	struct blk_copy *copy; /* NULL: it does not change the map */
	bool is_flush_of_map;
	struct iovec own; /* what is left of a transfer between the file and our memory */
	uint64_t own_offset;
	int sys; /* after BLK_IO_FAILED: errno */
};

/* One system call. */
struct blk_step {
	enum blk_call call;
	int mode; /* of fallocate */
	uint64_t offset;
	uint64_t len; /* 0: of fdatasync */
	const struct iovec *iov;
	unsigned iov_count;
	bool is_base; /* on the base of the overlay, in place of the file */
};

enum blk_progress {
	BLK_IO_MORE, /* make the call of blk_io_step */
	BLK_IO_DONE,
	BLK_IO_FAILED, /* errno is in io->sys */
};

/* It reads or writes more than one call moves. */
static inline bool blk_io_is_long(const struct blk_io *io)
{
	return io->data_len > BLK_CALL_MAX;
}

/* Prepares a filled one. BLK_IO_DONE if there is nothing to do. */
MUST_CHECK enum blk_progress blk_io_start(struct blk_io *io);

/* The next call's kind. */
enum blk_call blk_io_call(const struct blk_io *io);

/* The next call; its iovecs are valid until the io is advanced. */
struct blk_step blk_io_step(const struct blk_io *io);

/* Takes what the call returned, or its -errno. */
MUST_CHECK enum blk_progress blk_io_advance(struct blk_io *io, int64_t result);

#endif
