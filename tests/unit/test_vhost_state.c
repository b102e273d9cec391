/* SPDX-License-Identifier: Apache-2.0 */
/* What a back-end has of a file system, saved and loaded, with back-ends that misbehave. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio/classes.h"
#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/fs/fs.h"
#include "tests/lib/vdriver.h"
#include "tests/lib/vhost_peer.h"
#include "vmm/base/bytes.h"

enum {
	REQUESTS = 1, /* the queue */
	SEGMENT = 64,
	STATE_LEN = 300000, /* more than a pipe holds */
};

static struct vdriver driver;
static struct vhost_peer peer;
static struct vhost_user *vu;
static struct virtio_state state;
static struct error err;

static void set_up(void)
{
	vdriver_init_shared(&driver);
	vhost_peer_init(&peer);
	peer.protocol = VHOST_PROTOCOL_F_MQ | VHOST_PROTOCOL_F_DEVICE_STATE;
	peer.state = malloc(STATE_LEN);
	peer.state_len = STATE_LEN;
	for (size_t i = 0; i < STATE_LEN; i++) {
		peer.state[i] = (uint8_t)(i * 7 + i / 251);
	}
	error_clear(&err);
}

static void tear_down(void)
{
	if (vu != NULL) {
		virtio_free(&vu->dev);
		vu = NULL;
	}
	if (peer.thread != 0) {
		vhost_peer_stop(&peer);
	}
	virtio_state_destroy(&state);
	vdriver_destroy(&driver);
}

TestSuite(vhost_state, .init = set_up, .fini = tear_down, .timeout = 60);

static void make(void)
{
	const struct fs_config config = {(char *)"home", peer.path, 1};
	struct vhost_link link = {.fd = -1};
	struct fs *fs;

	cr_assert_eq(fs_new(vdriver_env(&driver), &config, &link, &fs, &err), 0, "%s", err.msg);
	vu = vhost_user_of(fs_virtio(fs));
}

static void start(void)
{
	vhost_peer_start(&peer);
	make();
	cr_assert(vdriver_start(&driver, &vu->dev, 0));
	vdriver_run(&driver);
}

static bool has_answered(void *arg)
{
	return peer.served >= *(const unsigned *)arg;
}

static void offer(unsigned count)
{
	const struct vbuf bufs[] = {{NULL, 16, 0}, {NULL, SEGMENT, VBUF_WRITABLE}};

	for (unsigned i = 0; i < count; i++) {
		vdriver_add(&driver, REQUESTS, bufs, 2);
	}
	vdriver_notify(&driver, REQUESTS);
}

/* Offers `count` requests more, and waits until `served` in all are answered. */
static void ask(unsigned count, unsigned served)
{
	offer(count);
	vdriver_wait(&driver, has_answered, &served);
}

static int save(void)
{
	struct virtio_remote_state remote = {0};
	int result;

	virtio_state_destroy(&state);
	error_clear(&err);
	virtio_quiesce(&vu->dev);
	result = virtio_save_remote(&vu->dev, &remote, &err);
	if (result == 0) {
		virtio_save(&vu->dev, &state);
		state.remote = remote;
	} else {
		free(remote.bytes);
	}
	return result;
}

/* Makes the device anew, as another process does. */
static int load(void)
{
	virtio_free(&vu->dev);
	vu = NULL;
	make();
	vdriver_plug(&driver, &vu->dev);
	error_clear(&err);
	return virtio_load(&vu->dev, &state, &err);
}

static bool is_state(void *arg)
{
	return vu->state == *(const enum vhost_state *)arg;
}

static void wait_for(enum vhost_state wanted)
{
	vdriver_wait(&driver, is_state, &wanted);
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count;
}

/* The peer, of the same process, closes its end as well. */
static void expect_fds(unsigned count)
{
	for (unsigned i = 0; i < 5000 && open_fds() != count; i++) {
		usleep(1000);
	}
	cr_expect_eq(open_fds(), count, "a descriptor leaks");
}

/* --- It works --- */

Test(vhost_state, what_a_back_end_has_goes_with_the_device_from_one_to_the_next)
{
	uint8_t wanted[STATE_LEN];

	memcpy(wanted, peer.state, STATE_LEN);
	start();
	ask(3, 3);
	cr_assert(vu->dev.class->is_saved(&vu->dev));
	cr_assert_eq(save(), 0, "%s", err.msg);
	cr_assert_eq(state.remote.len, STATE_LEN);
	cr_expect_arr_eq(state.remote.bytes, wanted, STATE_LEN);
	cr_expect_eq(state.queues[0].next, 0);
	cr_expect_eq(state.queues[REQUESTS].next, 3);
	/* The next one begins with nothing, and is told all. */
	peer.state_len = 0;
	cr_assert_eq(load(), 0, "%s", err.msg);
	cr_assert_eq(peer.state_len, STATE_LEN);
	cr_expect_arr_eq(peer.state, wanted, STATE_LEN);
	cr_expect_gt(atomic_load(&driver.interrupts), 0, "the guest may not have heard of all");
	virtio_resume(&vu->dev);
	ask(2, 5);
	cr_expect_eq(peer.bases[REQUESTS], 3);
}

