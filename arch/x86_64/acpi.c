/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables.
 *
 * Theory of operation: the machine is a "hardware-reduced" one [acpi-6.5 4.1]: no PM timer, no SCI,
 * no FACS, no legacy interrupt controller to know of. So a FADT of flags, a MADT with the IOAPIC
 * and the processors, and a DSDT that lists the devices are all it takes. The guest powers off by
 * sleep registers [acpi-6.5 4.8.3.7], which Firecracker's machine lacks. Identifiers, revisions
 * and the order of tables and devices are Firecracker's [compat]: guests name their disks by it.
 */
#include "acpi.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "aml.h"
#include "vmm/base/bytes.h"

enum {
	DSDT_MAX = 8192, /* a virtio-mmio device takes about 80 bytes, and there are at most 17 */
	REVISION_6 = 6,	 /* of DSDT, FADT and MADT in ACPI 6.5 */
	REVISION_XSDT = 1,
	REVISION_MCFG = 1,
	REVISION_RSDP = 2,
	FADT_MINOR_5 = 5,
	FADT_VGA_NOT_PRESENT = 1 << 2,
	FADT_PWR_BUTTON = 1 << 4, /* no fixed power button ... */
	FADT_SLP_BUTTON = 1 << 5, /* ... and no sleep button */
	FADT_HW_REDUCED = 1 << 20,
	SPACE_SYSTEM_IO = 1,
	ACCESS_BYTE = 1,
	SLEEP_TYPE_OFF = 5, /* as devices/platform/acpi_sleep.c knows soft off */
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_LAPIC_ENABLED = 1,
	XSDT_TABLES = 3,
};

struct header {
	char signature[4];
	uint32_t len;
	uint8_t revision;
	uint8_t checksum;
	char oem[6];
	char oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
};

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes, which were all of ACPI 1.0's */
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t len;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

struct xsdt {
	struct header header;
	uint64_t table[XSDT_TABLES];
} __attribute__((packed, aligned(4)));

/* Generic Address Structure [acpi-6.5 5.2.3.2] */
struct address {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} __attribute__((packed));

/* [acpi-6.5 5.2.9], with what stays 0 on hardware-reduced machines left unnamed. */
struct fadt {
	struct header header;
	uint8_t unused_36[73];
	uint16_t boot_arch;
	uint8_t unused_111;
	uint32_t flags;
	uint8_t unused_116[15];
	uint8_t minor;
	uint8_t unused_132[8];
	uint64_t dsdt;
	uint8_t unused_148[96];
	struct address sleep_control;
	struct address sleep_status;
	char hypervisor[8];
} __attribute__((packed, aligned(4)));

struct madt_ioapic {
	uint8_t type;
	uint8_t len;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
};

struct madt_lapic {
	uint8_t type;
	uint8_t len;
	uint8_t uid;
	uint8_t apic_id;
	uint32_t flags;
};

struct madt {
	struct header header;
	uint32_t lapic_address;
	uint32_t flags;
	struct madt_ioapic ioapic;
	struct madt_lapic lapic[ARCH_VCPUS_MAX];
};

/* [pci-firmware-3.3 4.1.2] */
struct mcfg {
	struct header header;
	uint64_t reserved;
	uint64_t ecam; /* of bus 0 */
	uint16_t segment;
	uint8_t bus_first;
	uint8_t bus_last;
	uint32_t reserved_entry;
} __attribute__((packed, aligned(4)));

static_assert(sizeof(struct mcfg) == 60, "[pci-firmware-3.3 4.1.2]");
static_assert(sizeof(struct header) == 36, "[acpi-6.5 5.2.6]");
static_assert(sizeof(struct rsdp) == 36, "[acpi-6.5 5.2.5.3]");
static_assert(offsetof(struct fadt, boot_arch) == 109, "[acpi-6.5 5.2.9]");
static_assert(offsetof(struct fadt, flags) == 112, "[acpi-6.5 5.2.9]");
static_assert(offsetof(struct fadt, minor) == 131, "[acpi-6.5 5.2.9]");
static_assert(offsetof(struct fadt, dsdt) == 140, "[acpi-6.5 5.2.9]");
static_assert(offsetof(struct fadt, sleep_control) == 244, "[acpi-6.5 5.2.9]");
static_assert(sizeof(struct fadt) == 276, "[acpi-6.5 5.2.9]");
static_assert(sizeof(struct madt_ioapic) == 12, "[acpi-6.5 5.2.12.3]");
static_assert(sizeof(struct madt_lapic) == 8, "[acpi-6.5 5.2.12.2]");

