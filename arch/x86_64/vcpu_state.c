/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading one vCPU.
 *
 * Theory of operation. The order of the steps matters: reading the multiprocessor state makes KVM
 * accept INIT and SIPI that wait, which changes registers, so it comes first. Loading begins with
 * CPUID, by which KVM decides which registers there are. The local APIC needs its base address of
 * the system registers. The deadline of its timer is compared with the TSC, so it is set when that
 * is there. Pending events come last, as all other steps may drop them.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "arch/state.h"
#include "cpuid.h"
#include "explain.h"
#include "kvm_x86.h"
#include "msr.h"
#include "template.h"
#include "tsc_state.h"
#include "vmm/base/bytes.h"

/* The shadow stack's pointer among KVM's registers [kvm-api 4.68]; no MSR has it. */
#define REG_GUEST_SSP UINT64_C(0x2030000300000000)

/* --- Saving --- */

static int save_mp_state(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
			 struct error *err)
{
	return kvm_get_mp_state(vcpu->fd, &state->mp_state, err);
}

static int save_regs(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	return kvm_get_regs(vcpu->fd, &state->regs, err);
}

static int save_sregs(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
		      struct error *err)
{
	struct kvm_sregs sregs;

	if (vcpu->vm->can.has_sregs2) {
		return kvm_get_sregs2(vcpu->fd, &state->sregs, err);
	}
	if (kvm_get_sregs(vcpu->fd, &sregs, err) != 0) {
		return -1;
	}
	/* The bitmap of interrupts tells what the events tell too. */
	state->sregs = (struct kvm_sregs2){
		.cs = sregs.cs,
		.ds = sregs.ds,
		.es = sregs.es,
		.fs = sregs.fs,
		.gs = sregs.gs,
		.ss = sregs.ss,
		.tr = sregs.tr,
		.ldt = sregs.ldt,
		.gdt = sregs.gdt,
		.idt = sregs.idt,
		.cr0 = sregs.cr0,
		.cr2 = sregs.cr2,
		.cr3 = sregs.cr3,
		.cr4 = sregs.cr4,
		.cr8 = sregs.cr8,
		.efer = sregs.efer,
		.apic_base = sregs.apic_base,
	};
	return 0;
}

static int save_xsave(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
		      struct error *err)
{
	const struct kvm_abilities *can = &vcpu->vm->can;

	state->xsave_len = can->xsave_len;
	return kvm_get_xsave(vcpu->fd, can, state->xsave, err);
}

static int save_xcrs(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	struct kvm_xcrs xcrs = {0};

	if (kvm_get_xcrs(vcpu->fd, &xcrs, err) != 0) {
		return -1;
	}
	state->xcr_count = (uint32_t)min_u64(xcrs.nr_xcrs, KVM_MAX_XCRS);
	state->xcr_flags = xcrs.flags;
	memcpy(state->xcrs, xcrs.xcrs, sizeof(state->xcrs));
	return 0;
}

static int save_debugregs(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
			  struct error *err)
{
	return kvm_get_debugregs(vcpu->fd, &state->debugregs, err);
}

static int save_lapic(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
		      struct error *err)
{
	return kvm_get_lapic(vcpu->fd, &state->lapic, err);
}

static int save_tsc_khz(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
			struct error *err)
{
	struct error ignored = {0}; /* a host with an unstable TSC does not tell */

	(void)err;
	if (kvm_get_tsc_khz(vcpu->fd, &state->tsc_khz, &ignored) != 0) {
		state->tsc_khz = 0;
	}
	tsc_save_offset(vcpu, state);
	return 0;
}

/*
 * What the vCPU was given, rather than what KVM_GET_CPUID2 tells: that has bits that KVM sets by
 * the guest's registers, and a KVM that interprets adds what it can interpret.
 */
static int save_cpuid(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
		      struct error *err)
{
	const struct arch_vm *vm = vcpu->vm;

	if (template_has_nested(vm->loaded != NULL ? &vm->loaded[vcpu->index] : &vm->cpuid)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Its CPU template lets the guest be a hypervisor itself, whose "
				 "state can't be saved");
	}
	if (vm->loaded != NULL) {
		state->cpuid = vm->loaded[vcpu->index];
	} else {
		state->cpuid = vm->cpuid;
		cpuid_set_vcpu(&state->cpuid, vm->smt, vcpu->index);
	}
	return 0;
}

static struct arch_msr *find_msr(struct arch_vcpu_state *state, uint32_t index)
{
	for (uint32_t i = 0; i < state->msr_count; i++) {
		if (state->msrs[i].index == index) {
			return &state->msrs[i];
		}
	}
	return NULL;
}

static int save_msrs(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	if (msr_read(vcpu->fd, &vcpu->vm->msrs, state->msrs, &state->msr_count, err) != 0) {
		return -1;
	}

	/*
	 * KVM tells 0 once a deadline is over, even if the guest has not seen the interrupt, and
	 * loading 0 disarms the timer for good. A deadline that is now fires it at once.
	 */
	const struct arch_msr *tsc = find_msr(state, MSR_IA32_TSC);
	struct arch_msr *deadline = find_msr(state, MSR_IA32_TSC_DEADLINE);

	if (tsc != NULL && deadline != NULL && deadline->value == 0) {
		deadline->value = tsc->value;
	}
	return 0;
}

