/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/vcpu_state.c and explain.c: registers in KVM's order, and what is refused how. */
#include "arch/aarch64/vcpu_state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/aarch64/kvm_arm.h"
#include "arch/state.h"
#include "tests/fake/kvm_fake.h"
#include "tools/snapshot_editor/regs.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/crc64.h"
#include "vmm/base/log.h"

enum {
	KVM = 100,
	VCPU = 102,
	FILE_LEN = 64 * 1024,
	EVENTS_MAX = 4096,
};

/* A register of the fake KVM: its id as strace shows it, the host's value, what happens at a set.
 */
struct fake_reg {
	uint64_t id;
	uint64_t value;
	bool is_fixed; /* only this value is taken */
};

static const struct fake_reg regs[] = {
	{0x6030000000100000, 0x1111, false},		 /* X0 */
	{0x6030000000100040, 0xffff800008000000, false}, /* PC */
	{0x6040000000100054, 0x5454, false},		 /* V0, 128 bits */
	{0x60200000001000d4, 0x10, false},		 /* FPSR, 32 bits */
	{0x6030000000140000, 0x10001, true},		 /* PSCI version */
	{0x6030000000160002, 3, true},			 /* services of KVM itself */
	{0x603000000013df19, 1, false},			 /* CNTV_CTL_EL0 */
	{0x603000000013df1a, 1000, false},		 /* CNTVCT_EL0 */
	{0x603000000013df02, 2000, false},		 /* CNTV_CVAL_EL0 */
	{0x603000000013df01, 500, false},		 /* CNTPCT_EL0 */
	{0x603000000013c000, 0x410fd0c1, true},		 /* MIDR_EL1 */
	{0x603000000013c005, 0x80000001, false},	 /* MPIDR_EL1 */
	{0x603000000013c020, 0x1100000011f12222, true},	 /* ID_AA64PFR0_EL1 */
	{0x603000000013c030, 0x0000111110212120, true},	 /* ID_AA64ISAR0_EL1 */
	{0x603000000013d801, 0x84448004, true},		 /* CTR_EL0 */
	{0x6020000000110000, 0x701fe00a, true},		 /* CCSIDR_EL1 of cache 0 */
};

enum {
	PC = 1,
	PSCI = 4,
	BMAP = 5,
	CNTVCT = 7,
	CNTPCT = 9,
	MIDR = 10,
	MPIDR = 11,
	PFR0 = 12,
	ISAR0 = 13,
	CTR = 14,
};

/* What was asked of the vCPU, in order: registers that were set, then other ioctls. */
static struct {
	unsigned long request;
	uint64_t id;
	uint64_t value[2];
} calls[EVENTS_MAX];
static size_t call_count;
static uint32_t mp_state;
static struct kvm_vcpu_events vcpu_events;
static struct kvm_vcpu_events loaded_events;

static const struct fake_reg *find(uint64_t id)
{
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		if (regs[i].id == id) {
			return &regs[i];
		}
	}
	return NULL;
}

static int fail(int sys)
{
	errno = sys;
	return -1;
}

static int answer_list(int fd, unsigned long request, void *arg)
{
	struct kvm_reg_list *list = arg;

	(void)fd;
	(void)request;
	cr_assert_geq(list->n, ARRAY_COUNT(regs));
	list->n = ARRAY_COUNT(regs);
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		list->reg[i] = regs[i].id;
	}
	return 0;
}

static int answer_get(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *one = arg;
	const struct fake_reg *reg = find(one->id);
	size_t len = (size_t)1 << (one->id >> 52 & 15);

	(void)fd;
	(void)request;
	if (reg == NULL) {
		return fail(ENOENT);
	}
	memset((void *)(uintptr_t)one->addr, 0xee, len);		    // NOLINT
	memcpy((void *)(uintptr_t)one->addr, &reg->value, min_u64(len, 8)); // NOLINT
	return 0;
}

static int answer_set(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *one = arg;
	const struct fake_reg *reg = find(one->id);
	size_t len = (size_t)1 << (one->id >> 52 & 15);

	(void)fd;
	cr_assert_lt(call_count, EVENTS_MAX);
	calls[call_count].request = request;
	calls[call_count].id = one->id;
	memset(calls[call_count].value, 0, sizeof(calls[call_count].value));
	memcpy(calls[call_count].value, (const void *)(uintptr_t)one->addr, // NOLINT
	       min_u64(len, sizeof(calls[call_count].value)));
	if (reg == NULL) {
		return fail(ENOENT);
	}
	bool is_other = calls[call_count].value[0] != reg->value;

	if ((reg->is_fixed && is_other) || (reg == &regs[PC] && is_other)) {
		return fail(EINVAL);
	}
	call_count++;
	return 0;
}

