/* SPDX-License-Identifier: Apache-2.0 */
/* The front-end of vhost-user devices, as a disk, against a back-end that misbehaves. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/blk/vhost_blk.h"
#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/fs/fs.h"
#include "tests/unit/vhost_bed.h"
#include "vmm/base/bytes.h"

enum {
	/* [virtio-1.2 §5.2] */
	FEATURE_SEG_MAX = 2,
	FEATURE_RO = 5,
	FEATURE_SCSI = 7,
	FEATURE_FLUSH = 9,
	FEATURE_MQ = 12,
	CONFIG_QUEUES = 34,

	CAPACITY = 4242, /* sectors */
	SEGMENT = 512,
};

static struct blk_config config;

static void set_up(void)
{
	vhost_bed_init();
	store_le64(vhost_peer.config, CAPACITY);
	config = (struct blk_config){.drive_id = (char *)"disk", .socket = vhost_peer.path};
}

static int make(void)
{
	struct vhost_link link = {.fd = -1};
	struct vhost_blk *blk;

	if (vhost_blk_new(vdriver_env(&vhost_driver), &config, &link, &blk, &vhost_err) < 0) {
		return -1;
	}
	vhost_dev = vhost_blk_user(blk);
	return 0;
}

TestSuite(vhost_user, .init = set_up, .fini = vhost_bed_destroy, .timeout = 60);

/* The peer is at work, a device there, and a driver has started it. */
static void start(void)
{
	vhost_peer_start(&vhost_peer);
	cr_assert_eq(make(), 0, "%s", vhost_err.msg);
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
}

/* Asks for `count` segments more, and waits until `served` chains in all are answered. */
static void ask(unsigned count, unsigned served)
{
	const struct vbuf bufs[] = {{NULL, 16, 0}, {NULL, SEGMENT, VBUF_WRITABLE}};

	for (unsigned i = 0; i < count; i++) {
		vdriver_add(&vhost_driver, 0, bufs, 2);
	}
	vdriver_notify(&vhost_driver, 0);
	vhost_bed_wait_served(served);
}

/* Takes `count` answers, each of which is the peer's pattern. */
static void take(unsigned count)
{
	uint8_t wanted[SEGMENT];
	uint8_t got[SEGMENT];
	struct vring_used used;

	memset(wanted, vhost_peer.pattern, sizeof(wanted));
	for (unsigned i = 0; i < count; i++) {
		cr_assert(vdriver_used(&vhost_driver, 0, &used), "answer %u", i);
		vdriver_get(&vhost_driver, 0, used.id, 1, got, SEGMENT);
		cr_assert_arr_eq(got, wanted, SEGMENT);
	}
	cr_assert_not(vdriver_used(&vhost_driver, 0, &used));
}

/* The peer has read that many of these requests. */
static void wait_seen(enum vhost_request request, unsigned count)
{
	while (vhost_peer.seen[request] < count) {
		vdriver_run(&vhost_driver);
	}
	cr_expect_eq(vhost_peer.seen[request], count);
}

/* --- It works --- */

Test(vhost_user, the_back_end_serves_the_queues_in_the_guests_own_memory)
{
	start();
	ask(3, 3);
	take(3);
	cr_expect_eq(vhost_peer.acked, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES);
	cr_expect_eq(vhost_peer.acked_protocol, vhost_peer.protocol);
	cr_expect_eq(vhost_peer.seen[VHOST_SET_OWNER], 1);
	cr_expect_eq(vhost_dev->state, VHOST_RUNNING);
}

static bool is_interrupted(void *arg)
{
	(void)arg;
	return atomic_load(&vhost_driver.interrupts) > 0;
}

Test(vhost_user, a_transport_that_keeps_its_interrupt_is_called_by_way_of_us)
{
	start();
	ask(1, 1);
	vdriver_wait(&vhost_driver, is_interrupted, NULL);
	cr_expect_eq(vdriver_read(&vhost_driver, 0x60), 1, "used buffers");
}

Test(vhost_user, features_are_those_that_both_have)
{
	vhost_peer.features = VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES | 1 << FEATURE_RO |
			      1 << FEATURE_FLUSH | 1 << FEATURE_SCSI | 1 << FEATURE_MQ;
	start();
	cr_expect_eq(vdriver_offered(&vhost_driver), VIRTIO_F_VERSION_1 | 1 << FEATURE_RO);
	cr_expect(vhost_blk_is_read_only(&vhost_dev->link));
}

