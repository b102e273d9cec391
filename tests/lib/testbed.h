/* SPDX-License-Identifier: Apache-2.0 */
/* What tests need of the machine: clock, environment, KVM, /proc. */
#ifndef TESTS_LIB_TESTBED_H
#define TESTS_LIB_TESTBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The least that a test needs of /dev/kvm, in the words of tools/kvm_probe/kvm_probe. */
enum kvm_kind {
	KVM_NONE,
	KVM_PAYLOAD,
	KVM_LINUX
};

enum {
	PATH_LEN = 512,
	KILLED_BY = 1000 /* added to the signal, in place of an exit status */
};

/* CLOCK_MONOTONIC. */
uint64_t now_ms(void);
void sleep_ms(unsigned ms);

/* A variable of the environment; "" without it. */
const char *env(const char *name);

/* For scripts on a kernel's command line: 4 bytes for each 3 begun of `text`, and a NUL. */
void base64(const char *text, char *out);

bool is_x86(void);

/* What KVM_KIND in the environment says; nothing or nonsense is KVM_NONE. */
enum kvm_kind env_kvm_kind(void);

/* The payload guest of that name, of this machine's architecture, below GUEST_DIR. */
void payload_path(const char *name, char path[PATH_LEN]);

/* The exit status of wait(2) as tests state it: a code, or KILLED_BY + signal. */
int exit_of(int wait_status);

/* --- /proc; -1: cannot be read --- */

/* A number from a line such as "Threads:\t3" of /proc/<pid>/status. */
long proc_status_field(pid_t pid, const char *name);

long proc_fd_count(pid_t pid);

/* The sum of a field of /proc/<pid>/smaps, in KiB: "Private_Hugetlb". */
long proc_smaps_kib(pid_t pid, const char *name);

/* Whether a mapping there has a flag of two letters in its line VmFlags. */
bool proc_smaps_flag(pid_t pid, const char *flag);

/*
 * KiB of the monitor's own, without the guest's RAM: that is every mapping of `guest_mib` or more.
 * `kind` is a field of /proc/<pid>/smaps: "Rss" for all that is resident, "Anonymous" for what no
 * other process shares, which does not depend on how much of the program the host has read in.
 */
long proc_own_kib(pid_t pid, unsigned guest_mib, const char *kind);

/*
 * The first mapping of less than `guest_mib` that could have a huge page unasked: one that can be
 * written to, is private, and has room for an aligned one. (Linux gives none to stacks since 6.7.)
 * False: there is none.
 */
bool proc_has_huge_room(pid_t pid, unsigned guest_mib, char *line, size_t len);

/*
 * MiB of the mappings of `guest_mib` or more that can be read, as the guest's RAM can and its
 * guards can't; `dumped` gets how many of them core files would have.
 */
long proc_guest_mib(pid_t pid, unsigned guest_mib, long *dumped);

#endif
