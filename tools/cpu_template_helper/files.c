/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes the tool's files. */
#include "tools/cpu_template_helper/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"
#include "vmm/resources/cpu_template_json.h"

enum {
	FILE_MAX = 4 << 20 /* bytes; a dump has some 100 KiB */
};

static const char fault[] = "Failed to serialize/deserialize JSON file";

int file_read(const char *path, struct file *file, struct error *err)
{
	size_t len;

	if (read_file(path, "The file", FILE_MAX, &file->text, &len, err) < 0) {
		return -1;
	}
	return json_doc_load(file->text, len, fault, &file->doc, err) < 0
		       ? error_wrap(err, "%s", path)
		       : 0;
}

void file_free(struct file *file)
{
	json_doc_free(&file->doc);
	free(file->text);
	*file = (struct file){0};
}

int file_load_template(const char *path, struct cpu_template_block **made, struct error *err)
{
	struct file file = {0};
	int result = file_read(path, &file, err);

	if (result == 0) {
		const struct json_value root = json_doc_root(&file.doc);

		result = cpu_template_parse(&root, made, err) < 0 ? error_wrap(err, "%s", path) : 0;
	}
	file_free(&file);
	return result;
}

/* The member of a fingerprint that has a dump, or all of a dump. */
static struct json_value find_guest(const struct file *file)
{
	const struct json_value root = json_doc_root(&file->doc);

	if (json_is_object(root.json)) {
		struct json_member member = json_member_first(&root);

		for (; member.key != NULL; member = json_member_next(&root, &member)) {
			if (strcmp(member.key, "guest_cpu_config") == 0) {
				return member.value;
			}
		}
	}
	return root;
}

int file_to_dump(const struct file *file, const char *path, struct dump *dump, struct error *err)
{
	const struct json_value guest = find_guest(file);

	dump->path = path;
	if (cpu_template_parse(&guest, &dump->block, err) < 0) {
		return error_wrap(err, "%s", path);
	}
	return cells_of(&dump->block->bits, &dump->cells, err);
}

void dump_free(struct dump *dump)
{
	free(dump->block);
	cells_free(&dump->cells);
	*dump = (struct dump){0};
}

int file_write(const char *path, json_t *json, struct error *err)
{
	AUTO_FREE char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;

	json_decref(json);
	if (text == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot make the text of %s", path);
	}
	return durable_write(path, "Cannot open the output", text, strlen(text), err);
}

char *file_add_suffix(const char *path, const char *suffix)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	const size_t stem = dot != NULL && dot != name ? (size_t)(dot - path) : strlen(path);
	char *made = NULL;

	return asprintf(&made, "%.*s%s%s", (int)stem, path, suffix, path + stem) < 0 ? NULL : made;
}