static int answer_get_mp(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(arg, &mp_state, sizeof(mp_state));
	return 0;
}

static int answer_get_events(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(arg, &vcpu_events, sizeof(vcpu_events));
	return 0;
}

static int answer_set_other(int fd, unsigned long request, void *arg)
{
	(void)fd;
	calls[call_count++].request = request;
	if (request == KVM_SET_VCPU_EVENTS) {
		memcpy(&loaded_events, arg, sizeof(loaded_events));
		return 0;
	}
	return *(const uint32_t *)arg == mp_state ? 0 : fail(EINVAL);
}

static struct arch_vcpu vcpu_at(unsigned index)
{
	struct arch_vcpu vcpu = {
		.fd = VCPU,
		.index = index,
		.has_vcpu_events = true,
		.mpidr = regs[MPIDR].value,
		.init = {.target = KVM_ARM_TARGET_GENERIC_V8, .features = {index == 0 ? 4 : 5}},
	};

	kvm_fake_script(KVM_GET_REG_LIST, answer_list);
	kvm_fake_script(KVM_GET_ONE_REG, answer_get);
	kvm_fake_script(KVM_SET_ONE_REG, answer_set);
	kvm_fake_script(KVM_GET_MP_STATE, answer_get_mp);
	kvm_fake_script(KVM_SET_MP_STATE, answer_set_other);
	kvm_fake_script(KVM_GET_VCPU_EVENTS, answer_get_events);
	kvm_fake_script(KVM_SET_VCPU_EVENTS, answer_set_other);
	call_count = 0;
	mp_state = KVM_MP_STATE_STOPPED;
	vcpu_events = (struct kvm_vcpu_events){
		.exception = {.serror_pending = 1, .serror_has_esr = 1, .serror_esr = 0x1234}};
	return vcpu;
}

static struct arch_vcpu_state *state_new(void)
{
	struct arch_vcpu_state *state = calloc(1, sizeof(*state));

	cr_assert_not_null(state);
	return state;
}

static struct arch_vcpu_state *saved(const struct arch_vcpu *vcpu)
{
	struct arch_vcpu_state *state = state_new();
	struct error err = {0};

	cr_assert(arch_vcpu_save(vcpu, state, &err) == 0, "%s", err.msg);
	return state;
}

/* The bytes of a register's head in a state. */
static uint8_t *head_of(struct arch_vcpu_state *state, uint64_t id)
{
	struct saved_reg reg;
	size_t at = 0;

	for (size_t head = 0; saved_reg_next(state, &at, &reg); head = at) {
		if (reg.id == id) {
			return state->regs + head;
		}
	}
	cr_assert_fail("no register %#llx", (unsigned long long)id);
	return NULL;
}

static void put_value(struct arch_vcpu_state *state, size_t reg, uint64_t value)
{
	store_le64(head_of(state, regs[reg].id) + ARCH_REG_HEAD_LEN, value);
}

static const struct codec_file file = {.magic = 1, .format = 1, .writer = "t"};

static size_t to_file(struct arch_vcpu_state *state, uint8_t *bytes)
{
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	codec_save(&codec, &file, bytes, FILE_LEN);
	arch_vcpu_state_codec(&codec, state);
	cr_assert(codec_finish(&codec, &len, &err) == 0, "%s", err.msg);
	return len;
}

static int from_file(const uint8_t *bytes, size_t len, struct arch_vcpu_state *state,
		     struct error *err)
{
	struct codec codec;

	codec_load(&codec, &file, bytes, len);
	arch_vcpu_state_codec(&codec, state);
	return codec_finish(&codec, NULL, err);
}

