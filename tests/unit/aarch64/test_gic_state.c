/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/gic_state.c: which registers, in which order, and what is refused. */
#include "arch/state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	GIC = 103,
	ATTRS_MAX = 1024,
	FILE_LEN = 64 * 1024,
	PRI_BITS_AT = 8, /* in ICC_CTLR_EL1 */
};

static const uint64_t icc_ctlr = 0xc664;
static const uint64_t mpidrs[] = {0x80000000, UINT64_C(0x1280040301)};

/* All that was asked of the device, in order. */
struct attr {
	uint32_t group;
	uint64_t attr;
	uint64_t value;
};

static struct attr gets[ATTRS_MAX];
static size_t get_count;
static struct attr sets[ATTRS_MAX];
static size_t set_count;
static unsigned pri_bits;
static const char *refused; /* what the device does not take: a group and an attribute */
static uint32_t refused_group;
static uint64_t refused_attr;

static size_t width(uint32_t group)
{
	return group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS ? 8 : 4;
}

/* Another value for each register. */
static uint64_t value_in_device(uint32_t group, uint64_t attr)
{
	uint64_t value = (attr + group) * UINT64_C(0x9e3779b97f4a7c15);

	if (group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS && (attr & 0xffff) == icc_ctlr) {
		return (uint64_t)(pri_bits - 1) << PRI_BITS_AT;
	}
	return width(group) == 8 ? value : value >> 32;
}

static int answer_get(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;
	uint64_t value = value_in_device(attr->group, attr->attr);

	(void)request;
	cr_expect_eq(fd, GIC);
	gets[get_count++] = (struct attr){attr->group, attr->attr, value};
	memcpy((void *)(uintptr_t)attr->addr, &value, width(attr->group)); // NOLINT
	return 0;
}

static int answer_set(int fd, unsigned long request, void *arg)
{
	const struct kvm_device_attr *attr = arg;
	struct attr set = {attr->group, attr->attr, 0};

	(void)request;
	cr_expect_eq(fd, GIC);
	memcpy(&set.value, (const void *)(uintptr_t)attr->addr, width(attr->group)); // NOLINT
	sets[set_count++] = set;
	if (refused != NULL && attr->group == refused_group && attr->attr == refused_attr) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

static struct arch_vm machine(enum gic_version version)
{
	struct arch_vm vm = {
		.vcpu_count = 2,
		.gic = {.version = version, .fd = GIC},
		.mpidr = {mpidrs[0], mpidrs[1]},
	};

	kvm_fake_script(KVM_GET_DEVICE_ATTR, answer_get);
	kvm_fake_script(KVM_SET_DEVICE_ATTR, answer_set);
	get_count = 0;
	set_count = 0;
	pri_bits = 5;
	refused = NULL;
	return vm;
}

static struct arch_vm_state *state_new(void)
{
	struct arch_vm_state *state = calloc(1, sizeof(*state));

	cr_assert_not_null(state);
	return state;
}

static struct arch_vm_state *saved(const struct arch_vm *vm)
{
	struct arch_vm_state *state = state_new();
	struct error err = {0};

	cr_assert(arch_vm_save(vm, state, &err) == 0, "%s", err.msg);
	return state;
}

static const struct codec_file file = {.magic = 1, .format = 1, .writer = "t"};

static size_t to_file(struct arch_vm_state *state, uint8_t *bytes)
{
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	codec_save(&codec, &file, bytes, FILE_LEN);
	arch_vm_state_codec(&codec, state);
	cr_assert(codec_finish(&codec, &len, &err) == 0, "%s", err.msg);
	return len;
}

static int from_file(const uint8_t *bytes, size_t len, struct arch_vm_state *state,
		     struct error *err)
{
	struct codec codec;

	codec_load(&codec, &file, bytes, len);
	arch_vm_state_codec(&codec, state);
	return codec_finish(&codec, NULL, err);
}

/* The index of a register in what was set, from `from` on, or -1. */
static int find_set(uint32_t group, uint64_t attr, size_t from)
{
	for (size_t i = from; i < set_count; i++) {
		if (sets[i].group == group && sets[i].attr == attr) {
			return (int)i;
		}
	}
	return -1;
}

static int load(struct arch_vm *vm, const struct arch_vm_state *state, struct error *err)
{
	const struct arch_load how = {0};

	return arch_vm_load(vm, state, &how, err);
}

Test(gic_state, what_was_read_is_written_again)
{
	static const enum gic_version versions[] = {GIC_V2, GIC_V3};
	static uint8_t bytes[FILE_LEN];

	for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
		struct arch_vm vm = machine(versions[i]);
		struct arch_vm_state *state = saved(&vm);
		struct arch_vm_state *loaded = state_new();
		struct error err = {0};
		size_t next = 0;

		cr_assert_eq(from_file(bytes, to_file(state, bytes), loaded, &err), 0, "%s",
			     err.msg);
		cr_assert_eq(load(&vm, loaded, &err), 0, "%s", err.msg);
		for (size_t j = 0; j < get_count; j++) {
			/* Between them are registers that clear. */
			while (sets[next].group != gets[j].group ||
			       sets[next].attr != gets[j].attr) {
				cr_expect_eq(sets[next].value, UINT32_MAX, "%zu", next);
				next++;
				cr_assert_lt(next, set_count);
			}
			cr_expect_eq(sets[next++].value, gets[j].value, "%zu", j);
		}
		cr_expect_eq(next, set_count);
		free(state);
		free(loaded);
	}
}

