/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves and loads the interrupt controller.
 *
 * Theory of operation. KVM shows the GIC's registers one by one, as attributes of its device. The
 * tables below are all that KVM keeps behind them, in the order of loading: first what says how
 * KVM behaves (IIDR), then how an interrupt is (group, trigger, priority, target), then its state
 * (enabled, line, pending, active), last the CPU interfaces. A register that only sets bits has a
 * twin that clears them, to which ones are written first: a new GIC has its SGIs enabled. Private
 * interrupts are each vCPU's own, so the distributor's rows begin at the first shared one.
 * [linux Documentation/virt/kvm/devices/arm-vgic.rst, arm-vgic-v3.rst; gic-v2 4, gic-v3 12]
 *
 * A GICv3's pending bits are the latch alone, and the lines are apart (LEVEL_INFO). A GICv2 has no
 * such group: what is pending by its line is so again when the line's owner says so. All lines of
 * squib's devices are edges, and KVM's timers look at theirs when the vCPU goes on.
 *
 * What message interrupts are by is in its_state.c.
 */
#include "arch/state.h"

#include <assert.h>
#include <errno.h>

#include "arch/aarch64/gic.h"
#include "arch/aarch64/its_state.h"
#include "arch/aarch64/kvm_arm.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

enum {
	SPIS = LAYOUT_INTIDS - LAYOUT_INTID_SPI,
	SPI_BITS = SPIS / 32,		   /* words with a bit per shared interrupt */
	SPI_BIT_AT = LAYOUT_INTID_SPI / 8, /* where they begin in such a register */
	GICD_IIDR = 0x8,
	SGI_FRAME = 0x10000,	 /* the second frame of a redistributor */
	SYSREG_CTLR = 1,	 /* the row of ICC_CTLR_EL1 */
	CTLR_PRI_BITS_SHIFT = 8, /* bits 10:8: bits of a priority, less one */
};

/* A system register of the CPU interface, as KVM encodes its instruction. */
#define ICC(op1, crn, crm, op2)                                                                    \
	((uint32_t)(ARM64_SYS_REG(3, op1, crn, crm, op2) & KVM_DEV_ARM_VGIC_SYSREG_INSTR_MASK))

#define ICC_CTLR ICC(0, 12, 12, 4)

struct row {
	const char *name;
	uint32_t group;
	uint32_t at;	   /* offset of the first word, interrupt, or instruction */
	uint32_t words;	   /* or registers of 64 bits, for system registers: always 1 */
	uint32_t clear_at; /* where words of ones go first; 0: nowhere */
	unsigned pri_bits; /* KVM has it with so many bits of priority */
};

#define DIST(name, at, words, clear_at)                                                            \
	{                                                                                          \
		name, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, at, words, clear_at, 0                       \
	}
#define REDIST(name, at, words, clear_at)                                                          \
	{                                                                                          \
		name, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, at, words, clear_at, 0                     \
	}
#define LINES(name, at, words)                                                                     \
	{                                                                                          \
		name, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, at, words, 0, 0                             \
	}
#define SYSREG(name, at, pri_bits)                                                                 \
	{                                                                                          \
		name, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, at, 1, 0, pri_bits                         \
	}
#define CPU(name, at, words)                                                                       \
	{                                                                                          \
		name, KVM_DEV_ARM_VGIC_GRP_CPU_REGS, at, words, 0, 0                               \
	}

static const struct row v3_dist[] = {
	DIST("GICD_IIDR", GICD_IIDR, 1, 0),
	DIST("GICD_CTLR", 0x0, 1, 0),
	DIST("GICD_IGROUPR", 0x80 + SPI_BIT_AT, SPI_BITS, 0),
	DIST("GICD_ICFGR", 0xc00 + LAYOUT_INTID_SPI / 4, SPIS / 16, 0),
	DIST("GICD_IPRIORITYR", 0x400 + LAYOUT_INTID_SPI, SPIS / 4, 0),
	DIST("GICD_IROUTER", 0x6000 + LAYOUT_INTID_SPI * 8, SPIS * 2, 0),
	DIST("GICD_ISENABLER", 0x100 + SPI_BIT_AT, SPI_BITS, 0x180 + SPI_BIT_AT),
	LINES("lines", LAYOUT_INTID_SPI, SPI_BITS),
	DIST("GICD_ISPENDR", 0x200 + SPI_BIT_AT, SPI_BITS, 0),
	DIST("GICD_ISACTIVER", 0x300 + SPI_BIT_AT, SPI_BITS, 0x380 + SPI_BIT_AT),
};

