/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves a machine and loads one.
 *
 * Theory of operation. The machine is paused: nothing of it runs, and its devices are quiet, so
 * that the order of the parts matters at a load only. There vCPUs come first, since interrupt
 * controllers have parts of each; then interrupt controllers, since devices raise interrupts; then
 * devices. Generation id and VMClock are made anew in the loaded memory and interrupt the guest, so
 * that all is done before its first instruction.
 */
#include "vmm/machine/machine_state.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/machine/machine.h"

/* --- Fields --- */

static const struct codec_section config_section = {
	.tag = CODEC_TAG('C', 'O', 'N', 'F'), .version = 1, .name = "configuration"};
static const struct codec_section memory_section = {
	.tag = CODEC_TAG('M', 'E', 'M', ' '), .version = 2, .name = "memory"};
static const struct codec_section vcpus_section = {
	.tag = CODEC_TAG('C', 'P', 'U', 'S'), .version = 1, .name = "vcpus"};
static const struct codec_section devices_section = {
	.tag = CODEC_TAG('D', 'E', 'V', 'S'), .version = 3, .name = "devices"};
static const struct codec_section slot_section = {
	.tag = CODEC_TAG('S', 'L', 'O', 'T'), .version = 2, .name = "slot"};
static const struct codec_section console_section = {
	.tag = CODEC_TAG('C', 'O', 'N', 'S'), .version = 1, .is_optional = true, .name = "console"};

/* Absent where there are none: what knows no ports reads such a machine as well. */
static const struct codec_section ports_section = {
	.tag = CODEC_TAG('P', 'O', 'R', 'T'), .version = 1, .is_optional = true, .name = "ports"};

/* The same for memory that is plugged in. */
static const struct codec_section plugged_section = {.tag = CODEC_TAG('P', 'L', 'U', 'G'),
						     .version = 1,
						     .is_optional = true,
						     .name = "plugged memory"};

/* Allocates `count` zeroed items for what is loaded; saving and dumping have theirs. */
static bool make_room(struct codec *codec, void **items, uint32_t count, size_t size)
{
	if (codec->mode == CODEC_LOAD && codec->err.kind == ERR_NONE && count > 0) {
		*items = calloc(count, size);
		if (*items == NULL) {
			return error_sys(&codec->err, "Cannot allocate the state") == 0;
		}
	}
	return codec->err.kind == ERR_NONE;
}

static void code_config(struct codec *codec, struct machine_state *state)
{
	if (!codec_section_begin(codec, &config_section)) {
		return;
	}
	codec_count(codec, "len", &state->config_len, MACHINE_CONFIG_MAX);
	if (make_room(codec, (void **)&state->config, state->config_len, 1)) {
		codec_blob_text(codec, "text", state->config, state->config_len);
	}
	codec_section_end(codec);
}

static void code_memory(struct codec *codec, struct machine_state *state)
{
	if (!codec_section_begin(codec, &memory_section)) {
		return;
	}
	codec_count(codec, "regions", &state->region_count, GMEM_REGIONS_MAX);
	for (uint32_t i = 0; i < state->region_count; i++) {
		codec_begin_item(codec, "region", i);
		codec_u64(codec, "base", &state->regions[i].base.v);
		codec_u64(codec, "len", &state->regions[i].len);
		codec_end(codec);
	}
	codec_u64(codec, "base_page", &state->base_page); /* since version 2 */
	codec_section_end(codec);
}

static void code_vcpus(struct codec *codec, struct machine_state *state)
{
	if (!codec_section_begin(codec, &vcpus_section)) {
		return;
	}
	codec_count(codec, "count", &state->vcpu_count, ARCH_VCPUS_MAX);
	codec_section_end(codec);
	if (!make_room(codec, (void **)&state->vcpus, state->vcpu_count, sizeof(*state->vcpus)) ||
	    !make_room(codec, (void **)&state->vm, 1, sizeof(*state->vm))) {
		return;
	}
	for (uint32_t i = 0; i < state->vcpu_count; i++) {
		arch_vcpu_state_codec(codec, &state->vcpus[i]);
	}
	arch_vm_state_codec(codec, state->vm);
}

