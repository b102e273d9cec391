/* SPDX-License-Identifier: Apache-2.0 */
/* Files of templates, dumps and fingerprints. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_FILES_H
#define TOOLS_CPU_TEMPLATE_HELPER_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "tools/cpu_template_helper/compare.h"
#include "tools/lib/output.h"
#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"

/*
 * The text of a file, a heap block that ends with a NUL. A regular file of at most 4 MiB; anything
 * else is refused at once, as a FIFO could be waited for without end.
 */
MUST_CHECK int file_read_text(const char *path, char **text, size_t *len, struct error *err);

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

/*
 * Begins an output (output_open) that has a value, which it frees, as Firecracker lays it out.
 * NULL: out of memory. The caller commits or discards *output.
 */
MUST_CHECK int file_begin(struct output *output, const char *path, const char *const *inputs,
			  json_t *json, struct error *err);

/* The same of a single file, which has its name on success, and is not there after a failure. */
MUST_CHECK int file_write(const char *path, const char *const *inputs, json_t *json,
			  struct error *err);

/*
 * The path with `suffix` before the name's extension [compat]: "a/b.json", "_x" makes
 * "a/b_x.json". A heap block, NULL: out of memory.
 */
char *file_add_suffix(const char *path, const char *suffix);

#endif
