/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that accesses any port by up to 8 bytes, amid Ctrl-Alt-Del and any saved states.
 *
 * Options: -eva-precision 2 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"

#include "devices/legacy/i8042.c"

static void renew(struct i8042 *i8042)
{
	struct i8042_state state;
	struct error err = {0};

	i8042_save(i8042, &state);
	keep(state.count);
	fill(&state, sizeof(state));
	state.is_command_last = any_bool();
	i8042_state_codec(NULL, &state);
	keep(i8042_load(i8042, &state, &err));
}

static void use(struct i8042 *i8042)
{
	struct error err = {0};

	switch (any_between(0, 2)) {
	case 0:
		access_any(&i8042_bus_ops, i8042);
		break;
	case 1:
		keep(i8042_ctrl_alt_del(i8042, &err));
		break;
	default:
		renew(i8042);
		break;
	}
}

void main(void)
{
	/*@ widen_hints global:"all", 15, 16; */
	const struct machine_ops ops = {.reset = note};
	const struct dev_env env = {.irq = {.fire = note}, .machine_ops = &ops};
	struct i8042 *i8042 = NULL;
	struct error err = {0};

	if (i8042_new(&env, &i8042, &err) == 0) {
		while (any_bool()) {
			use(i8042);
		}
		keep(metric_get(&i8042_metrics(i8042)->read_count));
	}
	i8042_free(i8042);
}
