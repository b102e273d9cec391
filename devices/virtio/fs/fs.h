/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system device: a directory of the host, by a vhost-user back-end such as virtiofsd
 * [virtio-1.2 §5.11].
 */
#ifndef DEVICES_VIRTIO_FS_H
#define DEVICES_VIRTIO_FS_H

#include <stdint.h>

#include "devices/virtio/vhost/vhost_user.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	FS_TAG_MAX = 36, /* bytes */
	FS_QUEUES_MAX = 16,
};

/* A file system as the API describes it. Strings are heap blocks of the configuration. */
struct fs_config {
	char *tag; /* by which the guest mounts it */
	char *socket;
	uint8_t num_request_queues; /* 1 to FS_QUEUES_MAX */
};

extern const struct metric_group fs_metric_group; /* "vhost_user_fs" */
extern const struct virtio_class fs_class;

struct fs;

/* Connects to the back-end; waits as vhost_link_open does. VMM thread, like all below. */
MUST_CHECK int fs_open(const struct fs_config *config, struct vhost_link *link, struct error *err);

/* Takes the link; one that is not connected is opened. The caller owns *out. */
MUST_CHECK int fs_new(const struct dev_env *env, const struct fs_config *config,
		      struct vhost_link *link, struct fs **out, struct error *err);

struct virtio_dev *fs_virtio(struct fs *fs);

#endif
