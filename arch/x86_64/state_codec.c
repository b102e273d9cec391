/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state as a file: the fields' names and their order, which never changes.
 *
 * Theory of operation. Most fields are members of KVM's structs, of 8 to 64 bits. A table has each
 * one's name and place, and one loop codes them all. What squib uses itself, counts and lengths,
 * is bounded here; all else goes to KVM as it is, and KVM checks it.
 */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "arch/state.h"
#include "vmm/base/bytes.h"

const uint64_t arch_state_magic = UINT64_C(0x0710198486640000);

struct field {
	const char *name;
	uint16_t offset;
	uint16_t len;
};

#define FIELD(type, member)                                                                        \
	{                                                                                          \
#member, offsetof(type, member), sizeof(((type *)NULL)->member)                    \
	}

static void code_field(struct codec *codec, const char *name, void *at, size_t len)
{
	uint64_t value; /* KVM's type of the same size is another one to the compiler */

	switch (len) {
	case sizeof(uint8_t):
		codec_u8(codec, name, at);
		break;
	case sizeof(uint16_t):
		codec_u16(codec, name, at);
		break;
	case sizeof(uint32_t):
		codec_u32(codec, name, at);
		break;
	default:
		assert(len == sizeof(value));
		memcpy(&value, at, sizeof(value));
		codec_u64(codec, name, &value);
		memcpy(at, &value, sizeof(value));
		break;
	}
}

static void code_fields(struct codec *codec, const struct field *fields, size_t count, void *base)
{
	for (size_t i = 0; i < count; i++) {
		code_field(codec, fields[i].name, (char *)base + fields[i].offset, fields[i].len);
	}
}

#define CODE_FIELDS(codec, fields, base) code_fields(codec, fields, ARRAY_COUNT(fields), base)

/* --- the VM --- */

static void code_pic(struct codec *codec, struct kvm_pic_state *pic)
{
	static const struct field fields[] = {
		FIELD(struct kvm_pic_state, last_irr),
		FIELD(struct kvm_pic_state, irr),
		FIELD(struct kvm_pic_state, imr),
		FIELD(struct kvm_pic_state, isr),
		FIELD(struct kvm_pic_state, priority_add),
		FIELD(struct kvm_pic_state, irq_base),
		FIELD(struct kvm_pic_state, read_reg_select),
		FIELD(struct kvm_pic_state, poll),
		FIELD(struct kvm_pic_state, special_mask),
		FIELD(struct kvm_pic_state, init_state),
		FIELD(struct kvm_pic_state, auto_eoi),
		FIELD(struct kvm_pic_state, rotate_on_auto_eoi),
		FIELD(struct kvm_pic_state, special_fully_nested_mode),
		FIELD(struct kvm_pic_state, init4),
		FIELD(struct kvm_pic_state, elcr),
		FIELD(struct kvm_pic_state, elcr_mask),
	};

	CODE_FIELDS(codec, fields, pic);
}

static void code_irqchip(struct codec *codec, struct arch_vm_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'I', 'R', 'Q'),
		.version = 1,
		.name = "interrupt controllers",
	};
	static const struct field ioapic_fields[] = {
		FIELD(struct kvm_ioapic_state, base_address),
		FIELD(struct kvm_ioapic_state, ioregsel),
		FIELD(struct kvm_ioapic_state, id),
		FIELD(struct kvm_ioapic_state, irr),
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	for (uint32_t i = 0; i < STATE_PICS; i++) {
		codec_begin_item(codec, "pics", i);
		code_pic(codec, &state->pics[i]);
		codec_end(codec);
	}
	codec_begin(codec, "ioapic");
	CODE_FIELDS(codec, ioapic_fields, &state->ioapic);
	for (uint32_t i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		codec_begin_item(codec, "pins", i);
		code_field(codec, "redirection", &state->ioapic.redirtbl[i].bits, sizeof(uint64_t));
		codec_end(codec);
	}
	codec_end(codec);
	codec_section_end(codec);
}

