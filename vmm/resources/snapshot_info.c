/* SPDX-License-Identifier: Apache-2.0 */
/* Describes state files, and says whether they would load. */
#include "vmm/resources/snapshot_info.h"

#include <string.h>

#include "arch/state.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"
#include "vmm/persist/state_file.h"
#include "vmm/resources/vm_config.h"

enum {
	LACKS_MAX = 4096 /* bytes of the list of what a host lacks */
};

static void print_format(unsigned format, FILE *out)
{
	fprintf(out, "v%u.0.0\n", format);
}

void snapshot_print_version(FILE *out)
{
	print_format(STATE_FORMAT, out);
}

int snapshot_describe(const char *path, FILE *out, struct error *err)
{
	struct machine_state state = {0};
	int result = state_file_read(path, &state, err);

	if (result == 0) {
		print_format(state.format, out);
		state_file_dump(&state, out);
	}
	machine_state_destroy(&state);
	return result;
}

int snapshot_describe_json(const char *path, FILE *out, struct error *err)
{
	struct machine_state state = {0};
	int result = state_file_read(path, &state, err);

	if (result == 0) {
		result = state_file_dump_json(&state, out, err);
	}
	machine_state_destroy(&state);
	return result;
}

/* --- Would it load? --- */

static int explain_cpu(const struct machine_state *state, FILE *out, bool *loads, struct error *err)
{
	char buf[LACKS_MAX];
	struct text lacks;
	AUTO_FD kvm = -1;

	if (state->vcpu_count == 0) {
		return error_set(err, ERR_CORRUPT, "Section vcpus: there is none");
	}
	if (kvm_open(&kvm, err) < 0) {
		return -1;
	}
	text_init(&lacks, buf, sizeof(buf));
	if (arch_state_explain(kvm, &state->vcpus[0], &lacks) > 0) {
		fprintf(out, "This host's CPU or KVM lacks: %s\n", buf);
		*loads = false;
	}
	return 0;
}

/* Makes the configuration as a load would, and takes it back. */
static void explain_config(const struct machine_state *state, FILE *out, bool *loads)
{
	struct telemetry telemetry;
	struct microvm microvm = {.controller = {.id = "explain", .telemetry = &telemetry}};
	struct error err = {0};

	telemetry_init(&telemetry, NULL, 0);
	microvm_init(&microvm);
	if (vm_config_load(state->config, state->config_len, &microvm, &err) < 0 ||
	    pmem_check_files(&microvm.config.pmems, state, &err) < 0) {
		fprintf(out, "%s\n", err.msg);
		*loads = false;
	}
	microvm_destroy(&microvm);
	telemetry_destroy(&telemetry);
}

int snapshot_explain(const char *path, FILE *out, bool *loads, struct error *err)
{
	struct machine_state state = {0};
	int result = state_file_read(path, &state, err);

	*loads = true;
	if (result == 0) {
		result = explain_cpu(&state, out, loads, err);
	}
	if (result == 0) {
		explain_config(&state, out, loads);
		fprintf(out, "The snapshot %s on this host.\n",
			*loads ? "loads" : "does not load as it is");
	}
	machine_state_destroy(&state);
	return result;
}
