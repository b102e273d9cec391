/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of /snapshot/create and /snapshot/load: whole microVMs on the scripted KVM. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"
#include "vmm/base/unix_listen.h"
#include "vmm/persist/state_file.h"

static char dir[] = "/tmp/squib-snapshot-XXXXXX";

static void setup(void)
{
	api_bed_init();
	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
}

static void teardown(void)
{
	api_bed_destroy();
	cr_assert(chdir("/") == 0);

	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert(system(command) == 0); // NOLINT(cert-env33-c)
}

TestSuite(snapshot, .init = setup, .fini = teardown, .timeout = 120);

static const char create[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}";
static const char diff[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\","
			   "\"snapshot_type\":\"Diff\"}";
static const char load[] = "{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_path\":\"m\","
			   "\"backend_type\":\"File\"}}";

/* The text of an answer; the caller frees it. */
static char *ask(const char *line, const char *body, unsigned status)
{
	struct http_response response = api_bed_request(line, body);

	cr_expect(response.status == status, "%s %s: %u %s", line, body, response.status,
		  response.body);
	return response.body;
}

/* Asked for, refused, and the sentence has this. */
static void expect_refusal(const char *line, const char *body, const char *text)
{
	AUTO_FREE char *answer = ask(line, body, 400);

	cr_expect(answer != NULL && strstr(answer, text) != NULL, "%s\nnot: %s", answer, text);
}

/* A machine with devices, paused. */
/* Of machines with PCI, whose ports have a drive that was plugged in. */
static bool has_ports;

static void plug(const char *path, const char *id)
{
	char body[128];

	(void)snprintf(body, sizeof(body),
		       "{\"drive_id\":\"%s\",\"is_root_device\":false,\"path_on_host\":\"disk\"}",
		       id);
	api_bed_expect(path, body, NULL);
}

static void make_machine(void)
{
	api_bed_put_kernel();
	cr_assert(close(open("disk", O_CREAT | O_WRONLY, 0600)) == 0);
	cr_assert(truncate("disk", 4096) == 0);
	api_bed_expect("PUT /machine-config", "{\"vcpu_count\":2,\"mem_size_mib\":128}", NULL);
	api_bed_expect("PUT /drives/d",
		       "{\"drive_id\":\"d\",\"is_root_device\":false,\"path_on_host\":\"disk\"}",
		       NULL);
	api_bed_expect("PUT /entropy", "{}", NULL);
	api_bed_expect("PUT /balloon", "{\"amount_mib\":16,\"deflate_on_oom\":true}", NULL);
	if (has_ports) {
		api_bed_expect("PATCH /machine-config", "{\"pci_hotplug_ports\":2}", NULL);
	}
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}", NULL);
	*arch_fake_number(0) = 10;
	*arch_fake_number(1) = 11;
	*arch_fake_number(32) = 12;
	cr_assert(gmem_write(api_bed.microvm.controller.machine.mem, GPA(0x5000), "memory", 6) ==
		  0);
	if (has_ports) {
		plug("PUT /drives/e", "e");
	}
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
}

/* The process of a machine ends, and the next one begins. */
static void renew(void)
{
	api_bed_destroy();
	*arch_fake_number(0) = *arch_fake_number(1) = *arch_fake_number(32) = 0;
	api_bed_init();
}

static void expect_loaded(void)
{
	char text[7] = {0};

	cr_expect(*arch_fake_number(0) == 10 && *arch_fake_number(1) == 11);
	cr_expect(*arch_fake_number(32) == 12);
	cr_assert(gmem_read(api_bed.microvm.controller.machine.mem, GPA(0x5000), text, 6) == 0);
	cr_expect_str_eq(text, "memory");
}

/* Another process has its memory from a file: its open file is another one than this machine's. */
static int map_elsewhere(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	cr_assert(fd >= 0 && file_lock(fd, FILE_CONTENT, true, 0));
	return fd;
}

Test(snapshot, memory_that_another_machine_has_is_not_overwritten)
{
	static const char theirs_in_use[] = "m is the memory of another machine";
	AUTO_FREE char *before = NULL;
	AUTO_FREE char *after = NULL;
	struct error err = {0};
	size_t len;

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(read_file("s", "", 1 << 20, &before, &len, &err) == 0);
	AUTO_FD theirs = map_elsewhere("m");

	expect_refusal("PUT /snapshot/create", create, theirs_in_use);
	expect_refusal("PUT /snapshot/create", diff, theirs_in_use);
	cr_assert(read_file("s", "", 1 << 20, &after, &len, &err) == 0);
	cr_expect(memcmp(before, after, len) == 0, "the state that goes with it is as it was");
	fd_close(&theirs);
	api_bed_expect("PUT /snapshot/create", create, NULL);
}