static struct header header(const char signature[4], const char oem_table[8], uint8_t revision)
{
	struct header header = {
		.revision = revision,
		.oem = {'F', 'I', 'R', 'E', 'C', 'K'},
		.creator = {'F', 'C', 'A', 'T'},
		.creator_revision = 0x20240119,
	};

	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem_table, oem_table, sizeof(header.oem_table));
	return header;
}

static uint8_t checksum(const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum = (uint8_t)(sum + byte[i]);
	}
	return (uint8_t)-sum;
}

/* Completes the header that the `len` bytes of `table` start with and puts all into the pool. */
static int put_table(struct sysmem *sys, void *table, size_t len, uint64_t *at, struct error *err)
{
	struct header *head = table;

	head->len = (uint32_t)len;
	head->checksum = checksum(table, len);
	return sysmem_put(sys, table, len, at, err);
}

static void add_virtio(struct aml *aml, const struct platform_dev *dev)
{
	const unsigned number = (unsigned)(dev->gsi - GSI_FIRST);
	char name[8];

	(void)snprintf(name, sizeof(name), "V%03u", number % 1000);

	const size_t device = aml_device_begin(aml, name);

	aml_name_string(aml, "_HID", "LNRO0005");
	aml_name_int(aml, "_UID", number);
	aml_name_int(aml, "_CCA", 1); /* DMA is coherent: it is memory of the same host */

	const struct aml_crs crs = aml_crs_begin(aml);

	aml_memory32(aml, (uint32_t)dev->base, (uint32_t)dev->len);
	aml_interrupt(aml, (uint32_t)dev->gsi);
	aml_crs_end(aml, crs);
	aml_device_end(aml, device);
}

static void add_serial(struct aml *aml, const struct platform_dev *dev)
{
	const size_t device = aml_device_begin(aml, "_SB_.COM1");

	aml_name_eisaid(aml, "_HID", "PNP0501");
	aml_name_int(aml, "_UID", 0);
	aml_name_string(aml, "_DDN", "COM1");

	const struct aml_crs crs = aml_crs_begin(aml);

	aml_interrupt(aml, (uint32_t)dev->gsi);
	aml_io(aml, (uint16_t)dev->base, (uint8_t)dev->len);
	aml_crs_end(aml, crs);
	aml_device_end(aml, device);
}

static void add_i8042(struct aml *aml, const struct platform_dev *dev)
{
	const size_t device = aml_device_begin(aml, "_SB_.PS2_");

	aml_name_eisaid(aml, "_HID", "PNP0303");
	aml_name_int(aml, "_STA", 0x0f); /* present, enabled, shown, working */

	const struct aml_crs crs = aml_crs_begin(aml);

	aml_io(aml, (uint16_t)dev->base, 1);	   /* data */
	aml_io(aml, (uint16_t)(dev->base + 4), 1); /* command and status */
	aml_interrupt(aml, (uint32_t)dev->gsi);
	aml_crs_end(aml, crs);
	aml_device_end(aml, device);
}

/* The type of soft off that its two registers understand. */
static void add_sleep(struct aml *aml, const struct platform_dev *dev)
{
	static const uint32_t s5[] = {SLEEP_TYPE_OFF, 0, 0, 0};

	(void)dev;
	aml_name_package(aml, "_S5_", s5, ARRAY_COUNT(s5));
}

