/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that reads and writes any register by up to 8 bytes, of a device with three queues and
 * any configuration, which may break or leave, amid any saved states, with a page or without.
 * virtio.c, which the registers are mapped to, is included; the queues' rings are not: what they
 * say, eva_virtq.c takes apart.
 *
 * Options: -eva-precision 2 -eva-domains cvalue -eva-split-return full
 */
#define NDEBUG

#include "tests/eva/virtio.h"

#include "devices/virtio/core/mmio.c"

static struct virtio_mmio mmio;
static uint8_t page[VIRTIO_MMIO_LEN];

static void renew(void)
{
	struct virtio_mmio_state state;
	struct error err = {0};

	virtio_mmio_save(&mmio, &state);
	keep(state.interrupt_status);
	fill(&state, sizeof(state));
	virtio_mmio_state_codec(NULL, &state);
	keep(virtio_mmio_load(&mmio, &state, &err));
}

static void use(void)
{
	switch (any_between(0, 3)) {
	case 0:
		access_any(&virtio_mmio_bus_ops, &mmio);
		break;
	case 1:
		virtio_interrupt(&dev, any_bool() ? VIRTIO_CAUSE_USED : VIRTIO_CAUSE_CONFIG, 0);
		break;
	case 2:
		keep((uint64_t)dev.transport.call_fd(&mmio, 0));
		break;
	default:
		renew();
		break;
	}
}

void main(void)
{
	const struct irq_line irq = {.fire = note, .eventfd = descriptor_of};

	if (!make_device()) {
		return;
	}
	virtio_mmio_init(&mmio, &dev, &irq);
	if (any_bool()) {
		virtio_mmio_show(&mmio, page);
	}
	while (any_bool()) {
		use();
	}
}