Test(snapshot, a_machine_saves_over_its_own_memory_while_nobody_else_has_that)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	AUTO_FD theirs = map_elsewhere("m");

	expect_refusal("PUT /snapshot/create", create, "m is the memory of another machine");
	cr_expect_not(file_lock(theirs, FILE_CONTENT, false, 0), "it still has its share");
	fd_close(&theirs);
	for (unsigned i = 0; i < 2; i++) {
		api_bed_expect("PUT /snapshot/create", create, NULL);
		theirs = open("m", O_RDWR | O_CLOEXEC);
		cr_expect_not(file_lock(theirs, FILE_CONTENT, false, 0), "and has it afterwards");
		cr_expect(file_lock(theirs, FILE_WRITER, false, 0), "nobody writes any more");
		fd_close(&theirs);
	}
	api_bed.microvm.images.has_begun = true;
	expect_refusal("PUT /snapshot/create", create,
		       "A machine and its forks save to files of their own: m is the file that");
}

Test(snapshot, memory_that_is_being_overwritten_is_not_loaded)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	AUTO_FD writer = open("m", O_RDWR | O_CLOEXEC);

	cr_assert(file_lock(writer, FILE_CONTENT, false, 0));
	expect_refusal("PUT /snapshot/load", load, "m is being written to by another process");
	fd_close(&writer);
	api_bed_expect("PUT /snapshot/load", load, NULL);
}

Test(snapshot, a_save_that_fails_leaves_no_file_that_it_has_made)
{
	const struct rlimit limit = {.rlim_cur = 1000, .rlim_max = RLIM_INFINITY};

	make_machine();
	signal(SIGXFSZ, SIG_IGN);
	/* The memory is whole, and then the state can't be. */
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"nowhere/s\",\"mem_file_path\":\"m\"}", "nowhere/s");
	cr_expect_eq(access("m", F_OK), -1);
	/* One that was there stays, as a jail may hold nothing but such. */
	cr_assert(close(open("kept", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"nowhere/s\",\"mem_file_path\":\"kept\"}", "nowhere/s");
	cr_expect_eq(unlink("kept"), 0);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	expect_refusal("PUT /snapshot/create", create, "(os error 27)");
	cr_expect(access("m", F_OK) < 0 && access("s", F_OK) < 0, "not enough room for the memory");
	expect_refusal("PUT /snapshot/create", "{\"snapshot_path\":\"s\"}", "(os error 27)");
	cr_expect(access("s", F_OK) < 0, "nor for the state");
}

/* Another process would get the file of the drive. */
static bool is_free(int disk)
{
	bool result = file_lock(disk, FILE_CONTENT, false, 0);

	file_unlock(disk, FILE_CONTENT);
	return result;
}

Test(snapshot, a_machine_that_was_saved_hands_its_drives_over_until_it_goes_on)
{
	make_machine();
	AUTO_FD disk = open("disk", O_RDWR | O_CLOEXEC);

	cr_expect_not(is_free(disk), "a pause alone gives nothing away");
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"nowhere/s\",\"mem_file_path\":\"m\"}", "nowhere/s");
	cr_expect_not(is_free(disk), "nor does a save that fails");
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_expect(is_free(disk));
	cr_assert(file_lock(disk, FILE_CONTENT, false, 0));
	expect_refusal("PATCH /vm", "{\"state\":\"Resumed\"}",
		       "The machine can't go on: The file disk of the drive d is in use by another "
		       "squib");
	cr_expect_eq(api_bed.microvm.controller.state, VM_PAUSED);
	file_unlock(disk, FILE_CONTENT);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	cr_expect_not(is_free(disk));
}

Test(snapshot, what_was_handed_over_stays_so_whatever_changes)
{
	make_machine();
	AUTO_FD disk = open("disk", O_RDWR | O_CLOEXEC);

	api_bed_expect("PUT /snapshot/create", create, NULL);
	api_bed_expect("PATCH /drives/d", "{\"drive_id\":\"d\",\"path_on_host\":\"disk\"}", NULL);
	cr_expect(is_free(disk), "who loads the snapshot has it");
	cr_assert(file_lock(disk, FILE_CONTENT, false, 0));
	api_bed_expect("PATCH /drives/d", "{\"drive_id\":\"d\",\"path_on_host\":\"disk\"}", NULL);
	expect_refusal("PATCH /vm", "{\"state\":\"Resumed\"}", "is in use by another squib");
}

