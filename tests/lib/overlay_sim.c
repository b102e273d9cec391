/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay on a disk that is played.
 *
 * Theory of operation. Each sector has eight equal numbers; each write brings a new one, which is
 * the sector's value. For every sector there are three sets of values: what a read may find now
 * (one value, more after a request that failed), what a power loss may leave (the value at the last
 * flush that was answered, and all since), and what it may leave once the flush in flight ends. A
 * request never overlaps one in flight, but may well be in the same cluster.
 */
#include "tests/lib/overlay_sim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/blk/blk_overlay.h"
#include "vmm/base/bytes.h"

enum {
	SECTOR = 512,
	SHIFT = OVERLAY_CLUSTER_SHIFT_MIN,
	PER_CLUSTER = 1 << (SHIFT - 9),
	SECTORS = 12 * PER_CLUSTER + 3,
	DISK_LEN = SECTORS * SECTOR,
	BASE_LEN = DISK_LEN + 100,
	IOS = 6,
	VALUES_MAX = 12,
	LEN_MAX = 3 * PER_CLUSTER, /* sectors of a request */
};

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "overlay_sim: line %d: %s\n", __LINE__, #condition);       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct values {
	unsigned count;
	uint32_t value[VALUES_MAX];
};

/* What a file has at one place: the blocks of the map, and the disk. */
struct image {
	uint8_t map[OVERLAY_BLOCK];
	uint8_t data[DISK_LEN];
};

struct flight {
	bool is_used;
	bool is_applied; /* the call took effect, and its end is not told yet */
	int64_t result;
	struct blk_io io;
	struct iovec iov[VIRTQ_IOV_MAX];
	unsigned sector, count; /* what it covers */
	uint32_t value;
	uint8_t data[LEN_MAX * SECTOR];
	struct values flushing[SECTORS]; /* of a flush */
};

static struct sim {
	const uint8_t *program;
	size_t left;
	bool is_deferred;
	bool has_holes; /* the file system knows fallocate */
	struct overlay_head head;
	struct blk_overlay *overlay;
	struct image cache; /* the host's page cache */
	struct image disk;  /* what outlives a power loss */
	uint8_t base[BASE_LEN];
	struct flight flights[IOS];
	uint32_t next_value;
	struct values now[SECTORS];
	struct values flushed[SECTORS];
} sim;

static uint8_t take(void)
{
	if (sim.left == 0) {
		return 0;
	}
	sim.left--;
	return *sim.program++;
}

/* --- Values --- */

static void only(struct values *set, uint32_t value)
{
	*set = (struct values){1, {value}};
}

static bool has(const struct values *set, uint32_t value)
{
	for (unsigned i = 0; i < set->count; i++) {
		if (set->value[i] == value) {
			return true;
		}
	}
	return false;
}

static void add(struct values *set, uint32_t value)
{
	if (!has(set, value)) {
		REQUIRE(set->count < VALUES_MAX);
		set->value[set->count++] = value;
	}
}

/* What a flush in flight may leave has no more values than what may be left now. */
static bool has_room(unsigned sector, unsigned count)
{
	for (unsigned i = sector; i < sector + count; i++) {
		if (sim.now[i].count == VALUES_MAX || sim.flushed[i].count == VALUES_MAX) {
			return false;
		}
	}
	return true;
}

static void fill(uint8_t *sector, uint32_t value)
{
	for (unsigned i = 0; i < SECTOR; i += 4) {
		store_le32(sector + i, value);
	}
}

static uint32_t value_of(const uint8_t *sector)
{
	for (unsigned i = 4; i < SECTOR; i += 4) {
		REQUIRE(load_le32(sector + i) == load_le32(sector));
	}
	return load_le32(sector);
}

static uint32_t base_value(unsigned sector)
{
	return UINT32_C(0x80000000) + sector;
}

/* --- The host --- */

static uint8_t *place(uint64_t offset, uint64_t len)
{
	if (offset >= sim.overlay->data_at) {
		REQUIRE(offset - sim.overlay->data_at + len <= DISK_LEN);
		return sim.cache.data + (offset - sim.overlay->data_at);
	}
	REQUIRE(offset >= OVERLAY_MAP_AT && offset - OVERLAY_MAP_AT + len <= OVERLAY_BLOCK);
	return sim.cache.map + (offset - OVERLAY_MAP_AT);
}

