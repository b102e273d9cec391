/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What machines use.
 *
 * Theory of operation. The kernel knows processor time, faults and memory of the monitor, which has
 * all of the guest; the monitor counts exits, bytes and notifications. A machine that does not
 * answer within a second has zeroes for the latter. Rates are differences of two samples over the
 * time between them.
 */
#include "tools/squibctl/ctl_stats.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

#define US_PER_S (NS_PER_S / NS_PER_US)

enum {
	INTERVAL_MS = 1000,
	ANSWER_S = 1,
	PROC_MAX = 64 << 10, /* bytes of a file of /proc */
	FAULTS_AT = 10,	     /* fields of /proc/PID/stat, as proc(5) counts them */
	MAJOR_FAULTS_AT = 12,
	USER_TIME_AT = 14,
	SYSTEM_TIME_AT = 15,
	BYTES_LEN = 16,
};

/* --- one machine --- */

static const struct {
	const char *name;
	size_t offset; /* in struct ctl_stats, of what it is added to */
} metrics[] = {
	{"squib_net_rx_bytes_bytes_total", offsetof(struct ctl_stats, net_received)},
	{"squib_net_tx_bytes_bytes_total", offsetof(struct ctl_stats, net_sent)},
	{"squib_block_read_bytes_total", offsetof(struct ctl_stats, block_read)},
	{"squib_block_write_bytes_total", offsetof(struct ctl_stats, block_written)},
	{"squib_vcpu_exit_io_in_total", offsetof(struct ctl_stats, exit_io_in)},
	{"squib_vcpu_exit_io_out_total", offsetof(struct ctl_stats, exit_io_out)},
	{"squib_vcpu_exit_mmio_read_total", offsetof(struct ctl_stats, exit_mmio_read)},
	{"squib_vcpu_exit_mmio_write_total", offsetof(struct ctl_stats, exit_mmio_write)},
	{"squib_net_rx_queue_event_total", offsetof(struct ctl_stats, net_queue_events)},
	{"squib_net_tx_queue_event_total", offsetof(struct ctl_stats, net_queue_events)},
	{"squib_block_queue_event_total", offsetof(struct ctl_stats, block_queue_events)},
	{"squib_net_tx_packets_total", offsetof(struct ctl_stats, net_requests)},
	{"squib_net_tx_remaining_reqs_total", offsetof(struct ctl_stats, net_waiting)},
	{"squib_block_read_total", offsetof(struct ctl_stats, block_requests)},
	{"squib_block_write_total", offsetof(struct ctl_stats, block_requests)},
	{"squib_block_flush_total", offsetof(struct ctl_stats, block_requests)},
	{"squib_block_remaining_reqs_total", offsetof(struct ctl_stats, block_waiting)},
};

static uint64_t *member(struct ctl_stats *stats, size_t offset)
{
	return (uint64_t *)((char *)stats + offset);
}

void ctl_stats_metrics(const char *text, struct ctl_stats *stats)
{
	while (*text != '\0') {
		size_t len = strcspn(text, " {\n");

		for (size_t i = 0; i < ARRAY_COUNT(metrics); i++) {
			if (text[len] == ' ' && strlen(metrics[i].name) == len &&
			    strncmp(text, metrics[i].name, len) == 0) {
				*member(stats, metrics[i].offset) +=
					strtoull(text + len + 1, NULL, 10);
			}
		}
		text += strcspn(text, "\n");
		text += *text == '\n' ? 1 : 0;
	}
}

double ctl_stats_depth(uint64_t waiting, uint64_t requests)
{
	return requests > 0 ? (double)waiting / (double)requests : 0;
}

/* Of "Name:   123 kB" lines. */
static uint64_t kib_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at != NULL ? strtoull(at + strlen(name), NULL, 10) * KIB : 0;
}

