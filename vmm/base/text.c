/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of bounded length. */
#include "vmm/base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void text_init(struct text *text, char *buf, size_t cap)
{
	assert(cap > 0);
	*text = (struct text){.buf = buf, .cap = cap};
	buf[0] = '\0';
}

void text_add(struct text *text, const char *fmt, ...)
{
	size_t room = text->cap - text->len;
	va_list args;

	if (text->is_cut) {
		return;
	}
	va_start(args, fmt);
	int len = vsnprintf(text->buf + text->len, room, fmt, args);

	va_end(args);
	text->is_cut = len < 0 || (size_t)len >= room;
	text->len += text->is_cut ? room - 1 : (size_t)len;
}
