/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "backend": a disk for a monitor, by vhost-user, that keeps account of requests in flight, so that
 * it may be killed at any moment and the next one goes on.
 *
 * Theory of operation. It takes all requests that are there, then does them from the last to the
 * first, so that answers come in another order than requests. What it knows of a queue is in the
 * memory that the front-end hands from one back-end to the next: a mark for each chain that is
 * taken, and around each answer what says whether it was given [QEMU docs/interop/vhost-user.rst,
 * "Inflight I/O tracking"]. After SIGUSR1 it kills itself between the work and the answer of its
 * next request.
 *
 * With "count" in place of a disk it is a device of any kind that answers each request with its
 * number, the next of a count that it hands out and takes as its state [ibid., "Migrating back-end
 * state"].
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

enum {
	GET_FEATURES = 1,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
	GET_INFLIGHT_FD = 31,
	SET_INFLIGHT_FD = 32,
	SET_DEVICE_STATE_FD = 42,
	CHECK_DEVICE_STATE = 43,

	PROTOCOL_MQ = 1 << 0,
	PROTOCOL_CONFIG = 1 << 9,
	PROTOCOL_INFLIGHT = 1 << 12,
	PROTOCOL_DEVICE_STATE = 1 << 19,
	STATE_BY_OURS = 1 << 8, /* by the descriptor that came */

	QUEUES = 4,
	ENTRIES = 256, /* of a queue at most */
	REGIONS = 8,
	SEGMENTS = 256, /* of a request */
	HEADER = 12,
	REPLY = 5, /* flags */
	CHAINED = 1,
	INDIRECT = 4,
};

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* In the memory that outlives us. */
struct account {
	uint8_t is_taken[ENTRIES];
	uint16_t used;	    /* answers, as of the last that we are done with */
	uint16_t answering; /* the chain that is being answered */
};

struct queue {
	uint32_t size;
	const struct desc *desc;
	const volatile uint16_t *avail;
	volatile uint16_t *used;
	uint16_t next; /* entry to take */
	int kick, call;
	bool is_on;
	struct account *account;
};

struct __attribute__((packed)) message {
	uint32_t request, flags, len;
	union {
		uint8_t bytes[512];
		uint64_t u64;
		uint32_t words[2];
		struct {
			uint32_t ring, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint64_t count;
			struct {
				uint64_t gpa, len, hva, offset;
			} regions[REGIONS];
		} memory;
		struct {
			uint32_t offset, len, flags;
			uint8_t bytes[256];
		} config;
		struct {
			uint64_t len, offset;
			uint16_t queues, size;
			uint32_t pad;
		} inflight;
	};
};

static struct {
	int fd;	  /* to the front-end */
	int disk; /* -1: it counts */
	uint32_t count;
	int state; /* the pipe to read it from; -1: none */
	uint64_t sectors;
	struct {
		uint64_t gpa, len, hva;
		char *at;
	} regions[REGIONS];
	size_t region_count;
	struct queue queues[QUEUES];
} self;

static void die(const char *what)
{
	exit(complain("backend: %s: %s", what, strerror(errno)));
}

/* The address of something that is known by that in the guest, or in the front-end. */
static void *at(uint64_t address, bool is_gpa)
{
	for (size_t i = 0; i < self.region_count; i++) {
		uint64_t begin = is_gpa ? self.regions[i].gpa : self.regions[i].hva;

		if (address >= begin && address - begin < self.regions[i].len) {
			return self.regions[i].at + (address - begin);
		}
	}
	exit(complain("backend: %#llx is in no region", (unsigned long long)address));
}

/* --- Requests --- */

/* The segments of a chain; returns how many. */
static size_t segments_of(const struct queue *queue, uint16_t head, struct iovec *iov)
{
	const struct desc *table = queue->desc;
	const struct desc *desc = &table[head];
	size_t count = 0;

	if ((desc->flags & INDIRECT) != 0) {
		table = at(desc->addr, true);
		desc = table;
	}
	for (;; desc = &table[desc->next]) {
		iov[count++] = (struct iovec){at(desc->addr, true), desc->len};
		if ((desc->flags & CHAINED) == 0 || count == SEGMENTS) {
			return count;
		}
	}
}

/* Does what a chain asks for; the length of what was written to it. */
static uint32_t perform(const struct queue *queue, uint16_t head)
{
	struct iovec iov[SEGMENTS];
	size_t count = segments_of(queue, head, iov);
	const struct virtio_blk_outhdr *header = iov[0].iov_base;
	uint8_t *status = iov[count - 1].iov_base;
	off_t offset = (off_t)header->sector * 512;
	ssize_t done = 0;

	if (self.disk < 0) {
		self.count++;
		memcpy(status, &self.count, sizeof(self.count));
		return sizeof(self.count);
	}
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		done = preadv(self.disk, iov + 1, (int)count - 2, offset);
		break;
	case VIRTIO_BLK_T_OUT:
		done = pwritev(self.disk, iov + 1, (int)count - 2, offset);
		break;
	case VIRTIO_BLK_T_FLUSH:
		done = fdatasync(self.disk);
		break;
	default:
		break;
	}
	*status = done < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	return header->type == VIRTIO_BLK_T_IN && done > 0 ? (uint32_t)done + 1 : 1;
}

