/* SPDX-License-Identifier: Apache-2.0 */
/* A KVM that keeps a machine's state. */
#include "tests/unit/x86_64/state_kvm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

struct state_host host = {
	.xsave2 = 4096,
	.sregs2 = true,
	.tsc_control = true,
	.clock = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME,
	.tsc_khz = 2000000,
};
struct state_taken taken;

#define BLOCK(NAME, type)                                                                          \
	{                                                                                          \
#NAME, KVM_GET_##NAME, KVM_SET_##NAME, sizeof(type), {0 },                         \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

static struct state_block blocks[] = {
	BLOCK(MP_STATE, struct kvm_mp_state),
	BLOCK(REGS, struct kvm_regs),
	BLOCK(SREGS, struct kvm_sregs),
	BLOCK(SREGS2, struct kvm_sregs2),
	BLOCK(XSAVE, struct kvm_xsave),
	BLOCK(XCRS, struct kvm_xcrs),
	BLOCK(DEBUGREGS, struct kvm_debugregs),
	BLOCK(LAPIC, struct kvm_lapic_state),
	BLOCK(VCPU_EVENTS, struct kvm_vcpu_events),
	BLOCK(PIT2, struct kvm_pit_state2),
	BLOCK(CLOCK, struct kvm_clock_data),
};

/* Bytes of KVM's structs that mean nothing, and are not kept. */
static const struct {
	unsigned long get;
	size_t at;
	size_t len;
} pads[] = {
	{KVM_GET_SREGS2, offsetof(struct kvm_sregs2, gdt.padding), 6},
	{KVM_GET_SREGS2, offsetof(struct kvm_sregs2, idt.padding), 6},
	{KVM_GET_SREGS, offsetof(struct kvm_sregs, gdt.padding), 6},
	{KVM_GET_SREGS, offsetof(struct kvm_sregs, idt.padding), 6},
	{KVM_GET_SREGS, offsetof(struct kvm_sregs, interrupt_bitmap), 32},
	{KVM_GET_DEBUGREGS, offsetof(struct kvm_debugregs, reserved), 72},
	{KVM_GET_VCPU_EVENTS, offsetof(struct kvm_vcpu_events, nmi.pad), 1},
	{KVM_GET_VCPU_EVENTS, offsetof(struct kvm_vcpu_events, reserved), 26},
	{KVM_GET_PIT2, offsetof(struct kvm_pit_state2, reserved), 36},
	{KVM_GET_CLOCK, offsetof(struct kvm_clock_data, pad0), 4},
	{KVM_GET_CLOCK, offsetof(struct kvm_clock_data, pad), 16},
};

static const struct {
	unsigned long request;
	const char *name;
} others[] = {
	{KVM_GET_XSAVE2, "GET_XSAVE2"},	     {KVM_SET_CPUID2, "SET_CPUID2"},
	{KVM_GET_MSRS, "GET_MSRS"},	     {KVM_SET_MSRS, "SET_MSRS"},
	{KVM_GET_TSC_KHZ, "GET_TSC_KHZ"},    {KVM_SET_TSC_KHZ, "SET_TSC_KHZ"},
	{KVM_GET_IRQCHIP, "GET_IRQCHIP"},    {KVM_SET_IRQCHIP, "SET_IRQCHIP"},
	{KVM_GET_ONE_REG, "GET_ONE_REG"},    {KVM_SET_ONE_REG, "SET_ONE_REG"},
	{KVM_CHECK_EXTENSION, "CHECK"},	     {KVM_GET_SUPPORTED_CPUID, "GET_SUPPORTED_CPUID"},
	{KVM_CREATE_IRQCHIP, "NEW_IRQCHIP"}, {KVM_GET_MSR_INDEX_LIST, "GET_MSR_INDEX_LIST"},
	{KVM_GET_DEVICE_ATTR, "GET_ATTR"},   {KVM_SET_DEVICE_ATTR, "SET_ATTR"},
	{KVM_SET_TSS_ADDR, "SET_TSS_ADDR"},  {KVM_CREATE_PIT2, "NEW_PIT2"},
};

struct state_block *state_block(unsigned long request)
{
	request = request == KVM_GET_XSAVE2 ? KVM_GET_XSAVE : request;
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
		if (blocks[i].get == request || blocks[i].set == request) {
			return &blocks[i];
		}
	}
	cr_assert_fail("no block has request 0x%lx", request);
	return NULL;
}

