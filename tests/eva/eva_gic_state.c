/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of up to 2 vCPUs, with a GIC of either version or none: its section with any
 * version, count and values, what a load leaves as it was included; saved and loaded, by a KVM that
 * answers anything.
 *
 * Fewer: arch/aarch64/layout.h ARCH_AARCH64_VCPUS_MAX 2
 * Options: -eva-precision 1 -eva-domains cvalue -eva-auto-loop-unroll 24
 */
#include "tests/eva/kvm_arm.h"

#include "tests/eva/codec.h"

#include "arch/aarch64/its_state.h"

void its_state_codec(struct codec *codec, struct arch_its_state *state, uint32_t vcpu_count)
{
	/*@ assert vcpu_count <= ARCH_AARCH64_VCPUS_MAX; */
	keep((uint64_t)codec->mode + vcpu_count);
	fill(state, sizeof(*state));
}

int its_save(const struct arch_vm *vm, struct arch_its_state *state, struct error *err)
{
	keep(vm->vcpu_count);
	fill(state, sizeof(*state));
	return any_outcome(err);
}

int its_load(const struct arch_vm *vm, const struct arch_its_state *state, struct error *err)
{
	keep(vm->vcpu_count);
	look_at(state, sizeof(*state));
	return any_outcome(err);
}

/* EVA sees the rows of each version alone. */
static uint32_t file_version;

static void count(struct codec *codec, const char *name, uint32_t *count, uint32_t limit)
{
	codec_count(codec, name, count, limit);
	if (codec->mode == CODEC_LOAD && limit != ARCH_AARCH64_VCPUS_MAX) {
		*count = file_version;
	}
}

#define codec_count(codec, name, at, limit) count(codec, name, at, limit)

#include "arch/aarch64/gic_state.c"

static struct arch_vm_state state;
static struct arch_vm vm;

static void load(void)
{
	const struct arch_load how = {0};
	struct error err = {0};

	keep(arch_vm_load(&vm, &state, &how, &err));
}

static void run(enum gic_version version)
{
	struct codec codec = {.mode = CODEC_SAVE};
	struct error err = {0};

	vm.gic.version = version;
	vm.gic.has_its = any_bool();
	vm.vcpu_count = (unsigned)any_between(0, ARCH_AARCH64_VCPUS_MAX);
	fill(vm.mpidr, sizeof(vm.mpidr));
	keep(arch_vm_save(&vm, &state, &err));
	arch_vm_state_codec(&codec, &state);
	codec.mode = CODEC_LOAD;
	/*@ loop unroll GIC_VERSION_MAX + 1; */
	for (file_version = 0; file_version <= GIC_VERSION_MAX; file_version++) {
		state.gic_version = file_version; /* if there is no section, too */
		arch_vm_state_codec(&codec, &state);
		load();
	}
}

void main(void)
{
	run(GIC_NONE);
	run(GIC_V2);
	run(GIC_V3);
}
