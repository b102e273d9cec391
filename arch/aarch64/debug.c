/* SPDX-License-Identifier: Apache-2.0 */
/* A debugger's view of an aarch64 vCPU: its registers, page tables and debug registers. */
#include "arch/debug.h"

#include <errno.h>
#include <string.h>

#include "arch/aarch64/kvm_arm.h"
#include "arch/aarch64/regs.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

/* --- Registers --- */

#define CORE(member, size)                                                                         \
	(KVM_REG_ARM64 | (size) | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))
#define PC KVM_ARM_CORE_REG(regs.pc)
#define PSTATE KVM_ARM_CORE_REG(regs.pstate)
#define SP_EL0 KVM_ARM_CORE_REG(regs.sp)
#define SP_EL1 KVM_ARM_CORE_REG(sp_el1)
#define ELR_EL1 KVM_ARM_CORE_REG(elr_el1)
#define SPSR_EL1 KVM_ARM_CORE_REG(spsr[0])
#define SCTLR_EL1 ARM64_SYS_REG(3, 0, 1, 0, 0)
#define TTBR0_EL1 ARM64_SYS_REG(3, 0, 2, 0, 0)
#define TTBR1_EL1 ARM64_SYS_REG(3, 0, 2, 0, 1)
#define TCR_EL1 ARM64_SYS_REG(3, 0, 2, 0, 2)
#define FAR_EL1 ARM64_SYS_REG(3, 0, 6, 0, 0)
#define VBAR_EL1 ARM64_SYS_REG(3, 0, 12, 0, 0)
#define TPIDR_EL1 ARM64_SYS_REG(3, 0, 13, 0, 4)

/* One of the two stack pointers: that of PSTATE. No register has this id. */
#define SP_NOW UINT64_C(0)

#define X(i)                                                                                       \
	{                                                                                          \
		"x" #i, NULL, NULL, 64, KVM_ARM_CORE_REG(regs.regs[i])                             \
	}
#define V(i, feature)                                                                              \
	{                                                                                          \
		"v" #i, "vec128", feature, 128, CORE(fp_regs.vregs[i], KVM_REG_SIZE_U128)          \
	}
#define SYSTEM(name, id, feature)                                                                  \
	{                                                                                          \
		name, NULL, feature, 64, id                                                        \
	}

const char debug_architecture[] = "aarch64";

/* PSTATE, as SPSR has it [arm-ddi0487 C5.2.19] */
static const struct debug_field cpsr[] = {DEBUG_BIT("SP", 0),	 DEBUG_BITS("EL", 2, 3),
					  DEBUG_BIT("nRW", 4),	 DEBUG_BIT("F", 6),
					  DEBUG_BIT("I", 7),	 DEBUG_BIT("A", 8),
					  DEBUG_BIT("D", 9),	 DEBUG_BITS("BTYPE", 10, 11),
					  DEBUG_BIT("SSBS", 12), DEBUG_BIT("IL", 20),
					  DEBUG_BIT("SS", 21),	 DEBUG_BIT("PAN", 22),
					  DEBUG_BIT("UAO", 23),	 DEBUG_BIT("DIT", 24),
					  DEBUG_BIT("TCO", 25),	 DEBUG_BIT("V", 28),
					  DEBUG_BIT("C", 29),	 DEBUG_BIT("Z", 30),
					  DEBUG_BIT("N", 31),	 {0}};
static const struct debug_field as_d[] = {
	DEBUG_VIEW("f", "df"), DEBUG_VIEW("u", "du"), DEBUG_VIEW("s", "ds"), {0}};
static const struct debug_field as_s[] = {
	DEBUG_VIEW("f", "sf"), DEBUG_VIEW("u", "su"), DEBUG_VIEW("s", "ss"), {0}};
static const struct debug_field as_h[] = {
	DEBUG_VIEW("f", "hf"), DEBUG_VIEW("u", "hu"), DEBUG_VIEW("s", "hs"), {0}};
