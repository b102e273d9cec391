/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port: a 16550A UART.
 *
 * Theory of operation. No baud rate: a byte written to THR is out at once, so the transmitter is
 * always empty and LSR says so. Received bytes wait in a FIFO that never grows; who feeds the port
 * asks for room first.
 *
 * Four causes can interrupt, each enabled by its bit in IER, reported by IIR in order of priority
 * [ns16550a 8.5]: line status (overrun), received data, transmitter empty, modem status. Only
 * "transmitter empty" needs memory of its own (is_thre_latched): it arises when the transmitter
 * runs empty or when its IER bit goes from 0 to 1, and goes when IIR has reported it. Drivers
 * depend on both; Linux tests for the second at open. The others follow from the registers.
 *
 * The line is edge-triggered, so each access compares the causes before and after, and fires if
 * one is new. That makes one interrupt for a run of bytes written by one handler. Arriving input
 * fires each time: it is cheap then, and an edge lost while the guest's line was masked does no
 * harm.
 *
 * vCPU threads and the thread that feeds input meet under one mutex, which guards the registers
 * only. Calls out (sink, interrupt, rx_ready) are collected in struct effects and made after
 * unlocking, so no lock order exists. One vCPU's bytes still arrive in order, since its access does
 * not end before the sink has the byte.
 */
#include "devices/legacy/serial.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"

/* Offsets [ns16550a table 2]; the first two are the divisor where LCR has DLAB set. */
enum {
	REG_DATA = 0,
	REG_IER = 1,
	REG_IIR_FCR = 2,
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

enum {
	IER_RECEIVED = 0x01,
	IER_THR_EMPTY = 0x02,
	IER_LINE_STATUS = 0x04,
	IER_MODEM = 0x08,
	IER_MASK = 0x0f, /* the rest reads 0: Linux finds other UARTs by such bits */
};

enum {
	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_THR_EMPTY = 0x02,
	IIR_RECEIVED = 0x04,
	IIR_LINE_STATUS = 0x06,
	IIR_FIFO = 0xc0,
};

enum {
	FCR_ENABLE = 0x01,
	LCR_DLAB = 0x80,
	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,
};

enum {
	LSR_DATA_READY = 0x01,
	LSR_OVERRUN = 0x02,
	LSR_THR_EMPTY = 0x20,
	LSR_IDLE = 0x40,
};

enum {
	MSR_DELTA = 0x0f,
	MSR_RI_ENDED = 0x04,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

/* At reset: 8 data bits, 9600 baud, and for MCR OUT2, as if a BIOS had been here [compat]. */
enum {
	LCR_RESET = 0x03,
	DIVISOR_RESET = 0x0c,
	MCR_RESET = MCR_OUT2,
};

/*
 * Larger than the chip's 16, as a burst of typed or piped input costs fewer refills [compat]. A
 * power of two.
 */
enum {
	RX_FIFO_LEN = SERIAL_FIFO_LEN
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(serial_metrics, error_count)},
	{METRIC_COUNT(serial_metrics, flush_count)},
	{METRIC_COUNT(serial_metrics, missed_read_count)},
	{METRIC_COUNT(serial_metrics, missed_write_count)},
	{METRIC_COUNT(serial_metrics, read_count)},
	{METRIC_COUNT(serial_metrics, write_count)},
	{METRIC_ROW(serial_metrics, rate_limiter_dropped_bytes, METRIC_COUNTER, METRIC_BYTES)},
};

const struct metric_group serial_metric_group = {
	METRIC_GROUP("uart", serial_metrics, metric_fields, 0)};

struct serial {
	/* immutable after init */
	struct serial_config config;
	struct irq_line irq;

	struct serial_metrics metrics; /* shared */

