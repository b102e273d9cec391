/* SPDX-License-Identifier: Apache-2.0 */
/* The fake architecture's state: a number each. */
#ifndef TESTS_FAKE_ARCH_STATE_H
#define TESTS_FAKE_ARCH_STATE_H

#include <stdint.h>

struct arch_vm_state {
	uint64_t number;
};

struct arch_vcpu_state {
	uint64_t number;
};

#endif
