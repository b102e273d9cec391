/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/its_state.c: which registers, in which order, and what is refused. */
#include "arch/aarch64/its_state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "arch/state.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"

enum {
	GIC = 103,
	ITS = 104,
	CALLS_MAX = 512,
	FILE_LEN = 64 * 1024,
};

struct call {
	int fd;
	uint32_t group;
	uint64_t attr;
	uint64_t value;
};

static struct call sets[CALLS_MAX];
static size_t set_count;
static size_t failing; /* of the sets, from 1; 0: none */
static int fail_sys;

static size_t width(uint32_t group)
{
	bool is_wide =
		group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS || group == KVM_DEV_ARM_VGIC_GRP_ITS_REGS;

	return group == KVM_DEV_ARM_VGIC_GRP_CTRL ? 0 : is_wide ? 8 : 4;
}

static uint64_t value_of(int fd, const struct kvm_device_attr *attr)
{
	uint64_t value = (attr->attr + attr->group + (uint64_t)fd) * UINT64_C(0x9e3779b97f4a7c15);

	return width(attr->group) == 8 ? value : value >> 32;
}

static int answer_get(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;
	uint64_t value = value_of(fd, attr);

	(void)request;
	memcpy((void *)(uintptr_t)attr->addr, &value, width(attr->group)); // NOLINT
	return 0;
}

static int answer_set(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;
	struct call set = {.fd = fd, .group = attr->group, .attr = attr->attr};

	(void)request;
	/* Orders have no value. */
	if (width(attr->group) > 0) {
		memcpy(&set.value, (const void *)(uintptr_t)attr->addr,
		       width(attr->group)); // NOLINT
	}
	sets[set_count++] = set;
	errno = fail_sys;
	return set_count == failing ? -1 : 0;
}

static struct arch_vm machine(bool has_its)
{
	struct arch_vm vm = {
		.vcpu_count = 2,
		.gic = {.version = GIC_V3, .fd = GIC, .has_its = has_its, .its_fd = ITS},
		.mpidr = {0x80000000, 0x80000101},
	};

	kvm_fake_script(KVM_GET_DEVICE_ATTR, answer_get);
	kvm_fake_script(KVM_SET_DEVICE_ATTR, answer_set);
	set_count = 0;
	failing = 0;
	return vm;
}

static struct arch_vm_state *state_new(void)
{
	struct arch_vm_state *state = calloc(1, sizeof(*state));

	cr_assert_not_null(state);
	return state;
}

Test(its_state, the_tables_are_written_before_the_registers_are_read)
{
	struct arch_vm vm = machine(true);
	struct arch_vm_state *state = state_new();
	struct error err = {0};

	cr_assert_eq(its_save(&vm, &state->its, &err), 0, "%s", err.msg);
	cr_assert_eq(set_count, 2);
	cr_expect(sets[0].fd == GIC && sets[0].attr == KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES);
	cr_expect(sets[1].fd == ITS && sets[1].attr == KVM_DEV_ARM_ITS_SAVE_TABLES);
	cr_expect_lt(kvm_fake_last(KVM_SET_DEVICE_ATTR), kvm_fake_first(KVM_GET_DEVICE_ATTR));
	free(state);
}

