/* SPDX-License-Identifier: Apache-2.0 */
/* What a back-end has of a file system, saved and loaded, with back-ends that misbehave. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio/classes.h"
#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/fs/fs.h"
#include "tests/unit/vhost_bed.h"
#include "vmm/base/bytes.h"

enum {
	REQUESTS = 1, /* the queue */
	SEGMENT = 64,
	STATE_LEN = 300000, /* more than a pipe holds */
};

static struct virtio_state state;

static void set_up(void)
{
	vhost_bed_init();
	vhost_peer.protocol = VHOST_PROTOCOL_F_MQ | VHOST_PROTOCOL_F_DEVICE_STATE;
	vhost_peer.state = malloc(STATE_LEN);
	vhost_peer.state_len = STATE_LEN;
	for (size_t i = 0; i < STATE_LEN; i++) {
		vhost_peer.state[i] = (uint8_t)(i * 7 + i / 251);
	}
}

static void tear_down(void)
{
	virtio_state_destroy(&state);
	vhost_bed_destroy();
}

TestSuite(vhost_state, .init = set_up, .fini = tear_down, .timeout = 60);

static void make(void)
{
	const struct fs_config config = {(char *)"home", vhost_peer.path, 1};
	struct vhost_link link = {.fd = -1};
	struct fs *fs;

	cr_assert_eq(fs_new(vdriver_env(&vhost_driver), &config, &link, &fs, &vhost_err), 0, "%s",
		     vhost_err.msg);
	vhost_dev = vhost_user_of(fs_virtio(fs));
}

static void start(void)
{
	vhost_peer_start(&vhost_peer);
	make();
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	vdriver_run(&vhost_driver);
}

static void offer(unsigned count)
{
	const struct vbuf bufs[] = {{NULL, 16, 0}, {NULL, SEGMENT, VBUF_WRITABLE}};

	for (unsigned i = 0; i < count; i++) {
		vdriver_add(&vhost_driver, REQUESTS, bufs, 2);
	}
	vdriver_notify(&vhost_driver, REQUESTS);
}

/* Offers `count` requests more, and waits until `served` in all are answered. */
static void ask(unsigned count, unsigned served)
{
	offer(count);
	vhost_bed_wait_served(served);
}

static int save_until(uint64_t deadline_ms)
{
	struct virtio_remote_state remote = {0};
	int result;

	virtio_state_destroy(&state);
	error_clear(&vhost_err);
	virtio_quiesce(&vhost_dev->dev);
	result = virtio_save_remote(&vhost_dev->dev, &remote, deadline_ms, &vhost_err);
	if (result == 0) {
		virtio_save(&vhost_dev->dev, &state);
		state.remote = remote;
	} else {
		free(remote.bytes);
	}
	return result;
}

static int save(void)
{
	return save_until(vhost_deadline_ms());
}

/* Makes the device anew, as another process does. */
static int load(void)
{
	virtio_free(&vhost_dev->dev);
	vhost_dev = NULL;
	make();
	vdriver_plug(&vhost_driver, &vhost_dev->dev);
	error_clear(&vhost_err);
	return virtio_load(&vhost_dev->dev, &state, &vhost_err);
}

/* --- It works --- */

Test(vhost_state, what_a_back_end_has_goes_with_the_device_from_one_to_the_next)
{
	uint8_t wanted[STATE_LEN];

	memcpy(wanted, vhost_peer.state, STATE_LEN);
	start();
	ask(3, 3);
	cr_assert(vhost_dev->dev.class->is_saved(&vhost_dev->dev));
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	cr_assert_eq(state.remote.len, STATE_LEN);
	cr_expect_arr_eq(state.remote.bytes, wanted, STATE_LEN);
	cr_expect_eq(state.queues[0].next, 0);
	cr_expect_eq(state.queues[REQUESTS].next, 3);
	/* The next one begins with nothing, and is told all. */
	vhost_peer.state_len = 0;
	cr_assert_eq(load(), 0, "%s", vhost_err.msg);
	cr_assert_eq(vhost_peer.state_len, STATE_LEN);
	cr_expect_arr_eq(vhost_peer.state, wanted, STATE_LEN);
	cr_expect_gt(atomic_load(&vhost_driver.interrupts), 0,
		     "the guest may not have heard of all");
	virtio_resume(&vhost_dev->dev);
	ask(2, 5);
	cr_expect_eq(vhost_peer.bases[REQUESTS], 3);
}