Test(vcpu_state, registers_are_loaded_in_kvms_order_then_power_and_events)
{
	static uint8_t bytes[FILE_LEN];
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	struct arch_vcpu_state *loaded = state_new();
	struct error err = {0};

	cr_assert_eq(from_file(bytes, to_file(state, bytes), loaded, &err), 0, "%s", err.msg);
	cr_expect_eq(memcmp(state, loaded, sizeof(*state)), 0);
	cr_assert_eq(arch_vcpu_load(&vcpu, loaded, &err), 0, "%s", err.msg);
	cr_assert_eq(call_count, ARRAY_COUNT(regs) + 2);
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		cr_expect_eq(calls[i].id, regs[i].id, "%zu", i);
		cr_expect_eq(calls[i].value[0], regs[i].value, "%zu", i);
	}
	cr_expect_eq(calls[2].value[1], 0xeeeeeeeeeeeeeeee, "all 128 bits");
	cr_expect_eq(calls[ARRAY_COUNT(regs)].request, KVM_SET_MP_STATE);
	cr_expect_eq(calls[ARRAY_COUNT(regs) + 1].request, KVM_SET_VCPU_EVENTS);
	cr_expect_eq(memcmp(&loaded_events, &vcpu_events, sizeof(vcpu_events)), 0);
	free(state);
	free(loaded);
}

Test(vcpu_state, only_vcpu_0_sets_the_counters_of_the_machine)
{
	struct arch_vcpu vcpu = vcpu_at(1);
	struct arch_vcpu_state *state = saved(&vcpu);
	struct error err = {0};

	cr_expect_eq(state->features[0], 4, "whether it is powered on is in mp_state");
	cr_assert_eq(arch_vcpu_load(&vcpu, state, &err), 0, "%s", err.msg);
	cr_expect_eq(call_count, ARRAY_COUNT(regs));
	for (size_t i = 0; i < call_count; i++) {
		cr_expect_neq(calls[i].id, regs[CNTVCT].id);
		cr_expect_neq(calls[i].id, regs[CNTPCT].id);
	}
	free(state);
}

Test(vcpu_state, what_the_host_lacks_is_named_field_by_field)
{
	static const struct {
		size_t reg;
		uint64_t value;
		const char *lacks;
	} cases[] = {
		{PFR0, 0x1100000111f12222, "SVE (ID_AA64PFR0_EL1 bits 35:32: 1, this host has 0)"},
		/* The host has no AdvSIMD: 15. What it has more is no lack. */
		{PFR0, 0x1100000011012221,
		 "AdvSIMD (ID_AA64PFR0_EL1 bits 23:20: 0, this host has 15)"},
		{ISAR0, 0x0000111110312120,
		 "Atomic (ID_AA64ISAR0_EL1 bits 23:20: 3, this host has 2)"},
		{ISAR0, 0x2000111110212120,
		 "RNDR (ID_AA64ISAR0_EL1 bits 63:60: 2, this host has 0)"},
		/* Another way, with nothing that lacks */
		{ISAR0, 0x0000111110012120,
		 "Atomic (ID_AA64ISAR0_EL1 bits 23:20: 0, this host has 2)"},
		{CTR, 0x84448005, "IminLine (CTR_EL0 bits 3:0: 5, this host has 4)"},
		{PSCI, 0x10002, "PSCI version (0x10002, this host has 0x10001)"},
		{BMAP, 7, "vendor hypervisor services (0x7, this host has 0x3)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vcpu vcpu = vcpu_at(0);
		struct arch_vcpu_state *state = saved(&vcpu);
		struct error err = {0};
		char expected[512];
		char buf[512];
		struct text lacks;

		put_value(state, cases[i].reg, cases[i].value);
		cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), -1);
		cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
		snprintf(expected, sizeof(expected),
			 "Cannot load vCPU 0: This host cannot give the guest what it had: %s",
			 cases[i].lacks);
		cr_expect_str_eq(err.msg, expected, "%s", err.msg);
		text_init(&lacks, buf, sizeof(buf));
		cr_expect_eq(arch_state_explain(KVM, state, &lacks), 1);
		cr_expect_str_eq(buf, cases[i].lacks, "%s", buf);
		free(state);
	}
}

