/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a text that is no JSON, in the words that clients know [compat]. */
#ifndef VMM_BASE_JSON_SYNTAX_H
#define VMM_BASE_JSON_SYNTAX_H

#include <stddef.h>

/*
 * The first fault of syntax as serde_json names it, and how many bytes were read until then. NULL:
 * there is none, so another fault is meant (a number that does not fit, bytes that are no UTF-8).
 * Any bytes are fine; more than JSON_DEPTH_MAX levels are not looked into.
 */
const char *json_syntax_fault(const char *text, size_t len, size_t *at);

#endif
