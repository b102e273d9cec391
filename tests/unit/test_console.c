/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/console.c: pipes, files and terminals as standard input and output. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/machine/console.h"
#include "vmm/signals.h"

static const struct console_config stdio;

static struct console console;
static struct evloop loop;
static struct serial *serial;
static struct serial_config port;

static void fire(void *arg)
{
	(void)arg;
}

/* A console on these descriptors with a serial port behind it. */
static void start_with(int in, int out, const struct console_config *config)
{
	const struct dev_env env = {.irq = {.fire = fire}};
	struct error err = {0};

	if (in >= 0) {
		dup2(in, STDIN_FILENO);
	} else {
		close(STDIN_FILENO);
	}
	dup2(out, STDOUT_FILENO);
	cr_assert(evloop_init(&loop, &err) == 0);
	cr_assert(console_init(&console, &loop, config, &err) == 0, "%s", err.msg);
	port = console_serial_config(&console);
	cr_assert(serial_new(&env, &port, &serial, &err) == 0);
	console_attach(&console, serial);
}

static void start(int in, int out)
{
	start_with(in, out, &stdio);
}

static void turn(unsigned rounds)
{
	struct error err = {0};

	for (unsigned i = 0; i < rounds; i++) {
		cr_assert(evloop_run_once(&loop, 0, &err) == 0, "%s", err.msg);
	}
}

static void finish(void)
{
	console_destroy(&console);
	serial_free(serial);
	evloop_destroy(&loop);
}

/* What the guest prints: byte `i` of an endless pattern. */
static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 256);
}

static void print(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		uint8_t byte = pattern(i);

		serial_bus_ops.write(serial, 0, &byte, 1);
	}
}

/* What the guest's driver does when there is input: it empties the FIFO. */
static size_t drain_fifo(uint8_t *to)
{
	size_t count = 0;

	for (;;) {
		uint8_t lsr = 0;
		uint8_t byte = 0;

		serial_bus_ops.read(serial, 5, &lsr, 1);
		if ((lsr & 1) == 0) {
			return count;
		}
		serial_bus_ops.read(serial, 0, &byte, 1);
		to[count++] = byte;
	}
}

/* All that can be read now. */
static size_t read_all(int fd, uint8_t *to, size_t len)
{
	size_t total = 0;
	ssize_t got;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (total < len && (got = read(fd, to + total, len - total)) > 0) {
		total += (size_t)got;
	}
	return total;
}

static bool is_pattern(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != pattern(i)) {
			return false;
		}
	}
	return true;
}

static uint64_t cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

Test(console, output_comes_in_order_at_once, .timeout = 10)
{
	int out[2];
	uint8_t data[2000];

	cr_assert(pipe(out) == 0);
	start(-1, out[1]);
	print(0, 1000);
	cr_assert(read_all(out[0], data, sizeof(data)) == 1000 && is_pattern(data, 1000));
	/* Our own description is non-blocking, the one that others share is not. */
	cr_assert((fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK) == 0);
	finish();
}

Test(console, a_slow_reader_costs_bytes_in_the_end_but_never_blocks, .timeout = 10)
{
	static uint8_t data[1000000];
	int out[2];

	capture_log(LOG_INFO);
	cr_assert(pipe(out) == 0);
	size_t pipe_len = (size_t)fcntl(out[1], F_SETPIPE_SZ, 4096);

	start(-1, out[1]);
	print(0, 300000);
	cr_assert(console.used == CONSOLE_BUFFER_LEN);
	cr_assert(console.dropped == 300000 - CONSOLE_BUFFER_LEN - pipe_len);
	turn(3);
	size_t total = 0;

	/* The reader comes back: the event loop alone brings what was kept. */
	for (int i = 0; i < 100; i++) {
		total += read_all(out[0], data + total, sizeof(data) - total);
		turn(1);
	}
	cr_assert(total == pipe_len + CONSOLE_BUFFER_LEN, "%zu", total);
	cr_assert(is_pattern(data, total));
	/* And it is silent again. */
	cr_assert(console.out.mask == 0 && console.used == 0);
	print(0, 100);
	cr_assert(read_all(out[0], data, sizeof(data)) == 100 && is_pattern(data, 100));
	finish();
}

