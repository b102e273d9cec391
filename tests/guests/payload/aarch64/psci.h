/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the firmware, which is KVM [psci 5]. */
#ifndef TESTS_GUEST_AARCH64_PSCI_H
#define TESTS_GUEST_AARCH64_PSCI_H

#include <stdint.h>

#define PSCI_SYSTEM_OFF UINT64_C(0x84000008)
#define PSCI_CPU_ON UINT64_C(0xc4000003)

static inline int64_t psci(uint64_t function, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = arg1;
	register uint64_t x2 __asm__("x2") = arg2;
	register uint64_t x3 __asm__("x3") = arg3;

	__asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
	return (int64_t)x0;
}

#endif
