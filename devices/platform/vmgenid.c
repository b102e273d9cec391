/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM generation id. It has no registers: guest memory is all that the guest sees of it. What a
 * guest writes there is its own affair, as nothing reads it back. No state that changes, so no
 * lock.
 */
#include "devices/platform/vmgenid.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

struct vmgenid {
	struct irq_line irq;
	gpa_t at;
};

int vmgenid_new(const struct dev_env *env, gpa_t at, struct vmgenid **out, struct error *err)
{
	uint8_t id[VMGENID_LEN];

	if (getrandom(id, sizeof(id), 0) != sizeof(id)) {
		return error_sys(err, "Cannot get random bytes for the VM generation id");
	}
	if (gmem_write(env->mem, at, id, sizeof(id)) < 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for its generation id at "
				 "0x%" PRIx64,
				 at.v);
	}
	struct vmgenid *vmgenid = calloc(1, sizeof(*vmgenid));

	if (vmgenid == NULL) {
		return error_sys(err, "Cannot allocate the VM generation id");
	}
	*vmgenid = (struct vmgenid){.irq = env->irq, .at = at};
	*out = vmgenid;
	return 0;
}

void vmgenid_free(struct vmgenid *vmgenid)
{
	free(vmgenid);
}

/* --- Saving and loading --- */

void vmgenid_state_codec(struct codec *codec, struct vmgenid_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('V', 'G', 'E', 'N'), .version = 1, .name = "generation id"};

	if (codec_section_begin(codec, &section)) {
		codec_u64(codec, "at", &state->at);
		codec_section_end(codec);
	}
}

void vmgenid_save(const struct vmgenid *vmgenid, struct vmgenid_state *state)
{
	*state = (struct vmgenid_state){.at = vmgenid->at.v};
}

int vmgenid_load(struct vmgenid *vmgenid, const struct vmgenid_state *state, struct error *err)
{
	if (state->at != vmgenid->at.v) {
		return error_set(err, ERR_CORRUPT,
				 "The generation id was at 0x%" PRIx64 ", and is at 0x%" PRIx64
				 " now",
				 state->at, vmgenid->at.v);
	}
	irq_line_fire(&vmgenid->irq);
	return 0;
}