/* CPUID 7 ECX: the guest has shadow stacks. */
static bool has_shadow_stacks(const struct cpuid_table *table)
{
	for (uint32_t i = 0; i < table->count; i++) {
		if (table->entry[i].function == 7 && table->entry[i].index == 0) {
			return (table->entry[i].ecx & 1 << 7) != 0;
		}
	}
	return false;
}

static int save_ssp(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	state->has_ssp = has_shadow_stacks(&state->cpuid);
	state->ssp = 0;
	return state->has_ssp ? kvm_get_reg(vcpu->fd, REG_GUEST_SSP, &state->ssp, err) : 0;
}

static int save_events(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
		       struct error *err)
{
	return kvm_get_vcpu_events(vcpu->fd, &state->events, err);
}

int arch_vcpu_save(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	static int (*const steps[])(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state,
				    struct error *err) = {
		save_mp_state, save_regs,    save_sregs, save_xsave, save_xcrs, save_debugregs,
		save_lapic,    save_tsc_khz, save_cpuid, save_msrs,  save_ssp,	save_events,
	};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		if (steps[i](vcpu, state, err) != 0) {
			return -1;
		}
	}
	return 0;
}

/* --- Loading --- */

static int load_cpuid(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		      struct error *err)
{
	struct cpuid_table *table = &vcpu->vm->loaded[vcpu->index];

	if (state->cpuid.count > CPUID_ENTRIES_MAX) {
		return error_set(err, ERR_CORRUPT, "It has %u entries, and at most %d can be",
				 state->cpuid.count, CPUID_ENTRIES_MAX);
	}
	*table = state->cpuid;
	return kvm_set_cpuid2(vcpu->fd, table, err);
}

static int load_tsc_khz(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			struct error *err)
{
	uint32_t host;

	if (state->tsc_khz == 0) {
		return 0;
	}
	if (kvm_get_tsc_khz(vcpu->fd, &host, err) != 0) {
		return -1;
	}
	if (!explain_tsc_differs(state->tsc_khz, host)) {
		return 0;
	}
	if (!vcpu->vm->can.has_tsc_control) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The saved guest's TSC runs at %u kHz, this host's at %u kHz, and "
				 "its KVM can't scale it (KVM_CAP_TSC_CONTROL)",
				 state->tsc_khz, host);
	}
	vcpu->is_scaled = true;
	return kvm_set_tsc_khz(vcpu->fd, state->tsc_khz, err);
}

static int load_mp_state(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			 struct error *err)
{
	return kvm_set_mp_state(vcpu->fd, state->mp_state, err);
}

static int load_regs(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	return kvm_set_regs(vcpu->fd, &state->regs, err);
}

static int load_sregs(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		      struct error *err)
{
	const struct kvm_sregs2 *saved = &state->sregs;

	if (vcpu->vm->can.has_sregs2) {
		return kvm_set_sregs2(vcpu->fd, saved, err);
	}

	/* Without its flags: such a KVM reads the PDPTRs from guest memory. */
	const struct kvm_sregs sregs = {
		.cs = saved->cs,
		.ds = saved->ds,
		.es = saved->es,
		.fs = saved->fs,
		.gs = saved->gs,
		.ss = saved->ss,
		.tr = saved->tr,
		.ldt = saved->ldt,
		.gdt = saved->gdt,
		.idt = saved->idt,
		.cr0 = saved->cr0,
		.cr2 = saved->cr2,
		.cr3 = saved->cr3,
		.cr4 = saved->cr4,
		.cr8 = saved->cr8,
		.efer = saved->efer,
		.apic_base = saved->apic_base,
	};

	return kvm_set_sregs(vcpu->fd, &sregs, err);
}

static int load_xsave(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		      struct error *err)
{
	const uint32_t len = vcpu->vm->can.xsave_len;
	uint8_t area[STATE_XSAVE_MAX] = {0}; /* KVM reads `len` bytes of it */

	if (state->xsave_len < STATE_XSAVE_MIN || state->xsave_len > STATE_XSAVE_MAX) {
		return error_set(err, ERR_CORRUPT, "It has %u bytes, not %d to %d",
				 state->xsave_len, STATE_XSAVE_MIN, STATE_XSAVE_MAX);
	}
	if (state->xsave_len > len || len > STATE_XSAVE_MAX) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "It has %u bytes, and on this host it has %u", state->xsave_len,
				 len);
	}
	memcpy(area, state->xsave, state->xsave_len);
	return kvm_set_xsave(vcpu->fd, area, err);
}

