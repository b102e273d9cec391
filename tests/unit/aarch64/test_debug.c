/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/debug.c: page tables of all granules, registers, points and exceptions. */
#include "arch/debug.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "arch/aarch64/kvm_arm.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/ram.h"
#include "tests/lib/reg_offset.h"
#include "vmm/base/bytes.h"

/* Ids as strace shows them, so that a wrong macro is seen. */
#define ID_X0 UINT64_C(0x6030000000100000)
#define ID_SP_EL0 UINT64_C(0x603000000010003e)
#define ID_PC UINT64_C(0x6030000000100040)
#define ID_PSTATE UINT64_C(0x6030000000100042)
#define ID_SP_EL1 UINT64_C(0x6030000000100044)
#define ID_ELR UINT64_C(0x6030000000100046)
#define ID_SPSR UINT64_C(0x6030000000100048)
#define ID_V0 UINT64_C(0x6040000000100054)
#define ID_SCTLR UINT64_C(0x603000000013c080)
#define ID_TTBR0 UINT64_C(0x603000000013c100)
#define ID_TTBR1 UINT64_C(0x603000000013c101)
#define ID_TCR UINT64_C(0x603000000013c102)
#define ID_ESR UINT64_C(0x603000000013c290)
#define ID_FAR UINT64_C(0x603000000013c300)
#define ID_VBAR UINT64_C(0x603000000013c600)

static const struct arch_vcpu vcpu = {.fd = 102};
static struct kvm_guest_debug debug;

static struct {
	uint64_t id;
	uint8_t value[16];
} regs[32];
static size_t reg_count;

static uint8_t *reg_of(uint64_t id)
{
	for (size_t i = 0; i < reg_count; i++) {
		if (regs[i].id == id) {
			return regs[i].value;
		}
	}
	cr_assert(reg_count < ARRAY_COUNT(regs));
	regs[reg_count].id = id;
	return regs[reg_count++].value;
}

static void set_reg(uint64_t id, uint64_t value)
{
	store_le64(reg_of(id), value);
}

static uint64_t get_reg(uint64_t id)
{
	return load_le64(reg_of(id));
}

static size_t len_of(uint64_t id)
{
	return (size_t)1 << (id >> 52 & 0xf);
}

/* KVM refuses V1, as that of a vCPU with SVE; other registers are 0 until they are set. */
static int answer_get(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *reg = arg;
	static const uint8_t zeroes[16];
	const uint8_t *value = zeroes;

	(void)request;
	cr_expect_eq(fd, 102);
	if (reg->id == ID_V0 + 4) {
		errno = EINVAL;
		return -1;
	}
	for (size_t i = 0; i < reg_count; i++) {
		if (regs[i].id == reg->id) {
			value = regs[i].value;
		}
	}
	memcpy((void *)(uintptr_t)reg->addr, value, len_of(reg->id)); // NOLINT
	return 0;
}

static int answer_set(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *reg = arg;

	(void)request;
	cr_expect_eq(fd, 102);
	memcpy(reg_of(reg->id), (const void *)(uintptr_t)reg->addr, len_of(reg->id)); // NOLINT
	return 0;
}

static int answer_debug(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(&debug, arg, sizeof(debug));
	return 0;
}

static void set_up(void)
{
	kvm_fake_script(KVM_GET_ONE_REG, answer_get);
	kvm_fake_script(KVM_SET_ONE_REG, answer_set);
	kvm_fake_script(KVM_SET_GUEST_DEBUG, answer_debug);
}

TestSuite(debug, .init = set_up);

/* --- Page tables --- */

#define RAM UINT64_C(0x80000000)

static struct gmem *mem;

static void put(uint64_t address, uint64_t entry)
{
	uint8_t bytes[8];

	store_le64(bytes, entry);
	cr_assert(gmem_write(mem, GPA(address), bytes, 8) == 0);
}

/* Tables at 0x80010000, 0x80020000, ... for one address, down to a page or a block at `level`. */
struct map {
	unsigned page_bits;
	unsigned va_bits;
	unsigned level; /* of the last entry: 3 is a page */
	uint64_t address;
	uint64_t target;
};

