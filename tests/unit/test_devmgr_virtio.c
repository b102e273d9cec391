/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/devmgr.c: the virtio devices that resources attach, and too many of them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arch/pci.h"
#include "devices/virtio/core/mmio.h"
#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/lib/ram.h"
#include "vmm/base/bytes.h"
#include "vmm/machine/devmgr.h"
#include "vmm/machine/machine_state.h"
#include "vmm/resources/resource.h"

enum {
	CALLS_MAX = 64,
	DRIVES_MAX = 16
};

static struct timeline timeline;
static struct metrics metrics;
static struct vm vm;
static struct console console;
static struct evloop loop;
static struct boot_info boot;
static struct cmdline cmdline;
static struct devmgr devmgr;
static struct drive drives[DRIVES_MAX];
static struct net_interface net;
static struct microvm microvm;
static struct vm_config *const config = &microvm.config;
static unsigned fds;
static bool on_pci;
static const struct machine_state *saved_state;
static unsigned port_count;

static struct kvm_irqfd irqfds[CALLS_MAX];
static unsigned irqfd_count;
static struct kvm_ioeventfd ioeventfds[CALLS_MAX];
static unsigned ioeventfd_count;

static int see_irqfd(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(&irqfds[irqfd_count++ % CALLS_MAX], arg, sizeof(irqfds[0]));
	return 0;
}

static int see_ioeventfd(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(&ioeventfds[ioeventfd_count++ % CALLS_MAX], arg, sizeof(ioeventfds[0]));
	return 0;
}

/* One of each, as the API would have left them. */
static void set_up(void)
{
	static char root_id[] = "root";
	static char data_id[] = "data";
	static char uuid[] = "0eaa91a0-01";
	static char eth_id[] = "eth0";
	static char uds_path[] = "v.sock";
	struct error err = {0};
	int ends[2];

	capture_log(LOG_INFO);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	drives[0] = (struct drive){
		.config = {.drive_id = root_id, .is_root_device = true, .is_read_only = true},
		.file = {.fd = file_of("", 0), .sectors = 8},
	};
	drives[1] = (struct drive){
		.config = {.drive_id = data_id, .partuuid = uuid},
		.file = {.fd = file_of("", 0), .sectors = 8},
	};
	net = (struct net_interface){.config = {.iface_id = eth_id},
				     .tap = {.count = 1, .fd = {ends[0]}},
				     .connection = -1,
				     .link = {.fd = -1}};
	*config = (struct vm_config){
		.drives = drives,
		.drive_count = 2,
		.nets = &net,
		.net_count = 1,
		.vsock = {.config = {.guest_cid = 3, .uds_path = uds_path}, .listener = ends[1]},
		.has_entropy = true,
		.has_balloon = true,
	};
	cr_assert_eq(evloop_init(&loop, &err), 0);
	kvm_fake_script(KVM_IRQFD, see_irqfd);
	kvm_fake_script(KVM_IOEVENTFD, see_ioeventfd);
	fds = kvm_fake_open_fds();
}

TestSuite(devmgr_virtio, .init = set_up, .timeout = 10);

