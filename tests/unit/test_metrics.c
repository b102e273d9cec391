/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/metrics.c: lines, what happens to those that fail, threads, OpenMetrics. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/metrics.h"

enum {
	PAD_FIELDS = 400
};

struct owner {
	struct metric packets;
	struct metric sent_bytes;
	struct metric start_time_us;
	struct metric_latency send_agg;
};

static const struct metric_field owner_fields[] = {
	{METRIC_COUNT(owner, packets)},
	{METRIC_ROW(owner, sent_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_ROW(owner, start_time_us, METRIC_GAUGE, METRIC_US)},
	{METRIC_ROW(owner, send_agg, METRIC_LATENCY, METRIC_US)},
};

static const struct metric_group owner_group = {METRIC_GROUP("owner", owner, owner_fields, 1)};
static const struct metric_group *const groups[] = {&owner_group, &logger_metric_group};

/* A group that makes a line longer than PIPE_BUF. */
static struct metric_field pad_fields[PAD_FIELDS];
static char pad_names[PAD_FIELDS][16];
static struct metric_group pad_group = {.name = "pad", .fields = pad_fields, .count = PAD_FIELDS};
static const struct metric_group *const long_groups[] = {&owner_group, &logger_metric_group,
							 &pad_group};

static struct metrics metrics;
static struct owner owner;
static struct metric_source source;
static struct metric_source losses;
static char path[] = "/tmp/squib_metrics_XXXXXX";
static char dir[] = "/tmp/squib_metrics_XXXXXX";

static void set_up(void)
{
	int fd = mkstemp(path);

	cr_assert(fd >= 0);
	close(fd);
	metrics_init(&metrics, groups, ARRAY_COUNT(groups));
	metrics_add(&metrics, &source, &owner_group, &owner);
	metrics_add(&metrics, &losses, &logger_metric_group, &metrics.losses);
}

static void tear_down(void)
{
	metrics_destroy(&metrics);
	unlink(path);
}

TestSuite(metrics, .init = set_up, .fini = tear_down, .timeout = 20);

static void configure(const char *sink)
{
	struct error err = {0};

	cr_assert(metrics_configure(&metrics, &(struct metrics_config){.path = sink}, &err) == 0,
		  "%s", err.msg);
}

static int try_flush(void)
{
	struct error err = {0};

	return metrics_flush(&metrics, &err);
}

static const char *text_of(const char *name)
{
	int fd = open(name, O_RDONLY);
	const char *text = captured(fd);

	close(fd);
	return text;
}

/* Line `nth` (from 0) of a text as JSON; fails if it is none. The caller releases it. */
static json_t *line_of(const char *text, unsigned nth)
{
	for (unsigned i = 0; i < nth; i++) {
		text = strchr(text, '\n');
		cr_assert(text != NULL, "no line %u", nth);
		text++;
	}
	const char *end = strchr(text, '\n');

	cr_assert(end != NULL, "no line %u", nth);
	json_t *line = json_loadb(text, (size_t)(end - text), JSON_REJECT_DUPLICATES, NULL);

	cr_assert(line != NULL, "%.*s", (int)(end - text), text);
	return line;
}

static json_int_t value_of(const json_t *line, const char *group, const char *field)
{
	const json_t *value = json_object_get(json_object_get(line, group), field);

	cr_assert(json_is_integer(value), "%s.%s", group, field);
	return json_integer_value(value);
}

static json_int_t value_in(const char *text, unsigned nth, const char *group, const char *field)
{
	json_t *line = line_of(text, nth);
	json_int_t value = value_of(line, group, field);

	json_decref(line);
	return value;
}

Test(metrics, a_line_is_what_its_readers_know)
{
	struct error err = {0};
	struct metrics_config config = {
		.path = path, .id = "vm-1", .properties = "{\"team\":\"blue\"}"};
	struct timespec now;
	char want[400];

	cr_assert(metrics_configure(&metrics, &config, &err) == 0, "%s", err.msg);
	metric_add(&owner.packets, 3);
	metric_set(&owner.start_time_us, 1234567);
	metric_latency_add(&owner.send_agg, 7);
	metric_latency_add(&owner.send_agg, 2);
	metric_latency_add(&owner.send_agg, 5);
	cr_assert(try_flush() == 0);
	clock_gettime(CLOCK_REALTIME, &now);
	const char *text = text_of(path);
	unsigned long long stamp = strtoull(text + strlen("{\"utc_timestamp_ms\":"), NULL, 10);
	unsigned long long now_ms =
		(unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;

	cr_assert(stamp <= now_ms && now_ms - stamp < 10000, "%llu %llu", stamp, now_ms);
	snprintf(want, sizeof(want),
		 "{\"utc_timestamp_ms\":%llu,\"id\":\"vm-1\",\"properties\":{\"team\":\"blue\"},"
		 "\"owner\":{\"packets\":3,\"sent_bytes\":0,\"start_time_us\":1234567,"
		 "\"send_agg\":{\"min_us\":2,\"max_us\":7,\"sum_us\":14}},"
		 "\"logger\":{\"missed_metrics_count\":0,\"metrics_fails\":0,"
		 "\"missed_log_count\":0,\"rate_limited_log_count\":0}}\n",
		 stamp);
	cr_assert_str_eq(text, want);
}

Test(metrics, counters_are_told_once_gauges_and_bounds_again)
{
	configure(path);
	metric_add(&owner.packets, 3);
	metric_set(&owner.start_time_us, 9);
	metric_latency_add(&owner.send_agg, 0);
	metric_latency_add(&owner.send_agg, 7);
	cr_assert(try_flush() == 0);
	metric_add(&owner.packets, 1);
	cr_assert(try_flush() == 0);
	cr_assert(try_flush() == 0);
	static const json_int_t packets[] = {3, 1, 0};
	static const json_int_t sums[] = {7, 0, 0};

	for (unsigned i = 0; i < 3; i++) {
		json_t *line = line_of(text_of(path), i);
		const json_t *agg = json_object_get(json_object_get(line, "owner"), "send_agg");

		cr_expect(value_of(line, "owner", "packets") == packets[i], "line %u", i);
		cr_expect(value_of(line, "owner", "start_time_us") == 9, "line %u", i);
		cr_expect(json_integer_value(json_object_get(agg, "sum_us")) == sums[i]);
		cr_expect(json_integer_value(json_object_get(agg, "max_us")) == 7);
		cr_expect(json_integer_value(json_object_get(agg, "min_us")) == 0);
		json_decref(line);
	}
}

Test(metrics, a_group_sums_its_sources_and_is_there_without_any)
{
	static struct owner second;
	static struct metric_source second_source;

	configure(path);
	metrics_add(&metrics, &second_source, &owner_group, &second);
	metric_add(&owner.packets, 3);
	metric_add(&second.packets, 4);
	metric_set(&second.start_time_us, 8);
	metric_set(&owner.start_time_us, 6);
	metric_latency_add(&owner.send_agg, 5);
	metric_latency_add(&second.send_agg, 3);
	cr_assert(try_flush() == 0);
	metrics_remove(&metrics, &source);
	metrics_remove(&metrics, &source);
	metric_add(&owner.packets, 100);
	metric_add(&second.packets, 1);
	cr_assert(try_flush() == 0);
	metrics_remove(&metrics, &second_source);
	cr_assert(try_flush() == 0);
	cr_expect(value_in(text_of(path), 0, "owner", "packets") == 7);
	cr_expect(value_in(text_of(path), 0, "owner", "start_time_us") == 8);
	cr_expect(strstr(text_of(path), "{\"min_us\":3,\"max_us\":5,\"sum_us\":8}") != NULL);
	cr_expect(value_in(text_of(path), 1, "owner", "packets") == 1);
	cr_expect(value_in(text_of(path), 2, "owner", "packets") == 0);
	cr_expect(strstr(text_of(path), "{\"min_us\":0,\"max_us\":0,\"sum_us\":0}") != NULL);
}

Test(metrics, without_a_sink_a_flush_does_nothing_and_keeps_the_counts)
{
	metric_add(&owner.packets, 3);
	cr_assert(try_flush() == 0);
	configure(path);
	cr_assert(try_flush() == 0);
	cr_assert(value_in(text_of(path), 0, "owner", "packets") == 3);
}

Test(metrics, a_sink_is_set_once)
{
	static const char sentence[] =
		"Cannot initialize the metrics system due to bad user input: ";
	struct error err = {0};
	struct metrics_config config = {.path = "/nowhere/at/all"};

	cr_assert(metrics_configure(&metrics, &config, &err) == -1);
	cr_assert(strncmp(err.msg, sentence, strlen(sentence)) == 0 &&
			  strstr(err.msg, "No such file or directory (os error 2)") != NULL,
		  "%s", err.msg);
	/* A failure leaves the chance. */
	configure(path);
	error_clear(&err);
	cr_assert(metrics_configure(&metrics, &(struct metrics_config){.path = path}, &err) == -1);
	cr_assert(strcmp(err.msg + strlen(sentence), "Reinitialization of metrics not allowed.") ==
			  0,
		  "%s", err.msg);
}

Test(metrics, a_file_is_written_from_its_start_and_not_cut)
{
	int fd = open(path, O_WRONLY);
	char old[4000];

	memset(old, 'x', sizeof(old));
	cr_assert(write(fd, old, sizeof(old)) == (ssize_t)sizeof(old));
	close(fd);
	configure(path);
	cr_assert((fcntl(metrics.fd, F_GETFD) & FD_CLOEXEC) != 0);
	cr_assert((fcntl(metrics.fd, F_GETFL) & O_NONBLOCK) != 0);
	cr_assert(try_flush() == 0);
	const char *text = text_of(path);

	cr_assert(text[0] == '{' && strlen(text) == sizeof(old));
	cr_assert(text[sizeof(old) - 1] == 'x');
}

/* A FIFO as the sink; its other end in *reader, the least pipe that there is. */
static void configure_fifo(int *reader)
{
	char name[64];

	cr_assert(mkdtemp(dir) != NULL);
	snprintf(name, sizeof(name), "%s/fifo", dir);
	cr_assert(mkfifo(name, 0600) == 0);
	configure(name);
	*reader = open(name, O_RDONLY | O_NONBLOCK);
	cr_assert(*reader >= 0);
	cr_assert(fcntl(*reader, F_SETPIPE_SZ, 4096) == 4096);
	unlink(name);
	rmdir(dir);
}

static char *read_pipe(int fd)
{
	static char text[CAPTURE_LEN];
	size_t len = 0;
	ssize_t got;

	while ((got = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)got;
	}
	text[len] = '\0';
	return text;
}

Test(metrics, a_full_pipe_costs_lines_but_no_counts)
{
	int reader;
	unsigned lines = 0;
	unsigned missed = 0;
	json_int_t packets = 0;
	json_int_t told_missed = 0;

	configure_fifo(&reader);
	for (int i = 0; i < 100; i++) {
		metric_add(&owner.packets, 1);
		missed += try_flush() < 0;
	}
	cr_assert(missed > 50 && missed < 100, "%u", missed);
	lines = 100 - missed;
	char *text = read_pipe(reader);

	for (unsigned i = 0; i < lines; i++) {
		packets += value_in(text, i, "owner", "packets");
		told_missed += value_in(text, i, "logger", "missed_metrics_count");
	}
	cr_assert(packets == lines && told_missed == 0, "%d", (int)packets);
	cr_assert(count_of(text, "\n") == lines);
	cr_assert(try_flush() == 0);
	text = read_pipe(reader);
	cr_assert(value_in(text, 0, "owner", "packets") == missed);
	cr_assert(value_in(text, 0, "logger", "missed_metrics_count") == missed);
	close(reader);
}

static void make_long_group(void)
{
	for (size_t i = 0; i < PAD_FIELDS; i++) {
		snprintf(pad_names[i], sizeof(pad_names[i]), "pad_%04zu", i);
		pad_fields[i] = (struct metric_field){.name = pad_names[i]};
	}
	metrics.groups = long_groups;
	metrics.group_count = ARRAY_COUNT(long_groups);
}

Test(metrics, a_line_that_a_pipe_takes_in_parts_arrives_whole)
{
	static char all[CAPTURE_LEN];
	int reader;
	unsigned failed = 0;
	unsigned total = 0;
	json_int_t packets = 0;

	make_long_group();
	configure_fifo(&reader);
	for (int i = 0; i < 40; i++) {
		metric_add(&owner.packets, 1);
		failed += try_flush() < 0;
		if (i % 5 == 0) {
			strcat(all, read_pipe(reader));
		}
	}
	/* The reader has caught up: the rest of the last line, then what was missed. */
	for (int i = 0; i < 10; i++) {
		strcat(all, read_pipe(reader));
		failed += try_flush() < 0;
	}
	cr_assert(failed > 10, "%u", failed);
	total = count_of(all, "\n");
	for (unsigned i = 0; i < total; i++) {
		packets += value_in(all, i, "owner", "packets");
	}
	cr_assert(packets == 40, "%d in %u lines", (int)packets, total);
	close(reader);
}

Test(metrics, a_full_disk_costs_no_counts)
{
	struct error err = {0};
	int full;

	configure("/dev/full");
	metric_add(&owner.packets, 3);
	cr_assert(metrics_flush(&metrics, &err) == -1);
	cr_assert(strstr(err.msg, "Failed to write metrics: No space left on device") != NULL, "%s",
		  err.msg);
	full = metrics.fd;
	metrics.fd = open(path, O_RDWR);
	close(full);
	cr_assert(try_flush() == 0);
	cr_assert(value_in(text_of(path), 0, "owner", "packets") == 3);
	cr_assert(value_in(text_of(path), 0, "logger", "missed_metrics_count") == 1);
}

Test(metrics, a_line_that_can_not_be_made_costs_no_counts)
{
	static struct metric_field many[16000];
	static struct metric_group huge = {
		.name = "huge", .fields = many, .count = ARRAY_COUNT(many)};
	static const struct metric_group *const with_huge[] = {&owner_group, &huge};

	for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
		many[i] = (struct metric_field){.name = "a_name_of_some_length"};
	}
	configure(path);
	metric_add(&owner.packets, 3);
	metrics.groups = with_huge;
	cr_assert(try_flush() == -1);
	metrics.groups = groups;
	cr_assert(try_flush() == 0);
	cr_assert(count_of(text_of(path), "\n") == 1);
	cr_assert(value_in(text_of(path), 0, "owner", "packets") == 3);
	cr_assert(value_in(text_of(path), 0, "logger", "metrics_fails") == 1);
}

Test(metrics, a_source_with_a_name_is_told_alone_and_in_the_sum)
{
	struct owner named[2] = {0};
	struct metric_source sources[2] = {0};
	static const char *const names[] = {"b", "a"};

	configure(path);
	for (size_t i = 0; i < 2; i++) {
		metrics_add_named(&metrics, &sources[i], &owner_group, &named[i], names[i]);
	}
	metric_add(&owner.packets, 1);
	metric_add(&named[0].packets, 10);
	metric_add(&named[1].packets, 100);
	metric_latency_add(&named[1].send_agg, 7);
	cr_assert(try_flush() == 0);
	metric_add(&named[0].packets, 5);
	cr_assert(try_flush() == 0);

	const char *text = text_of(path);

	cr_expect_eq(value_in(text, 0, "owner_b", "packets"), 10);
	cr_expect_eq(value_in(text, 0, "owner_a", "packets"), 100);
	cr_expect_eq(value_in(text, 0, "owner", "packets"), 111);
	cr_expect_eq(value_in(text, 1, "owner_b", "packets"), 5);
	cr_expect_eq(value_in(text, 1, "owner_a", "packets"), 0);
	cr_expect_eq(value_in(text, 1, "owner", "packets"), 5);
	/* In the order in which they were listed, before the sum. */
	cr_expect(strstr(text, "\"owner_b\":{") < strstr(text, "\"owner_a\":{"));
	cr_expect(strstr(text, "\"owner_a\":{") < strstr(text, "\"owner\":{"));
	cr_expect_not_null(strstr(text, "\"send_agg\":{\"min_us\":7,\"max_us\":7,\"sum_us\":7}"));
	metrics_remove(&metrics, &sources[0]);
	metrics_remove(&metrics, &sources[1]);
}

/* --- Threads --- */

enum {
	COUNTERS = 2,
	LINES = 400,
	LEAST_COUNT = 100000
};

Test(metrics, what_a_source_counted_stays_when_it_retires)
{
	static struct owner gone;
	static struct metric_source gone_source;

	configure(path);
	metrics_add_named(&metrics, &gone_source, &owner_group, &gone, "gone");
	metric_add(&gone.packets, 5);
	metric_set(&gone.start_time_us, 77);
	metric_latency_add(&gone.send_agg, 30);
	cr_assert_eq(try_flush(), 0);
	metric_add(&gone.packets, 2); /* told by nobody yet */
	metric_latency_add(&gone.send_agg, 10);
	metrics_retire(&metrics, &gone_source);
	metrics_retire(&metrics, &gone_source);
	cr_assert_eq(try_flush(), 0);
	metric_add(&owner.packets, 1);
	cr_assert_eq(try_flush(), 0);
	const char *text = text_of(path);

	cr_expect_eq(value_in(text, 0, "owner", "packets"), 5);
	cr_expect_eq(value_in(text, 0, "owner", "start_time_us"), 77);
	cr_expect_eq(value_in(text, 1, "owner", "packets"), 2);
	cr_expect_eq(value_in(text, 1, "owner", "start_time_us"), 0, "a gauge goes");
	cr_expect_eq(value_in(text, 2, "owner", "packets"), 1);
	json_t *line = line_of(text, 1);
	json_t *agg = json_object_get(json_object_get(line, "owner"), "send_agg");

	cr_expect_eq(json_integer_value(json_object_get(agg, "max_us")), 30);
	cr_expect_eq(json_integer_value(json_object_get(agg, "min_us")), 10);
	cr_expect_eq(json_integer_value(json_object_get(agg, "sum_us")), 10);
	cr_expect_null(json_object_get(line, "owner_gone"));
	json_decref(line);

	char *totals = NULL;
	size_t len;
	struct error err = {0};

	cr_assert_eq(metrics_format_openmetrics(&metrics, &totals, &len, &err), 0);
	cr_expect_not_null(strstr(totals, "packets_total 8"), "%s", totals);
	free(totals);
}

/* Two of a kind share what keeps their counts. */
Test(metrics, sources_that_come_and_go_take_no_memory)
{
	for (unsigned i = 0; i < 3; i++) {
		struct owner gone = {0};
		struct metric_source gone_source;

		metrics_add(&metrics, &gone_source, &owner_group, &gone);
		metric_add(&gone.packets, 1);
		metrics_retire(&metrics, &gone_source);
	}
	unsigned count = 0;

	for (const struct metric_source *at = metrics.sources; at != NULL; at = at->next) {
		count += at->group == &owner_group;
	}
	cr_expect_eq(count, 2);
}

static atomic_bool is_over;
static uint64_t counted[COUNTERS];

static void *count_up(void *arg)
{
	uint64_t *count = arg;

	while (!is_over) {
		metric_add(&owner.packets, 1);
		metric_latency_add(&owner.send_agg, 1 + *count % 100);
		++*count;
	}
	return NULL;
}

/* A second one that flushes and lists sources. */
static void *flush_too(void *arg)
{
	struct metric_source extra = {0};
	struct owner none = {0};

	(void)arg;
	while (!is_over) {
		metrics_add(&metrics, &extra, &owner_group, &none);
		try_flush();
		metrics_remove(&metrics, &extra);
		usleep(500);
	}
	return NULL;
}

/* What the lines in `text` tell in all. */
static void add_up(const char *text, uint64_t *packets, uint64_t *sum_us)
{
	for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
		json_t *line = line_of(at, 0);
		const json_t *agg = json_object_get(json_object_get(line, "owner"), "send_agg");

		*packets += (uint64_t)value_of(line, "owner", "packets");
		*sum_us += (uint64_t)json_integer_value(json_object_get(agg, "sum_us"));
		json_decref(line);
	}
}