static void make_tables(const struct map *map)
{
	const int bits = (int)map->page_bits - 3;
	const int first = 4 - ((int)(map->va_bits - map->page_bits) + bits - 1) / bits;
	uint64_t table = RAM + 0x10000;
	const uint64_t offset = map->address & ((UINT64_C(1) << map->va_bits) - 1);

	for (int level = first; level <= (int)map->level; level++) {
		const int shift = (int)map->page_bits + (3 - level) * bits;
		const uint64_t in_table = level == first
						  ? offset >> shift
						  : (offset >> shift) & ((UINT64_C(1) << bits) - 1);
		const uint64_t next = table + 0x10000;

		/* Attributes above and below the address are of no concern. */
		put(table + in_table * 8,
		    level < (int)map->level
			    ? next | 3
			    : map->target | UINT64_C(0x0060000000000700) | (level == 3 ? 3 : 1));
		table = next;
	}
}

static void set_regime(unsigned page_bits, unsigned va_bits)
{
	const uint64_t tg0 = page_bits == 12 ? 0 : page_bits == 14 ? 2 : 1;
	const uint64_t tg1 = page_bits == 12 ? 2 : page_bits == 14 ? 1 : 3;
	const uint64_t unused = UINT64_C(0x3500000000);

	set_reg(ID_TCR,
		(64 - va_bits) | (uint64_t)(64 - va_bits) << 16 | tg0 << 14 | tg1 << 30 | unused);
	/* With an ASID. */
	set_reg(ID_TTBR0, (RAM + 0x10000) | UINT64_C(7) << 48);
	set_reg(ID_TTBR1, (RAM + 0x10000) | UINT64_C(7) << 48);
	set_reg(ID_SCTLR, 0x30d0180d);
}

Test(debug, addresses_are_translated_by_the_guests_tables)
{
	static const struct map cases[] = {
		/* 4 KiB: pages by 4 and 3 levels, blocks of 2 MiB and 1 GiB, both halves */
		{12, 48, 3, UINT64_C(0x0000123456789000), RAM + 0x5000},
		{12, 48, 3, UINT64_C(0xffff800080001000), RAM + 0x6000},
		{12, 39, 3, UINT64_C(0xffffffc008001000), RAM + 0x6000},
		{12, 48, 2, UINT64_C(0xffff800080200000), RAM + 0x200000},
		{12, 48, 1, UINT64_C(0xffff800040000000), RAM},
		{12, 52, 3, UINT64_C(0xfff8800080001000), RAM + 0x7000},
		/* 16 KiB: a page, a block of 32 MiB */
		{14, 47, 3, UINT64_C(0xffff800080004000), RAM + 0x8000},
		{14, 48, 3, UINT64_C(0xffff800080004000), RAM + 0x8000},
		{14, 47, 2, UINT64_C(0xffff800082000000), RAM},
		/* 64 KiB: a page, a block of 512 MiB */
		{16, 48, 3, UINT64_C(0xffff800080010000), RAM + 0x70000},
		{16, 42, 3, UINT64_C(0xfffffc0080010000), RAM + 0x70000},
		{16, 48, 2, UINT64_C(0xffff8000a0000000), RAM},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct map *map = &cases[i];
		const unsigned shift = map->page_bits + (3 - map->level) * (map->page_bits - 3);
		uint64_t left = 0;
		gpa_t gpa = GPA(0);

		mem = new_ram(4 * MIB);
		set_regime(map->page_bits, map->va_bits);
		make_tables(map);
		cr_expect(debug_translate(&vcpu, mem, map->address + 0x123, &gpa, &left),
			  "case %zu", i);
		cr_expect_eq(gpa.v, map->target + 0x123, "case %zu: %#llx", i,
			     (unsigned long long)gpa.v);
		cr_expect_eq(left, (UINT64_C(1) << shift) - 0x123, "case %zu", i);
		/* Its neighbour, and the same place beyond what the tables reach. */
		cr_expect_not(debug_translate(&vcpu, mem, map->address + (UINT64_C(1) << shift),
					      &gpa, &left),
			      "case %zu", i);
		cr_expect(map->va_bits > 48 ||
				  !debug_translate(&vcpu, mem,
						   map->address ^ UINT64_C(1) << map->va_bits, &gpa,
						   &left),
			  "case %zu", i);
		/* A tag in the top byte changes nothing. */
		cr_expect(debug_translate(&vcpu, mem, map->address ^ UINT64_C(0x5a) << 56, &gpa,
					  &left),
			  "case %zu", i);
		gmem_free(mem);
	}
}

