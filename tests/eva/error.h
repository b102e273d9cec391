/* SPDX-License-Identifier: Apache-2.0 */
/* Errors for EVA, which keep no text. */
#ifndef TESTS_EVA_ERROR_H
#define TESTS_EVA_ERROR_H

#include "vmm/base/error.h"

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	(void)fmt;
	err->kind = kind;
	return -1;
}

int error_sys(struct error *err, const char *fmt, ...)
{
	(void)fmt;
	err->kind = ERR_HOST;
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	(void)err;
	(void)fmt;
	return -1;
}

int error_append(struct error *err, const char *fmt, ...)
{
	(void)err;
	(void)fmt;
	return -1;
}

#endif