static void code_pit(struct codec *codec, struct kvm_pit_state2 *pit)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'P', 'I', 'T'),
		.version = 1,
		.name = "timer",
	};
	static const struct field fields[] = {
		FIELD(struct kvm_pit_channel_state, count),
		FIELD(struct kvm_pit_channel_state, latched_count),
		FIELD(struct kvm_pit_channel_state, count_latched),
		FIELD(struct kvm_pit_channel_state, status_latched),
		FIELD(struct kvm_pit_channel_state, status),
		FIELD(struct kvm_pit_channel_state, read_state),
		FIELD(struct kvm_pit_channel_state, write_state),
		FIELD(struct kvm_pit_channel_state, write_latch),
		FIELD(struct kvm_pit_channel_state, rw_mode),
		FIELD(struct kvm_pit_channel_state, mode),
		FIELD(struct kvm_pit_channel_state, bcd),
		FIELD(struct kvm_pit_channel_state, gate),
		FIELD(struct kvm_pit_channel_state, count_load_time),
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(pit->channels); i++) {
		codec_begin_item(codec, "channels", i);
		CODE_FIELDS(codec, fields, &pit->channels[i]);
		codec_end(codec);
	}
	codec_u32(codec, "flags", &pit->flags);
	codec_section_end(codec);
}

static void code_clock(struct codec *codec, struct kvm_clock_data *clock)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'C', 'L', 'K'),
		.version = 1,
		.name = "clock",
	};
	static const struct field fields[] = {
		FIELD(struct kvm_clock_data, clock),
		FIELD(struct kvm_clock_data, flags),
		FIELD(struct kvm_clock_data, realtime),
		FIELD(struct kvm_clock_data, host_tsc),
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	CODE_FIELDS(codec, fields, clock);
	codec_section_end(codec);
}

void arch_vm_state_codec(struct codec *codec, struct arch_vm_state *state)
{
	code_irqchip(codec, state);
	code_pit(codec, &state->pit);
	code_clock(codec, &state->clock);
}

/* --- a vCPU --- */

static void code_cpuid(struct codec *codec, struct cpuid_table *table)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'C', 'I', 'D'),
		.version = 1,
		.name = "vCPU CPUID",
	};
	static const struct field fields[] = {
		FIELD(struct kvm_cpuid_entry2, function), FIELD(struct kvm_cpuid_entry2, index),
		FIELD(struct kvm_cpuid_entry2, flags),	  FIELD(struct kvm_cpuid_entry2, eax),
		FIELD(struct kvm_cpuid_entry2, ebx),	  FIELD(struct kvm_cpuid_entry2, ecx),
		FIELD(struct kvm_cpuid_entry2, edx),
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_count(codec, "count", &table->count, CPUID_ENTRIES_MAX);
	for (uint32_t i = 0; i < table->count; i++) {
		codec_begin_item(codec, "entries", i);
		CODE_FIELDS(codec, fields, &table->entry[i]);
		codec_end(codec);
	}
	codec_section_end(codec);
}

static void code_regs(struct codec *codec, struct kvm_regs *regs)
{
	static const struct field fields[] = {
		FIELD(struct kvm_regs, rax), FIELD(struct kvm_regs, rbx),
		FIELD(struct kvm_regs, rcx), FIELD(struct kvm_regs, rdx),
		FIELD(struct kvm_regs, rsi), FIELD(struct kvm_regs, rdi),
		FIELD(struct kvm_regs, rsp), FIELD(struct kvm_regs, rbp),
		FIELD(struct kvm_regs, r8),  FIELD(struct kvm_regs, r9),
		FIELD(struct kvm_regs, r10), FIELD(struct kvm_regs, r11),
		FIELD(struct kvm_regs, r12), FIELD(struct kvm_regs, r13),
		FIELD(struct kvm_regs, r14), FIELD(struct kvm_regs, r15),
		FIELD(struct kvm_regs, rip), FIELD(struct kvm_regs, rflags),
	};

	codec_begin(codec, "regs");
	CODE_FIELDS(codec, fields, regs);
	codec_end(codec);
}

