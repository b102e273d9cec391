/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/debug/: a debugger of a machine on the scripted KVM, as it speaks on the socket. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "arch/debug.h"
#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/debug/gdb_server.h"

#define START "{\"action_type\":\"InstanceStart\"}"
#define MACHINE "{\"vcpu_count\":2,\"mem_size_mib\":2"

static char dir[] = "/tmp/squib-gdb-XXXXXX";
static int client = -1;

/* What each vCPU, by its descriptor, leaves the guest with next; -1: it goes on. */
static struct {
	_Atomic int kind;
	uint32_t point;
} next_exit[1024];

static int run(int fd, unsigned long request, void *arg)
{
	struct kvm_run *area = kvm_fake_run_area(fd);
	int kind = atomic_exchange(&next_exit[fd].kind, -1);

	(void)request;
	(void)arg;
	if (kind >= 0 && !__atomic_load_n(&area->immediate_exit, __ATOMIC_SEQ_CST)) {
		const uint32_t numbers[] = {(uint32_t)kind, next_exit[fd].point};

		area->exit_reason = KVM_EXIT_DEBUG;
		memcpy(&area->debug.arch, numbers, sizeof(numbers));
		return 0;
	}
	if (kind >= 0) {
		atomic_store(&next_exit[fd].kind, kind);
	}
	usleep(200);
	errno = EINTR;
	return -1;
}

static struct vm *vm(void)
{
	return &api_bed.microvm.controller.machine.vm;
}

static void stop_vcpu(unsigned index, enum debug_stop_kind kind, uint32_t point)
{
	const int fd = vm()->vcpus[index].fd;

	next_exit[fd].point = point;
	atomic_store(&next_exit[fd].kind, (int)kind);
}

static void set_up(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(next_exit); i++) {
		next_exit[i].kind = -1;
	}
	kvm_fake_script(KVM_RUN, run);
	api_bed_init();
	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
}

static void tear_down(void)
{
	fd_close(&client);
	api_bed_destroy();
	(void)!unlink("gdb");
	cr_expect(chdir("/") == 0 && rmdir(dir) == 0, "something is left in %s", dir);
}

TestSuite(gdb_server, .init = set_up, .fini = tear_down, .timeout = 60);

/* A machine with two vCPUs; `more` of its configuration. */
static void start(const char *more)
{
	char body[200];

	(void)!snprintf(body, sizeof(body), MACHINE "%s}", more);
	api_bed_expect("PUT /machine-config", body, NULL);
	api_bed_put_kernel();
	api_bed_expect("PUT /actions", START, NULL);
}

