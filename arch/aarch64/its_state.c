/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves and loads the ITS.
 *
 * Theory of operation. Message interrupts (LPIs) are in tables in the guest's memory: which device
 * and event is which of them, how each is configured, which are pending. KVM has what it uses of
 * them in structures of its own, and writes those back when it is told to. Registers say where the
 * tables are, some in the ITS, some in each redistributor. A load goes the other way, in the order
 * that the kernel asks for [linux Documentation/virt/kvm/devices/arm-vgic-its.rst]: the
 * redistributors, so that LPIs are on; the ITS's registers but for the control; its tables; the
 * control last.
 */
#include "arch/aarch64/its_state.h"

#include <errno.h>

#include "arch/aarch64/gic.h"
#include "arch/aarch64/kvm_arm.h"
#include "arch/arch.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

enum {
	ITS_CTLR = 0, /* its place in the table: the first saved, the last loaded */
};

/* Of the ITS [gic-v3 12.19]. */
static const struct {
	const char *name;
	uint32_t at;
} its_regs[] = {
	[ITS_CTLR] = {"GITS_CTLR", 0x0}, {"GITS_IIDR", 0x4},	 {"GITS_CBASER", 0x80},
	{"GITS_CREADR", 0x90},		 {"GITS_CWRITER", 0x88}, {"GITS_BASER0", 0x100},
	{"GITS_BASER1", 0x108},		 {"GITS_BASER2", 0x110}, {"GITS_BASER3", 0x118},
	{"GITS_BASER4", 0x120},		 {"GITS_BASER5", 0x128}, {"GITS_BASER6", 0x130},
	{"GITS_BASER7", 0x138},
};

/* Words of each redistributor, in the order of loading: the last one switches LPIs on. */
static const struct {
	const char *name;
	uint32_t at;
} lpi_words[] = {
	{"GICR_PROPBASER", 0x70}, {"GICR_PROPBASER_high", 0x74},
	{"GICR_PENDBASER", 0x78}, {"GICR_PENDBASER_high", 0x7c},
	{"GICR_CTLR", 0x0},
};

_Static_assert(ARRAY_COUNT(its_regs) == ARCH_ITS_REGS && ARRAY_COUNT(lpi_words) == ARCH_LPI_WORDS,
	       "the state has room for the tables");

void its_state_codec(struct codec *codec, struct arch_its_state *state, uint32_t vcpu_count)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('I', 'T', 'S', ' '), .version = 1, .name = "ITS"};

	if (!codec_section_begin(codec, &section)) {
		return;
	}
	for (size_t i = 0; i < ARRAY_COUNT(its_regs); i++) {
		codec_u64(codec, its_regs[i].name, &state->regs[i]);
	}
	for (uint32_t i = 0; i < vcpu_count; i++) {
		codec_begin_item(codec, "vcpu", i);
		for (size_t word = 0; word < ARRAY_COUNT(lpi_words); word++) {
			codec_u32(codec, lpi_words[word].name, &state->lpis[i][word]);
		}
		codec_end(codec);
	}
	codec_section_end(codec);
}

/* What the redistributor of a vCPU is called by KVM. */
static uint64_t lpi_attr(const struct arch_vm *vm, unsigned vcpu, size_t word)
{
	return gic_cpu_attr(vm, vcpu) | lpi_words[word].at;
}

/* KVM's answer is what the guest has made of its tables, or the file of the registers. */
static int tell(struct error *err, enum error_kind kind, const char *what)
{
	err->kind = err->sys == EINVAL || err->sys == EFAULT ? kind : err->kind;
	return error_wrap(err, "%s", what);
}

int its_save(const struct arch_vm *vm, struct arch_its_state *state, struct error *err)
{
	const struct gic *gic = &vm->gic;

	if (kvm_set_device_attr(gic->fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
				KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, NULL, err) < 0 ||
	    kvm_set_device_attr(gic->its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES,
				NULL, err) < 0) {
		return tell(err, ERR_GUEST,
			    "Cannot save the interrupts of PCI devices into the tables that the "
			    "guest has given the ITS");
	}
	for (size_t i = 0; i < ARRAY_COUNT(its_regs); i++) {
		if (kvm_arm_get_device_attr(gic->its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
					    its_regs[i].at, &state->regs[i], err) < 0) {
			return error_wrap(err, "Cannot save %s", its_regs[i].name);
		}
	}
	for (unsigned vcpu = 0; vcpu < vm->vcpu_count; vcpu++) {
		for (size_t i = 0; i < ARRAY_COUNT(lpi_words); i++) {
			if (kvm_arm_get_device_attr(gic->fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
						    lpi_attr(vm, vcpu, i), &state->lpis[vcpu][i],
						    err) < 0) {
				return error_wrap(err, "Cannot save %s of vCPU %u",
						  lpi_words[i].name, vcpu);
			}
		}
	}
	return 0;
}

static int load_lpis(const struct arch_vm *vm, const struct arch_its_state *state,
		     struct error *err)
{
	for (unsigned vcpu = 0; vcpu < vm->vcpu_count; vcpu++) {
		for (size_t i = 0; i < ARRAY_COUNT(lpi_words); i++) {
			if (kvm_set_device_attr(vm->gic.fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
						lpi_attr(vm, vcpu, i), &state->lpis[vcpu][i],
						err) < 0) {
				return tell(err, ERR_CORRUPT, lpi_words[i].name);
			}
		}
	}
	return 0;
}

static int load_reg(const struct arch_vm *vm, const struct arch_its_state *state, size_t reg,
		    struct error *err)
{
	if (kvm_set_device_attr(vm->gic.its_fd, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, its_regs[reg].at,
				&state->regs[reg], err) < 0) {
		return tell(err, ERR_CORRUPT, its_regs[reg].name);
	}
	return 0;
}

static int load(const struct arch_vm *vm, const struct arch_its_state *state, struct error *err)
{
	if (load_lpis(vm, state, err) < 0) {
		return -1;
	}
	for (size_t i = ITS_CTLR + 1; i < ARRAY_COUNT(its_regs); i++) {
		if (load_reg(vm, state, i, err) < 0) {
			return -1;
		}
	}
	if (kvm_set_device_attr(vm->gic.its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
				KVM_DEV_ARM_ITS_RESTORE_TABLES, NULL, err) < 0) {
		return tell(err, ERR_CORRUPT, "its tables in the guest's memory");
	}
	return load_reg(vm, state, ITS_CTLR, err);
}

int its_load(const struct arch_vm *vm, const struct arch_its_state *state, struct error *err)
{
	return load(vm, state, err) < 0 ? error_wrap(err, "Cannot load the ITS") : 0;
}
