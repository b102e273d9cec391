/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of iovecs that a system call has got through in part. */
#ifndef VMM_BASE_IOV_H
#define VMM_BASE_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Drops the first `len` bytes of the elements from `next` to `end`: returns the one that is next
 * then, which begins behind what was dropped. Elements of no bytes go with those before them.
 */
static inline size_t iov_advance(struct iovec *iov, size_t next, size_t end, uint64_t len)
{
	/*@ loop invariant next <= end || next == \at(next, Pre);
	  @ loop invariant next >= \at(next, Pre);
	  @ loop assigns next, len;
	  @*/
	while (next < end && len >= iov[next].iov_len) {
		len -= iov[next].iov_len;
		next++;
	}
	if (next < end) {
		iov[next].iov_base = (uint8_t *)iov[next].iov_base + len;
		iov[next].iov_len -= len;
	}
	return next;
}

#endif
