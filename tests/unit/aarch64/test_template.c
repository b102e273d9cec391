/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates of aarch64 on a scripted KVM. */
#include "arch/aarch64/template.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "arch/template.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	VCPU = 102
};

#define ISAR0 UINT64_C(0x603000000013c030)
#define WIDE UINT64_C(0x6040000000100054)  /* 128 bits */
#define FIXED UINT64_C(0x603000000013c000) /* KVM lets nobody change it */

static uint64_t isar0 = UINT64_C(0x1234567890abcdef);
static uint64_t wide[2] = {1, 2};

static uint64_t *value_of(uint64_t id, size_t *len)
{
	*len = id == WIDE ? 16 : 8;
	return id == ISAR0 ? &isar0 : id == WIDE ? wide : NULL;
}

static int answer(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *reg = arg;
	void *theirs = (void *)(uintptr_t)reg->addr; // NOLINT
	size_t len;
	uint64_t *value = value_of(reg->id, &len);

	cr_expect_eq(fd, VCPU);
	if (value == NULL) {
		errno = reg->id == FIXED ? EINVAL : ENOENT;
		return reg->id == FIXED && request == KVM_GET_ONE_REG ? 0 : -1;
	}
	memcpy(request == KVM_SET_ONE_REG ? (void *)value : theirs,
	       request == KVM_SET_ONE_REG ? theirs : (void *)value, len);
	return 0;
}

static void script(void)
{
	kvm_fake_script(KVM_GET_ONE_REG, answer);
	kvm_fake_script(KVM_SET_ONE_REG, answer);
}

Test(template, registers_change_by_their_bits, .init = script)
{
	static const struct cpu_template_register changes[] = {
		{ISAR0, {{0xff00}, {0x1200}}},
		{WIDE, {{0, 3}, {0, 1}}},
	};
	const struct cpu_template changed = {.registers = changes, .register_count = 2};
	struct error err = {0};

	cr_assert_eq(template_set_registers(&changed, VCPU, &err), 0, "%s", err.msg);
	cr_expect_eq(isar0, UINT64_C(0x1234567890ab12ef));
	cr_expect(wide[0] == 1 && wide[1] == 1);
}

Test(template, what_kvm_does_not_take_is_an_error, .init = script)
{
	static const struct {
		uint64_t id;
		const char *text;
	} cases[] = {
		{FIXED, "KVM does not let the CPU template change register 0x603000000013c000 "
			"(MIDR_EL1): "},
		{0x603000000013ffff,
		 "KVM does not let the CPU template read register 0x603000000013ffff "
		 "(S3_7_C15_C15_7): "},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct cpu_template_register change[] = {{cases[i].id, {{1}, {1}}}};
		const struct cpu_template changed = {.registers = change, .register_count = 1};
		struct error err = {0};

		cr_expect_eq(template_set_registers(&changed, VCPU, &err), -1);
		cr_expect_eq(strncmp(err.msg, cases[i].text, strlen(cases[i].text)), 0, "%s",
			     err.msg);
	}
}

Test(template, features_change_by_their_bits)
{
	static const struct cpu_template_feature in[] = {{0, 0x30, 0x20}, {6, 1, 1}};
	static const struct cpu_template_feature out[] = {{7, 1, 1}};
	const struct cpu_template good = {.features = in, .feature_count = 2};
	const struct cpu_template bad = {.features = out, .feature_count = 1};
	struct kvm_vcpu_init init = {.features = {0x14}};
	struct error err = {0};

	cr_assert_eq(template_apply_features(&good, &init, &err), 0);
	cr_expect_eq(init.features[0], 0x24);
	cr_expect_eq(init.features[6], 1);
	cr_expect_eq(template_apply_features(&bad, &init, &err), -1);
	cr_expect_not_null(strstr(err.msg, "word 7"), "%s", err.msg);
}

Test(template, v1n1_is_the_only_static_one)
{
	const struct cpu_template *found = NULL;
	struct error err = {0};

	cr_assert_eq(arch_find_template("V1N1", &found, &err), 0);
	cr_expect_eq(found->register_count, 4);
	cr_expect_eq(arch_find_template("T2", &found, &err), -1);
}
