/* SPDX-License-Identifier: Apache-2.0 */
/* Saving and loading a machine: in which order, that nothing is lost, and what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/state.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/x86_64/state_kvm.h"
#include "vmm/base/bytes.h"

enum {
	ADDED_MSRS = 29 + 128 + 1 /* MTRRs, machine checks, DE_CFG */
};

static struct arch_vm vm;
static struct arch_vcpu vcpus[2];
static struct arch_vcpu_state state;
static struct arch_vm_state vm_state;

/* A machine that was saved, and then one to load the state to. */
static void save(void)
{
	struct error err = {0};

	state_machine(false, &vm, vcpus);
	cr_assert_eq(arch_vcpu_save(&vcpus[1], &state, &err), 0, "%s", err.msg);
	cr_assert_eq(arch_vm_save(&vm, &vm_state, &err), 0, "%s", err.msg);
	arch_vm_destroy(&vm);
	state_machine(true, &vm, vcpus);
}

static void save_all(void)
{
	state_kvm_script();
	save();
}

static size_t calls(void)
{
	const struct kvm_fake_call *list;

	return kvm_fake_calls(&list);
}

/* Loads vCPU 1, which no features are compared for. */
static struct error load(int expected)
{
	struct error err = {0};

	cr_assert_eq(arch_vcpu_load(&vcpus[1], &state, &err), expected, "%s", err.msg);
	return err;
}

Test(state, a_vcpu_is_saved_in_this_order, .init = state_kvm_script)
{
	struct error err = {0};

	state_machine(false, &vm, vcpus);
	const size_t before = calls();

	cr_assert_eq(arch_vcpu_save(&vcpus[0], &state, &err), 0, "%s", err.msg);
	cr_expect_str_eq(
		state_calls(before),
		"GET_MP_STATE GET_REGS GET_SREGS2 GET_XSAVE2 GET_XCRS GET_DEBUGREGS "
		"GET_LAPIC GET_TSC_KHZ GET_ATTR GET_MSRS GET_MSRS GET_MSRS GET_VCPU_EVENTS ");
}

Test(state, a_vcpu_is_loaded_in_this_order, .init = save_all)
{
	const size_t before = calls();

	load(0);
	cr_expect_str_eq(state_calls(before),
			 "SET_CPUID2 GET_TSC_KHZ SET_MP_STATE SET_REGS SET_SREGS2 SET_XSAVE "
			 "SET_XCRS SET_DEBUGREGS SET_LAPIC SET_MSRS SET_MSRS SET_MSRS SET_MSRS "
			 "SET_VCPU_EVENTS ");
}

Test(state, the_vm_is_saved_and_loaded_in_this_order, .init = save_all)
{
	const struct arch_load load_how = {0};
	const size_t before = calls();
	struct error err = {0};

	cr_assert_eq(arch_vm_save(&vm, &vm_state, &err), 0);
	cr_assert_eq(arch_vm_load(&vm, &vm_state, &load_how, &err), 0);
	cr_expect_str_eq(state_calls(before),
			 "GET_IRQCHIP GET_IRQCHIP GET_IRQCHIP GET_PIT2 GET_CLOCK "
			 "SET_IRQCHIP SET_IRQCHIP SET_IRQCHIP SET_PIT2 SET_CLOCK GET_CLOCK ");
}

Test(state, a_machine_to_load_gathers_no_cpuid_and_sets_nothing, .init = state_kvm_script)
{
	state_machine(true, &vm, vcpus);
	cr_expect_str_eq(state_calls(0), "CHECK CHECK CHECK CHECK GET_MSR_INDEX_LIST SET_TSS_ADDR "
					 "NEW_IRQCHIP NEW_PIT2 ");
	arch_vm_destroy(&vm);
}

/* --- Nothing is lost --- */

static uint8_t file[2 * MIB];
static const struct codec_file head = {.format = 1, .writer = "test"};

static struct codec_file file_head(void)
{
	struct codec_file with_magic = head;

	with_magic.magic = arch_state_magic;
	return with_magic;
}

