/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the header of an overlay: an input is the first block of one, whose sum is mended, and a
 * length for its file. It is refused with a reason, or what follows from it fits the file and the
 * limits, and the overlay can be used.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/crc64.h"

static void use(int fd, const struct overlay_head *head, uint64_t len)
{
	struct blk_overlay *overlay = NULL;
	struct error err = {0};
	int base = -1;

	require(overlay_data_at(head) >= OVERLAY_MAP_AT + overlay_map_len(head));
	require(overlay_data_at(head) + head->disk_len <= len);
	require(overlay_map_len(head) <= OVERLAY_MAP_MAX);
	require(overlay_map_len(head) * 8 >= overlay_clusters(head));
	require(overlay_clusters(head) << head->cluster_shift >= head->disk_len);
	require(strnlen(head->base_name, OVERLAY_NAME_MAX) < OVERLAY_NAME_MAX);
	require(blk_overlay_new(head, "overlay", &base, &overlay, &err) == 0);
	require(blk_overlay_use(overlay, fd, false, &err) == 0);
	blk_overlay_free(overlay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t block[OVERLAY_BLOCK] = {0};
	struct input input = {data, size};
	struct overlay_head head;
	struct error err = {0};
	uint64_t len = input_number(&input, 6);
	int fd = memfd_create("overlay", MFD_CLOEXEC);

	memcpy(block, input.data, min_u64(input.size, OVERLAY_BLOCK));
	store_le64(block + OVERLAY_BLOCK - 8, crc64(block, OVERLAY_BLOCK - 8));
	require(fd >= 0 && pwrite(fd, block, sizeof(block), 0) == sizeof(block));
	require(ftruncate(fd, (off_t)len) == 0);
	if (overlay_read_head(fd, "overlay", &head, &err) == 0) {
		use(fd, &head, len);
	} else {
		require_fault(&err);
	}
	close(fd);
	return 0;
}
