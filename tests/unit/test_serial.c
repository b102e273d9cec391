/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port: registers, interrupts, input, hostile accesses, two threads. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "devices/legacy/serial.h"
#include "vmm/base/bytes.h"

enum {
	DATA,
	IER,
	IIR,
	LCR,
	MCR,
	LSR,
	MSR,
	SCR
};

enum {
	FCR = IIR,
	FIFO_LEN = 64,
	OUTPUT_KEPT = 32
};

static struct serial *port;
static atomic_uint irqs;
static atomic_uint rx_readies;
static atomic_size_t output_len;
static uint8_t output[OUTPUT_KEPT];

static void count(void *counter)
{
	atomic_fetch_add((atomic_uint *)counter, 1);
}

static void keep_output(void *arg, const uint8_t *data, size_t len)
{
	cr_assert_eq(arg, (void *)output);
	for (size_t i = 0; i < len; i++) {
		size_t at = atomic_fetch_add(&output_len, 1);

		if (at < OUTPUT_KEPT) {
			output[at] = data[i];
		}
	}
}

static void set_up(void)
{
	struct dev_env env = {.irq = {.fire = count, .arg = &irqs}};
	struct serial_config config = {
		.sink = {.write = keep_output, .arg = output},
		.rx_ready = count,
		.rx_arg = &rx_readies,
	};
	struct error err = {0};

	cr_assert_eq(serial_new(&env, &config, &port, &err), 0, "%s", err.msg);
	irqs = 0;
	rx_readies = 0;
	output_len = 0;
}

static void tear_down(void)
{
	serial_free(port);
	port = NULL;
}

TestSuite(serial, .init = set_up, .fini = tear_down);

static uint8_t in(uint64_t reg)
{
	uint8_t data[8] = {0};

	serial_bus_ops.read(port, reg, data, 1);
	return data[0];
}

static void out(uint64_t reg, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	serial_bus_ops.write(port, reg, &byte, 1);
}

static size_t receive(const char *text)
{
	return serial_receive(port, (const uint8_t *)text, strlen(text));
}

static void fill_fifo(void)
{
	uint8_t input[FIFO_LEN];

	memset(input, 'x', sizeof(input));
	cr_assert_eq(serial_receive(port, input, sizeof(input)), FIFO_LEN);
}

/*
 * A script of accesses: R(register, the value expected), W(register, value). After each step the
 * number of interrupts that it raised is compared.
 */
struct step {
	char what;
	uint8_t reg;
	uint8_t value;
	unsigned irqs;
};

#define R(reg, value, irqs)                                                                        \
	{                                                                                          \
		'R', reg, value, irqs                                                              \
	}
#define W(reg, value, irqs)                                                                        \
	{                                                                                          \
		'W', reg, value, irqs                                                              \
	}
#define INPUT(byte, irqs)                                                                          \
	{                                                                                          \
		'I', 0, byte, irqs                                                                 \
	}

static void play(const char *name, const struct step *steps, size_t steps_count)
{
	for (size_t i = 0; i < steps_count; i++) {
		const struct step *step = &steps[i];

		irqs = 0;
		if (step->what == 'R') {
			uint8_t value = in(step->reg);

			cr_assert_eq(value, step->value,
				     "%s, step %zu: register %u is %#x, not %#x", name, i,
				     step->reg, value, step->value);
		} else if (step->what == 'W') {
			out(step->reg, step->value);
		} else {
			cr_assert_eq(serial_receive(port, &step->value, 1), 1, "%s, step %zu", name,
				     i);
		}
		cr_assert_eq(irqs, step->irqs, "%s, step %zu: %u interrupts, not %u", name, i, irqs,
			     step->irqs);
	}
}

struct script {
	const char *name;
	struct step steps[20];
};

