/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/virtio_state.c, by a device that counts what it takes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/classes.h"
#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/core/virtio_state.h"
#include "tests/lib/vdriver.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	QUEUES = 3,
	BATCH = 64,
	REG_STATUS = 0x70,
	REG_INTERRUPT_STATUS = 0x60,
	REG_CONFIG_GENERATION = 0xfc,
	INT_USED = 1,
	INT_CONFIG = 2,
	FIXED_AT = 0,
	CHANGING_AT = 4,
	DRIVERS_AT = 8,
	CONFIG_LEN = 12,
	OWN_BIT = 5,
	NAMELESS_BIT = 40,
};

#define OWN_FEATURES (UINT64_C(1) << OWN_BIT | UINT64_C(1) << NAMELESS_BIT)
#define ALL_FEATURES (~UINT64_C(0))

/* Gives back what it takes, and counts it: that is its own state. */
struct counter {
	struct virtio_dev dev;
	uint32_t count;
	unsigned activated;
	bool is_refusing;
};

static struct counter counters[2];
static struct vdriver driver;
static struct state_bed bed;

static struct counter *to_counter(struct virtio_dev *dev)
{
	return container_of(dev, struct counter, dev);
}

static void ready(struct virtio_dev *dev, unsigned index)
{
	virtio_serve(dev, index, BATCH);
}

static enum virtio_step take(struct virtio_dev *dev, unsigned index,
			     const struct virtq_chain *chain)
{
	to_counter(dev)->count++;
	virtq_push(&dev->queues[index].vq, chain->head, 0);
	return VIRTIO_DONE;
}

static int activate(struct virtio_dev *dev, struct error *err)
{
	to_counter(dev)->activated++;
	return to_counter(dev)->is_refusing ? error_set(err, ERR_HOST, "The counter is tired") : 0;
}

static void config_write(struct virtio_dev *dev, size_t offset, const uint8_t *data, size_t len)
{
	memcpy(dev->config + offset, data, len);
}

static void state_codec(struct codec *codec, void *own)
{
	codec_u32(codec, "count", own);
}

static void state_save(struct virtio_dev *dev, void *own)
{
	memcpy(own, &to_counter(dev)->count, sizeof(uint32_t));
}

static int state_load(struct virtio_dev *dev, const void *own, struct error *err)
{
	memcpy(&to_counter(dev)->count, own, sizeof(uint32_t));
	if (to_counter(dev)->count > 1000) {
		return error_set(err, ERR_CORRUPT, "nobody counts to %u", to_counter(dev)->count);
	}
	return 0;
}

static const struct codec_section section = {
	.tag = CODEC_TAG('C', 'N', 'T', 'R'), .version = 1, .name = "counter"};

static const struct virtio_config_field fields[] = {
	{"fixed field", FIXED_AT, 4, VIRTIO_CONFIG_SAME},
	{"changing field", CHANGING_AT, 4, VIRTIO_CONFIG_NOW},
	{"driver's field", DRIVERS_AT, 4, VIRTIO_CONFIG_SAVED},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(fields), .section = &section, .size = sizeof(uint32_t),
	.codec = state_codec,	      .save = state_save,  .load = state_load,
};

static const struct virtio_feature features[] = {{OWN_BIT, "COUNTER_F_OWN"}};

static const struct virtio_class class = {
	.type = VIRTIO_TYPE_RNG,
	.name = "counter",
	VIRTIO_FEATURES(features),
	.state = &class_state,
	.config_write = config_write,
	.activate = activate,
	.queue_ready = ready,
	.take = take,
};