Test(snapshot, who_only_reads_a_drive_stops_no_machine_that_was_saved)
{
	make_machine();
	AUTO_FD disk = open("disk", O_RDONLY | O_CLOEXEC);

	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(file_lock(disk, FILE_CONTENT, true, 0));
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	file_unlock(disk, FILE_CONTENT);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	cr_assert(file_lock(disk, FILE_CONTENT, true, 0));
	api_bed_expect("PUT /snapshot/load", load, NULL);
}

Test(snapshot, a_load_finds_its_drive_in_use_or_gets_another)
{
	make_machine();
	AUTO_FD disk = open("disk", O_RDWR | O_CLOEXEC);

	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	cr_assert(file_lock(disk, FILE_CONTENT, false, 0));
	expect_refusal("PUT /snapshot/load", load, "The file disk of the drive d is in use");
	file_unlock(disk, FILE_CONTENT);
	api_bed_expect("PUT /snapshot/load", load, NULL);
	cr_expect_not(is_free(disk), "a machine that is loaded and waits has its files as well");
}

Test(snapshot, a_machine_goes_from_one_process_to_another)
{
	make_machine();
	AUTO_FREE char *config = ask("GET /vm/config", NULL, 200);

	api_bed_expect("PUT /snapshot/create", create, NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	expect_loaded();

	AUTO_FREE char *loaded = ask("GET /vm/config", NULL, 200);
	AUTO_FREE char *info = ask("GET /", NULL, 200);

	cr_expect_str_eq(loaded, config);
	cr_expect(strstr(info, "\"Paused\"") != NULL, "%s", info);
	cr_expect(kvm_fake_count(KVM_RUN) == 0 || api_bed.microvm.controller.state == VM_PAUSED);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	expect_refusal("PUT /snapshot/load", load, "not supported after starting");
}

Test(snapshot, a_loaded_machine_may_run_at_once)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"resume_vm\":true}",
		       NULL);
	cr_expect(api_bed.microvm.controller.state == VM_RUNNING);
}

Test(snapshot, only_a_paused_machine_is_saved)
{
	expect_refusal("PUT /snapshot/create", create, "not supported before starting");
	make_machine();
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create,
		       API_FAULT("Create snapshot error: Cannot save the microVM state: Operation "
				 "not allowed: save/restore unavailable while running"));
	cr_expect(access("s", F_OK) != 0 && access("m", F_OK) != 0);
}

Test(snapshot, the_state_alone_may_be_saved)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", "{\"snapshot_path\":\"s\"}", NULL);
	cr_expect(access("s", F_OK) == 0 && access("m", F_OK) != 0);
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"./s\"}", "name the same file");
}

Test(snapshot, files_that_can_not_be_written_are_named)
{
	make_machine();
	api_bed_expect(
		"PUT /snapshot/create", "{\"snapshot_path\":\"no/s\",\"mem_file_path\":\"m\"}",
		API_FAULT("Create snapshot error: Cannot perform open on the snapshot backing "
			  "file: No such file or directory (os error 2): no/s"));
	api_bed_expect("PUT /snapshot/create",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"no/m\"}",
		       API_FAULT("Create snapshot error: Cannot perform open on the memory backing "
				 "file: No such file or directory (os error 2): no/m"));
	api_bed_expect("PUT /snapshot/create", create, NULL);
}

Test(snapshot, nothing_is_loaded_over_a_configuration)
{
	static const char *const lines[][2] = {
		{"PUT /machine-config", "{\"vcpu_count\":2,\"mem_size_mib\":128}"},
		{"PUT /entropy", "{}"},
		{"PUT /drives/d", "{\"drive_id\":\"d\",\"is_root_device\":true}"},
	};

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		renew();
		free(api_bed_request(lines[i][0], lines[i][1]).body);
		api_bed_expect("PUT /snapshot/load", load,
			       API_FAULT("Load snapshot error: Loading a microVM snapshot not "
					 "allowed after configuring boot-specific resources."));
	}
	renew();
	free(api_bed_request("GET /machine-config", NULL).body);
	api_bed_expect("PUT /mmds", "{\"a\":1}", NULL);
	api_bed_expect("PUT /snapshot/load", load, NULL);
}

