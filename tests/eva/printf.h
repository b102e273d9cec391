/* SPDX-License-Identifier: Apache-2.0 */
/* The library's printf functions for EVA: they write any text that fits. */
#ifndef TESTS_EVA_PRINTF_H
#define TESTS_EVA_PRINTF_H

#include <stdarg.h>
#include <stdio.h>

#include "tests/eva/eva.h"

static inline int format(char *to, size_t size)
{
	fill(to, size);
	to[size - 1] = '\0';
	return (int)any_between(0, INT32_MAX);
}

#define snprintf(to, size, ...) format(to, size)
#define vsnprintf(to, size, fmt, args) format(to, size)

#endif
