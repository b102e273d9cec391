/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the flattened device tree, which tells the guest all of its machine.
 *
 * Theory of operation. libfdt's sequential functions append to one buffer. Their results are
 * gathered in the writer: after the first failure the rest do nothing, and the end reports it. The
 * buffer is larger than any tree of as many CPUs and devices, so a failure is a bug or a lack of
 * memory; and not larger than need be, for libfdt clears it, and what is cleared stays resident.
 * Properties are those of the devicetree specification [dt-spec] and of Linux's bindings [dt-bind].
 */
#include "arch/arch.h"
#include "arch/boot.h"
#include "arch/pci.h"

#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "arch/aarch64/boot.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	PHANDLE_GIC = 1,
	PHANDLE_CLOCK = 2,
	PHANDLE_MSI = 3,      /* what takes the messages of PCI functions */
	PHANDLE_CACHE = 4000, /* and downwards [compat] */
};

enum {
	/* A CPU with caches of its own or a device, and all that there is once. */
	NODE_LEN_MAX = 320,
	REST_LEN_MAX = (7 << 10) + ARCH_CMDLINE_MAX,
	NAME_LEN = 32,
	CELLS_MAX = 16,
	RNG_SEED_LEN = 64, /* [compat] */
	APB_CLOCK_HZ = 24000000,
};

/* Cells of an interrupt on a GIC [dt-bind arm,gic-v3]. */
enum {
	IRQ_SPI = 0,
	IRQ_PPI = 1,
	IRQ_EDGE_RISING = 1,
	IRQ_LEVEL_HIGH = 4,
};

/* The bits of MPIDR_EL1 that say where a CPU is [dt-bind arm/cpus]. */
static const uint64_t mpidr_affinity = UINT64_C(0xff00ffffff);

struct writer {
	void *fdt;
	int status; /* of libfdt: 0, or the first failure */
};

