/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the whole network device, on a TAP (also with several queues) or a stream, with the
 * metadata service on it: an input is a program of what a driver writes to registers, rings and
 * memory, of the frames that the host sends meanwhile, or bytes that are none, and of the time that
 * passes. Besides the sanitizers' checks, the loop must come to rest after each step (vdriver_run),
 * a reset must work in any state (vdriver_stop), and no system call may be given memory that is not
 * the guest's.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "devices/virtio/net/net_tap.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum action {
	ACT_START, /* a: queue size, value: features */
	ACT_STOP,
	ACT_REG_WRITE, /* a: offset */
	ACT_REG_READ,
	ACT_CHAIN, /* a: segments, kind: bits of them, value: their length; at the queue */
	ACT_DESC,  /* a: index, addr, value: length, kind: flags and next */
	ACT_OFFER, /* a: head */
	ACT_AVAIL_IDX,
	ACT_MEMORY, /* addr, followed by `kind` bytes */
	ACT_NOTIFY,
	ACT_HOST_SEND,	  /* value: length */
	ACT_HOST_RECEIVE, /* all */
	ACT_LIMITS,
	ACT_PAUSE,
	ACT_FRAME, /* the guest sends the `kind` bytes that follow, behind a header; a: its flags */
	ACT_TIME,  /* value: microseconds */
	ACT_REMAKE,  /* the device, on the next kind of port */
	ACT_COMMAND, /* of a % 8 bytes to the control queue; value: pairs, addr: what is wrong */
	ACTIONS
};

struct __attribute__((packed)) step {
	uint8_t action;
	uint8_t queue;
	uint8_t kind;
	uint16_t a;
	uint32_t value;
	uint32_t addr;
};

enum {
	PAIRS = 3, /* where there are several */
	FRAME_CAP = 65700,
	DATA_AT = 8 << 20, /* where chains point, apart from the rings */
	HEADER_LEN = 12,
};

struct machine {
	struct vdriver driver;
	struct net *net;
	enum port {
		PORT_TAP,
		PORT_STREAM,
		PORT_TAPS, /* one with several queues */
		PORTS
	} port;
	int taps[PAIRS]; /* or a connection, until the device has it */
	int hosts[PAIRS];
	bool is_started;
	struct mmds_metrics mmds;
	unsigned replies; /* that are not released */
};

static uint64_t now;

static uint32_t probe_offloads(int fd)
{
	(void)fd;
	return UINT32_MAX;
}

static int set_offloads(int fd, uint32_t offloads, struct error *err)
{
	(void)fd;
	/* Those that a kernel would refuse. */
	if (offloads != 0 && (offloads & NET_OFFLOAD_CSUM) == 0) {
		abort();
	}
	(void)err;
	return 0;
}

static uint64_t standing_ns(clockid_t id)
{
	(void)id;
	return now;
}

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	static const char text[] = "HTTP/1.1 200 \r\n\r\nhello";
	struct machine *machine = arg;

	if (len == 0 || request[0] == 'x') {
		return -1;
	}
	*reply = (struct mmds_reply){.data = text, .len = sizeof(text) - 1};
	machine->replies++;
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	struct machine *machine = arg;

	(void)reply;
	machine->replies--;
}

static uint32_t choose_isn(void *arg)
{
	(void)arg;
	return 5000;
}

static unsigned pairs_of(const struct machine *machine)
{
	return machine->port == PORT_TAPS ? PAIRS : 1;
}

/* A queue of the device's, by a number of the input. */
static unsigned queue_of(const struct machine *machine, const struct step *step)
{
	return step->queue % net_virtio(machine->net)->queue_count;
}

/* The host's end of a queue of the TAP. */
static int host_of(const struct machine *machine, const struct step *step)
{
	return machine->hosts[step->queue / 2 % pairs_of(machine)];
}

/* A back-end that has gone stays away. */
static int make_net(struct machine *machine, struct error *err)
{
	static char id[] = "fuzz";
	static char mac[] = "02:00:00:00:00:01";
	static char nowhere[] = "/nowhere/fuzz";
	static const struct net_tap_ops ops = {probe_offloads, set_offloads};
	const struct net_config config = {.iface_id = id,
					  .guest_mac = mac,
					  .mtu = 1500,
					  .backend = {NET_BACKEND_STREAM, nowhere}};
	struct net_tap tap = {.count = pairs_of(machine), .ops = &ops};
	struct dev_env *env = vdriver_env(&machine->driver);

	memcpy(tap.fd, machine->taps, sizeof(machine->taps));
	return machine->port == PORT_STREAM
		       ? net_new_stream(env, &config, &machine->taps[0], &machine->net, err)
		       : net_new(env, &config, &tap, &machine->net, err);
}

