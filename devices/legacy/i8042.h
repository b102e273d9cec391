/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller: how an x86 guest resets the machine, and how it gets Ctrl-Alt-Del. */
#ifndef DEVICES_LEGACY_I8042_H
#define DEVICES_LEGACY_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

struct i8042;

struct i8042_metrics {
	struct metric error_count;	 /* Ctrl-Alt-Del that found no room */
	struct metric missed_read_count; /* accesses that no register answers */
	struct metric missed_write_count;
	struct metric read_count;
	struct metric reset_count;
	struct metric write_count;
};

extern const struct metric_group i8042_metric_group;

/* Ports 0x60 to 0x64, attached at 0x60. `device` is the controller. */
extern const struct bus_ops i8042_bus_ops;

/*
 * Takes env->irq and env->machine_ops->reset, which is called on a vCPU thread with no lock held
 * each time the guest asks. The caller owns *out and frees it (NULL is fine).
 */
MUST_CHECK int i8042_new(const struct dev_env *env, struct i8042 **out, struct error *err);
void i8042_free(struct i8042 *i8042);

/* The controller's own counters, as long as it lives. */
struct i8042_metrics *i8042_metrics(struct i8042 *i8042);

/*
 * Presses Ctrl, Alt and Del. ERR_BAD_STATE if the guest has left so many keys unread that these
 * don't fit; then none is pressed. A guest without a keyboard driver just doesn't see them. Any
 * thread.
 */
MUST_CHECK int i8042_ctrl_alt_del(struct i8042 *i8042, struct error *err);

enum {
	I8042_QUEUE_LEN = 16 /* bytes that wait for the guest */
};

struct i8042_state {
	uint8_t control;
	uint8_t output_port;
	uint8_t awaiting; /* the command whose data byte comes next, 0: none */
	bool is_command_last;
	uint32_t count;
	uint8_t queue[I8042_QUEUE_LEN]; /* the oldest first */
};

/* A section of its own. */
void i8042_state_codec(struct codec *codec, struct i8042_state *state);

/* While no vCPU runs. Changes nothing. Any thread. */
void i8042_save(struct i8042 *i8042, struct i8042_state *state);

/*
 * Into a controller that was just made, after the interrupt controller was loaded. If bytes wait
 * and the keyboard's interrupt is on, it is raised again, since the guest reads each byte because
 * of one; should it have been delivered before, the driver finds nothing. ERR_CORRUPT: a command
 * that awaits no data, or more bytes than fit. Any thread.
 */
MUST_CHECK int i8042_load(struct i8042 *i8042, const struct i8042_state *state, struct error *err);

#endif
