/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of registers, and their JSON. */
#include "tools/cpu_template_helper/cells.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "vmm/base/bytes.h"
#include "vmm/base/text.h"

enum {
	LEAF_REGS = 4,
	BITMAP_MAX = 128,
	NAME_LEN = 160,
};

/* KVM_REG_SIZE_MASK of aarch64 [kvm-api 4.68]; the number of an MSR has nothing there. */
static unsigned width_of(uint64_t id)
{
	const unsigned log = id >> 52 & 0xf;

	return log != 0 ? 8u << log : 64;
}

static int order(uint64_t a, uint64_t b)
{
	return a == b ? 0 : a < b ? -1 : 1;
}

static int compare(const void *a, const void *b)
{
	const struct cell *first = a;
	const struct cell *second = b;
	const int orders[] = {
		order(second->reg.is_cpuid, first->reg.is_cpuid),
		order(first->reg.leaf, second->reg.leaf),
		order(first->reg.subleaf, second->reg.subleaf),
		order(first->flags, second->flags),
		order(first->reg.reg, second->reg.reg),
		order(first->reg.id, second->reg.id),
	};

	for (size_t i = 0; i < ARRAY_COUNT(orders); i++) {
		if (orders[i] != 0) {
			return orders[i];
		}
	}
	return 0;
}

static void add(struct cells *cells, const struct cell *cell)
{
	for (size_t i = 0; i < cells->count; i++) {
		struct cell *old = &cells->items[i];

		if (compare(old, cell) == 0) {
			cpu_template_apply(&cell->bits, old->bits.value, CPU_TEMPLATE_WORDS);
			for (size_t word = 0; word < CPU_TEMPLATE_WORDS; word++) {
				old->bits.mask[word] |= cell->bits.mask[word];
			}
			return;
		}
	}
	cells->items[cells->count++] = *cell;
}

static void add_leaf(struct cells *cells, const struct cpu_template_leaf *leaf)
{
	for (unsigned i = 0; i < LEAF_REGS; i++) {
		const struct cell cell = {
			.reg = {true, i, leaf->leaf, leaf->subleaf, 0},
			.flags = leaf->flags,
			.width = 32,
			.bits = {{leaf->regs[i].mask}, {leaf->regs[i].value}},
		};

		if (leaf->regs[i].mask != 0) {
			add(cells, &cell);
		}
	}
}

int cells_of(const struct cpu_template *bits, struct cells *cells, struct error *err)
{
	const size_t room = bits->leaf_count * LEAF_REGS + bits->register_count + 1;

	*cells = (struct cells){.items = calloc(room, sizeof(*cells->items))};
	if (cells->items == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot keep %zu registers", room);
	}
	for (size_t i = 0; i < bits->leaf_count; i++) {
		add_leaf(cells, &bits->leaves[i]);
	}
	for (size_t i = 0; i < bits->register_count; i++) {
		const struct cell cell = {
			.reg.id = bits->registers[i].id,
			.width = width_of(bits->registers[i].id),
			.bits = bits->registers[i].bits,
		};

		if (!cell_is_empty(&cell)) {
			add(cells, &cell);
		}
	}
	qsort(cells->items, cells->count, sizeof(*cells->items), compare);
	return 0;
}

void cells_free(struct cells *cells)
{
	free(cells->items);
	*cells = (struct cells){0};
}

struct cell *cells_find(const struct cells *cells, const struct cell *key)
{
	return cells->count == 0 ? NULL
				 : bsearch(key, cells->items, cells->count, sizeof(*key), compare);
}

bool cells_equal(const struct cells *a, const struct cells *b)
{
	if (a->count != b->count) {
		return false;
	}
	for (size_t i = 0; i < a->count; i++) {
		if (compare(&a->items[i], &b->items[i]) != 0 ||
		    memcmp(&a->items[i].bits, &b->items[i].bits, sizeof(a->items[i].bits)) != 0) {
			return false;
		}
	}
	return true;
}