Test(snapshot, a_load_that_fails_leaves_the_process_as_it_was)
{
	static const char *const functions[] = {"arch_vm_init",	  "arch_vcpu_init",
						"arch_vm_finish", "arch_vcpu_load",
						"arch_vm_load",	  "arch_vcpu_load_clock"};

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();

	struct api_bed_mark before = api_bed_mark();
	AUTO_FREE char *config = ask("GET /vm/config", NULL, 200);

	for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
		arch_fake_fail(functions[i]);
		expect_refusal("PUT /snapshot/load", load, functions[i]);
		arch_fake_fail(NULL);
		api_bed_expect_same(&before, functions[i]);

		AUTO_FREE char *after = ask("GET /vm/config", NULL, 200);

		cr_expect_str_eq(after, config);
	}
	cr_assert(rename("disk", "away") == 0);
	expect_refusal("PUT /snapshot/load", load, "disk");
	cr_assert(rename("away", "disk") == 0);
	cr_assert(truncate("m", 4096) == 0);
	expect_refusal("PUT /snapshot/load", load, "The memory file has 4096 bytes");
	api_bed_expect_same(&before, "short memory");
	cr_assert(truncate("m", (128 << 20) + 4096) == 0);
	expect_refusal(
		"PUT /snapshot/load", load,
		"The memory file has 134221824 bytes, and the memory of the guest 134217728");
	api_bed_expect_same(&before, "long memory");
	cr_assert(rename("m", "away") == 0);
	api_bed_expect("PUT /snapshot/load", load,
		       API_FAULT("Load snapshot error: Failed to restore from snapshot: Failed to "
				 "load guest memory: Error creating guest memory from file: Failed "
				 "to load guest memory: No such file or directory (os error 2)"));
	cr_assert(rename("away", "m") == 0 && truncate("m", 128 << 20) == 0);
	api_bed_expect("PUT /snapshot/load", load, NULL);
}

Test(snapshot, the_api_itself_brings_no_pages)
{
	AUTO_FD listener = -1;

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	cr_assert(unix_listen("api.sock", false, &listener) == UNIX_LISTENS);
	cr_assert(symlink("api.sock", "other.sock") == 0);
	api_bed.microvm.api_socket = "api.sock";
	expect_refusal(
		"PUT /snapshot/load",
		"{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_path\":\"other.sock\","
		"\"backend_type\":\"Uffd\"}}",
		"other.sock is the socket of this microVM's API and not that of a page fault "
		"handler");
}

Test(snapshot, a_missing_or_foreign_state_is_refused)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	cr_assert(rename("s", "away") == 0);
	api_bed_expect("PUT /snapshot/load", load,
		       API_FAULT("Load snapshot error: Failed to restore from snapshot: Failed to "
				 "get snapshot state from file: Failed to open snapshot file: No "
				 "such file or directory (os error 2): s"));
	cr_assert(mkfifo("s", 0600) == 0);
	expect_refusal("PUT /snapshot/load", load, "it is not a regular file");
	cr_assert(unlink("s") == 0 && symlink("m", "s") == 0);
	expect_refusal("PUT /snapshot/load", load, "134217728 bytes, more than the limit");
}

/* Sets bytes of the state, whose CRC is made right again. */
static void spoil(const uint8_t *state, size_t len, size_t at, uint8_t byte)
{
	AUTO_FREE uint8_t *spoilt = malloc(len);
	AUTO_FD fd = open("s", O_WRONLY | O_TRUNC);

	memcpy(spoilt, state, len);
	spoilt[at] = byte;
	store_le64(spoilt + len - 8, crc64(spoilt, len - 8));
	cr_assert(write(fd, spoilt, len) == (ssize_t)len);
}

/* Whatever a byte becomes: what is read keeps its bounds, ... */
Test(snapshot, each_byte_of_the_state_may_be_any_to_its_reader)
{
	AUTO_FREE char *state = NULL;
	struct error err = {0};
	size_t len;

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(read_file("s", "", 1 << 20, &state, &len, &err) == 0);
	for (size_t at = 0; at < len - 8; at++) {
		struct machine_state read = {0};
		struct error cause = {0};

		spoil((const uint8_t *)state, len, at, (uint8_t)~state[at]);
		if (state_file_read("s", &read, &cause) < 0) {
			cr_expect(cause.kind != ERR_HOST && cause.msg[0] != '\0', "byte %zu: %s",
				  at, cause.msg);
		}
		cr_expect(read.vcpu_count <= ARCH_VCPUS_MAX);
		machine_state_destroy(&read);
	}
}

/*
 * ... and the machine loads, or the process is as it was. A machine takes its time: not each byte,
 * but bytes of all fields over the flips.
 */
