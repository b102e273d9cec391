/* SPDX-License-Identifier: Apache-2.0 */
/* Files of templates, dumps and fingerprints. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_FILES_H
#define TOOLS_CPU_TEMPLATE_HELPER_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "tools/cpu_template_helper/compare.h"
#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"

/* A text and what it says. Zeroed at first. */
struct file {
	char *text;
	struct json_doc doc;
};

MUST_CHECK int file_read(const char *path, struct file *file, struct error *err);
void file_free(struct file *file);

/* A template, or a dump, which the caller frees. */
MUST_CHECK int file_load_template(const char *path, struct cpu_template_block **made,
				  struct error *err);

/*
 * The same as a list, of a file that was read: if it is a fingerprint, its guest's. The caller
 * calls dump_free, after a failure too; *dump is zeroed at first. `path` is kept.
 */
MUST_CHECK int file_to_dump(const struct file *file, const char *path, struct dump *dump,
			    struct error *err);
void dump_free(struct dump *dump);

/* Writes a value, which it frees, as Firecracker lays it out. NULL: out of memory. */
MUST_CHECK int file_write(const char *path, json_t *json, struct error *err);

/*
 * The path with `suffix` before the name's extension [compat]: "a/b.json", "_x" makes
 * "a/b_x.json". A heap block, NULL: out of memory.
 */
char *file_add_suffix(const char *path, const char *suffix);

#endif
