/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are handed on by descriptor: a memfd is sealed by who wrote it, so that nobody can cut
 * or change it under the machines whose memory it is.
 */
#ifndef VMM_PERSIST_SEALED_H
#define VMM_PERSIST_SEALED_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Fails unless `fd` can be written to and sealed afterwards. `name` is what the request calls it.
 */
MUST_CHECK int sealed_check_open(int fd, const char *name, struct error *err);

/* From now on nobody can write to it, cut it, or take the seals away. */
MUST_CHECK int sealed_close(int fd, const char *name, struct error *err);

/* Fails for a file that could have been sealed so, and is not. Others are as they are by name. */
MUST_CHECK int sealed_check(int fd, const char *name, struct error *err);

#endif
