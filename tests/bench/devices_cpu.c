/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processor time of a monitor by the role of its threads, and KVM's counts.
 *
 * Theory of operation. The process's clock has all of it, also of threads that are gone (the
 * kernel's workers for io_uring come and go); vCPU threads are told by their names, and their
 * schedstat has the time to the nanosecond. vhost's workers are threads of the kernel, named after
 * the process that they work for.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/devices.h"

/* The first word of a file, up to its end of line; "" if there is none. */
static void read_line(const char *path, char *line, size_t len)
{
	FILE *file = fopen(path, "re");

	line[0] = '\0';
	if (file != NULL) {
		if (fgets(line, (int)len, file) != NULL) {
			line[strcspn(line, "\n")] = '\0';
		}
		fclose(file);
	}
}

typedef int name_test(const char *comm, pid_t pid);

static int is_vcpu(const char *comm, pid_t pid)
{
	(void)pid;
	return strncmp(comm, "fc_vcpu", 7) == 0 || strncmp(comm, "CPU ", 4) == 0;
}

static int is_vhost(const char *comm, pid_t pid)
{
	char name[32];

	snprintf(name, sizeof(name), "vhost-%d", (int)pid);
	return strcmp(comm, name) == 0;
}

/* Of all tasks in a directory whose names pass the test. */
static uint64_t sum_up(const char *dir, name_test *test, pid_t pid)
{
	DIR *tasks = opendir(dir);
	uint64_t sum = 0;

	for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
		char path[320];
		char line[128];

		if (task->d_name[0] < '0' || task->d_name[0] > '9') {
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s/comm", dir, task->d_name);
		read_line(path, line, sizeof(line));
		if (test(line, pid)) {
			snprintf(path, sizeof(path), "%s/%s/schedstat", dir, task->d_name);
			read_line(path, line, sizeof(line));
			sum += strtoull(line, NULL, 10);
		}
	}
	if (tasks != NULL) {
		closedir(tasks);
	}
	return sum;
}

struct cpu_time cpu_time_of(pid_t pid)
{
	struct timespec all = {0};
	struct cpu_time time;
	clockid_t clock;
	char dir[64];

	snprintf(dir, sizeof(dir), "/proc/%d/task", (int)pid);
	time.vcpus = sum_up(dir, is_vcpu, pid);
	if (clock_getcpuclockid(pid, &clock) == 0) {
		clock_gettime(clock, &all);
	}
	time.others = (uint64_t)all.tv_sec * 1000000000 + (uint64_t)all.tv_nsec - time.vcpus +
		      sum_up("/proc", is_vhost, pid);
	return time;
}

static uint64_t kvm_count(const char *name)
{
	char path[64];
	char line[32];

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%s", name);
	read_line(path, line, sizeof(line));
	return strtoull(line, NULL, 10);
}

struct kvm_counts kvm_counts(void)
{
	return (struct kvm_counts){
		.exits = kvm_count("exits") - kvm_count("io_exits"),
		.interrupts = kvm_count("irq_injections"),
	};
}