static void spoil_machine(size_t stride)
{
	static const uint8_t flips[] = {1, 0x80, 0xff};
	AUTO_FREE char *state = NULL;
	struct error err = {0};
	size_t len;

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(read_file("s", "", 1 << 20, &state, &len, &err) == 0);
	for (size_t at = 0; at < len - 8; at += stride) {
		renew();
		struct api_bed_mark before = api_bed_mark();

		spoil((const uint8_t *)state, len, at,
		      (uint8_t)((uint8_t)state[at] ^ flips[at % ARRAY_COUNT(flips)]));
		struct http_response response = api_bed_request("PUT /snapshot/load", load);

		cr_expect(response.status == 204 || response.status == 400, "byte %zu: %u", at,
			  response.status);
		if (response.status == 400) {
			api_bed_expect_same(&before, "a spoilt state");
		}
		free(response.body);
	}
}

Test(snapshot, bytes_of_the_state_may_be_any_to_a_machine)
{
	spoil_machine(11);
}

Test(snapshot, bytes_of_the_state_may_be_any_to_a_machine_with_pci)
{
	api_bed.microvm.controller.has_pci = true;
	spoil_machine(23);
}

Test(snapshot, bytes_of_the_state_may_be_any_to_a_machine_with_ports)
{
	api_bed.microvm.controller.has_pci = true;
	has_ports = true;
	spoil_machine(41);
}

/* Not the order in which they are configured, but where the guest knows them. */
Test(snapshot, plugged_devices_are_where_they_were)
{
	const struct devmgr *devmgr = &api_bed.microvm.controller.machine.devmgr;

	api_bed.microvm.controller.has_pci = true;
	has_ports = true;
	make_machine();
	plug("PUT /drives/f", "f");
	plug("PUT /drives/g", "g");
	/* The balloon has slot 1, d slot 2, entropy slot 3; e and f are behind ports. */
	api_bed_expect("DELETE /drives/d", NULL, NULL);
	api_bed_expect("DELETE /drives/e", NULL, NULL);
	AUTO_FREE char *devices = ask("GET /devices", NULL, 200);

	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	expect_loaded();
	AUTO_FREE char *loaded = ask("GET /devices", NULL, 200);

	cr_expect_str_eq(loaded, devices);
	cr_expect_not_null(strstr(devices, "\"f\",\"type\":\"block\",\"address\":\"0000:02:00.0"),
			   "%s", devices);
	cr_expect_null(devmgr->slots[1]);
	cr_expect_eq(devmgr->port_count, 2);
	/* What comes now takes what is free. */
	plug("PUT /drives/h", "h");
	plug("PUT /drives/i", "i");
	AUTO_FREE char *later = ask("GET /devices", NULL, 200);

	cr_expect_not_null(strstr(later, "\"h\",\"type\":\"block\",\"address\":\"0000:01:00.0"),
			   "%s", later);
	cr_expect_not_null(strstr(later, "\"i\",\"type\":\"block\",\"address\":\"0000:00:02.0"),
			   "%s", later);
}

/* The flag of the process that loads does not matter: the guest knows where its devices are. */
Test(snapshot, a_machine_keeps_its_bus)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct devmgr *devmgr = &api_bed.microvm.controller.machine.devmgr;

		api_bed.microvm.controller.has_pci = i == 1;
		make_machine();
		cr_assert_eq(devmgr->has_pci, i == 1);
		api_bed_expect("PUT /snapshot/create", create, NULL);
		renew();
		api_bed.microvm.controller.has_pci = i == 0;
		api_bed_expect("PUT /snapshot/load", load, NULL);
		expect_loaded();
		cr_expect_eq(devmgr->has_pci, i == 1);
		cr_expect_eq(devmgr->slots[0]->place.kind,
			     i == 1 ? PLATFORM_VIRTIO_PCI : PLATFORM_VIRTIO_MMIO);
		renew();
	}
}

/* --- what changed --- */

static int say_dirty(int fd, unsigned long request, void *arg)
{
	const struct kvm_dirty_log *log = arg;
	uint64_t *bitmap = log->dirty_bitmap;

	(void)fd;
	(void)request;
	if (log->slot == 0) {
		memset(bitmap, 0, 64 * MIB / 4096 / 8);
		/* Once, as KVM does. */
		static bool is_told;

		bitmap[0] = is_told ? 0 : 1 << 7;
		is_told = true;
	} else {
		memset(bitmap, 0, 64 * MIB / 4096 / 8);
	}
	return 0;
}

