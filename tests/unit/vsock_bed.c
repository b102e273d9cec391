/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock multiplexer between the two ends of a test. */
#include "tests/unit/vsock_bed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

uint64_t bed_now_ns;

static uint64_t stand_still(clockid_t id)
{
	(void)id;
	return bed_now_ns;
}

static const struct clock still_clock = {.now_ns = stand_still};

static bool enter(void *arg)
{
	struct bed *bed = arg;

	if (bed->is_reset) {
		bed->is_reset = false;
		vsock_mux_close_all(&bed->mux);
	}
	return true;
}

static void leave(void *arg)
{
	(void)arg;
}

static void keep_packet(struct bed *bed, uint32_t len)
{
	struct bed_packet *packet = &bed->packets[(bed->first + bed->count) % BED_PACKETS];
	uint8_t bytes[VSOCK_HEADER_LEN];

	cr_assert(bed->count < BED_PACKETS);
	cr_assert(gmem_read(bed->mem, GPA(BED_DATA_AT), bytes, sizeof(bytes)) == 0);
	vsock_header_decode(bytes, &packet->header);
	cr_assert_eq(packet->header.len + VSOCK_HEADER_LEN, len);
	cr_assert(len <= bed->buffer_len);
	packet->data = malloc(packet->header.len + 1);
	cr_assert(gmem_read(bed->mem, GPA(BED_DATA_AT + VSOCK_HEADER_LEN), packet->data,
			    packet->header.len) == 0);
	bed->count++;
}

static void serve(void *arg)
{
	struct bed *bed = arg;
	uint32_t len;

	while (bed->buffers > 0 && vsock_mux_has_packet(&bed->mux)) {
		bed->chain.count = 1;
		bed->chain.readable = 0;
		bed->chain.read_len = 0;
		bed->chain.write_len = bed->buffer_len;
		bed->chain.segs[0] =
			(struct virtq_seg){.gpa = GPA(BED_DATA_AT), .len = bed->buffer_len};
		if (vsock_mux_fill(&bed->mux, &bed->io, &len)) {
			bed->buffers--;
			keep_packet(bed, len);
		}
	}
}

void bed_init(struct bed *bed)
{
	const struct gmem_range ranges[] = {{GPA(0), MIB}, {GPA(MIB), MIB}};
	struct error err = {0};

	memset(bed, 0, sizeof(*bed));
	bed->buffers = UINT32_MAX;
	bed->buffer_len = VSOCK_HEADER_LEN + VSOCK_PAYLOAD_MAX;
	bed_now_ns = 1000000;
	snprintf(bed->dir, sizeof(bed->dir), "/tmp/vsock_bed.XXXXXX");
	cr_assert(mkdtemp(bed->dir) != NULL);
	snprintf(bed->path, sizeof(bed->path), "%s/v", bed->dir);
	cr_assert(gmem_new(ranges, 2, GMEM_ANON, &bed->mem, &err) == 0, "%s", err.msg);
	cr_assert(evloop_init(&bed->loop, &err) == 0, "%s", err.msg);
	cr_assert(vsock_listen(bed->path, &bed->listener, &err) == 0, "%s", err.msg);
	const struct vsock_mux_params params = {
		.loop = &bed->loop,
		.clock = &still_clock,
		.metrics = &bed->metrics,
		.owner = {enter, serve, leave, bed},
		.guest_cid = BED_CID,
		.uds_path = bed->path,
		.listener = bed->listener,
	};

	bed->io.mem = bed->mem;
	bed->io.chain = &bed->chain;
	bed->io.rx = &bed->rx;
	fd_raise_limit();
	cr_assert(vsock_mux_init(&bed->mux, &params, &err) == 0, "%s", err.msg);
	vsock_mux_listen(&bed->mux, true);
}

static void remove_dir(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert(system(command) == 0); // NOLINT
}

void bed_destroy(struct bed *bed)
{
	struct vsock_header header;

	while (bed_take(bed, &header, NULL)) {
	}
	vsock_mux_destroy(&bed->mux);
	fd_close(&bed->listener);
	evloop_destroy(&bed->loop);
	gmem_free(bed->mem);
	remove_dir(bed->dir);
}

unsigned bed_run(struct bed *bed)
{
	struct error err = {0};
	unsigned count = 0;
	/* epoll_wait would take the news of sources that are edge-triggered. */
	struct pollfd ready = {.fd = bed->loop.epoll_fd, .events = POLLIN};

	while (count < 100 && poll(&ready, 1, 0) > 0) {
		cr_assert(evloop_run_once(&bed->loop, 0, &err) == 0, "%s", err.msg);
		count++;
	}
	serve(bed);
	return count;
}

void bed_wait(struct bed *bed, uint64_t ms)
{
	bed_now_ns += ms * NS_PER_MS;
	bed->mux.timer.fn(&bed->mux.timer);
	bed_run(bed);
}