Test(metrics, nothing_is_lost_while_threads_count_and_lines_fail)
{
	pthread_t threads[COUNTERS + 1];
	int reader;
	uint64_t packets = 0;
	uint64_t sum_us = 0;
	uint64_t want_packets = 0;
	uint64_t want_us = 0;
	unsigned failed = 0;
	unsigned tried = 0;

	configure_fifo(&reader);
	for (size_t i = 0; i < COUNTERS; i++) {
		pthread_create(&threads[i], NULL, count_up, &counted[i]);
	}
	pthread_create(&threads[COUNTERS], NULL, flush_too, NULL);
	/* The threads may be slow to start. */
	for (; tried < LINES || metric_get(&owner.packets) < LEAST_COUNT; tried++) {
		failed += try_flush() < 0;
		/* The pipe holds some lines, not so many. */
		if (tried % 64 == 0) {
			add_up(read_pipe(reader), &packets, &sum_us);
		}
	}
	is_over = true;
	for (size_t i = 0; i <= COUNTERS; i++) {
		pthread_join(threads[i], NULL);
	}
	add_up(read_pipe(reader), &packets, &sum_us);
	/* The rest of the last line, if it was cut, and one that has all. */
	cr_assert(try_flush() == 0);
	add_up(read_pipe(reader), &packets, &sum_us);
	cr_assert(failed > 0 && failed < tried, "%u", failed);
	for (size_t i = 0; i < COUNTERS; i++) {
		want_packets += counted[i];
		want_us += counted[i] / 100 * 5050;
		want_us += counted[i] % 100 * (counted[i] % 100 + 1) / 2;
	}
	cr_assert(packets == want_packets, "%llu of %llu", (unsigned long long)packets,
		  (unsigned long long)want_packets);
	cr_assert(sum_us == want_us, "%llu of %llu", (unsigned long long)sum_us,
		  (unsigned long long)want_us);
	cr_assert(~owner.send_agg.not_min_us == 1 && owner.send_agg.max_us == 100);
	close(reader);
}