static void move(const struct blk_step *step, uint64_t len)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < step->iov_count && done < len; i++) {
		uint64_t part = min_u64(step->iov[i].iov_len, len - done);

		if (step->is_base) {
			REQUIRE(step->call == BLK_CALL_READV &&
				step->offset + done + part <= BASE_LEN);
			memcpy(step->iov[i].iov_base, sim.base + step->offset + done, part);
		} else if (step->call == BLK_CALL_READV) {
			memcpy(step->iov[i].iov_base, place(step->offset + done, part), part);
		} else {
			memcpy(place(step->offset + done, part), step->iov[i].iov_base, part);
		}
		done += part;
	}
	REQUIRE(done == len);
}

/* The call of a request takes effect. */
static void apply(struct flight *flight, uint8_t luck)
{
	const struct blk_step step = blk_io_step(&flight->io);
	bool is_transfer = step.call == BLK_CALL_READV || step.call == BLK_CALL_WRITEV;

	flight->is_applied = true;
	if (luck < 8) {
		flight->result = -EIO;
	} else if (luck < 16 && is_transfer) {
		flight->result = -EAGAIN;
	} else if (is_transfer) {
		uint64_t len = luck < 40 && step.len > SECTOR ? SECTOR : step.len;

		move(&step, len);
		flight->result = (int64_t)len;
	} else if (step.call == BLK_CALL_FDATASYNC) {
		sim.disk = sim.cache;
		flight->result = 0;
	} else if (!sim.has_holes) {
		flight->result = -EOPNOTSUPP;
	} else {
		REQUIRE((step.mode & FALLOC_FL_KEEP_SIZE) != 0);
		memset(place(step.offset, step.len), 0, step.len);
		flight->result = 0;
	}
}

/* --- The machine --- */

static void open_overlay(void)
{
	struct error err = {0};
	int base = memfd_create("base", MFD_CLOEXEC);

	REQUIRE(blk_overlay_new(&sim.head, "overlay", &base, &sim.overlay, &err) == 0);
	memcpy(sim.overlay->own, sim.cache.map, OVERLAY_BLOCK);
	memcpy(sim.overlay->stored, sim.cache.map, OVERLAY_BLOCK);
	sim.overlay->is_deferred = sim.is_deferred;
}

/* Everything that the overlay says now is in `allowed`; it becomes all that is known. */
static void check_all(struct values *allowed)
{
	for (unsigned i = 0; i < SECTORS; i++) {
		struct blk_io io = {.op = BLK_OP_READ,
				    .overlay = sim.overlay,
				    .offset = (uint64_t)i * SECTOR,
				    .len = SECTOR};

		REQUIRE(blk_overlay_run(&io) == SECTOR);
		const uint8_t *file = io.is_base ? sim.base : sim.cache.data;
		uint32_t value = value_of(file + (size_t)i * SECTOR);

		REQUIRE(has(&allowed[i], value));
		only(&sim.now[i], value);
		only(&sim.flushed[i], value);
	}
}

static void settle_image(void)
{
	/* What survived is on the disk from now on, as after a long time. */
	sim.disk = sim.cache;
}

/* The monitor is gone; calls that the kernel has may take effect or not. */
static void kill_monitor(void)
{
	for (unsigned i = 0; i < IOS; i++) {
		struct flight *flight = &sim.flights[i];

		if (flight->is_used && !flight->is_applied && (take() & 1)) {
			apply(flight, 255);
		}
		flight->is_used = false;
	}
	blk_overlay_free(sim.overlay);
	open_overlay();
	check_all(sim.is_deferred ? sim.flushed : sim.now);
	settle_image();
}

static void lose_power(void)
{
	memset(sim.flights, 0, sizeof(sim.flights));
	sim.cache = sim.disk;
	blk_overlay_free(sim.overlay);
	open_overlay();
	check_all(sim.flushed);
	settle_image();
}

/* The kernel writes back what it likes. A map block goes sector by sector, too. */
static void write_back(void)
{
	unsigned first = take() % SECTORS;
	unsigned count = take() % 16;

	for (unsigned i = first; i < first + count && i < SECTORS; i++) {
		memcpy(sim.disk.data + (size_t)i * SECTOR, sim.cache.data + (size_t)i * SECTOR,
		       SECTOR);
	}
	if (count % 3 == 0) {
		memcpy(sim.disk.map, sim.cache.map, SECTOR);
	}
}

