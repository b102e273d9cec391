/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to an overlay: what is read, and what is left after a kill or a power loss. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay.h"
#include "tests/lib/blk_guest.h"
#include "tests/lib/overlay_sim.h"
#include "vmm/base/bytes.h"

#define OK VIRTIO_BLK_S_OK

enum {
	PROGRAMS = 300,
	PROGRAM_LEN = 6000,
};

static void play_random(bool is_deferred)
{
	static uint8_t program[PROGRAM_LEN];
	uint64_t state = is_deferred ? 88172645463325252 : 12345678901234567;

	for (unsigned i = 0; i < PROGRAMS; i++) {
		for (size_t j = 0; j < sizeof(program); j++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			program[j] = (uint8_t)(state >> 24);
		}
		overlay_sim_play(program, sizeof(program), is_deferred);
	}
}

Test(blk_overlay, what_was_answered_outlives_the_monitor_if_nobody_flushes, .timeout = 60)
{
	play_random(false);
}

Test(blk_overlay, what_was_flushed_outlives_a_power_loss, .timeout = 60)
{
	play_random(true);
}

/* --- A drive on an overlay --- */

enum {
	BASE_LEN = (5 << 16) + 3 * 512, /* five clusters and a part of one */
	OPS = 1500,
	LEN_MAX = 100 * 1024,
};

static struct blk_guest guest;
static int base_fd, own_fd;
static uint8_t model[BASE_LEN];
static uint8_t data[BASE_LEN];

static void fill(uint8_t *bytes, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++) {
		bytes[i] = (uint8_t)(seed + i / 512 * 7 + i);
	}
}

static void make_files(void)
{
	base_fd = memfd_create("base", MFD_CLOEXEC);
	own_fd = memfd_create("own", MFD_CLOEXEC);
	fill(model, sizeof(model), 1);
	cr_assert_eq(pwrite(base_fd, model, sizeof(model), 0), sizeof(model));
}

struct kind {
	const char *name;
	enum blk_io_engine engine;
	enum blk_cache_type cache_type;
	bool is_in_memory; /* no slots for the Sync engine */
};

static const struct kind kinds[] = {
	{"Sync, Unsafe, in memory", BLK_ENGINE_SYNC, BLK_CACHE_UNSAFE, true},
	{"Sync, Writeback, in memory", BLK_ENGINE_SYNC, BLK_CACHE_WRITEBACK, true},
	{"Sync, Unsafe", BLK_ENGINE_SYNC, BLK_CACHE_UNSAFE, false},
	{"Sync, Writeback", BLK_ENGINE_SYNC, BLK_CACHE_WRITEBACK, false},
	{"Async, Unsafe", BLK_ENGINE_ASYNC, BLK_CACHE_UNSAFE, false},
	{"Async, Writeback", BLK_ENGINE_ASYNC, BLK_CACHE_WRITEBACK, true},
};

static void start_drive(const struct kind *kind, bool is_read_only)
{
	blk_guest_init(&guest, kind->engine);
	guest.config.cache_type = kind->cache_type;
	guest.config.is_read_only = is_read_only;
	blk_guest_overlay(&guest, base_fd, own_fd);
	guest.file.is_in_memory = kind->is_in_memory;
	blk_guest_start(&guest);
}

static void expect_model(const char *name)
{
	for (size_t at = 0; at < sizeof(model); at += LEN_MAX) {
		uint32_t len = (uint32_t)min_u64(LEN_MAX, sizeof(model) - at);

		cr_assert_eq(blk_guest_read(&guest, at / 512, data, len), OK);
		for (uint32_t i = 0; i < len; i++) {
			cr_assert_eq(data[i], model[at + i], "%s: byte %zu", name, at + i);
		}
	}
}

static uint8_t do_range(uint32_t type, uint64_t sector, uint32_t sectors)
{
	uint8_t range[16] = {0};
	const struct vbuf buf = {range, sizeof(range), 0};
	const struct blk_guest_req req = {type, sector, &buf, 1};

	store_le64(range, sector);
	store_le32(range + 8, sectors);
	return blk_guest_do(&guest, &req, NULL);
}

/* A discard within a cluster of the base leaves it alone, and is zeroes elsewhere. */
static void discard(uint64_t sector, uint32_t sectors)
{
	uint64_t offset = sector * 512;
	uint64_t len = (uint64_t)sectors * 512;

	cr_assert_eq(do_range(VIRTIO_BLK_T_DISCARD, sector, sectors), OK);
	blk_guest_read(&guest, sector, data, (uint32_t)len);
	for (uint64_t i = 0; i < len; i++) {
		uint64_t cluster = (offset + i) >> 16;
		uint64_t end = min_u64((cluster + 1) << 16, BASE_LEN);
		bool is_whole = cluster << 16 >= offset && end <= offset + len;

		cr_assert(data[i] == 0 || (!is_whole && data[i] == model[offset + i]));
		model[offset + i] = data[i];
	}
}

