/* SPDX-License-Identifier: Apache-2.0 */
/* A small virtio device that copies what it reads. */
#include "tests/fuzz/copier.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	BATCH = 32,
	CANARY = 0xa7,
	STEPS_MAX = 2000,
	DRIVER_OK = 4,
	NEEDS_RESET = 64,
};

#define MEM_LEN (UINT64_C(64) << 10)
#define SECOND_AT (UINT64_C(128) << 10)

static void config_write(struct virtio_dev *dev, size_t offset, const uint8_t *data, size_t len)
{
	require(offset + len <= CONFIG_LEN);
	memcpy(dev->config + offset, data, len);
}

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct copier *copier = container_of(dev, struct copier, dev);

	require(!dev->is_active && (dev->acked & ~dev->offered) == 0);
	if (dev->config[0] == CANARY) {
		return error_set(err, ERR_HOST, "no");
	}
	copier->is_activated = true;
	return 0;
}

static void serve(struct virtio_dev *dev, unsigned index)
{
	struct copier *copier = container_of(dev, struct copier, dev);
	struct virtq *vq = &dev->queues[index].vq;

	require(dev->is_active && index < QUEUES);
	for (unsigned i = 0; i < BATCH; i++) {
		uint32_t len = 0;
		enum virtq_result result = virtq_pop(vq, &copier->chain);

		if (result == VIRTQ_BROKEN) {
			virtio_break(dev, index);
			return;
		}
		if (result == VIRTQ_EMPTY) {
			break;
		}
		if (result == VIRTQ_OK) {
			len = (uint32_t)min_u64(copier->chain.read_len, copier->chain.write_len);
			len = (uint32_t)min_u64(len, sizeof(copier->data));
			require(virtq_chain_read(dev->mem, &copier->chain, 0, copier->data, len) ==
				0);
			require(virtq_chain_write(dev->mem, &copier->chain, 0, copier->data, len) ==
				0);
		}
		virtq_push(vq, copier->chain.head, len);
	}
	virtio_publish(dev, index);
	if (virtq_arm_kick(vq)) {
		virtio_kick(dev, index);
	}
}

static void reset(struct virtio_dev *dev)
{
	struct copier *copier = container_of(dev, struct copier, dev);

	/* Only of what was activated, which is inactive by then. */
	require(copier->is_activated && !dev->is_active);
	copier->is_activated = false;
}

static const struct virtio_class class = {
	.type = VIRTIO_TYPE_RNG,
	.name = "copier",
	.config_write = config_write,
	.activate = activate,
	.queue_ready = serve,
	.reset = reset,
};

void read_bus(const struct bus_ops *ops, void *device, uint64_t offset, uint32_t len)
{
	uint8_t buffer[16];

	memset(buffer, CANARY, sizeof(buffer));
	memset(buffer, 0, len);
	ops->read(device, offset, buffer, len);
	for (size_t i = len; i < sizeof(buffer); i++) {
		require(buffer[i] == CANARY);
	}
}

void write_bus(const struct bus_ops *ops, void *device, uint64_t offset, uint64_t value,
	       uint32_t len)
{
	uint8_t *copy = malloc(len); /* the sanitizer sees more */

	require(copy != NULL);
	memcpy(copy, &value, len);
	ops->write(device, offset, copy, len);
	free(copy);
}

void copier_act(struct copier *copier, struct evloop *loop, enum copier_action action,
		struct input *input)
{
	struct virtio_dev *dev = &copier->dev;
	struct error err = {0};

	switch (action) {
	case COPIER_MEMORY: {
		gpa_t gpa = GPA(input_number(input, 2));
		uint64_t value = input_number(input, 8);

		(void)!gmem_write(dev->mem, gpa, &value, sizeof(value));
		break;
	}
	case COPIER_LOOP:
		require(evloop_run_once(loop, 0, &err) == 0);
		break;
	case COPIER_CONFIG:
		virtio_lock(dev);
		virtio_config_changed(dev);
		virtio_unlock(dev);
		break;
	}
}

/* After each action. */
static void copier_check(const struct copier *copier)
{
	const struct virtio_dev *dev = &copier->dev;

	require(!dev->is_active || (dev->status & HANDSHAKE) == HANDSHAKE);
	require((dev->status & DRIVER_OK) == 0 || dev->is_active ||
		(dev->status & NEEDS_RESET) != 0);
}

int copier_run(const uint8_t *data, size_t size, void (*plug)(struct copier *copier),
	       void (*act)(struct copier *copier, struct evloop *loop, struct input *input))
{
	const struct gmem_range ranges[] = {{GPA(0), MEM_LEN}, {GPA(SECOND_AT), MEM_LEN}};
	const struct virtio_params params = {
		.class = &class,
		.id = "fuzzed",
		.features = 2,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	static struct copier copier;
	struct input input = {data, size};
	struct evloop loop = {0};
	struct dev_env env = {.loop = &loop, .clock = &clock_host};
	struct error err = {0};

	memset(&copier, 0, sizeof(copier));
	be_quiet();
	require(gmem_new(ranges, ARRAY_COUNT(ranges), GMEM_ANON, &env.mem, &err) == 0);
	require(evloop_init(&loop, &err) == 0);
	require(virtio_init(&copier.dev, &env, &params, &err) == 0);
	plug(&copier);
	for (unsigned i = 0; i < STEPS_MAX && input.size > 0; i++) {
		act(&copier, &loop, &input);
		copier_check(&copier);
	}
	virtio_destroy(&copier.dev);
	evloop_destroy(&loop);
	gmem_free(env.mem);
	return 0;
}
