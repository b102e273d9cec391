/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is plugged in under Linux and unplugged, in machines that are saved and forked. */
#include <stdlib.h>
#include <string.h>

#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	MEM_MIB = 192,
	TOTAL_MIB = 512,
	PLUGGED_MIB = 256,
	FORKED_MIB = 128,
	RESIZE_MS = 120000,
};

static long resident_mib(const struct squib *squib)
{
	return proc_status_field(squib->pid, "VmRSS") / 1024;
}

static bool request(struct squib *squib, long mib)
{
	return squib_patch(squib, "/hotplug/memory", "{\"requested_size_mib\": %ld}", mib);
}

/* Waits until the guest has just that much. */
static bool reaches(struct squib *squib, long mib)
{
	uint64_t until = now_ms() + RESIZE_MS;

	while (squib_api(squib, 200, "GET", "/hotplug/memory", "%s", "")) {
		if (squib_answer_number(squib, "plugged_size_mib") == mib) {
			return true;
		}
		if (now_ms() > until) {
			return squib_fail(squib, "the guest does not get to %ld MiB: %s", mib,
					  squib->answer);
		}
		sleep_ms(100);
	}
	return false;
}

static bool resize(struct squib *squib, const char *at, long mib)
{
	return machine_meet(squib, at) && request(squib, mib) && reaches(squib, mib) &&
	       machine_go_on(squib);
}

/* The child has what its parent had, and its guest goes on. */
static bool fork_once(struct squib *squib)
{
	uint64_t until = now_ms() + RESIZE_MS;
	bool is_said = false;

	if (!squib_expect(squib, "ready: to be forked", NULL) ||
	    !squib_api(squib, 200, "PUT", "/fork",
		       "{\"children\": [{\"id\": \"a\", \"api_sock\": \"a.sock\", "
		       "\"serial_out_path\": \"a.out\", \"ends_with_parent\": true}]}") ||
	    !squib_child(squib, "a", 200, "GET", "/hotplug/memory", "")) {
		return false;
	}
	while (!is_said && now_ms() < until) {
		char *text = squib_text(squib, "a.out");
		bool is_wrong = text != NULL && strstr(text, "WRONG:") != NULL;

		is_said = text != NULL && strstr(text, "kept: ok") != NULL;
		free(text);
		if (is_wrong) {
			break;
		}
		sleep_ms(100);
	}
	if (!is_said) {
		squib_show(squib, "a.out");
	}
	return is_said || squib_fail(squib, "the guest of the child does not go on");
}

static bool run_hotplug(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = MEM_MIB,
				    .script = "/tests/hotplug.sh",
				    .root = machine_root()};

	if (!machine_configure(squib, &guest) ||
	    !squib_patch(squib, "/machine-config", "{\"forkable\": true}") ||
	    !squib_put(squib, "/hotplug/memory", "{\"total_size_mib\": %d}", TOTAL_MIB) ||
	    !squib_api_start(squib, 204) || !resize(squib, "small", PLUGGED_MIB) ||
	    !machine_meet(squib, "grown")) {
		return false;
	}
	long full = resident_mib(squib);

	if (full < PLUGGED_MIB) {
		return squib_fail(squib, "only %ld MiB are resident", full);
	}
	if (!saved_renew(squib, "Full", true) || !machine_go_on(squib) ||
	    !resize(squib, "loaded", 0) || !machine_meet(squib, "shrunk")) {
		return false;
	}
	long left = resident_mib(squib);

	return (left < MEM_MIB + PLUGGED_MIB / 4 ||
		squib_fail(squib, "%ld MiB are resident of %d", left, MEM_MIB)) &&
	       saved_renew(squib, "Diff", false) && request(squib, FORKED_MIB) &&
	       reaches(squib, FORKED_MIB) && machine_go_on(squib) && fork_once(squib);
}

const struct device_test hotplug_tests[] = {
	{"hotplug: memory that grows, is saved, shrinks, grows and is forked", run_hotplug, 600},
	{NULL, NULL, 0},
};