Test(vcpu_state, all_that_the_host_lacks_is_named_at_once)
{
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	struct error err = {0};
	char buf[512];
	struct text lacks;

	put_value(state, PFR0, 0x1100000111f12222);
	put_value(state, ISAR0, 0x1000111110212120);
	store_le64(head_of(state, regs[CTR].id), 0x603000000013c032);
	store_le64(head_of(state, regs[CNTPCT].id), 0x603000000013df11);
	text_init(&lacks, buf, sizeof(buf));
	cr_expect_eq(arch_state_explain(KVM, state, &lacks), 4);
	cr_expect_str_eq(buf,
			 "CNTP_CTL_EL0 (this host's KVM does not know it), "
			 "SVE (ID_AA64PFR0_EL1 bits 35:32: 1, this host has 0), "
			 "RNDR (ID_AA64ISAR0_EL1 bits 63:60: 1, this host has 0), "
			 "ID_AA64ISAR2_EL1 (this host's KVM does not know it)",
			 "%s", buf);
	cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), -1);
	cr_expect_not_null(strstr(err.msg, buf), "%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_MP_STATE), 0);
	free(state);
}

Test(vcpu_state, features_that_squib_gives_to_none_are_refused)
{
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	struct error err = {0};
	char buf[256];
	struct text lacks;

	state->features[0] |= 1U << KVM_ARM_VCPU_SVE;
	state->features[6] |= 1U << 31;
	cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), -1);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(
		err.msg,
		"Cannot load vCPU 0: This host cannot give the guest what it had: SVE (vCPU "
		"feature 4, which squib gives to none), unknown (vCPU feature 223, which "
		"squib gives to none)",
		"%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_ONE_REG), 0);
	text_init(&lacks, buf, sizeof(buf));
	cr_expect_eq(arch_state_explain(KVM, state, &lacks), 2);
	free(state);
}

/* How often the log file has `text`. */
static unsigned count_in_log(const char *path, const char *text)
{
	char line[512];
	unsigned count = 0;
	FILE *stream = fopen(path, "r");

	cr_assert_not_null(stream);
	while (fgets(line, sizeof(line), stream) != NULL) {
		count += strstr(line, text) != NULL;
	}
	fclose(stream);
	return count;
}

Test(vcpu_state, another_make_of_cpu_is_warned_of_once_and_no_reason_to_refuse)
{
	struct error err = {0};
	char path[] = "/tmp/squib-unit-XXXXXX";
	int fd = mkstemp(path);
	char buf[256];
	struct text lacks;

	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(log_configure(&(struct log_config){.path = path, .level = LOG_WARN}, &err), 0);
	for (unsigned index = 0; index < 2; index++) {
		struct arch_vcpu vcpu = vcpu_at(index);
		struct arch_vcpu_state *state = saved(&vcpu);

		cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), 0);
		cr_expect_eq(count_in_log(path, "MIDR_EL1"), index);
		put_value(state, MIDR, 0x410fd401);
		cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), 0, "%s", err.msg);
		cr_expect_eq(count_in_log(path, "another make of CPU: MIDR_EL1 was 0x410fd401 "
						"there, and is 0x410fd0c1 here"),
			     1);
		text_init(&lacks, buf, sizeof(buf));
		cr_expect_eq(arch_state_explain(KVM, state, &lacks), 0);
		cr_expect_str_eq(buf, "");
		free(state);
	}
	unlink(path);
}

static void no_registers(struct arch_vcpu_state *state)
{
	state->reg_count = 0;
	state->regs_len = 0;
}

static void short_register(struct arch_vcpu_state *state)
{
	/* The first one has 8 bytes, the id of the next will be taken for a length. */
	state->reg_count = 1;
	state->regs_len = ARCH_REG_HEAD_LEN + 4;
	store_le32(state->regs + 8, 4);
}

static void huge_register(struct arch_vcpu_state *state)
{
	store_le64(state->regs, 0x60f0000000100000);
}

static void other_cpu(struct arch_vcpu_state *state)
{
	put_value(state, MPIDR, 0x80000002);
}

static void no_pc(struct arch_vcpu_state *state)
{
	put_value(state, PC, 0xbad);
}

static void no_power(struct arch_vcpu_state *state)
{
	state->mp_state = 77;
}

Test(vcpu_state, what_no_vcpu_can_have_is_refused_with_the_register)
{
	static const struct {
		void (*spoil)(struct arch_vcpu_state *state);
		const char *sentence;
	} cases[] = {
		{no_registers, "Cannot load vCPU 1: The state has no registers"},
		{short_register, "Cannot load vCPU 1: Register X0 has 4 bytes in place of 8"},
		{huge_register, "Cannot load vCPU 1: Register X0 has 8 bytes in place of 32768"},
		{other_cpu, "Cannot load vCPU 1: MPIDR_EL1 is 0x80000002, and must be 0x80000001"},
		{no_pc, "Cannot load vCPU 1: No vCPU can have 0xbad in register PC"},
		{no_power, "Cannot load vCPU 1: No vCPU can have MP state 0x4d"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vcpu vcpu = vcpu_at(1);
		struct arch_vcpu_state *state = saved(&vcpu);
		struct error err = {0};

		cases[i].spoil(state);
		cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), -1);
		cr_expect_eq(err.kind, ERR_CORRUPT, "%zu", i);
		cr_expect_str_eq(err.msg, cases[i].sentence, "%s", err.msg);
		free(state);
	}
}