static const struct row v3_cpu[] = {
	REDIST("GICR_IGROUPR0", SGI_FRAME + 0x80, 1, 0),
	REDIST("GICR_ICFGR", SGI_FRAME + 0xc00, 2, 0),
	REDIST("GICR_IPRIORITYR", SGI_FRAME + 0x400, 8, 0),
	REDIST("GICR_ISENABLER0", SGI_FRAME + 0x100, 1, SGI_FRAME + 0x180),
	LINES("lines", 0, 1),
	REDIST("GICR_ISPENDR0", SGI_FRAME + 0x200, 1, 0),
	REDIST("GICR_ISACTIVER0", SGI_FRAME + 0x300, 1, SGI_FRAME + 0x380),
	/* Which of the active priorities there are is told by ICC_CTLR_EL1 [gic-v3 12.2.2]. */
	SYSREG("ICC_SRE_EL1", ICC(0, 12, 12, 5), 0),
	SYSREG("ICC_CTLR_EL1", ICC_CTLR, 0),
	SYSREG("ICC_IGRPEN0_EL1", ICC(0, 12, 12, 6), 0),
	SYSREG("ICC_IGRPEN1_EL1", ICC(0, 12, 12, 7), 0),
	SYSREG("ICC_PMR_EL1", ICC(0, 4, 6, 0), 0),
	SYSREG("ICC_BPR0_EL1", ICC(0, 12, 8, 3), 0),
	SYSREG("ICC_BPR1_EL1", ICC(0, 12, 12, 3), 0),
	SYSREG("ICC_AP0R0_EL1", ICC(0, 12, 8, 4), 0),
	SYSREG("ICC_AP0R1_EL1", ICC(0, 12, 8, 5), 6),
	SYSREG("ICC_AP0R2_EL1", ICC(0, 12, 8, 6), 7),
	SYSREG("ICC_AP0R3_EL1", ICC(0, 12, 8, 7), 7),
	SYSREG("ICC_AP1R0_EL1", ICC(0, 12, 9, 0), 0),
	SYSREG("ICC_AP1R1_EL1", ICC(0, 12, 9, 1), 6),
	SYSREG("ICC_AP1R2_EL1", ICC(0, 12, 9, 2), 7),
	SYSREG("ICC_AP1R3_EL1", ICC(0, 12, 9, 3), 7),
};

static const struct row v2_dist[] = {
	/* Groups can be written only after this. */
	DIST("GICD_IIDR", GICD_IIDR, 1, 0),
	DIST("GICD_CTLR", 0x0, 1, 0),
	DIST("GICD_IGROUPR", 0x80 + SPI_BIT_AT, SPI_BITS, 0),
	DIST("GICD_ICFGR", 0xc00 + LAYOUT_INTID_SPI / 4, SPIS / 16, 0),
	DIST("GICD_IPRIORITYR", 0x400 + LAYOUT_INTID_SPI, SPIS / 4, 0),
	DIST("GICD_ITARGETSR", 0x800 + LAYOUT_INTID_SPI, SPIS / 4, 0),
	DIST("GICD_ISENABLER", 0x100 + SPI_BIT_AT, SPI_BITS, 0x180 + SPI_BIT_AT),
	DIST("GICD_ISPENDR", 0x200 + SPI_BIT_AT, SPI_BITS, 0x280 + SPI_BIT_AT),
	DIST("GICD_ISACTIVER", 0x300 + SPI_BIT_AT, SPI_BITS, 0x380 + SPI_BIT_AT),
};