void ctl_stats_process(const char *stat, const char *rollup, struct ctl_stats *stats)
{
	/* The second field is a name, which may have anything in it, in parentheses. */
	const char *at = strrchr(stat, ')');
	uint64_t ticks = 0;

	for (int field = 3; at != NULL && field <= SYSTEM_TIME_AT; field++) {
		at = strchr(at + 1, ' ');
		uint64_t number = at != NULL ? strtoull(at + 1, NULL, 10) : 0;

		if (field == FAULTS_AT || field == MAJOR_FAULTS_AT) {
			stats->faults += number;
		} else if (field == USER_TIME_AT || field == SYSTEM_TIME_AT) {
			ticks += number;
		}
	}
	stats->cpu_us = ticks * US_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	stats->own_bytes = kib_of(rollup, "\nPrivate_Clean:") + kib_of(rollup, "\nPrivate_Dirty:");
	stats->shared_bytes = kib_of(rollup, "\nShared_Clean:") + kib_of(rollup, "\nShared_Dirty:");
}

static void ask_monitor(const struct machine *machine, struct ctl_stats *stats)
{
	AUTO_FREE char *path = ctl_machine_path(machine, "api.sock");
	struct ctl_reply reply = {0};
	struct error ignored = {0};
	AUTO_FD fd = -1;

	if (path != NULL && ctl_http_connect_for(path, ANSWER_S, &fd, &ignored) == 0 &&
	    ctl_http_exchange(fd, "GET", "/metrics", NULL, &reply, &ignored) == 0 &&
	    reply.status == CTL_STATUS_OK && reply.body != NULL) {
		ctl_stats_metrics(reply.body, stats);
	}
	free(reply.body);
}

static char *read_proc(pid_t pid, const char *file)
{
	AUTO_FREE char *path = ctl_text("/proc/%d/%s", pid, file);
	struct error ignored = {0};
	char *text = NULL;
	size_t len;

	return path != NULL && read_file(path, file, PROC_MAX, &text, &len, &ignored) == 0 ? text
											   : NULL;
}

/* false: it does not run. */
static bool take_sample(const char *name, struct ctl_stats *stats)
{
	struct machine machine = {0};
	struct error ignored = {0};
	pid_t pid = 0;

	*stats = (struct ctl_stats){0};
	if (ctl_machine_open(name, &machine, &ignored) == 0) {
		pid = ctl_machine_process(&machine, "squib");
	}
	if (pid > 0) {
		AUTO_FREE char *stat = read_proc(pid, "stat");
		AUTO_FREE char *rollup = read_proc(pid, "smaps_rollup");

		ctl_stats_process(stat != NULL ? stat : "", rollup != NULL ? rollup : "", stats);
		ask_monitor(&machine, stats);
	}
	ctl_machine_close(&machine);
	return pid > 0;
}

/* --- numbers for people --- */