static bool is_wholly_discarded(const struct flight *flight, unsigned sector)
{
	unsigned first = sector / PER_CLUSTER * PER_CLUSTER;
	unsigned end = first + PER_CLUSTER < SECTORS ? first + PER_CLUSTER : SECTORS;

	return sim.has_holes && first >= flight->sector && end <= flight->sector + flight->count;
}

/* Of two flushes, the one that ends later may have begun earlier: both hold. */
static void flushed(const struct flight *flight)
{
	for (unsigned i = 0; i < SECTORS; i++) {
		struct values both = {0};

		for (unsigned j = 0; j < sim.flushed[i].count; j++) {
			if (has(&flight->flushing[i], sim.flushed[i].value[j])) {
				add(&both, sim.flushed[i].value[j]);
			}
		}
		sim.flushed[i] = both;
	}
}

static void end_request(struct flight *flight, enum blk_progress progress)
{
	bool is_done = progress == BLK_IO_DONE;

	flight->is_used = false;
	for (unsigned i = 0; i < flight->count; i++) {
		unsigned sector = flight->sector + i;
		struct values *now = &sim.now[sector];

		if (flight->io.op == BLK_OP_READ && is_done) {
			REQUIRE(has(now, value_of(flight->data + (size_t)i * SECTOR)));
		} else if (flight->io.op == BLK_OP_DISCARD && is_done &&
			   is_wholly_discarded(flight, sector)) {
			only(now, 0);
		} else if (flight->io.op != BLK_OP_READ && is_done &&
			   flight->io.op != BLK_OP_DISCARD) {
			only(now, flight->value);
		}
	}
	if (flight->io.op == BLK_OP_FLUSH && is_done) {
		flushed(flight);
	}
}

/* What is issued may be there from now on, and may outlive everything. */
static void may_have(struct flight *flight, uint32_t value)
{
	for (unsigned i = flight->sector; i < flight->sector + flight->count; i++) {
		add(&sim.now[i], value);
		add(&sim.flushed[i], value);
		for (unsigned j = 0; j < IOS; j++) {
			if (sim.flights[j].is_used && sim.flights[j].io.op == BLK_OP_FLUSH) {
				add(&sim.flights[j].flushing[i], value);
			}
		}
	}
}

static bool overlaps(unsigned sector, unsigned count)
{
	for (unsigned i = 0; i < IOS; i++) {
		const struct flight *flight = &sim.flights[i];

		if (flight->is_used && sector < flight->sector + flight->count &&
		    flight->sector < sector + count) {
			return true;
		}
	}
	return false;
}

static struct flight *find_free(void)
{
	for (unsigned i = 0; i < IOS; i++) {
		if (!sim.flights[i].is_used) {
			return &sim.flights[i];
		}
	}
	return NULL;
}

/* Pieces of any length, sectors or not. */
static void cut(struct flight *flight)
{
	size_t len = (size_t)flight->count * SECTOR;
	size_t at = 0;

	flight->io.iov_count = 0;
	while (at < len) {
		uint8_t bits = take();
		size_t part =
			bits < 128 ? len - at : min_u64((size_t)(bits & 127) * 100 + 1, len - at);

		flight->iov[flight->io.iov_count++] = (struct iovec){flight->data + at, part};
		at += part;
	}
	flight->io.offset = (uint64_t)flight->sector * SECTOR;
	flight->io.len = len;
	flight->io.data_len = (uint32_t)len;
}

static void start(enum blk_op op)
{
	struct flight *flight = find_free();
	unsigned sector = take() % SECTORS;
	unsigned count = take() % LEN_MAX + 1;

	if (flight == NULL) {
		return;
	}
	count = sector + count > SECTORS ? SECTORS - sector : count;
	count = op == BLK_OP_FLUSH ? 0 : count;
	if (overlaps(sector, count) || !has_room(sector, count)) {
		return;
	}
	memset(&flight->io, 0, sizeof(flight->io));
	flight->sector = sector;
	flight->count = count;
	flight->is_applied = false;
	flight->io.op = op;
	flight->io.iov = flight->iov;
	flight->io.overlay = sim.overlay;
	flight->value = op == BLK_OP_WRITE ? sim.next_value++ : 0;
	if (op == BLK_OP_READ || op == BLK_OP_WRITE) {
		cut(flight);
	} else if (op != BLK_OP_FLUSH) {
		flight->io.range_count = 1;
		flight->io.ranges[0] = (struct blk_range){(uint64_t)sector * SECTOR,
							  (uint64_t)count * SECTOR, take() & 1};
	}
	if (blk_overlay_must_wait(&flight->io)) {
		return;
	}
	for (unsigned i = 0; i < count && op == BLK_OP_WRITE; i++) {
		fill(flight->data + (size_t)i * SECTOR, flight->value);
	}
	if (op == BLK_OP_FLUSH) {
		memcpy(flight->flushing, sim.now, sizeof(sim.now));
	} else if (op != BLK_OP_READ) {
		may_have(flight, flight->value);
	}
	enum blk_progress progress = blk_io_start(&flight->io);

	flight->is_used = true;
	if (progress != BLK_IO_MORE) {
		end_request(flight, progress);
	}
}

