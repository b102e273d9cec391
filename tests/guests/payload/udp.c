/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reaches the host's loopback by way of a back-end such as passt, and is reached from there: finds
 * the gateway 10.9.0.1 by ARP, sends a datagram to its port 5000 and takes the answer, then answers
 * one that comes to port 5001. Output: "udp: gateway", "udp: answered", "udp: done".
 */
#include "tests/guests/payload/virtio.h"

enum {
	RX,
	TX,
	VIRTIO_LEN = 12,
	BUFFER_LEN = 2048,
	PATIENCE = 400000000,

	/* Offsets in a frame behind its virtio header. */
	ETHER_TO = VIRTIO_LEN,
	ETHER_FROM = ETHER_TO + 6,
	ETHER_TYPE = ETHER_TO + 12,
	BODY = ETHER_TO + 14,
	ARP_OP = BODY + 6,
	ARP_SENDER = BODY + 8,
	ARP_SENDER_IP = BODY + 14,
	ARP_TARGET_IP = BODY + 24,
	ARP_END = BODY + 28,
	IP_LEN = BODY + 2,
	IP_TTL = BODY + 8,
	IP_PROTOCOL = BODY + 9,
	IP_SUM = BODY + 10,
	IP_FROM = BODY + 12,
	IP_TO = BODY + 16,
	UDP_FROM = BODY + 20,
	UDP_TO = BODY + 22,
	UDP_LEN = BODY + 24,
	UDP_DATA = BODY + 28,

	TYPE_ARP = 0x0806,
	TYPE_IP = 0x0800,
};

static struct rings rings[2] __attribute__((aligned(0x1000)));
static struct device net;
static uint8_t received[QUEUE_SIZE][BUFFER_LEN];
static uint8_t sent[BUFFER_LEN];
static uint8_t gateway[6];
static uint16_t seen;

static const uint8_t own_ip[] = {10, 9, 0, 15};
static const uint8_t gateway_ip[] = {10, 9, 0, 1};

static void put16(unsigned at, unsigned value)
{
	sent[at] = (uint8_t)(value >> 8);
	sent[at + 1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *frame, unsigned at)
{
	return (unsigned)frame[at] << 8 | frame[at + 1];
}

static void copy(uint8_t *to, const uint8_t *from, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		to[i] = from[i];
	}
}

static void post(uint16_t buffer)
{
	desc_set(&rings[RX].desc[buffer], received[buffer], BUFFER_LEN, DESC_WRITE, 0);
	rings_offer(&rings[RX], buffer);
	device_notify(&net, RX);
}

/* The frame is there until the next call. NULL: none came in time. */
static const uint8_t *take(void)
{
	static int held = -1;

	if (held >= 0) {
		post((uint16_t)held);
	}
	held = -1;
	for (unsigned i = 0; i < PATIENCE; i++) {
		if (seen != *(volatile uint16_t *)&rings[RX].used.idx) {
			held = (int)*(volatile uint32_t *)&rings[RX]
				       .used.ring[seen % QUEUE_SIZE]
				       .id;
			seen++;
			return received[held];
		}
	}
	return NULL;
}

/* Without padding, for which passt drops a datagram. */
static void send_frame(unsigned len)
{
	desc_set(&rings[TX].desc[0], sent, len, 0, 0);
	uint16_t used = *(volatile uint16_t *)&rings[TX].used.idx;

	rings_offer(&rings[TX], 0);
	device_notify(&net, TX);
	while (used == *(volatile uint16_t *)&rings[TX].used.idx) {
	}
}

static void begin_frame(unsigned type)
{
	static const uint8_t own_mac[] = {6, 0, 0, 0, 0, 1};

	for (unsigned i = 0; i < sizeof(sent); i++) {
		sent[i] = 0;
	}
	copy(sent + ETHER_TO, gateway, 6);
	copy(sent + ETHER_FROM, own_mac, 6);
	put16(ETHER_TYPE, type);
}

static bool find_gateway(void)
{
	const uint8_t *frame;

	for (unsigned i = 0; i < 6; i++) {
		gateway[i] = 0xff;
	}
	begin_frame(TYPE_ARP);
	put16(BODY, 1);
	put16(BODY + 2, TYPE_IP);
	put16(BODY + 4, 0x0604);
	put16(ARP_OP, 1);
	copy(sent + ARP_SENDER, sent + ETHER_FROM, 6);
	copy(sent + ARP_SENDER_IP, own_ip, 4);
	copy(sent + ARP_TARGET_IP, gateway_ip, 4);
	send_frame(ARP_END);
	do {
		frame = take();
	} while (frame != NULL &&
		 !(get16(frame, ETHER_TYPE) == TYPE_ARP && frame[ARP_OP + 1] == 2));
	if (frame != NULL) {
		copy(gateway, frame + ARP_SENDER, 6);
	}
	return frame != NULL;
}

/* Without a checksum of UDP, as IPv4 allows. */
static void send_datagram(unsigned from, unsigned to, const char *text)
{
	unsigned len = 0;
	uint32_t sum = 0;

	begin_frame(TYPE_IP);
	for (; text[len] != '\0'; len++) {
		sent[UDP_DATA + len] = (uint8_t)text[len];
	}
	sent[BODY] = 0x45;
	put16(IP_LEN, 28 + len);
	sent[IP_TTL] = 64;
	sent[IP_PROTOCOL] = 17;
	copy(sent + IP_FROM, own_ip, 4);
	copy(sent + IP_TO, gateway_ip, 4);
	for (unsigned at = BODY; at < UDP_FROM; at += 2) {
		sum += get16(sent, at);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	put16(IP_SUM, ~(sum + (sum >> 16)) & 0xffff);
	put16(UDP_FROM, from);
	put16(UDP_TO, to);
	put16(UDP_LEN, 8 + len);
	send_frame(UDP_DATA + len);
}

/* A datagram to this port with this text; the port that it comes from, 0: none. */
static unsigned take_datagram(unsigned port, const char *text)
{
	const uint8_t *frame;

	do {
		frame = take();
	} while (frame != NULL && !(get16(frame, ETHER_TYPE) == TYPE_IP &&
				    frame[IP_PROTOCOL] == 17 && get16(frame, UDP_TO) == port));
	for (unsigned i = 0; frame != NULL && text[i] != '\0'; i++) {
		if (frame[UDP_DATA + i] != (uint8_t)text[i]) {
			return 0;
		}
	}
	return frame != NULL ? get16(frame, UDP_FROM) : 0;
}

void guest_main(void)
{
	net.base = virtio_window;
	net.queues = 2;
	net.rings[RX] = &rings[RX];
	net.rings[TX] = &rings[TX];
	device_start(&net);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		post(i);
	}
	if (!find_gateway()) {
		print("udp: WRONG: no gateway\n");
		return;
	}
	print("udp: gateway\n");
	send_datagram(4000, 5000, "from the guest");
	if (take_datagram(4000, "from the host") != 5000) {
		print("udp: WRONG: no answer\n");
		return;
	}
	print("udp: answered\n");
	unsigned client = take_datagram(5001, "to the guest");

	if (client == 0) {
		print("udp: WRONG: nobody calls\n");
		return;
	}
	send_datagram(5001, client, "to the host");
	print("udp: done\n");
}
