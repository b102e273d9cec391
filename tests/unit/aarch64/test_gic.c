/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/gic.c: which kind is made, with what, in which order. */
#include "arch/aarch64/gic.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	VM = 101
};

/* Everything that was asked of the device, in order. */
struct attr {
	uint32_t group;
	uint64_t attr;
	uint64_t value;
};

static struct attr attrs[8];
static size_t attr_count;
static bool has_v3;
static bool has_v2;
static int fail_at;

static int answer_create(int fd, unsigned long request, void *arg)
{
	struct kvm_create_device *create = arg;

	(void)request;
	cr_expect_eq(fd, VM);
	if ((create->type == KVM_DEV_TYPE_ARM_VGIC_V3 && has_v3) ||
	    (create->type == KVM_DEV_TYPE_ARM_VGIC_ITS && has_v3) ||
	    (create->type == KVM_DEV_TYPE_ARM_VGIC_V2 && has_v2)) {
		create->fd = (uint32_t)eventfd(0, EFD_CLOEXEC);
		return 0;
	}
	errno = ENODEV;
	return -1;
}

static int answer_attr(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;
	uint64_t value = 0;

	(void)fd;
	(void)request;
	if (attr->group == KVM_DEV_ARM_VGIC_GRP_ADDR) {
		memcpy(&value, (const void *)(uintptr_t)attr->addr, 8);
	} else if (attr->group == KVM_DEV_ARM_VGIC_GRP_NR_IRQS) {
		memcpy(&value, (const void *)(uintptr_t)attr->addr, 4);
	}
	attrs[attr_count++] = (struct attr){attr->group, attr->attr, value};
	if ((int)attr_count == fail_at) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

static void script(bool v3, bool v2, int failing)
{
	kvm_fake_script(KVM_CREATE_DEVICE, answer_create);
	kvm_fake_script(KVM_SET_DEVICE_ATTR, answer_attr);
	has_v3 = v3;
	has_v2 = v2;
	fail_at = failing;
	attr_count = 0;
}

static void expect_attrs(const struct attr *expected, size_t count)
{
	cr_assert_eq(attr_count, count);
	for (size_t i = 0; i < count; i++) {
		cr_expect_eq(attrs[i].group, expected[i].group, "%zu", i);
		cr_expect_eq(attrs[i].attr, expected[i].attr, "%zu", i);
		cr_expect_eq(attrs[i].value, expected[i].value, "%zu: %llx", i,
			     (unsigned long long)attrs[i].value);
	}
}

Test(gic, version_3_is_preferred_and_has_a_redistributor_per_vcpu)
{
	struct gic gic;
	struct error err = {0};
	const struct attr expected[] = {
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, 0x3fff0000},
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, 0x3ff50000},
		{KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, 128},
		{KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0},
	};

	script(true, true, 0);
	cr_assert_eq(gic_init(&gic, VM, 5, false, &err), 0);
	cr_assert_eq(gic.version, GIC_V3);
	cr_assert_eq(gic.dist, 0x3fff0000);
	cr_assert_eq(gic.dist_len, 0x10000);
	cr_assert_eq(gic.cpu, 0x3ff50000);
	cr_assert_eq(gic.cpu_len, 5 * 0x20000);
	expect_attrs(expected, ARRAY_COUNT(expected));
	gic_destroy(&gic);
}

Test(gic, version_2_is_the_fallback)
{
	struct gic gic;
	struct error err = {0};
	const struct attr expected[] = {
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_DIST, 0x3ffff000},
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_CPU, 0x3fffd000},
		{KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, 128},
		{KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0},
	};

	script(false, true, 0);
	cr_assert_eq(gic_init(&gic, VM, 5, false, &err), 0);
	cr_assert_eq(err.kind, ERR_NONE);
	cr_assert_eq(gic.version, GIC_V2);
	cr_assert_eq(gic.dist_len, 0x1000);
	cr_assert_eq(gic.cpu_len, 0x2000);
	expect_attrs(expected, ARRAY_COUNT(expected));
	gic_destroy(&gic);
}

