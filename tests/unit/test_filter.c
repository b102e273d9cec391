/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of seccomp/filter.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp/bpf.h"
#include "seccomp/essential.h"
#include "seccomp/filter.h"
#include "vmm/base/bytes.h"

static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

/* A file of three filters, without the one that may be missing. */
struct file {
	struct filter_header header;
	struct sock_filter code[6];
};

static struct file good_file(void)
{
	struct file file = {.header = {.arch = seccomp_audit_arch, .counts = {1, 2, 3}}};

	memcpy(file.header.magic, filter_magic, sizeof(file.header.magic));
	for (size_t i = 0; i < ARRAY_COUNT(file.code); i++) {
		file.code[i] = allow;
		file.code[i].k -= (uint32_t)i;
	}
	return file;
}

Test(filter, a_file_has_three_programs_one_after_the_other)
{
	struct file file = good_file();
	struct filter_set set;
	struct error err = {0};

	cr_assert(filter_set_parse(&file, sizeof(file), &set, &err) == 0, "%s", err.msg);
	for (int i = 0, next = 0; i <= FILTER_VCPU; next += ++i) {
		cr_expect(set.programs[i].len == i + 1 &&
			  set.programs[i].filter == &file.code[next]);
	}
	cr_expect(set.programs[FILTER_FORK].filter == NULL);
	filter_set_free(&set);
}

Test(filter, a_file_may_have_a_program_for_those_that_fork)
{
	struct file file = good_file();
	struct filter_set set;
	struct error err = {0};

	file.header.counts[FILTER_VCPU] = 1;
	file.header.counts[FILTER_FORK] = 2;
	cr_assert(filter_set_parse(&file, sizeof(file), &set, &err) == 0, "%s", err.msg);
	cr_expect(set.programs[FILTER_FORK].len == 2 &&
		  set.programs[FILTER_FORK].filter == &file.code[4]);
	filter_set_free(&set);
}

