/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port: a 16550A UART that knows an output sink and an interrupt line, nothing else. */
#ifndef DEVICES_LEGACY_SERIAL_H
#define DEVICES_LEGACY_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

/*
 * Where transmitted bytes go. Called on vCPU threads with none of the port's locks held, so it
 * must be thread-safe, and it must not block: a byte that finds no room is the sink's to drop.
 */
struct serial_sink {
	void (*write)(void *arg, const uint8_t *data, size_t len);
	void *arg;
};

struct serial_config {
	struct serial_sink sink;
	/*
	 * The port turned input away (serial_receive, or serial_rx_room said 0) and now has room
	 * again. Called once per such refusal, on a vCPU thread without locks held: it wakes
	 * whoever reads the input, no more. NULL: nobody feeds this port.
	 */
	void (*rx_ready)(void *arg);
	void *rx_arg;
};

struct serial;

/* The sink counts too: bytes that it loses, failures, and each time that it has caught up. */
struct serial_metrics {
	struct metric error_count;
	struct metric flush_count;
	struct metric missed_read_count; /* accesses that no register answers */
	struct metric missed_write_count;
	struct metric read_count; /* bytes that went through the data register */
	struct metric write_count;
	struct metric rate_limiter_dropped_bytes;
};

extern const struct metric_group serial_metric_group;

/* Read and write of the eight registers, for a bus of either kind. `device` is the port. */
extern const struct bus_ops serial_bus_ops;

/* Takes only env->irq. Copies both structures; the caller owns *out and frees it (NULL is fine). */
MUST_CHECK int serial_new(const struct dev_env *env, const struct serial_config *config,
			  struct serial **out, struct error *err);
void serial_free(struct serial *serial);

/* The port's own counters, as long as it lives. */
struct serial_metrics *serial_metrics(struct serial *serial);

/*
 * How many bytes serial_receive would take now. With one feeder it takes that many later too,
 * unless the guest turns to loopback mode in between. Any thread.
 */
size_t serial_rx_room(struct serial *serial);

/*
 * Input for the guest: puts what fits into the receive FIFO, raises the receive interrupt, returns
 * how many bytes were taken. Any thread.
 */
size_t serial_receive(struct serial *serial, const uint8_t *data, size_t len);

enum {
	SERIAL_FIFO_LEN = 64 /* bytes of input that wait for the guest */
};

struct serial_state {
	uint8_t divisor[2];
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scr;
	uint8_t msr_delta;
	bool is_thre_latched;
	bool is_overrun;
	uint32_t rx_count;
	uint8_t rx[SERIAL_FIFO_LEN]; /* the oldest first */
};

/* A section of its own. */
void serial_state_codec(struct codec *codec, struct serial_state *state);

/* While no vCPU runs. Changes nothing. Any thread. */
void serial_save(struct serial *serial, struct serial_state *state);

/*
 * Into a port that was just made, after the interrupt controller was loaded: an interrupt that the
 * guest has not taken is raised again, since one too many is harmless, and a port that waits for
 * one that was lost stands still. ERR_CORRUPT: bits that no register keeps, or more input than
 * fits. Any thread.
 */
MUST_CHECK int serial_load(struct serial *serial, const struct serial_state *state,
			   struct error *err);

#endif
