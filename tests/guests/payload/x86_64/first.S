/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: none; a measure. The guest's first instruction pokes the boot timer, its second ends
 * it, so what is left of the time is the monitor's own.
 * Output: with --boot-timer the log's "Guest-boot-time"; exit status 0.
 */
#include "tests/guests/payload/x86_64/pvh.inc"

	pvh_note start

	.text
	.code32
	.globl start
start:
	movb $123, 0xc0000000
	movb $0xfe, %al
	outb %al, $0x64
1:	hlt
	jmp 1b
