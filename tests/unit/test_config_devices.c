/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/config_devices.c. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/config.h"

static struct vm_config config;
static char folder[] = "/tmp/squib-devices-XXXXXX";
static unsigned fds;

static void set_up(void)
{
	int fd;

	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	fd = open("disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
	close(fd);
	capture_log(LOG_INFO);
	fds = kvm_fake_open_fds();
	vm_config_init(&config);
}

/* Tests leave no descriptor and no file but those that they name. */
static void tear_down(void)
{
	vm_config_destroy(&config);
	vm_config_destroy(&config);
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
	unlink("disk");
	cr_expect_eq(rmdir(folder), 0);
}

TestSuite(config_devices, .init = set_up, .fini = tear_down);

/* --- Drives --- */

static int put_drive(const char *id, bool is_root, struct error *err)
{
	struct blk_config drive = {
		.drive_id = strdup(id), .is_root_device = is_root, .path_on_host = strdup("disk")};
	int result;

	error_clear(err);
	result = vm_config_put_drive(&config, &drive, err);
	cr_expect_eq(drive.drive_id == NULL, result == 0);
	free(drive.drive_id);
	free(drive.path_on_host);
	return result;
}

static const char *drive_ids(void)
{
	static char ids[64];

	ids[0] = '\0';
	for (size_t i = 0; i < config.drive_count; i++) {
		strcat(ids, config.drives[i].config.drive_id);
		strcat(ids, config.drives[i].config.is_root_device ? "*" : "");
	}
	return ids;
}

Test(config_devices, the_root_drive_comes_first)
{
	static const struct {
		const char *id;
		bool is_root;
		const char *ids;
	} steps[] = {
		{"a", false, "a"},
		{"b", false, "ab"},
		{"c", true, "c*ab"},
		/* A second one is refused, the first may be put again. */
		{"d", true, NULL},
		{"b", true, NULL},
		{"c", true, "c*ab"},
		/* It stays where it is when it is none any more; then another takes its place. */
		{"c", false, "cab"},
		{"b", true, "b*ac"},
		{"b", false, "bac"},
		{"b", true, "b*ac"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		struct error err = {0};
		int result = put_drive(steps[i].id, steps[i].is_root, &err);

		cr_expect_eq(result, steps[i].ids != NULL ? 0 : -1, "step %zu: %s", i, err.msg);
		if (steps[i].ids != NULL) {
			cr_expect_str_eq(drive_ids(), steps[i].ids, "step %zu: %s", i, drive_ids());
		} else {
			cr_expect_str_eq(err.msg, "A root block device already exists!");
		}
		cr_expect_eq(kvm_fake_open_fds(), fds + (unsigned)config.drive_count);
	}
	cr_expect_eq(vm_config_find_drive(&config, "c"), 2);
	cr_expect_eq(vm_config_find_drive(&config, "x"), 3);
}

#define CREATE "Unable to create the virtio block device: "

Test(config_devices, a_bad_drive_changes_nothing)
{
	static char a[] = "a";
	static char disk[] = "disk";
	static char none[] = "none";
	static char uuid[] = "0eaa 91a0";
	static const struct {
		struct blk_config drive;
		const char *msg;
	} cases[] = {
		{{.path_on_host = none},
		 CREATE
		 "Virtio backend error: Error manipulating the backing file: No such file or "
		 "directory (os error 2) none"},
		{{.is_root_device = true}, CREATE "Invalid block config."},
		{{.socket = a, .path_on_host = disk}, CREATE "Invalid block config."},
		{{.socket = a, .is_read_only = true}, CREATE "Invalid block config."},
		{{.socket = a, .has_rate_limiter = true}, CREATE "Invalid block config."},
		{{.socket = a, .io_engine = BLK_ENGINE_ASYNC}, CREATE "Invalid block config."},
		{{.socket = a},
		 "This build of squib does not have vhost-user backends: leave out `socket`, and "
		 "give the drive a path_on_host"},
		{{.path_on_host = disk, .num_queues = 17},
		 CREATE "Invalid block config: num_queues is 17, more than the limit of 16"},
		{{.path_on_host = disk, .partuuid = uuid},
		 "The kernel command line is invalid: character 5 of partuuid is a space or not "
		 "printable ASCII"},
	};
	struct error err = {0};

	cr_assert_eq(put_drive("a", false, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct blk_config drive = cases[i].drive;

		drive.drive_id = a;
		error_clear(&err);
		cr_expect_eq(vm_config_put_drive(&config, &drive, &err), -1, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		cr_expect_eq(drive.drive_id, a);
		cr_expect_str_eq(config.drives[0].config.path_on_host, "disk");
		cr_expect_eq(kvm_fake_open_fds(), fds + 1, "case %zu", i);
	}
}

Test(config_devices, a_list_has_an_end)
{
	struct error err = {0};
	char id[16];

	for (int i = 0; i < CONFIG_DEVICES_MAX; i++) {
		snprintf(id, sizeof(id), "d%d", i);
		cr_assert_eq(put_drive(id, false, &err), 0, "%s", err.msg);
	}
	cr_expect_eq(put_drive("more", false, &err), -1);
	cr_expect_str_eq(err.msg, "There are 128 such devices already", "%s", err.msg);
	cr_expect_eq(put_drive("d7", true, &err), 0, "%s", err.msg);
}

Test(config_devices, limits_that_limit_nothing_are_not_there)
{
	struct limiter_config limits = {
		.bandwidth = {.size = 1, .refill_time_ms = 0},
		.has_bandwidth = true,
		.ops = {.size = 2, .one_time_burst = 3, .refill_time_ms = 4},
		.has_ops = true,
	};
	struct rng_config entropy = {.rate_limiter = limits, .has_rate_limiter = true};
	struct limiter_config *kept = &config.entropy.rate_limiter;
	struct limiter_config none = {.has_ops = true};
	struct limiter_config absent = {0};

	vm_config_put_entropy(&config, &entropy);
	cr_expect(config.has_entropy && config.entropy.has_rate_limiter);
	cr_expect_not(kept->has_bandwidth);
	cr_expect(kept->has_ops && kept->ops.one_time_burst == 3);
	/* What an update leaves out stays; zeros take a limit away. */
	vm_config_note_limits(kept, &config.entropy.has_rate_limiter, &absent);
	cr_expect(kept->has_ops && config.entropy.has_rate_limiter);
	vm_config_note_limits(kept, &config.entropy.has_rate_limiter, &none);
	cr_expect_not(kept->has_ops || config.entropy.has_rate_limiter);
}

/* --- Network interfaces --- */

/* As if its TAP had been opened: that needs rights which a test may not have. */
static void add_net(const char *id, const char *tap, const char *mac)
{
	config.nets = reallocarray(config.nets, config.net_count + 1, sizeof(config.nets[0]));
	config.nets[config.net_count++] = (struct net_interface){
		.config = {.iface_id = strdup(id),
			   .host_dev_name = strdup(tap),
			   .guest_mac = mac != NULL ? strdup(mac) : NULL},
		.tap = dup(STDIN_FILENO),
	};
}

static int put_net(const char *id, const char *tap, const char *mac, struct error *err)
{
	struct net_config net = {.iface_id = strdup(id),
				 .host_dev_name = strdup(tap),
				 .guest_mac = mac != NULL ? strdup(mac) : NULL};
	int result;

	error_clear(err);
	result = vm_config_put_net(&config, &net, err);
	cr_expect_eq(net.iface_id == NULL, result == 0);
	free(net.iface_id);
	free(net.host_dev_name);
	free(net.guest_mac);
	return result;
}

Test(config_devices, an_interface_that_is_replaced_hands_its_tap_on)
{
	struct error err = {0};

	add_net("a", "tap0", NULL);
	add_net("b", "tap1", "06:00:00:00:00:01");
	add_net("c", "tap2", NULL);

	int tap = config.nets[0].tap;

	cr_assert_eq(put_net("a", "tap0", "06:00:00:00:00:AA", &err), 0, "%s", err.msg);
	cr_assert_eq(config.net_count, 3);
	/* The last one takes its place [compat]. */
	cr_expect_str_eq(config.nets[0].config.iface_id, "c");
	cr_expect_str_eq(config.nets[1].config.iface_id, "b");
	cr_expect_str_eq(config.nets[2].config.iface_id, "a");
	cr_expect_eq(config.nets[2].tap, tap);
	cr_expect_str_eq(config.nets[2].config.guest_mac, "06:00:00:00:00:aa");
	cr_assert_eq(put_net("a", "tap0", NULL, &err), 0, "%s", err.msg);
	cr_expect_null(config.nets[2].config.guest_mac);
	cr_expect_eq(kvm_fake_open_fds(), fds + 3);
	cr_expect_eq(vm_config_find_net(&config, "b"), 1);
	cr_expect_eq(vm_config_find_net(&config, "x"), 3);
}

Test(config_devices, a_bad_interface_changes_nothing)
{
	struct error err = {0};
	char a[] = "a";
	char tap[] = "tap0";
	struct net_config net = {.iface_id = a, .host_dev_name = tap, .mtu = 67};

	add_net("a", "tap0", "06:00:00:00:00:01");
	add_net("b", "fd:7", NULL);
	cr_expect_eq(put_net("b", "tap1", "06:00:00:00:00:01", &err), -1);
	cr_expect_str_eq(err.msg, "The MAC address is already in use: 06:00:00:00:00:01");
	cr_expect_eq(put_net("a", "tap0", "06:00", &err), -1);
	cr_expect_eq(put_net("c", "fd:7", NULL, &err), -1);
	cr_expect_str_eq(err.msg, "Could not create the network device: Open tap device failed: "
				  "fd:7 is that of another interface");
	cr_expect_eq(put_net("c", "a_name_that_is_too_long", NULL, &err), -1);
	error_clear(&err);
	cr_expect_eq(vm_config_put_net(&config, &net, &err), -1);
	cr_expect_str_eq(err.msg,
			 "Could not create the network device: MTU 67 is out of range [68, 65535]");
	cr_expect_eq(config.net_count, 2);
	cr_expect_str_eq(config.nets[0].config.guest_mac, "06:00:00:00:00:01");
	cr_expect_eq(kvm_fake_open_fds(), fds + 2);
	/* An interface may keep its own address, and a descriptor. */
	cr_expect_eq(put_net("a", "tap0", "06:00:00:00:00:01", &err), 0, "%s", err.msg);
	cr_expect_eq(put_net("b", "fd:7", NULL, &err), 0, "%s", err.msg);
}

/* --- The socket device --- */

static int put_vsock(uint32_t cid, const char *path, struct error *err)
{
	struct vsock_config vsock = {.guest_cid = cid, .uds_path = strdup(path)};
	int result;

	error_clear(err);
	result = vm_config_put_vsock(&config, &vsock, err);
	cr_expect_eq(vsock.uds_path == NULL, result == 0);
	free(vsock.uds_path);
	return result;
}

static bool is_there(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

Test(config_devices, a_new_socket_removes_the_one_before)
{
	struct error err = {0};

	cr_assert_eq(put_vsock(3, "one", &err), 0, "%s", err.msg);
	cr_assert_eq(put_vsock(4, "one", &err), 0, "%s", err.msg);
	cr_assert_eq(put_vsock(5, "./one", &err), 0, "%s", err.msg);
	cr_expect(is_there("one"));
	cr_assert_eq(put_vsock(6, "two", &err), 0, "%s", err.msg);
	cr_expect(is_there("two") && !is_there("one"));
	cr_expect_eq(config.vsock.config.guest_cid, 6);
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);
	/* Somebody else removed it. */
	unlink("two");
	cr_assert_eq(put_vsock(7, "two", &err), 0, "%s", err.msg);
	/* It stays when the process ends [compat]. */
	vm_config_destroy(&config);
	cr_expect(is_there("two"));
	unlink("two");
}

Test(config_devices, a_socket_that_cannot_be_made_leaves_the_one_before)
{
	struct error err = {0};

	cr_assert_eq(put_vsock(3, "one", &err), 0, "%s", err.msg);
	cr_expect_eq(put_vsock(4, "disk", &err), -1);
	cr_expect_str_eq(err.msg,
			 "Cannot create backend for vsock device: Error binding to the host-side "
			 "Unix socket: Address in use (os error 98)",
			 "%s", err.msg);
	cr_expect_eq(put_vsock(4, "none/x", &err), -1);
	cr_expect_eq(config.vsock.config.guest_cid, 3);
	cr_expect(is_there("one") && is_there("disk"));
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);
	unlink("one");
}

/* --- The balloon --- */

Test(config_devices, a_balloon_fits_into_the_memory)
{
	struct balloon_config balloon = {.amount_mib = 129};
	struct machine_config machine = {.vcpu_count = 1, .mem_size_mib = 99};
	struct error err = {0};

	cr_expect_eq(vm_config_put_balloon(&config, &balloon, &err), -1);
	cr_expect_str_eq(err.msg, "Amount of pages requested is too large.");
	cr_expect_not(config.has_balloon);
	error_clear(&err);
	balloon.amount_mib = 128;
	cr_expect_eq(vm_config_put_balloon(&config, &balloon, &err), 0);
	balloon.amount_mib = 100;
	cr_expect_eq(vm_config_put_balloon(&config, &balloon, &err), 0);
	cr_expect_eq(vm_config_put_machine(&config, &machine, &err), -1);
	cr_expect_str_eq(err.msg,
			 "The memory size (MiB) is smaller than the previously set balloon "
			 "device target size.");
	cr_expect_eq(config.machine.mem_size_mib, 128);
	error_clear(&err);
	machine.mem_size_mib = 100;
	cr_expect_eq(vm_config_put_machine(&config, &machine, &err), 0);
}
