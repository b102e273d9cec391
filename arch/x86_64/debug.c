/* SPDX-License-Identifier: Apache-2.0 */
/* A debugger's view of an x86_64 vCPU: its registers, page tables and debug registers. */
#include "arch/debug.h"

#include <string.h>

#include "debug_probe.h"
#include "kvm_x86.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"
#include "vmm/base/log.h"

/* --- Registers --- */

/* Where KVM has a register: which of its structures, the offset in there, the bytes. */
enum {
	IN_REGS,
	IN_SREGS,
	IN_XSAVE,
	IN_STRUCTS
};

/* The XSAVE area: the legacy region, and which parts of the area are in force
 * [intel-sdm vol. 1, 10.5.1 and 13.4.2]. */
enum {
	XSAVE_FCW = 0,
	XSAVE_FSW = 2,
	XSAVE_FTW = 4,
	XSAVE_FOP = 6,
	XSAVE_FIP = 8,
	XSAVE_FDP = 16,
	XSAVE_MXCSR = 24,
	XSAVE_ST = 32,
	XSAVE_XMM = 160,
	XSAVE_LEGACY_LEN = 416,
	XSAVE_XSTATE_BV = 512,
	XSTATE_X87_SSE = 3,
};

#define SOURCE_AT(which, offset, len)                                                              \
	((uint64_t)(which) << 32 | (uint64_t)(len) << 16 | (uint64_t)(offset))
#define SOURCE(which, type, member, len) SOURCE_AT(which, offsetof(type, member), len)

#define GENERAL(name) GENERAL_AS(name, NULL, NULL)
#define GENERAL_AS(name, type, feature)                                                            \
	{                                                                                          \
#name, type, feature, 64, SOURCE(IN_REGS, struct kvm_regs, name, 8)                \
	}
#define SEGMENT(name, member)                                                                      \
	{                                                                                          \
		name, NULL, NULL, 32, SOURCE(IN_SREGS, struct kvm_sregs, member, 2)                \
	}
#define SYSTEM(name, feature)                                                                      \
	{                                                                                          \
#name, NULL, feature, 64, SOURCE(IN_SREGS, struct kvm_sregs, name, 8)              \
	}
#define ST(i)                                                                                      \
	{                                                                                          \
		"st" #i, "i387_ext", NULL, 80, SOURCE_AT(IN_XSAVE, XSAVE_ST + 16 * (i), 10)        \
	}
#define FLOAT(name, offset, len) FLOAT_AS(name, offset, len, NULL)
#define FLOAT_AS(name, offset, len, type)                                                          \
	{                                                                                          \
		name, type, NULL, 32, SOURCE_AT(IN_XSAVE, offset, len)                             \
	}
#define XMM(i, feature)                                                                            \
	{                                                                                          \
		"xmm" #i, "vec128", feature, 128, SOURCE_AT(IN_XSAVE, XSAVE_XMM + 16 * (i), 16)    \
	}

const char debug_architecture[] = "i386:x86-64";

static const struct debug_field eflags[] = {
	DEBUG_BIT("CF", 0),   DEBUG_BIT("", 1),	    DEBUG_BIT("PF", 2),	 DEBUG_BIT("AF", 4),
	DEBUG_BIT("ZF", 6),   DEBUG_BIT("SF", 7),   DEBUG_BIT("TF", 8),	 DEBUG_BIT("IF", 9),
	DEBUG_BIT("DF", 10),  DEBUG_BIT("OF", 11),

	DEBUG_BIT("NT", 14),  DEBUG_BIT("RF", 16),  DEBUG_BIT("VM", 17), DEBUG_BIT("AC", 18),
	DEBUG_BIT("VIF", 19), DEBUG_BIT("VIP", 20), DEBUG_BIT("ID", 21), {0}};
static const struct debug_field mxcsr[] = {
	DEBUG_BIT("IE", 0),  DEBUG_BIT("DE", 1),  DEBUG_BIT("ZE", 2),
	DEBUG_BIT("OE", 3),  DEBUG_BIT("UE", 4),  DEBUG_BIT("PE", 5),
	DEBUG_BIT("DAZ", 6), DEBUG_BIT("IM", 7),  DEBUG_BIT("DM", 8),
	DEBUG_BIT("ZM", 9),  DEBUG_BIT("OM", 10), DEBUG_BIT("UM", 11),
	DEBUG_BIT("PM", 12), DEBUG_BIT("FZ", 15), {0}};
