/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/resources/unplug.c and vmm/machine/ports.c: a guest that is asked, and what it does.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/pci.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/unplug.h"

enum {
	SLOT_CONTROL = 0x68,
	SLOT_STATUS = 0x6a,
	WITHOUT_POWER = 0x1421,
	WITH_POWER = 0x1021,
	BUTTON = 1,
	PRESENT = 0x40,
};

#define DRIVE "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"disk\"}"
#define PAUSED                                                                                     \
	API_FAULT("The guest is paused and can't give a back: resume it, or unplug with "          \
		  "`\\\"force\\\": true`")

static char folder[] = "/tmp/squib-unplug-XXXXXX";

static struct devmgr *devmgr(void)
{
	return &api_bed.microvm.controller.machine.devmgr;
}

static const struct bus *bus(void)
{
	return &api_bed.microvm.controller.machine.vm.mmio;
}

/* The port is in slot 31, its bus is bus 1. */
static uint64_t port_space(unsigned reg)
{
	return arch_pci.ecam + (31u << 15) + reg;
}

static uint16_t get(unsigned reg)
{
	uint8_t data[2];

	cr_assert(bus_read(bus(), port_space(reg), data, sizeof(data)));
	return load_le16(data);
}

static void set(unsigned reg, uint16_t value)
{
	uint8_t data[2];

	store_le16(data, value);
	cr_assert(bus_write(bus(), port_space(reg), data, sizeof(data)));
}

