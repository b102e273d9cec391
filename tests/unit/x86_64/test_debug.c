/* SPDX-License-Identifier: Apache-2.0 */
/* arch/x86_64/debug.c: the bytes of registers, the debug registers, and why a vCPU stopped. */
#include "arch/debug.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/reg_offset.h"
#include "vmm/base/bytes.h"

static struct arch_vm vm = {.can = {.xsave_len = 4096}};
static const struct arch_vcpu vcpu = {.fd = 102, .vm = &vm};
static struct kvm_regs regs;
static struct kvm_sregs sregs;
static struct kvm_xsave xsave;
static struct kvm_guest_debug debug;

static int answer(int fd, unsigned long request, void *arg)
{
	cr_assert_eq(fd, 102);
	switch (request) {
	case KVM_GET_REGS:
		memcpy(arg, &regs, sizeof(regs));
		return 0;
	case KVM_SET_REGS:
		memcpy(&regs, arg, sizeof(regs));
		return 0;
	case KVM_GET_SREGS:
		memcpy(arg, &sregs, sizeof(sregs));
		return 0;
	case KVM_SET_SREGS:
		memcpy(&sregs, arg, sizeof(sregs));
		return 0;
	case KVM_GET_XSAVE:
	case KVM_GET_XSAVE2:
		memcpy(arg, &xsave, sizeof(xsave));
		return 0;
	case KVM_SET_XSAVE:
		memcpy(&xsave, arg, sizeof(xsave));
		return 0;
	case KVM_SET_GUEST_DEBUG:
		memcpy(&debug, arg, sizeof(debug));
		return 0;
	case KVM_TRANSLATE: {
		struct kvm_translation *translation = arg;

		translation->valid = translation->linear_address < 0x10000;
		translation->physical_address = translation->linear_address + 0x100000;
		return 0;
	}
	default:
		errno = EINVAL;
		return -1;
	}
}

static void set_up(void)
{
	static const unsigned long requests[] = {KVM_GET_REGS,	KVM_SET_REGS,  KVM_GET_SREGS,
						 KVM_SET_SREGS, KVM_GET_XSAVE, KVM_GET_XSAVE2,
						 KVM_SET_XSAVE, KVM_TRANSLATE, KVM_SET_GUEST_DEBUG};

	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		kvm_fake_script(requests[i], answer);
	}
}

TestSuite(debug, .init = set_up);

/* Offsets in gdb's packet of all registers, as gdbserver of amd64 has them. */
Test(debug, registers_are_where_gdb_looks_for_them)
{
	static const struct {
		const char *name;
		size_t offset;
	} cases[] = {{"rax", 0},       {"rbx", 8},	 {"rcx", 16},	{"rdx", 24},
		     {"rsi", 32},      {"rdi", 40},	 {"rbp", 48},	{"rsp", 56},
		     {"r8", 64},       {"r15", 120},	 {"rip", 128},	{"eflags", 136},
		     {"cs", 140},      {"ss", 144},	 {"gs", 160},	{"st0", 164},
		     {"fctrl", 244},   {"fop", 272},	 {"xmm0", 276}, {"mxcsr", 532},
		     {"fs_base", 536}, {"gs_base", 544}, {"cr0", 552}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect_eq(offset_of(cases[i].name), cases[i].offset, "%s: %zu", cases[i].name,
			     offset_of(cases[i].name));
	}
}

Test(debug, registers_are_read_and_only_what_differs_is_set)
{
	/* FXSAVE's layout: st1 at 48, xmm15 at 400, MXCSR at 24; XSTATE_BV at 512. */
	uint8_t *area = (uint8_t *)&xsave;
	uint8_t bytes[DEBUG_BYTES_MAX];
	struct error err = {0};

	regs.rip = UINT64_C(0xffffffff81000001);
	regs.rflags = 0x246;
	sregs.cs.selector = 0x10;
	sregs.gs.base = UINT64_C(0xffff888000000000);
	sregs.cr3 = 0x1234000;
	store_le16(area, 0x37f);
	memset(area + 48, 0x11, 16);
	memset(area + 400, 0x22, 16);
	store_le32(area + 24, 0x1f80);
	area[512] = 4; /* only AVX is not in its initial state */
	cr_assert(debug_get_regs(&vcpu, bytes, &err) == 0);
	cr_expect_eq(load_le64(bytes + offset_of("rip")), regs.rip);
	cr_expect_eq(load_le32(bytes + offset_of("eflags")), 0x246);
	cr_expect_eq(load_le32(bytes + offset_of("cs")), 0x10);
	cr_expect_eq(load_le64(bytes + offset_of("gs_base")), sregs.gs.base);
	cr_expect_eq(load_le64(bytes + offset_of("cr3")), 0x1234000);
	cr_expect(memcmp(bytes + offset_of("st1"), area + 48, 10) == 0);
	cr_expect(memcmp(bytes + offset_of("xmm15"), area + 400, 16) == 0);
	cr_expect_eq(load_le32(bytes + offset_of("mxcsr")), 0x1f80);
	cr_expect_eq(load_le32(bytes + offset_of("fctrl")), 0x37f);

	cr_assert(debug_set_regs(&vcpu, bytes, &err) == 0);
	cr_expect_eq(kvm_fake_count(KVM_SET_REGS), 0);
	store_le64(bytes + offset_of("rip"), 0x1000);
	cr_assert(debug_set_regs(&vcpu, bytes, &err) == 0);
	cr_expect_eq(regs.rip, 0x1000);
	cr_expect_eq(regs.rflags, 0x246);
	cr_expect_eq(kvm_fake_count(KVM_SET_SREGS) + kvm_fake_count(KVM_SET_XSAVE), 0);
	store_le64(bytes + offset_of("cr3"), 0x5000);
	store_le32(bytes + offset_of("mxcsr"), 0x1fa0);
	cr_assert(debug_set_regs(&vcpu, bytes, &err) == 0);
	cr_expect_eq(sregs.cr3, 0x5000);
	cr_expect_eq(sregs.cs.selector, 0x10);
	cr_expect_eq(load_le32(area + 24), 0x1fa0);
	cr_expect_eq(area[512], 7);
	cr_expect_eq(kvm_fake_count(KVM_SET_REGS), 1);
}

