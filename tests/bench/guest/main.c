/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side of the benchmarks: operations PART..., where a part is disk, net, tcp, vsock,
 * beside, http=ADDRESS or files=DEVICE.
 *
 * Theory of operation. The runner on the host (tests/bench/devices.c) reads the console: "bench:
 * begin ROW" and "bench: end ROW COUNT NANOSECONDS". After each of them the guest waits a little,
 * so that the runner has looked at the monitor's processor time before the next operation, and the
 * console's own cost is in no row.
 */
#include "tests/bench/guest/operations.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	SETTLE_US = 20000,
};

static char current[64];
static uint64_t began_ns;

void die(const char *format, ...)
{
	int sys = errno;
	va_list args;

	va_start(args, format);
	printf("bench: failed: ");
	vprintf(format, args);
	printf(" (%s)\n", strerror(sys));
	va_end(args);
	exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void ops_begin(const char *row)
{
	snprintf(current, sizeof(current), "%s", row);
	printf("bench: begin %s\n", row);
	usleep(SETTLE_US);
	began_ns = now_ns();
}

void ops_end(unsigned count)
{
	uint64_t took_ns = now_ns() - began_ns;

	printf("bench: end %s\t%u\t%llu\n", current, count, (unsigned long long)took_ns);
	usleep(SETTLE_US);
}

void ops_value(const char *row, long value)
{
	printf("bench: value %s\t1\t%ld\n", row, value);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "disk") == 0) {
			disk_measure("/dev/vda");
		} else if (strcmp(argv[i], "beside") == 0) {
			disk_measure_beside("/dev/vda", "eth0");
		} else if (strcmp(argv[i], "net") == 0) {
			net_measure("eth0");
		} else if (strcmp(argv[i], "tcp") == 0) {
			stream_measure("net TSO", tcp_connect("10.9.0.1", OPS_PORT));
		} else if (strcmp(argv[i], "vsock") == 0) {
			stream_measure("vsock", vsock_connect());
		} else if (strncmp(argv[i], "http=", 5) == 0) {
			http_measure(argv[i] + 5);
		} else if (strncmp(argv[i], "files=", 6) == 0) {
			files_measure(argv[i] + 6);
		} else {
			die("no such part: %s", argv[i]);
		}
	}
	printf("bench: done\n");
	return EXIT_SUCCESS;
}
