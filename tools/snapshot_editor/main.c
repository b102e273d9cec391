/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-editor, and rebase-snap by its name: tools for the files of snapshots. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "tools/lib/output.h"
#include "tools/snapshot_editor/compress.h"
#include "tools/snapshot_editor/editor_args.h"
#include "tools/snapshot_editor/keys.h"
#include "tools/snapshot_editor/rebase.h"
#include "tools/snapshot_editor/regs.h"
#include "tools/snapshot_editor/sign.h"
#include "tools/snapshot_editor/state_info.h"
#include "vmm/base/bytes.h"
#include "vmm/base/flags.h"
#include "vmm/version.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* --- Commands --- */

/* It may be the file that the state came from. */
static int write_state(struct machine_state *state, const char *path, struct error *err)
{
	static const char *const no_inputs[] = {NULL};
	struct output output;
	int result = output_open(&output, path, no_inputs, err);

	if (result == 0) {
		result = state_file_fill(state, output.fd, path, err);
	}
	if (result == 0) {
		result = output_commit(&output, err);
	}
	output_discard(&output);
	return result;
}

static int remove_regs(struct machine_state *state, const struct editor_args *args,
		       struct error *err)
{
	const struct regs_list list = {args->regs, args->reg_count};

	for (uint32_t i = 0; i < state->vcpu_count; i++) {
		if (regs_remove(&state->vcpus[i], i, &list, stdout, err) < 0) {
			return -1;
		}
	}
	return write_state(state, args->values[EDITOR_OUTPUT_PATH], err);
}

static int verify(struct machine_state *state, const struct editor_args *args, struct error *err)
{
	const char *memory = args->values[EDITOR_MEMORY_PATH];

	if (state_verify(state, memory, err) < 0) {
		return -1;
	}
	printf("ok: %" PRIu32 " vCPUs, %" PRIu64 " MiB of memory%s\n", state->vcpu_count,
	       state_memory_len(state) / MIB,
	       memory == NULL ? " (its file was not looked at)" : "");
	return 0;
}

/* What needs a state file. */
static int run_on_state(const struct editor_args *args, struct error *err)
{
	struct machine_state state = {0};
	int result = state_open(args->values[EDITOR_VMSTATE_PATH], &state, err);
	enum editor_task task = (enum editor_task)args->command->task;

	if (result == 0 && task == EDITOR_REMOVE_REGS) {
		result = remove_regs(&state, args, err);
	} else if (result == 0 && task == EDITOR_VERIFY) {
		result = verify(&state, args, err);
	} else if (result == 0 && task == EDITOR_INFO_VERSION) {
		state_print_version(&state, stdout);
	} else if (result == 0 && task == EDITOR_INFO_VCPU_STATES) {
		state_print_vcpus(&state, stdout);
	} else if (result == 0) {
		state_print_all(&state, stdout);
	}
	machine_state_destroy(&state);
	return result;
}

static int run_command(const struct editor_args *args, struct error *err)
{
	const char *const *values = args->values;
	const struct sign_files files = {values[EDITOR_VMSTATE_PATH], values[EDITOR_MEMORY_PATH],
					 values[EDITOR_SIGNATURE_PATH]};

	switch ((enum editor_task)args->command->task) {
	case EDITOR_REBASE:
		return rebase(values[EDITOR_MEMORY_PATH], values[EDITOR_DIFF_PATH], err);
	case EDITOR_REMOVE_REGS:
	case EDITOR_INFO_VERSION:
	case EDITOR_INFO_VCPU_STATES:
	case EDITOR_INFO_VM_STATE:
	case EDITOR_VERIFY:
		return run_on_state(args, err);
	case EDITOR_COMPRESS:
		return compress_file(values[EDITOR_MEMORY_PATH], values[EDITOR_OUTPUT_PATH],
				     args->level, err);
	case EDITOR_DECOMPRESS:
		return decompress_file(values[EDITOR_COMPRESSED_PATH], values[EDITOR_OUTPUT_PATH],
				       err);
	case EDITOR_KEYGEN:
		return keys_make(values[EDITOR_OUTPUT_PATH], err);
	case EDITOR_SIGN:
		return sign_snapshot(&files, values[EDITOR_KEY], err);
	case EDITOR_CHECK:
		return sign_check(&files, values[EDITOR_KEY], err);
	}
	return 0;
}

