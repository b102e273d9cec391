/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line per message, levels, and a rate limit for what a guest can trigger. */
#ifndef VMM_BASE_LOG_H
#define VMM_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

enum log_level {
	LOG_OFF,
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
	LOG_TRACE
};

/* What lines show. LOG_KEEP leaves it as it is [compat]. */
enum log_switch {
	LOG_KEEP,
	LOG_SHOW,
	LOG_HIDE
};

/* Strings are copied or used only during the call. */
struct log_config {
	const char *path;   /* NULL: keep the present sink (standard output at first) */
	const char *module; /* NULL: keep; else only sites in its files are logged: log_module.h */
	enum log_level level;
	enum log_switch show_level;
	enum log_switch show_origin;
};

/* Opens the sink without O_APPEND or O_TRUNC, non-blocking [compat]. Nothing changes on failure. */
MUST_CHECK int log_configure(const struct log_config *config, struct error *err);

/* The instance id in each line; at most 64 bytes are kept. Once, before other threads start. */
void log_set_instance(const char *id);

/* The name of the calling thread in its lines, e.g. "fc_vcpu 0"; `name` must outlive the thread. */
void log_set_thread(const char *name);

/* Parses "Error", "warning", ... in any case. false if it is no level. */
bool log_level_parse(const char *text, enum log_level *level);

/*
 * Between these two calls the calling thread may log in a signal handler: its lines take no lock.
 */
void log_enter_handler(void);
void log_leave_handler(void);

/* The descriptor of the sink, which stays the log's. */
int log_descriptor(void);

/* Lines that could not be written since start. */
uint64_t log_missed(void);

/* The counters of lines that the log lost; the log owns two of the fields. One per process. */
struct logger_metrics *log_metrics(void);

/*
 * A token bucket per call site [compat: 10 lines per 5 s], kept as the time when it will be full.
 * Lines dropped are counted and told by the next line that passes.
 */
struct log_limit {
	_Atomic uint64_t full_at_ns;
	_Atomic uint32_t dropped;
};

bool log_enabled(enum log_level level, const char *file);
COLD PRINTF(4, 5) void log_write(enum log_level level, const char *file, int line, const char *fmt,
				 ...);
COLD PRINTF(5, 6) void log_write_limited(struct log_limit *limit, enum log_level level,
					 const char *file, int line, const char *fmt, ...);

#define LOG_AT(level, ...)                                                                         \
	do {                                                                                       \
		if (log_enabled(level, __FILE__)) {                                                \
			log_write(level, __FILE__, __LINE__, __VA_ARGS__);                         \
		}                                                                                  \
	} while (0)

#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)

/* A limit of one's own, where one device must not use up what another has to say. */
#define log_limited_warn(limit, ...)                                                               \
	do {                                                                                       \
		if (log_enabled(LOG_WARN, __FILE__)) {                                             \
			log_write_limited(limit, LOG_WARN, __FILE__, __LINE__, __VA_ARGS__);       \
		}                                                                                  \
	} while (0)

/* For every site that a guest can reach: it can't flood the log. */
#define LOG_GUEST_AT(level, ...)                                                                   \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		if (log_enabled(level, __FILE__)) {                                                \
			log_write_limited(&limit_, level, __FILE__, __LINE__, __VA_ARGS__);        \
		}                                                                                  \
	} while (0)

#define log_guest_warn(...) LOG_GUEST_AT(LOG_WARN, __VA_ARGS__)
#define log_guest_info(...) LOG_GUEST_AT(LOG_INFO, __VA_ARGS__)

#endif
