/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/fdt.c: the tree is read back with libfdt, and dtc finds nothing to warn about. */
#include "arch/arch.h"

#include <criterion/criterion.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/aarch64/boot.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

struct machine {
	struct arch_vm vm;
	struct boot_info boot;
	uint8_t fdt[LAYOUT_FDT_LEN_MAX];
};

static const struct cache_list usual_caches = {
	.count = 4,
	.entries = {{1, CACHE_DATA, 64 << 10, 64, 256, 1},
		    {1, CACHE_INSTRUCTION, 32 << 10, 64, 128, 1},
		    {2, CACHE_UNIFIED, 1 << 20, 64, 2048, 2},
		    {3, CACHE_UNIFIED, 32 << 20, 64, 32768, 64}},
};

static const struct gic gic_v3 = {.version = GIC_V3,
				  .fd = -1,
				  .dist = 0x3fff0000,
				  .dist_len = 0x10000,
				  .cpu = 0x3ff70000,
				  .cpu_len = 0x80000,
				  .its_fd = -1};
static const struct gic gic_v2 = {.version = GIC_V2,
				  .fd = -1,
				  .dist = 0x3ffff000,
				  .dist_len = 0x1000,
				  .cpu = 0x3fffd000,
				  .cpu_len = 0x2000,
				  .its_fd = -1};

/* `vcpus` vCPUs numbered as KVM does: 16 per cluster. */
static struct machine *machine_new(uint64_t ram_len, unsigned vcpus)
{
	struct machine *m = calloc(1, sizeof(*m));
	size_t slot_count;
	const struct platform_dev *slots = arch_platform_slots(&slot_count);

	cr_assert_not_null(m);
	m->vm.vcpu_count = vcpus;
	m->vm.gic = gic_v3;
	for (unsigned i = 0; i < vcpus; i++) {
		m->vm.mpidr[i] = UINT64_C(0x80000000) | (i % 16) | (i / 16) << 8;
	}
	m->boot.ram_count = arch_ram_ranges(ram_len, m->boot.ram);
	m->boot.cmdline = "console=ttyS0 reboot=k";
	memcpy(m->boot.devs, slots, slot_count * sizeof(*slots));
	m->boot.dev_count = slot_count;
	return m;
}

static void add_virtio(struct machine *m, int gsi)
{
	m->boot.devs[m->boot.dev_count++] = (struct platform_dev){
		.kind = PLATFORM_VIRTIO_MMIO,
		.bus = BUS_MMIO,
		.base = 0x40003000 + (uint64_t)gsi * 0x1000,
		.len = 0x1000,
		.gsi = gsi,
	};
}

static void write_fdt(struct machine *m)
{
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert_eq(gmem_new(m->boot.ram, m->boot.ram_count, GMEM_ANON, &mem, &err), 0);
	cr_assert_eq(arch_write_boot_info(&m->vm, mem, &m->boot, &err), 0, "%s", err.msg);
	cr_assert_eq(gmem_read(mem, boot_fdt_address(&m->boot), m->fdt, sizeof(m->fdt)), 0);
	cr_assert_eq(fdt_check_full(m->fdt, sizeof(m->fdt)), 0);
	gmem_free(mem);
}

static int node_at(const struct machine *m, const char *path)
{
	int node = fdt_path_offset(m->fdt, path);

	cr_assert_geq(node, 0, "no node %s", path);
	return node;
}

/* The property is exactly these bytes. */
static void expect_bytes(const struct machine *m, const char *path, const char *name,
			 const void *value, int len)
{
	int got_len = 0;
	const void *got = fdt_getprop(m->fdt, node_at(m, path), name, &got_len);

	cr_assert_not_null(got, "%s has no %s", path, name);
	cr_expect_eq(got_len, len, "%s %s", path, name);
	cr_expect(got_len == len && memcmp(got, value, (size_t)len) == 0, "%s %s", path, name);
}

static void expect_string(const struct machine *m, const char *path, const char *name,
			  const char *value)
{
	expect_bytes(m, path, name, value, (int)strlen(value) + 1);
}

/* The property is these 32-bit cells. */
#define EXPECT_CELLS(m, path, name, ...)                                                           \
	expect_cells((m), (path), (name), (const uint32_t[]){__VA_ARGS__},                         \
		     sizeof((uint32_t[]){__VA_ARGS__}) / 4)

