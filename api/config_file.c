/* SPDX-License-Identifier: Apache-2.0 */
/* Applies a configuration file, key by key, with the functions that serve the same API resources.
 *
 * Theory of operation
 *
 * One table has every key that Firecracker knows, in the order in which it applies them, whatever
 * their order in the file. Keys without a function belong to resources that this build lacks:
 * null and [] ask for nothing and pass, anything else is refused before any key is applied, since
 * a microVM that silently lacks its memory is worse than none. Keys outside the table are ignored
 * [compat].
 */
#include "api/config_file.h"

#include <string.h>

#include "api/res_balloon.h"
#include "api/res_boot_source.h"
#include "api/res_drives.h"
#include "api/res_entropy.h"
#include "api/res_logger.h"
#include "api/res_machine_config.h"
#include "api/res_metrics.h"
#include "api/res_network_interfaces.h"
#include "api/res_vsock.h"
#include "api/resource.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/json.h"
#include "vmm/base/schema.h"

enum {
	CONFIG_FILE_MAX = 1 << 20 /* bytes; ours: Firecracker has no limit */
};

static const char failed[] = "Configuration for VMM from one single json failed";

static const struct key {
	const char *name;
	resource_fn put;
	enum schema_need need;
	bool is_list;
} keys[] = {
	{"logger", res_logger_put, SCHEMA_OPTIONAL, false},
	{"metrics", res_metrics_put, SCHEMA_OPTIONAL, false},
	{"machine-config", res_machine_config_put, SCHEMA_OPTIONAL, false},
	{"cpu-config", NULL, SCHEMA_OPTIONAL, false},
	{"boot-source", res_boot_source_put, SCHEMA_REQUIRED, false},
	{"drives", res_drives_put, SCHEMA_REQUIRED, true},
	{"network-interfaces", res_network_interfaces_put, SCHEMA_DEFAULTED, true},
	{"vsock", res_vsock_put, SCHEMA_OPTIONAL, false},
	{"balloon", res_balloon_put, SCHEMA_OPTIONAL, false},
	{"mmds-config", NULL, SCHEMA_OPTIONAL, false},
	{"entropy", res_entropy_put, SCHEMA_OPTIONAL, false},
	{"pmem", NULL, SCHEMA_OPTIONAL, true},
	{"memory-hotplug", NULL, SCHEMA_OPTIONAL, false},
};

enum {
	KEY_COUNT = ARRAY_COUNT(keys)
};

/* Fills values[i] with that of keys[i]; .json stays NULL where the file has no such key. */
static void find_values(const struct json_value *root, struct json_value values[KEY_COUNT])
{
	struct json_member member = json_member_first(root);

	for (; member.key != NULL; member = json_member_next(root, &member)) {
		for (size_t i = 0; i < KEY_COUNT; i++) {
			if (strcmp(keys[i].name, member.key) == 0) {
				values[i] = member.value;
			}
		}
	}
}

static bool asks_for_nothing(const json_t *json)
{
	return json == NULL || json_is_null(json) ||
	       (json_is_array(json) && json_array_size(json) == 0);
}

/* Applies a key's value, or what it lists. */
static int put_key(const struct key *key, const struct json_value *value,
		   const struct resource_call *machine, struct error *err)
{
	struct resource_call call = *machine;
	struct json_value element = {0};

	if (!key->is_list) {
		call.json = value;
		return key->put(&call, err);
	}
	if (schema_expect_list(value, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < json_array_size(value->json); i++) {
		element = json_element(value, i, i > 0 ? &element : NULL);
		call.json = &element;
		if (key->put(&call, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int apply(const struct json_value *root, action_fn execute, void *arg, struct error *err)
{
	struct json_value values[KEY_COUNT] = {0};

	if (schema_expect_object("VmmConfig", root, err) < 0) {
		return -1;
	}
	find_values(root, values);
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (keys[i].need == SCHEMA_REQUIRED && values[i].json == NULL) {
			return schema_missing(keys[i].name, root, err);
		}
		if (keys[i].put == NULL && !asks_for_nothing(values[i].json)) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "This build of squib does not have `%s` yet: remove the "
					 "key from the configuration file",
					 keys[i].name);
		}
	}
	for (size_t i = 0; i < KEY_COUNT; i++) {
		bool is_given = values[i].json != NULL &&
				(keys[i].need != SCHEMA_OPTIONAL || !json_is_null(values[i].json));
		struct resource_call machine = {.execute = execute, .arg = arg};

		if (keys[i].put != NULL && is_given &&
		    put_key(&keys[i], &values[i], &machine, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int config_file_parse(const char *text, size_t len, action_fn execute, void *arg, struct error *err)
{
	struct json_doc doc;
	int result = json_doc_load(text, len, "Invalid JSON", &doc, err);

	if (result == 0) {
		struct json_value root = json_doc_root(&doc);

		result = apply(&root, execute, arg, err);
	}
	json_doc_free(&doc);
	return result < 0 ? error_wrap(err, "%s", failed) : 0;
}

int config_file_load(const char *path, action_fn execute, void *arg, struct error *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;

	if (read_file(path, "The file", CONFIG_FILE_MAX, &text, &len, err) < 0) {
		return error_wrap(err, "Unable to open or read from the configuration file");
	}
	return config_file_parse(text, len, execute, arg, err);
}