static void code_slot(struct codec *codec, struct slot_state *slot, virtio_class_fn find)
{
	if (!codec_section_begin(codec, &slot_section)) {
		return;
	}
	codec_u64(codec, "base", &slot->base);
	codec_u32(codec, "gsi", &slot->gsi);
	codec_bool(codec, "is_pci", &slot->is_pci); /* since version 2 */
	codec_section_end(codec);
	if (slot->is_pci) {
		virtio_pci_state_codec(codec, &slot->pci);
	} else {
		virtio_mmio_state_codec(codec, &slot->mmio);
	}
	virtio_state_codec(codec, &slot->virtio, find);
}

static void code_devices(struct codec *codec, struct machine_state *state, virtio_class_fn find)
{
	if (!codec_section_begin(codec, &devices_section)) {
		return;
	}
	codec_bool(codec, "has_serial", &state->has_serial);
	codec_bool(codec, "has_i8042", &state->has_i8042);
	codec_bool(codec, "has_rtc", &state->has_rtc);
	codec_count(codec, "virtio", &state->slot_count, ARCH_PLATFORM_DEVS_MAX);
	codec_bool(codec, "has_vmgenid", &state->has_vmgenid); /* since version 2 */
	codec_bool(codec, "has_vmclock", &state->has_vmclock);
	codec_bool(codec, "has_pci", &state->has_pci); /* since version 3 */
	codec_section_end(codec);
	if (!make_room(codec, (void **)&state->slots, state->slot_count, sizeof(*state->slots))) {
		return;
	}
	if (state->has_serial) {
		serial_state_codec(codec, &state->serial);
	}
	if (state->has_i8042) {
		i8042_state_codec(codec, &state->i8042);
	}
	if (state->has_rtc) {
		rtc_pl031_state_codec(codec, &state->rtc);
	}
	if (state->has_vmgenid) {
		vmgenid_state_codec(codec, &state->vmgenid);
	}
	if (state->has_vmclock) {
		vmclock_state_codec(codec, &state->vmclock);
	}
	for (uint32_t i = 0; i < state->slot_count; i++) {
		code_slot(codec, &state->slots[i], find);
	}
}

static void code_console(struct codec *codec, struct machine_state *state)
{
	if (!codec_section_begin(codec, &console_section)) {
		return;
	}
	token_bucket_state_codec(codec, "rate", &state->console);
	codec_section_end(codec);
}

static void code_ports(struct codec *codec, struct machine_state *state)
{
	if ((codec->mode != CODEC_LOAD && state->port_count == 0) ||
	    !codec_section_begin(codec, &ports_section)) {
		return;
	}
	codec_count(codec, "count", &state->port_count, PCI_PORTS_MAX);
	for (uint32_t i = 0; i < state->port_count; i++) {
		codec_begin_item(codec, "port", i);
		pci_port_state_codec(codec, &state->ports[i]);
		codec_end(codec);
	}
	codec_section_end(codec);
}

static void code_plugged(struct codec *codec, struct machine_state *state)
{
	if ((codec->mode != CODEC_LOAD && state->plug_words == 0) ||
	    !codec_section_begin(codec, &plugged_section)) {
		return;
	}
	codec_count(codec, "words", &state->plug_words, MACHINE_PLUG_WORDS_MAX);
	if (make_room(codec, (void **)&state->plugged, state->plug_words,
		      sizeof(*state->plugged))) {
		for (uint32_t i = 0; i < state->plug_words; i++) {
			codec_begin_item(codec, "word", i);
			codec_u64(codec, "blocks", &state->plugged[i]);
			codec_end(codec);
		}
	}
	codec_section_end(codec);
}

void machine_state_codec(struct codec *codec, struct machine_state *state, virtio_class_fn find)
{
	code_config(codec, state);
	code_memory(codec, state);
	code_vcpus(codec, state);
	code_devices(codec, state, find);
	code_console(codec, state);
	code_ports(codec, state);
	code_plugged(codec, state);
}