static void code_segment(struct codec *codec, const char *name, struct kvm_segment *segment)
{
	static const struct field fields[] = {
		FIELD(struct kvm_segment, base),     FIELD(struct kvm_segment, limit),
		FIELD(struct kvm_segment, selector), FIELD(struct kvm_segment, type),
		FIELD(struct kvm_segment, present),  FIELD(struct kvm_segment, dpl),
		FIELD(struct kvm_segment, db),	     FIELD(struct kvm_segment, s),
		FIELD(struct kvm_segment, l),	     FIELD(struct kvm_segment, g),
		FIELD(struct kvm_segment, avl),	     FIELD(struct kvm_segment, unusable),
	};

	codec_begin(codec, name);
	CODE_FIELDS(codec, fields, segment);
	codec_end(codec);
}

static void code_sregs(struct codec *codec, struct kvm_sregs2 *sregs)
{
	static const struct field fields[] = {
		FIELD(struct kvm_sregs2, gdt.base),  FIELD(struct kvm_sregs2, gdt.limit),
		FIELD(struct kvm_sregs2, idt.base),  FIELD(struct kvm_sregs2, idt.limit),
		FIELD(struct kvm_sregs2, cr0),	     FIELD(struct kvm_sregs2, cr2),
		FIELD(struct kvm_sregs2, cr3),	     FIELD(struct kvm_sregs2, cr4),
		FIELD(struct kvm_sregs2, cr8),	     FIELD(struct kvm_sregs2, efer),
		FIELD(struct kvm_sregs2, apic_base), FIELD(struct kvm_sregs2, flags),
		FIELD(struct kvm_sregs2, pdptrs[0]), FIELD(struct kvm_sregs2, pdptrs[1]),
		FIELD(struct kvm_sregs2, pdptrs[2]), FIELD(struct kvm_sregs2, pdptrs[3]),
	};

	codec_begin(codec, "sregs");
	code_segment(codec, "cs", &sregs->cs);
	code_segment(codec, "ds", &sregs->ds);
	code_segment(codec, "es", &sregs->es);
	code_segment(codec, "fs", &sregs->fs);
	code_segment(codec, "gs", &sregs->gs);
	code_segment(codec, "ss", &sregs->ss);
	code_segment(codec, "tr", &sregs->tr);
	code_segment(codec, "ldt", &sregs->ldt);
	CODE_FIELDS(codec, fields, sregs);
	codec_end(codec);
}

static void code_xcrs(struct codec *codec, struct arch_vcpu_state *state)
{
	static const struct field fields[] = {
		FIELD(struct kvm_xcr, xcr),
		FIELD(struct kvm_xcr, value),
	};

	codec_u32(codec, "xcr_flags", &state->xcr_flags);
	codec_count(codec, "xcr_count", &state->xcr_count, KVM_MAX_XCRS);
	for (uint32_t i = 0; i < state->xcr_count; i++) {
		codec_begin_item(codec, "xcrs", i);
		CODE_FIELDS(codec, fields, &state->xcrs[i]);
		codec_end(codec);
	}
}

static void code_debugregs(struct codec *codec, struct kvm_debugregs *regs)
{
	static const struct field fields[] = {
		FIELD(struct kvm_debugregs, db[0]), FIELD(struct kvm_debugregs, db[1]),
		FIELD(struct kvm_debugregs, db[2]), FIELD(struct kvm_debugregs, db[3]),
		FIELD(struct kvm_debugregs, dr6),   FIELD(struct kvm_debugregs, dr7),
		FIELD(struct kvm_debugregs, flags),
	};

	codec_begin(codec, "debugregs");
	CODE_FIELDS(codec, fields, regs);
	codec_end(codec);
}

