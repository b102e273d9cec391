/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the C library's allocator in the test program, in front of it. */
#include "tests/fake/alloc_guard.h"

#include <stdbool.h>
#include <stddef.h>

static _Thread_local bool is_counting;
static _Thread_local unsigned count;

void alloc_guard_begin(void)
{
	count = 0;
	is_counting = true;
}

unsigned alloc_guard_end(void)
{
	is_counting = false;
	return count;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/* glibc's own names [glibc malloc/malloc.c]. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t members, size_t len);
void *__libc_realloc(void *old, size_t len);

void *malloc(size_t len);
void *calloc(size_t members, size_t len);
void *realloc(void *old, size_t len);

void *malloc(size_t len)
{
	count += is_counting;
	return __libc_malloc(len);
}

void *calloc(size_t members, size_t len)
{
	count += is_counting;
	return __libc_calloc(members, len);
}

void *realloc(void *old, size_t len)
{
	count += is_counting;
	return __libc_realloc(old, len);
}

#endif