Test(debug, the_area_of_a_newer_kvm_is_read_whole_or_refused)
{
	uint8_t bytes[DEBUG_BYTES_MAX];
	struct error err = {0};

	vm.can = (struct kvm_abilities){.xsave_len = 11 * KIB, .has_xsave2 = true};
	cr_assert(debug_get_regs(&vcpu, bytes, &err) == 0);
	cr_expect_eq(kvm_fake_count(KVM_GET_XSAVE2), 1);
	cr_expect_eq(kvm_fake_count(KVM_GET_XSAVE), 0);
	vm.can.xsave_len = 16 * KIB + 1;
	cr_assert(debug_get_regs(&vcpu, bytes, &err) < 0);
	cr_expect_str_eq(err.msg,
			 "The vCPU's XSAVE area has 16385 bytes, and at most 16384 are supported");
}

Test(debug, addresses_are_translated_by_kvm_page_by_page)
{
	uint64_t left;
	gpa_t gpa;

	cr_assert(debug_translate(&vcpu, NULL, 0x1ff8, &gpa, &left));
	cr_expect_eq(gpa.v, 0x101ff8);
	cr_expect_eq(left, 8);
	cr_expect_not(debug_translate(&vcpu, NULL, 0x10000, &gpa, &left));
}

/* DR7 [intel-sdm vol. 3, 18.2.4]: G0 is bit 1, R/W0 bits 17:16, LEN0 bits 19:18. */
Test(debug, points_are_debug_registers)
{
	static const struct debug_plan plan = {
		.points = {{DEBUG_EXEC, 0x1000, 1},
			   {DEBUG_WRITE, 0x2004, 4},
			   {DEBUG_ACCESS, 0x3008, 8},
			   {DEBUG_WRITE, 0x4001, 1}},
		.point_count = 4,
		.can = {.breaks = 4, .watches = 4},
	};
	struct debug_plan steps = {.is_stepping = true, .can.block_irqs = true};
	struct error err = {0};

	cr_assert(debug_plan_fits(&plan));
	cr_assert(debug_apply(&vcpu, &plan, &err) == 0);
	cr_expect_eq(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
	cr_expect_eq(debug.arch.debugreg[0], 0x1000);
	cr_expect_eq(debug.arch.debugreg[1], 0x2004);
	cr_expect_eq(debug.arch.debugreg[2], 0x3008);
	cr_expect_eq(debug.arch.debugreg[3], 0x4001);
	cr_expect_eq(debug.arch.debugreg[7], 0x1bd006aa, "%llx", debug.arch.debugreg[7]);

	cr_assert(debug_apply(&vcpu, &steps, &err) == 0);
	cr_expect_eq(debug.control,
		     KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ);
	steps = (struct debug_plan){.is_stepping = true, .has_traps = true};
	cr_assert(debug_apply(&vcpu, &steps, &err) == 0);
	cr_expect_eq(debug.control,
		     KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP);
	cr_assert(debug_apply(&vcpu, &(const struct debug_plan){0}, &err) == 0);
	cr_expect_eq(debug.control, 0);
}

Test(debug, points_that_the_processor_lacks_do_not_fit)
{
	static const struct {
		struct debug_point point;
		bool fits;
	} cases[] = {
		{{DEBUG_EXEC, 0x1001, 0}, true},   {{DEBUG_WRITE, 0x1001, 1}, true},
		{{DEBUG_WRITE, 0x1002, 2}, true},  {{DEBUG_WRITE, 0x1001, 2}, false},
		{{DEBUG_WRITE, 0x1004, 8}, false}, {{DEBUG_ACCESS, 0x1000, 3}, false},
		{{DEBUG_WRITE, 0x1000, 0}, false}, {{DEBUG_WRITE, 0x1000, 16}, false},
		{{DEBUG_READ, 0x1000, 4}, false},
	};
	struct debug_plan five = {.point_count = 5, .can = {.breaks = 4}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct debug_plan plan = {.points = {cases[i].point},
					  .point_count = 1,
					  .can = {.breaks = 4, .watches = 4}};
		const bool is_exec = cases[i].point.kind == DEBUG_EXEC;

		cr_expect_eq(debug_plan_fits(&plan), cases[i].fits, "case %zu", i);
		plan.can =
			(struct debug_can){.breaks = is_exec ? 0 : 4, .watches = is_exec ? 4 : 0};
		cr_expect_not(debug_plan_fits(&plan), "case %zu, on a KVM that lacks them", i);
	}
	cr_expect_not(debug_plan_fits(&five));
	five.point_count = 4;
	cr_expect(debug_plan_fits(&five));
}

Test(debug, a_stop_has_its_reason_or_is_the_guests)
{
	static const struct {
		struct kvm_debug_exit_arch exit;
		bool is_stepping;
		enum debug_stop_kind kind;
		unsigned point;
	} cases[] = {
		{{.exception = 3, .pc = 0x1000}, false, DEBUG_STOP_TRAP, 0},
		{{.exception = 1, .dr6 = 0xffff0ff1}, false, DEBUG_STOP_POINT, 0},
		{{.exception = 1, .dr6 = 0xffff0ff2}, true, DEBUG_STOP_POINT, 1},
		{{.exception = 1, .dr6 = 0xffff0ff4}, false, DEBUG_STOP_GUEST, 0},
		{{.exception = 1, .dr6 = 0xffff4ff0}, true, DEBUG_STOP_STEP, 0},
		{{.exception = 1, .dr6 = 0xffff4ff0}, false, DEBUG_STOP_GUEST, 0},
		{{.exception = 1, .dr6 = 0xffff4ff2}, true, DEBUG_STOP_POINT, 1},
		{{.exception = 1, .dr6 = 0xffff2ff0}, true, DEBUG_STOP_GUEST, 0},
	};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct debug_plan plan = {.point_count = 2,
						.is_stepping = cases[i].is_stepping};
		struct debug_stop stop;

		cr_assert(debug_explain(&vcpu, &plan, &cases[i].exit, &stop, &err) == 0);
		cr_expect_eq(stop.kind, cases[i].kind, "case %zu: %d", i, stop.kind);
		cr_expect_eq(stop.point, cases[i].point, "case %zu", i);
		cr_expect_eq(stop.address, cases[i].exit.pc, "case %zu", i);
	}
	cr_assert(debug_inject(&vcpu, &cases[0].exit, &err) == 0);
	cr_expect_eq(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP);
	cr_assert(debug_inject(&vcpu, &cases[1].exit, &err) == 0);
	cr_expect_eq(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB);
}

