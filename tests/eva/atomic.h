/* SPDX-License-Identifier: Apache-2.0 */
/* Atomic operations for EVA: what one finds on changing a value is anything. */
#ifndef TESTS_EVA_ATOMIC_H
#define TESTS_EVA_ATOMIC_H

#include <stdatomic.h>

#include "tests/eva/eva.h"

#undef atomic_load
#undef atomic_store
#undef atomic_fetch_and
#undef atomic_fetch_or
#undef atomic_fetch_add_explicit
#undef atomic_load_explicit
#undef atomic_store_explicit
#define atomic_load(at) (*(at))
#define atomic_store(at, value) ((void)(*(at) = (value)))
#define atomic_fetch_and(at, bits) (*(at) &= (bits), any_u64())
#define atomic_fetch_or(at, bits) (*(at) |= (bits), any_u64())
#define atomic_fetch_add_explicit(at, value, order) (*(at) += (value), any_u64())
#define atomic_load_explicit(at, order) atomic_load(at)
#define atomic_store_explicit(at, value, order) atomic_store(at, value)

#endif