static size_t to_file(void)
{
	const struct codec_file begin = file_head();
	struct codec codec;
	struct error err = {0};
	size_t len;

	codec_save(&codec, &begin, file, sizeof(file));
	arch_vcpu_state_codec(&codec, &state);
	arch_vm_state_codec(&codec, &vm_state);
	cr_assert_eq(codec_finish(&codec, &len, &err), 0, "%s", err.msg);
	return len;
}

static int from_file(size_t len, struct error *err)
{
	const struct codec_file begin = file_head();
	struct codec codec;

	codec_load(&codec, &begin, file, len);
	arch_vcpu_state_codec(&codec, &state);
	arch_vm_state_codec(&codec, &vm_state);
	return codec_finish(&codec, NULL, err);
}

static void by_way_of_a_file(void)
{
	const size_t len = to_file();
	struct error err = {0};

	memset(&state, 0, sizeof(state));
	memset(&vm_state, 0, sizeof(vm_state));
	cr_assert_eq(from_file(len, &err), 0, "%s", err.msg);
}

static void expect_same(unsigned long get)
{
	const struct state_block *block = state_block(get);

	for (size_t i = 0; i < block->len; i++) {
		cr_expect_eq(block->taken[i], block->told[i], "%s, byte %zu: %02x, not %02x",
			     block->name, i, block->taken[i], block->told[i]);
	}
}

Test(state, kvm_gets_what_it_told, .init = save_all)
{
	static const unsigned long blocks[] = {
		KVM_GET_MP_STATE, KVM_GET_REGS,	     KVM_GET_SREGS2, KVM_GET_XSAVE,
		KVM_GET_XCRS,	  KVM_GET_DEBUGREGS, KVM_GET_LAPIC,  KVM_GET_VCPU_EVENTS,
	};

	by_way_of_a_file();
	load(0);
	for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
		expect_same(blocks[i]);
	}
}

Test(state, each_vcpu_is_saved_with_its_own_apic_id, .init = state_kvm_script)
{
	state_machine(false, &vm, vcpus);
	for (unsigned i = 0; i < ARRAY_COUNT(vcpus); i++) {
		struct error err = {0};

		cr_assert_eq(arch_vcpu_save(&vcpus[i], &state, &err), 0);
		cr_expect_eq(state.cpuid.entry[1].ebx >> 24, i);
	}
}

Test(state, a_vcpu_gets_its_own_cpuid_again, .init = save_all)
{
	const struct cpuid_table first = state.cpuid;
	struct error err = {0};

	cr_assert_gt(first.count, 3);
	cr_expect_eq(first.entry[1].ebx >> 24, 1, "the APIC id of vCPU 1");
	by_way_of_a_file();
	load(0);
	cr_expect_eq(taken.cpuid.count, first.count);
	cr_expect_arr_eq(taken.cpuid.entry, first.entry, first.count * sizeof(first.entry[0]));
	memset(&state, 0, sizeof(state));
	cr_assert_eq(arch_vcpu_save(&vcpus[1], &state, &err), 0);
	cr_expect_eq(state.cpuid.count, first.count, "a machine that was loaded is saved");
	cr_expect_arr_eq(state.cpuid.entry, first.entry, first.count * sizeof(first.entry[0]));
}

static void load_vm(bool clock_realtime)
{
	const struct arch_load how = {.clock_realtime = clock_realtime};
	struct error err = {0};

	cr_assert_eq(arch_vm_load(&vm, &vm_state, &how, &err), 0, "%s", err.msg);
}

Test(state, kvm_gets_the_vm_that_it_told, .init = save_all)
{
	by_way_of_a_file();
	load_vm(false);
	expect_same(KVM_GET_PIT2);
	for (uint32_t i = 0; i < 3; i++) {
		const struct kvm_irqchip expected = state_chip(i);

		cr_expect_arr_eq(&taken.chips[i], &expected, sizeof(expected), "chip %u", i);
	}
}

static const struct kvm_msr_entry *taken_msr(uint32_t index)
{
	for (uint32_t i = 0; i < taken.msr_count; i++) {
		if (taken.msrs[i].index == index) {
			return &taken.msrs[i];
		}
	}
	return NULL;
}

