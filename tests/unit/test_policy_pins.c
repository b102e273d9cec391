/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the default policies must not allow: for each condition of each rule, values that it keeps
 * out. The table stands here and not in the policy, so a policy that is widened is found, and one
 * that gets a condition without a row too.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#include "seccomp/filter.h"
#include "seccomp/bpf.h"
#include "seccomp/compile.h"
#include "seccomp/policy.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	VALUES_MAX = 8,
	POLICY_LEN_MAX = 1 << 20,
};

/*
 * Of `thread`, or of all but "fork" where it is NULL, that have the system call. Of "fork" the
 * rules that it does not include from others are looked at.
 */
static const struct pin {
	const char *thread;
	const char *syscall;
	unsigned index;
	size_t count;
	uint64_t values[VALUES_MAX];
} pins[] = {
	{NULL, "io_uring_enter", 3, 3, {IORING_ENTER_SQ_WAKEUP, IORING_ENTER_EXT_ARG, 16}},
	{NULL,
	 "futex",
	 1,
	 5,
	 {FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_LOCK_PI_PRIVATE, FUTEX_WAKE_OP_PRIVATE}},
	{NULL, "timerfd_settime", 1, 2, {TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET}},
	{NULL,
	 "timerfd_create",
	 0,
	 3,
	 {CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM}},
	{NULL, "timerfd_create", 1, 3, {0, TFD_NONBLOCK, TFD_CLOEXEC}},
	{NULL, "getrandom", 2, 2, {0, 3 /* GRND_RANDOM, too */}},
	{NULL, "preadv2", 5, 3, {RWF_HIPRI, RWF_HIPRI | RWF_NOWAIT, 32}},
	{NULL, "pwritev2", 5, 4, {RWF_DSYNC, RWF_SYNC, RWF_APPEND, RWF_APPEND | RWF_NOWAIT}},
	{NULL,
	 "fallocate",
	 1,
	 4,
	 {0, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE,
	  FALLOC_FL_KEEP_SIZE | FALLOC_FL_INSERT_RANGE}},
	{NULL, "madvise", 2, 4, {MADV_REMOVE, MADV_DODUMP, MADV_HWPOISON, MADV_MERGEABLE}},
	{NULL, "accept4", 3, 3, {0, SOCK_NONBLOCK, SOCK_CLOEXEC}},
	{NULL, "socket", 0, 5, {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK}},
	{NULL, "socket", 1, 4, {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET | SOCK_CLOEXEC}},
	{NULL, "socket", 2, 1, {1}},
	{"vmm", "recvfrom", 3, 3, {0, MSG_OOB | MSG_DONTWAIT, MSG_ERRQUEUE | MSG_DONTWAIT}},
	{"api", "recvfrom", 3, 3, {MSG_OOB, MSG_PEEK, MSG_ERRQUEUE}},
	{NULL, "recvfrom", 4, 1, {0x1000}},
	/* Descriptors are close-on-exec. */
	{"api", "recvmsg", 2, 3, {0, MSG_OOB | MSG_CMSG_CLOEXEC, MSG_PEEK | MSG_CMSG_CLOEXEC}},
	{"vmm", "sendmsg", 2, 4, {0, MSG_NOSIGNAL, MSG_DONTWAIT, MSG_ZEROCOPY}},
	{"api", "sendmsg", 2, 3, {0, MSG_OOB | MSG_NOSIGNAL, MSG_ZEROCOPY}},
	{NULL, "sendto", 3, 3, {0, MSG_OOB | MSG_NOSIGNAL, MSG_FASTOPEN}},
	{NULL, "sendto", 4, 1, {0x1000}},
	{NULL, "shutdown", 1, 2, {SHUT_RDWR, 3}},
	{NULL, "fcntl", 1, 3, {F_DUPFD, F_SETFD, F_SETOWN}},
	{NULL, "unlinkat", 0, 2, {3, 0}},
	{NULL, "unlinkat", 2, 2, {AT_REMOVEDIR, 1}},
	{NULL, "openat", 0, 2, {3, 0}},
	{NULL,
	 "openat",
	 2,
	 7,
	 {O_RDONLY, O_RDWR | O_CLOEXEC, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
	  O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
	  O_RDWR | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, O_PATH | O_CLOEXEC,
	  O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK}},
	{NULL, "lseek", 2, 3, {SEEK_SET, SEEK_CUR, SEEK_END}},
	{NULL, "copy_file_range", 5, 1, {1}},
	{NULL, "newfstatat", 3, 2, {0, AT_SYMLINK_NOFOLLOW}},
	{NULL,
	 "io_uring_register",
	 1,
	 5,
	 {IORING_REGISTER_BUFFERS, IORING_REGISTER_FILES, IORING_REGISTER_PERSONALITY,
	  IORING_REGISTER_ENABLE_RINGS, IORING_REGISTER_RESTRICTIONS}},
	{NULL, "io_uring_register", 3, 2, {0, 2}},
	{NULL, "poll", 1, 2, {0, 2}},
	{NULL, "ppoll", 1, 2, {0, 2}},
	{NULL, "mmap", 2, 2, {PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC}},
	{NULL, "mmap", 3, 3, {MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED}},
	{"api", "mmap", 3, 1, {MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED}},
	{"vmm", "pipe2", 1, 3, {0, 2048 /* O_NONBLOCK */, 16384 /* O_DIRECT */}},
	{"vmm", "memfd_create", 1, 3, {0, 2 /* MFD_ALLOW_SEALING */, 4 /* MFD_HUGETLB */}},
	{NULL, "tgkill", 0, 3, {1, 2, 4194304}},
	{"vmm", "tgkill", 2, 5, {SIGKILL, SIGSTOP, SIGUSR1, SIGHUP, SIGSEGV}},
	{"api", "tgkill", 2, 6, {SIGKILL, SIGSTOP, SIGTERM, SIGINT, SIGQUIT, 34 /* SIGRTMIN */}},
	{"vcpu", "tgkill", 2, 5, {SIGKILL, SIGSTOP, SIGUSR1, SIGHUP, 34 /* SIGRTMIN */}},
	{NULL, "clock_nanosleep", 0, 2, {CLOCK_MONOTONIC, CLOCK_TAI}},
	{NULL, "clock_nanosleep", 1, 1, {TIMER_ABSTIME}},
	{NULL, "eventfd2", 0, 1, {1}},
	{NULL, "eventfd2", 1, 3, {0, EFD_CLOEXEC, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK}},
	{NULL,
	 "ioctl",
	 1,
	 6,
	 {0, KVM_CREATE_VM, KVM_CREATE_VCPU, TIOCSTI, FIONBIO, 0x400454cb /* TUNSETPERSIST */}},
	{"vmm",
	 "ioctl",
	 1,
	 5,
	 {KVM_RUN, KVM_SET_GSI_ROUTING, TIOCSCTTY, VHOST_NET_SET_BACKEND, VHOST_SET_VRING_ADDR}},
	{"api",
	 "ioctl",
	 1,
	 6,
	 {KVM_RUN, 0x400454d0 /* TUNSETOFFLOAD */, TIOCSCTTY, KVM_IRQFD, 0x400454ca /* TUNSETIFF */,
	  KVM_SET_USER_MEMORY_REGION}},
	{"vcpu",
	 "ioctl",
	 1,
	 6,
	 {KVM_KVMCLOCK_CTRL, KVM_GET_DIRTY_LOG, TIOCSCTTY, KVM_IRQFD, 0x400454ca /* TUNSETIFF */,
	  VHOST_NET_SET_BACKEND}},
	{"fork",
	 "clone",
	 0,
	 5,
	 {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWCGROUP}},
	{"vmm", "mprotect", 2, 3, {PROT_EXEC, PROT_READ | PROT_EXEC, PROT_GROWSDOWN}},
	{"fork", "prctl", 0, 4, {PR_SET_DUMPABLE, PR_SET_SECUREBITS, PR_SET_PTRACER, PR_SET_MM}},
	{"fork", "seccomp", 0, 3, {SECCOMP_SET_MODE_STRICT, SECCOMP_GET_ACTION_AVAIL, 3}},
	{"fork", "tgkill", 2, 5, {SIGKILL, SIGSTOP, SIGUSR1, SIGHUP, SIGSEGV}},
	{"fork", "kcmp", 2, 3, {KCMP_VM, KCMP_FILES, KCMP_EPOLL_TFD}},
	{"fork", "socketpair", 0, 2, {AF_INET, AF_NETLINK}},
	{"fork", "renameat2", 4, 3, {0, RENAME_NOREPLACE, RENAME_WHITEOUT}},
	{"fork", "prlimit64", 2, 1, {0x1000}},
	{"fork", "mmap", 2, 2, {PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC}},
	{"fork", "ioctl", 1, 2, {FICLONERANGE, 0}},
	{"debug", "ioctl", 1, 4, {KVM_RUN, KVM_SET_GSI_ROUTING, KVM_SET_MSRS, TIOCSCTTY}},
	/* Neither another file to log to, nor another memory, nor another owner. */
	{"vhost",
	 "ioctl",
	 1,
	 6,
	 {VHOST_SET_LOG_BASE, VHOST_SET_LOG_FD, VHOST_SET_MEM_TABLE, VHOST_SET_OWNER,
	  VHOST_SET_VRING_KICK, KVM_RUN}},
	{"vhost_vcpu",
	 "ioctl",
	 1,
	 5,
	 {VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE, VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE,
	  KVM_IRQFD}},
	{"fork", "ioctl", 1, 3, {TIOCSTI, FIONBIO, 0x400454cb /* TUNSETPERSIST */}},
};

