/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading what all virtio devices share.
 *
 * Theory of operation. A device that is quiet is what its driver wrote to it, an index for each
 * queue, and what its class adds. Loading goes the way of a driver, without its writes: the status
 * is one that virtio_write_status leads to, features are among those offered, queues start by
 * virtq_restore where virtq_save left them, the class activates the device as at DRIVER_OK and then
 * takes what is its own. Everything is checked before the device is touched, but for the rings,
 * which virtq_restore checks, and what a class checks.
 *
 * A device that is broken (virtio_break) has no queues. It is loaded as broken: its driver is about
 * to reset it.
 *
 * Configuration. The device was made from what is configured today, the driver knows what was
 * saved. The class says for each field which of the two holds, and whether they may differ.
 */
#include "devices/virtio/core/virtio_state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/core/virtio_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"
#include "vmm/base/text.h"

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'D', 'E', 'V'), .version = 1, .name = "virtio"};

/* Absent where no other process has anything. */
static const struct codec_section remote_section = {
	.tag = CODEC_TAG('V', 'R', 'E', 'M'), .version = 1, .is_optional = true, .name = "remote"};

static const struct virtio_feature common_features[] = {
	{28, "VIRTIO_F_INDIRECT_DESC"},	  {29, "VIRTIO_F_EVENT_IDX"},	{32, "VIRTIO_F_VERSION_1"},
	{33, "VIRTIO_F_ACCESS_PLATFORM"}, {34, "VIRTIO_F_RING_PACKED"}, {35, "VIRTIO_F_IN_ORDER"},
};

/* The queue as virtio_init and each reset leave it. */
static const struct virtq_config untouched = {.size = VIRTQ_SIZE_MAX};

/* --- As fields --- */

static void code_queue(struct codec *codec, struct virtio_queue_state *queue)
{
	codec_u16(codec, "size", &queue->config.size);
	codec_bool(codec, "is_ready", &queue->config.is_ready);
	codec_u64(codec, "desc", &queue->config.desc.v);
	codec_u64(codec, "avail", &queue->config.avail.v);
	codec_u64(codec, "used", &queue->config.used.v);
	codec_bool(codec, "is_started", &queue->is_started);
	codec_u16(codec, "next", &queue->next);
}

static void code_fields(struct codec *codec, struct virtio_state *state)
{
	codec_u32(codec, "type", &state->type);
	codec_text(codec, "id", state->id, sizeof(state->id));
	codec_u64(codec, "offered", &state->offered);
	codec_u64(codec, "acked", &state->acked);
	codec_u8(codec, "status", &state->status);
	codec_bool(codec, "is_active", &state->is_active);
	codec_u32(codec, "config_generation", &state->config_generation);
	codec_count(codec, "config_len", &state->config_len, VIRTIO_CONFIG_MAX);
	codec_bytes(codec, "config", state->config, state->config_len);
	codec_count(codec, "queue_count", &state->queue_count, VIRTIO_QUEUES_MAX);
	for (uint32_t i = 0; i < state->queue_count; i++) {
		codec_begin_item(codec, "queue", i);
		code_queue(codec, &state->queues[i]);
		codec_end(codec);
	}
}

/* A class's own state that is a rate limit alone. */
struct limited_state {
	struct limiter_state limiter;
};

VIRTIO_STATE_FITS(struct limited_state);

static void code_own(struct codec *codec, const struct virtio_class_state *class, void *own)
{
	struct limited_state *limited = own;

	if (class->limiter != NULL) {
		limiter_state_codec(codec, "limiter", &limited->limiter);
	} else {
		class->codec(codec, own);
	}
}

static void code_remote(struct codec *codec, struct virtio_remote_state *remote)
{
	if ((codec->mode != CODEC_LOAD && remote->bytes == NULL) ||
	    !codec_section_begin(codec, &remote_section)) {
		return;
	}
	codec_count(codec, "len", &remote->len, VIRTIO_REMOTE_MAX);
	if (codec->mode == CODEC_LOAD && codec->err.kind == ERR_NONE) {
		remote->bytes = calloc(1, remote->len + 1);
		if (remote->bytes == NULL) {
			(void)error_sys(&codec->err, "Cannot allocate the state of a back-end");
		}
	}
	if (codec->err.kind == ERR_NONE) {
		codec_bytes(codec, "bytes", remote->bytes, remote->len);
	}
	codec_section_end(codec);
}

