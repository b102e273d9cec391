/* SPDX-License-Identifier: Apache-2.0 */
/* The fake architecture's state, found in place of arch/<isa>/layout.h. */
#ifndef TESTS_FAKE_LAYOUT_H
#define TESTS_FAKE_LAYOUT_H

struct arch_vm {
	int vm_fd;
	unsigned vcpu_count;
};

struct arch_vcpu {
	int fd;
	unsigned index;
};

#endif
