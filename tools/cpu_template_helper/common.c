/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The template that several hosts can keep.
 *
 * Theory of operation. Each field in which the hosts differ has a rule (arch/field.h): features are
 * what all have, faults what any has, numbers the least. What is the same everywhere is left alone,
 * so a host that comes later may differ in it. A leaf that a host lacks can't be named in a
 * template for it; the field that counts leaves or subleaves hides it, as its rule is the least.
 */
#include "tools/cpu_template_helper/compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/text.h"

enum {
	NAME_LEN = 160
};

/* One register of all hosts. */
struct row {
	const struct dump *dumps;
	size_t count;
	const struct cell *first; /* the first host's */
	FILE *notes;
};

static int check_vendors(const struct dump *dumps, size_t count, struct error *err)
{
	char names[2][NAME_LEN];
	struct text text;

	for (size_t i = 0; i < count; i++) {
		char *name = names[i == 0 ? 0 : 1];

		text_init(&text, name, NAME_LEN);
		arch_vendor_add_name(&text, &dumps[i].block->bits);
		if (i > 0 && strcmp(names[0], name) != 0) {
			return error_set(err, ERR_BAD_REQUEST,
					 "No template makes processors of different vendors the "
					 "same: %.100s is of %.40s, %.100s of %.40s",
					 dumps[0].path, names[0], dumps[i].path, name);
		}
	}
	return 0;
}

static int64_t as_signed(uint64_t value, const struct arch_field *field)
{
	const uint64_t sign = UINT64_C(1) << (field->width - 1);

	return (int64_t)((value ^ sign) - sign);
}

static uint64_t combine(uint64_t a, uint64_t b, const struct arch_field *field)
{
	switch (field->rule) {
	case ARCH_RULE_AND:
		return a & b;
	case ARCH_RULE_OR:
		return a | b;
	case ARCH_RULE_MIN:
	case ARCH_RULE_LIMIT:
		return min_u64(a, b);
	case ARCH_RULE_SIGNED_MIN:
		return as_signed(a, field) < as_signed(b, field) ? a : b;
	case ARCH_RULE_MAX:
		return max_u64(a, b);
	case ARCH_RULE_FIRST:
	case ARCH_RULE_LEFT:
	case ARCH_RULE_MACHINE:
		break;
	}
	return a;
}

static void note(const struct row *row, const struct arch_field *field, const char *what)
{
	fputs("note: ", row->notes);
	cell_print_name(row->first, field, row->notes);
	fprintf(row->notes, " %s\n", what);
}

/* A file that is no whole dump may name fewer bits of the field than another. */
static bool names_as_much(const struct cell *a, const struct cell *b,
			  const struct arch_field *field)
{
	for (unsigned bit = field->shift; bit < field->shift + field->width; bit++) {
		if (cell_has(a, bit) != cell_has(b, bit)) {
			return false;
		}
	}
	return true;
}

/* Adds what the hosts have in common of a field to *made, if all name it and they differ. */
static void level_field(const struct row *row, const struct arch_field *field, struct cell *made)
{
	const uint64_t first = cell_field(row->first, field);
	uint64_t result = first;
	bool is_same = true;

	for (size_t i = 0; i < row->count; i++) {
		const struct cell *cell = cells_find(&row->dumps[i].cells, row->first);
		const uint64_t value = cell_field(cell, field);

		if (!names_as_much(row->first, cell, field)) {
			return;
		}
		is_same = is_same && value == first;
		result = combine(result, value, field);
	}
	if (is_same || field->rule == ARCH_RULE_MACHINE) {
		return;
	}
	if (field->rule == ARCH_RULE_LEFT) {
		note(row, field, "differs, and stays what it is on each host");
		return;
	}
	const uint64_t ones = field->width >= 64 ? UINT64_MAX : (UINT64_C(1) << field->width) - 1;

	made->bits.mask[field->shift / 64] |= ones << field->shift % 64;
	made->bits.value[field->shift / 64] |= result << field->shift % 64;
}

static bool is_everywhere(const struct row *row)
{
	for (size_t i = 0; i < row->count; i++) {
		if (cells_find(&row->dumps[i].cells, row->first) == NULL) {
			return false;
		}
	}
	return true;
}

/* The register has something that a template would level, if it could. */
static bool has_features(const struct cell *cell)
{
	struct arch_field field;

	for (unsigned bit = 0; bit < cell->width; bit = field.shift + field.width) {
		field = arch_field_at(&cell->reg, bit);
		if (field.rule != ARCH_RULE_MACHINE && field.rule != ARCH_RULE_LEFT &&
		    cell_field(cell, &field) != 0) {
			return true;
		}
	}
	return false;
}

/* The register as a template is to have it; without bits there is nothing to say. */
static struct cell level(const struct row *row)
{
	struct cell made = {
		.reg = row->first->reg, .flags = row->first->flags, .width = row->first->width};
	struct arch_field field;

	for (unsigned bit = 0; bit < made.width; bit = field.shift + field.width) {
		field = arch_field_at(&made.reg, bit);
		level_field(row, &field, &made);
	}
	return made;
}

/* An earlier host has it too, so that it was looked at. */
static bool is_seen(const struct dump *dumps, size_t host, const struct cell *cell)
{
	for (size_t i = 0; i < host; i++) {
		if (cells_find(&dumps[i].cells, cell) != NULL) {
			return true;
		}
	}
	return false;
}

static void note_lone(const struct dump *dumps, size_t count, FILE *notes)
{
	for (size_t host = 0; host < count; host++) {
		for (size_t i = 0; i < dumps[host].cells.count; i++) {
			const struct row row = {dumps, count, &dumps[host].cells.items[i], notes};

			if (!is_everywhere(&row) && !is_seen(dumps, host, row.first) &&
			    has_features(row.first)) {
				note(&row, NULL,
				     "is not on every host, so no template can name it");
			}
		}
	}
}

int compare_common(const struct dump *dumps, size_t count, struct cells *made, FILE *notes,
		   struct error *err)
{
	const struct cells *first = &dumps[0].cells;

	*made = (struct cells){.items = calloc(first->count + 1, sizeof(*made->items))};
	if (made->items == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot keep %zu registers", first->count);
	}
	if (check_vendors(dumps, count, err) < 0) {
		cells_free(made);
		return -1;
	}
	for (size_t i = 0; i < first->count; i++) {
		const struct row row = {dumps, count, &first->items[i], notes};

		if (is_everywhere(&row)) {
			const struct cell cell = level(&row);

			if (!cell_is_empty(&cell)) {
				made->items[made->count++] = cell;
			}
		}
	}
	note_lone(dumps, count, notes);
	return 0;
}