static void build(struct machine *machine)
{
	const struct mmds_stack_params service = {
		.mac = {6, 1, 0x23, 0x45, 0x67, 1},
		.ipv4 = {169, 254, 169, 254},
		.service = {answer, release, choose_isn, machine},
		.metrics = &machine->mmds,
	};
	struct error err = {0};

	now = 1;
	vdriver_init(&machine->driver);
	machine->driver.clock.now_ns = standing_ns;
	int type = machine->port == PORT_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;

	for (unsigned i = 0; i < pairs_of(machine); i++) {
		int pair[2];

		if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
			abort();
		}
		machine->taps[i] = pair[0];
		machine->hosts[i] = pair[1];
	}
	if (make_net(machine, &err) < 0 || net_set_mmds(machine->net, &service, &err) < 0) {
		abort();
	}
	vdriver_plug(&machine->driver, net_virtio(machine->net));
}

static void destroy(struct machine *machine)
{
	const struct net_metrics *metrics = net_metrics(machine->net);

	/* EFAULT would hide here; the socket itself has no reason to fail, but a stream has. */
	if (metric_get(&metrics->tap_read_fails) != 0 ||
	    (machine->port != PORT_STREAM && metric_get(&metrics->tap_write_fails) != 0)) {
		abort();
	}
	vdriver_stop(&machine->driver);
	net_free(machine->net);
	if (machine->replies != 0) {
		abort();
	}
	vdriver_destroy(&machine->driver);
	for (unsigned i = 0; i < pairs_of(machine); i++) {
		fd_close(&machine->taps[i]);
		fd_close(&machine->hosts[i]);
	}
}

static void start(struct machine *machine, const struct step *step)
{
	uint64_t features = step->value | (uint64_t)step->addr << 32;

	machine->driver.queue_size = (uint16_t)(1u << step->a % 9);
	(void)!vdriver_start(&machine->driver, net_virtio(machine->net), features);
	machine->is_started = true;
}

/* An indirect-free chain of `a` descriptors from entry 0 or 100 on, whatever was there. */
static void offer_chain(struct machine *machine, struct vring *ring, const struct step *step)
{
	unsigned count = step->a % 64u + 1;
	unsigned first = step->kind & 1 ? 100 : 0;

	for (unsigned i = 0; i < count; i++) {
		struct vring_desc desc = {
			.addr = DATA_AT + step->addr % MIB,
			.len = step->value % 70000,
			.flags = (uint16_t)((step->kind & 2 ? VRING_WRITE : 0) |
					    (i + 1 < count ? VRING_NEXT : 0)),
			.next = (uint16_t)((first + i + 1) % ring->size),
		};

		vring_set_desc(ring, (uint16_t)((first + i) % ring->size), desc);
	}
	vring_offer(ring, (uint16_t)(first % ring->size));
	vdriver_notify(&machine->driver, queue_of(machine, step));
}

/* A frame in two segments, as drivers have it. It is at one place: a later one overwrites it. */
static void offer_frame(struct machine *machine, const struct step *step, const uint8_t *data,
			size_t len)
{
	struct vring *ring = &machine->driver.queues[1].ring;
	const uint8_t header[HEADER_LEN] = {(uint8_t)step->a};
	const struct vring_desc descs[] = {
		{.addr = DATA_AT, .len = HEADER_LEN, .flags = VRING_NEXT, .next = 1 % ring->size},
		{.addr = DATA_AT + HEADER_LEN, .len = (uint32_t)len},
	};

	(void)!gmem_write(machine->driver.mem, GPA(DATA_AT), header, sizeof(header));
	(void)!gmem_write(machine->driver.mem, GPA(DATA_AT + HEADER_LEN), data, len);
	for (unsigned i = 0; i < ARRAY_COUNT(descs); i++) {
		vring_set_desc(ring, (uint16_t)(i % ring->size), descs[i]);
	}
	vring_offer(ring, 0);
	vdriver_notify(&machine->driver, 1);
}

/* What a driver of several pairs says: which bytes, and how many, is the input's. */
static void offer_command(struct machine *machine, const struct step *step)
{
	unsigned queue = net_virtio(machine->net)->queue_count - 1;
	struct vring *ring = &machine->driver.queues[queue].ring;
	uint8_t bytes[] = {4, 0, (uint8_t)step->value, 0, (uint8_t)step->addr, 0, 0};
	const struct vring_desc descs[] = {
		{.addr = DATA_AT, .len = step->a % 8u, .flags = VRING_NEXT, .next = 1 % ring->size},
		{.addr = DATA_AT + 8, .len = step->kind % 3u, .flags = VRING_WRITE},
	};

	bytes[step->addr % 4] ^= (uint8_t)(step->addr >> 8);
	(void)!gmem_write(machine->driver.mem, GPA(DATA_AT), bytes, sizeof(bytes));
	for (unsigned i = 0; i < ARRAY_COUNT(descs); i++) {
		vring_set_desc(ring, (uint16_t)(i % ring->size), descs[i]);
	}
	vring_offer(ring, 0);
	vdriver_notify(&machine->driver, queue);
}

