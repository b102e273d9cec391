/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/virtio/core/pci.c: a driver on the other side of a PCI function. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/core/pci.h"
#include "devices/virtio/core/virtio_state.h"
#include "tests/lib/capture.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

enum {
	QUEUES = 2,
	VECTORS = QUEUES + 1,
	CONFIG_LEN = 10,
	NONE = 0xffff,
	FEATURES_OK = 11, /* statuses, as they are reached */
	DRIVER_OK = 15,
	FAILED = 128,
};

#define BASE UINT64_C(0x4000000000)
#define OFFERED (UINT64_C(1) << 5 | UINT64_C(1) << 40)

static struct virtio_dev dev;
static struct virtio_pci pci;
static struct vdriver driver; /* for its memory and its loop */
static unsigned routed[VECTORS];
static unsigned sent[VECTORS];
static unsigned ready;

static void route(void *arg, unsigned vector, uint64_t address, uint32_t data)
{
	(void)arg;
	(void)address;
	(void)data;
	routed[vector]++;
}

static void send(void *arg, unsigned vector)
{
	(void)arg;
	sent[vector]++;
}

static void on_config_write(struct virtio_dev *of, size_t offset, const uint8_t *data, size_t len)
{
	cr_assert(offset + len <= CONFIG_LEN);
	memcpy(of->config + offset, data, len);
}

static void on_ready(struct virtio_dev *of, unsigned index)
{
	(void)of;
	ready |= 1u << index;
}

static const struct virtio_class class = {
	.type = VIRTIO_TYPE_BLOCK,
	.name = "idler",
	.config_write = on_config_write,
	.queue_ready = on_ready,
};

static void make(void)
{
	static const struct msi_port port = {.route = route, .send = send};
	const struct virtio_params params = {
		.class = &class,
		.id = "only",
		.features = OFFERED,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	struct error err = {0};

	cr_assert(virtio_init(&dev, vdriver_env(&driver), &params, &err) == 0, "%s", err.msg);
	memcpy(dev.config, "0123456789abcdef", 16);
	virtio_pci_init(&pci, &dev, &(struct virtio_pci_place){.base = BASE}, &port);
	memset(routed, 0, sizeof(routed));
	memset(sent, 0, sizeof(sent));
}

static void unmake(void)
{
	virtio_destroy(&dev);
	virtio_pci_destroy(&pci);
}

static void config_write(uint64_t offset, uint32_t value, uint32_t len)
{
	virtio_pci_config_ops.write(&pci, offset, (const uint8_t *)&value, len);
}

static uint32_t config_read(uint64_t offset, uint32_t len)
{
	uint32_t value = 0;

	virtio_pci_config_ops.read(&pci, offset, (uint8_t *)&value, len);
	return value;
}

static void bar_write(uint64_t offset, uint64_t value, uint32_t len)
{
	virtio_pci_bar_ops.write(&pci, offset, (const uint8_t *)&value, len);
}

static uint64_t bar_read(uint64_t offset, uint32_t len)
{
	uint64_t value = 0;

	virtio_pci_bar_ops.read(&pci, offset, (uint8_t *)&value, len);
	return value;
}

static void set_up(void)
{
	(void)capture_log(LOG_OFF);
	vdriver_init(&driver);
	make();
	config_write(4, 2, 2);
}

static void tear_down(void)
{
	unmake();
	vdriver_destroy(&driver);
}

TestSuite(virtio_pci, .init = set_up, .fini = tear_down, .timeout = 60);

static const uint8_t states[] = {0, 1, 3, FEATURES_OK, DRIVER_OK, FAILED, DRIVER_OK | FAILED};

/* Brings the device to a status, with queues at their places if that is behind FEATURES_OK. */
static void go_to(uint8_t status)
{
	static const uint8_t steps[] = {1, 3, FEATURES_OK, DRIVER_OK};

	bar_write(0x14, 0, 1);
	for (size_t i = 0; i < ARRAY_COUNT(steps) && steps[i] <= (status & ~FAILED); i++) {
		if (steps[i] == FEATURES_OK) {
			bar_write(0x08, 1, 4);
			bar_write(0x0c, 1, 4); /* VERSION_1 */
		}
		for (unsigned q = 0; steps[i] == DRIVER_OK && q < QUEUES; q++) {
			bar_write(0x16, q, 2);
			bar_write(0x18, 16, 2);
			bar_write(0x1a, q + 1, 2);
			bar_write(0x20, 0x4000 * (q + 1), 4);
			bar_write(0x28, 0x4000 * (q + 1) + 0x1000, 8);
			bar_write(0x30, 0x4000 * (q + 1) + 0x2000, 4);
			bar_write(0x1c, 1, 2);
		}
		bar_write(0x14, steps[i], 1);
	}
	if ((status & FAILED) != 0) {
		bar_write(0x14, status, 1);
	}
	cr_assert_eq(bar_read(0x14, 1), status);
}

static void open_vectors(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		bar_write(0x8000 + i * 16, 0xfee00000, 8);
		bar_write(0x8008 + i * 16, 0x40 + i, 8);
	}
	config_write(pci.msix_cap + 2, MSIX_CONTROL_ENABLE, 2);
}