PRINTF(2, 3) static void begin_node(struct writer *w, const char *fmt, ...)
{
	char name[NAME_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	if (w->status == 0) {
		w->status = fdt_begin_node(w->fdt, name);
	}
}

static void end_node(struct writer *w)
{
	if (w->status == 0) {
		w->status = fdt_end_node(w->fdt);
	}
}

static void put_bytes(struct writer *w, const char *name, const void *value, size_t len)
{
	if (w->status == 0) {
		w->status = fdt_property(w->fdt, name, value, (int)len);
	}
}

static void put_flag(struct writer *w, const char *name)
{
	put_bytes(w, name, NULL, 0);
}

static void put_string(struct writer *w, const char *name, const char *value)
{
	put_bytes(w, name, value, strlen(value) + 1);
}

static void put_u32(struct writer *w, const char *name, uint32_t value)
{
	if (w->status == 0) {
		w->status = fdt_property_u32(w->fdt, name, value);
	}
}

static void put_u64(struct writer *w, const char *name, uint64_t value)
{
	if (w->status == 0) {
		w->status = fdt_property_u64(w->fdt, name, value);
	}
}

/* An array of 64-bit values: addresses and lengths have two cells each. */
static void put_u64s(struct writer *w, const char *name, const uint64_t *values, size_t count)
{
	void *place = NULL;

	if (w->status == 0) {
		w->status = fdt_property_placeholder(w->fdt, name, (int)(count * sizeof(*values)),
						     &place);
	}
	for (size_t i = 0; w->status == 0 && i < count; i++) {
		fdt64_st((fdt64_t *)place + i, values[i]);
	}
}

/* Cells of an array; as many as there are values. */
static void put_cells(struct writer *w, const char *name, const uint32_t *values, size_t count)
{
	fdt32_t cells[CELLS_MAX];

	for (size_t i = 0; i < count; i++) {
		cells[i] = cpu_to_fdt32(values[i]);
	}
	put_bytes(w, name, cells, count * sizeof(cells[0]));
}

static void put_irq(struct writer *w, int gsi, uint32_t trigger)
{
	const uint32_t cells[] = {IRQ_SPI, (uint32_t)gsi, trigger};

	put_cells(w, "interrupts", cells, ARRAY_COUNT(cells));
}

/* --- CPUs and their caches --- */

/* The closest cache above `level` that is a node of its own: the unified ones. */
static const struct cache *cache_above(const struct cache_list *caches, unsigned level)
{
	const struct cache *found = NULL;

	for (size_t i = 0; i < caches->count; i++) {
		const struct cache *cache = &caches->entries[i];

		if (cache->type == CACHE_UNIFIED && cache->level > level &&
		    (found == NULL || cache->level < found->level)) {
			found = cache;
		}
	}
	return found;
}

/* vCPUs share caches in the same groups of `cpus` as the host's CPUs do [compat]. */
static uint32_t cache_phandle(const struct cache *cache, unsigned vcpu)
{
	return PHANDLE_CACHE - ARCH_VCPUS_MAX * (cache->level - 2) - vcpu / cache->cpus;
}

static void put_next_cache(struct writer *w, const struct cache_list *caches, unsigned level,
			   unsigned vcpu)
{
	const struct cache *next = cache_above(caches, level);

	if (next != NULL) {
		put_u32(w, "next-level-cache", cache_phandle(next, vcpu));
	}
}

/* cache-size and its like, with the prefix of [dt-spec 3.8.2, 3.8.3] for the type. */
static void put_cache(struct writer *w, const struct cache *cache)
{
	static const char *const prefixes[] = {
		[CACHE_DATA] = "d-", [CACHE_INSTRUCTION] = "i-", [CACHE_UNIFIED] = ""};
	const struct {
		const char *name;
		uint32_t value;
	} props[] = {
		{"cache-size", cache->size},
		{"cache-line-size", cache->line_size},
		{"cache-sets", cache->sets},
	};

	if (cache->type == CACHE_UNIFIED) {
		put_flag(w, "cache-unified");
	}
	for (size_t i = 0; i < ARRAY_COUNT(props); i++) {
		char name[NAME_LEN];

		snprintf(name, sizeof(name), "%s%s", prefixes[cache->type], props[i].name);
		if (props[i].value != 0) {
			put_u32(w, name, props[i].value);
		}
	}
}

static void write_cpu(struct writer *w, const struct arch_vm *vm, unsigned index)
{
	uint64_t where = vm->mpidr[index] & mpidr_affinity;

	begin_node(w, "cpu@%llx", (unsigned long long)where);
	put_string(w, "device_type", "cpu");
	put_string(w, "compatible", "arm,arm-v8");
	put_string(w, "enable-method", "psci");
	put_u64(w, "reg", where);
	for (size_t i = 0; i < vm->caches.count; i++) {
		if (vm->caches.entries[i].level == 1) {
			put_cache(w, &vm->caches.entries[i]);
		}
	}
	put_next_cache(w, &vm->caches, 1, index);
	end_node(w);
}

static void write_cpus(struct writer *w, const struct arch_vm *vm)
{
	begin_node(w, "cpus");
	put_u32(w, "#address-cells", 2);
	put_u32(w, "#size-cells", 0);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		write_cpu(w, vm, i);
	}
	for (const struct cache *cache = cache_above(&vm->caches, 1); cache != NULL;
	     cache = cache_above(&vm->caches, cache->level)) {
		for (unsigned vcpu = 0; vcpu < vm->vcpu_count; vcpu += cache->cpus) {
			begin_node(w, "l%u-cache%u", cache->level, vcpu / cache->cpus);
			put_string(w, "compatible", "cache");
			put_u32(w, "cache-level", cache->level);
			put_cache(w, cache);
			put_u32(w, "phandle", cache_phandle(cache, vcpu));
			put_next_cache(w, &vm->caches, cache->level, vcpu);
			end_node(w);
		}
	}
	end_node(w);
}

/* --- The rest of the machine --- */

