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
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/version.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* What a command finds. FOUND: what was to be so is not, and that is told already. */
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
	struct cells seen = {0};
	int result = guest_dump(line->values[HELPER_CONFIG], line->values[HELPER_TEMPLATE], &seen,
				NULL, err);

	if (result == 0) {
		json_t *json = cells_to_json(&seen, CELLS_DUMP);

		if (is_fingerprint) {
			json_t *guest = json;

			json = fingerprint_of_host(guest, stderr);
			json_decref(guest);
		}
		result = file_write(line->values[HELPER_OUTPUT], json, err);
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

	if (result == 0 && asked.count == 0) {
		fputs("note: there is no template, or one that names no bits\n", stderr);
	}
	if (result == 0 && compare_verify(&asked, &seen, stderr) > 0) {
		result = FOUND;
	}
	cells_free(&seen);
	cells_free(&asked);
	return result;
}

static int write_stripped(const struct dump *dump, const char *suffix, struct error *err)
{
	AUTO_FREE char *path = file_add_suffix(dump->path, suffix);

	if (path == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot name the output of %s", dump->path);
	}
	return file_write(path, cells_to_json(&dump->cells, CELLS_TEMPLATE), err);
}

static int strip(struct inputs *inputs, const char *suffix, struct error *err)
{
	struct cells *sets[COMMAND_WORDS_MAX];

	for (size_t i = 0; i < inputs->count; i++) {
		sets[i] = &inputs->dumps[i].cells;
	}
	if (inputs->count < 2) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The number of inputs should be two or more.");
	}
	compare_strip(sets, inputs->count);
	for (size_t i = 0; i < inputs->count; i++) {
		if (write_stripped(&inputs->dumps[i], suffix, err) < 0) {
			return FAILED;
		}
	}
	return DONE;
}

static int common(const struct inputs *inputs, const char *output, struct error *err)
{
	struct cells made = {0};
	int result = compare_common(inputs->dumps, inputs->count, &made, stderr, err);

	if (result == 0) {
		result = file_write(output, cells_to_json(&made, CELLS_TEMPLATE), err);
	}
	cells_free(&made);
	return result;
}

static int explain(const struct inputs *inputs)
{
	if (compare_explain(&inputs->dumps[0], &inputs->dumps[1], stdout) == 0) {
		puts("no difference");
	}
	return DONE;
}

static int compare(struct inputs *inputs, const char *const *filters, struct error *err)
{
	struct fingerprint both[2] = {{.guest = inputs->dumps[0]}, {.guest = inputs->dumps[1]}};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int result = DONE;

	if (out == NULL) {
		return error_sys(err, "Cannot keep the differences");
	}
	for (size_t i = 0; i < ARRAY_COUNT(both) && result == DONE; i++) {
		if (fingerprint_read(&inputs->files[i].doc, &both[i], err) < 0) {
			result = error_wrap(err, "%s is no fingerprint", inputs->dumps[i].path);
		}
	}
	if (result == DONE && fingerprint_compare(&both[0], &both[1], filters, out) > 0) {
		result = FOUND;
	}
	/* What was stripped is shorter, in the same blocks. */
	inputs->dumps[0].cells = both[0].guest.cells;
	inputs->dumps[1].cells = both[1].guest.cells;
	fclose(out);
	if (result == FOUND) {
		fprintf(stderr, "Difference detected between source and target: \n%s", text);
	}
	free(text);
	return result;
}

static int run_on_files(const struct command_line *line, const char *const *paths, size_t count,
			struct error *err)
{
	static struct inputs inputs;
	int result = read_inputs(&inputs, paths, count, err);

	if (result == DONE) {
		switch ((enum helper_task)line->command->task) {
		case HELPER_TEMPLATE_STRIP:
			result = strip(&inputs, line->values[HELPER_SUFFIX], err);
			break;
		case HELPER_FINGERPRINT_COMPARE:
			result = compare(&inputs, line->words, err);
			break;
		case HELPER_EXPLAIN:
			result = explain(&inputs);
			break;
		case HELPER_COMMON:
			result = common(&inputs, line->values[HELPER_OUTPUT], err);
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
