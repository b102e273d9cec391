/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parked machine as plain data: all that it is beside its memory. Taken from one machine, written
 * to a file or kept, and loaded into another.
 */
#ifndef VMM_MACHINE_STATE_H
#define VMM_MACHINE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/state.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/pci/host.h"
#include "devices/pci/port.h"
#include "devices/platform/vmclock.h"
#include "devices/platform/vmgenid.h"
#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/pci.h"
#include "devices/virtio/core/virtio_state.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"
#include "vmm/base/ratelimit.h"

struct machine;

enum {
	MACHINE_CONFIG_MAX = 1 << 20,  /* bytes of the configuration's text */
	MACHINE_PLUG_WORDS_MAX = 4096, /* blocks of 2 MiB in 512 GiB */
};

/* A virtio device in its place. */
struct slot_state {
	uint64_t base; /* where the guest found it */
	uint32_t gsi;  /* of MMIO; PCI functions have none of their own: UINT32_MAX */
	bool is_pci;
	struct virtio_mmio_state mmio; /* the one or the other */
	struct virtio_pci_state pci;
	struct virtio_state virtio;
};

struct machine_state {
	uint32_t format; /* of the file that it was read from */
	/* The configuration as GET /vm/config shows it: JSON text, without a NUL. */
	char *config;
	uint32_t config_len;
	/* The guest's memory, in the order of the memory file. */
	uint32_t region_count;
	struct gmem_range regions[GMEM_REGIONS_MAX];
	/*
	 * Of a Diff: where in the memory file there is a page that is not zero and that the Diff
	 * has not written, so that its base must have it; 0: none is known.
	 */
	uint64_t base_page;
	struct arch_vm_state *vm;
	uint32_t vcpu_count;
	struct arch_vcpu_state *vcpus;
	/* The fixed devices that the machine has. */
	bool has_serial;
	struct serial_state serial;
	bool has_i8042;
	struct i8042_state i8042;
	bool has_rtc;
	struct rtc_pl031_state rtc;
	bool has_vmgenid;
	struct vmgenid_state vmgenid;
	bool has_vmclock;
	struct vmclock_state vmclock;
	bool has_pci; /* and all virtio devices are on it */
	uint32_t slot_count;
	struct slot_state *slots;
	uint32_t port_count; /* for hot-plug */
	struct pci_port_state ports[PCI_PORTS_MAX];
	struct token_bucket_state console; /* its rate limit; zero: none, or an older file */
	/* Which blocks of the last region are plugged, a bit each; 0: no such region */
	uint32_t plug_words;
	uint64_t *plugged;
};

/* Names all fields, section by section. Loading fills a zeroed state, whose memory it allocates. */
void machine_state_codec(struct codec *codec, struct machine_state *state, virtio_class_fn find);
void machine_state_destroy(struct machine_state *state); /* a zeroed one is fine */

/*
 * Fills a zeroed *state from a paused machine, which stays as it is. config is copied. After a
 * failure too, machine_state_destroy is to be called. VMM thread.
 */
MUST_CHECK int machine_save(const struct machine *machine, const char *config,
			    struct machine_state *state, struct error *err);

/*
 * Plugs the blocks that were, into a region that was just added; ERR_CORRUPT: there are more or
 * fewer. machine_load comes later.
 */
MUST_CHECK int machine_state_plug(const struct machine_state *state, struct gmem *mem,
				  struct error *err);

/*
 * Loads *state into a machine that was just made for it, with vCPUs that never ran. Nothing of it
 * is trusted: ERR_CORRUPT says what does not fit the machine. After a failure the machine may only
 * be destroyed. VMM thread.
 */
MUST_CHECK int machine_load(struct machine *machine, const struct machine_state *state,
			    const struct arch_load *load, struct error *err);

#endif