Test(virtio_pci, the_function_says_what_it_is_and_where)
{
	static const struct {
		uint8_t type;
		uint32_t offset, length;
	} expected[] = {
		{1, 0, 0x38}, {3, 0x2000, 1}, {4, 0x4000, 0x1000}, {2, 0x6000, 0x1000}, {5, 0, 0}};
	uint8_t at = (uint8_t)config_read(0x34, 1);

	cr_expect_eq(config_read(0, 4), 0x10421af4);
	cr_expect_eq(config_read(8, 4), 0x01800001);
	cr_expect_eq(config_read(0x10, 4), (uint32_t)BASE | 4);
	for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
		cr_expect_eq(config_read(at, 1), 9);
		cr_expect_eq(config_read(at + 3, 1), expected[i].type, "capability %zu", i);
		cr_expect_eq(config_read(at + 4, 1), 0, "base address 0");
		cr_expect_eq(config_read(at + 8, 4), expected[i].offset);
		cr_expect_eq(config_read(at + 12, 4), expected[i].length);
		if (expected[i].type == 2) {
			cr_expect_eq(config_read(at + 16, 4), 4, "from queue to queue");
		}
		at = (uint8_t)config_read(at + 1, 1);
	}
	cr_expect_eq(config_read(at, 1), 0x11);
	cr_expect_eq(config_read(at + 2, 2), VECTORS - 1);
	cr_expect_eq(config_read(at + 4, 4), 0x8000);
	cr_expect_eq(config_read(at + 8, 4), 0x48000);
	cr_expect_eq(config_read(at + 1, 1), 0);
}

Test(virtio_pci, the_window_answers_only_while_the_command_register_says_so)
{
	cr_expect_eq(bar_read(0x12, 2), QUEUES);
	config_write(4, 0, 2);
	cr_expect_eq(bar_read(0x12, 2), 0xffff);
	bar_write(0x14, 1, 1);
	config_write(4, 2, 2);
	cr_expect_eq(bar_read(0x14, 1), 0);
}

Test(virtio_pci, a_driver_starts_the_device)
{
	bar_write(0, 1, 4);
	cr_expect_eq(bar_read(4, 4), OFFERED >> 32 | 1);
	go_to(DRIVER_OK);
	cr_expect(dev.is_active && dev.queues[0].vq.size == 16 && dev.queues[1].vq.size == 16);
	for (unsigned q = 0; q < QUEUES; q++) {
		bar_write(0x16, q, 2);
		cr_expect_eq(bar_read(0x18, 2), 16);
		cr_expect_eq(bar_read(0x1a, 2), q + 1);
		cr_expect_eq(bar_read(0x1c, 2), 1);
		cr_expect_eq(bar_read(0x1e, 2), q, "where it is notified");
		cr_expect_eq(bar_read(0x20, 8), 0x4000 * (q + 1));
		cr_expect_eq(bar_read(0x28, 4), 0x4000 * (q + 1) + 0x1000);
		cr_expect_eq(bar_read(0x2c, 4), 0);
		cr_expect_eq(bar_read(0x30, 8), 0x4000 * (q + 1) + 0x2000);
	}
	vdriver_run(&driver);
	ready = 0;
	bar_write(0x6004, 1, 2);
	vdriver_run(&driver);
	cr_expect_eq(ready, 2);
	bar_write(0x6000 + QUEUES * 4, 1, 2);
	bar_write(0x6ffc, 1, 4);
	vdriver_run(&driver);
	cr_expect_eq(ready, 2, "no such queue");
}