static void set_desc(struct vring *ring, const struct step *step)
{
	/* All 36 bits that the memory has, and what is beyond. */
	const struct vring_desc desc = {
		.addr = (uint64_t)step->addr << (step->kind & 8 ? 32 : (step->kind & 16) / 4),
		.len = step->value,
		.flags = step->kind & 7,
		.next = step->kind >> 3,
	};

	vring_set_desc(ring, step->a % ring->size, desc);
}

/* What needs rings. */
static void play_ring(struct machine *machine, const struct step *step)
{
	struct vring *ring = &machine->driver.queues[queue_of(machine, step)].ring;

	if (!machine->is_started) {
		return;
	}
	switch (step->action % ACTIONS) {
	case ACT_CHAIN:
		offer_chain(machine, ring, step);
		break;
	case ACT_DESC:
		set_desc(ring, step);
		break;
	case ACT_OFFER:
		vring_offer(ring, step->a);
		break;
	default:
		vring_set_avail_idx(ring, step->a);
		break;
	}
}

static void set_limits(struct machine *machine, const struct step *step)
{
	const struct limiter_config limit = {
		.bandwidth = {.size = step->value % 100000, .refill_time_ms = 3600000},
		.has_bandwidth = true,
		.ops = {.size = step->a % 100, .refill_time_ms = 3600000},
		.has_ops = true,
	};
	struct error err = {0};

	if (net_set_limits(machine->net, step->kind & 1 ? &limit : NULL,
			   step->kind & 2 ? &limit : NULL, &err) < 0) {
		abort();
	}
}

static void send_frame(const struct machine *machine, const struct step *step)
{
	static uint8_t frame[FRAME_CAP];

	if (machine->port == PORT_STREAM) {
		uint32_t len = step->kind & 1 ? step->value % FRAME_CAP : step->addr;
		const uint8_t prefix[] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16),
					  (uint8_t)(len >> 8), (uint8_t)len};

		(void)!send(host_of(machine, step), prefix, sizeof(prefix), MSG_NOSIGNAL);
	}
	memset(frame, step->kind, 64);
	/* Not none: to a socket that would be its end. */
	(void)!send(host_of(machine, step), frame, step->value % FRAME_CAP + 1, MSG_NOSIGNAL);
}

static void receive_frames(const struct machine *machine, const struct step *step)
{
	static uint8_t frame[FRAME_CAP];

	for (;;) {
		ssize_t got = recv(host_of(machine, step), frame, sizeof(frame), MSG_TRUNC);

		if (got <= 0) {
			return;
		}
		if (machine->port != PORT_STREAM && (got < 12 || got > 65562)) {
			abort();
		}
	}
}

/* Returns how many of the `size` bytes after the step belong to it. */
static size_t play(struct machine *machine, const struct step *step, const uint8_t *data,
		   size_t size)
{
	struct vdriver *driver = &machine->driver;
	size_t len = min_u64(step->kind, size);

	switch (step->action % ACTIONS) {
	case ACT_START:
		start(machine, step);
		break;
	case ACT_STOP:
		vdriver_stop(driver);
		break;
	case ACT_REG_WRITE:
		vdriver_write(driver, step->a % 0x200, step->value);
		break;
	case ACT_REG_READ:
		(void)vdriver_read(driver, step->a % 0x200);
		break;
	case ACT_FRAME:
		if (machine->is_started) {
			offer_frame(machine, step, data, len);
		}
		return len;
	case ACT_COMMAND:
		if (machine->is_started && machine->port == PORT_TAPS) {
			offer_command(machine, step);
		}
		break;
	case ACT_TIME:
		now += step->value * UINT64_C(1000);
		break;
	case ACT_MEMORY:
		(void)!gmem_write(driver->mem, GPA(step->addr), data, len);
		return len;
	case ACT_NOTIFY:
		vdriver_notify(driver, queue_of(machine, step));
		break;
	case ACT_HOST_SEND:
		send_frame(machine, step);
		break;
	case ACT_HOST_RECEIVE:
		receive_frames(machine, step);
		break;
	case ACT_LIMITS:
		set_limits(machine, step);
		break;
	case ACT_REMAKE:
		destroy(machine);
		*machine = (struct machine){.port = (machine->port + 1) % PORTS};
		build(machine);
		break;
	case ACT_PAUSE:
		virtio_quiesce(net_virtio(machine->net));
		virtio_resume(net_virtio(machine->net));
		break;
	default:
		play_ring(machine, step);
		break;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine machine;
	struct input input = {data, size};
	struct step step;

	be_quiet();
	machine = (struct machine){0};
	build(&machine);
	while (input_take(&input, &step, sizeof(step))) {
		input_skip(&input, play(&machine, &step, input.data, input.size));
		vdriver_run(&machine.driver);
	}
	destroy(&machine);
	return 0;
}
