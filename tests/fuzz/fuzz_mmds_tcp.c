/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the metadata service's TCP with a good client on a bad wire: an input is a program of
 * which frames get lost, come twice, late or in other pieces, and of when time passes. Then the
 * wire is good, and the client must get all of its replies, byte by byte, and the connection must
 * end.
 */
#include <stdio.h>

#include "devices/mmds/netstack.h"
#include "tests/fuzz/fuzz.h"

enum {
	QUEUE = 64, /* frames on the wire, each way */
	REQUESTS_MAX = 4,
	REPLY_MAX = 8000,
	SENT_MAX = 8192, /* bytes of all requests */
	ROUNDS_MAX = 5000,
	SILENCE_MS = 300 + 600 + 1200 + 2400 + 4800, /* of a bad wire: the service may give up */
	CLIENT_ISN = -300,
	SERVICE_ISN = -5000,
};

enum action {
	ACT_SEND,   /* the client: its next bytes */
	ACT_AGAIN,  /* bytes that it sent before, in other pieces */
	ACT_ACK,    /* an acknowledgement that nobody needs */
	ACT_WINDOW, /* it reads some, or stops to */
	ACT_PUMP,   /* the service sends what it has */
	ACT_TIME,
	ACT_DELIVER, /* the wire: the first frame, each way in turn */
	ACT_LOSE,
	ACT_TWICE,
	ACT_LATER,
	ACTIONS
};

struct frame {
	uint8_t data[MMDS_FRAME_MAX];
	size_t len;
};

struct queue {
	struct frame frames[QUEUE]; /* a ring */
	unsigned first;
	unsigned count;
};

struct client {
	bool is_open;
	bool is_reset;
	bool has_fin;	 /* the service's */
	bool is_closing; /* its own FIN may be sent */
	uint32_t mss;
	uint32_t sent; /* bytes of requests, and the FIN */
	uint32_t acked;
	uint32_t service_end; /* bytes that the service has room for */
	uint32_t got;	      /* bytes of replies in order */
	uint32_t fin_at;      /* bytes before the service's FIN */
	uint32_t room_end;    /* what it has told that it has room for */
	bool has[REQUESTS_MAX * REPLY_MAX];
};

struct machine {
	struct mmds_stack *stack;
	struct mmds_metrics metrics;
	uint64_t now_ns;
	struct client client;
	/* The conversation. */
	uint8_t stream[SENT_MAX]; /* all requests */
	uint32_t stream_len;
	uint32_t request_ends[REQUESTS_MAX];
	uint32_t reply_ends[REQUESTS_MAX];
	unsigned requests;
	unsigned answered;
	unsigned released;
	bool is_last; /* the service closes behind the last reply */
	/* The wire. */
	struct queue up;
	struct queue down;
};

static char replies[REQUESTS_MAX * REPLY_MAX]; /* the same in each run */

static const struct mmds_address client_address = {{2, 0, 0, 0, 0, 1}, {169, 254, 1, 2}, 40000};
static const struct mmds_address service_address = {
	{6, 1, 0x23, 0x45, 0x67, 1}, {169, 254, 169, 254}, MMDS_PORT};

/* --- the service --- */

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	struct machine *machine = arg;
	unsigned i = machine->answered;

	require(i < machine->requests);
	uint32_t request_at = i > 0 ? machine->request_ends[i - 1] : 0;
	uint32_t reply_at = i > 0 ? machine->reply_ends[i - 1] : 0;

	require(len == machine->request_ends[i] - request_at);
	require(memcmp(request, machine->stream + request_at, len) == 0);
	*reply = (struct mmds_reply){
		.data = replies + reply_at,
		.len = machine->reply_ends[i] - reply_at,
		.is_last = machine->is_last && i + 1 == machine->requests,
	};
	machine->answered++;
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	struct machine *machine = arg;

	(void)reply;
	machine->released++;
}

static uint32_t choose_isn(void *arg)
{
	(void)arg;
	return (uint32_t)SERVICE_ISN;
}

