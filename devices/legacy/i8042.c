/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller, with a keyboard that has three keys.
 *
 * Theory of operation. The guest writes commands to port 0x64 and data to port 0x60; answers and
 * key codes come out of port 0x60, through one queue [ibm-ps2 keyboard and auxiliary device
 * controller]. What a data byte means depends on the command before it (`awaiting`); without one it
 * is for the keyboard.
 *
 * Both sides answer whatever a driver asks while it probes, since Linux waits up to half a second
 * for each answer that doesn't come: the controller its self tests, the keyboard its identity.
 * There is no port for a mouse, and the controller says so. Every command empties the queue first
 * [compat], so a driver that polls for an answer never takes a key for it.
 *
 * The keyboard interrupt is an edge per byte: for the first one when it is queued, for each
 * further one when the byte before it has been read. Answers of the controller itself are polled
 * for and don't interrupt. Translation to scan code set 1 is off in the control byte at reset, so
 * drivers take the codes as those of set 2, the keyboard's own.
 */
#include "devices/legacy/i8042.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"

/* Offsets from port 0x60. */
enum {
	REG_DATA = 0,
	REG_COMMAND_STATUS = 4,
};

enum {
	STATUS_OUTPUT_FULL = 0x01,
	STATUS_COMMAND = 0x08, /* the last byte came through port 0x64 */
	STATUS_UNLOCKED = 0x10,
};

enum {
	COMMAND_READ_CONTROL = 0x20,
	COMMAND_WRITE_CONTROL = 0x60,
	COMMAND_TEST_AUX = 0xa9,
	COMMAND_SELF_TEST = 0xaa,
	COMMAND_TEST_KEYBOARD = 0xab,
	COMMAND_READ_OUTPUT = 0xd0,
	COMMAND_WRITE_OUTPUT = 0xd1,
	COMMAND_RESET = 0xfe, /* pulses the processor's reset line */
};

enum {
	CONTROL_KEYBOARD_IRQ = 0x01,
	CONTROL_TEST_PASSED = 0x04,
};

enum {
	KEYBOARD_IDENTIFY = 0xf2,
	KEYBOARD_RESET = 0xff,
	KEYBOARD_ACK = 0xfa,
};

enum {
	QUEUE_LEN = I8042_QUEUE_LEN /* as the chip; a power of two */
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(i8042_metrics, error_count)},
	{METRIC_COUNT(i8042_metrics, missed_read_count)},
	{METRIC_COUNT(i8042_metrics, missed_write_count)},
	{METRIC_COUNT(i8042_metrics, read_count)},
	{METRIC_COUNT(i8042_metrics, reset_count)},
	{METRIC_COUNT(i8042_metrics, write_count)},
};

const struct metric_group i8042_metric_group = {
	METRIC_GROUP("i8042", i8042_metrics, metric_fields, 0)};

struct i8042 {
	struct i8042_metrics metrics; /* shared */

	/* immutable after init */
	struct irq_line irq;
	const struct machine_ops *machine_ops;
	void *machine;

	pthread_mutex_t lock; /* guards all below */
	uint8_t control;
	uint8_t output_port;
	uint8_t awaiting; /* the command whose data byte comes next, 0: none */
	bool is_command_last;
	uint8_t queue[QUEUE_LEN];
	unsigned head; /* the oldest byte */
	unsigned count;
};

/* What is to be done for an access once the lock is released. */
struct effects {
	bool is_irq;
	bool is_reset;
};

/* Make codes of scan code set 2, Del with its prefix [compat: the order]. */
static const uint8_t ctrl_alt_del[] = {0x14, 0x11, 0xe0, 0x71};

/* The caller has checked that there is room. */
static void push(struct i8042 *i8042, uint8_t byte)
{
	i8042->queue[(i8042->head + i8042->count) % QUEUE_LEN] = byte;
	i8042->count++;
}

static void request_irq(const struct i8042 *i8042, struct effects *effects)
{
	effects->is_irq = (i8042->control & CONTROL_KEYBOARD_IRQ) != 0;
}

static uint8_t read_data(struct i8042 *i8042, struct effects *effects)
{
	if (i8042->count == 0) {
		return 0;
	}
	uint8_t byte = i8042->queue[i8042->head];

	i8042->head = (i8042->head + 1) % QUEUE_LEN;
	i8042->count--;
	if (i8042->count > 0) {
		request_irq(i8042, effects);
	}
	return byte;
}