static struct counter *make_with(struct counter *counter, uint64_t offered)
{
	const struct virtio_params params = {
		.class = &class,
		.id = "one",
		.features = offered,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	struct error err = {0};

	virtio_destroy(&counter->dev);
	*counter = (struct counter){0};
	cr_assert(virtio_init(&counter->dev, vdriver_env(&driver), &params, &err) == 0);
	store_le32(counter->dev.config + FIXED_AT, 11);
	store_le32(counter->dev.config + CHANGING_AT, 22);
	return counter;
}

static struct counter *make(struct counter *counter)
{
	return make_with(counter, OWN_FEATURES);
}

static void set_up(void)
{
	vdriver_init(&driver);
	make(&counters[0]);
	vdriver_plug(&driver, &counters[0].dev);
}

static void tear_down(void)
{
	virtio_destroy(&counters[0].dev);
	virtio_destroy(&counters[1].dev);
	vdriver_destroy(&driver);
}

TestSuite(virtio_state, .init = set_up, .fini = tear_down);

static void start(uint64_t wanted)
{
	cr_assert(vdriver_start(&driver, &counters[0].dev, wanted));
	vdriver_run(&driver);
}

static void offer(unsigned queue, unsigned count)
{
	const struct vbuf buf = {"x", 1, 0};

	for (unsigned i = 0; i < count; i++) {
		vdriver_add(&driver, queue, &buf, 1);
	}
}

static unsigned count_used(unsigned queue)
{
	struct vring_used used;
	unsigned count = 0;

	while (vdriver_used(&driver, queue, &used)) {
		count++;
	}
	return count;
}

/* Saves what is in counters[0]; a fresh device takes its place. */
static struct counter *move(void)
{
	state_bed_take(&bed, &driver);
	virtio_destroy(&counters[0].dev);
	struct counter *fresh = make(&counters[1]);

	state_bed_give(&bed, &driver, &fresh->dev);
	return fresh;
}

/* --- going on --- */

Test(virtio_state, what_was_offered_at_the_save_is_served_after_the_load_without_a_notification)
{
	static const uint64_t sets[] = {0, VIRTIO_F_EVENT_IDX, ALL_FEATURES};

	for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
		make(&counters[0]);
		start(sets[i]);
		for (unsigned queue = 0; queue < QUEUES; queue++) {
			offer(queue, 10 + queue);
			vdriver_kick(&driver, queue);
		}
		vdriver_run(&driver);
		offer(0, 1);
		offer(2, 3);
		struct counter *fresh = move();

		vdriver_run(&driver);
		cr_expect_eq(counters[0].count, 33);
		cr_expect_eq(fresh->count, 37, "its own state: %u", fresh->count);
		cr_expect_eq(fresh->activated, 1);
		for (unsigned queue = 0; queue < QUEUES; queue++) {
			static const unsigned used[] = {11, 11, 15};

			cr_expect_eq(count_used(queue), used[queue], "queue %u", queue);
			offer(queue, 1);
			vdriver_kick(&driver, queue); /* which has to be wanted */
			vdriver_run(&driver);
			cr_expect_eq(count_used(queue), 1, "queue %u", queue);
		}
	}
}

Test(virtio_state, the_saved_device_goes_on_as_after_a_pause)
{
	start(ALL_FEATURES);
	offer(0, 5);
	state_bed_take(&bed, &driver);
	vdriver_resume(&driver);
	vdriver_run(&driver);
	cr_assert_eq(count_used(0), 5);
	cr_assert_eq(counters[0].activated, 1);
}

