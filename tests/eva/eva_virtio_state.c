/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any section of a device with three queues, fields of each kind and a struct or a rate limit of
 * its own, loaded into that device and saved again. virtio.c, which the device is, is included; the
 * queues' rings are not: what they say, eva_virtq.c takes apart. That what a back-end has fits its
 * heap block is not shown, but that it is no longer than may be.
 *
 * Options: -eva-precision 2 -eva-domains cvalue -eva-split-return full
 */
#define NDEBUG

#include "tests/eva/text.h"
#include "tests/eva/virtio.h"

#include "vmm/base/limiter.h"

void virtq_save(const struct virtq *vq, struct virtq_state *state)
{
	keep(vq->size);
	state->next_avail = (uint16_t)any_u32();
	state->next_used = (uint16_t)any_u32();
}

int virtq_restore(struct virtq *vq, const struct virtq_state *state, struct gmem *mem,
		  struct error *err)
{
	(void)mem;
	keep(state->desc.v + state->avail.v + state->used.v + state->next_avail + state->next_used);
	if (any_bool()) {
		return error_set(err, ERR_GUEST, "");
	}
	vq->size = state->size;
	return 0;
}

void limiter_state_codec(struct codec *codec, const char *name, struct limiter_state *state)
{
	(void)codec;
	keep((uint64_t)(name != NULL));
	fill(state, sizeof(*state));
}

void limiter_save(const struct limiter *limiter, struct limiter_state *state)
{
	(void)limiter;
	fill(state, sizeof(*state));
}

void limiter_load(struct limiter *limiter, const struct limiter_state *state)
{
	(void)limiter;
	(void)state;
}

#include <stdlib.h>

#include "devices/virtio/core/virtio_state.h"

static uint8_t remote_room[VIRTIO_REMOTE_MAX + 1];

static void *room_of(size_t len)
{
	/*@ assert len <= sizeof(remote_room); */
	return any_bool() ? remote_room : NULL;
}

#define calloc(count, len) room_of(len)
#define free(room) (void)(room)
/* virtio.c has another one. */
#define is_broken is_state_broken

#include "devices/virtio/core/virtio_state.c"

#undef calloc

static struct limiter limit;

static struct limiter *limiter_of(struct virtio_dev *of)
{
	(void)of;
	return &limit;
}

static void code_any(struct codec *codec, void *own)
{
	(void)codec;
	fill(own, VIRTIO_STATE_WORDS * sizeof(uint64_t));
}

static void code_queues_any(struct codec *codec, uint32_t queue_count, void *own)
{
	(void)codec;
	/*@ assert queue_count <= VIRTIO_QUEUES_MAX; */
	fill(own, queue_count);
}

static void save_any(struct virtio_dev *of, void *own)
{
	(void)of;
	fill(own, VIRTIO_STATE_WORDS * sizeof(uint64_t));
}

static int load_any(struct virtio_dev *of, const void *own, struct error *err)
{
	(void)of;
	keep(((const uint64_t *)own)[VIRTIO_STATE_WORDS - 1]);
	return any_bool() ? 0 : error_set(err, ERR_CORRUPT, "");
}

static int save_remote_any(struct virtio_dev *of, struct virtio_remote_state *remote,
			   uint64_t deadline_ms, struct error *err)
{
	(void)of;
	(void)deadline_ms;
	*remote = (struct virtio_remote_state){.bytes = remote_room, .len = 1};
	return any_bool() ? 0 : error_set(err, ERR_HOST, "");
}

static int load_remote_any(struct virtio_dev *of, const struct virtio_remote_state *remote,
			   struct error *err)
{
	(void)of;
	/*@ assert remote->len <= VIRTIO_REMOTE_MAX; */
	keep(remote->len);
	return any_bool() ? 0 : error_set(err, ERR_CORRUPT, "");
}

static const struct codec_section own_section = {.tag = 1, .name = "own"};

static const struct virtio_config_field fields[] = {
	{"same", 0, 8, VIRTIO_CONFIG_SAME},
	{"now", 8, 4, VIRTIO_CONFIG_NOW},
	{"saved", VIRTIO_CONFIG_MAX - 2, 2, VIRTIO_CONFIG_SAVED},
};

static struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(fields),
	.size = sizeof(uint64_t),
	.codec = code_any,
	.save = save_any,
	.load = load_any,
};

static const struct virtio_class *find(uint32_t type)
{
	keep(type);
	return any_bool() ? &class : NULL;
}

/* Of a class with a state of its own, and of one without: apart, as the code looks twice. */
static void renew(const struct virtio_class_state *own)
{
	static struct codec codec;
	static struct virtio_state state;
	static struct virtio_remote_state remote;
	struct error err = {0};

	class.state = own;
	if (!make_device()) {
		return;
	}
	codec.mode = any_between(CODEC_SAVE, CODEC_DUMP);
	codec.err.kind = any_bool() ? ERR_NONE : ERR_CORRUPT;
	virtio_state_codec(&codec, &state, find);
	/*@ assert state.config_len <= VIRTIO_CONFIG_MAX; */
	/*@ assert state.queue_count <= VIRTIO_QUEUES_MAX; */
	keep(virtio_load(&dev, &state, &err));
	virtio_state_destroy(&state);
	keep(virtio_save_remote(&dev, &remote, any_u64(), &err));
	virtio_save(&dev, &state);
	keep(state.config[VIRTIO_CONFIG_MAX - 1] + state.own[VIRTIO_STATE_WORDS - 1]);
}

void main(void)
{
	class_state.section = any_bool() ? &own_section : NULL;
	class_state.limiter = any_bool() ? limiter_of : NULL;
	class_state.codec_queues = any_bool() ? code_queues_any : NULL;
	class_state.save_remote = any_bool() ? save_remote_any : NULL;
	class_state.load_remote = load_remote_any;
	renew(NULL);
	renew(&class_state);
}