static int attach(struct error *err)
{
	struct vm_params params = {
		.machine = {.vcpu_count = 1}, .mem = new_ram(MIB), .timeline = &timeline};
	const struct attachment at = {&devmgr, &cmdline, &boot};

	error_clear(err);
	devmgr = (struct devmgr){
		.vm = &vm, .loop = &loop, .console = &console, .saved = saved_state};
	boot = (struct boot_info){0};
	cr_assert(vm_init(&vm, &params, err) == 0, "%s", err->msg);
	vm.metrics = &metrics;
	cr_assert(cmdline_init(&cmdline, "quiet", err) == 0);
	irqfd_count = 0;
	ioeventfd_count = 0;
	if (on_pci && devmgr_attach_pci(&at, port_count, err) < 0) {
		return -1;
	}
	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->attach != NULL && resources[i]->attach(&microvm, &at, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static void end(void)
{
	devmgr_destroy(&devmgr);
	vm_destroy(&vm);
	blk_rings_destroy(&config->rings);
	while (metrics.sources != NULL) { /* what keeps counts */
		cr_expect(metrics.retired != NULL, "a source of metrics is left");
		metrics.sources = metrics.retired != NULL ? metrics.sources->next : NULL;
	}
	cr_expect_eq(kvm_fake_open_fds(), fds, "a descriptor leaks");
}

static uint32_t read_register(uint64_t addr)
{
	uint8_t bytes[4] = {0};

	cr_assert(bus_read(&vm.mmio, addr, bytes, sizeof(bytes)), "%#llx",
		  (unsigned long long)addr);
	return load_le32(bytes);
}

Test(devmgr_virtio, each_device_has_its_place_in_the_known_order)
{
	static const enum virtio_type types[] = {VIRTIO_TYPE_BALLOON, VIRTIO_TYPE_BLOCK,
						 VIRTIO_TYPE_BLOCK,   VIRTIO_TYPE_NET,
						 VIRTIO_TYPE_VSOCK,   VIRTIO_TYPE_RNG};
	struct error err = {0};
	unsigned at = 0;

	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_assert_eq(boot.dev_count, ARRAY_COUNT(types));
	cr_assert_eq(irqfd_count, ARRAY_COUNT(types));
	for (unsigned i = 0; i < ARRAY_COUNT(types); i++) {
		uint64_t base = 0xd0000000 + i * 0x1000;

		cr_expect(boot.devs[i].kind == PLATFORM_VIRTIO_MMIO && boot.devs[i].base == base);
		cr_expect_eq(boot.devs[i].gsi, (int)(16 + i));
		cr_expect_eq(irqfds[i].gsi, 16 + i);
		cr_expect_eq(read_register(base), 0x74726976);
		cr_expect_eq(read_register(base + 8), (uint32_t)types[i], "device %u", i);
		/* A notification of each queue, by its number. */
		for (unsigned queue = 0; queue < devmgr.slots[i]->dev->queue_count; queue++) {
			const struct kvm_ioeventfd *event = &ioeventfds[at++];

			cr_expect_eq(event->addr, base + VIRTIO_MMIO_QUEUE_NOTIFY);
			cr_expect_eq(event->datamatch, queue);
			cr_expect_eq(event->fd, devmgr.slots[i]->dev->queues[queue].kick.fd);
		}
		/* Nobody is told of an acknowledgment of used buffers alone. */
		const struct kvm_ioeventfd *ack = &ioeventfds[at++];

		cr_expect(ack->addr == base + 0x64 && ack->datamatch == 1 && ack->len == 4);
		cr_expect_eq(ack->fd, vm.registers.acks);
		cr_expect_eq(load_le32(vm.registers.pages + i * VIRTIO_MMIO_LEN), 0x74726976);
	}
	cr_expect_eq(at, ioeventfd_count);
	cr_expect_str_eq(cmdline.kernel,
			 "quiet fake.virtio=16 root=/dev/vda ro fake.virtio=17 fake.virtio=18 "
			 "fake.virtio=19 fake.virtio=20 fake.virtio=21",
			 "%s", cmdline.kernel);
	end();
}

Test(devmgr_virtio, a_root_partition_is_named_by_its_uuid)
{
	struct error err = {0};

	drives[0].config.partuuid = drives[1].config.partuuid;
	drives[0].config.is_read_only = false;
	config->has_balloon = false;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect_not_null(strstr(cmdline.kernel, "quiet root=PARTUUID=0eaa91a0-01 rw fake."), "%s",
			   cmdline.kernel);
	end();
}

Test(devmgr_virtio, a_drive_that_is_no_root_adds_no_root)
{
	struct error err = {0};

	drives[0].config.is_root_device = false;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect_null(strstr(cmdline.kernel, "root="));
	end();
}

Test(devmgr_virtio, each_entry_knows_its_device)
{
	struct error err = {0};

	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect_str_eq(blk_virtio(drives[0].blk)->id, "root");
	cr_expect_str_eq(blk_virtio(drives[1].blk)->id, "data");
	cr_expect_str_eq(net_virtio(net.net)->id, "eth0");
	cr_expect_not_null(config->balloon_device);
	devmgr_quiesce(&devmgr);
	devmgr_resume(&devmgr);
	end();
}

static unsigned count_sources(const struct metric_group *group, const char *name)
{
	unsigned count = 0;

	for (struct metric_source *at = metrics.sources; at != NULL; at = at->next) {
		count += at->group == group &&
			 (name == NULL ? at->name == NULL
				       : at->name != NULL && strcmp(at->name, name) == 0);
	}
	return count;
}

Test(devmgr_virtio, drives_and_interfaces_count_under_their_names)
{
	static char odd[] = "a\"b.\xc3\xa9";
	static char long_id[100];
	struct error err = {0};

	memset(long_id, 'x', 62);
	memcpy(long_id + 62, "\xc3\xa9", 3);
	drives[1].config.drive_id = odd;
	net.config.iface_id = long_id;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect_eq(count_sources(&blk_metric_group, "root"), 1);
	cr_expect_eq(count_sources(&blk_metric_group, "a_b_\xc3\xa9"), 1);
	/* Cut between characters. */
	long_id[62] = '\0';
	cr_expect_eq(count_sources(&net_metric_group, long_id), 1);
	cr_expect_eq(count_sources(&balloon_metric_group, NULL), 1);
	cr_expect_eq(count_sources(&vsock_metric_group, NULL), 1);
	cr_expect_eq(count_sources(&rng_metric_group, NULL), 1);
	cr_expect_eq(count_sources(&interrupt_metric_group, NULL), 6);
	end();
}

static void try_each_failure(void)
{
	static const unsigned long requests[] = {KVM_IRQFD, KVM_IOEVENTFD};
	struct error err = {0};

	cr_assert(attach(&err) == 0, "%s", err.msg);
	unsigned counts[] = {irqfd_count, ioeventfd_count};

	end();
	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		for (unsigned nth = 1; nth <= counts[i]; nth++) {
			kvm_fake_fail(requests[i], nth, EPERM);
			cr_expect(attach(&err) == -1, "%zu, %u", i, nth);
			cr_expect_eq(err.sys, EPERM);
			cr_expect_eq(strncmp(err.msg, "Cannot attach the ", 18), 0, "%s", err.msg);
			end();
		}
		kvm_fake_fail(requests[i], 0, 0);
	}
	kvm_fake_fail(KVM_IRQFD, 3, EPERM);
	cr_expect(attach(&err) == -1);
	cr_expect_eq(strncmp(err.msg, "Cannot attach the ", 18), 0, "%s", err.msg);
	end();
}

Test(devmgr_virtio, each_ioctl_may_fail)
{
	try_each_failure();
}

Test(devmgr_virtio, each_ioctl_may_fail_on_pci)
{
	on_pci = true;
	try_each_failure();
}

Test(devmgr_virtio, more_devices_than_interrupts_are_refused)
{
	struct error err = {0};

	config->drive_count = ARCH_FAKE_VIRTIO_SLOTS - 4;
	for (size_t i = 2; i < DRIVES_MAX; i++) {
		drives[i] = drives[1];
	}
	cr_assert(attach(&err) == 0, "%s", err.msg);
	end();
	config->drive_count++;
	cr_assert(attach(&err) == -1);
	cr_expect_str_eq(err.msg, "Cannot attach the entropy device: Could not allocate GSI: The "
				  "requested resource is not available. "
				  "This machine has interrupts for 8 devices.");
	end();
}

Test(devmgr_virtio, a_root_that_does_not_fit_the_command_line_is_told)
{
	static char uuid[ARCH_CMDLINE_MAX];
	struct error err = {0};

	memset(uuid, 'u', sizeof(uuid) - 1);
	drives[0].config.partuuid = uuid;
	cr_assert(attach(&err) == -1);
	cr_expect_eq(err.kind, ERR_TOO_LARGE, "%s", err.msg);
	end();
}

Test(devmgr_virtio, a_machine_without_devices_has_none)
{
	struct error err = {0};

	*config = (struct vm_config){0};
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect(boot.dev_count == 0 && vm.mmio.count == 0 && devmgr.slots[0] == NULL);
	end();
	end();
}

/* --- PCI --- */

static uint32_t read_pci(unsigned slot, unsigned reg)
{
	return read_register(arch_pci.ecam + (slot << 15) + reg);
}

Test(devmgr_virtio, on_pci_each_device_is_a_function_in_the_known_order)
{
	static const uint16_t ids[] = {0x1045, 0x1042, 0x1042, 0x1041, 0x1053, 0x1044};
	struct error err = {0};
	unsigned at = 0;
	unsigned gsi_at = 0;

	on_pci = true;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect(boot.has_pci && boot.dev_count == 0, "guests are told of the bus alone");
	cr_expect_str_eq(cmdline.kernel, "quiet root=/dev/vda ro");
	cr_expect_eq(read_pci(0, 0), 0x0d578086);
	for (unsigned i = 0; i < ARRAY_COUNT(ids); i++) {
		uint64_t base = arch_pci.window + i * UINT64_C(0x80000);

		cr_expect_eq(read_pci(i + 1, 0), (uint32_t)ids[i] << 16 | 0x1af4);
		cr_expect_eq(read_pci(i + 1, 0x10), (uint32_t)base | 4);
		cr_expect_eq(read_pci(i + 1, 0x14), (uint32_t)(base >> 32));
		cr_expect_eq(read_register(base), UINT32_MAX, "not mapped yet");
		for (unsigned q = 0; q < devmgr.slots[i]->dev->queue_count; q++) {
			const struct kvm_ioeventfd *event = &ioeventfds[at++];

			cr_expect_eq(event->addr, base + 0x6000 + UINT64_C(4) * q);
			cr_expect(event->len == 0 && event->flags == 0, "any write");
			cr_expect_eq(event->fd, devmgr.slots[i]->dev->queues[q].kick.fd);
		}
		for (unsigned v = 0; v <= devmgr.slots[i]->dev->queue_count; v++) {
			cr_expect_eq(irqfds[gsi_at++].gsi, arch_pci.msi_gsi + i * 33 + v);
		}
	}
	cr_expect(at == ioeventfd_count && gsi_at == irqfd_count);
	cr_expect_eq(read_pci((unsigned)ARRAY_COUNT(ids) + 1, 0), UINT32_MAX);
	end();
}

Test(devmgr_virtio, a_full_bus_is_told)
{
	enum {
		FULL = 31 - 4
	};
	static struct drive many[FULL + 1];
	struct error err = {0};

	on_pci = true;
	for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
		many[i] = drives[1];
	}
	config->drives = many;
	config->drive_count = FULL;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect_not_null(devmgr.slots[30]);
	end();
	config->drive_count++;
	cr_assert(attach(&err) == -1);
	cr_expect_str_eq(err.msg, "Cannot attach the entropy device: Could not find an available "
				  "device slot on the PCI bus. It has 31.");
	end();
}