Test(virtio_state, a_driver_finds_all_registers_as_it_left_them_wherever_it_was)
{
	static const uint8_t path[] = {0, 1, 3, 11, 15};
	static const uint8_t extras[] = {0, VIRTIO_STATUS_FAILED};

	for (size_t i = 0; i < ARRAY_COUNT(path) * ARRAY_COUNT(extras); i++) {
		uint8_t again[STATE_FILE_LEN];

		make(&counters[0]);
		vdriver_begin(&driver, &counters[0].dev, ALL_FEATURES);
		vdriver_stop(&driver);
		for (size_t step = 0; step <= i / 2; step++) {
			vdriver_write(&driver, REG_STATUS, path[step]);
			vdriver_write(&driver, 0x24, 1);
			vdriver_write(&driver, 0x20, 1); /* VERSION_1 */
			vdriver_write(&driver, 0x30, 1);
			vdriver_write(&driver, 0x38, 128);
			vdriver_write(&driver, 0x80, 0x1230); /* of a queue that is not ready */
		}
		if (extras[i % 2] != 0) {
			vdriver_write(&driver, REG_STATUS, extras[i % 2]);
		}
		uint8_t status = vdriver_status(&driver);
		uint64_t acked = counters[0].dev.acked;
		uint16_t size = counters[0].dev.queues[1].config.size;

		cr_assert_eq(status, path[i / 2] | extras[i % 2], "case %zu: %#x", i, status);
		struct counter *fresh = move();

		cr_expect_eq(vdriver_status(&driver), status, "case %zu", i);
		cr_expect_eq(fresh->dev.acked, acked, "case %zu", i);
		cr_expect_eq(fresh->dev.queues[1].config.size, size, "case %zu", i);
		cr_expect_eq(driver.mmio.queue_select, 1);
		memcpy(again, bed.file, bed.len);
		size_t len = bed.len;

		state_bed_take(&bed, &driver);
		vdriver_resume(&driver);
		cr_expect(bed.len == len && memcmp(again, bed.file, len) == 0, "case %zu", i);
	}
}

Test(virtio_state, a_driver_may_reset_the_loaded_device_and_start_it_again)
{
	start(ALL_FEATURES);
	struct counter *fresh = move();

	cr_assert(vdriver_start(&driver, &fresh->dev, 0));
	offer(1, 2);
	vdriver_kick(&driver, 1);
	vdriver_run(&driver);
	cr_assert_eq(count_used(1), 2);
	cr_assert_eq(fresh->activated, 2);
}

Test(virtio_state, a_queue_that_its_driver_does_not_use_stays_unused)
{
	cr_assert(vdriver_begin(&driver, &counters[0].dev, ALL_FEATURES));
	vdriver_write(&driver, 0x30, 2);
	vdriver_write(&driver, 0x44, 0);
	cr_assert(vdriver_finish(&driver));
	struct counter *fresh = move();

	cr_assert_eq(fresh->dev.queues[2].vq.size, 0);
	cr_assert_eq(fresh->dev.queues[1].vq.size, VDRIVER_QUEUE_SIZE);
}

Test(virtio_state, a_broken_device_is_loaded_as_broken_and_can_be_reset)
{
	start(ALL_FEATURES);
	vring_set_avail_idx(&driver.queues[0].ring, 1000);
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	cr_assert_eq(vdriver_status(&driver), 15 | VIRTIO_STATUS_NEEDS_RESET);
	struct counter *fresh = move();

	vdriver_run(&driver);
	cr_assert_eq(vdriver_status(&driver), 15 | VIRTIO_STATUS_NEEDS_RESET);
	cr_assert_eq(fresh->activated, 0);
	cr_assert(vdriver_start(&driver, &fresh->dev, ALL_FEATURES));
	/* One whose activation failed was never active. */
	fresh->is_refusing = true;
	cr_assert(!vdriver_start(&driver, &fresh->dev, ALL_FEATURES));
	state_bed_take(&bed, &driver);
	cr_assert(!bed.state.is_active);
	state_bed_give(&bed, &driver, &make(&counters[0])->dev);
	cr_assert_eq(vdriver_status(&driver), 15 | VIRTIO_STATUS_NEEDS_RESET);
}

/* --- the transport --- */

Test(virtio_state, an_interrupt_that_is_not_acknowledged_is_raised_again_once)
{
	start(ALL_FEATURES);
	move();
	cr_expect_eq(driver.interrupts, 0, "there was nothing to say");
	offer(0, 1);
	vdriver_kick(&driver, 0);
	vdriver_run(&driver);
	cr_assert_eq(vdriver_read(&driver, REG_INTERRUPT_STATUS), INT_USED);
	driver.interrupts = 0;
	state_bed_take(&bed, &driver);
	struct error err = {0};

	cr_assert(state_bed_load(&bed, &driver, &make(&counters[0])->dev, &err) == 0, "%s",
		  err.msg);
	cr_expect_eq(driver.interrupts, 1);
	cr_expect_eq(vdriver_read(&driver, REG_INTERRUPT_STATUS), INT_USED);
	bed.mmio.interrupt_status = 4;
	cr_expect(virtio_mmio_load(&driver.mmio, &bed.mmio, &err) < 0);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_str_eq(err.msg,
			 "The counter device one can't be loaded: its interrupt status is 0x4");
}

