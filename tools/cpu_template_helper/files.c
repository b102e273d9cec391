/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes the tool's files. */
#include "tools/cpu_template_helper/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cpu_template_helper/fingerprint_names.h"
#include "vmm/base/fd.h"
#include "vmm/resources/cpu_template_json.h"

enum {
	FILE_MAX = 4 << 20 /* bytes; a dump has some 100 KiB */
};

static const char fault[] = "Failed to serialize/deserialize JSON file";

int file_read_text(const char *path, char **text, size_t *len, struct error *err)
{
	AUTO_FD fd = -1;
	uint64_t size;

	if (fd_open_file(path, "The file", &fd, &size, err) < 0) {
		return -1;
	}
	if (size > FILE_MAX) {
		return error_set(err, ERR_TOO_LARGE,
				 "The file %s has %llu bytes, more than the limit of %d", path,
				 (unsigned long long)size, FILE_MAX);
	}
	AUTO_FREE char *block = calloc(1, size + 1);

	if (block == NULL) {
		return error_sys(err, "The file %s does not fit into memory", path);
	}
	if (pread_full(fd, block, size, 0, err) < 0) {
		return error_wrap(err, "The file %s cannot be read", path);
	}
	*text = block;
	*len = size;
	block = NULL;
	return 0;
}

int file_read(const char *path, struct file *file, struct error *err)
{
	size_t len = 0;

	if (file_read_text(path, &file->text, &len, err) < 0) {
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
			if (strcmp(member.key, fingerprint_names[FINGERPRINT_GUEST]) == 0) {
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

int file_begin(struct output *output, const char *path, const char *const *inputs, json_t *json,
	       struct error *err)
{
	AUTO_FREE char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;

	*output = (struct output){.fd = -1};
	json_decref(json);
	if (text == NULL) {
		errno = ENOMEM;
		return error_sys(err, "Cannot make the text of %s", path);
	}
	return output_open(output, path, inputs, err) < 0
		       ? -1
		       : output_fill(output, text, strlen(text), err);
}

int file_write(const char *path, const char *const *inputs, json_t *json, struct error *err)
{
	struct output output;
	int result = file_begin(&output, path, inputs, json, err);

	if (result == 0) {
		result = output_commit(&output, err);
	}
	output_discard(&output);
	return result;
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
