/* SPDX-License-Identifier: Apache-2.0 */
/* Counts allocations while it is asked to. */
#include "tests/fake/alloc_guard.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

static _Atomic bool is_guarding;
static _Atomic unsigned count;
static void *_Atomic first_caller;

static void note(void *caller)
{
	if (atomic_load_explicit(&is_guarding, memory_order_relaxed) &&
	    atomic_fetch_add(&count, 1) == 0) {
		atomic_store(&first_caller, caller);
	}
}

void alloc_guard_begin(void)
{
	atomic_store(&count, 0);
	atomic_store(&is_guarding, true);
}

unsigned alloc_guard_end(void)
{
	atomic_store(&is_guarding, false);
	unsigned counted = atomic_load(&count);

	if (counted > 0) {
		/* The table of symbols is a debugger's: gdb -batch -ex "info symbol ..." */
		fprintf(stderr, "alloc_guard: %u allocations, the first returns to %p\n", counted,
			atomic_load(&first_caller));
	}
	return counted;
}

/* The linker's names [ld --wrap]. NOLINTBEGIN(bugprone-reserved-identifier) */

#define WRAP(result, name, params, ...)                                                            \
	result __real_##name params;                                                               \
	result __wrap_##name params;                                                               \
	result __wrap_##name params                                                                \
	{                                                                                          \
		note(__builtin_return_address(0));                                                 \
		return __real_##name(__VA_ARGS__);                                                 \
	}

WRAP(void *, malloc, (size_t size), size)
WRAP(void *, calloc, (size_t members, size_t size), members, size)
WRAP(void *, realloc, (void *block, size_t size), block, size)
WRAP(void *, reallocarray, (void *block, size_t members, size_t size), block, members, size)
WRAP(void *, aligned_alloc, (size_t align, size_t size), align, size)
WRAP(int, posix_memalign, (void **block, size_t align, size_t size), block, align, size)
WRAP(char *, strdup, (const char *text), text)
WRAP(char *, strndup, (const char *text, size_t len), text, len)

/* NOLINTEND(bugprone-reserved-identifier) */