static void write_memory(struct writer *w, const struct boot_info *boot)
{
	uint64_t reg[2 * ARCH_RAM_RANGES_MAX] = {0};

	for (size_t i = 0; i < boot->ram_count; i++) {
		uint64_t hidden = i == 0 ? LAYOUT_SYSTEM_LEN : 0;

		reg[2 * i] = boot->ram[i].base.v + hidden;
		reg[2 * i + 1] = boot->ram[i].len - hidden;
	}
	begin_node(w, "memory@%llx", (unsigned long long)reg[0]);
	put_string(w, "device_type", "memory");
	put_u64s(w, "reg", reg, 2 * boot->ram_count);
	end_node(w);
}

static void write_chosen(struct writer *w, const struct boot_info *boot,
			 const uint8_t seed[RNG_SEED_LEN])
{
	begin_node(w, "chosen");
	put_string(w, "bootargs", boot->cmdline);
	put_bytes(w, "rng-seed", seed, RNG_SEED_LEN);
	if (boot->initrd_len > 0) {
		put_u64(w, "linux,initrd-start", boot->initrd.v);
		put_u64(w, "linux,initrd-end", boot->initrd.v + boot->initrd_len);
	}
	if (boot->has_pci) {
		put_u32(w, "linux,pci-probe-only", 1); /* base addresses stay */
	}
	end_node(w);
}

static void write_its(struct writer *w, const struct gic *gic)
{
	const uint64_t reg[] = {gic->its, LAYOUT_ITS_LEN};

	begin_node(w, "msi-controller@%llx", (unsigned long long)gic->its);
	put_string(w, "compatible", "arm,gic-v3-its");
	put_flag(w, "msi-controller");
	put_u32(w, "#msi-cells", 1);
	put_u64s(w, "reg", reg, ARRAY_COUNT(reg));
	put_u32(w, "phandle", PHANDLE_MSI);
	end_node(w);
}

/* [dt-bind arm,gic] */
static void write_v2m(struct writer *w, const struct arch_vm *vm)
{
	struct arch_msi_frame frame;

	(void)arch_msi_frame(vm, &frame);
	const uint64_t reg[] = {frame.base, frame.len};

	begin_node(w, "v2m@%llx", (unsigned long long)frame.base);
	put_string(w, "compatible", "arm,gic-v2m-frame");
	put_flag(w, "msi-controller");
	put_u64s(w, "reg", reg, ARRAY_COUNT(reg));
	put_u32(w, "arm,msi-base-spi", frame.first);
	put_u32(w, "arm,msi-num-spis", frame.count);
	put_u32(w, "phandle", PHANDLE_MSI);
	end_node(w);
}

static void write_gic(struct writer *w, const struct arch_vm *vm)
{
	const struct gic *gic = &vm->gic;
	bool has_child = gic->has_its || gic->has_v2m;
	const uint64_t reg[] = {gic->dist, gic->dist_len, gic->cpu, gic->cpu_len};

	begin_node(w, "interrupt-controller@%llx", (unsigned long long)gic->dist);
	put_string(w, "compatible", gic->version == GIC_V3 ? "arm,gic-v3" : "arm,gic-400");
	put_flag(w, "interrupt-controller");
	put_u32(w, "#interrupt-cells", 3);
	put_u32(w, "#address-cells", has_child ? 2 : 0); /* of devices below it */
	put_u64s(w, "reg", reg, ARRAY_COUNT(reg));
	put_u32(w, "phandle", PHANDLE_GIC);
	if (has_child) {
		put_u32(w, "#size-cells", 2);
		put_flag(w, "ranges");
	}
	if (gic->has_its) {
		write_its(w, gic);
	} else if (gic->has_v2m) {
		write_v2m(w, vm);
	}
	end_node(w);
}

#define CELLS_OF(value) (uint32_t)((value) >> 32), (uint32_t)(value)