/* --- On a machine that was started --- */

static struct kvm_irqfd removed_irqfds[CALLS_MAX];
static unsigned removed_count;
static int balance; /* of ioeventfds that KVM has */

static int track_irqfd(int fd, unsigned long request, void *arg)
{
	const struct kvm_irqfd *irqfd = arg;

	(void)fd;
	(void)request;
	if ((irqfd->flags & KVM_IRQFD_FLAG_DEASSIGN) != 0) {
		removed_irqfds[removed_count++ % CALLS_MAX] = *irqfd;
	} else {
		irqfds[irqfd_count++ % CALLS_MAX] = *irqfd;
	}
	return 0;
}

static int track_ioeventfd(int fd, unsigned long request, void *arg)
{
	const struct kvm_ioeventfd *event = arg;

	(void)fd;
	(void)request;
	ioeventfds[ioeventfd_count++ % CALLS_MAX] = *event;
	balance += (event->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) != 0 ? -1 : 1;
	return 0;
}

static struct virtio_dev *new_drive(struct drive *drive)
{
	const struct dev_env env = devmgr_env(&devmgr);
	struct error err = {0};

	cr_assert(blk_new(&env, &drive->config, &drive->file, &drive->blk, &err) == 0, "%s",
		  err.msg);
	return blk_virtio(drive->blk);
}