Test(vhost_state, a_saved_device_stands_still_until_the_machine_goes_on)
{
	start();
	ask(3, 3);
	cr_assert_eq(save(), 0, "%s", err.msg);
	/* What comes now is for the memory that is still to be written. */
	offer(2);
	cr_assert_eq(save(), 0, "a second time: %s", err.msg);
	vdriver_run(&driver);
	usleep(20000);
	cr_expect_eq(peer.served, 3);
	cr_expect_eq(state.queues[REQUESTS].next, 3);
	virtio_resume(&vu->dev);
	ask(0, 5);
	cr_expect_eq(vu->state, VHOST_RUNNING);
}

Test(vhost_state, a_loaded_device_stands_still_until_the_machine_goes_on)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", err.msg);
	offer(1);
	cr_assert_eq(load(), 0, "%s", err.msg);
	vdriver_run(&driver);
	cr_expect_eq(vu->state, VHOST_IDLE);
	/* It may be saved as it is. */
	cr_assert_eq(save(), 0, "%s", err.msg);
	cr_expect_eq(state.queues[REQUESTS].next, 1);
	virtio_resume(&vu->dev);
	ask(0, 2);
}

Test(vhost_state, a_device_that_no_driver_uses_has_no_state)
{
	vhost_peer_start(&peer);
	make();
	vdriver_plug(&driver, &vu->dev);
	cr_assert_eq(save(), 0, "%s", err.msg);
	cr_expect_null(state.remote.bytes);
	cr_assert_eq(load(), 0, "%s", err.msg);
	cr_expect_eq(peer.seen[VHOST_SET_DEVICE_STATE_FD], 0);
}

Test(vhost_state, its_section_holds_the_bytes)
{
	static uint8_t file[STATE_LEN + 65536];
	const struct codec_file head = {.magic = 1, .format = 1, .writer = "test"};
	struct virtio_state loaded = {0};
	struct codec codec;
	size_t len;

	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", err.msg);
	codec_save(&codec, &head, file, sizeof(file));
	virtio_state_codec(&codec, &state, virtio_class_of);
	cr_assert_eq(codec_finish(&codec, &len, &err), 0, "%s", err.msg);
	codec_load(&codec, &head, file, len);
	virtio_state_codec(&codec, &loaded, virtio_class_of);
	cr_assert_eq(codec_finish(&codec, NULL, &err), 0, "%s", err.msg);
	cr_assert_eq(loaded.remote.len, STATE_LEN);
	cr_expect_arr_eq(loaded.remote.bytes, state.remote.bytes, STATE_LEN);
	virtio_state_destroy(&loaded);
}

/* --- What can't be --- */

Test(vhost_state, a_back_end_that_has_no_state_to_give_is_known_before)
{
	peer.protocol &= ~VHOST_PROTOCOL_F_DEVICE_STATE;
	start();
	cr_expect_not(vu->dev.class->is_saved(&vu->dev));
}

/* How a back-end may misbehave; empty: it works. */
static const struct misbehaviour {
	enum vhost_request fault_at;
	enum vhost_peer_fault fault;
	uint64_t state_answer, check_answer;
	bool is_endless, is_stuck;
	const char *on_save, *on_load;
	bool is_the_end; /* of the connection */
} misbehaviours[] = {
	{.state_answer = 0x101, .on_save = "refuses to save", .on_load = "refuses to load"},
	{.on_save = "descriptor of its own", .on_load = "descriptor of its own"},
	{.state_answer = 0x100,
	 .check_answer = 1,
	 .on_save = "has failed to save its state",
	 .on_load = "has failed to load its state"},
	{.state_answer = 0x100, .is_endless = true, .on_save = "has more than 8388608 bytes"},
	{.state_answer = 0x100,
	 .is_stuck = true,
	 .on_save = "has not written all of its state in time",
	 .on_load = "has not read all of its state in time",
	 .is_the_end = true},
	{VHOST_SET_DEVICE_STATE_FD, PEER_IS_SILENT, .on_save = "not answered SET_DEVICE_STATE_FD",
	 .on_load = "not answered SET_DEVICE_STATE_FD", .is_the_end = true},
	{VHOST_SET_DEVICE_STATE_FD, PEER_HANGS_UP, .on_save = "has closed the connection",
	 .on_load = "has closed the connection", .is_the_end = true},
	{VHOST_SET_DEVICE_STATE_FD, PEER_IS_SHORT, .on_save = "has 7 bytes in place of 8",
	 .on_load = "has 7 bytes in place of 8", .is_the_end = true},
	{VHOST_CHECK_DEVICE_STATE, PEER_IS_SILENT, 0x100,
	 .on_save = "not answered CHECK_DEVICE_STATE", .on_load = "not answered CHECK_DEVICE_STATE",
	 .is_the_end = true},
	{VHOST_CHECK_DEVICE_STATE, PEER_ANSWERS_OTHER, 0x100, .on_save = "in place of its reply",
	 .on_load = "in place of its reply", .is_the_end = true},
	{VHOST_GET_VRING_BASE, PEER_IS_SILENT, .on_save = "not answered GET_VRING_BASE",
	 .is_the_end = true},
};

