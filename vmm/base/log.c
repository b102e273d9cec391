/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log sink and its lines: <local time> [<instance>:<thread>[:LEVEL][:file:line]] <message>
 *
 * Theory of operation. The sink is the process's own, so it is the one file-scope state that squib
 * has. It is configured by the VMM thread and read by all. A line is built on the caller's stack
 * and written with one write(2), so lines of several threads never mix and no lock is needed: the
 * fields that a reconfiguration changes are atomics. A sink that is full (a pipe nobody reads)
 * costs the line, which is counted, and never the guest's time: standard output is asked by poll(2)
 * first, since non-blocking mode would be forced on all who share it. The sink's descriptor number,
 * once it is ours, stays the same, so a thread that has just read it can't write to another file.
 *
 * Signal handlers log too. libc's localtime_r takes a lock that the interrupted code may hold, so
 * handlers use the zone's offset that an earlier line has looked up.
 *
 * The rate limit of guest-triggerable sites is GCRA: one atomic holds the time at which the site's
 * bucket will be full again; a line moves it on by the time that one token takes.
 */
#include "vmm/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log_module.h"

enum {
	LINE_MAX_LEN = 2048,
	INSTANCE_LEN = 64,
	MODULE_LEN = 64,
	BURST = 10,	   /* [compat] 10 lines per 5 s and call site */
	ZONE_STEP_S = 900, /* time zones change their offset at quarters of an hour */
};

static const uint64_t token_ns = 500000000;

static struct {
	_Atomic int fd;
	_Atomic int level;
	_Atomic bool show_level;
	_Atomic bool show_origin;
	struct logger_metrics metrics;
	_Atomic int64_t zone_offset_s;
	_Atomic int64_t zone_step; /* when the offset was looked up, in ZONE_STEP_S since 1970 */
	char instance[INSTANCE_LEN + 1]; /* before other threads start, then immutable */
	char module[MODULE_LEN + 1];	 /* the same */
} sink = {.fd = STDOUT_FILENO, .level = LOG_INFO, .instance = "anonymous-instance"};

static _Thread_local const char *thread_name = "main";
static _Thread_local volatile sig_atomic_t handler_depth;

static const char *const level_names[] = {
	[LOG_OFF] = "OFF",   [LOG_ERROR] = "ERROR", [LOG_WARN] = "WARN",
	[LOG_INFO] = "INFO", [LOG_DEBUG] = "DEBUG", [LOG_TRACE] = "TRACE",
};

int log_configure(const struct log_config *config, struct error *err)
{
	if (config->path != NULL) {
		/* O_RDWR: a FIFO can be opened before its reader. */
		int fd = open(config->path, O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
			      0644);

		if (fd < 0) {
			/* [compat] */
			return error_sys(err, "Failed to open target file");
		}
		int old = atomic_load(&sink.fd);

		if (old > STDERR_FILENO) {
			dup3(fd, old, O_CLOEXEC);
			close(fd);
		} else {
			atomic_store(&sink.fd, fd);
		}
	}
	if (config->module != NULL) {
		snprintf(sink.module, sizeof(sink.module), "%s", config->module);
	}
	atomic_store(&sink.level, (int)config->level);
	if (config->show_level != LOG_KEEP) {
		atomic_store(&sink.show_level, config->show_level == LOG_SHOW);
	}
	if (config->show_origin != LOG_KEEP) {
		atomic_store(&sink.show_origin, config->show_origin == LOG_SHOW);
	}
	return 0;
}

void log_set_instance(const char *id)
{
	snprintf(sink.instance, sizeof(sink.instance), "%s", id);
}

void log_set_thread(const char *name)
{
	thread_name = name;
}

