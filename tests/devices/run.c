/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the device tests against the real binary, on a machine whose /dev/kvm works: one guest does
 * much, since a boot on an emulated machine takes seconds. Static, as tests/e2e/run.c.
 */
#include <string.h>

#include "tests/devices/machine.h"
#include "tests/lib/runner.h"

static bool run(struct squib *squib, const void *arg)
{
	const struct device_test *test = arg;

	return test->run(squib);
}

int main(int argc, char **argv)
{
	static const struct device_test *const groups[] = {
		disk_tests,   network_tests,  metadata_tests,	 memory_tests,	 many_tests,
		call_tests,   fault_tests,    hang_tests,	 payload_tests,	 pager_tests,
		golden_tests, snapshot_tests, snapshot_io_tests, identity_tests, fork_tests};
	struct runner runner;

	if (!runner_init(&runner, argc, argv, "KERNEL_DIR DEVICES_DIR GUEST_DIR LOAD_DIR GT")) {
		return 2;
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (const struct device_test *test = groups[i]; test->name != NULL; test++) {
			bool is_payload = strncmp(test->name, "payload", strlen("payload")) == 0;

			runner_run(&runner, &(struct runner_test){
						    .name = test->name,
						    .needs = is_payload ? KVM_PAYLOAD : KVM_LINUX,
						    .timeout_s = test->timeout_s,
						    .run = run,
						    .arg = test,
					    });
		}
	}
	return runner_end(&runner);
}
