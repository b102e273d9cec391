/* SPDX-License-Identifier: Apache-2.0 */
/* The table from Firecracker's module paths to squib's files. */
#include "vmm/base/log_module.h"

#include <stddef.h>
#include <string.h>

#include "vmm/base/bytes.h"

#define FIRECRACKER "firecracker::"
#define VMM "vmm::"
#define DEVICES VMM "devices::"
#define VIRTIO DEVICES "virtio::"

/* A file may have several paths, e.g. of a crate that has become a module. */
static const struct {
	const char *file; /* what its name begins with */
	const char *path;
} modules[] = {
	{"api/", FIRECRACKER "api_server"},
	{"api/", "api_server"},
	{"api/config_file", VMM "resources"},
	{"vmm/main", FIRECRACKER "main"},
	{"vmm/signals", VMM "signal_handler"},
	{"vmm/control/mailbox", FIRECRACKER "api_server_adapter"},
	{"vmm/control/telemetry", FIRECRACKER "metrics"},
	{"vmm/control/controller", VMM "rpc_interface"},
	{"vmm/resources/", VMM "vmm_config"},
	{"vmm/resources/", VMM "resources"},
	{"vmm/machine/machine", VMM "builder"},
	{"vmm/machine/cmdline", VMM "builder"},
	{"vmm/machine/vcpu", VMM "vstate::vcpu"},
	{"vmm/machine/vm.", VMM "vstate::vm"},
	{"vmm/machine/irq", VMM "vstate::interrupts"},
	{"vmm/machine/bus", VMM "vstate::bus"},
	{"vmm/machine/devmgr", VMM "device_manager"},
	{"vmm/machine/console", DEVICES "legacy::serial"},
	{"vmm/machine/timeline", DEVICES "pseudo::boot_timer"},
	{"vmm/base/gmem", VMM "vstate::memory"},
	{"vmm/base/kvm", VMM "vstate::kvm"},
	{"vmm/base/limiter", VMM "rate_limiter"},
	{"vmm/base/metrics", VMM "logger"},
	{"vmm/confine/", VMM "seccomp"},
	{"seccomp/", VMM "seccomp"},
	{"arch/x86_64/", VMM "arch::x86_64"},
	{"arch/aarch64/", VMM "arch::aarch64"},
	{"arch/x86_64/acpi", VMM "acpi"},
	{"arch/x86_64/cpuid", VMM "cpu_config"},
	{"devices/legacy/serial", DEVICES "legacy::serial"},
	{"devices/legacy/i8042", DEVICES "legacy::i8042"},
	{"devices/legacy/rtc_pl031", DEVICES "legacy::rtc_pl031"},
	{"devices/platform/boot_timer", DEVICES "pseudo::boot_timer"},
	{"devices/platform/acpi_sleep", DEVICES "acpi"},
	{"devices/mmds/", VMM "mmds"},
	{"devices/mmds/", VMM "dumbo"},
	{"devices/virtio/core/virtq", VIRTIO "queue"},
	{"devices/virtio/core/virtio", VIRTIO "device"},
	{"devices/virtio/core/mmio", VIRTIO "transport::mmio"},
	{"devices/virtio/balloon/", VIRTIO "balloon"},
	{"devices/virtio/blk/", VIRTIO "block"},
	{"devices/virtio/net/", VIRTIO "net"},
	{"devices/virtio/rng", VIRTIO "rng"},
	{"devices/virtio/vsock/", VIRTIO "vsock"},
};

static bool begins_with(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* Whether one is the beginning of the other; what is longer goes on after a "::". */
static bool is_of_path(const char *module, const char *path)
{
	size_t len = strlen(path);

	return begins_with(path, module) ||
	       (begins_with(module, path) && begins_with(module + len, "::"));
}

bool log_module_has(const char *module, const char *file)
{
	if (begins_with(file, module)) {
		return true;
	}
	for (size_t i = 0; i < ARRAY_COUNT(modules); i++) {
		if (begins_with(file, modules[i].file) && is_of_path(module, modules[i].path)) {
			return true;
		}
	}
	return false;
}
