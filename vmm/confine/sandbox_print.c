/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what --check-sandbox found, for people and for programs. */
#include <jansson.h>

#include "vmm/confine/sandbox.h"

const char *const sandbox_verdict_names[SANDBOX_VERDICTS] = {
	[SANDBOX_OK] = "ok",
	[SANDBOX_OPEN] = "open",
	[SANDBOX_MISSING] = "missing",
	[SANDBOX_UNKNOWN] = "unknown",
};

static size_t count_of(const struct sandbox *sandbox, enum sandbox_verdict verdict)
{
	size_t count = 0;

	for (size_t i = 0; i < sandbox->count; i++) {
		count += sandbox->rows[i].verdict == verdict;
	}
	return count;
}

void sandbox_print_table(const struct sandbox *sandbox, FILE *out)
{
	for (size_t i = 0; i < sandbox->count; i++) {
		const struct sandbox_row *row = &sandbox->rows[i];

		fprintf(out, "%-7s %c %-25s %s", sandbox_verdict_names[row->verdict],
			row->decides ? '*' : ' ', row->what, row->value);
		/* A row that is closed shows no reason. */
		fprintf(out, row->verdict != SANDBOX_OK ? " - %s\n" : "\n", row->why);
	}
	fprintf(out, "\n%zu ok, %zu open, %zu missing, %zu unknown. ",
		count_of(sandbox, SANDBOX_OK), count_of(sandbox, SANDBOX_OPEN),
		count_of(sandbox, SANDBOX_MISSING), count_of(sandbox, SANDBOX_UNKNOWN));
	fprintf(out, "%s\n",
		sandbox_is_closed(sandbox) ? "All that decides (*) is closed."
					   : "Not closed: see the rows with * that are not ok.");
}

int sandbox_print_json(const struct sandbox *sandbox, FILE *out, struct error *err)
{
	json_t *rows = json_array();
	json_t *counts = json_object();
	int failed = 0;

	for (size_t i = 0; i < sandbox->count; i++) {
		const struct sandbox_row *row = &sandbox->rows[i];

		failed |= json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s, s:b, s:s}", "what", row->what, "value",
					row->value, "verdict", sandbox_verdict_names[row->verdict],
					"decides", (int)row->decides, "why", row->why));
	}
	for (int i = 0; i < SANDBOX_VERDICTS; i++) {
		failed |= json_object_set_new(
			counts, sandbox_verdict_names[i],
			json_integer((json_int_t)count_of(sandbox, (enum sandbox_verdict)i)));
	}
	/* Owns rows and counts from now on, after a failure too. */
	json_t *root = json_pack("{s:b, s:o, s:o}", "closed", (int)sandbox_is_closed(sandbox),
				 "counts", counts, "rows", rows);

	failed |= root == NULL || json_dumpf(root, out, JSON_INDENT(2)) < 0;
	json_decref(root);
	if (failed != 0) {
		return error_set(err, ERR_HOST, "Cannot write the state of the sandbox as JSON");
	}
	fputc('\n', out);
	return 0;
}