/* "512", "1.5K", "12M". */
static const char *bytes(uint64_t number, char text[BYTES_LEN])
{
	static const char units[] = " KMGTPE";
	unsigned unit = 0;
	double value = (double)number;

	while (value >= 1024 && units[unit + 1] != '\0') {
		value /= 1024;
		unit++;
	}
	if (unit == 0) {
		snprintf(text, BYTES_LEN, "%llu", (unsigned long long)number);
	} else {
		snprintf(text, BYTES_LEN, value < 10 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	}
	return text;
}

static uint64_t rate(uint64_t now, uint64_t before, uint64_t us)
{
	/* A machine of the same name may be another one. */
	return now > before && us > 0 ? (now - before) * US_PER_S / us : 0;
}

/* What grew, per second; what does not grow, as it is. */
static struct ctl_stats rates(const struct ctl_stats *now, const struct ctl_stats *before,
			      uint64_t us)
{
	struct ctl_stats result = *now;

	for (size_t at = 0; at < sizeof(result); at += sizeof(uint64_t)) {
		struct ctl_stats old = *before;

		if (at != offsetof(struct ctl_stats, own_bytes) &&
		    at != offsetof(struct ctl_stats, shared_bytes)) {
			*member(&result, at) = rate(*member(&result, at), *member(&old, at), us);
		}
	}
	return result;
}

/* --- tables --- */

static void print_stats(const char *name, const struct ctl_stats *s)
{
	char own[BYTES_LEN];
	char shared[BYTES_LEN];
	char in[BYTES_LEN];
	char out[BYTES_LEN];
	char read[BYTES_LEN];
	char written[BYTES_LEN];

	if (name == NULL) {
		printf("%-20s %10s %8s %8s %10s %8s %8s %8s %8s\n", "NAME", "CPU", "OWN", "SHARED",
		       "FAULTS", "NET IN", "NET OUT", "READ", "WRITTEN");
		return;
	}
	printf("%-20s %9.2fs %8s %8s %10llu %8s %8s %8s %8s\n", name, (double)s->cpu_us / US_PER_S,
	       bytes(s->own_bytes, own), bytes(s->shared_bytes, shared),
	       (unsigned long long)s->faults, bytes(s->net_received, in), bytes(s->net_sent, out),
	       bytes(s->block_read, read), bytes(s->block_written, written));
}

static void print_rates(const char *name, const struct ctl_stats *s)
{
	char own[BYTES_LEN];
	char shared[BYTES_LEN];
	char net[BYTES_LEN];
	char block[BYTES_LEN];

	if (name == NULL) {
		printf("%-20s %6s %8s %8s %7s %7s %7s %7s %7s %7s %6s %7s %6s %8s %8s\n", "NAME",
		       "CPU%", "OWN", "SHARED", "FAULT/s", "IN/s", "OUT/s", "MMIOR/s", "MMIOW/s",
		       "NETQ/s", "NETD", "BLKQ/s", "BLKD", "NET/s", "DISK/s");
		return;
	}
	printf("%-20s %6.1f %8s %8s %7llu %7llu %7llu %7llu %7llu %7llu %6.1f %7llu %6.1f %8s "
	       "%8s\n",
	       name, (double)s->cpu_us * 100 / US_PER_S, bytes(s->own_bytes, own),
	       bytes(s->shared_bytes, shared), (unsigned long long)s->faults,
	       (unsigned long long)s->exit_io_in, (unsigned long long)s->exit_io_out,
	       (unsigned long long)s->exit_mmio_read, (unsigned long long)s->exit_mmio_write,
	       (unsigned long long)s->net_queue_events,
	       ctl_stats_depth(s->net_waiting, s->net_requests),
	       (unsigned long long)s->block_queue_events,
	       ctl_stats_depth(s->block_waiting, s->block_requests),
	       bytes(s->net_received + s->net_sent, net),
	       bytes(s->block_read + s->block_written, block));
}

/* "cpu" is in seconds, a fraction of one second for each where these are rates. */
static json_t *describe(const char *name, const struct ctl_stats *s)
{
	return json_pack(
		"{s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:{s:I, "
		"s:I}, s:{s:f, s:f}}",
		"name", name, "cpu", (double)s->cpu_us / US_PER_S, "own_bytes",
		(json_int_t)s->own_bytes, "shared_bytes", (json_int_t)s->shared_bytes, "faults",
		(json_int_t)s->faults, "net_received", (json_int_t)s->net_received, "net_sent",
		(json_int_t)s->net_sent, "block_read", (json_int_t)s->block_read, "block_written",
		(json_int_t)s->block_written, "exits", "io_in", (json_int_t)s->exit_io_in, "io_out",
		(json_int_t)s->exit_io_out, "mmio_read", (json_int_t)s->exit_mmio_read,
		"mmio_write", (json_int_t)s->exit_mmio_write, "queue_events", "net",
		(json_int_t)s->net_queue_events, "block", (json_int_t)s->block_queue_events,
		"queue_depths", "net", ctl_stats_depth(s->net_waiting, s->net_requests), "block",
		ctl_stats_depth(s->block_waiting, s->block_requests));
}

/* --- all machines --- */

/* What was seen of all at one time. */
struct round {
	json_t *names;		 /* sorted */
	struct ctl_stats *stats; /* one for each name */
	uint64_t at_us;
};

static void free_round(struct round *round)
{
	json_decref(round->names);
	free(round->stats);
	*round = (struct round){0};
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / NS_PER_US;
}

/* Of one machine, or of all that run. */
static int take_round(const char *only, struct round *round, struct error *err)
{
	json_t *names = only != NULL ? json_pack("[s]", only) : ctl_machine_names(err);
	const json_t *name;
	size_t i;

	*round = (struct round){.names = json_array(), .at_us = now_us()};
	round->stats = calloc(json_array_size(names) + 1, sizeof(*round->stats));
	if (names == NULL || round->stats == NULL) {
		json_decref(names);
		return err->msg[0] != '\0'
			       ? -1
			       : error_set(err, ERR_HOST, "There is no memory for names");
	}
	json_array_foreach(names, i, name)
	{
		size_t count = json_array_size(round->names);

		if (take_sample(json_string_value(name), &round->stats[count])) {
			json_array_append(round->names, (json_t *)name);
		}
	}
	json_decref(names);
	return 0;
}

static const struct ctl_stats *find(const struct round *round, const char *name)
{
	const json_t *other;
	size_t i;

	json_array_foreach(round->names, i, other)
	{
		if (strcmp(json_string_value(other), name) == 0) {
			return &round->stats[i];
		}
	}
	return NULL;
}

static void show_round(const struct ctl_args *args, const struct round *now,
		       const struct round *before, bool clears)
{
	void (*print)(const char *, const struct ctl_stats *) =
		before != NULL ? print_rates : print_stats;
	json_t *list = json_array();
	const json_t *name;
	size_t i;

	if (!args->run.json) {
		fputs(clears ? "\x1b[H\x1b[J" : "", stdout);
		print(NULL, NULL);
	}
	json_array_foreach(now->names, i, name)
	{
		const char *text = json_string_value(name);
		const struct ctl_stats *old = before != NULL ? find(before, text) : NULL;
		struct ctl_stats shown = now->stats[i];

		if (before != NULL) {
			shown = rates(&shown, old != NULL ? old : &shown,
				      now->at_us - before->at_us);
		}
		if (args->run.json) {
			json_array_append_new(list, describe(text, &shown));
		} else {
			print(text, &shown);
		}
	}
	if (args->run.json) {
		(void)json_dumpf(list, stdout, args->run.follow ? JSON_COMPACT : JSON_INDENT(2));
		putchar('\n');
	}
	fflush(stdout);
	json_decref(list);
}

int ctl_stats_run(const struct ctl_args *args)
{
	bool is_top = strcmp(args->command->name, "top") == 0;
	bool is_screen = isatty(STDOUT_FILENO) == 1 && !args->run.json;
	bool goes_on = args->run.follow || (is_top && is_screen);
	struct round before = {0};
	struct round now = {0};
	struct machine machine = {0};
	struct error err = {0};
	int status = 0;

	if (args->operands[0] != NULL && (ctl_machine_open(args->operands[0], &machine, &err) < 0 ||
					  ctl_machine_check_runs(&machine, &err) < 0)) {
		status = -1;
	}
	ctl_machine_close(&machine);
	if (status == 0 && is_top) {
		status = take_round(args->operands[0], &before, &err);
		poll(NULL, 0, status == 0 ? INTERVAL_MS : 0);
	}
	while (status == 0 && (status = take_round(args->operands[0], &now, &err)) == 0) {
		show_round(args, &now, is_top ? &before : NULL, goes_on && is_screen);
		free_round(&before);
		before = now;
		now = (struct round){0};
		bool has_ended = args->operands[0] != NULL && json_array_size(before.names) == 0;

		if (!goes_on || has_ended) {
			break;
		}
		poll(NULL, 0, INTERVAL_MS);
	}
	free_round(&before);
	free_round(&now);
	return status == 0 ? CTL_EXIT_OK : (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
}