/* --- the configuration --- */

Test(virtio_state, a_field_that_has_changed_is_told_to_the_driver_one_that_it_wrote_is_kept)
{
	const uint32_t written = 77;
	uint32_t values[3] = {0};
	struct error err = {0};

	start(ALL_FEATURES);
	vdriver_write_config(&driver, DRIVERS_AT, &written, sizeof(written));
	virtio_config_changed(&counters[0].dev);
	vdriver_interrupts(&driver);
	state_bed_take(&bed, &driver);
	struct counter *fresh = make(&counters[1]);

	store_le32(fresh->dev.config + CHANGING_AT, 33);
	cr_assert(state_bed_load(&bed, &driver, &fresh->dev, &err) == 0, "%s", err.msg);
	vdriver_read_config(&driver, 0, values, sizeof(values));
	cr_expect_eq(values[0], 11);
	cr_expect_eq(values[1], 33);
	cr_expect_eq(values[2], 77);
	cr_expect_eq(vdriver_read(&driver, REG_INTERRUPT_STATUS), INT_CONFIG);
	cr_expect_eq(driver.interrupts, 1);
	cr_expect_eq(vdriver_read(&driver, REG_CONFIG_GENERATION), 2);
}

Test(virtio_state, one_that_the_driver_counts_on_must_be_the_same)
{
	struct error err = {0};

	start(ALL_FEATURES);
	state_bed_take(&bed, &driver);
	struct counter *fresh = make(&counters[1]);

	store_le32(fresh->dev.config + FIXED_AT, 12);
	cr_assert(state_bed_load(&bed, &driver, &fresh->dev, &err) < 0);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg, "The counter device one can't be loaded: it has another fixed "
				  "field now than its driver knows");
}

/* --- what is refused --- */

Test(virtio_state, features_that_are_not_there_any_more_are_named)
{
	struct error err = {0};

	start(ALL_FEATURES);
	state_bed_take(&bed, &driver);
	cr_assert(state_bed_load(&bed, &driver, &make_with(&counters[1], 0)->dev, &err) < 0);
	cr_expect_eq(err.kind, ERR_NOT_SUPPORTED);
	cr_expect_str_eq(err.msg,
			 "The counter device one can't be loaded: its driver uses features that "
			 "it does not have here: COUNTER_F_OWN, bit 40");
	error_clear(&err);
	make(&counters[1])->dev.offered &= ~VIRTIO_F_EVENT_IDX;
	cr_assert(state_bed_load(&bed, &driver, &counters[1].dev, &err) < 0);
	cr_expect(strstr(err.msg, "here: VIRTIO_F_EVENT_IDX") != NULL, "%s", err.msg);
	/* What the driver did not take, it does not miss. */
	start(0);
	state_bed_take(&bed, &driver);
	state_bed_give(&bed, &driver, &make_with(&counters[1], 0)->dev);
}

static void break_type(struct virtio_state *state)
{
	state->type = 2;
}

static void break_id(struct virtio_state *state)
{
	memset(state->id, 'x', sizeof(state->id));
}

static void break_queue_count(struct virtio_state *state)
{
	state->queue_count = 32;
}

static void break_config_len(struct virtio_state *state)
{
	state->config_len = 64;
}

static void break_status(struct virtio_state *state)
{
	state->status = 13;
}

static void break_status_broken_early(struct virtio_state *state)
{
	state->status = 11 | VIRTIO_STATUS_NEEDS_RESET;
}

static void break_active(struct virtio_state *state)
{
	state->is_active = false;
}

static void break_active_early(struct virtio_state *state)
{
	state->status = 11;
}

