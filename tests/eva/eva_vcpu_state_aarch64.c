/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU of up to 2 registers of up to 3 bytes, and 4 bytes for all of their values: saved from a
 * KVM that lists anything, loaded from any section, and given to a KVM that answers anything.
 *
 * Fewer: arch/aarch64/arch_state.h ARCH_REGS_MAX 2
 * Fewer: arch/aarch64/arch_state.h ARCH_REG_LEN_MAX 3
 * Fewer: arch/aarch64/arch_state.h ARCH_REGS_LEN 2 * ARCH_REG_HEAD_LEN + 4
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full -eva-auto-loop-unroll 10
 * Options: -eva-slevel 40 -eva-slevel-function arch_vcpu_state_codec:300,code_reg:300,save_regs:300
 * Options: -eva-slevel-function save_reg:300,room_for_value:20,reg_len:20,count_apart:20
 * Options: -eva-slevel-function arch_vcpu_save:300,save:300
 */
#include "tests/eva/kvm_arm.h"

#include "tests/eva/codec.h"
#include "tests/eva/log.h"
#include "tests/eva/text.h"

static void count_apart(struct codec *codec, uint32_t *count, uint32_t limit)
{
	/*@ assert *count <= limit; */
	if (codec->mode == CODEC_LOAD) {
		/*@ assert limit <= 3; */
		*count = (uint32_t)Frama_C_interval_split(0, (int)limit);
	}
}

#define codec_count(codec, name, count, limit) count_apart(codec, count, limit)

#include "arch/aarch64/regs.h"

size_t reg_len(uint64_t id)
{
	keep(id);
	return (size_t)Frama_C_interval_split(1, 4); /* one more than there is room for */
}

struct reg_name reg_name(uint64_t id)
{
	struct reg_name name = {"name"};

	keep(id);
	return name;
}

bool reg_is_of_host(uint64_t id)
{
	keep(id);
	return any_bool();
}

bool reg_is_of_make(uint64_t id)
{
	keep(id);
	return any_bool();
}

bool reg_is_counter(uint64_t id)
{
	keep(id);
	return any_bool();
}

unsigned reg_explain(uint64_t id, uint64_t saved, uint64_t host, struct text *text)
{
	keep(id + saved + host);
	text_add(text, "");
	return 1;
}

#include "arch/aarch64/pvtime.h"

void pvtime_init(struct arch_vcpu *vcpu, uint64_t place)
{
	keep(place);
	vcpu->pvtime = place;
}

/* How many bytes of a value KVM takes or gives is by its id, which check_len has looked at. */
int kvm_arm_set_reg_bytes(int vcpu, uint64_t id, const void *value, struct error *err)
{
	keep((uint64_t)vcpu + id);
	look_at(value, 1);
	return any_outcome(err);
}

int kvm_arm_get_reg_bytes(int vcpu, uint64_t id, void *value, struct error *err)
{
	keep((uint64_t)vcpu + id);
	fill(value, 1);
	return any_outcome(err);
}

int kvm_arm_get_reg_list(int vcpu, struct kvm_reg_list *list, struct error *err)
{
	keep((uint64_t)vcpu);
	/*@ assert list->n <= ARCH_REGS_MAX; */
	fill((uint64_t *)list + 1, list->n * sizeof(uint64_t));
	list->n = (uint64_t)Frama_C_interval_split(0, ARCH_REGS_MAX);
	return any_outcome(err);
}

int kvm_arm_get_mp_state(int vcpu, uint32_t *mp_state, struct error *err)
{
	keep((uint64_t)vcpu);
	*mp_state = any_u32();
	return any_outcome(err);
}

int kvm_arm_set_mp_state(int vcpu, uint32_t mp_state, struct error *err)
{
	keep((uint64_t)vcpu + mp_state);
	return any_outcome(err);
}

int kvm_arm_get_events(int vcpu, struct kvm_vcpu_events *events, struct error *err)
{
	keep((uint64_t)vcpu);
	fill(events, sizeof(*events));
	return any_outcome(err);
}

int kvm_arm_set_events(int vcpu, const struct kvm_vcpu_events *events, struct error *err)
{
	keep((uint64_t)vcpu);
	look_at(events, sizeof(*events));
	return any_outcome(err);
}

int kvm_arm_vcpu_finalize(int vcpu, int feature, struct error *err)
{
	keep((uint64_t)vcpu + (uint64_t)feature);
	return any_outcome(err);
}

#include "arch/aarch64/vcpu_state.c"

static struct arch_vcpu vcpu;
static struct arch_vcpu_state state;

static void make_vcpu(void)
{
	fill(&vcpu, sizeof(vcpu));
	vcpu.has_vcpu_events = any_bool();
	vcpu.has_counter_offset = any_bool();
	vcpu.has_steal_time = any_bool();
}

static void make_state(void)
{
	fill(&state, sizeof(state));
	state.has_events = any_bool();
	state.serror_pending = any_bool();
	state.serror_has_esr = any_bool();
	state.ext_dabt_pending = any_bool();
}

static void code(enum codec_mode mode)
{
	struct codec codec = {.mode = mode};

	make_state();
	state.reg_count = 0;
	state.regs_len = 0;
	arch_vcpu_state_codec(&codec, &state);
	/*@ assert state.reg_count <= ARCH_REGS_MAX && state.regs_len <= ARCH_REGS_LEN; */
}

static void save(void)
{
	struct codec codec = {.mode = CODEC_SAVE};
	struct error err = {0};

	make_vcpu();
	make_state();
	state.regs_len = 0;
	if (arch_vcpu_save(&vcpu, &state, &err) == 0) {
		/*@ assert state.reg_count <= ARCH_REGS_MAX && state.regs_len <= ARCH_REGS_LEN; */
		arch_vcpu_state_codec(&codec, &state);
	}
}

/* As the codec leaves it: `count` registers of any ids, with values of some lengths. */
static void load(uint32_t count, uint32_t first, uint32_t second)
{
	const uint32_t lens[] = {first, second};
	const struct arch_vm_state *vm = NULL;
	char buf[8];
	struct text lacks;
	struct saved_reg reg;
	struct error err = {0};
	unsigned lack_count = 0;

	make_vcpu();
	make_state();
	state.reg_count = count;
	state.regs_len = 0;
	for (uint32_t i = 0; i < count; i++) {
		store_le32(state.regs + state.regs_len + sizeof(uint64_t), lens[i]);
		state.regs_len += ARCH_REG_HEAD_LEN + lens[i];
	}
	keep(arch_vcpu_load(&vcpu, &state, &err));
	keep(arch_vcpu_load_clock(&vcpu, &state, vm, &err));
	text_init(&lacks, buf, sizeof(buf));
	for (size_t at = 0; saved_reg_next(&state, &at, &reg);) {
		keep(saved_reg_find(3, &reg, &lacks, &lack_count, &err));
	}
}

void main(void)
{
	code(CODEC_LOAD);
	save();
	load(0, 0, 0);
	load(1, 0, 0);
	load(1, ARCH_REG_LEN_MAX, 0);
	load(2, 1, ARCH_REG_LEN_MAX); /* to the end of the room */
	load(2, ARCH_REG_LEN_MAX, 0);
}
