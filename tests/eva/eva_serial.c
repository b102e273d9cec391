/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that accesses any register by up to 8 bytes, amid pieces of input and any saved states.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"

#include "devices/legacy/serial.c"

static void take(void *arg, const uint8_t *data, size_t len)
{
	(void)arg;
	keep(data[len - 1]);
}

static void renew(struct serial *serial)
{
	struct serial_state state;
	struct error err = {0};

	serial_save(serial, &state);
	keep(state.rx_count);
	fill(&state, sizeof(state));
	state.is_thre_latched = any_bool();
	state.is_overrun = any_bool();
	serial_state_codec(NULL, &state);
	keep(serial_load(serial, &state, &err));
}

static void use(struct serial *serial)
{
	uint8_t data[2 * RX_FIFO_LEN];

	fill(data, sizeof(data));
	switch (any_between(0, 3)) {
	case 0:
		access_any(&serial_bus_ops, serial);
		break;
	case 1:
		keep(serial_receive(serial, data, any_between(0, sizeof(data))));
		break;
	case 2:
		keep(serial_rx_room(serial));
		break;
	default:
		renew(serial);
		break;
	}
}

void main(void)
{
	/*@ widen_hints global:"all", 63, 64; */
	const struct dev_env env = {.irq = {.fire = note}};
	struct serial_config config = {.sink = {.write = take}};
	struct serial *serial = NULL;
	struct error err = {0};

	config.rx_ready = any_bool() ? note : NULL;
	if (serial_new(&env, &config, &serial, &err) == 0) {
		while (any_bool()) {
			use(serial);
		}
		keep(metric_get(&serial_metrics(serial)->read_count));
	}
	serial_free(serial);
}
