/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of metrics as those who collect them read them: JSON, with a fixed set of groups and
 * fields. [compat] Collectors refuse unknown names and miss absent ones.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/api/script.h"

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	FIELDS_LEN = 1024,
	LINES_AFTER_MS = 100,
	CLOCK_SLACK_MS = 60000
};

static const struct group {
	const char *name;
	const char *arch;   /* which must have it: an architecture, or "any"; NULL: may */
	const char *fields; /* an object where they end in _agg, else a number */
} groups[] = {
	{"api_server", "any", "process_startup_time_us process_startup_time_cpu_us"},
	{"deprecated_api", "any", "deprecated_http_api_calls"},
	{"get_api_requests", "any",
	 "instance_info_count machine_cfg_count mmds_count vmm_version_count hotplug_memory_count"},
	{"i8042", "x86_64",
	 "error_count missed_read_count missed_write_count read_count reset_count write_count"},
	{"latencies_us", "any",
	 "full_create_snapshot diff_create_snapshot load_snapshot pause_vm resume_vm "
	 "vmm_full_create_snapshot vmm_diff_create_snapshot vmm_load_snapshot vmm_pause_vm "
	 "vmm_resume_vm"},
	{"logger", "any",
	 "missed_metrics_count metrics_fails missed_log_count rate_limited_log_count"},
	{"patch_api_requests", "any",
	 "drive_count drive_fails network_count network_fails machine_cfg_count machine_cfg_fails "
	 "mmds_count mmds_fails hotplug_memory_count hotplug_memory_fails pmem_count pmem_fails"},
	{"put_api_requests", "any",
	 "actions_count actions_fails boot_source_count boot_source_fails drive_count drive_fails "
	 "logger_count logger_fails machine_cfg_count machine_cfg_fails cpu_cfg_count "
	 "cpu_cfg_fails metrics_count metrics_fails network_count network_fails mmds_count "
	 "mmds_fails vsock_count vsock_fails pmem_count pmem_fails serial_count serial_fails "
	 "hotplug_memory_count hotplug_memory_fails"},
	{"rtc", "aarch64", "error_count missed_read_count missed_write_count"},
	{"seccomp", "any", "num_faults"},
	{"signals", "any", "sigbus sigsegv sigxfsz sigxcpu sigpipe sighup sigill"},
	{"uart", "any",
	 "error_count flush_count missed_read_count missed_write_count read_count write_count "
	 "rate_limiter_dropped_bytes"},
	{"vcpu", "any",
	 "exit_io_in exit_io_out exit_mmio_read exit_mmio_write failures kvmclock_ctrl_fails "
	 "exit_io_in_agg exit_io_out_agg exit_mmio_read_agg exit_mmio_write_agg"},
	{"vmm", "any", "panic_count"},
	/* of devices, whether or not there are any */
	{"balloon", "any",
	 "activate_fails inflate_count stats_updates_count stats_update_fails deflate_count "
	 "event_fails free_page_report_count free_page_report_freed free_page_report_fails "
	 "free_page_hint_count free_page_hint_freed free_page_hint_fails"},
	{"block", "any",
	 "activate_fails cfg_fails no_avail_buffer event_fails execute_fails invalid_reqs_count "
	 "flush_count queue_event_count rate_limiter_event_count update_count update_fails "
	 "read_bytes write_bytes read_count write_count read_agg write_agg "
	 "rate_limiter_throttled_events io_engine_throttled_events remaining_reqs_count"},
	{"entropy", "any",
	 "activate_fails entropy_event_fails entropy_event_count entropy_bytes host_rng_fails "
	 "entropy_rate_limiter_throttled rate_limiter_event_count"},
	{"interrupts", "any", "triggers config_updates"},
	{"memory_hotplug", "any",
	 "activate_fails queue_event_fails queue_event_count plug_count plug_bytes plug_fails "
	 "plug_agg unplug_count unplug_bytes unplug_fails unplug_discard_fails unplug_agg "
	 "state_count state_fails state_agg unplug_all_count unplug_all_fails unplug_all_agg"},
	{"mmds", "any",
	 "rx_accepted rx_accepted_err rx_accepted_unusual rx_bad_eth rx_invalid_token rx_no_token "
	 "rx_count tx_bytes tx_count tx_errors tx_frames connections_created "
	 "connections_destroyed"},
	{"net", "any",
	 "activate_fails cfg_fails no_rx_avail_buffer no_tx_avail_buffer event_fails "
	 "rx_queue_event_count rx_event_rate_limiter_count rx_rate_limiter_throttled "
	 "rx_tap_event_count rx_bytes_count rx_packets_count rx_fails rx_count tap_read_fails "
	 "tap_write_fails tap_write_agg tx_bytes_count tx_malformed_frames tx_fails tx_count "
	 "tx_packets_count tx_queue_event_count tx_rate_limiter_event_count "
	 "tx_rate_limiter_throttled tx_spoofed_mac_count tx_remaining_reqs_count"},
	{"pmem", "any",
	 "activate_fails cfg_fails event_fails queue_event_count rate_limiter_throttled_events "
	 "rate_limiter_event_count"},
	{"vsock", "any",
	 "activate_fails cfg_fails rx_queue_event_fails tx_queue_event_fails ev_queue_event_fails "
	 "muxer_event_fails conn_event_fails rx_queue_event_count tx_queue_event_count "
	 "rx_bytes_count tx_bytes_count rx_packets_count tx_packets_count conns_added conns_killed "
	 "conns_removed killq_resync tx_flush_fails tx_write_fails rx_read_fails"},
};

static bool is_aggregate(const json_t *json)
{
	return json_object_size(json) == 3 && json_is_integer(json_object_get(json, "min_us")) &&
	       json_is_integer(json_object_get(json, "max_us")) &&
	       json_is_integer(json_object_get(json, "sum_us"));
}

