/* SPDX-License-Identifier: Apache-2.0 */
/* Stolen time. */
#include "arch/aarch64/pvtime.h"

#include <linux/kvm.h>

#include "vmm/base/kvm.h"
#include "vmm/base/log.h"

uint64_t pvtime_place(unsigned count, unsigned index)
{
	return LAYOUT_PVTIME_END - (uint64_t)LAYOUT_PVTIME_LEN * (count - index);
}

void pvtime_init(struct arch_vcpu *vcpu, uint64_t place)
{
	struct error err = {0};

	vcpu->pvtime = 0;
	if (place == 0 || !vcpu->has_steal_time) {
		return;
	}
	if (kvm_set_device_attr(vcpu->fd, KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA, &place,
				&err) < 0) {
		log_warn("The guest is not told of stolen time of vCPU %u: %s", vcpu->index,
			 err.msg);
		return;
	}
	vcpu->pvtime = place;
}