static const struct script scripts[] = {
	{"registers after reset",
	 {R(DATA, 0, 0), R(IER, 0, 0), R(IIR, 0x01, 0), R(LCR, 0x03, 0), R(MCR, 0x08, 0),
	  R(LSR, 0x60, 0), R(MSR, 0xb0, 0), R(SCR, 0, 0)}},
	{"scratch and line control keep all bits, interrupt enable four, modem control five",
	 {W(SCR, 0xa5, 0), R(SCR, 0xa5, 0), W(LCR, 0x7f, 0), R(LCR, 0x7f, 0), W(IER, 0xf5, 0),
	  R(IER, 0x05, 0), W(MCR, 0xeb, 0), R(MCR, 0x0b, 0)}},
	{"the divisor hides data and interrupt enable",
	 {W(LCR, 0x83, 0), R(DATA, 0x0c, 0), R(IER, 0, 0), W(DATA, 0x34, 0), W(IER, 0x12, 0),
	  R(DATA, 0x34, 0), R(IER, 0x12, 0), W(LCR, 0x03, 0), R(IER, 0, 0), R(DATA, 0, 0)}},
	{"line and modem status are read-only",
	 {W(LSR, 0, 0), W(LSR, 0xff, 0), R(LSR, 0x60, 0), W(MSR, 0, 0), W(MSR, 0xff, 0),
	  R(MSR, 0xb0, 0)}},
	{"IIR tells a 16550A only while FIFOs are enabled",
	 {W(FCR, 0x01, 0), R(IIR, 0xc1, 0), W(FCR, 0xe7, 0), R(IIR, 0xc1, 0), W(FCR, 0x06, 0),
	  R(IIR, 0x01, 0)}},
	{"input interrupts and is read in order",
	 {W(IER, 0x01, 0), INPUT('a', 1), INPUT('b', 1), R(IIR, 0x04, 0), R(LSR, 0x61, 0),
	  R(DATA, 'a', 0), R(IIR, 0x04, 0), R(DATA, 'b', 0), R(IIR, 0x01, 0), R(LSR, 0x60, 0)}},
	{"input is silent until its interrupt is enabled",
	 {INPUT('a', 0), R(IIR, 0x01, 0), W(IER, 0x01, 1), R(IIR, 0x04, 0)}},
	{"clearing the FIFOs keeps input",
	 {INPUT('a', 0), W(FCR, 0x01, 0), W(FCR, 0x07, 0), W(FCR, 0x00, 0), R(DATA, 'a', 0)}},
	/* Linux's serial8250_do_startup: without the second answer it polls ever after. */
	{"enabling the transmitter interrupt raises it each time",
	 {W(IER, 0x02, 1), R(IIR, 0x02, 0), R(IIR, 0x01, 0), W(IER, 0x00, 0), W(IER, 0x02, 1),
	  R(IIR, 0x02, 0), W(IER, 0x02, 0), R(IIR, 0x01, 0)}},
	{"a run of output makes one interrupt, the next after IIR was read",
	 {W(IER, 0x02, 1), R(IIR, 0x02, 0), W(DATA, '1', 1), W(DATA, '2', 0), W(DATA, '3', 0),
	  R(IIR, 0x02, 0), R(IIR, 0x01, 0), W(DATA, '4', 1)}},
	{"a transmitter interrupt that is not the reported one stays",
	 {W(IER, 0x03, 1), INPUT('a', 1), R(IIR, 0x04, 0), R(IIR, 0x04, 0), R(DATA, 'a', 0),
	  R(IIR, 0x02, 0), R(IIR, 0x01, 0)}},
	{"a silenced transmitter interrupt is not told",
	 {W(IER, 0x02, 1), W(IER, 0x00, 0), R(IIR, 0x01, 0)}},
	{"loopback connects output to input",
	 {W(MCR, 0x10, 0), W(IER, 0x01, 0), W(DATA, 'q', 1), R(LSR, 0x61, 0), R(DATA, 'q', 0),
	  R(LSR, 0x60, 0)}},
	/* Linux's autoconfig writes 0x1a and wants 0x90. */
	{"loopback connects modem outputs to inputs",
	 {W(MCR, 0x1a, 0), R(MSR, 0x92, 0), R(MSR, 0x90, 0), W(MCR, 0x11, 0), R(MSR, 0x2b, 0),
	  W(MCR, 0x14, 0), R(MSR, 0x42, 0), W(MCR, 0x10, 0), R(MSR, 0x04, 0), W(MCR, 0x0b, 0),
	  R(MSR, 0xbb, 0), R(MSR, 0xb0, 0)}},
	{"a modem change interrupts, with the lowest priority",
	 {W(IER, 0x08, 0), W(MCR, 0x10, 1), R(IIR, 0x00, 0), W(MCR, 0x12, 0), W(IER, 0x0a, 1),
	  R(IIR, 0x02, 0), R(IIR, 0x00, 0), R(MSR, 0x1b, 0), R(IIR, 0x01, 0)}},
};