Test(state, each_msr_comes_back_and_the_deadline_last, .init = save_all)
{
	by_way_of_a_file();
	load(0);
	for (uint32_t i = 0; i < host.msr_count; i++) {
		const struct kvm_msr_entry *msr = taken_msr(host.msrs[i].index);

		cr_assert_neq(msr, NULL, "%x", host.msrs[i].index);
		cr_expect_eq(msr->data, host.msrs[i].data, "%x", msr->index);
	}
	cr_expect_eq(taken.msrs[taken.msr_count - 1].index, 0x6e0);
	/* What the list lacks: MTRRs, machine checks, DE_CFG. */
	cr_assert(taken_msr(0x2ff) != NULL && taken_msr(0x47f) != NULL);
	cr_expect_eq(taken_msr(0x2ff)->data, 0x12ff);
	cr_expect_eq(taken.msr_count, host.msr_count + ADDED_MSRS);
}

Test(state, an_msr_that_can_not_be_read_is_the_only_one_left_out, .init = state_kvm_script)
{
	host.unreadable = 0x6e0;
	save();
	load(0);
	cr_expect_eq(taken_msr(0x6e0), NULL);
	cr_expect_neq(taken_msr(0xda0), NULL, "the next one");
	cr_expect_eq(taken.msr_count, host.msr_count - 1 + ADDED_MSRS);
}

Test(state, a_deadline_that_is_over_fires_at_once, .init = state_kvm_script)
{
	state_machine(false, &vm, vcpus);
	struct error err = {0};

	host.msrs[2].data = 0;
	cr_assert_eq(arch_vcpu_save(&vcpus[0], &state, &err), 0);
	cr_assert_eq(state.msrs[2].index, 0x6e0);
	cr_expect_eq(state.msrs[2].value, 0x123456789, "the TSC's value");
}

Test(state, an_msr_that_the_host_refuses_is_named, .init = save_all)
{
	host.refused = 0xda0;

	const struct error err = load(-1);

	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg, "Can't load the MSRs of vCPU 1: This host's KVM refuses to set "
				  "IA32_XSS (MSR 0xda0) to 0x1800");
	cr_expect_eq(kvm_fake_count(KVM_SET_VCPU_EVENTS), 0);
}

/* Appends a register that this host's list does not have; returns its place. */
static struct arch_msr *add_foreign_msr(uint32_t index, uint64_t value)
{
	state.msrs[state.msr_count] = (struct arch_msr){.index = index, .value = value};
	host.refused = index;
	return &state.msrs[state.msr_count++];
}

Test(state, an_msr_that_the_host_does_not_know_may_be_0, .init = save_all)
{
	struct arch_msr *foreign = add_foreign_msr(0x1c4, 0);

	state.msrs[0] = (struct arch_msr){.index = 0x1c4, .value = 0}; /* and before others */
	load(0);
	cr_expect_eq(taken_msr(0x1c4), NULL);
	cr_expect_neq(taken_msr(0xda0), NULL);
	foreign->value = 1;

	const struct error err = load(-1);

	cr_expect_str_eq(err.msg, "Can't load the MSRs of vCPU 1: This host's KVM refuses to set "
				  "IA32_XFD (MSR 0x1c4) to 0x1");
}

Test(state, one_that_it_knows_may_not, .init = save_all)
{
	host.refused = 0xda0;
	for (uint32_t i = 0; i < state.msr_count; i++) {
		state.msrs[i].value = state.msrs[i].index == 0xda0 ? 0 : state.msrs[i].value;
	}
	load(-1);
}

Test(state, a_shadow_stack_has_a_pointer, .init = state_kvm_script)
{
	host.supported.entry[2].ecx |= 1 << 7;
	save();
	cr_expect(state.has_ssp);
	by_way_of_a_file();
	load(0);
	cr_expect_eq(taken.reg, 0x5500);
	cr_expect_lt(kvm_fake_last(KVM_SET_MSRS), kvm_fake_last(KVM_SET_ONE_REG));
	cr_expect_lt(kvm_fake_last(KVM_SET_ONE_REG), kvm_fake_last(KVM_SET_VCPU_EVENTS));
}

Test(state, an_old_kvm_has_other_calls_for_the_same, .init = state_kvm_script)
{
	host.sregs2 = false;
	host.xsave2 = 0;
	save();
	cr_expect_eq(state.xsave_len, 4096);
	by_way_of_a_file();
	load(0);
	expect_same(KVM_GET_SREGS);
	expect_same(KVM_GET_XSAVE);
	cr_expect_eq(kvm_fake_count(KVM_GET_SREGS2) + kvm_fake_count(KVM_SET_SREGS2), 0);
	cr_expect_eq(kvm_fake_count(KVM_GET_XSAVE2), 0);
}