static const struct debug_field as_b[] = {DEBUG_VIEW("u", "bu"), DEBUG_VIEW("s", "bs"), {0}};
static const struct debug_field as_q[] = {DEBUG_VIEW("u", "qu"), DEBUG_VIEW("s", "qs"), {0}};
static const struct debug_field vec128[] = {DEBUG_VIEW("d", "as_d"), DEBUG_VIEW("s", "as_s"),
					    DEBUG_VIEW("h", "as_h"), DEBUG_VIEW("b", "as_b"),
					    DEBUG_VIEW("q", "as_q"), {0}};
static const struct debug_type core_types[] = {DEBUG_FLAGS("cpsr_flags", cpsr), {0}};
static const struct debug_type fpu_types[] = {DEBUG_VECTOR("df", "ieee_double", 2),
					      DEBUG_VECTOR("du", "uint64", 2),
					      DEBUG_VECTOR("ds", "int64", 2),
					      DEBUG_VECTOR("sf", "ieee_single", 4),
					      DEBUG_VECTOR("su", "uint32", 4),
					      DEBUG_VECTOR("ss", "int32", 4),
					      DEBUG_VECTOR("hf", "ieee_half", 8),
					      DEBUG_VECTOR("hu", "uint16", 8),
					      DEBUG_VECTOR("hs", "int16", 8),
					      DEBUG_VECTOR("bu", "uint8", 16),
					      DEBUG_VECTOR("bs", "int8", 16),
					      DEBUG_VECTOR("qu", "uint128", 1),
					      DEBUG_VECTOR("qs", "int128", 1),
					      DEBUG_UNION("as_d", as_d),
					      DEBUG_UNION("as_s", as_s),
					      DEBUG_UNION("as_h", as_h),
					      DEBUG_UNION("as_b", as_b),
					      DEBUG_UNION("as_q", as_q),
					      DEBUG_UNION("vec128", vec128),
					      {0}};
static const struct debug_feature core = {"org.gnu.gdb.aarch64.core", core_types};
static const struct debug_feature fpu = {"org.gnu.gdb.aarch64.fpu", fpu_types};
static const struct debug_feature others = {"squib.system", NULL};

/* The order of gdb's features for this architecture. */
const struct debug_reg debug_regs[] = {
	{"x0", NULL, &core, 64, KVM_ARM_CORE_REG(regs.regs[0])},
	X(1),
	X(2),
	X(3),
	X(4),
	X(5),
	X(6),
	X(7),
	X(8),
	X(9),
	X(10),
	X(11),
	X(12),
	X(13),
	X(14),
	X(15),
	X(16),
	X(17),
	X(18),
	X(19),
	X(20),
	X(21),
	X(22),
	X(23),
	X(24),
	X(25),
	X(26),
	X(27),
	X(28),
	X(29),
	X(30),
	{"sp", "data_ptr", NULL, 64, SP_NOW},
	{"pc", "code_ptr", NULL, 64, PC},
	{"cpsr", "cpsr_flags", NULL, 32, PSTATE},
	V(0, &fpu),
	V(1, NULL),
	V(2, NULL),
	V(3, NULL),
	V(4, NULL),
	V(5, NULL),
	V(6, NULL),
	V(7, NULL),
	V(8, NULL),
	V(9, NULL),
	V(10, NULL),
	V(11, NULL),
	V(12, NULL),
	V(13, NULL),
	V(14, NULL),
	V(15, NULL),
	V(16, NULL),
	V(17, NULL),
	V(18, NULL),
	V(19, NULL),
	V(20, NULL),
	V(21, NULL),
	V(22, NULL),
	V(23, NULL),
	V(24, NULL),
	V(25, NULL),
	V(26, NULL),
	V(27, NULL),
	V(28, NULL),
	V(29, NULL),
	V(30, NULL),
	V(31, NULL),
	{"fpsr", NULL, NULL, 32, CORE(fp_regs.fpsr, KVM_REG_SIZE_U32)},
	{"fpcr", NULL, NULL, 32, CORE(fp_regs.fpcr, KVM_REG_SIZE_U32)},
	SYSTEM("sp_el0", SP_EL0, &others),
	SYSTEM("sp_el1", SP_EL1, NULL),
	SYSTEM("elr_el1", ELR_EL1, NULL),
	SYSTEM("spsr_el1", SPSR_EL1, NULL),
	SYSTEM("esr_el1", KVM_ARM_ESR_EL1, NULL),
	SYSTEM("far_el1", FAR_EL1, NULL),
	SYSTEM("vbar_el1", VBAR_EL1, NULL),
	SYSTEM("sctlr_el1", SCTLR_EL1, NULL),
	SYSTEM("tcr_el1", TCR_EL1, NULL),
	SYSTEM("ttbr0_el1", TTBR0_EL1, NULL),
	SYSTEM("ttbr1_el1", TTBR1_EL1, NULL),
	SYSTEM("tpidr_el1", TPIDR_EL1, NULL),
};