Test(serial, registers_answer_as_a_16550a_does)
{
	for (size_t i = 0; i < ARRAY_COUNT(scripts); i++) {
		size_t steps_count = 0;

		while (steps_count < ARRAY_COUNT(scripts[i].steps) &&
		       scripts[i].steps[steps_count].what != 0) {
			steps_count++;
		}
		play(scripts[i].name, scripts[i].steps, steps_count);
		tear_down();
		set_up();
	}
}

Test(serial, output_goes_to_the_sink_in_order)
{
	for (const char *c = "squib"; *c; c++) {
		out(DATA, (unsigned char)*c);
	}
	cr_assert_eq(output_len, 5);
	cr_assert_arr_eq(output, "squib", 5);
}

Test(serial, loopback_and_divisor_keep_output_from_the_sink)
{
	out(LCR, 0x80);
	out(DATA, 'd');
	out(LCR, 0x03);
	out(MCR, 0x10);
	out(DATA, 'l');
	cr_assert_eq(output_len, 0);
}

Test(serial, a_full_fifo_sets_overrun)
{
	out(MCR, 0x10);
	out(IER, 0x04);
	for (unsigned i = 0; i < FIFO_LEN; i++) {
		out(DATA, i);
	}
	cr_assert_eq(irqs, 0);
	cr_assert_eq(in(LSR), 0x61);
	out(DATA, 'z');
	cr_assert_eq(irqs, 1);
	cr_assert_eq(in(IIR), 0x06);
	cr_assert_eq(in(LSR), 0x63);
	cr_assert_eq(in(LSR), 0x61, "reading the line status clears the overrun");
	cr_assert_eq(in(IIR), 0x01);
	for (unsigned i = 0; i < FIFO_LEN; i++) {
		cr_assert_eq(in(DATA), i);
	}
	cr_assert_eq(in(DATA), 0, "the byte too many was lost, and an empty FIFO reads 0");
}

Test(serial, the_fifo_takes_no_more_than_it_holds)
{
	uint8_t input[100];

	for (size_t i = 0; i < sizeof(input); i++) {
		input[i] = (uint8_t)i;
	}
	cr_assert_eq(serial_rx_room(port), FIFO_LEN);
	cr_assert_eq(receive("ab"), 2);
	cr_assert_eq(serial_rx_room(port), FIFO_LEN - 2);
	cr_assert_eq(in(DATA), 'a');
	cr_assert_eq(in(DATA), 'b');
	/* The oldest byte is not at index 0 now: the input wraps around. */
	cr_assert_eq(serial_receive(port, input, sizeof(input)), FIFO_LEN);
	cr_assert_eq(serial_rx_room(port), 0);
	cr_assert_eq(serial_receive(port, input, 1), 0);
	for (unsigned i = 0; i < FIFO_LEN; i++) {
		cr_assert_eq(in(DATA), i);
	}
	cr_assert_eq(in(LSR), 0x60);
}

