/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller: commands, the keyboard, reset, Ctrl-Alt-Del, hostile accesses. */
#include <criterion/criterion.h>

#include "devices/legacy/i8042.h"
#include "vmm/base/bytes.h"

enum {
	DATA = 0,
	COMMAND = 4,
	STATUS = COMMAND,
	QUEUE_LEN = 16
};

static struct i8042 *controller;
static unsigned irqs;
static unsigned resets;

static void count(void *counter)
{
	(*(unsigned *)counter)++;
}

static void set_up(void)
{
	static const struct machine_ops machine_ops = {.reset = count};
	struct dev_env env = {
		.irq = {.fire = count, .arg = &irqs},
		.machine_ops = &machine_ops,
		.machine = &resets,
	};
	struct error err = {0};

	cr_assert_eq(i8042_new(&env, &controller, &err), 0, "%s", err.msg);
	irqs = 0;
	resets = 0;
}

static void tear_down(void)
{
	i8042_free(controller);
	controller = NULL;
}

TestSuite(i8042, .init = set_up, .fini = tear_down);

static uint8_t in(uint64_t reg)
{
	uint8_t data[8] = {0};

	i8042_bus_ops.read(controller, reg, data, 1);
	return data[0];
}

static void out(uint64_t reg, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	i8042_bus_ops.write(controller, reg, &byte, 1);
}

/* What `out`put makes the device say: each step's bytes are read to the end, then compared. */
struct dialogue {
	const char *name;
	struct {
		uint8_t port; /* DATA, COMMAND */
		uint8_t value;
	} said[4];
	size_t said_count;
	uint8_t heard[4];
	size_t heard_count;
	unsigned irqs; /* with the ones that reading causes */
};

static const struct dialogue dialogues[] = {
	{"nothing", {{0}}, 0, {0}, 0, 0},
	{"control byte after reset", {{COMMAND, 0x20}}, 1, {0x05}, 1, 0},
	{"control byte is kept", {{COMMAND, 0x60}, {DATA, 0x44}, {COMMAND, 0x20}}, 3, {0x44}, 1, 0},
	{"output port is kept", {{COMMAND, 0xd1}, {DATA, 0xdd}, {COMMAND, 0xd0}}, 3, {0xdd}, 1, 0},
	{"controller self test", {{COMMAND, 0xaa}}, 1, {0x55}, 1, 0},
	{"keyboard interface test", {{COMMAND, 0xab}}, 1, {0x00}, 1, 0},
	{"there is no mouse", {{COMMAND, 0xa9}}, 1, {0x01}, 1, 0},
	{"no echo from a mouse, but the keyboard's answer at once",
	 {{COMMAND, 0xd3}, {DATA, 0x5a}},
	 2,
	 {0xfa},
	 1,
	 1},
	{"an unknown command", {{COMMAND, 0xee}}, 1, {0}, 0, 0},
	{"identify", {{DATA, 0xf2}}, 1, {0xfa, 0xab, 0x83}, 3, 3},
	{"reset of the keyboard", {{DATA, 0xff}}, 1, {0xfa, 0xaa}, 2, 2},
	{"lamps, each byte acknowledged; the first answer is gone if unread",
	 {{DATA, 0xed}, {DATA, 0x02}},
	 2,
	 {0xfa},
	 1,
	 2},
	{"enable", {{DATA, 0xf4}}, 1, {0xfa}, 1, 1},
	{"a command forgets the one that still awaits its byte",
	 {{COMMAND, 0x60}, {COMMAND, 0xaa}, {DATA, 0x44}, {COMMAND, 0x20}},
	 4,
	 {0x05},
	 1,
	 1},
	{"a command without an answer empties the queue too",
	 {{DATA, 0xf2}, {COMMAND, 0xee}},
	 2,
	 {0},
	 0,
	 1},
	{"a command empties the queue", {{DATA, 0xf2}, {COMMAND, 0x20}}, 2, {0x05}, 1, 1},
	{"keyboard interrupt off",
	 {{COMMAND, 0x60}, {DATA, 0x04}, {DATA, 0xf2}},
	 3,
	 {0xfa, 0xab, 0x83},
	 3,
	 0},
};

Test(i8042, answers_what_drivers_ask)
{
	for (size_t i = 0; i < ARRAY_COUNT(dialogues); i++) {
		const struct dialogue *d = &dialogues[i];

		for (size_t j = 0; j < d->said_count; j++) {
			out(d->said[j].port, d->said[j].value);
		}
		for (size_t j = 0; j < d->heard_count; j++) {
			cr_assert_eq(in(STATUS)&0x01, 1, "%s: only %zu bytes", d->name, j);
			uint8_t byte = in(DATA);

			cr_assert_eq(byte, d->heard[j], "%s: byte %zu is %#x, not %#x", d->name, j,
				     byte, d->heard[j]);
		}
		cr_assert_eq(in(STATUS)&0x01, 0, "%s: too many bytes", d->name);
		cr_assert_eq(in(DATA), 0, "%s: an empty queue reads 0", d->name);
		cr_assert_eq(irqs, d->irqs, "%s: %u interrupts, not %u", d->name, irqs, d->irqs);
		cr_assert_eq(resets, 0, "%s", d->name);
		tear_down();
		set_up();
	}
}