void virtio_state_codec(struct codec *codec, struct virtio_state *state, virtio_class_fn find)
{
	if (!codec_section_begin(codec, &section)) {
		return;
	}
	code_fields(codec, state);
	codec_section_end(codec);
	const struct virtio_class *class = find(state->type);

	if (class == NULL || class->state == NULL) {
		return;
	}
	if (class->state->section != NULL && codec_section_begin(codec, class->state->section)) {
		code_own(codec, class->state, state->own);
		if (class->state->codec_queues != NULL) {
			class->state->codec_queues(codec, state->queue_count, state->own);
		}
		codec_section_end(codec);
	}
	if (class->state->save_remote != NULL) {
		code_remote(codec, &state->remote);
	}
}

void virtio_state_destroy(struct virtio_state *state)
{
	free(state->remote.bytes);
	state->remote = (struct virtio_remote_state){0};
}

/* --- Saving --- */

static bool has_own(const struct virtio_dev *dev)
{
	return dev->class->state != NULL && dev->class->state->section != NULL;
}

static void save_queue(const struct virtio_queue *queue, struct virtio_queue_state *state)
{
	struct virtq_state vq = {0};

	*state = (struct virtio_queue_state){
		.config = queue->config,
		.is_started = queue->vq.size != 0,
	};
	if (state->is_started) {
		virtq_save(&queue->vq, &vq);
		assert(vq.next_avail == vq.next_used); /* as virtio_quiesce left it */
		state->next = vq.next_avail;
	}
}

static void save_own(struct virtio_dev *dev, void *own)
{
	const struct virtio_class_state *class = dev->class->state;
	struct limited_state *limited = own;

	if (class->limiter != NULL) {
		limiter_save(class->limiter(dev), &limited->limiter);
	} else {
		class->save(dev, own);
	}
}

static bool has_remote(const struct virtio_dev *dev)
{
	return dev->class->state != NULL && dev->class->state->save_remote != NULL &&
	       virtio_works(dev);
}

int virtio_save_remote(struct virtio_dev *dev, struct virtio_remote_state *remote,
		       uint64_t deadline_ms, struct error *err)
{
	virtio_lock_driver(dev);
	int result =
		has_remote(dev) ? dev->class->state->save_remote(dev, remote, deadline_ms, err) : 0;

	virtio_unlock_driver(dev);
	return result < 0 ? error_wrap(err, "The %s device %s can't be saved", dev->class->name,
				       dev->id)
			  : 0;
}

void virtio_save(struct virtio_dev *dev, struct virtio_state *state)
{
	_Static_assert(sizeof(dev->id) == sizeof(state->id), "an id is saved whole");

	virtio_lock_driver(dev);
	*state = (struct virtio_state){
		.type = dev->class->type,
		.offered = dev->offered,
		.acked = dev->acked,
		.status = dev->status,
		.is_active = dev->is_active,
		.config_generation = dev->config_generation,
		.config_len = (uint32_t)dev->config_len,
		.queue_count = dev->queue_count,
	};
	memcpy(state->id, dev->id, sizeof(state->id));
	memcpy(state->config, dev->config, sizeof(state->config));
	for (unsigned i = 0; i < dev->queue_count; i++) {
		save_queue(&dev->queues[i], &state->queues[i]);
	}
	if (has_own(dev)) {
		assert(dev->class->state->size <= sizeof(state->own));
		save_own(dev, state->own);
	}
	virtio_unlock_driver(dev);
}

/* --- Checks before a load --- */

