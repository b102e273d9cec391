/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says whether code allocates where it must not: between a guest's notification and its interrupt.
 *
 *	alloc_guard_begin();
 *	vdriver_kick(&driver, 0);
 *	vdriver_run(&driver);
 *	cr_assert(alloc_guard_end() == 0);
 *
 * The linker's --wrap puts it between our objects and the C library, whose own allocations (and
 * criterion's) are thus not seen.
 */
#ifndef TESTS_FAKE_ALLOC_GUARD_H
#define TESTS_FAKE_ALLOC_GUARD_H

/* Counts from now on, for all threads. */
void alloc_guard_begin(void);

/* Stops; returns how many allocations there were. Where the first one was goes to stderr. */
unsigned alloc_guard_end(void);

#endif
