/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a configuration file, and applies what it has. */
#include "api/config_file.h"

#include "vmm/base/fd.h"
#include "vmm/base/json.h"
#include "vmm/resources/vm_config.h"

enum {
	CONFIG_FILE_MAX = 1 << 20 /* bytes; ours: Firecracker has no limit */
};

static const char failed[] = "Configuration for VMM from one single json failed";

int config_file_apply(const char *text, size_t len, request_fn execute, void *arg,
		      struct error *err)
{
	struct json_doc doc;
	int result = json_doc_load(text, len, "Invalid JSON", &doc, err);

	if (result == 0) {
		struct json_value root = json_doc_root(&doc);

		result = vm_config_apply(&root, execute, arg, err);
	}
	json_doc_free(&doc);
	return result < 0 ? error_wrap(err, "%s", failed) : 0;
}

int config_file_read(const char *path, char **text, size_t *len, struct error *err)
{
	if (read_file(path, "The file", CONFIG_FILE_MAX, text, len, err) < 0) {
		return error_wrap(err, "Unable to open or read from the configuration file");
	}
	return 0;
}