static const struct row v2_cpu[] = {
	DIST("GICD_IGROUPR0", 0x80, 1, 0),
	DIST("GICD_ICFGR0", 0xc00, 2, 0),
	DIST("GICD_IPRIORITYR0", 0x400, 8, 0),
	DIST("GICD_ISENABLER0", 0x100, 1, 0x180),
	DIST("GICD_ISPENDR0", 0x200, 1, 0x280),
	/* ISPENDR takes the vCPU itself for the source of an SGI; these have the true ones. */
	DIST("GICD_SPENDSGIR", 0xf20, 4, 0xf10),
	DIST("GICD_ISACTIVER0", 0x300, 1, 0x380),
	CPU("GICC_CTLR", 0x0, 1),
	CPU("GICC_PMR", 0x4, 1),
	CPU("GICC_BPR", 0x8, 1),
	CPU("GICC_ABPR", 0x1c, 1),
	CPU("GICC_APR", 0xd0, 4),
};

/* The rows of one version; none for a version that no GIC has. */
struct rows {
	const struct row *dist;
	size_t dist_count;
	const struct row *cpu;
	size_t cpu_count;
};

enum {
	GIC_VERSION_MAX = 3
};

static const struct rows all_rows[GIC_VERSION_MAX + 1] = {
	[2] = {v2_dist, ARRAY_COUNT(v2_dist), v2_cpu, ARRAY_COUNT(v2_cpu)},
	[3] = {v3_dist, ARRAY_COUNT(v3_dist), v3_cpu, ARRAY_COUNT(v3_cpu)},
};

static uint32_t version_number(enum gic_version version)
{
	switch (version) {
	case GIC_V2:
		return 2;
	case GIC_V3:
		return 3;
	case GIC_NONE:
		break;
	}
	return 0;
}

/* --- Going through the rows --- */

/* Where the next row's values are, and which vCPU's they are. */
struct cursor {
	int device;
	uint64_t cpu;	   /* the upper half of an attribute */
	uint32_t *words;   /* the distributor's, or the vCPU's first */
	size_t word;	   /* of the next row */
	size_t word_count; /* that there are */
	uint64_t *sysregs; /* the vCPU's first */
	size_t sysreg;	   /* of the next row */
};

static struct cursor dist_cursor(struct arch_vm_state *state)
{
	return (struct cursor){
		.words = state->dist,
		.word_count = ARCH_GIC_DIST_WORDS,
		.sysregs = state->cpus[0].sysregs, /* no row of the distributor is one */
	};
}

static struct cursor cpu_cursor(struct arch_vm_state *state, unsigned index)
{
	struct arch_gic_cpu_state *cpu = &state->cpus[index];

	return (struct cursor){
		.words = cpu->words,
		.word_count = ARCH_GIC_CPU_WORDS,
		.sysregs = cpu->sysregs,
	};
}

static bool is_sysreg(const struct row *row)
{
	return row->group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
}

/* False for a system register that KVM does not have with so few bits of priority. */
static bool has_row(const struct cursor *cursor, const struct row *row)
{
	return row->pri_bits == 0 ||
	       (cursor->sysregs[SYSREG_CTLR] >> CTLR_PRI_BITS_SHIFT & 7) + 1 >= row->pri_bits;
}

static void next(struct cursor *cursor, const struct row *row)
{
	if (is_sysreg(row)) {
		cursor->sysreg++;
		assert(cursor->sysreg <= ARCH_GIC_SYSREGS);
	} else {
		cursor->word += row->words;
		assert(cursor->word <= cursor->word_count);
	}
}

/* The attribute of a row's word. */
static uint64_t attr_of(const struct cursor *cursor, const struct row *row, uint32_t word)
{
	uint32_t step = row->group == KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO ? 32 : 4;

	/* VGIC_LEVEL_INFO_LINE_LEVEL, which is 0, is the information on interrupts. */
	return cursor->cpu | (row->at + word * step);
}

