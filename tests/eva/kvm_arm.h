/* SPDX-License-Identifier: Apache-2.0 */
/* KVM on Arm for EVA: every call may fail with any errno, and answers anything. */
#ifndef TESTS_EVA_KVM_ARM_H
#define TESTS_EVA_KVM_ARM_H

#include <errno.h>

#include "tests/eva/eva.h"

#include "arch/aarch64/kvm_arm.h"
#include "tests/eva/error.h"
#include "vmm/base/kvm.h"

void error_clear(struct error *err)
{
	err->kind = ERR_NONE;
	err->sys = 0;
}

static int any_outcome(struct error *err)
{
	if (any_bool()) {
		return 0;
	}
	err->sys = any_bool() ? EINVAL : any_bool() ? ENOENT : (int)any_between(1, 133);
	return error_sys(err, "");
}

/* How long an attribute is, by its group: the ITS and the CPU interface have 64 bits. */
static size_t attr_len(uint32_t group)
{
	return group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS || group == KVM_DEV_ARM_VGIC_GRP_ITS_REGS
		       ? sizeof(uint64_t)
		       : sizeof(uint32_t);
}

int kvm_arm_get_device_attr(int device, uint32_t group, uint64_t attr, void *value,
			    struct error *err)
{
	keep((uint64_t)device + attr);
	fill(value, attr_len(group));
	return any_outcome(err);
}

int kvm_set_device_attr(int device, uint32_t group, uint64_t attr, const void *value,
			struct error *err)
{
	keep((uint64_t)device + attr);
	if (group != KVM_DEV_ARM_VGIC_GRP_CTRL) {
		look_at(value, attr_len(group));
	}
	return any_outcome(err);
}

#endif