static bool is_broken(const struct virtio_state *state)
{
	return (state->status & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

static bool has_status(const struct virtio_state *state, unsigned bits)
{
	return (state->status & bits) != 0;
}

static int check_identity(const struct virtio_dev *dev, const struct virtio_state *state,
			  struct error *err)
{
	if (state->type != dev->class->type) {
		return error_set(err, ERR_CORRUPT, "it is of type %u and not %u", state->type,
				 (unsigned)dev->class->type);
	}
	if (strncmp(state->id, dev->id, sizeof(state->id)) != 0) {
		return error_set(err, ERR_CORRUPT, "it has the id \"%.*s\"",
				 (int)sizeof(state->id) - 1, state->id);
	}
	if (state->queue_count != dev->queue_count) {
		return error_set(err, ERR_CORRUPT, "it has %u queues and not %u",
				 state->queue_count, dev->queue_count);
	}
	if (state->config_len != dev->config_len) {
		return error_set(err, ERR_CORRUPT, "it has a configuration of %u bytes and not %zu",
				 state->config_len, dev->config_len);
	}
	return 0;
}

/* Where the bits that drivers write can be: one after the other, and FAILED at any time. */
static int check_status(const struct virtio_state *state, struct error *err)
{
	static const uint8_t reached[] = {
		0,
		VIRTIO_STATUS_ACKNOWLEDGE,
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER,
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK,
		VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			VIRTIO_STATUS_DRIVER_OK,
	};
	unsigned ours = VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
	bool is_started = has_status(state, VIRTIO_STATUS_DRIVER_OK);
	bool is_reached = false;

	for (size_t i = 0; i < ARRAY_COUNT(reached); i++) {
		is_reached |= (state->status & ~ours) == reached[i];
	}
	if (!is_reached || (is_broken(state) && !is_started)) {
		return error_set(err, ERR_CORRUPT, "no driver gets it to status %#x",
				 state->status);
	}
	/* One that broke may have been active before, or failed to become so. */
	if (state->is_active ? !is_started : is_started && !is_broken(state)) {
		return error_set(err, ERR_CORRUPT, "with status %#x it is%s active", state->status,
				 state->is_active ? " not" : "");
	}
	return 0;
}

static const char *feature_name(const struct virtio_feature *table, size_t count, unsigned bit)
{
	for (size_t i = 0; i < count; i++) {
		if (table[i].bit == bit) {
			return table[i].name;
		}
	}
	return NULL;
}

static void add_feature(struct text *text, const struct virtio_class *class, unsigned bit)
{
	const char *separator = text->len > 0 ? ", " : "";
	const char *name = feature_name(class->features, class->feature_count, bit);

	if (name == NULL) {
		name = feature_name(common_features, ARRAY_COUNT(common_features), bit);
	}
	if (name != NULL) {
		text_add(text, "%s%s", separator, name);
	} else {
		text_add(text, "%sbit %u", separator, bit);
	}
}

static int check_features(const struct virtio_dev *dev, const struct virtio_state *state,
			  struct error *err)
{
	uint64_t missing = state->acked & ~dev->offered;
	char names[256];
	struct text text;

	if (!has_status(state, VIRTIO_STATUS_FEATURES_OK)) {
		/* What the driver has written so far, which nobody has looked at. */
		if (state->acked != 0 && !has_status(state, VIRTIO_STATUS_DRIVER)) {
			return error_set(err, ERR_CORRUPT, "it has features before a driver");
		}
		return 0;
	}
	if ((state->acked & ~state->offered) != 0 || (state->acked & VIRTIO_F_VERSION_1) == 0) {
		return error_set(err, ERR_CORRUPT, "its driver can't have features %#llx of %#llx",
				 (unsigned long long)state->acked,
				 (unsigned long long)state->offered);
	}
	if (missing == 0) {
		return 0;
	}
	text_init(&text, names, sizeof(names));
	for (unsigned bit = 0; bit < 64; bit++) {
		if ((missing >> bit & 1) != 0) {
			add_feature(&text, dev->class, bit);
		}
	}
	return error_set(err, ERR_NOT_SUPPORTED,
			 "its driver uses features that it does not have here: %s", names);
}

static bool is_same_config(const struct virtq_config *one, const struct virtq_config *other)
{
	return one->size == other->size && one->is_ready == other->is_ready &&
	       one->desc.v == other->desc.v && one->avail.v == other->avail.v &&
	       one->used.v == other->used.v;
}

/* A queue is written before the device is started, and then started if it is ready. */
static int check_queue(const struct virtio_state *state, uint32_t index, struct error *err)
{
	const struct virtio_queue_state *queue = &state->queues[index];
	bool is_written = has_status(state, VIRTIO_STATUS_FEATURES_OK);
	bool works = state->is_active && !is_broken(state);

	if (queue->config.size > VIRTQ_SIZE_MAX ||
	    (!is_written && !is_same_config(&queue->config, &untouched))) {
		return error_set(err, ERR_CORRUPT, "no driver can have written that of queue %u",
				 index);
	}
	if (queue->is_started != (works && queue->config.is_ready)) {
		return error_set(err, ERR_CORRUPT, "queue %u can't be%s started", index,
				 queue->is_started ? "" : " not");
	}
	return 0;
}

static int check_config(const struct virtio_dev *dev, const struct virtio_state *state,
			struct error *err)
{
	const struct virtio_class_state *class = dev->class->state;

	for (size_t i = 0; class != NULL && i < class->field_count; i++) {
		const struct virtio_config_field *field = &class->fields[i];

		assert((size_t)field->offset + field->len <= dev->config_len);
		if (field->kind == VIRTIO_CONFIG_SAME &&
		    memcmp(dev->config + field->offset, state->config + field->offset,
			   field->len) != 0) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "it has another %s now than its driver knows",
					 field->name);
		}
	}
	return 0;
}

