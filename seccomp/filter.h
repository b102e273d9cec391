/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled filters of the monitor's threads: read from a file or built in, and installed. */
#ifndef SECCOMP_FILTER_H
#define SECCOMP_FILTER_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* The threads that have a filter each; the order is that of the file. */
enum filter_thread {
	FILTER_VMM,
	FILTER_API,
	FILTER_VCPU,
	FILTER_FORK, /* in place of FILTER_VMM where the machine can be forked, and in its images */
	FILTER_DEBUG,	   /* in place of FILTER_VMM where a debugger can be attached */
	FILTER_VHOST,	   /* in place of FILTER_VMM where the kernel's vhost serves an interface */
	FILTER_VHOST_VCPU, /* there in place of FILTER_VCPU */
	/* beside that of the VMM thread without a PCI bus: denies what only plugging needs */
	FILTER_NO_PCI,
	FILTER_THREADS
};

enum {
	FILTER_INSTRUCTIONS_MAX =
		4096,		  /* of one filter: what the kernel takes [linux BPF_MAXINSNS] */
	FILTER_FILE_MAX = 100000, /* bytes [compat] */
	FILTER_MAGIC_LEN = 8,
	FILTER_SELF_MAX = 32, /* comparisons with FILTER_SELF in all filters */
};

/*
 * Stands in a program, in comparisons for equality, for the id of the process that loads it. No
 * process has it: the kernel's limit is 2^22.
 */
#define FILTER_SELF UINT32_C(0x7fffffff)

/*
 * "vmm", "api", "vcpu", "fork", "debug", "vhost", "vhost_vcpu", "no_pci": what policies call them.
 * All but the first three may be missing.
 */
extern const char *const filter_thread_names[FILTER_THREADS];

/*
 * The file: this header, then the instructions of the programs, one after the other, in the
 * byte order of the machine. Written by tools/seccompiler/main.
 */
struct filter_header {
	char magic[FILTER_MAGIC_LEN];
	uint32_t arch;			 /* AUDIT_ARCH_... [linux audit.h] */
	uint32_t counts[FILTER_THREADS]; /* of instructions */
};

extern const char filter_magic[FILTER_MAGIC_LEN];

/* AUDIT_ARCH_... of this build; seccomp/rules.mk makes it. */
extern const uint32_t seccomp_audit_arch;

/* One program per thread; all NULL: no filters. Programs point into `owned` or constants. */
struct filter_set {
	struct sock_fprog programs[FILTER_THREADS];
	void *owned; /* heap; NULL: constants */
	/* where FILTER_SELF was, or is */
	struct sock_filter *self[FILTER_SELF_MAX];
	size_t self_count;
};

/* The filters that the binary carries. */
MUST_CHECK int filter_set_default(struct filter_set *set, struct error *err);

/*
 * The filters of a file, which must be for this architecture and have the first three, none
 * without the calls that squib can't do without (seccomp/essential.h).
 */
MUST_CHECK int filter_set_load(const char *path, struct filter_set *set, struct error *err);

/* Reads the `len` bytes of a file, which outlive *set. */
MUST_CHECK int filter_set_parse(const void *bytes, size_t len, struct filter_set *set,
				struct error *err);

/*
 * Puts the id of this process in the place of FILTER_SELF. Loading does so, and a process that was
 * forked has to.
 */
void filter_set_name_self(struct filter_set *set);

/* Programs that are installed stay so. A zeroed one is fine. */
void filter_set_free(struct filter_set *set);

/*
 * Holds the calling thread in from now on, by the program for `thread`; also forbids it to gain
 * privileges by exec. Without filters (or a set: NULL) nothing happens.
 */
MUST_CHECK int filter_install(const struct filter_set *set, enum filter_thread thread,
			      struct error *err);

/* The name of a system call of this architecture, or "an unknown system call". */
const char *filter_syscall_name(int number);

#endif
