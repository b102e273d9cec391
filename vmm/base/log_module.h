/* SPDX-License-Identifier: Apache-2.0 */
/* Which source files a log's module stands for: a path of squib's, or one of Firecracker's. */
#ifndef VMM_BASE_LOG_MODULE_H
#define VMM_BASE_LOG_MODULE_H

#include <stdbool.h>

/*
 * Whether lines of `file` are lines of `module`: a path that `file` begins with, or a module path
 * of Firecracker [compat] whose part of the work `file` does. Of a module path that is finer than
 * squib's files, the whole file is; the crates' names and any beginning of a path work too.
 */
bool log_module_has(const char *module, const char *file);

#endif
