/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/squibctl/ctl_stats.c. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "tools/squibctl/ctl_stats.h"
#include "vmm/base/bytes.h"

Test(ctl_stats, counters_are_those_of_all_devices)
{
	struct ctl_stats stats = {0};

	ctl_stats_metrics("# TYPE squib_net_rx_bytes_bytes counter\n"
			  "squib_net_rx_bytes_bytes_total 12\n"
			  "squib_net_rx_bytes_bytes_total{device=\"eth0\"} 7\n"
			  "squib_net_rx_queue_event_total 3\n"
			  "squib_net_tx_queue_event_total 4\n"
			  "squib_block_write_bytes_total 18446744073709551615\n"
			  "squib_block_read_total 5\n"
			  "squib_block_read_seconds_total 9.5\n"
			  "squib_block_write_total 2\n"
			  "squib_block_flush_total 1\n"
			  "squib_block_remaining_reqs_total 20\n"
			  "squib_net_tx_packets_total 6\n"
			  "squib_net_tx_remaining_reqs_total 3\n"
			  "squib_vcpu_exit_io_in_total",
			  &stats);
	cr_expect_eq(stats.net_received, 12);
	cr_expect_eq(stats.net_queue_events, 7);
	cr_expect_eq(stats.block_written, UINT64_MAX);
	cr_expect_eq(stats.exit_io_in, 0);
	cr_expect_eq(ctl_stats_depth(stats.block_waiting, stats.block_requests), 2.5);
	cr_expect_eq(ctl_stats_depth(stats.net_waiting, stats.net_requests), 0.5);
}

Test(ctl_stats, a_queue_of_which_nothing_was_taken_has_no_depth)
{
	cr_expect_eq(ctl_stats_depth(0, 0), 0);
}

Test(ctl_stats, a_process_is_read_behind_its_name)
{
	struct ctl_stats stats = {0};

	ctl_stats_process(
		"7 (a) 1 2 3) S 1 7 7 0 -1 4194304 100 5 20 6 300 200 9 9 20 0 3",
		"00-ff ---p 0 [rollup]\nRss: 9 kB\nShared_Clean:  3 kB\nShared_Dirty: 4 kB\n"
		"Private_Clean: 5 kB\nPrivate_Dirty:   16 kB\n",
		&stats);
	cr_expect_eq(stats.faults, 120);
	cr_expect_eq(stats.cpu_us, 500 * 1000000ULL / (uint64_t)sysconf(_SC_CLK_TCK));
	cr_expect_eq(stats.shared_bytes, 7 * KIB);
	cr_expect_eq(stats.own_bytes, 21 * KIB);
	ctl_stats_process("", "", &stats);
	cr_expect_eq(stats.own_bytes, 0);
}
