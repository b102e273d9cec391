/* SPDX-License-Identifier: Apache-2.0 */
/* /filesystems/{tag}: directories of the host that other processes serve. Not Firecracker's. */
#include <stdlib.h>
#include <string.h>

#include "vmm/resources/resource.h"

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct fs_config, tag, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct fs_config, socket, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct fs_config, num_request_queues, SCHEMA_DEFAULTED),
};

static const struct fs_config defaults = {.num_request_queues = 1};

static const struct schema schema = SCHEMA("FilesystemConfig", struct fs_config, fields);

static void destroy(struct filesystem *filesystem)
{
	schema_free(&schema, &filesystem->config);
	vhost_link_close(&filesystem->link);
}

static void clear(struct vm_config *config)
{
	for (size_t i = 0; i < config->filesystem_count; i++) {
		destroy(&config->filesystems[i]);
	}
	free(config->filesystems);
	config->filesystems = NULL;
	config->filesystem_count = 0;
}

static json_t *show(const struct vm_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->filesystem_count; i++) {
		json_t *item = schema_encode(&schema, &config->filesystems[i].config, SCHEMA_ALL);

		if (json_array_append_new(list, item) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* --- PUT --- */

static int check_config(const struct fs_config *fs, struct error *err)
{
	size_t len = strlen(fs->tag);

	if (len == 0 || len > FS_TAG_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The tag of a file system has 1 to %d bytes, not %zu", FS_TAG_MAX,
				 len);
	}
	return fs->num_request_queues > 0 && fs->num_request_queues <= FS_QUEUES_MAX
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "num_request_queues is %u: a file system has 1 to %d of them",
				   fs->num_request_queues, FS_QUEUES_MAX);
}

static size_t find(const struct vm_config *config, const char *tag)
{
	size_t i = 0;

	while (i < config->filesystem_count &&
	       strcmp(config->filesystems[i].config.tag, tag) != 0) {
		i++;
	}
	return i;
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	struct fs_config *body = request->body;
	struct filesystem added = {.link = {.fd = -1}};
	void *list = config->filesystems;
	size_t at = find(config, body->tag);

	if (check_config(body, err) < 0) {
		return -1;
	}
	if (at < config->filesystem_count) {
		/* virtiofsd has one connection to give. */
		vhost_link_close(&config->filesystems[at].link);
	} else if (resource_list_grow(&list, at, sizeof(added), err) < 0) {
		return -1;
	}
	config->filesystems = list;
	if (fs_open(body, &added.link, err) < 0) {
		return error_wrap(err, "Cannot use the back-end of the file system %s", body->tag);
	}
	added.config = *body;
	*body = (struct fs_config){0};
	if (at < config->filesystem_count) {
		destroy(&config->filesystems[at]);
	} else {
		config->filesystem_count++;
	}
	config->filesystems[at] = added;
	return 0;
}

/* --- The machine's devices --- */

static int attach_one(struct filesystem *filesystem, const struct attachment *at, struct error *err)
{
	const struct dev_env env = devmgr_env(at->devmgr);
	struct fs *fs;

	if (fs_new(&env, &filesystem->config, &filesystem->link, &fs, err) < 0 ||
	    devmgr_attach(at, fs_virtio(fs), filesystem->config.tag, err) < 0) {
		return error_wrap(err, "Cannot attach the file system %s", filesystem->config.tag);
	}
	return 0;
}

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	for (size_t i = 0; i < microvm->config.filesystem_count; i++) {
		if (attach_one(&microvm->config.filesystems[i], at, err) < 0) {
			return -1;
		}
	}
	return 0;
}

const struct resource filesystem_resource = {
	.path = {"filesystems"},
	.is_for_boot = true,
	.has_id = true,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .defaults = &defaults,
			      .prefix = "Filesystem config error",
			      .check = resource_check_id,
			      .run = put},
	.key = "filesystems",
	.file_prefix = "Filesystem device error",
	.is_list = true,
	.is_shown_with_items = true,
	.need = SCHEMA_OPTIONAL,
	.turn = 20,
	.show = show,
	.metrics = &fs_metric_group,
	.attach = attach,
	.clear = clear,
};
