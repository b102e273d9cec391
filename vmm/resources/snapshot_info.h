/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of a snapshot without loading it. For command lines: prints and returns. */
#ifndef VMM_RESOURCES_SNAPSHOT_INFO_H
#define VMM_RESOURCES_SNAPSHOT_INFO_H

#include <stdbool.h>
#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* [compat] "v" and the version of the format that this build writes, a line. */
void snapshot_print_version(FILE *out);

/* [compat] The same of a state file, as the first line; then all that is in it. */
MUST_CHECK int snapshot_describe(const char *path, FILE *out, struct error *err);

/* All that is in it as one JSON object: see codec_dump_json. */
MUST_CHECK int snapshot_describe_json(const char *path, FILE *out, struct error *err);

/*
 * Whether the state file would load on this host, with a line for each thing that is missing;
 * *loads says the same. It opens what its devices use of the host, and closes it again.
 */
MUST_CHECK int snapshot_explain(const char *path, FILE *out, bool *loads, struct error *err);

#endif
