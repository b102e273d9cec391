/* SPDX-License-Identifier: Apache-2.0 */
/* What can stand at the cursor of a command line, by the tables of ctl_args.h. */
#ifndef TOOLS_CTL_COMPLETE_H
#define TOOLS_CTL_COMPLETE_H

#include <stdio.h>

/*
 * `words` are those behind "squibctl" up to the cursor, the last one maybe empty: a shell's
 * `squibctl __complete WORD...`. Prints a line for each that fits: the word, a tab, what it is. A
 * line ":files" or ":directories" asks the shell for its own.
 */
void ctl_complete(int count, char *const words[], FILE *out);

#endif