static void do_something(unsigned i, uint64_t bits)
{
	uint64_t sector = (bits >> 8) % (BASE_LEN / 512);
	uint64_t most = min_u64(LEN_MAX / 512, BASE_LEN / 512 - sector);
	uint32_t sectors = (uint32_t)((bits >> 24) % ((bits & 64) != 0 ? most : min_u64(most, 9)));
	uint32_t len = ++sectors * 512;
	const struct blk_guest_req flush = {VIRTIO_BLK_T_FLUSH, 0, NULL, 0};

	switch (bits % 8) {
	case 0:
		discard(sector, sectors);
		break;
	case 1:
		cr_assert_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, sector, sectors), OK);
		memset(model + sector * 512, 0, len);
		break;
	case 2:
		cr_assert_eq(blk_guest_do(&guest, &flush, NULL), OK);
		break;
	default:
		fill(data, len, (uint8_t)i);
		cr_assert_eq(blk_guest_write(&guest, sector, data, len), OK);
		memcpy(model + sector * 512, data, len);
		break;
	}
}

Test(blk_overlay, a_drive_is_a_plain_disk_to_its_guest, .timeout = 120)
{
	static const struct blk_guest_req flush = {VIRTIO_BLK_T_FLUSH, 0, NULL, 0};
	uint64_t bits = 88172645463325252;

	for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
		make_files();
		start_drive(&kinds[k], false);
		expect_model(kinds[k].name);
		for (unsigned i = 0; i < OPS; i++) {
			bits ^= bits << 13;
			bits ^= bits >> 7;
			bits ^= bits << 17;
			if (i % 300 == 299) { /* a fresh start, so that there are bases again */
				blk_guest_destroy(&guest);
				fill(model, sizeof(model), 1);
				cr_assert_eq(ftruncate(own_fd, 0), 0);
				start_drive(&kinds[k], false);
			}
			do_something(i, bits);
			if (i % 10 == 0) {
				expect_model(kinds[k].name);
			}
		}
		expect_model(kinds[k].name);
		cr_assert_eq(blk_guest_do(&guest, &flush, NULL), OK);
		/* Nothing of it went to the base, and all of it is there the next time. */
		blk_guest_destroy(&guest);
		uint8_t first[512];

		cr_assert_eq(pread(base_fd, data, sizeof(data), 0), sizeof(data));
		fill(first, sizeof(first), 1);
		cr_assert_arr_eq(data, first, sizeof(first));
		start_drive(&kinds[k], false);
		expect_model(kinds[k].name);
		blk_guest_destroy(&guest);
		start_drive(&kinds[k], true);
		expect_model(kinds[k].name);
		cr_assert_eq(blk_guest_write(&guest, 0, data, 512), VIRTIO_BLK_S_IOERR);
		blk_guest_destroy(&guest);
		close(base_fd);
		close(own_fd);
	}
}

Test(blk_overlay, many_requests_to_one_cluster_wait_for_its_copy, .timeout = 60)
{
	for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
		struct vring_used used;
		unsigned done = 0;

		make_files();
		start_drive(&kinds[k], false);
		for (unsigned i = 0; i < 64; i++) {
			/* Of four clusters in turn, each sector once. */
			uint64_t sector = (i % 4) * 128 + i / 4;
			const struct vbuf buf = {data, 512, 0};
			const struct blk_guest_req req = {VIRTIO_BLK_T_OUT, sector, &buf, 1};

			fill(data, 512, (uint8_t)(100 + i));
			memcpy(model + sector * 512, data, 512);
			blk_guest_add(&guest, 0, &req);
		}
		vdriver_kick(&guest.driver, 0);
		while (done < 64) {
			vdriver_wait_used(&guest.driver, 0);
			while (vdriver_used(&guest.driver, 0, &used)) {
				cr_assert_eq(blk_guest_status(&guest, 0, used.id, 1), OK);
				done++;
			}
		}
		expect_model(kinds[k].name);
		blk_guest_destroy(&guest);
		close(base_fd);
		close(own_fd);
	}
}

Test(blk_overlay, a_pause_writes_the_map_of_a_drive_that_is_flushed)
{
	make_files();
	start_drive(&kinds[3], false);
	fill(data, 512, 9);
	cr_assert_eq(blk_guest_write(&guest, 0, data, 512), OK);
	cr_assert(blk_overlay_is_dirty(guest.file.overlay));
	uint64_t word = 0;

	cr_assert_eq(pread(own_fd, &word, sizeof(word), OVERLAY_MAP_AT), sizeof(word));
	cr_assert_eq(word, 0, "a write alone does not change it");
	vdriver_pause(&guest.driver);
	cr_assert_eq(pread(own_fd, &word, sizeof(word), OVERLAY_MAP_AT), sizeof(word));
	cr_assert_eq(word, 1);
	cr_assert_not(blk_overlay_is_dirty(guest.file.overlay));
	blk_guest_destroy(&guest);
}

