/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the device tests against the real binary, on a machine whose /dev/kvm works: one guest does
 * much, since a boot on an emulated machine takes seconds. Static, as tests/e2e/run.c.
 */
#include <string.h>

#include "tests/devices/machine.h"
#include "tests/lib/runner.h"

static void run(struct runner *runner, const struct device_test *test)
{
	static struct squib squib;
	bool is_ok = squib_init(&squib, test->timeout_s) && test->run(&squib);

	if (!runner_judge(runner, test->name, is_ok, squib.failure)) {
		squib_show(&squib, "out");
		squib_show(&squib, "log");
		squib_show(&squib, "host");
	}
	squib_destroy(&squib);
}

int main(int argc, char **argv)
{
	static const struct device_test *const groups[] = {
		disk_tests,   network_tests,  metadata_tests,	 memory_tests,	many_tests,
		call_tests,   fault_tests,    hang_tests,	 payload_tests, pager_tests,
		golden_tests, snapshot_tests, snapshot_io_tests, identity_tests};
	struct runner runner;

	if (!runner_init(&runner, argc, argv, "KERNEL_DIR DEVICES_DIR GUEST_DIR LOAD_DIR GT")) {
		return 2;
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (const struct device_test *test = groups[i]; test->name != NULL; test++) {
			bool is_payload = strncmp(test->name, "payload", strlen("payload")) == 0;

			if (runner_begins(&runner, test->name,
					  is_payload ? KVM_PAYLOAD : KVM_LINUX)) {
				run(&runner, test);
			}
		}
	}
	return runner_end(&runner);
}