Test(vhost_state, a_saved_device_stands_still_until_the_machine_goes_on)
{
	start();
	ask(3, 3);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	/* What comes now is for the memory that is still to be written. */
	offer(2);
	cr_assert_eq(save(), 0, "a second time: %s", vhost_err.msg);
	vdriver_run(&vhost_driver);
	usleep(20000);
	cr_expect_eq(vhost_peer.served, 3);
	cr_expect_eq(state.queues[REQUESTS].next, 3);
	virtio_resume(&vhost_dev->dev);
	ask(0, 5);
	cr_expect_eq(vhost_dev->state, VHOST_RUNNING);
}

Test(vhost_state, a_loaded_device_stands_still_until_the_machine_goes_on)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	offer(1);
	cr_assert_eq(load(), 0, "%s", vhost_err.msg);
	vdriver_run(&vhost_driver);
	cr_expect_eq(vhost_dev->state, VHOST_IDLE);
	/* It may be saved as it is. */
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	cr_expect_eq(state.queues[REQUESTS].next, 1);
	virtio_resume(&vhost_dev->dev);
	ask(0, 2);
}

Test(vhost_state, a_device_that_no_driver_uses_has_no_state)
{
	vhost_peer_start(&vhost_peer);
	make();
	vdriver_plug(&vhost_driver, &vhost_dev->dev);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	cr_expect_null(state.remote.bytes);
	cr_assert_eq(load(), 0, "%s", vhost_err.msg);
	cr_expect_eq(vhost_peer.seen[VHOST_SET_DEVICE_STATE_FD], 0);
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
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	codec_save(&codec, &head, file, sizeof(file));
	virtio_state_codec(&codec, &state, virtio_class_of);
	cr_assert_eq(codec_finish(&codec, &len, &vhost_err), 0, "%s", vhost_err.msg);
	codec_load(&codec, &head, file, len);
	virtio_state_codec(&codec, &loaded, virtio_class_of);
	cr_assert_eq(codec_finish(&codec, NULL, &vhost_err), 0, "%s", vhost_err.msg);
	cr_assert_eq(loaded.remote.len, STATE_LEN);
	cr_expect_arr_eq(loaded.remote.bytes, state.remote.bytes, STATE_LEN);
	virtio_state_destroy(&loaded);
}

/* --- What can't be --- */

Test(vhost_state, a_back_end_that_has_no_state_to_give_is_known_before)
{
	vhost_peer.protocol &= ~VHOST_PROTOCOL_F_DEVICE_STATE;
	start();
	cr_expect_not(vhost_dev->dev.class->is_saved(&vhost_dev->dev));
}