Test(filter, a_file_that_is_not_whole_is_refused)
{
	static const struct {
		size_t offset; /* of a 32-bit word that becomes `value`; SIZE_MAX: none */
		uint32_t value;
		int longer; /* the file, in bytes */
		const char *msg;
	} cases[] = {
		{0, 0, 0, "it does not begin as seccompiler's output does"},
		{4, 0x32707062, 0, "it does not begin as seccompiler's output does"},
		{8, 0x12345678, 0, "it is for another architecture (0x12345678)"},
		{12, 0, 0, "the filter `vmm` has 0 instructions; 1 to 4096 must be there"},
		{16, 0, 0, "the filter `api` has 0 instructions; 1 to 4096 must be there"},
		{20, 4, 0, "the filter `vcpu` has 4 instructions; 1 to 4096 must be there"},
		{16, 6, 0, "the filter `api` has 6 instructions; 1 to 4096 must be there"},
		{12, 4097, 0, "the filter `vmm` has 4097 instructions; 1 to 4096 must be there"},
		{12, UINT32_MAX, 0,
		 "the filter `vmm` has 4294967295 instructions; 1 to 4096 must be there"},
		{20, 2, 0, "8 bytes follow after its last filter"},
		{24, 1, 0, "the filter `fork` has 1 instructions; 1 to 4096 must be there"},
		{SIZE_MAX, 0, 1, "1 bytes follow after its last filter"},
		{SIZE_MAX, 0, -1, "the filter `vcpu` has 3 instructions; 1 to 4096 must be there"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct file file[2] = {good_file()};
		struct filter_set set;
		struct error err = {0};

		if (cases[i].offset != SIZE_MAX) {
			memcpy((char *)file + cases[i].offset, &cases[i].value, 4);
		}
		cr_expect(filter_set_parse(file, sizeof(*file) + (size_t)cases[i].longer, &set,
					   &err) < 0,
			  "case %zu is taken", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
	}
}

Test(filter, a_file_that_ends_early_is_refused_wherever_it_ends)
{
	struct file file = good_file();

	for (size_t len = 0; len < sizeof(file); len++) {
		/* Without slack behind it, for AddressSanitizer. */
		char *bytes = malloc(len + 1);
		struct filter_set set;
		struct error err = {0};

		memcpy(bytes, &file, len);
		cr_expect(filter_set_parse(bytes, len, &set, &err) < 0, "%zu bytes are taken", len);
		if (len < sizeof(struct filter_header)) {
			cr_expect_str_eq(err.msg, "it is shorter than its header");
		}
		free(bytes);
	}
}

static void load(size_t len, struct filter_set *set, struct error *err, int *result)
{
	struct file file = good_file();
	int fd = memfd_create("filter", MFD_CLOEXEC);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cr_assert(write(fd, &file, sizeof(file)) == sizeof(file) && ftruncate(fd, (off_t)len) == 0);
	*result = filter_set_load(path, set, err);
	close(fd);
}

Test(filter, a_file_is_loaded_by_its_path)
{
	struct filter_set set;
	struct error err = {0};
	int result;

	load(sizeof(struct file), &set, &err, &result);
	cr_assert(result == 0, "%s", err.msg);
	cr_expect(set.owned != NULL && set.programs[FILTER_VCPU].len == 3);
	filter_set_free(&set);
	cr_expect(set.owned == NULL && set.programs[FILTER_VCPU].filter == NULL);
	filter_set_free(&set);
}

Test(filter, a_file_that_cannot_be_loaded_leaves_an_empty_set)
{
	struct filter_set set;
	struct error err = {0};
	int result;

	load(sizeof(struct file) - 1, &set, &err, &result);
	cr_expect(result < 0 && set.owned == NULL && set.programs[FILTER_VMM].filter == NULL);
	cr_expect(strncmp(err.msg, "Filter deserialization failed: /proc/self/fd/", 45) == 0, "%s",
		  err.msg);
	err = (struct error){0};
	load(FILTER_FILE_MAX + 1, &set, &err, &result);
	cr_expect(result < 0 && set.owned == NULL, "a file of more than 100000 bytes is taken");
	err = (struct error){0};
	cr_expect(filter_set_load("/nonexistent", &set, &err) < 0 && set.owned == NULL);
	cr_expect(strstr(err.msg, "No such file or directory (os error 2)") != NULL, "%s", err.msg);
}

/* --- what squib can't do without --- */

/* A program that traps these two calls (or one, twice) and allows all else. */
static void trap_two(struct sock_filter code[5], int first, int second)
{
	const struct sock_filter program[5] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)first, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)second, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	memcpy(code, program, sizeof(program));
}

Test(filter, filters_that_deny_what_squib_cannot_do_without_are_named)
{
	static const struct {
		enum filter_thread thread;
		int calls[2];
		const char *denied; /* NULL: nothing that matters */
	} cases[] = {
		{FILTER_VMM, {SYS_write, SYS_write}, "`vmm` denies write,"},
		{FILTER_API, {SYS_write, SYS_exit_group}, "`api` denies write, exit_group,"},
		{FILTER_VCPU, {SYS_ioctl, SYS_futex}, "`vcpu` denies ioctl, futex,"},
		{FILTER_VHOST, {SYS_epoll_ctl, SYS_read}, "`vhost` denies epoll_ctl, read,"},
		{FILTER_VHOST_VCPU, {SYS_ioctl, SYS_write}, "`vhost_vcpu` denies ioctl, write,"},
		{FILTER_API, {SYS_recvfrom, SYS_accept4}, "`api` denies accept4, recvfrom,"},
		{FILTER_VCPU, {SYS_recvfrom, SYS_accept4}, NULL},
		{FILTER_VMM, {SYS_execve, SYS_openat}, NULL},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sock_filter code[5];
		struct filter_set set;
		struct error err = {0};

		cr_assert(filter_set_default(&set, &err) == 0, "%s", err.msg);
		trap_two(code, cases[i].calls[0], cases[i].calls[1]);
		set.programs[cases[i].thread] = (struct sock_fprog){5, code};
		int result = essential_check(&set, &err);

		cr_expect_eq(result, cases[i].denied != NULL ? -1 : 0, "case %zu: %s", i, err.msg);
		if (cases[i].denied != NULL) {
			cr_expect(strstr(err.msg, cases[i].denied) != NULL, "case %zu: %s", i,
				  err.msg);
		}
	}
}