/* --- TSC --- */

static const struct {
	uint32_t saved;
	unsigned set; /* how often KVM_SET_TSC_KHZ */
} frequencies[] = {
	{2000000, 0}, {2000500, 0}, {1999501, 0}, {2000501, 1}, {1999500, 1}, {4000000, 1}, {0, 0},
};

Test(state, a_tsc_that_is_too_different_is_scaled, .init = save_all)
{
	for (size_t i = 0; i < ARRAY_COUNT(frequencies); i++) {
		const unsigned before = kvm_fake_count(KVM_SET_TSC_KHZ);
		const struct kvm_fake_call *list;

		state.tsc_khz = frequencies[i].saved;
		load(0);
		cr_expect_eq(kvm_fake_count(KVM_SET_TSC_KHZ) - before, frequencies[i].set, "%u",
			     state.tsc_khz);
		kvm_fake_calls(&list);
		if (frequencies[i].set > 0) {
			cr_expect_eq(list[kvm_fake_last(KVM_SET_TSC_KHZ)].arg, state.tsc_khz);
		}
	}
}

Test(state, a_tsc_that_can_not_be_scaled_is_refused, .init = state_kvm_script)
{
	host.tsc_control = false;
	save();
	state.tsc_khz = 2600000;

	const struct error err = load(-1);

	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg,
			 "Can't load the TSC frequency of vCPU 1: The saved guest's TSC runs at "
			 "2600000 kHz, this host's at 2000000 kHz, and its KVM can't scale it "
			 "(KVM_CAP_TSC_CONTROL)");
}

Test(state, a_host_that_does_not_tell_its_tsc_is_saved, .init = state_kvm_script)
{
	kvm_fake_fail(KVM_GET_TSC_KHZ, 1, EIO);
	state.tsc_khz = 4711;
	save();
	cr_expect_eq(state.tsc_khz, 0);
}

Test(state, a_tsc_that_was_not_told_is_not_compared, .init = save_all)
{
	state.tsc_khz = 0;
	kvm_fake_fail(KVM_GET_TSC_KHZ, 1, EIO); /* such a host does not tell at a load either */
	load(0);
}

/* --- XSAVE --- */

Test(state, a_large_xsave_area_is_kept_whole, .init = state_kvm_script)
{
	host.xsave2 = 11008;
	save();
	cr_expect_eq(state.xsave_len, 11008);
	by_way_of_a_file();
	load(0);
	cr_expect_arr_eq(state_block(KVM_GET_XSAVE)->taken, state_block(KVM_GET_XSAVE)->told,
			 11008);
}

Test(state, a_small_xsave_area_ends_in_zeroes_on_a_host_with_a_large_one, .init = save_all)
{
	arch_vm_destroy(&vm);
	host.xsave2 = 8192;
	state_machine(true, &vm, vcpus);
	memset(state.xsave + 4096, 0xee, 4096); /* behind its end */
	load(0);
	expect_same(KVM_GET_XSAVE);
	cr_expect_eq(state_block(KVM_GET_XSAVE)->taken[4096], 0);
	cr_expect_eq(state_block(KVM_GET_XSAVE)->taken[8191], 0);
}

static void expect_refused_xsave(uint32_t len, enum error_kind kind, const char *why)
{
	state.xsave_len = len;

	const struct error err = load(-1);

	cr_expect_eq(err.kind, kind);
	cr_expect_neq(strstr(err.msg, why), NULL, "%s", err.msg);
	cr_expect_neq(strstr(err.msg, "the XSAVE area of vCPU 1: "), NULL, "%s", err.msg);
}

Test(state, an_xsave_area_of_an_impossible_length_is_refused, .init = save_all)
{
	expect_refused_xsave(0, ERR_CORRUPT, "It has 0 bytes, not 4096 to 16384");
	expect_refused_xsave(4095, ERR_CORRUPT, "It has 4095 bytes, not 4096 to 16384");
	expect_refused_xsave(16385, ERR_CORRUPT, "It has 16385 bytes, not 4096 to 16384");
	expect_refused_xsave(4097, ERR_NOT_SUPPORTED,
			     "It has 4097 bytes, and on this host it has "
			     "4096");
	cr_expect_eq(kvm_fake_count(KVM_SET_XSAVE), 0);
}

