/* SPDX-License-Identifier: Apache-2.0 */
/* A network device between a driver in process and a socket that stands for the TAP. */
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "devices/virtio/net/net_tap.h"
#include "tests/lib/vdriver.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	RX,
	TX
};

enum {
	HEADER_LEN = 12,
	FRAME_MAX = 65562,
	NEEDS_RESET = 64, /* of the status */
};

/* Features [virtio-1.2 §5.1.3, §6]. */
#define F_CSUM BIT(0)
#define F_GUEST_CSUM BIT(1)
#define F_MTU BIT(3)
#define F_MAC BIT(5)
#define F_GUEST_TSO4 BIT(7)
#define F_GUEST_TSO6 BIT(8)
#define F_GUEST_UFO BIT(10)
#define F_HOST_TSO4 BIT(11)
#define F_HOST_TSO6 BIT(12)
#define F_HOST_UFO BIT(14)
#define F_MRG_RXBUF BIT(15)
#define F_INDIRECT_DESC BIT(28)
#define F_EVENT_IDX BIT(29)
#define F_VERSION_1 BIT(32)
#define F_GUEST_USO4 BIT(54)
#define F_GUEST_USO6 BIT(55)
#define F_HOST_USO BIT(56)

#define F_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6)

struct net_rig {
	struct vdriver driver;
	struct net *net;
	struct net_metrics *metrics;
	int tap;  /* the device's end */
	int host; /* ours */
};

/* What the socket pretends to know of offloads, and what was asked of it. */
struct net_rig_tap {
	uint32_t known;
	uint32_t in_force;
	unsigned calls;
	bool is_failing;
};

extern struct net_rig rig;
extern struct net_rig_tap rig_tap;

/* Fixtures: memory and sockets, and their end. The device is made by rig_make. */
void rig_set_up(void);
void rig_tear_down(void);

/* NULL: no MAC, MTU or limits. */
void rig_make(const struct net_config *config);
/* Makes it if there is none, and starts the driver. */
void rig_start(uint64_t features);

/* Fills a frame: a header of zeros, then bytes that depend on `seed` and their place. */
void rig_fill(uint8_t *frame, size_t len, unsigned seed);
/* Sends such a frame to the guest; false if the socket is full. */
bool rig_send(size_t len, unsigned seed);
/* Takes one frame that the guest sent; -1 if there is none. */
ssize_t rig_receive(uint8_t *frame, size_t cap);

/* Posts a receive buffer of `count` segments of `len` bytes. */
unsigned rig_post(uint32_t len, unsigned count);
/* Offers a frame of `len` bytes in segments of up to `segment` bytes. */
unsigned rig_offer(size_t len, uint32_t segment, unsigned seed);
/* Reads all bytes of a chain. */
void rig_gather(unsigned chain, unsigned segments, uint32_t segment, uint8_t *to, size_t len);

#endif