Test(vcpu_state, a_pending_serror_needs_a_kvm_that_can_load_it)
{
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	struct error err = {0};

	vcpu.has_vcpu_events = false;
	cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), -1);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_not_null(strstr(err.msg, "KVM_CAP_VCPU_EVENTS"), "%s", err.msg);
	error_clear(&err);
	state->serror_pending = false;
	cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), 0, "%s", err.msg);

	/* Where the saving host had none, there is nothing to load. */
	error_clear(&err);
	cr_assert_eq(arch_vcpu_save(&vcpu, state, &err), 0);
	vcpu.has_vcpu_events = true;
	cr_expect_eq(arch_vcpu_load(&vcpu, state, &err), 0, "%s", err.msg);
	cr_expect_eq(kvm_fake_count(KVM_SET_VCPU_EVENTS), 0);
	free(state);
}

Test(vcpu_state, each_failing_call_is_an_error)
{
	static const struct {
		unsigned long request;
		unsigned nth;
		bool is_load;
	} cases[] = {
		{KVM_GET_MP_STATE, 1, false},	 {KVM_GET_REG_LIST, 1, false},
		{KVM_GET_ONE_REG, 1, false},	 {KVM_GET_ONE_REG, ARRAY_COUNT(regs), false},
		{KVM_GET_VCPU_EVENTS, 1, false}, {KVM_SET_ONE_REG, 1, true},
		{KVM_SET_MP_STATE, 1, true},	 {KVM_SET_VCPU_EVENTS, 1, true},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vcpu vcpu = vcpu_at(0);
		struct arch_vcpu_state *state = saved(&vcpu);
		struct error err = {0};

		kvm_fake_fail(cases[i].request, cases[i].nth, EIO);
		int result = cases[i].is_load ? arch_vcpu_load(&vcpu, state, &err)
					      : arch_vcpu_save(&vcpu, state, &err);

		cr_expect_eq(result, -1, "%zu", i);
		cr_expect_eq(err.sys, EIO, "%zu: %s", i, err.msg);
		cr_expect_not_null(strstr(err.msg, "vCPU 0"), "%s", err.msg);
		free(state);
	}
}

/* A KVM with more than there is room for. */
static unsigned listed_count;
static uint64_t listed_size;

static int answer_long_list(int fd, unsigned long request, void *arg)
{
	struct kvm_reg_list *list = arg;
	uint64_t room = list->n;

	(void)fd;
	(void)request;
	list->n = listed_count;
	if (room < listed_count) {
		return fail(E2BIG);
	}
	for (uint64_t i = 0; i < listed_count; i++) {
		list->reg[i] = KVM_REG_ARM64 | listed_size << 52 | KVM_REG_ARM64_SVE | i;
	}
	return 0;
}

static int answer_zeroes(int fd, unsigned long request, void *arg)
{
	const struct kvm_one_reg *one = arg;

	(void)fd;
	(void)request;
	memset((void *)(uintptr_t)one->addr, 0x5a, (size_t)1 << (one->id >> 52 & 15)); // NOLINT
	return 0;
}