static void give(struct machine *machine, const struct frame *frame)
{
	const struct mmds_frame given = {.data = frame->data, .len = frame->len};

	require(mmds_stack_takes(machine->stack, frame->data, frame->len));
	mmds_stack_receive(machine->stack, &given, machine->now_ns);
}

/* --- the client --- */

static uint32_t total_of(const uint32_t *ends, unsigned count)
{
	return count > 0 ? ends[count - 1] : 0;
}

/* A full wire loses what comes. */
static void put(struct queue *queue, const struct frame *frame)
{
	if (queue->count < QUEUE) {
		struct frame *to = &queue->frames[(queue->first + queue->count) % QUEUE];

		memcpy(to->data, frame->data, frame->len);
		to->len = frame->len;
		queue->count++;
	}
}

static void client_put(struct machine *machine, struct mmds_segment segment)
{
	struct client *client = &machine->client;
	struct frame frame;

	segment.ack = (uint32_t)SERVICE_ISN + 1 + client->got +
		      (client->has_fin && client->got == client->fin_at ? 1 : 0);
	segment.window = (uint16_t)(client->room_end - min_u64(client->got, client->room_end));
	frame.len = mmds_packet_write_tcp(frame.data, &client_address, &service_address, &segment);
	put(&machine->up, &frame);
}

/* Sends requests' bytes [from, to), or the FIN behind all of them. */
static void client_send(struct machine *machine, uint32_t from, uint32_t to)
{
	bool is_fin = to > machine->stream_len;
	uint32_t end = (uint32_t)min_u64(to, machine->stream_len);

	client_put(machine, (struct mmds_segment){
				    .seq = (uint32_t)CLIENT_ISN + 1 + from,
				    .flags = MMDS_TCP_ACK | (is_fin ? MMDS_TCP_FIN : 0),
				    .payload = machine->stream + from,
				    .len = (uint16_t)(end - min_u64(from, end)),
			    });
}

static void client_ack(struct machine *machine)
{
	client_send(machine, machine->client.sent, machine->client.sent);
}

static void client_syn(struct machine *machine)
{
	client_put(machine, (struct mmds_segment){.seq = (uint32_t)CLIENT_ISN,
						  .flags = MMDS_TCP_SYN,
						  .mss = (uint16_t)machine->client.mss});
}

/* The next bytes, at most `len`, as far as the service has room. */
static void client_next(struct machine *machine, uint32_t len)
{
	struct client *client = &machine->client;
	uint32_t end = machine->stream_len + (client->is_closing ? 1 : 0);

	end = (uint32_t)min_u64(end, max_u64(client->service_end, client->sent));
	end = (uint32_t)min_u64(end, client->sent + min_u64(len, 1400));
	if (!client->is_open) {
		client_syn(machine);
	} else if (end > client->sent) {
		uint32_t from = client->sent;

		client->sent = end;
		client_send(machine, from, end);
	}
}

/* Some of what is not acknowledged, cut anew. */
static void client_again(struct machine *machine, uint32_t skip, uint32_t len)
{
	struct client *client = &machine->client;
	uint32_t from = client->acked + (uint32_t)min_u64(skip, client->sent - client->acked);
	uint32_t to = from + (uint32_t)min_u64(min_u64(len, 1400), client->sent - from);

	if (client->is_open && to > from) {
		client_send(machine, from, to);
	}
}

static void client_take_payload(struct machine *machine, const struct mmds_segment *segment)
{
	struct client *client = &machine->client;
	uint32_t total = total_of(machine->reply_ends, machine->requests);
	uint32_t at = segment->seq - ((uint32_t)SERVICE_ISN + 1);

	for (uint32_t i = 0; i < segment->len; i++) {
		require(at + i < total);
		require((char)segment->payload[i] == replies[at + i]);
		if (at + i < client->room_end) {
			client->has[at + i] = true;
		}
	}
	while (client->got < total && client->has[client->got]) {
		client->got++;
	}
	if ((segment->flags & MMDS_TCP_FIN) != 0) {
		client->has_fin = true;
		client->fin_at = at + segment->len;
		require(client->fin_at == total);
	}
	if (segment->len > 0 || (segment->flags & MMDS_TCP_FIN) != 0) {
		client_ack(machine);
	}
}

