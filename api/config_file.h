/* SPDX-License-Identifier: Apache-2.0 */
/* --config-file: the whole configuration of a microVM as one JSON object. */
#ifndef API_CONFIG_FILE_H
#define API_CONFIG_FILE_H

#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/resources/request.h"

/* Reads the file at `path` into a heap block, which the caller frees. */
MUST_CHECK int config_file_read(const char *path, char **text, size_t *len, struct error *err);

/*
 * Has `execute` put what a text of `len` bytes has for each key. After a failure some of the keys
 * may have been applied.
 */
MUST_CHECK int config_file_apply(const char *text, size_t len, request_fn execute, void *arg,
				 struct error *err);

#endif
