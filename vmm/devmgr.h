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
#include "vmm/console.h"
#include "vmm/gsi.h"
#include "vmm/vm.h"

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
};

/*
 * Makes and attaches this architecture's fixed devices, adds what they need said to the command
 * line, and lists them in boot->devs. The caller has set the first four fields. After a failure
 * too, devmgr_destroy is to be called. VMM thread, before any vCPU runs.
 */
MUST_CHECK int devmgr_attach_platform(struct devmgr *devmgr, struct cmdline *cmdline,
				      struct boot_info *boot, struct error *err);
void devmgr_destroy(struct devmgr *devmgr);

#endif