static void break_features(struct virtio_state *state)
{
	state->acked |= 1;
}

static void break_version(struct virtio_state *state)
{
	state->acked &= ~VIRTIO_F_VERSION_1;
}

static void break_features_early(struct virtio_state *state)
{
	state->status = 1;
	state->is_active = false;
}

static void break_queue_early(struct virtio_state *state)
{
	state->status = 3;
	state->is_active = false;
}

static void break_queue_size(struct virtio_state *state)
{
	state->queues[1].config.size = 512;
}

static void break_queue_size_odd(struct virtio_state *state)
{
	state->queues[1].config.size = 255;
}

static void break_started(struct virtio_state *state)
{
	state->queues[1].is_started = false;
}

static void break_ready(struct virtio_state *state)
{
	state->queues[1].config.is_ready = false;
}

static void break_broken(struct virtio_state *state)
{
	state->status |= VIRTIO_STATUS_NEEDS_RESET;
}

static void break_ring(struct virtio_state *state)
{
	state->queues[2].config.used = GPA(VDRIVER_HOLE);
}

static void break_ring_place(struct virtio_state *state)
{
	state->queues[0].config.desc.v += 8;
}

static void break_own(struct virtio_state *state)
{
	state->own[0] = 1001;
}

Test(virtio_state, what_no_driver_can_bring_about_is_refused)
{
	static const struct {
		void (*spoil)(struct virtio_state *state);
		const char *sentence;
	} cases[] = {
		{break_type, "it is of type 2 and not 4"},
		{break_id, "it has the id \"xxx"},
		{break_queue_count, "it has 32 queues and not 3"},
		{break_config_len, "it has a configuration of 64 bytes and not 12"},
		{break_status, "no driver gets it to status 0xd"},
		{break_status_broken_early, "no driver gets it to status 0x4b"},
		{break_active, "with status 0xf it is active"},
		{break_active_early, "with status 0xb it is not active"},
		{break_features, "its driver can't have features 0x10130000021 of"},
		{break_version, "its driver can't have features 0x10030000020 of"},
		{break_features_early, "it has features before a driver"},
		{break_queue_early, "no driver can have written that of queue 0"},
		{break_queue_size, "no driver can have written that of queue 1"},
		{break_queue_size_odd, "queue 1: A queue size of 255"},
		{break_started, "queue 1 can't be not started"},
		{break_ready, "queue 1 can't be started"},
		{break_broken, "queue 0 can't be started"},
		{break_ring, "queue 2: The used ring at guest address"},
		{break_ring_place, "queue 0: The descriptor table at guest address"},
		{break_own, "nobody counts to 1001"},
	};

	start(ALL_FEATURES);
	state_bed_take(&bed, &driver);
	const struct virtio_state good = bed.state;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		bed.state = good;
		cases[i].spoil(&bed.state);
		cr_expect(state_bed_load(&bed, &driver, &make(&counters[1])->dev, &err) < 0,
			  "case %zu", i);
		cr_expect_eq(err.kind, ERR_CORRUPT, "case %zu: %s", i, err.msg);
		cr_expect(strncmp(err.msg, "The counter device one can't be loaded: ", 40) == 0 &&
				  strstr(err.msg, cases[i].sentence) != NULL,
			  "case %zu: %s", i, err.msg);
	}
	bed.state = good;
	state_bed_give(&bed, &driver, &make(&counters[1])->dev);
}

Test(virtio_state, a_device_that_the_host_can_t_activate_is_not_loaded)
{
	struct error err = {0};

	start(ALL_FEATURES);
	state_bed_take(&bed, &driver);
	struct counter *fresh = make(&counters[1]);

	fresh->is_refusing = true;
	cr_assert(state_bed_load(&bed, &driver, &fresh->dev, &err) < 0);
	cr_assert_str_eq(err.msg, "The counter device one can't be loaded: The counter is tired");
	cr_assert(!fresh->dev.is_active);
}

