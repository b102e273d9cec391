/* SPDX-License-Identifier: Apache-2.0 */
/* What KVM keeps of an aarch64 machine, as plain numbers; see arch/state.h. */
#ifndef ARCH_AARCH64_ARCH_STATE_H
#define ARCH_AARCH64_ARCH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

enum {
	ARCH_FEATURE_WORDS = 7, /* as many as struct kvm_vcpu_init has */

	/* Registers of a vCPU: KVM of Linux 6.12 lists some 330, and SVE would add 50 large ones.
	 */
	ARCH_REGS_MAX = 1024,
	ARCH_REG_LEN_MAX = 256, /* bytes of the largest: 2048 bits */
	ARCH_REG_HEAD_LEN = 12,
	ARCH_REGS_LEN = ARCH_REGS_MAX * (ARCH_REG_HEAD_LEN + 16) + 64 * ARCH_REG_LEN_MAX,

	/* Words of the GIC's registers in the order of the tables in gic_state.c, rounded up. */
	ARCH_GIC_DIST_WORDS = 256,
	ARCH_GIC_CPU_WORDS = 32,
	ARCH_GIC_SYSREGS = 16,
	ARCH_ITS_REGS = 13, /* as in the tables of its_state.c */
	ARCH_LPI_WORDS = 5,
};

/* One vCPU. The registers are those that KVM lists, in its order, which is that of loading. */
struct arch_vcpu_state {
	uint32_t target;
	uint32_t features[ARCH_FEATURE_WORDS]; /* of KVM_ARM_VCPU_INIT, but for POWER_OFF */
	uint32_t mp_state;
	bool has_events; /* else this host's KVM has none to tell */
	bool serror_pending;
	bool serror_has_esr;
	bool ext_dabt_pending;
	uint64_t serror_esr;
	uint64_t pvtime; /* where the guest was told its stolen time is; 0: nowhere */
	uint32_t reg_count;
	uint32_t regs_len;
	/* each: id (8 bytes), length of the value (4 bytes), value; nothing is aligned */
	uint8_t regs[ARCH_REGS_LEN];
};

/* What the GIC has for one vCPU. */
struct arch_gic_cpu_state {
	uint32_t words[ARCH_GIC_CPU_WORDS]; /* redistributor; v2: banked registers, CPU interface */
	uint64_t sysregs[ARCH_GIC_SYSREGS]; /* v3: CPU interface */
};

/* The ITS, and what redistributors have for its interrupts. */
struct arch_its_state {
	uint64_t regs[ARCH_ITS_REGS];
	uint32_t lpis[ARCH_AARCH64_VCPUS_MAX][ARCH_LPI_WORDS];
};

/* The GIC. The counters are registers of vCPU 0. */
struct arch_vm_state {
	uint32_t gic_version; /* 2 or 3 */
	uint32_t intids;
	uint32_t vcpu_count;
	uint32_t dist[ARCH_GIC_DIST_WORDS];
	struct arch_gic_cpu_state cpus[ARCH_AARCH64_VCPUS_MAX];
	bool has_its;
	struct arch_its_state its;
};

#endif
