/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/virtio.c, by a device that copies what it reads. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/virtio.h"
#include "tests/fake/alloc_guard.h"
#include "tests/lib/capture.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

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

static struct metric activate_fails;

static void set_up(void)
{
	const struct virtio_params params = {
		.ops = &ops,
		.id = "first",
		.features = OWN_FEATURE,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
		.activate_fails = &activate_fails,
	};
	struct error err = {0};

	activate_fails = (struct metric){0};
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

Test(virtio, activation_looks_at_every_queue_on_the_loops_thread)
{
	cr_assert(vdriver_begin(&driver, &copier.dev, EVENT_IDX));
	/* What the driver offers and notifies of before DRIVER_OK is served after it. */
	unsigned chain = vdriver_add(&driver, 1, &(struct vbuf){"x", 1, 0}, 1);
	struct vring_used used;

	vdriver_notify(&driver, 1);
	vdriver_run(&driver);
	cr_assert(copier.ready[1] == 0, "not active yet");
	cr_assert(vdriver_finish(&driver));
	cr_assert(copier.activated == 1 && copier.ready[0] + copier.ready[1] == 0);
	vdriver_run(&driver);
	for (unsigned i = 0; i < QUEUES; i++) {
		cr_expect(copier.ready[i] >= 1, "queue %u", i);
	}
	cr_assert(vdriver_used(&driver, 1, &used) && used.id == chain);
}

Test(virtio, a_notification_reaches_its_queue_alone)
{
	cr_assert(vdriver_start(&driver, &copier.dev, 0));
	vdriver_run(&driver);
	memset(copier.ready, 0, sizeof(copier.ready));
	vdriver_notify(&driver, 2);
	vdriver_run(&driver);
	vdriver_notify_exit(&driver, 1);
	vdriver_notify_exit(&driver, 1);
	vdriver_run(&driver);
	cr_assert(copier.ready[0] == 0 && copier.ready[1] == 1 && copier.ready[2] == 1);
	vdriver_write(&driver, 0x50, QUEUES);
	vdriver_write(&driver, 0x50, UINT32_MAX);
	cr_assert(vdriver_run(&driver) == 0);
}

Test(virtio, nothing_is_allocated_between_kick_and_interrupt)
{
	AUTO_FREE char *seen = NULL;

	cr_assert(vdriver_start(&driver, &copier.dev, EVENT_IDX | INDIRECT_DESC));
	vdriver_run(&driver);
	for (unsigned i = 0; i < 50; i++) {
		const struct vbuf bufs[] = {{"x", 1, 0}, {NULL, 4096, VBUF_WRITABLE}};

		vdriver_add(&driver, i % QUEUES, bufs, 2);
		alloc_guard_begin();
		vdriver_kick(&driver, i % QUEUES);
		vdriver_run(&driver);
		cr_assert(alloc_guard_end() == 0);
		struct vring_used used;

		cr_assert(vdriver_used(&driver, i % QUEUES, &used));
	}
	/* The guard does see what there is. */
	alloc_guard_begin();
	seen = strdup("seen");
	cr_assert(alloc_guard_end() == 1 && seen != NULL);
}

Test(virtio, a_requeued_queue_has_its_turn_after_others)
{
	struct vring_used used;

	cr_assert(vdriver_start(&driver, &copier.dev, 0));
	for (unsigned i = 0; i < 3 * BATCH; i++) {
		vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
	}
	vdriver_run(&driver);
	cr_assert(copier.ready[0] >= 3);
	for (unsigned i = 0; i < 3 * BATCH; i++) {
		cr_assert(vdriver_used(&driver, 0, &used));
	}
}

Test(virtio, while_the_loop_is_frozen_notifications_wait)
{
	struct vring_used used;

	cr_assert(vdriver_start(&driver, &copier.dev, 0));
	vdriver_run(&driver);
	evloop_freeze(&driver.loop);
	vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	cr_assert(!vdriver_used(&driver, 0, &used));
	evloop_thaw(&driver.loop);
	vdriver_run(&driver);
	cr_assert(vdriver_used(&driver, 0, &used));
}

Test(virtio, a_broken_queue_stops_all_and_asks_for_a_reset)
{
	struct vring_used used;
	int log = capture_log(LOG_WARN);

	cr_assert(vdriver_start(&driver, &copier.dev, EVENT_IDX));
	vdriver_run(&driver);
	(void)vdriver_interrupts(&driver);
	vring_set_avail_idx(&driver.queues[1].ring, VDRIVER_QUEUE_SIZE + 1);
	for (int i = 0; i < 10; i++) {
		vdriver_notify(&driver, 1);
		vdriver_run(&driver);
	}
	cr_assert(vdriver_status(&driver) == (0x0f | NEEDS_RESET));
	cr_assert(vdriver_read(&driver, 0x60) == 2, "a configuration interrupt");
	cr_assert(vdriver_interrupts(&driver) == 1);
	cr_assert(count_of(captured(log), "Queue 1 of copier device first has") == 1, "%s",
		  captured(log));
	unsigned ready = copier.ready[0];

	vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	cr_assert(copier.ready[0] == ready && !vdriver_used(&driver, 0, &used));
	cr_assert(copier.resets == 0 && copier.dev.is_active);
	/* The driver resets it, which ends what is in flight, and all is well. */
	cr_assert(vdriver_start(&driver, &copier.dev, 0));
	cr_assert(copier.resets == 1);
	vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_run(&driver);
	cr_assert(vdriver_used(&driver, 0, &used));
}

Test(virtio, a_failed_activation_asks_for_a_reset)
{
	static const struct {
		uint64_t reg; /* spoiled in queue 1; 0: the device refuses */
		uint32_t value;
		const char *sentence;
	} cases[] = {
		{0, 0, "copier device first: The copier is tired"},
		{0x38, 3, "queue 1: A queue size of 3 is not"},
		{0x38, 0, "queue 1: A queue size of 0 is not"},
		{0x38, 0x10010, "queue 1: A queue size of 0 is not"},
		{0x84, 0x80, "queue 1: The descriptor table at guest address 0x80"},
		{0x80, 8, "queue 1: The descriptor table at guest address 0x8 "},
		{0x90, 1, "queue 1: The available ring at guest address 0x1 "},
		{0xa0, (uint32_t)VDRIVER_HOLE, "queue 1: The used ring at guest address 0x2000000"},
	};
	int log = capture_log(LOG_WARN);

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		copier.is_refusing = cases[i].reg == 0;
		cr_assert(vdriver_begin(&driver, &copier.dev, 0));
		vdriver_write(&driver, 0x30, 1);
		vdriver_write(&driver, cases[i].reg, cases[i].value);
		cr_expect(!vdriver_finish(&driver), "case %zu", i);
		cr_expect(vdriver_status(&driver) == (0x0f | NEEDS_RESET), "case %zu", i);
		cr_expect(vdriver_interrupts(&driver) == 1, "case %zu", i);
		cr_expect(metric_get(&activate_fails) == i + 1, "case %zu", i);
		cr_expect(strstr(captured(log), cases[i].sentence) != NULL, "case %zu: %s", i,
			  captured(log));
		vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
		vdriver_notify(&driver, 0);
		vdriver_run(&driver);
		cr_expect(copier.ready[0] == 0 && !copier.dev.is_active, "case %zu", i);
	}
	copier.is_refusing = false;
	cr_assert(vdriver_start(&driver, &copier.dev, 0));
	cr_assert(copier.resets == 0, "nothing was active");
}

