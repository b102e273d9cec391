/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's serial console: the process's standard input and output, or a file. */
#ifndef VMM_CONSOLE_H
#define VMM_CONSOLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/legacy/serial.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/limiter.h"
#include "vmm/base/ratelimit.h"

enum {
	CONSOLE_BUFFER_LEN = 64 * 1024
};

/* Where the guest's serial output goes. */
struct console_config {
	bool is_silent;	  /* output is thrown away, and there is no input */
	const char *path; /* a file or FIFO, opened by console_init; NULL: standard output */
	struct token_bucket_config rate_limiter; /* of bytes; zero: no limit */
};

struct console {
	bool is_made;
	/* immutable once vCPUs run */
	struct evloop *loop;
	struct serial *serial;		/* the machine's; outlives the console's sources */
	struct serial_metrics *metrics; /* the serial's */
	int out_fd; /* a file, standard output, or our own description of that; -1: silent */
	int in_fd;  /* the same of standard input; -1: no input */
	bool owns_out;
	bool owns_in;
	size_t write_max; /* bytes per write(2) to a description that is shared; 0: it is not */
	/* VMM thread only */
	struct ev_source in;
	struct ev_source out;
	struct ev_wake wake;
	bool is_paused;
	/* shared */
	_Atomic uint64_t dropped; /* bytes of output lost because nobody took them */
	/* shared, under lock */
	pthread_mutex_t lock;
	struct token_bucket bucket;
	uint8_t buffer[CONSOLE_BUFFER_LEN]; /* output that could not be written yet: a ring */
	size_t head;
	size_t used;
};

/*
 * *console is zeroed. Prepares standard input (only a terminal or FIFO [compat]; a terminal becomes
 * raw) and output; or, where the configuration names a file, that as output and no input. After a
 * failure too, console_destroy is to be called. VMM thread.
 */
MUST_CHECK int console_init(struct console *console, struct evloop *loop,
			    const struct console_config *config, struct error *err);

/* Writes out what it can without waiting and gives the terminal back. */
void console_destroy(struct console *console);

/* The sink and the callback that the serial device gets for this console. */
struct serial_config console_serial_config(struct console *console);

/* Starts input for the device. VMM thread. */
void console_attach(struct console *console, struct serial *serial);

/* Between the two no input is read, but output is still drained. Idempotent. VMM thread. */
void console_pause(struct console *console);
void console_resume(struct console *console);

/* What is left of the rate limit, as token_bucket_save and _load have it. While no vCPU runs. */
void console_save(const struct console *console, struct token_bucket_state *state);
void console_load(struct console *console, const struct token_bucket_state *state);

/* Gives the terminal back as it was found; async-signal-safe, idempotent. */
void console_restore_terminal(void);

#endif
