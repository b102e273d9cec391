/* SPDX-License-Identifier: Apache-2.0 */
/* From the Image's entry (X0 = device tree, MMU off) to guest_main. */
#include "tests/guests/payload/aarch64/image.inc"

	.set PSCI_SYSTEM_RESET, 0x84000009

	image_head start

	.text
start:
	adrp x1, stack_end
	add x1, x1, :lo12:stack_end
	mov sp, x1
	adrp x1, boot_info
	str x0, [x1, :lo12:boot_info]
	mov x29, xzr
	bl guest_main
	ldr w0, =PSCI_SYSTEM_RESET
	hvc #0
1:	wfi
	b 1b

	/*
	 * Where secondaries start, X0 being their index. Each notes itself in a byte of its own: with
	 * the MMU off there are no atomic instructions.
	 */
	.globl secondary
secondary:
	adrp x1, secondary_runs
	add x1, x1, :lo12:secondary_runs
	mov w2, #1
	strb w2, [x1, x0]
	.weak guest_secondary
	ldr x3, =guest_secondary
	cbz x3, 2f
	adrp x1, secondary_stack_end
	add x1, x1, :lo12:secondary_stack_end
	mov sp, x1
	br x3
2:	wfi
	b 2b

	.bss
	.balign 16
	.skip 0x4000
stack_end:
	.skip 0x4000
secondary_stack_end:
