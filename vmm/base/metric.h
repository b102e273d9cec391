/* SPDX-License-Identifier: Apache-2.0 */
/* One counter, gauge or latency: what owners embed, count into, and describe by a const table. */
#ifndef VMM_BASE_METRIC_H
#define VMM_BASE_METRIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in its owner's struct, zeroed at first. */
struct metric {
	_Atomic uint64_t value; /* counters: since start; gauges: the last one */
	/* whoever writes lines, under struct metrics' lock */
	uint64_t in_line; /* as of the line under way */
	uint64_t told;	  /* as of the last line written */
};

struct metric_latency {
	struct metric sum_us;
	_Atomic uint64_t max_us;
	_Atomic uint64_t not_min_us; /* the least one's complement, so that zeroed means none */
};

/* Counting: from any thread or signal handler, without waiting. */
static inline void metric_add(struct metric *metric, uint64_t count)
{
	atomic_fetch_add_explicit(&metric->value, count, memory_order_relaxed);
}

static inline void metric_set(struct metric *metric, uint64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

static inline uint64_t metric_get(const struct metric *metric)
{
	return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

void metric_latency_add(struct metric_latency *latency, uint64_t us);

enum metric_kind {
	METRIC_COUNTER, /* struct metric; a line has what was added since the line before */
	METRIC_GAUGE,	/* struct metric; a line has the last value that was set */
	METRIC_LATENCY, /* struct metric_latency; min and max since start, the sum as a counter */
};

enum metric_unit {
	METRIC_PLAIN,
	METRIC_BYTES,
	METRIC_US, /* the name ends in _us, or the group's does */
};

struct metric_field {
	const char *name; /* in the line */
	enum metric_kind kind;
	enum metric_unit unit;
	size_t offset; /* in the owner's struct */
};

/* What stands between the braces of a row. */
#define METRIC_ROW(owner, field, kind, unit) #field, kind, unit, offsetof(struct owner, field)
#define METRIC_COUNT(owner, field) METRIC_ROW(owner, field, METRIC_COUNTER, METRIC_PLAIN)

struct metric_group {
	const char *name;
	const struct metric_field *fields;
	size_t count;
	bool is_of_each; /* a line has its named sources alone, and no sum */
};

#define METRIC_ROWS(fields) (sizeof(fields) / sizeof((fields)[0]))
#define METRIC_ROWS_LEN(rows, latencies)                                                           \
	(((rows) - (latencies)) * sizeof(struct metric) +                                          \
	 (latencies) * sizeof(struct metric_latency))

/* 0; does not compile where the struct is longer than its rows. */
#define METRIC_CHECK(owner, rows, latencies)                                                       \
	(0 * sizeof(struct {                                                                       \
		 _Static_assert(sizeof(struct owner) == METRIC_ROWS_LEN(rows, latencies),          \
				"each member has a row");                                          \
		 char unused;                                                                      \
	 }))

/*
 * What stands between the braces of a group whose owner, `struct owner`, has a row for each member.
 * `latencies` of them are struct metric_latency, the others struct metric.
 */
#define METRIC_GROUP(group_name, owner, rows, latencies)                                           \
	.name = (group_name), .fields = (rows),                                                    \
	.count = METRIC_ROWS(rows) + METRIC_CHECK(owner, METRIC_ROWS(rows), latencies)

/* What got lost on the way to its sink. The log counts into one of these as well. */
struct logger_metrics {
	struct metric missed_metrics_count; /* lines that could not be written (yet) */
	struct metric metrics_fails;	    /* lines that could not be made */
	struct metric missed_log_count;
	struct metric rate_limited_log_count;
};

extern const struct metric_group logger_metric_group;

#endif
