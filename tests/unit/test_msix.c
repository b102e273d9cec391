/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/pci/msix.c. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "devices/pci/msix.h"
#include "vmm/base/bytes.h"

enum {
	COUNT = 3,
	ON = MSIX_CONTROL_ENABLE,
	ALL_MASKED = MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK,
	ROUNDS = 200000,
};

static struct msix msix;
static _Atomic unsigned routed[COUNT];
static _Atomic unsigned sent[COUNT];
static uint64_t address[COUNT];
static uint32_t message[COUNT];
static bool was_open;

static void route(void *arg, unsigned vector, uint64_t to, uint32_t data)
{
	(void)arg;
	routed[vector]++;
	address[vector] = to;
	message[vector] = data;
	was_open |= (msix.open >> vector & 1) != 0;
}

static void send(void *arg, unsigned vector)
{
	(void)arg;
	cr_assert(routed[vector] > 0, "a message that nobody knows");
	atomic_fetch_add(&sent[vector], 1);
}

static void set_up(void)
{
	static const struct msi_port port = {.route = route, .send = send};

	msix_init(&msix, COUNT, &port);
	memset((void *)routed, 0, sizeof(routed));
	memset((void *)sent, 0, sizeof(sent));
	was_open = false;
}

TestSuite(msix, .init = set_up, .timeout = 60);

static void write32(uint64_t offset, uint32_t value)
{
	uint8_t data[4];

	store_le32(data, value);
	msix_write_table(&msix, offset, data, sizeof(data));
}

static uint32_t read32(uint64_t offset)
{
	uint8_t data[4] = {0};

	msix_read_table(&msix, offset, data, sizeof(data));
	return load_le32(data);
}

static uint32_t pending(void)
{
	uint8_t data[8] = {0};

	msix_read_pending(&msix, 0, data, sizeof(data));
	return (uint32_t)load_le64(data);
}

static void set_entry(unsigned vector, uint32_t low, uint32_t data, uint32_t control)
{
	write32(vector * 16, low);
	write32(vector * 16 + 4, 0);
	write32(vector * 16 + 8, data);
	write32(vector * 16 + 12, control);
}

Test(msix, all_vectors_are_masked_at_first)
{
	for (unsigned i = 0; i < COUNT; i++) {
		cr_expect_eq(read32(i * 16 + 12), 1);
		cr_expect_eq(read32(i * 16), 0);
	}
	msix_raise(&msix, 1);
	cr_expect_eq(pending(), 0, "MSI-X is off");
	msix_write_control(&msix, ON);
	msix_raise(&msix, 1);
	cr_expect(pending() == 2 && sent[1] == 0 && routed[1] == 0);
}

Test(msix, a_message_is_known_before_it_is_sent)
{
	set_entry(1, 0xfee00000, 0x4021, 0);
	cr_expect_eq(routed[1], 0, "MSI-X is off");
	msix_write_control(&msix, ON);
	cr_expect(routed[1] == 1 && address[1] == 0xfee00000 && message[1] == 0x4021);
	cr_expect_not(was_open);
	msix_raise(&msix, 1);
	cr_expect(sent[1] == 1 && pending() == 0);
}

Test(msix, what_was_raised_under_a_mask_is_sent_once_when_it_goes)
{
	static const struct {
		uint16_t control;
		uint32_t entry;
	} masks[] = {{ON, 1}, {ALL_MASKED, 0}, {ALL_MASKED, 1}};

	for (size_t i = 0; i < ARRAY_COUNT(masks); i++) {
		set_up();
		set_entry(2, 0xfee01000, 7, masks[i].entry);
		msix_write_control(&msix, masks[i].control);
		msix_raise(&msix, 2);
		msix_raise(&msix, 2);
		cr_expect(sent[2] == 0 && pending() == 4, "case %zu", i);
		msix_write_control(&msix, ON);
		write32(2 * 16 + 12, 0);
		cr_expect(sent[2] == 1 && pending() == 0, "case %zu", i);
		write32(2 * 16 + 12, 1);
		msix_raise(&msix, 2);
		cr_expect(sent[2] == 1 && pending() == 4, "case %zu", i);
	}
	msix_write_control(&msix, 0);
	cr_expect_eq(pending(), 0, "off: nothing waits");
}

