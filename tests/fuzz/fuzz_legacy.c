/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the devices that every guest can reach, on a bus: an input is a program of accesses to
 * them and of what the host does meanwhile. Besides the sanitizers' checks, a read must leave bytes
 * beyond its length alone, and all where there is no device, the receive FIFO must keep to its
 * promises, and a state that can't be loaded must be the file's fault.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/pci/v2m.h"
#include "devices/platform/acpi_sleep.h"
#include "devices/platform/boot_timer.h"
#include "devices/platform/vmclock.h"
#include "devices/platform/vmgenid.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"
#include "vmm/machine/bus.h"

enum {
	TARGET_SHIFT = 61, /* each has an eighth of all addresses, but for */
	GAP = 4096,	   /* bytes before it */
	VMCLOCK_AT = 0,
	VMGENID_AT = VMCLOCK_LEN,
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
	ACPI_SLEEP,
	V2M,
	VMCLOCK, /* these have no registers: guest memory is all that there is of them */
	VMGENID,
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
	struct acpi_sleep *acpi_sleep;
	struct v2m_frame v2m;
	struct vmclock *vmclock;
	struct vmgenid *vmgenid;
	struct bus bus;
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

static void attach(struct machine *machine, enum target target, const struct bus_ops *ops,
		   void *device)
{
	const struct bus_range range = {
		.base = ((uint64_t)target << TARGET_SHIFT) + GAP,
		.len = (UINT64_C(1) << TARGET_SHIFT) - GAP,
		.ops = ops,
		.device = device,
	};
	struct error err = {0};

	require(bus_attach(&machine->bus, &range, &err) == 0);
}

static void build(struct machine *machine, struct gmem *mem)
{
	static const struct clock clock = {.now_ns = leaping_ns};
	static const struct machine_ops machine_ops = {.reset = ignore};
	const struct dev_env env = {
		.mem = mem,
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
	    boot_timer_new(&boot_timer, &machine->boot_timer, &err) < 0 ||
	    acpi_sleep_new(&env, &machine->acpi_sleep, &err) < 0 ||
	    vmclock_new(&env, GPA(VMCLOCK_AT), &machine->vmclock, &err) < 0 ||
	    vmgenid_new(&env, GPA(VMGENID_AT), &machine->vmgenid, &err) < 0) {
		abort();
	}
	machine->v2m = (struct v2m_frame){.first = 64, .count = 64};
	/* In no order. */
	attach(machine, V2M, &v2m_bus_ops, &machine->v2m);
	attach(machine, SERIAL, &serial_bus_ops, machine->serial);
	attach(machine, RTC, &rtc_pl031_bus_ops, machine->rtc);
	attach(machine, I8042, &i8042_bus_ops, machine->i8042);
	attach(machine, ACPI_SLEEP, &acpi_sleep_bus_ops, machine->acpi_sleep);
	attach(machine, BOOT_TIMER, &boot_timer_bus_ops, machine->boot_timer);
}

static void destroy(struct machine *machine)
{
	serial_free(machine->serial);
	i8042_free(machine->i8042);
	rtc_pl031_free(machine->rtc);
	boot_timer_free(machine->boot_timer);
	acpi_sleep_free(machine->acpi_sleep);
	vmclock_free(machine->vmclock);
	vmgenid_free(machine->vmgenid);
}

/* Offsets that are beyond a device's addresses lead to another one, or to none. */
static uint64_t address_of(const struct step *step)
{
	return ((uint64_t)(step->target % TARGETS) << TARGET_SHIFT) + GAP + step->offset;
}

static void read_device(struct machine *machine, const struct step *step, uint32_t len)
{
	uint8_t buffer[16];
	uint8_t before[16];

	memset(buffer, CANARY, sizeof(buffer));
	memset(buffer, 0, len);
	memcpy(before, buffer, sizeof(buffer));
	if (!bus_read(&machine->bus, address_of(step), buffer, len)) {
		require(memcmp(buffer, before, sizeof(buffer)) == 0);
	}
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

	if (!copy) {
		abort();
	}
	memcpy(copy, data, len);
	(void)bus_write(&machine->bus, address_of(step), copy, len);
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

static int load_vmclock(struct vmclock *vmclock, const uint8_t bytes[sizeof(struct vmclock_state)],
			struct error *err)
{
	struct vmclock_state state;

	memcpy(&state, bytes, sizeof(state));
	return vmclock_load(vmclock, &state, err);
}

static size_t load_device(struct machine *machine, const struct step *step, const uint8_t *data,
			  size_t size)
{
	uint8_t bytes[sizeof(struct serial_state)] = {0}; /* the largest one */
	size_t len = min_u64(size, sizeof(bytes));
	const struct vmgenid_state vmgenid = {.at = len > 0 ? data[0] * VMGENID_AT : 0};
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
	case VMCLOCK:
		result = load_vmclock(machine->vmclock, bytes, &err);
		break;
	case VMGENID:
		result = vmgenid_load(machine->vmgenid, &vmgenid, &err);
		break;
	case BOOT_TIMER:
	case ACPI_SLEEP:
	case V2M:
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
	static struct gmem *mem;
	const struct gmem_range ram = {GPA(0), MIB};
	struct machine machine = {0};
	struct input input = {data, size};
	struct error err = {0};
	struct step step;

	be_quiet();
	require(mem != NULL || gmem_new(&ram, 1, GMEM_ANON, &mem, &err) == 0);
	build(&machine, mem);
	while (input_take(&input, &step, sizeof(step))) {
		input_skip(&input, play(&machine, &step, input.data, input.size));
	}
	destroy(&machine);
	return 0;
}