const size_t debug_reg_count = ARRAY_COUNT(debug_regs);

static int get(const struct arch_vcpu *vcpu, uint64_t id, uint64_t *value, struct error *err)
{
	return kvm_arm_get_reg(vcpu->fd, id, value, reg_name(id).text, err);
}

static int set(const struct arch_vcpu *vcpu, uint64_t id, uint64_t value, struct error *err)
{
	return kvm_arm_set_reg(vcpu->fd, id, value, reg_name(id).text, err);
}

/* The id of a row's register, for this PSTATE. */
static uint64_t find(const struct debug_reg *reg, uint64_t pstate)
{
	if (reg->source != SP_NOW) {
		return reg->source;
	}
	return (pstate & PSR_MODE_MASK) == PSR_MODE_EL1h ? SP_EL1 : SP_EL0;
}

/* A vCPU with SVE has no V registers of their own, and KVM refuses them: they read as 0. */
static int read_reg(const struct arch_vcpu *vcpu, uint64_t id, uint8_t value[16], struct error *err)
{
	memset(value, 0, 16);
	if (kvm_arm_get_reg_bytes(vcpu->fd, id, value, err) == 0) {
		return 0;
	}
	if (err->sys != EINVAL && err->sys != ENOENT) {
		return error_wrap(err, "Cannot read register %s", reg_name(id).text);
	}
	error_clear(err);
	return 0;
}

