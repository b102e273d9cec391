/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/control/telemetry.c: all groups and fields, the minute, the start, a whole
 * machine's. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "devices/legacy/serial.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/control/telemetry.h"
#include "vmm/resources/resource.h"

static struct telemetry telemetry;
static struct evloop loop;
static char path[] = "/tmp/squib_telemetry_XXXXXX";

static void set_up(void)
{
	struct error err = {0};
	const struct metric_group *groups[TELEMETRY_GROUPS_MAX];
	int fd = mkstemp(path);

	cr_assert(fd >= 0);
	close(fd);
	telemetry_init(&telemetry, groups, resource_metric_groups(groups, ARRAY_COUNT(groups)));
	cr_assert(evloop_init(&loop, &err) == 0);
	cr_assert(metrics_configure(&telemetry.metrics, &(struct metrics_config){.path = path},
				    &err) == 0,
		  "%s", err.msg);
}

static void tear_down(void)
{
	telemetry_destroy(&telemetry);
	telemetry_destroy(&telemetry);
	evloop_destroy(&loop);
	unlink(path);
}

TestSuite(telemetry, .init = set_up, .fini = tear_down, .timeout = 10);

static const char *lines(void)
{
	int fd = open(path, O_RDONLY);
	const char *text = captured(fd);

	close(fd);
	return text;
}

static void flush(void)
{
	struct error err = {0};

	cr_assert(telemetry_flush(&telemetry, &err) == 0, "%s", err.msg);
}

/*
 * Everything between the time and the values, as readers of the lines know it. The clock is there
 * only where the architecture has a PL031, as the fake one does.
 */
#define AGG "{min_us:,max_us:,sum_us:}"

