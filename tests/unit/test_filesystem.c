/* SPDX-License-Identifier: Apache-2.0 */
/* What requests make of drives on sockets and of file systems, with a back-end at the socket. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "devices/virtio/vhost/vhost_user.h"
#include "tests/lib/vdriver.h"
#include "tests/lib/vhost_peer.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/resources/vm_config.h"

static struct vhost_peer peer;
static struct vhost_peer other; /* a second back-end, of a test that has one */
static bool has_other;
static struct api_bed_mark before;

static void set_up(void)
{
	vhost_peer_init(&peer);
	vhost_peer_start(&peer);
	api_bed_init();
	before = api_bed_mark();
}

static void tear_down(void)
{
	microvm_destroy(&api_bed.microvm);
	api_bed_destroy();
	vhost_peer_stop(&peer);
	if (has_other) {
		vhost_peer_stop(&other);
	}
}

/* Why a machine is not saved, or not as that. */
#define HINT                                                                                       \
	". The back-end must hand out its state (VHOST_USER_PROTOCOL_F_DEVICE_STATE), as "         \
	"virtiofsd 1.14 does"
#define UNKNOWN                                                                                    \
	"Which pages have changed is not known of a machine with vhost-user devices, whose "       \
	"back-ends write to its memory: only a full snapshot has all"

TestSuite(filesystem, .init = set_up, .fini = tear_down, .timeout = 30);

static void put_drive(const char *id, const char *more, const char *answer)
{
	char line[64];
	char body[256];

	(void)!snprintf(line, sizeof(line), "PUT /drives/%s", id);
	(void)!snprintf(body, sizeof(body),
			"{\"drive_id\":\"%s\",\"is_root_device\":false,\"socket\":\"%s\"%s}", id,
			peer.path, more);
	api_bed_expect(line, body, answer);
}

static void put_fs_of(const struct vhost_peer *by, const char *tag, const char *more,
		      const char *answer)
{
	char line[128];
	char body[256];

	(void)!snprintf(line, sizeof(line), "PUT /filesystems/%s", tag);
	(void)!snprintf(body, sizeof(body), "{\"tag\":\"%s\",\"socket\":\"%s\"%s}", tag, by->path,
			more);
	api_bed_expect(line, body, answer);
}

static void put_fs(const char *tag, const char *more, const char *answer)
{
	put_fs_of(&peer, tag, more, answer);
}

/* The configuration has this text. */
static bool config_has(const char *text)
{
	struct error err = {0};
	char *shown = vm_config_text(&api_bed.microvm.config, &err);
	bool has = strstr(shown, text) != NULL;

	free(shown);
	return has;
}

Test(filesystem, a_drive_on_a_socket_shows_null_for_what_its_back_end_decides)
{
	char wanted[256];

	put_drive("a", "", NULL);
	(void)!snprintf(wanted, sizeof(wanted),
			"{\"drive_id\":\"a\",\"partuuid\":null,\"is_root_device\":false,"
			"\"cache_type\":\"Unsafe\",\"is_read_only\":null,\"path_on_host\":null,"
			"\"rate_limiter\":null,\"io_engine\":null,\"socket\":\"%s\"}",
			peer.path);
	cr_expect(config_has(wanted));
}

/* The peer has one connection to give at a time. */
Test(filesystem, a_drive_or_a_file_system_that_is_put_again_gives_its_connection_up_first)
{
	put_drive("a", "", NULL);
	put_drive("a", ",\"num_queues\":2", NULL);
	cr_expect_eq(peer.connections, 2);
	/* The drive goes to a file. */
	api_bed_expect(
		"PUT /drives/a",
		"{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"/dev/null\"}",
		NULL);
	put_fs("f", "", NULL);
	put_fs("f", ",\"num_request_queues\":2", NULL);
	cr_expect_eq(api_bed.microvm.config.filesystem_count, 1);
	cr_expect_eq(api_bed.microvm.config.filesystems[0].config.num_request_queues, 2);
}