static bool check_group(struct script *script, const struct group *group, const json_t *json)
{
	char fields[FIELDS_LEN];
	size_t count = 0;

	snprintf(fields, sizeof(fields), "%s", group->fields);
	for (char *field = strtok(fields, " "); field != NULL; field = strtok(NULL, " ")) {
		const json_t *value = json_object_get(json, field);
		size_t len = strlen(field);
		bool is_agg = len > 4 && strcmp(field + len - 4, "_agg") == 0;

		if (is_agg ? !is_aggregate(value) : !json_is_integer(value)) {
			return script_fail(script, "%s.%s is missing or of another type",
					   group->name, field);
		}
		count++;
	}
	return json_object_size(json) == count ||
	       script_fail(script, "%s has %zu fields in place of %zu", group->name,
			   json_object_size(json), count);
}

/* "block", or "block_rootfs" of one drive. */
static bool is_of_group(const struct group *group, const char *key)
{
	size_t len = strlen(group->name);
	bool has_parts = strcmp(group->name, "block") == 0 || strcmp(group->name, "net") == 0;

	return strncmp(key, group->name, len) == 0 &&
	       (key[len] == '\0' || (has_parts && key[len] == '_'));
}

/* Every member of the line is known, and the timestamp is now. */
static bool check_members(struct script *script, json_t *line)
{
	const char *key;
	json_t *value;
	json_int_t stamp = json_integer_value(json_object_get(line, "utc_timestamp_ms"));
	json_int_t now = (json_int_t)time(NULL) * 1000;

	if (stamp < now - CLOCK_SLACK_MS || stamp > now + CLOCK_SLACK_MS) {
		return script_fail(script, "utc_timestamp_ms is not now");
	}
	json_object_foreach(line, key, value)
	{
		size_t i = 0;

		if (strcmp(key, "utc_timestamp_ms") == 0 || strcmp(key, "id") == 0 ||
		    strcmp(key, "properties") == 0) {
			continue;
		}
		while (i < ARRAY_COUNT(groups) && !is_of_group(&groups[i], key)) {
			i++;
		}
		if (i == ARRAY_COUNT(groups)) {
			return script_fail(script, "%s is no group of metrics", key);
		}
		if (!check_group(script, &groups[i], value)) {
			return false;
		}
	}
	return true;
}

static bool check_line(struct script *script, json_t *line)
{
	const char *arch = is_x86() ? "x86_64" : "aarch64";

	for (size_t i = 0; i < ARRAY_COUNT(groups); i++) {
		bool must = groups[i].arch != NULL && (strcmp(groups[i].arch, "any") == 0 ||
						       strcmp(groups[i].arch, arch) == 0);

		if (must && json_object_get(line, groups[i].name) == NULL) {
			return script_fail(script, "the group %s is missing", groups[i].name);
		}
	}
	return check_members(script, line);
}

static unsigned count_lines(const struct script *script)
{
	size_t len = 0;
	unsigned count = 0;
	char *content = squib_file(&script->squib, "metrics", &len);

	for (size_t i = 0; content != NULL && i < len; i++) {
		count += content[i] == '\n' ? 1 : 0;
	}
	free(content);
	return count;
}

/* Line `number`, from 1, parsed; NULL: there is none, or it is no JSON. */
static json_t *load_line(const struct script *script, unsigned number)
{
	size_t len = 0;
	char *content = squib_file(&script->squib, "metrics", &len);
	char *at = content;

	while (at != NULL && --number > 0) {
		at = strchr(at, '\n');
		at = at != NULL ? at + 1 : NULL;
	}
	json_t *line =
		at != NULL ? json_loadb(at, strcspn(at, "\n"), JSON_REJECT_DUPLICATES, NULL) : NULL;

	free(content);
	return line;
}

bool metrics_lines(struct script *script, const char *rest)
{
	uint64_t deadline = now_ms() + PATIENCE_MS;
	unsigned expected = (unsigned)strtoul(rest, NULL, 10);
	bool ok = true;

	while (count_lines(script) < expected && now_ms() < deadline) {
		sleep_ms(10);
	}
	sleep_ms(LINES_AFTER_MS);
	unsigned count = count_lines(script);

	if (count != expected) {
		return script_fail(script, "%u lines of metrics in place of %u", count, expected);
	}
	for (unsigned i = 1; i <= count && ok; i++) {
		json_t *line = load_line(script, i);

		ok = line != NULL ? check_line(script, line)
				  : script_fail(script, "line %u is no JSON object", i);
		json_decref(line);
	}
	return ok;
}

bool metrics_value(struct script *script, const char *rest)
{
	char *end;
	char path[128];
	unsigned number = (unsigned)strtoul(rest, &end, 10);
	const char *value = *end == ' ' ? strrchr(end + 1, ' ') : NULL;

	if (number == 0 || value == NULL) {
		return script_fail(script, "not: metric LINE GROUP.FIELD VALUE");
	}
	snprintf(path, sizeof(path), "%.*s", (int)(value - end - 1), end + 1);
	json_t *line = load_line(script, number);
	json_t *json = line;

	for (char *name = strtok(path, "."); name != NULL; name = strtok(NULL, ".")) {
		json = json_object_get(json, name);
	}
	char *got = json != NULL ? json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	bool is_some = strcmp(value + 1, "some") == 0 && json_integer_value(json) > 0;
	bool is_same = got != NULL && (is_some || strcmp(got, value + 1) == 0);

	if (!is_same) {
		script_fail(script, "it is %s", got != NULL ? got : "missing");
	}
	free(got);
	json_decref(line);
	return is_same;
}
