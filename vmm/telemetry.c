/* SPDX-License-Identifier: Apache-2.0 */
/* The order of all groups, and when lines are written. */
#include "vmm/telemetry.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "arch/arch.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/blk.h"
#include "devices/virtio/net.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/virtio.h"
#include "devices/virtio/vsock.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/vcpu.h"

/* The order of a line's objects is what its readers know [compat]. */
static const struct metric_group *const groups_in_order[] = {
	&api_server_metric_group, &balloon_metric_group,
	&blk_metric_group,	  &deprecated_api_metric_group,
	&get_api_metric_group,	  &i8042_metric_group,
	&latencies_metric_group,  &logger_metric_group,
	&net_metric_group,	  &patch_api_metric_group,
	&put_api_metric_group,	  &seccomp_metric_group,
	&vmm_metric_group,	  &signal_metric_group,
	&vcpu_metric_group,	  &serial_metric_group,
	&rtc_pl031_metric_group,  &vsock_metric_group,
	&rng_metric_group,	  &interrupt_metric_group,
};

_Static_assert(ARRAY_COUNT(groups_in_order) <= TELEMETRY_GROUPS_MAX, "groups fit");

/* All groups are there whether or not a machine uses them; only the clock is one architecture's. */
static bool is_told(const struct metric_group *group)
{
	size_t count;
	const struct platform_dev *slots = arch_platform_slots(&count);
	bool has_rtc = false;

	for (size_t i = 0; i < count; i++) {
		has_rtc |= slots[i].kind == PLATFORM_RTC_PL031;
	}
	return group != &rtc_pl031_metric_group || has_rtc;
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

void telemetry_init(struct telemetry *telemetry)
{
	size_t count = 0;

	*telemetry = (struct telemetry){.timer = {.fd = -1}};
	for (size_t i = 0; i < ARRAY_COUNT(groups_in_order); i++) {
		if (is_told(groups_in_order[i])) {
			telemetry->groups[count++] = groups_in_order[i];
		}
	}
	metrics_init(&telemetry->metrics, telemetry->groups, count);
	add_sources(telemetry);
}

void telemetry_destroy(struct telemetry *telemetry)
{
	telemetry_stop(telemetry);
	metrics_destroy(&telemetry->metrics);
}

/* Microseconds of `id` since `start_us`; 0 for a start in the future, which is a lie. */
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

static void on_timer(struct ev_source *source, uint32_t ready)
{
	struct telemetry *telemetry = container_of(source, struct telemetry, timer);
	uint64_t expirations;
	struct error err = {0};

	(void)ready;
	if (read(source->fd, &expirations, sizeof(expirations)) < 0) {
		return; /* paused since */
	}
	if (telemetry_flush(telemetry, &err) < 0) {
		log_error("%s", err.msg);
	}
}

static void set_period(struct telemetry *telemetry, time_t seconds)
{
	const struct itimerspec period = {.it_value.tv_sec = seconds,
					  .it_interval.tv_sec = seconds};

	if (telemetry->loop != NULL) {
		timerfd_settime(telemetry->timer.fd, 0, &period, NULL);
	}
}

int telemetry_start(struct telemetry *telemetry, struct evloop *loop, struct error *err)
{
	struct ev_source *timer = &telemetry->timer;

	timer->fn = on_timer;
	timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer->fd < 0) {
		return error_sys(err, "Cannot create the timer of metrics");
	}
	if (ev_add(loop, timer, EPOLLIN, err) < 0) {
		fd_close(&timer->fd);
		return -1;
	}
	telemetry->loop = loop;
	set_period(telemetry, TELEMETRY_PERIOD_S);
	return 0;
}

void telemetry_stop(struct telemetry *telemetry)
{
	if (telemetry->loop != NULL) {
		ev_del(telemetry->loop, &telemetry->timer);
		fd_close(&telemetry->timer.fd);
		telemetry->loop = NULL;
	}
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
