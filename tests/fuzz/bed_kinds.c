/* SPDX-License-Identifier: Apache-2.0 */
/* The table of devices, what drivers ask of each, and what the host does meanwhile. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/vhost_blk.h"
#include "devices/virtio/fs/fs.h"
#include "devices/virtio/mem/mem.h"
#include "devices/virtio/mem/mem_req.h"
#include "devices/virtio/net/net_tap.h"
#include "devices/virtio/net/vhost_net.h"
#include "devices/virtio/pmem/pmem.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "devices/virtio/vsock/vsock_packet.h"
#include "tests/fuzz/bed_backend.h"
#include "tests/fuzz/disk.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/base/gmem_pmem.h"

static const struct limiter_config limits = {
	.bandwidth = {.size = 4096, .one_time_burst = 100, .refill_time_ms = 1000},
	.has_bandwidth = true,
	.ops = {.size = 16, .refill_time_ms = 1000},
	.has_ops = true,
};

static bool is_limited(const struct bed *bed)
{
	return (bed->settings & BED_LIMITED) != 0;
}

static bool is_read_only(const struct bed *bed)
{
	return (bed->settings & BED_READ_ONLY) != 0;
}

static struct bed_segment *add(struct bed_request *request, uint32_t len, bool is_writable)
{
	struct bed_segment *segment = &request->segments[request->count++];

	*segment = (struct bed_segment){.len = len, .is_writable = is_writable};
	return segment;
}

static const char *path(void)
{
	static char text[40];

	(void)snprintf(text, sizeof(text), "/tmp/fuzz_bed.%d", (int)getpid());
	return text;
}

static void remove_path(struct bed *bed)
{
	(void)bed;
	unlink(path());
}

/* --- entropy --- */

static void make_rng(struct bed *bed)
{
	const struct rng_config config = {.rate_limiter = limits,
					  .has_rate_limiter = is_limited(bed)};
	struct error err = {0};
	struct rng *rng = NULL;

	require(rng_new(&bed->driver.env, &config, &rng, &err) == 0);
	bed->own = rng;
	bed->dev = rng_virtio(rng);
}

static void ask_rng(struct input *input, struct bed_request *request)
{
	add(request, (uint32_t)input_number(input, 2), true);
}

/* --- disks --- */

enum {
	BLK_WRITEBACK = 8,
	BLK_IN_MEMORY = 16,
};

static void open_blk(struct bed *bed)
{
	bed->file = disk_make((bed->settings & BLK_IN_MEMORY) != 0);
}

static void open_overlay(struct bed *bed)
{
	bed->base = disk_make((bed->settings & BLK_IN_MEMORY) != 0);
	bed->file = disk_make_overlay(&bed->base, is_read_only(bed));
}

static void close_blk(struct bed *bed)
{
	if (bed->base.fd >= 0) {
		disk_check(&bed->base, true);
		blk_file_close(&bed->base);
	} else {
		disk_check(&bed->file, is_read_only(bed));
	}
	blk_file_close(&bed->file);
}

static void make_blk_on(struct bed *bed, enum blk_io_engine engine)
{
	static char id[] = "disk";
	const struct blk_config config = {
		.drive_id = id,
		.is_read_only = is_read_only(bed),
		.num_queues = (bed->settings & BED_BLK_TWO_QUEUES) != 0 ? 2 : 1,
		.cache_type = (bed->settings & BLK_WRITEBACK) != 0 ? BLK_CACHE_WRITEBACK
								   : BLK_CACHE_UNSAFE,
		.io_engine = engine,
		.rate_limiter = limits,
		.has_rate_limiter = is_limited(bed),
	};
	struct error err = {0};
	struct blk *blk = NULL;

	require(blk_new(&bed->driver.env, &config, &bed->file, &blk, &err) == 0);
	bed->own = blk;
	bed->dev = blk_virtio(blk);
}

static void make_blk(struct bed *bed)
{
	make_blk_on(bed, BLK_ENGINE_SYNC);
}

static void make_blk_async(struct bed *bed)
{
	make_blk_on(bed, BLK_ENGINE_ASYNC);
}

