/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format of overlay files.
 *
 * All calls are such as the filter of the VMM thread allows, since PATCH opens overlays under it.
 */
#include "devices/virtio/blk/blk_overlay_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/crc64.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"

/* Offsets in the header; what is between is 0. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_CLUSTER_SHIFT = 12,
	AT_DISK_LEN = 16,
	AT_BASE_LEN = 24,
	AT_BASE_SUM = 32,
	AT_BASE_NAME = 1024,
	AT_CRC = OVERLAY_BLOCK - 8, /* of all before */
};

enum {
	VERSION = 1,
	SECTOR_LEN = 512,
	MAGIC_LEN = 8,
};

static const char magic[MAGIC_LEN] = {'S', 'Q', 'U', 'I', 'B', 'O', 'V', 'L'};

/* --- The map --- */

uint64_t overlay_find(const uint64_t *map, uint64_t from, uint64_t end, bool is_set)
{
	while (from < end) {
		uint64_t word = (is_set ? map[from / 64] : ~map[from / 64]) >> from % 64;

		if (word != 0) {
			return min_u64(from + (uint64_t)__builtin_ctzll(word), end);
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

void overlay_set(uint64_t *map, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t count = min_u64(64 - from % 64, end - from);
		uint64_t bits = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;

		map[from / 64] |= bits << from % 64;
		from += count;
	}
}

/* --- Reading and writing --- */

/* As pread_full, by a call that the filter allows. *done < len: the file ends there. */
static int read_part(int fd, void *buf, size_t len, uint64_t offset, size_t *done)
{
	*done = 0;
	while (*done < len) {
		const struct iovec iov = {(uint8_t *)buf + *done, len - *done};
		ssize_t got = preadv(fd, &iov, 1, (off_t)(offset + *done));

		if (got == 0) {
			return 0;
		}
		if (got < 0 && errno != EINTR) {
			return -1;
		}
		*done += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int write_all(int fd, const void *buf, size_t len, uint64_t offset, struct error *err)
{
	size_t done = 0;

	while (done < len) {
		/* Only ever read from; struct iovec can't say so. */
		const struct iovec iov = {(uint8_t *)(uintptr_t)buf + done, len - done};
		ssize_t put = pwritev(fd, &iov, 1, (off_t)(offset + done));

		if (put == 0) {
			errno = EIO;
		}
		if (put == 0 || (put < 0 && errno != EINTR)) {
			return error_sys(err, "Cannot write the overlay");
		}
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

static int read_base(int fd, void *buf, size_t len, uint64_t offset, struct error *err)
{
	size_t done;

	if (read_part(fd, buf, len, offset, &done) < 0) {
		return error_sys(err, "Cannot read the base");
	}
	return done == len ? 0
			   : error_set(err, ERR_HOST,
				       "The base has become shorter than %" PRIu64 " bytes",
				       offset + len);
}

int overlay_base_sum(int base_fd, uint64_t base_len, uint64_t *sum, struct error *err)
{
	uint8_t bytes[2 * OVERLAY_BLOCK];
	size_t len = min_u64(base_len, OVERLAY_BLOCK);

	if (read_base(base_fd, bytes, len, 0, err) < 0 ||
	    read_base(base_fd, bytes + len, len, base_len - len, err) < 0) {
		return -1;
	}
	if (len == OVERLAY_BLOCK && memcmp(bytes, magic, MAGIC_LEN) == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The base is itself an overlay: make a plain disk of it first "
				 "(squibctl overlay flatten)");
	}
	*sum = crc64(bytes, 2 * len);
	return 0;
}

/* --- Making --- */

static void encode(const struct overlay_head *head, uint8_t bytes[OVERLAY_BLOCK])
{
	memset(bytes, 0, OVERLAY_BLOCK);
	memcpy(bytes + AT_MAGIC, magic, MAGIC_LEN);
	store_le32(bytes + AT_VERSION, VERSION);
	store_le32(bytes + AT_CLUSTER_SHIFT, head->cluster_shift);
	store_le64(bytes + AT_DISK_LEN, head->disk_len);
	store_le64(bytes + AT_BASE_LEN, head->base_len);
	store_le64(bytes + AT_BASE_SUM, head->base_sum);
	memcpy(bytes + AT_BASE_NAME, head->base_name,
	       strnlen(head->base_name, OVERLAY_NAME_MAX - 1));
	store_le64(bytes + AT_CRC, crc64(bytes, AT_CRC));
}

/* Behind the base there is nothing to read: from the cluster that it ends in, all are our own. */
static int take_tail(int fd, int base_fd, const struct overlay_head *head, struct error *err)
{
	uint64_t cluster_len = UINT64_C(1) << head->cluster_shift;
	uint64_t first = head->base_len >> head->cluster_shift;
	uint64_t start = first << head->cluster_shift;
	size_t len = (size_t)(head->base_len - start);
	AUTO_FREE uint64_t *map = calloc(1, overlay_map_len(head));
	AUTO_FREE uint8_t *tail = malloc(cluster_len);

	if (map == NULL || tail == NULL) {
		return error_sys(err, "Cannot allocate the map of an overlay");
	}
	overlay_set(map, first, overlay_clusters(head));
	if (read_base(base_fd, tail, len, start, err) < 0 ||
	    write_all(fd, tail, len, overlay_data_at(head) + start, err) < 0) {
		return -1;
	}
	return write_all(fd, map, overlay_map_len(head), OVERLAY_MAP_AT, err);
}

static int check_lengths(const struct overlay_head *head, struct error *err)
{
	if (head->cluster_shift < OVERLAY_CLUSTER_SHIFT_MIN ||
	    head->cluster_shift > OVERLAY_CLUSTER_SHIFT_MAX) {
		return error_set(err, ERR_CORRUPT,
				 "its clusters are of 2^%u bytes, which must be 2^%d to 2^%d",
				 head->cluster_shift, OVERLAY_CLUSTER_SHIFT_MIN,
				 OVERLAY_CLUSTER_SHIFT_MAX);
	}
	if (head->disk_len % SECTOR_LEN != 0 ||
	    head->disk_len < head->base_len - head->base_len % SECTOR_LEN) {
		return error_set(err, ERR_CORRUPT,
				 "the length of its disk, %" PRIu64 " bytes, is not in sectors of "
				 "%d, or less than that of its base",
				 head->disk_len, SECTOR_LEN);
	}
	/* Before the sums below, which it keeps from overflowing. */
	if (head->disk_len >> head->cluster_shift >= UINT64_C(8) * OVERLAY_MAP_MAX) {
		return error_set(err, ERR_CORRUPT,
				 "the length of its disk, %" PRIu64 " bytes, is beyond the limit "
				 "for clusters of %u bytes, %" PRIu64,
				 head->disk_len, 1U << head->cluster_shift,
				 (UINT64_C(8) * OVERLAY_MAP_MAX) << head->cluster_shift);
	}
	return 0;
}

int overlay_format(int fd, int base_fd, uint64_t base_len, struct overlay_head *head,
		   struct error *err)
{
	uint8_t bytes[OVERLAY_BLOCK];

	head->base_len = base_len;
	head->disk_len = head->disk_len != 0 ? head->disk_len : base_len - base_len % SECTOR_LEN;
	if (check_lengths(head, err) < 0 ||
	    overlay_base_sum(base_fd, base_len, &head->base_sum, err) < 0) {
		return error_wrap(err, "Cannot make an overlay");
	}
	if (ftruncate(fd, (off_t)(overlay_data_at(head) + head->disk_len)) < 0) {
		return error_sys(err, "Cannot give the overlay its length");
	}
	if (head->disk_len > base_len) {
		if (take_tail(fd, base_fd, head, err) < 0) {
			return -1;
		}
		if (fdatasync(fd) < 0) {
			return error_sys(err, "Cannot synchronise the overlay");
		}
	}
	/* Last of all: without it the file is no overlay. */
	encode(head, bytes);
	return write_all(fd, bytes, sizeof(bytes), 0, err);
}

/* --- Checking --- */

static int decode(const uint8_t bytes[OVERLAY_BLOCK], struct overlay_head *head, struct error *err)
{
	if (memcmp(bytes + AT_MAGIC, magic, MAGIC_LEN) != 0) {
		return error_set(err, ERR_CORRUPT, "its first bytes are not those of an overlay");
	}
	if (load_le32(bytes + AT_VERSION) != VERSION) {
		return error_set(err, ERR_CORRUPT,
				 "its format has the version %u, and this squib knows version %d",
				 load_le32(bytes + AT_VERSION), VERSION);
	}
	if (load_le64(bytes + AT_CRC) != crc64(bytes, AT_CRC)) {
		return error_set(err, ERR_CORRUPT, "the checksum of its header is wrong");
	}
	*head = (struct overlay_head){
		.cluster_shift = load_le32(bytes + AT_CLUSTER_SHIFT),
		.disk_len = load_le64(bytes + AT_DISK_LEN),
		.base_len = load_le64(bytes + AT_BASE_LEN),
		.base_sum = load_le64(bytes + AT_BASE_SUM),
	};
	memcpy(head->base_name, bytes + AT_BASE_NAME, OVERLAY_NAME_MAX - 1);
	return check_lengths(head, err);
}

static int check_head(int fd, struct overlay_head *head, struct error *err)
{
	uint8_t bytes[OVERLAY_BLOCK];
	struct stat st;
	size_t done;

	if (fstat(fd, &st) < 0 || read_part(fd, bytes, sizeof(bytes), 0, &done) < 0) {
		return error_sys(err, "it can't be read");
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST, "it is not a regular file");
	}
	if (done < sizeof(bytes)) {
		return error_set(err, ERR_CORRUPT, "it is too short for a header");
	}
	if (decode(bytes, head, err) < 0) {
		return -1;
	}
	uint64_t len = overlay_data_at(head) + head->disk_len;

	return (uint64_t)st.st_size >= len
		       ? 0
		       : error_set(err, ERR_CORRUPT,
				   "it has %" PRIu64 " bytes, and its header says "
				   "%" PRIu64,
				   (uint64_t)st.st_size, len);
}

int overlay_read_head(int fd, const char *path, struct overlay_head *head, struct error *err)
{
	return check_head(fd, head, err) == 0
		       ? 0
		       : error_wrap(err, "The file %.200s is no overlay to use", path);
}

int overlay_check_base(const struct overlay_head *head, const char *path, int base_fd,
		       uint64_t base_len, struct error *err)
{
	uint64_t sum = 0;

	if (head->base_len != base_len) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The overlay %.200s was made over another base, of %" PRIu64
				 " bytes (%.200s), and this one has %" PRIu64,
				 path, head->base_len, head->base_name, base_len);
	}
	if (overlay_base_sum(base_fd, base_len, &sum, err) < 0) {
		return -1;
	}
	return sum == head->base_sum
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "The overlay %.200s was made over another base (%.200s), or "
				   "that has changed since: its first or last 4 KiB are others",
				   path, head->base_name);
}

int overlay_read_map(int fd, const struct overlay_head *head, uint64_t *map, struct error *err)
{
	uint64_t end = OVERLAY_MAP_AT + overlay_map_len(head);

	for (uint64_t at = OVERLAY_MAP_AT; at < end; at += OVERLAY_BLOCK) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		size_t done;

		if (data < 0 && errno == ENXIO) {
			break;
		}
		/* Where the file system knows no holes, all is data. */
		at = data < 0 ? at : align_down((uint64_t)data, OVERLAY_BLOCK);
		if (at < end && read_part(fd, (uint8_t *)map + (at - OVERLAY_MAP_AT), OVERLAY_BLOCK,
					  at, &done) < 0) {
			return error_sys(err, "Cannot read the map of the overlay");
		}
	}
	const uint64_t bits = overlay_map_len(head) * 8;

	return overlay_find(map, overlay_clusters(head), bits, true) == bits
		       ? 0
		       : error_set(err, ERR_CORRUPT,
				   "The overlay is damaged: its map has clusters behind the end of "
				   "its disk");
}

int overlay_lock(int fd, const char *path, bool is_read_only, unsigned patience_ms,
		 struct error *err)
{
	return file_lock(fd, FILE_WHOLE, is_read_only, patience_ms)
		       ? 0
		       : error_set(err, ERR_BAD_STATE,
				   "The overlay %.200s is in use: each machine needs one of its "
				   "own",
				   path);
}

void overlay_unlock(int fd)
{
	file_unlock(fd, FILE_WHOLE);
}
