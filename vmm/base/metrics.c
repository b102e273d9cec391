/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: lists of counters, lines of JSON, OpenMetrics text.
 *
 * Theory of operation. Counting is a relaxed atomic addition to a value that only grows. A line
 * tells the difference to what was told before: for each counter it notes the value that it saw
 * (`in_line`), and once the line is written that becomes `told`. So what is counted meanwhile is in
 * the next line, and a line that fails leaves no trace but a count of its own.
 *
 * Sinks do not block. A pipe may take part of a line that is longer than PIPE_BUF; then the line
 * counts as told, its rest stays in the buffer and goes first next time, so that a reader never
 * sees a torn line.
 *
 * Lines are also the last words of a dying process, from a signal handler: so they are built by
 * snprintf in a buffer that is there already, and the lock is a flag that is tried for a while
 * rather than waited for. Only a fault within the flush itself costs the last line.
 *
 * OpenMetrics text is made from the same tables [openmetrics 1.0]: counters there are totals, the
 * unit is part of the name, and times are in seconds.
 */
#include "vmm/base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/text.h"

enum {
	LINE_ROOM = 256 * 1024, /* for all groups; of 100 devices each has a KiB */
	LOCK_TRIES = 100,
	LOCK_PAUSE_NS = 1000000,
	NAME_LEN = 128,
};

/* A nameless source that keeps what others of its group counted, with its values behind it. */
struct retired {
	struct metric_source source;
	struct retired *next;
	_Alignas(struct metric_latency) uint8_t values[];
};

static const struct metric_field logger_fields[] = {
	{METRIC_COUNT(logger_metrics, missed_metrics_count)},
	{METRIC_COUNT(logger_metrics, metrics_fails)},
	{METRIC_COUNT(logger_metrics, missed_log_count)},
	{METRIC_COUNT(logger_metrics, rate_limited_log_count)},
};

const struct metric_group logger_metric_group = {
	METRIC_GROUP("logger", logger_metrics, logger_fields, 0)};

static void raise_to(_Atomic uint64_t *value, uint64_t to)
{
	uint64_t now = atomic_load_explicit(value, memory_order_relaxed);

	while (now < to && !atomic_compare_exchange_weak_explicit(
				   value, &now, to, memory_order_relaxed, memory_order_relaxed)) {
	}
}

void metric_latency_add(struct metric_latency *latency, uint64_t us)
{
	metric_add(&latency->sum_us, us);
	raise_to(&latency->max_us, us);
	raise_to(&latency->not_min_us, ~us);
}

static bool try_lock(struct metrics *metrics)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (!atomic_exchange_explicit(&metrics->is_locked, true, memory_order_acquire)) {
			return true;
		}
		nanosleep(&pause, NULL);
	}
	return false;
}

static void lock(struct metrics *metrics)
{
	while (!try_lock(metrics)) {
	}
}

static void unlock(struct metrics *metrics)
{
	atomic_store_explicit(&metrics->is_locked, false, memory_order_release);
}

void metrics_init(struct metrics *metrics, const struct metric_group *const *groups, size_t count)
{
	*metrics = (struct metrics){.groups = groups, .group_count = count, .fd = -1};
}

void metrics_destroy(struct metrics *metrics)
{
	if (metrics->groups == NULL) {
		return;
	}
	while (metrics->retired != NULL) {
		struct retired *retired = metrics->retired;

		metrics->retired = retired->next;
		free(retired);
	}
	fd_close(&metrics->fd);
	free(metrics->extras);
	free(metrics->line);
	*metrics = (struct metrics){.fd = -1};
}

/* Under the lock. */
static void append(struct metrics *metrics, struct metric_source *source,
		   const struct metric_group *group, void *values, const char *name)
{
	struct metric_source **at = &metrics->sources;

	*source = (struct metric_source){.group = group, .values = values, .name = name};
	while (*at != NULL) {
		at = &(*at)->next;
	}
	*at = source;
}

/* Under the lock; of one that is listed. */
static void unlink_source(struct metrics *metrics, const struct metric_source *source)
{
	struct metric_source **at = &metrics->sources;

	while (*at != NULL && *at != source) {
		at = &(*at)->next;
	}
	if (*at != NULL) {
		*at = source->next;
	}
}

void metrics_add(struct metrics *metrics, struct metric_source *source,
		 const struct metric_group *group, void *values)
{
	metrics_add_named(metrics, source, group, values, NULL);
}

void metrics_add_named(struct metrics *metrics, struct metric_source *source,
		       const struct metric_group *group, void *values, const char *name)
{
	lock(metrics);
	append(metrics, source, group, values, name);
	unlock(metrics);
}

void metrics_remove(struct metrics *metrics, struct metric_source *source)
{
	if (source->group == NULL) {
		return;
	}
	lock(metrics);
	unlink_source(metrics, source);
	unlock(metrics);
	*source = (struct metric_source){0};
}

/* Of a field that counts: what a line takes differences of. NULL: a gauge. */
static struct metric *counter_of(const struct metric_field *field, void *values)
{
	uint8_t *at = (uint8_t *)values + field->offset;

	switch (field->kind) {
	case METRIC_COUNTER:
		return (struct metric *)at;
	case METRIC_LATENCY:
		return &((struct metric_latency *)at)->sum_us;
	case METRIC_GAUGE:
		break;
	}
	return NULL;
}

static size_t values_len(const struct metric_group *group)
{
	size_t len = 0;

	for (size_t i = 0; i < group->count; i++) {
		len = max_u64(len, group->fields[i].offset + sizeof(struct metric_latency));
	}
	return len;
}

/* Under the lock. NULL: out of memory. */
static struct retired *find_retired(struct metrics *metrics, const struct metric_group *group)
{
	struct retired *retired = metrics->retired;

	while (retired != NULL && retired->source.group != group) {
		retired = retired->next;
	}
	if (retired != NULL) {
		return retired;
	}
	retired = calloc(1, sizeof(*retired) + values_len(group));
	if (retired != NULL) {
		retired->next = metrics->retired;
		metrics->retired = retired;
		append(metrics, &retired->source, group, retired->values, NULL);
	}
	return retired;
}

static void keep_counts(struct retired *retired, const struct metric_source *source)
{
	for (size_t i = 0; i < source->group->count; i++) {
		const struct metric_field *field = &source->group->fields[i];
		struct metric *kept = counter_of(field, retired->values);

		if (kept == NULL) {
			continue;
		}
		const struct metric *counted = counter_of(field, source->values);

		metric_add(kept, metric_get(counted));
		kept->in_line += counted->in_line;
		kept->told += counted->told;
		if (field->kind == METRIC_LATENCY) {
			struct metric_latency *to = (void *)(retired->values + field->offset);
			struct metric_latency *from =
				(void *)((uint8_t *)source->values + field->offset);

			raise_to(&to->max_us, atomic_load(&from->max_us));
			raise_to(&to->not_min_us, atomic_load(&from->not_min_us));
		}
	}
}

void metrics_retire(struct metrics *metrics, struct metric_source *source)
{
	if (source->group == NULL) {
		return;
	}
	lock(metrics);
	struct retired *retired = find_retired(metrics, source->group);

	if (retired != NULL) {
		keep_counts(retired, source);
	}
	unlink_source(metrics, source);
	unlock(metrics);
	*source = (struct metric_source){0};
}

static char *format_extras(const struct metrics_config *config)
{
	char *text = NULL;
	int len = asprintf(&text, "%s%s%s%s%s", config->id ? ",\"id\":\"" : "",
			   config->id ? config->id : "", config->id ? "\"" : "",
			   config->properties ? ",\"properties\":" : "",
			   config->properties ? config->properties : "");

	return len < 0 ? NULL : text;
}

int metrics_configure(struct metrics *metrics, const struct metrics_config *config,
		      struct error *err)
{
	/* Clients know these sentences [compat]. */
	static const char prefix[] = "Cannot initialize the metrics system due to bad user input";

	if (metrics->fd >= 0) {
		return error_set(err, ERR_BAD_STATE, "%s: Reinitialization of metrics not allowed.",
				 prefix);
	}
	/* O_RDWR: a FIFO can be opened before its reader. */
	AUTO_FD fd = open(config->path, O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);

	if (fd < 0) {
		return error_sys(err, "%s", prefix);
	}
	AUTO_FREE char *extras = format_extras(config);

	if (extras == NULL || (metrics->line = malloc(LINE_ROOM + strlen(extras))) == NULL) {
		return error_sys(err, "Cannot allocate a line of metrics");
	}
	lock(metrics);
	metrics->extras = extras;
	extras = NULL;
	metrics->fd = fd_take(&fd);
	unlock(metrics);
	return 0;
}

/* The sums over a group's sources. */
struct sample {
	uint64_t value;
	uint64_t min_us;
	uint64_t max_us;
};

enum sampling {
	SINCE_START,
	SINCE_LINE, /* and note what was seen, for the line */
	AS_NOTED,   /* the same again: a sum and its parts agree, whatever is counted meanwhile */
};

/* Adds one source's part. */
static void sample_add(struct sample *sample, const struct metric_field *field, void *values,
		       enum sampling sampling)
{
	uint8_t *at = (uint8_t *)values + field->offset;
	struct metric *metric = (struct metric *)at;

