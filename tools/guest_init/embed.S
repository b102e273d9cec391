/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's first process, as a part of squibctl. */
	.section .rodata.guest_init, "a"
	.global guest_init_program
	.global guest_init_len
	.balign 4
guest_init_len:
	.long end - guest_init_program
guest_init_program:
	.incbin GUEST_INIT
end:
	.section .note.GNU-stack, "", %progbits
