/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /vm/config: all of the configuration as one JSON object, shown and applied.
 *
 * Theory of operation. The keys are those of the list of resources, applied in the order of their
 * `turn`, whatever their order in the object [compat], as the requests that put the same resources.
 * Of a resource that this build lacks, null and [] ask for nothing and pass; anything else is
 * refused before any key is applied, since a microVM that silently lacks its memory is worse than
 * none. Other keys are ignored [compat].
 */
#include "vmm/resources/vm_config.h"

#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/json.h"
#include "vmm/base/schema.h"
#include "vmm/resources/resource.h"

enum {
	KEYS_MAX = 32,
	KEY_FILE_MAX = 1 << 20, /* bytes of a file that has a key's value */
};

/* --- Showing --- */

json_t *vm_config_show(const struct vm_config *config)
{
	json_t *shown = json_object();

	for (size_t i = 0; resources[i] != NULL; i++) {
		const struct resource *resource = resources[i];
		json_t *value = NULL;

		if (resource->key == NULL || !resource_is_here(resource)) {
			continue;
		}
		if (resource->show != NULL) {
			value = resource->show(config);
		} else {
			value = resource->is_list ? json_array() : json_null();
		}
		if (resource->is_shown_with_items && json_array_size(value) == 0) {
			json_decref(value);
			continue;
		}
		if (json_object_set_new(shown, resource->key, value) < 0) {
			json_decref(shown);
			return NULL;
		}
	}
	return shown;
}

char *vm_config_text(const struct vm_config *config, struct error *err)
{
	json_t *shown = vm_config_show(config);
	char *text = shown != NULL ? json_to_text(shown) : NULL;

	json_decref(shown);
	if (text == NULL) {
		(void)error_set(err, ERR_HOST, "Out of memory for the configuration");
	}
	return text;
}

static int get_config(struct microvm *microvm, struct request *request, struct error *err)
{
	return request_reply(request, vm_config_show(&microvm->config), err);
}

const struct resource vm_config_resource = {
	.path = {"vm", "config"},
	.methods[HTTP_GET] = {.states = ALWAYS, .run = get_config},
};

/* --- Applying --- */

/* A key that resources have, and what the file has for it. */
struct key {
	const struct resource *resource; /* NULL: there is no key for this turn */
	struct json_value value;	 /* .json is NULL where the file has no such key */
};

/* By their turns. */
static void find_keys(const struct json_value *root, struct key keys[KEYS_MAX])
{
	struct json_member member;

	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->key != NULL && resource_is_here(resources[i])) {
			keys[resources[i]->turn].resource = resources[i];
		}
	}
	for (member = json_member_first(root); member.key != NULL;
	     member = json_member_next(root, &member)) {
		for (size_t i = 0; i < KEYS_MAX; i++) {
			if (keys[i].resource != NULL &&
			    strcmp(keys[i].resource->key, member.key) == 0) {
				keys[i].value = member.value;
			}
		}
	}
}

/* Who executes the requests. */
struct executor {
	request_fn execute;
	void *arg;
	bool is_loaded;
};

static int put(const struct resource *resource, const struct json_value *value,
	       const struct executor *executor, struct error *err)
{
	struct request request = {.resource = resource,
				  .method = &resource->methods[HTTP_PUT],
				  .prefix = resource->file_prefix,
				  .is_loaded = executor->is_loaded};
	int result = request_read(&request, value, err);

	if (result == 0) {
		result = request_do(&request, executor->execute, executor->arg, err);
	}
	request_destroy(&request);
	return result;
}

/* The value is in a file of its own, whose path stands there. */
static int put_file(const struct resource *resource, const char *path,
		    const struct executor *executor, struct error *err)
{
	AUTO_FREE char *text = NULL;
	struct json_doc doc = {0};
	size_t len = 0;
	int result = read_file(path, "The file", KEY_FILE_MAX, &text, &len, err);

	if (result == 0) {
		result = json_doc_load(text, len, "Its JSON is wrong", &doc, err);
	}
	if (result == 0) {
		struct json_value root = json_doc_root(&doc);

		result = put(resource, &root, executor, err);
	}
	json_doc_free(&doc);
	return result == 0
		       ? 0
		       : error_wrap(err, "Unable to use `%s` of the file %s", resource->key, path);
}