static int check(const struct virtio_dev *dev, const struct virtio_state *state, struct error *err)
{
	if (check_identity(dev, state, err) < 0 || check_status(state, err) < 0 ||
	    check_features(dev, state, err) < 0 || check_config(dev, state, err) < 0) {
		return -1;
	}
	for (uint32_t i = 0; i < state->queue_count; i++) {
		if (check_queue(state, i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- Loading --- */

/* Such as the length of a file: the driver is told, and may not expect it. */
static void warn_changed(const struct virtio_dev *dev, const struct virtio_config_field *field,
			 const uint8_t *saved)
{
	if (field->len == sizeof(uint64_t)) {
		log_warn("The %s device %s had the %s %" PRIu64
			 " when it was saved, and has %" PRIu64 " now: its driver is told",
			 dev->class->name, dev->id, field->name, load_le64(saved),
			 load_le64(dev->config + field->offset));
	}
}

/* True if the driver does not know what a field is now. */
static bool load_config(struct virtio_dev *dev, const struct virtio_state *state)
{
	const struct virtio_class_state *class = dev->class->state;
	bool has_changed = false;

	dev->config_generation = state->config_generation;
	for (size_t i = 0; class != NULL && i < class->field_count; i++) {
		const struct virtio_config_field *field = &class->fields[i];
		uint8_t *now = dev->config + field->offset;
		const uint8_t *saved = state->config + field->offset;

		if (field->kind == VIRTIO_CONFIG_SAVED) {
			memcpy(now, saved, field->len);
		}
		if (memcmp(now, saved, field->len) != 0) {
			has_changed = true;
			warn_changed(dev, field, saved);
		}
	}
	return has_changed;
}

static int load_queue(struct virtio_dev *dev, struct virtio_queue *queue,
		      const struct virtio_queue_state *state, struct error *err)
{
	const struct virtq_state vq = {
		.size = state->config.size,
		.has_event_idx = (dev->acked & VIRTIO_F_EVENT_IDX) != 0,
		.has_indirect = (dev->acked & VIRTIO_F_INDIRECT_DESC) != 0,
		.desc = state->config.desc,
		.avail = state->config.avail,
		.used = state->config.used,
		.next_avail = state->next,
		.next_used = state->next,
	};

	queue->config = state->config;
	if (!state->is_started || virtq_restore(&queue->vq, &vq, dev->mem, err) == 0) {
		return 0;
	}
	err->kind = ERR_CORRUPT; /* the file's fault, whatever its guest did */
	return error_wrap(err, "queue %u", (unsigned)(queue - dev->queues));
}

static int load_own(struct virtio_dev *dev, const void *own, struct error *err)
{
	const struct virtio_class_state *class = dev->class->state;
	const struct limited_state *limited = own;

	if (class->limiter == NULL) {
		return class->load(dev, own, err);
	}
	limiter_load(class->limiter(dev), &limited->limiter);
	return 0;
}

static int load(struct virtio_dev *dev, const struct virtio_state *state, struct error *err)
{
	if (check(dev, state, err) < 0) {
		return -1;
	}
	bool has_changed = load_config(dev, state);

	dev->acked = state->acked;
	dev->status = state->status;
	for (unsigned i = 0; i < dev->queue_count; i++) {
		if (load_queue(dev, &dev->queues[i], &state->queues[i], err) < 0) {
			return -1;
		}
	}
	if (state->is_active && !is_broken(state) && dev->class->activate != NULL &&
	    dev->class->activate(dev, err) < 0) {
		return -1;
	}
	dev->is_active = state->is_active;
	if ((has_own(dev) && load_own(dev, state->own, err) < 0) ||
	    (has_remote(dev) && dev->class->state->load_remote(dev, &state->remote, err) < 0)) {
		return -1;
	}
	virtio_changed(dev);
	if (has_changed) {
		virtio_config_changed(dev);
	}
	return 0;
}

int virtio_load(struct virtio_dev *dev, const struct virtio_state *state, struct error *err)
{
	virtio_lock_driver(dev);
	int result = load(dev, state, err);

	virtio_unlock_driver(dev);
	if (result < 0) {
		return error_wrap(err, "The %s device %s can't be loaded", dev->class->name,
				  dev->id);
	}
	return 0;
}
