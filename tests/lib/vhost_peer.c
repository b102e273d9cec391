/* SPDX-License-Identifier: Apache-2.0 */
/* A vhost-user back-end in a thread of the test. */
#include "tests/lib/vhost_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

enum {
	FLAG_REPLY = 5, /* version 1, and a reply */
	FLAG_PLAIN = 1,
	DESC_NEXT = 1,
	STATE_BY_OURS = 1 << 8, /* by the pipe that came */
	CHUNK = 65536,
};

static void fail(const char *what)
{
	perror(what);
	abort();
}

void vhost_peer_init(struct vhost_peer *peer)
{
	static _Atomic unsigned number;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(peer, 0, sizeof(*peer));
	snprintf(peer->path, sizeof(peer->path), "/tmp/squib-peer-%d-%u", (int)getpid(),
		 atomic_fetch_add(&number, 1));
	memcpy(address.sun_path, peer->path, strlen(peer->path));
	unlink(peer->path);
	peer->features = ~UINT64_C(0);
	peer->protocol = VHOST_PROTOCOL_F_CONFIG | VHOST_PROTOCOL_F_MQ;
	peer->queue_num = VHOST_PEER_QUEUES;
	peer->inflight_len = 4096;
	peer->pattern = 0x5a;
	peer->fd = -1;
	peer->inflight = -1;
	peer->pipe = -1;
	peer->state_answer = STATE_BY_OURS;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < VHOST_PEER_QUEUES; i++) {
		peer->queues[i].kick = peer->queues[i].call = -1;
	}
	peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->listener < 0 || bind(peer->listener, (void *)&address, sizeof(address)) < 0 ||
	    listen(peer->listener, 8) < 0 || pipe(peer->wake) < 0) {
		fail("vhost_peer_init");
	}
}

/* --- Its memory --- */

static void *at(struct vhost_peer *peer, uint64_t address, bool is_gpa)
{
	for (size_t i = 0; i < peer->region_count; i++) {
		const struct vhost_peer_region *region = &peer->regions[i];
		uint64_t begin = is_gpa ? region->gpa : region->hva;

		if (address >= begin && address - begin < region->len) {
			return region->at + (address - begin);
		}
	}
	fprintf(stderr, "vhost_peer: the address %#llx is in no region\n",
		(unsigned long long)address);
	abort();
}

/* --- Its state --- */

static void end_moving(struct vhost_peer *peer)
{
	if (peer->is_moving) {
		pthread_join(peer->mover, NULL);
		peer->is_moving = false;
	}
	if (peer->pipe >= 0) {
		close(peer->pipe);
		peer->pipe = -1;
	}
}

static void *write_state(void *arg)
{
	static const uint8_t more[CHUNK];
	struct vhost_peer *peer = arg;
	size_t done = 0;
	ssize_t put = 1;

	while (done < peer->state_len && put > 0) {
		put = write(peer->pipe, peer->state + done, peer->state_len - done);
		done += put > 0 ? (size_t)put : 0;
	}
	while (peer->is_state_endless && put > 0) {
		put = write(peer->pipe, more, sizeof(more));
	}
	close(peer->pipe);
	peer->pipe = -1;
	return NULL;
}

static void *read_state(void *arg)
{
	struct vhost_peer *peer = arg;
	ssize_t got = 1;

	peer->state_len = 0;
	while (got > 0) {
		peer->state = realloc(peer->state, peer->state_len + CHUNK);
		got = read(peer->pipe, peer->state + peer->state_len, CHUNK);
		peer->state_len += got > 0 ? (size_t)got : 0;
	}
	return NULL;
}

/* The first thread of this process waits in read(2). */
static bool is_reading(void)
{
	char path[64];
	long call = -1;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)getpid());
	FILE *file = fopen(path, "re");

	if (file == NULL || fscanf(file, "%ld", &call) != 1) {
		call = -1;
	}
	if (file != NULL) {
		fclose(file);
	}
	return call == SYS_read;
}