/* Which of the first pages of the memory file have data, as their numbers. */
static void data_pages(char *text, size_t cap)
{
	AUTO_FD fd = open("m", O_RDONLY);
	size_t len = 0;

	text[0] = '\0';
	for (off_t page = 0; page < 64; page++) {
		if (lseek(fd, page * 4096, SEEK_DATA) == page * 4096) {
			len += (size_t)snprintf(text + len, cap - len, "%d ", (int)page);
		}
	}
}

Test(snapshot, what_changed_is_what_the_guest_and_the_devices_wrote)
{
	struct gmem *mem;
	char text[64];

	api_bed_expect("PUT /machine-config",
		       "{\"vcpu_count\":1,\"mem_size_mib\":128,\"track_dirty_pages\":true}", NULL);
	api_bed_start();
	mem = api_bed.microvm.controller.machine.mem;
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(gmem_write(mem, GPA(0x3000), "x", 1) == 0);
	kvm_fake_script(KVM_GET_DIRTY_LOG, say_dirty);
	/* What could not be saved is not lost. */
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"no/"
		       "m\",\"snapshot_type\":\"Diff\"}",
		       "No such file");
	cr_assert(unlink("m") == 0);
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	data_pages(text, sizeof(text));
	cr_expect_str_eq(text, "3 7 ");
	cr_assert(unlink("m") == 0);
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	data_pages(text, sizeof(text));
	cr_expect_str_eq(text, "");
}

Test(snapshot, without_tracking_what_changed_is_what_differs_from_the_file)
{
	char text[64];

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	cr_assert(gmem_write(api_bed.microvm.controller.machine.mem, GPA(0x9000), "x", 1) == 0);
	cr_assert(rename("m", "base") == 0);
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	data_pages(text, sizeof(text));
	cr_expect_str_eq(text, "9 ");
}

Test(snapshot, marks_outlive_a_state_that_can_not_be_written)
{
	char text[64];

	api_bed_expect("PUT /machine-config",
		       "{\"vcpu_count\":1,\"mem_size_mib\":128,\"track_dirty_pages\":true}", NULL);
	api_bed_start();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(gmem_write(api_bed.microvm.controller.machine.mem, GPA(0x3000), "x", 1) == 0);
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"no/s\",\"mem_file_path\":\"n\"}", "No such file");
	cr_assert(unlink("m") == 0);
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	data_pages(text, sizeof(text));
	cr_expect_str_eq(text, "3 ");
}

Test(snapshot, memory_that_is_in_use_is_overwritten_by_memory_alone)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	expect_refusal("PUT /snapshot/create", "{\"snapshot_path\":\"m\",\"mem_file_path\":\"n\"}",
		       "m is the file that this machine has its memory from");
	expect_refusal("PUT /snapshot/working-set", "{\"working_set_path\":\"m\"}",
		       "m is the file that this machine has its memory from");
	/* By a link to what is not there yet. */
	cr_assert(symlink("target", "link") == 0);
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"target\",\"mem_file_path\":\"link\"}",
		       "name the same file");
	cr_assert(truncate("m", 4096) == 0);
	expect_refusal("PUT /snapshot/create", "{\"snapshot_path\":\"s2\",\"mem_file_path\":\"n\"}",
		       "was cut to 4096 bytes");
	/* All that KVM says of it is this. */
	struct vm *vm = &api_bed.microvm.controller.machine.vm;
	struct error err = {0};

	vm->end = VM_FAILED;
	(void)!snprintf(vm->end_reason, sizeof(vm->end_reason), "Bad address");
	cr_expect_eq(controller_result(&api_bed.microvm.controller, &err), -1);
	cr_expect_str_eq(err.msg, "Bad address. The file that this machine has its memory from was "
				  "cut to 4096 bytes: what was behind is lost");
}

Test(snapshot, the_disks_of_a_machine_are_not_overwritten_by_its_snapshot)
{
	make_machine();
	cr_assert(link("disk", "same") == 0);
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"disk\",\"mem_file_path\":\"m\"}",
		       "disk is a file of this machine's drive d");
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"same\"}",
		       "same is a file of this machine's drive d");
	expect_refusal(
		"PUT /snapshot/create",
		"{\"snapshot_type\":\"Live\",\"snapshot_path\":\"s\",\"mem_file_path\":\"disk\"}",
		"disk is a file of this machine's drive d");
	cr_expect(access("s", F_OK) != 0 && access("m", F_OK) != 0);
}

static off_t length_of(const char *name)
{
	struct stat st;

	cr_assert(stat(name, &st) == 0);
	return st.st_size;
}