/* Two entries of one id are a mistake: the second would silently replace the first. */
static int check_ids(const struct resource *resource, const json_t *list, struct error *err)
{
	const char *name = resource->methods[HTTP_PUT].schema->fields[0].name;

	for (size_t i = 1; i < json_array_size(list) && i < CONFIG_DEVICES_MAX; i++) {
		const char *id = json_string_value(json_object_get(json_array_get(list, i), name));

		for (size_t j = 0; j < i && id != NULL; j++) {
			const char *other =
				json_string_value(json_object_get(json_array_get(list, j), name));

			if (other != NULL && strcmp(id, other) == 0) {
				char quoted[JSON_QUOTE_LEN];

				json_quote(id, strlen(id), quoted, sizeof(quoted));
				return error_set(err, ERR_BAD_REQUEST,
						 "`%s` has two entries with the %s `%s`: give "
						 "each its own",
						 resource->key, name, quoted);
			}
		}
	}
	return 0;
}

/* Applies a key's value, or what it lists. */
static int put_key(const struct key *key, const struct executor *executor, struct error *err)
{
	const struct json_value *value = &key->value;
	struct json_value element = {0};

	if (key->resource->is_file_or_path && json_is_string(value->json)) {
		return put_file(key->resource, json_string_value(value->json), executor, err);
	}
	if (!key->resource->is_list) {
		return put(key->resource, value, executor, err);
	}
	if (schema_expect_list(value, err) < 0 ||
	    (key->resource->has_id && check_ids(key->resource, value->json, err) < 0)) {
		return -1;
	}
	for (size_t i = 0; i < json_array_size(value->json); i++) {
		element = json_element(value, i, i > 0 ? &element : NULL);
		if (put(key->resource, &element, executor, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int check_key(const struct key *key, const struct json_value *root, struct error *err)
{
	const struct resource *resource = key->resource;

	if (resource->need == SCHEMA_REQUIRED && key->value.json == NULL) {
		return schema_missing(resource->key, root, err);
	}
	return 0;
}

static bool is_given(const struct key *key)
{
	const struct resource *resource = key->resource;
	const json_t *json = key->value.json;

	return json != NULL && (resource->need != SCHEMA_OPTIONAL || !json_is_null(json));
}

static int apply(const struct json_value *root, const struct executor *executor, struct error *err)
{
	struct key keys[KEYS_MAX] = {0};

	if (schema_expect_object("VmmConfig", root, err) < 0) {
		return -1;
	}
	find_keys(root, keys);
	for (size_t i = 0; i < KEYS_MAX; i++) {
		if (keys[i].resource != NULL && check_key(&keys[i], root, err) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < KEYS_MAX; i++) {
		if (keys[i].resource != NULL && is_given(&keys[i]) &&
		    put_key(&keys[i], executor, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int vm_config_apply(const struct json_value *root, request_fn execute, void *arg, struct error *err)
{
	const struct executor executor = {.execute = execute, .arg = arg};

	return apply(root, &executor, err);
}

int vm_config_load(const char *text, size_t len, struct microvm *microvm, struct error *err)
{
	const struct executor executor = {
		.execute = request_run_here, .arg = microvm, .is_loaded = true};
	struct json_doc doc;
	int result = json_doc_load(text, len, "Section configuration", &doc, err);

	if (result == 0) {
		struct json_value root = json_doc_root(&doc);

		result = apply(&root, &executor, err);
	}
	json_doc_free(&doc);
	return result;
}

/* As text again, in which errors have their places; NULL: see *err. */
static char *changed_text(const char *text, size_t len, const struct vm_config_change *change,
			  struct error *err)
{
	struct json_doc doc;
	char *changed = NULL;

	if (json_doc_load(text, len, "Section configuration", &doc, err) < 0) {
		return NULL;
	}
	if (!json_is_object(doc.root)) {
		(void)error_set(err, ERR_CORRUPT, "Section configuration: it is no JSON object");
	} else if (change->fn(doc.root, change->arg, err) == 0) {
		changed = json_to_text(doc.root);
		if (changed == NULL) {
			(void)error_set(err, ERR_HOST, "Out of memory for the configuration");
		}
	}
	json_doc_free(&doc);
	return changed;
}

int vm_config_load_changed(const char *text, size_t len, const struct vm_config_change *change,
			   struct microvm *microvm, struct error *err)
{
	AUTO_FREE char *changed = changed_text(text, len, change, err);

	return changed == NULL ? -1 : vm_config_load(changed, strlen(changed), microvm, err);
}

void vm_config_unload(struct vm_config *config)
{
	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->undo != NULL) {
			resources[i]->undo(config);
		}
		if (resources[i]->is_for_boot && resources[i]->clear != NULL) {
			resources[i]->clear(config);
		}
	}
}