Test(vhost_user, a_cache_is_flushed_and_queues_are_as_many_as_the_client_says)
{
	uint16_t queues;

	config.cache_type = BLK_CACHE_WRITEBACK;
	config.num_queues = 3;
	store_le16(vhost_peer.config + CONFIG_QUEUES, 4);
	start();
	cr_expect((vdriver_offered(&vhost_driver) >> FEATURE_FLUSH & 1) != 0);
	cr_expect((vdriver_offered(&vhost_driver) >> FEATURE_MQ & 1) != 0);
	vdriver_read_config(&vhost_driver, CONFIG_QUEUES, &queues, 2);
	cr_expect_eq(queues, 3);
}

/* --- What can't be --- */

static void expect_refusal(const char *why)
{
	unsigned fds = vhost_bed_fds();

	cr_assert_eq(make(), -1);
	cr_expect_not_null(strstr(vhost_err.msg, why), "%s", vhost_err.msg);
	vhost_bed_expect_fds(fds);
	error_clear(&vhost_err);
}

Test(vhost_user, a_back_end_that_lacks_what_is_needed_is_refused_with_the_reason)
{
	static const struct {
		uint64_t features, protocol, queues;
		const char *why;
	} cases[] = {
		{VHOST_F_PROTOCOL_FEATURES, VHOST_PROTOCOL_F_CONFIG, 1, "has no virtio 1"},
		{VIRTIO_F_VERSION_1, 0, 1, "has no features of the protocol"},
		{~UINT64_C(0), VHOST_PROTOCOL_F_MQ, 2, "does not tell its configuration"},
		{~UINT64_C(0), VHOST_PROTOCOL_F_CONFIG, 9,
		 "has no more than 1 queues, and 2 are wanted"},
		{~UINT64_C(0), VHOST_PROTOCOL_F_CONFIG | VHOST_PROTOCOL_F_MQ, 1,
		 "has 1 queues, and 2 are wanted"},
	};

	config.num_queues = 2;
	vhost_peer_start(&vhost_peer);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		vhost_peer.features = cases[i].features;
		vhost_peer.protocol = cases[i].protocol;
		vhost_peer.queue_num = cases[i].queues;
		expect_refusal(cases[i].why);
	}
}

Test(vhost_user, memory_that_is_not_shared_is_refused)
{
	vhost_peer_start(&vhost_peer);
	vdriver_destroy(&vhost_driver);
	vdriver_init(&vhost_driver);
	expect_refusal("can't see the memory of this machine");
	cr_expect_eq(vhost_peer.connections, 0);
}

Test(vhost_user, nobody_at_the_socket_is_told_in_the_words_that_clients_know)
{
	struct vhost_link link = {.fd = -1};
	char long_path[200];

	config.socket = (char *)"/nowhere";
	cr_assert_eq(vhost_blk_open(&config, &link, &vhost_err), -1);
	cr_expect_str_eq(vhost_err.msg,
			 "Vhost user backend error: Vhost-user error: Failed to connect to "
			 "UDS Unix stream: No such file or directory (os error 2)");
	error_clear(&vhost_err);
	memset(long_path, 'a', sizeof(long_path));
	long_path[108] = '\0';
	config.socket = long_path;
	cr_assert_eq(vhost_blk_open(&config, &link, &vhost_err), -1);
	cr_expect_not_null(strstr(vhost_err.msg, "1 to 107 bytes, not 108"), "%s", vhost_err.msg);
	/* The thread is needed by nobody. */
	vhost_peer_start(&vhost_peer);
}

/* Each way to misbehave, in each answer of a handshake. */
Test(vhost_user, a_handshake_that_goes_wrong_ends_with_a_reason_and_leaves_nothing)
{
	static const enum vhost_request requests[] = {
		VHOST_GET_FEATURES, VHOST_GET_PROTOCOL_FEATURES, VHOST_GET_QUEUE_NUM,
		VHOST_GET_CONFIG,   VHOST_GET_INFLIGHT_FD,
	};
	static const struct {
		enum vhost_peer_fault fault;
		const char *why;
	} faults[] = {
		{PEER_HANGS_UP, "has closed the connection"},
		{PEER_CUTS, "has closed the connection"},
		{PEER_ANSWERS_OTHER, "in place of its reply"},
		{PEER_FORGETS_FLAG, "in place of its reply"},
		{PEER_IS_SHORT, "bytes in place of"},
		{PEER_IS_LONG, "bytes in place of"},
		{PEER_IS_HUGE, "is longer than any"},
		{PEER_IS_EMPTY, "The back-end"},
	};

	vhost_peer.protocol |= VHOST_PROTOCOL_F_INFLIGHT_SHMFD;
	vhost_peer_start(&vhost_peer);
	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		vhost_peer.fault_at = requests[i];
		for (size_t j = 0; j < ARRAY_COUNT(faults); j++) {
			vhost_peer.fault = faults[j].fault;
			expect_refusal(faults[j].why);
		}
	}
	vhost_peer.fault_at = VHOST_GET_INFLIGHT_FD;
	vhost_peer.fault = PEER_LIES;
	expect_refusal("bytes for requests in flight");
	vhost_peer.fault_at = VHOST_GET_CONFIG;
	expect_refusal("of its configuration from byte");
}

