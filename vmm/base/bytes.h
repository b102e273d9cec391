/* SPDX-License-Identifier: Apache-2.0 */
/* Loads and stores of either byte order, checked arithmetic, alignment, counting: no state, no
 * errors. */
#ifndef VMM_BASE_BYTES_H
#define VMM_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/*
 * Both architectures are little-endian, as are all formats squib reads and writes, so a load is a
 * copy: unaligned addresses are fine, and the bytes are read once.
 */
static inline uint16_t load_le16(const void *from)
{
	uint16_t value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint32_t load_le32(const void *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint64_t load_le64(const void *from)
{
	uint64_t value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline void store_le16(void *to, uint16_t value)
{
	memcpy(to, &value, sizeof(value));
}

static inline void store_le32(void *to, uint32_t value)
{
	memcpy(to, &value, sizeof(value));
}

static inline void store_le64(void *to, uint64_t value)
{
	memcpy(to, &value, sizeof(value));
}

/* Of network protocols, in their byte order. */
static inline uint16_t load_be16(const void *from)
{
	return __builtin_bswap16(load_le16(from));
}

static inline uint32_t load_be32(const void *from)
{
	return __builtin_bswap32(load_le32(from));
}

static inline void store_be16(void *to, uint16_t value)
{
	store_le16(to, __builtin_bswap16(value));
}

static inline void store_be32(void *to, uint32_t value)
{
	store_le32(to, __builtin_bswap32(value));
}

/* *sum = a + b; false if that overflows (then *sum is not to be used). */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

/* *product = a * b; false if that overflows (then *product is not to be used). */
static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* `align` is a power of two. The caller makes sure that rounding up can't overflow. */
static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return align_down(value + align - 1, align);
}

static inline bool is_aligned(uint64_t value, uint64_t align)
{
	return (value & (align - 1)) == 0;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