	pthread_mutex_t lock; /* guards all below */
	uint8_t divisor[2];   /* low, high; kept only to be read back */
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scr;
	uint8_t msr_delta;
	bool is_thre_latched;
	bool is_overrun;
	bool is_input_refused; /* rx_ready is owed */
	uint8_t rx[RX_FIFO_LEN];
	unsigned rx_head; /* the oldest byte */
	unsigned rx_count;
};

/* What is to be done for an access once the lock is released. */
struct effects {
	bool is_irq;
	bool is_rx_ready;
	bool is_output;
	uint8_t output;
};

static bool is_loopback(const struct serial *serial)
{
	return (serial->mcr & MCR_LOOP) != 0;
}

static bool is_divisor(const struct serial *serial, uint64_t reg)
{
	return reg <= REG_IER && (serial->lcr & LCR_DLAB) != 0;
}

/* In loopback mode the receiver listens to the transmitter, so input has to wait outside. */
static size_t rx_room(const struct serial *serial)
{
	return is_loopback(serial) ? 0 : RX_FIFO_LEN - serial->rx_count;
}

/* The caller has checked that there is room. */
static void rx_push(struct serial *serial, uint8_t byte)
{
	serial->rx[(serial->rx_head + serial->rx_count) % RX_FIFO_LEN] = byte;
	serial->rx_count++;
}

static uint8_t rx_pop(struct serial *serial)
{
	if (serial->rx_count == 0) {
		return 0;
	}
	uint8_t byte = serial->rx[serial->rx_head];

	serial->rx_head = (serial->rx_head + 1) % RX_FIFO_LEN;
	serial->rx_count--;
	return byte;
}

/* The causes that are there and enabled, as bits of IER. */
static uint8_t causes(const struct serial *serial)
{
	unsigned present = 0;

	present |= serial->rx_count > 0 ? IER_RECEIVED : 0;
	present |= serial->is_thre_latched ? IER_THR_EMPTY : 0;
	present |= serial->is_overrun ? IER_LINE_STATUS : 0;
	present |= serial->msr_delta != 0 ? IER_MODEM : 0;
	return (uint8_t)(present & serial->ier);
}

static uint8_t read_iir(struct serial *serial)
{
	static const struct {
		uint8_t cause;
		uint8_t iir;
	} by_priority[] = {
		{IER_LINE_STATUS, IIR_LINE_STATUS},
		{IER_RECEIVED, IIR_RECEIVED},
		{IER_THR_EMPTY, IIR_THR_EMPTY},
		{IER_MODEM, IIR_MODEM},
	};
	uint8_t present = causes(serial);
	uint8_t iir = IIR_NONE;

	for (size_t i = 0; i < ARRAY_COUNT(by_priority); i++) {
		if ((present & by_priority[i].cause) != 0) {
			iir = by_priority[i].iir;
			break;
		}
	}
	if (iir == IIR_THR_EMPTY) {
		serial->is_thre_latched = false;
	}
	return iir | ((serial->fcr & FCR_ENABLE) ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *serial)
{
	unsigned lsr = LSR_THR_EMPTY | LSR_IDLE;

	lsr |= serial->rx_count > 0 ? LSR_DATA_READY : 0;
	lsr |= serial->is_overrun ? LSR_OVERRUN : 0;
	serial->is_overrun = false;
	return (uint8_t)lsr;
}

/* The modem inputs: a ready modem, or in loopback mode our own outputs [ns16550a 8.7]. */
static uint8_t modem_inputs(const struct serial *serial)
{
	if (!is_loopback(serial)) {
		return MSR_DCD | MSR_DSR | MSR_CTS;
	}
	unsigned inputs = 0;

	inputs |= serial->mcr & MCR_RTS ? MSR_CTS : 0;
	inputs |= serial->mcr & MCR_DTR ? MSR_DSR : 0;
	inputs |= serial->mcr & MCR_OUT1 ? MSR_RI : 0;
	inputs |= serial->mcr & MCR_OUT2 ? MSR_DCD : 0;
	return (uint8_t)inputs;
}

static uint8_t read_msr(struct serial *serial)
{
	uint8_t msr = modem_inputs(serial) | serial->msr_delta;

	serial->msr_delta = 0;
	return msr;
}

static void write_mcr(struct serial *serial, uint8_t value)
{
	uint8_t before = modem_inputs(serial);

	serial->mcr = value & MCR_MASK;
	uint8_t after = modem_inputs(serial);
	unsigned delta = ((before ^ after) >> 4) & MSR_DELTA;

	/* Of the ring indicator only its end counts. */
	if ((after & MSR_RI) != 0) {
		delta &= ~(unsigned)MSR_RI_ENDED;
	}
	serial->msr_delta |= (uint8_t)delta;
}

static void write_ier(struct serial *serial, uint8_t value)
{
	if (~serial->ier & value & IER_THR_EMPTY) {
		serial->is_thre_latched = true;
	}
	serial->ier = value & IER_MASK;
}

static void transmit(struct serial *serial, uint8_t byte, struct effects *effects)
{
	serial->is_thre_latched = true;
	if (!is_loopback(serial)) {
		metric_add(&serial->metrics.write_count, 1);
		effects->is_output = true;
		effects->output = byte;
	} else if (serial->rx_count < RX_FIFO_LEN) {
		rx_push(serial, byte);
	} else {
		serial->is_overrun = true;
	}
}

static uint8_t read_register(struct serial *serial, uint64_t reg)
{
	if (is_divisor(serial, reg)) {
		return serial->divisor[reg];
	}
	switch (reg) {
	case REG_DATA:
		metric_add(&serial->metrics.read_count, serial->rx_count > 0);
		return rx_pop(serial);
	case REG_IER:
		return serial->ier;
	case REG_IIR_FCR:
		return read_iir(serial);
	case REG_LCR:
		return serial->lcr;
	case REG_MCR:
		return serial->mcr;
	case REG_LSR:
		return read_lsr(serial);
	case REG_MSR:
		return read_msr(serial);
	case REG_SCR:
		return serial->scr;
	default:
		return 0;
	}
}

static void write_register(struct serial *serial, uint64_t reg, uint8_t value,
			   struct effects *effects)
{
	if (is_divisor(serial, reg)) {
		serial->divisor[reg] = value;
		return;
	}
	switch (reg) {
	case REG_DATA:
		transmit(serial, value, effects);
		break;
	case REG_IER:
		write_ier(serial, value);
		break;
	case REG_IIR_FCR:
		/*
		 * The bits that clear the FIFOs do nothing: input typed or piped before the guest's
		 * driver starts would be lost, and users count on it [compat].
		 */
		serial->fcr = value;
		break;
	case REG_LCR:
		serial->lcr = value;
		break;
	case REG_MCR:
		write_mcr(serial, value);
		break;
	case REG_SCR:
		serial->scr = value;
		break;
	default: /* LSR and MSR are read-only: their writes are for factory tests */
		break;
	}
}

/* Ends an access that began with the causes `before`: notes what is to be told to others. */
static void settle(struct serial *serial, uint8_t before, struct effects *effects)
{
	effects->is_irq = (causes(serial) & ~before) != 0;
	if (serial->is_input_refused && serial->rx_count == 0 && !is_loopback(serial)) {
		serial->is_input_refused = false;
		effects->is_rx_ready = true;
	}
}

static void tell(const struct serial *serial, const struct effects *effects)
{
	if (effects->is_output) {
		serial->config.sink.write(serial->config.sink.arg, &effects->output, 1);
	}
	if (effects->is_irq) {
		irq_line_fire(&serial->irq);
	}
	if (effects->is_rx_ready && serial->config.rx_ready) {
		serial->config.rx_ready(serial->config.rx_arg);
	}
}

static void bus_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct serial *serial = device;
	struct effects effects = {0};

	/* The registers are bytes; anything wider reads 0 [compat]. */
	if (len != 1 || offset > REG_SCR) {
		metric_add(&serial->metrics.missed_read_count, 1);
		return;
	}
	pthread_mutex_lock(&serial->lock);
	uint8_t before = causes(serial);

	data[0] = read_register(serial, offset);
	settle(serial, before, &effects);
	pthread_mutex_unlock(&serial->lock);
	tell(serial, &effects);
}

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct serial *serial = device;
	struct effects effects = {0};