/* [linux Documentation/virt/kvm/devices/arm-vgic-its.rst] */
Test(its_state, a_load_goes_in_the_order_that_kvm_asks_for)
{
	static const uint64_t lpis[] = {0x70, 0x74, 0x78, 0x7c, 0x0};
	static const uint64_t regs[] = {0x4,   0x80,  0x90,  0x88,  0x100, 0x108,
					0x110, 0x118, 0x120, 0x128, 0x130, 0x138};
	struct arch_vm vm = machine(true);
	struct arch_vm_state *state = state_new();
	struct error err = {0};
	size_t at = 0;

	cr_assert_eq(its_save(&vm, &state->its, &err), 0);
	set_count = 0;
	cr_assert_eq(its_load(&vm, &state->its, &err), 0, "%s", err.msg);
	cr_assert_eq(set_count, 2 * ARRAY_COUNT(lpis) + ARRAY_COUNT(regs) + 2);
	for (uint64_t vcpu = 0; vcpu < 2; vcpu++) {
		for (size_t i = 0; i < ARRAY_COUNT(lpis); i++, at++) {
			cr_expect(sets[at].fd == GIC &&
				  sets[at].group == KVM_DEV_ARM_VGIC_GRP_REDIST_REGS);
			cr_expect_eq(sets[at].attr, vcpu * 0x101 << 32 | lpis[i]);
		}
	}
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++, at++) {
		const struct kvm_device_attr attr = {.group = KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
						     .attr = regs[i]};

		cr_expect(sets[at].fd == ITS && sets[at].group == attr.group);
		cr_expect_eq(sets[at].attr, regs[i]);
		cr_expect_eq(sets[at].value, value_of(ITS, &attr), "what was saved");
	}
	cr_expect(sets[at].group == KVM_DEV_ARM_VGIC_GRP_CTRL &&
		  sets[at].attr == KVM_DEV_ARM_ITS_RESTORE_TABLES);
	cr_expect(sets[at + 1].group == KVM_DEV_ARM_VGIC_GRP_ITS_REGS && sets[at + 1].attr == 0);
	free(state);
}

Test(its_state, what_kvm_refuses_is_the_guests_or_the_files)
{
	struct arch_vm vm = machine(true);
	struct arch_vm_state *state = state_new();

	for (unsigned i = 1; i <= 26; i++) {
		struct error err = {0};

		set_count = 0;
		failing = i;
		fail_sys = EINVAL;
		if (i <= 2) {
			cr_expect_eq(its_save(&vm, &state->its, &err), -1);
			cr_expect(err.kind == ERR_GUEST, "%u: %s", i, err.msg);
		} else {
			failing = i - 2;
			cr_expect_eq(its_load(&vm, &state->its, &err), -1);
			cr_expect(err.kind == ERR_CORRUPT, "%u: %s", i, err.msg);
			cr_expect_eq(strncmp(err.msg, "Cannot load the ITS: ", 21), 0);
		}
		cr_expect_eq(set_count, failing);
	}
	free(state);
}

static const struct codec_file file = {.magic = 1, .format = 1, .writer = "t"};

/* All of the interrupt controller, by way of a file. */
Test(its_state, it_is_a_section_behind_the_gic)
{
	static uint8_t bytes[FILE_LEN];
	struct arch_vm vm = machine(true);
	struct arch_vm other = machine(false);
	struct arch_vm_state *state = state_new();
	struct arch_vm_state *read = state_new();
	const struct arch_load how = {0};
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	cr_assert_eq(arch_vm_save(&vm, state, &err), 0, "%s", err.msg);
	codec_save(&codec, &file, bytes, sizeof(bytes));
	arch_vm_state_codec(&codec, state);
	cr_assert_eq(codec_finish(&codec, &len, &err), 0, "%s", err.msg);
	codec_load(&codec, &file, bytes, len);
	arch_vm_state_codec(&codec, read);
	cr_assert_eq(codec_finish(&codec, NULL, &err), 0, "%s", err.msg);
	cr_expect(read->has_its);
	cr_expect_eq(memcmp(read->its.regs, state->its.regs, sizeof(read->its.regs)), 0);
	cr_expect_eq(memcmp(read->its.lpis, state->its.lpis, sizeof(read->its.lpis)), 0);
	cr_expect_eq(arch_vm_load(&vm, read, &how, &err), 0, "%s", err.msg);
	cr_expect_eq(arch_vm_load(&other, read, &how, &err), -1);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_str_eq(err.msg, "The state has an ITS, and the machine has none");
	free(state);
	free(read);
}
