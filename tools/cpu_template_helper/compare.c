/* SPDX-License-Identifier: Apache-2.0 */
/* strip, verify and explain. */
#include "tools/cpu_template_helper/compare.h"

#include <inttypes.h>
#include <string.h>

#include "vmm/base/bytes.h"

/* --- strip --- */

/* The bits in which the sets differ, as a mask. False: not all of them have the register. */
static bool find_difference(struct cells *const *sets, size_t count, const struct cell *cell,
			    struct cpu_template_bits *diff)
{
	*diff = (struct cpu_template_bits){0};
	for (size_t i = 0; i < count; i++) {
		const struct cell *other = cells_find(sets[i], cell);

		if (other == NULL) {
			return false;
		}
		for (size_t word = 0; word < CPU_TEMPLATE_WORDS; word++) {
			diff->mask[word] |= other->bits.value[word] ^ cell->bits.value[word];
		}
	}
	return true;
}

static void keep_bits(struct cell *cell, const struct cpu_template_bits *diff)
{
	for (size_t word = 0; word < CPU_TEMPLATE_WORDS; word++) {
		cell->bits.mask[word] &= diff->mask[word];
		cell->bits.value[word] &= diff->mask[word];
	}
}

void compare_strip(struct cells *const *sets, size_t count)
{
	struct cpu_template_bits diff;

	for (size_t i = 0; i < sets[0]->count; i++) {
		if (!find_difference(sets, count, &sets[0]->items[i], &diff)) {
			continue;
		}
		for (size_t other = count; other > 0; other--) {
			keep_bits(cells_find(sets[other - 1], &sets[0]->items[i]), &diff);
		}
	}
	for (size_t set = 0; set < count; set++) {
		size_t kept = 0;

		for (size_t i = 0; i < sets[set]->count; i++) {
			if (!cell_is_empty(&sets[set]->items[i])) {
				sets[set]->items[kept++] = sets[set]->items[i];
			}
		}
		sets[set]->count = kept;
	}
}

/* --- verify --- */

/* [compat] */
static void print_key(const struct cell *cell, FILE *out)
{
	if (cell->reg.is_cpuid) {
		fprintf(out, "leaf=0x%x, subleaf=0x%x, flags=0b", cell->reg.leaf,
			cell->reg.subleaf);
		for (unsigned bit = 32; bit-- > 0;) {
			if (bit == 0 || cell->flags >> bit != 0) {
				fputc((int)('0' + (cell->flags >> bit & 1)), out);
			}
		}
		fprintf(out, ", register=%s", cell_reg(cell));
	} else if (cell->reg.id <= UINT32_MAX) {
		fprintf(out, "index=0x%" PRIx64, cell->reg.id);
	} else {
		fprintf(out, "ID=0x%" PRIx64, cell->reg.id);
	}
}

static void print_bits(const char *title, const struct cell *cell, const struct cell *mask,
		       FILE *out)
{
	fprintf(out, "%s0b", title);
	for (unsigned bit = cell->width; bit-- > 0;) {
		fputc(cell_has(mask, bit) && cell_bit(cell, bit) ? '1' : '0', out);
	}
	fputc('\n', out);
}

/* A bit that the mask names is another one. */
static bool differs(const struct cell *a, const struct cell *b, const struct cell *mask,
		    unsigned bit)
{
	return cell_has(mask, bit) && cell_bit(a, bit) != cell_bit(b, bit);
}

static bool field_differs(const struct cell *a, const struct cell *b, const struct cell *mask,
			  const struct arch_field *field)
{
	for (unsigned bit = field->shift; bit < field->shift + field->width; bit++) {
		if (differs(a, b, mask, bit)) {
			return true;
		}
	}
	return false;
}

