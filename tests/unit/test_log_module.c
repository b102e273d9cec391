/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/log_module.c: files by squib's paths and by Firecracker's. */
#include <criterion/criterion.h>

#include "vmm/base/bytes.h"
#include "vmm/base/log_module.h"

static const char blk[] = "devices/virtio/blk/blk_io.c";
static const char vcpu[] = "vmm/machine/vcpu.c";
static const char router[] = "api/router.c";

static const struct {
	const char *module;
	const char *file;
	bool has;
} cases[] = {
	/* squib's own paths */
	{"", blk, true},
	{"devices/", blk, true},
	{"devices/virtio/blk/blk_io.c", blk, true},
	{"devices/virtio/blk/blk_io.cc", blk, false},
	{"blk", blk, false},
	/* a module, what is above it, what is below it */
	{"vmm::devices::virtio::block", blk, true},
	{"vmm::devices", blk, true},
	{"vmm", blk, true},
	{"vmm::devices::virtio::block::virtio::device", blk, true},
	{"vmm::devices::virtio::blo", blk, true},
	/* others */
	{"vmm::devices::virtio::blocks", blk, false},
	{"vmm::devices::virtio::block:", blk, false},
	{"vmm::devices::virtio::net", blk, false},
	{"vmm::devices::legacy", blk, false},
	{"firecracker", blk, false},
	{"devices::virtio", blk, false},
	{"vmm::nothing", blk, false},
	{"vmm::vstate::vcpu", vcpu, true},
	{"vmm::vstate::vm", vcpu, false},
	{"vmm::vstate::vm", "vmm/machine/vm.c", true},
	{"firecracker::api_server", router, true},
	{"firecracker::api_server::parsed_request", router, true},
	{"api_server", router, true},
	{"vmm", router, false},
	{"firecracker", "vmm/main.c", true},
	{"firecracker::api_server", "vmm/main.c", false},
	{"vmm::dumbo", "devices/mmds/tcp.c", true},
	{"vmm::mmds", "devices/mmds/tcp.c", true},
};

Test(log_module, a_module_is_a_path_of_files_or_one_of_firecracker)
{
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_expect(log_module_has(cases[i].module, cases[i].file) == cases[i].has,
			  "%s of %s", cases[i].module, cases[i].file);
	}
}
