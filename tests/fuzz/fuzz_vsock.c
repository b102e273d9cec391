/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the socket device on its queues: an input is a program of what a guest and programs of the
 * host do. Besides the sanitizers' checks, chains must come back in the order in which they were
 * offered, none longer than it is, and the event loop must come to rest after each step.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/vsock/vsock.h"
#include "devices/virtio/vsock/vsock_packet.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"

enum {
	RX,
	TX,
	QUEUES
};

enum {
	SIZE = 16, /* of a queue */
	CLIENTS = 4,
	BATCHES_MAX = 1000,
	TEXT_MAX = 40, /* what a client says that is not just data */
	CID = 3,
	MEM_LEN = 256 * 1024,
	HIGH = 1024 * 1024, /* the second region */
	HIGH_LEN = 64 * 1024,
	RINGS_AT = 4096, /* of each queue, 4 KiB apart */
	DESC_LEN = 16,
	AVAIL_AT = SIZE * DESC_LEN,
	USED_AT = 1024,
};

enum action {
	ACT_PACKET,
	ACT_BUFFER, /* for packets to the guest */
	ACT_CHAIN,  /* of made-up descriptors */
	ACT_SCRIBBLE,
	ACT_CONNECT,
	ACT_SEND,
	ACT_RECEIVE,
	ACT_CLOSE,
	ACT_SHUTDOWN,
	ACT_RESET,
	ACT_PAUSE,
	ACTIONS
};

/* One step of the program; up to `len` bytes after it belong to those that take any. */
struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t which; /* client, queue */
	uint8_t op;
	uint8_t flags;
	uint8_t port; /* two small numbers */
	uint8_t count;
	uint16_t len;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
};

struct queue {
	uint16_t avail; /* chains offered */
	uint16_t used;	/* and taken back */
	uint16_t heads[SIZE];
	uint32_t room[SIZE]; /* that a chain has for writing, at most */
	bool is_spoilt;	     /* what the device takes is not what was offered */
};

struct machine {
	struct gmem *mem;
	struct evloop loop;
	struct vsock *vsock;
	struct queue queues[QUEUES];
	int listener;
	int server; /* at port 1 */
	int clients[CLIENTS];
	struct virtio_mmio mmio;
};

static char path[64];
static const uint8_t pattern[65536];

static void ignore(void *arg)
{
	(void)arg;
}

static void write_register(struct machine *machine, uint64_t offset, uint32_t value)
{
	uint8_t data[4];

	store_le32(data, value);
	virtio_mmio_bus_ops.write(&machine->mmio, offset, data, sizeof(data));
}

static void store(struct machine *machine, uint64_t gpa, const void *data, size_t len)
{
	(void)!gmem_write(machine->mem, GPA(gpa), data, len);
}

static uint64_t ring_at(unsigned queue)
{
	return RINGS_AT + queue * UINT64_C(4096);
}

static void start(struct machine *machine)
{
	static const uint8_t zeroes[4096];
	static const uint32_t statuses[] = {1, 3};

	write_register(machine, 0x70, 0);
	for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
		write_register(machine, 0x70, statuses[i]);
	}
	write_register(machine, 0x24, 1); /* the upper features: VERSION_1 */
	write_register(machine, 0x20, 1);
	write_register(machine, 0x70, 11);
	for (unsigned i = 0; i < QUEUES; i++) {
		uint64_t at = ring_at(i);

		store(machine, at, zeroes, sizeof(zeroes));
		write_register(machine, 0x30, i);
		write_register(machine, 0x38, SIZE);
		write_register(machine, 0x80, (uint32_t)at);
		write_register(machine, 0x90, (uint32_t)at + AVAIL_AT);
		write_register(machine, 0xa0, (uint32_t)at + USED_AT);
		write_register(machine, 0x44, 1);
		machine->queues[i] = (struct queue){0};
	}
	write_register(machine, 0x70, 15);
}

static void check_queue(struct machine *machine, unsigned index)
{
	struct queue *queue = &machine->queues[index];
	uint8_t ring[4 + SIZE * 8];

	require(gmem_read(machine->mem, GPA(ring_at(index) + USED_AT), ring, sizeof(ring)) == 0);
	uint16_t used = load_le16(ring + 2);

	if (queue->is_spoilt) {
		return;
	}
	require((uint16_t)(used - queue->used) <= (uint16_t)(queue->avail - queue->used));
	for (; queue->used != used; queue->used++) {
		unsigned slot = queue->used % SIZE;

		require(load_le32(ring + 4 + slot * 8) == queue->heads[slot]);
		require(load_le32(ring + 8 + slot * 8) <= queue->room[slot]);
	}
}