/* --- rebase-snap --- */

struct rebase_args {
	const char *base;
	const char *diff;
};

static const struct flag rebase_flags[] = {
	{.name = "base-file",
	 .value = "PATH",
	 .help = "File path of the base mem snapshot.",
	 .is_required = true,
	 .store = flag_store_text,
	 .offset = offsetof(struct rebase_args, base)},
	{.name = "diff-file",
	 .value = "PATH",
	 .help = "File path of the diff mem snapshot.",
	 .is_required = true,
	 .store = flag_store_text,
	 .offset = offsetof(struct rebase_args, diff)},
};

static const char deprecated[] = "This tool is deprecated and will be removed in the future. "
				 "Please use 'snapshot-editor' instead.\n";

static void print_rebase_help(void)
{
	printf("Rebase_snap v" SQUIB_VERSION "\n"
	       "Tool that copies all the non-sparse sections from a diff file onto a base file.\n\n"
	       "%s\n",
	       deprecated);
	for (size_t i = 0; i < ARRAY_COUNT(rebase_flags); i++) {
		flag_print(&rebase_flags[i], 22, stdout);
	}
}

/* [compat] Firecracker's older tool, its flags and sentences. */
static int run_rebase_snap(int argc, char **argv, struct error *err)
{
	struct flags_line line = {.flags = rebase_flags,
				  .flag_count = ARRAY_COUNT(rebase_flags),
				  .argc = argc,
				  .argv = argv};
	struct rebase_args args = {0};

	switch (flags_begin(&line)) {
	case FLAGS_HELP:
		print_rebase_help();
		return 0;
	case FLAGS_VERSION:
		printf("Rebase_snap v" SQUIB_VERSION "\n%s\n", deprecated);
		return 0;
	case FLAGS_RUN:
		break;
	}
	if (flags_match(&line, err) < 0) {
		return error_wrap(err, "Arguments parsing error");
	}
	if (flags_store(&line, &args, err) < 0) {
		return -1;
	}
	printf("%s\n", deprecated);
	return rebase(args.base, args.diff, err) < 0 ? error_wrap(err, "Error merging the files")
						     : 0;
}

/* --- main --- */

static bool is_rebase_snap(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strcmp(slash != NULL ? slash + 1 : program, "rebase-snap") == 0;
}

/* What was printed must have arrived. */
static int finish(int result, struct error *err)
{
	if (result == 0 && fflush(stdout) != 0) {
		result = error_sys(err, "Cannot write to standard output");
	}
	if (result < 0) {
		fprintf(stderr, "%s\n", err->msg);
		return EXIT_FAILED;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct editor_args args;
	struct error err = {0};

	if (sodium_init() < 0) {
		fputs("Cannot prepare libsodium\n", stderr);
		return EXIT_FAILED;
	}
	if (argc > 0 && is_rebase_snap(argv[0])) {
		return finish(run_rebase_snap(argc, argv, &err), &err);
	}
	if (editor_args_parse(argc, argv, &args, &err) < 0) {
		fprintf(stderr, "error: %s\n\nFor more information, try '--help'.\n", err.msg);
		return EXIT_USAGE;
	}
	if (args.wants_help) {
		editor_print_help(stdout);
		return finish(0, &err);
	}
	if (args.wants_version) {
		puts("snapshot-editor v" SQUIB_VERSION);
		return finish(0, &err);
	}
	int result = run_command(&args, &err);

	if (result < 0 && args.command->prefix != NULL) {
		result = error_wrap(&err, "%s", args.command->prefix);
	}
	return finish(result, &err);
}
