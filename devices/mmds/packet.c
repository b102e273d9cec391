/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the metadata service as bytes.
 *
 * Each length that a header states is checked against the bytes that are there before anything
 * behind it is read. Numbers in all of these headers are big-endian.
 */
#include "devices/mmds/packet.h"

#include <string.h>

#include "vmm/base/bytes.h"

/* Offsets in an Ethernet header. */
enum {
	ETH_TO = 0,
	ETH_FROM = 6,
	ETH_TYPE = 12,
	ETH_LEN = 14,
	ETH_TYPE_IPV4 = 0x0800,
	ETH_TYPE_ARP = 0x0806,
};

/* Offsets in an ARP packet for IPv4 over Ethernet [RFC 826]. */
enum {
	ARP_HARDWARE = 0,
	ARP_PROTOCOL = 2,
	ARP_LENS = 4, /* of the two kinds of addresses, a byte each */
	ARP_OPERATION = 6,
	ARP_FROM_MAC = 8,
	ARP_FROM_IPV4 = 14,
	ARP_TO_MAC = 18,
	ARP_TO_IPV4 = 24,
	ARP_LEN = 28,
	ARP_HARDWARE_ETHERNET = 1,
	ARP_LENS_IPV4 = 0x0604,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
};

/* Offsets in an IPv4 header [RFC 791]. */
enum {
	IP_VERSION = 0, /* with the header's length */
	IP_TOTAL = 2,
	IP_FRAGMENT = 6, /* with its flags */
	IP_TTL = 8,
	IP_PROTOCOL = 9,
	IP_CHECKSUM = 10,
	IP_FROM = 12,
	IP_TO = 16,
	IP_ADDRESSES_LEN = 8,
	IP_LEN = 20,
	IP_VERSION_4 = 0x45, /* without options */
	IP_DONT_FRAGMENT = 0x4000,
	IP_IS_FRAGMENT = 0x3fff, /* more of them follow, or an offset */
	IP_PROTOCOL_TCP = 6,
	IP_TTL_LINK = 1, /* no router passes it on [compat] */
};

/* Offsets in a TCP header [RFC 9293 §3.1]. */
enum {
	TCP_FROM = 0,
	TCP_TO = 2,
	TCP_SEQ = 4,
	TCP_ACK = 8,
	TCP_OFFSET = 12, /* of the data, in 32-bit words, in the upper four bits */
	TCP_FLAGS = 13,
	TCP_WINDOW = 14,
	TCP_CHECKSUM = 16,
	TCP_LEN = 20,
	TCP_OPTIONS_MAX = 40,
	TCP_OPTION_END = 0,
	TCP_OPTION_NONE = 1,
	TCP_OPTION_MSS = 2,
	TCP_OPTION_MSS_LEN = 4,
};

_Static_assert(MMDS_HEAD_LEN == ETH_LEN + ARP_LEN, "the address that ARP asks for ends there");
_Static_assert(MMDS_TCP_HEADERS_LEN == ETH_LEN + IP_LEN + TCP_LEN, "the three headers");
_Static_assert(MMDS_FRAME_MAX == ETH_LEN + 1500, "an Ethernet frame of the usual MTU");

/* --- checksums [RFC 1071] --- */

/* `len` is below 64 KiB, so the sum of all words of a packet fits. */
static uint32_t sum_words(uint32_t sum, const uint8_t *data, size_t len)
{
	size_t at = 0;

	for (; at + 1 < len; at += 2) {
		sum += load_be16(data + at);
	}
	if (at < len) {
		sum += (uint32_t)data[at] << 8;
	}
	return sum;
}