static uint8_t read_status(const struct i8042 *i8042)
{
	unsigned status = STATUS_UNLOCKED;

	status |= i8042->count > 0 ? STATUS_OUTPUT_FULL : 0;
	status |= i8042->is_command_last ? STATUS_COMMAND : 0;
	return (uint8_t)status;
}

static void write_command(struct i8042 *i8042, uint8_t command, struct effects *effects)
{
	i8042->count = 0;
	i8042->awaiting = 0;
	i8042->is_command_last = true;
	switch (command) {
	case COMMAND_READ_CONTROL:
		push(i8042, i8042->control);
		break;
	case COMMAND_READ_OUTPUT:
		push(i8042, i8042->output_port);
		break;
	case COMMAND_WRITE_CONTROL:
	case COMMAND_WRITE_OUTPUT:
		i8042->awaiting = command;
		break;
	case COMMAND_SELF_TEST:
		push(i8042, 0x55); /* passed */
		break;
	case COMMAND_TEST_KEYBOARD:
		push(i8042, 0x00); /* passed */
		break;
	case COMMAND_TEST_AUX:
		push(i8042, 0x01); /* its clock line is stuck: nothing is there */
		break;
	case COMMAND_RESET:
		effects->is_reset = true;
		break;
	default: /* unknown to us, as on many real ones */
		break;
	}
}

/* A byte for the keyboard, a command or its argument: both are acknowledged alike. */
static void write_keyboard(struct i8042 *i8042, uint8_t byte, struct effects *effects)
{
	i8042->count = 0;
	push(i8042, KEYBOARD_ACK);
	if (byte == KEYBOARD_IDENTIFY) {
		push(i8042, 0xab); /* a keyboard with ... */
		push(i8042, 0x83); /* ... the usual 101 keys */
	} else if (byte == KEYBOARD_RESET) {
		push(i8042, 0xaa); /* its self test passed */
	}
	request_irq(i8042, effects);
}

static void write_data(struct i8042 *i8042, uint8_t byte, struct effects *effects)
{
	uint8_t command = i8042->awaiting;

	i8042->awaiting = 0;
	i8042->is_command_last = false;
	if (command == COMMAND_WRITE_CONTROL) {
		i8042->control = byte;
	} else if (command == COMMAND_WRITE_OUTPUT) {
		i8042->output_port = byte;
	} else {
		write_keyboard(i8042, byte, effects);
	}
}

/* The ports are bytes; anything wider reads 0 [compat]. */
static bool is_register(uint64_t offset, uint32_t len)
{
	return len == 1 && (offset == REG_DATA || offset == REG_COMMAND_STATUS);
}

static void bus_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct i8042 *i8042 = device;
	struct effects effects = {0};

	if (!is_register(offset, len)) {
		metric_add(&i8042->metrics.missed_read_count, 1);
		return;
	}
	metric_add(&i8042->metrics.read_count, 1);
	pthread_mutex_lock(&i8042->lock);
	if (offset == REG_DATA) {
		data[0] = read_data(i8042, &effects);
	} else {
		data[0] = read_status(i8042);
	}
	pthread_mutex_unlock(&i8042->lock);
	if (effects.is_irq) {
		irq_line_fire(&i8042->irq);
	}
}

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct i8042 *i8042 = device;
	struct effects effects = {0};

	if (!is_register(offset, len)) {
		metric_add(&i8042->metrics.missed_write_count, 1);
		return;
	}
	metric_add(&i8042->metrics.write_count, 1);
	pthread_mutex_lock(&i8042->lock);
	if (offset == REG_DATA) {
		write_data(i8042, data[0], &effects);
	} else {
		write_command(i8042, data[0], &effects);
	}
	pthread_mutex_unlock(&i8042->lock);
	if (effects.is_irq) {
		irq_line_fire(&i8042->irq);
	}
	if (effects.is_reset) {
		metric_add(&i8042->metrics.reset_count, 1);
		i8042->machine_ops->reset(i8042->machine);
	}
}

const struct bus_ops i8042_bus_ops = {
	.read = bus_read,
	.write = bus_write,
};