static void attach_on_pci(void)
{
	struct error err = {0};

	on_pci = true;
	kvm_fake_script(KVM_IRQFD, track_irqfd);
	kvm_fake_script(KVM_IOEVENTFD, track_ioeventfd);
	cr_assert(attach(&err) == 0, "%s", err.msg);
	irqfd_count = 0;
	ioeventfd_count = 0;
}

Test(devmgr_virtio, a_device_is_plugged_into_the_lowest_free_slot)
{
	struct error err = {0};
	struct drive more[2] = {drives[1], drives[1]};

	attach_on_pci();
	/* The place of the first drive is free again; then the one behind them all is taken. */
	cr_assert(devmgr_unplug(&devmgr, blk_virtio(drives[1].blk), &err) == 0, "%s", err.msg);
	cr_expect_eq(read_pci(3, 0), UINT32_MAX);
	cr_assert(devmgr_plug(&devmgr, new_drive(&more[0]), "more", &err) == 0, "%s", err.msg);
	cr_assert(devmgr_plug(&devmgr, new_drive(&more[1]), "most", &err) == 0, "%s", err.msg);
	cr_expect_eq(read_pci(3, 0), 0x10421af4);
	cr_expect_eq(read_pci(7, 0), 0x10421af4);
	cr_expect_eq(read_pci(7, 0x10), (uint32_t)(arch_pci.window + 6 * 0x80000) | 4);
	cr_expect_eq(count_sources(&blk_metric_group, "more"), 1);
	cr_expect_eq(count_sources(&blk_metric_group, "most"), 1);
	cr_expect_eq(count_sources(&blk_metric_group, "data"), 0);
	end();
}

