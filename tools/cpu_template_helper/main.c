/* SPDX-License-Identifier: Apache-2.0 */
/* cpu-template-helper: makes, checks and compares CPU templates. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/cpu_template_helper/compare.h"
#include "tools/cpu_template_helper/files.h"
#include "tools/cpu_template_helper/fingerprint.h"
#include "tools/cpu_template_helper/guest.h"
#include "tools/cpu_template_helper/helper_args.h"
#include "tools/lib/output.h"
#include "vmm/base/bytes.h"
#include "vmm/version.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* What came of a command. FOUND: something is not as it was to be, and that is printed already. */
enum {
	FAILED = -1,
	DONE = 0,
	FOUND = 1,
};

/* --- The files of a command --- */

struct inputs {
	struct file files[COMMAND_WORDS_MAX];
	struct dump dumps[COMMAND_WORDS_MAX];
	size_t count;
};

static int read_inputs(struct inputs *inputs, const char *const *paths, size_t count,
		       struct error *err)
{
	inputs->count = count;
	for (size_t i = 0; i < count; i++) {
		if (file_read(paths[i], &inputs->files[i], err) < 0 ||
		    file_to_dump(&inputs->files[i], paths[i], &inputs->dumps[i], err) < 0) {
			return FAILED;
		}
	}
	return DONE;
}

static void free_inputs(struct inputs *inputs)
{
	for (size_t i = 0; i < inputs->count; i++) {
		dump_free(&inputs->dumps[i]);
		file_free(&inputs->files[i]);
	}
}

/* --- Commands --- */

static int dump(const struct command_line *line, bool is_fingerprint, struct error *err)
{
	const char *config = line->values[HELPER_CONFIG];
	const char *cpu_template = line->values[HELPER_TEMPLATE];
	const char *const inputs[] = {config != NULL ? config : cpu_template,
				      config != NULL ? cpu_template : NULL, NULL};
	struct cells seen = {0};
	int result = guest_dump(config, cpu_template, &seen, NULL, err);

	if (result == 0) {
		json_t *json = cells_to_json(&seen, CELLS_DUMP);

		if (is_fingerprint) {
			json_t *guest = json;

			json = fingerprint_of_host(guest, stderr);
			json_decref(guest);
		}
		result = file_write(line->values[HELPER_OUTPUT], inputs, json, err);
	}
	cells_free(&seen);
	return result;
}

static int verify(const struct command_line *line, struct error *err)
{
	struct cells seen = {0};
	struct cells asked = {0};
	int result = guest_dump(line->values[HELPER_CONFIG], line->values[HELPER_TEMPLATE], &seen,
				&asked, err);

	/* [compat] It is no failure. */
	if (result == 0 && asked.count == 0) {
		fputs("note: nothing was verified, as there is no template or it names no bits\n",
		      stderr);
	}
	if (result == 0 && compare_verify(&asked, &seen, stderr) > 0) {
		result = FOUND;
	}
	cells_free(&seen);
	cells_free(&asked);
	return result;
}

/* The outputs of a strip: all take their names, or none. */
struct outputs {
	char *paths[COMMAND_WORDS_MAX];
	struct output files[COMMAND_WORDS_MAX];
	size_t count;
};

static int begin_outputs(struct outputs *outputs, const struct inputs *inputs,
			 const struct command_line *line, struct error *err)
{
	static const char *const none[] = {NULL};
	const char *suffix = line->values[HELPER_SUFFIX];
	/* Without a suffix the inputs are what is to be replaced. */
	const char *const *kept = suffix[0] != '\0' ? line->words : none;

	for (size_t i = 0; i < inputs->count; i++) {
		const struct dump *input = &inputs->dumps[i];
		char **path = &outputs->paths[outputs->count];
		struct output *file = &outputs->files[outputs->count++];

		file->fd = -1;
		*path = file_add_suffix(input->path, suffix);
		if (*path == NULL) {
			errno = ENOMEM;
			return error_sys(err, "Cannot name the output of %s", input->path);
		}
		if (file_begin(file, *path, kept, cells_to_json(&input->cells, CELLS_TEMPLATE),
			       err) < 0) {
			return FAILED;
		}
	}
	return DONE;
}

static int commit_outputs(struct outputs *outputs, struct error *err)
{
	for (size_t i = 0; i < outputs->count; i++) {
		if (output_commit(&outputs->files[i], err) < 0) {
			return FAILED;
		}
	}
	return DONE;
}

