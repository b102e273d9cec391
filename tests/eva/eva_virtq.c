/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that uses a queue, of any size and at any indexes, over rings that hold anything, which
 * is something else each time that they are looked at; gmem.h is the memory.
 *
 * The module's assertions compare its indexes, and EVA relates no two numbers so. They are left
 * out: callers keep to them.
 */
#define NDEBUG

#include "tests/eva/error.h"
#include "tests/eva/gmem.h"

#include "devices/virtio/core/virtq.c"

static struct virtq vq;
static struct virtq_chain chain;
static struct gmem guest;

static void start_queue(uint16_t size)
{
	struct virtq_config config = {.size = size};
	struct error err = {0};

	config.desc.v = any_u64();
	config.avail.v = any_u64();
	config.used.v = any_u64();
	(void)!virtq_start(&vq, &config, &guest, any_u64(), &err);
}

static void restore_queue(uint16_t size)
{
	struct virtq_state state = {.size = size};
	struct error err = {0};

	state.has_event_idx = any_bool();
	state.has_indirect = any_bool();
	state.desc.v = any_u64();
	state.avail.v = any_u64();
	state.used.v = any_u64();
	state.next_avail = (uint16_t)any_u32();
	state.next_used = (uint16_t)any_u32();
	(void)!virtq_restore(&vq, &state, &guest, &err);
}

static void use_queue(uint16_t size)
{
	struct virtq_state state;

	ring_count = 0;
	vq = (struct virtq){0};
	if (any_bool()) {
		start_queue(size);
	} else {
		restore_queue(size);
	}
	/* What virtq_start promises, said again: EVA forgets it where its two results meet. */
	if (vq.size == 0 || vq.desc == NULL || vq.avail == NULL || vq.used == NULL) {
		return;
	}
	vq.next_avail = (uint16_t)any_u32();
	vq.next_used = (uint16_t)any_u32();
	vq.published = (uint16_t)any_u32();
	keep(virtq_pop(&vq, &chain));
	uint16_t count = (uint16_t)any_u32();

	if (count <= virtq_held(&vq)) {
		virtq_rewind(&vq, count);
	}
	(void)virtq_pending(&vq);
	virtq_push(&vq, chain.head, any_u32());
	(void)!virtq_publish(&vq);
	(void)!virtq_arm_kick(&vq);
	(void)!virtq_arm_kick_at(&vq, (uint16_t)any_u32());
	virtq_disarm_kick(&vq);
	if (vq.published == vq.next_used) {
		virtq_save(&vq, &state);
	}
	virtq_seek(&vq, (uint16_t)any_u32());
	virtq_stop(&vq);
}

static void use_stopped(void)
{
	vq = (struct virtq){0};
	keep(virtq_pop(&vq, &chain));
	keep(virtq_pending(&vq));
	virtq_push(&vq, (uint16_t)any_u32(), any_u32());
	keep(virtq_publish(&vq));
	keep(virtq_arm_kick(&vq));
	keep(virtq_arm_kick_at(&vq, (uint16_t)any_u32()));
	virtq_disarm_kick(&vq);
	virtq_rewind(&vq, (uint16_t)any_u32());
}

void main(void)
{
	/* Every size that there is, one after the other: what EVA knows of one is not mixed with
	 * another. */
	/*@ widen_hints global:"all", 255, 256; */
	use_queue(1);
	/*@ slevel merge; */
	use_queue(2);
	/*@ slevel merge; */
	use_queue(4);
	/*@ slevel merge; */
	use_queue(8);
	/*@ slevel merge; */
	use_queue(16);
	/*@ slevel merge; */
	use_queue(32);
	/*@ slevel merge; */
	use_queue(64);
	/*@ slevel merge; */
	use_queue(128);
	/*@ slevel merge; */
	use_queue(256);
	/*@ slevel merge; */
	use_queue(0);
	/*@ slevel merge; */
	use_queue((uint16_t)any_between(VIRTQ_SIZE_MAX + 1, UINT16_MAX));
	use_stopped();
}
