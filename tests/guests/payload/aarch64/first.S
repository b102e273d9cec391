/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: none; a measure. The guest pokes the boot timer at once and ends, so what is left of
 * the time is the monitor's own.
 * Output: with --boot-timer the log's "Guest-boot-time"; exit status 0.
 */
#include "tests/guests/payload/aarch64/image.inc"

	.set PSCI_SYSTEM_RESET, 0x84000009

	image_head start

	.text
start:
	mov x1, #0x40000000
	mov w2, #123
	strb w2, [x1]
	ldr w0, =PSCI_SYSTEM_RESET
	hvc #0
1:	wfi
	b 1b