static void code_events(struct codec *codec, struct kvm_vcpu_events *events)
{
	static const struct field fields[] = {
		FIELD(struct kvm_vcpu_events, exception.injected),
		FIELD(struct kvm_vcpu_events, exception.nr),
		FIELD(struct kvm_vcpu_events, exception.has_error_code),
		FIELD(struct kvm_vcpu_events, exception.pending),
		FIELD(struct kvm_vcpu_events, exception.error_code),
		FIELD(struct kvm_vcpu_events, interrupt.injected),
		FIELD(struct kvm_vcpu_events, interrupt.nr),
		FIELD(struct kvm_vcpu_events, interrupt.soft),
		FIELD(struct kvm_vcpu_events, interrupt.shadow),
		FIELD(struct kvm_vcpu_events, nmi.injected),
		FIELD(struct kvm_vcpu_events, nmi.pending),
		FIELD(struct kvm_vcpu_events, nmi.masked),
		FIELD(struct kvm_vcpu_events, sipi_vector),
		FIELD(struct kvm_vcpu_events, flags),
		FIELD(struct kvm_vcpu_events, smi.smm),
		FIELD(struct kvm_vcpu_events, smi.pending),
		FIELD(struct kvm_vcpu_events, smi.smm_inside_nmi),
		FIELD(struct kvm_vcpu_events, smi.latched_init),
		FIELD(struct kvm_vcpu_events, triple_fault.pending),
		FIELD(struct kvm_vcpu_events, exception_has_payload),
		FIELD(struct kvm_vcpu_events, exception_payload),
	};

	codec_begin(codec, "events");
	CODE_FIELDS(codec, fields, events);
	codec_end(codec);
}

static void code_registers(struct codec *codec, struct arch_vcpu_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'R', 'E', 'G'),
		.version = 2,
		.name = "vCPU registers",
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u32(codec, "mp_state", &state->mp_state);
	codec_u32(codec, "tsc_khz", &state->tsc_khz);
	code_regs(codec, &state->regs);
	code_sregs(codec, &state->sregs);
	code_xcrs(codec, state);
	code_debugregs(codec, &state->debugregs);
	code_events(codec, &state->events);
	codec_bool(codec, "has_ssp", &state->has_ssp);
	codec_u64(codec, "ssp", &state->ssp);
	codec_bool(codec, "has_tsc_offset", &state->has_tsc_offset); /* since version 2 */
	codec_u64(codec, "tsc_offset", &state->tsc_offset);
	codec_section_end(codec);
}

static void code_lapic(struct codec *codec, struct kvm_lapic_state *lapic)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'A', 'P', 'I'),
		.version = 1,
		.name = "vCPU local APIC",
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_bytes(codec, "regs", lapic->regs, sizeof(lapic->regs));
	codec_section_end(codec);
}

static void code_xsave(struct codec *codec, struct arch_vcpu_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'S', 'A', 'V'),
		.version = 1,
		.name = "vCPU XSAVE area",
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_count(codec, "len", &state->xsave_len, STATE_XSAVE_MAX);
	codec_bytes(codec, "area", state->xsave, state->xsave_len);
	codec_section_end(codec);
}

static void code_msrs(struct codec *codec, struct arch_vcpu_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('X', 'M', 'S', 'R'),
		.version = 1,
		.name = "vCPU MSRs",
	};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_count(codec, "count", &state->msr_count, STATE_MSRS_MAX);
	for (uint32_t i = 0; i < state->msr_count; i++) {
		codec_begin_item(codec, "msrs", i);
		codec_u32(codec, "index", &state->msrs[i].index);
		codec_u64(codec, "value", &state->msrs[i].value);
		codec_end(codec);
	}
	codec_section_end(codec);
}

void arch_vcpu_state_codec(struct codec *codec, struct arch_vcpu_state *state)
{
	code_cpuid(codec, &state->cpuid);
	code_registers(codec, state);
	code_lapic(codec, &state->lapic);
	code_xsave(codec, state);
	code_msrs(codec, state);
}
