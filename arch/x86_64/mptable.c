/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MultiProcessor table [mp-1.4]: processors, the IOAPIC and its wiring, for kernels without
 * ACPI. All pins are wired as KVM routes them: GSI n is ISA interrupt n and IOAPIC pin n.
 */
#include "mptable.h"

#include <assert.h>
#include <string.h>

enum {
	ENTRY_PROCESSOR = 0,
	ENTRY_BUS = 1,
	ENTRY_IOAPIC = 2,
	ENTRY_INTSRC = 3,
	ENTRY_LINTSRC = 4,

	SPEC_1_4 = 4,
	LAPIC_VERSION = 0x14, /* an integrated local APIC */
	CPU_ENABLED = 1,
	CPU_BOOT = 2,
	CPU_STEPPING = 0x600,		/* [compat] */
	CPU_FEATURES = 1 << 9 | 1 << 0, /* APIC, FPU */
	IOAPIC_ENABLED = 1,
	IOAPIC_PINS = 24,
	INT_VECTORED = 0,
	INT_NMI = 1,
	INT_EXTINT = 3,
	BUS_ISA = 0,
	APIC_ALL = 0xff,
};

struct floating {
	char signature[4];
	uint32_t table;
	uint8_t len; /* in units of 16 bytes */
	uint8_t spec;
	uint8_t checksum;
	uint8_t features[5];
};

struct header {
	char signature[4];
	uint16_t len;
	uint8_t spec;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_table_len;
	uint16_t entry_count;
	uint32_t lapic;
	uint16_t extended_len;
	uint8_t extended_checksum;
	uint8_t reserved;
};

struct processor {
	uint8_t type;
	uint8_t apic_id;
	uint8_t apic_version;
	uint8_t flags;
	uint32_t signature;
	uint32_t features;
	uint32_t reserved[2];
};

struct bus {
	uint8_t type;
	uint8_t id;
	char name[6];
};

struct ioapic {
	uint8_t type;
	uint8_t apic_id;
	uint8_t apic_version;
	uint8_t flags;
	uint32_t address;
};

struct interrupt {
	uint8_t type;
	uint8_t kind;
	uint16_t flags; /* 0: as the bus has it, edge and active high for ISA */
	uint8_t bus;
	uint8_t bus_irq;
	uint8_t apic_id;
	uint8_t pin;
};

static_assert(sizeof(struct floating) == 16, "[mp-1.4 4.1]");
static_assert(sizeof(struct header) == 44, "[mp-1.4 4.2]");
static_assert(sizeof(struct processor) == 20, "[mp-1.4 4.3.1]");
static_assert(sizeof(struct bus) == 8, "[mp-1.4 4.3.2]");
static_assert(sizeof(struct ioapic) == 8, "[mp-1.4 4.3.3]");
static_assert(sizeof(struct interrupt) == 8, "[mp-1.4 4.3.4]");

/* For 32 processors; the parts follow each other without gaps. */
struct table {
	struct floating floating;
	struct header header;
	uint8_t entries[ARCH_VCPUS_MAX * sizeof(struct processor) + sizeof(struct bus) +
			sizeof(struct ioapic) + (IOAPIC_PINS + 2) * sizeof(struct interrupt)];
};

/* The whole must stay in the KiB that kernels search. */
static_assert(sizeof(struct table) <= 1024, "fits between 639 and 640 KiB");

static uint8_t checksum(const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum = (uint8_t)(sum + byte[i]);
	}
	return (uint8_t)-sum;
}

/* Appends an entry; the table is sized for all that there can be. */
static void add(struct table *table, size_t *used, const void *entry, size_t len)
{
	assert(*used + len <= sizeof(table->entries));
	memcpy(table->entries + *used, entry, len);
	*used += len;
	table->header.entry_count++;
}

static size_t add_entries(struct table *table, unsigned vcpu_count)
{
	const uint8_t ioapic_id = (uint8_t)(vcpu_count + 1);
	const struct bus bus = {ENTRY_BUS, BUS_ISA, "ISA   "};
	const struct ioapic ioapic = {ENTRY_IOAPIC, ioapic_id, LAPIC_VERSION, IOAPIC_ENABLED,
				      LAYOUT_IOAPIC};
	const struct interrupt lint0 = {ENTRY_LINTSRC, INT_EXTINT, 0, BUS_ISA, 0, 0, 0};
	const struct interrupt lint1 = {ENTRY_LINTSRC, INT_NMI, 0, BUS_ISA, 0, APIC_ALL, 1};
	size_t used = 0;

	for (unsigned i = 0; i < vcpu_count; i++) {
		const struct processor processor = {
			.type = ENTRY_PROCESSOR,
			.apic_id = (uint8_t)i,
			.apic_version = LAPIC_VERSION,
			.flags = i == 0 ? CPU_ENABLED | CPU_BOOT : CPU_ENABLED,
			.signature = CPU_STEPPING,
			.features = CPU_FEATURES,
		};

		add(table, &used, &processor, sizeof(processor));
	}
	add(table, &used, &bus, sizeof(bus));
	add(table, &used, &ioapic, sizeof(ioapic));
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		const struct interrupt interrupt = {
			.type = ENTRY_INTSRC,
			.kind = INT_VECTORED,
			.bus = BUS_ISA,
			.bus_irq = (uint8_t)pin,
			.apic_id = ioapic_id,
			.pin = (uint8_t)pin,
		};

		add(table, &used, &interrupt, sizeof(interrupt));
	}
	add(table, &used, &lint0, sizeof(lint0));
	add(table, &used, &lint1, sizeof(lint1));
	return used;
}

int mptable_write(struct sysmem *sys, unsigned vcpu_count, struct error *err)
{
	struct table table = {
		.floating =
			{
				.signature = "_MP_",
				.table = (uint32_t)(sys->next + sizeof(struct floating)),
				.len = 1,
				.spec = SPEC_1_4,
			},
		.header =
			{
				.signature = "PCMP",
				.spec = SPEC_1_4,
				.oem = "FC      ",	   /* [compat] */
				.product = "000000000000", /* [compat] */
				.lapic = LAYOUT_LAPIC,
			},
	};
	const size_t used = add_entries(&table, vcpu_count);

	table.header.len = (uint16_t)(sizeof(table.header) + used);
	table.header.checksum = checksum(&table.header, table.header.len);
	table.floating.checksum = checksum(&table.floating, sizeof(table.floating));
	return sysmem_put(sys, &table, sizeof(table.floating) + table.header.len, NULL, err);
}