static size_t block_len(const struct state_block *block, unsigned long request)
{
	if (request == KVM_GET_XSAVE2 || (request == KVM_SET_XSAVE && host.xsave2 > 0)) {
		return (size_t)host.xsave2;
	}
	return block->len;
}

static int answer_block(int fd, unsigned long request, void *arg)
{
	struct state_block *block = state_block(request);
	const bool is_vm = block->get == KVM_GET_PIT2 || block->get == KVM_GET_CLOCK;

	cr_assert(is_vm ? fd == STATE_VM_FD : fd >= STATE_VCPU_FD, "%s", block->name);
	if (request == block->set) {
		memcpy(block->taken, arg, block_len(block, request));
	} else {
		memcpy(arg, block->told, block_len(block, request));
	}
	return 0;
}

static int answer_extension(int fd, unsigned long request, void *arg)
{
	(void)request;
	cr_assert(fd == STATE_VM_FD || fd == STATE_KVM_FD);
	switch ((uintptr_t)arg) {
	case KVM_CAP_XSAVE2:
		return host.xsave2;
	case KVM_CAP_SREGS2:
		return host.sregs2;
	case KVM_CAP_TSC_CONTROL:
		return host.tsc_control;
	case KVM_CAP_ADJUST_CLOCK:
		return host.clock;
	default:
		return 1;
	}
}

static int answer_cpuid(int fd, unsigned long request, void *arg)
{
	struct kvm_cpuid2 *cpuid = arg;

	if (request == KVM_GET_SUPPORTED_CPUID) {
		cr_assert_eq(fd, STATE_KVM_FD);
		cpuid->nent = host.supported.count;
		memcpy(cpuid->entries, host.supported.entry,
		       cpuid->nent * sizeof(cpuid->entries[0]));
	} else {
		taken.cpuid.count = cpuid->nent;
		memcpy(taken.cpuid.entry, cpuid->entries, cpuid->nent * sizeof(cpuid->entries[0]));
	}
	return 0;
}

static struct kvm_msr_entry *host_msr(uint32_t index)
{
	for (uint32_t i = 0; i < host.msr_count; i++) {
		if (host.msrs[i].index == index) {
			return &host.msrs[i];
		}
	}
	return NULL;
}

static int answer_msr_list(int fd, unsigned long request, void *arg)
{
	struct kvm_msr_list *list = arg;
	const uint32_t room = list->nmsrs;

	(void)request;
	cr_assert_eq(fd, STATE_KVM_FD);
	list->nmsrs = 0;
	for (uint32_t i = 0; i < host.msr_count; i++) {
		cr_assert_lt(list->nmsrs, room);
		list->indices[list->nmsrs] = host.msrs[i].index;
		list->nmsrs++;
	}
	return 0;
}

static int answer_msrs(int fd, unsigned long request, void *arg)
{
	struct kvm_msrs *msrs = arg;

	cr_assert_geq(fd, STATE_VCPU_FD);
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		const uint32_t index = msrs->entries[i].index;
		const struct kvm_msr_entry *msr = host_msr(index);

		if (index == (request == KVM_GET_MSRS ? host.unreadable : host.refused)) {
			return (int)i;
		}
		if (request == KVM_GET_MSRS) {
			/* MTRRs and banks, which the list lacks, are readable too. */
			msrs->entries[i].data = msr != NULL ? msr->data : 0x1000 + index;
		} else {
			cr_assert_lt(taken.msr_count, ARRAY_COUNT(taken.msrs));
			taken.msrs[taken.msr_count] = msrs->entries[i];
			taken.msr_count++;
		}
	}
	return (int)msrs->nmsrs;
}