Test(serial, input_that_does_not_fit_raises_no_interrupt)
{
	fill_fifo();
	out(IER, 0x01);
	irqs = 0;
	cr_assert_eq(receive("y"), 0);
	cr_assert_eq(serial_receive(port, (const uint8_t *)"", 0), 0);
	cr_assert_eq(irqs, 0);
}

Test(serial, a_drained_fifo_calls_for_the_input_it_refused)
{
	static const struct {
		const char *name;
		bool asks_room; /* else it is serial_receive that says no */
		size_t stored;
	} cases[] = {
		{"no room when asked", true, FIFO_LEN},
		{"only a part fitted", false, FIFO_LEN},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		rx_readies = 0;
		fill_fifo();
		if (cases[i].asks_room) {
			cr_assert_eq(serial_rx_room(port), 0);
		} else {
			cr_assert_eq(receive("y"), 0);
		}
		for (size_t left = cases[i].stored; left > 0; left--) {
			cr_assert_eq(rx_readies, 0, "%s: called early", cases[i].name);
			in(DATA);
		}
		cr_assert_eq(rx_readies, 1, "%s", cases[i].name);
		in(DATA);
		cr_assert_eq(rx_readies, 1, "%s: called twice", cases[i].name);
	}
}

Test(serial, a_drained_fifo_is_quiet_when_nothing_was_refused)
{
	fill_fifo();
	for (unsigned i = 0; i < FIFO_LEN; i++) {
		in(DATA);
	}
	cr_assert_eq(rx_readies, 0);
}

Test(serial, input_waits_outside_while_in_loopback)
{
	out(MCR, 0x10);
	cr_assert_eq(serial_rx_room(port), 0);
	cr_assert_eq(receive("a"), 0);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(rx_readies, 0);
	out(MCR, 0x00);
	cr_assert_eq(rx_readies, 1);
	cr_assert_eq(receive("a"), 1);
}

Test(serial, wide_accesses_and_far_offsets_do_nothing)
{
	static const uint32_t lens[] = {2, 3, 4, 5, 6, 7, 8};
	const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	out(IER, 0x0f);
	irqs = 0;
	for (uint64_t reg = 0; reg < 8; reg++) {
		for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
			uint8_t data[8] = {0};

			serial_bus_ops.write(port, reg, ones, lens[i]);
			serial_bus_ops.read(port, reg, data, lens[i]);
			cr_assert_eq(load_le64(data), 0, "offset %lu, %u bytes", reg, lens[i]);
		}
	}
	static const uint64_t far[] = {8, 9, 0xfff, 0x100, UINT32_MAX, UINT64_MAX};

	for (size_t i = 0; i < ARRAY_COUNT(far); i++) {
		out(far[i], 0xff);
		cr_assert_eq(in(far[i]), 0, "offset %#lx", far[i]);
	}
	cr_assert_eq(output_len, 0);
	cr_assert_eq(irqs, 0);
	cr_assert_eq(in(IIR), 0x02, "IIR was not read, so the interrupt is still pending");
}

/* Whatever was written before, the registers keep to their ranges and the FIFO to its length. */
static void check_invariants(void)
{
	cr_assert_leq(serial_rx_room(port), FIFO_LEN);
	cr_assert_eq(in(LSR)&0x9c, 0);
	cr_assert_eq(in(LSR)&0x60, 0x60);
	cr_assert_eq(in(MCR)&0xe0, 0);
	cr_assert_eq(in(IIR)&0x30, 0);
}

Test(serial, every_register_takes_every_value_and_length_in_every_state)
{
	/* LCR and MCR make the states: divisor or not, loopback or not; and the FIFO's filling. */
	static const uint8_t lcrs[] = {0x03, 0x83};
	static const uint8_t mcrs[] = {0x0b, 0x1b};
	static const size_t fillings[] = {0, 1, FIFO_LEN};
	const uint8_t input[FIFO_LEN] = {0};

	for (unsigned state = 0; state < 2 * 2 * 3; state++) {
		for (unsigned access = 0; access < 9 * 256 * 8; access++) {
			uint64_t reg = access % 9;
			uint32_t len = access / 9 % 8 + 1;
			uint8_t data[8] = {(uint8_t)(access / 72), 0xff, 0x00, 0x5a};

			out(MCR, 0);
			(void)serial_receive(port, input, fillings[state / 4]);
			out(LCR, lcrs[state % 2]);
			out(MCR, mcrs[state / 2 % 2]);
			serial_bus_ops.write(port, reg, data, len);
			check_invariants();
			serial_bus_ops.read(port, reg, data, len);
			check_invariants();
		}
	}
}