Test(devmgr_virtio, a_frame_for_messages_says_what_interrupts_they_become)
{
	static const struct {
		uint64_t offset;
		uint32_t len, value;
	} cases[] = {{8, 4, 40 << 16 | 5}, {8, 1, 0}, {9, 1, 0}, {0xfcc, 4, 0}, {0x40, 4, 0}};
	const uint64_t base = 0xd8000000;
	struct error err = {0};

	on_pci = true;
	arch_fake_frame =
		(struct arch_msi_frame){.base = base, .len = 0x1000, .first = 40, .count = 5};
	cr_assert(attach(&err) == 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint8_t data[8] = {0};

		memset(data, 0xee, cases[i].len);
		cr_assert(bus_read(&vm.mmio, base + cases[i].offset, data, cases[i].len));
		cr_expect_eq(load_le32(data), cases[i].value, "case %zu", i);
		cr_expect(bus_write(&vm.mmio, base + cases[i].offset, data, cases[i].len));
	}
	end();
}

Test(devmgr_virtio, an_unplugged_device_leaves_nothing_to_kvm)
{
	struct error err = {0};
	struct drive more = drives[1];
	unsigned before;
	int had;

	attach_on_pci();
	before = kvm_fake_open_fds();
	had = balance;
	cr_assert(devmgr_plug(&devmgr, new_drive(&more), "more", &err) == 0, "%s", err.msg);
	cr_expect_eq(balance, had + 1);
	cr_assert_eq(irqfd_count, 2);
	cr_assert(devmgr_unplug(&devmgr, blk_virtio(more.blk), &err) == 0, "%s", err.msg);
	cr_expect_eq(balance, had);
	cr_assert_eq(removed_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect(removed_irqfds[i].gsi == irqfds[i].gsi &&
			  removed_irqfds[i].fd == irqfds[i].fd);
	}
	cr_expect_eq(kvm_fake_open_fds(), before);
	cr_expect_eq(read_pci(7, 0), UINT32_MAX);
	cr_expect_eq(read_register(arch_pci.window + 6 * 0x80000), UINT32_MAX);
	end();
}