int debug_get_regs(const struct arch_vcpu *vcpu, uint8_t bytes[DEBUG_BYTES_MAX], struct error *err)
{
	uint64_t pstate;

	if (get(vcpu, PSTATE, &pstate, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < debug_reg_count; i++) {
		uint8_t value[16];

		if (read_reg(vcpu, find(&debug_regs[i], pstate), value, err) < 0) {
			return -1;
		}
		memcpy(bytes, value, debug_regs[i].bits / 8);
		bytes += debug_regs[i].bits / 8;
	}
	return 0;
}

int debug_set_regs(const struct arch_vcpu *vcpu, const uint8_t bytes[DEBUG_BYTES_MAX],
		   struct error *err)
{
	uint64_t pstate;

	if (get(vcpu, PSTATE, &pstate, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < debug_reg_count; i++) {
		const uint64_t id = find(&debug_regs[i], pstate);
		const size_t len = debug_regs[i].bits / 8;
		uint8_t value[16];

		if (read_reg(vcpu, id, value, err) < 0) {
			return -1;
		}
		if (memcmp(value, bytes, len) != 0) {
			memcpy(value, bytes, len);
			if (kvm_arm_set_reg_bytes(vcpu->fd, id, value, err) < 0) {
				return error_wrap(err, "Cannot set register %s", reg_name(id).text);
			}
		}
		bytes += len;
	}
	return 0;
}

/* --- Memory --- */

/* How one half of the address space is translated [arm-ddi0487 D8.2]. */
struct regime {
	uint64_t table;
	unsigned page_bits; /* 12, 14 or 16 */
	unsigned va_bits;
};

static bool read_regime(const struct arch_vcpu *vcpu, bool is_upper, struct regime *regime)
{
	static const unsigned lower[] = {12, 16, 14, 0};
	static const unsigned upper[] = {0, 14, 12, 16};
	struct error ignored = {0};
	uint64_t tcr;

	if (get(vcpu, TCR_EL1, &tcr, &ignored) < 0 ||
	    get(vcpu, is_upper ? TTBR1_EL1 : TTBR0_EL1, &regime->table, &ignored) < 0 ||
	    (tcr & UINT64_C(1) << (is_upper ? 23 : 7)) != 0 /* EPD: none */) {
		return false;
	}
	regime->page_bits = is_upper ? upper[tcr >> 30 & 3] : lower[tcr >> 14 & 3];
	regime->va_bits = 64 - (unsigned)(tcr >> (is_upper ? 16 : 0) & 0x3f);
	/* 12 to 52 bits are more than any table may have: enough for what follows. */
	return regime->page_bits != 0 && regime->va_bits > regime->page_bits &&
	       regime->va_bits <= 52;
}

/* Follows the tables from `regime->table`; each level reads one entry. */
static bool walk(const struct gmem *mem, const struct regime *regime, uint64_t address, gpa_t *gpa,
		 uint64_t *left)
{
	/* Guests have fewer bits of physical address: above them are other fields. */
	const uint64_t address_bits = (UINT64_C(1) << 48) - 1;
	const unsigned index_bits = regime->page_bits - 3;
	const unsigned levels = (regime->va_bits - regime->page_bits + index_bits - 1) / index_bits;
	uint64_t offset = address & ((UINT64_C(1) << regime->va_bits) - 1);
	uint64_t table = regime->table;

	for (unsigned level = levels; level > 0; level--) {
		const unsigned shift = regime->page_bits + (level - 1) * index_bits;
		const uint64_t index = offset >> shift;
		const uint64_t table_len = level == levels
						   ? UINT64_C(8) << (regime->va_bits - shift)
						   : UINT64_C(1) << regime->page_bits;
		uint8_t entry[8];

		table &= address_bits & ~(max_u64(table_len, 64) - 1);
		if (gmem_read(mem, GPA(table + index * 8), entry, sizeof(entry)) < 0) {
			return false;
		}
		offset &= (UINT64_C(1) << shift) - 1;
		table = load_le64(entry);
		/* Invalid, or a block where only a page may be. */
		if ((table & 1) == 0 || (level == 1 && (table & 2) == 0)) {
			return false;
		}
		if (level == 1 || (table & 2) == 0) {
			const uint64_t len = UINT64_C(1) << shift;

			*gpa = GPA((table & address_bits & ~(len - 1)) + offset);
			*left = len - offset;
			return true;
		}
	}
	return false;
}

bool debug_translate(const struct arch_vcpu *vcpu, const struct gmem *mem, uint64_t address,
		     gpa_t *gpa, uint64_t *left)
{
	const bool is_upper = (address >> 55 & 1) != 0;
	struct error ignored = {0};
	struct regime regime;
	uint64_t sctlr;

	if (get(vcpu, SCTLR_EL1, &sctlr, &ignored) < 0) {
		return false;
	}
	if ((sctlr & 1) == 0) { /* no MMU yet */
		*gpa = GPA(address);
		*left = 4 * KIB - address % (4 * KIB);
		return true;
	}
	if (!read_regime(vcpu, is_upper, &regime)) {
		return false;
	}
	/* The bits above are all the same; the top byte may be a tag. */
	const uint64_t above = (address & ((UINT64_C(1) << 56) - 1)) >> regime.va_bits;

	if (above != (is_upper ? (UINT64_C(1) << (56 - regime.va_bits)) - 1 : 0)) {
		return false;
	}
	return walk(mem, &regime, address, gpa, left);
}

const struct debug_trap debug_trap = {.bytes = {0, 0, 0x20, 0xd4}, .len = 4}; /* BRK #0 */

/* --- Stops --- */

/* The class of an exception, in a syndrome [arm-ddi0487 D17.2.37], as EL2 gets it. */
enum {
	EC_BREAKPOINT = 0x30,
	EC_STEP = 0x32,
	EC_WATCHPOINT = 0x34,
	EC_BRK = 0x3c,
	EC_SHIFT = 26,
};

struct debug_can debug_find_abilities(int kvm)
{
	const int breaks = kvm_check_extension(kvm, KVM_CAP_GUEST_DEBUG_HW_BPS);
	const int watches = kvm_check_extension(kvm, KVM_CAP_GUEST_DEBUG_HW_WPS);

	return (struct debug_can){
		.debug = kvm_check_extension(kvm, KVM_CAP_SET_GUEST_DEBUG) > 0,
		.traps = true,
		.breaks = breaks > 0 ? (unsigned)breaks : 0,
		.watches = watches > 0 ? (unsigned)watches : 0,
	};
}

/* A watchpoint has the bytes of one aligned word of 8. */
static bool is_watchable(const struct debug_point *point)
{
	return point->len >= 1 && point->len <= 8 && point->address % 8 + point->len <= 8;
}

bool debug_plan_fits(const struct debug_plan *plan)
{
	unsigned breaks = 0;

	for (unsigned i = 0; i < plan->point_count; i++) {
		if (plan->points[i].kind == DEBUG_EXEC) {
			breaks++;
		} else if (!is_watchable(&plan->points[i])) {
			return false;
		}
	}
	return breaks <= min_u64(plan->can.breaks, KVM_ARM_MAX_DBG_REGS) &&
	       plan->point_count - breaks <= min_u64(plan->can.watches, KVM_ARM_MAX_DBG_REGS);
}

/* [arm-ddi0487 D2.8, D2.10]: enabled at EL0 and EL1 */
enum {
	ENABLED = 1 | 3 << 1,
	ALL_BYTES = 0xf << 5,
};

static uint64_t watch_control(const struct debug_point *point)
{
	const uint64_t loads = point->kind != DEBUG_WRITE;
	const uint64_t stores = point->kind != DEBUG_READ;
	const uint64_t bytes = (UINT64_C(1) << point->len) - 1;

	return ENABLED | loads << 3 | stores << 4 | bytes << (point->address % 8) << 5;
}

int debug_apply(const struct arch_vcpu *vcpu, const struct debug_plan *plan, struct error *err)
{
	struct kvm_guest_debug debug = {0};
	unsigned breaks = 0;
	unsigned watches = 0;

	for (unsigned i = 0; i < plan->point_count; i++) {
		const struct debug_point *point = &plan->points[i];

		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW;
		if (point->kind == DEBUG_EXEC) {
			debug.arch.dbg_bcr[breaks] = ENABLED | ALL_BYTES;
			debug.arch.dbg_bvr[breaks++] = point->address;
		} else {
			debug.arch.dbg_wcr[watches] = watch_control(point);
			debug.arch.dbg_wvr[watches++] = point->address - point->address % 8;
		}
	}
	if (plan->has_traps) {
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	}
	if (plan->is_stepping) {
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
	}
	return kvm_set_guest_debug(vcpu->fd, &debug, err);
}

/* Instructions that would see or keep the mask: exceptions made and left, and accesses to DAIF. */
static bool sees_mask(uint32_t instruction)
{
	static const struct {
		uint32_t mask;
		uint32_t value;
	} those[] = {
		{0xff000000, 0xd4000000}, /* SVC, HVC, SMC, BRK, HLT */
		{0xfffff000, 0xd69f0000}, /* ERET, with or without authentication */
		{0xffdfffe0, 0xd51b4220}, /* MSR DAIF, MRS DAIF */
		{0xfffff0df, 0xd50340df}, /* MSR DAIFSet, MSR DAIFClr */
	};

	for (size_t i = 0; i < ARRAY_COUNT(those); i++) {
		if ((instruction & those[i].mask) == those[i].value) {
			return true;
		}
	}
	return false;
}

bool debug_block_irqs(const struct arch_vcpu *vcpu, const struct gmem *mem)
{
	struct error ignored = {0};
	uint8_t instruction[4];
	uint64_t pstate;
	uint64_t pc;
	uint64_t left;
	gpa_t gpa;

	return get(vcpu, PC, &pc, &ignored) == 0 && get(vcpu, PSTATE, &pstate, &ignored) == 0 &&
	       (pstate & PSR_I_BIT) == 0 && debug_translate(vcpu, mem, pc, &gpa, &left) &&
	       gmem_read(mem, gpa, instruction, sizeof(instruction)) == 0 &&
	       !sees_mask(load_le32(instruction)) &&
	       set(vcpu, PSTATE, pstate | PSR_I_BIT, &ignored) == 0;
}

/* If the instruction made an exception, what the vCPU was before is in SPSR, and I is set anyway.
 */
int debug_unblock_irqs(const struct arch_vcpu *vcpu, struct error *err)
{
	const uint64_t vectors_len = 0x800;
	uint64_t vbar;
	uint64_t value;
	uint64_t pc;

	if (get(vcpu, PC, &pc, err) < 0 || get(vcpu, VBAR_EL1, &vbar, err) < 0) {
		return -1;
	}
	const uint64_t id = pc - vbar < vectors_len ? SPSR_EL1 : PSTATE;

	return get(vcpu, id, &value, err) == 0 ? set(vcpu, id, value & ~(uint64_t)PSR_I_BIT, err)
					       : -1;
}

/* The point that an exception is about; a watched word may lie above where the access began. */
static void find_point(const struct debug_plan *plan, unsigned ec, uint64_t address,
		       struct debug_stop *stop)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < plan->point_count; i++) {
		const struct debug_point *point = &plan->points[i];
		const uint64_t distance = address < point->address ? point->address - address
								   : address - point->address;

		if ((point->kind == DEBUG_EXEC) == (ec == EC_BREAKPOINT) && distance < best) {
			best = distance;
			stop->kind = DEBUG_STOP_POINT;
			stop->point = i;
		}
	}
}

