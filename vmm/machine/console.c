/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard input and output, or a file, as the guest's serial console.
 *
 * Theory of operation. Output is written by the vCPU thread that wrote the UART, without waiting:
 * what the reader of standard output is too slow for goes into a ring of 64 KiB, which the event
 * loop drains, and beyond that it is dropped and counted, so a guest can neither block nor grow the
 * monitor. Input is read only as far as the UART's FIFO has room; when it is full the loop stops
 * listening, and the guest's next drain of the FIFO wakes it. What exceeds the configured rate is
 * dropped before it comes to the ring.
 *
 * Non-blocking mode belongs to an open file description, which a terminal shares with the shell
 * and others, any of whom may change it. So the console opens its own description through /proc
 * where it can. Where it can't (a jail without /proc, a socket), it leaves the shared one as it is,
 * asks by poll(2) before each write, and writes no more at once than what then has room.
 *
 * A raw terminal must be restored on every way out, also from a signal handler: that one piece of
 * state belongs to the process and is therefore file-scope, like the log sink.
 */
#include "vmm/machine/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

enum {
	INPUT_CHUNK = 64,
	/* Bytes for which a shared description has room if poll(2) says that it is writable. */
	TERMINAL_ROOM = 1,
	PIPE_ROOM = 512, /* a pipe has a page, a socket a third of its buffer */
};

static struct {
	volatile sig_atomic_t is_raw;
	struct termios cooked;
} terminal;

void console_restore_terminal(void)
{
	int saved = errno;

	if (terminal.is_raw) {
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.cooked);
		terminal.is_raw = 0;
	}
	errno = saved;
}

static void make_terminal_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &raw) < 0) {
		return;
	}
	/*
	 * A background process would be stopped for touching its terminal. A terminal that is not
	 * the controlling one has no foreground for us (ENOTTY) and stops nobody.
	 */
	pid_t foreground = tcgetpgrp(STDIN_FILENO);

	if (foreground >= 0 && foreground != getpgrp()) {
		return;
	}
	terminal.cooked = raw;
	cfmakeraw(&raw);
	/*
	 * The terminal adds carriage returns: the guest sends its own, but squib's log lines have
	 * none.
	 */
	raw.c_oflag |= OPOST;
	terminal.is_raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* A description of our own of the file behind `fd`, which doesn't block; else `fd` itself. */
static int open_non_blocking(int fd, int flags, bool *is_own)
{
	const char *path = fd == STDIN_FILENO ? "/proc/self/fd/0" : "/proc/self/fd/1";
	int own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	*is_own = own >= 0;
	return *is_own ? own : fd;
}

/* A FIFO can be opened before its reader, as it is opened for both directions. */
static int open_file(struct console *console, const char *path, struct error *err)
{
	console->out_fd = open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);
	if (console->out_fd < 0) {
		return error_sys(err, "Cannot open the serial output %s", path);
	}
	console->owns_out = true;
	return 0;
}

static void init_output(struct console *console)
{
	struct stat st;

	console->out_fd = STDOUT_FILENO;
	/* A file never blocks, and a second description of it would have an offset of its own. */
	if (fstat(STDOUT_FILENO, &st) < 0 || S_ISREG(st.st_mode)) {
		return;
	}
	console->out_fd = open_non_blocking(STDOUT_FILENO, O_WRONLY, &console->owns_out);
	if (!console->owns_out) {
		console->write_max = isatty(STDOUT_FILENO) ? TERMINAL_ROOM : PIPE_ROOM;
	}
}

static void init_input(struct console *console)
{
	struct stat st;

	if (fstat(STDIN_FILENO, &st) < 0 || !(isatty(STDIN_FILENO) || S_ISFIFO(st.st_mode))) {
		return;
	}
	if (isatty(STDIN_FILENO)) {
		make_terminal_raw();
		if (!terminal.is_raw) {
			return;
		}
	}
	console->in_fd = open_non_blocking(STDIN_FILENO, O_RDONLY, &console->owns_in);
}