Test(vcpu_state, registers_of_all_sizes_are_saved_up_to_the_room_for_them)
{
	static const struct {
		unsigned count;
		uint64_t size; /* 2^n bytes */
		const char *refusal;
	} cases[] = {
		{ARCH_REGS_MAX, 4, NULL},
		{50, 8, NULL},
		{160, 8, NULL},
		{ARCH_REGS_MAX + 1, 3,
		 "This KVM has 1025 registers, and the state has room for 1024"},
		{ARCH_REGS_MAX, 8, "has 256 bytes, for which the state has no room"},
		{1, 9, "Register SVE register 0 of vCPU 0 has 512 bytes"},
	};
	static uint8_t bytes[FILE_LEN];

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct arch_vcpu vcpu = vcpu_at(0);
		struct arch_vcpu_state *state = state_new();
		struct arch_vcpu_state *loaded = state_new();
		struct error err = {0};

		listed_count = cases[i].count;
		listed_size = cases[i].size;
		kvm_fake_script(KVM_GET_REG_LIST, answer_long_list);
		kvm_fake_script(KVM_GET_ONE_REG, answer_zeroes);
		int result = arch_vcpu_save(&vcpu, state, &err);

		cr_expect_eq(result, cases[i].refusal == NULL ? 0 : -1, "%zu: %s", i, err.msg);
		if (result < 0) {
			cr_expect_not_null(strstr(err.msg, cases[i].refusal), "%s", err.msg);
		} else {
			size_t len = to_file(state, bytes);

			cr_expect_eq(from_file(bytes, len, loaded, &err), 0, "%s", err.msg);
			cr_expect_eq(memcmp(state, loaded, sizeof(*state)), 0, "%zu", i);
		}
		free(state);
		free(loaded);
	}
}

/* Where the section's payload begins: behind the head of the file and its own. */
static const size_t payload_at = 14 + 1 + 16;

Test(vcpu_state, a_state_that_ends_early_is_refused_with_section_and_field)
{
	static uint8_t bytes[FILE_LEN];
	static uint8_t copy[FILE_LEN];
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	size_t len = to_file(state, bytes) - 8;

	for (size_t cut = payload_at; cut < len; cut++) {
		struct error err = {0};

		memcpy(copy, bytes, cut);
		store_le64(copy + payload_at - 8, cut - payload_at);
		store_le64(copy + cut, crc64(copy, cut));
		cr_expect_eq(from_file(copy, cut + 8, state, &err), -1, "%zu", cut);
		cr_expect_eq(err.kind, ERR_CORRUPT);
		cr_expect_eq(strncmp(err.msg, "Section VCPU, field ", 20), 0, "%s", err.msg);
	}
	free(state);
}

Test(vcpu_state, no_byte_of_a_file_leads_beyond_the_state)
{
	static uint8_t bytes[FILE_LEN];
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	size_t len = to_file(state, bytes) - 8;
	struct error quiet = {0};

	cr_assert_eq(log_configure(&(struct log_config){.level = LOG_ERROR}, &quiet), 0);
	for (size_t i = 0; i < (len - payload_at) * ARRAY_COUNT(values); i++) {
		size_t at = payload_at + i / ARRAY_COUNT(values);
		uint8_t before = bytes[at];
		struct error err = {0};
		struct error ignored = {0};
		char buf[64];
		struct text lacks;

		bytes[at] = values[i % ARRAY_COUNT(values)];
		store_le64(bytes + len, crc64(bytes, len));
		if (from_file(bytes, len + 8, state, &err) == 0) {
			call_count = 0;
			text_init(&lacks, buf, sizeof(buf));
			(void)arch_state_explain(KVM, state, &lacks);
			if (arch_vcpu_load(&vcpu, state, &ignored) < 0) {
				cr_expect_neq(ignored.kind, ERR_HOST, "%s", ignored.msg);
			}
		}
		bytes[at] = before;
	}
	free(state);
}

Test(vcpu_state, what_a_register_is_too_long_for_is_told_by_its_number)
{
	static uint8_t bytes[FILE_LEN];
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	struct error err = {0};
	size_t len = to_file(state, bytes) - 8;
	/* target, features, MP state, events, count, then the first id */
	size_t at = payload_at + 4 + 28 + 4 + 12 + 4 + 8;

	cr_assert_eq(load_le32(bytes + at), 8);
	store_le32(bytes + at, 257);
	store_le64(bytes + len, crc64(bytes, len));
	cr_expect_eq(from_file(bytes, len + 8, state, &err), -1);
	cr_expect_str_eq(err.msg, "Section VCPU, field regs[0].len: 257 is more than 256", "%s",
			 err.msg);
	free(state);
}