static void *value_of(const struct cursor *cursor, const struct row *row, uint32_t word)
{
	return is_sysreg(row) ? (void *)&cursor->sysregs[cursor->sysreg]
			      : (void *)&cursor->words[cursor->word + word];
}

/* By its affinities, by its index on a GICv2. */
uint64_t gic_cpu_attr(const struct arch_vm *vm, unsigned index)
{
	uint64_t mpidr = vm->mpidr[index];

	if (vm->gic.version == GIC_V2) {
		return (uint64_t)index << KVM_DEV_ARM_VGIC_CPUID_SHIFT;
	}
	return ((mpidr & 0xffffff) | (mpidr >> 32 & 0xff) << 24) << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT;
}

/* --- Saving --- */

static int save_row(const struct cursor *cursor, const struct row *row, struct error *err)
{
	for (uint32_t i = 0; i < row->words; i++) {
		if (kvm_arm_get_device_attr(cursor->device, row->group, attr_of(cursor, row, i),
					    value_of(cursor, row, i), err) < 0) {
			return error_wrap(err, "Cannot save %s of the GIC", row->name);
		}
	}
	return 0;
}

static int save_rows(struct cursor cursor, const struct row *rows, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (has_row(&cursor, &rows[i]) && save_row(&cursor, &rows[i], err) < 0) {
			return -1;
		}
		next(&cursor, &rows[i]);
	}
	return 0;
}

int arch_vm_save(const struct arch_vm *vm, struct arch_vm_state *state, struct error *err)
{
	uint32_t version = version_number(vm->gic.version);
	const struct rows *rows = &all_rows[version];
	struct cursor cursor = dist_cursor(state);

	memset(state, 0, sizeof(*state));
	state->gic_version = version;
	state->intids = LAYOUT_INTIDS;
	state->vcpu_count = vm->vcpu_count;
	cursor.device = vm->gic.fd;
	if (save_rows(cursor, rows->dist, rows->dist_count, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		cursor = cpu_cursor(state, i);
		cursor.device = vm->gic.fd;
		cursor.cpu = gic_cpu_attr(vm, i);
		if (save_rows(cursor, rows->cpu, rows->cpu_count, err) < 0) {
			return error_wrap(err, "vCPU %u", i);
		}
	}
	state->has_its = vm->gic.has_its;
	return state->has_its ? its_save(vm, &state->its, err) : 0;
}

/* --- Loading --- */

static int check_state(const struct arch_vm *vm, const struct arch_vm_state *state,
		       struct error *err)
{
	uint32_t version = version_number(vm->gic.version);

	if (state->gic_version != 2 && state->gic_version != 3) {
		return error_set(err, ERR_CORRUPT, "The state has a GIC of version %u",
				 state->gic_version);
	}
	if (state->gic_version != version) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 version == 2
					 ? "The snapshot has a GICv%u, and this host has only a "
					   "GICv%u for guests"
					 : "The snapshot has a GICv%u, and this host gives guests "
					   "a GICv%u",
				 state->gic_version, version);
	}
	if (state->intids != LAYOUT_INTIDS) {
		return error_set(err, ERR_CORRUPT,
				 "The state has a GIC with %u interrupts, and a machine has %d",
				 state->intids, LAYOUT_INTIDS);
	}
	if (state->has_its != vm->gic.has_its) {
		return error_set(err, ERR_CORRUPT, "The state has %s, and the machine %s",
				 state->has_its ? "an ITS" : "no ITS",
				 vm->gic.has_its ? "has one" : "has none");
	}
	if (state->vcpu_count != vm->vcpu_count) {
		return error_set(err, ERR_CORRUPT,
				 "The state has a GIC for %u vCPUs, and the machine has %u",
				 state->vcpu_count, vm->vcpu_count);
	}
	return 0;
}