static const char schema[] =
	"{utc_timestamp_ms:,"
	"api_server:{process_startup_time_us:,process_startup_time_cpu_us:},"
	"balloon:{activate_fails:,inflate_count:,stats_updates_count:,stats_update_fails:,"
	"deflate_count:,event_fails:,free_page_report_count:,free_page_report_freed:,"
	"free_page_report_fails:,free_page_hint_count:,free_page_hint_freed:,"
	"free_page_hint_fails:},"
	"block:{activate_fails:,cfg_fails:,no_avail_buffer:,event_fails:,execute_fails:,"
	"invalid_reqs_count:,flush_count:,queue_event_count:,rate_limiter_event_count:,"
	"update_count:,update_fails:,read_bytes:,write_bytes:,read_count:,write_count:,"
	"read_agg:" AGG ",write_agg:" AGG ",rate_limiter_throttled_events:,"
	"io_engine_throttled_events:,remaining_reqs_count:},"
	"deprecated_api:{deprecated_http_api_calls:},"
	"get_api_requests:{instance_info_count:,machine_cfg_count:,mmds_count:,vmm_version_count:,"
	"hotplug_memory_count:},"
	"i8042:{error_count:,missed_read_count:,missed_write_count:,read_count:,reset_count:,"
	"write_count:},"
	"rtc:{error_count:,missed_read_count:,missed_write_count:},"
	"uart:{error_count:,flush_count:,missed_read_count:,missed_write_count:,read_count:,"
	"write_count:,rate_limiter_dropped_bytes:},"
	"latencies_us:{full_create_snapshot:,diff_create_snapshot:,load_snapshot:,pause_vm:,"
	"resume_vm:,vmm_full_create_snapshot:,vmm_diff_create_snapshot:,vmm_load_snapshot:,"
	"vmm_pause_vm:,vmm_resume_vm:},"
	"logger:{missed_metrics_count:,metrics_fails:,missed_log_count:,rate_limited_log_count:},"
	"mmds:{rx_accepted:,rx_accepted_err:,rx_accepted_unusual:,rx_bad_eth:,rx_invalid_token:,"
	"rx_no_token:,rx_count:,tx_bytes:,tx_count:,tx_errors:,tx_frames:,connections_created:,"
	"connections_destroyed:},"
	"net:{activate_fails:,cfg_fails:,no_rx_avail_buffer:,no_tx_avail_buffer:,event_fails:,"
	"rx_queue_event_count:,rx_event_rate_limiter_count:,rx_rate_limiter_throttled:,"
	"rx_tap_event_count:,rx_bytes_count:,rx_packets_count:,rx_fails:,rx_count:,"
	"tap_read_fails:,tap_write_fails:,tap_write_agg:" AGG ",tx_bytes_count:,"
	"tx_malformed_frames:,tx_fails:,tx_count:,tx_packets_count:,tx_queue_event_count:,"
	"tx_rate_limiter_event_count:,tx_rate_limiter_throttled:,tx_spoofed_mac_count:,"
	"tx_remaining_reqs_count:},"
	"patch_api_requests:{drive_count:,drive_fails:,network_count:,network_fails:,"
	"machine_cfg_count:,machine_cfg_fails:,mmds_count:,mmds_fails:,hotplug_memory_count:,"
	"hotplug_memory_fails:,pmem_count:,pmem_fails:},"
	"put_api_requests:{actions_count:,actions_fails:,boot_source_count:,boot_source_fails:,"
	"drive_count:,drive_fails:,logger_count:,logger_fails:,machine_cfg_count:,"
	"machine_cfg_fails:,cpu_cfg_count:,cpu_cfg_fails:,metrics_count:,metrics_fails:,"
	"network_count:,network_fails:,mmds_count:,mmds_fails:,vsock_count:,vsock_fails:,"
	"pmem_count:,pmem_fails:,serial_count:,serial_fails:,hotplug_memory_count:,"
	"hotplug_memory_fails:},"
	"seccomp:{num_faults:},"
	"vcpu:{exit_io_in:,exit_io_out:,exit_mmio_read:,exit_mmio_write:,failures:,"
	"kvmclock_ctrl_fails:,exit_io_in_agg:" AGG ",exit_io_out_agg:" AGG
	",exit_mmio_read_agg:" AGG ",exit_mmio_write_agg:" AGG "},"
	"vmm:{panic_count:},"
	"signals:{sigbus:,sigsegv:,sigxfsz:,sigxcpu:,sigpipe:,sighup:,sigill:},"
	"vsock:{activate_fails:,cfg_fails:,rx_queue_event_fails:,tx_queue_event_fails:,"
	"ev_queue_event_fails:,muxer_event_fails:,conn_event_fails:,rx_queue_event_count:,"
	"tx_queue_event_count:,rx_bytes_count:,tx_bytes_count:,rx_packets_count:,"
	"tx_packets_count:,conns_added:,conns_killed:,conns_removed:,killq_resync:,"
	"tx_flush_fails:,tx_write_fails:,rx_read_fails:},"
	"entropy:{activate_fails:,entropy_event_fails:,entropy_event_count:,entropy_bytes:,"
	"host_rng_fails:,entropy_rate_limiter_throttled:,rate_limiter_event_count:},"
	"pmem:{activate_fails:,cfg_fails:,event_fails:,queue_event_count:,"
	"rate_limiter_throttled_events:,rate_limiter_event_count:},"
	"interrupts:{triggers:,config_updates:},"
	"memory_hotplug:{activate_fails:,queue_event_fails:,queue_event_count:,plug_agg:" AGG
	",plug_count:,plug_bytes:,plug_fails:,unplug_agg:" AGG ",unplug_count:,unplug_bytes:,"
	"unplug_fails:,unplug_discard_fails:,unplug_all_agg:" AGG ",unplug_all_count:,"
	"unplug_all_fails:,state_agg:" AGG ",state_count:,state_fails:}}";

Test(telemetry, a_line_has_every_group_and_field_in_the_known_order)
{
	static char shape[CAPTURE_LEN];
	size_t len = 0;

	flush();
	for (const char *at = lines(); *at != '\0' && *at != '\n'; at++) {
		if (*at != '"' && (*at < '0' || *at > '9' ||
				   (at[-1] != ':' && len > 0 && shape[len - 1] != ':'))) {
			shape[len++] = *at;
		}
	}
	shape[len] = '\0';
	cr_assert_str_eq(shape, schema);
}