	if (len != 1 || offset > REG_SCR) {
		metric_add(&serial->metrics.missed_write_count, 1);
		return;
	}
	pthread_mutex_lock(&serial->lock);
	uint8_t before = causes(serial);

	write_register(serial, offset, data[0], &effects);
	settle(serial, before, &effects);
	pthread_mutex_unlock(&serial->lock);
	tell(serial, &effects);
}

const struct bus_ops serial_bus_ops = {
	.read = bus_read,
	.write = bus_write,
};

int serial_new(const struct dev_env *env, const struct serial_config *config, struct serial **out,
	       struct error *err)
{
	struct serial *serial = calloc(1, sizeof(*serial));

	if (serial == NULL) {
		return error_sys(err, "Cannot allocate the serial port");
	}
	serial->config = *config;
	serial->irq = env->irq;
	serial->lcr = LCR_RESET;
	serial->mcr = MCR_RESET;
	serial->divisor[0] = DIVISOR_RESET;
	pthread_mutex_init(&serial->lock, NULL);
	*out = serial;
	return 0;
}

void serial_free(struct serial *serial)
{
	if (serial == NULL) {
		return;
	}
	pthread_mutex_destroy(&serial->lock);
	free(serial);
}

struct serial_metrics *serial_metrics(struct serial *serial)
{
	return &serial->metrics;
}