void machine_state_destroy(struct machine_state *state)
{
	for (uint32_t i = 0; state->slots != NULL && i < state->slot_count; i++) {
		virtio_state_destroy(&state->slots[i].virtio);
	}
	free(state->config);
	free(state->vm);
	free(state->vcpus);
	free(state->slots);
	free(state->plugged);
	*state = (struct machine_state){0};
}

/* --- Saving --- */

static int save_vcpus(const struct vm *vm, struct machine_state *state, struct error *err)
{
	state->vcpus = calloc(vm->machine.vcpu_count, sizeof(*state->vcpus));
	state->vm = calloc(1, sizeof(*state->vm));
	if (state->vcpus == NULL || state->vm == NULL) {
		return error_sys(err, "Cannot allocate the state of the vCPUs");
	}
	state->vcpu_count = vm->machine.vcpu_count;
	for (unsigned i = 0; i < state->vcpu_count; i++) {
		if (arch_vcpu_save(&vm->vcpus[i].arch, &state->vcpus[i], err) < 0) {
			return error_wrap(err, "Cannot save vCPU %u", i);
		}
	}
	return arch_vm_save(&vm->arch, state->vm, err);
}

static int save_slots(const struct devmgr *devmgr, struct machine_state *state, struct error *err)
{
	state->slots = calloc(ARRAY_COUNT(devmgr->slots), sizeof(*state->slots));
	if (state->slots == NULL) {
		return error_sys(err, "Cannot allocate the state of the devices");
	}
	uint64_t deadline_ms = clock_now_ms() + VIRTIO_REMOTE_WAIT_MS;

	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		struct virtio_slot *slot = devmgr->slots[i];
		struct slot_state *saved = &state->slots[state->slot_count];
		struct virtio_remote_state remote = {0};

		if (slot == NULL) {
			continue;
		}
		if (virtio_save_remote(slot->dev, &remote, deadline_ms, err) < 0) {
			free(remote.bytes);
			return -1;
		}
		saved->base = slot->place.base;
		saved->gsi = (uint32_t)slot->place.gsi;
		saved->is_pci = devmgr->has_pci;
		if (saved->is_pci) {
			virtio_pci_save(&slot->pci, &saved->pci);
		} else {
			virtio_mmio_save(&slot->mmio, &saved->mmio);
		}
		virtio_save(slot->dev, &saved->virtio);
		saved->virtio.remote = remote;
		state->slot_count++;
	}
	return 0;
}

static void save_ports(const struct devmgr *devmgr, struct machine_state *state)
{
	state->port_count = devmgr->port_count;
	for (unsigned i = 0; i < devmgr->port_count; i++) {
		hotplug_port_save(&devmgr->ports[i], &state->ports[i]);
	}
}

static void save_fixed(const struct devmgr *devmgr, struct machine_state *state)
{
	state->has_pci = devmgr->has_pci;
	state->has_serial = devmgr->serial != NULL;
	if (state->has_serial) {
		serial_save(devmgr->serial, &state->serial);
	}
	state->has_i8042 = devmgr->i8042 != NULL;
	if (state->has_i8042) {
		i8042_save(devmgr->i8042, &state->i8042);
	}
	state->has_rtc = devmgr->rtc != NULL;
	if (state->has_rtc) {
		rtc_pl031_save(devmgr->rtc, &state->rtc);
	}
	state->has_vmgenid = devmgr->vmgenid != NULL;
	if (state->has_vmgenid) {
		vmgenid_save(devmgr->vmgenid, &state->vmgenid);
	}
	state->has_vmclock = devmgr->vmclock != NULL;
	if (state->has_vmclock) {
		vmclock_save(devmgr->vmclock, &state->vmclock);
	}
}

static int save_plugged(const struct gmem *mem, struct machine_state *state, struct error *err)
{
	const _Atomic uint64_t *bits = gmem_plug_bits(mem, &state->plug_words);

	if (state->plug_words == 0) {
		return 0;
	}
	state->plugged = calloc(state->plug_words, sizeof(*state->plugged));
	if (state->plugged == NULL) {
		return error_sys(err, "Cannot allocate the state of memory that is plugged in");
	}
	for (uint32_t i = 0; i < state->plug_words; i++) {
		state->plugged[i] = atomic_load_explicit(&bits[i], memory_order_relaxed);
	}
	return 0;
}

