/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot that is loaded twice: two machines with random numbers and a time of their own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/devices/machine.h"

enum {
	PAUSE_S = 30,	/* longer than what any watchdog of a kernel bears: 20 s, 21 s */
	TOLERANCE_S = 8 /* of the console's way through an emulated machine */
};

/* What one of the two says. */
struct clone {
	char random[MESSAGE_LEN];
	long late_s;	 /* its clock behind the host's */
	long rtc_late_s; /* likewise, the battery-backed one's; 0 without */
};

static bool number(struct squib *squib, const char *name, long *value)
{
	char rest[MESSAGE_LEN];

	if (!squib_expect(squib, name, rest)) {
		return false;
	}
	*value = strtol(rest, NULL, 10);
	return true;
}

static bool expect_number(struct squib *squib, const char *name, long want)
{
	long value;

	return number(squib, name, &value) &&
	       (value == want || squib_fail(squib, "%s%ld, not %ld", name, value, want));
}

/* Ends the process and goes on in another one. */
static bool load(struct squib *squib, bool is_realtime)
{
	squib_stop(squib);
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_path\": "
			 "\"memory\", \"backend_type\": \"File\"}, \"resume_vm\": true%s}",
			 is_realtime ? ", \"clock_realtime\": true" : "");
}

static bool listen(struct squib *squib, struct clone *clone)
{
	long value;

	if (!squib_expect(squib, "crng reseeded due to virtual machine fork", NULL) ||
	    !machine_go_on(squib) || !squib_expect(squib, "random: ", clone->random) ||
	    !number(squib, "clock: ", &value)) {
		return false;
	}
	clone->late_s = time(NULL) - value;
	if (!is_x86()) {
		if (!number(squib, "rtc: ", &value)) {
			return false;
		}
		clone->rtc_late_s = time(NULL) - value;
	}
	return expect_number(squib, "generation: ", 1) &&
	       expect_number(squib, "disruptions: ", 1) && expect_number(squib, "sequence: ", 2) &&
	       /* On x86_64 the page's reaches the kernel too, by way of ACPI. */
	       expect_number(squib, "interrupts: ", is_x86() ? 2 : 1) &&
	       squib_expect(squib, "identity: done", NULL);
}

static bool judge_clock(struct squib *squib, const struct clone *clone, bool is_realtime)
{
	const bool is_present = labs(clone->late_s) <= TOLERANCE_S;

	if (is_realtime ? !is_present : clone->late_s < PAUSE_S) {
		return squib_fail(squib, "the clock is %ld s late, with clock_realtime %s",
				  clone->late_s, is_realtime ? "true" : "false");
	}
	return labs(clone->rtc_late_s) <= TOLERANCE_S ||
	       squib_fail(squib, "the PL031 is %ld s late", clone->rtc_late_s);
}

static bool run_identity(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = is_x86() ? "/tests/identity.sh 0xde000 0"
						       : "/tests/identity.sh 0x801fe000 0x40001000",
				    .words = "loglevel=6", /* it tells of its new seed */
				    .root = machine_root()};
	struct clone clones[2] = {0};

	if (!machine_configure(squib, &guest) || !squib_api_start(squib, 204) ||
	    (!is_x86() && !squib_expect(squib, "stolen time: yes", NULL)) ||
	    !machine_meet(squib, "to be saved") ||
	    !squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") ||
	    !squib_put(squib, "/snapshot/create",
		       "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}")) {
		return false;
	}
	sleep_ms(PAUSE_S * 1000);
	for (size_t i = 0; i < 2; i++) {
		/* The second one jumps to the present, where there is such a thing. */
		const bool is_realtime = i == 1 && is_x86();

		if (!load(squib, is_realtime) || !listen(squib, &clones[i]) ||
		    !judge_clock(squib, &clones[i], is_realtime)) {
			return false;
		}
	}
	return (strlen(clones[0].random) >= 32 &&
		strcmp(clones[0].random, clones[1].random) != 0) ||
	       squib_fail(squib, "both say %s", clones[0].random);
}

const struct device_test identity_tests[] = {
	{"snapshot: identity and time of two clones", run_identity, 600},
	{NULL, NULL, 0},
};
