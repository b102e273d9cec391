/* SPDX-License-Identifier: Apache-2.0 */
/* Runs seccomp's programs in place of the kernel, as far as libseccomp writes them. */
#ifndef SECCOMP_BPF_H
#define SECCOMP_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the program says to this call (SECCOMP_RET_...). false: it is none that the kernel would
 * take, or has instructions that this does not know.
 */
bool bpf_run(const struct sock_filter *code, size_t count, const struct seccomp_data *call,
	     uint32_t *result);

#endif
