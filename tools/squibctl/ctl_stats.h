/* SPDX-License-Identifier: Apache-2.0 */
/* What machines use: squibctl stats and top. */
#ifndef TOOLS_CTL_STATS_H
#define TOOLS_CTL_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "tools/squibctl/ctl_args.h"

/* Of one machine, since it began. All but the memory only grow. */
struct ctl_stats {
	uint64_t cpu_us;
	uint64_t faults;    /* page faults of the monitor, which the guest's are a part of */
	uint64_t own_bytes; /* memory that no other process has */
	uint64_t shared_bytes;
	uint64_t net_received; /* bytes, of all interfaces */
	uint64_t net_sent;
	uint64_t block_read; /* bytes, of all drives */
	uint64_t block_written;
	uint64_t exit_io_in;
	uint64_t exit_io_out;
	uint64_t exit_mmio_read;
	uint64_t exit_mmio_write;
	uint64_t net_queue_events; /* notifications of queues */
	uint64_t block_queue_events;
	uint64_t net_requests; /* that were taken of queues: frames that were sent */
	uint64_t net_waiting;  /* those that waited when one was taken, added up */
	uint64_t block_requests;
	uint64_t block_waiting;
};

/* Takes the counters of OpenMetrics text; what it has not stays as it is. */
void ctl_stats_metrics(const char *text, struct ctl_stats *stats);

/* Takes the processor time and faults of a text of /proc/PID/stat, memory of smaps_rollup. */
void ctl_stats_process(const char *stat, const char *rollup, struct ctl_stats *stats);

/* How many waited, on average, when one was taken. */
double ctl_stats_depth(uint64_t waiting, uint64_t requests);

/* Runs the command. Returns the exit status of the process. */
int ctl_stats_run(const struct ctl_args *args);

#endif