Test(vhost_user, a_silent_back_end_is_not_waited_for_for_ever)
{
	vhost_peer.fault_at = VHOST_GET_CONFIG;
	vhost_peer.fault = PEER_IS_SILENT;
	vhost_peer_start(&vhost_peer);
	expect_refusal("has not answered GET_CONFIG within 2000 ms");
}

Test(vhost_user, an_answer_may_come_in_bits_and_descriptors_with_it_are_closed)
{
	unsigned fds = vhost_bed_fds();

	vhost_peer.fault_at = VHOST_GET_CONFIG;
	vhost_peer_start(&vhost_peer);
	for (unsigned i = 0; i < 2; i++) {
		struct vhost_link link = {.fd = -1};

		vhost_peer.fault = i == 0 ? PEER_DRIBBLES : PEER_SENDS_FDS;
		cr_assert_eq(vhost_blk_open(&config, &link, &vhost_err), 0, "%s", vhost_err.msg);
		cr_expect_eq(load_le64(link.config), CAPACITY);
		vhost_link_close(&link);
	}
	vhost_bed_expect_fds(fds);
}

/* --- Asking again --- */

static void ask_config(void)
{
	struct pollfd told = {.fd = vhost_dev->told, .events = POLLIN};

	cr_assert_eq(vhost_user_ask_config(vhost_dev, &vhost_err), 0, "%s", vhost_err.msg);
	for (unsigned i = 0; i < 10000 && poll(&told, 1, 1) == 0; i++) {
		vdriver_run(&vhost_driver);
	}
}

Test(vhost_user, the_configuration_is_asked_for_again_and_the_driver_hears_of_it)
{
	uint64_t capacity;

	start();
	vdriver_run(&vhost_driver);
	vdriver_interrupts(&vhost_driver);
	store_le64(vhost_peer.config, CAPACITY + 1);
	ask_config();
	cr_assert_eq(vhost_user_config_result(vhost_dev, &vhost_err), 0, "%s", vhost_err.msg);
	cr_expect_eq(vdriver_read(&vhost_driver, 0x60) & 2, 2);
	vdriver_read_config(&vhost_driver, 0, &capacity, sizeof(capacity));
	cr_expect_eq(capacity, CAPACITY + 1);
	/* Ever again. */
	ask_config();
	cr_assert_eq(vhost_user_config_result(vhost_dev, &vhost_err), 0);
}

Test(vhost_user, a_refused_question_is_an_error_and_the_device_goes_on)
{
	start();
	ask(1, 1);
	vhost_peer.fault_at = VHOST_GET_CONFIG;
	vhost_peer.fault = PEER_IS_EMPTY;
	ask_config();
	cr_assert_eq(vhost_user_config_result(vhost_dev, &vhost_err), -1);
	cr_expect_not_null(strstr(vhost_err.msg, "refuses to tell its configuration"), "%s",
			   vhost_err.msg);
	cr_expect_eq(metric_get(&vhost_dev->metrics.cfg_fails), 1);
	ask(1, 2);
	take(2);
}

Test(vhost_user, a_question_without_an_answer_ends_and_so_does_the_connection)
{
	start();
	ask(1, 1);
	take(1);
	vhost_peer.fault_at = VHOST_GET_CONFIG;
	vhost_peer.fault = PEER_IS_SILENT;
	ask_config();
	cr_assert_eq(vhost_user_config_result(vhost_dev, &vhost_err), -1);
	cr_expect_not_null(strstr(vhost_err.msg, "has not answered GET_CONFIG"), "%s",
			   vhost_err.msg);
	error_clear(&vhost_err);
	cr_expect_eq(vhost_user_ask_config(vhost_dev, &vhost_err), -1);
	cr_expect_not_null(strstr(vhost_err.msg, "is not connected; squib looks for it"), "%s",
			   vhost_err.msg);
	vhost_peer.fault = PEER_ANSWERS;
	vhost_bed_wait(VHOST_RUNNING);
	ask(1, 2);
}

