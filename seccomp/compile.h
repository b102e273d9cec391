/* SPDX-License-Identifier: Apache-2.0 */
/* From a policy to BPF programs in one file, by libseccomp. Not part of the monitor. */
#ifndef SECCOMP_COMPILE_H
#define SECCOMP_COMPILE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "seccomp/policy.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Compiles one filter for `arch` ("x86_64" or "aarch64") into a heap block that the caller frees;
 * *len is in bytes. Without `has_args` all conditions on arguments are dropped. Rules earlier in
 * the policy are found faster. A system call that the architecture does not know is an error.
 */
MUST_CHECK int compile_filter(const struct policy_filter *filter, const char *arch, bool has_args,
			      struct sock_filter **program, size_t *len, struct error *err);

#endif
