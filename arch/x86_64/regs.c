/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boot processor's registers, and the tables in guest memory that they point to.
 *
 * Theory of operation: a Linux 64-bit entry [linux-x86-boot 1.15] finds long mode with the first
 * GiB mapped to itself; a PVH entry [pvh] finds 32-bit protected mode without paging. Both have
 * flat segments, whose hidden parts in KVM's registers are decoded from the very descriptors that
 * are written to the guest's GDT, so that the two can't differ.
 */
#include "regs.h"

#include "vmm/base/bytes.h"

enum {
	CR0_PE = 1 << 0,
	CR0_ET = 1 << 4,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,
	RFLAGS_RESERVED = 1 << 1, /* always 1 */
	PAGE_PRESENT_WRITABLE = 3,
	PAGE_2M = 1 << 7,
	PD_ENTRIES = 512,
};

#define CR0_PG UINT64_C(0x80000000)

/* Order of the descriptors: a selector is its index times 8. */
enum {
	GDT_NULL,
	GDT_CODE,
	GDT_DATA,
	GDT_TSS,
	GDT_COUNT,
};

/*
 * A descriptor of base 0. `flags` are its bits 40 to 55 with the limit's high nibble as 0:
 * type, S, DPL, P in the low byte, AVL, L, D/B, G in the high nibble [intel-sdm vol. 3, 3.4.5].
 */
#define DESCRIPTOR(flags, limit)                                                                   \
	((uint64_t)(flags) << 40 | (uint64_t)((limit) >> 16 & 0xf) << 48 | ((limit)&0xffff))

static const uint64_t gdt_long_mode[GDT_COUNT] = {
	[GDT_CODE] = DESCRIPTOR(0xa09b, 0xfffff), /* L, G; execute, read, accessed */
	[GDT_DATA] = DESCRIPTOR(0xc093, 0xfffff), /* B, G; read, write, accessed */
	[GDT_TSS] = DESCRIPTOR(0x808b, 0xfffff),  /* G; busy 64-bit TSS */
};

static const uint64_t gdt_protected_mode[GDT_COUNT] = {
	[GDT_CODE] = DESCRIPTOR(0xc09b, 0xfffff), /* D, G; execute, read, accessed */
	[GDT_DATA] = DESCRIPTOR(0xc093, 0xfffff),
	[GDT_TSS] = DESCRIPTOR(0x008b, 0x67), /* busy 32-bit TSS of the smallest size */
};

static const uint64_t *protocol_gdt(enum boot_protocol protocol)
{
	return protocol == BOOT_PVH ? gdt_protected_mode : gdt_long_mode;
}

static struct kvm_segment decode_segment(const uint64_t *gdt, unsigned index)
{
	const uint64_t descriptor = gdt[index];
	const bool is_in_pages = descriptor >> 55 & 1;
	uint32_t limit = (uint32_t)(descriptor & 0xffff) | (uint32_t)(descriptor >> 32 & 0xf0000);

	if (is_in_pages) {
		limit = limit << 12 | 0xfff;
	}
	return (struct kvm_segment){
		.base = 0,
		.limit = limit,
		.selector = (uint16_t)(index * sizeof(descriptor)),
		.type = descriptor >> 40 & 0xf,
		.s = descriptor >> 44 & 1,
		.dpl = descriptor >> 45 & 3,
		.present = descriptor >> 47 & 1,
		.avl = descriptor >> 52 & 1,
		.l = descriptor >> 53 & 1,
		.db = descriptor >> 54 & 1,
		.g = is_in_pages,
	};
}

static int write_table(struct gmem *mem, uint64_t at, const void *table, size_t len,
		       struct error *err)
{
	if (gmem_write(mem, GPA(at), table, len) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for the boot processor's tables");
	}
	return 0;
}

static int write_page_tables(struct gmem *mem, struct error *err)
{
	const uint64_t pml4 = LAYOUT_PDPT | PAGE_PRESENT_WRITABLE;
	const uint64_t pdpt = LAYOUT_PD | PAGE_PRESENT_WRITABLE;
	uint64_t pd[PD_ENTRIES];

	_Static_assert((uint64_t)PD_ENTRIES * 2 * MIB == LAYOUT_BOOT_MAPPED_END,
		       "the PD maps all of it");
	for (uint64_t i = 0; i < PD_ENTRIES; i++) {
		pd[i] = i * 2 * MIB | PAGE_2M | PAGE_PRESENT_WRITABLE;
	}
	if (write_table(mem, LAYOUT_PML4, &pml4, sizeof(pml4), err) != 0) {
		return -1;
	}
	if (write_table(mem, LAYOUT_PDPT, &pdpt, sizeof(pdpt), err) != 0) {
		return -1;
	}
	return write_table(mem, LAYOUT_PD, pd, sizeof(pd), err);
}

int regs_write_tables(struct gmem *mem, enum boot_protocol protocol, struct error *err)
{
	const uint64_t *gdt = protocol_gdt(protocol);
	const uint64_t idt = 0;

	if (write_table(mem, LAYOUT_GDT, gdt, GDT_COUNT * sizeof(*gdt), err) != 0) {
		return -1;
	}
	if (write_table(mem, LAYOUT_IDT, &idt, sizeof(idt), err) != 0) {
		return -1;
	}
	return protocol == BOOT_PVH ? 0 : write_page_tables(mem, err);
}

void regs_set_system(struct kvm_sregs *sregs, enum boot_protocol protocol)
{
	const uint64_t *gdt = protocol_gdt(protocol);
	const struct kvm_segment data = decode_segment(gdt, GDT_DATA);

	sregs->cs = decode_segment(gdt, GDT_CODE);
	sregs->ds = data;
	sregs->es = data;
	sregs->fs = data;
	sregs->gs = data;
	sregs->ss = data;
	sregs->tr = decode_segment(gdt, GDT_TSS);
	sregs->gdt.base = LAYOUT_GDT;
	sregs->gdt.limit = GDT_COUNT * sizeof(*gdt) - 1;
	sregs->idt.base = LAYOUT_IDT;
	sregs->idt.limit = sizeof(uint64_t) - 1;
	if (protocol == BOOT_PVH) {
		sregs->cr0 = CR0_PE | CR0_ET;
		sregs->cr4 = 0;
		sregs->efer = 0;
	} else {
		sregs->cr0 = CR0_PG | CR0_PE | CR0_ET;
		sregs->cr3 = LAYOUT_PML4;
		sregs->cr4 = CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
	}
}

struct kvm_regs regs_general(const struct boot_info *boot)
{
	struct kvm_regs regs = {.rip = boot->entry.v, .rflags = RFLAGS_RESERVED};

	if (boot->protocol == BOOT_PVH) {
		regs.rbx = LAYOUT_PVH_INFO;
	} else {
		regs.rsi = LAYOUT_ZERO_PAGE;
		regs.rsp = LAYOUT_BOOT_STACK;
		regs.rbp = LAYOUT_BOOT_STACK;
	}
	return regs;
}