bool cell_is_empty(const struct cell *cell)
{
	return (cell->bits.mask[0] | cell->bits.mask[1]) == 0;
}

bool cell_has(const struct cell *cell, unsigned bit)
{
	return (cell->bits.mask[bit / 64] >> bit % 64 & 1) != 0;
}

bool cell_bit(const struct cell *cell, unsigned bit)
{
	return (cell->bits.value[bit / 64] >> bit % 64 & 1) != 0;
}

const char *cell_reg(const struct cell *cell)
{
	static const char *const names[LEAF_REGS] = {"eax", "ebx", "ecx", "edx"};

	return names[cell->reg.reg];
}

void cell_print_name(const struct cell *cell, const struct arch_field *field, FILE *out)
{
	char buf[NAME_LEN];
	struct text name;

	text_init(&name, buf, sizeof(buf));
	if (field != NULL) {
		arch_field_add_name(&name, &cell->reg, field);
	} else {
		arch_register_add_name(&name, &cell->reg);
	}
	fputs(buf, out);
}

uint64_t cell_field(const struct cell *cell, const struct arch_field *field)
{
	const uint64_t value = cell->bits.value[field->shift / 64] >> field->shift % 64;

	return field->width >= 64 ? value : value & ((UINT64_C(1) << field->width) - 1);
}

/* --- JSON --- */

/* As wide as Firecracker writes it. */
static json_t *bitmap(const struct cell *cell, unsigned width, enum cells_kind kind)
{
	char text[BITMAP_MAX + 3] = "0b";

	for (unsigned i = 0; i < width; i++) {
		const unsigned bit = width - 1 - i;
		const bool is_named = bit < cell->width ? cell_has(cell, bit) : kind == CELLS_DUMP;

		text[2 + i] = (char)(!is_named ? 'x' : cell_bit(cell, bit) ? '1' : '0');
	}
	text[2 + width] = '\0';
	return json_string(text);
}

static json_t *hex(uint64_t number)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "0x%llx", (unsigned long long)number);
	return json_string(text);
}

static json_t *register_to_json(const struct cell *cell, unsigned width, enum cells_kind kind)
{
	return json_pack("{s:o, s:o}", "addr", hex(cell->reg.id), "bitmap",
			 bitmap(cell, width, kind));
}

/* The modifiers of the leaf that begins with *cell; *next is behind its last one. */
static json_t *leaf_to_json(const struct cell *cell, const struct cell *end,
			    const struct cell **next)
{
	const struct cell *first = cell;
	json_t *list = json_array();

	for (; cell < end && cell->reg.is_cpuid && cell->reg.leaf == first->reg.leaf &&
	       cell->reg.subleaf == first->reg.subleaf && cell->flags == first->flags;
	     cell++) {
		json_array_append_new(list, json_pack("{s:s, s:o}", "register", cell_reg(cell),
						      "bitmap", bitmap(cell, 32, CELLS_DUMP)));
	}
	*next = cell;
	return json_pack("{s:o, s:o, s:I, s:o}", "leaf", hex(first->reg.leaf), "subleaf",
			 hex(first->reg.subleaf), "flags", (json_int_t)first->flags, "modifiers",
			 list);
}

json_t *cells_to_json(const struct cells *cells, enum cells_kind kind)
{
	const bool is_arm = strcmp(arch_name, "aarch64") == 0;
	const struct cell *end = cells->items + cells->count;
	json_t *leaves = json_array();
	json_t *registers = json_array();

	for (const struct cell *cell = cells->items; cell < end;) {
		if (cell->reg.is_cpuid) {
			json_array_append_new(leaves, leaf_to_json(cell, end, &cell));
		} else {
			json_array_append_new(
				registers, register_to_json(cell, is_arm ? BITMAP_MAX : 64, kind));
			cell++;
		}
	}
	return json_pack("{s:[], s:o, s:o}", "kvm_capabilities",
			 is_arm ? "vcpu_features" : "cpuid_modifiers", leaves,
			 is_arm ? "reg_modifiers" : "msr_modifiers", registers);
}
