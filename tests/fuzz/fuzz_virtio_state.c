/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the loading of virtio devices of all kinds. The first byte says which kind, and whether
 * the rest of an input is the sections of a file, or changes of bytes in a good one; the second one
 * has the driver's features. Besides the sanitizers' checks, what can't be loaded is the file's
 * fault and leaves a device that can be freed; what is loaded can run, be saved, loaded again, and
 * reset; a good file always can.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/classes.h"
#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/net/net_tap.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum kind {
	KIND_RNG,
	KIND_BLK,
	KIND_NET,
	KIND_BALLOON,
	KIND_VSOCK,
	KIND_NET_PAIRS,
	KINDS
};

enum {
	FILE_LEN = 8192,
	SECTIONS_AT = 15, /* behind the head of a file, with its writer of one byte */
	CRC_LEN = 8,
	RUNS = 64,
	IS_WHOLE = 0x80, /* in the first byte: the sections follow */
	SECTORS = 64,
};

static const struct codec_file head = {.magic = 1, .format = 1, .writer = "f"};

/* The host's side, which outlives the devices of an input. */
struct host {
	char path[64];
	int listener;
	int tap[2];
	struct blk_file file;
};

static struct host host;

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

static void remove_host(void)
{
	unlink(host.path);
	*strrchr(host.path, '/') = '\0';
	rmdir(host.path);
}

static void make_host(void)
{
	char dir[] = "/tmp/fuzz_state.XXXXXX";
	struct error err = {0};

	be_quiet();
	require(mkdtemp(dir) != NULL);
	snprintf(host.path, sizeof(host.path), "%s/v", dir);
	require(vsock_listen(host.path, &host.listener, &err) == 0);
	atexit(remove_host);
	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, host.tap) ==
		0);
	host.file = (struct blk_file){
		.fd = memfd_create("disk", MFD_CLOEXEC), .sectors = SECTORS, .id = "1"};
	require(ftruncate(host.file.fd, SECTORS * 512L) == 0);
}

static const struct limiter_config limits = {
	.bandwidth = {.size = 4096, .one_time_burst = 100, .refill_time_ms = 1000},
	.has_bandwidth = true,
	.ops = {.size = 16, .refill_time_ms = 1000},
	.has_ops = true,
};

static struct virtio_dev *make_rng(const struct dev_env *env)
{
	const struct rng_config config = {.rate_limiter = limits, .has_rate_limiter = true};
	struct error err = {0};
	struct rng *rng = NULL;

	require(rng_new(env, &config, &rng, &err) == 0);
	return rng_virtio(rng);
}

static struct virtio_dev *make_blk(const struct dev_env *env)
{
	static char id[] = "disk";
	const struct blk_config config = {
		.drive_id = id,
		.num_queues = 2,
		.cache_type = BLK_CACHE_UNSAFE,
		.rate_limiter = limits,
		.has_rate_limiter = true,
	};
	struct error err = {0};
	struct blk *blk = NULL;

	require(blk_new(env, &config, &host.file, &blk, &err) == 0);
	return blk_virtio(blk);
}

static struct virtio_dev *make_net_on(const struct dev_env *env, unsigned queues)
{
	static const struct net_tap_ops ops = {probe_offloads, set_offloads};
	static char id[] = "eth0";
	static char mac[] = "02:00:00:00:00:01";
	const struct net_tap tap = {.count = queues, .fd = {host.tap[0], host.tap[1]}, .ops = &ops};
	const struct net_config config = {
		.iface_id = id,
		.guest_mac = mac,
		.mtu = 1500,
		.rx_rate_limiter = limits,
		.has_rx_rate_limiter = true,
		.tx_rate_limiter = limits,
		.has_tx_rate_limiter = true,
	};
	struct error err = {0};
	struct net *net = NULL;

	require(net_new(env, &config, &tap, &net, &err) == 0);
	return net_virtio(net);
}

static struct virtio_dev *make_net(const struct dev_env *env)
{
	return make_net_on(env, 1);
}

static struct virtio_dev *make_net_pairs(const struct dev_env *env)
{
	return make_net_on(env, 2);
}

static struct virtio_dev *make_balloon(const struct dev_env *env)
{
	const struct balloon_config config = {3, true, 1, true, true};
	struct error err = {0};
	struct balloon *balloon = NULL;

	require(balloon_new(env, &config, &balloon, &err) == 0);
	return balloon_virtio(balloon);
}

static struct virtio_dev *make_vsock(const struct dev_env *env)
{
	const struct vsock_config config = {.guest_cid = 3, .uds_path = host.path};
	struct error err = {0};
	struct vsock *vsock = NULL;

	require(vsock_new(env, &config, host.listener, &vsock, &err) == 0);
	return vsock_virtio(vsock);
}

static struct virtio_dev *make(struct vdriver *driver, enum kind kind)
{
	static struct virtio_dev *(*const makers[KINDS])(const struct dev_env *env) = {
		[KIND_RNG] = make_rng,	   [KIND_BLK] = make_blk,
		[KIND_NET] = make_net,	   [KIND_BALLOON] = make_balloon,
		[KIND_VSOCK] = make_vsock, [KIND_NET_PAIRS] = make_net_pairs,
	};
	struct virtio_dev *dev = makers[kind](vdriver_env(driver));