/*
 * Every register, in every state, with every width and values of all kinds: a queue changes only
 * between FEATURES_OK and DRIVER_OK, and nothing at all changes one that is started. Of a
 * Firecracker that let size and address be written afterwards: CVE-2026-5747.
 */
Test(virtio_pci, queues_change_only_between_features_and_driver_ok)
{
	static const uint64_t values[] = {0, 1, 2, 16, 256, 257, 0x8000, UINT64_MAX};
	static const uint32_t lens[] = {1, 2, 4, 8};

	for (size_t i = 0; i < ARRAY_COUNT(states) * ARRAY_COUNT(values); i++) {
		uint8_t state = states[i / ARRAY_COUNT(values)];
		uint64_t value = values[i % ARRAY_COUNT(values)];

		for (uint64_t at = 0; at < 0x38 * ARRAY_COUNT(lens); at++) {
			uint64_t reg = at / ARRAY_COUNT(lens);
			struct virtio_queue before[QUEUES];

			if (reg == 0x14) {
				continue;
			}
			go_to(state);
			bar_write(0x16, 1, 2);
			memcpy(before, dev.queues, sizeof(before));
			bar_write(reg, value, lens[at % ARRAY_COUNT(lens)]);
			bool is_changed = memcmp(before, dev.queues, sizeof(before)) != 0;

			cr_expect(!is_changed || state == FEATURES_OK,
				  "state %#x, register %#x, value %#llx", state, (unsigned)reg,
				  (unsigned long long)value);
			cr_expect_eq(dev.status, state);
		}
	}
}

Test(virtio_pci, registers_have_one_width)
{
	static const struct {
		uint64_t reg;
		uint32_t len;
	} none[] = {{0, 2},	 {0, 8},       {0x10, 4},    {0x12, 1},	  {0x14, 2},
		    {0x14, 4},	 {0x16, 4},    {0x18, 1},    {0x20, 2},	  {0x24, 8},
		    {0x01, 4},	 {0x38, 4},    {0x1fff, 1},  {0x2000, 2}, {0x2001, 1},
		    {0x5fff, 2}, {0x47fff, 8}, {0x48800, 4}, {0x7fff8, 8}};

	go_to(DRIVER_OK);
	open_vectors();
	virtio_lock(&dev);
	virtio_config_changed(&dev);
	virtio_unlock(&dev);
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		cr_expect_eq(bar_read(none[i].reg, none[i].len), 0, "case %zu", i);
		bar_write(none[i].reg, UINT64_MAX, none[i].len);
	}
	cr_expect(dev.is_active && pci.isr == 2);
}

Test(virtio_pci, an_address_is_written_whole_or_by_halves)
{
	static const uint64_t regs[] = {0x20, 0x28, 0x30};

	go_to(FEATURES_OK);
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		bar_write(regs[i], UINT64_C(0x1111222233334440) + i, 8);
	}
	for (size_t i = 0; i < ARRAY_COUNT(regs); i++) {
		cr_expect_eq(bar_read(regs[i], 8), UINT64_C(0x1111222233334440) + i);
		bar_write(regs[i] + 4, 5, 4);
		cr_expect_eq(bar_read(regs[i], 8), UINT64_C(0x533334440) + i);
	}
}

Test(virtio_pci, the_size_of_a_queue_is_not_cut_to_one_that_may_be_valid)
{
	go_to(FEATURES_OK);
	bar_write(0x16, 0, 2);
	cr_expect_eq(bar_read(0x18, 2), 256, "the largest, at first");
	bar_write(0x18, 257, 2);
	cr_expect_eq(bar_read(0x18, 2), 0);
	bar_write(0x1c, 2, 2);
	cr_expect_eq(bar_read(0x1c, 2), 0);
	bar_write(0x1c, 1, 2);
	bar_write(0x1c, 0, 2);
	cr_expect_eq(bar_read(0x1c, 2), 1, "a reset alone disables a queue");
	bar_write(0x16, QUEUES, 2);
	for (uint64_t reg = 0x18; reg < 0x20; reg += 2) {
		bar_write(reg, 1, 2);
		cr_expect_eq(bar_read(reg, 2), 0, "no such queue");
	}
}