Test(gic, a_host_with_neither_is_told_so)
{
	struct gic gic;
	struct error err = {0};

	script(false, false, 0);
	cr_assert_eq(gic_init(&gic, VM, 1, false, &err), -1);
	cr_assert_eq(gic.version, GIC_NONE);
	cr_assert_not_null(strstr(err.msg, "neither a GICv3 nor a GICv2"), "%s", err.msg);
	cr_assert_eq(kvm_fake_count(KVM_CREATE_DEVICE), 2);
}

Test(gic, another_failure_than_its_absence_does_not_try_the_next)
{
	struct gic gic;
	struct error err = {0};

	script(true, true, 0);
	kvm_fake_fail(KVM_CREATE_DEVICE, 1, EMFILE);
	cr_assert_eq(gic_init(&gic, VM, 1, false, &err), -1);
	cr_assert_eq(err.sys, EMFILE);
	cr_assert_eq(kvm_fake_count(KVM_CREATE_DEVICE), 1);
}

Test(gic, each_failing_step_is_named_and_leaks_nothing)
{
	static const char *const steps[] = {"place the distributor", "place the CPU frames",
					    "set the number of interrupts", "initialise it"};
	unsigned before = kvm_fake_open_fds();

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		struct gic gic;
		struct error err = {0};

		script(true, true, (int)i + 1);
		cr_expect_eq(gic_init(&gic, VM, 1, false, &err), -1);
		cr_expect_not_null(strstr(err.msg, steps[i]), "%s", err.msg);
		cr_expect_eq(gic.version, GIC_NONE);
		gic_destroy(&gic);
	}
	cr_assert_eq(kvm_fake_open_fds(), before);
}

Test(gic, destroying_closes_the_descriptor_once)
{
	struct gic gic;
	struct error err = {0};
	unsigned before = kvm_fake_open_fds();

	script(true, true, 0);
	cr_assert_eq(gic_init(&gic, VM, 1, false, &err), 0);
	cr_assert_eq(kvm_fake_open_fds(), before + 1);
	gic_destroy(&gic);
	cr_assert_eq(kvm_fake_open_fds(), before);
	gic_destroy(&gic);
	cr_assert_eq(kvm_fake_open_fds(), before);
}

/* The address of the ITS is right below the redistributors. */
Test(gic, an_its_takes_messages)
{
	struct gic gic;
	struct error err = {0};
	unsigned before = kvm_fake_open_fds();
	const struct attr expected[] = {
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, 0x3fff0000},
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, 0x3ff50000},
		{KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, 128},
		{KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0},
		{KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, 0x3ff30000},
		{KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0},
	};

	script(true, true, 0);
	cr_assert_eq(gic_init(&gic, VM, 5, true, &err), 0, "%s", err.msg);
	cr_expect(gic.has_its && gic.its == 0x3ff30000);
	expect_attrs(expected, ARRAY_COUNT(expected));
	gic_destroy(&gic);
	for (int failing = 5; failing <= 6; failing++) {
		error_clear(&err);
		script(true, true, failing);
		cr_expect_eq(gic_init(&gic, VM, 5, true, &err), -1);
		cr_expect_not_null(strstr(err.msg, "Cannot create the ITS"), "%s", err.msg);
		cr_expect_eq(gic.version, GIC_NONE);
		gic_destroy(&gic);
	}
	cr_expect_eq(kvm_fake_open_fds(), before);
}

Test(gic, version_2_has_a_frame_for_them)
{
	struct gic gic;
	struct error err = {0};

	for (int takes_messages = 0; takes_messages <= 1; takes_messages++) {
		script(false, true, 0);
		cr_assert_eq(gic_init(&gic, VM, 1, takes_messages, &err), 0, "%s", err.msg);
		cr_expect(gic.has_v2m == takes_messages && !gic.has_its);
		gic_destroy(&gic);
	}
	script(true, true, 0);
	cr_assert_eq(gic_init(&gic, VM, 1, true, &err), 0, "%s", err.msg);
	cr_expect_not(gic.has_v2m);
	gic_destroy(&gic);
}
