/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/confine/sandbox.c: children change something, and it must be seen. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/confine/landlock.h"
#include "vmm/confine/sandbox.h"

static struct filter_set filters;
static struct sandbox_plan plan = {.filters = &filters};
static struct sandbox *sandbox; /* shared with children */

static void set_up(void)
{
	struct error err = {0};

	cr_assert(filter_set_default(&filters, &err) == 0, "%s", err.msg);
	sandbox = mmap(NULL, sizeof(*sandbox), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	cr_assert(sandbox != MAP_FAILED);
}

TestSuite(sandbox, .init = set_up, .timeout = 30);

static const struct sandbox_row *row_of(const char *what)
{
	for (size_t i = 0; i < sandbox->count; i++) {
		if (strcmp(sandbox->rows[i].what, what) == 0) {
			return &sandbox->rows[i];
		}
	}
	cr_assert_fail("no row %s", what);
	return NULL;
}

/* A child that changes itself, false where it may not, collects. */
static bool collect_in_child(bool (*change)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		bool is_changed = change();

		if (is_changed) {
			sandbox_collect(&plan, sandbox);
		}
		/* A sanitizer would look for leaks at _exit, and can't without /proc or ptrace. */
		syscall(SYS_exit_group, is_changed ? 0 : 1);
	}
	cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status), "%#x", status);
	return WEXITSTATUS(status) == 0;
}

/* --- What a process can change of itself --- */

static bool none(void)
{
	return true;
}

static bool set_no_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static bool set_not_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

static bool set_limits(void)
{
	static const int resources[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_CORE};
	static const rlim_t values[] = {2048, 1 << 20, 1ull << 50,
					0}; /* sanitizers map terabytes */
	bool is_set = true;

	for (size_t i = 0; i < ARRAY_COUNT(resources); i++) {
		struct rlimit limit = {values[i], values[i]};

		is_set &= setrlimit((__rlimit_resource_t)resources[i], &limit) == 0;
	}
	return is_set;
}

static bool set_soft_limit_only(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max <= 4096) {
		return false;
	}
	limit.rlim_cur = 64;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static bool clear_environment(void)
{
	return clearenv() == 0;
}

static bool close_all(void)
{
	return close_range(3, ~0u, 0) == 0;
}

static bool leave_one_open(void)
{
	return close_all() && dup2(STDERR_FILENO, 77) == 77;
}

static bool become_nobody(void)
{
	static const gid_t groups[] = {1234, 5678};

	return setgroups(ARRAY_COUNT(groups), groups) == 0 && setresgid(1234, 1234, 1234) == 0 &&
	       setresuid(1234, 1234, 1234) == 0;
}

static bool become_nobody_but_for_the_saved_id(void)
{
	return setresuid(1234, 1234, 0) == 0;
}

static bool keep_one_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	data[0].permitted = 1 << CAP_NET_ADMIN | 1 << CAP_SETPCAP;
	data[0].effective = data[0].permitted;
	data[0].inheritable = 1 << CAP_NET_ADMIN;
	return syscall(SYS_capset, &header, data) == 0 &&
	       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0) == 0;
}

static bool drop_bounding(void)
{
	for (unsigned long i = 0; i < 64; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 &&
		    prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			return false;
		}
	}
	return true;
}

static bool unshare_ipc_and_uts(void)
{
	return unshare(CLONE_NEWIPC | CLONE_NEWUTS) == 0;
}