Test(console, destroy_writes_what_it_can_and_tells_of_the_rest, .timeout = 10)
{
	static uint8_t data[200000];
	int out[2];
	int log = capture_log(LOG_INFO);

	cr_assert(pipe(out) == 0);
	size_t pipe_len = (size_t)fcntl(out[1], F_SETPIPE_SZ, 4096);

	start(-1, out[1]);
	print(0, pipe_len + 6000);
	cr_assert(read_all(out[0], data, sizeof(data)) == pipe_len);
	finish();
	cr_assert(read_all(out[0], data + pipe_len, sizeof(data)) == pipe_len);
	cr_assert(is_pattern(data, 2 * pipe_len));
	char want[100];

	snprintf(want, sizeof(want), "%zu bytes of console output were dropped", 6000 - pipe_len);
	cr_assert(strstr(captured(log), want) != NULL, "%s\n%s", want, captured(log));
}

Test(console, a_regular_file_takes_everything, .timeout = 10)
{
	static uint8_t data[200001];
	int file = file_of("", 0);
	unsigned fds = kvm_fake_open_fds();

	start(STDIN_FILENO, file);
	print(0, 200000);
	cr_assert(pread(file, data, sizeof(data), 0) == 200000 && is_pattern(data, 200000));
	finish();
	cr_assert(kvm_fake_open_fds() == fds);
}

Test(console, a_reader_that_has_gone_is_no_reason_to_spin, .timeout = 10)
{
	int out[2];

	signal(SIGPIPE, SIG_IGN);
	cr_assert(pipe(out) == 0);
	start(-1, out[1]);
	close(out[0]);
	print(0, 1000);
	cr_assert(console.dropped == 1000 && console.used == 0);
	uint64_t before = cpu_us();
	struct error err = {0};

	for (int i = 0; i < 5; i++) {
		cr_assert(evloop_run_once(&loop, 40, &err) == 0);
	}
	cr_assert(cpu_us() - before < 40000);
	struct timespec start_at;
	struct timespec end_at;

	clock_gettime(CLOCK_MONOTONIC, &start_at);
	cr_assert(evloop_run_once(&loop, 100, &err) == 0);
	clock_gettime(CLOCK_MONOTONIC, &end_at);
	cr_assert((end_at.tv_sec - start_at.tv_sec) * 1000 +
				  (end_at.tv_nsec - start_at.tv_nsec) / 1000000 >=
			  90,
		  "the loop does not sleep");
	finish();
}

static int in_pipe[2];

static void *flood(void *arg)
{
	static uint8_t data[65536];
	size_t left = *(const size_t *)arg;

	for (size_t at = 0; left > 0;) {
		size_t part = min_u64(left, sizeof(data));

		for (size_t i = 0; i < part; i++) {
			data[i] = pattern(at + i);
		}
		ssize_t put = write(in_pipe[1], data, part);

		if (put <= 0) {
			break;
		}
		at += (size_t)put;
		left -= (size_t)put;
	}
	close(in_pipe[1]);
	return NULL;
}

Test(console, a_flood_of_input_waits_outside_and_loses_nothing, .timeout = 30)
{
	static const size_t len = 2 * MIB;
	uint8_t *data = malloc(len + 64);
	pthread_t thread;
	size_t total = 0;
	int null = open("/dev/null", O_WRONLY);

	cr_assert(pipe(in_pipe) == 0);
	start(in_pipe[0], null);
	close(in_pipe[0]);
	pthread_create(&thread, NULL, flood, (void *)(uintptr_t)&len);
	/* The guest sleeps: the FIFO fills, then the loop has nothing to do, however long it runs.
	 */
	while (console.in.mask != 0 || serial_rx_room(serial) != 0) {
		turn(1);
	}
	turn(2000);
	cr_assert(console.in.mask == 0 && serial_rx_room(serial) == 0);
	while (console.in.is_added) {
		turn(1);
		total += drain_fifo(data + total);
		cr_assert(total <= len);
	}
	pthread_join(thread, NULL);
	cr_assert(total == len && is_pattern(data, len), "%zu", total);
	free(data);
	finish();
}

