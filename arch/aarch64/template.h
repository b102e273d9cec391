/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates of aarch64: what they do to a vCPU's features and registers. */
#ifndef ARCH_AARCH64_TEMPLATE_H
#define ARCH_AARCH64_TEMPLATE_H

#include <linux/kvm.h>

#include "vmm/base/attr.h"
#include "vmm/base/cpu_template.h"
#include "vmm/base/error.h"

/* Changes the features with which a vCPU is to be made. */
MUST_CHECK int template_apply_features(const struct cpu_template *cpu_template,
				       struct kvm_vcpu_init *init, struct error *err);

/* Changes the registers of a vCPU that is made. */
MUST_CHECK int template_set_registers(const struct cpu_template *cpu_template, int vcpu,
				      struct error *err);

#endif
