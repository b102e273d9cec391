/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the persistent memory device from its queue on, with descriptors that lie in RAM and in
 * the file, which is cut and made longer meanwhile: an input is a program of a hostile driver and
 * host. No access is a SIGBUS, a read-only file keeps its contents, and nothing is left in flight.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/pmem/pmem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pmem.h"

#define ROOM (512 * GIB)

enum {
	FILE_LEN = 5 * 4096 + 100,
	REGION_LEN = 2 * 1024 * 1024,
	PATTERN = 0x3c,
	STEPS_MAX = 400
};

enum setting {
	SET_READ_ONLY = 1,
	SET_LIMITED = 2,
};

enum action {
	ACT_DESC,
	ACT_REQUEST, /* a flush as a driver makes it */
	ACT_OFFER,
	ACT_NOTIFY,
	ACT_AVAIL_IDX,
	ACT_COPY, /* what another device would do with the memory */
	ACT_SIZE, /* the host makes the file shorter or longer */
	ACT_MEND,
	ACT_RESET,
	ACT_PAUSE,
	ACTIONS
};

struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t bits; /* 0: of the file; 1 to 3: a descriptor's flags; 7: any address */
	uint8_t index;
	uint8_t next;
	uint32_t len;
	uint64_t addr;
};

struct bed {
	struct vdriver driver;
	struct pmem *pmem;
	int file; /* the host's own descriptor */
	bool is_read_only;
};

static void build(struct bed *bed, unsigned settings)
{
	static char id[] = "p";
	uint8_t data[FILE_LEN];
	struct error err = {0};
	struct pmem_parts parts = {0};
	const struct pmem_config config = {
		.id = id,
		.has_rate_limiter = (settings & SET_LIMITED) != 0,
		.rate_limiter = {.ops = {.size = 2, .refill_time_ms = 1}, .has_ops = true},
	};

	vdriver_init(&bed->driver);
	bed->is_read_only = (settings & SET_READ_ONLY) != 0;
	bed->file = memfd_create("file", MFD_CLOEXEC);
	memset(data, PATTERN, sizeof(data));
	require(pwrite(bed->file, data, sizeof(data), 0) == FILE_LEN);
	const struct gmem_pmem_file file = {.name = id,
					    .fd = dup(bed->file),
					    .is_private = bed->is_read_only,
					    .room = {{ROOM}, GIB}};

	require(gmem_pmem_add(bed->driver.mem, &file, &parts.index, &err) == 0);
	parts.config = &config;
	require(pmem_new(vdriver_env(&bed->driver), &parts, &bed->pmem, &err) == 0);
	require(vdriver_start(&bed->driver, pmem_virtio(bed->pmem), UINT64_MAX));
}

static void destroy(struct bed *bed)
{
	uint8_t data[FILE_LEN];

	virtio_quiesce(pmem_virtio(bed->pmem));
	pmem_free(bed->pmem);
	vdriver_destroy(&bed->driver);
	ssize_t len = pread(bed->file, data, sizeof(data), 0);

	for (ssize_t i = 0; bed->is_read_only && i < len; i++) {
		require(data[i] == PATTERN || data[i] == 0); /* 0: longer again */
	}
	close(bed->file);
}

static void copy(struct bed *bed, const struct step *step, uint64_t addr)
{
	struct gmem *mem = bed->driver.mem;
	struct iovec iov[GMEM_REGIONS_MAX];
	uint8_t data[8192];
	size_t len = step->len % sizeof(data);
	size_t count;

	memset(data, PATTERN, sizeof(data));
	if (step->index % 3 == 0) {
		(void)!gmem_write(mem, GPA(addr), data, len);
	} else if (step->index % 3 == 1) {
		(void)!gmem_read(mem, GPA(addr), data, len);
	} else if (gmem_iov(mem, (struct gmem_range){GPA(addr), step->len}, GMEM_READ, iov,
			    &count) == 0) {
		require((count > 0 || step->len == 0) && count <= GMEM_REGIONS_MAX);
	}
}

static void ask(struct bed *bed, uint64_t addr)
{
	static const uint32_t flush;
	struct vring *ring = &bed->driver.queues[0].ring;

	(void)!gmem_write(bed->driver.mem, GPA(addr & ~UINT64_C(7)), &flush, sizeof(flush));
	vring_set_desc(ring, 0, (struct vring_desc){addr & ~UINT64_C(7), 4, VRING_NEXT, 1});
	vring_set_desc(ring, 1, (struct vring_desc){(addr & ~UINT64_C(7)) + 8, 4, VRING_WRITE, 0});
	vring_offer(ring, 0);
}

static void play(struct bed *bed, const struct step *step)
{
	struct vdriver *driver = &bed->driver;
	struct vring *ring = &driver->queues[0].ring;
	uint64_t in_file = ROOM + step->addr % (REGION_LEN + 64);
	uint64_t addr = step->bits & 128 ? step->addr
			: step->bits & 1 ? in_file
					 : step->addr & (VDRIVER_MEM_LEN - 1);

	switch (step->action % ACTIONS) {
	case ACT_DESC:
		vring_set_desc(
			ring, step->index,
			(struct vring_desc){addr, step->len, step->bits >> 1 & 7, step->next});
		break;
	case ACT_REQUEST:
		ask(bed, addr);
		break;
	case ACT_OFFER:
		vring_offer(ring, step->index);
		break;
	case ACT_NOTIFY:
		vdriver_notify(driver, 0);
		vdriver_run(driver);
		break;
	case ACT_AVAIL_IDX:
		vring_set_avail_idx(ring, (uint16_t)step->len);
		break;
	case ACT_COPY:
		copy(bed, step, addr);
		break;
	case ACT_SIZE:
		require(ftruncate(bed->file, step->len % (2 * FILE_LEN)) == 0);
		break;
	case ACT_MEND:
		if (gmem_pmem_is_torn(driver->mem)) {
			gmem_pmem_mend(driver->mem);
			require(!gmem_pmem_is_torn(driver->mem));
		}
		break;
	case ACT_RESET:
		require(vdriver_start(driver, pmem_virtio(bed->pmem), UINT64_MAX));
		break;
	case ACT_PAUSE:
		virtio_quiesce(pmem_virtio(bed->pmem));
		virtio_resume(pmem_virtio(bed->pmem));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bed bed;
	struct error err = {0};
	struct input input = {data, size};
	struct step step;

	if (size == 0) {
		return 0;
	}
	be_quiet();
	build(&bed, data[0]);
	input_skip(&input, 1);
	for (unsigned i = 0; i < STEPS_MAX && input_take(&input, &step, sizeof(step)); i++) {
		play(&bed, &step);
	}
	vdriver_run(&bed.driver);
	destroy(&bed);
	return 0;
}