/* --- A back-end that goes --- */

Test(vhost_user, a_back_end_that_comes_again_goes_on_where_all_was_answered)
{
	start();
	ask(5, 5);
	take(5);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_DOWN);
	/* Meanwhile the driver goes on asking. */
	ask(2, 5);
	vhost_bed_wait(VHOST_RUNNING);
	ask(0, 7);
	take(2);
	cr_expect_eq(vhost_peer.bases[0], 5);
	cr_expect_eq(metric_get(&vhost_dev->metrics.disconnect_count), 1);
	cr_expect_eq(metric_get(&vhost_dev->metrics.reconnect_count), 1);
	/* After a reset the rings begin anew. */
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	wait_seen(VHOST_SET_VRING_BASE, 3);
	cr_expect_eq(vhost_peer.bases[0], 0);
}

static bool has_taken(void *arg)
{
	(void)arg;
	return vhost_peer.taken == 3;
}

Test(vhost_user, requests_that_nobody_keeps_account_of_are_not_replayed)
{
	start();
	vhost_peer.is_lazy = true;
	ask(3, 0);
	vdriver_wait(&vhost_driver, has_taken, NULL);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_GIVEN_UP);
	cr_expect((vdriver_status(&vhost_driver) & VIRTIO_STATUS_NEEDS_RESET) != 0);
	/* A driver that resets it has it again. */
	vhost_peer.is_lazy = false;
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	vhost_bed_wait(VHOST_RUNNING);
	cr_expect_eq(vhost_peer.bases[0], 0);
	ask(1, 1);
	take(1);
}

Test(vhost_user, an_account_of_requests_in_flight_goes_to_the_next_back_end)
{
	vhost_peer.protocol |= VHOST_PROTOCOL_F_INFLIGHT_SHMFD;
	start();
	ask(1, 1);
	cr_expect_eq(vhost_peer.inflight_seen, 0, "the first back-end finds none");
	vhost_peer.is_lazy = true;
	ask(3, 1);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_DOWN);
	vhost_bed_wait(VHOST_RUNNING);
	wait_seen(VHOST_SET_VRING_BASE, 2);
	cr_expect_eq(vhost_peer.bases[0], 1);
	wait_seen(VHOST_SET_INFLIGHT_FD, 2);
	cr_expect_eq(vhost_peer.inflight_seen, 0x1234, "what the one before has left");
	/* After a reset nothing is in flight any more. */
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	vdriver_run(&vhost_driver);
	wait_seen(VHOST_SET_INFLIGHT_FD, 3);
	cr_expect_eq(vhost_peer.inflight_seen, 0);
}

Test(vhost_user, another_back_end_that_lacks_what_the_driver_uses_is_not_taken)
{
	start();
	vhost_peer.features &= ~(UINT64_C(1) << FEATURE_SEG_MAX);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_DOWN);
	while (vhost_peer.connections < 3) {
		vdriver_run(&vhost_driver);
		cr_assert(vhost_dev->state != VHOST_RUNNING);
	}
	vhost_peer.features = ~UINT64_C(0);
	vhost_bed_wait(VHOST_RUNNING);
	ask(1, 1);
}

Test(vhost_user, another_back_end_with_another_disk_tells_the_driver)
{
	uint64_t capacity;

	start();
	store_le64(vhost_peer.config, 7);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_DOWN);
	vhost_bed_wait(VHOST_RUNNING);
	vdriver_read_config(&vhost_driver, 0, &capacity, sizeof(capacity));
	cr_expect_eq(capacity, 7);
}

Test(vhost_user, what_nobody_has_asked_for_ends_the_connection)
{
	start();
	ask(1, 1);
	vhost_peer_say(&vhost_peer, "hello", 5);
	vhost_bed_wait(VHOST_DOWN);
	vhost_bed_wait(VHOST_RUNNING);
	ask(1, 2);
	take(2);
}

Test(vhost_user, a_back_end_that_is_silent_when_it_comes_again_is_given_up_and_tried_again)
{
	start();
	vhost_peer.fault_at = VHOST_GET_FEATURES;
	vhost_peer.fault = PEER_IS_SILENT;
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_GREETING);
	vhost_bed_wait(VHOST_DOWN);
	vhost_peer.fault = PEER_ANSWERS;
	vhost_bed_wait(VHOST_RUNNING);
	ask(1, 1);
}

/* --- Reset --- */