Test(debug, tables_that_are_none_lead_nowhere)
{
	const struct map map = {12, 48, 3, UINT64_C(0xffff800080001000), RAM + 0x6000};
	uint64_t left;
	gpa_t gpa;

	mem = new_ram(4 * MIB);
	set_regime(12, 48);
	make_tables(&map);
	cr_assert(debug_translate(&vcpu, mem, map.address, &gpa, &left));
	/* EPD1, granules that are reserved, no bits at all, more than there are */
	const uint64_t tcr = get_reg(ID_TCR);
	const uint64_t wrong[] = {tcr | UINT64_C(1) << 23, tcr & ~(UINT64_C(3) << 30),
				  tcr | UINT64_C(0x3f) << 16, tcr & ~(UINT64_C(0x3f) << 16)};

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		set_reg(ID_TCR, wrong[i]);
		cr_expect_not(debug_translate(&vcpu, mem, map.address, &gpa, &left), "case %zu", i);
	}
	set_reg(ID_TCR, tcr);
	set_reg(ID_TTBR1, 0x1000); /* no RAM */
	cr_expect_not(debug_translate(&vcpu, mem, map.address, &gpa, &left));
	/* A block where only pages may be: bit 1 of the last entry. */
	set_reg(ID_TTBR1, RAM + 0x10000);
	put(RAM + 0x40000 + 8, (RAM + 0x6000) | 1);
	cr_expect_not(debug_translate(&vcpu, mem, map.address, &gpa, &left));
	/* No MMU: all addresses are physical. */
	set_reg(ID_SCTLR, 0xc50078);
	cr_assert(debug_translate(&vcpu, mem, RAM + 0x10ff8, &gpa, &left));
	cr_expect(gpa.v == RAM + 0x10ff8 && left == 8);
	gmem_free(mem);
}

/* --- Registers --- */