Test(virtio_pci, vectors_that_do_not_exist_can_not_be_had)
{
	cr_expect_eq(bar_read(0x10, 2), NONE);
	bar_write(0x10, VECTORS - 1, 2);
	cr_expect_eq(bar_read(0x10, 2), VECTORS - 1);
	bar_write(0x10, VECTORS, 2);
	cr_expect_eq(bar_read(0x10, 2), NONE);
	bar_write(0x1a, 2, 2);
	cr_expect_eq(bar_read(0x1a, 2), 2);
	bar_write(0x1a, 0x100, 2);
	cr_expect_eq(bar_read(0x1a, 2), NONE);
}

static void use(unsigned queue)
{
	virtio_lock(&dev);
	pci.dev->transport.interrupt(&pci, VIRTIO_CAUSE_USED, queue);
	virtio_unlock(&dev);
}

Test(virtio_pci, each_queue_interrupts_by_its_vector)
{
	go_to(DRIVER_OK);
	use(1);
	cr_expect_eq(bar_read(0x2000, 1), 1, "MSI-X is off: a driver polls");
	cr_expect_eq(bar_read(0x2000, 1), 0, "a read acknowledges");
	open_vectors();
	cr_expect(routed[0] == 1 && routed[1] == 1 && routed[2] == 1);
	use(1);
	use(0);
	use(0);
	cr_expect(sent[0] == 0 && sent[1] == 2 && sent[2] == 1);
	bar_write(0x10, 0, 2);
	virtio_lock(&dev);
	virtio_config_changed(&dev);
	virtio_unlock(&dev);
	cr_expect_eq(sent[0], 1);
	bar_write(0x8000 + 2 * 16 + 12, 1, 4);
	use(1);
	cr_expect_eq(sent[2], 1);
	cr_expect_eq(bar_read(0x48000, 8), 4);
	bar_write(0x8000 + 2 * 16 + 12, 0, 4);
	cr_expect(sent[2] == 2 && bar_read(0x48000, 4) == 0);
}

Test(virtio_pci, a_reset_takes_the_vectors_and_leaves_the_function)
{
	go_to(DRIVER_OK);
	open_vectors();
	bar_write(0x10, 0, 2);
	use(0);
	bar_write(0x14, 0, 1);
	cr_expect_eq(bar_read(0x10, 2), NONE);
	cr_expect_eq(bar_read(0x1a, 2), NONE);
	cr_expect_eq(bar_read(0x16, 2), 0);
	cr_expect_eq(bar_read(0x2000, 1), 0);
	cr_expect_eq(config_read(4, 2), 2);
	cr_expect_eq(bar_read(0x8000, 4), 0xfee00000);
	memset(sent, 0, sizeof(sent));
	use(0);
	cr_expect(sent[0] == 0 && sent[1] == 0 && sent[2] == 0);
}

Test(virtio_pci, the_configuration_is_read_and_written)
{
	go_to(DRIVER_OK);
	cr_expect_eq(bar_read(0x4000, 4), load_le32("0123"));
	cr_expect_eq(bar_read(0x4008, 8), load_le16("89"), "what lies beyond reads as 0");
	bar_write(0x4001, 'x', 1);
	bar_write(0x4008, UINT64_MAX, 8);
	cr_expect_eq(bar_read(0x4000, 4), load_le32("0x23"));
	cr_expect_eq(bar_read(0x4008, 2), load_le16("89"));
	virtio_lock(&dev);
	virtio_config_changed(&dev);
	virtio_unlock(&dev);
	cr_expect_eq(bar_read(0x15, 1), 1, "the generation");
}

Test(virtio_pci, the_window_can_be_reached_without_mapping_it)
{
	unsigned cap = pci.window_cap;
	static const struct {
		uint8_t bar;
		uint32_t offset, len;
	} none[] = {{1, 0x14, 1},    {0, 0x14, 0},	    {0, 0x14, 3},
		    {0, 0x14, 8},    {0, 0x14, UINT32_MAX}, {0, 0x80000, 1},
		    {0, 0x7ffff, 2}, {0, UINT32_MAX, 4},    {0xff, 0, 4}};

	config_write(4, 0, 2);
	config_write(cap + 8, 0x14, 4);
	config_write(cap + 12, 1, 4);
	config_write(cap + 16, 1, 4);
	cr_expect_eq(dev.status, 1);
	cr_expect_eq(config_read(cap + 16, 4), 1);
	config_write(cap + 8, 0x8000, 4);
	config_write(cap + 12, 4, 4);
	config_write(cap + 16, 0xfee00000, 4);
	cr_expect_eq(pci.msix.entries[0].address, 0xfee00000);
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		config_write(cap + 4, none[i].bar, 1);
		config_write(cap + 8, none[i].offset, 4);
		config_write(cap + 12, none[i].len, 4);
		config_write(cap + 16, 0, 4);
		cr_expect_eq(config_read(cap + 16, 4), 0, "case %zu", i);
		cr_expect_eq(dev.status, 1, "case %zu", i);
		cr_expect_eq(config_read(cap + 4, 1), none[i].bar);
	}
}