static void ask_blk(struct input *input, struct bed_request *request)
{
	uint8_t type = (uint8_t)input_number(input, 1);
	uint32_t sector = (uint32_t)input_number(input, 1);
	uint32_t len = (uint32_t)input_number(input, 1) % 64 * 512;
	struct bed_segment *header = add(request, 16, false);

	request->queue = type >> 7;
	type &= 15;
	header->head_len = 16;
	store_le32(header->head, type);
	store_le64(header->head + 8, sector % (DISK_SECTORS + 4));
	if (type == 11 || type == 13) { /* discards, zeroes: ranges of sectors */
		struct bed_segment *range = add(request, 16, false);

		range->head_len = 16;
		store_le64(range->head, sector % (DISK_SECTORS + 4));
		store_le32(range->head + 8, len / 512);
		store_le32(range->head + 12, (uint32_t)input_number(input, 1) % 3);
	} else if (type != 4) {
		(void)add(request, type == 8 ? 20 : len, type != 1);
	}
	(void)add(request, 1, true);
}

static void act_blk(struct bed *bed, struct input *input)
{
	uint8_t what = (uint8_t)input_number(input, 1);
	const struct limiter_config ops = {.ops = {.size = what % 8, .refill_time_ms = 10},
					   .has_ops = true};
	struct error err = {0};

	if (what % 2 == 0) {
		require(blk_set_limits(bed->own, &ops, &err) == 0);
	} else if (bed->base.fd < 0) {
		require(blk_set_file(bed->own, &bed->file, &err) == 0);
	}
}

/* --- networks --- */

enum {
	NET_HEADER_BYTES = 12,
	FRAME_BYTES = 1514,
};

static uint32_t probe_offloads(int fd)
{
	(void)fd;
	return UINT32_MAX;
}

static int set_offloads(int fd, uint32_t offloads, struct error *err)
{
	(void)fd;
	(void)err;
	require(offloads == 0 || (offloads & NET_OFFLOAD_CSUM) != 0);
	return 0;
}