static void start_with_socket(void)
{
	api_bed.microvm.controller.gdb_socket = "gdb";
	start("");
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	cr_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static void turn(void)
{
	struct error err = {0};

	cr_assert(evloop_run_once(&api_bed.loop, 1, &err) == 0, "%s", err.msg);
}

static bool is_attached(void)
{
	return gdb_server_is_attached(api_bed.microvm.controller.debugger);
}

static void attach(void)
{
	client = connect_to("gdb");
	while (!is_attached()) {
		turn();
	}
}

static void leave(void)
{
	fd_close(&client);
	while (is_attached()) {
		turn();
	}
}

static void send_text(const char *text)
{
	cr_assert(send(client, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static void ask(const char *data)
{
	char packet[5000];
	unsigned sum = 0;

	for (size_t i = 0; data[i] != '\0'; i++) {
		sum += (unsigned char)data[i];
	}
	(void)!snprintf(packet, sizeof(packet), "$%s#%02x", data, sum & 0xff);
	send_text(packet);
}

/* The data of the next packet; NULL: the connection has ended. Acknowledgements are dropped. */
static const char *hear(void)
{
	static char packet[5000];
	size_t len = 0;

	for (int patience = 20000; patience > 0; patience--) {
		char c;
		ssize_t got = recv(client, &c, 1, MSG_DONTWAIT);

		if (got == 0) {
			return NULL;
		}
		if (got < 0) {
			turn();
			continue;
		}
		cr_assert(len < sizeof(packet));
		packet[len++] = c;
		if (packet[0] == '+') {
			len = 0;
		}
		if (len >= 4 && packet[len - 3] == '#') {
			packet[len - 3] = '\0';
			return packet + 1;
		}
	}
	cr_assert_fail("no answer");
	return NULL;
}

static void expect_answer(const char *answer)
{
	const char *heard = hear();

	cr_assert_not_null(heard, "the connection ended, in place of %s", answer);
	cr_expect_str_eq(heard, answer, "%s in place of %s", heard, answer);
}

static void expect(const char *question, const char *answer)
{
	ask(question);
	expect_answer(answer);
}

static void expect_memory(uint64_t address, const char *bytes, size_t len)
{
	char found[16];

	cr_assert(gmem_read(vm()->mem, GPA(address), found, len) == 0);
	cr_expect(memcmp(found, bytes, len) == 0, "memory at %#llx", (unsigned long long)address);
}

static unsigned parked(void)
{
	pthread_mutex_lock(&vm()->lock);
	unsigned count = vm()->parked;

	pthread_mutex_unlock(&vm()->lock);
	return count;
}

static void await_runs(void)
{
	unsigned before = kvm_fake_count(KVM_RUN);

	while (kvm_fake_count(KVM_RUN) < before + 2) {
		usleep(100);
	}
}

/* The debugger lets at least one vCPU go, and it is in the guest. */
static void go(const char *how)
{
	ask(how);
	while (parked() == 2) {
		turn();
	}
	await_runs();
}

/* --- What is said --- */

Test(gdb_server, questions_have_answers_and_nonsense_a_number)
{
	static const struct {
		const char *question;
		const char *answer;
	} cases[] = {
		{"qSupported:swbreak+",
		 "PacketSize=1000;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;"
		 "QStartNoAckMode+"},
		{"?", "T05thread:1;"},
		{"vMustReplyEmpty", ""},
		{"", ""},
		{"!", ""},
		{"X0,0:", ""},
		{"vCont?", "vCont;c;C;s;S"},
		{"qfThreadInfo", "m1,2"},
		{"qsThreadInfo", "l"},
		{"qThreadExtraInfo,2", "764350552031"},
		{"qThreadExtraInfo,3", "E01"},
		{"qAttached", "1"},
		{"qC", "QC1"},
		{"Hc-1", "OK"},
		{"Hg2", "OK"},
		{"qC", "QC2"},
		{"Hg0", "OK"},
		{"Hg3", "E01"},
		{"Hx1", "E01"},
		{"T1", "OK"},
		{"T21", "E01"},
		{"Hg1", "OK"},
		/* registers */
		{"P0=0102030405060708", "OK"},
		{"P2=abcd", "OK"},
		{"p0", "0102030405060708"},
		{"p2", "abcd"},
		{"p3", "E01"},
		{"P1=01", "E01"},
		{"P1:0102030405060708", "E01"},
		{"P3=0102030405060708", "E01"},
		{"g", "01020304050607080000000000000000abcd"},
		{"G11111111111111112222222222222222333", "E01"},
		{"G111111111111111122222222222222223333", "OK"},
		{"g", "111111111111111122222222222222223333"},
		{"Hg2", "OK"},
		{"g", "000000000000000000000000000000000000"},
		/* memory: 2 MiB from 0 on, and again in the upper half */
		{"Mffe,4:deadbeef", "OK"},
		{"mffe,4", "deadbeef"},
		{"m8000000000000fff,2", "adbe"},
		{"m1ffffe,4", "0000"},
		{"mfffff,0", ""},
		{"m200000,1", "E0e"},
		{"m4000000000000000,1", "E0e"},
		{"mffffffffffffffff,2", "E0e"},
		{"M200000,1:00", "E0e"},
		/* a write is whole or not at all */
		{"M1ffffe,4:01020304", "E0e"},
		{"m1ffffe,2", "0000"},
		{"M0,2:00", "E01"},
		{"M0,ffffffffffffffff:00", "E01"},
		{"m0", "E01"},
		{"m,1", "E01"},
		{"m00000000000000001,1", "E01"},
		/* breakpoints: two of hardware */
		{"Z0,100,2", "OK"},
		{"Z0,100,2", "OK"},
		{"Z0,200000,2", "E0e"},
		{"Z0,101,2", "E0e"},
		{"z0,200,2", "OK"},
		{"Z1,100,2", "OK"},
		{"Z2,100,8", "OK"},
		{"Z2,100,8", "OK"},
		{"Z3,100,8", "E1c"},
		{"z2,100,8", "OK"},
		{"Z4,100,8", "OK"},
		{"Z5,100,8", "E01"},
		{"Z0", "E01"},
		{"Z0,100", "E01"},
		{"vCont", "E01"},
		{"vCont;", "E01"},
		{"vCont;t", "E01"},
		{"vCont;c:3", "E01"},
		{"vCont;Cx", "E01"},
		{"QStartNoAckMode", "OK"},
		{"qC", "QC2"},
		{"Qother", ""},
	};

	start_with_socket();
	attach();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		ask(cases[i].question);
		const char *answer = hear();

		cr_assert_not_null(answer);
		cr_expect_str_eq(answer, cases[i].answer, "%s: %s in place of %s",
				 cases[i].question, answer, cases[i].answer);
	}
}

Test(gdb_server, the_description_of_registers_comes_in_pieces)
{
	static const char whole[] =
		"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
		"<target version=\"1.0\"><architecture>fake</architecture>"
		"<feature name=\"squib.fake\"><reg name=\"a\" bitsize=\"64\"/>"
		"<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/></feature>"
		"<feature name=\"squib.fake.more\"><vector id=\"bytes\" type=\"int8\" count=\"2\"/>"
		"<union id=\"halves\"><field name=\"as_number\" type=\"int16\"/>"
		"<field name=\"as_bytes\" type=\"bytes\"/></union>"
		"<flags id=\"fake_flags\" size=\"2\"><field name=\"F\" start=\"3\" end=\"3\"/>"
		"<field name=\"LEVEL\" start=\"4\" end=\"5\"/></flags>"
		"<reg name=\"flags\" bitsize=\"16\" type=\"fake_flags\"/></feature></target>";
	char expected[sizeof(whole) + 1];

	start_with_socket();
	attach();
	(void)!snprintf(expected, sizeof(expected), "l%s", whole);
	expect("qXfer:features:read:target.xml:0,ffffffffffffffff", expected);
	(void)!snprintf(expected, sizeof(expected), "m%.3s", whole + 2);
	expect("qXfer:features:read:target.xml:2,3", expected);
	expect("qXfer:features:read:target.xml:fffffff,3", "l");
	expect("qXfer:features:read:target.xml:0", "E01");
	expect("qXfer:features:read:other.xml:0,10", "");
}

/* --- Stops --- */

Test(gdb_server, a_breakpoint_is_in_memory_only_while_the_guest_runs)
{
	start_with_socket();
	attach();
	expect("M100,2:1234", "OK");
	expect("Z0,100,2", "OK");
	expect_memory(0x100, "\x12\x34", 2);
	go("vCont;c");
	expect_memory(0x100, "\xb0\x0b", 2);
	cr_expect(arch_fake_plan(0)->has_traps && arch_fake_plan(1)->has_traps);
	send_text("\x03");
	expect_answer("T02thread:1;");
	expect_memory(0x100, "\x12\x34", 2);
	go("c");
	expect_memory(0x100, "\xb0\x0b", 2);
	leave();
	expect_memory(0x100, "\x12\x34", 2);
	cr_expect_not(arch_fake_plan(0)->has_traps);
	await_runs();
}

/* pc is register 1. Address 0x100 is 0x8000000000000100, too. */
Test(gdb_server, a_breakpoint_stops_all_vcpus_and_what_is_the_guests_own_stays_its_own)
{
	start_with_socket();
	attach();
	expect("Z0,100,2", "OK");
	expect("Hg2", "OK");
	expect("P1=0001000000000080", "OK");
	go("vCont;c");
	stop_vcpu(1, DEBUG_STOP_TRAP, 0);
	expect_answer("T05thread:2;swbreak:;");
	cr_expect_eq(parked(), 2);
	cr_expect_eq(arch_fake_injected(), 0);
	/* Another address has the guest's own instruction. */
	expect("P1=0002000000000000", "OK");
	go("vCont;c");
	stop_vcpu(1, DEBUG_STOP_TRAP, 0);
	while (arch_fake_injected() == 0) {
		turn();
	}
	await_runs();
	stop_vcpu(0, DEBUG_STOP_GUEST, 0);
	while (arch_fake_injected() == 1) {
		turn();
	}
	expect_memory(0x100, "\xb0\x0b", 2);
	send_text("\x03");
	expect_answer("T02thread:1;");
}

Test(gdb_server, points_of_hardware_tell_their_kind)
{
	static const struct {
		const char *set, *clear, *answer;
		enum debug_point_kind kind;
	} cases[] = {
		{"Z1,1234,1", "z1,1234,1", "T05thread:1;hwbreak:;", DEBUG_EXEC},
		{"Z2,1234,4", "z2,1234,4", "T05thread:1;watch:1234;", DEBUG_WRITE},
		{"Z3,1234,4", "z3,1234,4", "T05thread:1;rwatch:1234;", DEBUG_READ},
		{"Z4,1234,4", "z4,1234,4", "T05thread:1;awatch:1234;", DEBUG_ACCESS},
		{"Z4,1234,4", "z4,1234,4", "T05thread:1;awatch:1234;", DEBUG_ACCESS},
	};

	start_with_socket();
	attach();
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		expect(cases[i].set, "OK");
		go("vCont;c");
		cr_expect_eq(arch_fake_plan(1)->point_count, 1);
		cr_expect_eq(arch_fake_plan(1)->points[0].kind, cases[i].kind);
		cr_expect_eq(arch_fake_plan(1)->points[0].address, 0x1234);
		stop_vcpu(0, DEBUG_STOP_POINT, 0);
		expect_answer(cases[i].answer);
		expect(cases[i].clear, "OK");
	}
}

Test(gdb_server, of_two_watchpoints_at_once_both_are_told)
{
	start_with_socket();
	attach();
	expect("Z2,1000,8", "OK");
	expect("Z2,2000,8", "OK");
	go("vCont;c");
	while (parked() > 0) {
		usleep(100);
	}
	/* Before the VMM looks, both have stopped. */
	stop_vcpu(0, DEBUG_STOP_POINT, 0);
	stop_vcpu(1, DEBUG_STOP_POINT, 1);
	while (parked() < 2) {
		usleep(100);
	}
	expect_answer("T05thread:1;watch:1000;");
	expect("vCont;c", "T05thread:2;watch:2000;");
}

Test(gdb_server, a_step_is_of_one_vcpu)
{
	start_with_socket();
	attach();
	go("vCont;s:2");
	cr_expect_eq(parked(), 1); /* vCPU 0 */
	cr_expect_eq(arch_fake_blocked(), 1);
	cr_expect_not(arch_fake_plan(0)->is_stepping);
	stop_vcpu(1, DEBUG_STOP_STEP, 0);
	expect_answer("T05thread:2;");
	go("vCont;s:2;c");
	cr_expect_eq(parked(), 0);
	cr_expect(arch_fake_plan(1)->is_stepping && !arch_fake_plan(0)->is_stepping);
	stop_vcpu(1, DEBUG_STOP_STEP, 0);
	expect_answer("T05thread:2;");
	go("s"); /* of the chosen vCPU */
	cr_expect_eq(parked(), 1);
	expect("g", "E01"); /* not while it runs */
	stop_vcpu(1, DEBUG_STOP_STEP, 0);
	expect_answer("T05thread:2;");
	cr_expect_eq(arch_fake_blocked(), 0);
	go("s");
	leave();
	cr_expect_eq(arch_fake_blocked(), 0);
}

/* --- The machine's life --- */

Test(gdb_server, a_machine_with_a_socket_of_its_own_waits_for_the_debugger)
{
	start(",\"gdb_socket_path\":\"gdb\"");
	turn();
	cr_expect_eq(parked(), 2);
	attach();
	expect("?", "T05thread:1;");
	cr_expect_eq(kvm_fake_count(KVM_RUN), 0);
	go("c");
}

Test(gdb_server, one_that_leaves_before_the_first_instruction_lets_it_go)
{
	start(",\"gdb_socket_path\":\"gdb\"");
	attach();
	leave();
	await_runs();
	/* Another one can come, and detach in due form. */
	attach();
	cr_expect_eq(parked(), 2);
	expect("D", "OK");
	cr_expect_null(hear());
	await_runs();
}

Test(gdb_server, pausing_by_the_api_and_by_the_debugger_do_not_know_each_other)
{
	start_with_socket();
	attach();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	ask("c");
	for (int i = 0; i < 10; i++) {
		turn();
	}
	cr_expect_eq(parked(), 2);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	await_runs();
	send_text("\x03");
	expect_answer("T02thread:1;");
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	cr_expect_eq(parked(), 2);
	expect("g", "000000000000000000000000000000000000");
	go("c");
}

Test(gdb_server, a_debugged_machine_is_neither_saved_nor_forked)
{
	static const char forkable[] = API_FAULT(
		"Start microvm error: A forkable machine can't be debugged, as its children would "
		"have the debugger's breakpoints: leave out `forkable`, or the debugger's socket");

	api_bed_expect("PUT /machine-config",
		       MACHINE ",\"forkable\":true,\"gdb_socket_path\":\"gdb\"}", NULL);
	api_bed_put_kernel();
	api_bed_expect("PUT /actions", START, forkable);
	api_bed_expect("PATCH /machine-config", "{\"forkable\":false}", NULL);
	api_bed_expect("PUT /actions", START, NULL);
	attach();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}",
		       API_FAULT("Create snapshot error: Cannot save the microVM state: a debugger "
				 "is attached, which may have changed how the guest goes on: "
				 "detach it first"));
	leave();
	api_bed_expect("PUT /snapshot/create", "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}",
		       NULL);
	cr_expect(unlink("s") == 0 && unlink("m") == 0);
}