struct kvm_irqchip state_chip(uint32_t id)
{
	struct kvm_irqchip chip = {.chip_id = id};

	if (id == KVM_IRQCHIP_IOAPIC) {
		chip.chip.ioapic.base_address = 0xfec00000;
		chip.chip.ioapic.ioregsel = 7;
		chip.chip.ioapic.id = 3;
		chip.chip.ioapic.irr = 0x00110000;
		for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
			chip.chip.ioapic.redirtbl[i].bits = 0x0100000000010030 + i;
		}
	} else {
		for (unsigned i = 0; i < sizeof(chip.chip.pic); i++) {
			((uint8_t *)&chip.chip.pic)[i] = (uint8_t)(0x10 + 0x40 * id + i);
		}
	}
	return chip;
}

static int answer_chip(int fd, unsigned long request, void *arg)
{
	struct kvm_irqchip *chip = arg;

	cr_assert_eq(fd, STATE_VM_FD);
	cr_assert_lt(chip->chip_id, 3);
	if (request == KVM_GET_IRQCHIP) {
		*chip = state_chip(chip->chip_id);
	} else {
		taken.chips[chip->chip_id] = *chip;
	}
	return 0;
}

static int answer_tsc(int fd, unsigned long request, void *arg)
{
	(void)request;
	(void)arg;
	(void)fd; /* a vCPU's, or that of a VM made only for asking */
	return (int)host.tsc_khz;
}

static int answer_reg(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *reg = arg;
	uint64_t *value = (uint64_t *)(uintptr_t)reg->addr;

	cr_assert_geq(fd, STATE_VCPU_FD);
	cr_assert_eq(reg->id, 0x2030000300000000);
	if (request == KVM_GET_ONE_REG) {
		*value = 0x5500;
	} else {
		taken.reg = *value;
	}
	return 0;
}

/* Each byte differs from its neighbours, and each block from the others. */
static void fill(struct state_block *block, unsigned seed)
{
	for (size_t i = 0; i < sizeof(block->told); i++) {
		block->told[i] = (uint8_t)(i * 7 + i / 256 + seed * 31 + 1);
	}
	for (size_t i = 0; i < ARRAY_COUNT(pads); i++) {
		if (pads[i].get == block->get) {
			memset(block->told + pads[i].at, 0, pads[i].len);
		}
	}
	if (block->get == KVM_GET_SREGS || block->get == KVM_GET_SREGS2) {
		for (unsigned i = 0; i < 8; i++) { /* cs to ldt */
			((struct kvm_segment *)(void *)block->told)[i].padding = 0;
		}
	}
	if (block->get == KVM_GET_XCRS) {
		const struct kvm_xcrs xcrs = {
			.nr_xcrs = 2,
			.flags = 9,
			.xcrs = {{.xcr = 0, .value = 0x207},
				 {.xcr = 1, .value = 0x1122334455667788}},
		};

		memcpy(block->told, &xcrs, sizeof(xcrs));
	}
}

static void script_all(const unsigned long *requests, size_t count, kvm_fake_answer answer)
{
	for (size_t i = 0; i < count; i++) {
		kvm_fake_script(requests[i], answer);
	}
}

static int answer_attr(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;
	uint64_t *value = (uint64_t *)(uintptr_t)attr->addr; // NOLINT(performance-no-int-to-ptr)
	const size_t index = (size_t)(fd - STATE_VCPU_FD);

	cr_assert(index < ARRAY_COUNT(taken.tsc_offsets));
	cr_assert(attr->group == KVM_VCPU_TSC_CTRL && attr->attr == KVM_VCPU_TSC_OFFSET);
	if (host.no_tsc_offset) {
		errno = ENXIO;
		return -1;
	}
	if (request == KVM_GET_DEVICE_ATTR) {
		*value = host.tsc_offset + index;
	} else {
		taken.tsc_offsets[index] = *value;
	}
	return 0;
}