/* --- Saving and loading --- */

static void save(struct virtio_pci_state *state, struct virtio_state *virtio)
{
	virtio_quiesce(&dev);
	virtio_pci_save(&pci, state);
	virtio_save(&dev, virtio);
}

Test(virtio_pci, a_loaded_function_goes_on)
{
	static struct virtio_pci_state state;
	static struct virtio_state virtio;
	struct error err = {0};

	go_to(DRIVER_OK);
	open_vectors();
	bar_write(0x8000 + 12, 1, 4);
	bar_write(0x10, 0, 2);
	config_write(0x10, UINT32_MAX, 4);
	save(&state, &virtio);
	unmake();
	make();
	cr_assert(virtio_pci_load(&pci, &state, &err) == 0, "%s", err.msg);
	cr_assert(virtio_load(&dev, &virtio, &err) == 0, "%s", err.msg);
	cr_expect_eq(config_read(0x10, 4), 0xfff80004, "it was asked for its size");
	cr_expect_eq(bar_read(0x14, 1), DRIVER_OK);
	cr_expect_eq(bar_read(0x10, 2), 0);
	cr_expect_eq(bar_read(0x16, 2), QUEUES - 1);
	cr_expect_eq(bar_read(0x8000 + 12, 4), 1);
	cr_expect(sent[0] == 0 && sent[1] == 1 && sent[2] == 1, "what may be lost");
	use(1);
	cr_expect_eq(sent[2], 2);
	for (unsigned q = 0; q < QUEUES; q++) {
		bar_write(0x16, q, 2);
		cr_expect_eq(bar_read(0x1a, 2), q + 1);
	}
}

static void spoil(struct virtio_pci_state *state, unsigned how)
{
	switch (how) {
	case 0:
		state->config_vector = VECTORS;
		break;
	case 1:
		state->queue_vectors[1] = 0xfffe;
		break;
	case 2:
		state->queue_count = QUEUES + 1;
		break;
	case 3:
		state->isr = 4;
		break;
	case 4:
		state->msix.control ^= MSIX_CONTROL_ENABLE;
		break;
	default:
		state->msix.count = VECTORS + 1;
		break;
	}
}

Test(virtio_pci, a_state_that_no_driver_can_have_made_is_refused)
{
	static struct virtio_pci_state good;
	static struct virtio_state virtio;

	go_to(DRIVER_OK);
	open_vectors();
	save(&good, &virtio);
	for (unsigned i = 0; i < 6; i++) {
		struct virtio_pci_state bad = good;
		struct error err = {0};

		unmake();
		make();
		spoil(&bad, i);
		cr_expect(virtio_pci_load(&pci, &bad, &err) == -1, "case %u", i);
		cr_expect_eq(err.kind, ERR_CORRUPT, "case %u", i);
	}
}

Test(virtio_pci, a_load_changes_nothing_that_no_driver_can_write)
{
	static struct virtio_pci_state state;
	static struct virtio_state virtio;
	struct error err = {0};
	uint8_t fresh[PCI_CONFIG_LEN];

	save(&state, &virtio);
	unmake();
	make();
	memcpy(fresh, pci.config.bytes, sizeof(fresh));
	memset(state.bytes, 0xff, pci.msix_cap);
	state.probed = 0xff;
	cr_assert(virtio_pci_load(&pci, &state, &err) == 0, "%s", err.msg);
	cr_expect_eq(config_read(0, 4), 0x10421af4);
	cr_expect_eq(config_read(0x10, 4), 0xfff80004);
	cr_expect_eq(config_read(0x18, 4), 0);
	for (unsigned i = 0x10; i < pci.window_cap; i++) {
		cr_expect(i == 0x3c || pci.config.bytes[i] == fresh[i], "byte %#x", i);
	}
	cr_expect_eq(pci.config.bytes[pci.window_cap + 1], fresh[pci.window_cap + 1]);
}