static void add_vmgenid(struct aml *aml, const struct platform_dev *dev)
{
	const uint32_t address[] = {(uint32_t)dev->base, (uint32_t)(dev->base >> 32)};
	const size_t device = aml_device_begin(aml, "_SB_.VGEN");

	aml_name_string(aml, "_HID", "VMGENCTR");
	aml_name_string(aml, "_CID", "VM_Gen_Counter");
	aml_name_string(aml, "_DDN", "VM_Gen_Counter");
	aml_name_package(aml, "ADDR", address, ARRAY_COUNT(address));
	aml_device_end(aml, device);
}

static void add_vmclock(struct aml *aml, const struct platform_dev *dev)
{
	const size_t device = aml_device_begin(aml, "_SB_.VCLK");

	aml_name_string(aml, "_HID", "AMZNC10C");
	aml_name_string(aml, "_CID", "VMCLOCK");
	aml_name_string(aml, "_DDN", "VMCLOCK");
	aml_name_int(aml, "_STA", 0x0f); /* present, enabled, shown, working */

	const struct aml_crs crs = aml_crs_begin(aml);

	aml_memory32(aml, (uint32_t)dev->base, (uint32_t)dev->len);
	aml_crs_end(aml, crs);
	aml_device_end(aml, device);
}

/* The name within _SB_ of a device whose interrupt is an event of ACPI; NULL: it is none. */
static const char *event_target(const struct platform_dev *dev)
{
	if (dev->kind == PLATFORM_VMGENID) {
		return "VGEN";
	}
	return dev->kind == PLATFORM_VMCLOCK ? "VCLK" : NULL;
}

/*
 * The generic event device [acpi-6.5 5.6.9]: takes the interrupts of devices that have no driver
 * for one, and notifies these. Only where there are any.
 */
static void add_events(struct aml *aml, const struct boot_info *boot)
{
	const struct platform_dev *devs[ARCH_PLATFORM_DEVS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < boot->dev_count; i++) {
		if (event_target(&boot->devs[i]) != NULL) {
			devs[count++] = &boot->devs[i];
		}
	}
	if (count == 0) {
		return;
	}

	const size_t device = aml_device_begin(aml, "_SB_.GED_");

	aml_name_string(aml, "_HID", "ACPI0013");

	const struct aml_crs crs = aml_crs_begin(aml);

	for (size_t i = 0; i < count; i++) {
		aml_interrupt(aml, (uint32_t)devs[i]->gsi);
	}
	aml_crs_end(aml, crs);

	const size_t method = aml_method_begin(aml, "_EVT", 1);

	for (size_t i = 0; i < count; i++) {
		aml_notify_if(aml, (uint32_t)devs[i]->gsi, event_target(devs[i]));
	}
	aml_method_end(aml, method);
	aml_device_end(aml, device);
}

/* --- PCI --- */

/* A UUID's first three numbers are little-endian [acpi-6.5 19.6.142]. */
static const uint8_t uuid_dsm[16] = {0xd0, 0x37, 0xc9, 0xe5, 0x53, 0x35, 0x7a, 0x4d,
				     0x91, 0x17, 0xea, 0x4d, 0x19, 0xc3, 0x43, 0x4d};
static const uint8_t uuid_osc[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
				     0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};

/* Functions of _DSM [pci-firmware-3.3 4.6]: which there are; that base addresses are to stay. */
static void add_dsm(struct aml *aml)
{
	enum {
		DSM_WHICH = 0,
		DSM_KEEP = 5,
		DSM_HAS = 1 << DSM_WHICH | 1 << DSM_KEEP,
	};
	const size_t method = aml_method_begin(aml, "_DSM", 4);
	const size_t if_pci = aml_if_arg_uuid(aml, 0, uuid_dsm);
	const size_t if_which = aml_if_arg(aml, 2, DSM_WHICH);

	aml_return_byte(aml, DSM_HAS);
	aml_if_end(aml, if_which);

	const size_t if_keep = aml_if_arg(aml, 2, DSM_KEEP);

	aml_return_int(aml, 0); /* the guest does not place them anew */
	aml_if_end(aml, if_keep);
	aml_if_end(aml, if_pci);
	aml_return_byte(aml, 0);
	aml_method_end(aml, method);
}