Test(virtio_state, an_index_that_is_not_the_driver_s_breaks_the_device_when_it_is_used)
{
	start(ALL_FEATURES);
	state_bed_take(&bed, &driver);
	bed.state.queues[0].next += 300;
	state_bed_give(&bed, &driver, &make(&counters[1])->dev);
	vdriver_run(&driver);
	cr_assert_eq(vdriver_status(&driver), 15 | VIRTIO_STATUS_NEEDS_RESET);
}

/* --- hostile states --- */

static uint64_t seed = 1;

static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A byte at a random place; booleans stay booleans, as the codec sees to. */
static void spoil_at_random(struct virtio_state *state)
{
	uint8_t *bytes = (uint8_t *)state;

	bytes[any() % sizeof(*state)] = (uint8_t)any();
	bytes[offsetof(struct virtio_state, is_active)] &= 1;
	for (size_t i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		size_t at = offsetof(struct virtio_state, queues) +
			    i * sizeof(struct virtio_queue_state);

		bytes[at + offsetof(struct virtio_queue_state, config.is_ready)] &= 1;
		bytes[at + offsetof(struct virtio_queue_state, is_started)] &= 1;
	}
}

Test(virtio_state, random_states_are_refused_or_serve_a_device)
{
	unsigned loaded = 0;

	start(ALL_FEATURES);
	offer(0, 3);
	state_bed_take(&bed, &driver);
	const struct virtio_state good = bed.state;

	for (unsigned round = 0; round < 4000; round++) {
		struct error err = {0};

		if (round % 8 == 0) {
			bed.state = good;
		}
		spoil_at_random(&bed.state);
		if (round % 64 == 0) {
			for (unsigned i = 0; i < 4096; i++) {
				spoil_at_random(&bed.state);
			}
		}
		struct counter *fresh = make(&counters[1]);

		if (state_bed_load(&bed, &driver, &fresh->dev, &err) < 0) {
			cr_assert(err.kind == ERR_CORRUPT || err.kind == ERR_NOT_SUPPORTED, "%s",
				  err.msg);
			continue;
		}
		loaded++;
		vdriver_resume(&driver);
		vdriver_run(&driver);
		evloop_freeze(&driver.loop);
		virtio_quiesce(&fresh->dev); /* which asserts that no chain is held */
	}
	cr_assert_gt(loaded, 100);
}

/* --- as text --- */

Test(virtio_state, a_dump_names_every_field)
{
	static const char *const expected[] = {
		"section virtio-mmio", "queue_select: 2", "section virtio", "type: 4",
		"id: \"one\"",	       "is_active: true", "queue[2]",	    "next: 7",
		"section counter",     "count: 7",
	};
	static char text[STATE_FILE_LEN];

	start(ALL_FEATURES);
	offer(2, 7);
	vdriver_kick(&driver, 2);
	vdriver_run(&driver);
	vdriver_write(&driver, 0x30, 2);
	state_bed_take(&bed, &driver);
	state_bed_dump(&bed, text, sizeof(text));
	for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
		cr_expect(strstr(text, expected[i]) != NULL, "%s in:\n%s", expected[i], text);
	}
}

static const enum virtio_type types[] = {VIRTIO_TYPE_NET, VIRTIO_TYPE_BLOCK, VIRTIO_TYPE_RNG,
					 VIRTIO_TYPE_BALLOON, VIRTIO_TYPE_VSOCK};

/*
 * What is in a file is read for ever: a new field goes to the end of its section, with a new
 * version. Only then these numbers change, which stand for the names, their order and the bytes.
 */