static void open_pair(struct bed *bed, int type)
{
	const int small = 1; /* the least that there is: it is full after some frames */
	int pair[2];

	require(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	require(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
	fd_close(&bed->host);
	bed->listener = pair[0];
	bed->host = pair[1];
}

/* Both queues of one with two are one socket: either has each frame. */
static void open_tap(struct bed *bed)
{
	open_pair(bed, SOCK_SEQPACKET);
	bed->call = fcntl(bed->listener, F_DUPFD_CLOEXEC, 0);
}

static struct net_config net_config(const struct bed *bed)
{
	static char id[] = "eth0";
	static char mac[] = "02:00:00:00:00:01";
	static char nowhere[] = "/nowhere/fuzz";

	return (struct net_config){
		.iface_id = id,
		.guest_mac = mac,
		.mtu = 1500,
		.backend = {NET_BACKEND_STREAM, nowhere},
		.rx_rate_limiter = limits,
		.has_rx_rate_limiter = is_limited(bed),
		.tx_rate_limiter = limits,
		.has_tx_rate_limiter = is_limited(bed),
	};
}

static void make_tap(struct bed *bed)
{
	static const struct net_tap_ops ops = {probe_offloads, set_offloads};
	unsigned pairs = (bed->settings & BED_NET_PAIRS) != 0 ? 2 : 1;
	const struct net_tap tap = {.count = pairs, .fd = {bed->listener, bed->call}, .ops = &ops};
	struct net_config config = net_config(bed);
	struct error err = {0};
	struct net *net = NULL;

	config.queue_pairs = (uint8_t)pairs;
	require(net_new(&bed->driver.env, &config, &tap, &net, &err) == 0);
	bed->own = net;
	bed->dev = net_virtio(net);
}

static void make_stream(struct bed *bed)
{
	const struct net_config config = net_config(bed);
	struct error err = {0};
	struct net *net = NULL;

	open_pair(bed, SOCK_STREAM);
	require(net_new_stream(&bed->driver.env, &config, &bed->listener, &net, &err) == 0);
	bed->own = net;
	bed->dev = net_virtio(net);
}

static void ask_net(struct input *input, struct bed_request *request)
{
	uint32_t value = (uint32_t)input_number(input, 2);

	request->queue = (value & 1) | (value >> 14 & 2);
	if (value >> 13 == 7) {
		struct bed_segment *command = add(request, 4, false);

		request->queue = 4; /* the control queue of two pairs */
		command->head_len = 4;
		command->head[0] = (value & 1) == 0 ? 4 : value >> 1 & 7; /* class: MQ, mostly */
		command->head[2] = value >> 4 & 7;			  /* pairs */
		(void)add(request, 1, true);
		return;
	}
	if ((value & 1) == 0) {
		(void)add(request, NET_HEADER_BYTES + (value >> 1) % 70000, true);
		return;
	}
	struct bed_segment *header = add(request, NET_HEADER_BYTES, false);

	header->head_len = 1;
	header->head[0] = (uint8_t)input_number(input, 1) & 1;
	(void)add(request, (value >> 1) % FRAME_BYTES, false);
}

/* Sends a frame, as the kind of port has it, takes what the guest has sent, or hangs up. */
static void act_net(struct bed *bed, struct input *input)
{
	static uint8_t bytes[FRAME_BYTES + NET_HEADER_BYTES];
	uint8_t what = (uint8_t)input_number(input, 1);
	uint32_t len = (uint32_t)input_number(input, 2) % FRAME_BYTES + 1;
	const struct limiter_config ops = {.ops = {.size = len % 8, .refill_time_ms = 10},
					   .has_ops = true};
	struct error err = {0};

	if (what % 8 == 1) {
		require(net_set_limits(bed->own, &ops, &ops, &err) == 0);
	} else if (what % 4 == 0) {
		while (recv(bed->host, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
		}
	} else if (what % 16 == 15) {
		fd_close(&bed->host);
	} else if (bed->listener < 0) { /* a stream has it */
		const uint8_t prefix[] = {0, 0, (uint8_t)(len >> 8), (uint8_t)len};

		(void)!send(bed->host, prefix, sizeof(prefix), MSG_NOSIGNAL);
		(void)!send(bed->host, bytes, len, MSG_NOSIGNAL);
	} else {
		(void)!send(bed->host, bytes, NET_HEADER_BYTES + len, MSG_NOSIGNAL);
	}
}

/* --- balloon --- */

static void make_balloon(struct bed *bed)
{
	const struct balloon_config config = {3, true, is_limited(bed), !is_read_only(bed), true};
	struct error err = {0};
	struct balloon *balloon = NULL;

	require(balloon_new(&bed->driver.env, &config, &balloon, &err) == 0);
	bed->own = balloon;
	bed->dev = balloon_virtio(balloon);
}

/* Page numbers, statistics, a command, or pages themselves: any of them in any queue. */
static void ask_balloon(struct input *input, struct bed_request *request)
{
	uint8_t what = (uint8_t)input_number(input, 1);
	bool is_writable = (what & 16) != 0;
	struct bed_segment *segment;

	request->queue = what % 5;
	segment = add(request, is_writable ? 65536 : 4 * (uint32_t)(what >> 5), is_writable);
	segment->head_len = is_writable ? 0 : segment->len;
	for (uint32_t i = 0; i < segment->head_len; i += 4) {
		store_le32(segment->head + i, (uint32_t)input_number(input, 2));
	}
}

static void act_balloon(struct bed *bed, struct input *input)
{
	uint8_t what = (uint8_t)input_number(input, 1);
	struct balloon_stats stats = {0};
	struct error err = {0};

	switch (what % 5) {
	case 0:
		(void)!balloon_set_amount(bed->own, what % 33, &err);
		break;
	case 1:
		(void)!balloon_set_stats_interval(bed->own, what % 4, &err);
		break;
	case 2:
		(void)!balloon_get_stats(bed->own, &stats, &err);
		break;
	case 3:
		(void)!balloon_start_hinting(bed->own, (what & 128) != 0, &err);
		break;
	default:
		(void)!balloon_stop_hinting(bed->own, &err);
		break;
	}
}

/* --- sockets --- */

enum {
	GUEST_CID = 3
};

static void open_vsock(struct bed *bed)
{
	struct error err = {0};

	unlink(path());
	require(vsock_listen(path(), &bed->listener, &err) == 0);
}

static void make_vsock(struct bed *bed)
{
	const struct vsock_config config = {.guest_cid = GUEST_CID, .uds_path = (char *)path()};
	struct error err = {0};
	struct vsock *vsock = NULL;

	require(vsock_new(&bed->driver.env, &config, bed->listener, &vsock, &err) == 0);
	bed->own = vsock;
	bed->dev = vsock_virtio(vsock);
}

static void ask_vsock(struct input *input, struct bed_request *request)
{
	uint32_t value = (uint32_t)input_number(input, 2);

	request->queue = value % 4 < 3 ? value % 4 : 1;
	if (request->queue != 1) {
		(void)add(request, VSOCK_HEADER_LEN + (value >> 2), true);
		return;
	}
	const uint32_t local = UINT32_C(1) << 30; /* the first of those that clients get */
	uint32_t port = (uint32_t)input_number(input, 1);
	const struct vsock_header header = {
		.src_cid = GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = port % 4,
		.dst_port = (port & 4) != 0 ? local + port / 8 % 4 : port / 8 % 4,
		.len = (value >> 5) % 512,
		.type = VSOCK_TYPE_STREAM,
		.op = (value >> 2) % 8,
		.flags = port >> 6,
		.buf_alloc = 65536,
		.fwd_cnt = (uint32_t)input_number(input, 2),
	};
	struct bed_segment *segment = add(request, VSOCK_HEADER_LEN, false);

	segment->head_len = VSOCK_HEADER_LEN;
	vsock_header_encode(&header, segment->head);
	(void)add(request, header.len, false);
}

/* One client, that connects to a port of the guest's, speaks, listens and leaves. */
static void act_vsock(struct bed *bed, struct input *input)
{
	static uint8_t bytes[8192];
	uint8_t what = (uint8_t)input_number(input, 1);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char greeting[] = "CONNECT 0\n";

	switch (what % 4) {
	case 0:
		fd_close(&bed->host);
		bed->host = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path());
		(void)!connect(bed->host, (const struct sockaddr *)&address, sizeof(address));
		greeting[8] = (char)('0' + what / 4 % 4);
		(void)!send(bed->host, greeting, strlen(greeting), MSG_NOSIGNAL);
		break;
	case 1:
		(void)!send(bed->host, bytes, (size_t)what * 32, MSG_NOSIGNAL);
		break;
	case 2:
		(void)!recv(bed->host, bytes, (size_t)what * 32, MSG_DONTWAIT);
		break;
	default:
		fd_close(&bed->host);
		break;
	}
}

/* --- persistent memory --- */

enum {
	PMEM_FILE_LEN = 5 * 4096 + 100
};

static void open_pmem(struct bed *bed)
{
	static char id[] = "p";
	struct error err = {0};

	bed->host = memfd_create("file", MFD_CLOEXEC);
	require(ftruncate(bed->host, PMEM_FILE_LEN) == 0);
	const struct gmem_pmem_file file = {.name = id,
					    .fd = dup(bed->host),
					    .is_private = is_read_only(bed),
					    .room = {{512 * GIB}, GIB}};

	require(gmem_pmem_add(bed->driver.mem, &file, &bed->region, &err) == 0);
}

static void make_pmem(struct bed *bed)
{
	static char id[] = "p";
	const struct pmem_config config = {
		.id = id,
		.read_only = is_read_only(bed),
		.rate_limiter = limits,
		.has_rate_limiter = is_limited(bed),
	};
	const struct pmem_parts parts = {.config = &config, .index = bed->region};
	struct error err = {0};
	struct pmem *pmem = NULL;

	require(pmem_new(&bed->driver.env, &parts, &pmem, &err) == 0);
	bed->own = pmem;
	bed->dev = pmem_virtio(pmem);
}

static void ask_pmem(struct input *input, struct bed_request *request)
{
	struct bed_segment *segment = add(request, 4, false);

	segment->head_len = 4;
	segment->head[0] = (uint8_t)input_number(input, 1) / 128; /* a flush, mostly */
	(void)add(request, 4, true);
}

static void act_pmem(struct bed *bed, struct input *input)
{
	uint32_t len = (uint32_t)input_number(input, 2);
	const struct limiter_config ops = {.ops = {.size = len % 8, .refill_time_ms = 10},
					   .has_ops = true};
	struct error err = {0};

	require(pmem_set_limits(bed->own, &ops, &err) == 0);
	require(ftruncate(bed->host, len) == 0);
	if (gmem_pmem_is_torn(bed->driver.mem)) {
		gmem_pmem_mend(bed->driver.mem);
	}
}

/* --- memory --- */

#define MEM_BASE (UINT64_C(8) << 30)
enum {
	MEM_MIB = 16
};

static const struct mem_config mem_config = {MEM_MIB, 2, MEM_MIB};

static void open_mem(struct bed *bed)
{
	const struct gmem_range range = {GPA(MEM_BASE), MEM_MIB * MIB};
	struct error err = {0};

	require(gmem_plug_add(bed->driver.mem, range, mem_unit_len(&mem_config), &err) == 0);
}

static void make_mem(struct bed *bed)
{
	struct error err = {0};
	struct mem *mem = NULL;

	require(mem_new(&bed->driver.env, &mem_config, &mem, &err) == 0);
	bed->own = mem;
	bed->dev = mem_virtio(mem);
}

static void ask_mem(struct input *input, struct bed_request *request)
{
	struct bed_segment *segment = add(request, MEM_REQ_LEN, false);

	segment->head_len = MEM_REQ_LEN;
	store_le16(segment->head, (uint16_t)(input_number(input, 1) % 5));
	store_le64(segment->head + 8, MEM_BASE + input_number(input, 1) % 10 * 2 * MIB);
	store_le16(segment->head + 16, (uint16_t)(input_number(input, 1) % 10));
	(void)add(request, MEM_RESP_LEN, true);
}

static void act_mem(struct bed *bed, struct input *input)
{
	struct error err = {0};

	(void)!mem_request(bed->own, (uint32_t)input_number(input, 1) % (MEM_MIB + 3), &err);
}

/* --- what another process serves --- */

static void open_backend(struct bed *bed)
{
	bed_backend_listen(bed, path());
}

static void make_vhost_blk(struct bed *bed)
{
	static char id[] = "disk";
	const struct blk_config config = {.drive_id = id,
					  .socket = (char *)path(),
					  .num_queues = 2,
					  .cache_type = BLK_CACHE_WRITEBACK};
	struct vhost_link link = {.fd = -1};
	struct error err = {0};
	struct vhost_blk *blk = NULL;

	bed->settings &= (uint8_t)~BED_BACKEND_LEGACY; /* which is refused */
	require(vhost_blk_new(&bed->driver.env, &config, &link, &blk, &err) == 0);
	bed->own = vhost_blk_user(blk);
	bed->dev = &vhost_blk_user(blk)->dev;
}

static void make_fs(struct bed *bed)
{
	static char tag[] = "tag";
	const struct fs_config config = {
		.tag = tag, .socket = (char *)path(), .num_request_queues = 1};
	struct vhost_link link = {.fd = -1};
	struct error err = {0};
	struct fs *fs = NULL;

	require(fs_new(&bed->driver.env, &config, &link, &fs, &err) == 0);
	bed->dev = fs_virtio(fs);
	bed->own = vhost_user_of(bed->dev);
}

static void make_vhost_net(struct bed *bed)
{
	struct net_config config = net_config(bed);
	struct vhost_link link = {.fd = -1};
	struct error err = {0};

	config.backend = (struct net_backend){NET_BACKEND_VHOST_USER, (char *)path()};
	require(vhost_net_new(&bed->driver.env, &config, &link, &bed->dev, &err) == 0);
	bed->own = vhost_user_of(bed->dev);
}

static void ask_remote(struct input *input, struct bed_request *request)
{
	request->queue = (unsigned)input_number(input, 1) % 2;
	(void)add(request, 16, false);
	(void)add(request, 512, true);
}

static void act_backend(struct bed *bed, struct input *input)
{
	uint8_t what = (uint8_t)input_number(input, 1);
	struct vhost_user *vu = bed->own;
	struct error err = {0};

	switch (what % 5) {
	case 0:
		bed->fault = (uint8_t)input_number(input, 1);
		break;
	case 1:
		fd_close(&bed->host);
		fd_close(&bed->call);
		break;
	case 2:
		(void)!send(bed->host, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 3:
		if (vu->wants.config_len > 0 && vhost_user_ask_config(vu, &err) == 0) {
			(void)!vhost_user_config_result(vu, &err);
		}
		break;
	default:
		bed_backend_serve(bed);
		if (bed->call >= 0) {
			(void)eventfd_write(bed->call, 1);
		}
		break;
	}
}

const struct bed_kind bed_kinds[BED_KINDS] = {
	{"entropy", false, NULL, NULL, make_rng, ask_rng, NULL},
	{"block", false, open_blk, close_blk, make_blk, ask_blk, act_blk},
	{"network on a TAP", false, open_tap, NULL, make_tap, ask_net, act_net},
	{"balloon", false, NULL, NULL, make_balloon, ask_balloon, act_balloon},
	{"sockets", false, open_vsock, remove_path, make_vsock, ask_vsock, act_vsock},
	{"block, Async", false, open_blk, close_blk, make_blk_async, ask_blk, act_blk},
	{"block, overlay", false, open_overlay, close_blk, make_blk_async, ask_blk, act_blk},
	{"network on a stream", false, NULL, NULL, make_stream, ask_net, act_net},
	{"persistent memory", false, open_pmem, NULL, make_pmem, ask_pmem, act_pmem},
	{"memory", false, open_mem, NULL, make_mem, ask_mem, act_mem},
	{"vhost-user block", true, open_backend, remove_path, make_vhost_blk, ask_remote,
	 act_backend},
	{"file system", true, open_backend, remove_path, make_fs, ask_remote, act_backend},
	{"vhost-user network", true, open_backend, remove_path, make_vhost_net, ask_remote,
	 act_backend},
};
