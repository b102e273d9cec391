/* SPDX-License-Identifier: Apache-2.0 */
/* All metrics of the process in their order, the sink's schedule, and the monitor's own counters.
 */
#ifndef VMM_TELEMETRY_H
#define VMM_TELEMETRY_H

#include "vmm/args.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"
#include "vmm/base/metrics.h"
#include "vmm/control/process_metrics.h"

enum {
	TELEMETRY_GROUPS_MAX = 32,
	TELEMETRY_SOURCES_MAX = 16,
	TELEMETRY_PERIOD_S = 60, /* [compat] */
};

struct telemetry {
	struct metrics metrics; /* devices and vCPUs list theirs here */
	const struct metric_group *groups[TELEMETRY_GROUPS_MAX]; /* in the order of a line */
	size_t group_count;
	struct metric_source sources[TELEMETRY_SOURCES_MAX];
	struct ev_timer timer; /* made while it is started; VMM thread only */
	/* counted into by anyone */
	struct api_server_metrics api_server;
	struct api_metrics api;
	struct seccomp_metrics seccomp;
	struct vmm_metrics vmm;
	struct signal_metrics signals;
};

/*
 * `devices` are the groups of all virtio devices, which a line has whether or not the machine has
 * such a device. Before other threads start.
 */
void telemetry_init(struct telemetry *telemetry, const struct metric_group *const devices[],
		    size_t device_count);

/* No thread may count any more. A zeroed one is fine. */
void telemetry_destroy(struct telemetry *telemetry);

/*
 * How long the start took, as the launcher's clocks tell (--start-time-us and its like); without
 * them it is not told. Once, when the process can serve its client.
 */
void telemetry_set_started(struct telemetry *telemetry, const struct args *args);

/*
 * A line each minute from now on, except between pause and resume; resume begins a new minute. Not
 * where there is no file for lines. All on the VMM thread; stop, pause and resume do nothing where
 * it was not started.
 */
MUST_CHECK int telemetry_start(struct telemetry *telemetry, struct evloop *loop, struct error *err);
void telemetry_stop(struct telemetry *telemetry);
void telemetry_pause(struct telemetry *telemetry);
void telemetry_resume(struct telemetry *telemetry);

/* A line now: metrics_flush. To be called when the VM has started and before it is destroyed. */
MUST_CHECK int telemetry_flush(struct telemetry *telemetry, struct error *err);

#endif
