/* SPDX-License-Identifier: Apache-2.0 */
/* The block device whose disk is another process's, by vhost-user. */
#ifndef DEVICES_VIRTIO_VHOST_BLK_H
#define DEVICES_VIRTIO_VHOST_BLK_H

#include <stdbool.h>

#include "devices/virtio/blk/blk.h"
#include "devices/virtio/vhost/vhost_user.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

extern const struct metric_group vhost_blk_metric_group; /* "vhost_user_block" [compat] */
extern const struct virtio_class vhost_blk_class;

struct vhost_blk;

/*
 * Connects to the back-end of a drive and learns what it has; waits as vhost_link_open does. The
 * error is the sentence that clients know [compat]. VMM thread, like all below.
 */
MUST_CHECK int vhost_blk_open(const struct blk_config *config, struct vhost_link *link,
			      struct error *err);

/* Whether the back-end of a link that is open takes no writes. */
bool vhost_blk_is_read_only(const struct vhost_link *link);

/* Takes the link; one that is not connected is opened. The caller owns *out. */
MUST_CHECK int vhost_blk_new(const struct dev_env *env, const struct blk_config *config,
			     struct vhost_link *link, struct vhost_blk **out, struct error *err);

/* For vhost_user_ask_config; its dev is what is attached, and frees all. */
struct vhost_user *vhost_blk_user(struct vhost_blk *blk);

#endif
