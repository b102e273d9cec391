/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creates the interrupt controller.
 *
 * Theory of operation. KVM emulates the GIC whose hardware the host has: most have GICv3 (or newer,
 * which KVM shows to guests as v3), a few old ones only GICv2. Which one is known only by asking
 * for it, so the kinds are tried in order of preference, and only "no such device" leads to the
 * next. The order within a kind is KVM's: frames, number of interrupts, then the initialisation
 * that freezes both [linux Documentation/virt/kvm/devices/arm-vgic*.rst].
 *
 * Messages of PCI functions come by an ITS, which is a device of its own to KVM, and a part of
 * GICv3. A GICv2 has beside it a frame that turns messages into shared interrupts (GICv2m), which
 * KVM knows nothing of: a message is routed to its pin (pci.c).
 */
#include "arch/aarch64/gic.h"

#include <errno.h>
#include <linux/kvm.h>

#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

struct kind {
	enum gic_version version;
	const char *name;
	uint32_t type; /* KVM_CREATE_DEVICE */
	uint64_t dist_attr;
	uint64_t dist;
	uint64_t dist_len;
	uint64_t cpu_attr;
	/* the end of the frames of the CPUs, and how long they are together */
	uint64_t cpu_end;
	uint64_t cpu_len;
	uint64_t cpu_len_each;
};

/* In order of preference. */
static const struct kind kinds[] = {
	{
		.version = GIC_V3,
		.name = "GICv3",
		.type = KVM_DEV_TYPE_ARM_VGIC_V3,
		.dist_attr = KVM_VGIC_V3_ADDR_TYPE_DIST,
		.dist = LAYOUT_GICV3_DIST,
		.dist_len = LAYOUT_GICV3_DIST_LEN,
		.cpu_attr = KVM_VGIC_V3_ADDR_TYPE_REDIST,
		.cpu_end = LAYOUT_GICV3_DIST,
		.cpu_len_each = LAYOUT_GICV3_REDIST_LEN,
	},
	{
		.version = GIC_V2,
		.name = "GICv2",
		.type = KVM_DEV_TYPE_ARM_VGIC_V2,
		.dist_attr = KVM_VGIC_V2_ADDR_TYPE_DIST,
		.dist = LAYOUT_GICV2_DIST,
		.dist_len = LAYOUT_GICV2_DIST_LEN,
		.cpu_attr = KVM_VGIC_V2_ADDR_TYPE_CPU,
		.cpu_end = LAYOUT_GICV2_DIST,
		.cpu_len = LAYOUT_GICV2_CPU_LEN,
	},
};

static int configure(const struct gic *gic, const struct kind *kind, struct error *err)
{
	const uint32_t intids = LAYOUT_INTIDS;
	const struct {
		uint32_t group;
		uint64_t attr;
		const void *value;
		const char *what;
	} steps[] = {
		{KVM_DEV_ARM_VGIC_GRP_ADDR, kind->dist_attr, &gic->dist, "place the distributor"},
		{KVM_DEV_ARM_VGIC_GRP_ADDR, kind->cpu_attr, &gic->cpu, "place the CPU frames"},
		{KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &intids, "set the number of interrupts"},
		{KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL, "initialise it"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		if (kvm_set_device_attr(gic->fd, steps[i].group, steps[i].attr, steps[i].value,
					err) < 0) {
			return error_wrap(err, "Cannot create the %s: cannot %s", kind->name,
					  steps[i].what);
		}
	}
	return 0;
}

/* Creates the first kind that the host has. */
static int create_device(int vm, const struct kind **kind, int *fd, struct error *err)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		error_clear(err);
		if (kvm_create_device(vm, kinds[i].type, fd, err) == 0) {
			*kind = &kinds[i];
			return 0;
		}
		if (err->sys != ENODEV) {
			return error_wrap(err, "Cannot create the %s", kinds[i].name);
		}
	}
	return error_wrap(err, "This host's KVM has neither a GICv3 nor a GICv2 for guests");
}

/* Right below the frames of the CPUs. */
static int make_its(struct gic *gic, int vm, struct error *err)
{
	AUTO_FD fd = -1;

	gic->its = gic->cpu - LAYOUT_ITS_LEN;
	if (kvm_create_device(vm, KVM_DEV_TYPE_ARM_VGIC_ITS, &fd, err) < 0 ||
	    kvm_set_device_attr(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &gic->its,
				err) < 0 ||
	    kvm_set_device_attr(fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL,
				err) < 0) {
		return error_wrap(err, "Cannot create the ITS, which PCI needs");
	}
	gic->its_fd = fd_take(&fd);
	gic->has_its = true;
	return 0;
}

int gic_init(struct gic *gic, int vm, unsigned vcpu_count, bool takes_messages, struct error *err)
{
	const struct kind *kind = &kinds[0];
	AUTO_FD fd = -1;

	*gic = (struct gic){0};
	if (create_device(vm, &kind, &fd, err) < 0) {
		return -1;
	}
	uint64_t cpu_len = kind->cpu_len + kind->cpu_len_each * vcpu_count;
	struct gic made = {
		.version = kind->version,
		.fd = fd,
		.dist = kind->dist,
		.dist_len = kind->dist_len,
		.cpu = kind->cpu_end - cpu_len,
		.cpu_len = cpu_len,
		.has_v2m = takes_messages && kind->version == GIC_V2,
	};
	bool needs_its = takes_messages && !made.has_v2m;

	if (configure(&made, kind, err) < 0 || (needs_its && make_its(&made, vm, err) < 0)) {
		return -1;
	}
	*gic = made;
	(void)fd_take(&fd);
	return 0;
}

void gic_destroy(struct gic *gic)
{
	if (gic->version != GIC_NONE) {
		if (gic->has_its) {
			fd_close(&gic->its_fd);
		}
		fd_close(&gic->fd);
		gic->version = GIC_NONE;
	}
}