Test(filesystem, what_can_not_be_is_refused)
{
	put_fs("f", ",\"num_request_queues\":0",
	       API_FAULT("Filesystem config error: num_request_queues is 0: a file system has 1 to "
			 "16 of them"));
	put_fs("f", ",\"num_request_queues\":17",
	       API_FAULT("Filesystem config error: num_request_queues is 17: a file system has 1 "
			 "to 16 of them"));
	put_fs("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "",
	       API_FAULT("Filesystem config error: The tag of a file system has 1 to 36 bytes, not "
			 "37"));
	put_fs("f", ",\"num_request_queues\":4",
	       API_FAULT("Filesystem config error: Cannot use the back-end of the file system f: "
			 "The back-end has 4 queues, and 5 are wanted"));
	cr_expect_not(config_has("filesystems"));
}

Test(filesystem, machines_that_can_not_have_a_back_end_do_not_start)
{
	api_bed_put_kernel();
	put_fs("f", "", NULL);
	cr_expect(config_has("\"filesystems\":[{\"tag\":\"f\""));
	api_bed_expect("PUT /machine-config",
		       "{\"vcpu_count\":1,\"mem_size_mib\":128,\"forkable\":true}", NULL);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}",
		       API_FAULT("Start microvm error: A machine with vhost-user devices can't be "
				 "forkable, as their back-ends have no copies"));
	api_bed_expect("PUT /machine-config",
		       "{\"vcpu_count\":1,\"mem_size_mib\":128,\"huge_pages\":\"2M\"}", NULL);
	api_bed_expect(
		"PUT /actions", "{\"action_type\":\"InstanceStart\"}",
		API_FAULT("Start microvm error: A machine with vhost-user devices can't have "
			  "huge_pages: its memory is a file that the back-ends have, too"));
}

/* The process of a machine ends, and the next one begins. */
static void renew(void)
{
	api_bed_destroy();
	*arch_fake_number(0) = *arch_fake_number(1) = 0;
	api_bed_init();
}

Test(filesystem, a_machine_whose_back_end_hands_out_its_state_is_saved_and_loaded)
{
	static const char text[] = "memory";
	char loaded[sizeof(text)] = "";
	char dir[] = "/tmp/squib-fs-XXXXXX";

	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
	peer.protocol |= VHOST_PROTOCOL_F_DEVICE_STATE;
	put_fs("f", "", NULL);
	api_bed_start();
	cr_assert_eq(
		gmem_write(api_bed.microvm.controller.machine.mem, GPA(0x5000), text, sizeof(text)),
		0);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create",
		       "{\"snapshot_type\":\"Diff\",\"snapshot_path\":\"s\","
		       "\"mem_file_path\":\"m\"}",
		       API_FAULT("Create snapshot error: " UNKNOWN));
	api_bed_expect("GET /memory/dirty", NULL, API_FAULT(UNKNOWN));
	api_bed_expect("PUT /snapshot/create", "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}",
		       NULL);
	renew();
	api_bed_expect(
		"PUT /snapshot/load",
		"{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_type\":\"Uffd\","
		"\"backend_path\":\"u\"}}",
		API_FAULT("Load snapshot error: Failed to restore from snapshot: Failed to load "
			  "guest memory: A machine with vhost-user devices can't have it from a "
			  "page fault handler, as their back-ends would not wait for it"));
	api_bed_expect("PUT /snapshot/load", "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}",
		       NULL);
	const struct gmem *mem = api_bed.microvm.controller.machine.mem;

	cr_expect(gmem_slot(mem, 0).is_shared);
	cr_assert_eq(gmem_read(mem, GPA(0x5000), loaded, sizeof(loaded)), 0);
	cr_expect_str_eq(loaded, text);
	/* What is loaded is written to its own memory, and not to the file. */
	cr_expect(!fd_is_same_file(gmem_slot(mem, 0).fd, open("m", O_RDONLY | O_CLOEXEC)));
	unlink("s");
	unlink("m");
	(void)!chdir("/");
	rmdir(dir);
}

static struct virtio_dev *device(unsigned slot)
{
	return api_bed.microvm.controller.machine.devmgr.slots[slot]->dev;
}

