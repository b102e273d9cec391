/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled default filters; the process puts its id into them. */
	.section .data
	.balign 8
	.global seccomp_default_filters
	.global seccomp_default_filters_end
seccomp_default_filters:
	.incbin SECCOMP_FILTERS
seccomp_default_filters_end:
	.byte 0
	.section .note.GNU-stack, "", %progbits