	if (field->kind == METRIC_LATENCY) {
		struct metric_latency *latency = (struct metric_latency *)at;

		sample->max_us = max_u64(sample->max_us, atomic_load(&latency->max_us));
		sample->min_us = min_u64(sample->min_us, ~atomic_load(&latency->not_min_us));
		metric = &latency->sum_us;
	}
	uint64_t value = metric_get(metric);

	if (field->kind == METRIC_GAUGE) {
		sample->value = max_u64(sample->value, value);
		return;
	}
	if (sampling == SINCE_LINE) {
		metric->in_line = value;
	}
	if (sampling != SINCE_START) {
		value = metric->in_line - metric->told;
	}
	sample->value += value;
}

static struct sample sample_end(struct sample sample)
{
	if (sample.min_us == UINT64_MAX) {
		sample.min_us = 0; /* nothing was measured yet */
	}
	return sample;
}

/* The sum over a group's sources; for a line after put_parts, which has seen those with a name. */
static struct sample take_sum(const struct metrics *metrics, const struct metric_group *group,
			      const struct metric_field *field, bool is_line)
{
	struct sample sample = {.min_us = UINT64_MAX};

	for (const struct metric_source *at = metrics->sources; at != NULL; at = at->next) {
		enum sampling sampling = at->name != NULL ? AS_NOTED : SINCE_LINE;

		if (at->group == group) {
			sample_add(&sample, field, at->values, is_line ? sampling : SINCE_START);
		}
	}
	return sample_end(sample);
}

static void put_field(struct text *text, const struct metric_field *field, struct sample sample)
{
	if (field->kind != METRIC_LATENCY) {
		text_add(text, "\"%s\":%llu", field->name, (unsigned long long)sample.value);
		return;
	}
	text_add(text, "\"%s\":{\"min_us\":%llu,\"max_us\":%llu,\"sum_us\":%llu}", field->name,
		 (unsigned long long)sample.min_us, (unsigned long long)sample.max_us,
		 (unsigned long long)sample.value);
}

/* The sources of a group that have a name, one object each. */
static void put_parts(struct text *text, const struct metrics *metrics,
		      const struct metric_group *group)
{
	for (const struct metric_source *at = metrics->sources; at != NULL; at = at->next) {
		if (at->group != group || at->name == NULL) {
			continue;
		}
		text_add(text, ",\"%s_%s\":{", group->name, at->name);
		for (size_t i = 0; i < group->count; i++) {
			struct sample sample = {.min_us = UINT64_MAX};

			sample_add(&sample, &group->fields[i], at->values, SINCE_LINE);
			text_add(text, "%s", i > 0 ? "," : "");
			put_field(text, &group->fields[i], sample_end(sample));
		}
		text_add(text, "}");
	}
}

static bool build_line(struct metrics *metrics)
{
	struct text text;

	text_init(&text, metrics->line, LINE_ROOM + strlen(metrics->extras));
	text_add(&text, "{\"utc_timestamp_ms\":%llu%s",
		 (unsigned long long)(clock_host.now_ns(CLOCK_REALTIME) / NS_PER_MS),
		 metrics->extras);
	for (size_t i = 0; i < metrics->group_count; i++) {
		const struct metric_group *group = metrics->groups[i];

		put_parts(&text, metrics, group);
		if (group->is_of_each) {
			continue;
		}
		text_add(&text, ",\"%s\":{", group->name);
		for (size_t j = 0; j < group->count; j++) {
			const struct metric_field *field = &group->fields[j];

			text_add(&text, "%s", j > 0 ? "," : "");
			put_field(&text, field, take_sum(metrics, group, field, true));
		}
		text_add(&text, "}");
	}
	text_add(&text, "}\n");
	metrics->line_len = text.len;
	metrics->written = 0;
	return !text.is_cut;
}

static void commit_line(struct metrics *metrics)
{
	for (struct metric_source *at = metrics->sources; at != NULL; at = at->next) {
		for (size_t i = 0; i < at->group->count; i++) {
			struct metric *metric = counter_of(&at->group->fields[i], at->values);

			if (metric != NULL) {
				metric->told = metric->in_line;
			}
		}
	}
}

/* Writes what is left of the line until the sink takes no more; false if that is nothing at all. */
static bool write_line(struct metrics *metrics)
{
	bool is_taken = false;

	while (metrics->written < metrics->line_len) {
		ssize_t put_len = write(metrics->fd, metrics->line + metrics->written,
					metrics->line_len - metrics->written);

		if (put_len > 0) {
			metrics->written += (size_t)put_len;
			is_taken = true;
		} else if (put_len == 0 || errno != EINTR) {
			return is_taken;
		}
	}
	return true;
}