int machine_save(const struct machine *machine, const char *config, struct machine_state *state,
		 struct error *err)
{
	state->config = strdup(config);
	if (state->config == NULL) {
		return error_sys(err, "Cannot keep the configuration");
	}
	state->config_len = (uint32_t)strlen(config);
	state->region_count = (uint32_t)gmem_region_count(machine->mem);
	for (uint32_t i = 0; i < state->region_count; i++) {
		struct gmem_slot slot = gmem_slot(machine->mem, i);

		state->regions[i] = (struct gmem_range){slot.base, slot.len};
	}
	save_fixed(&machine->devmgr, state);
	save_ports(&machine->devmgr, state);
	console_save(&machine->console, &state->console);
	if (save_plugged(machine->mem, state, err) < 0 ||
	    save_slots(&machine->devmgr, state, err) < 0) {
		return -1;
	}
	return save_vcpus(&machine->vm, state, err);
}

/* --- Loading --- */

static int check_memory(const struct gmem *mem, const struct machine_state *state,
			struct error *err)
{
	bool fits = state->region_count == gmem_region_count(mem);

	for (uint32_t i = 0; fits && i < state->region_count; i++) {
		struct gmem_slot slot = gmem_slot(mem, i);

		fits = state->regions[i].base.v == slot.base.v && state->regions[i].len == slot.len;
	}
	return fits ? 0
		    : error_set(err, ERR_CORRUPT,
				"Section memory: its regions are not those that a machine of the "
				"saved configuration has");
}

int machine_state_plug(const struct machine_state *state, struct gmem *mem, struct error *err)
{
	uint32_t words;

	(void)gmem_plug_bits(mem, &words);
	return words == state->plug_words
		       ? gmem_plug_load(mem, state->plugged, err)
		       : error_set(err, ERR_CORRUPT,
				   "Section plugged memory: it is not that of the saved "
				   "configuration");
}

static int load_vcpus(struct vm *vm, const struct machine_state *state,
		      const struct arch_load *load, struct error *err)
{
	if (state->vcpu_count != vm->machine.vcpu_count) {
		return error_set(err, ERR_CORRUPT,
				 "Section vcpus: there are %u, and %u in the saved configuration",
				 state->vcpu_count, vm->machine.vcpu_count);
	}
	for (unsigned i = 0; i < state->vcpu_count; i++) {
		if (arch_vcpu_load(&vm->vcpus[i].arch, &state->vcpus[i], err) < 0) {
			return error_wrap(err, "Cannot load vCPU %u", i);
		}
	}
	if (arch_vm_load(&vm->arch, state->vm, load, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < state->vcpu_count; i++) {
		if (arch_vcpu_load_clock(&vm->vcpus[i].arch, &state->vcpus[i], state->vm, err) <
		    0) {
			return error_wrap(err, "Cannot load vCPU %u", i);
		}
	}
	return 0;
}

static int load_slot(struct virtio_slot *slot, const struct slot_state *saved, struct error *err)
{
	bool is_pci = slot->place.kind == PLATFORM_VIRTIO_PCI;

	if (saved->is_pci != is_pci || saved->base != slot->place.base ||
	    saved->gsi != (uint32_t)slot->place.gsi) {
		return error_set(err, ERR_CORRUPT,
				 "The device %s was at %#llx with interrupt %u, and is at %#llx "
				 "with interrupt %d now",
				 slot->dev->id, (unsigned long long)saved->base, saved->gsi,
				 (unsigned long long)slot->place.base, slot->place.gsi);
	}
	/* The transport first: the device may interrupt. */
	int result = is_pci ? virtio_pci_load(&slot->pci, &saved->pci, err)
			    : virtio_mmio_load(&slot->mmio, &saved->mmio, err);

	return result < 0 ? -1 : virtio_load(slot->dev, &saved->virtio, err);
}

static int load_slots(const struct devmgr *devmgr, const struct machine_state *state,
		      struct error *err)
{
	uint32_t next = 0;

	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		struct virtio_slot *slot = devmgr->slots[i];

		if (slot == NULL) {
			continue;
		}
		if (next == state->slot_count) {
			return error_set(err, ERR_CORRUPT,
					 "Section devices: there is no state of %s", slot->dev->id);
		}
		if (load_slot(slot, &state->slots[next], err) < 0) {
			return error_wrap(err, "Cannot load the %s device %s",
					  slot->dev->class->name, slot->dev->id);
		}
		next++;
	}
	return next == state->slot_count
		       ? 0
		       : error_set(err, ERR_CORRUPT,
				   "Section devices: there are %u, and %u in the saved "
				   "configuration",
				   state->slot_count, next);
}

