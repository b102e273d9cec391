/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays: made, looked at, and turned into plain disks. */
#include "tools/squibctl/ctl_overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay_file.h"
#include "tools/lib/progress.h"
#include "tools/squibctl/ctl_request.h"
#include "vmm/base/fd.h"
#include "vmm/base/flags.h"

enum {
	LOCK_PATIENCE_MS = 1000,
};

/* An overlay with its map, open to be read. */
struct overlay {
	struct overlay_head head;
	int fd;
	uint64_t *map;
};

/* A file or a block device, to be read. */
static int open_base(const char *path, int *fd, uint64_t *len, struct error *err)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || fstat(*fd, &st) < 0) {
		return error_sys(err, "Cannot open the base %s", path);
	}
	*len = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(*fd, BLKGETSIZE64, len) < 0) {
		return error_sys(err, "Cannot find the size of the base %s", path);
	}
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "The base %s is neither a regular file nor a block device",
				   path);
}

/* What is there already is never written to. */
static int make_file(const char *path, int *fd, struct error *err)
{
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return *fd >= 0 ? 0 : error_sys(err, "Cannot make the file %s", path);
}

static int parse_number(const char *name, const char *text, uint64_t unit, uint64_t *bytes,
			struct error *err)
{
	uint64_t value;

	if (text == NULL) {
		return 0;
	}
	if (!flag_parse_u64(text, &value) || value == 0 || !mul_u64(value, unit, bytes)) {
		return error_set(err, ERR_BAD_REQUEST, "--%s is a number, not '%s'", name, text);
	}
	return 0;
}

/* --- create --- */

static int find_shape(const struct ctl_args *args, struct overlay_head *head, struct error *err)
{
	uint64_t cluster = UINT64_C(1) << OVERLAY_CLUSTER_SHIFT;

	if (parse_number("size", args->size, MIB, &head->disk_len, err) < 0 ||
	    parse_number("cluster", args->cluster, KIB, &cluster, err) < 0) {
		return -1;
	}
	if ((cluster & (cluster - 1)) != 0 || cluster < 1U << OVERLAY_CLUSTER_SHIFT_MIN ||
	    cluster > 1U << OVERLAY_CLUSTER_SHIFT_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--cluster is 4, 8, 16, 32, 64, 128 or 256 KiB, not '%s'",
				 args->cluster);
	}
	head->cluster_shift = (unsigned)__builtin_ctzll(cluster);
	(void)!snprintf(head->base_name, sizeof(head->base_name), "%s", args->base);
	return 0;
}

/* What fails before anything is done is the command line's fault [docs/man/squibctl.1]. */
static enum ctl_exit create(const struct ctl_args *args, struct error *err)
{
	const char *path = args->operands[1];
	struct overlay_head head = {0};
	AUTO_FD base = -1;
	AUTO_FD fd = -1;
	uint64_t base_len = 0;

	if (find_shape(args, &head, err) < 0 || open_base(args->base, &base, &base_len, err) < 0) {
		return CTL_EXIT_USAGE;
	}
	if (make_file(path, &fd, err) < 0) {
		return CTL_EXIT_REFUSED;
	}
	if (overlay_format(fd, base, base_len, &head, err) < 0) {
		unlink(path);
		return CTL_EXIT_REFUSED;
	}
	if (fsync(fd) < 0) {
		(void)error_sys(err, "Cannot synchronise the file %s", path);
		return CTL_EXIT_REFUSED;
	}
	return CTL_EXIT_OK;
}

/* --- inspect --- */

static int read_overlay(const char *path, bool is_locked, struct overlay *overlay,
			struct error *err)
{
	if (overlay_read_head(overlay->fd, path, &overlay->head, err) < 0 ||
	    (is_locked && overlay_lock(overlay->fd, path, true, LOCK_PATIENCE_MS, err) < 0)) {
		return -1;
	}
	overlay->map = calloc(1, overlay_map_len(&overlay->head));
	return overlay->map != NULL
		       ? overlay_read_map(overlay->fd, &overlay->head, overlay->map, err)
		       : error_sys(err, "Cannot allocate the map");
}

/* is_locked: no machine may write to it meanwhile, or a copy would be of several moments. */
static enum ctl_exit open_overlay(const char *path, bool is_locked, struct overlay *overlay,
				  struct error *err)
{
	overlay->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (overlay->fd < 0) {
		(void)error_sys(err, "Cannot open the overlay %s", path);
		return CTL_EXIT_USAGE;
	}
	return read_overlay(path, is_locked, overlay, err) < 0 ? CTL_EXIT_REFUSED : CTL_EXIT_OK;
}

static void close_overlay(struct overlay *overlay)
{
	fd_close(&overlay->fd);
	free(overlay->map);
}

/* The bytes of the disk that a cluster has. */
static size_t cluster_len(const struct overlay_head *head, uint64_t cluster)
{
	uint64_t at = cluster << head->cluster_shift;

	return (size_t)min_u64(UINT64_C(1) << head->cluster_shift, head->disk_len - at);
}

static bool is_own(const struct overlay *overlay, uint64_t cluster)
{
	return overlay_find(overlay->map, cluster, cluster + 1, true) == cluster;
}