/* A program that traps an ioctl and allows all else. */
static void trap_ioctl(struct sock_filter code[6], uint32_t request)
{
	const struct sock_filter program[6] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	memcpy(code, program, sizeof(program));
}

Test(filter, what_an_interface_of_the_kernels_takes_is_named_when_it_is_denied)
{
	static const struct {
		enum filter_thread thread;
		uint32_t request;
		const char *denied; /* NULL: nothing that matters */
	} cases[] = {
		{FILTER_VHOST, VHOST_SET_FEATURES,
		 "`vhost` of --seccomp-filter denies VHOST_SET_FEATURES,"},
		{FILTER_VHOST, VHOST_SET_VRING_NUM, "denies VHOST_SET_VRING_NUM,"},
		{FILTER_VHOST, VHOST_SET_VRING_BASE, "denies VHOST_SET_VRING_BASE,"},
		{FILTER_VHOST, VHOST_SET_VRING_ADDR, "denies VHOST_SET_VRING_ADDR,"},
		{FILTER_VHOST, VHOST_SET_VRING_CALL, "denies VHOST_SET_VRING_CALL,"},
		{FILTER_VHOST, VHOST_GET_VRING_BASE, "denies VHOST_GET_VRING_BASE,"},
		{FILTER_DEBUG, VHOST_NET_SET_BACKEND,
		 "`debug` of --seccomp-filter denies VHOST_NET_SET_BACKEND,"},
		{FILTER_VHOST_VCPU, VHOST_NET_SET_BACKEND, "denies VHOST_NET_SET_BACKEND,"},
		{FILTER_VHOST_VCPU, VHOST_GET_VRING_BASE, NULL},
		{FILTER_VHOST, TUNSETIFF, NULL},
	};
	struct filter_set built_in;
	struct error none = {0};

	cr_assert(filter_set_default(&built_in, &none) == 0, "%s", none.msg);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct sock_filter code[6];
		struct filter_set set = built_in;
		struct error err = {0};

		cr_expect(essential_check_vhost(&set, cases[i].thread, &err) == 0, "case %zu: %s",
			  i, err.msg);
		trap_ioctl(code, cases[i].request);
		set.programs[cases[i].thread] = (struct sock_fprog){6, code};
		cr_expect(essential_check(&set, &err) == 0, "case %zu: %s", i, err.msg);
		int result = essential_check_vhost(&set, cases[i].thread, &err);

		cr_expect_eq(result, cases[i].denied != NULL ? -1 : 0, "case %zu: %s", i, err.msg);
		cr_expect(result == 0 || strstr(err.msg, cases[i].denied) != NULL, "case %zu: %s",
			  i, err.msg);
	}
	/* What the machine would be told of each. */
	struct error err = {0};

	cr_expect(essential_check_vhost(&built_in, FILTER_VMM, &err) < 0);
	cr_expect_str_eq(
		err.msg,
		"The filter `vmm` of --seccomp-filter denies VHOST_SET_FEATURES, "
		"VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, "
		"VHOST_SET_VRING_CALL, VHOST_GET_VRING_BASE, VHOST_NET_SET_BACKEND, without "
		"which no interface can have `vhost`: allow them in its policy, or leave "
		"`vhost` out");
}

/* --- the filters that the binary carries --- */

static uint32_t ask_call(const struct filter_set *set, enum filter_thread thread,
			 const struct seccomp_data *call)
{
	uint32_t result = 0;

	cr_assert(bpf_run(set->programs[thread].filter, set->programs[thread].len, call, &result));
	return result;
}

static uint32_t ask(const struct filter_set *set, enum filter_thread thread, int number)
{
	return ask_call(set, thread,
			&(struct seccomp_data){.nr = number, .arch = seccomp_audit_arch});
}

static uint32_t ask_ioctl(const struct filter_set *set, enum filter_thread thread, uint64_t request)
{
	return ask_call(set, thread,
			&(struct seccomp_data){
				.nr = SYS_ioctl, .arch = seccomp_audit_arch, .args = {0, request}});
}

