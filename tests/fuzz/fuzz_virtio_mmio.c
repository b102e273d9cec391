/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the virtio-mmio transport around a small device that copies what it reads (copier.h).
 */
#include "tests/fuzz/copier.h"
#include "vmm/base/bytes.h"

enum action {
	ACT_READ,
	ACT_WRITE,
	ACT_WRITE_WORD, /* most of what a driver does */
	ACT_MEMORY,	/* the three of enum copier_action */
	ACT_LOOP,
	ACT_CONFIG,
	ACT_HANDSHAKE, /* up to DRIVER_OK at once, as a fuzzer hardly finds it */
	ACTIONS
};

static void fire(void *arg)
{
	struct copier *copier = arg;

	copier->interrupts++;
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
	enum action action = (enum action)(input_number(input, 1) % ACTIONS);

	switch (action) {
	case ACT_READ: {
		uint64_t offset = input_number(input, 2);

		read_bus(&virtio_mmio_bus_ops, &copier->mmio, offset,
			 (uint32_t)input_number(input, 1) % 8 + 1);
		break;
	}
	case ACT_WRITE: {
		uint64_t offset = input_number(input, 8);
		uint32_t len = (uint32_t)input_number(input, 1) % 8 + 1;

		write_bus(&virtio_mmio_bus_ops, &copier->mmio, offset, input_number(input, len),
			  len);
		break;
	}
	case ACT_WRITE_WORD: {
		uint64_t offset = input_number(input, 1) * 4 % 0x120;

		write_word(copier, offset, (uint32_t)input_number(input, 4));
		break;
	}
	case ACT_MEMORY:
	case ACT_LOOP:
	case ACT_CONFIG:
		copier_act(copier, loop, (enum copier_action)(action - ACT_MEMORY), input);
		break;
	case ACT_HANDSHAKE:
	case ACTIONS:
		handshake(copier, (uint8_t)input_number(input, 1));
		break;
	}
}

static void plug(struct copier *copier)
{
	virtio_mmio_init(&copier->mmio, &copier->dev,
			 &(struct irq_line){.fire = fire, .arg = copier});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return copier_run(data, size, plug, act);
}