Test(virtio, a_queue_that_the_driver_does_not_use_stays_empty)
{
	cr_assert(vdriver_begin(&driver, &copier.dev, 0));
	vdriver_write(&driver, 0x30, 1);
	vdriver_write(&driver, 0x44, 0);
	cr_assert(vdriver_finish(&driver));
	vdriver_add(&driver, 1, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_notify(&driver, 1);
	vdriver_run(&driver);
	cr_assert(vring_used_idx(&driver.queues[1].ring) == 0);
	cr_assert((vdriver_status(&driver) & NEEDS_RESET) == 0);
}

Test(virtio, interrupts_are_counted_and_acknowledged)
{
	cr_assert(vdriver_begin(&driver, &copier.dev, 0));
	virtio_lock(&copier.dev);
	virtio_config_changed(&copier.dev);
	virtio_unlock(&copier.dev);
	cr_assert(vdriver_read(&driver, 0x60) == 2, "a driver is there");
	cr_assert(vdriver_finish(&driver));
	vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_run(&driver);
	cr_assert(vdriver_read(&driver, 0x60) == 3);
	vdriver_write(&driver, 0x64, 1);
	cr_assert(vdriver_read(&driver, 0x60) == 2);
	cr_assert(vdriver_interrupts(&driver) == 2);
	cr_assert(vdriver_read(&driver, 0x60) == 0);
	cr_assert(metric_get(&copier.dev.interrupts.triggers) == 2);
	vdriver_stop(&driver);
	uint32_t generation = vdriver_read(&driver, 0xfc);

	virtio_lock(&copier.dev);
	virtio_config_changed(&copier.dev);
	virtio_unlock(&copier.dev);
	cr_assert(vdriver_interrupts(&driver) == 0, "nobody is there");
	cr_assert(vdriver_read(&driver, 0xfc) == generation + 1);
}

Test(virtio, resets_and_starts_again_at_any_time)
{
	for (unsigned round = 0; round < 20; round++) {
		struct vring_used used;

		driver.queue_size = (uint16_t)(1u << (round % 9));
		cr_assert(vdriver_start(&driver, &copier.dev, feature_sets[round % 4]));
		vdriver_add(&driver, 2, &(struct vbuf){"x", 1, 0}, 1);
		if (round % 2 == 0) {
			vdriver_run(&driver);
			cr_assert(vdriver_used(&driver, 2, &used));
		}
	}
	cr_assert(copier.resets == 19);
	virtio_destroy(&copier.dev);
	cr_assert(copier.resets == 20, "what was active when the machine went");
}

Test(virtio, half_built_ones_may_be_destroyed)
{
	struct virtio_dev zeroed = {0};
	struct virtio_dev dev;
	struct dev_env env = *vdriver_env(&driver);
	struct evloop closed = {.epoll_fd = -1};
	const struct virtio_params params = {.ops = &ops, .id = "second", .queue_count = 2};
	struct error err = {0};

	virtio_destroy(&zeroed);
	env.loop = &closed;
	cr_assert(virtio_init(&dev, &env, &params, &err) == -1);
	cr_assert(strstr(err.msg, "Cannot wait for descriptor") != NULL, "%s", err.msg);
	virtio_destroy(&dev);
}
