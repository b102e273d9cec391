/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cpu-template-helper does with files. Input: two texts with a NUL between them. Whatever they
 * are: a template that was read and written is the same when it is read again, and what strip and
 * common leave of two is a template again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tools/cpu_template_helper/compare.h"
#include "tools/cpu_template_helper/files.h"
#include "tools/cpu_template_helper/fingerprint.h"

static struct file files[2];
static struct dump dumps[2];

static int read_text(unsigned i, const uint8_t *text, size_t len)
{
	struct error err = {0};

	files[i].text = calloc(1, len + 1);
	memcpy(files[i].text, text, len);
	return json_doc_load(files[i].text, len, "", &files[i].doc, &err) < 0 ||
			       file_to_dump(&files[i], "a file", &dumps[i], &err) < 0
		       ? -1
		       : 0;
}

static void expect_same(const struct cells *cells)
{
	json_t *json = cells_to_json(cells, CELLS_TEMPLATE);
	struct file file = {.text = json_dumps(json, 0)};
	struct dump dump = {.path = NULL};
	struct error err = {0};

	require(json_doc_load(file.text, strlen(file.text), "", &file.doc, &err) == 0);
	require(file_to_dump(&file, "", &dump, &err) == 0);
	require(cells_equal(&dump.cells, cells));
	dump_free(&dump);
	file_free(&file);
	json_decref(json);
}

static void compare(FILE *out)
{
	static const char *const all[] = {NULL};
	struct fingerprint prints[2] = {{.guest = &dumps[0]}, {.guest = &dumps[1]}};
	struct cells *const sets[] = {&dumps[0].cells, &dumps[1].cells};
	struct cells made = {0};
	struct error err = {0};

	compare_explain(&dumps[0], &dumps[1], out);
	require(compare_verify(sets[0], sets[0], out) == 0);
	compare_verify(sets[0], sets[1], out);
	if (compare_common(dumps, 2, &made, out, &err) == 0) {
		expect_same(&made);
	}
	error_clear(&err);
	cells_free(&made);
	if (fingerprint_read(&files[0].doc, &prints[0], &err) == 0 &&
	    fingerprint_read(&files[1].doc, &prints[1], &err) == 0) {
		fingerprint_compare(&prints[0], &prints[1], all, out);
	} else {
		compare_strip(sets, 2);
	}
	expect_same(&dumps[0].cells);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
	const size_t first = nul != NULL ? (size_t)(nul - data) : size;
	static FILE *out;

	if (out == NULL) {
		out = fopen("/dev/null", "we");
	}
	if (read_text(0, data, first) == 0) {
		expect_same(&dumps[0].cells);
		if (nul != NULL && read_text(1, nul + 1, size - first - 1) == 0) {
			compare(out);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		dump_free(&dumps[i]);
		file_free(&files[i]);
	}
	return 0;
}