/* The file system has nothing in its place. */
static bool is_hole(const struct overlay *overlay, uint64_t cluster)
{
	uint64_t at = overlay_data_at(&overlay->head) + (cluster << overlay->head.cluster_shift);
	off_t data = lseek(overlay->fd, (off_t)at, SEEK_DATA);

	return data < 0 ? errno == ENXIO
			: (uint64_t)data >= at + cluster_len(&overlay->head, cluster);
}

static void show(const struct overlay *overlay)
{
	const struct overlay_head *head = &overlay->head;
	uint64_t own = 0;
	uint64_t zeroes = 0;
	struct stat st = {0};

	for (uint64_t i = 0; i < overlay_clusters(head); i++) {
		if (is_own(overlay, i)) {
			own++;
			zeroes += is_hole(overlay, i);
		}
	}
	(void)!fstat(overlay->fd, &st);
	printf("disk      %" PRIu64 " bytes, %s\n", head->disk_len, size_text(head->disk_len).text);
	printf("base      %s, %" PRIu64 " bytes\n", head->base_name, head->base_len);
	printf("clusters  %" PRIu64 " of %u KiB\n", overlay_clusters(head),
	       1U << (head->cluster_shift - 10));
	printf("own       %" PRIu64 ", of which %" PRIu64 " are zeroes without data\n", own,
	       zeroes);
	printf("takes     %s\n", size_text((uint64_t)st.st_blocks * 512).text);
}

static enum ctl_exit inspect(const struct ctl_args *args, struct error *err)
{
	struct overlay overlay = {.fd = -1};
	enum ctl_exit result = open_overlay(args->operands[1], false, &overlay, err);

	if (result == CTL_EXIT_OK) {
		show(&overlay);
	}
	close_overlay(&overlay);
	return result;
}

/* --- flatten --- */

/* A disk's bytes, from wherever they are. */
static int read_cluster(const struct overlay *overlay, int base, uint64_t cluster, uint8_t *bytes,
			struct error *err)
{
	uint64_t at = cluster << overlay->head.cluster_shift;
	size_t len = cluster_len(&overlay->head, cluster);

	return is_own(overlay, cluster) ? pread_full(overlay->fd, bytes, len,
						     overlay_data_at(&overlay->head) + at, err)
					: pread_full(base, bytes, len, at, err);
}

static int write_cluster(int fd, const uint8_t *bytes, size_t len, uint64_t at, struct error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t put = pwrite(fd, bytes + done, len - done, (off_t)(at + done));

		if (put < 0 && errno != EINTR) {
			return error_sys(err, "Cannot write the disk");
		}
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static int copy_all(const struct overlay *overlay, int base, int fd, struct error *err)
{
	const struct overlay_head *head = &overlay->head;
	AUTO_FREE uint8_t *bytes = malloc(UINT64_C(1) << head->cluster_shift);
	struct progress progress;
	int result = 0;

	if (bytes == NULL || ftruncate(fd, (off_t)head->disk_len) < 0) {
		return error_sys(err, "Cannot give the disk its length");
	}
	progress_begin(&progress, "flattening", head->disk_len);
	for (uint64_t i = 0; i < overlay_clusters(head) && result == 0; i++) {
		size_t len = cluster_len(head, i);

		result = read_cluster(overlay, base, i, bytes, err);
		if (result == 0 && !is_zero(bytes, len)) {
			result = write_cluster(fd, bytes, len, i << head->cluster_shift, err);
		}
		progress_set(&progress, i << head->cluster_shift);
	}
	progress_end(&progress);
	if (result == 0 && fsync(fd) < 0) {
		return error_sys(err, "Cannot synchronise the disk");
	}
	return result;
}

static enum ctl_exit flatten_to(const struct overlay *overlay, const struct ctl_args *args,
				struct error *err)
{
	const char *base_path = args->base != NULL ? args->base : overlay->head.base_name;
	AUTO_FD base = -1;
	AUTO_FD fd = -1;
	uint64_t base_len = 0;

	if (open_base(base_path, &base, &base_len, err) < 0) {
		return CTL_EXIT_USAGE;
	}
	if (overlay_check_base(&overlay->head, args->operands[1], base, base_len, err) < 0 ||
	    make_file(args->operands[2], &fd, err) < 0) {
		return CTL_EXIT_REFUSED;
	}
	if (copy_all(overlay, base, fd, err) < 0) {
		unlink(args->operands[2]);
		return CTL_EXIT_REFUSED;
	}
	return CTL_EXIT_OK;
}

static enum ctl_exit flatten(const struct ctl_args *args, struct error *err)
{
	struct overlay overlay = {.fd = -1};
	enum ctl_exit result = open_overlay(args->operands[1], true, &overlay, err);

	if (result == CTL_EXIT_OK) {
		result = flatten_to(&overlay, args, err);
	}
	close_overlay(&overlay);
	return result;
}

enum ctl_exit ctl_overlay_run(const struct ctl_args *args)
{
	const char *what = args->operands[0];
	struct error err = {0};
	enum ctl_exit result;

	if (strcmp(what, "create") == 0) {
		result = create(args, &err);
	} else if (strcmp(what, "inspect") == 0) {
		result = inspect(args, &err);
	} else {
		result = flatten(args, &err);
	}
	return result == CTL_EXIT_OK ? result : ctl_fail(result, err.msg, NULL);
}
