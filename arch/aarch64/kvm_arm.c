/* SPDX-License-Identifier: Apache-2.0 */
/* The KVM ioctls that only Arm has. */
#include "arch/aarch64/kvm_arm.h"

#include "vmm/base/kvm.h"

int kvm_arm_enable_cap(int vm, uint32_t cap, struct error *err)
{
	struct kvm_enable_cap enable = {.cap = cap};

	return kvm_call(vm, KVM_ENABLE_CAP, &enable, "KVM_ENABLE_CAP", err);
}

int kvm_arm_preferred_target(int vm, struct kvm_vcpu_init *init, struct error *err)
{
	*init = (struct kvm_vcpu_init){0};
	return kvm_call(vm, KVM_ARM_PREFERRED_TARGET, init, "KVM_ARM_PREFERRED_TARGET", err);
}

int kvm_arm_vcpu_init(int vcpu, const struct kvm_vcpu_init *init, struct error *err)
{
	struct kvm_vcpu_init copy = *init;

	return kvm_call(vcpu, KVM_ARM_VCPU_INIT, &copy, "KVM_ARM_VCPU_INIT", err);
}

int kvm_arm_vcpu_finalize(int vcpu, int feature, struct error *err)
{
	return kvm_call(vcpu, KVM_ARM_VCPU_FINALIZE, &feature, "KVM_ARM_VCPU_FINALIZE", err);
}

int kvm_arm_set_reg(int vcpu, uint64_t id, uint64_t value, const char *name, struct error *err)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)&value};

	if (kvm_call(vcpu, KVM_SET_ONE_REG, &reg, "KVM_SET_ONE_REG", err) < 0) {
		return error_wrap(err, "Cannot set register %s", name);
	}
	return 0;
}

int kvm_arm_get_reg(int vcpu, uint64_t id, uint64_t *value, const char *name, struct error *err)
{
	uint64_t got = 0;
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)&got};

	if (kvm_call(vcpu, KVM_GET_ONE_REG, &reg, "KVM_GET_ONE_REG", err) < 0) {
		return error_wrap(err, "Cannot read register %s", name);
	}
	*value = got;
	return 0;
}

int kvm_arm_set_reg_bytes(int vcpu, uint64_t id, const void *value, struct error *err)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return kvm_call(vcpu, KVM_SET_ONE_REG, &reg, "KVM_SET_ONE_REG", err);
}

int kvm_arm_get_reg_bytes(int vcpu, uint64_t id, void *value, struct error *err)
{
	struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

	return kvm_call(vcpu, KVM_GET_ONE_REG, &reg, "KVM_GET_ONE_REG", err);
}

int kvm_arm_get_reg_list(int vcpu, struct kvm_reg_list *list, struct error *err)
{
	return kvm_call(vcpu, KVM_GET_REG_LIST, list, "KVM_GET_REG_LIST", err);
}

int kvm_arm_get_mp_state(int vcpu, uint32_t *mp_state, struct error *err)
{
	struct kvm_mp_state state = {0};

	if (kvm_call(vcpu, KVM_GET_MP_STATE, &state, "KVM_GET_MP_STATE", err) < 0) {
		return -1;
	}
	*mp_state = state.mp_state;
	return 0;
}

int kvm_arm_set_mp_state(int vcpu, uint32_t mp_state, struct error *err)
{
	struct kvm_mp_state state = {.mp_state = mp_state};

	return kvm_call(vcpu, KVM_SET_MP_STATE, &state, "KVM_SET_MP_STATE", err);
}

int kvm_arm_get_events(int vcpu, struct kvm_vcpu_events *events, struct error *err)
{
	*events = (struct kvm_vcpu_events){0};
	return kvm_call(vcpu, KVM_GET_VCPU_EVENTS, events, "KVM_GET_VCPU_EVENTS", err);
}

int kvm_arm_set_events(int vcpu, const struct kvm_vcpu_events *events, struct error *err)
{
	struct kvm_vcpu_events copy = *events;

	return kvm_call(vcpu, KVM_SET_VCPU_EVENTS, &copy, "KVM_SET_VCPU_EVENTS", err);
}

int kvm_arm_get_device_attr(int device, uint32_t group, uint64_t attr, void *value,
			    struct error *err)
{
	struct kvm_device_attr get = {.group = group, .attr = attr, .addr = (uintptr_t)value};

	return kvm_call(device, KVM_GET_DEVICE_ATTR, &get, "KVM_GET_DEVICE_ATTR", err);
}