static void await_running(unsigned slot)
{
	struct error err = {0};

	while (vhost_user_of(device(slot))->state != VHOST_RUNNING) {
		cr_assert(evloop_run_once(&api_bed.loop, 10, &err) >= 0, "%s", err.msg);
	}
}

/* A driver uses the device in this slot, of two. */
static void drive(unsigned slot)
{
	static struct vdriver drivers[2];

	drivers[slot] = (struct vdriver){.mem = api_bed.microvm.controller.machine.mem,
					 .queue_size = 16,
					 .free_at = GPA((slot + 1) << 20)};
	cr_assert(vdriver_start(&drivers[slot], device(slot), 0));
	await_running(slot);
}

static void set_state(struct vhost_peer *of, size_t len)
{
	free(of->state);
	of->state = calloc(1, len);
	of->state_len = len;
}

Test(filesystem, back_ends_that_have_more_than_a_state_file_takes_fail_a_save_that_leaves_nothing)
{
	static const char create[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}";
	char dir[] = "/tmp/squib-fs-XXXXXX";

	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
	vhost_peer_init(&other);
	vhost_peer_start(&other);
	has_other = true;
	peer.protocol |= VHOST_PROTOCOL_F_DEVICE_STATE;
	other.protocol |= VHOST_PROTOCOL_F_DEVICE_STATE;
	put_fs("f", "", NULL);
	put_fs_of(&other, "g", "", NULL);
	api_bed_start();
	drive(0);
	drive(1);
	/* Each is fine, and both are not. */
	set_state(&peer, 6 << 20);
	set_state(&other, 6 << 20);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect(
		"PUT /snapshot/create", create,
		API_FAULT("Create snapshot error: The state needs more than 10485760 bytes"));
	cr_expect(access("s", F_OK) < 0 && access("m", F_OK) < 0);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	await_running(0);
	await_running(1);
	set_state(&other, 1 << 20);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	unlink("s");
	unlink("m");
	(void)!chdir("/");
	rmdir(dir);
}

Test(filesystem, a_running_machine_has_shared_memory_and_is_not_saved)
{
	put_fs("f", "", NULL);
	put_drive("a", "",
		  API_FAULT("Drive config error: Unable to create the virtio block device: "
			    "Vhost user backend error: Vhost-user error: The back-end has "
			    "not answered GET_FEATURES within 2000 ms"));
	api_bed_start();
	cr_expect(gmem_slot(api_bed.microvm.controller.machine.mem, 0).is_shared);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create",
		       "{\"snapshot_path\":\"/tmp/s\",\"mem_file_path\":\"/tmp/m\"}",
		       API_FAULT("Create snapshot error: Cannot save the microVM state: Operation "
				 "not allowed: Devices without snapshot support are present: "
				 "virtio-fs(id: f)" HINT));
	api_bed_expect(
		"GET /memory/dirty", NULL,
		API_FAULT("Devices without snapshot support are present: virtio-fs(id: f)" HINT));
	microvm_destroy(&api_bed.microvm);
	/* The peer, of the same process, closes its end as well. */
	for (unsigned i = 0; i < 5000 && peer.fd >= 0; i++) {
		usleep(1000);
	}
	api_bed_expect_same(&before, "a machine with a file system");
}

Test(filesystem, a_question_to_a_drives_back_end_takes_nothing_else)
{
	put_drive("a", "", NULL);
	api_bed_start();
	api_bed_expect(
		"PATCH /drives/a", "{\"drive_id\":\"a\",\"path_on_host\":\"b\"}",
		API_FAULT("Drive config error: Unable to patch the block device: Block: "
			  "Running method expected different backend. A drive on a socket "
			  "takes neither `path_on_host` nor `rate_limiter`. Please verify the "
			  "request arguments."));
}

Test(filesystem, a_machine_without_back_ends_keeps_its_memory_to_itself)
{
	api_bed_start();
	cr_expect_not(gmem_slot(api_bed.microvm.controller.machine.mem, 0).is_shared);
}