static const struct arch {
	const char *name;
	uint32_t audit;
} archs[] = {{"x86_64", AUDIT_ARCH_X86_64}, {"aarch64", AUDIT_ARCH_AARCH64}};

struct compiled {
	const struct arch *arch;
	const struct policy_filter *filter;
	struct sock_filter *code;
	size_t len;
};

static bool is_pin_of(const struct pin *pin, const struct policy_filter *filter,
		      const struct policy_rule *rule)
{
	bool is_of_all = pin->thread == NULL && strcmp(filter->thread, "fork") != 0;
	bool is_its_own = pin->thread != NULL && strcmp(pin->thread, filter->thread) == 0;

	return (is_of_all || is_its_own) && strcmp(pin->syscall, rule->syscall) == 0;
}

/* The call that a rule allows, but for one argument. */
static void expect_denied(const struct compiled *compiled, const struct policy_rule *rule,
			  unsigned index, uint64_t value)
{
	struct seccomp_data call = {
		.nr = seccomp_syscall_resolve_name_arch(
			seccomp_arch_resolve_name(compiled->arch->name), rule->syscall),
		.arch = compiled->arch->audit,
	};
	uint32_t result = 0;

	for (size_t i = 0; i < rule->arg_count; i++) {
		call.args[rule->args[i].index] = rule->args[i].value;
	}
	call.args[index] = value;
	cr_assert(bpf_run(compiled->code, compiled->len / sizeof(*compiled->code), &call, &result));
	cr_expect_eq(result, SECCOMP_RET_TRAP, "%s: %s may %s with %#llx as argument %u",
		     compiled->arch->name, compiled->filter->thread, rule->syscall,
		     (unsigned long long)value, index);
}