/* Has the call of a request in flight take effect, and maybe tells its end. */
static void step(uint8_t bits)
{
	struct flight *flight = &sim.flights[bits % IOS];

	if (!flight->is_used) {
		return;
	}
	if (!flight->is_applied) {
		apply(flight, take());
	}
	if ((bits & 64) != 0) {
		enum blk_progress progress = blk_io_advance(&flight->io, flight->result);

		flight->is_applied = false;
		if (progress != BLK_IO_MORE) {
			end_request(flight, progress);
		}
	}
}

/* A reset: all calls in flight end, and nobody advances them. */
static void forget(void)
{
	for (unsigned i = 0; i < IOS; i++) {
		struct flight *flight = &sim.flights[i];

		if (flight->is_used && !flight->is_applied) {
			apply(flight, 255);
		}
		flight->is_used = false;
	}
	blk_overlay_forget(sim.overlay);
	REQUIRE(sim.overlay->copy_count == 0 && !sim.overlay->is_flushing);
}

static void act(void)
{
	uint8_t bits = take();

	switch (bits % 16) {
	case 0:
	case 1:
		start(BLK_OP_READ);
		break;
	case 2:
	case 3:
	case 4:
		start(BLK_OP_WRITE);
		break;
	case 5:
		start(BLK_OP_FLUSH);
		break;
	case 6:
		start(BLK_OP_DISCARD);
		break;
	case 7:
		start(BLK_OP_ZEROES);
		break;
	case 8:
		write_back();
		break;
	case 9:
		if ((take() & 7) == 0) {
			forget();
		}
		break;
	case 10:
		if ((take() & 7) == 0) {
			kill_monitor();
		}
		break;
	case 11:
		/* Which a drive that nobody flushes need not survive. */
		if (sim.is_deferred && (take() & 7) == 0) {
			lose_power();
		}
		break;
	default:
		step(take());
		break;
	}
}

static void begin(void)
{
	sim.has_holes = (take() & 7) != 0;
	sim.next_value = 1;
	sim.head = (struct overlay_head){
		.cluster_shift = SHIFT,
		.disk_len = DISK_LEN,
		.base_len = BASE_LEN,
	};
	for (unsigned i = 0; i < SECTORS; i++) {
		fill(sim.base + (size_t)i * SECTOR, base_value(i));
		/* As a file system might leave it of another file, were it not for holes. */
		fill(sim.cache.data + (size_t)i * SECTOR, 0);
		only(&sim.now[i], base_value(i));
		sim.flushed[i] = sim.now[i];
	}
	sim.disk = sim.cache;
	open_overlay();
}

void overlay_sim_play(const uint8_t *program, size_t len, bool is_deferred)
{
	memset(&sim, 0, sizeof(sim));
	sim.program = program;
	sim.left = len;
	sim.is_deferred = is_deferred;
	begin();
	while (sim.left > 0) {
		act();
	}
	/* All come to an end, and then each sector is what it was told to be. */
	for (unsigned i = 0; i < IOS; i++) {
		while (sim.flights[i].is_used) {
			struct flight *flight = &sim.flights[i];

			if (!flight->is_applied) {
				apply(flight, 255);
			}
			flight->is_applied = false;
			enum blk_progress progress = blk_io_advance(&flight->io, flight->result);

			if (progress != BLK_IO_MORE) {
				end_request(flight, progress);
			}
		}
	}
	REQUIRE(sim.overlay->copy_count == 0 && !sim.overlay->is_flushing);
	check_all(sim.now);
	blk_overlay_free(sim.overlay);
}