enum {
	THREAD_BYTES = 20000
};

/* A vCPU in loopback-free mode: drains input, writes output, works the interrupt registers. */
static void *guest_thread(void *arg)
{
	unsigned *received = arg;

	out(IER, 0x0f);
	while (*received < THREAD_BYTES) {
		while (in(LSR)&0x01) {
			cr_assert_eq(in(DATA), (uint8_t)*received, "byte %u", *received);
			(*received)++;
		}
		in(IIR);
		out(DATA, *received);
	}
	return NULL;
}

Test(serial, one_thread_feeds_what_another_reads, .timeout = 60)
{
	unsigned received = 0;
	pthread_t guest;

	cr_assert_eq(pthread_create(&guest, NULL, guest_thread, &received), 0);
	for (unsigned sent = 0; sent < THREAD_BYTES;) {
		size_t room = serial_rx_room(port);
		uint8_t input[FIFO_LEN];
		size_t len = min_u64(room, THREAD_BYTES - sent);

		for (size_t i = 0; i < len; i++) {
			input[i] = (uint8_t)(sent + i);
		}
		cr_assert_eq(serial_receive(port, input, len), len);
		sent += (unsigned)len;
		if (room == 0) {
			/* The promise: after a refusal rx_ready comes, or came already. */
			while (atomic_load(&rx_readies) == 0) {
			}
			atomic_fetch_sub(&rx_readies, 1);
		}
	}
	pthread_join(guest, NULL);
	cr_assert_eq(received, THREAD_BYTES);
	cr_assert_geq(irqs, 1);
	cr_assert_geq(output_len, 1);
}

Test(serial, accesses_are_counted)
{
	const struct serial_metrics *counts = serial_metrics(port);
	uint8_t wide[8] = {0};

	receive("ab");
	in(DATA);
	in(DATA);
	in(DATA); /* empty */
	in(LSR);
	out(DATA, 'x');
	out(SCR, 1);
	out(MCR, 0x10);
	out(DATA, 'y'); /* in loopback: not output */
	serial_bus_ops.read(port, DATA, wide, 4);
	serial_bus_ops.read(port, 8, wide, 1);
	serial_bus_ops.write(port, DATA, wide, 2);
	cr_assert(metric_get(&counts->read_count) == 2);
	cr_assert(metric_get(&counts->write_count) == 1);
	cr_assert(metric_get(&counts->missed_read_count) == 2);
	cr_assert(metric_get(&counts->missed_write_count) == 1);
}

/* --- saved and loaded --- */

static const struct codec_file file = {.magic = 1, .format = 1, .writer = "test"};

/* Through a file, into a port that was just made. */
static int move(void (*spoil)(struct serial_state *state), struct error *err)
{
	struct serial_state saved;
	struct serial_state loaded = {0};
	uint8_t bytes[512];
	struct codec codec;
	size_t len;

	serial_save(port, &saved);
	codec_save(&codec, &file, bytes, sizeof(bytes));
	serial_state_codec(&codec, &saved);
	cr_assert_eq(codec_finish(&codec, &len, err), 0, "%s", err->msg);
	codec_load(&codec, &file, bytes, len);
	serial_state_codec(&codec, &loaded);
	cr_assert_eq(codec_finish(&codec, NULL, err), 0, "%s", err->msg);
	tear_down();
	set_up();
	if (spoil != NULL) {
		spoil(&loaded);
	}
	return serial_load(port, &loaded, err);
}