Test(i8042, status_tells_which_port_was_written_last)
{
	cr_assert_eq(in(STATUS), 0x10);
	out(COMMAND, 0x60);
	cr_assert_eq(in(STATUS), 0x18);
	out(DATA, 0x05);
	cr_assert_eq(in(STATUS), 0x10);
	out(COMMAND, 0xaa);
	cr_assert_eq(in(STATUS), 0x19);
}

Test(i8042, command_fe_resets_the_machine)
{
	out(DATA, 0xfe);
	cr_assert_eq(resets, 0, "as data it is for the keyboard");
	out(COMMAND, 0xfe);
	cr_assert_eq(resets, 1);
	out(COMMAND, 0xfe);
	cr_assert_eq(resets, 2, "what a second one means is the machine's to say");
}

Test(i8042, only_command_fe_resets)
{
	for (unsigned command = 0; command < 256; command++) {
		resets = 0;
		out(COMMAND, command);
		cr_assert_eq(resets, command == 0xfe, "command %#x", command);
	}
}

Test(i8042, ctrl_alt_del_presses_three_keys_of_set_2)
{
	static const uint8_t keys[] = {0x14, 0x11, 0xe0, 0x71};
	struct error err = {0};

	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0);
	cr_assert_eq(irqs, 1);
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
		cr_assert_eq(irqs, i + 1, "one interrupt for each byte there is to read");
		cr_assert_eq(in(DATA), keys[i]);
	}
	cr_assert_eq(irqs, ARRAY_COUNT(keys));
	cr_assert_eq(in(STATUS)&0x01, 0);
}

Test(i8042, ctrl_alt_del_is_silent_while_its_interrupt_is_off)
{
	struct error err = {0};

	out(COMMAND, 0x60);
	out(DATA, 0x04);
	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0);
	cr_assert_eq(in(DATA), 0x14);
	cr_assert_eq(irqs, 0);
}

Test(i8042, ctrl_alt_del_is_refused_when_nobody_reads)
{
	struct error err = {0};

	for (unsigned i = 0; i < QUEUE_LEN / 4; i++) {
		cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0, "%s", err.msg);
	}
	irqs = 0;
	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), -1);
	cr_assert_eq(err.kind, ERR_BAD_STATE);
	cr_assert_eq(irqs, 0);
	in(DATA);
	error_clear(&err);
	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), -1, "three bytes are too few for four");
	for (unsigned i = 1; i < QUEUE_LEN; i++) {
		cr_assert_eq(in(STATUS)&0x01, 1);
		in(DATA);
	}
	cr_assert_eq(in(STATUS)&0x01, 0, "what did not fit was not begun either");
	error_clear(&err);
	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0);
}

Test(i8042, other_ports_and_wide_accesses_do_nothing)
{
	static const uint64_t offsets[] = {1, 2, 3, 5, 6, 0xff, UINT32_MAX, UINT64_MAX};

	for (size_t i = 0; i < ARRAY_COUNT(offsets); i++) {
		out(offsets[i], 0xfe);
		cr_assert_eq(in(offsets[i]), 0, "offset %#lx", offsets[i]);
	}
	for (uint32_t len = 2; len <= 8; len++) {
		for (uint64_t reg = 0; reg <= COMMAND; reg++) {
			uint8_t data[8] = {0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe};

			i8042_bus_ops.write(controller, reg, data, len);
			memset(data, 0, sizeof(data));
			i8042_bus_ops.read(controller, reg, data, len);
			cr_assert_eq(load_le64(data), 0, "offset %lu, %u bytes", reg, len);
		}
	}
	cr_assert_eq(resets, 0);
	cr_assert_eq(irqs, 0);
	cr_assert_eq(in(STATUS), 0x10);
}

Test(i8042, every_register_takes_every_value_and_length_in_every_state)
{
	for (unsigned command = 0; command < 256; command++) {
		for (unsigned access = 0; access < 6 * 256; access++) {
			uint64_t reg = access % 6;
			struct error err = {0};

			for (uint32_t len = 1; len <= 8; len++) {
				uint8_t data[8] = {(uint8_t)(access / 6), 0xff, 0xfe};

				out(COMMAND, command);
				i8042_bus_ops.write(controller, reg, data, len);
				i8042_bus_ops.read(controller, reg, data, len);
			}
			for (unsigned i = 0; i < QUEUE_LEN && !err.kind; i++) {
				(void)!i8042_ctrl_alt_del(controller, &err);
			}
			unsigned queued = 0;

			while (in(STATUS)&0x01) {
				in(DATA);
				queued++;
			}
			cr_assert_leq(queued, QUEUE_LEN);
			cr_assert_eq(in(STATUS)&0xe6, 0);
		}
	}
}