/* What is behind the port says who it is, or nothing. */
static uint32_t behind(void)
{
	uint8_t data[4];

	cr_assert(bus_read(bus(), arch_pci.ecam + (1u << 20), data, sizeof(data)));
	return load_le32(data);
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	int fd = open("disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, 4096) == 0);
	close(fd);
	api_bed_init();
	api_bed.microvm.controller.has_pci = true;
	api_bed_expect("PATCH /machine-config", "{\"pci_hotplug_ports\":1}", NULL);
	api_bed_start();
	api_bed_expect("PUT /drives/a", DRIVE, NULL);
}

static void tear_down(void)
{
	api_bed_destroy();
	unlink("disk");
	rmdir(folder);
}

TestSuite(unplug, .init = set_up, .fini = tear_down, .timeout = 60);

Test(unplug, the_guest_reaches_the_device_while_the_slot_has_power)
{
	cr_expect_eq(get(SLOT_STATUS) & PRESENT, PRESENT);
	cr_expect_eq(behind(), UINT32_MAX);
	set(SLOT_CONTROL, WITH_POWER);
	cr_expect_eq(behind(), 0x10421af4);
	uint8_t command = 2;

	cr_assert(bus_write(bus(), arch_pci.ecam + (1u << 20) + 4, &command, 1));
	set(SLOT_CONTROL, WITHOUT_POWER);
	cr_expect_eq(behind(), UINT32_MAX);
	set(SLOT_CONTROL, WITH_POWER);
	uint8_t read = 0xff;

	cr_assert(bus_read(bus(), arch_pci.ecam + (1u << 20) + 4, &read, 1));
	cr_expect_eq(read, 0, "it was reset");
}

static void *give_back(void *arg)
{
	atomic_bool *is_asked = arg;

	while ((get(SLOT_STATUS) & BUTTON) == 0) {
		usleep(1000);
	}
	atomic_store(is_asked, true);
	set(SLOT_CONTROL, WITHOUT_POWER);
	return NULL;
}

/* The steps of a DELETE, without the wait between them. */
static int ask(struct request *request, struct error *err)
{
	*request = (struct request){
		.resource = &drive_resource,
		.method = &drive_resource.methods[HTTP_DELETE],
		.id = "a",
	};
	cr_assert_eq(request_read(request, NULL, err), 0);
	return request_run(&api_bed.microvm, request, err);
}

/* In its parts, so that the guest has done its part before the bus changes: no vCPU runs then. */
Test(unplug, the_guest_is_asked_and_gives_the_device_back)
{
	struct error err = {0};
	struct request request;
	atomic_bool is_asked = false;
	pthread_t guest;

	set(SLOT_CONTROL, WITH_POWER);
	set(SLOT_STATUS, 0xffff);
	cr_assert_eq(pthread_create(&guest, NULL, give_back, &is_asked), 0);
	cr_assert_eq(ask(&request, &err), 0, "%s", err.msg);
	struct pollfd event = {.fd = request.event, .events = POLLIN};

	cr_expect(request.waits && poll(&event, 1, 20 * 1000) == 1);
	pthread_join(guest, NULL);
	cr_expect(is_asked);
	request.is_committing = true;
	cr_expect_eq(request_run(&api_bed.microvm, &request, &err), 0, "%s", err.msg);
	request_destroy(&request);
	cr_expect(behind() == UINT32_MAX && (get(SLOT_STATUS) & PRESENT) == 0);
	api_bed_expect("DELETE /drives/a", NULL, API_FAULT("Device not found"));
}

Test(unplug, a_device_that_was_given_back_is_gone_whatever_the_power_does_then)
{
	struct error err = {0};
	struct request request;

	set(SLOT_CONTROL, WITH_POWER);
	cr_assert_eq(ask(&request, &err), 0, "%s", err.msg);
	set(SLOT_CONTROL, WITHOUT_POWER);
	set(SLOT_CONTROL, WITH_POWER);
	cr_expect_eq(behind(), UINT32_MAX, "there is nothing to power any more");
	request.is_committing = true;
	cr_expect_eq(request_run(&api_bed.microvm, &request, &err), 0, "%s", err.msg);
	request_destroy(&request);
	cr_expect_eq(api_bed.microvm.config.drive_count, 0);
	api_bed_expect("PUT /drives/a", DRIVE, NULL);
	cr_expect_eq(behind(), 0x10421af4, "the power is on");
}

Test(unplug, a_guest_that_keeps_the_device_has_it_as_before)
{
	struct error err = {0};
	struct request request;

	set(SLOT_CONTROL, WITH_POWER);
	set(SLOT_STATUS, 0xffff);
	cr_assert_eq(ask(&request, &err), 0, "%s", err.msg);
	cr_expect_eq(get(SLOT_STATUS), PRESENT | BUTTON);
	request.is_committing = true;
	cr_expect_eq(request_run(&api_bed.microvm, &request, &err), -1);
	cr_expect_str_eq(err.msg, "The guest has not given a back within 30 s, and has it as "
				  "before: try again, or unplug with `\"force\": true`");
	request_destroy(&request);
	cr_expect_eq(behind(), 0x10421af4);
	/* It thinks better of it, too late: the device stays plugged in. */
	set(SLOT_CONTROL, WITHOUT_POWER);
	set(SLOT_CONTROL, WITH_POWER);
	cr_expect_eq(behind(), 0x10421af4);
	cr_expect_eq(api_bed.microvm.config.drive_count, 1);
}

Test(unplug, a_guest_that_is_forced_or_has_no_power_on_is_not_asked)
{
	set(SLOT_CONTROL, WITH_POWER);
	set(SLOT_STATUS, 0xffff);
	api_bed_expect("DELETE /drives/a", "{\"force\":true}", NULL);
	cr_expect_eq(get(SLOT_STATUS) & (BUTTON | PRESENT), 0);
	set(SLOT_CONTROL, WITHOUT_POWER);
	api_bed_expect("PUT /drives/a", DRIVE, NULL);
	set(SLOT_STATUS, 0xffff);
	api_bed_expect("DELETE /drives/a", NULL, NULL);
	cr_expect_eq(get(SLOT_STATUS) & (BUTTON | PRESENT), 0);
}

Test(unplug, a_paused_guest_can_not_be_asked)
{
	set(SLOT_CONTROL, WITH_POWER);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("DELETE /drives/a", NULL, PAUSED);
	api_bed_expect("DELETE /drives/a", "{\"force\":true}", NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
}

/* The port has a, and the bus 30 slots. The next one is refused, and its request is in both. */
static void fill_bus(char line[32], char body[128])
{
	for (unsigned i = 0; i <= 30; i++) {
		(void)snprintf(line, 32, "PUT /drives/n%u", i);
		(void)snprintf(body, 128,
			       "{\"drive_id\":\"n%u\",\"is_root_device\":false,\"path_on_host\":"
			       "\"disk\"}",
			       i);
		api_bed_expect(
			line, body,
			i < 30 ? NULL
			       : API_FAULT("PCI manager error: PCI root error: Could not "
					   "find an available device slot on the PCI bus. It "
					   "has 30."));
	}
}

Test(unplug, what_finds_no_place_is_refused_and_a_place_that_gets_free_is_taken)
{
	char line[32];
	char body[128];

	fill_bus(line, body);
	api_bed_expect("DELETE /drives/n7", NULL, NULL);
	api_bed_expect(line, body, NULL);
	cr_expect_str_eq(devmgr()->slots[7]->dev->id, "n30");
}

Test(unplug, memory_that_finds_no_place_leaves_its_file_to_others)
{
	char line[32];
	char body[128];
	AUTO_FD memory = open("memory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(memory >= 0 && ftruncate(memory, 4096) == 0);
	fill_bus(line, body);
	/* Each try takes the file, and the first ones an io_uring that is in stock. */
	for (unsigned i = 0; i < 8; i++) {
		free(api_bed_request("PUT /pmem/p", "{\"id\":\"p\",\"path_on_host\":\"memory\"}")
			     .body);
		cr_expect(file_lock(memory, FILE_CONTENT, false, 0), "at once");
		file_unlock(memory, FILE_CONTENT);
	}
	unlink("memory");
}

Test(unplug, what_is_being_unplugged_is_left_alone_meanwhile)
{
	static const char busy[] =
		API_FAULT("a is being unplugged: wait for the answer to that request");
	struct error err = {0};
	struct request request;

	set(SLOT_CONTROL, WITH_POWER);
	cr_assert_eq(ask(&request, &err), 0, "%s", err.msg);
	api_bed_expect("DELETE /drives/a", NULL, busy);
	api_bed_expect("DELETE /drives/a", "{\"force\":true}", busy);
	api_bed_expect("PATCH /drives/a", "{\"drive_id\":\"a\",\"path_on_host\":\"disk\"}",
		       API_FAULT("Drive config error: a is being unplugged: wait for the answer "
				 "to that request"));
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	set(SLOT_CONTROL, WITHOUT_POWER);
	request.is_committing = true;
	cr_expect_eq(request_run(&api_bed.microvm, &request, &err), 0, "%s", err.msg);
	request_destroy(&request);
	cr_expect_eq(api_bed.microvm.config.drive_count, 0);
	/* The place of a request that is done is free again. */
	for (unsigned i = 0; i < 2 * UNPLUGS_MAX; i++) {
		api_bed_expect("PUT /drives/a", DRIVE, NULL);
		api_bed_expect("DELETE /drives/a", "{\"force\":true}", NULL);
	}
}

Test(unplug, not_more_than_some_requests_wait)
{
	for (unsigned i = 0; i < UNPLUGS_MAX; i++) {
		char line[32];
		char body[128];

		(void)snprintf(line, 32, "PUT /drives/n%u", i);
		(void)snprintf(body, 128,
			       "{\"drive_id\":\"n%u\",\"is_root_device\":false,\"path_on_host\":"
			       "\"disk\"}",
			       i);
		api_bed_expect(line, body, NULL);
		devmgr()->slots[i]->is_unplugged = true;
	}
	api_bed_expect("DELETE /drives/a", "{\"force\":true}",
		       API_FAULT("4 devices are being unplugged, which is the most at once: wait "
				 "for an answer"));
	devmgr()->slots[1]->is_unplugged = false;
	api_bed_expect("DELETE /drives/a", "{\"force\":true}", NULL);
}
