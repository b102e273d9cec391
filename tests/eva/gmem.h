/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for EVA: everything may be RAM or not, and holds anything. */
#ifndef TESTS_EVA_GMEM_H
#define TESTS_EVA_GMEM_H

#include "tests/eva/eva.h"
#include "vmm/base/gmem.h"
#include "vmm/base/gmem_plug.h"

struct gmem {
	int unused;
};

/*
 * Where a copy's buffer is walked by what is left of a length, EVA, which relates no two numbers,
 * can't tell that it ends in time: a driver switches the check off then.
 */
static bool is_buffer_checked = true;

bool gmem_contains(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	(void)mem, (void)gpa, (void)len;
	return any_bool();
}

int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	(void)mem, (void)gpa;
	if (any_bool()) {
		return -1;
	}
	if (len > 0 && is_buffer_checked) {
		fill(buf, len);
	}
	return 0;
}

int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	(void)mem, (void)gpa;
	if (any_bool()) {
		return -1;
	}
	/*@ assert !is_buffer_checked || len == 0 ||
	  @	\valid_read((const char *)buf + (0 .. len - 1));
	  @*/
	return 0;
}

int gmem_iov(struct gmem *mem, struct gmem_range range, enum gmem_access access,
	     struct iovec iov[GMEM_REGIONS_MAX], size_t *count)
{
	static uint8_t somewhere[1];

	(void)mem, (void)access;
	if (any_bool()) {
		return -1;
	}
	for (size_t i = 0; i < GMEM_REGIONS_MAX; i++) {
		iov[i].iov_base = somewhere;
		iov[i].iov_len = any_between(1, range.len > 0 ? range.len : 1);
	}
	*count = any_between(1, GMEM_REGIONS_MAX);
	return 0;
}

/* Just as long as asked for: an access beyond its end is one beyond the array. */
enum {
	RING_ROOM = 8192
};

static uint64_t rings[3][RING_ROOM / 8];
static unsigned ring_count;

void *gmem_ring_map(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	(void)mem, (void)gpa;
	if (len > RING_ROOM || any_bool()) {
		return NULL;
	}
	return (uint8_t *)rings[ring_count++ % 3] + RING_ROOM - len;
}

void gmem_ring_unmap(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	(void)mem, (void)gpa, (void)len;
}

struct gmem_marks gmem_ring_marks(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	static _Atomic uint64_t words[1];
	struct gmem_marks marks = {.first = 0, .last = 0};

	(void)mem, (void)gpa, (void)len;
	marks.words = any_bool() ? words : NULL;
	return marks;
}

void gmem_mark(const struct gmem_marks *marks)
{
	atomic_fetch_or(marks->words, 1);
}

#endif
