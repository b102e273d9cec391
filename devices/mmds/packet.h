/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the metadata service as bytes: Ethernet, ARP, IPv4 and TCP headers. Pure. */
#ifndef DEVICES_MMDS_PACKET_H
#define DEVICES_MMDS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"

enum {
	MMDS_MAC_LEN = 6,
	MMDS_IPV4_LEN = 4,
	MMDS_HEAD_LEN = 42,	    /* bytes of a frame that mmds_packet_is_for looks at */
	MMDS_TCP_HEADERS_LEN = 54,  /* of a segment without options, with its Ethernet header */
	MMDS_MSS_MAX = 1460,	    /* payload bytes of a segment to the guest */
	MMDS_MSS_MIN = 28,	    /* of the smallest MTU, 68 [RFC 791] */
	MMDS_MSS_DEFAULT = 536,	    /* of a guest that states none [RFC 9293 §3.7.1] */
	MMDS_FRAME_MAX = 54 + 1460, /* bytes of a frame to the guest */
};

/* Flags of a segment [RFC 9293 §3.1]. */
enum {
	MMDS_TCP_FIN = 1,
	MMDS_TCP_SYN = 2,
	MMDS_TCP_RST = 4,
	MMDS_TCP_PSH = 8,
	MMDS_TCP_ACK = 16,
};

/* One end of a connection. */
struct mmds_address {
	uint8_t mac[MMDS_MAC_LEN];
	uint8_t ipv4[MMDS_IPV4_LEN];
	uint16_t port; /* 0 in ARP */
};

/* A frame of the guest, borrowed and private: the guest can't change it any more. */
struct mmds_frame {
	const uint8_t *data;
	size_t len;
	/* The guest left the TCP checksum to its device (VIRTIO_NET_HDR_F_NEEDS_CSUM). */
	bool is_checksum_partial;
};

struct mmds_segment {
	uint32_t seq;
	uint32_t ack; /* only with MMDS_TCP_ACK */
	uint16_t window;
	uint16_t mss; /* only with MMDS_TCP_SYN; 0: not stated */
	uint8_t flags;
	uint16_t len; /* bytes of payload, which is borrowed */
	const uint8_t *payload;
};

enum mmds_packet_kind {
	MMDS_PACKET_ARP,     /* a request: `from` is the sender */
	MMDS_PACKET_TCP,     /* all of the packet is set */
	MMDS_PACKET_UNUSUAL, /* sound, and nothing that the service speaks */
	MMDS_PACKET_BAD,     /* headers that contradict themselves, or a wrong checksum */
	MMDS_PACKET_BAD_ETH, /* no Ethernet header */
};

struct mmds_packet {
	struct mmds_address from;
	uint16_t to_port;
	struct mmds_segment segment;
};

/*
 * Whether a frame is for the service at `ipv4`: IPv4 to that address, or ARP that asks for it.
 * `head` is the frame's beginning, MMDS_HEAD_LEN bytes of it or all that there are.
 */
MUST_CHECK bool mmds_packet_is_for(const uint8_t *head, size_t len,
				   const uint8_t ipv4[MMDS_IPV4_LEN]);

/* Reads a frame for which mmds_packet_is_for is true. *packet counts only for ARP and TCP. */
MUST_CHECK enum mmds_packet_kind mmds_packet_parse(const struct mmds_frame *frame,
						   struct mmds_packet *packet);

/*
 * These write a whole frame to `buf`, of MMDS_FRAME_MAX bytes, and return its length. A segment has
 * at most MMDS_MSS_MAX bytes of payload, or its MSS and none.
 */
MUST_CHECK size_t mmds_packet_write_arp(uint8_t *buf, const struct mmds_address *from,
					const struct mmds_address *to);
MUST_CHECK size_t mmds_packet_write_tcp(uint8_t *buf, const struct mmds_address *from,
					const struct mmds_address *to,
					const struct mmds_segment *segment);

#endif