static const struct debug_field vec128[] = {
	DEBUG_VIEW("v4_float", "v4f"),	  DEBUG_VIEW("v2_double", "v2d"),
	DEBUG_VIEW("v16_int8", "v16i8"),  DEBUG_VIEW("v8_int16", "v8i16"),
	DEBUG_VIEW("v4_int32", "v4i32"),  DEBUG_VIEW("v2_int64", "v2i64"),
	DEBUG_VIEW("uint128", "uint128"), {0}};
static const struct debug_type core_types[] = {DEBUG_FLAGS("i386_eflags", eflags), {0}};
static const struct debug_type sse_types[] = {DEBUG_VECTOR("v4f", "ieee_single", 4),
					      DEBUG_VECTOR("v2d", "ieee_double", 2),
					      DEBUG_VECTOR("v16i8", "int8", 16),
					      DEBUG_VECTOR("v8i16", "int16", 8),
					      DEBUG_VECTOR("v4i32", "int32", 4),
					      DEBUG_VECTOR("v2i64", "int64", 2),
					      DEBUG_UNION("vec128", vec128),
					      DEBUG_FLAGS("i386_mxcsr", mxcsr),
					      {0}};
static const struct debug_feature core = {"org.gnu.gdb.i386.core", core_types};
static const struct debug_feature sse = {"org.gnu.gdb.i386.sse", sse_types};
static const struct debug_feature segments = {"org.gnu.gdb.i386.segments", NULL};
static const struct debug_feature others = {"squib.system", NULL};

/* The order of gdb's features for this architecture. */
const struct debug_reg debug_regs[] = {
	GENERAL_AS(rax, NULL, &core),
	GENERAL(rbx),
	GENERAL(rcx),
	GENERAL(rdx),
	GENERAL(rsi),
	GENERAL(rdi),
	GENERAL_AS(rbp, "data_ptr", NULL),
	GENERAL_AS(rsp, "data_ptr", NULL),
	GENERAL(r8),
	GENERAL(r9),
	GENERAL(r10),
	GENERAL(r11),
	GENERAL(r12),
	GENERAL(r13),
	GENERAL(r14),
	GENERAL(r15),
	GENERAL_AS(rip, "code_ptr", NULL),
	{"eflags", "i386_eflags", NULL, 32, SOURCE(IN_REGS, struct kvm_regs, rflags, 4)},
	SEGMENT("cs", cs.selector),
	SEGMENT("ss", ss.selector),
	SEGMENT("ds", ds.selector),
	SEGMENT("es", es.selector),
	SEGMENT("fs", fs.selector),
	SEGMENT("gs", gs.selector),
	ST(0),
	ST(1),
	ST(2),
	ST(3),
	ST(4),
	ST(5),
	ST(6),
	ST(7),
	FLOAT("fctrl", XSAVE_FCW, 2),
	FLOAT("fstat", XSAVE_FSW, 2),
	FLOAT("ftag", XSAVE_FTW, 1),  /* a bit per register that is not empty */
	FLOAT("fiseg", XSAVE_FIP, 0), /* 64-bit code has no selectors there */
	FLOAT("fioff", XSAVE_FIP, 4),
	FLOAT("foseg", XSAVE_FDP, 0),
	FLOAT("fooff", XSAVE_FDP, 4),
	FLOAT("fop", XSAVE_FOP, 2),
	XMM(0, &sse),
	XMM(1, NULL),
	XMM(2, NULL),
	XMM(3, NULL),
	XMM(4, NULL),
	XMM(5, NULL),
	XMM(6, NULL),
	XMM(7, NULL),
	XMM(8, NULL),
	XMM(9, NULL),
	XMM(10, NULL),
	XMM(11, NULL),
	XMM(12, NULL),
	XMM(13, NULL),
	XMM(14, NULL),
	XMM(15, NULL),
	FLOAT_AS("mxcsr", XSAVE_MXCSR, 4, "i386_mxcsr"),
	{"fs_base", NULL, &segments, 64, SOURCE(IN_SREGS, struct kvm_sregs, fs.base, 8)},
	{"gs_base", NULL, NULL, 64, SOURCE(IN_SREGS, struct kvm_sregs, gs.base, 8)},
	SYSTEM(cr0, &others),
	SYSTEM(cr2, NULL),
	SYSTEM(cr3, NULL),
	SYSTEM(cr4, NULL),
	SYSTEM(cr8, NULL),
	SYSTEM(efer, NULL),
};