/* Whatever ends a save in the middle, what is there is not taken for a snapshot. */
Test(snapshot, memory_that_is_half_overwritten_has_no_state)
{
	const struct rlimit limit = {4096, 4096};

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	expect_refusal("PUT /snapshot/create",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"no/m\"}", "No such file");
	cr_expect(length_of("s") > 0);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	expect_refusal("PUT /snapshot/create", create, "File too large");
	cr_expect(length_of("s") == 0);
}

/* --- overrides --- */

Test(snapshot, overrides_name_what_the_snapshot_has)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"network_overrides\":"
		       "[{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap9\"}]}",
		       API_FAULT("Load snapshot error: Failed to restore from snapshot: Failed to "
				 "get snapshot state from file: Unknown Network Device. (eth0)"));
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"vsock_override\":"
		       "{\"uds_path\":\"v\"}}",
		       API_FAULT("Load snapshot error: Failed to restore from snapshot: Failed to "
				 "get snapshot state from file: Unknown Vsock Device."));
}

Test(snapshot, a_socket_is_moved_by_an_override)
{
	api_bed_expect("PUT /vsock", "{\"guest_cid\":3,\"uds_path\":\"v.sock\"}", NULL);
	api_bed_start();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	expect_refusal("PUT /snapshot/load", load, "Address in use");
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"vsock_override\":"
		       "{\"uds_path\":\"w.sock\"}}",
		       NULL);
	cr_expect(access("w.sock", F_OK) == 0);
}

Test(snapshot, a_load_that_fails_leaves_no_socket)
{
	static const char request[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"%s\","
				      "\"vsock_override\":{\"uds_path\":\"w.sock\"}}";
	char text[256];

	api_bed_expect("PUT /vsock", "{\"guest_cid\":3,\"uds_path\":\"v.sock\"}", NULL);
	api_bed_start();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	snprintf(text, sizeof(text), request, "none");
	expect_refusal("PUT /snapshot/load", text, "No such file or directory");
	cr_expect(access("w.sock", F_OK) < 0);
	snprintf(text, sizeof(text), request, "m");
	api_bed_expect("PUT /snapshot/load", text, NULL);
	cr_expect(access("w.sock", F_OK) == 0);
}

Test(snapshot, drives_are_other_files_by_overrides)
{
	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	cr_assert(rename("disk", "other") == 0);
	expect_refusal("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"drive_overrides\":"
		       "[{\"drive_id\":\"x\",\"path_on_host\":\"other\"}]}",
		       "there is no drive with the id");
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"drive_overrides\":"
		       "[{\"drive_id\":\"d\",\"path_on_host\":\"other\"}]}",
		       NULL);
	AUTO_FREE char *config = ask("GET /vm/config", NULL, 200);

	cr_expect(strstr(config, "\"path_on_host\":\"other\"") != NULL, "%s", config);
}

static void make_file(const char *name, off_t len)
{
	cr_assert(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0 && truncate(name, len) == 0);
}

#define PMEM_LOAD(path)                                                                            \
	"{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"pmem_overrides\":[{\"id\":\"q\","      \
	"\"path_on_host\":\"" path "\"}]}"

/* A guest has its persistent memory where it was, whatever else has come and gone. */
Test(snapshot, persistent_memory_is_found_where_it_was)
{
	api_bed.microvm.controller.has_pci = true;
	make_file("file", 3 << 20);
	make_file("long", 5 << 20);
	api_bed_put_kernel();
	api_bed_expect("PUT /pmem/p", "{\"id\":\"p\",\"path_on_host\":\"long\"}", NULL);
	api_bed_start();
	api_bed_expect("PUT /pmem/q", "{\"id\":\"q\",\"path_on_host\":\"file\"}", NULL);
	api_bed_expect("DELETE /pmem/p", NULL, NULL);
	cr_assert(gmem_write(api_bed.microvm.controller.machine.mem, GPA(512 * GIB + 6 * MIB),
			     "there", 5) == 0);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	make_file("short", 1 << 20);
	expect_refusal("PUT /snapshot/load", PMEM_LOAD("short"), "of the length that it had");
	expect_refusal(
		"PUT /snapshot/load",
		"{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"pmem_overrides\":[{\"id\":"
		"\"x\",\"path_on_host\":\"file\"}]}",
		"there is no pmem device with the id of a pmem override (x)");
	cr_assert(rename("file", "other") == 0);
	expect_refusal("PUT /snapshot/load", load, "Error accessing backing file");
	api_bed_expect("PUT /snapshot/load", PMEM_LOAD("other"), NULL);
	char text[6] = "";

	cr_assert(gmem_read(api_bed.microvm.controller.machine.mem, GPA(512 * GIB + 6 * MIB), text,
			    5) == 0);
	cr_expect_str_eq(text, "there");
}

