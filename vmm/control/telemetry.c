/* SPDX-License-Identifier: Apache-2.0 */
/* Which groups of metrics there are, in which order, and when lines are written. */
#include "vmm/control/telemetry.h"

#include <string.h>

#include "arch/arch.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/machine/vcpu.h"

/* The groups that are not of virtio devices. */
static const struct metric_group *const own_groups[] = {
	&api_server_metric_group, &deprecated_api_metric_group, &get_api_metric_group,
	&i8042_metric_group,	  &latencies_metric_group,	&logger_metric_group,
	&patch_api_metric_group,  &put_api_metric_group,	&seccomp_metric_group,
	&vmm_metric_group,	  &signal_metric_group,		&vcpu_metric_group,
	&serial_metric_group,	  &rtc_pl031_metric_group,	&interrupt_metric_group,
};

/* The order of a line's objects is what its readers know [compat]. Other groups come last. */
static const char *const order[] = {
	"api_server",
	"balloon",
	"block",
	"deprecated_api",
	"get_api_requests",
	"i8042",
	"rtc",
	"uart",
	"latencies_us",
	"logger",
	"mmds",
	"net",
	"patch_api_requests",
	"put_api_requests",
	"seccomp",
	"vcpu",
	"vmm",
	"signals",
	"vsock",
	"entropy",
	"pmem",
	"interrupts",
	"memory_hotplug",
};

/* Where a group belongs among the others. */
static size_t rank(const struct metric_group *group)
{
	size_t i = 0;

	while (i < ARRAY_COUNT(order) && strcmp(order[i], group->name) != 0) {
		i++;
	}
	return i;
}

/* All groups are there whether or not a machine uses them; only the clock is one architecture's. */
static bool is_shown(const struct metric_group *group)
{
	size_t count;
	const struct platform_dev *slots = arch_platform_slots(&count);
	bool has_rtc = false;

	for (size_t i = 0; i < count; i++) {
		has_rtc |= slots[i].kind == PLATFORM_RTC_PL031;
	}
	return group != &rtc_pl031_metric_group || has_rtc;
}

/* Inserts a group into the list, which is sorted by rank; `ranks` has those of the list. */
static void add_group(struct telemetry *telemetry, size_t ranks[TELEMETRY_GROUPS_MAX],
		      const struct metric_group *group)
{
	size_t at = telemetry->group_count;
	size_t own = rank(group);

	if (!is_shown(group) || at == TELEMETRY_GROUPS_MAX) {
		return;
	}
	for (; at > 0 && ranks[at - 1] > own; at--) {
		telemetry->groups[at] = telemetry->groups[at - 1];
		ranks[at] = ranks[at - 1];
	}
	telemetry->groups[at] = group;
	ranks[at] = own;
	telemetry->group_count++;
}

static void add_sources(struct telemetry *telemetry)
{
	struct api_metrics *api = &telemetry->api;
	const struct {
		const struct metric_group *group;
		void *values;
	} own[] = {
		{&api_server_metric_group, &telemetry->api_server},
		{&deprecated_api_metric_group, &api->deprecated},
		{&get_api_metric_group, &api->get},
		{&patch_api_metric_group, &api->patch},
		{&put_api_metric_group, &api->put},
		{&latencies_metric_group, &api->latencies},
		{&logger_metric_group, log_metrics()},
		{&logger_metric_group, &telemetry->metrics.losses},
		{&seccomp_metric_group, &telemetry->seccomp},
		{&vmm_metric_group, &telemetry->vmm},
		{&signal_metric_group, &telemetry->signals},
	};

	_Static_assert(ARRAY_COUNT(own) <= TELEMETRY_SOURCES_MAX, "sources fit");
	for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
		metrics_add(&telemetry->metrics, &telemetry->sources[i], own[i].group,
			    own[i].values);
	}
}

static void on_timer(struct ev_timer *timer)
{
	struct telemetry *telemetry = container_of(timer, struct telemetry, timer);
	struct error err = {0};

	if (telemetry_flush(telemetry, &err) < 0) {
		log_error("%s", err.msg);
	}
}

void telemetry_init(struct telemetry *telemetry, const struct metric_group *const devices[],
		    size_t device_count)
{
	size_t ranks[TELEMETRY_GROUPS_MAX] = {0};

	*telemetry = (struct telemetry){.timer = {.fn = on_timer}};
	for (size_t i = 0; i < ARRAY_COUNT(own_groups); i++) {
		add_group(telemetry, ranks, own_groups[i]);
	}
	for (size_t i = 0; i < device_count; i++) {
		add_group(telemetry, ranks, devices[i]);
	}
	metrics_init(&telemetry->metrics, telemetry->groups, telemetry->group_count);
	add_sources(telemetry);
}

void telemetry_destroy(struct telemetry *telemetry)
{
	telemetry_stop(telemetry);
	metrics_destroy(&telemetry->metrics);
}

/* Microseconds of the clock `id` since `start_us`; 0 if the launcher's time lies in the future. */
static uint64_t us_since(clockid_t id, uint64_t start_us)
{
	uint64_t now_us = clock_host.now_ns(id) / 1000;

	return now_us > start_us ? now_us - start_us : 0;
}

void telemetry_set_started(struct telemetry *telemetry, const struct args *args)
{
	struct api_server_metrics *metrics = &telemetry->api_server;

	if (args->start_time_us != 0) {
		metric_set(&metrics->process_startup_time_us,
			   us_since(CLOCK_MONOTONIC, args->start_time_us));
	}
	if (args->start_time_cpu_us != 0 || args->parent_cpu_time_us != 0) {
		metric_set(&metrics->process_startup_time_cpu_us,
			   us_since(CLOCK_PROCESS_CPUTIME_ID, args->start_time_cpu_us) +
				   args->parent_cpu_time_us);
	}
}

/* Without a place for lines the VMM thread sleeps: none comes once the machine has started. */
static void set_period(struct telemetry *telemetry, uint64_t seconds)
{
	if (telemetry->timer.is_made && telemetry->metrics.fd >= 0) {
		ev_timer_set(&telemetry->timer, seconds * NS_PER_S, seconds * NS_PER_S);
	}
}

int telemetry_start(struct telemetry *telemetry, struct evloop *loop, struct error *err)
{
	if (ev_timer_init(&telemetry->timer, loop, err) < 0) {
		return error_wrap(err, "Cannot write metrics each minute");
	}
	set_period(telemetry, TELEMETRY_PERIOD_S);
	return 0;
}

void telemetry_stop(struct telemetry *telemetry)
{
	ev_timer_destroy(&telemetry->timer);
}

void telemetry_pause(struct telemetry *telemetry)
{
	set_period(telemetry, 0);
}

void telemetry_resume(struct telemetry *telemetry)
{
	set_period(telemetry, TELEMETRY_PERIOD_S);
}

int telemetry_flush(struct telemetry *telemetry, struct error *err)
{
	return metrics_flush(&telemetry->metrics, err);
}