Test(metrics, a_flush_that_can_not_get_the_lock_gives_up_in_time)
{
	configure(path);
	metric_add(&owner.packets, 3);
	/* As if a signal had interrupted another flush of this thread. */
	metrics.is_locked = true;
	cr_assert(try_flush() == -1);
	metrics.is_locked = false;
	cr_assert(try_flush() == 0);
	cr_assert(value_in(text_of(path), 0, "owner", "packets") == 3);
	cr_assert(value_in(text_of(path), 0, "logger", "missed_metrics_count") == 1);
}

/* --- OpenMetrics --- */

Test(metrics, openmetrics_tells_totals)
{
	struct error err = {0};
	char *text = NULL;
	size_t len = 0;

	configure(path);
	metric_add(&owner.packets, 3);
	metric_add(&owner.sent_bytes, 4096);
	metric_set(&owner.start_time_us, 1234567);
	metric_latency_add(&owner.send_agg, 20);
	metric_latency_add(&owner.send_agg, 7);
	cr_assert(try_flush() == 0);
	metric_add(&owner.packets, 1);
	cr_assert(metrics_format_openmetrics(&metrics, &text, &len, &err) == 0, "%s", err.msg);
	static const char want[] = "# TYPE squib_owner_packets counter\n"
				   "squib_owner_packets_total 4\n"
				   "# TYPE squib_owner_sent_bytes counter\n"
				   "# UNIT squib_owner_sent_bytes bytes\n"
				   "squib_owner_sent_bytes_total 4096\n"
				   "# TYPE squib_owner_start_time_seconds gauge\n"
				   "# UNIT squib_owner_start_time_seconds seconds\n"
				   "squib_owner_start_time_seconds 1.234567\n"
				   "# TYPE squib_owner_send_min_seconds gauge\n"
				   "# UNIT squib_owner_send_min_seconds seconds\n"
				   "squib_owner_send_min_seconds 0.000007\n"
				   "# TYPE squib_owner_send_max_seconds gauge\n"
				   "# UNIT squib_owner_send_max_seconds seconds\n"
				   "squib_owner_send_max_seconds 0.000020\n"
				   "# TYPE squib_owner_send_seconds counter\n"
				   "# UNIT squib_owner_send_seconds seconds\n"
				   "squib_owner_send_seconds_total 0.000027\n"
				   "# TYPE squib_logger_missed_metrics counter\n"
				   "squib_logger_missed_metrics_total 0\n"
				   "# TYPE squib_logger_metrics_fails counter\n"
				   "squib_logger_metrics_fails_total 0\n"
				   "# TYPE squib_logger_missed_log counter\n"
				   "squib_logger_missed_log_total 0\n"
				   "# TYPE squib_logger_rate_limited_log counter\n"
				   "squib_logger_rate_limited_log_total 0\n"
				   "# EOF\n";

	cr_assert_str_eq(text, want);
	cr_assert(len == strlen(want));
	free(text);
	/* And the line after it has not missed anything. */
	cr_assert(try_flush() == 0);
	cr_assert(value_in(text_of(path), 1, "owner", "packets") == 1);
}
