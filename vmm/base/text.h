/* SPDX-License-Identifier: Apache-2.0 */
/* A text that is put together piece by piece in a buffer of fixed size. */
#ifndef VMM_BASE_TEXT_H
#define VMM_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/attr.h"

/* The buffer is its owner's and always a string. */
struct text {
	char *buf;
	size_t cap;  /* bytes of buf, the NUL included; not 0 */
	size_t len;  /* without the NUL */
	bool is_cut; /* a piece did not fit: it was cut, and later ones are left out */
};

/* Begins an empty text. */
void text_init(struct text *text, char *buf, size_t cap);

/* Appends. */
PRINTF(2, 3) void text_add(struct text *text, const char *fmt, ...);

#endif