static void answer(struct queue *queue, uint16_t head, uint32_t len)
{
	uint16_t index = queue->used[1];
	volatile uint32_t *entry =
		(volatile void *)((volatile char *)queue->used + 4 + index % queue->size * 8);

	entry[0] = head;
	entry[1] = len;
	queue->account->answering = head;
	__atomic_store_n(&queue->used[1], (uint16_t)(index + 1), __ATOMIC_SEQ_CST);
	queue->account->is_taken[head] = 0;
	__atomic_store_n(&queue->account->used, (uint16_t)(index + 1), __ATOMIC_SEQ_CST);
}

static volatile sig_atomic_t shall_die;

static void note(int signal)
{
	(void)signal;
	shall_die = 1;
}

/* Answers these chains, the last one first; so that some are in flight for a while. */
static void serve(struct queue *queue, const uint16_t *heads, size_t count)
{
	while (count > 0) {
		uint16_t head = heads[--count];
		uint32_t len = perform(queue, head);

		usleep(200);
		if (shall_die) {
			(void)raise(SIGKILL);
		}
		answer(queue, head, len);
		(void)!eventfd_write(queue->call, 1);
	}
}

static void take(struct queue *queue)
{
	uint16_t heads[ENTRIES];
	size_t count = 0;
	eventfd_t old;

	(void)!eventfd_read(queue->kick, &old);
	while (queue->next != __atomic_load_n(&queue->avail[1], __ATOMIC_SEQ_CST)) {
		uint16_t head = queue->avail[2 + queue->next % queue->size];

		queue->account->is_taken[head] = 1;
		queue->next++;
		heads[count++] = head;
	}
	serve(queue, heads, count);
}

/* A queue begins: what the back-end before had taken and not answered comes first. */
static void begin(struct queue *queue)
{
	struct account *account = queue->account;
	uint16_t heads[ENTRIES];
	size_t count = 0;

	if (account->used != queue->used[1]) {
		account->is_taken[account->answering] = 0;
		account->used = queue->used[1];
	}
	for (uint16_t i = 0; i < queue->size; i++) {
		if (account->is_taken[i] != 0) {
			heads[count++] = i;
		}
	}
	queue->next = (uint16_t)(queue->used[1] + count);
	queue->is_on = true;
	printf("backend: %zu in flight\n", count);
	serve(queue, heads, count);
}

/* --- Messages --- */

static void reply(struct message *message, uint32_t len)
{
	message->flags = REPLY;
	message->len = len;
	if (!write_all(self.fd, message, HEADER + len)) {
		die("no answer");
	}
}

static void map(const struct message *message, const int *fds)
{
	self.region_count = message->memory.count;
	for (size_t i = 0; i < self.region_count; i++) {
		self.regions[i].gpa = message->memory.regions[i].gpa;
		self.regions[i].len = message->memory.regions[i].len;
		self.regions[i].hva = message->memory.regions[i].hva;
		self.regions[i].at =
			mmap(NULL, self.regions[i].len, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i],
			     (off_t)message->memory.regions[i].offset);
		if (self.regions[i].at == MAP_FAILED) {
			die("memory");
		}
	}
}

