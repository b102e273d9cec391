/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all owners' metrics, told as lines of JSON or as OpenMetrics text. */
#ifndef VMM_BASE_METRICS_H
#define VMM_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

/*
 * One owner's struct as one of those that make up a group: a group's values are the sums over its
 * sources (of gauges the largest), or 0 without any.
 */
struct metric_source {
	const struct metric_group *group; /* NULL: in no list */
	void *values; /* the owner's struct, to which the fields' offsets apply */
	/* A line tells this source on its own as well, as group "<group>_<name>"; NULL: not. */
	const char *name;
	struct metric_source *next;
};

struct retired;

struct metrics {
	/* immutable */
	const struct metric_group *const *groups; /* in the order of the line */
	size_t group_count;
	struct logger_metrics losses; /* shared */
	_Atomic bool is_locked;
	/* under the lock */
	struct metric_source *sources; /* in the order in which they were listed */
	struct retired *retired;       /* of those, what keeps the counts of sources that went */
	int fd;			       /* the sink; -1: none */
	char *extras;		       /* what each line has after the time: "" or `,"id":...` */
	char *line;
	size_t line_len;
	size_t written; /* of line_len; less while a short write waits for its rest */
};

/* `groups` outlives *metrics. Before other threads use it. */
void metrics_init(struct metrics *metrics, const struct metric_group *const *groups, size_t count);

/* Closes the sink. A zeroed one is fine. */
void metrics_destroy(struct metrics *metrics);

/*
 * Lists a source and takes it out again; the caller owns it and `values`. What it has counted and
 * not told goes with it: flush before. A zeroed one may be removed. Not in signal handlers.
 */
void metrics_add(struct metrics *metrics, struct metric_source *source,
		 const struct metric_group *group, void *values);
void metrics_remove(struct metrics *metrics, struct metric_source *source);

/*
 * As metrics_remove, but what the source has counted stays in the sums of its group, told or not:
 * they never shrink. Its gauges go. Where memory is short it is metrics_remove.
 */
void metrics_retire(struct metrics *metrics, struct metric_source *source);

/* As metrics_add for a source with a name, which stays the caller's and needs no JSON escapes. */
void metrics_add_named(struct metrics *metrics, struct metric_source *source,
		       const struct metric_group *group, void *values, const char *name);

/* Strings are copied. */
struct metrics_config {
	const char *path;
	const char *id;		/* of the instance, letters and digits and '-'; NULL: not told */
	const char *properties; /* a JSON object as compact text; NULL: none */
};

/*
 * Opens the sink, non-blocking, created if missing, without O_APPEND or O_TRUNC [compat]. Only
 * once: a second call is refused.
 */
MUST_CHECK int metrics_configure(struct metrics *metrics, const struct metrics_config *config,
				 struct error *err);

/*
 * Writes one line, without waiting for the sink's reader. If that fails, nothing is lost: the next
 * line that passes has it. Without a sink nothing happens. From any thread and, as the last words
 * of the process, from signal handlers.
 */
MUST_CHECK int metrics_flush(struct metrics *metrics, struct error *err);

/*
 * All values since start as OpenMetrics text, in a heap block that the caller frees. *len is
 * without the NUL. From any thread.
 */
MUST_CHECK int metrics_format_openmetrics(struct metrics *metrics, char **text, size_t *len,
					  struct error *err);

#endif