/* Makes a failure of KVM one of the state, or of the host's GIC, where it is. */
static int explain(const struct row *row, uint64_t value, struct error *err)
{
	bool is_host = row->group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS ? row->at == ICC_CTLR
								      : row->at == GICD_IIDR;

	if (err->sys != EINVAL) {
		return error_wrap(err, "Cannot load %s of the GIC", row->name);
	}
	error_clear(err);
	if (is_host) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "This host's GIC differs from the snapshot's, which has %s %#llx",
				 row->name, (unsigned long long)value);
	}
	return error_set(err, ERR_CORRUPT, "No GIC can have %s %#llx", row->name,
			 (unsigned long long)value);
}

static int load_row(const struct cursor *cursor, const struct row *row, struct error *err)
{
	static const uint32_t ones = UINT32_MAX;
	struct row twin = *row;

	twin.at = row->clear_at;
	for (uint32_t i = 0; i < row->words; i++) {
		const void *value = value_of(cursor, row, i);

		if (row->clear_at != 0 &&
		    kvm_set_device_attr(cursor->device, row->group, attr_of(cursor, &twin, i),
					&ones, err) < 0) {
			return error_wrap(err, "Cannot clear %s of the GIC", row->name);
		}
		if (kvm_set_device_attr(cursor->device, row->group, attr_of(cursor, row, i), value,
					err) < 0) {
			return explain(row, is_sysreg(row) ? load_le64(value) : load_le32(value),
				       err);
		}
	}
	return 0;
}

static int load_rows(struct cursor cursor, const struct row *rows, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (has_row(&cursor, &rows[i]) && load_row(&cursor, &rows[i], err) < 0) {
			return -1;
		}
		next(&cursor, &rows[i]);
	}
	return 0;
}

int arch_vm_load(struct arch_vm *vm, const struct arch_vm_state *state,
		 const struct arch_load *load, struct error *err)
{
	/* Cursors serve saving too; nothing here writes through them. */
	struct arch_vm_state *mutable_state = (struct arch_vm_state *)state;
	struct cursor cursor = dist_cursor(mutable_state);

	(void)load; /* the counter goes on from where it was: arch_vcpu_load sets it */
	if (check_state(vm, state, err) < 0) {
		return -1;
	}
	const struct rows *rows = &all_rows[state->gic_version];

	cursor.device = vm->gic.fd;
	if (load_rows(cursor, rows->dist, rows->dist_count, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		cursor = cpu_cursor(mutable_state, i);
		cursor.device = vm->gic.fd;
		cursor.cpu = gic_cpu_attr(vm, i);
		if (load_rows(cursor, rows->cpu, rows->cpu_count, err) < 0) {
			return error_wrap(err, "vCPU %u", i);
		}
	}
	return state->has_its ? its_load(vm, &state->its, err) : 0;
}

/* --- The file --- */

static void code_rows(struct codec *codec, struct cursor cursor, const struct row *rows,
		      size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];

		if (is_sysreg(row)) {
			codec_u64(codec, row->name, value_of(&cursor, row, 0));
		} else if (row->words == 1) {
			codec_u32(codec, row->name, value_of(&cursor, row, 0));
		} else {
			codec_bytes(codec, row->name, value_of(&cursor, row, 0),
				    row->words * sizeof(uint32_t));
		}
		next(&cursor, row);
	}
}

void arch_vm_state_codec(struct codec *codec, struct arch_vm_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('G', 'I', 'C', ' '), .version = 2, .name = "GIC"};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_count(codec, "version", &state->gic_version, GIC_VERSION_MAX);
	codec_u32(codec, "intids", &state->intids);
	codec_count(codec, "vcpu_count", &state->vcpu_count, ARCH_AARCH64_VCPUS_MAX);
	const struct rows *rows = &all_rows[state->gic_version];

	code_rows(codec, dist_cursor(state), rows->dist, rows->dist_count);
	for (unsigned i = 0; i < state->vcpu_count; i++) {
		codec_begin_item(codec, "vcpu", i);
		code_rows(codec, cpu_cursor(state, i), rows->cpu, rows->cpu_count);
		codec_end(codec);
	}
	codec_bool(codec, "has_its", &state->has_its); /* since version 2 */
	codec_section_end(codec);
	if (state->has_its) {
		its_state_codec(codec, &state->its, state->vcpu_count);
	}
}