Test(devmgr_virtio, a_plug_that_fails_leaves_nothing)
{
	static const unsigned long requests[] = {KVM_IRQFD, KVM_IOEVENTFD};

	attach_on_pci();
	int had = balance;
	unsigned before = kvm_fake_open_fds();

	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		struct drive more = drives[1];
		struct error err = {0};

		removed_count = 0;
		more.config.num_queues = 3;
		/* Of four interrupts and three queues. */
		kvm_fake_fail(requests[i], 3, EPERM);
		cr_expect_eq(devmgr_plug(&devmgr, new_drive(&more), "more", &err), -1);
		cr_expect_eq(err.sys, EPERM, "%s", err.msg);
		kvm_fake_fail(requests[i], 0, 0);
		cr_expect_eq(balance, had, "case %zu", i);
		cr_expect_eq(removed_count, i == 0 ? 2 : 4, "case %zu: %u", i, removed_count);
		cr_expect_eq(kvm_fake_open_fds(), before, "case %zu", i);
		cr_expect_eq(count_sources(&blk_metric_group, "more"), 0);
		cr_expect_eq(read_pci(7, 0), UINT32_MAX);
	}
	end();
}

Test(devmgr_virtio, a_plug_into_a_full_bus_is_told)
{
	static struct drive many[31];
	struct error err = {0};

	attach_on_pci();
	for (unsigned i = 0; i < 31 - 6; i++) {
		many[i] = drives[1];
		cr_assert(devmgr_plug(&devmgr, new_drive(&many[i]), "more", &err) == 0);
	}
	many[30] = drives[1];
	cr_expect_eq(devmgr_plug(&devmgr, new_drive(&many[30]), "most", &err), -1);
	cr_expect_str_eq(err.msg, "PCI root error: Could not find an available device slot on the "
				  "PCI bus. It has 31.");
	end();
}

Test(devmgr_virtio, what_a_device_counted_stays_in_the_sums)
{
	struct error err = {0};

	attach_on_pci();
	metric_add(&blk_metrics(drives[1].blk)->read_count, 5);
	metric_add(&blk_metrics(drives[0].blk)->read_count, 2);
	cr_assert(devmgr_unplug(&devmgr, blk_virtio(drives[1].blk), &err) == 0);
	uint64_t sum = 0;

	for (struct metric_source *at = metrics.sources; at != NULL; at = at->next) {
		if (at->group == &blk_metric_group) {
			sum += metric_get(&((struct blk_metrics *)at->values)->read_count);
		}
	}
	cr_expect_eq(sum, 7);
	devmgr_destroy(&devmgr);
	vm_destroy(&vm);
	metrics.groups = &(const struct metric_group *){&blk_metric_group};
	metrics_destroy(&metrics);
}

/* --- A machine that is loaded --- */

