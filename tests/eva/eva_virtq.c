/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that uses a queue, of any size and at any indexes, over rings that hold anything, which
 * is something else each time that they are looked at; gmem.h is the memory.
 *
 * Not shown is that a copy of a chain's bytes ends where its buffer does: that is a sum of lengths,
 * and EVA relates no two numbers so. The copies' other accesses are checked.
 */
#include "tests/eva/gmem.h"

#include "devices/virtio/virtq.c"

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	(void)fmt;
	err->kind = kind;
	return -1;
}

static struct virtq vq;
static struct virtq_chain chain;
static struct gmem guest;
static uint8_t buffer[64];
static struct iovec list[16];

static void use_chain(void)
{
	uint32_t offset = any_u32();
	size_t len = any_between(0, sizeof(buffer));
	struct virtq_span span = {any_bool() ? VIRTQ_READABLE : VIRTQ_WRITABLE, any_u32(),
				  any_u32()};
	struct virtq_iov iov = {.iov = list, .cap = 16};

	is_buffer_checked = false;
	(void)!virtq_chain_read(&guest, &chain, offset, buffer, len);
	(void)!virtq_chain_write(&guest, &chain, offset, buffer, len);
	is_buffer_checked = true;
	(void)!virtq_chain_iov(&guest, &chain, span, &iov);
}

static void use_queue(uint16_t size)
{
	struct virtq_config config = {.size = size};
	struct error err = {0};

	config.desc.v = any_u64();
	config.avail.v = any_u64();
	config.used.v = any_u64();
	ring_count = 0;
	vq = (struct virtq){0};
	if (virtq_start(&vq, &config, &guest, any_u64(), &err) < 0) {
		return;
	}
	/* What virtq_start promises, said again: EVA forgets it where its two results meet. */
	if (vq.size == 0 || vq.desc == NULL || vq.avail == NULL || vq.used == NULL) {
		return;
	}
	vq.next_avail = (uint16_t)any_u32();
	vq.next_used = (uint16_t)any_u32();
	vq.published = (uint16_t)any_u32();
	enum virtq_result result = virtq_pop(&vq, &chain);

	if (result == VIRTQ_OK) {
		use_chain();
	}
	if (any_bool()) {
		virtq_undo_pop(&vq);
	}
	(void)virtq_pending(&vq);
	virtq_push(&vq, chain.head, any_u32());
	(void)!virtq_publish(&vq);
	(void)!virtq_arm_kick(&vq);
	virtq_disarm_kick(&vq);
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
	virtq_disarm_kick(&vq);
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