/* With the lock held and a sink. */
static int flush(struct metrics *metrics, struct error *err)
{
	/* The rest of the line before, if it was cut. */
	write_line(metrics);
	if (metrics->written < metrics->line_len) {
		metric_add(&metrics->losses.missed_metrics_count, 1);
		return error_sys(err, "Failed to write metrics");
	}
	if (!build_line(metrics)) {
		metrics->line_len = 0;
		metric_add(&metrics->losses.metrics_fails, 1);
		return error_set(err, ERR_TOO_LARGE,
				 "Failed to write metrics: a line is longer than %d bytes",
				 LINE_ROOM);
	}
	if (!write_line(metrics)) {
		metrics->line_len = 0;
		metric_add(&metrics->losses.missed_metrics_count, 1);
		return error_sys(err, "Failed to write metrics");
	}
	commit_line(metrics);
	return 0;
}

int metrics_flush(struct metrics *metrics, struct error *err)
{
	if (!try_lock(metrics)) {
		metric_add(&metrics->losses.missed_metrics_count, 1);
		return error_set(err, ERR_BAD_STATE,
				 "Failed to write metrics: another line is being written");
	}
	int result = metrics->fd >= 0 ? flush(metrics, err) : 0;

	unlock(metrics);
	return result;
}

/* --- OpenMetrics --- */

static bool strip(char *name, const char *suffix)
{
	size_t len = strlen(name);
	size_t suffix_len = strlen(suffix);

	if (len < suffix_len || strcmp(name + len - suffix_len, suffix) != 0) {
		return false;
	}
	name[len - suffix_len] = '\0';
	return true;
}

/* One family of one sample; `name` without what its unit and type add. */
static void write_family(FILE *out, const char *name, enum metric_kind kind, enum metric_unit unit,
			 uint64_t value)
{
	bool is_total = kind != METRIC_GAUGE;
	const char *ending = unit == METRIC_US ? "_seconds" : unit == METRIC_BYTES ? "_bytes" : "";

	fprintf(out, "# TYPE %s%s %s\n", name, ending, is_total ? "counter" : "gauge");
	if (unit != METRIC_PLAIN) {
		fprintf(out, "# UNIT %s%s %s\n", name, ending, ending + 1);
	}
	fprintf(out, "%s%s%s ", name, ending, is_total ? "_total" : "");
	if (unit == METRIC_US) {
		fprintf(out, "%llu.%06llu\n", (unsigned long long)value / 1000000,
			(unsigned long long)value % 1000000);
	} else {
		fprintf(out, "%llu\n", (unsigned long long)value);
	}
}

static void write_field(FILE *out, const struct metric_group *group,
			const struct metric_field *field, struct sample sample)
{
	char owner[NAME_LEN];
	char name[NAME_LEN];
	char bound[NAME_LEN + 8];

	snprintf(owner, sizeof(owner), "squib_%s", group->name);
	strip(owner, "_us");
	snprintf(name, sizeof(name), "%.60s_%.60s", owner, field->name);
	/* The endings that JSON's names have where OpenMetrics says the same by type and unit. */
	if (!strip(name, "_us") && !strip(name, "_bytes") && !strip(name, "_agg")) {
		strip(name, "_count");
	}
	if (field->kind == METRIC_LATENCY) {
		snprintf(bound, sizeof(bound), "%s_min", name);
		write_family(out, bound, METRIC_GAUGE, METRIC_US, sample.min_us);
		snprintf(bound, sizeof(bound), "%s_max", name);
		write_family(out, bound, METRIC_GAUGE, METRIC_US, sample.max_us);
	}
	write_family(out, name, field->kind, field->unit, sample.value);
}

int metrics_format_openmetrics(struct metrics *metrics, char **text, size_t *len, struct error *err)
{
	FILE *out = open_memstream(text, len);

	if (out == NULL) {
		return error_sys(err, "Cannot allocate the text of metrics");
	}
	lock(metrics);
	for (size_t i = 0; i < metrics->group_count; i++) {
		const struct metric_group *group = metrics->groups[i];

		for (size_t j = 0; j < group->count; j++) {
			const struct metric_field *field = &group->fields[j];

			write_field(out, group, field, take_sum(metrics, group, field, false));
		}
	}
	unlock(metrics);
	fprintf(out, "# EOF\n");
	if (fclose(out) != 0) {
		free(*text);
		*text = NULL;
		return error_sys(err, "Cannot allocate the text of metrics");
	}
	return 0;
}
