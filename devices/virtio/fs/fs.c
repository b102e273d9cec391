/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system device. The back-end speaks FUSE with the guest; its state, such as open files,
 * is gone when it goes, so that no other one can go on for it, but for one that a snapshot gives
 * that state to.
 */
#include "devices/virtio/fs/fs.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	FIRST_REQUEST_QUEUE = 1, /* behind that of requests that can't wait, such as FORGET */
	CONFIG_QUEUES = FS_TAG_MAX,
	CONFIG_LEN = FS_TAG_MAX + sizeof(uint32_t),
};

const struct metric_group fs_metric_group = {
	.name = "vhost_user_fs",
	.fields = vhost_metric_fields,
	.count = VHOST_METRIC_FIELDS,
	.is_of_each = true,
};

struct fs {
	struct vhost_user vu;
};

static struct vhost_wants wants_of(const struct fs_config *config)
{
	return (struct vhost_wants){
		.queues = FIRST_REQUEST_QUEUE + config->num_request_queues,
		.least_queues = FIRST_REQUEST_QUEUE + 1,
	};
}

static void destroy(struct virtio_dev *dev)
{
	struct fs *fs = container_of(dev, struct fs, vu.dev);

	vhost_user_destroy(&fs->vu);
	free(fs);
}

static const struct virtio_config_field fields[] = {
	{"tag", 0, FS_TAG_MAX, VIRTIO_CONFIG_SAME},
	{"num_request_queues", CONFIG_QUEUES, sizeof(uint32_t), VIRTIO_CONFIG_SAME},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(fields),
	.save_remote = vhost_user_save,
	.load_remote = vhost_user_load,
};

const struct virtio_class fs_class = {
	.type = VIRTIO_TYPE_FS,
	.name = "file system",
	.metrics = &fs_metric_group,
	.state = &class_state,
	.unsaved = "virtio-fs",
	.is_saved = vhost_user_is_saved,
	.activate = vhost_user_activate,
	.queue_ready = vhost_user_queue_ready,
	.reset = vhost_user_reset,
	.resume = vhost_user_resume,
	.destroy = destroy,
};

int fs_open(const struct fs_config *config, struct vhost_link *link, struct error *err)
{
	const struct vhost_wants wants = wants_of(config);

	return vhost_link_open(link, config->socket, &wants, err);
}

int fs_new(const struct dev_env *env, const struct fs_config *config, struct vhost_link *link,
	   struct fs **out, struct error *err)
{
	const struct vhost_params params = {
		.class = &fs_class,
		.id = config->tag,
		.path = config->socket,
		.wants = wants_of(config),
		.config_len = CONFIG_LEN,
		.is_stateful = true,
	};
	struct fs *fs = calloc(1, sizeof(*fs));

	if (fs == NULL) {
		return error_sys(err, "Cannot allocate the file system %s", config->tag);
	}
	if (vhost_user_init(&fs->vu, env, &params, link, err) < 0) {
		destroy(&fs->vu.dev);
		return -1;
	}
	/* Without a NUL where it has all bytes. */
	memcpy(fs->vu.dev.config, config->tag, strnlen(config->tag, FS_TAG_MAX));
	store_le32(fs->vu.dev.config + CONFIG_QUEUES, config->num_request_queues);
	*out = fs;
	return 0;
}

struct virtio_dev *fs_virtio(struct fs *fs)
{
	return &fs->vu.dev;
}
