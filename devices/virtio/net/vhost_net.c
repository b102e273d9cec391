/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device on a vhost-user back-end: what is a network's about it. The rest is
 * vhost_user.c's.
 *
 * The configuration is the front-end's alone. A back-end that goes is a link that is down. The next
 * one begins behind the last answer: networks answer in the order of the ring, and frames that were
 * under way may be lost.
 */
#include "devices/virtio/net/vhost_net.h"

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdlib.h>

#include "vmm/base/bytes.h"

#define BIT(number) (UINT64_C(1) << (number))

enum {
	QUEUES = 2, /* to the guest, from the guest */
	CONFIG_LEN = offsetof(struct virtio_net_config, mtu) + sizeof(uint16_t),
};

const struct metric_group vhost_net_metric_group = {
	.name = "vhost_user_net",
	.fields = vhost_metric_fields,
	.count = VHOST_METRIC_FIELDS,
	.is_of_each = true,
};

struct vhost_net {
	struct vhost_user vu;
};

static const struct vhost_wants wants = {
	.queues = QUEUES, .least_queues = QUEUES, .is_paired = true};

/* What a back-end does by itself; none of it needs a control queue. */
static const uint64_t features =
	BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
	BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) |
	BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |
	BIT(VIRTIO_NET_F_HOST_UFO) | BIT(VIRTIO_NET_F_MRG_RXBUF);

static uint64_t own_features(const struct net_config *config)
{
	uint64_t own = BIT(VIRTIO_NET_F_STATUS);

	own |= config->guest_mac != NULL ? BIT(VIRTIO_NET_F_MAC) : 0;
	return own | (config->mtu != 0 ? BIT(VIRTIO_NET_F_MTU) : 0);
}

static void set_link(struct vhost_user *vu, bool is_up)
{
	store_le16(vu->dev.config + offsetof(struct virtio_net_config, status),
		   is_up ? VIRTIO_NET_S_LINK_UP : 0);
	virtio_config_changed(&vu->dev);
}

static void destroy(struct virtio_dev *dev)
{
	struct vhost_net *net = container_of(dev, struct vhost_net, vu.dev);

	vhost_user_destroy(&net->vu);
	free(net);
}

const struct virtio_class vhost_net_class = {
	.type = VIRTIO_TYPE_NET,
	.name = "vhost-user net",
	.metrics = &vhost_net_metric_group,
	.unsaved = "vhost-user-net",
	.activate = vhost_user_activate,
	.queue_ready = vhost_user_queue_ready,
	.reset = vhost_user_reset,
	.destroy = destroy,
};

int vhost_net_open(const struct net_config *config, struct vhost_link *link, struct error *err)
{
	return vhost_link_open(link, config->backend.socket, &wants, err);
}

static int configure(uint8_t *space, const struct net_config *config, struct error *err)
{
	uint8_t *mac = space + offsetof(struct virtio_net_config, mac);

	store_le16(space + offsetof(struct virtio_net_config, status), VIRTIO_NET_S_LINK_UP);
	store_le16(space + offsetof(struct virtio_net_config, mtu), config->mtu);
	return config->guest_mac != NULL ? net_mac_parse(config->guest_mac, mac, err) : 0;
}

int vhost_net_new(const struct dev_env *env, const struct net_config *config,
		  struct vhost_link *link, struct virtio_dev **out, struct error *err)
{
	const struct vhost_params params = {
		.class = &vhost_net_class,
		.id = config->iface_id,
		.path = config->backend.socket,
		.features = features,
		.own_features = own_features(config),
		.wants = wants,
		.config_len = CONFIG_LEN,
		.is_in_order = true,
		.set_link = set_link,
	};
	struct vhost_net *net = calloc(1, sizeof(*net));

	if (net == NULL) {
		return error_sys(err, "Cannot allocate the network device");
	}
	if (vhost_user_init(&net->vu, env, &params, link, err) < 0 ||
	    configure(net->vu.dev.config, config, err) < 0) {
		destroy(&net->vu.dev);
		return -1;
	}
	*out = &net->vu.dev;
	return 0;
}