static void print_mismatch(const struct cell *wanted, const struct cell *seen, FILE *out)
{
	struct arch_field field;

	fputs("Value for ", out);
	print_key(wanted, out);
	fputs(" mismatched.\n", out);
	print_bits("* CPU template     : ", wanted, wanted, out);
	print_bits("* CPU configuration: ", seen, wanted, out);
	fputs("* Diff             :   ", out);
	for (unsigned bit = wanted->width; bit-- > 0;) {
		fputc(differs(wanted, seen, wanted, bit) ? '^' : ' ', out);
	}
	fputc('\n', out);
	for (unsigned bit = 0; bit < wanted->width; bit = field.shift + field.width) {
		field = arch_field_at(&wanted->reg, bit);
		if (field_differs(wanted, seen, wanted, &field)) {
			fputs("* ", out);
			cell_print_name(wanted, &field, out);
			fputc('\n', out);
		}
	}
}

size_t compare_verify(const struct cells *cpu_template, const struct cells *guest, FILE *out)
{
	const struct arch_field whole = {.width = 128};
	size_t count = 0;

	for (size_t i = 0; i < cpu_template->count; i++) {
		const struct cell *wanted = &cpu_template->items[i];
		const struct cell *seen = cells_find(guest, wanted);

		if (seen == NULL) {
			print_key(wanted, out);
			fputs(" not found in CPU configuration.\n", out);
			count++;
		} else if (field_differs(wanted, seen, wanted, &whole)) {
			print_mismatch(wanted, seen, out);
			count++;
		}
	}
	return count;
}

/* --- explain --- */

static void print_number(uint64_t value, const struct arch_field *field, FILE *out)
{
	fprintf(out, field->width > 8 ? "0x%" PRIx64 : "%" PRIu64, value);
}

/* One line of a field: which file has it, or what each has. */
static void print_difference(const struct cell *a, const struct cell *b,
			     const struct arch_field *field, const char *const paths[2], FILE *out)
{
	const uint64_t first = cell_field(a, field);
	const uint64_t second = cell_field(b, field);

	cell_print_name(a, field, out);
	if (field->width == 1) {
		fprintf(out, ": only in %s\n", paths[first != 0 ? 0 : 1]);
		return;
	}
	fputs(": ", out);
	print_number(first, field, out);
	fprintf(out, " in %s, ", paths[0]);
	print_number(second, field, out);
	fprintf(out, " in %s\n", paths[1]);
}

/* A register that one file lacks: for CPUID that is as if it had zeroes. */
static size_t explain_register(const struct cell *a, const struct cell *b,
			       const char *const paths[2], FILE *out)
{
	struct cell mask = *a;
	struct arch_field field;
	size_t count = 0;

	for (size_t word = 0; word < CPU_TEMPLATE_WORDS; word++) {
		mask.bits.mask[word] &= b->bits.mask[word];
	}
	for (unsigned bit = 0; bit < a->width; bit = field.shift + field.width) {
		field = arch_field_at(&a->reg, bit);
		if (field_differs(a, b, &mask, &field)) {
			print_difference(a, b, &field, paths, out);
			count++;
		}
	}
	return count;
}

static size_t explain_lone(const struct cell *cell, bool is_first, const char *const paths[2],
			   FILE *out)
{
	struct cell none = *cell;

	if (cell->reg.is_cpuid) {
		memset(none.bits.value, 0, sizeof(none.bits.value));
		return is_first ? explain_register(cell, &none, paths, out)
				: explain_register(&none, cell, paths, out);
	}
	cell_print_name(cell, NULL, out);
	fprintf(out, ": only in %s\n", paths[is_first ? 0 : 1]);
	return 1;
}

size_t compare_explain(const struct dump *a, const struct dump *b, FILE *out)
{
	const char *const paths[2] = {a->path, b->path};
	size_t count = 0;

	for (size_t i = 0; i < a->cells.count; i++) {
		const struct cell *cell = &a->cells.items[i];
		const struct cell *other = cells_find(&b->cells, cell);

		count += other != NULL ? explain_register(cell, other, paths, out)
				       : explain_lone(cell, true, paths, out);
	}
	for (size_t i = 0; i < b->cells.count; i++) {
		const struct cell *cell = &b->cells.items[i];

		if (cells_find(&a->cells, cell) == NULL) {
			count += explain_lone(cell, false, paths, out);
		}
	}
	return count;
}