static void expect_cells(const struct machine *m, const char *path, const char *name,
			 const uint32_t *values, size_t count)
{
	fdt32_t cells[16];

	for (size_t i = 0; i < count; i++) {
		cells[i] = cpu_to_fdt32(values[i]);
	}
	expect_bytes(m, path, name, cells, (int)count * 4);
}

static bool has_prop(const struct machine *m, const char *path, const char *name)
{
	return fdt_getprop(m->fdt, node_at(m, path), name, NULL) != NULL;
}

Test(fdt, the_root_names_the_machine)
{
	struct machine *m = machine_new(128 * MIB, 1);

	write_fdt(m);
	expect_string(m, "/", "compatible", "linux,dummy-virt");
	EXPECT_CELLS(m, "/", "#address-cells", 2);
	EXPECT_CELLS(m, "/", "#size-cells", 2);
	EXPECT_CELLS(m, "/", "interrupt-parent", 1);
	free(m);
}

Test(fdt, the_memory_is_without_the_system_area)
{
	struct machine *m = machine_new(128 * MIB, 1);

	write_fdt(m);
	expect_string(m, "/memory@80200000", "device_type", "memory");
	EXPECT_CELLS(m, "/memory@80200000", "reg", 0, 0x80200000, 0, 126 << 20);
	free(m);
}

Test(fdt, memory_above_the_hole_is_described_too)
{
	struct machine *m = machine_new(300 * GIB, 1);

	write_fdt(m);
	EXPECT_CELLS(m, "/memory@80200000", "reg", 0, 0x80200000, 63, 0x7fe00000, 128, 0, 11,
		     0x80000000);
	free(m);
}

Test(fdt, every_vcpu_is_a_node_at_its_affinity)
{
	struct machine *m = machine_new(128 * MIB, 18);

	m->vm.mpidr[1] = UINT64_C(0xffffffc1f0000001); /* all that is no affinity is set */
	write_fdt(m);
	EXPECT_CELLS(m, "/cpus", "#address-cells", 2);
	EXPECT_CELLS(m, "/cpus", "#size-cells", 0);
	expect_string(m, "/cpus/cpu@0", "device_type", "cpu");
	expect_string(m, "/cpus/cpu@0", "compatible", "arm,arm-v8");
	expect_string(m, "/cpus/cpu@0", "enable-method", "psci");
	EXPECT_CELLS(m, "/cpus/cpu@0", "reg", 0, 0);
	EXPECT_CELLS(m, "/cpus/cpu@c100000001", "reg", 0xc1, 1);
	EXPECT_CELLS(m, "/cpus/cpu@f", "reg", 0, 15);
	EXPECT_CELLS(m, "/cpus/cpu@101", "reg", 0, 0x101);
	cr_expect(!has_prop(m, "/cpus/cpu@0", "next-level-cache"));
	free(m);
}

Test(fdt, caches_are_shared_by_as_many_vcpus_as_on_the_host)
{
	struct machine *m = machine_new(128 * MIB, 4);

	m->vm.caches = usual_caches;
	write_fdt(m);
	EXPECT_CELLS(m, "/cpus/cpu@0", "d-cache-size", 64 << 10);
	EXPECT_CELLS(m, "/cpus/cpu@0", "d-cache-line-size", 64);
	EXPECT_CELLS(m, "/cpus/cpu@0", "d-cache-sets", 256);
	EXPECT_CELLS(m, "/cpus/cpu@3", "i-cache-size", 32 << 10);
	EXPECT_CELLS(m, "/cpus/cpu@0", "next-level-cache", 4000);
	EXPECT_CELLS(m, "/cpus/cpu@1", "next-level-cache", 4000);
	EXPECT_CELLS(m, "/cpus/cpu@2", "next-level-cache", 3999);
	EXPECT_CELLS(m, "/cpus/l2-cache0", "phandle", 4000);
	EXPECT_CELLS(m, "/cpus/l2-cache0", "cache-level", 2);
	EXPECT_CELLS(m, "/cpus/l2-cache0", "cache-size", 1 << 20);
	expect_string(m, "/cpus/l2-cache0", "compatible", "cache");
	cr_expect(has_prop(m, "/cpus/l2-cache0", "cache-unified"));
	EXPECT_CELLS(m, "/cpus/l2-cache1", "phandle", 3999);
	EXPECT_CELLS(m, "/cpus/l2-cache1", "next-level-cache", 3968);
	EXPECT_CELLS(m, "/cpus/l3-cache0", "phandle", 3968);
	int nodes = 0;
	int node;

	fdt_for_each_subnode(node, m->fdt, node_at(m, "/cpus"))
	{
		nodes++;
	}
	cr_expect_eq(nodes, 4 + 2 + 1);
	cr_expect(!has_prop(m, "/cpus/l3-cache0", "next-level-cache"));
	free(m);
}