static int strip(struct inputs *inputs, const struct command_line *line, struct error *err)
{
	static struct outputs outputs;
	struct cells *sets[COMMAND_WORDS_MAX];

	for (size_t i = 0; i < inputs->count; i++) {
		sets[i] = &inputs->dumps[i].cells;
	}
	compare_strip(sets, inputs->count);
	int result = begin_outputs(&outputs, inputs, line, err);

	if (result == DONE) {
		result = commit_outputs(&outputs, err);
	}
	for (size_t i = 0; i < outputs.count; i++) {
		output_discard(&outputs.files[i]);
		free(outputs.paths[i]);
	}
	return result;
}

static int common(const struct inputs *inputs, const struct command_line *line, struct error *err)
{
	struct cells made = {0};
	int result = compare_common(inputs->dumps, inputs->count, &made, stderr, err);

	if (result == 0) {
		result = file_write(line->values[HELPER_OUTPUT], line->words,
				    cells_to_json(&made, CELLS_TEMPLATE), err);
	}
	cells_free(&made);
	return result;
}

/* It ends with 0 whether or not there are differences: to name them is all that it is asked for. */
static int explain(const struct inputs *inputs)
{
	if (compare_explain(&inputs->dumps[0], &inputs->dumps[1], stdout) == 0) {
		puts("no difference");
	}
	return DONE;
}

static int compare(struct inputs *inputs, const char *const *filters, struct error *err)
{
	struct fingerprint both[2];

	for (size_t i = 0; i < ARRAY_COUNT(both); i++) {
		both[i].guest = &inputs->dumps[i];
		if (fingerprint_read(&inputs->files[i].doc, &both[i], err) < 0) {
			return error_wrap(err, "%s is no fingerprint", inputs->dumps[i].path);
		}
	}
	return fingerprint_compare(&both[0], &both[1], filters, stderr) > 0 ? FOUND : DONE;
}

static int run_on_files(const struct command_line *line, const char *const *paths, size_t count,
			struct error *err)
{
	static struct inputs inputs;
	int result = read_inputs(&inputs, paths, count, err);

	if (result == DONE) {
		switch ((enum helper_task)line->command->task) {
		case HELPER_TEMPLATE_STRIP:
			result = strip(&inputs, line, err);
			break;
		case HELPER_FINGERPRINT_COMPARE:
			result = compare(&inputs, line->words, err);
			break;
		case HELPER_EXPLAIN:
			result = explain(&inputs);
			break;
		case HELPER_COMMON:
			result = common(&inputs, line, err);
			break;
		case HELPER_TEMPLATE_DUMP:
		case HELPER_TEMPLATE_VERIFY:
		case HELPER_FINGERPRINT_DUMP:
			break; /* of a guest */
		}
	}
	free_inputs(&inputs);
	return result;
}

static int run(const struct command_line *line, struct error *err)
{
	const char *const both[] = {line->values[HELPER_PREV], line->values[HELPER_CURR]};

	switch ((enum helper_task)line->command->task) {
	case HELPER_TEMPLATE_DUMP:
		return dump(line, false, err);
	case HELPER_FINGERPRINT_DUMP:
		return dump(line, true, err);
	case HELPER_TEMPLATE_VERIFY:
		return verify(line, err);
	case HELPER_FINGERPRINT_COMPARE:
		return run_on_files(line, both, ARRAY_COUNT(both), err);
	case HELPER_TEMPLATE_STRIP:
	case HELPER_EXPLAIN:
	case HELPER_COMMON:
		break;
	}
	return run_on_files(line, line->words, line->word_count, err);
}

/* What was printed must have arrived. */
static int finish(int result, struct error *err)
{
	if (result == DONE && fflush(stdout) != 0) {
		result = error_sys(err, "Cannot write to standard output");
	}
	if (result == FAILED) {
		fprintf(stderr, "%s\n", err->msg);
	}
	return result == DONE ? 0 : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct command_line line;
	struct error err = {0};

	if (helper_args_parse(argc, argv, &line, &err) < 0) {
		fprintf(stderr, "error: %s\n\nFor more information, try '--help'.\n", err.msg);
		return EXIT_USAGE;
	}
	if (line.wants_help) {
		helper_print_help(stdout);
		return finish(DONE, &err);
	}
	if (line.wants_version) {
		puts("cpu-template-helper v" SQUIB_VERSION);
		return finish(DONE, &err);
	}
	return finish(run(&line, &err), &err);
}