Test(filter, the_built_in_filters_trap_what_no_monitor_needs)
{
	enum {
		first_of_all = 5
	};
	static const int never[] = {SYS_clone,	  SYS_clone3,	    SYS_prctl,
				    SYS_seccomp,  SYS_unlinkat,	    SYS_execve,
				    SYS_execveat, SYS_ptrace,	    SYS_process_vm_writev,
				    SYS_kill,	  SYS_bpf,	    SYS_mount,
				    SYS_unshare,  SYS_setns,	    SYS_chroot,
				    SYS_setuid,	  SYS_memfd_create, SYS_userfaultfd,
				    SYS_keyctl};
	struct filter_set set;
	struct error err = {0};

	cr_assert(filter_set_default(&set, &err) == 0, "%s", err.msg);
	cr_expect(essential_check(&set, &err) == 0, "%s", err.msg);
	for (int thread = 0; thread < FILTER_NO_PCI; thread++) {
		/* Who forks makes threads, names them and confines them. */
		for (size_t i = thread == FILTER_FORK ? first_of_all : 0; i < ARRAY_COUNT(never);
		     i++) {
			cr_expect_eq(ask(&set, (enum filter_thread)thread, never[i]),
				     SECCOMP_RET_TRAP, "%s may %s", filter_thread_names[thread],
				     filter_syscall_name(never[i]));
		}
		cr_expect_eq(ask(&set, (enum filter_thread)thread, SYS_exit_group),
			     SECCOMP_RET_ALLOW);
	}
	/* Permissions of guest memory are the VMM thread's alone. */
	cr_expect_eq(ask(&set, FILTER_API, SYS_mprotect), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&set, FILTER_VCPU, SYS_mprotect), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&set, FILTER_VMM, SYS_mprotect), SECCOMP_RET_ALLOW);
	cr_expect_eq(ask(&set, FILTER_VMM, SYS_preadv), SECCOMP_RET_ALLOW);
	cr_expect_eq(ask(&set, FILTER_API, SYS_preadv), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&set, FILTER_VCPU, SYS_preadv), SECCOMP_RET_TRAP);
	/* Not by other flags, nor as memory that can be executed. */
	cr_expect_eq(ask(&set, FILTER_VMM, SYS_openat), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&set, FILTER_VCPU, SYS_openat), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&set, FILTER_FORK, SYS_openat), SECCOMP_RET_ALLOW);
}

Test(filter, without_a_bus_nothing_is_plugged_in)
{
	static const unsigned long plugging[] = {TUNSETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD,
						 KVM_IOEVENTFD, KVM_IRQFD};
	struct filter_set set;
	struct error err = {0};

	cr_assert(filter_set_default(&set, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(plugging); i++) {
		cr_expect_eq(ask_ioctl(&set, FILTER_VMM, plugging[i]), SECCOMP_RET_ALLOW);
		cr_expect_eq(ask_ioctl(&set, FILTER_NO_PCI, plugging[i]), SECCOMP_RET_TRAP);
		/* A register's upper half is not the kernel's to see. */
		cr_expect_eq(ask_ioctl(&set, FILTER_NO_PCI, plugging[i] | UINT64_C(1) << 32),
			     SECCOMP_RET_TRAP);
	}
	cr_expect_eq(ask(&set, FILTER_NO_PCI, SYS_eventfd2), SECCOMP_RET_TRAP);
	cr_expect_eq(ask(&set, FILTER_NO_PCI, SYS_read), SECCOMP_RET_ALLOW);
	cr_expect_eq(ask_ioctl(&set, FILTER_NO_PCI, KVM_SET_USER_MEMORY_REGION), SECCOMP_RET_ALLOW);
}

/* --- installing --- */

/* Runs `fn` in a process of its own, held in by `code` as the filter `thread`; its wait status. */
static int confined(const struct sock_filter *code, unsigned short len, enum filter_thread thread,
		    void (*fn)(void))
{
	struct filter_set set = {0};
	pid_t child = fork();
	int status = 0;

	set.programs[thread] = (struct sock_fprog){len, (struct sock_filter *)code};
	if (child == 0) {
		const struct rlimit none = {0};
		struct error err = {0};

		setrlimit(RLIMIT_CORE, &none);
		if (filter_install(&set, thread, &err) < 0) {
			_exit(99);
		}
		fn();
		_exit(0);
	}
	waitpid(child, &status, 0);
	return status;
}

/* Traps getppid, allows all else. */
static const struct sock_filter no_getppid[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void call_getppid(void)
{
	(void)getppid();
}

static void call_getpgrp(void)
{
	(void)getpgrp();
}

static void need_no_new_privs(void)
{
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
		_exit(1);
	}
}

Test(filter, an_installed_filter_raises_sigsys, .timeout = 20)
{
	int status = confined(no_getppid, ARRAY_COUNT(no_getppid), FILTER_API, call_getppid);

	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%#x", status);
	status = confined(no_getppid, ARRAY_COUNT(no_getppid), FILTER_API, call_getpgrp);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
	status = confined(no_getppid, ARRAY_COUNT(no_getppid), FILTER_VMM, need_no_new_privs);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
}

Test(filter, a_program_that_the_kernel_refuses_is_an_error, .timeout = 20)
{
	static const struct sock_filter endless[] = {BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0)};
	int status = confined(endless, 1, FILTER_VCPU, call_getpgrp);

	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 99, "%#x", status);
}