static void client_take(struct machine *machine, const struct frame *frame)
{
	const struct mmds_frame given = {.data = frame->data, .len = frame->len};
	struct client *client = &machine->client;
	struct mmds_packet packet;

	require(mmds_packet_parse(&given, &packet) == MMDS_PACKET_TCP);
	const struct mmds_segment *segment = &packet.segment;

	require(segment->len <= client->mss);
	if ((segment->flags & MMDS_TCP_RST) != 0) {
		client->is_reset = true;
		return;
	}
	uint32_t ack = segment->ack - ((uint32_t)CLIENT_ISN + 1);

	if ((segment->flags & MMDS_TCP_SYN) != 0) {
		client->is_open = true;
		client->service_end = (uint32_t)max_u64(client->service_end, segment->window);
		client_ack(machine);
		return;
	}
	if (!client->is_open) {
		return;
	}
	require(ack <= client->sent);
	client->acked = (uint32_t)max_u64(client->acked, ack);
	client->service_end = (uint32_t)max_u64(client->service_end, ack + segment->window);
	client_take_payload(machine, segment);
}

/* --- the wire --- */

static void remove_first(struct queue *queue)
{
	queue->count--;
	queue->first = (queue->first + 1) % QUEUE;
}

static void pump(struct machine *machine)
{
	struct frame frame;

	while (machine->down.count < QUEUE) {
		frame.len = mmds_stack_send(machine->stack, frame.data, sizeof(frame.data),
					    machine->now_ns);
		if (frame.len == 0) {
			return;
		}
		put(&machine->down, &frame);
	}
}

static void deliver(struct machine *machine, struct queue *queue)
{
	struct frame frame;

	if (queue->count == 0) {
		return;
	}
	frame = queue->frames[queue->first];
	remove_first(queue);
	if (queue == &machine->up) {
		give(machine, &frame);
	} else {
		client_take(machine, &frame);
	}
}

static void pass_time(struct machine *machine, uint32_t ms)
{
	machine->now_ns += ms * UINT64_C(1000000);
}

static void play_wire(struct machine *machine, unsigned action, struct queue *queue)
{
	struct frame first;

	if (queue->count == 0) {
		return;
	}
	first = queue->frames[queue->first];
	if (action == ACT_DELIVER) {
		deliver(machine, queue);
	} else if (action != ACT_TWICE) {
		remove_first(queue);
	}
	if (action == ACT_TWICE || action == ACT_LATER) {
		put(queue, &first);
	}
}

static void play(struct machine *machine, unsigned action, uint32_t value)
{
	struct client *client = &machine->client;

	switch (action % ACTIONS) {
	case ACT_SEND:
		client_next(machine, value * 11);
		break;
	case ACT_AGAIN:
		client_again(machine, value % 16 * 100, value / 16 * 100 + 1);
		break;
	case ACT_ACK:
		if (client->is_open) {
			client_ack(machine);
		}
		break;
	case ACT_WINDOW:
		client->room_end = (uint32_t)max_u64(client->room_end, client->got + value * 256);
		break;
	case ACT_PUMP:
		pump(machine);
		break;
	case ACT_TIME:
		pass_time(machine, value * 4);
		break;
	default:
		play_wire(machine, action % ACTIONS,
			  value % 2 == 0 ? &machine->up : &machine->down);
		break;
	}
}

/* --- the whole --- */