Test(console, a_writer_that_has_gone_is_no_reason_to_spin, .timeout = 10)
{
	uint8_t data[200];

	cr_assert(pipe(in_pipe) == 0);
	cr_assert(write(in_pipe[1], "0123456789", 10) == 10);
	for (int i = 0; i < 10; i++) {
		cr_assert(write(in_pipe[1], "0123456789", 10) == 10);
	}
	start(in_pipe[0], open("/dev/null", O_WRONLY));
	close(in_pipe[1]);
	turn(10);
	struct timespec before;
	struct timespec after;
	struct error err = {0};

	clock_gettime(CLOCK_MONOTONIC, &before);
	cr_assert(evloop_run_once(&loop, 100, &err) == 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	cr_assert((after.tv_sec - before.tv_sec) * 1000 +
				  (after.tv_nsec - before.tv_nsec) / 1000000 >=
			  90,
		  "the loop does not sleep");
	/* What is left arrives all the same. */
	size_t total = drain_fifo(data);

	for (int i = 0; i < 10; i++) {
		turn(1);
		total += drain_fifo(data + total);
	}
	cr_assert(total == 110, "%zu", total);
	finish();
}

Test(console, only_a_terminal_or_fifo_is_read, .timeout = 10)
{
	int pair[2];

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	const int inputs[] = {open("/dev/null", O_RDONLY), file_of("x", 1), pair[0], -1};
	int null = open("/dev/null", O_WRONLY);

	for (size_t i = 0; i < ARRAY_COUNT(inputs); i++) {
		start(inputs[i], null);
		cr_expect(!console.in.is_added && console.in_fd == -1, "case %zu", i);
		turn(3);
		finish();
	}
}

/* Whoever shares the description may change its mode, so the mode must not matter. */
Test(console, a_shared_description_keeps_its_mode_and_blocks_nobody, .timeout = 10)
{
	static uint8_t data[CONSOLE_BUFFER_LEN];
	int pair[2];

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	start(-1, pair[1]);
	cr_assert((fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK) == 0);
	print(0, 50);
	cr_assert(read_all(pair[0], data, sizeof(data)) == 50 && is_pattern(data, 50));
	for (size_t i = 0; atomic_load(&console.dropped) == 0; i++) {
		print(50 + i, 51 + i);
	}
	cr_assert((fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK) == 0);
	cr_assert(read_all(pair[0], data, sizeof(data)) > 0);
	finish();
}

Test(console, one_that_was_never_made_may_be_destroyed)
{
	static struct console zeroed;

	console_destroy(&zeroed);
	cr_assert(fcntl(0, F_GETFD) >= 0);
}

/* --- A file or FIFO instead, rates, pauses --- */

Test(console, a_file_takes_the_output_and_there_is_no_input, .timeout = 10)
{
	char name[] = "/tmp/squib_console_XXXXXX";
	struct console_config config = {.path = name};
	uint8_t data[200];
	int old = mkstemp(name);
	int out[2];

	memset(data, 'x', sizeof(data));
	cr_assert(write(old, data, sizeof(data)) == (ssize_t)sizeof(data));
	cr_assert(pipe(out) == 0 && pipe(in_pipe) == 0);
	unsigned fds = kvm_fake_open_fds();

	start_with(in_pipe[0], out[1], &config);
	cr_assert((fcntl(console.out_fd, F_GETFD) & FD_CLOEXEC) != 0);
	cr_assert((fcntl(console.out_fd, F_GETFL) & (O_NONBLOCK | O_APPEND)) == O_NONBLOCK);
	cr_assert(console.in_fd == -1 && !console.in.is_added);
	cr_assert(write(in_pipe[1], "typed", 5) == 5);
	print(0, 100);
	turn(3);
	cr_assert(serial_rx_room(serial) == 64);
	finish();
	cr_assert(kvm_fake_open_fds() == fds);
	cr_assert(read_all(out[0], data, sizeof(data)) == 0);
	/* From the beginning, and what was behind stays. */
	cr_assert(pread(old, data, sizeof(data), 0) == (ssize_t)sizeof(data));
	cr_assert(is_pattern(data, 100) && data[100] == 'x' && data[199] == 'x');
	unlink(name);
	/* One that does not exist yet. */
	start_with(-1, out[1], &config);
	print(0, 100);
	finish();
	old = open(name, O_RDONLY);
	cr_assert(read_all(old, data, sizeof(data)) == 100 && is_pattern(data, 100));
	unlink(name);
}

Test(console, a_file_that_can_not_be_opened_is_an_error)
{
	struct console_config config = {.path = (char[]){"/nowhere/at/all"}};
	struct error err = {0};

	cr_assert(evloop_init(&loop, &err) == 0);
	unsigned fds = kvm_fake_open_fds();

	cr_assert(console_init(&console, &loop, &config, &err) == -1);
	cr_assert(strcmp(err.msg, "Cannot open the serial output /nowhere/at/all: "
				  "No such file or directory (os error 2)") == 0,
		  "%s", err.msg);
	console_destroy(&console);
	cr_assert(kvm_fake_open_fds() == fds);
}

Test(console, a_fifo_needs_no_reader_yet, .timeout = 10)
{
	char dir[] = "/tmp/squib_console_XXXXXX";
	char name[64];
	static uint8_t data[200000];
	struct console_config config = {.path = name};

	capture_log(LOG_INFO);
	cr_assert(mkdtemp(dir) != NULL);
	snprintf(name, sizeof(name), "%s/fifo", dir);
	cr_assert(mkfifo(name, 0600) == 0);
	start_with(-1, open("/dev/null", O_WRONLY), &config);
	size_t pipe_len = (size_t)fcntl(console.out_fd, F_SETPIPE_SZ, 4096);

	print(0, 100000);
	size_t lost = 100000 - pipe_len - CONSOLE_BUFFER_LEN;

	cr_assert(metric_get(&serial_metrics(serial)->missed_write_count) == lost);
	cr_assert(metric_get(&serial_metrics(serial)->write_count) == 100000);
	cr_assert(metric_get(&serial_metrics(serial)->error_count) == 0);
	int reader = open(name, O_RDONLY | O_NONBLOCK);
	size_t total = 0;

	for (int i = 0; i < 100; i++) {
		turn(1);
		total += read_all(reader, data + total, sizeof(data) - total);
	}
	cr_assert(total == 100000 - lost && is_pattern(data, total), "%zu", total);
	cr_assert(metric_get(&serial_metrics(serial)->flush_count) == 1);
	finish();
	unlink(name);
	rmdir(dir);
}

Test(console, what_exceeds_the_rate_is_dropped_and_counted, .timeout = 10)
{
	/* No token comes back within this test. */
	struct console_config config = {
		.rate_limiter = {.size = 300, .one_time_burst = 200, .refill_time_ms = 100000000}};
	int out[2];
	uint8_t data[2000];

	cr_assert(pipe(out) == 0);
	start_with(-1, out[1], &config);
	print(0, 1200);
	cr_assert(read_all(out[0], data, sizeof(data)) == 500 && is_pattern(data, 500));
	cr_assert(metric_get(&serial_metrics(serial)->rate_limiter_dropped_bytes) == 700);
	cr_assert(metric_get(&serial_metrics(serial)->missed_write_count) == 0);
	finish();
}

Test(console, what_is_left_of_the_rate_goes_to_another_console, .timeout = 10)
{
	struct console_config config = {
		.rate_limiter = {.size = 300, .one_time_burst = 200, .refill_time_ms = 100000000}};
	struct token_bucket_state state;
	int out[2];
	uint8_t data[2000];

	cr_assert(pipe(out) == 0);
	start_with(-1, out[1], &config);
	print(0, 400);
	cr_assert(read_all(out[0], data, sizeof(data)) == 400);
	console_save(&console, &state);
	finish();
	console = (struct console){0};
	start_with(-1, out[1], &config);
	console_load(&console, &state);
	print(0, 400);
	cr_assert(read_all(out[0], data, sizeof(data)) == 100);
	finish();
}

Test(console, while_paused_no_input_is_read_and_output_drains, .timeout = 10)
{
	static uint8_t data[200000];
	int out[2];

	cr_assert(pipe(out) == 0 && pipe(in_pipe) == 0);
	size_t pipe_len = (size_t)fcntl(out[1], F_SETPIPE_SZ, 4096);

	start(in_pipe[0], out[1]);
	print(0, pipe_len + 1000);
	console_pause(&console);
	console_pause(&console);
	cr_assert(write(in_pipe[1], "0123456789", 10) == 10);
	/* A wake that was under way, for output and for input. */
	turn(3);
	port.rx_ready(port.rx_arg);
	turn(3);
	cr_assert(console.in.mask == 0 && serial_rx_room(serial) == 64);
	size_t total = read_all(out[0], data, sizeof(data));

	turn(2);
	total += read_all(out[0], data + total, sizeof(data) - total);
	cr_assert(total == pipe_len + 1000 && is_pattern(data, total), "%zu", total);
	console_resume(&console);
	turn(3);
	cr_assert(drain_fifo(data) == 10);
	finish();
}

Test(console, a_writer_that_goes_while_paused_is_no_input, .timeout = 10)
{
	uint8_t data[64];

	cr_assert(pipe(in_pipe) == 0);
	start(in_pipe[0], open("/dev/null", O_WRONLY));
	console_pause(&console);
	cr_assert(write(in_pipe[1], "0123456789", 10) == 10);
	close(in_pipe[1]);
	turn(5);
	cr_assert(serial_rx_room(serial) == 64);
	console_resume(&console);
	turn(5);
	cr_assert(drain_fifo(data) == 10);
	finish();
}

/* --- Terminals --- */

static int open_terminal(int *slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert(*slave >= 0);
	return master;
}

static struct termios mode_of(int fd)
{
	struct termios mode;

	cr_assert(tcgetattr(fd, &mode) == 0);
	return mode;
}

static bool is_raw(int fd)
{
	return (mode_of(fd).c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

static bool is_same_mode(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

enum way_out {
	BY_DESTROY,
	BY_RESTORE,
	BY_SIGNAL,
};

/* In the child: a console on the terminal, then one of the ways out. */
static void use_terminal(int slave, enum way_out way, int signo)
{
	struct error err = {0};

	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	if (signals_setup(&err) < 0) {
		_exit(10);
	}
	start(slave, slave);
	if (!is_raw(slave) || (mode_of(slave).c_oflag & OPOST) == 0 || !console.in.is_added) {
		_exit(11);
	}
	switch (way) {
	case BY_DESTROY:
		finish();
		break;
	case BY_RESTORE:
		console_restore_terminal();
		console_restore_terminal();
		break;
	case BY_SIGNAL:
		raise(signo);
		break;
	}
	_exit(0);
}

Test(console, a_terminal_is_given_back_on_every_way_out, .timeout = 20)
{
	static const struct {
		enum way_out way;
		int signo;
		int exit_code; /* -1: killed by signo */
	} cases[] = {
		{BY_DESTROY, 0, 0},	  {BY_RESTORE, 0, 0},	     {BY_SIGNAL, SIGTERM, -1},
		{BY_SIGNAL, SIGABRT, -1}, {BY_SIGNAL, SIGINT, -1},   {BY_SIGNAL, SIGQUIT, -1},
		{BY_SIGNAL, SIGHUP, 156}, {BY_SIGNAL, SIGSEGV, 150},
	};

	capture_log(LOG_INFO);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		int slave;
		int master = open_terminal(&slave);
		struct termios before = mode_of(slave);
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			use_terminal(slave, cases[i].way, cases[i].signo);
		}
		waitpid(child, &status, 0);
		if (cases[i].exit_code >= 0) {
			cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].exit_code,
				  "case %zu: %#x", i, status);
		} else {
			cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signo,
				  "case %zu: %#x", i, status);
		}
		struct termios after = mode_of(slave);

		cr_expect(is_same_mode(&before, &after), "case %zu: not restored", i);
		close(slave);
		close(master);
	}
}