/* Until a reader that was told of a byte finds none, or for as long as it is told to. */
static void *steal_state(void *arg)
{
	struct vhost_peer *peer = arg;
	char path[64];
	char byte = 0;
	bool is_caught = false;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", peer->pipe);
	int both = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	for (unsigned turn = 0; peer->is_state_stolen; turn++) {
		if (is_caught) {
			usleep(1000);
			continue;
		}
		(void)!write(both, &byte, 1);
		for (volatile unsigned i = 0; i < turn * 37 % 20000; i++) {
		}
		if (read(both, &byte, 1) == 1) {
			usleep(100);
			is_caught = is_reading();
		}
	}
	close(both);
	return NULL;
}

static void move_state(struct vhost_peer *peer, const uint8_t *payload, int fd)
{
	bool is_load = load_le32(payload) == VHOST_LOAD;

	end_moving(peer);
	peer->pipe = fd;
	if (peer->fd < 0) {
		end_moving(peer);
	} else if (!peer->is_state_stuck) {
		peer->is_moving = true;
		void *(*fn)(void *) = is_load ? read_state : write_state;

		if (peer->is_state_stolen) {
			fn = steal_state;
		}
		if (pthread_create(&peer->mover, NULL, fn, peer) != 0) {
			fail("vhost_peer: a thread for its state");
		}
	}
}

static void forget(struct vhost_peer *peer)
{
	end_moving(peer);
	for (size_t i = 0; i < peer->region_count; i++) {
		munmap(peer->regions[i].at, peer->regions[i].len);
	}
	peer->region_count = 0;
	for (size_t i = 0; i < VHOST_PEER_QUEUES; i++) {
		if (peer->queues[i].kick >= 0) {
			close(peer->queues[i].kick);
		}
		if (peer->queues[i].call >= 0) {
			close(peer->queues[i].call);
		}
		peer->queues[i] = (struct vhost_peer_queue){.kick = -1, .call = -1};
	}
	if (peer->inflight >= 0) {
		close(peer->inflight);
		peer->inflight = -1;
	}
}

static void hang_up(struct vhost_peer *peer)
{
	forget(peer);
	if (peer->fd >= 0) {
		close(peer->fd);
		peer->fd = -1;
	}
}

static void map(struct vhost_peer *peer, const uint8_t *payload, const int *fds)
{
	peer->region_count = load_le32(payload);
	for (size_t i = 0; i < peer->region_count; i++) {
		const uint8_t *from = payload + 8 + i * 32;
		struct vhost_peer_region *region = &peer->regions[i];

		*region = (struct vhost_peer_region){load_le64(from), load_le64(from + 8),
						     load_le64(from + 16), NULL};
		region->at = mmap(NULL, region->len, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i],
				  (off_t)load_le64(from + 24));
		if (region->at == MAP_FAILED) {
			fail("vhost_peer: mmap");
		}
	}
}

/* --- Its queues --- */

static void answer_chain(struct vhost_peer *peer, struct vhost_peer_queue *queue, uint16_t head)
{
	const uint8_t *table = at(peer, queue->desc, false);
	uint8_t *used = at(peer, queue->used, false);
	const uint8_t *desc = table + (size_t)head * 16;

	while ((load_le16(desc + 12) & DESC_NEXT) != 0) {
		desc = table + (size_t)load_le16(desc + 14) * 16;
	}
	memset(at(peer, load_le64(desc), true), peer->pattern, load_le32(desc + 8));
	uint16_t index = load_le16(used + 2);
	uint8_t *entry = used + 4 + (size_t)(index % queue->size) * 8;

	store_le32(entry, head);
	store_le32(entry + 4, load_le32(desc + 8));
	__atomic_store_n((uint16_t *)(void *)(used + 2), (uint16_t)(index + 1), __ATOMIC_SEQ_CST);
	atomic_fetch_add(&peer->served, 1);
}