/* How a back-end may misbehave; empty: it works. */
static const struct misbehaviour {
	enum vhost_request fault_at;
	enum vhost_peer_fault fault;
	uint64_t state_answer, check_answer;
	bool is_endless, is_stuck, is_stolen;
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
	{.state_answer = 0x100,
	 .is_stolen = true,
	 .on_save = "has not written all of its state in time",
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
	vhost_peer.fault_at = how->fault_at;
	vhost_peer.fault = how->fault;
	vhost_peer.state_answer = how->state_answer;
	vhost_peer.check_answer = how->check_answer;
	vhost_peer.is_state_endless = how->is_endless;
	vhost_peer.is_state_stuck = how->is_stuck;
	vhost_peer.is_state_stolen = how->is_stolen;
}

static const struct misbehaviour works = {.state_answer = 0x100};

Test(vhost_state, a_save_ends_in_time_with_a_reason_whatever_the_back_end_does)
{
	start();
	for (size_t i = 0; i < ARRAY_COUNT(misbehaviours); i++) {
		const struct misbehaviour *how = &misbehaviours[i];
		unsigned fds;

		ask(1, vhost_peer.served + 1);
		fds = vhost_bed_fds();
		misbehave(how);
		cr_assert_eq(save(), -1, "case %zu", i);
		cr_expect_not_null(
			strstr(vhost_err.msg, "The file system device home can't be saved"),
			"case %zu: %s", i, vhost_err.msg);
		cr_expect_not_null(strstr(vhost_err.msg, how->on_save), "case %zu: %s", i,
				   vhost_err.msg);
		misbehave(&works);
		virtio_resume(&vhost_dev->dev);
		if (how->is_the_end) {
			cr_expect_eq(vhost_dev->state, VHOST_GIVEN_UP, "case %zu", i);
			cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
			vhost_bed_wait(VHOST_RUNNING);
		} else {
			cr_expect_eq(vhost_dev->state, VHOST_RUNNING, "case %zu", i);
			vhost_bed_expect_fds(fds);
		}
	}
	ask(1, vhost_peer.served + 1);
	cr_expect_eq(save(), 0, "%s", vhost_err.msg);
}

Test(vhost_state, a_load_ends_in_time_with_a_reason_whatever_the_back_end_does)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(misbehaviours); i++) {
		const struct misbehaviour *how = &misbehaviours[i];

		if (how->on_load == NULL) {
			continue;
		}
		misbehave(how);
		cr_assert_eq(load(), -1, "case %zu", i);
		cr_expect_not_null(strstr(vhost_err.msg, how->on_load), "case %zu: %s", i,
				   vhost_err.msg);
		cr_expect_not_null(
			strstr(vhost_err.msg, "The file system device home can't be loaded"), "%s",
			vhost_err.msg);
	}
	misbehave(&works);
	cr_expect_eq(load(), 0, "%s", vhost_err.msg);
}

Test(vhost_state, a_back_end_that_takes_no_state_can_not_go_on)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	vhost_peer.protocol &= ~VHOST_PROTOCOL_F_DEVICE_STATE;
	cr_assert_eq(load(), -1);
	cr_expect_not_null(
		strstr(vhost_err.msg, "takes no state (VHOST_USER_PROTOCOL_F_DEVICE_STATE)"), "%s",
		vhost_err.msg);
}

Test(vhost_state, a_save_has_one_deadline_for_all_that_it_waits_for)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	/* The queues stand still: what is left is the state. */
	cr_assert_eq(save_until(0), -1, "its time is over");
	cr_expect_not_null(strstr(vhost_err.msg, "not answered SET_DEVICE_STATE_FD"), "%s",
			   vhost_err.msg);
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	vhost_bed_wait(VHOST_RUNNING);
	ask(1, 2);
	cr_assert_eq(save_until(0), -1, "its time is over");
	cr_expect_not_null(strstr(vhost_err.msg, "was not asked, as others have taken the time"),
			   "%s", vhost_err.msg);
	cr_expect_eq(vhost_dev->state, VHOST_RUNNING, "it has done nothing wrong");
}

static bool has_taken(void *arg)
{
	(void)arg;
	return vhost_peer.taken == 2;
}

Test(vhost_state, what_a_back_end_has_in_hand_can_not_be_saved)
{
	start();
	ask(1, 1);
	vhost_peer.is_lazy = true;
	offer(1);
	vdriver_wait(&vhost_driver, has_taken, NULL);
	cr_assert_eq(save(), -1);
	cr_expect_not_null(strstr(vhost_err.msg, "has not answered all that it has taken"), "%s",
			   vhost_err.msg);
	/* It goes on, and not with what it has taken. */
	vhost_peer.is_lazy = false;
	virtio_resume(&vhost_dev->dev);
	ask(1, 2);
	cr_expect_eq(vhost_peer.bases[REQUESTS], 2);
}

Test(vhost_state, a_back_end_that_ends_while_the_machine_is_saved_is_followed_by_none)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	vhost_peer_hang_up(&vhost_peer);
	vhost_bed_wait(VHOST_GIVEN_UP);
	cr_assert_eq(save(), 0, "a broken device has no state: %s", vhost_err.msg);
	cr_expect_null(state.remote.bytes);
}

Test(vhost_state, a_reset_is_the_end_of_standing_still)
{
	start();
	ask(1, 1);
	cr_assert_eq(save(), 0, "%s", vhost_err.msg);
	virtio_resume(&vhost_dev->dev);
	cr_assert(vdriver_start(&vhost_driver, &vhost_dev->dev, 0));
	ask(1, 2);
	cr_expect_eq(vhost_peer.bases[REQUESTS], 0);
}
