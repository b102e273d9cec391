/* SPDX-License-Identifier: Apache-2.0 */
/* The network device on a vhost-user back-end; what all such devices have is in test_vhost_user. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/net/vhost_net.h"
#include "tests/lib/vdriver.h"
#include "tests/lib/vhost_peer.h"
#include "vmm/base/bytes.h"

#define BIT(n) (UINT64_C(1) << (n))

/* [virtio-1.2 §5.1.3, §5.1.4] */
enum {
	VIRTIO_NET_F_MTU = 3,
	VIRTIO_NET_F_MAC = 5,
	VIRTIO_NET_F_HOST_TSO4 = 11,
	VIRTIO_NET_F_MRG_RXBUF = 15,
	VIRTIO_NET_F_STATUS = 16,
	VIRTIO_NET_F_CTRL_VQ = 17,
	VIRTIO_NET_F_MQ = 22,
	VIRTIO_NET_S_LINK_UP = 1,
	CONFIG_STATUS = 6,

	RX = 0,
	SEGMENT = 512,
};

static struct vdriver driver;
static struct vhost_peer peer;
static struct virtio_dev *dev;
static struct net_config config;
static char mac[] = "06:00:00:00:00:01";

static void set_up(void)
{
	static char name[] = "eth0";

	vdriver_init_shared(&driver);
	vhost_peer_init(&peer);
	config = (struct net_config){
		.iface_id = name,
		.has_backend = true,
		.backend = {NET_BACKEND_VHOST_USER, peer.path},
	};
}

static void tear_down(void)
{
	virtio_free(dev);
	dev = NULL;
	vhost_peer_stop(&peer);
	vdriver_destroy(&driver);
}

TestSuite(vhost_net, .init = set_up, .fini = tear_down, .timeout = 60);

static void start(uint64_t features)
{
	struct vhost_link link = {.fd = -1};
	struct error err = {0};

	vhost_peer_start(&peer);
	cr_assert_eq(vhost_net_open(&config, &link, &err), 0, "%s", err.msg);
	cr_assert_eq(vhost_net_new(vdriver_env(&driver), &config, &link, &dev, &err), 0, "%s",
		     err.msg);
	cr_assert(vdriver_start(&driver, dev, features));
}

static unsigned link_status(void)
{
	uint16_t status;

	vdriver_read_config(&driver, CONFIG_STATUS, &status, sizeof(status));
	return status;
}

static bool is_link(void *arg)
{
	return link_status() == *(const unsigned *)arg;
}

static void wait_for_link(unsigned status)
{
	vdriver_wait(&driver, is_link, &status);
}

static bool has_taken(void *arg)
{
	return peer.taken >= *(const unsigned *)arg;
}

static bool has_served(void *arg)
{
	return peer.served >= *(const unsigned *)arg;
}

static unsigned offer(void)
{
	const struct vbuf buf = {.len = SEGMENT, .flags = VBUF_WRITABLE};
	unsigned chain = vdriver_add(&driver, RX, &buf, 1);

	vdriver_notify(&driver, RX);
	return chain;
}

Test(vhost_net, the_back_end_does_the_offloads_and_squib_tells_the_configuration)
{
	const uint64_t own =
		BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_STATUS);
	uint8_t space[12];

	peer.features = VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES |
			BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_HOST_TSO4) |
			BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	peer.queue_num = 1; /* pairs, as some count */
	config.guest_mac = mac;
	config.mtu = 9000;
	start(~UINT64_C(0));
	cr_expect_eq(vdriver_offered(&driver), VIRTIO_F_VERSION_1 | BIT(VIRTIO_NET_F_MRG_RXBUF) |
						       BIT(VIRTIO_NET_F_HOST_TSO4) | own);
	vdriver_read_config(&driver, 0, space, sizeof(space));
	cr_expect_arr_eq(space, "\x06\0\0\0\0\x01\x01\0\0\0\x28\x23", sizeof(space));
	offer();
	vdriver_wait(&driver, has_served, &(unsigned){1});
	/* It is told of its own features alone. */
	cr_expect_eq(peer.acked, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES |
					 BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_HOST_TSO4));
	cr_expect_eq(peer.seen[VHOST_GET_CONFIG], 0);
}

Test(vhost_net, what_is_not_configured_is_not_told)
{
	start(0);
	cr_expect_eq(vdriver_offered(&driver) & (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU)), 0);
}

/* Buffers for frames are always under way: they are no reason to give the device up. */
Test(vhost_net, the_next_back_end_begins_behind_the_last_answer_and_the_link_is_down_between)
{
	struct vring_used used;

	peer.features = VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES;
	start(BIT(VIRTIO_NET_F_STATUS));
	offer();
	vdriver_wait(&driver, has_served, &(unsigned){1});
	cr_assert(vdriver_used(&driver, RX, &used));
	peer.is_lazy = true;
	unsigned waits = offer();

	vdriver_wait(&driver, has_taken, &(unsigned){2});
	peer.is_lazy = false;
	vhost_peer_hang_up(&peer);
	wait_for_link(0);
	wait_for_link(VIRTIO_NET_S_LINK_UP);
	vdriver_notify(&driver, RX);
	vdriver_wait(&driver, has_served, &(unsigned){2});
	cr_expect_eq(peer.bases[RX], 1);
	cr_expect_eq(vdriver_status(&driver) & VIRTIO_STATUS_NEEDS_RESET, 0);
	cr_assert(vdriver_used(&driver, RX, &used));
	cr_expect_eq(used.id, waits);
}
