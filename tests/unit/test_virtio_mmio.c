/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/mmio.c: registers in every state of a device that does nothing. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/core/mmio.h"
#include "tests/lib/capture.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

enum {
	QUEUES = 2,
	CONFIG_LEN = 10,
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	NEEDS_RESET = 64,
	FAILED = 128,
};

#define OFFERED (UINT64_C(1) << 5 | UINT64_C(1) << 40)
#define ALWAYS (UINT64_C(1) << 28 | UINT64_C(1) << 29 | UINT64_C(1) << 32)

static struct virtio_dev dev;
static struct vdriver driver;
static unsigned activated;
static unsigned resets;
static unsigned ready;

static void on_config_write(struct virtio_dev *of, size_t offset, const uint8_t *data, size_t len)
{
	cr_assert(offset + len <= CONFIG_LEN);
	memcpy(of->config + offset, data, len);
}

static int on_activate(struct virtio_dev *of, struct error *err)
{
	(void)of;
	(void)err;
	activated++;
	return 0;
}

static void on_ready(struct virtio_dev *of, unsigned index)
{
	(void)of;
	(void)index;
	ready++;
}

static void on_reset(struct virtio_dev *of)
{
	(void)of;
	resets++;
}

static const struct virtio_class class = {
	.type = VIRTIO_TYPE_BALLOON,
	.name = "idler",
	.config_write = on_config_write,
	.activate = on_activate,
	.queue_ready = on_ready,
	.reset = on_reset,
};

static void set_up(void)
{
	const struct virtio_params params = {
		.class = &class,
		.id = "only",
		.features = OFFERED,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	struct error err = {0};

	vdriver_init(&driver);
	cr_assert(virtio_init(&dev, vdriver_env(&driver), &params, &err) == 0, "%s", err.msg);
	memcpy(dev.config, "0123456789abcdef", 16);
	vdriver_plug(&driver, &dev);
}

static void tear_down(void)
{
	virtio_destroy(&dev);
	vdriver_destroy(&driver);
}

TestSuite(virtio_mmio, .init = set_up, .fini = tear_down);

/* Brings the device to a state that a driver gets to. */
static void go_to(uint8_t status)
{
	uint8_t steps = status & (uint8_t)~FAILED;

	vdriver_stop(&driver);
	if ((steps & DRIVER_OK) != 0) {
		cr_assert(vdriver_start(&driver, &dev, 0));
	} else if ((steps & FEATURES_OK) != 0) {
		cr_assert(vdriver_begin(&driver, &dev, 0));
	} else {
		vdriver_write(&driver, 0x70, steps & ACKNOWLEDGE);
		vdriver_write(&driver, 0x70, steps);
	}
	if ((status & FAILED) != 0) {
		vdriver_write(&driver, 0x70, status);
	}
	cr_assert(vdriver_status(&driver) == status, "%#x", status);
	vdriver_run(&driver);
}

static const uint8_t states[] = {
	0,
	ACKNOWLEDGE,
	ACKNOWLEDGE | DRIVER,
	ACKNOWLEDGE | DRIVER | FEATURES_OK,
	ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK,
	FAILED,
	ACKNOWLEDGE | FAILED,
	ACKNOWLEDGE | DRIVER | FAILED,
	ACKNOWLEDGE | DRIVER | FEATURES_OK | FAILED,
	ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK | FAILED,
};

Test(virtio_mmio, the_device_introduces_itself)
{
	cr_expect(vdriver_read(&driver, 0x00) == 0x74726976);
	cr_expect(vdriver_read(&driver, 0x04) == 2);
	cr_expect(vdriver_read(&driver, 0x08) == 5);
	cr_expect(vdriver_read(&driver, 0x0c) == 0);
	cr_expect(vdriver_offered(&driver) == (OFFERED | ALWAYS));
	vdriver_write(&driver, 0x14, 2);
	cr_expect(vdriver_read(&driver, 0x10) == 0, "features beyond 64");
	vdriver_write(&driver, 0x14, UINT32_MAX);
	cr_expect(vdriver_read(&driver, 0x10) == 0);
	for (unsigned i = 0; i < 4; i++) {
		vdriver_write(&driver, 0x30, i);
		cr_expect(vdriver_read(&driver, 0x34) == (i < QUEUES ? 256 : 0), "queue %u", i);
		cr_expect(vdriver_read(&driver, 0x44) == 0, "queue %u", i);
	}
	/* No shared memory region has any number. */
	for (uint64_t reg = 0xb0; reg <= 0xbc; reg += 4) {
		vdriver_write(&driver, 0xac, (uint32_t)reg);
		cr_expect(vdriver_read(&driver, reg) == UINT32_MAX, "register %#x", (unsigned)reg);
	}
	cr_expect(vdriver_read(&driver, 0xc0) == 0, "QueueReset is not offered");
}

/* From every state, every value of the status register. */
Test(virtio_mmio, the_status_goes_bit_by_bit)
{
	static const uint8_t next[] = {1, 3, 11, 15, 15, FAILED, 129, 131, 139, 143};

	(void)capture_log(LOG_OFF);
	for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
		for (uint32_t value = 0; value < 512; value++) {
			uint32_t wanted = value & ~(uint32_t)NEEDS_RESET;
			uint8_t expected = states[i];

			go_to(states[i]);
			if (value == 0) {
				expected = 0;
			} else if ((wanted & FAILED) != 0) {
				expected |= FAILED;
			} else if (wanted == next[i]) {
				/* Features were negotiated only by those who go on. */
				expected = wanted == 11 ? states[i] : next[i];
			}
			vdriver_write(&driver, 0x70, value);
			cr_assert(vdriver_status(&driver) == expected, "%#x after %#x: %#x", value,
				  states[i], vdriver_status(&driver));
		}
	}
}