Test(debug, registers_are_where_gdb_looks_for_them_and_only_what_differs_is_set)
{
	uint8_t bytes[DEBUG_BYTES_MAX];
	struct error err = {0};

	cr_expect_eq(offset_of("x30"), 240);
	cr_expect_eq(offset_of("sp"), 248);
	cr_expect_eq(offset_of("pc"), 256);
	cr_expect_eq(offset_of("cpsr"), 264);
	cr_expect_eq(offset_of("v0"), 268);
	cr_expect_eq(offset_of("fpsr"), 780);
	set_reg(ID_X0, 0x1111);
	set_reg(ID_PC, 0x2222);
	set_reg(ID_SP_EL0, 0x3333);
	set_reg(ID_SP_EL1, 0x4444);
	set_reg(ID_PSTATE, 0x3c5);
	memset(reg_of(ID_V0), 0x55, 16);
	cr_assert(debug_get_regs(&vcpu, bytes, &err) == 0, "%s", err.msg);
	cr_expect_eq(load_le64(bytes), 0x1111);
	cr_expect_eq(load_le64(bytes + 248), 0x4444);
	cr_expect_eq(load_le64(bytes + 256), 0x2222);
	cr_expect_eq(load_le32(bytes + 264), 0x3c5);
	cr_expect(memcmp(bytes + 268, reg_of(ID_V0), 16) == 0);
	cr_expect_eq(load_le64(bytes + 284), 0);
	cr_expect_eq(load_le64(bytes + offset_of("sp_el0")), 0x3333);

	cr_assert(debug_set_regs(&vcpu, bytes, &err) == 0, "%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_ONE_REG), 0);
	store_le64(bytes + 248, 0x4450);
	store_le64(bytes + offset_of("sp_el1"), 0x4450);
	store_le64(bytes + 256, 0x2226);
	cr_assert(debug_set_regs(&vcpu, bytes, &err) == 0, "%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_ONE_REG), 2);
	cr_expect_eq(get_reg(ID_SP_EL1), 0x4450);
	cr_expect_eq(get_reg(ID_PC), 0x2226);
	/* In user space the stack pointer is the other one. */
	set_reg(ID_PSTATE, 0);
	cr_assert(debug_get_regs(&vcpu, bytes, &err) == 0);
	cr_expect_eq(load_le64(bytes + 248), 0x3333);
}

/* --- Stops --- */

Test(debug, points_are_debug_registers)
{
	struct debug_plan plan = {
		.points = {{DEBUG_EXEC, 0x1000, 4},
			   {DEBUG_WRITE, 0x2004, 4},
			   {DEBUG_READ, 0x3001, 1},
			   {DEBUG_ACCESS, 0x4000, 8},
			   {DEBUG_EXEC, 0x5000, 4}},
		.point_count = 5,
		.can = {.breaks = 2, .watches = 3},
	};
	struct error err = {0};

	cr_assert(debug_plan_fits(&plan));
	cr_assert(debug_apply(&vcpu, &plan, &err) == 0);
	cr_expect_eq(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW);
	cr_expect_eq(debug.arch.dbg_bvr[0], 0x1000);
	cr_expect_eq(debug.arch.dbg_bvr[1], 0x5000);
	cr_expect_eq(debug.arch.dbg_bcr[1], 0x1e7);
	/* E, both ELs, stores, loads, the bytes from bit 5 on */
	cr_expect_eq(debug.arch.dbg_wvr[0], 0x2000);
	cr_expect_eq(debug.arch.dbg_wcr[0], 0x7 | 2 << 3 | 0xf0 << 5);
	cr_expect_eq(debug.arch.dbg_wvr[1], 0x3000);
	cr_expect_eq(debug.arch.dbg_wcr[1], 0x7 | 1 << 3 | 0x02 << 5);
	cr_expect_eq(debug.arch.dbg_wcr[2], 0x7 | 3 << 3 | 0xff << 5);
	plan.can.watches = 2;
	cr_expect_not(debug_plan_fits(&plan));
	plan.can = (struct debug_can){.breaks = 1, .watches = 3};
	cr_expect_not(debug_plan_fits(&plan));
	plan = (struct debug_plan){
		.points = {{DEBUG_WRITE, 0x2005, 4}}, .point_count = 1, .can.watches = 1};
	cr_expect_not(debug_plan_fits(&plan));
	plan = (struct debug_plan){.is_stepping = true, .has_traps = true};
	cr_assert(debug_apply(&vcpu, &plan, &err) == 0);
	cr_expect_eq(debug.control,
		     KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP);
}

Test(debug, a_stop_has_its_reason_or_is_the_guests)
{
	static const struct {
		uint32_t ec;
		uint64_t far;
		bool is_stepping;
		enum debug_stop_kind kind;
		unsigned point;
	} cases[] = {
		{0x3c, 0, false, DEBUG_STOP_TRAP, 0},
		{0x32, 0, true, DEBUG_STOP_STEP, 0},
		{0x32, 0, false, DEBUG_STOP_GUEST, 0},
		{0x30, 0, false, DEBUG_STOP_POINT, 0},
		{0x34, 0x2000, false, DEBUG_STOP_POINT, 1},
		{0x34, 0x2ffc, false, DEBUG_STOP_POINT, 2},
		{0x38, 0, true, DEBUG_STOP_GUEST, 0},
	};
	const struct debug_point points[] = {
		{DEBUG_EXEC, 0x1000, 4}, {DEBUG_WRITE, 0x2000, 8}, {DEBUG_ACCESS, 0x3000, 8}};
	struct error err = {0};

	set_reg(ID_PC, 0x1000);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct debug_plan plan = {.point_count = 3, .is_stepping = cases[i].is_stepping};
		const struct kvm_debug_exit_arch exit = {.hsr = cases[i].ec << 26,
							 .far = cases[i].far};
		struct debug_stop stop;

		memcpy(plan.points, points, sizeof(points));
		cr_assert(debug_explain(&vcpu, &plan, &exit, &stop, &err) == 0);
		cr_expect_eq(stop.kind, cases[i].kind, "case %zu: %d", i, stop.kind);
		cr_expect_eq(stop.point, cases[i].point, "case %zu", i);
		cr_expect_eq(stop.address, 0x1000, "case %zu", i);
	}
}

Test(debug, the_guest_takes_its_own_exceptions_as_from_the_processor)
{
	static const struct {
		uint64_t pstate;
		uint32_t hsr;
		uint64_t vector;
		uint64_t pstate_after;
		uint64_t esr;
	} cases[] = {
		{0x60000005, 0xf2000800, 0x200, 0x600003c5, 0xf2000800}, /* BRK in the kernel */
		{0x60000004, 0xf2000800, 0x000, 0x600003c5, 0xf2000800}, /* on the other stack */
		{0x20400000, 0xf2000001, 0x400, 0x204003c5, 0xf2000001}, /* in user space */
		{0x00000010, 0xf2000001, 0x600, 0x000003c5, 0xf2000001}, /* of 32 bits */
		{0x00200000, 0xca000022, 0x400, 0x000003c5, 0xca000022}, /* a user's step */
		{0x00200005, 0xca000022, 0x200, 0x000003c5, 0xce000022}, /* the kernel's */
	};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct kvm_debug_exit_arch exit = {.hsr = cases[i].hsr, .far = 0x77};

		set_reg(ID_PC, 0x1234);
		set_reg(ID_PSTATE, cases[i].pstate);
		set_reg(ID_VBAR, 0x8000);
		cr_assert(debug_inject(&vcpu, &exit, &err) == 0, "%s", err.msg);
		cr_expect_eq(get_reg(ID_PC), 0x8000 + cases[i].vector, "case %zu", i);
		cr_expect_eq(get_reg(ID_PSTATE), cases[i].pstate_after, "case %zu: %#llx", i,
			     (unsigned long long)get_reg(ID_PSTATE));
		cr_expect_eq(get_reg(ID_ELR), 0x1234, "case %zu", i);
		cr_expect_eq(get_reg(ID_SPSR), cases[i].pstate, "case %zu", i);
		cr_expect_eq(get_reg(ID_ESR), cases[i].esr, "case %zu", i);
		cr_expect_eq(get_reg(ID_FAR), 0x77, "case %zu", i);
	}
}