Test(state, a_host_with_too_large_an_xsave_area_is_not_saved, .init = state_kvm_script)
{
	struct error err = {0};

	host.xsave2 = 16385;
	state_machine(false, &vm, vcpus);
	cr_assert_eq(arch_vcpu_save(&vcpus[0], &state, &err), -1);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg,
			 "The vCPU's XSAVE area has 16385 bytes, and at most 16384 are supported");
	cr_expect_eq(kvm_fake_count(KVM_GET_XSAVE2), 0, "it would not fit");
}

/* --- The clock --- */

static struct kvm_clock_data taken_clock(void)
{
	struct kvm_clock_data clock;

	memcpy(&clock, state_block(KVM_SET_CLOCK)->taken, sizeof(clock));
	return clock;
}

Test(state, a_clock_goes_on_where_it_stood, .init = save_all)
{
	by_way_of_a_file();
	vm_state.clock.flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	load_vm(false);
	cr_expect_eq(taken_clock().clock, load_le64(state_block(KVM_GET_CLOCK)->told));
	cr_expect_eq(taken_clock().flags, 0);
}

Test(state, or_by_the_time_since_the_save, .init = save_all)
{
	vm_state.clock = (struct kvm_clock_data){
		.clock = 1000,
		.flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC,
		.realtime = 1700000000000000000,
		.host_tsc = 4711,
	};
	by_way_of_a_file();
	load_vm(true);
	cr_expect_eq(taken_clock().clock, 1000);
	cr_expect_eq(taken_clock().flags, KVM_CLOCK_REALTIME);
	cr_expect_eq(taken_clock().realtime, 1700000000000000000);
}