int i8042_new(const struct dev_env *env, struct i8042 **out, struct error *err)
{
	struct i8042 *i8042 = calloc(1, sizeof(*i8042));

	if (i8042 == NULL) {
		return error_sys(err, "Cannot allocate the keyboard controller");
	}
	i8042->irq = env->irq;
	i8042->machine_ops = env->machine_ops;
	i8042->machine = env->machine;
	i8042->control = CONTROL_TEST_PASSED | CONTROL_KEYBOARD_IRQ;
	pthread_mutex_init(&i8042->lock, NULL);
	*out = i8042;
	return 0;
}

void i8042_free(struct i8042 *i8042)
{
	if (i8042 == NULL) {
		return;
	}
	pthread_mutex_destroy(&i8042->lock);
	free(i8042);
}

struct i8042_metrics *i8042_metrics(struct i8042 *i8042)
{
	return &i8042->metrics;
}

int i8042_ctrl_alt_del(struct i8042 *i8042, struct error *err)
{
	struct effects effects = {0};

	pthread_mutex_lock(&i8042->lock);
	bool fits = QUEUE_LEN - i8042->count >= ARRAY_COUNT(ctrl_alt_del);

	if (fits) {
		for (size_t i = 0; i < ARRAY_COUNT(ctrl_alt_del); i++) {
			push(i8042, ctrl_alt_del[i]);
		}
		request_irq(i8042, &effects);
	}
	pthread_mutex_unlock(&i8042->lock);
	if (effects.is_irq) {
		irq_line_fire(&i8042->irq);
	}
	if (!fits) {
		metric_add(&i8042->metrics.error_count, 1);
		return error_set(err, ERR_BAD_STATE,
				 "Cannot press Ctrl-Alt-Del: the guest does not read its keyboard, "
				 "whose buffer of %d bytes is full",
				 QUEUE_LEN);
	}
	return 0;
}

/* --- State --- */

static const struct codec_section section = {
	.tag = CODEC_TAG('8', '0', '4', '2'), .version = 1, .name = "i8042"};

void i8042_state_codec(struct codec *codec, struct i8042_state *state)
{
	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u8(codec, "control", &state->control);
	codec_u8(codec, "output_port", &state->output_port);
	codec_u8(codec, "awaiting", &state->awaiting);
	codec_bool(codec, "is_command_last", &state->is_command_last);
	codec_count(codec, "count", &state->count, QUEUE_LEN);
	codec_bytes(codec, "queue", state->queue, state->count);
	codec_section_end(codec);
}

void i8042_save(struct i8042 *i8042, struct i8042_state *state)
{
	pthread_mutex_lock(&i8042->lock);
	*state = (struct i8042_state){
		.control = i8042->control,
		.output_port = i8042->output_port,
		.awaiting = i8042->awaiting,
		.is_command_last = i8042->is_command_last,
		.count = i8042->count,
	};
	for (unsigned i = 0; i < i8042->count; i++) {
		state->queue[i] = i8042->queue[(i8042->head + i) % QUEUE_LEN];
	}
	pthread_mutex_unlock(&i8042->lock);
}

static int check(const struct i8042_state *state, struct error *err)
{
	if (state->awaiting != 0 && state->awaiting != COMMAND_WRITE_CONTROL &&
	    state->awaiting != COMMAND_WRITE_OUTPUT) {
		return error_set(err, ERR_CORRUPT,
				 "The keyboard controller can't be loaded: command %#x awaits no "
				 "data",
				 state->awaiting);
	}
	if (state->count > QUEUE_LEN) {
		return error_set(err, ERR_CORRUPT,
				 "The keyboard controller can't be loaded: %u bytes wait, and at "
				 "most %d fit",
				 state->count, QUEUE_LEN);
	}
	return 0;
}

int i8042_load(struct i8042 *i8042, const struct i8042_state *state, struct error *err)
{
	struct effects effects = {0};

	if (check(state, err) < 0) {
		return -1;
	}
	pthread_mutex_lock(&i8042->lock);
	i8042->control = state->control;
	i8042->output_port = state->output_port;
	i8042->awaiting = state->awaiting;
	i8042->is_command_last = state->is_command_last;
	i8042->head = 0;
	i8042->count = state->count;
	memcpy(i8042->queue, state->queue, state->count);
	if (i8042->count > 0) {
		request_irq(i8042, &effects);
	}
	pthread_mutex_unlock(&i8042->lock);
	if (effects.is_irq) {
		irq_line_fire(&i8042->irq);
	}
	return 0;
}
