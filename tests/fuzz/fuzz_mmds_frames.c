/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the metadata service's network with what a hostile guest sends: an input is a program of
 * raw frames, and of segments that come near to good ones. Besides the sanitizers' checks, each
 * frame that is sent must be sound and hold the bytes of the replies, each at its sequence number;
 * what has nothing to send must have its deadline in the future; every reply must be released once.
 */
#include "devices/mmds/netstack.h"
#include "tests/fuzz/fuzz.h"

enum {
	ISN = 0x7ffff000, /* of all connections: the numbers pass the sign's change soon */
	REPLY_LEN = 3000,
	PORTS = 64, /* from which segments come: more than there are places */
	FRAMES_MAX = 4096,
};

enum action {
	ACT_RAW,
	ACT_SEGMENT,
	ACT_SEND,
	ACT_WAIT,
	ACTIONS
};

/* Followed by `len` bytes of a frame, or of payload. */
struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t port;
	uint8_t flags;
	uint8_t is_partial; /* the checksum */
	uint16_t len;
	uint16_t mss;
	uint16_t window;
	int16_t seq;	   /* from the port's next number */
	uint16_t ack;	   /* from ISN */
	uint8_t spoilt_at; /* a byte of the headers that is another, under a good checksum */
	uint8_t spoilt;
};

struct machine {
	struct mmds_stack *stack;
	struct mmds_metrics metrics;
	uint64_t now_ns;
	unsigned answered;
	unsigned released;
	bool is_last; /* the next reply */
	uint32_t next[PORTS];
};

static const uint8_t service_ipv4[] = {169, 254, 169, 254};

static uint8_t pattern_at(uint32_t offset)
{
	return (uint8_t)(offset % REPLY_LEN * 7);
}

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	static char data[REPLY_LEN];
	struct machine *machine = arg;
	uint8_t sum = 0;

	require(len > 0 && len <= MMDS_REQUEST_MAX);
	for (size_t i = 0; i < len; i++) {
		sum += (uint8_t)request[i];
	}
	if (sum == 13) {
		return -1;
	}
	for (uint32_t i = 0; i < REPLY_LEN; i++) {
		data[i] = (char)pattern_at(i);
	}
	*reply = (struct mmds_reply){data, REPLY_LEN, machine->is_last, machine};
	machine->answered++;
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	struct machine *machine = arg;

	require(reply->owner == machine);
	machine->released++;
}

static uint32_t choose_isn(void *arg)
{
	(void)arg;
	return ISN;
}

/* In memory that is exactly as long, so that the sanitizers see what is read behind it. */
static void give(struct machine *machine, const uint8_t *data, size_t len, bool is_partial)
{
	uint8_t *copy = malloc(len + (len == 0));
	const struct mmds_frame frame = {copy, len, is_partial};

	require(copy != NULL);
	memcpy(copy, data, len);
	if (mmds_stack_takes(machine->stack, copy, min_u64(len, MMDS_HEAD_LEN))) {
		require(len >= 34);
		mmds_stack_receive(machine->stack, &frame, machine->now_ns);
	}
	free(copy);
}

static void spoil(uint8_t *frame, const struct step *step)
{
	uint8_t *ip = frame + 14;
	uint32_t sum = 0;

	if (step->spoilt_at >= MMDS_TCP_HEADERS_LEN) {
		return;
	}
	frame[step->spoilt_at] = step->spoilt;
	ip[10] = ip[11] = 0;
	for (unsigned i = 0; i < 20; i += 2) {
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

static void give_segment(struct machine *machine, const struct step *step, const uint8_t *payload)
{
	static uint8_t buf[MMDS_TCP_HEADERS_LEN + 65536];
	unsigned port = step->port % PORTS;
	struct mmds_address from = {{2, 0, 0, 0, 0, 1}, {169, 254, 1, 2}, (uint16_t)(1 + port)};
	struct mmds_address to = {.ipv4 = {169, 254, 169, 254}, .port = MMDS_PORT};
	struct mmds_segment segment = {
		.seq = machine->next[port] + (uint32_t)step->seq,
		.ack = (uint32_t)ISN + step->ack,
		.window = step->window,
		.mss = step->mss,
		.flags = step->flags,
		.payload = payload,
		.len = (uint16_t)min_u64(step->len, 60000),
	};

	if (step->port == 0xff) {
		to.port = 81;
	}
	size_t len = mmds_packet_write_tcp(buf, &from, &to, &segment);

	spoil(buf, step);
	give(machine, buf, len, (step->is_partial & 1) != 0);
	machine->next[port] = segment.seq + segment.len + ((step->flags & MMDS_TCP_SYN) != 0) +
			      ((step->flags & MMDS_TCP_FIN) != 0);
}

/* What is sent; only the service's own numbers are known here. */
static void check_frame(const uint8_t *data, size_t len)
{
	const struct mmds_frame frame = {.data = data, .len = len};
	struct mmds_packet packet;
	enum mmds_packet_kind kind = mmds_packet_parse(&frame, &packet);
	const struct mmds_segment *segment = &packet.segment;

	if (data[13] == 6) { /* ARP, whose replies parse as unusual */
		require(kind == MMDS_PACKET_UNUSUAL && len == MMDS_HEAD_LEN);
		return;
	}
	require(kind == MMDS_PACKET_TCP && memcmp(packet.from.ipv4, service_ipv4, 4) == 0);
	require(segment->len <= MMDS_MSS_MAX);
	for (uint32_t i = 0; i < segment->len; i++) {
		require(segment->payload[i] == pattern_at(segment->seq - ISN - 1 + i));
	}
}

static void send(struct machine *machine)
{
	for (unsigned i = 0; i < FRAMES_MAX; i++) {
		uint8_t *buf = malloc(MMDS_FRAME_MAX);
		size_t len = mmds_stack_send(machine->stack, buf, MMDS_FRAME_MAX, machine->now_ns);

		if (len > 0) {
			check_frame(buf, len);
		}
		free(buf);
		if (len == 0) {
			require(mmds_stack_deadline(machine->stack) > machine->now_ns);
			return;
		}
	}
	abort(); /* it would never end */
}

static void play(struct machine *machine, const struct step *step, struct input *input)
{
	size_t len = min_u64(step->len, input->size);
	struct step known = *step;

	known.len = (uint16_t)len;
	machine->is_last = (step->is_partial & 2) != 0;
	switch (step->action % ACTIONS) {
	case ACT_RAW:
		give(machine, input->data, len, step->is_partial & 1);
		input_skip(input, len);
		break;
	case ACT_SEGMENT:
		give_segment(machine, &known, input->data);
		input_skip(input, len);
		break;
	case ACT_SEND:
		send(machine);
		break;
	case ACT_WAIT:
		machine->now_ns += step->len * UINT64_C(1000000);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct machine machine = {.now_ns = 1};
	struct mmds_stack_params params = {
		.mac = {6, 1, 0x23, 0x45, 0x67, 1},
		.ipv4 = {169, 254, 169, 254},
		.service = {answer, release, choose_isn, &machine},
		.metrics = &machine.metrics,
	};
	struct error err = {0};
	struct step step;

	require(mmds_stack_new(&params, &machine.stack, &err) == 0);
	while (input_take(&input, &step, sizeof(step))) {
		play(&machine, &step, &input);
	}
	send(&machine);
	mmds_stack_free(machine.stack);
	require(machine.released == machine.answered);
	require(metric_get(&machine.metrics.connections_created) -
			metric_get(&machine.metrics.connections_destroyed) <=
		MMDS_CONNECTIONS_MAX);
	return 0;
}