/* Else the next driver takes an interrupt of the last one's for its own. */
Test(virtio_mmio, a_reset_leaves_no_interrupt_behind)
{
	cr_assert(vdriver_start(&driver, &dev, 0));
	virtio_lock(&dev);
	virtio_config_changed(&dev);
	virtio_unlock(&dev);
	cr_assert(vdriver_read(&driver, 0x60) == 2);
	vdriver_write(&driver, 0x70, 0);
	cr_expect(vdriver_read(&driver, 0x60) == 0);
}

enum {
	THEIR_EVENTFD = 77
};

static int eventfd_of(void *arg)
{
	cr_expect_eq(arg, &driver);
	return THEIR_EVENTFD;
}

static void ignore(void *arg)
{
	(void)arg;
}

Test(virtio_mmio, an_interrupt_that_another_process_has_is_always_there)
{
	const struct irq_line line = {.fire = ignore, .eventfd = eventfd_of, .arg = &driver};

	virtio_mmio_init(&driver.mmio, &dev, &line);
	virtio_mmio_show(&driver.mmio, driver.page);
	go_to(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	cr_expect_eq(vdriver_read(&driver, 0x60), 0, "nobody has it yet");
	cr_assert_eq(dev.transport.call_fd(dev.transport.arg, 0), THEIR_EVENTFD);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_eq(vdriver_read(&driver, 0x60), 1, "look %u", i);
		vdriver_write(&driver, 0x64, 3);
	}
	virtio_lock(&dev);
	virtio_config_changed(&dev);
	virtio_unlock(&dev);
	cr_expect_eq(vdriver_read(&driver, 0x60), 3);
	vdriver_write(&driver, 0x64, 3);
	cr_expect_eq(vdriver_read(&driver, 0x60), 1);
}

Test(virtio_mmio, a_line_that_nobody_else_can_fire_is_not_handed_over)
{
	cr_expect_null(dev.transport.call_fd);
}

