/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's virtio devices.
 *
 * Theory of operation. Devices are attached in an order that guests know [compat]: balloon, drives
 * with the root device first, network, sockets, entropy. Address and interrupt of each follow from
 * its place in that order, and the guest is told of them on the command line or in its tables. A
 * notification of the guest arrives as an eventfd in the event loop without an exit of the vCPU,
 * and an interrupt leaves by another one. What goes wrong half-way is undone by devmgr_destroy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/mmio.h"
#include "vmm/base/kvm.h"
#include "vmm/devmgr.h"

/* One kind of device; `entry` is what the configuration has of it. */
struct virtio_kind {
	const char *name;
	const struct metric_group *group;
	int (*make)(struct virtio_slot *slot, const struct dev_env *env, const void *entry,
		    struct error *err);
	void (*free)(void *device);
};

/* Where all of them go. */
struct attachment {
	struct devmgr *devmgr;
	struct cmdline *cmdline;
	struct boot_info *boot;
};

/* --- The kinds --- */

static int make_balloon(struct virtio_slot *slot, const struct dev_env *env, const void *entry,
			struct error *err)
{
	struct balloon *balloon;

	if (balloon_new(env, entry, &balloon, err) < 0) {
		return -1;
	}
	slot->device = balloon;
	slot->virtio = balloon_virtio(balloon);
	slot->metrics = balloon_metrics(balloon);
	return 0;
}

static void free_balloon(void *device)
{
	balloon_free(device);
}

static int make_blk(struct virtio_slot *slot, const struct dev_env *env, const void *entry,
		    struct error *err)
{
	const struct drive *drive = entry;
	struct blk *blk;

	if (blk_new(env, &drive->config, &drive->file, &blk, err) < 0) {
		return -1;
	}
	slot->device = blk;
	slot->virtio = blk_virtio(blk);
	slot->metrics = blk_metrics(blk);
	return 0;
}

static void free_blk(void *device)
{
	blk_free(device);
}

static int make_net(struct virtio_slot *slot, const struct dev_env *env, const void *entry,
		    struct error *err)
{
	const struct net_interface *interface = entry;
	struct net *net;

	if (net_new(env, &interface->config, interface->tap, &net, err) < 0) {
		return -1;
	}
	slot->device = net;
	slot->virtio = net_virtio(net);
	slot->metrics = net_metrics(net);
	return 0;
}

static void free_net(void *device)
{
	net_free(device);
}

static int make_vsock(struct virtio_slot *slot, const struct dev_env *env, const void *entry,
		      struct error *err)
{
	const struct vsock_socket *socket = entry;
	struct vsock *vsock;

	if (vsock_new(env, &socket->config, socket->listener, &vsock, err) < 0) {
		return -1;
	}
	slot->device = vsock;
	slot->virtio = vsock_virtio(vsock);
	slot->metrics = vsock_metrics(vsock);
	return 0;
}

static void free_vsock(void *device)
{
	vsock_free(device);
}

static int make_rng(struct virtio_slot *slot, const struct dev_env *env, const void *entry,
		    struct error *err)
{
	struct rng *rng;

	if (rng_new(env, entry, &rng, err) < 0) {
		return -1;
	}
	slot->device = rng;
	slot->virtio = rng_virtio(rng);
	slot->metrics = rng_metrics(rng);
	return 0;
}

static void free_rng(void *device)
{
	rng_free(device);
}

static const struct virtio_kind balloon_kind = {"balloon", &balloon_metric_group, make_balloon,
						free_balloon};
static const struct virtio_kind blk_kind = {"drive", &blk_metric_group, make_blk, free_blk};
static const struct virtio_kind net_kind = {"network interface", &net_metric_group, make_net,
					    free_net};
static const struct virtio_kind vsock_kind = {"socket device", &vsock_metric_group, make_vsock,
					      free_vsock};
static const struct virtio_kind rng_kind = {"entropy device", &rng_metric_group, make_rng,
					    free_rng};

/* --- Attaching --- */

/*
 * An id as the name of a group of metrics. It is UTF-8, but a configuration file's ids may have any
 * character, and any length.
 */
