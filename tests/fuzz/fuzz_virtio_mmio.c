/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the virtio-mmio transport around a small device that copies what it reads: an input is a
 * program of register accesses, writes to guest memory and turns of the event loop. Besides the
 * sanitizers' checks, a read must leave bytes beyond its length alone, and a device that is active
 * must have come through the whole handshake.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/virtio.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

enum {
	QUEUES = 2,
	CONFIG_LEN = 13,
	BATCH = 32,
	CANARY = 0xa7,
	STEPS_MAX = 2000,
	DRIVER_OK = 4,
	HANDSHAKE = 15,
	NEEDS_RESET = 64,
};

#define MEM_LEN (UINT64_C(64) << 10)
#define SECOND_AT (UINT64_C(128) << 10)

enum action {
	ACT_READ,
	ACT_WRITE,
	ACT_WRITE_WORD, /* most of what a driver does */
	ACT_MEMORY,
	ACT_LOOP,
	ACT_CONFIG,
	ACT_HANDSHAKE, /* up to DRIVER_OK at once, as a fuzzer hardly finds it */
	ACTIONS
};

struct copier {
	struct virtio_dev dev;
	struct virtio_mmio mmio;
	struct virtq_chain chain;
	uint8_t data[4096];
	unsigned interrupts;
	bool is_activated; /* and not reset since */
};

static void fire(void *arg)
{
	struct copier *copier = arg;

	copier->interrupts++;
}

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

static void read_register(struct copier *copier, uint64_t offset, uint32_t len)
{
	uint8_t buffer[16];

	memset(buffer, CANARY, sizeof(buffer));
	memset(buffer, 0, len);
	virtio_mmio_bus_ops.read(&copier->mmio, offset, buffer, len);
	for (size_t i = len; i < sizeof(buffer); i++) {
		require(buffer[i] == CANARY);
	}
}

static void write_word(struct copier *copier, uint64_t offset, uint32_t value)
{
	virtio_mmio_bus_ops.write(&copier->mmio, offset, (const uint8_t *)&value, sizeof(value));
}

/* Queue 0 at 0x1000, queue 1 at 0x2000: descriptors, 0x400 on available, 0x800 on used. */
static void handshake(struct copier *copier, uint8_t features)
{
	static const uint8_t status[] = {0, 1, 3};

	for (size_t i = 0; i < ARRAY_COUNT(status); i++) {
		write_word(copier, 0x70, status[i]);
	}
	write_word(copier, 0x24, 1);
	write_word(copier, 0x20, 1);
	write_word(copier, 0x24, 0);
	write_word(copier, 0x20, (features & 3u) << 28);
	write_word(copier, 0x70, 11);
	for (uint32_t i = 0; i < QUEUES; i++) {
		write_word(copier, 0x30, i);
		write_word(copier, 0x38, 16);
		write_word(copier, 0x80, 0x1000 * (i + 1));
		write_word(copier, 0x90, 0x1000 * (i + 1) + 0x400);
		write_word(copier, 0xa0, 0x1000 * (i + 1) + 0x800);
		write_word(copier, 0x44, 1);
	}
	write_word(copier, 0x70, HANDSHAKE);
}

static void act(struct copier *copier, struct evloop *loop, struct input *input)
{
	struct virtio_dev *dev = &copier->dev;
	struct error err = {0};
	uint8_t action = (uint8_t)input_number(input, 1);

	switch ((enum action)(action % ACTIONS)) {
	case ACT_READ: {
		uint64_t offset = input_number(input, 2);

		read_register(copier, offset, (uint32_t)input_number(input, 1) % 8 + 1);
		break;
	}
	case ACT_WRITE: {
		uint64_t offset = input_number(input, 8);
		uint32_t len = (uint32_t)input_number(input, 1) % 8 + 1;
		uint64_t value = input_number(input, len);
		uint8_t *copy = malloc(len); /* just as long, so that the sanitizer sees more */

		require(copy != NULL);
		memcpy(copy, &value, len);
		virtio_mmio_bus_ops.write(&copier->mmio, offset, copy, len);
		free(copy);
		break;
	}
	case ACT_WRITE_WORD: {
		uint64_t offset = input_number(input, 1) * 4 % 0x120;

		write_word(copier, offset, (uint32_t)input_number(input, 4));
		break;
	}
	case ACT_MEMORY: {
		gpa_t gpa = GPA(input_number(input, 2));
		uint64_t value = input_number(input, 8);

		(void)!gmem_write(dev->mem, gpa, &value, sizeof(value));
		break;
	}
	case ACT_LOOP:
		require(evloop_run_once(loop, 0, &err) == 0);
		break;
	case ACT_CONFIG:
		virtio_lock(dev);
		virtio_config_changed(dev);
		virtio_unlock(dev);
		break;
	case ACT_HANDSHAKE:
	case ACTIONS:
		handshake(copier, (uint8_t)input_number(input, 1));
		break;
	}
	require(!dev->is_active || (dev->status & HANDSHAKE) == HANDSHAKE);
	require((dev->status & DRIVER_OK) == 0 || dev->is_active ||
		(dev->status & NEEDS_RESET) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct gmem_range ranges[] = {{GPA(0), MEM_LEN}, {GPA(SECOND_AT), MEM_LEN}};
	const struct virtio_params params = {
		.class = &class,
		.id = "fuzzed",
		.features = 2,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	const struct log_config log = {.level = LOG_OFF};
	static struct copier copier;
	struct input input = {data, size};
	struct evloop loop = {0};
	struct dev_env env = {.loop = &loop, .clock = &clock_host};
	struct error err = {0};

	memset(&copier, 0, sizeof(copier));
	require(log_configure(&log, &err) == 0);
	require(gmem_new(ranges, ARRAY_COUNT(ranges), GMEM_ANON, &env.mem, &err) == 0);
	require(evloop_init(&loop, &err) == 0);
	require(virtio_init(&copier.dev, &env, &params, &err) == 0);
	virtio_mmio_init(&copier.mmio, &copier.dev, &(struct irq_line){fire, &copier});
	for (unsigned i = 0; i < STEPS_MAX && input.size > 0; i++) {
		act(&copier, &loop, &input);
	}
	virtio_destroy(&copier.dev);
	evloop_destroy(&loop);
	gmem_free(env.mem);
	return 0;
}