static void try_rule(const struct compiled *compiled, const struct policy_rule *rule)
{
	uint32_t pinned = 0;

	for (size_t i = 0; i < ARRAY_COUNT(pins); i++) {
		if (!is_pin_of(&pins[i], compiled->filter, rule)) {
			continue;
		}
		pinned |= 1U << pins[i].index;
		for (size_t v = 0; v < pins[i].count; v++) {
			expect_denied(compiled, rule, pins[i].index, pins[i].values[v]);
		}
	}
	for (size_t i = 0; i < rule->arg_count; i++) {
		cr_expect((pinned & 1U << rule->args[i].index) != 0,
			  "%s: %s: argument %u of %s has a condition and no row here",
			  compiled->arch->name, compiled->filter->thread, rule->args[i].index,
			  rule->syscall);
	}
}

Test(policy_pins, no_rule_allows_more_than_it_should)
{
	for (size_t a = 0; a < ARRAY_COUNT(archs); a++) {
		AUTO_FREE char *text = NULL;
		struct policy policy = {0};
		struct error err = {0};
		char path[64];
		size_t len;

		snprintf(path, sizeof(path), "seccomp/%s.json", archs[a].name);
		cr_assert(read_file(path, "The policy", POLICY_LEN_MAX, &text, &len, &err) == 0 &&
				  policy_parse(text, len, &policy, &err) == 0,
			  "%s", err.msg);
		cr_assert_eq(policy.filter_count, FILTER_THREADS);
		for (size_t f = 0; f < policy.filter_count; f++) {
			struct compiled compiled = {.arch = &archs[a],
						    .filter = &policy.filters[f]};

			cr_assert(compile_filter(compiled.filter, archs[a].name, true,
						 &compiled.code, &compiled.len, &err) == 0,
				  "%s", err.msg);
			/* What a filter denies is asked about in test_filter.c. */
			for (size_t r = 0; compiled.filter->default_action.kind != POLICY_ALLOW &&
					   r < compiled.filter->own_count;
			     r++) {
				try_rule(&compiled, &compiled.filter->rules[r]);
			}
			free(compiled.code);
		}
		policy_free(&policy);
	}
}