static void name_source(struct virtio_slot *slot, const char *id)
{
	size_t len = 0;

	for (; len < sizeof(slot->name) - 1 && id[len] != '\0'; len++) {
		char c = id[len];
		bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
				(c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;

		if (!is_plain) {
			c = '_';
		}
		slot->name[len] = c;
	}
	/* Not within a character. */
	while (len > 0 && ((unsigned char)id[len] & 0xc0) == 0x80) {
		len--;
	}
	slot->name[len] = '\0';
}

static void list_metrics(const struct devmgr *devmgr, struct virtio_slot *slot, const char *id)
{
	struct metrics *metrics = devmgr->vm->metrics;

	if (metrics == NULL) {
		return;
	}
	if (id != NULL) {
		name_source(slot, id);
	}
	metrics_add_named(metrics, &slot->device_source, slot->kind->group, slot->metrics,
			  id != NULL ? slot->name : NULL);
	metrics_add(metrics, &slot->interrupt_source, &interrupt_metric_group,
		    &slot->virtio->interrupts);
}

/* Makes the device and its interrupt line; the slot counts from the first moment on. */
static int fill_slot(struct devmgr *devmgr, struct virtio_slot *slot,
		     const struct platform_dev *dev, const void *entry, struct error *err)
{
	struct dev_env env = devmgr_env(devmgr);

	slot->line.eventfd = -1;
	devmgr->slot_count++;
	if (gsi_line_init(&slot->line, devmgr->vm->vm_fd, (uint32_t)dev->gsi, err) < 0) {
		return -1;
	}
	env.irq = gsi_irq_line(&slot->line);
	return slot->kind->make(slot, &env, entry, err);
}

static int put_on_bus(const struct devmgr *devmgr, const struct virtio_slot *slot,
		      const struct platform_dev *dev, struct error *err)
{
	struct vm *vm = devmgr->vm;
	struct bus_range range = {
		.base = dev->base,
		.len = dev->len,
		.ops = &virtio_mmio_bus_ops,
		.device = slot->virtio,
	};

	for (unsigned i = 0; i < slot->virtio->queue_count; i++) {
		if (kvm_ioeventfd(vm->vm_fd, slot->virtio->queues[i].kick.fd,
				  dev->base + VIRTIO_MMIO_QUEUE_NOTIFY, i, err) < 0) {
			return -1;
		}
	}
	return bus_attach(&vm->mmio, &range, err);
}

/* `id` is NULL where there is only one such device. */
static int attach(const struct attachment *at, const struct virtio_kind *kind, const char *id,
		  const void *entry, struct error *err)
{
	struct devmgr *devmgr = at->devmgr;
	struct virtio_slot *slot = &devmgr->slots[devmgr->slot_count];
	struct platform_dev dev;
	char text[64];

	slot->kind = kind;
	if (!arch_virtio_slot(devmgr->slot_count, &dev)) {
		return error_set(err, ERR_TOO_LARGE, "There is no interrupt left");
	}
	arch_platform_cmdline(&dev, text, sizeof(text));
	if (fill_slot(devmgr, slot, &dev, entry, err) < 0 ||
	    put_on_bus(devmgr, slot, &dev, err) < 0 || cmdline_add(at->cmdline, text, err) < 0) {
		return error_wrap(err, "Cannot attach the %s%s%.64s", kind->name,
				  id != NULL ? " " : "", id != NULL ? id : "");
	}
	list_metrics(devmgr, slot, id);
	at->boot->devs[at->boot->dev_count++] = dev;
	return 0;
}

static int add_root(struct cmdline *cmdline, const struct blk_config *drive, struct error *err)
{
	char text[ARCH_CMDLINE_MAX];
	bool has_uuid = drive->partuuid != NULL;

	/* One that does not fit here does not fit there either. */
	(void)!snprintf(text, sizeof(text), "root=%s%s %s", has_uuid ? "PARTUUID=" : "/dev/vda",
			has_uuid ? drive->partuuid : "", drive->is_read_only ? "ro" : "rw");
	return cmdline_add(cmdline, text, err);
}

static int attach_drives(const struct attachment *at, const struct vm_config *config,
			 struct error *err)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		const struct drive *drive = &config->drives[i];

		if ((drive->config.is_root_device &&
		     add_root(at->cmdline, &drive->config, err) < 0) ||
		    attach(at, &blk_kind, drive->config.drive_id, drive, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int attach_nets(const struct attachment *at, const struct vm_config *config,
		       struct error *err)
{
	for (size_t i = 0; i < config->net_count; i++) {
		const struct net_interface *net = &config->nets[i];

		if (attach(at, &net_kind, net->config.iface_id, net, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int make_slots(struct devmgr *devmgr, size_t count, struct error *err)
{
	struct platform_dev dev;
	size_t most = 0;

	if (count == 0) {
		return 0;
	}
	while (most < count && arch_virtio_slot(most, &dev)) {
		most++;
	}
	if (most < count) {
		return error_set(err, ERR_TOO_LARGE,
				 "%zu devices are configured, but this machine has interrupts for "
				 "%zu only",
				 count, most);
	}
	devmgr->slots = calloc(count, sizeof(*devmgr->slots));
	if (devmgr->slots == NULL) {
		return error_sys(err, "Cannot allocate the list of devices");
	}
	return 0;
}

int devmgr_attach_virtio(struct devmgr *devmgr, const struct vm_config *config,
			 struct cmdline *cmdline, struct boot_info *boot, struct error *err)
{
	struct attachment at = {devmgr, cmdline, boot};
	bool has_vsock = config->vsock.config.uds_path != NULL;
	size_t count = config->drive_count + config->net_count + has_vsock + config->has_entropy +
		       config->has_balloon;

	if (make_slots(devmgr, count, err) < 0) {
		return -1;
	}
	if ((config->has_balloon && attach(&at, &balloon_kind, NULL, &config->balloon, err) < 0) ||
	    attach_drives(&at, config, err) < 0 || attach_nets(&at, config, err) < 0 ||
	    (has_vsock && attach(&at, &vsock_kind, NULL, &config->vsock, err) < 0) ||
	    (config->has_entropy && attach(&at, &rng_kind, NULL, &config->entropy, err) < 0)) {
		return -1;
	}
	return 0;
}

void devmgr_destroy_virtio(struct devmgr *devmgr)
{
	while (devmgr->slot_count > 0) {
		struct virtio_slot *slot = &devmgr->slots[--devmgr->slot_count];

		metrics_remove(devmgr->vm->metrics, &slot->device_source);
		metrics_remove(devmgr->vm->metrics, &slot->interrupt_source);
		slot->kind->free(slot->device);
		gsi_line_destroy(&slot->line);
	}
	free(devmgr->slots);
	devmgr->slots = NULL;
}

/* --- Finding --- */

/* The nth device of a kind, NULL if there are fewer. */
static void *find(const struct devmgr *devmgr, const struct virtio_kind *kind, size_t n)
{
	for (size_t i = 0; i < devmgr->slot_count; i++) {
		if (devmgr->slots[i].kind == kind && n-- == 0) {
			return devmgr->slots[i].device;
		}
	}
	return NULL;
}

struct blk *devmgr_blk(const struct devmgr *devmgr, size_t index)
{
	return find(devmgr, &blk_kind, index);
}

struct net *devmgr_net(const struct devmgr *devmgr, size_t index)
{
	return find(devmgr, &net_kind, index);
}

struct balloon *devmgr_balloon(const struct devmgr *devmgr)
{
	return find(devmgr, &balloon_kind, 0);
}

void devmgr_drain(const struct devmgr *devmgr)
{
	struct blk *blk;

	for (size_t i = 0; (blk = devmgr_blk(devmgr, i)) != NULL; i++) {
		blk_drain(blk);
	}
}

void devmgr_resume(const struct devmgr *devmgr)
{
	struct balloon *balloon = devmgr_balloon(devmgr);

	if (balloon != NULL) {
		balloon_resume(balloon);
	}
}