static void count_all(void *first, size_t len)
{
	struct metric *metrics = first;

	for (size_t i = 0; i < len / sizeof(*metrics); i++) {
		metric_add(&metrics[i], 1 + i);
	}
}

Test(telemetry, every_counter_of_the_monitor_is_told_under_its_own_name)
{
	static const char *const names[] = {
		"api_server",	    "deprecated_api", "get_api_requests", "patch_api_requests",
		"put_api_requests", "latencies_us",   "seccomp",	  "vmm",
		"signals"};
	char copy[CAPTURE_LEN];

	/* Fields are in the order of their struct, so each must have its index. */
	count_all(&telemetry.api_server, sizeof(telemetry.api_server));
	count_all(&telemetry.api.deprecated, sizeof(telemetry.api.deprecated));
	count_all(&telemetry.api.get, sizeof(telemetry.api.get));
	count_all(&telemetry.api.patch, sizeof(telemetry.api.patch));
	count_all(&telemetry.api.put, sizeof(telemetry.api.put));
	count_all(&telemetry.api.latencies, sizeof(telemetry.api.latencies));
	count_all(&telemetry.seccomp, sizeof(telemetry.seccomp));
	count_all(&telemetry.vmm, sizeof(telemetry.vmm));
	count_all(&telemetry.signals, sizeof(telemetry.signals));
	flush();
	snprintf(copy, sizeof(copy), "%s", lines());
	json_t *line = json_loads(copy, 0, NULL);

	cr_assert(line != NULL);
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		json_t *group = json_object_get(line, names[i]);
		const char *name;
		json_t *value;
		json_int_t want = 1;

		cr_assert(json_object_size(group) > 0, "%s", names[i]);
		json_object_foreach(group, name, value)
		{
			cr_expect(json_integer_value(value) == want++, "%s.%s", names[i], name);
		}
	}
	json_decref(line);
}

Test(telemetry, what_the_log_lost_is_told)
{
	struct error err = {0};
	struct log_config full = {.path = "/dev/full", .level = LOG_INFO};

	cr_assert(log_configure(&full, &err) == 0);
	log_info("lost");
	log_info("lost");
	for (int i = 0; i < 15; i++) {
		log_guest_warn("x");
	}
	flush();
	cr_assert(strstr(lines(), "\"logger\":{\"missed_metrics_count\":0,\"metrics_fails\":0,"
				  "\"missed_log_count\":12,\"rate_limited_log_count\":5}") != NULL,
		  "%s", lines());
}

static uint64_t left_s(void)
{
	struct itimerspec left;

	cr_assert(timerfd_gettime(telemetry.timer.source.fd, &left) == 0);
	return (uint64_t)left.it_value.tv_sec;
}

Test(telemetry, without_a_file_nothing_wakes)
{
	struct error err = {0};

	close(telemetry.metrics.fd);
	telemetry.metrics.fd = -1;
	cr_assert(telemetry_start(&telemetry, &loop, &err) == 0, "%s", err.msg);
	cr_expect_eq(left_s(), 0);
	telemetry_pause(&telemetry);
	telemetry_resume(&telemetry);
	cr_expect_eq(left_s(), 0);
	telemetry_stop(&telemetry);
}

/* Lets the minute be over. */
static void skip_minute(void)
{
	const struct itimerspec now = {.it_value.tv_nsec = 1, .it_interval.tv_sec = 60};

	timerfd_settime(telemetry.timer.source.fd, 0, &now, NULL);
}

static void turn(void)
{
	struct error err = {0};

	cr_assert(evloop_run_once(&loop, 20, &err) == 0);
}