/* The filter `debug` is known by what it answers to getpriority(2). */
Test(gdb_server, the_vmm_thread_gets_a_filter_of_its_own)
{
	static struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	static struct sock_filter marked[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTNAM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog *programs = api_bed.confine.filters.programs;

	programs[FILTER_VMM] = (struct sock_fprog){1, allow};
	programs[FILTER_VCPU] = (struct sock_fprog){1, allow};
	api_bed_expect("PUT /machine-config", MACHINE ",\"gdb_socket_path\":\"gdb\"}", NULL);
	api_bed_put_kernel();
	api_bed_expect("PUT /actions", START,
		       API_FAULT("Start microvm error: The policy of --seccomp-filter has no "
				 "filter `debug`, by which a debugged machine is held in: see "
				 "docs/seccomp.md"));
	programs[FILTER_DEBUG] = (struct sock_fprog){ARRAY_COUNT(marked), marked};
	api_bed_expect("PUT /actions", START, NULL);
	errno = 0;
	cr_expect_eq(getpriority(PRIO_PROCESS, 0), -1);
	cr_expect_eq(errno, ENOTNAM);
}

static int has_no_debugging(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	return (uintptr_t)arg != KVM_CAP_SET_GUEST_DEBUG;
}

Test(gdb_server, a_start_that_fails_leaves_nothing_behind)
{
	struct api_bed_mark before;
	static const char in_use[] =
		API_FAULT("Start microvm error: Cannot open the debugger's socket gdb: there is a "
			  "file of this name. Remove it, or give another");

	api_bed_expect("PUT /machine-config", MACHINE ",\"gdb_socket_path\":\"gdb\"}", NULL);
	api_bed_put_kernel();
	before = api_bed_mark();
	cr_assert(symlink("nowhere", "gdb") == 0);
	api_bed_expect("PUT /actions", START, in_use);
	api_bed_expect_same(&before, "a socket that is there");
	cr_assert(unlink("gdb") == 0);
	kvm_fake_script(KVM_CHECK_EXTENSION, has_no_debugging);
	api_bed_expect(
		"PUT /actions", START,
		API_FAULT("Start microvm error: This host's KVM can't debug guests: it lacks "
			  "KVM_CAP_SET_GUEST_DEBUG"));
	api_bed_expect_same(&before, "a KVM that can't");
	cr_expect(access("gdb", F_OK) < 0);
	kvm_fake_script(KVM_CHECK_EXTENSION, NULL);
	api_bed_expect("PUT /actions", START, NULL);
}

/* The steps before the socket fail first, then its own, then those behind it. */
Test(gdb_server, no_socket_is_left_by_a_start_that_lacks_descriptors)
{
	struct api_bed_mark before;
	struct rlimit limit;
	bool is_started = false;

	api_bed_expect("PUT /machine-config", MACHINE ",\"gdb_socket_path\":\"gdb\"}", NULL);
	api_bed_put_kernel();
	before = api_bed_mark();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (unsigned left = 1; left < 64 && !is_started; left++) {
		int highest = dup(STDERR_FILENO);
		const struct rlimit few = {.rlim_cur = (rlim_t)highest + left,
					   .rlim_max = limit.rlim_max};

		close(highest);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		struct http_response response = api_bed_request("PUT /actions", START);

		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		is_started = response.status == 204;
		free(response.body);
		if (!is_started) {
			api_bed_expect_same(&before, "too few descriptors");
			cr_expect(access("gdb", F_OK) < 0, "with %u descriptors", left);
		}
	}
	cr_expect(is_started);
}

Test(gdb_server, the_socket_is_for_its_owner_and_for_one_debugger)
{
	struct stat st;
	char byte;

	umask(0);
	start_with_socket();
	cr_assert(stat("gdb", &st) == 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	attach();
	AUTO_FD second = connect_to("gdb");

	for (int i = 0; i < 5; i++) {
		turn();
	}
	cr_expect_eq(recv(second, &byte, 1, MSG_DONTWAIT), 0);
	expect("qC", "QC1");
}

Test(gdb_server, a_kill_ends_the_microvm)
{
	static const char *const ways[] = {"k", "vKill;1"};

	for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
		start_with_socket();
		attach();
		ask(ways[i]);
		while (is_attached()) {
			turn();
		}
		cr_expect_eq(vm()->end, VM_RESET, "%s", ways[i]);
		microvm_destroy(&api_bed.microvm);
		cr_assert(unlink("gdb") == 0);
		api_bed.loop.is_stopping = false;
		fd_close(&client);
	}
}

static void expect_end(enum vm_end end, const char *reason, const char *packets)
{
	char said[200] = "";

	start_with_socket();
	attach();
	go("c");
	if (end != VM_NOT_ENDED) {
		vm_signal_end(vm(), end, reason);
	}
	microvm_destroy(&api_bed.microvm);
	cr_expect(recv(client, said, sizeof(said) - 1, MSG_DONTWAIT) > 0);
	cr_expect_str_eq(said, packets, "%s", said);
}

Test(gdb_server, the_end_of_the_guest_is_told)
{
	expect_end(VM_RESET, "", "+$W00#b7");
}

/* "vCPU 0" and a line's end, for gdb's console, then squib's exit status. */
Test(gdb_server, why_a_guest_failed_is_told_with_the_exit_status)
{
	expect_end(VM_FAILED, "vCPU 0", "+$O7643505520300a#48$W01#b8");
}

Test(gdb_server, a_squib_that_ends_without_its_guest_only_hangs_up)
{
	expect_end(VM_NOT_ENDED, "", "+");
}

/* Two of hardware are all that the fake processor has. */
Test(gdb_server, without_breakpoint_instructions_registers_take_their_place)
{
	arch_fake_fail("debug_trap");
	start_with_socket();
	attach();
	expect("Z0,100,2", "OK");
	go("vCont;c");
	cr_expect_not(arch_fake_plan(0)->has_traps);
	cr_expect_eq(arch_fake_plan(0)->point_count, 1);
	expect_memory(0x100, "\0\0", 2);
	stop_vcpu(0, DEBUG_STOP_POINT, 0);
	expect_answer("T05thread:1;hwbreak:;");
	expect("Z0,200,2", "OK");
	expect("Z0,300,2", "E1c");
	expect("z0,100,2", "OK");
	expect("Z0,300,2", "OK");
}

Test(gdb_server, garbage_ends_the_connection_and_the_guest_goes_on)
{
	static char garbage[5000];

	start_with_socket();
	attach();
	memset(garbage, 'x', sizeof(garbage));
	garbage[0] = '$';
	cr_assert(send(client, garbage, sizeof(garbage), MSG_NOSIGNAL) > 0);
	while (is_attached()) {
		turn();
	}
	await_runs();
}

/* 200 packets in one go: each is answered, and none in the same turn as another. */
Test(gdb_server, many_packets_at_once_take_a_turn_each)
{
	enum {
		PACKETS = 200
	};
	char all[PACKETS * 6 + 1] = "";

	start_with_socket();
	attach();
	for (int i = 0; i < PACKETS; i++) {
		strcat(all, "$qC#b4");
	}
	send_text(all);
	for (int i = 0; i < PACKETS; i++) {
		expect_answer("QC1");
	}
}
