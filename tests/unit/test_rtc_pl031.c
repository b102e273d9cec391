/* SPDX-License-Identifier: Apache-2.0 */
/* The PL031: time, registers, hostile accesses. */
#include <criterion/criterion.h>

#include "devices/legacy/rtc_pl031.h"
#include "vmm/base/bytes.h"

enum {
	DATA = 0x000,
	MATCH = 0x004,
	LOAD = 0x008,
	CONTROL = 0x00c,
	INTERRUPT_MASK = 0x010,
	RAW_INTERRUPT = 0x014,
	MASKED_INTERRUPT = 0x018,
	INTERRUPT_CLEAR = 0x01c,
};

static struct rtc_pl031 *rtc;
static uint64_t now_s;

static uint64_t now_ns(clockid_t id)
{
	cr_assert_eq(id, CLOCK_REALTIME);
	return now_s * UINT64_C(1000000000) + 999999999;
}

static void must_not_fire(void *arg)
{
	(void)arg;
	cr_assert_fail("the PL031 raised an interrupt");
}

static void set_up(void)
{
	static const struct clock clock = {.now_ns = now_ns};
	struct dev_env env = {.irq = {.fire = must_not_fire}, .clock = &clock};
	struct error err = {0};

	now_s = 1700000000;
	cr_assert_eq(rtc_pl031_new(&env, &rtc, &err), 0, "%s", err.msg);
}

static void tear_down(void)
{
	rtc_pl031_free(rtc);
	rtc = NULL;
}

TestSuite(rtc_pl031, .init = set_up, .fini = tear_down);

static uint32_t in(uint64_t reg)
{
	uint8_t data[8] = {0};

	rtc_pl031_bus_ops.read(rtc, reg, data, 4);
	return load_le32(data);
}

static void out(uint64_t reg, uint32_t value)
{
	uint8_t data[4];

	store_le32(data, value);
	rtc_pl031_bus_ops.write(rtc, reg, data, sizeof(data));
}

Test(rtc_pl031, tells_the_hosts_time_in_whole_seconds)
{
	cr_assert_eq(in(DATA), 1700000000);
	now_s += 5;
	cr_assert_eq(in(DATA), 1700000005);
}

Test(rtc_pl031, the_guest_may_set_the_time)
{
	static const uint32_t times[] = {0, 1, 1000, 1700000000, 1800000000, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_COUNT(times); i++) {
		out(LOAD, times[i]);
		cr_assert_eq(in(DATA), times[i]);
		cr_assert_eq(in(LOAD), times[i]);
		now_s += 7;
		cr_assert_eq(in(DATA), (uint32_t)(times[i] + 7), "it goes on, and wraps");
		cr_assert_eq(in(LOAD), times[i]);
	}
}

Test(rtc_pl031, a_host_after_2106_wraps)
{
	now_s = UINT64_C(0x100000010);
	cr_assert_eq(in(DATA), 0x10);
}

/* `written` is written, then `read` is expected. */
static const struct {
	const char *name;
	uint64_t reg;
	uint32_t reset;
	uint32_t written;
	uint32_t read;
} registers[] = {
	{"match", MATCH, 0, 0x12345678, 0x12345678},
	{"control stays enabled", CONTROL, 1, 0, 1},
	{"interrupt mask has one bit", INTERRUPT_MASK, 0, 0xffffffff, 1},
	{"raw interrupt is read-only", RAW_INTERRUPT, 0, 1, 0},
	{"masked interrupt is read-only", MASKED_INTERRUPT, 0, 1, 0},
	{"interrupt clear is write-only", INTERRUPT_CLEAR, 0, 1, 0},
	{"data is read-only", DATA, 1700000000, 5, 1700000000},
	{"a gap", 0x020, 0, 0xffffffff, 0},
	{"the test registers are not there", 0x080, 0, 0xffffffff, 0},
	{"before the identification", 0xfdc, 0, 0xffffffff, 0},
	{"peripheral id 0", 0xfe0, 0x31, 0, 0x31},
	{"peripheral id 1", 0xfe4, 0x10, 0, 0x10},
	{"peripheral id 2", 0xfe8, 0x04, 0, 0x04},
	{"peripheral id 3", 0xfec, 0x00, 1, 0x00},
	{"cell id 0", 0xff0, 0x0d, 0, 0x0d},
	{"cell id 1", 0xff4, 0xf0, 0, 0xf0},
	{"cell id 2", 0xff8, 0x05, 0, 0x05},
	{"cell id 3", 0xffc, 0xb1, 0, 0xb1},
	{"beyond the window", 0x1000, 0, 0xffffffff, 0},
	{"far beyond the window", UINT64_MAX - 3, 0, 0xffffffff, 0},
};

