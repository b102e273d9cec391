/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/resources/net.c: what requests leave in the list of interfaces. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/vhost_peer.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"

#define CREATE "Network config error: Could not create the network device: "

static unsigned fds;
static struct vm_config *const config = &api_bed.microvm.config;

static void set_up(void)
{
	api_bed_init();
	fds = kvm_fake_open_fds();
}

static void tear_down(void)
{
	microvm_destroy(&api_bed.microvm);
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
	api_bed_destroy();
}

TestSuite(interface, .init = set_up, .fini = tear_down);

/* As if its TAP had been opened: that needs rights which a test may not have. */
static void add(const char *id, const char *tap, const char *mac)
{
	config->nets = reallocarray(config->nets, config->net_count + 1, sizeof(config->nets[0]));
	config->nets[config->net_count++] = (struct net_interface){
		.config = {.iface_id = strdup(id),
			   .host_dev_name = strdup(tap),
			   .guest_mac = mac != NULL ? strdup(mac) : NULL},
		.tap = {.count = 1, .fd = {dup(STDIN_FILENO)}},
		.connection = -1,
		.link = {.fd = -1},
	};
}

static void put(const char *id, const char *fields, const char *fault)
{
	char line[64];
	char body[256];

	(void)!snprintf(line, sizeof(line), "PUT /network-interfaces/%s", id);
	(void)!snprintf(body, sizeof(body), "{\"iface_id\":\"%s\",%s}", id, fields);
	api_bed_expect(line, body, fault);
}

Test(interface, one_that_is_replaced_hands_its_tap_on)
{
	add("a", "tap0", NULL);
	add("b", "tap1", "06:00:00:00:00:01");
	add("c", "tap2", NULL);

	int tap = config->nets[0].tap.fd[0];

	put("a", "\"host_dev_name\":\"tap0\",\"guest_mac\":\"06:00:00:00:00:AA\"", NULL);
	cr_assert_eq(config->net_count, 3);
	/* The last one takes its place [compat]. */
	cr_expect_str_eq(config->nets[0].config.iface_id, "c");
	cr_expect_str_eq(config->nets[1].config.iface_id, "b");
	cr_expect_str_eq(config->nets[2].config.iface_id, "a");
	cr_expect_eq(config->nets[2].tap.fd[0], tap);
	cr_expect_str_eq(config->nets[2].config.guest_mac, "06:00:00:00:00:aa");
	put("a", "\"host_dev_name\":\"tap0\"", NULL);
	cr_expect_null(config->nets[2].config.guest_mac);
	cr_expect_eq(kvm_fake_open_fds(), fds + 3);
}

Test(interface, a_bad_one_changes_nothing)
{
	add("a", "tap0", "06:00:00:00:00:01");
	add("b", "fd:7", NULL);
	put("b", "\"host_dev_name\":\"tap1\",\"guest_mac\":\"06:00:00:00:00:01\"",
	    API_FAULT("Network config error: The MAC address is already in use: "
		      "06:00:00:00:00:01"));
	put("a", "\"host_dev_name\":\"tap0\",\"mtu\":67",
	    API_FAULT(CREATE "MTU 67 is out of range [68, 65535]"));
	cr_expect_eq(config->net_count, 2);
	cr_expect_str_eq(config->nets[0].config.guest_mac, "06:00:00:00:00:01");
	cr_expect_eq(kvm_fake_open_fds(), fds + 2);
	/* An interface may keep its own address, and a descriptor. */
	put("a", "\"host_dev_name\":\"tap0\",\"guest_mac\":\"06:00:00:00:00:01\"", NULL);
	put("b", "\"host_dev_name\":\"fd:7\"", NULL);
}

Test(interface, two_on_one_tap_are_refused_however_it_is_spelled)
{
	struct ifreq ifr = {.ifr_name = "twice0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int tap = unshare(CLONE_NEWNET) == 0 ? open("/dev/net/tun", O_RDWR) : -1;
	char body[64];
	char message[256];

	if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) < 0) {
		cr_skip_test("no TAP can be made here: %s", strerror(errno));
	}
	(void)!snprintf(body, sizeof(body), "\"host_dev_name\":\"fd:%d\"", tap);
	put("a", body, NULL);
	put("a", body, NULL);
	(void)!snprintf(
		message, sizeof(message),
		API_FAULT(CREATE "Open tap device failed: fd:0%d is that of another interface"),
		tap);
	(void)!snprintf(body, sizeof(body), "\"host_dev_name\":\"fd:0%d\"", tap);
	put("b", body, message);
	put("a", body, NULL);
	cr_expect_eq(config->net_count, 1);
	close(tap);
}

Test(interface, two_on_one_tap_with_several_queues_are_refused)
{
	if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		cr_skip_test("no TAP can be made here: %s", strerror(errno));
	}
	put("a", "\"host_dev_name\":\"mq0\",\"queue_pairs\":4", NULL);
	cr_expect_eq(config->nets[0].tap.count, 4);
	put("b", "\"host_dev_name\":\"mq0\",\"queue_pairs\":2",
	    API_FAULT(CREATE "Open tap device failed: mq0 is that of another interface"));
	put("a", "\"host_dev_name\":\"mq0\",\"queue_pairs\":2", NULL);
	cr_expect_eq(config->nets[0].tap.count, 2);
	cr_expect_eq(config->net_count, 1);
	cr_expect_eq(kvm_fake_open_fds(), fds + 2);
}

/* --- On a back-end of vhost-user --- */

static struct vhost_peer peer;

static void put_remote(const char *more, const char *fault)
{
	char fields[192];

	(void)!snprintf(fields, sizeof(fields),
			"\"backend\":{\"type\":\"vhost-user\",\"socket\":\"%s\"}%s", peer.path,
			more);
	put("eth0", fields, fault);
}

static void set_up_peer(void)
{
	vhost_peer_init(&peer);
	vhost_peer_start(&peer);
	api_bed_init();
}

static void tear_down_peer(void)
{
	microvm_destroy(&api_bed.microvm);
	api_bed_destroy();
	vhost_peer_stop(&peer);
}

TestSuite(interface_remote, .init = set_up_peer, .fini = tear_down_peer, .timeout = 30);

Test(interface_remote, a_running_machine_has_shared_memory_and_refuses_what_needs_its_frames)
{
	put_remote("", NULL);
	put_remote(",\"mtu\":9000", NULL); /* the peer has one connection to give at a time */
	cr_expect_eq(peer.connections, 2);
	api_bed_start();
	cr_expect(gmem_slot(api_bed.microvm.controller.machine.mem, 0).is_shared);
	api_bed_expect("PATCH /network-interfaces/eth0", "{\"iface_id\":\"eth0\"}",
		       API_FAULT("Network config error: Unable to update the net device: its "
				 "back-end of vhost-user sees its frames alone, so that it has no "
				 "rate limiters"));
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create",
		       "{\"snapshot_path\":\"/tmp/s\",\"mem_file_path\":\"/tmp/m\"}",
		       API_FAULT("Create snapshot error: Cannot save the microVM state: Operation "
				 "not allowed: Devices without snapshot support are present: "
				 "vhost-user-net(id: eth0)"));
}

Test(interface_remote, the_metadata_service_can_not_be_on_it)
{
	api_bed_put_kernel();
	put_remote("", NULL);
	api_bed_expect("PUT /mmds/config", "{\"network_interfaces\":[\"eth0\"],\"version\":\"V2\"}",
		       NULL);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}",
		       API_FAULT("Start microvm error: Cannot attach the network interface eth0: "
				 "the metadata service can't be on an interface with a back-end of "
				 "vhost-user, whose frames squib does not see"));
}