Test(fdt, odd_caches_make_a_valid_tree)
{
	static const struct cache_list odd = {
		.count = 4,
		.entries = {{1, CACHE_UNIFIED, 4096, 0, 0, 1},
			    {2, CACHE_DATA, 4096, 0, 0, 1},
			    {3, CACHE_UNIFIED, 0, 0, 0, 3},
			    {2, CACHE_INSTRUCTION, 4096, 0, 0, 1}},
	};
	struct machine *m = machine_new(128 * MIB, 4);

	m->vm.caches = odd;
	write_fdt(m);
	cr_expect(has_prop(m, "/cpus/cpu@0", "cache-unified"));
	EXPECT_CELLS(m, "/cpus/cpu@0", "next-level-cache", 3968);
	EXPECT_CELLS(m, "/cpus/cpu@3", "next-level-cache", 3967);
	cr_expect(!has_prop(m, "/cpus/l3-cache1", "cache-size"));
	free(m);
}

Test(fdt, the_kernel_gets_its_command_line_and_a_seed_of_its_own)
{
	uint8_t seeds[2][64];

	for (int i = 0; i < 2; i++) {
		struct machine *m = machine_new(128 * MIB, 1);
		int len = 0;

		write_fdt(m);
		expect_string(m, "/chosen", "bootargs", "console=ttyS0 reboot=k");
		const void *seed = fdt_getprop(m->fdt, node_at(m, "/chosen"), "rng-seed", &len);

		cr_assert_eq(len, 64);
		memcpy(seeds[i], seed, 64);
		cr_expect(!has_prop(m, "/chosen", "linux,initrd-start"));
		free(m);
	}
	cr_assert_neq(memcmp(seeds[0], seeds[1], 64), 0);
}

Test(fdt, the_initrd_is_told_by_start_and_end)
{
	struct machine *m = machine_new(128 * MIB, 1);

	m->boot.initrd = GPA(0x187dff000);
	m->boot.initrd_len = 5;
	write_fdt(m);
	EXPECT_CELLS(m, "/chosen", "linux,initrd-start", 1, 0x87dff000);
	EXPECT_CELLS(m, "/chosen", "linux,initrd-end", 1, 0x87dff005);
	free(m);
}

Test(fdt, the_interrupt_controller_is_what_kvm_made)
{
	struct machine *m = machine_new(128 * MIB, 4);

	write_fdt(m);
	expect_string(m, "/interrupt-controller@3fff0000", "compatible", "arm,gic-v3");
	EXPECT_CELLS(m, "/interrupt-controller@3fff0000", "#interrupt-cells", 3);
	EXPECT_CELLS(m, "/interrupt-controller@3fff0000", "phandle", 1);
	EXPECT_CELLS(m, "/interrupt-controller@3fff0000", "reg", 0, 0x3fff0000, 0, 0x10000, 0,
		     0x3ff70000, 0, 0x80000);
	cr_expect(has_prop(m, "/interrupt-controller@3fff0000", "interrupt-controller"));
	m->vm.gic = gic_v2;
	write_fdt(m);
	expect_string(m, "/interrupt-controller@3ffff000", "compatible", "arm,gic-400");
	EXPECT_CELLS(m, "/interrupt-controller@3ffff000", "reg", 0, 0x3ffff000, 0, 0x1000, 0,
		     0x3fffd000, 0, 0x2000);
	free(m);
}

