/* SPDX-License-Identifier: Apache-2.0 */
/* Stolen time: where it is, and that a guest keeps its place over a save and a load. */
#include "arch/aarch64/pvtime.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "arch/state.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"

enum {
	VM = 101,
	VCPU = 102
};

static uint64_t told; /* to KVM */

static int answer_attr(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;

	(void)request;
	cr_expect_eq(fd, VCPU);
	cr_expect(attr->group == 2 && attr->attr == 0);
	told = *(const uint64_t *)(uintptr_t)attr->addr; // NOLINT(performance-no-int-to-ptr)
	return 0;
}

static struct arch_vcpu made(bool has_steal_time, bool is_loaded)
{
	struct arch_vm vm = {.fd = VM,
			     .vcpu_count = 4,
			     .has_steal_time = has_steal_time,
			     .is_loaded = is_loaded};
	struct arch_vcpu vcpu;
	struct error err = {0};

	told = 0;
	kvm_fake_script(KVM_SET_DEVICE_ATTR, answer_attr);
	cr_assert_eq(arch_vcpu_init(&vcpu, &vm, VCPU, 1, &err), 0, "%s", err.msg);
	return vcpu;
}

Test(pvtime, places_end_below_the_generation_id)
{
	cr_expect_eq(pvtime_place(1, 0), 0x801fff80);
	cr_expect_eq(pvtime_place(2, 0), 0x801fff40);
	cr_expect_eq(pvtime_place(2, 1), 0x801fff80);
	cr_expect_eq(pvtime_place(ARCH_AARCH64_VCPUS_MAX, 0), 0x801ff7c0);
	cr_expect_gt(pvtime_place(ARCH_AARCH64_VCPUS_MAX, 0), LAYOUT_VMCLOCK + LAYOUT_VMCLOCK_LEN);
}

Test(pvtime, a_vcpu_that_boots_has_its_place)
{
	const struct arch_vcpu vcpu = made(true, false);

	cr_expect_eq(told, 0x801ffec0 + 64);
	cr_expect_eq(vcpu.pvtime, told);
}

Test(pvtime, a_host_without_it_is_not_asked)
{
	const struct arch_vcpu vcpu = made(false, false);

	cr_expect_eq(kvm_fake_count(KVM_SET_DEVICE_ATTR), 0);
	cr_expect_eq(vcpu.pvtime, 0);
}

Test(pvtime, a_refusal_leaves_the_guest_without_and_is_logged)
{
	int log = capture_log(LOG_WARN);

	kvm_fake_fail(KVM_SET_DEVICE_ATTR, 1, EINVAL);
	const struct arch_vcpu vcpu = made(true, false);

	cr_expect_eq(vcpu.pvtime, 0);
	cr_expect_eq(count_of(captured(log), "The guest is not told of stolen time of vCPU 1: "),
		     1);
}

Test(pvtime, a_loaded_guest_has_it_where_it_was)
{
	struct arch_vcpu_state *state = calloc(1, sizeof(*state));
	struct error err = {0};
	struct arch_vcpu vcpu = made(true, true);

	cr_assert_not_null(state);
	cr_expect_eq(kvm_fake_count(KVM_SET_DEVICE_ATTR), 0, "not before its state is known");
	vcpu.pvtime = 0x80123440;
	cr_assert_eq(arch_vcpu_save(&vcpu, state, &err), 0, "%s", err.msg);
	vcpu = made(true, true);
	state->reg_count = 1; /* of no length */
	cr_assert_eq(arch_vcpu_load(&vcpu, state, &err), 0, "%s", err.msg);
	cr_expect_eq(told, 0x80123440);
	cr_expect_eq(vcpu.pvtime, 0x80123440);

	state->pvtime = 0; /* its host had none: this one's tells nothing either */
	vcpu = made(true, true);
	cr_assert_eq(arch_vcpu_load(&vcpu, state, &err), 0, "%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_DEVICE_ATTR), 1);
	free(state);
}