/* --- what clients read of memory --- */

/* The words of a bitmap that are not 0, as "index:value ". */
static void words_of(const char *json, const char *name, char *text, size_t cap)
{
	const char *at = strstr(json, name);
	size_t len = 0;
	unsigned index = 0;

	text[0] = '\0';
	cr_assert(at != NULL, "%s", json);
	at = strchr(at, '[') + 1;
	for (char *end; *at != ']'; at = *end == ',' ? end + 1 : end, index++) {
		unsigned long long word = strtoull(at, &end, 10);

		if (word != 0) {
			len += (size_t)snprintf(text + len, cap - len, "%u:%llx ", index, word);
		}
	}
	cr_expect(index == 128 * MIB / 4096 / 64, "%u words", index);
}

Test(snapshot, clients_are_told_which_pages_to_read)
{
	struct gmem *mem;
	uint8_t zeroes[4096] = {0};
	char text[128];

	expect_refusal("GET /memory", NULL, "not supported before starting");
	make_machine();
	mem = api_bed.microvm.controller.machine.mem;
	/* Page 63, and the last one. */
	cr_assert(gmem_write(mem, GPA(63 * 4096), zeroes, sizeof(zeroes)) == 0);
	cr_assert(gmem_write(mem, GPA(4 * GIB + 64 * MIB - 1), "x", 1) == 0);
	AUTO_FREE char *memory = ask("GET /memory", NULL, 200);

	/*
	 * Besides: the kernel at 1 MiB, "memory" at page 5, the command line at page 32, VMClock
	 * and generation id at pages 222 and 223.
	 */
	words_of(memory, "resident", text, sizeof(text));
	cr_expect_str_eq(text, "0:8000000100000020 3:c0000000 4:1 511:8000000000000000 ");
	words_of(memory, "empty", text, sizeof(text));
	cr_expect_str_eq(text, "0:8000000000000000 ");

	AUTO_FREE char *dirty = ask("GET /memory/dirty", NULL, 200);

	words_of(dirty, "bitmap", text, sizeof(text));
	cr_expect_str_eq(text, "0:8000000100000020 3:c0000000 4:1 511:8000000000000000 ");

	AUTO_FREE char *mappings = ask("GET /memory/mappings", NULL, 200);
	unsigned long long bases[2];

	cr_expect(sscanf(mappings,
			 "{\"mappings\":[{\"base_host_virt_addr\":%llu,\"size\":67108864,"
			 "\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096},"
			 "{\"base_host_virt_addr\":%llu,\"size\":67108864,\"offset\":67108864,",
			 &bases[0], &bases[1]) == 2,
		  "%s", mappings);
	cr_expect(bases[0] == gmem_slot(mem, 0).hva && bases[1] == gmem_slot(mem, 1).hva);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	expect_refusal("GET /memory/dirty", NULL, "not supported while the microVM is running.");
}

Test(snapshot, of_a_loaded_machine_clients_read_what_is_in_its_file_too)
{
	char text[128];

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	cr_assert(gmem_write(api_bed.microvm.controller.machine.mem, GPA(0x9000), "x", 1) == 0);
	AUTO_FREE char *memory = ask("GET /memory", NULL, 200);
	AUTO_FREE char *dirty = ask("GET /memory/dirty", NULL, 200);

	words_of(memory, "resident", text, sizeof(text));
	cr_expect_str_eq(text, "0:100000220 3:c0000000 4:1 ");
	words_of(dirty, "bitmap", text, sizeof(text));
	cr_expect_str_eq(text, "0:200 3:c0000000 ");
}

Test(snapshot, a_working_set_goes_from_one_load_to_the_next)
{
	char byte;

	make_machine();
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	cr_assert(gmem_read(api_bed.microvm.controller.machine.mem, GPA(0x5000), &byte, 1) == 0);
	api_bed_expect("PUT /snapshot/working-set", "{\"working_set_path\":\"w\"}", NULL);
	renew();
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"working_set_path\":"
		       "\"w\"}",
		       NULL);
	expect_loaded();
	renew();
	expect_refusal("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"working_set_path\":"
		       "\"s\"}",
		       "Cannot load the working set: s: This is no working set: it begins with ");
	renew();
	expect_refusal("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"working_set_path\":"
		       "\"none\"}",
		       "Cannot open the working set: No such file or directory (os error 2): none");
}