/* Traps tgkill for another process, allows all else. */
static struct sock_filter own_threads[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_SELF, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void signal_itself(void)
{
	if (syscall(SYS_tgkill, getpid(), gettid(), 0) < 0) {
		_exit(1);
	}
}

static void signal_parent(void)
{
	if (syscall(SYS_tgkill, getppid(), getppid(), 0) < 0) {
		_exit(1);
	}
}

Test(filter, a_program_may_name_the_process_that_loads_it, .timeout = 20)
{
	struct filter_set set = {.self = {&own_threads[3]}, .self_count = 1};

	filter_set_name_self(&set);
	/* The child is another process than the one that is named. */
	int status = confined(own_threads, ARRAY_COUNT(own_threads), FILTER_VMM, signal_parent);

	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
	status = confined(own_threads, ARRAY_COUNT(own_threads), FILTER_VMM, signal_itself);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%#x", status);
}

Test(filter, a_process_that_was_forked_is_named_anew)
{
	struct file file = good_file();
	struct filter_set set;
	struct error err = {0};

	file.code[2] = own_threads[3];
	cr_assert(filter_set_parse(&file, sizeof(file), &set, &err) == 0, "%s", err.msg);
	filter_set_name_self(&set);
	cr_expect_eq(file.code[2].k, (uint32_t)getpid());
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		filter_set_name_self(&set);
		_exit(file.code[2].k != (uint32_t)getpid());
	}
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	cr_expect_eq(status, 0);
}

Test(filter, without_filters_nothing_is_installed)
{
	struct filter_set none = {0};
	struct error err = {0};

	cr_expect(filter_install(NULL, FILTER_VMM, &err) == 0);
	cr_expect(filter_install(&none, FILTER_VMM, &err) == 0);
	cr_expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
	cr_expect(prctl(PR_GET_SECCOMP) == 0);
}

/* --- names --- */

Test(filter, system_calls_have_names)
{
	static const struct {
		int number;
		const char *name;
	} cases[] = {
		{SYS_read, "read"},
		{SYS_ioctl, "ioctl"},
		{SYS_exit_group, "exit_group"},
		{SYS_io_uring_enter, "io_uring_enter"},
		{SYS_openat2, "openat2"},
		{-1, "an unknown system call"},
		{INT32_MIN, "an unknown system call"},
		{400, "an unknown system call"}, /* a gap on every architecture */
		{100000, "an unknown system call"},
		{INT32_MAX, "an unknown system call"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect_str_eq(filter_syscall_name(cases[i].number), cases[i].name, "%d is %s",
				 cases[i].number, filter_syscall_name(cases[i].number));
	}
}
