/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM generation id: 16 random bytes in guest memory that are others after each load, and an
 * interrupt when they have changed. Guests mix them into their random generator, so that two
 * machines loaded from one snapshot do not produce the same keys [vmgenid].
 */
#ifndef DEVICES_PLATFORM_VMGENID_H
#define DEVICES_PLATFORM_VMGENID_H

#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"

enum {
	VMGENID_LEN = 16
};

struct vmgenid;

/*
 * Writes a fresh id to guest memory at `at`, into whatever was loaded there. Takes env->mem and
 * env->irq. The caller owns *out and frees it (NULL is fine).
 */
MUST_CHECK int vmgenid_new(const struct dev_env *env, gpa_t at, struct vmgenid **out,
			   struct error *err);
void vmgenid_free(struct vmgenid *vmgenid);

/* The id itself is in guest memory, and of no use once it was saved. */
struct vmgenid_state {
	uint64_t at; /* where the guest was told it is */
};

/* A section of its own. */
void vmgenid_state_codec(struct codec *codec, struct vmgenid_state *state);

/* While no vCPU runs. Changes nothing. */
void vmgenid_save(const struct vmgenid *vmgenid, struct vmgenid_state *state);

/*
 * Into one that was just made: interrupts the guest, once interrupt controllers are loaded and
 * before a vCPU runs. ERR_CORRUPT: the guest looks for its id at another address.
 */
MUST_CHECK int vmgenid_load(struct vmgenid *vmgenid, const struct vmgenid_state *state,
			    struct error *err);

#endif