Test(console, a_terminal_brings_input_and_hangs_up, .timeout = 10)
{
	int slave;
	int master = open_terminal(&slave);
	uint8_t data[64];
	size_t total = 0;

	/* Not our controlling terminal: nothing stops us from using it. */
	start(slave, open("/dev/null", O_WRONLY));
	cr_assert(is_raw(slave) && console.in.is_added);
	/* Ctrl-C is the guest's. */
	cr_assert(write(master, "ab\003", 3) == 3);
	for (int i = 0; i < 100 && total < 3; i++) {
		usleep(1000);
		turn(1);
		total += drain_fifo(data + total);
	}
	cr_assert(total == 3 && memcmp(data, "ab\003", 3) == 0);
	close(slave);
	close(master);
	for (int i = 0; i < 100 && console.in.is_added; i++) {
		usleep(1000);
		turn(1);
	}
	cr_assert(!console.in.is_added);
	finish();
}

/* In the child: a session whose foreground group is the child's, with the console in another. */
static void use_terminal_in_background(int slave)
{
	int status = 0;

	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	pid_t background = fork();

	if (background == 0) {
		struct termios before = mode_of(slave);

		setpgid(0, 0);
		start(slave, open("/dev/null", O_WRONLY));
		struct termios after = mode_of(slave);
		bool is_untouched = is_same_mode(&before, &after) && !console.in.is_added;

		finish();
		_exit(is_untouched ? 0 : 1);
	}
	waitpid(background, &status, WUNTRACED);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

Test(console, a_background_process_leaves_the_terminal_alone, .timeout = 10)
{
	int slave;
	int status = 0;

	open_terminal(&slave);
	pid_t child = fork();

	if (child == 0) {
		use_terminal_in_background(slave);
	}
	waitpid(child, &status, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
}