/* [dt-bind host-generic-pci, pci-msi]; the functions have no pins. */
static void write_pci(struct writer *w, uint32_t ports)
{
	enum {
		MEMORY32 = 0x02000000,
		MEMORY64 = 0x03000000,
		FUNCTIONS = 0x100, /* of one bus */
	};
	const uint64_t reg[] = {arch_pci.ecam, (ports + 1) * arch_pci.ecam_len};
	const uint64_t low = LAYOUT_VIRTIO_MMIO;
	/* Its kind and address on the bus, its address, its length. */
	const uint32_t ranges[] = {
		MEMORY32,
		CELLS_OF(low),
		CELLS_OF(low),
		CELLS_OF(arch_pci.ecam - low),
		MEMORY64,
		CELLS_OF(arch_pci.window),
		CELLS_OF(arch_pci.window),
		CELLS_OF(arch_pci.window_len),
	};
	const uint32_t buses[] = {0, ports};
	/* Functions from 0 on are devices from 0 on to the ITS; a frame does not ask. */
	const uint32_t msi_map[] = {0, PHANDLE_MSI, 0, (ports + 1) * FUNCTIONS};

	begin_node(w, "pci@%llx", (unsigned long long)arch_pci.ecam);
	put_string(w, "compatible", "pci-host-ecam-generic");
	put_string(w, "device_type", "pci");
	put_u64s(w, "reg", reg, ARRAY_COUNT(reg));
	put_u32(w, "#address-cells", 3);
	put_u32(w, "#size-cells", 2);
	put_cells(w, "ranges", ranges, ARRAY_COUNT(ranges));
	put_cells(w, "bus-range", buses, ARRAY_COUNT(buses));
	put_u32(w, "linux,pci-domain", 0);
	put_cells(w, "msi-map", msi_map, ARRAY_COUNT(msi_map));
	put_flag(w, "dma-coherent");
	end_node(w);
}

/* PSCI, the timer, and the clock that the bindings of serial port and RTC ask for. */
static void write_fixed(struct writer *w)
{
	/* secure, non-secure, virtual, hypervisor [dt-bind arm,arch_timer] */
	static const uint32_t timers[] = {13, 14, 11, 10};
	uint32_t cells[3 * ARRAY_COUNT(timers)];

	begin_node(w, "psci");
	put_string(w, "compatible", "arm,psci-0.2");
	put_string(w, "method", "hvc");
	end_node(w);

	for (size_t i = 0; i < ARRAY_COUNT(timers); i++) {
		cells[3 * i] = IRQ_PPI;
		cells[3 * i + 1] = timers[i];
		cells[3 * i + 2] = IRQ_LEVEL_HIGH;
	}
	begin_node(w, "timer");
	put_string(w, "compatible", "arm,armv8-timer");
	put_flag(w, "always-on");
	put_cells(w, "interrupts", cells, ARRAY_COUNT(cells));
	end_node(w);

	begin_node(w, "apb-pclk");
	put_string(w, "compatible", "fixed-clock");
	put_u32(w, "#clock-cells", 0);
	put_u32(w, "clock-frequency", APB_CLOCK_HZ);
	put_string(w, "clock-output-names", "clk24mhz");
	put_u32(w, "phandle", PHANDLE_CLOCK);
	end_node(w);
}

static void put_apb_clock(struct writer *w)
{
	put_u32(w, "clocks", PHANDLE_CLOCK);
	put_string(w, "clock-names", "apb_pclk");
}

static void put_no_more(struct writer *w)
{
	(void)w;
}

static void put_dma_coherent(struct writer *w)
{
	put_flag(w, "dma-coherent");
}

