/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the drivers of Frama-C's EVA share. A driver includes the module's .c file after this one
 * and calls it with values of which nothing is known; guest memory answers anything, each time.
 */
#ifndef TESTS_EVA_EVA_H
#define TESTS_EVA_EVA_H

#include <__fc_builtin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of Arm's vector registers in KVM's types, which nobody looks into; Frama-C has no such type. */
struct eva_uint128 {
	uint64_t halves[2];
} __attribute__((aligned(16)));
#define __uint128_t struct eva_uint128

/* A volatile load is any value, but its address is checked. */
#define __atomic_load_n(at, order) (*(volatile __typeof__(*(at)) *)(at))
#define __atomic_store_n(at, value, order) (*(at) = (value))

/* For unsigned numbers of one type; `sum` may be `a`. */
#define __builtin_add_overflow(a, b, sum) (*(sum) = (a) + (b), *(sum) < (b))
#define __builtin_mul_overflow(a, b, product)                                                      \
	(*(product) = (a) * (b), (a) != 0 && *(product) / (a) != (b))

static inline uint64_t any_u64(void)
{
	return Frama_C_unsigned_long_interval(0, UINT64_MAX);
}

static inline uint32_t any_u32(void)
{
	return Frama_C_unsigned_int_interval(0, UINT32_MAX);
}

/* From `low` to `high`, both included. */
static inline uint64_t any_between(uint64_t low, uint64_t high)
{
	return Frama_C_unsigned_long_interval(low, high);
}

static inline bool any_bool(void)
{
	return Frama_C_interval(0, 1) != 0;
}

/* Makes any bytes of a buffer, all of which must be its owner's. */
static inline void fill(void *buf, size_t len)
{
	Frama_C_make_unknown(buf, len);
}

/* All of them must be there to be read. */
static inline void look_at(const void *buf, size_t len)
{
	/*@ assert len == 0 || \valid_read((const char *)buf + (0 .. len - 1)); */
	(void)buf;
	(void)len;
}

/* Reads a result: an alarm if nobody has set it. */
static volatile uint64_t kept;

static inline void keep(uint64_t value)
{
	kept = value;
}

#endif
