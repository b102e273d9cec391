/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the device tests against the real binary, on a machine whose /dev/kvm works: one guest does
 * much, since a boot on an emulated machine takes seconds. Static, as tests/e2e/run.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/devices/machine.h"
#include "tests/lib/runner.h"

/* A test, and the flag of the squibs that it starts. */
struct variant {
	const struct device_test *test;
	const char *flag;
};

static bool run(struct squib *squib, const void *arg)
{
	const struct variant *variant = arg;

	squib->flag = variant->flag;
	return variant->test->run(squib);
}

/* What is run a second time with PCI, as "pci: " and its name: one row of each device. */
static bool is_for_both(const char *name)
{
	static const char *const begins[] = {
		"calls: a little",
		"disks: both engines",
		"disks: overlays, both engines",
		"network: ",
		"sockets: ",
		"balloon: inflate",
		"hotplug: ",
		"many: ",
		"snapshot: disks",
		"snapshot: networks",
		"snapshot: sockets",
		"snapshot: balloon",
		"fork: ",
		"vhost: a disk of",
		"payload rings: anywhere, with anything in them, Sync",
		"payload race",
	};

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		if (strncmp(name, begins[i], strlen(begins[i])) == 0) {
			return true;
		}
	}
	return false;
}

/* Of the rows for both transports: all, or with ONCE those of PCI on x86_64, of MMIO on aarch64. */
static bool is_wanted(bool is_pci)
{
	return getenv("ONCE") == NULL || is_pci == is_x86();
}

static void try(struct runner *runner, const struct device_test *test, const char *name,
		const char *flag)
{
	bool is_payload = strncmp(test->name, "payload", strlen("payload")) == 0;
	bool is_rust = strncmp(test->name, "virtiofsd", strlen("virtiofsd")) == 0;

	if (is_rust && getenv("VIRTIOFSD") == NULL) {
		if (runner->part == NULL || strstr(name, runner->part) != NULL) {
			runner_skip(runner, name, "tools/dev/host_virtiofsd was not run");
		}
		return;
	}

	if (strstr(name, "vhost-net") != NULL && access("/dev/vhost-net", F_OK) < 0) {
		if (runner->part == NULL || strstr(name, runner->part) != NULL) {
			runner_skip(runner, name, "the host has no /dev/vhost-net");
		}
		return;
	}
	runner_run(runner, &(struct runner_test){
				   .name = name,
				   .needs = is_payload ? KVM_PAYLOAD : KVM_LINUX,
				   .timeout_s = test->timeout_s,
				   .run = run,
				   .arg = &(struct variant){test, flag},
			   });
}

int main(int argc, char **argv)
{
	static const struct device_test *const groups[] = {
		disk_tests,	network_tests,	 metadata_tests, memory_tests,	 hotplug_tests,
		many_tests,	call_tests,	 cpu_tests,	 fault_tests,	 hang_tests,
		payload_tests,	pager_tests,	 golden_tests,	 snapshot_tests, snapshot_io_tests,
		identity_tests, fork_tests,	 plug_tests,	 pmem_tests,	 vhost_tests,
		passt_tests,	kernel_net_tests};
	struct runner runner;

	if (!runner_init(&runner, argc, argv,
			 "KERNEL_DIR DEVICES_DIR GUEST_DIR LOAD_DIR "
			 "BACKENDS_DIR GT")) {
		return 2;
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (const struct device_test *test = groups[i]; test->name != NULL; test++) {
			bool is_both = is_for_both(test->name);
			char name[128];

			if (!is_both || is_wanted(false)) {
				try(&runner, test, test->name, NULL);
			}
			if (is_both && is_wanted(true)) {
				snprintf(name, sizeof(name), "pci: %s", test->name);
				try(&runner, test, name, "--enable-pci");
			}
		}
	}
	return runner_end(&runner);
}
