/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of strangers, for our terminal: a guest's, an image's, a record's that came from elsewhere.
 */
#ifndef TOOLS_CTL_CLEAN_H
#define TOOLS_CTL_CLEAN_H

#include <stddef.h>
#include <stdio.h>

/*
 * Puts spaces in place of control characters, C0 and C1, but `kept`, and of what is no UTF-8, which
 * some terminals take for such.
 */
void clean_text(char *text, size_t len, char kept);

/* Prints `text` cleaned, in one line. */
void clean_print(FILE *out, const char *text);

#endif