void state_kvm_script(void)
{
	kvm_fake_script(KVM_GET_DEVICE_ATTR, answer_attr);
	kvm_fake_script(KVM_SET_DEVICE_ATTR, answer_attr);
	static const unsigned long cpuid[] = {KVM_GET_SUPPORTED_CPUID, KVM_SET_CPUID2};
	static const unsigned long msrs[] = {KVM_GET_MSRS, KVM_SET_MSRS};
	static const unsigned long chips[] = {KVM_GET_IRQCHIP, KVM_SET_IRQCHIP};
	static const unsigned long regs[] = {KVM_GET_ONE_REG, KVM_SET_ONE_REG};
	static const struct kvm_msr_entry some[] = {
		{.index = 0x174, .data = 0x1740},	   {.index = 0x10, .data = 0x123456789},
		{.index = 0x6e0, .data = 0x6e06e0},	   {.index = 0xda0, .data = 0x1800},
		{.index = 0xc0000082, .data = UINT64_MAX},
	};

	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
		fill(&blocks[i], (unsigned)i);
		kvm_fake_script(blocks[i].get, answer_block);
		kvm_fake_script(blocks[i].set, answer_block);
	}
	kvm_fake_script(KVM_GET_XSAVE2, answer_block);
	kvm_fake_script(KVM_CHECK_EXTENSION, answer_extension);
	kvm_fake_script(KVM_GET_MSR_INDEX_LIST, answer_msr_list);
	kvm_fake_script(KVM_GET_TSC_KHZ, answer_tsc);
	script_all(cpuid, ARRAY_COUNT(cpuid), answer_cpuid);
	script_all(msrs, ARRAY_COUNT(msrs), answer_msrs);
	script_all(chips, ARRAY_COUNT(chips), answer_chip);
	script_all(regs, ARRAY_COUNT(regs), answer_reg);
	memcpy(host.msrs, some, sizeof(some));
	host.msr_count = ARRAY_COUNT(some);
	host.supported.count = 3;
	host.supported.entry[0] = (struct kvm_cpuid_entry2){.function = 0, .eax = 0x1f};
	host.supported.entry[1] = (struct kvm_cpuid_entry2){
		.function = 1,
		.eax = 0xa0f11,
		.ecx = 0x00202000,
		.edx = 0x078bfbff,
	};
	host.supported.entry[2] = (struct kvm_cpuid_entry2){
		.function = 7,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.ebx = 0x01800002,
		.ecx = 0x104,
	};
}

void state_machine(bool is_loaded, struct arch_vm *vm, struct arch_vcpu *vcpus)
{
	const struct arch_machine machine = {.vcpu_count = 2, .is_loaded = is_loaded};
	struct error err = {0};

	cr_assert_eq(arch_vm_init(vm, STATE_KVM_FD, STATE_VM_FD, &machine, &err), 0, "%s", err.msg);
	for (unsigned i = 0; i < machine.vcpu_count; i++) {
		cr_assert_eq(arch_vcpu_init(&vcpus[i], vm, STATE_VCPU_FD + (int)i, i, &err), 0,
			     "%s", err.msg);
	}
	cr_assert_eq(arch_vm_finish(vm, &err), 0);
	memset(&taken, 0, sizeof(taken));
}

static void add_name(struct text *text, unsigned long request)
{
	for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
		if (others[i].request == request) {
			text_add(text, "%s ", others[i].name);
			return;
		}
	}
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
		if (blocks[i].get == request || blocks[i].set == request) {
			text_add(text, "%s_%s ", blocks[i].get == request ? "GET" : "SET",
				 blocks[i].name);
			return;
		}
	}
	text_add(text, "0x%lx ", request);
}

const char *state_calls(size_t from)
{
	static char buf[2048];
	const struct kvm_fake_call *calls;
	const size_t count = kvm_fake_calls(&calls);
	struct text text;

	text_init(&text, buf, sizeof(buf));
	for (size_t i = from; i < count; i++) {
		add_name(&text, calls[i].request);
	}
	return buf;
}