static void expect_no_realtime(const char *why)
{
	const struct arch_load how = {.clock_realtime = true};
	struct error err = {0};

	cr_assert_eq(arch_vm_load(&vm, &vm_state, &how, &err), -1);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_neq(strstr(err.msg, why), NULL, "%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_CLOCK), 0);
}

Test(state, a_clock_without_the_time_of_the_save_can_not, .init = save_all)
{
	vm_state.clock.flags = KVM_CLOCK_TSC_STABLE;
	expect_no_realtime("the host that saved it did not tell the time (KVM_CLOCK_REALTIME)");
}

Test(state, nor_on_a_host_that_can_not, .init = state_kvm_script)
{
	host.clock = KVM_CLOCK_TSC_STABLE;
	save();
	vm_state.clock.flags = KVM_CLOCK_REALTIME;
	expect_no_realtime("this host's KVM lacks KVM_CLOCK_REALTIME");
}

/* --- The TSC and the clock --- */

/* What the clock says after the load, and the host's TSC then. */
static void set_clocks(uint64_t saved_ns, uint64_t saved_tsc, uint64_t now_ns, uint64_t now_tsc)
{
	const struct kvm_clock_data now = {
		.clock = now_ns, .flags = KVM_CLOCK_HOST_TSC, .host_tsc = now_tsc};

	vm_state.clock = (struct kvm_clock_data){
		.clock = saved_ns, .flags = KVM_CLOCK_HOST_TSC, .host_tsc = saved_tsc};
	memcpy(state_block(KVM_GET_CLOCK)->told, &now, sizeof(now));
}

static void load_all(void)
{
	struct error err = {0};

	load(0);
	load_vm(false);
	cr_assert_eq(arch_vcpu_load_clock(&vcpus[1], &state, &vm_state, &err), 0, "%s", err.msg);
}

Test(state, the_tsc_goes_on_as_far_as_the_clock, .init = state_kvm_script)
{
	static const struct {
		uint64_t offset;
		uint64_t saved_ns, saved_tsc, now_ns, now_tsc;
		uint64_t expected;
	} cases[] = {
		/* 3 us at 2 GHz; the host has run for a second */
		{1000, 5000, 70000, 8000, 2000070000, 1000 + 6000 - 2000000000},
		/* the same host a second later, with a clock that jumped along */
		{1000, 5000, 70000, 1000005000, 2000070000, 1000},
		/* a host that booted later: its TSC is behind */
		{UINT64_MAX - 10, 5000, 1000000, 5000, 50, UINT64_MAX - 10 + 999950},
		/* ten years */
		{7, 0, 0, UINT64_C(315360000000000000), 0, 7 + UINT64_C(630720000000000000)},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		host.tsc_offset = cases[i].offset - 1; /* vCPU 1's is one more */
		save();
		set_clocks(cases[i].saved_ns, cases[i].saved_tsc, cases[i].now_ns,
			   cases[i].now_tsc);
		by_way_of_a_file();
		load_all();
		cr_expect_eq(taken.tsc_offsets[1], cases[i].expected, "case %zu: %llu", i,
			     (unsigned long long)taken.tsc_offsets[1]);
	}
}

/* KVM has armed the timer by the TSC that was there before. */
Test(state, the_deadline_is_set_again_when_the_tsc_is_right, .init = save_all)
{
	set_clocks(0, 0, 0, 1000);
	load_all();
	cr_expect_eq(taken.msrs[taken.msr_count - 1].index, 0x6e0);
	cr_expect_gt(kvm_fake_last(KVM_SET_MSRS), kvm_fake_last(KVM_SET_DEVICE_ATTR));
}

Test(state, without_offsets_the_tsc_stays_what_its_msr_says, .init = save_all)
{
	const struct arch_vcpu_state whole = state;
	struct error err = {0};

	set_clocks(0, 0, 0, 1000);
	vm_state.clock.flags = 0; /* the host's clock was not the TSC */
	load_all();
	set_clocks(0, 0, 0, 1000);
	((struct kvm_clock_data *)state_block(KVM_GET_CLOCK)->told)->flags = 0;
	load_all(); /* or this one's is not */
	set_clocks(0, 0, 0, 1000);
	state.tsc_khz = 3000000; /* scaled */
	load_all();
	vcpus[1].is_scaled = false;
	state.tsc_khz = 0; /* the host did not tell */
	load_all();
	host.no_tsc_offset = true; /* Linux before 5.16 */
	cr_assert_eq(arch_vcpu_save(&vcpus[1], &state, &err), 0, "%s", err.msg);
	load_all();
	cr_expect_eq(kvm_fake_count(KVM_SET_DEVICE_ATTR), 0);
	host.no_tsc_offset = false;
	state = whole;
	load_all();
	cr_expect_eq(kvm_fake_count(KVM_SET_DEVICE_ATTR), 1);
}

Test(state, an_offset_that_kvm_does_not_take_is_an_error, .init = save_all)
{
	struct error err = {0};

	set_clocks(0, 0, 0, 1000);
	load(0);
	load_vm(false);
	kvm_fake_fail(KVM_SET_DEVICE_ATTR, 1, ENOMEM);
	cr_expect_eq(arch_vcpu_load_clock(&vcpus[1], &state, &vm_state, &err), -1);
	cr_expect_str_eq(err.msg, "Can't load the TSC of vCPU 1: KVM_SET_DEVICE_ATTR failed: "
				  "Out of memory (os error 12)");
}

/* --- Refusals --- */

static const struct {
	unsigned long request;
	const char *what;
} vcpu_steps[] = {
	{KVM_SET_CPUID2, "the CPUID of vCPU 1: KVM_SET_CPUID2 failed"},
	{KVM_GET_TSC_KHZ, "the TSC frequency of vCPU 1: KVM_GET_TSC_KHZ failed"},
	{KVM_SET_MP_STATE, "the multiprocessor state of vCPU 1: KVM_SET_MP_STATE failed"},
	{KVM_SET_REGS, "the general registers of vCPU 1: KVM_SET_REGS failed"},
	{KVM_SET_SREGS2, "the system registers of vCPU 1: KVM_SET_SREGS2 failed"},
	{KVM_SET_XSAVE, "the XSAVE area of vCPU 1: KVM_SET_XSAVE failed"},
	{KVM_SET_XCRS, "the XCRs of vCPU 1: KVM_SET_XCRS failed"},
	{KVM_SET_DEBUGREGS, "the debug registers of vCPU 1: KVM_SET_DEBUGREGS failed"},
	{KVM_SET_LAPIC, "the local APIC of vCPU 1: KVM_SET_LAPIC failed"},
	{KVM_SET_MSRS, "the MSRs of vCPU 1: KVM_SET_MSRS failed"},
	{KVM_SET_VCPU_EVENTS, "the pending events of vCPU 1: KVM_SET_VCPU_EVENTS failed"},
};

Test(state, what_kvm_does_not_take_is_named, .init = save_all)
{
	for (size_t i = 0; i < ARRAY_COUNT(vcpu_steps); i++) {
		kvm_fake_fail(vcpu_steps[i].request, 1, EINVAL);

		struct error err = load(-1);

		cr_expect_eq(err.kind, ERR_CORRUPT, "%s", err.msg);
		cr_expect_neq(strstr(err.msg, vcpu_steps[i].what), NULL, "%s", err.msg);
		kvm_fake_fail(vcpu_steps[i].request, 1, ENOMEM);
		err = load(-1);
		cr_expect_eq(err.kind, ERR_HOST, "%s", err.msg);
	}
}

Test(state, what_kvm_does_not_take_of_the_vm_is_named, .init = save_all)
{
	static const struct {
		unsigned long request;
		const char *what;
	} steps[] = {
		{KVM_SET_IRQCHIP, "Can't load the interrupt controllers: KVM_SET_IRQCHIP failed"},
		{KVM_SET_PIT2, "Can't load the timer: KVM_SET_PIT2 failed"},
		{KVM_SET_CLOCK, "Can't load the clock: KVM_SET_CLOCK failed"},
	};
	const struct arch_load how = {0};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		struct error err = {0};

		kvm_fake_fail(steps[i].request, 1, EINVAL);
		cr_expect_eq(arch_vm_load(&vm, &vm_state, &how, &err), -1);
		cr_expect_eq(err.kind, ERR_CORRUPT);
		cr_expect_neq(strstr(err.msg, steps[i].what), NULL, "%s", err.msg);
	}
}

