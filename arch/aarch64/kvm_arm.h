/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM ioctls that only Arm has, typed; see vmm/base/kvm.h. */
#ifndef ARCH_AARCH64_KVM_ARM_H
#define ARCH_AARCH64_KVM_ARM_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* Linux 6.4; the headers that squib is built with may be older. */
#ifndef KVM_CAP_COUNTER_OFFSET
#define KVM_CAP_COUNTER_OFFSET 227
#endif

/* Register ids [kvm-api 4.68]; the second form names a member of struct kvm_regs. */
#define KVM_ARM_CORE_REG(member)                                                                   \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))
#define KVM_ARM_MPIDR_EL1 ARM64_SYS_REG(3, 0, 0, 0, 5)
#define KVM_ARM_ESR_EL1 ARM64_SYS_REG(3, 0, 5, 2, 0)

/* KVM_ENABLE_CAP [4.37] on the VM, without arguments. */
MUST_CHECK int kvm_arm_enable_cap(int vm, uint32_t cap, struct error *err);

/* KVM_ARM_PREFERRED_TARGET [4.83]: the CPU that this host emulates best. */
MUST_CHECK int kvm_arm_preferred_target(int vm, struct kvm_vcpu_init *init, struct error *err);

/* KVM_ARM_VCPU_INIT [4.82]: before any other ioctl on a vCPU. */
MUST_CHECK int kvm_arm_vcpu_init(int vcpu, const struct kvm_vcpu_init *init, struct error *err);

/*
 * KVM_ARM_VCPU_FINALIZE [4.119] of one feature, KVM_ARM_VCPU_*: before the vCPU's registers that
 * come with it are read or set, and before it runs.
 */
MUST_CHECK int kvm_arm_vcpu_finalize(int vcpu, int feature, struct error *err);

/* KVM_SET_ONE_REG [4.68], KVM_GET_ONE_REG [4.69] for 64-bit registers. `name` is for the sentence.
 */
MUST_CHECK int kvm_arm_set_reg(int vcpu, uint64_t id, uint64_t value, const char *name,
			       struct error *err);
MUST_CHECK int kvm_arm_get_reg(int vcpu, uint64_t id, uint64_t *value, const char *name,
			       struct error *err);

/*
 * The same for registers of any size: *value has the bytes that the id tells. The sentence names
 * the ioctl only, and err->sys tells why: ENOENT, an unknown register; EINVAL, not this value.
 */
MUST_CHECK int kvm_arm_set_reg_bytes(int vcpu, uint64_t id, const void *value, struct error *err);
MUST_CHECK int kvm_arm_get_reg_bytes(int vcpu, uint64_t id, void *value, struct error *err);

/* KVM_GET_REG_LIST [4.84]: list->n is the room on the way in. */
MUST_CHECK int kvm_arm_get_reg_list(int vcpu, struct kvm_reg_list *list, struct error *err);

/* KVM_GET_MP_STATE [4.38], KVM_SET_MP_STATE [4.39]: whether the vCPU is powered on. */
MUST_CHECK int kvm_arm_get_mp_state(int vcpu, uint32_t *mp_state, struct error *err);
MUST_CHECK int kvm_arm_set_mp_state(int vcpu, uint32_t mp_state, struct error *err);

/* KVM_GET_VCPU_EVENTS [4.31], KVM_SET_VCPU_EVENTS [4.32]: with KVM_CAP_VCPU_EVENTS. */
MUST_CHECK int kvm_arm_get_events(int vcpu, struct kvm_vcpu_events *events, struct error *err);
MUST_CHECK int kvm_arm_set_events(int vcpu, const struct kvm_vcpu_events *events,
				  struct error *err);

/* KVM_GET_DEVICE_ATTR [4.80]; `attr` is copied to *value by the kernel. */
MUST_CHECK int kvm_arm_get_device_attr(int device, uint32_t group, uint64_t attr, void *value,
				       struct error *err);

#endif
