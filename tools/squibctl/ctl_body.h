/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of requests from words, files and standard input; bodies of answers for people. */
#ifndef TOOLS_CTL_BODY_H
#define TOOLS_CTL_BODY_H

#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* JSON is pretty on a terminal, unless is_raw; all else is printed as it came. */
void ctl_print_body(const char *text, bool is_raw);

/* The body that the word stands for (JSON, @FILE, -), in a heap block that the caller frees. */
MUST_CHECK int ctl_read_body(const char *word, char **body, struct error *err);

#endif
