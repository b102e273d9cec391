/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of a custom CPU template, as /cpu-config and cpu-template-helper have it. Any thread. */
#ifndef VMM_RESOURCES_CPU_TEMPLATE_JSON_H
#define VMM_RESOURCES_CPU_TEMPLATE_JSON_H

#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"
#include "vmm/base/schema.h"

/* Of the same struct, which cpu_template_make reads. */
extern const struct schema cpu_template_x86_64_schema;
extern const struct schema cpu_template_aarch64_schema;

/* How long the bitmap of a register of aarch64 may be. */
enum cpu_template_width {
	CPU_TEMPLATE_EXACT,  /* as the register, as /cpu-config has it [compat] */
	CPU_TEMPLATE_DUMPED, /* 128 bits, zeroes above the register, as dumps have it [compat] */
};

/* Makes a template, the caller's, of what a schema has decoded. */
MUST_CHECK int cpu_template_make(const void *body, enum cpu_template_width width,
				 struct cpu_template_block **made, struct error *err);

/* Makes a template, the caller's, of a file's value: one for this architecture, or a dump. */
MUST_CHECK int cpu_template_parse(const struct json_value *json, struct cpu_template_block **made,
				  struct error *err);

#endif