static void write_device(struct writer *w, const struct platform_dev *dev)
{
	/* Lists of strings are joined by NULs; the literal brings the last one. */
	static const char rtc[] = "arm,pl031\0arm,primecell";
	static const char serial[] = "ns16550a";
	static const char virtio[] = "virtio,mmio";
	static const char vmgenid[] = "microsoft,vmgenid";
	static const char vmclock[] = "amazon,vmclock";
	static const struct {
		const char *name; /* NULL: a device that guests find without being told */
		const char *compatible;
		size_t compatible_len;
		uint32_t trigger;
		void (*put_more)(struct writer *w);
	} bindings[] = {
		[PLATFORM_SERIAL] = {"uart", serial, sizeof(serial), IRQ_EDGE_RISING,
				     put_apb_clock},
		[PLATFORM_I8042] = {0},
		[PLATFORM_RTC_PL031] = {"rtc", rtc, sizeof(rtc), IRQ_LEVEL_HIGH, put_apb_clock},
		[PLATFORM_BOOT_TIMER] = {0},
		[PLATFORM_ACPI_SLEEP] = {0},
		[PLATFORM_VMGENID] = {"vmgenid", vmgenid, sizeof(vmgenid), IRQ_EDGE_RISING,
				      put_no_more},
		[PLATFORM_VMCLOCK] = {"ptp", vmclock, sizeof(vmclock), IRQ_EDGE_RISING,
				      put_no_more},
		[PLATFORM_VIRTIO_PCI] = {0},
		[PLATFORM_VIRTIO_MMIO] = {"virtio_mmio", virtio, sizeof(virtio), IRQ_EDGE_RISING,
					  put_dma_coherent},
	};
	const uint64_t reg[] = {dev->base, dev->len};

	/*@ split dev->kind; */
	if (bindings[dev->kind].name == NULL) {
		return;
	}
	begin_node(w, "%s@%llx", bindings[dev->kind].name, (unsigned long long)dev->base);
	put_bytes(w, "compatible", bindings[dev->kind].compatible,
		  bindings[dev->kind].compatible_len);
	put_u64s(w, "reg", reg, ARRAY_COUNT(reg));
	put_irq(w, dev->gsi, bindings[dev->kind].trigger);
	bindings[dev->kind].put_more(w);
	end_node(w);
}

static void write_tree(struct writer *w, const struct arch_vm *vm, const struct boot_info *boot,
		       const uint8_t seed[RNG_SEED_LEN])
{
	begin_node(w, "%s", "");
	put_string(w, "compatible", "linux,dummy-virt");
	put_u32(w, "#address-cells", 2);
	put_u32(w, "#size-cells", 2);
	put_u32(w, "interrupt-parent", PHANDLE_GIC);
	write_cpus(w, vm);
	write_memory(w, boot);
	write_chosen(w, boot, seed);
	write_gic(w, vm);
	write_fixed(w);
	if (boot->has_pci) {
		write_pci(w, boot->pci_ports);
	}
	for (size_t i = 0; i < boot->dev_count; i++) {
		write_device(w, &boot->devs[i]);
	}
	end_node(w);
}

int arch_write_boot_info(const struct arch_vm *vm, struct gmem *mem, const struct boot_info *boot,
			 struct error *err)
{
	int len = REST_LEN_MAX + NODE_LEN_MAX * (int)(vm->vcpu_count + boot->dev_count);
	AUTO_FREE void *buffer = malloc((size_t)len);
	uint8_t seed[RNG_SEED_LEN];
	gpa_t address = boot_fdt_address(boot);

	if (buffer == NULL) {
		return error_sys(err, "Cannot build the device tree");
	}
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed)) {
		return error_sys(err, "Cannot get random bytes for the guest's rng-seed");
	}
	struct writer w = {.fdt = buffer, .status = fdt_create(buffer, len)};

	if (w.status == 0) {
		w.status = fdt_finish_reservemap(buffer);
	}
	write_tree(&w, vm, boot, seed);
	if (w.status == 0) {
		w.status = fdt_finish(buffer);
	}
	if (w.status != 0) {
		return error_set(err, ERR_TOO_LARGE, "Cannot build the device tree: %s",
				 fdt_strerror(w.status));
	}
	if (gmem_write(mem, address, buffer, fdt_totalsize(buffer)) < 0) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"The guest's memory is too small for a device tree at %#llx; raise "
			"mem_size_mib",
			(unsigned long long)address.v);
	}
	return 0;
}
