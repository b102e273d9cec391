/* SPDX-License-Identifier: Apache-2.0 */
/* --config-file: the whole configuration of a microVM as one JSON object. */
#ifndef API_CONFIG_FILE_H
#define API_CONFIG_FILE_H

#include <stddef.h>

#include "vmm/action.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Reads the file at `path` and has `execute` (an action_fn, with its `arg`) apply its keys. After a
 * failure some of them may have been applied.
 */
MUST_CHECK int config_file_load(const char *path, action_fn execute, void *arg, struct error *err);

/* The same for a text of `len` bytes. */
MUST_CHECK int config_file_parse(const char *text, size_t len, action_fn execute, void *arg,
				 struct error *err);

#endif
