/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with one drive. */
#include "tests/lib/blk_guest.h"

#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

enum {
	BUFS_MAX = 8,
	HEADER_LEN = 16,
};

void blk_guest_init(struct blk_guest *guest, enum blk_io_engine engine)
{
	static char id[] = "disk";

	memset(guest, 0, sizeof(*guest));
	vdriver_init(&guest->driver);
	guest->features = UINT64_MAX;
	guest->config = (struct blk_config){.drive_id = id, .io_engine = engine};
	guest->file = (struct blk_file){
		.fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING),
		.sectors = BLK_GUEST_SECTORS,
		.id = "12345678901234567890",
		.is_in_memory = true,
	};
	if (ftruncate(guest->file.fd, BLK_GUEST_SECTORS * 512) < 0) {
		abort();
	}
}

void blk_guest_overlay(struct blk_guest *guest, int base_fd, int own_fd)
{
	char base[32], own[32];
	struct error err = {0};

	(void)snprintf(base, sizeof(base), "/proc/self/fd/%d", base_fd);
	(void)snprintf(own, sizeof(own), "/proc/self/fd/%d", own_fd);
	blk_file_close(&guest->file);
	const struct blk_overlay_paths paths = {own, base, guest->config.is_read_only, true};

	if (blk_file_open_overlay(&paths, &guest->file, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		abort();
	}
}

void blk_guest_start(struct blk_guest *guest)
{
	struct error err = {0};

	if (blk_new(vdriver_env(&guest->driver), &guest->config, &guest->file, &guest->blk, &err) <
		    0 ||
	    !vdriver_start(&guest->driver, blk_virtio(guest->blk), guest->features)) {
		abort();
	}
	vdriver_run(&guest->driver);
	vdriver_interrupts(&guest->driver);
}

void blk_guest_destroy(struct blk_guest *guest)
{
	blk_free(guest->blk);
	guest->blk = NULL;
	blk_file_close(&guest->file);
	vdriver_destroy(&guest->driver);
}

unsigned blk_guest_add(struct blk_guest *guest, unsigned queue, const struct blk_guest_req *req)
{
	uint8_t header[HEADER_LEN] = {0};
	struct vbuf bufs[BUFS_MAX + 2] = {{header, sizeof(header), 0}};

	if (req->count > BUFS_MAX) {
		abort();
	}
	store_le32(header, req->type);
	store_le64(header + 8, req->sector);
	if (req->count > 0) {
		memcpy(&bufs[1], req->bufs, req->count * sizeof(*bufs));
	}
	bufs[1 + req->count] = (struct vbuf){NULL, 1, VBUF_WRITABLE};
	return vdriver_add(&guest->driver, queue, bufs, req->count + 2);
}

uint8_t blk_guest_status(struct blk_guest *guest, unsigned queue, unsigned chain, size_t bufs)
{
	uint8_t status;

	vdriver_get(&guest->driver, queue, chain, (unsigned)bufs + 1, &status, 1);
	return status;
}

uint8_t blk_guest_do(struct blk_guest *guest, const struct blk_guest_req *req,
		     struct vring_used *used)
{
	struct vring_used taken = {0};
	unsigned chain = blk_guest_add(guest, 0, req);

	vdriver_kick(&guest->driver, 0);
	vdriver_wait_used(&guest->driver, 0);
	if (!vdriver_used(&guest->driver, 0, &taken) || taken.id != chain) {
		abort();
	}
	if (used != NULL) {
		*used = taken;
	}
	return blk_guest_status(guest, 0, chain, req->count);
}

uint8_t blk_guest_read(struct blk_guest *guest, uint64_t sector, void *data, uint32_t len)
{
	const struct vbuf buf = {NULL, len, VBUF_WRITABLE};
	const struct blk_guest_req req = {VIRTIO_BLK_T_IN, sector, &buf, 1};
	struct vring_used used;
	uint8_t status = blk_guest_do(guest, &req, &used);

	vdriver_get(&guest->driver, 0, used.id, 1, data, len);
	return status;
}

uint8_t blk_guest_write(struct blk_guest *guest, uint64_t sector, const void *data, uint32_t len)
{
	const struct vbuf buf = {data, len, 0};
	const struct blk_guest_req req = {VIRTIO_BLK_T_OUT, sector, &buf, 1};

	return blk_guest_do(guest, &req, NULL);
}
