/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of tools/kvm_probe/probe.c on x86_64: 64-bit mode from the start, one page of 2 MiB
 * mapped to itself. It tells that it lives, then tries what KVMs that interpret their guests lack.
 */
#include "arch/x86_64/kvm_x86.h"
#include "tools/kvm_probe/kvm_probe.h"
#include "vmm/base/bytes.h"

enum {
	PML4 = 0x1000,
	PDPT = 0x2000,
	PD = 0x3000,
	CODE = 0x4000,
	SCRATCH = 0x8000, /* RSP: 512 bytes for fxsave, 16-byte aligned */
	PORT_INTEGER = 0x10,
	PORT_ALL = 0x11,
};

enum {
	PAGE_TABLE = 0x03, /* present, writable */
	PAGE_2M = 0x83,	   /* the same, a leaf */
	CR0_PE_ET = 1 << 0 | 1 << 4,
	CR4_PAE = 1 << 5,
	EFER_LME_LMA = 1 << 8 | 1 << 10,
	RFLAGS_RESET = 0x2,
};

#define CR0_PG UINT64_C(0x80000000)

const struct gmem_range probe_ram = {.base = {0}, .len = 0x10000};

static const uint8_t code[] = {
	0xe6, PORT_INTEGER,			    /* out %al, $PORT_INTEGER */
	0x0f, 0xae,	    0x04, 0x24,		    /* fxsave (%rsp) */
	0xf0, 0x48,	    0x0f, 0xc7, 0x0c, 0x24, /* lock cmpxchg16b (%rsp) */
	0xe6, PORT_ALL,				    /* out %al, $PORT_ALL */
	0xf4,					    /* hlt */
};

int probe_load(struct gmem *mem, struct error *err)
{
	static const struct {
		uint64_t at;
		uint64_t entry;
	} tables[] = {
		{PML4, PDPT | PAGE_TABLE},
		{PDPT, PD | PAGE_TABLE},
		{PD, PAGE_2M},
	};
	int failed = gmem_write(mem, GPA(CODE), code, sizeof(code));

	for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
		failed |= gmem_write(mem, GPA(tables[i].at), &tables[i].entry, 8);
	}
	return failed ? error_set(err, ERR_HOST, "The probe's guest does not fit its memory") : 0;
}

int probe_set_registers(int vm, int vcpu, struct error *err)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = CODE, .rsp = SCRATCH, .rflags = RFLAGS_RESET};

	(void)vm;
	if (kvm_get_sregs(vcpu, &sregs, err) < 0) {
		return -1;
	}
	struct kvm_segment code_segment = {
		.limit = UINT32_MAX,
		.selector = 8,
		.type = 11, /* code, execute and read, accessed */
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	struct kvm_segment data_segment = code_segment;

	data_segment.selector = 16;
	data_segment.type = 3; /* data, read and write, accessed */
	data_segment.l = 0;
	data_segment.db = 1;
	sregs.cs = code_segment;
	sregs.ds = data_segment;
	sregs.es = data_segment;
	sregs.fs = data_segment;
	sregs.gs = data_segment;
	sregs.ss = data_segment;
	sregs.cr0 = CR0_PG | CR0_PE_ET;
	sregs.cr3 = PML4;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME_LMA;
	if (kvm_set_sregs(vcpu, &sregs, err) < 0) {
		return -1;
	}
	return kvm_set_regs(vcpu, &regs, err);
}

enum probe_progress probe_progress(const struct kvm_run *run)
{
	if (run->exit_reason != KVM_EXIT_IO) {
		return PROBE_FAILED;
	}
	switch (run->io.port) {
	case PORT_INTEGER:
		return PROBE_INTEGER;
	case PORT_ALL:
		return PROBE_ALL;
	default:
		return PROBE_FAILED;
	}
}