/* Groups and attributes as numbers, so that a wrong macro is seen. */
Test(gic_state, a_gicv3_has_all_that_a_guest_can_change)
{
	static const struct attr expected[] = {
		{1, 0x8, 0},	/* GICD_IIDR */
		{1, 0x0, 0},	/* GICD_CTLR */
		{1, 0x84, 0},	/* GICD_IGROUPR1 */
		{1, 0xc1c, 0},	/* GICD_ICFGR7 */
		{1, 0x420, 0},	/* GICD_IPRIORITYR8 */
		{1, 0x47c, 0},	/* GICD_IPRIORITYR31 */
		{1, 0x6100, 0}, /* GICD_IROUTER32 */
		{1, 0x63fc, 0}, /* GICD_IROUTER127, upper half */
		{1, 0x10c, 0},	/* GICD_ISENABLER3 */
		{7, 0x20, 0},	/* lines 32 to 63 */
		{7, 0x60, 0},	/* lines 96 to 127 */
		{1, 0x204, 0},	/* GICD_ISPENDR1 */
		{1, 0x304, 0},	/* GICD_ISACTIVER1 */
		/* vCPU 1, whose affinities are 0x12.4.3.1 */
		{5, UINT64_C(0x1204030100010080), 0}, /* GICR_IGROUPR0 */
		{5, UINT64_C(0x1204030100010c04), 0}, /* GICR_ICFGR1 */
		{5, UINT64_C(0x120403010001041c), 0}, /* GICR_IPRIORITYR7 */
		{5, UINT64_C(0x1204030100010100), 0}, /* GICR_ISENABLER0 */
		{7, UINT64_C(0x1204030100000000), 0}, /* lines 0 to 31 */
		{5, UINT64_C(0x1204030100010200), 0}, /* GICR_ISPENDR0 */
		{5, UINT64_C(0x1204030100010300), 0}, /* GICR_ISACTIVER0 */
		{6, UINT64_C(0x120403010000c665), 0}, /* ICC_SRE_EL1 */
		{6, UINT64_C(0x120403010000c664), 0}, /* ICC_CTLR_EL1 */
		{6, UINT64_C(0x120403010000c666), 0}, /* ICC_IGRPEN0_EL1 */
		{6, UINT64_C(0x120403010000c667), 0}, /* ICC_IGRPEN1_EL1 */
		{6, UINT64_C(0x120403010000c230), 0}, /* ICC_PMR_EL1 */
		{6, UINT64_C(0x120403010000c643), 0}, /* ICC_BPR0_EL1 */
		{6, UINT64_C(0x120403010000c663), 0}, /* ICC_BPR1_EL1 */
		{6, UINT64_C(0x120403010000c644), 0}, /* ICC_AP0R0_EL1 */
		{6, UINT64_C(0x120403010000c648), 0}, /* ICC_AP1R0_EL1 */
	};
	struct arch_vm vm = machine(GIC_V3);
	struct arch_vm_state *state = saved(&vm);
	struct error err = {0};
	int last = -1;

	cr_assert_eq(load(&vm, state, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
		int at = find_set(expected[i].group, expected[i].attr, 0);

		cr_expect_gt(at, last, "%zu: %d after %d", i, at, last);
		last = at;
	}
	free(state);
}

Test(gic_state, bits_that_a_new_gic_has_are_cleared_before_the_saved_ones_are_set)
{
	static const struct {
		enum gic_version version;
		uint32_t group;
		uint64_t clear;
		uint64_t set;
	} cases[] = {
		{GIC_V3, 1, 0x184, 0x104},     {GIC_V3, 1, 0x384, 0x304},
		{GIC_V3, 5, 0x10180, 0x10100}, {GIC_V3, 5, 0x10380, 0x10300},
		{GIC_V2, 1, 0x180, 0x100},     {GIC_V2, 1, 0x280, 0x200},
		{GIC_V2, 1, 0x380, 0x300},     {GIC_V2, 1, 0xf10, 0xf20},
		{GIC_V2, 1, 0xf1c, 0xf2c},     {GIC_V2, 1, 0x284, 0x204},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vm vm = machine(cases[i].version);
		struct arch_vm_state *state = saved(&vm);
		struct error err = {0};

		cr_assert_eq(load(&vm, state, &err), 0, "%s", err.msg);
		int clear = find_set(cases[i].group, cases[i].clear, 0);

		cr_assert_geq(clear, 0, "%zu", i);
		cr_expect_eq(sets[clear].value, UINT32_MAX);
		cr_expect_eq(find_set(cases[i].group, cases[i].set, 0), clear + 1, "%zu", i);
		free(state);
	}
}

Test(gic_state, a_gicv2_has_banked_registers_per_vcpu_and_the_sources_of_sgis_last)
{
	static const struct attr expected[] = {
		{1, 0x8, 0},
		{1, 0x84, 0},
		{1, 0x820, 0},
		{1, 0x87c, 0},
		{1, 0x104, 0},
		{1, 0x204, 0},
		{1, 0x304, 0},
		/* vCPU 1 */
		{1, UINT64_C(0x100000080), 0}, /* GICD_IGROUPR0 */
		{1, UINT64_C(0x100000100), 0}, /* GICD_ISENABLER0 */
		{1, UINT64_C(0x100000200), 0}, /* GICD_ISPENDR0 */
		{1, UINT64_C(0x100000f20), 0}, /* GICD_SPENDSGIR0 */
		{1, UINT64_C(0x100000300), 0}, /* GICD_ISACTIVER0 */
		{2, UINT64_C(0x100000000), 0}, /* GICC_CTLR */
		{2, UINT64_C(0x100000004), 0}, /* GICC_PMR */
		{2, UINT64_C(0x100000008), 0}, /* GICC_BPR */
		{2, UINT64_C(0x10000001c), 0}, /* GICC_ABPR */
		{2, UINT64_C(0x1000000d0), 0}, /* GICC_APR0 */
		{2, UINT64_C(0x1000000dc), 0}, /* GICC_APR3 */
	};
	struct arch_vm vm = machine(GIC_V2);
	struct arch_vm_state *state = saved(&vm);
	struct error err = {0};
	int last = -1;

	cr_assert_eq(load(&vm, state, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
		int at = find_set(expected[i].group, expected[i].attr, 0);

		cr_expect_gt(at, last, "%zu: %d after %d", i, at, last);
		last = at;
	}
	free(state);
}

Test(gic_state, active_priorities_are_as_many_as_the_cpu_interface_has)
{
	static const struct {
		unsigned bits;
		bool has[4];
	} cases[] = {
		{5, {true, false, false, false}},
		{6, {true, true, false, false}},
		{7, {true, true, true, true}},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vm vm = machine(GIC_V3);
		struct error err = {0};

		pri_bits = cases[i].bits;
		struct arch_vm_state *state = saved(&vm);

		cr_assert_eq(load(&vm, state, &err), 0, "%s", err.msg);
		for (unsigned j = 0; j < 4; j++) {
			bool has_group0 = find_set(6, 0xc644 + j, 0) >= 0;
			bool has_group1 = find_set(6, 0xc648 + j, 0) >= 0;

			cr_expect_eq(has_group0, cases[i].has[j], "%zu %u", i, j);
			cr_expect_eq(has_group1, cases[i].has[j], "%zu %u", i, j);
		}
		free(state);
	}
}

Test(gic_state, a_state_of_another_machine_is_refused_before_anything_is_written)
{
	static const struct {
		enum gic_version host;
		uint32_t version;
		uint32_t intids;
		uint32_t vcpu_count;
		enum error_kind kind;
		const char *sentence;
	} cases[] = {
		{GIC_V2, 3, 128, 2, ERR_NOT_SUPPORTED,
		 "The snapshot has a GICv3, and this host has only a GICv2 for guests"},
		{GIC_V3, 2, 128, 2, ERR_NOT_SUPPORTED,
		 "The snapshot has a GICv2, and this host gives guests a GICv3"},
		{GIC_V3, 0, 128, 2, ERR_CORRUPT, "The state has a GIC of version 0"},
		{GIC_V3, 4, 128, 2, ERR_CORRUPT, "The state has a GIC of version 4"},
		{GIC_V3, 3, 160, 2, ERR_CORRUPT,
		 "The state has a GIC with 160 interrupts, and a machine has 128"},
		{GIC_V3, 3, 128, 1, ERR_CORRUPT,
		 "The state has a GIC for 1 vCPUs, and the machine has 2"},
		{GIC_V3, 3, 128, 33, ERR_CORRUPT,
		 "The state has a GIC for 33 vCPUs, and the machine has 2"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vm vm = machine(cases[i].host);
		struct arch_vm_state *state = saved(&vm);
		struct error err = {0};

		state->gic_version = cases[i].version;
		state->intids = cases[i].intids;
		state->vcpu_count = cases[i].vcpu_count;
		cr_expect_eq(load(&vm, state, &err), -1);
		cr_expect_eq(err.kind, cases[i].kind, "%zu", i);
		cr_expect_str_eq(err.msg, cases[i].sentence, "%s", err.msg);
		cr_expect_eq(set_count, 0);
		free(state);
	}
}

Test(gic_state, a_register_that_kvm_refuses_is_named)
{
	static const struct {
		uint32_t group;
		uint64_t attr;
		enum error_kind kind;
		const char *part;
	} cases[] = {
		{1, 0x8, ERR_NOT_SUPPORTED,
		 "This host's GIC differs from the snapshot's, which has GICD_IIDR 0x"},
		{6, UINT64_C(0x120403010000c664), ERR_NOT_SUPPORTED,
		 "vCPU 1: This host's GIC differs from the snapshot's, which has ICC_CTLR_EL1 "
		 "0x400"},
		{6, UINT64_C(0x120403010000c665), ERR_CORRUPT,
		 "vCPU 1: No GIC can have ICC_SRE_EL1 0x"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vm vm = machine(GIC_V3);
		struct arch_vm_state *state = saved(&vm);
		struct error err = {0};

		refused = cases[i].part;
		refused_group = cases[i].group;
		refused_attr = cases[i].attr;
		cr_expect_eq(load(&vm, state, &err), -1);
		cr_expect_eq(err.kind, cases[i].kind, "%zu", i);
		cr_expect_eq(strncmp(err.msg, cases[i].part, strlen(cases[i].part)), 0, "%s",
			     err.msg);
		free(state);
	}
}

Test(gic_state, each_failing_call_is_an_error)
{
	static const unsigned long requests[] = {KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR};

	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		struct arch_vm vm = machine(GIC_V3);
		struct arch_vm_state *state = saved(&vm);
		struct error ignored = {0};

		cr_assert_eq(load(&vm, state, &ignored), 0);
		size_t calls = i == 0 ? get_count : set_count;

		for (unsigned j = 1; j <= calls; j++) {
			struct error err = {0};

			get_count = 0;
			set_count = 0;
			kvm_fake_fail(requests[i], j, EBUSY);
			int result =
				i == 0 ? arch_vm_save(&vm, state, &err) : load(&vm, state, &err);

			cr_expect_eq(result, -1, "%u", j);
			cr_expect_eq(err.sys, EBUSY, "%u: %s", j, err.msg);
		}
		kvm_fake_fail(requests[i], 0, 0);
		free(state);
	}
}

/* Where the section's payload begins: behind the head of the file and its own. */
static const size_t payload_at = 14 + 1 + 16;

Test(gic_state, a_state_that_ends_early_is_refused_with_section_and_field)
{
	static uint8_t bytes[FILE_LEN];
	struct arch_vm vm = machine(GIC_V3);
	struct arch_vm_state *state = saved(&vm);
	struct arch_vm_state *loaded = state_new();
	size_t len = to_file(state, bytes) - 8;

	for (size_t cut = payload_at; cut < len; cut++) {
		static uint8_t copy[FILE_LEN];
		struct error err = {0};

		memcpy(copy, bytes, cut);
		store_le64(copy + payload_at - 8, cut - payload_at);
		store_le64(copy + cut, crc64(copy, cut));
		cr_expect_eq(from_file(copy, cut + 8, loaded, &err), -1, "%zu", cut);
		cr_expect_eq(err.kind, ERR_CORRUPT);
		cr_expect_eq(strncmp(err.msg, "Section GIC, field ", 19), 0, "%s", err.msg);
	}
	free(state);
	free(loaded);
}

Test(gic_state, versions_and_counts_beyond_all_machines_are_refused_by_field)
{
	static const struct {
		size_t at;
		uint32_t value;
		const char *sentence;
	} cases[] = {
		{0, 4, "Section GIC, field version: 4 is more than 3"},
		{8, 33, "Section GIC, field vcpu_count: 33 is more than 32"},
	};
	static uint8_t bytes[FILE_LEN];

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vm vm = machine(GIC_V3);
		struct arch_vm_state *state = saved(&vm);
		struct error err = {0};
		size_t len = to_file(state, bytes);

		memcpy(bytes + payload_at + cases[i].at, &cases[i].value, 4);
		store_le64(bytes + len - 8, crc64(bytes, len - 8));
		memset(state, 0, sizeof(*state));
		cr_expect_eq(from_file(bytes, len, state, &err), -1);
		cr_expect_str_eq(err.msg, cases[i].sentence, "%s", err.msg);
		free(state);
	}
}