size_t serial_rx_room(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	size_t room = rx_room(serial);

	serial->is_input_refused |= room == 0;
	pthread_mutex_unlock(&serial->lock);
	return room;
}

size_t serial_receive(struct serial *serial, const uint8_t *data, size_t len)
{
	pthread_mutex_lock(&serial->lock);
	size_t taken = 0;

	while (taken < len && !is_loopback(serial) && serial->rx_count < RX_FIFO_LEN) {
		rx_push(serial, data[taken++]);
	}
	serial->is_input_refused |= taken < len;
	bool is_irq = taken > 0 && (serial->ier & IER_RECEIVED) != 0;

	pthread_mutex_unlock(&serial->lock);
	if (is_irq) {
		irq_line_fire(&serial->irq);
	}
	return taken;
}

/* --- State --- */

static const struct codec_section section = {
	.tag = CODEC_TAG('S', 'E', 'R', 'I'), .version = 1, .name = "serial"};

void serial_state_codec(struct codec *codec, struct serial_state *state)
{
	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_bytes(codec, "divisor", state->divisor, sizeof(state->divisor));
	codec_u8(codec, "ier", &state->ier);
	codec_u8(codec, "fcr", &state->fcr);
	codec_u8(codec, "lcr", &state->lcr);
	codec_u8(codec, "mcr", &state->mcr);
	codec_u8(codec, "scr", &state->scr);
	codec_u8(codec, "msr_delta", &state->msr_delta);
	codec_bool(codec, "is_thre_latched", &state->is_thre_latched);
	codec_bool(codec, "is_overrun", &state->is_overrun);
	codec_count(codec, "rx_count", &state->rx_count, RX_FIFO_LEN);
	codec_bytes(codec, "rx", state->rx, state->rx_count);
	codec_section_end(codec);
}

void serial_save(struct serial *serial, struct serial_state *state)
{
	pthread_mutex_lock(&serial->lock);
	*state = (struct serial_state){
		.divisor = {serial->divisor[0], serial->divisor[1]},
		.ier = serial->ier,
		.fcr = serial->fcr,
		.lcr = serial->lcr,
		.mcr = serial->mcr,
		.scr = serial->scr,
		.msr_delta = serial->msr_delta,
		.is_thre_latched = serial->is_thre_latched,
		.is_overrun = serial->is_overrun,
		.rx_count = serial->rx_count,
	};
	for (unsigned i = 0; i < serial->rx_count; i++) {
		state->rx[i] = serial->rx[(serial->rx_head + i) % RX_FIFO_LEN];
	}
	pthread_mutex_unlock(&serial->lock);
}

static int check(const struct serial_state *state, struct error *err)
{
	if ((state->ier & ~IER_MASK) != 0 || (state->mcr & ~MCR_MASK) != 0 ||
	    (state->msr_delta & ~MSR_DELTA) != 0) {
		return error_set(err, ERR_CORRUPT,
				 "The serial port can't be loaded: IER %#x, MCR %#x, MSR %#x",
				 state->ier, state->mcr, state->msr_delta);
	}
	if (state->rx_count > RX_FIFO_LEN) {
		return error_set(err, ERR_CORRUPT,
				 "The serial port can't be loaded: %u bytes of input, and at most "
				 "%d fit",
				 state->rx_count, RX_FIFO_LEN);
	}
	return 0;
}

/* Who feeds the port begins to ask for room anew, so nobody is owed rx_ready. */
int serial_load(struct serial *serial, const struct serial_state *state, struct error *err)
{
	if (check(state, err) < 0) {
		return -1;
	}
	pthread_mutex_lock(&serial->lock);
	memcpy(serial->divisor, state->divisor, sizeof(serial->divisor));
	serial->ier = state->ier;
	serial->fcr = state->fcr;
	serial->lcr = state->lcr;
	serial->mcr = state->mcr;
	serial->scr = state->scr;
	serial->msr_delta = state->msr_delta;
	serial->is_thre_latched = state->is_thre_latched;
	serial->is_overrun = state->is_overrun;
	serial->rx_head = 0;
	serial->rx_count = state->rx_count;
	memcpy(serial->rx, state->rx, state->rx_count);
	bool is_irq = causes(serial) != 0;

	pthread_mutex_unlock(&serial->lock);
	if (is_irq) {
		irq_line_fire(&serial->irq);
	}
	return 0;
}