static void serve(struct vhost_peer *peer, struct vhost_peer_queue *queue)
{
	uint64_t count;
	const uint8_t *avail = at(peer, queue->avail, false);

	(void)!read(queue->kick, &count, sizeof(count));
	while (__atomic_load_n((const uint16_t *)(const void *)(avail + 2), __ATOMIC_SEQ_CST) !=
	       queue->base) {
		uint16_t head = load_le16(avail + 4 + (size_t)(queue->base % queue->size) * 2);

		queue->base++;
		atomic_fetch_add(&peer->taken, 1);
		if (!peer->is_lazy) {
			answer_chain(peer, queue, head);
		}
	}
	if (queue->call >= 0 && !peer->is_lazy) {
		(void)!eventfd_write(queue->call, 1);
	}
}

/* --- Its answers --- */

static void put(struct vhost_peer *peer, const uint8_t *bytes, size_t len)
{
	(void)!send(peer->fd, bytes, len, MSG_NOSIGNAL);
}

static void put_with_fds(struct vhost_peer *peer, uint8_t *bytes, size_t len)
{
	enum {
		COUNT = 16
	};
	struct iovec iov = {bytes, len};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(COUNT * sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
	int fds[COUNT];

	for (size_t i = 0; i < COUNT; i++) {
		fds[i] = peer->listener;
	}
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	(void)!sendmsg(peer->fd, &header, MSG_NOSIGNAL);
}

static void reply(struct vhost_peer *peer, enum vhost_request request, const uint8_t *payload,
		  uint32_t len)
{
	uint8_t bytes[VHOST_HEADER_LEN + 256] = {0};
	bool is_here = peer->fault_at == request;
	enum vhost_peer_fault fault = is_here ? peer->fault : PEER_ANSWERS;

	memcpy(bytes + VHOST_HEADER_LEN, payload, len);
	len += fault == PEER_IS_LONG;
	len -= fault == PEER_IS_SHORT;
	len = fault == PEER_IS_EMPTY ? 0 : len;
	store_le32(bytes, fault == PEER_ANSWERS_OTHER ? VHOST_SET_OWNER : request);
	store_le32(bytes + 4, fault == PEER_FORGETS_FLAG ? FLAG_PLAIN : FLAG_REPLY);
	store_le32(bytes + 8, fault == PEER_IS_HUGE ? UINT32_MAX : len);
	if (fault == PEER_LIES) {
		memset(bytes + VHOST_HEADER_LEN, 0xff, len);
	}
	len += VHOST_HEADER_LEN;
	switch (fault) {
	case PEER_ANSWERS:
	case PEER_ANSWERS_OTHER:
	case PEER_FORGETS_FLAG:
	case PEER_IS_SHORT:
	case PEER_IS_LONG:
	case PEER_IS_HUGE:
	case PEER_IS_EMPTY:
	case PEER_LIES:
		put(peer, bytes, len);
		break;
	case PEER_IS_SILENT:
		break;
	case PEER_HANGS_UP:
		hang_up(peer);
		break;
	case PEER_CUTS:
		put(peer, bytes, VHOST_HEADER_LEN / 2);
		hang_up(peer);
		break;
	case PEER_DRIBBLES:
		for (uint32_t i = 0; i < len; i++) {
			put(peer, bytes + i, 1);
		}
		break;
	case PEER_SENDS_FDS:
		put_with_fds(peer, bytes, len);
		break;
	case PEER_TALKS:
		put(peer, bytes, len);
		put(peer, bytes, len);
		break;
	}
}

static void reply_u64(struct vhost_peer *peer, enum vhost_request request, uint64_t value)
{
	uint8_t payload[8];

	store_le64(payload, value);
	reply(peer, request, payload, sizeof(payload));
}

static void take_fd(int *to, const int *fds)
{
	if (*to >= 0) {
		close(*to);
	}
	*to = fds[0];
}

static void note_inflight(struct vhost_peer *peer, const uint8_t *payload)
{
	size_t len = load_le64(payload);
	uint64_t *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, peer->inflight, 0);

	if (memory == MAP_FAILED) {
		fail("vhost_peer: mmap of memory for requests in flight");
	}
	peer->inflight_seen = memory[0];
	memory[0] = 0x1234;
	munmap(memory, len);
}

