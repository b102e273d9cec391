/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of the sections of a state file that have no more than their fields: each field goes
 * through a file. Those with rules of their own are tested with their device.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/pci/port.h"
#include "devices/platform/vmclock.h"
#include "devices/platform/vmgenid.h"
#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/pci.h"
#include "vmm/base/bytes.h"
#include "vmm/base/codec.h"

/* No field is 0, so that a lost one is seen; no two that are beside each other are the same. */

static const struct virtio_mmio_state mmio = {1, 2, 3, 4};

static const struct virtio_pci_state pci = {
	.device_features_select = 1,
	.driver_features_select = 2,
	.queue_select = 3,
	.isr = 4,
	.config_vector = 5,
	.queue_count = 2,
	.queue_vectors = {6, 7},
	.probed = 8,
	.bytes = {[0] = 9, [PCI_CONFIG_LEN - 1] = 10},
	.msix = {.count = 3,
		 .control = 11,
		 .entries = {{12, 13, 14}, {15, 16, 17}, {18, 19, 20}},
		 .pending = UINT64_C(1) << 63 | 21},
};

static const struct pci_port_state port = {.bytes = {[0] = 1, [PCI_CONFIG_LEN - 1] = 2}};
static const struct vmgenid_state vmgenid = {UINT64_C(1) << 63 | 1};
static const struct vmclock_state vmclock = {UINT64_C(1) << 63 | 1, 2, 3, 4};

static void code_mmio(struct codec *codec, void *state)
{
	virtio_mmio_state_codec(codec, state);
}

static void code_pci(struct codec *codec, void *state)
{
	virtio_pci_state_codec(codec, state);
}

static void code_port(struct codec *codec, void *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('P', 'O', 'R', 'T'), .version = 1, .name = "port"};

	if (codec_section_begin(codec, &section)) {
		pci_port_state_codec(codec, state);
		codec_section_end(codec);
	}
}

static void code_vmgenid(struct codec *codec, void *state)
{
	vmgenid_state_codec(codec, state);
}

static void code_vmclock(struct codec *codec, void *state)
{
	vmclock_state_codec(codec, state);
}

static const struct {
	const char *name;
	const void *state;
	size_t size;
	void (*code)(struct codec *codec, void *state);
} cases[] = {
	{"virtio-mmio", &mmio, sizeof(mmio), code_mmio},
	{"virtio-pci", &pci, sizeof(pci), code_pci},
	{"hot-plug port", &port, sizeof(port), code_port},
	{"generation id", &vmgenid, sizeof(vmgenid), code_vmgenid},
	{"VMClock", &vmclock, sizeof(vmclock), code_vmclock},
};

Test(state_codecs, each_field_goes_through_a_file)
{
	static const struct codec_file head = {.magic = 1, .format = 1, .writer = "t"};
	static uint8_t file[4096], saved[2048], loaded[2048];
	struct error err = {0};
	struct codec codec;
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_assert(cases[i].size <= sizeof(saved), "%s", cases[i].name);
		memcpy(saved, cases[i].state, cases[i].size);
		memset(loaded, 0, sizeof(loaded));
		codec_save(&codec, &head, file, sizeof(file));
		cases[i].code(&codec, saved);
		cr_assert(codec_finish(&codec, &len, &err) == 0, "%s", err.msg);
		codec_load(&codec, &head, file, len);
		cases[i].code(&codec, loaded);
		cr_assert(codec_finish(&codec, NULL, &err) == 0, "%s", err.msg);
		cr_expect_arr_eq(loaded, cases[i].state, cases[i].size, "%s", cases[i].name);
	}
}