int debug_explain(const struct arch_vcpu *vcpu, const struct debug_plan *plan,
		  const struct kvm_debug_exit_arch *exit, struct debug_stop *stop,
		  struct error *err)
{
	const unsigned ec = exit->hsr >> EC_SHIFT;

	*stop = (struct debug_stop){.kind = DEBUG_STOP_GUEST};
	if (get(vcpu, PC, &stop->address, err) < 0) {
		return -1;
	}
	if (ec == EC_BRK) {
		stop->kind = DEBUG_STOP_TRAP;
	} else if (ec == EC_STEP && plan->is_stepping) {
		stop->kind = DEBUG_STOP_STEP;
	} else if (ec == EC_BREAKPOINT || ec == EC_WATCHPOINT) {
		find_point(plan, ec, ec == EC_WATCHPOINT ? exit->far : stop->address, stop);
	}
	return 0;
}

/*
 * KVM injects no debug exceptions, so the vCPU takes this one here as the processor would
 * [arm-ddi0487 D1.3.2]: to EL1, with what it was in its registers.
 */
int debug_inject(const struct arch_vcpu *vcpu, const struct kvm_debug_exit_arch *exit,
		 struct error *err)
{
	const uint64_t kept = PSR_N_BIT | PSR_Z_BIT | PSR_C_BIT | PSR_V_BIT | UINT64_C(1) << 22;
	const uint64_t masked = PSR_MODE_EL1h | PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT;
	uint64_t pc;
	uint64_t pstate;
	uint64_t vbar;