Test(fdt, psci_timer_and_clock_are_always_there)
{
	struct machine *m = machine_new(128 * MIB, 1);

	write_fdt(m);
	expect_string(m, "/psci", "compatible", "arm,psci-0.2");
	expect_string(m, "/psci", "method", "hvc");
	expect_string(m, "/timer", "compatible", "arm,armv8-timer");
	EXPECT_CELLS(m, "/timer", "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
	cr_expect(has_prop(m, "/timer", "always-on"));
	expect_string(m, "/apb-pclk", "compatible", "fixed-clock");
	EXPECT_CELLS(m, "/apb-pclk", "clock-frequency", 24000000);
	EXPECT_CELLS(m, "/apb-pclk", "phandle", 2);
	free(m);
}

Test(fdt, devices_are_at_their_addresses_with_their_interrupts)
{
	static const char rtc_compatible[] = "arm,pl031\0arm,primecell";
	struct machine *m = machine_new(128 * MIB, 1);

	add_virtio(m, 0);
	add_virtio(m, 1);
	write_fdt(m);
	expect_string(m, "/uart@40002000", "compatible", "ns16550a");
	expect_string(m, "/uart@40002000", "clock-names", "apb_pclk");
	EXPECT_CELLS(m, "/uart@40002000", "clocks", 2);
	EXPECT_CELLS(m, "/uart@40002000", "reg", 0, 0x40002000, 0, 0x1000);
	EXPECT_CELLS(m, "/uart@40002000", "interrupts", 0, 92, 1);
	expect_bytes(m, "/rtc@40001000", "compatible", rtc_compatible, sizeof(rtc_compatible));
	EXPECT_CELLS(m, "/rtc@40001000", "interrupts", 0, 93, 4);
	EXPECT_CELLS(m, "/rtc@40001000", "clocks", 2);
	expect_string(m, "/virtio_mmio@40003000", "compatible", "virtio,mmio");
	EXPECT_CELLS(m, "/virtio_mmio@40003000", "interrupts", 0, 0, 1);
	EXPECT_CELLS(m, "/virtio_mmio@40004000", "interrupts", 0, 1, 1);
	EXPECT_CELLS(m, "/virtio_mmio@40004000", "reg", 0, 0x40004000, 0, 0x1000);
	cr_expect(has_prop(m, "/virtio_mmio@40004000", "dma-coherent"));
	free(m);
}

Test(fdt, generation_id_and_clock_page_are_in_hidden_memory)
{
	struct machine *m = machine_new(128 * MIB, 1);

	write_fdt(m);
	expect_string(m, "/vmgenid@801ffff0", "compatible", "microsoft,vmgenid");
	EXPECT_CELLS(m, "/vmgenid@801ffff0", "reg", 0, 0x801ffff0, 0, 16);
	EXPECT_CELLS(m, "/vmgenid@801ffff0", "interrupts", 0, 94, 1);
	expect_string(m, "/ptp@801fe000", "compatible", "amazon,vmclock");
	EXPECT_CELLS(m, "/ptp@801fe000", "reg", 0, 0x801fe000, 0, 0x1000);
	EXPECT_CELLS(m, "/ptp@801fe000", "interrupts", 0, 95, 1);
	free(m);
}

Test(fdt, a_device_that_is_not_attached_is_not_described)
{
	struct machine *m = machine_new(128 * MIB, 1);

	m->boot.dev_count = 1;
	write_fdt(m);
	cr_expect_lt(fdt_path_offset(m->fdt, "/uart@40002000"), 0);
	cr_expect_lt(fdt_path_offset(m->fdt, "/rtc@40001000"), 0);
	free(m);
}

/* The largest machine: everything at its limit. */
static struct machine *largest_machine(void)
{
	static char cmdline[ARCH_CMDLINE_MAX];
	struct machine *m = machine_new(1022 * GIB, ARCH_VCPUS_MAX);

	memset(cmdline, 'x', sizeof(cmdline) - 1);
	m->boot.cmdline = cmdline;
	m->boot.initrd = GPA(0x81000000);
	m->boot.initrd_len = 4096;
	m->vm.caches = usual_caches;
	m->vm.caches.entries[2].cpus = 1;
	m->vm.caches.entries[3].cpus = 1;
	for (int i = 0; m->boot.dev_count < ARCH_PLATFORM_DEVS_MAX; i++) {
		add_virtio(m, i);
	}
	return m;
}

Test(fdt, the_largest_machine_fits)
{
	struct machine *m = largest_machine();

	write_fdt(m);
	cr_assert_lt(fdt_totalsize(m->fdt), 48 << 10);
	node_at(m, "/cpus/l3-cache31");
	node_at(m, "/cpus/cpu@10f");
	node_at(m, "/virtio_mmio@4007d000");
	free(m);
}

static void add_pci(struct machine *m)
{
	m->boot.has_pci = true;
	m->vm.gic.has_its = true;
	m->vm.gic.its = m->vm.gic.cpu - LAYOUT_ITS_LEN;
}

Test(fdt, a_pci_bus_has_windows_and_tells_who_takes_its_messages)
{
	static const char its[] = "/interrupt-controller@3fff0000/msi-controller@3ff50000";
	static const char pci[] = "/pci@70000000";
	struct machine *m = machine_new(GIB, 1);

	write_fdt(m);
	cr_expect_lt(fdt_path_offset(m->fdt, pci), 0);
	cr_expect_lt(fdt_path_offset(m->fdt, its), 0);
	add_pci(m);
	write_fdt(m);
	EXPECT_CELLS(m, "/chosen", "linux,pci-probe-only", 1);
	expect_string(m, its, "compatible", "arm,gic-v3-its");
	EXPECT_CELLS(m, its, "reg", 0, 0x3ff50000, 0, 0x20000);
	EXPECT_CELLS(m, its, "#msi-cells", 1);
	EXPECT_CELLS(m, its, "phandle", 3);
	expect_string(m, pci, "compatible", "pci-host-ecam-generic");
	EXPECT_CELLS(m, pci, "reg", 0, 0x70000000, 0, 0x100000);
	EXPECT_CELLS(m, pci, "bus-range", 0, 0);
	EXPECT_CELLS(m, pci, "msi-map", 0, 3, 0, 0x100);
	EXPECT_CELLS(m, pci, "ranges", 0x02000000, 0, 0x40003000, 0, 0x40003000, 0, 0x2fffd000,
		     0x03000000, 0x40, 0, 0x40, 0, 0x40, 0);
	free(m);
}

Test(fdt, a_version_2_has_a_frame_for_messages)
{
	static const char v2m[] = "/interrupt-controller@3ffff000/v2m@3fffc000";
	struct machine *m = machine_new(GIB, 1);

	m->boot.has_pci = true;
	m->vm.gic = gic_v2;
	m->vm.gic.has_v2m = true;
	write_fdt(m);
	expect_string(m, v2m, "compatible", "arm,gic-v2m-frame");
	EXPECT_CELLS(m, v2m, "reg", 0, 0x3fffc000, 0, 0x1000);
	EXPECT_CELLS(m, v2m, "arm,msi-base-spi", 32);
	EXPECT_CELLS(m, v2m, "arm,msi-num-spis", 92);
	EXPECT_CELLS(m, v2m, "phandle", 3);
	EXPECT_CELLS(m, "/pci@70000000", "msi-map", 0, 3, 0, 0x100);
	free(m);
}

static void compile(struct machine *m)
{
	char path[] = "/tmp/squib-fdt-XXXXXX";
	char command[128];
	AUTO_FD fd = mkstemp(path);

	write_fdt(m);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, m->fdt, fdt_totalsize(m->fdt)), (ssize_t)fdt_totalsize(m->fdt));
	snprintf(command, sizeof(command), "dtc -I dtb -O dts -o /dev/null %s 2>&1", path);
	FILE *warnings = popen(command, "r");
	char line[256] = "";

	cr_assert_not_null(warnings);
	cr_expect_null(fgets(line, sizeof(line), warnings), "%s", line);
	cr_expect_eq(pclose(warnings), 0, "dtc must be installed");
	unlink(path);
	free(m);
}

Test(fdt, dtc_has_nothing_to_warn_about)
{
	struct machine *m = largest_machine();

	compile(m);
	m = largest_machine();
	add_pci(m);
	compile(m);
}

Test(fdt, a_machine_without_room_for_it_is_an_error)
{
	struct machine *m = machine_new(MIB, 1);
	struct gmem *mem = NULL;
	struct error err = {0};

	cr_assert_eq(gmem_new(m->boot.ram, m->boot.ram_count, GMEM_ANON, &mem, &err), 0);
	cr_assert_eq(arch_write_boot_info(&m->vm, mem, &m->boot, &err), -1);
	cr_assert_eq(err.kind, ERR_BAD_REQUEST);
	gmem_free(mem);
	free(m);
}
