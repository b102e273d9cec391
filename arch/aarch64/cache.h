/* SPDX-License-Identifier: Apache-2.0 */
/* The host's CPU caches, which the guest's FDT repeats. */
#ifndef ARCH_AARCH64_CACHE_H
#define ARCH_AARCH64_CACHE_H

#include <stddef.h>
#include <stdint.h>

enum cache_type {
	CACHE_DATA,
	CACHE_INSTRUCTION,
	CACHE_UNIFIED
};

enum {
	CACHE_LEVEL_MAX = 3,
	CACHE_COUNT_MAX = 8, /* more than index0..3, which is what processors with L3 have */
};

struct cache {
	unsigned level; /* 1..CACHE_LEVEL_MAX */
	enum cache_type type;
	uint32_t size;	    /* bytes; each of these three is 0 where the host does not say */
	uint32_t line_size; /* bytes */
	uint32_t sets;
	unsigned cpus; /* how many CPUs share it, at least 1 */
};

/* Sorted as in sysfs; no two entries have the same level and type. */
struct cache_list {
	size_t count;
	struct cache entries[CACHE_COUNT_MAX];
};

/* Where Linux describes the caches of the first CPU. */
#define CACHE_SYSFS "/sys/devices/system/cpu/cpu0/cache"

/*
 * Fills *list from the index<n> folders in `dir`. What is absent (a jail without sysfs, a host that
 * does not tell) or makes no sense is left out: caches are only advice for the guest's scheduler.
 */
void cache_read(const char *dir, struct cache_list *list);

#endif
