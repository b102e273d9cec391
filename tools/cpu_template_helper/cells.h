/* SPDX-License-Identifier: Apache-2.0 */
/* A template, or a dump, as a list of registers with the bits that it names. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_CELLS_H
#define TOOLS_CPU_TEMPLATE_HELPER_CELLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "arch/field.h"
#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"

/* A register: of a leaf of CPUID by the leaf's flags too [compat]. */
struct cell {
	struct arch_register reg;
	uint32_t flags;
	unsigned width;		       /* 32, 64 or 128 bits */
	struct cpu_template_bits bits; /* a value has no bits beyond its mask */
};

/* Sorted; no register is there twice, or without a bit that it names. */
struct cells {
	struct cell *items; /* heap */
	size_t count;
};

/* Of what a template has twice, the later bits count. The caller frees *cells. */
MUST_CHECK int cells_of(const struct cpu_template *bits, struct cells *cells, struct error *err);
void cells_free(struct cells *cells);

/* NULL: it is not there. */
struct cell *cells_find(const struct cells *cells, const struct cell *key);

bool cells_equal(const struct cells *a, const struct cells *b);

/* What stands in the place of bits that a narrow register of aarch64 lacks: see cells_to_json. */
enum cells_kind {
	CELLS_DUMP,	/* zeroes, as in Firecracker's dumps */
	CELLS_TEMPLATE, /* x: no bits, so that a machine takes it */
};

/* Firecracker's JSON of a template [compat]; NULL: out of memory. */
json_t *cells_to_json(const struct cells *cells, enum cells_kind kind);

/* A number of up to 64 bits of a cell: those of a field, or the lowest of a wider one. */
uint64_t cell_field(const struct cell *cell, const struct arch_field *field);

/* "eax" to "edx", of a leaf's register. */
const char *cell_reg(const struct cell *cell);

/* Prints the name of a field, or of all the register (NULL). */
void cell_print_name(const struct cell *cell, const struct arch_field *field, FILE *out);

/* The cell names no bit at all. */
bool cell_is_empty(const struct cell *cell);

/* Bit `bit` is one that the cell names, and is 1. */
bool cell_has(const struct cell *cell, unsigned bit);
bool cell_bit(const struct cell *cell, unsigned bit);

#endif