static void drop(struct console *console, size_t len)
{
	atomic_fetch_add(&console->dropped, len);
	metric_add(&console->metrics->missed_write_count, len);
}

/* write(2) that never waits: -1 with EAGAIN if nothing can be written now. */
static ssize_t put(const struct console *console, const uint8_t *data, size_t len)
{
	struct pollfd out = {.fd = console->out_fd, .events = POLLOUT};

	if (console->write_max == 0) {
		return write(console->out_fd, data, len);
	}
	if (poll(&out, 1, 0) < 1) {
		errno = EAGAIN;
		return -1;
	}
	return write(console->out_fd, data, min_u64(len, console->write_max));
}

/* With the lock held: writes from the ring until it is empty (true) or nobody takes more. */
static bool drain(struct console *console)
{
	while (console->used > 0) {
		size_t part = min_u64(console->used, CONSOLE_BUFFER_LEN - console->head);
		ssize_t done = put(console, console->buffer + console->head, part);

		if (done < 0 && errno == EAGAIN) {
			return false;
		}
		if (done < 0 && errno != EINTR) {
			/* Nobody will ever read it: a closed pipe, a full disk. */
			metric_add(&console->metrics->error_count, 1);
			drop(console, console->used);
			console->used = 0;
			break;
		}
		if (done > 0) {
			console->head = (console->head + (size_t)done) % CONSOLE_BUFFER_LEN;
			console->used -= (size_t)done;
		}
	}
	return true;
}

static void append(struct console *console, const uint8_t *data, size_t len)
{
	size_t fits = min_u64(len, CONSOLE_BUFFER_LEN - console->used);

	for (size_t i = 0; i < fits; i++) {
		size_t at = (console->head + console->used++) % CONSOLE_BUFFER_LEN;

		console->buffer[at] = data[i];
	}
	drop(console, len - fits);
}

/* With the lock held. */
static bool is_within_rate(struct console *console, size_t len)
{
	struct token_bucket *bucket = &console->bucket;

	return bucket->size == 0 ||
	       token_bucket_take(bucket, clock_host.now_ns(CLOCK_MONOTONIC), len);
}

static void output(void *arg, const uint8_t *data, size_t len)
{
	struct console *console = arg;

	if (console->out_fd < 0) {
		return;
	}
	pthread_mutex_lock(&console->lock);
	bool was_empty = console->used == 0;

	if (!is_within_rate(console, len)) {
		metric_add(&console->metrics->rate_limiter_dropped_bytes, len);
		len = 0;
	}
	append(console, data, len);
	/* While the ring has older bytes, the event loop is already waiting for room. */
	bool needs_loop = was_empty && !drain(console);

	pthread_mutex_unlock(&console->lock);
	if (needs_loop) {
		ev_wake_signal(&console->wake);
	}
}

static void on_output_room(struct ev_source *source, uint32_t ready)
{
	struct console *console = container_of(source, struct console, out);

	(void)ready;
	pthread_mutex_lock(&console->lock);
	bool is_empty = drain(console);

	pthread_mutex_unlock(&console->lock);
	if (is_empty) {
		metric_add(&console->metrics->flush_count, 1);
		ev_mod(console->loop, source, 0);
	}
}

static void on_input(struct ev_source *source, uint32_t ready)
{
	struct console *console = container_of(source, struct console, in);
	uint8_t data[INPUT_CHUNK];

	(void)ready;
	/* Silenced first: if there is no room, the port may say so and take it back at any moment.
	 */
	ev_mod(console->loop, source, 0);
	if (console->is_paused) {
		return;
	}
	size_t room = serial_rx_room(console->serial);

	if (room == 0) {
		return;
	}
	ev_mod(console->loop, source, EPOLLIN);
	ssize_t got = read(console->in_fd, data, min_u64(room, sizeof(data)));

	if (got > 0) {
		serial_receive(console->serial, data, (size_t)got);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		ev_del(console->loop, source);
	}
}