Test(blk_overlay, all_blocks_of_a_map_reach_the_file_by_a_flush)
{
	/* Of 4 KiB clusters: a block of the map is 128 MiB of the disk. */
	static const uint64_t at_mib[] = {0, 1, 130, 700, 900, 1000, 1023};
	static const struct blk_guest_req flush = {VIRTIO_BLK_T_FLUSH, 0, NULL, 0};
	struct overlay_head head = {.cluster_shift = 12};
	struct error err = {0};

	make_files();
	cr_assert_eq(ftruncate(base_fd, 1 << 30), 0);
	cr_assert_eq(overlay_format(own_fd, base_fd, 1 << 30, &head, &err), 0, "%s", err.msg);
	for (unsigned round = 0; round < 2; round++) {
		start_drive(&kinds[3], false);
		memset(data, 0x55, 512);
		for (size_t i = 0; i < ARRAY_COUNT(at_mib) && round == 0; i++) {
			cr_assert_eq(blk_guest_write(&guest, at_mib[i] << 11, data, 512), OK);
		}
		cr_assert_eq(blk_guest_do(&guest, &flush, NULL), OK);
		for (size_t i = 0; i < ARRAY_COUNT(at_mib); i++) {
			uint64_t bit = at_mib[i] << 8;
			uint8_t byte = 0;

			cr_assert_eq(pread(own_fd, &byte, 1, (off_t)(OVERLAY_MAP_AT + bit / 8)), 1);
			cr_assert_eq(byte, 1, "%lu MiB", (unsigned long)at_mib[i]);
			cr_assert_eq(blk_guest_read(&guest, at_mib[i] << 11, data, 512), OK);
			cr_assert_eq(data[5], 0x55);
		}
		blk_guest_destroy(&guest);
	}
}

Test(blk_overlay, another_file_is_an_overlay_that_nobody_has)
{
	struct blk_file same = {.fd = -1};
	struct error err = {0};
	char base[32], own[32];
	const struct blk_overlay_paths paths = {own, base, false, true};

	make_files();
	snprintf(base, sizeof(base), "/proc/self/fd/%d", base_fd);
	snprintf(own, sizeof(own), "/proc/self/fd/%d", own_fd);
	start_drive(&kinds[3], false);
	fill(data, 512, 77);
	memcpy(model + 512, data, 512);
	cr_assert_eq(blk_guest_write(&guest, 1, data, 512), OK);
	/* Opened before what was written is in its map; read when it is used. */
	cr_assert_eq(blk_file_open_overlay(&paths, &same, &err), 0, "%s", err.msg);
	cr_assert_eq(blk_set_file(guest.blk, &same, &err), 0, "%s", err.msg);
	blk_file_close(&guest.file);
	guest.file = same;
	expect_model("the same file again");

	/* One that another machine has is refused, and the old one goes on. */
	int taken = memfd_create("taken", MFD_CLOEXEC);
	struct blk_file other = {.fd = -1}, theirs = {.fd = -1};

	snprintf(own, sizeof(own), "/proc/self/fd/%d", taken);
	cr_assert_eq(blk_file_open_overlay(&paths, &theirs, &err), 0, "%s", err.msg);
	cr_assert_eq(overlay_lock(theirs.fd, "theirs", false, 0, &err), 0);
	cr_assert_eq(blk_file_open_overlay(&paths, &other, &err), 0, "%s", err.msg);
	cr_assert_eq(blk_set_file(guest.blk, &other, &err), -1);
	cr_assert_not_null(strstr(err.msg, "is in use: each machine needs one of its own"));
	blk_file_close(&other);
	error_clear(&err);
	cr_assert_eq(blk_guest_write(&guest, 300, data, 512), OK);
	memcpy(&model[300 * 512], data, 512);
	expect_model("the old file");
	snprintf(own, sizeof(own), "/proc/self/fd/%d", own_fd);
	cr_assert_eq(blk_file_open_overlay(&paths, &other, &err), 0);
	cr_assert_eq(overlay_lock(other.fd, "own", false, 0, &err), -1,
		     "the old one is still locked");
	blk_file_close(&other);
	blk_file_close(&theirs);
	blk_guest_destroy(&guest);
}

Test(blk_overlay, a_first_write_that_fails_changes_nothing)
{
	for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
		make_files();
		own_fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		start_drive(&kinds[k], false);
		expect_model(kinds[k].name);
		fill(data, 512, 42);
		cr_assert_eq(blk_guest_write(&guest, 0, data, 512), OK);
		memcpy(model, data, 512);
		cr_assert_eq(fcntl(own_fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
		memset(data, 0x99, LEN_MAX);
		cr_assert_eq(blk_guest_write(&guest, 200, data, 512), VIRTIO_BLK_S_IOERR);
		cr_assert_eq(blk_guest_write(&guest, 128, data, 2 << 16), VIRTIO_BLK_S_IOERR);
		cr_assert_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, 256, 200), VIRTIO_BLK_S_IOERR);
		cr_assert_eq(do_range(VIRTIO_BLK_T_DISCARD, 128, 300), VIRTIO_BLK_S_IOERR);
		expect_model(kinds[k].name);
		blk_guest_destroy(&guest);
		close(base_fd);
		close(own_fd);
	}
}