Test(msix, an_open_entry_may_be_written_to)
{
	set_entry(0, 0xfee00000, 1, 0);
	msix_write_control(&msix, ON);
	write32(8, 2);
	cr_expect_eq(message[0], 2);
	write32(4, 5);
	cr_expect_eq(address[0], UINT64_C(0x5fee00000));
	write32(0, 0xfee00003);
	cr_expect_eq(address[0], UINT64_C(0x5fee00000), "a message goes to a whole word");
	write32(12, UINT32_MAX);
	cr_expect_eq(read32(12), 1, "one bit of the control is there");
	msix_raise(&msix, 0);
	cr_expect_eq(sent[0], 0);
}

Test(msix, all_other_widths_and_places_are_none)
{
	static const struct {
		uint64_t offset;
		uint32_t len;
	} none[] = {{0, 1},	 {0, 2}, {0, 3},	  {2, 4},
		    {4, 8},	 {0, 5}, {COUNT * 16, 4}, {UINT64_MAX - 7, 8},
		    {0x3fffc, 4}};
	uint8_t ones[8];
	uint8_t data[8];

	memset(ones, 0xff, sizeof(ones));
	for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
		msix_write_table(&msix, none[i].offset, ones, none[i].len);
		memset(data, 0, sizeof(data));
		msix_read_table(&msix, none[i].offset, data, none[i].len);
		cr_expect(load_le64(data) == 0, "case %zu", i);
		msix_read_pending(&msix, none[i].offset + 8, data, none[i].len);
		cr_expect(load_le64(data) == 0, "case %zu", i);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		cr_expect(msix.entries[i].address == 0 && msix.entries[i].control == 1);
	}
	msix_write_table(&msix, 16, ones, 8);
	cr_expect_eq(msix.entries[1].address, UINT64_MAX - 3);
	msix_write_table(&msix, 24, ones, 8);
	cr_expect(msix.entries[1].data == UINT32_MAX && msix.entries[1].control == 1);
}

static void *mask_and_unmask(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		write32(12, 1);
		write32(12, 0);
	}
	return NULL;
}

/* Each raise is seen: as a message of its own, or as the one that was pending. */
Test(msix, no_interrupt_is_lost_between_a_mask_and_its_end)
{
	pthread_t masker;

	set_entry(0, 0xfee00000, 1, 0);
	msix_write_control(&msix, ON);
	cr_assert_eq(pthread_create(&masker, NULL, mask_and_unmask, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned before = sent[0];

		msix_raise(&msix, 0);
		/* While it is masked it waits; it is open again in the end. */
		while (sent[0] == before) {
		}
	}
	pthread_join(masker, NULL);
	cr_expect_eq(pending(), 0);
}

Test(msix, a_load_opens_the_same_vectors_and_sends_what_may_be_lost)
{
	struct msix_state state;
	struct error err = {0};

	set_entry(0, 0xfee00000, 10, 0);
	set_entry(1, 0xfee00000, 11, 1);
	msix_write_control(&msix, ON);
	msix_raise(&msix, 1);
	msix_save(&msix, &state);
	set_up();
	cr_assert(msix_load(&msix, &state, &err) == 0, "%s", err.msg);
	cr_expect(sent[0] == 1 && message[0] == 10);
	cr_expect(sent[1] == 0 && pending() == 2);
	write32(16 + 12, 0);
	cr_expect(sent[1] == 1 && message[1] == 11 && pending() == 0);
	cr_expect(sent[2] == 0);
}

Test(msix, a_state_that_no_function_can_have_is_refused)
{
	struct msix_state good;
	struct error err = {0};

	msix_save(&msix, &good);
	for (unsigned i = 0; i < 6; i++) {
		struct msix_state bad = good;

		switch (i) {
		case 0:
			bad.count = COUNT + 1;
			break;
		case 1:
			bad.count = 0;
			break;
		case 2:
			bad.control = 1;
			break;
		case 3:
			bad.entries[2].control = 3;
			break;
		case 4:
			bad.entries[2].address |= 2;
			break;
		default:
			bad.pending = 1 << COUNT;
			break;
		}
		error_clear(&err);
		cr_expect(msix_load(&msix, &bad, &err) == -1 && err.kind == ERR_CORRUPT, "%u", i);
	}
}
