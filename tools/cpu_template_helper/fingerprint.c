/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints of hosts: made, read and compared. */
#include "tools/cpu_template_helper/fingerprint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/version.h"

enum {
	LINE_LEN = 256
};

static const char unknown[] = "unknown";

/* --- This host --- */

/* A line that begins with `key`, or the first line, without what surrounds its value. */
static json_t *read_line(const char *path, const char *key, const char *name, FILE *notes)
{
	char line[LINE_LEN];
	const char *value = unknown;
	FILE *file = fopen(path, "re");

	while (file != NULL && value == unknown && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0) {
			const char *begin = line + strlen(key);

			begin += key[0] != '\0' ? strspn(begin, " \t:") : 0;
			line[strcspn(line, "\n")] = '\0';
			value = begin;
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	if (value == unknown) {
		fprintf(notes, "note: %s has no value, so %s is \"unknown\"\n", path, name);
	}
	return json_string(value);
}

static json_t *microcode(FILE *notes)
{
	static const char arm[] = "/sys/devices/system/cpu/cpu0/regs/identification/revidr_el1";
	const char *name = fingerprint_names[FINGERPRINT_MICROCODE];

	return access(arm, R_OK) == 0 ? read_line(arm, "", name, notes)
				      : read_line("/proc/cpuinfo", "microcode", name, notes);
}

json_t *fingerprint_of_host(json_t *guest, FILE *notes)
{
	static const char dmi[] = "/sys/devices/virtual/dmi/id/bios_version";
	static const char release[] = "/sys/devices/virtual/dmi/id/bios_release";
	struct utsname host;

	uname(&host);
	return json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:O}", fingerprint_names[FINGERPRINT_SQUIB],
		SQUIB_VERSION, fingerprint_names[FINGERPRINT_KERNEL], host.release,
		fingerprint_names[FINGERPRINT_MICROCODE], microcode(notes),
		fingerprint_names[FINGERPRINT_BIOS],
		read_line(dmi, "", fingerprint_names[FINGERPRINT_BIOS], notes),
		fingerprint_names[FINGERPRINT_BIOS_REVISION],
		read_line(release, "", fingerprint_names[FINGERPRINT_BIOS_REVISION], notes),
		fingerprint_names[FINGERPRINT_GUEST], guest);
}

/* --- Files --- */

int fingerprint_read(const struct json_doc *doc, struct fingerprint *fingerprint, struct error *err)
{
	for (unsigned i = 0; i < FINGERPRINT_TEXTS; i++) {
		fingerprint->texts[i] =
			json_string_value(json_object_get(doc->root, fingerprint_names[i]));
		if (fingerprint->texts[i] == NULL) {
			return error_set(err, ERR_BAD_REQUEST, "the text `%s` is missing",
					 fingerprint_names[i]);
		}
	}
	return 0;
}

/* [compat] */
static void print_difference(const char *name, json_t *prev, json_t *curr, FILE *out)
{
	json_t *object = json_pack("{s:s, s:o, s:o}", "name", name, "prev", prev, "curr", curr);
	AUTO_FREE char *text = object != NULL ? json_dumps(object, JSON_INDENT(2)) : NULL;

	fprintf(out, "%s\n", text != NULL ? text : name);
	json_decref(object);
}

static bool is_same(const struct fingerprint *prev, const struct fingerprint *curr,
		    enum fingerprint_field_id field)
{
	return field < FINGERPRINT_TEXTS ? strcmp(prev->texts[field], curr->texts[field]) == 0
					 : cells_equal(&prev->guest->cells, &curr->guest->cells);
}

static void print_field(struct fingerprint *prev, struct fingerprint *curr,
			enum fingerprint_field_id field, FILE *out)
{
	struct cells *const sets[] = {&prev->guest->cells, &curr->guest->cells};

	if (field < FINGERPRINT_TEXTS) {
		print_difference(fingerprint_names[field], json_string(prev->texts[field]),
				 json_string(curr->texts[field]), out);
		return;
	}
	compare_strip(sets, ARRAY_COUNT(sets));
	print_difference(fingerprint_names[field], cells_to_json(sets[0], CELLS_TEMPLATE),
			 cells_to_json(sets[1], CELLS_TEMPLATE), out);
}

size_t fingerprint_compare(struct fingerprint *prev, struct fingerprint *curr,
			   const char *const *filters, FILE *out)
{
	const bool has_filters = filters[0] != NULL;
	size_t count = 0;

	for (unsigned i = 0; has_filters ? filters[i] != NULL : i < FINGERPRINT_FIELDS; i++) {
		const enum fingerprint_field_id field =
			has_filters ? fingerprint_field(filters[i]) : (enum fingerprint_field_id)i;

		if (is_same(prev, curr, field)) {
			continue;
		}
		if (count++ == 0) {
			fputs("Difference detected between source and target: \n", out);
		}
		print_field(prev, curr, field, out);
	}
	return count;
}