/* An instruction that is stepped is not interrupted, unless it could tell. */
Test(debug, interrupts_wait_for_the_end_of_a_step)
{
	static const struct {
		uint32_t instruction;
		bool is_blocked;
	} cases[] = {
		{0xd503201f, true},  /* nop */
		{0xf9400000, true},  /* ldr x0, [x0] */
		{0xd5384100, true},  /* mrs x0, sp_el0 */
		{0xd4000001, false}, /* svc #0 */
		{0xd4210000, false}, /* brk #0x800 */
		{0xd69f03e0, false}, /* eret */
		{0xd69f0fff, false}, /* eretab */
		{0xd53b4220, false}, /* mrs x0, daif */
		{0xd51b4235, false}, /* msr daif, x21 */
		{0xd50342df, false}, /* msr daifset, #2 */
		{0xd5034fff, false}, /* msr daifclr, #15 */
	};
	struct error err = {0};

	mem = new_ram(4 * MIB);
	set_reg(ID_PC, RAM + 0x1000);
	set_reg(ID_VBAR, RAM + 0x2000);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t bytes[4];

		store_le32(bytes, cases[i].instruction);
		cr_assert(gmem_write(mem, GPA(RAM + 0x1000), bytes, 4) == 0);
		set_reg(ID_PSTATE, 0x60000005);
		cr_expect_eq(debug_block_irqs(&vcpu, mem), cases[i].is_blocked, "case %zu", i);
		cr_expect_eq(get_reg(ID_PSTATE), cases[i].is_blocked ? 0x60000085 : 0x60000005,
			     "case %zu", i);
	}
	/* They are blocked already, by the guest. */
	set_reg(ID_PSTATE, 0x600003c5);
	cr_expect_not(debug_block_irqs(&vcpu, mem));
	/* The instruction is done, or made an exception. */
	set_reg(ID_PSTATE, 0x20000085);
	cr_assert(debug_unblock_irqs(&vcpu, &err) == 0);
	cr_expect_eq(get_reg(ID_PSTATE), 0x20000005);
	set_reg(ID_PC, RAM + 0x2200);
	set_reg(ID_PSTATE, 0x200003c5);
	set_reg(ID_SPSR, 0x20000085);
	cr_assert(debug_unblock_irqs(&vcpu, &err) == 0);
	cr_expect_eq(get_reg(ID_PSTATE), 0x200003c5);
	cr_expect_eq(get_reg(ID_SPSR), 0x20000005);
	gmem_free(mem);
}
