/* SPDX-License-Identifier: Apache-2.0 */
/* What floors share, and what they need of each architecture: the least that makes a guest. */
#ifndef TESTS_BENCH_BARE_H
#define TESTS_BENCH_BARE_H

#include <stddef.h>
#include <stdint.h>

enum {
	BARE_RAM_LEN = 128 << 20
};

struct bare_payload {
	const uint8_t *code; /* ends in an instruction that leaves KVM_RUN */
	size_t len;
	uint64_t addr; /* guest-physical */
};

extern const uint64_t bare_ram_base;
extern const struct bare_payload bare_payload;

/* Ends the process with a sentence about errno. */
__attribute__((noreturn)) void bare_die(const char *what);

double bare_now_us(void);

/* ioctl that ends the process with a sentence where it fails; returns what the kernel did. */
int bare_ioctl(int fd, unsigned long request, void *arg, const char *name);

/* What the processor offers, and the chips that must exist before vCPUs. */
void bare_vm_init(int kvm, int vm);

/* One vCPU, but for the registers that its payload starts with. */
void bare_vcpu_init(int vm, int vcpu);

/* Chips that want all vCPUs. */
void bare_vm_finish(int vm);

/* The registers from which the payload starts. */
void bare_set_registers(int vcpu);

#endif
