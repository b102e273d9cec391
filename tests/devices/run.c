/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the device tests against the real binary, on a machine whose /dev/kvm works: one guest does
 * much, since a boot on an emulated machine takes seconds. Static, as tests/e2e/run.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/devices/machine.h"

enum {
	SHOWN_MAX = 3000
};

static void show_end(const struct machine *machine, const char *name)
{
	size_t len = 0;
	char *text = squib_file(&machine->squib, name, &len);

	printf("--- its %s ends:\n%s\n", name,
	       text == NULL ? "" : text + (len > SHOWN_MAX ? len - SHOWN_MAX : 0));
	free(text);
}

static bool judge(const struct device_test *test)
{
	static struct machine machine;
	uint64_t begin = now_ms();
	bool ok = machine_init(&machine, test->timeout_s) && test->run(&machine);

	if (ok) {
		printf("ok    %s (%llu ms)\n", test->name, (unsigned long long)(now_ms() - begin));
	} else {
		printf("FAIL  %s: %s\n", test->name, machine.failure);
		show_end(&machine, "out");
		show_end(&machine, "log");
		show_end(&machine, "host");
	}
	machine_destroy(&machine);
	return ok;
}

int main(int argc, char **argv)
{
	static const struct device_test *const groups[] = {disk_tests, network_tests, memory_tests,
							   many_tests, call_tests,    fault_tests,
							   hang_tests, payload_tests};
	enum kvm_kind kind = env_kvm_kind();
	unsigned counts[3] = {0};

	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		fprintf(stderr,
			"usage: %s [PART_OF_A_NAME]\n"
			"environment: SQUIB KVM_KIND (none, payload, linux) KERNEL_DIR "
			"DEVICES_DIR GUEST_DIR LOAD_DIR GT\n",
			argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		enum kvm_kind needs = groups[i] == payload_tests ? KVM_PAYLOAD : KVM_LINUX;

		for (const struct device_test *test = groups[i]; test->name != NULL; test++) {
			if (argc == 2 && strstr(test->name, argv[1]) == NULL) {
				continue;
			}
			if (kind < needs) {
				printf("skip  %s: %s\n", test->name,
				       needs == KVM_LINUX ? "kvm-linux" : "kvm-payload");
				counts[2]++;
			} else {
				counts[judge(test) ? 0 : 1]++;
			}
		}
	}
	printf("%u passed, %u failed, %u skipped\n", counts[0], counts[1], counts[2]);
	return counts[1] > 0;
}