static void handle(struct vhost_peer *peer, const uint8_t *bytes, const int *fds)
{
	enum vhost_request request = (enum vhost_request)load_le32(bytes);
	const uint8_t *payload = bytes + VHOST_HEADER_LEN;
	uint8_t out[256] = {0};
	struct vhost_peer_queue *queue = &peer->queues[payload[0] % VHOST_PEER_QUEUES];

	switch (request) {
	case VHOST_GET_FEATURES:
		reply_u64(peer, request, peer->features);
		break;
	case VHOST_SET_FEATURES:
		peer->acked = load_le64(payload);
		break;
	case VHOST_GET_PROTOCOL_FEATURES:
		reply_u64(peer, request, peer->protocol);
		break;
	case VHOST_SET_PROTOCOL_FEATURES:
		peer->acked_protocol = load_le64(payload);
		break;
	case VHOST_GET_QUEUE_NUM:
		reply_u64(peer, request, peer->queue_num);
		break;
	case VHOST_GET_CONFIG:
		memcpy(out, payload, 12);
		memcpy(out + 12, peer->config, load_le32(payload + 4));
		reply(peer, request, out, 12 + load_le32(payload + 4));
		break;
	case VHOST_SET_MEM_TABLE:
		map(peer, payload, fds);
		break;
	case VHOST_SET_VRING_NUM:
		queue->size = load_le32(payload + 4);
		break;
	case VHOST_SET_VRING_BASE:
		queue->base = (uint16_t)load_le32(payload + 4);
		peer->bases[payload[0] % VHOST_PEER_QUEUES] = queue->base;
		break;
	case VHOST_SET_VRING_ADDR:
		queue->desc = load_le64(payload + 8);
		queue->used = load_le64(payload + 16);
		queue->avail = load_le64(payload + 24);
		break;
	case VHOST_SET_VRING_CALL:
		take_fd(&queue->call, fds);
		break;
	case VHOST_SET_VRING_KICK:
		take_fd(&queue->kick, fds);
		break;
	case VHOST_SET_VRING_ENABLE:
		queue->is_enabled = true;
		break;
	case VHOST_GET_VRING_BASE:
		memcpy(out, payload, 4);
		store_le32(out + 4, queue->base);
		queue->is_enabled = false;
		reply(peer, request, out, 8);
		break;
	case VHOST_GET_INFLIGHT_FD:
		store_le64(out, peer->inflight_len);
		memcpy(out + 16, payload + 16, 4);
		reply(peer, request, out, 24);
		break;
	case VHOST_SET_INFLIGHT_FD:
		take_fd(&peer->inflight, fds);
		note_inflight(peer, payload);
		break;
	case VHOST_SET_DEVICE_STATE_FD:
		reply_u64(peer, request, peer->state_answer);
		move_state(peer, payload, fds[0]);
		break;
	case VHOST_CHECK_DEVICE_STATE:
		end_moving(peer);
		reply_u64(peer, request, peer->check_answer);
		break;
	case VHOST_NONE:
	case VHOST_SET_OWNER:
		break;
	}
	/* Last, so that a test that has seen it finds it done. */
	atomic_fetch_add(&peer->seen[request % VHOST_PEER_REQUESTS], 1);
}

/* --- Its thread --- */