/* The guest may control all that it asks for [pci-firmware-3.3 4.5]: nobody else does. */
static void add_osc(struct aml *aml)
{
	enum {
		OSC_UNKNOWN_UUID = 4
	};
	const size_t method = aml_method_begin(aml, "_OSC", 4);
	const size_t if_pci = aml_if_arg_uuid(aml, 0, uuid_osc);

	aml_return_arg(aml, 3);
	aml_if_end(aml, if_pci);
	aml_arg_or(aml, 3, "CDW1", OSC_UNKNOWN_UUID);
	aml_return_arg(aml, 3);
	aml_method_end(aml, method);
}

/* The root of the bus. Its functions have no pins, so that no routing table is needed. */
static void add_pci(struct aml *aml, unsigned buses)
{
	const uint16_t ports = LAYOUT_PCI_PORTS;
	const uint8_t ports_len = 8;
	const size_t device = aml_device_begin(aml, "_SB_.PC00");

	aml_name_eisaid(aml, "_HID", "PNP0A08");
	aml_name_eisaid(aml, "_CID", "PNP0A03");
	aml_name_int(aml, "_UID", 0);
	aml_name_int(aml, "_SEG", 0);
	aml_name_int(aml, "_CCA", 1);
	add_dsm(aml);
	add_osc(aml);

	const struct aml_crs crs = aml_crs_begin(aml);

	aml_bus_numbers(aml, 0, (uint16_t)(buses - 1));
	aml_io(aml, ports, ports_len);
	aml_memory32(aml, (uint32_t)LAYOUT_PCI_MMCONFIG, buses * (uint32_t)LAYOUT_PCI_ECAM_LEN);
	aml_memory_window32(aml, (uint32_t)LAYOUT_VIRTIO_MMIO, (uint32_t)LAYOUT_PCI_MMCONFIG - 1);
	aml_memory_window64(aml, LAYOUT_MMIO64, LAYOUT_MMIO64_END - 1);
	aml_port_window(aml, 0, ports - 1);
	aml_port_window(aml, ports + ports_len, UINT16_MAX);
	aml_crs_end(aml, crs);
	aml_device_end(aml, device);
}

/* --- Tables --- */

typedef void (*add_fn)(struct aml *aml, const struct platform_dev *dev);

static void add_devices(struct aml *aml, const struct boot_info *boot, enum platform_kind kind,
			add_fn add)
{
	for (size_t i = 0; i < boot->dev_count; i++) {
		if (boot->devs[i].kind == kind) {
			add(aml, &boot->devs[i]);
		}
	}
}

static int put_dsdt(struct sysmem *sys, const struct boot_info *boot, uint64_t *at,
		    struct error *err)
{
	struct {
		struct header header;
		uint8_t aml[DSDT_MAX];
	} dsdt = {.header = header("DSDT", "FCVMDSDT", REVISION_6)};
	struct aml aml;

	aml_init(&aml, dsdt.aml, sizeof(dsdt.aml));
	add_devices(&aml, boot, PLATFORM_VIRTIO_MMIO, add_virtio);
	if (boot->has_pci) {
		add_pci(&aml, 1 + boot->pci_ports);
	}
	add_devices(&aml, boot, PLATFORM_VMGENID, add_vmgenid);
	add_devices(&aml, boot, PLATFORM_VMCLOCK, add_vmclock);
	add_events(&aml, boot);
	add_devices(&aml, boot, PLATFORM_SERIAL, add_serial);
	add_devices(&aml, boot, PLATFORM_I8042, add_i8042);
	add_devices(&aml, boot, PLATFORM_ACPI_SLEEP, add_sleep);
	if (aml.is_full) {
		return error_set(err, ERR_TOO_LARGE,
				 "The %zu devices of the guest are too many for its ACPI tables",
				 boot->dev_count);
	}
	return put_table(sys, &dsdt, sizeof(dsdt.header) + aml_len(&aml), at, err);
}

static struct address byte_port(uint64_t port)
{
	return (struct address){
		.space = SPACE_SYSTEM_IO,
		.bit_width = 8,
		.access_size = ACCESS_BYTE,
		.address = port,
	};
}

