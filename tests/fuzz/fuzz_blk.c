/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the block device from its queues on: an input is a program of what a hostile driver writes
 * and of what happens to the device meanwhile. The file must keep its size, and its contents too
 * where the drive is read-only, and the base of an overlay; the event loop must come to rest, and
 * nothing may be left in flight.
 */
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/blk_overlay.h"
#include "tests/fuzz/disk.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

enum {
	STEPS_MAX = 400
};

enum setting {
	SET_ASYNC = 1,
	SET_READ_ONLY = 2,
	SET_TWO_QUEUES = 4,
	SET_WRITEBACK = 8,
	SET_LIMITED = 16,
	SET_OVERLAY = 32
};

enum action {
	ACT_DESC,
	ACT_INDIRECT,
	ACT_HEADER,
	ACT_OFFER,
	ACT_NOTIFY,
	ACT_AVAIL_IDX,
	ACT_RESET,
	ACT_SET_FILE,
	ACT_DRAIN,
	ACTIONS
};

struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t bits; /* 0: the queue; 1 to 3: a descriptor's flags; 7: any address */
	uint8_t index;
	uint8_t next;
	uint32_t len; /* or a header's type and sector */
	uint64_t addr;
};

struct drive {
	struct vdriver driver;
	struct blk_config config;
	struct blk_file files[2];
	bool is_overlay;
	struct blk_file bases[2]; /* of overlays */
	struct blk *blk;
};

static void build(struct drive *drive, unsigned settings)
{
	static char id[] = "disk";
	const struct limiter_config limits = {
		.bandwidth = {.size = 4096, .refill_time_ms = 1},
		.has_bandwidth = true,
	};
	struct error err = {0};

	vdriver_init(&drive->driver);
	drive->config = (struct blk_config){
		.drive_id = id,
		.is_read_only = (settings & SET_READ_ONLY) != 0,
		.num_queues = (settings & SET_TWO_QUEUES) != 0 ? 2 : 1,
		.io_engine = (settings & SET_ASYNC) != 0 ? BLK_ENGINE_ASYNC : BLK_ENGINE_SYNC,
		.cache_type =
			(settings & SET_WRITEBACK) != 0 ? BLK_CACHE_WRITEBACK : BLK_CACHE_UNSAFE,
		.has_rate_limiter = (settings & SET_LIMITED) != 0,
		.rate_limiter = limits,
	};
	drive->files[0] = disk_make(true);
	drive->files[1] = disk_make(false);
	drive->is_overlay = (settings & SET_OVERLAY) != 0;
	for (unsigned i = 0; i < 2 && drive->is_overlay; i++) {
		drive->bases[i] = drive->files[i];
		drive->files[i] = disk_make_overlay(&drive->bases[i], drive->config.is_read_only);
	}
	require(blk_new(vdriver_env(&drive->driver), &drive->config, &drive->files[0], &drive->blk,
			&err) == 0);
	require(vdriver_start(&drive->driver, blk_virtio(drive->blk), UINT64_MAX));
}

static void destroy(struct drive *drive)
{
	virtio_quiesce(blk_virtio(drive->blk));
	vdriver_run(&drive->driver);
	blk_free(drive->blk);
	for (unsigned i = 0; i < 2; i++) {
		if (drive->is_overlay) {
			require(drive->files[i].overlay->copy_count == 0);
			disk_check(&drive->bases[i], true);
			blk_file_close(&drive->bases[i]);
		} else {
			disk_check(&drive->files[i], drive->config.is_read_only);
		}
		blk_file_close(&drive->files[i]);
	}
	vdriver_destroy(&drive->driver);
}

static void put_header(struct drive *drive, uint64_t addr, uint32_t what)
{
	uint8_t header[16] = {0};

	store_le32(header, what & 15);
	store_le64(header + 8, what >> 8 & 0x7f);
	(void)!gmem_write(drive->driver.mem, GPA(addr), header, sizeof(header));
}

static void play(struct drive *drive, const struct step *step)
{
	struct vdriver *driver = &drive->driver;
	unsigned queue = drive->config.num_queues > 1 ? step->bits & 1 : 0;
	struct vring *ring = &driver->queues[queue].ring;
	uint64_t addr = step->bits & 128 ? step->addr : step->addr & (VDRIVER_MEM_LEN - 1);
	const struct vring_desc desc = {addr, step->len, step->bits >> 1 & 7, step->next};
	struct error err = {0};

	switch (step->action % ACTIONS) {
	case ACT_DESC:
		vring_set_desc(ring, step->index, desc);
		break;
	case ACT_INDIRECT:
		addr = step->addr >> 32 & (VDRIVER_MEM_LEN / 4 - 1);
		vring_set_indirect(ring, GPA(addr), step->index,
				   (struct vring_desc){step->addr & 0xffffff, step->len,
						       step->bits >> 1 & 3, step->next});
		break;
	case ACT_HEADER:
		put_header(drive, addr, step->len);
		break;
	case ACT_OFFER:
		vring_offer(ring, step->index);
		break;
	case ACT_NOTIFY:
		vdriver_notify(driver, queue);
		vdriver_run(driver);
		break;
	case ACT_AVAIL_IDX:
		vring_set_avail_idx(ring, (uint16_t)step->len);
		vdriver_notify(driver, queue);
		vdriver_run(driver);
		break;
	case ACT_RESET:
		vdriver_stop(driver);
		require(vdriver_start(driver, blk_virtio(drive->blk), UINT64_MAX));
		break;
	case ACT_SET_FILE:
		require(blk_set_file(drive->blk, &drive->files[step->index & 1], &err) == 0);
		break;
	default:
		virtio_quiesce(blk_virtio(drive->blk));
		virtio_resume(blk_virtio(drive->blk));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct drive drive;
	struct error err = {0};
	struct input input = {data, size};
	struct step step;

	if (size == 0) {
		return 0;
	}
	be_quiet();
	build(&drive, data[0]);
	input_skip(&input, 1);
	for (unsigned i = 0; i < STEPS_MAX && input_take(&input, &step, sizeof(step)); i++) {
		play(&drive, &step);
	}
	destroy(&drive);
	return 0;
}
