/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine of any number of vCPUs, with any GIC, caches that cache.c lets through, any devices,
 * RAM and ports. libfdt takes or refuses anything at any time.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full -eva-auto-loop-unroll 16
 * Options: -eva-plevel 200
 */
#include "tests/eva/eva.h"

#include "tests/eva/error.h"
#include "tests/eva/gmem.h"
#include "tests/eva/printf.h"

#include <libfdt.h>
#include <string.h>

enum {
	TREE_LEN = 512
};

static uint8_t tree[TREE_LEN];

/* As long as it likes: what is written there is libfdt's. */
#define malloc(len) (keep((uint64_t)(len)), any_bool() ? tree : NULL)
#define free(buffer) (void)(buffer)

static int any_status(void)
{
	return -(int)any_between(0, FDT_ERR_MAX);
}

int fdt_create(void *buf, int bufsize)
{
	/*@ assert bufsize > 0; */
	keep((uint64_t)(buf != NULL) + (uint64_t)bufsize);
	return any_status();
}

int fdt_finish_reservemap(void *fdt)
{
	keep(fdt != NULL);
	return any_status();
}

int fdt_finish(void *fdt)
{
	fdt_set_totalsize(fdt, TREE_LEN);
	return any_status();
}

int fdt_begin_node(void *fdt, const char *name)
{
	keep((uint64_t)(fdt != NULL) + strlen(name));
	return any_status();
}

int fdt_end_node(void *fdt)
{
	keep(fdt != NULL);
	return any_status();
}

int fdt_property(void *fdt, const char *name, const void *val, int len)
{
	/*@ assert len >= 0; */
	keep((uint64_t)(fdt != NULL) + strlen(name));
	look_at(val, (size_t)len);
	return any_status();
}

/* Of just the length that was asked for, at the end of what there is. */
int fdt_property_placeholder(void *fdt, const char *name, int len, void **prop_data)
{
	/*@ assert 0 <= len <= TREE_LEN; */
	keep((uint64_t)(fdt != NULL) + strlen(name));
	*prop_data = tree + TREE_LEN - len;
	return any_status();
}

const char *fdt_strerror(int errval)
{
	keep((uint64_t)-errval);
	return "";
}

#include "arch/aarch64/boot.h"

gpa_t boot_fdt_address(const struct boot_info *boot)
{
	gpa_t gpa = {boot->ram[0].base.v};

	return gpa;
}

#include "arch/pci.h"

const struct arch_pci arch_pci = {.ecam = 1, .ecam_len = 2, .window = 3, .window_len = 4};

bool arch_msi_frame(const struct arch_vm *vm, struct arch_msi_frame *frame)
{
	fill(frame, sizeof(*frame));
	return vm->gic.has_v2m;
}

#include "arch/aarch64/fdt.c"

static struct boot_info boot;
static struct arch_vm vm;

static void make_caches(void)
{
	vm.caches.count = any_between(0, CACHE_COUNT_MAX);
	for (unsigned i = 0; i < CACHE_COUNT_MAX; i++) {
		vm.caches.entries[i] = (struct cache){
			.level = (unsigned)any_between(1, CACHE_LEVEL_MAX),
			.type = any_between(CACHE_DATA, CACHE_UNIFIED),
			.size = any_u32(),
			.line_size = any_u32(),
			.sets = any_u32(),
			.cpus = (unsigned)any_between(1, UINT32_MAX),
		};
	}
}

static void make_machine(void)
{
	vm.vcpu_count = (unsigned)any_between(1, ARCH_VCPUS_MAX);
	fill(vm.mpidr, sizeof(vm.mpidr));
	fill(&vm.gic, sizeof(vm.gic));
	vm.gic.version = any_between(GIC_V2, GIC_V3);
	vm.gic.has_its = any_bool();
	vm.gic.has_v2m = any_bool();
	fill(boot.ram, sizeof(boot.ram));
	boot.ram_count = (size_t)Frama_C_interval_split(1, ARCH_RAM_RANGES_MAX);
	boot.initrd.v = any_u64();
	boot.initrd_len = any_u64();
	boot.has_pci = any_bool();
	boot.pci_ports = (unsigned)any_between(0, 31);
	boot.dev_count = any_between(0, ARCH_PLATFORM_DEVS_MAX);
	/*@ loop unroll ARCH_PLATFORM_DEVS_MAX; */
	for (unsigned i = 0; i < ARCH_PLATFORM_DEVS_MAX; i++) {
		boot.devs[i] = (struct platform_dev){
			.kind = any_between(PLATFORM_SERIAL, PLATFORM_VIRTIO_PCI),
			.base = any_u64(),
			.len = any_u64(),
			.gsi = (int)any_between(0, INT32_MAX),
		};
	}
}

void main(void)
{
	static char cmdline[8];
	static struct gmem mem;
	struct error err = {0};

	fill(cmdline, sizeof(cmdline) - 1);
	boot.cmdline = cmdline;
	make_caches();
	make_machine();
	keep(arch_write_boot_info(&vm, &mem, &boot, &err));
}