Test(telemetry, a_line_each_minute_but_not_while_paused)
{
	struct error err = {0};

	telemetry_pause(&telemetry);
	telemetry_resume(&telemetry);
	telemetry_stop(&telemetry);
	cr_assert(telemetry_start(&telemetry, &loop, &err) == 0, "%s", err.msg);
	cr_assert(left_s() >= 59 && left_s() <= 60);
	turn();
	cr_assert(count_of(lines(), "\n") == 0);
	skip_minute();
	turn();
	cr_assert(count_of(lines(), "\n") == 1);
	cr_assert(left_s() >= 59);
	/* The pause comes just before the handler: the expired minute is taken back. */
	skip_minute();
	usleep(1000);
	telemetry_pause(&telemetry);
	turn();
	cr_assert(count_of(lines(), "\n") == 1 && left_s() == 0);
	telemetry_resume(&telemetry);
	cr_assert(left_s() >= 59);
	skip_minute();
	turn();
	cr_assert(count_of(lines(), "\n") == 2);
	telemetry_stop(&telemetry);
	turn();
	cr_assert(count_of(lines(), "\n") == 2);
}

Test(telemetry, a_line_that_can_not_be_written_is_logged)
{
	struct error err = {0};
	int log = capture_log(LOG_INFO);
	int sink = telemetry.metrics.fd;

	cr_assert(telemetry_start(&telemetry, &loop, &err) == 0, "%s", err.msg);
	telemetry.metrics.fd = open("/dev/full", O_WRONLY);
	skip_minute();
	turn();
	cr_assert(strstr(captured(log), "Failed to write metrics: No space left") != NULL);
	close(sink);
}

Test(telemetry, the_start_is_told_by_the_launchers_clocks)
{
	static const struct {
		uint64_t ago_us; /* 0: not given; 1: a time in the future */
		uint64_t cpu_us;
		uint64_t parent_us;
		uint64_t wall_least_us;
		uint64_t cpu_least_us;
	} cases[] = {
		{0, 0, 0, 0, 0},
		{5000000, 0, 0, 5000000, 0},
		{5000000, 1, 0, 5000000, 1},
		{5000000, 0, 700000, 5000000, 700001},
		{1, UINT64_MAX, 30, 0, 30},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t now_us = clock_host.now_ns(CLOCK_MONOTONIC) / 1000;
		struct args args = {.start_time_cpu_us = cases[i].cpu_us,
				    .parent_cpu_time_us = cases[i].parent_us};

		if (cases[i].ago_us > 1) {
			args.start_time_us = now_us - cases[i].ago_us;
		} else if (cases[i].ago_us == 1) {
			args.start_time_us = now_us + 1000000;
		}
		telemetry_set_started(&telemetry, &args);
		uint64_t wall = metric_get(&telemetry.api_server.process_startup_time_us);
		uint64_t cpu = metric_get(&telemetry.api_server.process_startup_time_cpu_us);

		cr_expect(wall >= cases[i].wall_least_us &&
				  wall <= cases[i].wall_least_us + 3000000,
			  "case %zu: %llu", i, (unsigned long long)wall);
		cr_expect(cpu >= cases[i].cpu_least_us && cpu <= cases[i].cpu_least_us + 3000000,
			  "case %zu: %llu", i, (unsigned long long)cpu);
		telemetry.api_server = (struct api_server_metrics){0};
	}
}

Test(telemetry, openmetrics_has_no_family_twice)
{
	struct error err = {0};
	char *text = NULL;
	size_t len;
	unsigned families = 0;

	cr_assert(metrics_format_openmetrics(&telemetry.metrics, &text, &len, &err) == 0);
	for (const char *at = text; (at = strstr(at, "# TYPE ")) != NULL; at++) {
		char family[100] = {0};

		sscanf(at, "# TYPE %90s", family);
		strcat(family, " ");
		cr_expect(count_of(text, family) <= 3, "%s", family);
		char type[120] = {0};

		snprintf(type, sizeof(type), "# TYPE %s", family);
		cr_expect(count_of(text, type) == 1, "%s", family);
		families++;
	}
	cr_assert(families > 90, "%u", families);
	free(text);
}
