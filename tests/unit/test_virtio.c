/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/virtio.c, by a device that copies what it reads. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/virtio/core/virtio.h"
#include "devices/virtio/core/virtio_leave.h"
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

/* Gives back each chain with the bytes it has read, as far as they fit; or does as it is told. */
struct copier {
	struct virtio_dev dev;
	uint8_t data[8192];
	unsigned activated;
	unsigned resets;
	unsigned ready[QUEUES];
	bool is_refusing;
	unsigned steps;		 /* of take */
	unsigned nexts;		 /* how often `next` has something to do without a chain */
	enum virtio_step answer; /* of take, after `answer_after` steps */
	unsigned answer_after;
	unsigned cost; /* of each step, besides 1 */
	uint64_t step_ns;
	unsigned faults[VIRTQ_BROKEN + 1];
	unsigned turns; /* that have ended */
	unsigned pauses;
	unsigned resumes;
};

static struct copier copier;
static uint64_t fake_ns; /* the time, which only steps take */
static struct vdriver driver;

static int activate(struct virtio_dev *dev, struct error *err)
{
	struct copier *self = container_of(dev, struct copier, dev);

	self->activated++;
	return self->is_refusing ? error_set(err, ERR_HOST, "The copier is tired") : 0;
}

static void ready(struct virtio_dev *dev, unsigned index)
{
	container_of(dev, struct copier, dev)->ready[index]++;
	virtio_serve(dev, index, BATCH);
}

static enum virtio_step next(struct virtio_dev *dev, unsigned index)
{
	struct copier *self = container_of(dev, struct copier, dev);

	(void)index;
	if (self->nexts > 0) {
		self->nexts--;
		return VIRTIO_DONE;
	}
	return VIRTIO_TAKE;
}

static enum virtio_step take(struct virtio_dev *dev, unsigned index,
			     const struct virtq_chain *chain)
{
	struct copier *self = container_of(dev, struct copier, dev);
	uint32_t len = (uint32_t)min_u64(chain->read_len, chain->write_len);

	virtio_spend(dev, self->cost);
	fake_ns += self->step_ns;
	if (self->answer != VIRTIO_DONE && self->steps++ >= self->answer_after) {
		return self->answer;
	}
	cr_assert(virtq_chain_read(dev->mem, chain, 0, self->data, len) == 0);
	cr_assert(virtq_chain_write(dev->mem, chain, 0, self->data, len) == 0);
	virtq_push(&dev->queues[index].vq, chain->head, len);
	return VIRTIO_DONE;
}

static void fault(struct virtio_dev *dev, unsigned index, enum virtq_result result)
{
	struct copier *self = container_of(dev, struct copier, dev);

	cr_assert(index == 0 || index == 1);
	cr_assert(dev->queues[index].vq.size != 0, "before the queue stops");
	self->faults[result]++;
}

static void end_turn(struct virtio_dev *dev, unsigned index)
{
	(void)index;
	container_of(dev, struct copier, dev)->turns++;
}

/* One with nothing in flight holds up nobody who wants the device unplugged at that moment. */
static void reset(struct virtio_dev *dev)
{
	container_of(dev, struct copier, dev)->resets++;
	virtio_unlock(dev);
	cr_expect_not(virtio_is_busy(dev));
	virtio_lock(dev);
}

static void quiesce(struct virtio_dev *dev)
{
	container_of(dev, struct copier, dev)->pauses++;
}

static void resume(struct virtio_dev *dev)
{
	container_of(dev, struct copier, dev)->resumes++;
}

static const struct virtio_class class = {
	.type = VIRTIO_TYPE_RNG,
	.name = "copier",
	.activate = activate,
	.queue_ready = ready,
	.next = next,
	.take = take,
	.fault = fault,
	.end_turn = end_turn,
	.reset = reset,
	.quiesce = quiesce,
	.resume = resume,
};

static struct metric activate_fails;

static uint64_t fake_now_ns(clockid_t id)
{
	(void)id;
	return fake_ns;
}