/* Reads a message whole; false: the front-end has hung up. */
static bool receive(struct vhost_peer *peer, uint8_t *bytes, int fds[VHOST_REGIONS_MAX])
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(VHOST_REGIONS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {bytes, VHOST_HEADER_LEN};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};

	if (recvmsg(peer->fd, &header, MSG_WAITALL | MSG_CMSG_CLOEXEC) != VHOST_HEADER_LEN) {
		return false;
	}
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

	if (cmsg != NULL) {
		memcpy(fds, CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
	}
	uint32_t len = load_le32(bytes + 8);

	return len <= VHOST_PAYLOAD_MAX &&
	       (len == 0 || recv(peer->fd, bytes + VHOST_HEADER_LEN, len, MSG_WAITALL) == len);
}

static void handle_next(struct vhost_peer *peer)
{
	uint8_t bytes[VHOST_MSG_MAX] = {0};
	int fds[VHOST_REGIONS_MAX] = {-1, -1, -1, -1, -1, -1, -1, -1};

	if (!receive(peer, bytes, fds)) {
		hang_up(peer);
		return;
	}
	handle(peer, bytes, fds);
	if (load_le32(bytes) == VHOST_SET_MEM_TABLE) {
		for (size_t i = 0; i < VHOST_REGIONS_MAX; i++) {
			if (fds[i] >= 0) {
				close(fds[i]);
			}
		}
	}
}

static void turn(struct vhost_peer *peer)
{
	struct pollfd sources[3 + VHOST_PEER_QUEUES] = {
		{.fd = peer->wake[0], .events = POLLIN},
		{.fd = peer->fd < 0 ? peer->listener : -1, .events = POLLIN},
		{.fd = peer->fd, .events = POLLIN},
	};

	for (size_t i = 0; i < VHOST_PEER_QUEUES; i++) {
		const struct vhost_peer_queue *queue = &peer->queues[i];

		sources[3 + i] = (struct pollfd){.fd = queue->is_enabled ? queue->kick : -1,
						 .events = POLLIN};
	}
	(void)poll(sources, ARRAY_COUNT(sources), -1);
	if (sources[0].revents != 0) {
		char byte;

		(void)!read(peer->wake[0], &byte, 1);
		if (peer->is_to_say) {
			put(peer, peer->said, peer->said_len);
			peer->is_to_say = false;
		}
		if (peer->is_to_hang_up) {
			hang_up(peer);
			peer->is_to_hang_up = false;
		}
		return;
	}
	/* With a front-end that has gone, the rings are the next one's. */
	bool is_alone = (sources[2].revents & POLLHUP) != 0;

	for (size_t i = 0; i < VHOST_PEER_QUEUES && !is_alone; i++) {
		if (sources[3 + i].revents != 0) {
			serve(peer, &peer->queues[i]);
		}
	}
	if (sources[1].revents != 0) {
		peer->fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
		atomic_fetch_add(&peer->connections, 1);
	} else if (sources[2].revents != 0) {
		handle_next(peer);
	}
}

static void *run(void *arg)
{
	struct vhost_peer *peer = arg;

	while (!peer->is_ending) {
		turn(peer);
	}
	hang_up(peer);
	return NULL;
}

void vhost_peer_start(struct vhost_peer *peer)
{
	peer->is_ending = false;
	if (pthread_create(&peer->thread, NULL, run, peer) != 0) {
		fail("vhost_peer_start");
	}
}

void vhost_peer_hang_up(struct vhost_peer *peer)
{
	peer->is_to_hang_up = true;
	(void)!write(peer->wake[1], "", 1);
	while (peer->is_to_hang_up) {
		usleep(100);
	}
}

void vhost_peer_stop(struct vhost_peer *peer)
{
	peer->is_ending = true;
	(void)!write(peer->wake[1], "", 1);
	pthread_join(peer->thread, NULL);
	close(peer->listener);
	close(peer->wake[0]);
	close(peer->wake[1]);
	unlink(peer->path);
	free(peer->state);
}

void vhost_peer_say(struct vhost_peer *peer, const void *bytes, size_t len)
{
	peer->said = bytes;
	peer->said_len = len;
	peer->is_to_say = true;
	(void)!write(peer->wake[1], "", 1);
	while (peer->is_to_say) {
		usleep(100);
	}
}