/* --- the host --- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

int bed_client(struct bed *bed)
{
	int fd = connect_to(bed->path);

	bed_run(bed);
	return fd;
}

int bed_serve(struct bed *bed, uint32_t port)
{
	struct error err = {0};
	char path[sizeof(bed->path) + 16];
	int fd = -1;

	snprintf(path, sizeof(path), "%s_%u", bed->path, port);
	cr_assert(vsock_listen(path, &fd, &err) == 0, "%s", err.msg);
	return fd;
}

int bed_accept(int server)
{
	int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	cr_assert(fd >= 0, "nobody has connected: %s", strerror(errno));
	return fd;
}

void bed_say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void bed_hear(int fd, const char *text)
{
	char got[256] = {0};
	ssize_t len = recv(fd, got, sizeof(got) - 1, 0);

	cr_assert(len >= 0, "nothing to hear: %s", strerror(errno));
	cr_assert_str_eq(got, text);
}

void bed_hear_end(int fd)
{
	char byte;
	ssize_t len = recv(fd, &byte, 1, 0);

	cr_assert(len == 0 || (len < 0 && errno == ECONNRESET), "not closed: %zd, %s", len,
		  len < 0 ? strerror(errno) : "a byte");
}

/* --- the guest --- */

bool bed_take(struct bed *bed, struct vsock_header *header, void *data)
{
	if (bed->count == 0) {
		bed_run(bed);
	}
	if (bed->count == 0) {
		return false;
	}
	struct bed_packet *packet = &bed->packets[bed->first];

	*header = packet->header;
	if (data != NULL) {
		memcpy(data, packet->data, header->len);
	}
	free(packet->data);
	bed->first = (bed->first + 1) % BED_PACKETS;
	bed->count--;
	return true;
}

struct vsock_header bed_expect(struct bed *bed, enum vsock_op op)
{
	struct vsock_header header = {0};

	cr_assert(bed_take(bed, &header, NULL), "no packet, not %d", op);
	cr_assert_eq(header.op, op, "%u, not %d", header.op, op);
	cr_assert_eq(header.src_cid, VSOCK_HOST_CID);
	cr_assert_eq(header.dst_cid, BED_CID);
	cr_assert_eq(header.type, VSOCK_TYPE_STREAM);
	return header;
}

void bed_expect_none(struct bed *bed)
{
	struct vsock_header header = {0};

	cr_assert_not(bed_take(bed, &header, NULL), "there is a packet: %u", header.op);
}

void bed_send_raw(struct bed *bed, const struct vsock_header *header, const void *data)
{
	uint32_t len = VSOCK_HEADER_LEN + (data != NULL ? header->len : 0);
	uint8_t bytes[VSOCK_HEADER_LEN];

	/* In two segments that touch at the border of two regions. */
	uint64_t at = MIB - VSOCK_HEADER_LEN - 1;

	vsock_header_encode(header, bytes);
	cr_assert(gmem_write(bed->mem, GPA(at), bytes, sizeof(bytes)) == 0);
	cr_assert(gmem_write(bed->mem, GPA(at + sizeof(bytes)), data, len - sizeof(bytes)) == 0);
	bed->chain.count = 2;
	bed->chain.readable = 2;
	bed->chain.read_len = len;
	bed->chain.write_len = 0;
	bed->chain.segs[0] = (struct virtq_seg){.gpa = GPA(at), .len = 30};
	bed->chain.segs[1] = (struct virtq_seg){.gpa = GPA(at + 30), .len = len - 30};
	vsock_mux_receive(&bed->mux, header, &bed->io);
	serve(bed);
}

static struct vsock_header header_of(const struct bed_guest *guest, enum vsock_op op)
{
	return (struct vsock_header){
		.src_cid = BED_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest->port,
		.dst_port = guest->host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = guest->buf_alloc,
		.fwd_cnt = guest->fwd_cnt,
	};
}

void bed_send(struct bed_guest *guest, enum vsock_op op, uint32_t flags)
{
	struct vsock_header header = header_of(guest, op);

	header.flags = flags;
	bed_send_raw(guest->bed, &header, NULL);
}

void bed_send_data(struct bed_guest *guest, const void *data, uint32_t len)
{
	struct vsock_header header = header_of(guest, VSOCK_OP_RW);

	header.len = len;
	bed_send_raw(guest->bed, &header, data);
}

struct bed_guest bed_open_from_host(struct bed *bed, int *client)
{
	struct bed_guest guest = {.bed = bed, .port = BED_PORT, .buf_alloc = 256 * 1024};
	char answer[32];

	*client = bed_client(bed);
	bed_say(*client, "CONNECT 52\n");
	struct vsock_header header = bed_expect(bed, VSOCK_OP_REQUEST);

	cr_assert_eq(header.dst_port, BED_PORT);
	guest.host_port = header.src_port;
	bed_send(&guest, VSOCK_OP_RESPONSE, 0);
	snprintf(answer, sizeof(answer), "OK %u\n", guest.host_port);
	bed_hear(*client, answer);
	return guest;
}

struct bed_guest bed_open_from_guest(struct bed *bed, uint32_t port, int *served)
{
	struct bed_guest guest = {
		.bed = bed, .port = port, .host_port = BED_PORT, .buf_alloc = 256 * 1024};
	int server = bed_serve(bed, BED_PORT);
	char path[sizeof(bed->path) + 16];

	bed_send(&guest, VSOCK_OP_REQUEST, 0);
	struct vsock_header header = bed_expect(bed, VSOCK_OP_RESPONSE);

	cr_assert_eq(header.src_port, BED_PORT);
	cr_assert_eq(header.dst_port, port);
	*served = bed_accept(server);
	close(server);
	snprintf(path, sizeof(path), "%s_%u", bed->path, BED_PORT);
	unlink(path);
	return guest;
}