bool log_level_parse(const char *text, enum log_level *level)
{
	if (strcasecmp(text, "Warning") == 0) {
		*level = LOG_WARN;
		return true;
	}
	for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
		if (strcasecmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

int log_descriptor(void)
{
	return atomic_load(&sink.fd);
}

uint64_t log_missed(void)
{
	return metric_get(&sink.metrics.missed_log_count);
}

struct logger_metrics *log_metrics(void)
{
	return &sink.metrics;
}

bool log_enabled(enum log_level level, const char *file)
{
	return (int)level <= atomic_load_explicit(&sink.level, memory_order_relaxed) &&
	       log_module_has(sink.module, file);
}

static size_t append(char *line, size_t len, const char *text)
{
	size_t text_len = min_u64(strlen(text), LINE_MAX_LEN - 1 - len);

	memcpy(line + len, text, text_len);
	return len + text_len;
}

static int64_t zone_offset(time_t now)
{
	int64_t step = now / ZONE_STEP_S;

	if (handler_depth == 0 && atomic_load(&sink.zone_step) != step) {
		struct tm tm = {0};

		localtime_r(&now, &tm);
		atomic_store(&sink.zone_offset_s, tm.tm_gmtoff);
		atomic_store(&sink.zone_step, step);
	}
	return atomic_load(&sink.zone_offset_s);
}

static size_t append_time(char *line)
{
	struct timespec now = {0};
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_calendar(now.tv_sec + zone_offset(now.tv_sec), &tm);
	return (size_t)snprintf(line, LINE_MAX_LEN, "%04d-%02d-%02dT%02d:%02d:%02d.%09ld",
				tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
				tm.tm_sec, now.tv_nsec);
}

static bool put(const char *line, size_t len)
{
	struct pollfd out = {.fd = atomic_load(&sink.fd), .events = POLLOUT};

	/* Without a reader, too, the line is lost; writing it would only raise SIGPIPE. */
	return poll(&out, 1, 0) == 1 && out.revents == POLLOUT &&
	       write(out.fd, line, len) == (ssize_t)len;
}

PRINTF(4, 0)
static void write_line(enum log_level level, const char *file, int line_number, const char *fmt,
		       va_list args)
{
	char line[LINE_MAX_LEN];
	size_t len = append_time(line);

	len = append(line, len, " [");
	len = append(line, len, sink.instance);
	len = append(line, len, ":");
	len = append(line, len, thread_name);
	if (atomic_load(&sink.show_level)) {
		len = append(line, len, ":");
		len = append(line, len, level_names[level]);
	}
	if (atomic_load(&sink.show_origin)) {
		char number[16];

		snprintf(number, sizeof(number), ":%d", line_number);
		len = append(line, len, ":");
		len = append(line, len, file);
		len = append(line, len, number);
	}
	len = append(line, len, "] ");

	/* One byte is kept for the newline. */
	size_t room = sizeof(line) - 1 - len;
	int text_len = vsnprintf(line + len, room, fmt, args);

	len += min_u64(text_len > 0 ? (uint64_t)text_len : 0, room - 1);
	line[len++] = '\n';
	if (!put(line, len)) {
		metric_add(&sink.metrics.missed_log_count, 1);
	}
}

void log_enter_handler(void)
{
	handler_depth++;
}

void log_leave_handler(void)
{
	handler_depth--;
}

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, fmt);
	write_line(level, file, line, fmt, args);
	va_end(args);
	errno = saved;
}

static bool take_token(struct log_limit *limit)
{
	uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);
	uint64_t full_at = atomic_load(&limit->full_at_ns);
	uint64_t next;

	do {
		next = max_u64(full_at, now) + token_ns;
		if (next - now > BURST * token_ns) {
			return false;
		}
	} while (!atomic_compare_exchange_weak(&limit->full_at_ns, &full_at, next));
	return true;
}

void log_write_limited(struct log_limit *limit, enum log_level level, const char *file, int line,
		       const char *fmt, ...)
{
	int saved = errno;
	va_list args;

	if (!take_token(limit)) {
		atomic_fetch_add(&limit->dropped, 1);
		metric_add(&sink.metrics.rate_limited_log_count, 1);
		return;
	}
	uint32_t dropped = atomic_exchange(&limit->dropped, 0);

	if (dropped > 0) {
		log_write(level, file, line, "%u messages were dropped here by the rate limit",
			  dropped);
	}
	va_start(args, fmt);
	write_line(level, file, line, fmt, args);
	va_end(args);
	errno = saved;
}
