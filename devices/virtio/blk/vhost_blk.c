/* SPDX-License-Identifier: Apache-2.0 */
/* The block device on a vhost-user back-end: what is a disk's about it. The rest is vhost_user.c's.
 */
#include "devices/virtio/blk/vhost_blk.h"

#include <linux/virtio_blk.h>
#include <stddef.h>
#include <stdlib.h>

#include "vmm/base/bytes.h"

#define BIT(number) (UINT64_C(1) << (number))

enum {
	CONFIG_LEN = 60, /* bytes [compat]: up to the fields of write-zeroes */
};

_Static_assert((int)CONFIG_LEN <= (int)VHOST_CONFIG_MAX, "one answer has it");

const struct metric_group vhost_blk_metric_group = {
	.name = "vhost_user_block",
	.fields = vhost_metric_fields,
	.count = VHOST_METRIC_FIELDS,
	.is_of_each = true,
};

struct vhost_blk {
	struct vhost_user vu;
};

static unsigned queues_of(const struct blk_config *config)
{
	return config->num_queues > 0 ? config->num_queues : 1;
}

static struct vhost_wants wants_of(const struct blk_config *config)
{
	return (struct vhost_wants){
		.queues = queues_of(config),
		.least_queues = 1,
		.config_len = CONFIG_LEN,
		.queues_at = offsetof(struct virtio_blk_config, num_queues),
	};
}

/* All that a back-end does by itself; CONFIG_WCE would have the guest write the configuration. */
static uint64_t features_of(const struct blk_config *config)
{
	uint64_t features = BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |
			    BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
			    BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_DISCARD) |
			    BIT(VIRTIO_BLK_F_WRITE_ZEROES);

	features |= config->cache_type == BLK_CACHE_WRITEBACK ? BIT(VIRTIO_BLK_F_FLUSH) : 0;
	return features | (queues_of(config) > 1 ? BIT(VIRTIO_BLK_F_MQ) : 0);
}

static void destroy(struct virtio_dev *dev)
{
	struct vhost_blk *blk = container_of(dev, struct vhost_blk, vu.dev);

	vhost_user_destroy(&blk->vu);
	free(blk);
}

const struct virtio_class vhost_blk_class = {
	.type = VIRTIO_TYPE_BLOCK,
	.name = "vhost-user block",
	.metrics = &vhost_blk_metric_group,
	.unsaved = "vhost-user-block", /* [compat] */
	.activate = vhost_user_activate,
	.queue_ready = vhost_user_queue_ready,
	.reset = vhost_user_reset,
	.destroy = destroy,
};

int vhost_blk_open(const struct blk_config *config, struct vhost_link *link, struct error *err)
{
	const struct vhost_wants wants = wants_of(config);

	return vhost_link_open(link, config->socket, &wants, err) < 0
		       ? error_wrap(err, "Vhost user backend error: Vhost-user error")
		       : 0;
}

bool vhost_blk_is_read_only(const struct vhost_link *link)
{
	return (link->features & BIT(VIRTIO_BLK_F_RO)) != 0;
}

int vhost_blk_new(const struct dev_env *env, const struct blk_config *config,
		  struct vhost_link *link, struct vhost_blk **out, struct error *err)
{
	const struct vhost_params params = {
		.class = &vhost_blk_class,
		.id = config->drive_id,
		.path = config->socket,
		.features = features_of(config),
		.wants = wants_of(config),
		.config_len = CONFIG_LEN,
	};
	struct vhost_blk *blk = calloc(1, sizeof(*blk));

	if (blk == NULL) {
		return error_sys(err, "Cannot allocate the drive %s", config->drive_id);
	}
	if (vhost_user_init(&blk->vu, env, &params, link, err) < 0) {
		destroy(&blk->vu.dev);
		return -1;
	}
	*out = blk;
	return 0;
}

struct vhost_user *vhost_blk_user(struct vhost_blk *blk)
{
	return &blk->vu;
}
