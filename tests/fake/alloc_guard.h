/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what a thread allocates, so that a test can see that a data path does not. */
#ifndef TESTS_FAKE_ALLOC_GUARD_H
#define TESTS_FAKE_ALLOC_GUARD_H

/* From now on, this thread's. */
void alloc_guard_begin(void);

/* How many allocations there were. Under a sanitizer, whose allocator is its own: 0. */
unsigned alloc_guard_end(void);

#endif