	vdriver_plug(driver, dev);
	return dev;
}

/* --- files --- */

static void code(struct codec *codec, struct virtio_mmio_state *mmio, struct virtio_state *state)
{
	virtio_mmio_state_codec(codec, mmio);
	virtio_state_codec(codec, state, virtio_class_of);
}

/* Pauses and saves; returns the file's length. */
static size_t save(struct vdriver *driver, uint8_t file[FILE_LEN])
{
	struct virtio_mmio_state mmio;
	struct virtio_state state;
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	evloop_freeze(&driver->loop);
	virtio_quiesce(driver->dev);
	virtio_mmio_save(&driver->mmio, &mmio);
	virtio_save(driver->dev, &state);
	codec_save(&codec, &head, file, FILE_LEN);
	code(&codec, &mmio, &state);
	require(codec_finish(&codec, &len, &err) == 0);
	return len;
}

/* Loads into the driver's device, which was just made. */
static int load(struct vdriver *driver, const uint8_t *file, size_t len, struct error *err)
{
	struct virtio_mmio_state mmio = {0};
	struct virtio_state state = {0};
	struct codec codec;

	codec_load(&codec, &head, file, len);
	code(&codec, &mmio, &state);
	if (codec_finish(&codec, NULL, err) < 0 || virtio_load(driver->dev, &state, err) < 0) {
		return -1;
	}
	return virtio_mmio_load(&driver->mmio, &mmio, err);
}

/* What a driver may have in its queues, and a file that says so. */
static size_t make_file(struct vdriver *driver, uint8_t features, uint8_t file[FILE_LEN])
{
	static const uint8_t request[64] = {0};
	const struct vbuf bufs[] = {{request, sizeof(request), 0}, {NULL, 256, VBUF_WRITABLE}};
	uint64_t wanted = (features & 3ULL) << 28 | (uint64_t)(features >> 2) << 1 |
			  ((features & 4) != 0 ? ~UINT64_C(0) : 0);
	struct virtio_dev *dev = driver->dev;

	driver->queue_size = 16;
	require(vdriver_start(driver, dev, wanted));
	for (unsigned i = 0; i < dev->queue_count; i++) {
		vdriver_add(driver, i, bufs + i % 2, 1);
		vdriver_add(driver, i, bufs, 2);
	}
	return save(driver, file);
}

static void change(struct input *input, uint8_t *file, size_t len)
{
	size_t room = len - SECTIONS_AT - CRC_LEN;

	while (input->size >= 3) {
		uint64_t at = input_number(input, 2);

		file[SECTIONS_AT + at % room] = (uint8_t)input_number(input, 1);
	}
	store_le64(file + len - CRC_LEN, crc64(file, len - CRC_LEN));
}

/* The head stays, and the sections are the input. */
static size_t replace(const struct input *input, uint8_t *file)
{
	size_t len = min_u64(input->size, FILE_LEN - SECTIONS_AT - CRC_LEN);

	memcpy(file + SECTIONS_AT, input->data, len);
	len += SECTIONS_AT;
	store_le64(file + len, crc64(file, len));
	return len + CRC_LEN;
}

/* --- what is loaded --- */

static void run(struct vdriver *driver)
{
	struct error err = {0};

	virtio_resume(driver->dev);
	evloop_thaw(&driver->loop);
	for (unsigned i = 0; i < RUNS; i++) {
		require(evloop_run_once(&driver->loop, 0, &err) == 0);
	}
}

static void try(struct vdriver *driver, enum kind kind, bool is_good, uint8_t file[FILE_LEN],
		size_t len)
{
	struct virtio_dev *dev = make(driver, kind);
	struct error err = {0};

	if (load(driver, file, len, &err) < 0) {
		require(!is_good);
		require_fault(&err);
		virtio_free(dev);
		return;
	}
	run(driver);
	len = save(driver, file);
	virtio_free(dev);
	dev = make(driver, kind);
	require(load(driver, file, len, &err) == 0);
	run(driver);
	vdriver_stop(driver);
	evloop_freeze(&driver->loop);
	virtio_free(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vdriver driver;
	static uint8_t file[FILE_LEN];
	struct input input = {data, size};

	if (host.listener == 0) {
		make_host();
	}
	uint8_t mode = (uint8_t)input_number(&input, 1);
	enum kind kind = (mode & 0x7f) % KINDS;

	vdriver_init(&driver);
	struct virtio_dev *dev = make(&driver, kind);
	size_t len = make_file(&driver, (uint8_t)input_number(&input, 1), file);

	bool is_good = (mode & IS_WHOLE) == 0 && input.size < 3; /* no change */

	virtio_free(dev);
	if ((mode & IS_WHOLE) != 0) {
		len = replace(&input, file);
	} else {
		change(&input, file, len);
	}
	try(&driver, kind, is_good, file, len);
	vdriver_destroy(&driver);
	return 0;
}
