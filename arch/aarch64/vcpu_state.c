/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves and loads one vCPU.
 *
 * Theory of operation. KVM lists the registers of a vCPU, and loading goes through what was listed
 * at the save, in that order: KVM promises that it is right (firmware registers, which say what
 * hypercalls there are, and ID registers may be set only before the VM runs, and so they are). All
 * listed registers can be set to what they are; none has to be left out.
 *
 * A register that KVM refuses means one of two things. One that shows what the host is (ID
 * registers, caches, firmware) is of a host that has more, or that has it another way; a reader
 * wants to know all of those, so loading goes on to the end and then names them. Any other one has
 * a value that no vCPU can have. What only names the make of the CPU (MIDR_EL1) is no reason to
 * refuse: the guest's features are in the ID registers. It gets a warning, once.
 *
 * The counters. KVM has one offset for the virtual counter of a VM, and one for the physical, and
 * setting a vCPU's counter sets the VM's (for the virtual one since Linux 4.11). Were all vCPUs'
 * saved values loaded, the last one would win; each was read a little later than the one before.
 * So vCPU 0's are loaded and the others' are left out: the counters are those of one moment. Timers
 * compare with the guest's counter, so they need no correction. The guest was paused before
 * anything was read, hence no counter goes back. It stands still from the save to the load.
 */
#include "arch/aarch64/vcpu_state.h"

#include <errno.h>

#include "arch/aarch64/kvm_arm.h"
#include "arch/aarch64/pvtime.h"
#include "arch/aarch64/regs.h"
#include "arch/state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	LACKS_LEN = 400, /* of a sentence */
	POWER_OFF = 1 << KVM_ARM_VCPU_POWER_OFF,
};

_Static_assert(ARCH_REGS_LEN >= ARCH_REGS_MAX * ARCH_REG_HEAD_LEN, "each register has its head");

const uint64_t arch_state_magic = UINT64_C(0x07101984aaaa0000);

/* --- The registers in the state --- */

bool saved_reg_next(const struct arch_vcpu_state *state, size_t *at, struct saved_reg *reg)
{
	const uint8_t *head = state->regs + *at;

	if (*at + ARCH_REG_HEAD_LEN > state->regs_len) {
		return false;
	}
	*reg = (struct saved_reg){
		.id = load_le64(head),
		.len = load_le32(head + sizeof(uint64_t)),
		.value = head + ARCH_REG_HEAD_LEN,
	};
	*at += ARCH_REG_HEAD_LEN + reg->len;
	return *at <= state->regs_len;
}

uint64_t saved_reg_number(const struct saved_reg *reg)
{
	uint64_t number = 0;

	memcpy(&number, reg->value, min_u64(reg->len, sizeof(number)));
	return number;
}

/* How long the next value may be, so that `left` more registers after it have at least a head. */
static uint32_t room_for_value(const struct arch_vcpu_state *state, uint32_t left)
{
	size_t used = state->regs_len + (size_t)ARCH_REG_HEAD_LEN * (left + 1);

	return (uint32_t)min_u64(ARCH_REGS_LEN - used, ARCH_REG_LEN_MAX);
}

/* --- Saving --- */

static int save_reg(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, uint64_t id,
		    uint32_t left, struct error *err)
{
	size_t len = reg_len(id);
	uint8_t *head = state->regs + state->regs_len;

	if (len > room_for_value(state, left)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Register %s of vCPU %u has %zu bytes, for which the state has no "
				 "room",
				 reg_name(id).text, vcpu->index, len);
	}
	store_le64(head, id);
	store_le32(head + sizeof(id), (uint32_t)len);
	if (kvm_arm_get_reg_bytes(vcpu->fd, id, head + ARCH_REG_HEAD_LEN, err) < 0) {
		return error_wrap(err, "Cannot save register %s of vCPU %u", reg_name(id).text,
				  vcpu->index);
	}
	state->regs_len += (uint32_t)(ARCH_REG_HEAD_LEN + len);
	return 0;
}