Test(rtc_pl031, registers_answer_as_a_pl031_does)
{
	for (size_t i = 0; i < ARRAY_COUNT(registers); i++) {
		uint64_t reg = registers[i].reg;

		cr_assert_eq(in(reg), registers[i].reset, "%s: %#x at first", registers[i].name,
			     in(reg));
		out(reg, registers[i].written);
		cr_assert_eq(in(reg), registers[i].read, "%s: %#x after a write", registers[i].name,
			     in(reg));
		cr_assert_eq(in(DATA), 1700000000, "%s: the time has moved", registers[i].name);
	}
}

Test(rtc_pl031, a_match_raises_nothing)
{
	out(INTERRUPT_MASK, 1);
	out(MATCH, 1700000000);
	cr_assert_eq(in(DATA), 1700000000);
	cr_assert_eq(in(RAW_INTERRUPT), 0);
	cr_assert_eq(in(MASKED_INTERRUPT), 0);
}

Test(rtc_pl031, only_aligned_words_reach_registers)
{
	const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	for (uint64_t offset = 0; offset < 0x1008; offset++) {
		for (uint32_t len = 1; len <= 8; len++) {
			uint8_t data[8] = {0};

			if (len == 4 && offset % 4 == 0) {
				continue;
			}
			rtc_pl031_bus_ops.write(rtc, offset, ones, len);
			rtc_pl031_bus_ops.read(rtc, offset, data, len);
			cr_assert_eq(load_le64(data), 0, "offset %#lx, %u bytes", offset, len);
		}
	}
	cr_assert_eq(in(DATA), 1700000000);
	cr_assert_eq(in(MATCH), 0);
	cr_assert_eq(in(LOAD), 0);
	cr_assert_eq(in(INTERRUPT_MASK), 0);
}

Test(rtc_pl031, every_register_takes_every_kind_of_value)
{
	static const uint32_t values[] = {0, 1, 2, 0x7fffffff, 0x80000000, UINT32_MAX};

	for (uint64_t offset = 0; offset < 0x1008; offset++) {
		for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
			out(offset, values[i]);
			(void)in(offset);
			cr_assert_eq(in(CONTROL), 1);
			cr_assert_leq(in(INTERRUPT_MASK), 1);
			cr_assert_eq(in(DATA),
				     in(LOAD) == 0 && offset < LOAD ? 1700000000 : in(LOAD));
		}
	}
}

Test(rtc_pl031, accesses_that_reach_no_register_are_counted)
{
	const struct rtc_pl031_metrics *counts = rtc_pl031_metrics(rtc);
	uint8_t data[8] = {0};

	rtc_pl031_bus_ops.read(rtc, DATA, data, 4);
	rtc_pl031_bus_ops.read(rtc, DATA, data, 8);
	rtc_pl031_bus_ops.read(rtc, 2, data, 4);
	rtc_pl031_bus_ops.write(rtc, LOAD, data, 4);
	rtc_pl031_bus_ops.write(rtc, LOAD, data, 1);
	cr_assert(metric_get(&counts->missed_read_count) == 2);
	cr_assert(metric_get(&counts->missed_write_count) == 1);
	cr_assert(metric_get(&counts->error_count) == 0);
}

/* --- saved and loaded --- */

Test(rtc_pl031, a_loaded_clock_shows_the_time_that_has_passed)
{
	const struct codec_file file = {.magic = 1, .format = 1, .writer = "test"};
	struct rtc_pl031_state saved;
	struct rtc_pl031_state loaded = {0};
	uint8_t bytes[256];
	struct codec codec;
	struct error err = {0};
	size_t len;

	out(LOAD, 1000);
	out(MATCH, 2000);
	out(INTERRUPT_MASK, 1);
	rtc_pl031_save(rtc, &saved);
	codec_save(&codec, &file, bytes, sizeof(bytes));
	rtc_pl031_state_codec(&codec, &saved);
	cr_assert_eq(codec_finish(&codec, &len, &err), 0);
	codec_load(&codec, &file, bytes, len);
	rtc_pl031_state_codec(&codec, &loaded);
	cr_assert_eq(codec_finish(&codec, NULL, &err), 0);
	tear_down();
	set_up();
	now_s += 3600;
	cr_assert_eq(rtc_pl031_load(rtc, &loaded, &err), 0);
	cr_expect_eq(in(DATA), 4600);
	cr_expect_eq(in(MATCH), 2000);
	cr_expect_eq(in(LOAD), 1000);
	cr_expect_eq(in(INTERRUPT_MASK), 1);
	loaded.interrupt_mask = 2;
	cr_expect_eq(rtc_pl031_load(rtc, &loaded, &err), -1);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_str_eq(err.msg, "The real-time clock can't be loaded: its interrupt mask is 0x2");
}
