/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the PVH entry (32-bit flat mode, no paging, EBX = start info [xen-pvh]) to 64-bit mode, with
 * the first 4 GiB mapped to themselves by 2 MiB pages, and 1 GiB from 256 GiB on, where PCI
 * functions are.
 */
#include "tests/guests/payload/x86_64/pvh.inc"

	.set PAGE_TABLE, 0x3	/* present, writable */
	.set PAGE_2M, 0x83	/* the same, a leaf */
	.set CR0_PG, 1 << 31
	.set CR0_PE, 1
	.set CR4_PAE, 1 << 5
	.set MSR_EFER, 0xc0000080
	.set EFER_LME, 1 << 8

	pvh_note start

	.text
	.code32
	.globl start
start:
	cld
	movl $stack_end, %esp

	/* One PML4 entry, four directories of 512 pages each; the upper halves stay 0. */
	movl $pdpt + PAGE_TABLE, pml4
	movl $directories + PAGE_TABLE, %eax
	movl $pdpt, %edi
	movl $4, %ecx
1:	movl %eax, (%edi)
	addl $0x1000, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b
	movl $PAGE_2M, %eax
	movl $directories, %edi
	movl $2048, %ecx
2:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 2b
	movl $pci_directory + PAGE_TABLE, pdpt + 256 * 8
	movl $PAGE_2M, %eax
	movl $pci_directory, %edi
	movl $512, %ecx
3:	movl %eax, (%edi)
	movl $0x40, 4(%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 3b

	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	xorl %edx, %edx
	movl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $start64

	.code64
start64:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %ebx, %ebx
	movq %rbx, boot_info
	xorl %ebp, %ebp
	call guest_main
	/* Command 0xfe of the keyboard controller; until it takes effect, nothing. */
	movb $0xfe, %al
	outb %al, $0x64
3:	hlt
	jmp 3b

	/*
	 * Where secondaries start: copied to the page of the SIPI vector, in real mode. Each counts
	 * itself and stops, or goes straight to 64-bit mode and guest_secondary.
	 */
	.code16
	.globl secondary, secondary_count, secondary_end, secondary_goes_on
secondary:
	lock incw %cs:secondary_count - secondary
	cmpw $0, %cs:secondary_goes_on - secondary
	jne 5f
4:	hlt
	jmp 4b
5:	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	xorl %edx, %edx
	movl $EFER_LME, %eax
	wrmsr
	lgdtl %cs:secondary_gdt_pointer - secondary
	movl %cr0, %eax
	orl $CR0_PG | CR0_PE, %eax
	movl %eax, %cr0
	ljmpl $8, $secondary64
	.balign 2
secondary_count:
	.word 0
secondary_goes_on:
	.word 0
secondary_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
secondary_end:

	.code64
	.weak guest_secondary
secondary64:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $secondary_stack_end, %esp
	xorl %ebp, %ebp
	call guest_secondary

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 64-bit code */
	.quad 0x00cf93000000ffff	/* data */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.bss
	.balign 0x1000
pml4:
	.skip 0x1000
	.globl pdpt
pdpt:
	.skip 0x1000
directories:
	.skip 4 * 0x1000
pci_directory:
	.skip 0x1000
	.skip 0x4000
stack_end:
	.skip 0x4000
secondary_stack_end:
