/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the device benchmark's runner. */
#ifndef TESTS_BENCH_DEVICES_H
#define TESTS_BENCH_DEVICES_H

#include <stdint.h>
#include <sys/types.h>

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* Serves guests on a TAP, on TCP, on a Unix socket and on a virtio socket where the host has them,
 * until it is killed. */
pid_t peer_start(const char *tap, const char *unix_path);

/* Processor time of a monitor, in nanoseconds. */
struct cpu_time {
	uint64_t vcpus;
	uint64_t others; /* kernel threads that work for it included */
};

struct cpu_time cpu_time_of(pid_t pid);

/* What KVM has counted for the guests that run now, as far as debugfs is mounted and shows it; else
 * zeroes. */
struct kvm_counts {
	uint64_t exits; /* but those for ports, where the console is */
	uint64_t interrupts;
};

struct kvm_counts kvm_counts(void);

#endif