Test(serial, a_loaded_port_goes_on_with_its_registers_and_what_was_not_read)
{
	static const uint8_t registers[] = {IER, LCR, MCR, SCR};
	static const uint8_t values[] = {0x0f, 0x1b, 0x0b, 0x5a};
	struct error err = {0};

	out(LCR, 0x80);
	out(DATA, 0x34);
	out(IER, 0x12);
	out(LCR, 0);
	for (size_t i = 0; i < ARRAY_COUNT(registers); i++) {
		out(registers[i], values[i]);
	}
	out(FCR, 1);
	for (unsigned i = 0; i < FIFO_LEN; i++) {
		cr_assert_eq(serial_receive(port, &(uint8_t){(uint8_t)i}, 1), 1);
	}
	/* The oldest byte is no more at the ring's begin. */
	cr_assert_eq(in(DATA), 0);
	cr_assert_eq(in(DATA), 1);
	cr_assert_eq(receive("z"), 1);
	cr_assert_eq(move(NULL, &err), 0, "%s", err.msg);
	cr_expect_eq(irqs, 1, "input waits");
	for (size_t i = 0; i < ARRAY_COUNT(registers); i++) {
		cr_expect_eq(in(registers[i]), values[i], "register %u", registers[i]);
	}
	cr_expect_eq(serial_rx_room(port), 1);
	cr_expect_eq(in(IIR), 0xc4);
	for (unsigned i = 2; i < FIFO_LEN; i++) {
		cr_expect_eq(in(DATA), i);
	}
	cr_expect_eq(in(DATA), 'z');
	cr_expect_eq(in(LSR), 0x60);
	out(LCR, 0x80);
	cr_expect_eq(in(DATA), 0x34);
	cr_expect_eq(in(IER), 0x12);
}

Test(serial, a_loaded_port_raises_what_the_guest_has_not_taken)
{
	struct error err = {0};

	cr_assert_eq(move(NULL, &err), 0);
	cr_expect_eq(irqs, 0, "there was nothing");
	out(DATA, 'x');
	cr_assert_eq(move(NULL, &err), 0);
	cr_expect_eq(irqs, 0, "nobody has asked for it");
	out(IER, 2);
	cr_assert_eq(move(NULL, &err), 0);
	cr_expect_eq(irqs, 1);
	cr_expect_eq(in(IIR), 2);
	/* In loopback mode: an overrun, and the modem's lines. */
	out(IER, 0x0c);
	out(MCR, 0x10);
	for (unsigned i = 0; i <= FIFO_LEN; i++) {
		out(DATA, i);
	}
	cr_assert_eq(move(NULL, &err), 0);
	cr_expect_eq(irqs, 1);
	cr_expect_eq(in(IIR), 6);
	cr_expect_eq(in(LSR), 0x63);
	cr_expect_eq(in(MSR)&0x0f, 0x0b);
}

static void spoil_ier(struct serial_state *state)
{
	state->ier = 0x10;
}

static void spoil_mcr(struct serial_state *state)
{
	state->mcr = 0x20;
}

static void spoil_msr(struct serial_state *state)
{
	state->msr_delta = 0x10;
}

static void spoil_count(struct serial_state *state)
{
	state->rx_count = FIFO_LEN + 1;
}

Test(serial, what_no_register_keeps_is_not_loaded)
{
	void (*const spoils[])(struct serial_state *) = {spoil_ier, spoil_mcr, spoil_msr,
							 spoil_count};

	for (size_t i = 0; i < ARRAY_COUNT(spoils); i++) {
		struct error err = {0};

		cr_expect_eq(move(spoils[i], &err), -1, "case %zu", i);
		cr_expect_eq(err.kind, ERR_CORRUPT);
		cr_expect_eq(strncmp(err.msg, "The serial port can't be loaded: ", 33), 0);
		cr_expect(in(IER) == 0 && in(MCR) == 8 && serial_rx_room(port) == FIFO_LEN);
	}
}
