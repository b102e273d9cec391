/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmds_peer: the metadata service's network against the TCP of this host's kernel.
 *
 *   mmds_peer serve TAP PERCENT [partial]   answers on a TAP; so many of 100 frames are lost, and
 * as many come twice or late, each way; with `partial` the kernel leaves its checksums to the
 * device mmds_peer fetch COUNT BYTES CLIENTS [close|keep] so many replies, by so many clients at
 * once mmds_peer flood TAP COUNT               SYNs from addresses that nobody has
 *
 * `serve` reports its counters and its memory whenever it gets SIGUSR1, and ends by SIGTERM.
 */
#include "tests/mmds/mmds_peer.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "serve") == 0) {
		return cmd_serve(argc, argv);
	}
	if (argc >= 5 && strcmp(argv[1], "fetch") == 0) {
		return cmd_fetch(argc, argv);
	}
	if (argc >= 4 && strcmp(argv[1], "flood") == 0) {
		return cmd_flood(argc, argv);
	}
	fprintf(stderr, "usage: mmds_peer serve|fetch|flood ...\n");
	return 2;
}