Test(vhost_user, a_reset_has_the_back_end_stop_each_ring)
{
	start();
	ask(2, 2);
	vdriver_stop(&vhost_driver);
	wait_seen(VHOST_GET_VRING_BASE, 1);
	cr_expect_eq(vhost_dev->state, VHOST_IDLE);
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	ask(1, 3);
	take(1);
	cr_expect_eq(vhost_peer.bases[0], 0);
}

Test(vhost_user, a_reset_ends_in_time_whatever_the_back_end_does)
{
	static const enum vhost_peer_fault faults[] = {
		PEER_IS_SILENT, PEER_HANGS_UP, PEER_CUTS, PEER_ANSWERS_OTHER,
		PEER_IS_SHORT,	PEER_IS_HUGE,  PEER_LIES,
	};

	start();
	for (unsigned i = 0; i < ARRAY_COUNT(faults); i++) {
		vhost_bed_wait(VHOST_RUNNING);
		vhost_peer.fault = faults[i];
		vhost_peer.fault_at = VHOST_GET_VRING_BASE;
		vdriver_stop(&vhost_driver);
		cr_expect_eq(vdriver_status(&vhost_driver), 0);
		vhost_peer.fault_at = VHOST_NONE;
		cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	}
	vhost_bed_wait(VHOST_DOWN);
	vhost_bed_wait(VHOST_RUNNING);
	ask(1, 1);
	take(1);
}

Test(vhost_user, a_reset_amid_a_question_waits_for_its_answer_first)
{
	start();
	ask(1, 1);
	cr_assert_eq(vhost_user_ask_config(vhost_dev, &vhost_err), 0);
	vdriver_stop(&vhost_driver);
	cr_expect_eq(vhost_user_config_result(vhost_dev, &vhost_err), 0, "%s", vhost_err.msg);
	cr_expect_eq(vhost_dev->state, VHOST_IDLE);
}

static _Atomic bool is_stopped;

static void *stop_driver(void *arg)
{
	(void)arg;
	vdriver_stop(&vhost_driver);
	is_stopped = true;
	return NULL;
}

/* On a vCPU, for as long as a silent back-end is waited for. */
Test(vhost_user, a_reset_holds_up_nothing_but_its_vcpu)
{
	pthread_t vcpu;

	start();
	ask(1, 1);
	vhost_peer.fault_at = VHOST_GET_VRING_BASE;
	vhost_peer.fault = PEER_IS_SILENT;
	cr_assert_eq(pthread_create(&vcpu, NULL, stop_driver, NULL), 0);
	wait_seen(VHOST_GET_VRING_BASE, 1);
	/* The link is the vCPU's, and the VMM thread goes on. */
	cr_expect_eq(vhost_user_ask_config(vhost_dev, &vhost_err), -1);
	vdriver_run(&vhost_driver);
	cr_expect_not(is_stopped);
	pthread_join(vcpu, NULL);
	vhost_bed_wait(VHOST_DOWN);
}

Test(vhost_user, a_file_system_ends_with_its_back_end)
{
	const struct fs_config fs_config = {(char *)"home", vhost_peer.path, 1};
	struct vhost_link link = {.fd = -1};
	uint8_t tag[FS_TAG_MAX + 4];
	struct fs *fs;

	vhost_peer_start(&vhost_peer);
	cr_assert_eq(fs_new(vdriver_env(&vhost_driver), &fs_config, &link, &fs, &vhost_err), 0,
		     "%s", vhost_err.msg);
	vhost_dev = vhost_user_of(fs_virtio(fs));
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	vdriver_read_config(&vhost_driver, 0, tag, sizeof(tag));
	cr_expect_str_eq((const char *)tag, "home");
	cr_expect_eq(load_le32(tag + FS_TAG_MAX), 1, "request queues");
	vhost_bed_wait(VHOST_RUNNING);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_GIVEN_UP);
	cr_expect((vdriver_status(&vhost_driver) & VIRTIO_STATUS_NEEDS_RESET) != 0);
	/* Mounted anew, it is another one's. */
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	vhost_bed_wait(VHOST_RUNNING);
}

Test(vhost_user, a_back_end_can_not_shrink_the_memory)
{
	const struct gmem_slot slot = gmem_slot(vhost_driver.mem, 0);

	vhost_peer_start(&vhost_peer);
	cr_expect_eq(ftruncate(slot.fd, 4096), -1);
	cr_expect_eq(ftruncate(slot.fd, 1 << 30), -1);
	cr_expect_eq(fcntl(slot.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}