static void on_rx_ready(void *arg)
{
	struct console *console = arg;

	ev_wake_signal(&console->wake);
}

static void on_wake(struct ev_wake *wake)
{
	struct console *console = container_of(wake, struct console, wake);

	ev_mod(console->loop, &console->in, EPOLLIN);
	pthread_mutex_lock(&console->lock);
	bool has_output = console->used > 0;

	pthread_mutex_unlock(&console->lock);
	if (has_output) {
		ev_mod(console->loop, &console->out, EPOLLOUT);
	}
}

void console_save(const struct console *console, struct token_bucket_state *state)
{
	token_bucket_save(&console->bucket, clock_host.now_ns(CLOCK_MONOTONIC), state);
}

void console_load(struct console *console, const struct token_bucket_state *state)
{
	token_bucket_load(&console->bucket, clock_host.now_ns(CLOCK_MONOTONIC), state);
}

int console_init(struct console *console, struct evloop *loop, const struct console_config *config,
		 struct error *err)
{
	const struct token_bucket_config *rate = &config->rate_limiter;

	/* Member by member: the pages of the buffer are to stay untouched until they are needed. */
	console->is_made = true;
	console->loop = loop;
	console->out_fd = -1;
	console->in_fd = -1;
	console->wake = (struct ev_wake){.fn = on_wake};
	pthread_mutex_init(&console->lock, NULL);
	token_bucket_init(&console->bucket, rate->size, rate->one_time_burst, rate->refill_time_ms,
			  clock_host.now_ns(CLOCK_MONOTONIC));
	if (ev_wake_init(&console->wake, loop, err) < 0) {
		return -1;
	}
	if (config->is_silent) {
		return 0;
	}
	if (config->path == NULL) {
		init_output(console);
		init_input(console);
	} else if (open_file(console, config->path, err) < 0) {
		return -1;
	}
	console->out = (struct ev_source){.fd = console->out_fd, .fn = on_output_room};
	console->in = (struct ev_source){.fd = console->in_fd, .fn = on_input};

	struct error unpollable = {0};

	/* A regular file can't be waited for and need not be: it always takes everything. */
	if (ev_add(loop, &console->out, 0, &unpollable) < 0 && unpollable.sys != EPERM) {
		*err = unpollable;
		return -1;
	}
	return 0;
}

void console_destroy(struct console *console)
{
	if (!console->is_made) {
		return;
	}
	ev_del(console->loop, &console->in);
	ev_del(console->loop, &console->out);
	ev_wake_destroy(&console->wake);
	drain(console);
	uint64_t dropped = atomic_load(&console->dropped) + console->used;

	if (dropped > 0) {
		log_warn("%llu bytes of console output were dropped: nobody took them",
			 (unsigned long long)dropped);
	}
	if (console->owns_in) {
		fd_close(&console->in_fd);
	}
	if (console->owns_out) {
		fd_close(&console->out_fd);
	}
	console_restore_terminal();
	console->is_made = false;
}

struct serial_config console_serial_config(struct console *console)
{
	return (struct serial_config){
		.sink = {.write = output, .arg = console},
		.rx_ready = on_rx_ready,
		.rx_arg = console,
	};
}

void console_attach(struct console *console, struct serial *serial)
{
	struct error err = {0};

	console->serial = serial;
	console->metrics = serial_metrics(serial);
	if (console->in_fd >= 0 && ev_add(console->loop, &console->in, EPOLLIN, &err) < 0) {
		log_warn("No console input: %s", err.msg);
	}
}

void console_pause(struct console *console)
{
	console->is_paused = true;
	ev_mod(console->loop, &console->in, 0);
}

void console_resume(struct console *console)
{
	console->is_paused = false;
	ev_mod(console->loop, &console->in, EPOLLIN);
}