Test(vcpu_state, long_registers_leave_room_for_the_heads_of_all_that_follow)
{
	static uint8_t bytes[FILE_LEN];
	struct arch_vcpu_state *state = state_new();
	struct error err = {0};
	size_t at = to_file(state, bytes) - 16; /* of CRC, and of what comes behind registers */

	store_le32(bytes + at - 4, ARCH_REGS_MAX);
	for (unsigned i = 0; i < 130; i++) {
		store_le64(bytes + at, 0x6080000000150000 + i);
		store_le32(bytes + at + 8, ARCH_REG_LEN_MAX);
		at += ARCH_REG_HEAD_LEN + ARCH_REG_LEN_MAX;
	}
	store_le64(bytes + payload_at - 8, at - payload_at);
	store_le64(bytes + at, crc64(bytes, at));
	cr_expect_eq(from_file(bytes, at + 8, state, &err), -1);
	/* 1024 heads, and the room beyond them is 128 times 256 bytes. */
	cr_expect_str_eq(err.msg, "Section VCPU, field regs[128].len: 256 is more than 0", "%s",
			 err.msg);
	free(state);
}

Test(vcpu_state, a_dump_as_json_has_each_field_once)
{
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct codec codec;
	struct error err = {0};

	codec_dump_json(&codec, 1, out);
	arch_vcpu_state_codec(&codec, state); /* names that are there twice are an assertion */
	cr_assert_eq(codec_finish(&codec, NULL, &err), 0, "%s", err.msg);
	fclose(out);
	cr_expect_not_null(strstr(text, "\"regs\": ["), "%s", text);
	free(state);
}

/* What snapshot-editor's remove-regs does. */
Test(vcpu_state, registers_are_removed_from_a_saved_vcpu)
{
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	AUTO_FREE char *text = NULL;
	size_t text_len = 0;
	FILE *out = open_memstream(&text, &text_len);
	uint64_t ids[2] = {0, 17};
	const struct regs_list list = {ids, 2};
	struct saved_reg reg;
	struct error err = {0};
	uint32_t count = state->reg_count;
	uint32_t len = state->regs_len;
	size_t at = 0;
	char expected[128];

	/* The second one. */
	cr_assert(saved_reg_next(state, &at, &reg) && saved_reg_next(state, &at, &reg));
	ids[0] = reg.id;
	cr_assert_eq(regs_remove(state, 3, &list, out, &err), 0);
	fclose(out);
	(void)snprintf(expected, sizeof(expected),
		       "Modifying state for vCPU 3\nRegister %#llx: removed\nRegister 0x11: not "
		       "present\n",
		       (unsigned long long)ids[0]);
	cr_expect_str_eq(text, expected, "%s", text);
	cr_expect_eq(state->reg_count, count - 1);
	cr_expect_eq(state->regs_len, len - ARCH_REG_HEAD_LEN - reg.len);
	count = 0;
	for (at = 0; saved_reg_next(state, &at, &reg); count++) {
		cr_expect_neq(reg.id, ids[0]);
	}
	cr_expect_eq(count, state->reg_count);
	free(state);
}

Test(vcpu_state, an_explanation_leaves_nothing_behind_and_says_why_there_is_none)
{
	static const unsigned long requests[] = {KVM_CREATE_VM, KVM_CREATE_VCPU,
						 KVM_ARM_PREFERRED_TARGET, KVM_ARM_VCPU_INIT};
	struct arch_vcpu vcpu = vcpu_at(0);
	struct arch_vcpu_state *state = saved(&vcpu);
	unsigned before = kvm_fake_open_fds();
	char buf[256];
	struct text lacks;

	put_value(state, PC, 0xbad);
	put_value(state, MPIDR, 0x80000003);
	call_count = 0;
	text_init(&lacks, buf, sizeof(buf));
	cr_expect_eq(arch_state_explain(KVM, state, &lacks), 0);
	cr_expect_eq(kvm_fake_open_fds(), before);
	for (size_t i = 0; i < call_count; i++) {
		cr_expect(find(calls[i].id)->is_fixed, "only what shows the host is tried");
	}
	kvm_fake_fail(KVM_GET_ONE_REG, 1, EIO);
	cr_expect_eq(arch_state_explain(KVM, state, &lacks), 1);
	cr_expect_not_null(strstr(buf, "Cannot read register X0: KVM_GET_ONE_REG"), "%s", buf);
	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		kvm_fake_fail(requests[i], 1, EACCES);
		text_init(&lacks, buf, sizeof(buf));
		cr_expect_eq(arch_state_explain(KVM, state, &lacks), 1);
		cr_expect_not_null(strstr(buf, "a vCPU to compare with (KVM_"), "%s", buf);
		cr_expect_eq(kvm_fake_open_fds(), before);
	}
	free(state);
}