Test(i8042, accesses_are_counted)
{
	const struct i8042_metrics *counts = i8042_metrics(controller);
	uint8_t wide[8] = {0};
	struct error err = {0};

	in(DATA);
	in(STATUS);
	in(1);
	i8042_bus_ops.read(controller, DATA, wide, 2);
	out(COMMAND, 0x60);
	out(DATA, 0x01);
	out(2, 0);
	out(3, 0);
	i8042_bus_ops.write(controller, COMMAND, wide, 4);
	out(COMMAND, 0xfe);
	cr_assert(metric_get(&counts->read_count) == 2);
	cr_assert(metric_get(&counts->missed_read_count) == 2);
	cr_assert(metric_get(&counts->write_count) == 3);
	cr_assert(metric_get(&counts->missed_write_count) == 3);
	cr_assert(metric_get(&counts->reset_count) == 1 && resets == 1);
	for (int i = 0; i < 4; i++) {
		cr_assert(i8042_ctrl_alt_del(controller, &err) == 0);
	}
	cr_assert(metric_get(&counts->error_count) == 0);
	cr_assert(i8042_ctrl_alt_del(controller, &err) == -1);
	cr_assert(metric_get(&counts->error_count) == 1);
}

/* --- saved and loaded --- */

static const struct codec_file file = {.magic = 1, .format = 1, .writer = "test"};

/* Through a file, into a controller that was just made. */
static int move(int awaiting, int count_of_bytes, struct error *err)
{
	struct i8042_state saved;
	struct i8042_state loaded = {0};
	uint8_t bytes[512];
	struct codec codec;
	size_t len;

	i8042_save(controller, &saved);
	codec_save(&codec, &file, bytes, sizeof(bytes));
	i8042_state_codec(&codec, &saved);
	cr_assert_eq(codec_finish(&codec, &len, err), 0, "%s", err->msg);
	codec_load(&codec, &file, bytes, len);
	i8042_state_codec(&codec, &loaded);
	cr_assert_eq(codec_finish(&codec, NULL, err), 0, "%s", err->msg);
	tear_down();
	set_up();
	if (awaiting >= 0) {
		loaded.awaiting = (uint8_t)awaiting;
	}
	if (count_of_bytes >= 0) {
		loaded.count = (uint32_t)count_of_bytes;
	}
	return i8042_load(controller, &loaded, err);
}

Test(i8042, a_loaded_controller_goes_on_in_the_middle_of_a_dialogue)
{
	struct error err = {0};

	out(COMMAND, 0x60);
	cr_assert_eq(move(-1, -1, &err), 0, "%s", err.msg);
	cr_expect_eq(irqs, 0);
	cr_expect_eq(in(STATUS), 0x18);
	out(DATA, 0x45); /* the control byte that it awaits */
	out(COMMAND, 0xd1);
	out(DATA, 0xdd);
	cr_assert_eq(move(-1, -1, &err), 0);
	cr_expect_eq(in(STATUS), 0x10);
	out(COMMAND, 0x20);
	cr_expect_eq(in(DATA), 0x45);
	out(COMMAND, 0xd0);
	cr_expect_eq(in(DATA), 0xdd);
}

Test(i8042, keys_that_were_not_read_are_there_and_told_of_again)
{
	struct error err = {0};

	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0);
	cr_assert_eq(in(DATA), 0x14);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0, "round the ring's end");
	}
	cr_assert_eq(move(-1, -1, &err), 0);
	cr_expect_eq(irqs, 1);
	for (unsigned i = 1; i < QUEUE_LEN; i++) {
		static const uint8_t keys[] = {0x14, 0x11, 0xe0, 0x71};

		cr_expect_eq(in(DATA), keys[i % 4]);
	}
	cr_expect_eq(in(STATUS)&1, 0);
	/* Not if the driver polls. */
	out(COMMAND, 0x60);
	out(DATA, 0x04);
	cr_assert_eq(i8042_ctrl_alt_del(controller, &err), 0);
	cr_assert_eq(move(-1, -1, &err), 0);
	cr_expect_eq(irqs, 0);
	cr_expect_eq(in(DATA), 0x14);
}

Test(i8042, what_no_guest_can_bring_about_is_not_loaded)
{
	static const struct {
		int awaiting;
		int count;
		const char *sentence;
	} cases[] = {
		{0x20, -1, "The keyboard controller can't be loaded: command 0x20 awaits no data"},
		{-1, QUEUE_LEN + 1,
		 "The keyboard controller can't be loaded: 17 bytes wait, and at most 16 fit"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		cr_expect_eq(move(cases[i].awaiting, cases[i].count, &err), -1);
		cr_expect_eq(err.kind, ERR_CORRUPT);
		cr_expect_str_eq(err.msg, cases[i].sentence);
	}
}
