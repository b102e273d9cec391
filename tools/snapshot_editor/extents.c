/* SPDX-License-Identifier: Apache-2.0 */
/* Finds data by SEEK_DATA and SEEK_HOLE. */
#include "tools/snapshot_editor/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

static int add(struct extents *extents, struct extent extent, struct error *err)
{
	/* Grows when the count is a power of two. */
	if ((extents->count & (extents->count - 1)) == 0) {
		size_t room = extents->count == 0 ? 1 : 2 * extents->count;
		struct extent *items = reallocarray(extents->items, room, sizeof(*extents->items));

		if (items == NULL) {
			return error_sys(err, "Cannot list the data of a file");
		}
		extents->items = items;
	}
	extents->items[extents->count++] = extent;
	extents->bytes += extent.end - extent.start;
	return 0;
}

int extents_find(int fd, uint64_t len, struct extents *extents, struct error *err)
{
	*extents = (struct extents){0};
	for (uint64_t at = 0; at < len;) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);

		if (data < 0 && errno == ENXIO) {
			break; /* nothing but holes */
		}
		if (data < 0) {
			return error_sys(err, "Failed to seek data");
		}
		off_t hole = lseek(fd, data, SEEK_HOLE);

		if (hole < 0) {
			return error_sys(err, "Failed to seek hole");
		}
		struct extent extent = {min_u64((uint64_t)data, len), min_u64((uint64_t)hole, len)};

		if (extent.end > extent.start && add(extents, extent, err) < 0) {
			return -1;
		}
		at = max_u64((uint64_t)hole, at + 1);
	}
	return 0;
}

void extents_destroy(struct extents *extents)
{
	free(extents->items);
	*extents = (struct extents){0};
}

bool extents_next(const struct extents *extents, size_t *next, struct extent range,
		  struct extent *part)
{
	while (*next < extents->count && extents->items[*next].end <= range.start) {
		(*next)++;
	}
	if (*next == extents->count || extents->items[*next].start >= range.end) {
		return false;
	}
	*part = (struct extent){max_u64(extents->items[*next].start, range.start),
				min_u64(extents->items[*next].end, range.end)};
	return true;
}

int write_full(int fd, const void *bytes, size_t len, uint64_t offset, struct error *err)
{
	for (size_t done = 0; done < len;) {
		const struct iovec iov = {(uint8_t *)bytes + done, len - done};
		ssize_t put = pwritev(fd, &iov, 1, (off_t)(offset + done));

		if (put < 0 && errno == EINTR) {
			continue;
		}
		if (put <= 0) {
			return error_sys(err, "Cannot write at offset %llu",
					 (unsigned long long)offset + done);
		}
		done += (size_t)put;
	}
	return 0;
}
