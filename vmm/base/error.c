/* SPDX-License-Identifier: Apache-2.0 */
/* Builds error sentences: bounded, never truncating silently in the middle of the cause. */
#include "vmm/base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	va_list args;

	assert(err->kind == ERR_NONE);
	err->kind = kind;
	err->sys = 0;
	va_start(args, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	return -1;
}

int error_sys(struct error *err, const char *fmt, ...)
{
	int sys = errno;
	va_list args;

	assert(err->kind == ERR_NONE);
	err->kind = ERR_HOST;
	err->sys = sys;

	/* The cause matters most, so the text gives way to it. */
	char cause[96];
	int cause_len =
		snprintf(cause, sizeof(cause), ": %s (os error %d)", error_os_text(sys), sys);
	size_t room = sizeof(err->msg) - (size_t)cause_len;

	va_start(args, fmt);
	vsnprintf(err->msg, room, fmt, args);
	va_end(args);
	memcpy(err->msg + strlen(err->msg), cause, (size_t)cause_len + 1);
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char old[sizeof(err->msg)];
	va_list args;

	assert(err->kind != ERR_NONE);
	memcpy(old, err->msg, sizeof(old));
	va_start(args, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	/* A cut at the end is all right: what fails is said first. */
	strncat(err->msg, ": ", sizeof(err->msg) - 1 - strlen(err->msg));
	strncat(err->msg, old, sizeof(err->msg) - 1 - strlen(err->msg));
	return -1;
}

int error_append(struct error *err, const char *fmt, ...)
{
	size_t used = strlen(err->msg);
	va_list args;

	assert(err->kind != ERR_NONE);
	va_start(args, fmt);
	vsnprintf(err->msg + used, sizeof(err->msg) - used, fmt, args);
	va_end(args);
	return -1;
}

void error_clear(struct error *err)
{
	*err = (struct error){0};
}

const char *error_os_text(int sys)
{
	/* Where musl's words are not glibc's, among the errors that squib can meet. */
	static const struct {
		int sys;
		const char *text;
	} differing[] = {
		{EADDRINUSE, "Address in use"},	 {EADDRNOTAVAIL, "Address not available"},
		{EBUSY, "Resource busy"},	 {EIO, "I/O error"},
		{ELOOP, "Symbolic link loop"},	 {EMFILE, "No file descriptors available"},
		{EMSGSIZE, "Message too large"}, {ENAMETOOLONG, "Filename too long"},
		{ENOMEM, "Out of memory"},	 {ENOTTY, "Not a tty"},
		{EOPNOTSUPP, "Not supported"},	 {EOVERFLOW, "Value too large for data type"},
		{EXDEV, "Cross-device link"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(differing); i++) {
		if (differing[i].sys == sys) {
			return differing[i].text;
		}
	}
	const char *text = strerrordesc_np(sys);

	return text != NULL ? text : "Unknown error";
}
