/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text of no byte, of one and of 150.
 *
 * Options: -eva-precision 2 -eva-domains cvalue
 */
#include "tests/eva/eva.h"

#include "vmm/base/json_syntax.c"

enum {
	TEXT_LEN = 150
};

void main(void)
{
	/*@ widen_hints global:"all", 126, 127, 149, 150; */
	char text[TEXT_LEN];
	size_t at;

	fill(text, sizeof(text));
	keep(json_syntax_fault(text, TEXT_LEN, &at) != NULL);
	keep(at);
	keep(json_syntax_fault(text, 1, &at) != NULL);
	keep(json_syntax_fault(text, 0, &at) != NULL);
}
