/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the description of the registers. */
#include "vmm/debug/description.h"

#include <assert.h>
#include <stddef.h>

#include "arch/debug.h"

static void add_field(struct text *xml, const struct debug_field *field)
{
	text_add(xml, "<field name=\"%s\"", field->name);
	if (field->type != NULL) {
		text_add(xml, " type=\"%s\"/>", field->type);
	} else {
		text_add(xml, " start=\"%u\" end=\"%u\"/>", field->first, field->last);
	}
}

static void add_type(struct text *xml, const struct debug_type *type)
{
	const char *kind = type->flags_len > 0 ? "flags" : "union";

	if (type->item != NULL) {
		text_add(xml, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>", type->id, type->item,
			 type->count);
		return;
	}
	text_add(xml, "<%s id=\"%s\"", kind, type->id);
	if (type->flags_len > 0) {
		text_add(xml, " size=\"%u\"", type->flags_len);
	}
	text_add(xml, ">");
	for (const struct debug_field *field = type->fields; field->name != NULL; field++) {
		add_field(xml, field);
	}
	text_add(xml, "</%s>", kind);
}

static void begin_feature(struct text *xml, const struct debug_feature *feature)
{
	text_add(xml, "<feature name=\"%s\">", feature->name);
	for (const struct debug_type *type = feature->types; type != NULL && type->id != NULL;
	     type++) {
		add_type(xml, type);
	}
}

void description_add(struct text *xml)
{
	text_add(xml,
		 "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
		 "<target version=\"1.0\"><architecture>%s</architecture>",
		 debug_architecture);
	for (size_t i = 0; i < debug_reg_count; i++) {
		const struct debug_reg *reg = &debug_regs[i];

		if (reg->feature != NULL) {
			text_add(xml, "%s", i > 0 ? "</feature>" : "");
			begin_feature(xml, reg->feature);
		}
		text_add(xml, "<reg name=\"%s\" bitsize=\"%u\"", reg->name, reg->bits);
		text_add(xml, reg->type != NULL ? " type=\"%s\"/>" : "/>", reg->type);
	}
	text_add(xml, "</feature></target>");
	assert(!xml->is_cut);
}