static void run(struct machine *machine)
{
	struct pollfd ready = {.fd = machine->loop.epoll_fd, .events = POLLIN};
	struct error err = {0};
	unsigned batches = 0;

	while (poll(&ready, 1, 0) > 0) {
		require(evloop_run_once(&machine->loop, 0, &err) == 0);
		require(++batches < BATCHES_MAX);
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		check_queue(machine, i);
	}
}

/* Offers the chain that starts at descriptor `head`, if the queue has room, and notifies. */
static void offer(struct machine *machine, unsigned index, uint16_t head, uint32_t room)
{
	struct queue *queue = &machine->queues[index];
	uint64_t avail = ring_at(index) + AVAIL_AT;
	unsigned slot = queue->avail % SIZE;
	uint8_t bytes[2];

	if ((uint16_t)(queue->avail - queue->used) == SIZE) {
		return;
	}
	queue->heads[slot] = head;
	queue->room[slot] = room;
	queue->avail++;
	store_le16(bytes, head);
	store(machine, avail + 4 + slot * 2, bytes, 2);
	store_le16(bytes, queue->avail);
	store(machine, avail + 2, bytes, 2);
	write_register(machine, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

static void set_desc(struct machine *machine, unsigned queue, uint16_t index,
		     const uint64_t desc[2])
{
	store(machine, ring_at(queue) + (uint64_t)index * DESC_LEN, desc, DESC_LEN);
}

/* Offers [gpa, gpa + len) in two descriptors, cut where the step says. Each chain has its own two.
 */
static void offer_cut(struct machine *machine, unsigned queue, const struct step *step,
		      uint64_t gpa, uint32_t len)
{
	uint64_t flags = queue == RX ? 2 : 0;
	uint32_t cut = step->count;
	uint16_t head = machine->queues[queue].avail % (SIZE / 2) * 2;
	uint64_t next = head + 1u;
	uint64_t whole[2] = {gpa, len | flags << 32};
	uint64_t first[2] = {gpa, cut | (flags | 1) << 32 | next << 48};
	uint64_t second[2] = {gpa + cut, (len - cut) | flags << 32};
	bool is_cut = cut > 0 && cut < len;

	if ((uint16_t)(machine->queues[queue].avail - machine->queues[queue].used) == SIZE / 2) {
		return;
	}
	set_desc(machine, queue, head, is_cut ? first : whole);
	set_desc(machine, queue, (uint16_t)next, second);
	offer(machine, queue, head, len);
}

static void send_packet(struct machine *machine, const struct step *step)
{
	uint32_t len = step->len;
	uint8_t bytes[VSOCK_HEADER_LEN];
	uint32_t ports[] = {0, 1, 52, 1u << 30, (1u << 30) + 1, 7, UINT32_MAX, 2};
	/* Low, or up to the end of either region. */
	uint64_t ends[] = {65536 + VSOCK_HEADER_LEN + len, MEM_LEN, HIGH + HIGH_LEN, MEM_LEN + 8};
	uint64_t gpa = ends[step->flags >> 6] - VSOCK_HEADER_LEN - len;
	struct vsock_header header = {
		.src_cid = CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = ports[step->port & 7],
		.dst_port = ports[step->port >> 3 & 7],
		.len = len + (step->port >> 6 == 3),
		.type = step->which == 0xff ? 2 : VSOCK_TYPE_STREAM,
		.op = step->op,
		.flags = step->flags & 7,
		.buf_alloc = step->buf_alloc,
		.fwd_cnt = step->fwd_cnt,
	};

	vsock_header_encode(&header, bytes);
	store(machine, gpa, bytes, sizeof(bytes));
	store(machine, gpa + sizeof(bytes), pattern, len);
	offer_cut(machine, TX, step, gpa, VSOCK_HEADER_LEN + len);
}

static void offer_chain(struct machine *machine, const struct step *step, const uint8_t *data,
			size_t len)
{
	unsigned queue = step->which % QUEUES;

	for (uint16_t i = 0; i < SIZE && (i + 1u) * DESC_LEN <= len; i++) {
		uint64_t desc[2];

		memcpy(desc, data + (size_t)i * DESC_LEN, DESC_LEN);
		set_desc(machine, queue, i, desc);
	}
	machine->queues[queue].is_spoilt = true;
	offer(machine, queue, step->count % (SIZE + 1), UINT32_MAX);
}

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	require(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static void replace(int *fd, int by)
{
	if (*fd >= 0) {
		close(*fd);
	}
	*fd = by;
}

/* Returns how many of the `size` bytes after the step belong to it. */
static size_t play(struct machine *machine, const struct step *step, const uint8_t *data,
		   size_t size)
{
	static uint8_t sink[32768];
	int *client = &machine->clients[step->which % CLIENTS];
	size_t len = min_u64(step->len, size);

	switch (step->action % ACTIONS) {
	case ACT_PACKET:
		send_packet(machine, step);
		return 0;
	case ACT_BUFFER:
		offer_cut(machine, RX, step, 131072, step->len % 8192u + 1);
		return 0;
	case ACT_CHAIN:
		offer_chain(machine, step, data, len);
		return len;
	case ACT_SCRIBBLE: /* over a queue's rings */
		machine->queues[step->op % QUEUES].is_spoilt = true;
		len = min_u64(len, 1024);
		store(machine, ring_at(step->op % QUEUES) + step->count * UINT64_C(4), data, len);
		return len;
	case ACT_CONNECT:
		replace(client,
			step->count & 1 ? accept(machine->server, NULL, NULL) : connect_client());
		return 0;
	case ACT_SEND:
		len = min_u64(len, TEXT_MAX);
		(void)!send(*client, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)!send(*client, pattern, step->len - len, MSG_NOSIGNAL | MSG_DONTWAIT);
		return len;
	case ACT_RECEIVE:
		(void)!recv(*client, sink, min_u64(step->len, sizeof(sink)), MSG_DONTWAIT);
		return 0;
	case ACT_CLOSE:
		replace(client, -1);
		return 0;
	case ACT_SHUTDOWN:
		shutdown(*client, step->count % 3);
		return 0;
	case ACT_PAUSE:
		virtio_quiesce(vsock_virtio(machine->vsock));
		virtio_resume(vsock_virtio(machine->vsock));
		return 0;
	default:
		start(machine);
		return 0;
	}
}

static int listen_at(const char *suffix)
{
	struct error err = {0};
	char name[80];
	int fd = -1;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	unlink(name);
	require(vsock_listen(name, &fd, &err) == 0);
	return fd;
}

static void build(struct machine *machine)
{
	const struct gmem_range ranges[] = {{GPA(0), MEM_LEN}, {GPA(HIGH), HIGH_LEN}};
	const struct vsock_config config = {.guest_cid = CID, .uds_path = path};
	struct error err = {0};

	snprintf(path, sizeof(path), "/tmp/fuzz_vsock.%d", getpid());
	require(gmem_new(ranges, ARRAY_COUNT(ranges), GMEM_ANON, &machine->mem, &err) == 0);
	require(evloop_init(&machine->loop, &err) == 0);
	const struct dev_env env = {
		.mem = machine->mem,
		.loop = &machine->loop,
		.clock = &clock_host,
	};

	machine->listener = listen_at("");
	machine->server = listen_at("_1");
	require(vsock_new(&env, &config, machine->listener, &machine->vsock, &err) == 0);
	virtio_mmio_init(&machine->mmio, vsock_virtio(machine->vsock),
			 &(struct irq_line){.fire = ignore});
	for (unsigned i = 0; i < CLIENTS; i++) {
		machine->clients[i] = -1;
	}
	start(machine);
}

static void destroy(struct machine *machine)
{
	char name[80];

	vsock_free(machine->vsock);
	for (unsigned i = 0; i < CLIENTS; i++) {
		replace(&machine->clients[i], -1);
	}
	close(machine->listener);
	close(machine->server);
	unlink(path);
	snprintf(name, sizeof(name), "%s_1", path);
	unlink(name);
	evloop_destroy(&machine->loop);
	gmem_free(machine->mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine machine = {0};
	struct input input = {data, size};
	struct step step;

	build(&machine);
	while (input_take(&input, &step, sizeof(step))) {
		input_skip(&input, play(&machine, &step, input.data, input.size));
		run(&machine);
	}
	run(&machine);
	destroy(&machine);
	return 0;
}