	if (get(vcpu, PC, &pc, err) < 0 || get(vcpu, PSTATE, &pstate, err) < 0 ||
	    get(vcpu, VBAR_EL1, &vbar, err) < 0) {
		return -1;
	}
	const uint64_t mode = pstate & PSR_MODE_MASK;
	const bool is_user = mode == PSR_MODE_EL0t || (pstate & PSR_MODE32_BIT) != 0;
	const uint64_t vector = (pstate & PSR_MODE32_BIT) != 0 ? 0x600
				: is_user		       ? 0x400
				: mode == PSR_MODE_EL1h	       ? 0x200
							       : 0;
	uint64_t syndrome = exit->hsr;

	if (!is_user && syndrome >> EC_SHIFT != EC_BRK) {
		/* The class of the same level follows that of a lower one. */
		syndrome += UINT64_C(1) << EC_SHIFT;
	}
	return set(vcpu, ELR_EL1, pc, err) == 0 && set(vcpu, SPSR_EL1, pstate, err) == 0 &&
			       set(vcpu, KVM_ARM_ESR_EL1, syndrome, err) == 0 &&
			       set(vcpu, FAR_EL1, exit->far, err) == 0 &&
			       set(vcpu, PC, vbar + vector, err) == 0 &&
			       set(vcpu, PSTATE, (pstate & kept) | masked, err) == 0
		       ? 0
		       : -1;
}