static void set_up(void)
{
	const struct virtio_params params = {
		.class = &class,
		.id = "first",
		.features = OWN_FEATURE,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
		.activate_fails = &activate_fails,
	};
	struct error err = {0};

	activate_fails = (struct metric){0};
	copier.answer = VIRTIO_DONE;
	vdriver_init(&driver);
	driver.clock.now_ns = fake_now_ns;
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

/* --- serving --- */

static const struct vbuf one_byte = {"x", 1, 0};

/* Starts with `count` chains in queue 0, all shown before its first turn. */
static void start_with(unsigned count, uint64_t features)
{
	cr_assert(vdriver_start(&driver, &copier.dev, features));
	vdriver_run(&driver);
	(void)vdriver_interrupts(&driver);
	memset(copier.ready, 0, sizeof(copier.ready));
	copier.turns = 0;
	for (unsigned i = 0; i < count; i++) {
		vdriver_add(&driver, 0, &one_byte, 1);
	}
}

static unsigned count_used(void)
{
	struct vring_used used;
	unsigned count = 0;

	while (vdriver_used(&driver, 0, &used)) {
		count++;
	}
	return count;
}

Test(virtio, a_turn_is_published_once)
{
	start_with(10, 0);
	vdriver_kick(&driver, 0);
	vdriver_run(&driver);
	cr_expect(copier.ready[0] == 1 && copier.turns == 1);
	cr_expect(vdriver_interrupts(&driver) == 1);
	cr_expect(count_used() == 10);
}

Test(virtio, a_turn_ends_with_its_budget_and_the_queue_is_served_again)
{
	static const struct {
		unsigned cost;
		unsigned nexts;
		unsigned turns; /* for 3 * BATCH chains */
	} cases[] = {
		{0, 0, 4}, /* in the last there is none left */
		{1, 0, 7},
		{BATCH * 2, 0, 3 * BATCH + 1},
		{0, BATCH, 5},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		start_with(3 * BATCH, 0);
		copier.cost = cases[i].cost;
		copier.nexts = cases[i].nexts;
		vdriver_notify(&driver, 0);
		vdriver_run(&driver);
		cr_expect(copier.turns == cases[i].turns, "case %zu: %u", i, copier.turns);
		cr_expect(count_used() == 3 * BATCH, "case %zu", i);
	}
}

Test(virtio, a_turn_ends_with_its_time_and_the_queue_is_served_again)
{
	static const struct {
		unsigned cost;
		unsigned step_us;
		unsigned turns; /* for 24 chains; in the last there is none left if it was not late
				 */
	} cases[] = {
		{0, 0, 1},     {0, 50, 1},
		{0, 249, 2},		      /* 16 chains until the second look, which is late */
		{0, 250, 4},		      /* the clock is read after 8 chains */
		{0, 9999, 4},  {7, 1000, 13}, /* after each large step */
		{7, 2000, 25}, {3, 1000, 13}, /* after each second one */
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		start_with(24, 0);
		copier.cost = cases[i].cost;
		copier.step_ns = cases[i].step_us * UINT64_C(1000);
		vdriver_notify(&driver, 0);
		vdriver_run(&driver);
		cr_expect(copier.turns == cases[i].turns, "case %zu: %u", i, copier.turns);
		cr_expect(count_used() == 24, "case %zu", i);
	}
}

Test(virtio, a_chain_that_waits_stays_in_its_queue_without_notifications)
{
	for (size_t i = 0; i < ARRAY_COUNT(feature_sets); i++) {
		copier.answer = VIRTIO_DONE;
		start_with(5, feature_sets[i]);
		copier.answer = VIRTIO_WAIT;
		copier.steps = 0;
		copier.answer_after = 2;
		vdriver_notify(&driver, 0);
		vdriver_run(&driver);
		cr_expect(copier.turns == 1, "nothing calls again by itself");
		cr_expect(count_used() == 2);
		cr_expect(virtq_held(&copier.dev.queues[0].vq) == 0);
		cr_expect(virtq_pending(&copier.dev.queues[0].vq) == 3);
		cr_expect((feature_sets[i] & EVENT_IDX) != 0 ||
			  vring_is_no_notify(&driver.queues[0].ring));
		copier.answer = VIRTIO_DONE;
		vdriver_notify(&driver, 0);
		vdriver_run(&driver);
		cr_expect(count_used() == 3);
		cr_expect(!vring_is_no_notify(&driver.queues[0].ring));
	}
}

Test(virtio, a_chain_for_later_is_taken_again_in_another_turn)
{
	start_with(5, 0);
	copier.answer = VIRTIO_LATER;
	copier.answer_after = 2;
	vdriver_notify(&driver, 0);
	struct error err = {0};

	cr_assert(evloop_run_once(&driver.loop, 0, &err) == 0);
	cr_expect(copier.turns == 1 && count_used() == 2);
	copier.answer = VIRTIO_DONE;
	vdriver_run(&driver);
	cr_expect(copier.turns == 2 && count_used() == 3);
}

Test(virtio, a_chain_that_goes_back_is_the_next_one_again)
{
	start_with(3, 0);
	copier.answer = VIRTIO_BACK;
	copier.answer_after = 1;
	copier.cost = BATCH / 4 - 1;
	vdriver_notify(&driver, 0);
	struct error err = {0};

	cr_assert(evloop_run_once(&driver.loop, 0, &err) == 0);
	cr_expect(copier.turns == 1 && copier.steps == 4, "the budget bounds it");
	cr_expect(count_used() == 1);
	cr_expect(virtq_pending(&copier.dev.queues[0].vq) == 2);
}

Test(virtio, a_bad_chain_is_a_fault_and_goes_back_unused)
{
	struct vring_used used;
	unsigned chain;

	start_with(0, 0);
	chain = vdriver_add(&driver, 0, &one_byte, 1);
	vring_set_desc(&driver.queues[0].ring, (uint16_t)chain,
		       (struct vring_desc){VDRIVER_HOLE, 1, 0, 0});
	vdriver_kick(&driver, 0);
	vdriver_run(&driver);
	cr_expect(copier.faults[VIRTQ_BAD] == 1 && copier.faults[VIRTQ_BROKEN] == 0);
	cr_assert(vdriver_used(&driver, 0, &used));
	cr_expect(used.id == chain && used.len == 0);
	cr_expect(vdriver_interrupts(&driver) == 1 && virtio_works(&copier.dev));
}

Test(virtio, what_was_done_before_a_ring_broke_is_published)
{
	start_with(2, 0);
	vdriver_notify(&driver, 0);
	vring_enter(&driver.queues[0].ring, VDRIVER_QUEUE_SIZE); /* no descriptor */
	vring_show(&driver.queues[0].ring);
	vdriver_run(&driver);
	cr_expect(copier.faults[VIRTQ_BROKEN] == 1 && copier.turns == 1);
	cr_expect(count_used() == 2);
	cr_expect(!virtio_works(&copier.dev) && copier.dev.is_active);
	cr_expect(vdriver_status(&driver) == (0x0f | NEEDS_RESET));
	virtio_lock(&copier.dev);
	virtio_serve(&copier.dev, 0, BATCH);
	virtio_unlock(&copier.dev);
	cr_expect(copier.turns == 1, "a stopped queue has no turns");
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

Test(virtio, after_a_pause_every_queue_is_served_again)
{
	cr_assert(vdriver_start(&driver, &copier.dev, EVENT_IDX));
	vdriver_run(&driver);
	vdriver_pause(&driver);
	cr_assert(copier.pauses == 1);
	memset(copier.ready, 0, sizeof(copier.ready));
	/* As on a machine that was loaded: nobody has notified of anything. */
	for (unsigned i = 0; i < QUEUES; i++) {
		eventfd_t count;

		cr_assert(eventfd_read(copier.dev.queues[i].kick.fd, &count) == 0);
	}
	/* Shown by a vCPU before it parked, and not notified of. */
	vdriver_add(&driver, 1, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_resume(&driver);
	cr_assert(copier.resumes == 1);
	vdriver_run(&driver);
	for (unsigned i = 0; i < QUEUES; i++) {
		cr_expect(copier.ready[i] >= 1, "queue %u", i);
	}
	cr_assert(vring_used_idx(&driver.queues[1].ring) == 1);
	vdriver_stop(&driver);
	vdriver_run(&driver);
	memset(copier.ready, 0, sizeof(copier.ready));
	vdriver_pause(&driver);
	vdriver_resume(&driver);
	vdriver_run(&driver);
	cr_expect(copier.ready[0] == 0, "without a driver there is nothing to serve");
}

static enum virtio_step hold(struct virtio_dev *dev, unsigned index,
			     const struct virtq_chain *chain)
{
	(void)dev, (void)index, (void)chain;
	return VIRTIO_DONE;
}

/* The device has taken a chain, and doesn't give it back at a pause. */
static void hold_a_chain(void)
{
	static struct virtio_class holder;

	holder = class;
	holder.take = hold;
	copier.dev.class = &holder;
	cr_assert(vdriver_start(&driver, &copier.dev, 0));
	vdriver_add(&driver, 0, &(struct vbuf){"x", 1, 0}, 1);
	vdriver_run(&driver);
}

Test(virtio, a_pause_that_leaves_a_chain_with_the_device_is_a_bug, .signal = SIGABRT)
{
	hold_a_chain();
	virtio_quiesce(&copier.dev);
}

/* Its driver has to reset it anyway; but a pause must not end the monitor. */
Test(virtio, a_broken_device_may_be_paused_with_what_it_held)
{
	hold_a_chain();
	virtio_lock(&copier.dev);
	virtio_break(&copier.dev, 0);
	virtio_unlock(&copier.dev);
	virtio_quiesce(&copier.dev);
	virtio_resume(&copier.dev);
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
	const struct virtio_params params = {.class = &class, .id = "second", .queue_count = 2};
	struct error err = {0};

	virtio_destroy(&zeroed);
	env.loop = &closed;
	cr_assert(virtio_init(&dev, &env, &params, &err) == -1);
	cr_assert(strstr(err.msg, "Cannot wait for descriptor") != NULL, "%s", err.msg);
	virtio_destroy(&dev);
}