static void misbehave(const struct misbehaviour *how)
{
	peer.fault_at = how->fault_at;
	peer.fault = how->fault;
	peer.state_answer = how->state_answer;
	peer.check_answer = how->check_answer;
	peer.is_state_endless = how->is_endless;
	peer.is_state_stuck = how->is_stuck;
}

static const struct misbehaviour works = {.state_answer = 0x100};

Test(vhost_state, a_save_ends_in_time_with_a_reason_whatever_the_back_end_does)
{
	start();
	for (size_t i = 0; i < ARRAY_COUNT(misbehaviours); i++) {
		const struct misbehaviour *how = &misbehaviours[i];
		unsigned fds;

		ask(1, peer.served + 1);
		fds = open_fds();
		misbehave(how);
		cr_assert_eq(save(), -1, "case %zu", i);
		cr_expect_not_null(strstr(err.msg, "The file system device home can't be saved"),
				   "case %zu: %s", i, err.msg);
		cr_expect_not_null(strstr(err.msg, how->on_save), "case %zu: %s", i, err.msg);
		misbehave(&works);
		virtio_resume(&vu->dev);
		if (how->is_the_end) {
			cr_expect_eq(vu->state, VHOST_GIVEN_UP, "case %zu", i);
			cr_assert(vdriver_start(&driver, &vu->dev, 0));
			wait_for(VHOST_RUNNING);
		} else {
			cr_expect_eq(vu->state, VHOST_RUNNING, "case %zu", i);
			expect_fds(fds);
		}
	}
	ask(1, peer.served + 1);
	cr_expect_eq(save(), 0, "%s", err.msg);
}

Test(vhost_state, a_load_ends_in_time_with_a_reason_whatever_the_back_end_does)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(misbehaviours); i++) {
		const struct misbehaviour *how = &misbehaviours[i];

		if (how->on_load == NULL) {
			continue;
		}
		misbehave(how);
		cr_assert_eq(load(), -1, "case %zu", i);
		cr_expect_not_null(strstr(err.msg, how->on_load), "case %zu: %s", i, err.msg);
		cr_expect_not_null(strstr(err.msg, "The file system device home can't be loaded"),
				   "%s", err.msg);
	}
	misbehave(&works);
	cr_expect_eq(load(), 0, "%s", err.msg);
}

Test(vhost_state, a_back_end_that_takes_no_state_can_not_go_on)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", err.msg);
	peer.protocol &= ~VHOST_PROTOCOL_F_DEVICE_STATE;
	cr_assert_eq(load(), -1);
	cr_expect_not_null(strstr(err.msg, "takes no state (VHOST_USER_PROTOCOL_F_DEVICE_STATE)"),
			   "%s", err.msg);
}

static bool has_taken(void *arg)
{
	(void)arg;
	return peer.taken == 2;
}

Test(vhost_state, what_a_back_end_has_in_hand_can_not_be_saved)
{
	start();
	ask(1, 1);
	peer.is_lazy = true;
	offer(1);
	vdriver_wait(&driver, has_taken, NULL);
	cr_assert_eq(save(), -1);
	cr_expect_not_null(strstr(err.msg, "has not answered all that it has taken"), "%s",
			   err.msg);
	/* It goes on, and not with what it has taken. */
	peer.is_lazy = false;
	virtio_resume(&vu->dev);
	ask(1, 2);
	cr_expect_eq(peer.bases[REQUESTS], 2);
}

Test(vhost_state, a_back_end_that_ends_while_the_machine_is_saved_is_followed_by_none)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", err.msg);
	vhost_peer_hang_up(&peer);
	wait_for(VHOST_GIVEN_UP);
	cr_assert_eq(save(), 0, "a broken device has no state: %s", err.msg);
	cr_expect_null(state.remote.bytes);
}

Test(vhost_state, a_reset_is_the_end_of_standing_still)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", err.msg);
	virtio_resume(&vu->dev);
	cr_assert(vdriver_start(&driver, &vu->dev, 0));
	ask(1, 2);
	cr_expect_eq(peer.bases[REQUESTS], 0);
}