Test(virtio_state, the_fields_of_each_kind_are_those_of_their_version)
{
	static const struct {
		uint64_t dump;
		size_t len;
	} golden[ARRAY_COUNT(types)] = {
		{UINT64_C(0xde718ae5fd8c60d4), 327}, {UINT64_C(0xa14453a83e289577), 220},
		{UINT64_C(0x9447957cc6bb3822), 220}, {UINT64_C(0x70daa920265a7fcd), 265},
		{UINT64_C(0xb096d74af4e91c00), 135},
	};

	for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
		struct virtio_state state = {.type = types[i], .queue_count = 1};
		char text[4096] = "";
		uint8_t file[STATE_FILE_LEN];
		FILE *stream = fmemopen(text, sizeof(text), "w");
		struct codec codec;
		struct error err = {0};
		size_t len;

		codec_dump(&codec, stream);
		virtio_state_codec(&codec, &state, virtio_class_of);
		cr_assert(fclose(stream) == 0);
		codec_save(&codec, &state_file, file, sizeof(file));
		virtio_state_codec(&codec, &state, virtio_class_of);
		cr_assert(codec_finish(&codec, &len, &err) == 0, "%s", err.msg);
		uint64_t dump = crc64(text, strlen(text));

		cr_expect(dump == golden[i].dump && len == golden[i].len,
			  "{UINT64_C(%#llx), %zu}:\n%s", (unsigned long long)dump, len, text);
	}
}

Test(virtio_state, each_kind_of_device_is_found_by_its_type)
{
	for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
		const struct virtio_class *found = virtio_class_of(types[i]);

		cr_assert(found != NULL && found->type == types[i] && found->state != NULL);
	}
	cr_assert(virtio_class_of(3) == NULL);
}

/* Where the fields are in bed.file, behind the head and the transport's section. */
Test(virtio_state, what_no_field_can_have_is_refused_by_section_and_field)
{
	enum {
		TYPE_AT = 66,
		ID_AT = 70, /* three bytes and their count */
		IS_ACTIVE_AT = 92,
		CONFIG_LEN_AT = 97,
		QUEUE_COUNT_AT = 113,
		IS_READY_AT = 119,
	};
	static const struct {
		size_t at;
		uint8_t value;
		const char *sentence;
	} cases[] = {
		{ID_AT, 64, "Section virtio, field id: a text of 64 bytes, and at most 63 fit"},
		{IS_ACTIVE_AT, 2, "Section virtio, field is_active: 2 is neither 0 nor 1"},
		{CONFIG_LEN_AT, 65, "Section virtio, field config_len: 65 is more than 64"},
		{QUEUE_COUNT_AT, 33, "Section virtio, field queue_count: 33 is more than 32"},
		{QUEUE_COUNT_AT, 4, "Section virtio, field queue[3].size: 2 bytes are missing"},
		{IS_READY_AT, 2, "Section virtio, field queue[0].is_ready: 2 is neither"},
	};

	start(ALL_FEATURES);
	state_bed_take(&bed, &driver);
	cr_assert_eq(bed.file[TYPE_AT], VIRTIO_TYPE_RNG);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t before = bed.file[cases[i].at];
		struct error err = {0};

		bed.file[cases[i].at] = cases[i].value;
		cr_expect_eq(state_bed_read(&bed, &err), -1, "case %zu", i);
		cr_expect_eq(err.kind, ERR_CORRUPT);
		cr_expect(strncmp(err.msg, cases[i].sentence, strlen(cases[i].sentence)) == 0,
			  "case %zu: %s", i, err.msg);
		bed.file[cases[i].at] = before;
	}
}

/* The device is refused later; until then its file is read as far as it goes. */
Test(virtio_state, a_type_that_nobody_knows_is_read_without_what_is_its_own)
{
	struct virtio_state state = {.type = 3};
	uint8_t file[STATE_FILE_LEN];
	struct codec codec;
	struct error err = {0};
	size_t len;

	codec_save(&codec, &state_file, file, sizeof(file));
	virtio_state_codec(&codec, &state, virtio_class_of);
	cr_assert(codec_finish(&codec, &len, &err) == 0);
	codec_load(&codec, &state_file, file, len);
	virtio_state_codec(&codec, &state, virtio_class_of);
	cr_assert(codec_finish(&codec, NULL, &err) == 0);
	cr_assert(virtio_load(&counters[0].dev, &state, &err) < 0);
	cr_assert(strstr(err.msg, "it is of type 3 and not 4") != NULL);
}
