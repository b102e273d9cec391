/* SPDX-License-Identifier: Apache-2.0 */
/* The one error object: what kind it is, the errno behind it, and one sentence for the user. */
#ifndef VMM_BASE_ERROR_H
#define VMM_BASE_ERROR_H

#include "vmm/base/attr.h"

enum error_kind {
	ERR_NONE,
	ERR_BAD_REQUEST,   /* the caller asked for something that can never work */
	ERR_BAD_STATE,	   /* the request is fine, but not now */
	ERR_TOO_LARGE,	   /* a stated limit was exceeded */
	ERR_NO_ROOM,	   /* the same for what is to be stored: HTTP has a status for it */
	ERR_NOT_SUPPORTED, /* known, but this build or this host does not have it */
	ERR_HOST,	   /* the host failed us: errno is in `sys` */
	ERR_GUEST,	   /* the guest did something it must not */
	ERR_CORRUPT,	   /* a file (kernel image, snapshot) is damaged */
};

enum {
	ERROR_MSG_LEN = 512
};

/*
 * Lives by value on the caller's stack, zeroed: `struct error err = {0};`. Each function that can
 * fail takes it last, returns -1 on failure and leaves a whole sentence without a final full stop
 * here. A message that is too long is cut, never lost.
 */
struct error {
	enum error_kind kind;
	int sys; /* errno, or 0 */
	char msg[ERROR_MSG_LEN];
};

/* Sets the error and returns -1, so that a failure is one line. Asserts that none was set before.
 */
COLD PRINTF(3, 4) int error_set(struct error *err, enum error_kind kind, const char *fmt, ...);

/* As error_set with ERR_HOST, taking errno first and appending ": <text> (os error N)". */
COLD PRINTF(2, 3) int error_sys(struct error *err, const char *fmt, ...);

/* Puts "<prefix>: " before the message of an error already set; returns -1. */
COLD PRINTF(2, 3) int error_wrap(struct error *err, const char *fmt, ...);

/* Puts more behind the message of an error already set, as much as has room; returns -1. */
COLD PRINTF(2, 3) int error_append(struct error *err, const char *fmt, ...);

/* Makes the object usable again after an error that was handled. */
void error_clear(struct error *err);

/*
 * The text for an errno as clients of the API know it. [compat] Firecracker links musl, whose
 * texts differ from glibc's for a few values; orchestrators match on them. Never NULL.
 */
const char *error_os_text(int sys);

#endif