static int load_xcrs(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = state->xcr_count, .flags = state->xcr_flags};

	if (state->xcr_count > KVM_MAX_XCRS) {
		return error_set(err, ERR_CORRUPT, "There are %u, and at most %d can be",
				 state->xcr_count, KVM_MAX_XCRS);
	}
	memcpy(xcrs.xcrs, state->xcrs, sizeof(xcrs.xcrs));
	return kvm_set_xcrs(vcpu->fd, &xcrs, err);
}

static int load_debugregs(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			  struct error *err)
{
	return kvm_set_debugregs(vcpu->fd, &state->debugregs, err);
}

static int load_lapic(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		      struct error *err)
{
	return kvm_set_lapic(vcpu->fd, &state->lapic, err);
}

struct msr_batch {
	struct kvm_msr_entry entry[KVM_MSRS_MAX];
	size_t count;
};

static bool is_known(const struct msr_list *list, uint32_t index)
{
	uint32_t i = 0;

	while (i < list->count && list->index[i] != index) {
		i++;
	}
	return i < list->count;
}

static COLD int refuse_msr(const struct kvm_msr_entry *msr, struct error *err)
{
	char buf[64];
	struct text name;

	text_init(&name, buf, sizeof(buf));
	msr_add_name(&name, msr->index);
	return error_set(err, ERR_NOT_SUPPORTED, "This host's KVM refuses to set %s to 0x%llx", buf,
			 msr->data);
}

/*
 * Sets what is in the batch, which is empty afterwards. A register that was 0 and that this host
 * does not know is left out: the guest can't tell.
 */
static int load_batch(const struct arch_vcpu *vcpu, struct msr_batch *batch, struct error *err)
{
	for (size_t at = 0; at < batch->count; at++) {
		size_t done;

		if (kvm_set_msrs_until(vcpu->fd, batch->entry + at, batch->count - at, &done,
				       err) != 0) {
			return -1;
		}
		at += done;
		if (at < batch->count && (batch->entry[at].data != 0 ||
					  is_known(&vcpu->vm->msrs, batch->entry[at].index))) {
			return refuse_msr(&batch->entry[at], err);
		}
	}
	batch->count = 0;
	return 0;
}

/* Sets the deadline of the timer, or all MSRs but it. */
static int load_msrs_of(const struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			bool is_deadline, struct error *err)
{
	struct msr_batch batch = {.count = 0};
	const uint32_t count = (uint32_t)min_u64(state->msr_count, STATE_MSRS_MAX);

	for (uint32_t i = 0; i < count; i++) {
		const struct arch_msr *msr = &state->msrs[i];

		if ((msr->index == MSR_IA32_TSC_DEADLINE) != is_deadline) {
			continue;
		}
		batch.entry[batch.count] = (struct kvm_msr_entry){
			.index = msr->index,
			.data = msr->value,
		};
		batch.count++;
		if (batch.count == KVM_MSRS_MAX && load_batch(vcpu, &batch, err) != 0) {
			return -1;
		}
	}
	return batch.count > 0 ? load_batch(vcpu, &batch, err) : 0;
}

static int load_msrs(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	if (load_msrs_of(vcpu, state, false, err) != 0) {
		return -1;
	}
	return load_msrs_of(vcpu, state, true, err);
}

static int load_ssp(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	return state->has_ssp ? kvm_set_reg(vcpu->fd, REG_GUEST_SSP, state->ssp, err) : 0;
}

static int load_events(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
		       struct error *err)
{
	return kvm_set_vcpu_events(vcpu->fd, &state->events, err);
}

/* KVM does not refuse features that it lacks: the guest would find out. */
static int check_features(const struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			  struct error *err)
{
	char buf[ERROR_MSG_LEN];
	struct text lacks;

	text_init(&lacks, buf, sizeof(buf));
	if (explain_features(vcpu->vm->kvm, state, &lacks) > 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "This host lacks what the saved guest was given: %s", buf);
	}
	return 0;
}

int arch_vcpu_load(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	static const struct {
		const char *what;
		int (*load)(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			    struct error *err);
	} steps[] = {
		{"CPUID", load_cpuid},
		{"TSC frequency", load_tsc_khz},
		{"multiprocessor state", load_mp_state},
		{"general registers", load_regs},
		{"system registers", load_sregs},
		{"XSAVE area", load_xsave},
		{"XCRs", load_xcrs},
		{"debug registers", load_debugregs},
		{"local APIC", load_lapic},
		{"MSRs", load_msrs},
		{"shadow stack pointer", load_ssp},
		{"pending events", load_events},
	};

	assert(vcpu->vm->loaded != NULL);
	/* The vCPUs of a machine are alike. */
	if (vcpu->index == 0 && check_features(vcpu, state, err) != 0) {
		return -1;
	}
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		if (steps[i].load(vcpu, state, err) != 0) {
			/* KVM checks what it is given, and says no more than this. */
			err->kind = err->sys == EINVAL ? ERR_CORRUPT : err->kind;
			return error_wrap(err, "Can't load the %s of vCPU %u", steps[i].what,
					  vcpu->index);
		}
	}
	return 0;
}