static uint16_t fold_sum(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Of a TCP header and its payload with the addresses of the IPv4 header. */
static uint16_t sum_segment(const uint8_t *ip, const uint8_t *tcp, size_t len)
{
	uint32_t sum = IP_PROTOCOL_TCP + (uint32_t)len;

	sum = sum_words(sum, ip + IP_FROM, IP_ADDRESSES_LEN);
	return fold_sum(sum_words(sum, tcp, len));
}

/* --- from the guest --- */

/* Whether the packet behind an Ethernet header speaks of IPv4 over Ethernet at all. */
static bool is_arp_ipv4(const uint8_t *arp)
{
	return load_be16(arp + ARP_HARDWARE) == ARP_HARDWARE_ETHERNET &&
	       load_be16(arp + ARP_PROTOCOL) == ETH_TYPE_IPV4 &&
	       load_be16(arp + ARP_LENS) == ARP_LENS_IPV4;
}

bool mmds_packet_is_for(const uint8_t *head, size_t len, const uint8_t ipv4[MMDS_IPV4_LEN])
{
	const uint8_t *packet = head + ETH_LEN;

	if (len < ETH_LEN + IP_LEN) {
		return false;
	}
	if (load_be16(head + ETH_TYPE) == ETH_TYPE_IPV4) {
		return memcmp(packet + IP_TO, ipv4, MMDS_IPV4_LEN) == 0;
	}
	return load_be16(head + ETH_TYPE) == ETH_TYPE_ARP && len >= MMDS_HEAD_LEN &&
	       is_arp_ipv4(packet) && memcmp(packet + ARP_TO_IPV4, ipv4, MMDS_IPV4_LEN) == 0;
}

static enum mmds_packet_kind parse_arp(const uint8_t *arp, size_t len, struct mmds_packet *packet)
{
	if (len < ARP_LEN) {
		return MMDS_PACKET_BAD;
	}
	if (!is_arp_ipv4(arp) || load_be16(arp + ARP_OPERATION) != ARP_REQUEST) {
		return MMDS_PACKET_UNUSUAL;
	}
	memcpy(packet->from.mac, arp + ARP_FROM_MAC, MMDS_MAC_LEN);
	memcpy(packet->from.ipv4, arp + ARP_FROM_IPV4, MMDS_IPV4_LEN);
	return MMDS_PACKET_ARP;
}

/*
 * Finds the MSS among the options of a SYN. False: they don't fit, or the MSS can't be. The options
 * are read in a copy with room behind, where a kind, a length and a value are zeroes.
 */
static bool parse_options(const uint8_t *from, size_t len, uint16_t *mss)
{
	uint8_t options[TCP_OPTIONS_MAX + TCP_OPTION_MSS_LEN] = {0};
	size_t at = 0;

	memcpy(options, from, len);
	while (at < len && options[at] != TCP_OPTION_END) {
		size_t option_len = options[at + 1];

		if (options[at] == TCP_OPTION_NONE) {
			at++;
			continue;
		}
		if (option_len < 2 || option_len > len - at) {
			return false;
		}
		if (options[at] == TCP_OPTION_MSS) {
			*mss = load_be16(options + at + 2);
			if (option_len != TCP_OPTION_MSS_LEN || *mss < MMDS_MSS_MIN) {
				return false;
			}
		}
		at += option_len;
	}
	return true;
}

/* `len` bytes from the TCP header to the packet's end. */
static enum mmds_packet_kind parse_tcp(const uint8_t *tcp, size_t len, struct mmds_packet *packet)
{
	struct mmds_segment *segment = &packet->segment;

	if (len < TCP_LEN) {
		return MMDS_PACKET_BAD;
	}
	size_t header_len = (size_t)(tcp[TCP_OFFSET] >> 4) * 4;

	if (header_len < TCP_LEN || header_len > len) {
		return MMDS_PACKET_BAD;
	}
	packet->from.port = load_be16(tcp + TCP_FROM);
	packet->to_port = load_be16(tcp + TCP_TO);
	*segment = (struct mmds_segment){
		.seq = load_be32(tcp + TCP_SEQ),
		.ack = load_be32(tcp + TCP_ACK),
		.window = load_be16(tcp + TCP_WINDOW),
		.flags = tcp[TCP_FLAGS],
		.len = (uint16_t)(len - header_len),
		.payload = tcp + header_len,
	};
	if ((segment->flags & MMDS_TCP_SYN) != 0 && header_len > TCP_LEN &&
	    !parse_options(tcp + TCP_LEN, header_len - TCP_LEN, &segment->mss)) {
		return MMDS_PACKET_BAD;
	}
	return MMDS_PACKET_TCP;
}

static enum mmds_packet_kind parse_ipv4(const struct mmds_frame *frame, struct mmds_packet *packet)
{
	const uint8_t *ip = frame->data + ETH_LEN;
	size_t len = frame->len - ETH_LEN;

	if (len < IP_LEN) {
		return MMDS_PACKET_BAD;
	}
	size_t total = load_be16(ip + IP_TOTAL);

	/* Short frames are padded, so there may be more bytes than the packet has. */
	if (ip[IP_VERSION] >> 4 != IP_VERSION_4 >> 4 || total < IP_LEN || total > len) {
		return MMDS_PACKET_BAD;
	}
	/* Nobody needs options on the way to an interface's own service, nor fragments. */
	if (ip[IP_VERSION] != IP_VERSION_4 || (load_be16(ip + IP_FRAGMENT) & IP_IS_FRAGMENT) != 0) {
		return MMDS_PACKET_UNUSUAL;
	}
	if (fold_sum(sum_words(0, ip, IP_LEN)) != 0) {
		return MMDS_PACKET_BAD;
	}
	if (ip[IP_PROTOCOL] != IP_PROTOCOL_TCP) {
		return MMDS_PACKET_UNUSUAL;
	}
	if (!frame->is_checksum_partial && sum_segment(ip, ip + IP_LEN, total - IP_LEN) != 0) {
		return MMDS_PACKET_BAD;
	}
	memcpy(packet->from.mac, frame->data + ETH_FROM, MMDS_MAC_LEN);
	memcpy(packet->from.ipv4, ip + IP_FROM, MMDS_IPV4_LEN);
	return parse_tcp(ip + IP_LEN, total - IP_LEN, packet);
}

enum mmds_packet_kind mmds_packet_parse(const struct mmds_frame *frame, struct mmds_packet *packet)
{
	*packet = (struct mmds_packet){0};
	if (frame->len < ETH_LEN) {
		return MMDS_PACKET_BAD_ETH;
	}
	if (load_be16(frame->data + ETH_TYPE) == ETH_TYPE_ARP) {
		return parse_arp(frame->data + ETH_LEN, frame->len - ETH_LEN, packet);
	}
	return parse_ipv4(frame, packet);
}

/* --- to the guest --- */

static void write_ethernet(uint8_t *buf, const struct mmds_address *from,
			   const struct mmds_address *to, uint16_t type)
{
	memcpy(buf + ETH_TO, to->mac, MMDS_MAC_LEN);
	memcpy(buf + ETH_FROM, from->mac, MMDS_MAC_LEN);
	store_be16(buf + ETH_TYPE, type);
}

size_t mmds_packet_write_arp(uint8_t *buf, const struct mmds_address *from,
			     const struct mmds_address *to)
{
	uint8_t *arp = buf + ETH_LEN;

	write_ethernet(buf, from, to, ETH_TYPE_ARP);
	store_be16(arp + ARP_HARDWARE, ARP_HARDWARE_ETHERNET);
	store_be16(arp + ARP_PROTOCOL, ETH_TYPE_IPV4);
	store_be16(arp + ARP_LENS, ARP_LENS_IPV4);
	store_be16(arp + ARP_OPERATION, ARP_REPLY);
	memcpy(arp + ARP_FROM_MAC, from->mac, MMDS_MAC_LEN);
	memcpy(arp + ARP_FROM_IPV4, from->ipv4, MMDS_IPV4_LEN);
	memcpy(arp + ARP_TO_MAC, to->mac, MMDS_MAC_LEN);
	memcpy(arp + ARP_TO_IPV4, to->ipv4, MMDS_IPV4_LEN);
	return ETH_LEN + ARP_LEN;
}

static void write_ipv4(uint8_t *ip, const struct mmds_address *from, const struct mmds_address *to,
		       size_t total)
{
	memset(ip, 0, IP_LEN);
	ip[IP_VERSION] = IP_VERSION_4;
	store_be16(ip + IP_TOTAL, (uint16_t)total);
	store_be16(ip + IP_FRAGMENT, IP_DONT_FRAGMENT);
	ip[IP_TTL] = IP_TTL_LINK;
	ip[IP_PROTOCOL] = IP_PROTOCOL_TCP;
	memcpy(ip + IP_FROM, from->ipv4, MMDS_IPV4_LEN);
	memcpy(ip + IP_TO, to->ipv4, MMDS_IPV4_LEN);
	store_be16(ip + IP_CHECKSUM, fold_sum(sum_words(0, ip, IP_LEN)));
}

size_t mmds_packet_write_tcp(uint8_t *buf, const struct mmds_address *from,
			     const struct mmds_address *to, const struct mmds_segment *segment)
{
	uint8_t *ip = buf + ETH_LEN;
	uint8_t *tcp = ip + IP_LEN;
	size_t header_len = TCP_LEN;

	memset(tcp, 0, TCP_LEN);
	if (segment->mss != 0) {
		tcp[header_len] = TCP_OPTION_MSS;
		tcp[header_len + 1] = TCP_OPTION_MSS_LEN;
		store_be16(tcp + header_len + 2, segment->mss);
		header_len += TCP_OPTION_MSS_LEN;
	}
	size_t len = header_len + segment->len;

	store_be16(tcp + TCP_FROM, from->port);
	store_be16(tcp + TCP_TO, to->port);
	store_be32(tcp + TCP_SEQ, segment->seq);
	store_be32(tcp + TCP_ACK, segment->ack);
	tcp[TCP_OFFSET] = (uint8_t)(header_len / 4 << 4);
	tcp[TCP_FLAGS] = segment->flags;
	store_be16(tcp + TCP_WINDOW, segment->window);
	if (segment->len > 0) {
		memcpy(tcp + header_len, segment->payload, segment->len);
	}
	write_ethernet(buf, from, to, ETH_TYPE_IPV4);
	write_ipv4(ip, from, to, IP_LEN + len);
	store_be16(tcp + TCP_CHECKSUM, sum_segment(ip, tcp, len));
	return ETH_LEN + IP_LEN + len;
}
