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
 * and others. So the console opens its own description through /proc where it can, and only where
 * it can't (a jail without /proc, a socket) sets O_NONBLOCK on the shared one [compat].
 *
 * A raw terminal must be restored on every way out, also from a signal handler: that one piece of
 * state belongs to the process and is therefore file-scope, like the log sink.
 */
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

enum {
	INPUT_CHUNK = 64
};

static struct {
	volatile sig_atomic_t is_raw;
	struct termios cooked;
	volatile sig_atomic_t shared_flags[2]; /* of descriptors 0 and 1, if changed; else -1 */
} terminal = {.shared_flags = {-1, -1}};

void console_restore_terminal(void)
{
	int saved = errno;

	if (terminal.is_raw) {
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.cooked);
		terminal.is_raw = 0;
	}
	for (int fd = 0; fd < 2; fd++) {
		if (terminal.shared_flags[fd] >= 0) {
			fcntl(fd, F_SETFL, terminal.shared_flags[fd]);
			terminal.shared_flags[fd] = -1;
		}
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
	/* Output is the guest's: it sends its own carriage returns, but our log lines do not. */
	raw.c_oflag |= OPOST;
	terminal.is_raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* A non-blocking way to `fd`; *is_own says whether it is a description of ours, to be closed. */
static int open_non_blocking(int fd, int flags, bool *is_own)
{
	const char *path = fd == STDIN_FILENO ? "/proc/self/fd/0" : "/proc/self/fd/1";
	int own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	*is_own = own >= 0;
	if (*is_own) {
		return own;
	}
	int old = fcntl(fd, F_GETFL);

	if (old >= 0 && (old & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, old | O_NONBLOCK) == 0) {
		terminal.shared_flags[fd] = old;
	}
	return fd;
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
	if (fstat(STDOUT_FILENO, &st) == 0 && !S_ISREG(st.st_mode)) {
		console->out_fd = open_non_blocking(STDOUT_FILENO, O_WRONLY, &console->owns_out);
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

/* With the lock held: writes from the ring until it is empty (true) or nobody takes more. */
static bool drain(struct console *console)
{
	while (console->used > 0) {
		size_t part = min_u64(console->used, CONSOLE_BUFFER_LEN - console->head);
		ssize_t put = write(console->out_fd, console->buffer + console->head, part);

		if (put < 0 && errno == EAGAIN) {
			return false;
		}
		if (put < 0 && errno != EINTR) {
			/* Nobody will ever read it: a closed pipe, a full disk. */
			metric_add(&console->metrics->error_count, 1);
			drop(console, console->used);
			console->used = 0;
			break;
		}
		if (put > 0) {
			console->head = (console->head + (size_t)put) % CONSOLE_BUFFER_LEN;
			console->used -= (size_t)put;
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
		(void)!eventfd_write(console->wake.fd, 1);
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

	(void)!eventfd_write(console->wake.fd, 1);
}

static void on_wake(struct ev_source *source, uint32_t ready)
{
	struct console *console = container_of(source, struct console, wake);
	eventfd_t count;

	(void)ready;
	(void)!eventfd_read(source->fd, &count);
	ev_mod(console->loop, &console->in, EPOLLIN);
	pthread_mutex_lock(&console->lock);
	bool has_output = console->used > 0;

	pthread_mutex_unlock(&console->lock);
	if (has_output) {
		ev_mod(console->loop, &console->out, EPOLLOUT);
	}
}

int console_init(struct console *console, struct evloop *loop,
		 const struct serial_sink_config *config, struct error *err)
{
	const struct token_bucket_config *rate = &config->rate_limiter;

	/* Member by member: the pages of the buffer are to stay untouched until they are needed. */
	console->loop = loop;
	console->in_fd = -1;
	console->wake =
		(struct ev_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = on_wake};
	pthread_mutex_init(&console->lock, NULL);
	token_bucket_init(&console->bucket, rate->size, rate->one_time_burst, rate->refill_time_ms,
			  clock_host.now_ns(CLOCK_MONOTONIC));
	if (console->wake.fd < 0) {
		return error_sys(err, "Cannot create an eventfd for the console");
	}
	if (config->serial_out_path == NULL) {
		init_output(console);
		init_input(console);
	} else if (open_file(console, config->serial_out_path, err) < 0) {
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
	return ev_add(loop, &console->wake, EPOLLIN, err);
}

void console_destroy(struct console *console)
{
	if (console->loop == NULL) {
		return;
	}
	ev_del(console->loop, &console->in);
	ev_del(console->loop, &console->out);
	ev_del(console->loop, &console->wake);
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
	fd_close(&console->wake.fd);
	console_restore_terminal();
	console->loop = NULL;
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