/* --- What a KVM can do, by trying --- */

/* A KVM that hands over these. */
static struct {
	bool traps, breaks, watches;
} host;

static int answer_probe(int fd, unsigned long request, void *arg)
{
	struct kvm_run *run = kvm_fake_run_area(fd);
	const bool is_soft = (debug.control & KVM_GUESTDBG_USE_SW_BP) != 0;
	const bool is_write = (debug.arch.debugreg[7] >> 16 & 3) == 1;

	(void)request;
	(void)arg;
	cr_assert_eq(regs.rip, 0x1000);
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	if (is_soft ? host.traps : is_write ? host.watches : host.breaks) {
		cr_assert(is_soft || debug.arch.debugreg[0] == (is_write ? 0x1800 : 0x1005));
		run->exit_reason = KVM_EXIT_DEBUG;
		run->debug.arch.exception = is_soft ? 3 : 1;
	}
	return 0;
}

static int answer_any(int fd, unsigned long request, void *arg)
{
	(void)fd;
	memcpy(request == KVM_SET_REGS ? (void *)&regs : (void *)&debug, arg,
	       request == KVM_SET_REGS ? sizeof(regs) : sizeof(debug));
	return 0;
}

Test(debug, what_stops_a_guest_is_found_by_trying)
{
	const unsigned before = kvm_fake_open_fds();

	kvm_fake_script(KVM_GET_SREGS, NULL);
	kvm_fake_script(KVM_SET_SREGS, NULL);
	kvm_fake_script(KVM_SET_REGS, answer_any);
	kvm_fake_script(KVM_SET_GUEST_DEBUG, answer_any);
	kvm_fake_script(KVM_RUN, answer_probe);
	for (unsigned i = 0; i < 8; i++) {
		host.traps = (i & 1) != 0;
		host.breaks = (i & 2) != 0;
		host.watches = (i & 4) != 0;
		const struct debug_can can = debug_find_abilities(3);

		cr_expect(can.debug);
		cr_expect_eq(can.traps, host.traps);
		cr_expect_eq(can.breaks, host.breaks ? 4 : 0);
		cr_expect_eq(can.watches, host.watches ? 4 : 0);
	}
	cr_expect_eq(kvm_fake_open_fds(), before);
	/* What can't be tried is taken for granted. */
	kvm_fake_fail(KVM_CREATE_VCPU, 1, EMFILE);
	cr_expect(debug_find_abilities(3).traps);
	cr_expect_eq(kvm_fake_open_fds(), before);
}
