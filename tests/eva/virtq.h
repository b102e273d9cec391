/* SPDX-License-Identifier: Apache-2.0 */
/* In place of virtq.c, for EVA: queues that answer anything. */
#ifndef TESTS_EVA_VIRTQ_H
#define TESTS_EVA_VIRTQ_H

#include "devices/virtio/core/virtq.h"
#include "tests/eva/error.h"
#include "tests/eva/eva.h"

int virtq_start(struct virtq *vq, const struct virtq_config *config, struct gmem *mem,
		uint64_t features, struct error *err)
{
	(void)mem;
	keep(features + config->desc.v + config->avail.v + config->used.v);
	if (any_bool()) {
		return error_set(err, ERR_GUEST, "");
	}
	vq->size = config->size;
	return 0;
}

void virtq_stop(struct virtq *vq)
{
	vq->size = 0;
}

enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
	(void)vq;
	chain->head = (uint16_t)any_u32();
	return any_between(VIRTQ_EMPTY, VIRTQ_BROKEN);
}

uint16_t virtq_held(const struct virtq *vq)
{
	(void)vq;
	return (uint16_t)any_u32();
}

void virtq_rewind(struct virtq *vq, uint16_t count)
{
	(void)vq;
	keep(count);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	(void)vq;
	keep(head + written);
}

bool virtq_publish(struct virtq *vq)
{
	(void)vq;
	return any_bool();
}

bool virtq_arm_kick(struct virtq *vq)
{
	(void)vq;
	return any_bool();
}

void virtq_disarm_kick(struct virtq *vq)
{
	(void)vq;
}

#endif