/* A round on a good wire, with a client that reads all and repeats what is not acknowledged. */
static void go_on(struct machine *machine)
{
	struct client *client = &machine->client;

	client->room_end = (uint32_t)max_u64(client->room_end, client->got + 65535);
	if (!client->is_open) {
		client_syn(machine);
	} else {
		client_again(machine, 0, 1400);
		client_next(machine, 1400);
		client_ack(machine);
	}
	while (machine->up.count > 0 && !client->is_reset) {
		deliver(machine, &machine->up);
		pump(machine);
		while (machine->down.count > 0) {
			deliver(machine, &machine->down);
		}
	}
	machine->now_ns += UINT64_C(300000000);
	pump(machine);
	while (machine->down.count > 0) {
		deliver(machine, &machine->down);
	}
}

static bool is_done(const struct machine *machine)
{
	const struct client *client = &machine->client;

	return client->got == total_of(machine->reply_ends, machine->requests) && client->has_fin &&
	       client->acked == machine->stream_len + 1;
}

static void finish(struct machine *machine)
{
	struct client *client = &machine->client;
	bool was_long = machine->now_ns >= SILENCE_MS * UINT64_C(1000000);

	for (unsigned i = 0; i < ROUNDS_MAX && !is_done(machine) && !client->is_reset; i++) {
		client->is_closing =
			client->got == total_of(machine->reply_ends, machine->requests);
		go_on(machine);
	}
	/* A reset may come when little got through for long, or for the client's last FIN. */
	if (!is_done(machine) && !was_long) {
		require(client->is_reset && client->is_closing && client->has_fin);
		require(client->got == total_of(machine->reply_ends, machine->requests));
	}
	/* Late SYNs may have opened connections that nobody answers. */
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		if (mmds_stack_deadline(machine->stack) == UINT64_MAX) {
			break;
		}
		machine->now_ns = mmds_stack_deadline(machine->stack);
		pump(machine);
		machine->down.count = 0;
	}
	require(mmds_stack_deadline(machine->stack) == UINT64_MAX);
}

static void prepare(struct machine *machine, struct input *input)
{
	static const uint16_t mss_values[] = {28, 100, 536, 1000, 1400, 1460, 9000, 64};
	uint8_t flags = (uint8_t)input_number(input, 1);
	uint32_t reply_end = 0;

	machine->client.mss = mss_values[flags & 7];
	machine->client.room_end = (uint32_t)input_number(input, 2);
	machine->is_last = (flags & 8) != 0;
	machine->requests = (flags >> 4) % REQUESTS_MAX + 1;
	for (unsigned i = 0; i < machine->requests; i++) {
		uint8_t *at = machine->stream + machine->stream_len;
		unsigned body = (unsigned)input_number(input, 2) % 1500;
		int head = snprintf((char *)at, 64,
				    "PUT /%u HTTP/1.1\r\nContent-Length: %u\r\n\r\n", i, body);

		memset(at + head, 'a' + (int)i, body);
		machine->stream_len += (uint32_t)head + body;
		machine->request_ends[i] = machine->stream_len;
		reply_end += 1 + (uint32_t)input_number(input, 2) % REPLY_MAX;
		machine->reply_ends[i] = reply_end;
	}
	for (uint32_t i = 0; replies[1] == 0 && i < sizeof(replies); i++) {
		replies[i] = (char)(i * 7 + i / 256);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine machine;
	struct input input = {data, size};
	struct mmds_stack_params params = {
		.mac = {6, 1, 0x23, 0x45, 0x67, 1},
		.ipv4 = {169, 254, 169, 254},
		.service = {answer, release, choose_isn, &machine},
		.metrics = &machine.metrics,
	};
	struct error err = {0};

	memset(&machine, 0, offsetof(struct machine, up));
	machine.up.count = machine.down.count = 0;
	machine.now_ns = 1;
	prepare(&machine, &input);
	require(mmds_stack_new(&params, &machine.stack, &err) == 0);
	while (input.size > 0 && !machine.client.is_reset) {
		uint8_t action = (uint8_t)input_number(&input, 1);

		play(&machine, action, (uint32_t)input_number(&input, 1));
	}
	finish(&machine);
	mmds_stack_free(machine.stack);
	require(machine.released == machine.answered);
	return 0;
}
