/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/virtio.c, by a device that copies what it reads. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/virtio.h"
#include "tests/lib/capture.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

#define EVENT_IDX (UINT64_C(1) << 29)
#define INDIRECT_DESC (UINT64_C(1) << 28)
#define OWN_FEATURE (UINT64_C(1) << 5)

enum {
	QUEUES = 3,
	CONFIG_LEN = 12,
	NEEDS_RESET = 64,
	BATCH = 64,
};

/* Gives back each chain with the bytes it has read, as far as they fit. */
struct copier {
	struct virtio_dev dev;
	struct virtq_chain chain;
	uint8_t data[8192];
	unsigned activated;
	unsigned resets;
	unsigned ready[QUEUES];
	bool is_refusing;
};

static struct copier copier;
static struct vdriver driver;

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct copier *self = container_of(dev, struct copier, dev);

	self->activated++;
	return self->is_refusing ? error_set(err, ERR_HOST, "The copier is tired") : 0;
}

static void serve(struct virtio_dev *dev, unsigned index)
{
	struct copier *self = container_of(dev, struct copier, dev);
	struct virtq *vq = &dev->queues[index].vq;
	enum virtq_result result = VIRTQ_EMPTY;

	self->ready[index]++;
	for (unsigned i = 0; i < BATCH; i++) {
		uint32_t len = 0;

		result = virtq_pop(vq, &self->chain);
		if (result == VIRTQ_EMPTY || result == VIRTQ_BROKEN) {
			break;
		}
		if (result == VIRTQ_OK) {
			len = (uint32_t)min_u64(self->chain.read_len, self->chain.write_len);
			cr_assert(virtq_chain_read(dev->mem, &self->chain, 0, self->data, len) ==
				  0);
			cr_assert(virtq_chain_write(dev->mem, &self->chain, 0, self->data, len) ==
				  0);
		}
		virtq_push(vq, self->chain.head, len);
	}
	virtio_publish(dev, index);
	if (result == VIRTQ_BROKEN) {
		virtio_break(dev, index);
	} else if (virtq_arm_kick(vq)) {
		virtio_requeue(dev, index);
	}
}

static void reset(struct virtio_dev *dev)
{
	container_of(dev, struct copier, dev)->resets++;
}

static const struct virtio_ops ops = {
	.type = VIRTIO_TYPE_RNG,
	.name = "copier",
	.activate = activate,
	.queue_ready = serve,
	.reset = reset,
};

static void set_up(void)
{
	const struct virtio_params params = {
		.ops = &ops,
		.id = "first",
		.features = OWN_FEATURE,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	struct error err = {0};

	vdriver_init(&driver);
	cr_assert(virtio_init(&copier.dev, vdriver_env(&driver), &params, &err) == 0, "%s",
		  err.msg);
}

static void tear_down(void)
{
	virtio_destroy(&copier.dev);
	vdriver_destroy(&driver);
}

TestSuite(virtio, .init = set_up, .fini = tear_down);

static const uint64_t feature_sets[] = {0, EVENT_IDX, INDIRECT_DESC, EVENT_IDX | INDIRECT_DESC};

Test(virtio, chains_go_through_every_queue_with_every_feature)
{
	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		cr_assert(vdriver_start(&driver, &copier.dev, feature_sets[i]));
		cr_assert(driver.features == (feature_sets[i] | UINT64_C(1) << 32));
		for (unsigned queue = 0; queue < QUEUES; queue++) {
			const struct vbuf bufs[] = {{"he", 2, 0},
						    {"llo", 3, 0},
						    {NULL, 1, VBUF_WRITABLE},
						    {NULL, 9, VBUF_WRITABLE}};
			unsigned chain = vdriver_add(&driver, queue, bufs, ARRAY_COUNT(bufs));
			struct vring_used used;
			uint8_t data[9] = {0};

			vdriver_run(&driver);
			(void)vdriver_interrupts(&driver);
			chain = vdriver_add(&driver, queue, bufs, ARRAY_COUNT(bufs));
			vdriver_kick(&driver, queue);
			cr_assert(vdriver_run(&driver) > 0);
			cr_assert(vdriver_used(&driver, queue, &used));
			cr_assert(vdriver_used(&driver, queue, &used));
			cr_expect(used.id == chain && used.len == 5);
			vdriver_get(&driver, queue, chain, 2, data, 1);
			cr_expect(data[0] == 'h');
			vdriver_get(&driver, queue, chain, 3, data, 9);
			cr_expect(memcmp(data, "ello\xee\xee\xee\xee\xee", 9) == 0);
			cr_expect(!vdriver_used(&driver, queue, &used));
		}
	}
	vdriver_stop(&driver);
	cr_assert(copier.activated == 4 && copier.resets == 4);
}
