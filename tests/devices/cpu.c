/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates, as Linux sees them. */
#include <stdio.h>
#include <string.h>

#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

/* No SSE4.2, stepping 13; a revision of the microcode. */
static const char x86_template[] =
	"{\"kvm_capabilities\": [\"121\", \"!9999\"], \"cpuid_modifiers\": [{\"leaf\": \"0x1\", "
	"\"subleaf\": \"0x0\", \"flags\": 0, \"modifiers\": [{\"register\": \"ecx\", \"bitmap\": "
	"\"0b0xxxx_xxxx_xxxx_xxxx_xxxx\"}, {\"register\": \"eax\", \"bitmap\": \"0b1101\"}]}], "
	"\"msr_modifiers\": [{\"addr\": \"0x8b\", \"bitmap\": \"0b00010010001101000000000000000000"
	"00000000000000000001001000110100\"}]}";

/* SVE, and no random numbers by firmware. */
static const char arm_template[] =
	"{\"kvm_capabilities\": [\"170\"], \"vcpu_features\": [{\"index\": 0, \"bitmap\": "
	"\"0b1xxxx\"}], \"reg_modifiers\": [{\"addr\": \"0x6030000000160000\", \"bitmap\": "
	"\"0b0\"}]}";

static bool configure(struct squib *squib)
{
	const struct guest guest = {
		.vcpus = 2, .mem_mib = 128, .script = "/tests/cpu.sh", .root = machine_root()};

	return machine_configure(squib, &guest);
}

static bool boot(struct squib *squib, const char *body)
{
	return squib_put(squib, "/cpu-config", "%s", body) && squib_api_start(squib, 204) &&
	       machine_meet(squib, "seen");
}

static bool end(struct squib *squib)
{
	return machine_go_on(squib) && squib_expect(squib, "cpu: done", NULL) &&
	       squib_ends(squib, 0);
}

/* What came of the template is saved: the process that loads it needs none. */
static bool run_template(struct squib *squib)
{
	return configure(squib) && boot(squib, is_x86() ? x86_template : arm_template) &&
	       saved_renew(squib, "Full", false) && end(squib);
}

/* Before the guest runs, with a sentence; another template will do then. */
static bool run_refused(struct squib *squib)
{
	static const char *const bodies[] = {
		"{\"cpuid_modifiers\": [{\"leaf\": \"0x12345\", \"subleaf\": \"0x0\", \"flags\": "
		"0, "
		"\"modifiers\": []}]}",
		"{\"msr_modifiers\": [{\"addr\": \"0x12345\", \"bitmap\": \"0b1\"}]}",
		"{\"reg_modifiers\": [{\"addr\": \"0x603000000013ffff\", \"bitmap\": \"0b1\"}]}",
		"{\"vcpu_features\": [{\"index\": 7, \"bitmap\": \"0b1\"}]}",
		"{\"kvm_capabilities\": [\"9999\"]}",
	};
	static const char *const faults[] = {
		"Leaf: 12345",
		"Register Address: 12345",
		"read register 0x603000000013ffff",
		"word 7 of a vCPU's features",
		"capability 9999",
	};
	if (!configure(squib)) {
		return false;
	}
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		const bool is_here = is_x86() ? i != 2 && i != 3 : i > 1;

		if (is_here && (!squib_put(squib, "/cpu-config", "%s", bodies[i]) ||
				!squib_api_start(squib, 400) ||
				(strstr(squib->answer, faults[i]) == NULL &&
				 !squib_fail(squib, "%s: %.300s", faults[i], squib->answer)))) {
			return false;
		}
	}
	return boot(squib, is_x86() ? x86_template : arm_template) && end(squib);
}

/* Hyper-threads are x86_64's alone. */
static bool has_shape(struct squib *squib, unsigned vcpus, bool has_smt)
{
	const bool is_smt = has_smt && is_x86();
	char script[64];

	snprintf(script, sizeof(script), "/tests/topology.sh %u %u", vcpus, is_smt ? 2 : 1);
	const struct guest guest = {
		.vcpus = vcpus, .mem_mib = 256, .script = script, .root = machine_clients()};

	return machine_configure(squib, &guest) &&
	       squib_patch(squib, "/machine-config", "{\"smt\": %s}", is_smt ? "true" : "false") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "topology: done", NULL) &&
	       squib_ends(squib, 0);
}

static bool run_topology(struct squib *squib)
{
	return has_shape(squib, 1, false) && has_shape(squib, 2, true) &&
	       has_shape(squib, 3, false) && has_shape(squib, 8, true) &&
	       has_shape(squib, 32, true);
}

const struct device_test cpu_tests[] = {
	{"cpu: a template is what Linux sees, before and after a load", run_template, 300},
	{"cpu: what this host can't give is refused at the start", run_refused, 300},
	{"cpu: lscpu and hwloc see 1 to 32 vCPUs as they are, with hyper-threads and without",
	 run_topology, 600},
	{NULL, NULL, 0},
};