static int save_regs(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	/* A struct kvm_reg_list, whose flexible array can't be on the stack. */
	union {
		struct kvm_reg_list list;
		uint64_t room[1 + ARCH_REGS_MAX];
	} regs = {.list.n = ARCH_REGS_MAX};
	const uint64_t *ids = &regs.room[1];

	if (kvm_arm_get_reg_list(vcpu->fd, &regs.list, err) < 0) {
		if (err->sys != E2BIG) {
			return -1;
		}
		return error_wrap(err, "This KVM has %llu registers, and the state has room for %d",
				  (unsigned long long)regs.list.n, ARCH_REGS_MAX);
	}
	state->reg_count = (uint32_t)regs.list.n;
	for (uint32_t i = 0; i < state->reg_count; i++) {
		if (save_reg(vcpu, state, ids[i], state->reg_count - i - 1, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int save_events(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
		       struct error *err)
{
	struct kvm_vcpu_events events;

	if (!vcpu->has_vcpu_events) {
		return 0;
	}
	if (kvm_arm_get_events(vcpu->fd, &events, err) < 0) {
		return -1;
	}
	state->has_events = true;
	state->serror_pending = events.exception.serror_pending != 0;
	state->serror_has_esr = events.exception.serror_has_esr != 0;
	state->ext_dabt_pending = events.exception.ext_dabt_pending != 0;
	state->serror_esr = events.exception.serror_esr;
	return 0;
}

int arch_vcpu_save(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	memset(state, 0, sizeof(*state));
	state->target = vcpu->init.target;
	for (size_t i = 0; i < ARCH_FEATURE_WORDS; i++) {
		state->features[i] = vcpu->init.features[i];
	}
	state->features[0] &= ~(uint32_t)POWER_OFF; /* mp_state tells */
	state->pvtime = vcpu->pvtime;
	if (kvm_arm_get_mp_state(vcpu->fd, &state->mp_state, err) < 0 ||
	    save_regs(vcpu, state, err) < 0 || save_events(vcpu, state, err) < 0) {
		return error_wrap(err, "Cannot save vCPU %u", vcpu->index);
	}
	return 0;
}

/* --- Loading --- */

unsigned saved_features_explain(const struct arch_vcpu_state *state, const uint32_t *features,
				struct text *lacks)
{
	static const char *const names[] = {
		"a power switch",
		"AArch32 at EL1",
		"PSCI 0.2",
		"a PMU",
		"SVE",
		"address authentication",
		"generic authentication",
		"nested virtualization",
		"EL2 without VHE",
	};
	unsigned count = 0;

	for (unsigned i = 0; i < ARCH_FEATURE_WORDS * 32; i++) {
		uint32_t bit = UINT32_C(1) << i % 32;

		if ((state->features[i / 32] & ~features[i / 32] & bit) == 0) {
			continue;
		}
		text_add(lacks, "%s%s (vCPU feature %u, which squib gives to none)",
			 lacks->len > 0 ? ", " : "", i < ARRAY_COUNT(names) ? names[i] : "unknown",
			 i);
		count++;
	}
	return count;
}

/* KVM refused a register with EINVAL. */
static int explain_refusal(int vcpu, const struct saved_reg *reg, struct text *lacks,
			   unsigned *count, struct error *err)
{
	struct error ignored = {0};
	uint64_t host = 0;

	if (reg_is_of_make(reg->id)) {
		return 0;
	}
	if (!reg_is_of_host(reg->id) || reg->len > sizeof(host)) {
		return error_set(err, ERR_CORRUPT, "No vCPU can have %#llx in register %s",
				 (unsigned long long)saved_reg_number(reg), reg_name(reg->id).text);
	}
	if (kvm_arm_get_reg_bytes(vcpu, reg->id, &host, &ignored) < 0) {
		host = 0; /* as if it had nothing of it */
	}
	*count += reg_explain(reg->id, saved_reg_number(reg), host, lacks);
	return 0;
}

static int check_len(const struct saved_reg *reg, struct error *err)
{
	if (reg->len == reg_len(reg->id)) {
		return 0;
	}
	return error_set(err, ERR_CORRUPT, "Register %s has %u bytes in place of %zu",
			 reg_name(reg->id).text, reg->len, reg_len(reg->id));
}

/* KVM refused a register with ENOENT. */
static int explain_absence(const struct saved_reg *reg, struct text *lacks, unsigned *count)
{
	text_add(lacks, "%s%s (this host's KVM does not know it)", lacks->len > 0 ? ", " : "",
		 reg_name(reg->id).text);
	(*count)++;
	return 0;
}

int saved_reg_load(int vcpu, const struct saved_reg *reg, struct text *lacks, unsigned *count,
		   struct error *err)
{
	if (check_len(reg, err) < 0) {
		return -1;
	}
	if (kvm_arm_set_reg_bytes(vcpu, reg->id, reg->value, err) == 0) {
		return 0;
	}
	switch (err->sys) {
	case EINVAL:
		error_clear(err);
		return explain_refusal(vcpu, reg, lacks, count, err);
	case ENOENT:
		error_clear(err);
		return explain_absence(reg, lacks, count);
	default:
		return error_wrap(err, "Cannot load register %s", reg_name(reg->id).text);
	}
}

int saved_reg_find(int vcpu, const struct saved_reg *reg, struct text *lacks, unsigned *count,
		   struct error *err)
{
	uint8_t value[ARCH_REG_LEN_MAX];

	if (check_len(reg, err) < 0) {
		return -1;
	}
	if (kvm_arm_get_reg_bytes(vcpu, reg->id, value, err) == 0) {
		return 0;
	}
	if (err->sys != ENOENT) {
		return error_wrap(err, "Cannot read register %s", reg_name(reg->id).text);
	}
	error_clear(err);
	return explain_absence(reg, lacks, count);
}

/* One warning for all vCPUs: they have the same make. */
static void warn_of_make(const struct arch_vcpu *vcpu, const struct saved_reg *reg)
{
	struct error ignored = {0};
	uint64_t host = 0;

	if (vcpu->index > 0 || !reg_is_of_make(reg->id) || reg->len != sizeof(host) ||
	    kvm_arm_get_reg_bytes(vcpu->fd, reg->id, &host, &ignored) < 0 ||
	    host == saved_reg_number(reg)) {
		return;
	}
	log_warn("The snapshot was taken on another make of CPU: %s was %#llx there, and is %#llx "
		 "here; a guest that has seen it may not bear that",
		 reg_name(reg->id).text, (unsigned long long)saved_reg_number(reg),
		 (unsigned long long)host);
}

static int load_reg(const struct arch_vcpu *vcpu, const struct saved_reg *reg, struct text *lacks,
		    unsigned *count, struct error *err)
{
	if ((vcpu->index > 0 && reg_is_counter(reg->id)) || reg->id == KVM_REG_ARM64_SVE_VLS) {
		return 0;
	}
	if (reg->id == KVM_ARM_MPIDR_EL1 && saved_reg_number(reg) != vcpu->mpidr) {
		return error_set(err, ERR_CORRUPT, "MPIDR_EL1 is %#llx, and must be %#llx",
				 (unsigned long long)saved_reg_number(reg),
				 (unsigned long long)vcpu->mpidr);
	}
	warn_of_make(vcpu, reg);
	return saved_reg_load(vcpu->fd, reg, lacks, count, err);
}

/* The lengths of SVE's vectors, which come before all of its registers [kvm-api 4.119]. */
static int finalize(const struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		    struct text *lacks, unsigned *count, struct error *err)
{
	struct saved_reg reg;
	size_t at = 0;

	if ((vcpu->init.features[0] & UINT32_C(1) << KVM_ARM_VCPU_SVE) == 0) {
		return 0;
	}
	while (saved_reg_next(state, &at, &reg)) {
		if (reg.id == KVM_REG_ARM64_SVE_VLS &&
		    saved_reg_load(vcpu->fd, &reg, lacks, count, err) < 0) {
			return -1;
		}
	}
	return kvm_arm_vcpu_finalize(vcpu->fd, KVM_ARM_VCPU_SVE, err);
}

static int load_regs(const struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		     struct error *err)
{
	char buf[LACKS_LEN];
	struct text lacks;
	struct saved_reg reg;
	size_t at = 0;

	text_init(&lacks, buf, sizeof(buf));
	unsigned count = saved_features_explain(state, vcpu->init.features, &lacks);

	if (state->reg_count == 0) {
		return error_set(err, ERR_CORRUPT, "The state has no registers");
	}
	/* Without a feature KVM would not know its registers either. */
	bool has_features = count == 0;

	if (has_features && finalize(vcpu, state, &lacks, &count, err) < 0) {
		return -1;
	}
	while (has_features && saved_reg_next(state, &at, &reg)) {
		if (load_reg(vcpu, &reg, &lacks, &count, err) < 0) {
			return -1;
		}
	}
	return count == 0 ? 0
			  : error_set(err, ERR_NOT_SUPPORTED,
				      "This host cannot give the guest what it had: %s", buf);
}

/* Makes KVM's EINVAL one of the state. */
static int blame_state(const char *what, uint64_t value, struct error *err)
{
	if (err->sys != EINVAL) {
		return -1;
	}
	error_clear(err);
	return error_set(err, ERR_CORRUPT, "No vCPU can have %s %#llx", what,
			 (unsigned long long)value);
}

static int load_events(const struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		       struct error *err)
{
	struct kvm_vcpu_events events = {0};

	if (!vcpu->has_vcpu_events) {
		return state->serror_pending || state->ext_dabt_pending
			       ? error_set(err, ERR_NOT_SUPPORTED,
					   "A guest's SError is pending, and this host's KVM lacks "
					   "KVM_CAP_VCPU_EVENTS")
			       : 0;
	}
	if (!state->has_events) {
		return 0;
	}
	events.exception.serror_pending = state->serror_pending;
	events.exception.serror_has_esr = state->serror_has_esr;
	events.exception.ext_dabt_pending = state->ext_dabt_pending;
	events.exception.serror_esr = state->serror_esr;
	return kvm_arm_set_events(vcpu->fd, &events, err) == 0
		       ? 0
		       : blame_state("an SError with syndrome", state->serror_esr, err);
}

int arch_vcpu_load(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	if (load_regs(vcpu, state, err) < 0) {
		return error_wrap(err, "Cannot load vCPU %u", vcpu->index);
	}
	if (kvm_arm_set_mp_state(vcpu->fd, state->mp_state, err) < 0) {
		blame_state("MP state", state->mp_state, err);
		return error_wrap(err, "Cannot load vCPU %u", vcpu->index);
	}
	if (load_events(vcpu, state, err) < 0) {
		return error_wrap(err, "Cannot load vCPU %u", vcpu->index);
	}
	pvtime_init(vcpu, state->pvtime);
	return 0;
}

int arch_vcpu_load_clock(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			 const struct arch_vm_state *vm_state, struct error *err)
{
	/* The clock is the counter, and that is one of the registers. */
	(void)vcpu;
	(void)state;
	(void)vm_state;
	(void)err;
	return 0;
}

/* --- The file --- */

static void code_reg(struct codec *codec, struct arch_vcpu_state *state, size_t *at, uint32_t left)
{
	uint8_t *head = state->regs + *at;
	uint64_t id = load_le64(head);
	uint32_t len = load_le32(head + sizeof(id));
	uint32_t room = ARCH_REG_LEN_MAX;

	if (codec->mode == CODEC_LOAD) {
		room = room_for_value(state, left);
		len = 0;
	}
	codec_u64(codec, "id", &id);
	codec_count(codec, "len", &len, room);
	store_le64(head, id);
	store_le32(head + sizeof(id), len);
	codec_bytes(codec, "value", head + ARCH_REG_HEAD_LEN, len);
	*at += ARCH_REG_HEAD_LEN + len;
	if (codec->mode == CODEC_LOAD) {
		state->regs_len = (uint32_t)*at;
	}
}

static void code_events(struct codec *codec, struct arch_vcpu_state *state)
{
	codec_begin(codec, "events");
	codec_bool(codec, "is_known", &state->has_events);
	codec_bool(codec, "serror_pending", &state->serror_pending);
	codec_bool(codec, "serror_has_esr", &state->serror_has_esr);
	codec_bool(codec, "ext_dabt_pending", &state->ext_dabt_pending);
	codec_u64(codec, "serror_esr", &state->serror_esr);
	codec_end(codec);
}

void arch_vcpu_state_codec(struct codec *codec, struct arch_vcpu_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('V', 'C', 'P', 'U'), .version = 2, .name = "VCPU"};
	size_t at = 0;

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u32(codec, "target", &state->target);
	for (uint32_t i = 0; i < ARCH_FEATURE_WORDS; i++) {
		codec_begin_item(codec, "features", i);
		codec_u32(codec, "bits", &state->features[i]);
		codec_end(codec);
	}
	codec_u32(codec, "mp_state", &state->mp_state);
	code_events(codec, state);
	if (codec->mode == CODEC_LOAD) {
		state->reg_count = 0;
		state->regs_len = 0;
	}
	codec_count(codec, "reg_count", &state->reg_count, ARCH_REGS_MAX);
	for (uint32_t i = 0; i < state->reg_count; i++) {
		codec_begin_item(codec, "regs", i);
		code_reg(codec, state, &at, state->reg_count - i - 1);
		codec_end(codec);
	}
	codec_u64(codec, "pvtime", &state->pvtime); /* since version 2 */
	codec_section_end(codec);
}