Test(state, a_save_that_kvm_fails_is_an_error, .init = state_kvm_script)
{
	static const unsigned long requests[] = {
		KVM_GET_MP_STATE,  KVM_GET_REGS,  KVM_GET_SREGS2, KVM_GET_XSAVE2,      KVM_GET_XCRS,
		KVM_GET_DEBUGREGS, KVM_GET_LAPIC, KVM_GET_MSRS,	  KVM_GET_VCPU_EVENTS,
	};

	state_machine(false, &vm, vcpus);
	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		struct error err = {0};

		kvm_fake_fail(requests[i], 1, ENOMEM);
		cr_expect_eq(arch_vcpu_save(&vcpus[0], &state, &err), -1, "%zu", i);
		cr_expect_eq(err.kind, ERR_HOST);
	}
}

Test(state, more_of_anything_than_there_can_be_is_refused, .init = save_all)
{
	const struct arch_vcpu_state whole = state;

	state.cpuid.count = CPUID_ENTRIES_MAX + 1;
	cr_expect_eq(load(-1).kind, ERR_CORRUPT);
	state = whole;
	state.xcr_count = KVM_MAX_XCRS + 1;
	cr_expect_eq(load(-1).kind, ERR_CORRUPT);
	cr_expect_eq(kvm_fake_count(KVM_SET_XCRS), 0);
}

Test(state, the_first_vcpu_is_refused_with_the_names_of_what_the_host_lacks, .init = save_all)
{
	struct error err = {0};

	state.cpuid.entry[2].ebx |= UINT32_C(1) << 16;
	cr_assert_eq(arch_vcpu_load(&vcpus[0], &state, &err), -1);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg, "This host lacks what the saved guest was given: AVX512F (CPUID "
				  "0x7.0 EBX bit 16)");
	cr_expect_eq(kvm_fake_count(KVM_SET_CPUID2), 2, "those of the machine that was saved");
}

Test(state, the_first_vcpu_loads_on_the_host_that_saved_it, .init = save_all)
{
	struct error err = {0};

	cr_expect_eq(arch_vcpu_load(&vcpus[0], &state, &err), 0, "%s", err.msg);
}