static int put_fadt(struct sysmem *sys, const struct boot_info *boot, uint64_t dsdt, uint64_t *at,
		    struct error *err)
{
	struct fadt fadt = {
		.header = header("FACP", "FCVMFADT", REVISION_6),
		.boot_arch = FADT_VGA_NOT_PRESENT,
		.flags = FADT_HW_REDUCED | FADT_PWR_BUTTON | FADT_SLP_BUTTON,
		.minor = FADT_MINOR_5,
		.dsdt = dsdt,
		.hypervisor = {'F', 'I', 'R', 'E', 'C', 'K', 'V', 'M'},
	};

	for (size_t i = 0; i < boot->dev_count; i++) {
		const struct platform_dev *dev = &boot->devs[i];

		if (dev->kind == PLATFORM_ACPI_SLEEP) {
			fadt.sleep_control = byte_port(dev->base);
			fadt.sleep_status = byte_port(dev->base + 1);
		}
	}
	return put_table(sys, &fadt, sizeof(fadt), at, err);
}

static int put_madt(struct sysmem *sys, unsigned vcpu_count, uint64_t *at, struct error *err)
{
	struct madt madt = {
		.header = header("APIC", "FCVMMADT", REVISION_6),
		.lapic_address = LAYOUT_LAPIC,
		.ioapic = {MADT_IOAPIC, sizeof(madt.ioapic), 0, 0, LAYOUT_IOAPIC, 0},
	};

	assert(vcpu_count <= ARCH_VCPUS_MAX);
	for (unsigned i = 0; i < vcpu_count; i++) {
		madt.lapic[i] = (struct madt_lapic){MADT_LAPIC, sizeof(madt.lapic[i]), (uint8_t)i,
						    (uint8_t)i, MADT_LAPIC_ENABLED};
	}
	return put_table(sys, &madt,
			 offsetof(struct madt, lapic) + vcpu_count * sizeof(madt.lapic[0]), at,
			 err);
}

static int put_mcfg(struct sysmem *sys, unsigned ports, uint64_t *at, struct error *err)
{
	struct mcfg mcfg = {
		.header = header("MCFG", "FCMVMCFG", REVISION_MCFG),
		.ecam = LAYOUT_PCI_MMCONFIG,
		.bus_last = (uint8_t)ports,
	};

	return put_table(sys, &mcfg, sizeof(mcfg), at, err);
}

static int put_rsdp(struct gmem *mem, uint64_t xsdt, struct error *err)
{
	enum {
		ACPI_1_LEN = 20
	};
	struct rsdp rsdp = {
		.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
		.oem = {'F', 'I', 'R', 'E', 'C', 'K'},
		.revision = REVISION_RSDP,
		.len = sizeof(rsdp),
		.xsdt = xsdt,
	};

	rsdp.checksum = checksum(&rsdp, ACPI_1_LEN);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	if (gmem_write(mem, GPA(LAYOUT_RSDP), &rsdp, sizeof(rsdp)) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for the ACPI root pointer");
	}
	return 0;
}

int acpi_write(struct sysmem *sys, unsigned vcpu_count, const struct boot_info *boot,
	       struct error *err)
{
	struct xsdt xsdt = {.header = header("XSDT", "FCMVXSDT", REVISION_XSDT)};
	uint64_t dsdt = 0;
	uint64_t tables[XSDT_TABLES] = {0};
	size_t count = 2;
	uint64_t at = 0;

	if (put_dsdt(sys, boot, &dsdt, err) != 0) {
		return -1;
	}
	if (put_fadt(sys, boot, dsdt, &tables[0], err) != 0) {
		return -1;
	}
	if (put_madt(sys, vcpu_count, &tables[1], err) != 0) {
		return -1;
	}
	if (boot->has_pci && put_mcfg(sys, boot->pci_ports, &tables[count++], err) != 0) {
		return -1;
	}
	memcpy(xsdt.table, tables, sizeof(tables));
	if (put_table(sys, &xsdt, offsetof(struct xsdt, table) + count * sizeof(tables[0]), &at,
		      err) != 0) {
		return -1;
	}
	return put_rsdp(sys->mem, at, err);
}
