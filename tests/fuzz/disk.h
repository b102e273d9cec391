/* SPDX-License-Identifier: Apache-2.0 */
/* Small disks in memory for fuzzers, filled with a pattern. */
#ifndef TESTS_FUZZ_DISK_H
#define TESTS_FUZZ_DISK_H

#include <stdbool.h>

#include "devices/virtio/blk/blk.h"

enum {
	DISK_SECTORS = 64,
	DISK_LEN = DISK_SECTORS * 512,
};

struct blk_file disk_make(bool is_in_memory);

/* An overlay over *base, which stays the caller's. */
struct blk_file disk_make_overlay(struct blk_file *base, bool is_read_only);

/* It must have kept its size, and its contents too where it is read-only. */
void disk_check(const struct blk_file *file, bool is_read_only);

#endif