const size_t debug_reg_count = ARRAY_COUNT(debug_regs);

struct structs {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint8_t xsave[STATE_XSAVE_MAX];
};

static int get_structs(const struct arch_vcpu *vcpu, struct structs *all, struct error *err)
{
	return kvm_get_regs(vcpu->fd, &all->regs, err) == 0 &&
			       kvm_get_sregs(vcpu->fd, &all->sregs, err) == 0 &&
			       kvm_get_xsave(vcpu->fd, &vcpu->vm->can, all->xsave, err) == 0
		       ? 0
		       : -1;
}

/* Where `all` has the register, and how many bytes. */
static uint8_t *find(struct structs *all, const struct debug_reg *reg, size_t *len)
{
	uint8_t *const starts[IN_STRUCTS] = {
		[IN_REGS] = (uint8_t *)&all->regs,
		[IN_SREGS] = (uint8_t *)&all->sregs,
		[IN_XSAVE] = all->xsave,
	};

	*len = reg->source >> 16 & 0xffff;
	return starts[reg->source >> 32] + (reg->source & 0xffff);
}

int debug_get_regs(const struct arch_vcpu *vcpu, uint8_t bytes[DEBUG_BYTES_MAX], struct error *err)
{
	struct structs all = {0};

	if (get_structs(vcpu, &all, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < debug_reg_count; i++) {
		size_t len;
		const uint8_t *from = find(&all, &debug_regs[i], &len);

		memset(bytes, 0, debug_regs[i].bits / 8);
		memcpy(bytes, from, len);
		bytes += debug_regs[i].bits / 8;
	}
	return 0;
}

int debug_set_regs(const struct arch_vcpu *vcpu, const uint8_t bytes[DEBUG_BYTES_MAX],
		   struct error *err)
{
	struct structs all = {0};

	if (get_structs(vcpu, &all, err) < 0) {
		return -1;
	}
	struct structs old = all;

	for (size_t i = 0; i < debug_reg_count; i++) {
		size_t len;
		uint8_t *to = find(&all, &debug_regs[i], &len);

		memcpy(to, bytes, len);
		bytes += debug_regs[i].bits / 8;
	}
	if (memcmp(&all.sregs, &old.sregs, sizeof(all.sregs)) != 0 &&
	    kvm_set_sregs(vcpu->fd, &all.sregs, err) < 0) {
		return -1;
	}
	if (memcmp(all.xsave, old.xsave, XSAVE_LEGACY_LEN) != 0) {
		/* What was in its initial state is not any more. */
		all.xsave[XSAVE_XSTATE_BV] |= XSTATE_X87_SSE;
		if (kvm_set_xsave(vcpu->fd, all.xsave, err) < 0) {
			return -1;
		}
	}
	return memcmp(&all.regs, &old.regs, sizeof(all.regs)) != 0
		       ? kvm_set_regs(vcpu->fd, &all.regs, err)
		       : 0;
}

/* --- Memory --- */

bool debug_translate(const struct arch_vcpu *vcpu, const struct gmem *mem, uint64_t address,
		     gpa_t *gpa, uint64_t *left)
{
	/* KVM walks the tables, of all modes; its answer is for one page. */
	const uint64_t page = 4 * KIB;

	(void)mem;
	*left = page - address % page;
	return kvm_translate(vcpu->fd, address, gpa);
}

const struct debug_trap debug_trap = {.bytes = {0xcc}, .len = 1}; /* INT3 */

/* --- Stops --- */

/* [intel-sdm vol. 3, 18.2] */
enum {
	DEBUG_REGISTERS = 4,
	VECTOR_DB = 1,
	VECTOR_BP = 3,
	DR6_STEP = 1 << 14,
	DR7_EMPTY = 0x600, /* a bit that is always 1, and exact breakpoints */
	DR7_WRITE = 1,
	DR7_ACCESS = 3,
};

struct debug_can debug_find_abilities(int kvm)
{
	const int flags = kvm_check_extension(kvm, KVM_CAP_SET_GUEST_DEBUG2);
	struct debug_probe found;
	struct error err = {0};

	if (kvm_check_extension(kvm, KVM_CAP_SET_GUEST_DEBUG) <= 0) {
		return (struct debug_can){0};
	}
	if (debug_probe_run(kvm, &found, &err) < 0) {
		log_warn("Cannot try whether this host's KVM stops at breakpoints: %s", err.msg);
		found = (struct debug_probe){.traps = true, .breaks = true, .watches = true};
	}
	return (struct debug_can){
		.debug = true,
		.traps = found.traps,
		.breaks = found.breaks ? DEBUG_REGISTERS : 0,
		.watches = found.watches ? DEBUG_REGISTERS : 0,
		.block_irqs = flags > 0 && (flags & KVM_GUESTDBG_BLOCKIRQ) != 0,
	};
}

/* The length as DR7 has it; -1: none that it has. */
static int dr7_len(const struct debug_point *point)
{
	static const int lens[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};

	if (point->kind == DEBUG_EXEC) {
		return 0;
	}
	if (point->kind == DEBUG_READ || point->len == 0 || point->len > 8 ||
	    (point->len & (point->len - 1)) != 0 || point->address % point->len != 0) {
		return -1;
	}
	return lens[point->len];
}

bool debug_plan_fits(const struct debug_plan *plan)
{
	for (unsigned i = 0; i < plan->point_count; i++) {
		const struct debug_point *point = &plan->points[i];

		if (dr7_len(point) < 0 ||
		    (point->kind == DEBUG_EXEC ? plan->can.breaks : plan->can.watches) == 0) {
			return false;
		}
	}
	return plan->point_count <= DEBUG_REGISTERS;
}

int debug_apply(const struct arch_vcpu *vcpu, const struct debug_plan *plan, struct error *err)
{
	static const uint64_t kinds[] = {
		[DEBUG_EXEC] = 0, [DEBUG_WRITE] = DR7_WRITE, [DEBUG_ACCESS] = DR7_ACCESS};
	struct kvm_guest_debug debug = {.arch.debugreg[7] = DR7_EMPTY};

	for (unsigned i = 0; i < plan->point_count; i++) {
		const struct debug_point *point = &plan->points[i];
		const uint64_t how = kinds[point->kind] | (uint64_t)dr7_len(point) << 2;

		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
		debug.arch.debugreg[i] = point->address;
		debug.arch.debugreg[7] |= UINT64_C(2) << (2 * i) | how << (16 + 4 * i);
	}
	if (plan->has_traps) {
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	}
	if (plan->is_stepping) {
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
		debug.control |= plan->can.block_irqs ? KVM_GUESTDBG_BLOCKIRQ : 0;
	}
	return kvm_set_guest_debug(vcpu->fd, &debug, err);
}

/* By KVM_GUESTDBG_BLOCKIRQ, since Linux 5.16. */
bool debug_block_irqs(const struct arch_vcpu *vcpu, const struct gmem *mem)
{
	(void)vcpu;
	(void)mem;
	return false;
}

int debug_unblock_irqs(const struct arch_vcpu *vcpu, struct error *err)
{
	(void)vcpu;
	(void)err;
	return 0;
}

int debug_explain(const struct arch_vcpu *vcpu, const struct debug_plan *plan,
		  const struct kvm_debug_exit_arch *exit, struct debug_stop *stop,
		  struct error *err)
{
	(void)vcpu;
	(void)err;
	*stop = (struct debug_stop){.kind = DEBUG_STOP_GUEST, .address = exit->pc};
	if (exit->exception == VECTOR_BP) {
		stop->kind = DEBUG_STOP_TRAP;
		return 0;
	}
	for (unsigned i = 0; i < plan->point_count; i++) {
		if ((exit->dr6 & UINT64_C(1) << i) != 0) {
			stop->kind = DEBUG_STOP_POINT;
			stop->point = i;
			return 0;
		}
	}
	if (plan->is_stepping && (exit->dr6 & DR6_STEP) != 0) {
		stop->kind = DEBUG_STOP_STEP;
	}
	return 0;
}

int debug_inject(const struct arch_vcpu *vcpu, const struct kvm_debug_exit_arch *exit,
		 struct error *err)
{
	const struct kvm_guest_debug debug = {.control = KVM_GUESTDBG_ENABLE |
							 (exit->exception == VECTOR_BP
								  ? KVM_GUESTDBG_INJECT_BP
								  : KVM_GUESTDBG_INJECT_DB)};

	return kvm_set_guest_debug(vcpu->fd, &debug, err);
}