Test(sandbox, what_is_closed_is_seen)
{
	static const struct {
		bool (*change)(void);
		const char *what;
		enum sandbox_verdict verdict;
		const char *value;
	} cases[] = {
		{none, "no new privileges", SANDBOX_OK, "not set yet; squib sets it"},
		{set_no_new_privileges, "no new privileges", SANDBOX_OK, "set"},
		{none, "dumpable", SANDBOX_OPEN, "yes"},
		{set_not_dumpable, "dumpable", SANDBOX_OK, "no"},
		{set_limits, "limit of descriptors", SANDBOX_OK, "2048"},
		{set_limits, "limit of file size", SANDBOX_OK, "1048576"},
		{set_limits, "limit of address space", SANDBOX_OK, "1125899906842624"},
		{set_limits, "limit of core files", SANDBOX_OK, "0"},
		{set_soft_limit_only, "limit of descriptors", SANDBOX_OPEN, NULL},
		{clear_environment, "environment", SANDBOX_OK, "0 variables"},
		{close_all, "open descriptors", SANDBOX_OK, "0 to 2 only"},
		{leave_one_open, "open descriptors", SANDBOX_OPEN, "77 besides 0 to 2"},
		{become_nobody, "user", SANDBOX_OK, "1234, effective 1234, saved 1234"},
		{become_nobody, "group", SANDBOX_OK, "1234, effective 1234, saved 1234"},
		{become_nobody, "other groups", SANDBOX_OPEN, "5678"},
		{become_nobody, "effective capabilities", SANDBOX_OK, "none"},
		{become_nobody, "permitted capabilities", SANDBOX_OK, "none"},
		{become_nobody_but_for_the_saved_id, "user", SANDBOX_OPEN,
		 "1234, effective 1234, saved 0"},
		{become_nobody_but_for_the_saved_id, "permitted capabilities", SANDBOX_OPEN, NULL},
		{keep_one_capability, "effective capabilities", SANDBOX_OPEN,
		 "cap_setpcap cap_net_admin"},
		{keep_one_capability, "inheritable capabilities", SANDBOX_OPEN, "cap_net_admin"},
		{keep_one_capability, "ambient capabilities", SANDBOX_OPEN, "cap_net_admin"},
		{drop_bounding, "bounding capabilities", SANDBOX_OK, "none"},
		{unshare_ipc_and_uts, "ipc namespace", SANDBOX_OK, "own"},
		{unshare_ipc_and_uts, "uts namespace", SANDBOX_OK, "own"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		if (!collect_in_child(cases[i].change)) {
			cr_expect_neq(geteuid(), 0, "case %zu: root could not change it", i);
			continue;
		}
		const struct sandbox_row *row = row_of(cases[i].what);

		cr_expect_eq(row->verdict, cases[i].verdict, "case %zu: %s: %s", i, row->what,
			     row->value);
		if (cases[i].value != NULL) {
			cr_expect_str_eq(row->value, cases[i].value, "case %zu: %s: %s", i,
					 row->what, row->value);
		}
	}
}

/* --- In a jail --- */

static char jail[] = "/tmp/squib-sandbox-XXXXXX";

static bool enter_jail(void)
{
	return chroot(jail) == 0 && chdir("/") == 0 && close_all() && become_nobody();
}

Test(sandbox, a_jail_without_proc_tells_what_system_calls_tell)
{
	static const struct {
		const char *what;
		enum sandbox_verdict verdict;
		const char *value;
	} cases[] = {
		{"root directory", SANDBOX_OK, "has nothing of a system"},
		{"mount namespace", SANDBOX_UNKNOWN, "/proc does not tell"},
		{"pid namespace", SANDBOX_UNKNOWN, "/proc does not tell"},
		{"control groups", SANDBOX_UNKNOWN, "/proc does not tell"},
		{"open descriptors", SANDBOX_OK, "0 to 2 only"},
		{"user", SANDBOX_OK, "1234, effective 1234, saved 1234"},
		{"/dev/kvm", SANDBOX_MISSING, "not there"},
		{"/dev/net/tun", SANDBOX_OK, "not there"},
	};

	if (geteuid() != 0) {
		cr_skip_test("only root has a root directory of its own");
	}
	cr_assert_not_null(mkdtemp(jail));
	cr_assert(collect_in_child(enter_jail));
	rmdir(jail);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct sandbox_row *row = row_of(cases[i].what);

		cr_expect_eq(row->verdict, cases[i].verdict, "%s: %s", row->what, row->value);
		cr_expect_str_eq(row->value, cases[i].value, "%s: %s", row->what, row->value);
	}
	/* The device is all that it lacks. */
	cr_expect_not(sandbox_is_closed(sandbox));
	for (size_t i = 0; i < sandbox->count; i++) {
		struct sandbox_row *row = &sandbox->rows[i];

		if (strcmp(row->what, "/dev/kvm") == 0) {
			row->verdict = SANDBOX_OK;
		}
	}
	cr_expect(sandbox_is_closed(sandbox));
}

Test(sandbox, process_1_has_a_pid_namespace_of_its_own_even_where_proc_is_not_its)
{
	if (geteuid() != 0) {
		cr_skip_test("only root makes namespaces");
	}
	cr_assert_not_null(mkdtemp(jail));
	cr_assert_eq(unshare(CLONE_NEWPID), 0);
	cr_assert(collect_in_child(enter_jail));
	cr_expect_str_eq(row_of("pid namespace")->value, "own: squib is process 1");
	cr_expect_eq(row_of("pid namespace")->verdict, SANDBOX_OK);
	rmdir(jail);
}

/* --- What the command line adds --- */