/* Behind the devices, whose links they are. */
static int load_ports(struct devmgr *devmgr, const struct machine_state *state, struct error *err)
{
	if (state->port_count != devmgr->port_count) {
		return error_set(err, ERR_CORRUPT,
				 "Section ports: there are %u, and %u in the saved configuration",
				 state->port_count, devmgr->port_count);
	}
	for (unsigned i = 0; i < devmgr->port_count; i++) {
		struct hotplug_port *port = &devmgr->ports[i];

		if (port->device != NULL) {
			hotplug_port_announce(port, true);
		}
		hotplug_port_load(port, &state->ports[i]);
	}
	return 0;
}

static int load_fixed(const struct devmgr *devmgr, const struct machine_state *state,
		      struct error *err)
{
	if (state->has_serial != (devmgr->serial != NULL) ||
	    state->has_i8042 != (devmgr->i8042 != NULL) ||
	    state->has_rtc != (devmgr->rtc != NULL)) {
		return error_set(err, ERR_CORRUPT,
				 "Section devices: the fixed devices are not those that a machine "
				 "of the saved configuration has");
	}
	if (state->has_serial && serial_load(devmgr->serial, &state->serial, err) < 0) {
		return error_wrap(err, "Cannot load the serial port");
	}
	if (state->has_i8042 && i8042_load(devmgr->i8042, &state->i8042, err) < 0) {
		return error_wrap(err, "Cannot load the i8042 controller");
	}
	if (state->has_rtc && rtc_pl031_load(devmgr->rtc, &state->rtc, err) < 0) {
		return error_wrap(err, "Cannot load the PL031 clock");
	}
	return 0;
}

/*
 * Tells the guest that it is another machine now. One that was saved when squib had neither was
 * told of neither, and is not told now.
 */
static int load_identity(const struct devmgr *devmgr, const struct machine_state *state,
			 struct error *err)
{
	if ((state->has_vmgenid && devmgr->vmgenid == NULL) ||
	    (state->has_vmclock && devmgr->vmclock == NULL)) {
		return error_set(err, ERR_CORRUPT,
				 "Section devices: it has a generation id, and the machine none");
	}
	if (state->has_vmgenid && vmgenid_load(devmgr->vmgenid, &state->vmgenid, err) < 0) {
		return error_wrap(err, "Cannot load the VM generation id");
	}
	if (state->has_vmclock && vmclock_load(devmgr->vmclock, &state->vmclock, err) < 0) {
		return error_wrap(err, "Cannot load the VMClock");
	}
	return 0;
}

int machine_load(struct machine *machine, const struct machine_state *state,
		 const struct arch_load *load, struct error *err)
{
	if (check_memory(machine->mem, state, err) < 0 ||
	    load_vcpus(&machine->vm, state, load, err) < 0 ||
	    load_fixed(&machine->devmgr, state, err) < 0 ||
	    load_identity(&machine->devmgr, state, err) < 0) {
		return -1;
	}
	console_load(&machine->console, &state->console);
	return load_slots(&machine->devmgr, state, err) < 0
		       ? -1
		       : load_ports(&machine->devmgr, state, err);
}
