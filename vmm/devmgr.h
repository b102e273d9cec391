/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's devices: made in a fixed order, attached to buses and interrupt lines. */
#ifndef VMM_DEVMGR_H
#define VMM_DEVMGR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arch/boot.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/rtc_pl031.h"
#include "devices/legacy/serial.h"
#include "devices/platform/boot_timer.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/cmdline.h"
#include "vmm/config.h"
#include "vmm/console.h"
#include "vmm/gsi.h"
#include "vmm/vm.h"

struct virtio_kind;

/* A virtio device in its place. */
struct virtio_slot {
	const struct virtio_kind *kind;
	void *device; /* of that kind; NULL: not made */
	struct virtio_dev *virtio;
	void *metrics;
	struct gsi_line line;
	struct metric_source device_source;
	struct metric_source interrupt_source;
	char name[64]; /* in metrics */
};

struct devmgr {
	struct vm *vm;
	struct evloop *loop;
	struct console *console;
	bool has_boot_timer;	 /* --boot-timer was given */
	_Atomic bool has_booted; /* the boot timer fired: told once */
	/* the devices; NULL: this machine has none */
	struct serial *serial;
	struct i8042 *i8042;
	struct rtc_pl031 *rtc;
	struct boot_timer *boot_timer;
	struct metric_source serial_source;
	struct metric_source i8042_source;
	struct metric_source rtc_source;
	struct gsi_line lines[ARCH_PLATFORM_DEVS_MAX];
	size_t line_count;
	struct virtio_slot *slots; /* in attach order */
	size_t slot_count;
};

/*
 * Makes and attaches this architecture's fixed devices, adds what they need said to the command
 * line, and lists them in boot->devs. The caller has set the first four fields. After a failure
 * too, devmgr_destroy is to be called. VMM thread, before any vCPU runs.
 */
MUST_CHECK int devmgr_attach_platform(struct devmgr *devmgr, struct cmdline *cmdline,
				      struct boot_info *boot, struct error *err);

/*
 * The same for the virtio devices of a configuration, which outlives them and keeps what they
 * borrow of it. Before devmgr_attach_platform.
 */
MUST_CHECK int devmgr_attach_virtio(struct devmgr *devmgr, const struct vm_config *config,
				    struct cmdline *cmdline, struct boot_info *boot,
				    struct error *err);

/* The device of drive (interface) `index` of the configuration. NULL where there is none. */
struct blk *devmgr_blk(const struct devmgr *devmgr, size_t index);
struct net *devmgr_net(const struct devmgr *devmgr, size_t index);
struct balloon *devmgr_balloon(const struct devmgr *devmgr);

/* With all vCPUs parked and the event loop frozen: nothing is in flight on any drive afterwards. */
void devmgr_drain(const struct devmgr *devmgr);

/* Before the event loop thaws and the vCPUs go on: tells the devices that there was a pause. */
void devmgr_resume(const struct devmgr *devmgr);

/* All of them. */
void devmgr_destroy(struct devmgr *devmgr);

/* Between devmgr's two files: what every device is handed but its interrupt; an end. */
struct dev_env devmgr_env(const struct devmgr *devmgr);
void devmgr_destroy_virtio(struct devmgr *devmgr);

#endif