Test(sandbox, the_command_lines_filters_and_landlock_count)
{
	static struct filter_set no_filters;
	char value[100];

	plan = (struct sandbox_plan){.filters = &no_filters};
	cr_assert(collect_in_child(none));
	cr_expect_eq(row_of("seccomp filter vcpu")->verdict, SANDBOX_OPEN);
	cr_expect_str_eq(row_of("seccomp filter vcpu")->value, "none (--no-seccomp)");
	cr_expect_eq(row_of("no new privileges")->verdict, SANDBOX_OPEN);

	plan = (struct sandbox_plan){.filters = &filters,
				     .filters_path = "a\x1b\xff"
						     "b"};
	cr_assert(collect_in_child(none));
	(void)!snprintf(value, sizeof(value), "%u instructions, from a??b",
			filters.programs[FILTER_VCPU].len);
	cr_expect_str_eq(row_of("seccomp filter vcpu")->value, value);
	cr_expect_eq(row_of("seccomp filter vcpu")->verdict, SANDBOX_OK);
	cr_expect_eq(row_of("root directory")->verdict, SANDBOX_OPEN);
	cr_expect_eq(row_of("Landlock")->verdict, SANDBOX_OPEN);
	cr_expect_not(row_of("Landlock")->decides);

	bool has_landlock = landlock_kernel_abi() > 0;

	plan = (struct sandbox_plan){.filters = &filters, .landlock = true};
	cr_assert(collect_in_child(none));
	cr_expect_eq(row_of("Landlock")->verdict, has_landlock ? SANDBOX_OK : SANDBOX_MISSING);
	cr_expect(row_of("Landlock")->decides);
	cr_expect_eq(row_of("root directory")->verdict, has_landlock ? SANDBOX_OK : SANDBOX_OPEN);
}

/* --- Printing --- */

static const struct sandbox sample = {
	.rows = {{"user", "root owns the host's files", SANDBOX_OK, true, "1, effective 1"},
		 {"environment", "secrets are in it", SANDBOX_OPEN, false, "2 \"variables\""},
		 {"/dev/kvm", "without it no microVM starts", SANDBOX_MISSING, true, "not there"},
		 {"pid namespace", "processes can be named", SANDBOX_UNKNOWN, false, "?"}},
	.count = 4};

Test(sandbox, the_table_gives_reasons_for_what_is_not_closed)
{
	char text[1024] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	sandbox_print_table(&sample, out);
	fclose(out);
	cr_expect_str_eq(text,
			 "ok      * user                      1, effective 1\n"
			 "open      environment               2 \"variables\" - secrets are in it\n"
			 "missing * /dev/kvm                  not there - without it no microVM "
			 "starts\n"
			 "unknown   pid namespace             ? - processes can be named\n"
			 "\n1 ok, 1 open, 1 missing, 1 unknown. Not closed: see the rows with * "
			 "that are not ok.\n",
			 "%s", text);
}

Test(sandbox, the_json_has_every_row)
{
	static const char begin[] = "{\n  \"closed\": false,\n  \"counts\": {\n    \"ok\": 1,\n"
				    "    \"open\": 1,\n    \"missing\": 1,\n    \"unknown\": 1\n"
				    "  },\n  \"rows\": [\n    {\n      \"what\": \"user\",\n"
				    "      \"value\": \"1, effective 1\",\n"
				    "      \"verdict\": \"ok\",\n      \"decides\": true,\n"
				    "      \"why\": \"root owns the host's files\"\n    },\n";
	char text[2048] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");
	struct error err = {0};

	cr_assert(sandbox_print_json(&sample, out, &err) == 0, "%s", err.msg);
	fclose(out);
	cr_expect_eq(strncmp(text, begin, strlen(begin)), 0, "%s", text);
	cr_expect_not_null(strstr(text, "\"value\": \"2 \\\"variables\\\"\""));
	cr_expect_str_eq(text + strlen(text) - 3, "\n}\n");
}

Test(sandbox, json_that_can_not_be_written_is_an_error)
{
	FILE *out = fopen("/dev/full", "we");
	struct error err = {0};

	setvbuf(out, NULL, _IONBF, 0);
	cr_expect_eq(sandbox_print_json(&sample, out, &err), -1);
	cr_expect_str_eq(err.msg, "Cannot write the state of the sandbox as JSON");
	fclose(out);
}

Test(sandbox, only_rows_that_decide_make_it_open)
{
	static struct sandbox other;

	other = sample;
	cr_expect_not(sandbox_is_closed(&other));
	other.rows[2].verdict = SANDBOX_OK;
	cr_expect(sandbox_is_closed(&other));
	other.rows[0].verdict = SANDBOX_OPEN;
	cr_expect_not(sandbox_is_closed(&other));
	/* What decides and can't be found out is left to who reads the rows. */
	other.rows[0].verdict = SANDBOX_UNKNOWN;
	cr_expect(sandbox_is_closed(&other));
}