Test(devmgr_virtio, a_loaded_device_is_where_it_was)
{
	static struct slot_state slots[3];
	static const struct machine_state state = {.slot_count = 3, .slots = slots};
	static const struct {
		uint64_t place;
		enum virtio_type type;
		const char *id;
	} saved[] = {
		{9, VIRTIO_TYPE_BLOCK, "data"},
		{4, VIRTIO_TYPE_NET, "data"}, /* another kind */
		{2, VIRTIO_TYPE_BLOCK, "root"},
	};
	struct error err = {0};

	for (size_t i = 0; i < 3; i++) {
		slots[i].is_pci = true;
		slots[i].base = arch_pci.window + saved[i].place * 0x80000;
		slots[i].virtio.type = saved[i].type;
		strcpy(slots[i].virtio.id, saved[i].id);
	}
	on_pci = true;
	saved_state = &state;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect_str_eq(devmgr.slots[2]->dev->id, "root");
	cr_expect_str_eq(devmgr.slots[9]->dev->id, "data");
	/* Whatever it lacks is in the lowest free place, where loading finds out. */
	cr_expect_eq(devmgr.slots[0]->dev->class->type, VIRTIO_TYPE_BALLOON);
	cr_expect_eq(devmgr.slots[1]->dev->class->type, VIRTIO_TYPE_NET);
	end();
}

Test(devmgr_virtio, a_saved_place_that_is_none_is_not_taken)
{
	static struct slot_state slots[1];
	static const struct machine_state state = {.slot_count = 1, .slots = slots};
	static const int64_t bases[] = {31 * 0x80000, -0x80000, 0x1000, INT64_MIN};
	struct error err = {0};

	on_pci = true;
	saved_state = &state;
	slots[0].is_pci = true;
	slots[0].virtio.type = VIRTIO_TYPE_BLOCK;
	strcpy(slots[0].virtio.id, "data");
	for (size_t i = 0; i < ARRAY_COUNT(bases); i++) {
		slots[0].base = arch_pci.window + (uint64_t)bases[i];
		cr_assert(attach(&err) == 0, "%s", err.msg);
		cr_expect_str_eq(devmgr.slots[2]->dev->id, "data", "case %zu", i);
		end();
	}
}

/* Of a long id 63 bytes are known: two that are alike so far take both places. */
Test(devmgr_virtio, two_loaded_devices_do_not_take_one_place)
{
	static struct slot_state slots[2];
	static const struct machine_state state = {.slot_count = 2, .slots = slots};
	static char ids[2][80];
	struct error err = {0};

	for (size_t i = 0; i < 2; i++) {
		memset(ids[i], 'x', 70);
		ids[i][70] = (char)('1' + i);
		drives[i].config.drive_id = ids[i];
		slots[i].is_pci = true;
		slots[i].base = arch_pci.window + (4 + i) * 0x80000;
		slots[i].virtio.type = VIRTIO_TYPE_BLOCK;
		memset(slots[i].virtio.id, 'x', 63);
	}
	on_pci = true;
	saved_state = &state;
	cr_assert(attach(&err) == 0, "%s", err.msg);
	cr_expect(devmgr.slots[4]->dev == blk_virtio(drives[0].blk));
	cr_expect(devmgr.slots[5]->dev == blk_virtio(drives[1].blk));
	end();
}

/* --- Ports --- */

/* So that one that the guest has just turned off is left in peace. */
Test(devmgr_virtio, ports_take_turns_and_slots_come_last)
{
	static const size_t places[] = {31, 32, 33, 31, 6};
	struct drive more[ARRAY_COUNT(places)];
	struct error err = {0};

	port_count = 3;
	attach_on_pci();
	cr_expect_eq(read_pci(31, 0), 0x000c1b36);
	cr_expect_eq(read_pci(29, 0), 0x000c1b36);
	cr_expect_eq(read_pci(28, 0), UINT32_MAX);
	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		more[i] = drives[1];
		cr_assert(devmgr_plug(&devmgr, new_drive(&more[i]), "more", &err) == 0);
		cr_expect(devmgr.slots[places[i]] != NULL &&
				  devmgr.slots[places[i]]->dev == blk_virtio(more[i].blk),
			  "drive %zu", i);
		cr_expect_eq(devmgr_port(&devmgr, blk_virtio(more[i].blk)) != NULL, places[i] > 30);
		if (i == 0) {
			cr_assert(devmgr_unplug(&devmgr, blk_virtio(more[i].blk), &err) == 0);
		}
	}
	end();
}