Test(virtio_mmio, features_are_refused_by_not_keeping_the_bit)
{
	static const struct {
		uint64_t features;
		bool is_fine;
	} cases[] = {
		{0, false},
		{UINT64_C(1) << 32, true},
		{OFFERED, false},
		{OFFERED | UINT64_C(1) << 32, true},
		{OFFERED | ALWAYS, true},
		{OFFERED | ALWAYS | 1, false},
		{ALWAYS | UINT64_C(1) << 63, false},
		{ALWAYS | UINT64_C(1) << 40, true}, /* QUEUE_RESET, if it were */
		{ALWAYS | UINT64_C(1) << 41, false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		go_to(ACKNOWLEDGE | DRIVER);
		for (unsigned j = 0; j < 4; j++) {
			vdriver_write(&driver, 0x24, j);
			/* Those beyond 64 must not come back to others. */
			vdriver_write(&driver, 0x20,
				      j < 2 ? (uint32_t)(cases[i].features >> (32 * j))
					    : UINT32_MAX);
		}
		vdriver_write(&driver, 0x70, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		cr_expect(((vdriver_status(&driver) & FEATURES_OK) != 0) == cases[i].is_fine,
			  "case %zu", i);
		if (!cases[i].is_fine) {
			continue;
		}
		/* Settled: what is written now has no effect. */
		vdriver_write(&driver, 0x24, 0);
		vdriver_write(&driver, 0x20, UINT32_MAX);
		cr_expect(dev.acked == cases[i].features, "case %zu", i);
		cr_expect(virtio_has(&dev, 32) && !virtio_has(&dev, 0));
	}
}

static bool is_same_queue(const struct virtq_config *a, const struct virtq_config *b)
{
	return a->size == b->size && a->is_ready == b->is_ready && a->desc.v == b->desc.v &&
	       a->avail.v == b->avail.v && a->used.v == b->used.v;
}

/*
 * Every register, in every state, with values of all kinds: only FEATURES_OK lets a queue change,
 * and nothing at all changes one that is started.
 */
Test(virtio_mmio, queues_change_only_between_features_and_driver_ok)
{
	static const uint32_t values[] = {1, 0, 2, 16, 0x100, 0x101, 0x8000, 0x10000, UINT32_MAX};
	static const uint64_t queue_regs[] = {0x38, 0x44, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4};

	for (size_t i = 0; i < ARRAY_COUNT(states) * ARRAY_COUNT(values); i++) {
		uint8_t state = states[i / ARRAY_COUNT(values)];
		uint32_t value = values[i % ARRAY_COUNT(values)];

		for (uint64_t reg = 0; reg < 0x100; reg += 4) {
			if (reg == 0x70) {
				continue;
			}
			go_to(state);
			vdriver_write(&driver, 0x30, 1);
			struct virtio_queue before[QUEUES];

			memcpy(before, dev.queues, sizeof(before));
			vdriver_write(&driver, reg, value);
			bool is_changed = !is_same_queue(&before[1].config, &dev.queues[1].config);
			bool is_queue_reg = false;

			for (size_t j = 0; j < ARRAY_COUNT(queue_regs); j++) {
				is_queue_reg |= reg == queue_regs[j];
			}
			cr_expect(!is_changed || (state == 11 && is_queue_reg),
				  "state %#x, register %#x, value %#x", state, (unsigned)reg,
				  value);
			cr_expect(is_same_queue(&before[0].config, &dev.queues[0].config));
			cr_expect(
				memcmp(&before[1].vq, &dev.queues[1].vq, sizeof(struct virtq)) == 0,
				"state %#x, register %#x, value %#x", state, (unsigned)reg, value);
			cr_expect(vdriver_status(&driver) == state);
			vdriver_run(&driver);
		}
	}
}

Test(virtio_mmio, queue_ready_reads_back_and_stops_nothing_later)
{
	go_to(ACKNOWLEDGE | DRIVER | FEATURES_OK);
	vdriver_write(&driver, 0x30, 0);
	cr_assert(vdriver_read(&driver, 0x44) == 1);
	vdriver_write(&driver, 0x44, 0);
	cr_assert(vdriver_read(&driver, 0x44) == 0);
	vdriver_write(&driver, 0x44, 1);
	cr_assert(vdriver_finish(&driver));
	vdriver_write(&driver, 0x44, 0);
	cr_assert(vdriver_read(&driver, 0x44) == 1);
	cr_assert(dev.queues[0].vq.size == 256);
	vdriver_stop(&driver);
	cr_assert(vdriver_read(&driver, 0x44) == 0);
}

/* A queue that was selected but does not exist. */
Test(virtio_mmio, registers_of_absent_queues_do_nothing)
{
	static const uint32_t queues[] = {QUEUES, 31, 32, 0x10000, UINT32_MAX};

	go_to(ACKNOWLEDGE | DRIVER | FEATURES_OK);
	for (size_t i = 0; i < ARRAY_COUNT(queues); i++) {
		vdriver_write(&driver, 0x30, queues[i]);
		for (uint64_t reg = 0x34; reg < 0xb0; reg += 4) {
			if (reg != 0x50 && reg != 0x70) {
				vdriver_write(&driver, reg, 1);
				cr_expect(reg == 0x64 || vdriver_read(&driver, reg) == 0 ||
						  reg == 0x60,
					  "register %#x", (unsigned)reg);
			}
		}
	}
	cr_assert(vdriver_finish(&driver));
}

/* Reads of any width at any offset: zeroes beyond the configuration, nothing beyond the width. */
Test(virtio_mmio, the_configuration_is_read_in_any_way)
{
	static const uint8_t config[32] = "0123456789";

	for (uint64_t offset = 0; offset < 20; offset++) {
		for (uint32_t len = 1; len <= 8; len++) {
			uint8_t data[16] = {0};

			data[len] = 0xa7;
			virtio_mmio_bus_ops.read(&driver.mmio, 0x100 + offset, data, len);
			cr_expect(memcmp(data, config + offset, len) == 0, "%u at %u", len,
				  (unsigned)offset);
			cr_expect(data[len] == 0xa7, "%u at %u", len, (unsigned)offset);
		}
	}
	uint8_t data[8] = {0};

	virtio_mmio_bus_ops.read(&driver.mmio, VIRTIO_MMIO_LEN - 1, data, 8);
	virtio_mmio_bus_ops.read(&driver.mmio, UINT64_MAX, data, 8);
	virtio_mmio_bus_ops.read(&driver.mmio, UINT64_MAX - 0x100, data, 8);
	cr_assert(load_le64(data) == 0);
}

Test(virtio_mmio, the_configuration_is_written_within_its_length_by_a_driver)
{
	for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
		uint8_t data[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
		bool is_driver = (states[i] & (DRIVER | FAILED)) == DRIVER;

		go_to(states[i]);
		for (uint64_t offset = 0; offset < 20; offset++) {
			for (uint32_t len = 1; len <= 8; len++) {
				bool is_within = offset + len <= CONFIG_LEN;

				memcpy(dev.config, "0123456789abcdef", 16);
				vdriver_write_config(&driver, offset, data, len);
				cr_assert((memchr(dev.config, 0xff, 16) != NULL) ==
						  (is_driver && is_within),
					  "state %#x: %u at %u", states[i], len, (unsigned)offset);
			}
		}
		vdriver_write_config(&driver, UINT64_MAX - 0x100, data, 8);
		vdriver_write_config(&driver, UINT64_MAX - 0x107, data, 8);
	}
}

/* The registers are 4 bytes wide; only the notification takes what comes. */
Test(virtio_mmio, other_widths_do_nothing)
{
	static const uint32_t lens[] = {1, 2, 3, 5, 6, 7, 8};
	uint8_t data[8] = {1};

	go_to(ACKNOWLEDGE | DRIVER | FEATURES_OK);
	for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
		for (uint64_t reg = 0; reg < 0x100; reg++) {
			uint8_t value[8] = {0};

			virtio_mmio_bus_ops.read(&driver.mmio, reg, value, lens[i]);
			cr_expect(load_le64(value) == 0, "%u at %#x", lens[i], (unsigned)reg);
			if (reg != VIRTIO_MMIO_QUEUE_NOTIFY) {
				virtio_mmio_bus_ops.write(&driver.mmio, reg, data, lens[i]);
			}
			cr_assert(vdriver_status(&driver) == 11);
		}
	}
	for (uint64_t reg = 1; reg < 0x100; reg += reg % 4 == 3 ? 2 : 1) {
		virtio_mmio_bus_ops.write(&driver.mmio, reg, data, 4);
	}
	cr_assert(vdriver_status(&driver) == 11);
	cr_assert(vdriver_finish(&driver), "the queues are as they were");
}

Test(virtio_mmio, a_notification_of_any_width_kicks)
{
	cr_assert(vdriver_start(&driver, &dev, 0));
	vdriver_run(&driver);
	for (uint32_t len = 1; len <= 8; len++) {
		const uint8_t index[8] = {1};
		const uint8_t absent[8] = {1, 1, 1, 1, 1, 1, 1, 1};

		ready = 0;
		virtio_mmio_bus_ops.write(&driver.mmio, VIRTIO_MMIO_QUEUE_NOTIFY, index, len);
		vdriver_run(&driver);
		cr_expect(ready == 1, "%u bytes", len);
		virtio_mmio_bus_ops.write(&driver.mmio, VIRTIO_MMIO_QUEUE_NOTIFY, absent, len);
		vdriver_run(&driver);
		cr_expect(ready == (len == 1 ? 2 : 1), "%u bytes", len);
		/* The sanitizer sees a look behind the last queue. */
		const uint8_t first_absent[8] = {(uint8_t)dev.queue_count};

		virtio_mmio_bus_ops.write(&driver.mmio, VIRTIO_MMIO_QUEUE_NOTIFY, first_absent,
					  len);
	}
}

Test(virtio_mmio, a_read_only_configuration_ignores_writes)
{
	struct virtio_class read_only = class;
	uint8_t data[4] = {1, 2, 3, 4};

	read_only.config_write = NULL;
	dev.class = &read_only;
	cr_assert(vdriver_start(&driver, &dev, 0));
	vdriver_write_config(&driver, 0, data, 4);
	cr_assert(memcmp(dev.config, "0123", 4) == 0);
	virtio_destroy(&dev);
}

/* A guest may do all of this as fast as it likes. */
Test(virtio_mmio, the_log_is_not_flooded)
{
	int log = capture_log(LOG_DEBUG);
	uint64_t start_ns = clock_host.now_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < 1000; i++) {
		vdriver_write(&driver, 0x70, 4);
		vdriver_write(&driver, 0x70, 2);
		vdriver_write_config(&driver, 0, &i, 4);
		go_to(ACKNOWLEDGE | DRIVER);
		vdriver_write(&driver, 0x70, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		cr_assert(vdriver_begin(&driver, &dev, 0));
		vdriver_write(&driver, 0x30, 0);
		vdriver_write(&driver, 0x80, 1);
		cr_assert(!vdriver_finish(&driver));
	}
	/* Four sites, 10 lines per 5 s, and as many that tell what was dropped. */
	uint64_t seconds = (clock_host.now_ns(CLOCK_MONOTONIC) - start_ns) / 1000000000 + 1;
	unsigned lines = count_of(captured(log), "\n");

	cr_assert(lines <= 4 * 2 * (10 + 2 * seconds), "%u lines in %u s", lines,
		  (unsigned)seconds);
}

/* --- vCPUs and the VMM thread at once: for the sanitizers --- */

static _Atomic bool is_over;

static void *access_registers(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		uint64_t reg = 4 * ((uint64_t)rand_r(&seed) % 0x44);

		(void)vdriver_read(&driver, reg);
		/* The queues' addresses stay: rings in other places would be somebody else's. */
		if (reg < 0x80 || reg > 0xac) {
			vdriver_write(&driver, reg, (uint32_t)rand_r(&seed) % 16);
		}
	}
	return NULL;
}

Test(virtio_mmio, vcpus_and_the_loop_do_not_race, .timeout = 60)
{
	pthread_t threads[2];

	(void)capture_log(LOG_OFF);
	cr_assert(vdriver_start(&driver, &dev, 0));
	for (uintptr_t i = 0; i < ARRAY_COUNT(threads); i++) {
		cr_assert(pthread_create(&threads[i], NULL, access_registers, (void *)(i + 1)) ==
			  0);
	}
	for (unsigned i = 0; i < 3000; i++) {
		struct error err = {0};

		cr_assert(evloop_run_once(&driver.loop, 1, &err) == 0);
		virtio_lock(&dev);
		virtio_config_changed(&dev);
		if (dev.is_active && i % 16 == 0) {
			virtio_break(&dev, 0);
		}
		virtio_unlock(&dev);
	}
	atomic_store(&is_over, true);
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
		pthread_join(threads[i], NULL);
	}
	cr_assert(vdriver_start(&driver, &dev, 0), "it works as ever");
}