static void set_account(const struct message *message, int fd)
{
	struct account *accounts =
		mmap(NULL, message->inflight.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (accounts == MAP_FAILED) {
		die("memory for requests in flight");
	}
	for (size_t i = 0; i < QUEUES; i++) {
		self.queues[i].account = &accounts[i];
	}
}

/* It may be longer each time. */
static void look_at_disk(void)
{
	struct stat st;

	if (fstat(self.disk, &st) < 0) {
		die("the disk");
	}
	self.sectors = (uint64_t)st.st_size / 512;
}

static void answer_get(struct message *message)
{
	const uint64_t features = UINT64_C(1) << 32 | UINT64_C(1) << 30 | 1 << 28 |
				  1 << VIRTIO_BLK_F_FLUSH | 1 << VIRTIO_BLK_F_MQ |
				  1 << VIRTIO_BLK_F_SEG_MAX;

	switch (message->request) {
	case GET_FEATURES:
		message->u64 = features;
		reply(message, sizeof(message->u64));
		break;
	case GET_PROTOCOL_FEATURES:
		message->u64 = PROTOCOL_MQ | PROTOCOL_CONFIG | PROTOCOL_INFLIGHT;
		message->u64 |= self.disk < 0 ? PROTOCOL_DEVICE_STATE : 0;
		reply(message, sizeof(message->u64));
		break;
	case GET_QUEUE_NUM:
		message->u64 = QUEUES;
		reply(message, sizeof(message->u64));
		break;
	case GET_CONFIG:
		look_at_disk();
		memset(message->config.bytes, 0, sizeof(message->config.bytes));
		memcpy(message->config.bytes, &self.sectors, sizeof(self.sectors));
		message->config.bytes[12] = SEGMENTS - 2; /* seg_max */
		message->config.bytes[34] = QUEUES;
		reply(message, HEADER + message->config.len);
		break;
	default:
		message->inflight.len = QUEUES * sizeof(struct account);
		message->inflight.offset = 0;
		reply(message, sizeof(message->inflight));
		break;
	}
}

static void set_queue(struct message *message, int fd)
{
	struct queue *queue = &self.queues[message->bytes[0] % QUEUES];

	switch (message->request) {
	case SET_VRING_NUM:
		queue->size = message->words[1];
		break;
	case SET_VRING_ADDR:
		queue->desc = at(message->addr.desc, false);
		queue->used = at(message->addr.used, false);
		queue->avail = at(message->addr.avail, false);
		break;
	case SET_VRING_KICK:
		queue->kick = fd;
		break;
	case SET_VRING_CALL:
		queue->call = fd;
		break;
	case SET_VRING_ENABLE:
		begin(queue);
		break;
	default:
		queue->is_on = false;
		message->words[1] = queue->next;
		reply(message, sizeof(message->words));
		break;
	}
}

/* The pipe has room for the count, so that it is written at once, and read when it is asked for. */
static void move_state(struct message *message, int fd)
{
	bool is_load = message->words[0] != 0;

	if (!is_load && !write_all(fd, &self.count, sizeof(self.count))) {
		die("the state");
	}
	if (is_load) {
		self.state = fd;
	} else {
		close(fd);
	}
	message->u64 = STATE_BY_OURS;
	reply(message, sizeof(message->u64));
}

static void check_state(struct message *message)
{
	char more;

	message->u64 = 0;
	if (self.state >= 0) {
		bool is_whole = read_all(self.state, &self.count, sizeof(self.count)) &&
				read(self.state, &more, 1) == 0;

		message->u64 = is_whole ? 0 : 1;
		close(self.state);
		self.state = -1;
	}
	printf("backend: %u answered\n", self.count);
	reply(message, sizeof(message->u64));
}

static void handle(struct message *message, const int *fds)
{
	switch (message->request) {
	case GET_FEATURES:
	case GET_PROTOCOL_FEATURES:
	case GET_QUEUE_NUM:
	case GET_CONFIG:
	case GET_INFLIGHT_FD:
		answer_get(message);
		break;
	case SET_MEM_TABLE:
		map(message, fds);
		break;
	case SET_INFLIGHT_FD:
		set_account(message, fds[0]);
		break;
	case SET_VRING_NUM:
	case SET_VRING_ADDR:
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ENABLE:
	case GET_VRING_BASE:
		set_queue(message, fds[0]);
		break;
	case SET_DEVICE_STATE_FD:
		move_state(message, fds[0]);
		break;
	case CHECK_DEVICE_STATE:
		check_state(message);
		break;
	default:
		break;
	}
}

/* Reads a message; false: the front-end has gone. */
static bool receive(struct message *message, int *fds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(REGIONS * sizeof(int))];
	} control = {0};
	struct iovec iov = {message, HEADER};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};

	if (recvmsg(self.fd, &header, MSG_WAITALL) != HEADER) {
		return false;
	}
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

	if (cmsg != NULL) {
		memcpy(fds, CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
	}
	return message->len <= sizeof(message->bytes) &&
	       read_all(self.fd, message->bytes, message->len);
}

static void turn(void)
{
	struct pollfd sources[1 + QUEUES] = {{.fd = self.fd, .events = POLLIN}};
	struct message message;
	int fds[REGIONS] = {-1};

	for (size_t i = 0; i < QUEUES; i++) {
		sources[1 + i] = (struct pollfd){
			.fd = self.queues[i].is_on ? self.queues[i].kick : -1, .events = POLLIN};
	}
	(void)poll(sources, 1 + QUEUES, -1);
	for (size_t i = 0; i < QUEUES; i++) {
		if (sources[1 + i].revents != 0) {
			take(&self.queues[i]);
		}
	}
	if (sources[0].revents != 0) {
		if (!receive(&message, fds)) {
			exit(0);
		}
		handle(&message, fds);
	}
}

int cmd_backend(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)argc;
	(void)signal(SIGUSR1, note);
	memcpy(address.sun_path, argv[1], strnlen(argv[1], sizeof(address.sun_path) - 1));
	unlink(argv[1]);
	self.state = -1;
	self.disk = strcmp(argv[2], "count") == 0 ? -1 : open(argv[2], O_RDWR);
	if (self.disk < 0 && strcmp(argv[2], "count") != 0) {
		die(argv[2]);
	}
	if (bind(listener, (void *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0) {
		die(argv[1]);
	}
	self.fd = accept(listener, NULL, NULL);
	for (;;) {
		turn();
	}
}
