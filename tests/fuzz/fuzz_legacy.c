/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the devices that every guest can reach: an input is a program of accesses to them and of
 * what the host does meanwhile. Besides the sanitizers' checks, a read must leave bytes beyond its
 * length alone, the receive FIFO must keep to its promises, and a state that can't be loaded must
 * be the file's fault.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/platform/boot_timer.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"

enum {
	FIFO_LEN = 64,
	CANARY = 0xa7
};

enum action {
	ACT_READ,
	ACT_WRITE,
	ACT_RECEIVE, /* input for the serial port */
	ACT_CTRL_ALT_DEL,
	ACT_LOAD, /* the state that follows */
	ACTIONS
};

enum target {
	SERIAL,
	I8042,
	RTC,
	BOOT_TIMER,
	TARGETS
};

/* One step of the program, followed by `data_len` bytes for those that take any. */
struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t target;
	uint64_t offset;
	uint8_t len;
};

struct machine {
	struct serial *serial;
	struct i8042 *i8042;
	struct rtc_pl031 *rtc;
	struct boot_timer *boot_timer;
};

static void ignore(void *arg)
{
	(void)arg;
}

static void ignore_output(void *arg, const uint8_t *data, size_t len)
{
	(void)arg;
	(void)data;
	if (len != 1) {
		abort();
	}
}

/* Moves on with each look, to every point of the 64 bits in the end. */
static uint64_t leaping_ns(clockid_t id)
{
	static uint64_t now;

	(void)id;
	now = now * 3 + UINT64_C(999999937);
	return now;
}

static void build(struct machine *machine)
{
	static const struct clock clock = {.now_ns = leaping_ns};
	static const struct machine_ops machine_ops = {.reset = ignore};
	const struct dev_env env = {
		.irq = {.fire = ignore},
		.clock = &clock,
		.machine_ops = &machine_ops,
	};
	const struct serial_config serial = {.sink = {.write = ignore_output}, .rx_ready = ignore};
	const struct boot_timer_config boot_timer = {.fired = ignore};
	struct error err = {0};

	if (serial_new(&env, &serial, &machine->serial, &err) < 0 ||
	    i8042_new(&env, &machine->i8042, &err) < 0 ||
	    rtc_pl031_new(&env, &machine->rtc, &err) < 0 ||
	    boot_timer_new(&boot_timer, &machine->boot_timer, &err) < 0) {
		abort();
	}
}

static void destroy(struct machine *machine)
{
	serial_free(machine->serial);
	i8042_free(machine->i8042);
	rtc_pl031_free(machine->rtc);
	boot_timer_free(machine->boot_timer);
}

static const struct bus_ops *find_device(struct machine *machine, unsigned target, void **device)
{
	const struct {
		const struct bus_ops *ops;
		void *device;
	} devices[TARGETS] = {
		[SERIAL] = {&serial_bus_ops, machine->serial},
		[I8042] = {&i8042_bus_ops, machine->i8042},
		[RTC] = {&rtc_pl031_bus_ops, machine->rtc},
		[BOOT_TIMER] = {&boot_timer_bus_ops, machine->boot_timer},
	};

	*device = devices[target].device;
	return devices[target].ops;
}

static void read_device(struct machine *machine, const struct step *step, uint32_t len)
{
	uint8_t buffer[16];
	void *device = NULL;
	const struct bus_ops *ops = find_device(machine, step->target % TARGETS, &device);

	memset(buffer, CANARY, sizeof(buffer));
	memset(buffer, 0, len);
	ops->read(device, step->offset, buffer, len);
	for (size_t i = len; i < sizeof(buffer); i++) {
		if (buffer[i] != CANARY) {
			abort();
		}
	}
}

/* The copy has exactly `len` bytes, so that the sanitizer sees a read beyond them. */
static void write_device(struct machine *machine, const struct step *step, const uint8_t *data,
			 uint32_t len)
{
	uint8_t *copy = malloc(len);
	void *device = NULL;
	const struct bus_ops *ops = find_device(machine, step->target % TARGETS, &device);

	if (!copy) {
		abort();
	}
	memcpy(copy, data, len);
	ops->write(device, step->offset, copy, len);
	free(copy);
}

static void receive(struct machine *machine, const uint8_t *data, size_t len)
{
	size_t room = serial_rx_room(machine->serial);
	size_t taken = serial_receive(machine->serial, data, len);

	if (room > FIFO_LEN || taken != min_u64(room, len) ||
	    serial_rx_room(machine->serial) != room - taken) {
		abort();
	}
}

/* Booleans are 0 or 1, as the codec sees to. */
static int load_serial(struct serial *serial, uint8_t bytes[sizeof(struct serial_state)],
		       struct error *err)
{
	struct serial_state state;

	bytes[offsetof(struct serial_state, is_thre_latched)] &= 1;
	bytes[offsetof(struct serial_state, is_overrun)] &= 1;
	memcpy(&state, bytes, sizeof(state));
	return serial_load(serial, &state, err);
}

static int load_i8042(struct i8042 *i8042, uint8_t bytes[sizeof(struct i8042_state)],
		      struct error *err)
{
	struct i8042_state state;

	bytes[offsetof(struct i8042_state, is_command_last)] &= 1;
	memcpy(&state, bytes, sizeof(state));
	return i8042_load(i8042, &state, err);
}

static int load_rtc(struct rtc_pl031 *rtc, const uint8_t bytes[sizeof(struct rtc_pl031_state)],
		    struct error *err)
{
	struct rtc_pl031_state state;

	memcpy(&state, bytes, sizeof(state));
	return rtc_pl031_load(rtc, &state, err);
}

static size_t load_device(struct machine *machine, const struct step *step, const uint8_t *data,
			  size_t size)
{
	uint8_t bytes[sizeof(struct serial_state)] = {0}; /* the largest one */
	size_t len = min_u64(size, sizeof(bytes));
	struct error err = {0};
	int result = 0;

	memcpy(bytes, data, len);
	switch ((enum target)(step->target % TARGETS)) {
	case SERIAL:
		result = load_serial(machine->serial, bytes, &err);
		break;
	case I8042:
		result = load_i8042(machine->i8042, bytes, &err);
		break;
	case RTC:
		result = load_rtc(machine->rtc, bytes, &err);
		break;
	case BOOT_TIMER:
	case TARGETS:
		break;
	}
	require(result == 0 || err.kind == ERR_CORRUPT);
	return len;
}

/* Returns how many of the `size` bytes after the step belong to it. */
static size_t play(struct machine *machine, const struct step *step, const uint8_t *data,
		   size_t size)
{
	struct error err = {0};
	uint32_t len = step->len % 8 + 1;

	switch (step->action % ACTIONS) {
	case ACT_READ:
		read_device(machine, step, len);
		return 0;
	case ACT_WRITE:
		len = (uint32_t)min_u64(len, size);
		if (len > 0) {
			write_device(machine, step, data, len);
		}
		return len;
	case ACT_RECEIVE:
		len = (uint32_t)min_u64(step->len, size);
		receive(machine, data, len);
		return len;
	case ACT_LOAD:
		return load_device(machine, step, data, size);
	default:
		(void)!i8042_ctrl_alt_del(machine->i8042, &err);
		return 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine machine = {0};
	struct input input = {data, size};
	struct step step;

	build(&machine);
	while (input_take(&input, &step, sizeof(step))) {
		input_skip(&input, play(&machine, &step, input.data, input.size));
	}
	destroy(&machine);
	return 0;
}
