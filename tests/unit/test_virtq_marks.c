/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/virtq.c: which pages of guest memory are marked as written to. */
#include <criterion/criterion.h>

#include "devices/virtio/core/virtq.h"
#include "tests/lib/vring.h"
#include "vmm/base/bytes.h"

#define EVENTS (UINT64_C(1) << 29)
#define RING_AT 0x10000
#define DATA_AT UINT64_C(0x40000)

static const struct gmem_range range = {{0}, MIB};
static struct gmem *mem;
static struct vring ring;
static struct virtq vq;

static void set_up(void)
{
	struct error err = {0};

	cr_assert(gmem_new(&range, 1, GMEM_ANON, &mem, &err) == 0, "%s", err.msg);
	vring_init(&ring, mem, GPA(RING_AT), 16);
	cr_assert(gmem_track_dirty(mem, &err) == 0, "%s", err.msg);
}

static void tear_down(void)
{
	gmem_free(mem);
}

TestSuite(virtq_marks, .init = set_up, .fini = tear_down);

/* Whether just the pages first..last are marked; takes the marks. */
static bool is_marked(uint64_t first, uint64_t last)
{
	uint64_t bitmap[MIB / 4096 / 64] = {0};
	bool is_as_expected = true;

	gmem_dirty_take(mem, 0, bitmap, ARRAY_COUNT(bitmap));
	for (uint64_t page = 0; page < MIB / 4096; page++) {
		is_as_expected &=
			(bitmap[page / 64] >> page % 64 & 1) == (page >= first && page <= last);
	}
	return is_as_expected;
}

Test(virtq_marks, what_is_stored_into_the_used_ring_is_marked)
{
	static const struct {
		uint64_t used;
		uint64_t first;
		uint64_t last;
	} cases[] = {{0x30000, 0x30, 0x30}, {0x30ffc, 0x30, 0x31}};
	static const uint64_t features[] = {0, EVENTS};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(cases) * 2; i++) {
		uint64_t first = cases[i / 2].first;
		uint64_t last = cases[i / 2].last;
		struct virtq_config config = vring_config(&ring);

		config.used = GPA(cases[i / 2].used);
		cr_assert(virtq_start(&vq, &config, mem, features[i % 2], &err) == 0);
		cr_expect(is_marked(1, 0), "case %zu: nothing was stored", i);
		(void)!virtq_arm_kick(&vq);
		cr_expect(is_marked(first, last), "case %zu: armed", i);
		virtq_push(&vq, 0, 0);
		(void)!virtq_publish(&vq);
		cr_expect(is_marked(first, last), "case %zu: published", i);
		(void)!virtq_publish(&vq);
		cr_expect(is_marked(1, 0), "case %zu: nothing was published", i);
		virtq_disarm_kick(&vq);
		cr_expect(features[i % 2] != 0 ? is_marked(1, 0) : is_marked(first, last),
			  "case %zu: disarmed", i);
	}
}

Test(virtq_marks, writable_bytes_of_a_chain_are_marked_and_readable_ones_are_not)
{
	const struct virtq_chain both = {
		.count = 2,
		.readable = 1,
		.read_len = 8192,
		.write_len = 8192,
		.segs = {{GPA(DATA_AT), 8192}, {GPA(DATA_AT + UINT64_C(16) * 4096), 8192}},
	};
	struct iovec iovs[2];
	struct virtq_iov iov = {.iov = iovs, .cap = 2};
	struct virtq_span span = {VIRTQ_READABLE, 0, 8192};
	uint8_t bytes[8] = {0};

	cr_assert(virtq_chain_iov(mem, &both, span, &iov) == 0 && is_marked(1, 0));
	span.side = VIRTQ_WRITABLE;
	cr_assert(virtq_chain_iov(mem, &both, span, &iov) == 0);
	cr_assert(is_marked(DATA_AT / 4096 + 16, DATA_AT / 4096 + 17));
	cr_assert(virtq_chain_read(mem, &both, 0, bytes, 8) == 0 && is_marked(1, 0));
	cr_assert(virtq_chain_write(mem, &both, 4096, bytes, 8) == 0);
	cr_assert(is_marked(DATA_AT / 4096 + 17, DATA_AT / 4096 + 17));
}
