/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables: walked from the root pointer as a guest does, and read by ACPI's own compiler.
 */
#include "acpi.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "images.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	RSDP = 0xe0000,
	TABLE_MAX = 16384,
};

static void add_dev(struct boot_info *boot, enum platform_kind kind, uint64_t base, int gsi)
{
	boot->devs[boot->dev_count++] = (struct platform_dev){
		.kind = kind,
		.bus = kind == PLATFORM_VIRTIO_MMIO ? BUS_MMIO : BUS_PIO,
		.base = base,
		.len = kind == PLATFORM_VIRTIO_MMIO ? 0x1000 : 8,
		.gsi = gsi,
	};
}

static bool has_pci;

static struct guest with_tables(unsigned vcpu_count, unsigned virtio_count)
{
	struct guest guest = guest_new(64);
	struct sysmem sys = sysmem_init(guest.mem);
	struct error err = {0};

	guest.boot.has_pci = has_pci;
	add_dev(&guest.boot, PLATFORM_SERIAL, 0x3f8, 4);
	add_dev(&guest.boot, PLATFORM_I8042, 0x60, 1);
	add_dev(&guest.boot, PLATFORM_ACPI_SLEEP, 0x600, PLATFORM_NO_GSI);
	add_dev(&guest.boot, PLATFORM_VMGENID, 0xdfff0, 22);
	add_dev(&guest.boot, PLATFORM_VMCLOCK, 0xde000, 23);
	for (unsigned i = 0; i < virtio_count; i++) {
		add_dev(&guest.boot, PLATFORM_VIRTIO_MMIO, 0xc0001000 + i * UINT64_C(0x1000),
			(int)(5 + i));
	}
	cr_assert_eq(acpi_write(&sys, vcpu_count, &guest.boot, &err), 0, "%s", err.msg);
	return guest;
}

/* The table's address by its place in the XSDT: 0 the FADT, 1 the MADT. */
static uint64_t xsdt_entry(const struct guest *guest, uint64_t index)
{
	return guest_u64(guest, guest_u64(guest, RSDP + 24) + 36 + 8 * index);
}

static uint64_t dsdt(const struct guest *guest)
{
	return guest_u64(guest, xsdt_entry(guest, 0) + 140);
}

static void expect_table(const struct guest *guest, uint64_t at, const char *signature,
			 uint32_t len)
{
	cr_expect_eq(guest_u32(guest, at), load_le32(signature));
	cr_expect_eq(guest_u32(guest, at + 4), len, "%s has %u", signature,
		     guest_u32(guest, at + 4));
	cr_expect_eq(guest_sum(guest, at, guest_u32(guest, at + 4)), 0, "%s", signature);
	cr_expect_eq(guest_u32(guest, at + 10), load_le32("FIRE"));
	cr_expect_eq(guest_u32(guest, at + 28), load_le32("FCAT"));
	cr_expect_geq(at, 0x9fc00);
	cr_expect_leq(at + len, 0xe0000);
}

Test(acpi, all_tables_are_found_from_the_root_pointer)
{
	struct guest guest = with_tables(2, 3);
	const uint64_t xsdt = guest_u64(&guest, RSDP + 24);

	cr_assert_eq(guest_u64(&guest, RSDP), load_le64("RSD PTR "));
	cr_expect_eq(guest_u16(&guest, RSDP + 15) & 0xff, 2);
	cr_expect_eq(guest_sum(&guest, RSDP, 20), 0);
	cr_expect_eq(guest_sum(&guest, RSDP, 36), 0);
	expect_table(&guest, xsdt, "XSDT", 36 + 2 * 8);
	expect_table(&guest, xsdt_entry(&guest, 0), "FACP", 276);
	expect_table(&guest, xsdt_entry(&guest, 1), "APIC", 44 + 12 + 2 * 8);
	expect_table(&guest, dsdt(&guest), "DSDT", guest_u32(&guest, dsdt(&guest) + 4));
	guest_free(&guest);
}

Test(acpi, the_fadt_says_hardware_reduced)
{
	struct guest guest = with_tables(1, 0);
	const uint64_t fadt = xsdt_entry(&guest, 0);

	cr_expect_eq(guest_u16(&guest, fadt + 109), 1 << 2, "no VGA");
	cr_expect_eq(guest_u32(&guest, fadt + 112), 1 << 20 | 1 << 5 | 1 << 4);
	cr_expect_eq(guest_u16(&guest, fadt + 131) & 0xff, 5);
	cr_expect_eq(guest_u64(&guest, fadt + 268), load_le64("FIRECKVM"));
	guest_free(&guest);
}

/* Offset of `what` in the table, or -1. */
static long find_bytes(const struct guest *guest, uint64_t at, const char *what, size_t what_len)
{
	static uint8_t bytes[TABLE_MAX];
	const uint32_t len = guest_u32(guest, at + 4);

	cr_assert_leq(len, TABLE_MAX);
	cr_assert_eq(gmem_read(guest->mem, GPA(at), bytes, len), 0);

	const uint8_t *found = memmem(bytes, len, what, what_len);

	return found == NULL ? -1 : found - bytes;
}

static long find(const struct guest *guest, uint64_t at, const char *what)
{
	return find_bytes(guest, at, what, strlen(what));
}

Test(acpi, soft_off_has_a_register_and_a_type)
{
	static const char s5[] = "\x08_S5_\x12\x07\x04\x0a\x05"; /* then three zeroes */
	struct guest guest = with_tables(1, 0);
	const uint64_t fadt = xsdt_entry(&guest, 0);

	for (uint64_t i = 0; i < 2; i++) {
		/* A byte in I/O space. */
		cr_expect_eq(guest_u32(&guest, fadt + 244 + 12 * i), 0x01000801);
		cr_expect_eq(guest_u64(&guest, fadt + 248 + 12 * i), 0x600 + i);
	}
	cr_expect_gt(find(&guest, dsdt(&guest), s5), 0);
	guest_free(&guest);
}

Test(acpi, the_madt_has_the_ioapic_and_every_processor)
{
	struct guest guest = with_tables(ARCH_VCPUS_MAX, 0);
	const uint64_t madt = xsdt_entry(&guest, 1);

	cr_expect_eq(guest_u32(&guest, madt + 36), 0xfee00000);
	cr_expect_eq(guest_u32(&guest, madt + 44), 0x00000c01);
	cr_expect_eq(guest_u32(&guest, madt + 48), 0xfec00000);
	for (unsigned i = 0; i < ARCH_VCPUS_MAX; i++) {
		const uint64_t lapic = madt + 56 + i * UINT64_C(8);

		cr_expect_eq(guest_u32(&guest, lapic), i << 24 | i << 16 | 8 << 8);
		cr_expect_eq(guest_u32(&guest, lapic + 4), 1);
	}
	guest_free(&guest);
}

Test(acpi, the_dsdt_lists_virtio_devices_by_gsi_then_the_fixed_ones)
{
	struct guest guest = with_tables(1, 17);
	long last = 0;

	for (unsigned i = 0; i < 17; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "V%03u", i);

		const long at = find(&guest, dsdt(&guest), name);

		cr_expect_gt(at, last, "%s", name);
		last = at;
	}
	cr_expect_gt(find(&guest, dsdt(&guest), "_SB_COM1"), last);
	cr_expect_gt(find(&guest, dsdt(&guest), "_SB_PS2_"), last);
	guest_free(&guest);
}

Test(acpi, generation_id_and_clock_page_have_events)
{
	static const char address[] = "ADDR\x12\x08\x02\x0c\xf0\xff\x0d";
	static const char page[] = "\x86\x09\x00\x01\x00\xe0\x0d\x00";
	struct guest guest = with_tables(1, 1);
	const uint64_t at = dsdt(&guest);
	const long vgen = find(&guest, at, "_SB_VGEN");
	const long vclk = find(&guest, at, "_SB_VCLK");

	cr_expect(find(&guest, at, "VMGENCTR") > vgen && find(&guest, at, "VM_Gen_Counter") > vgen);
	cr_expect_gt(find(&guest, at, address), vgen);
	cr_expect(find(&guest, at, "AMZNC10C") > vclk && find(&guest, at, "VMCLOCK") > vclk);
	cr_expect_gt(find_bytes(&guest, at, page, sizeof(page) - 1), vclk);
	cr_expect_gt(find(&guest, at, "_SB_GED_"), vclk);
	cr_expect_gt(find(&guest, at, "\x93\x68\x0a\x16\x86VGEN\x0a\x80"), vclk);
	cr_expect_gt(find(&guest, at, "\x93\x68\x0a\x17\x86VCLK\x0a\x80"), vclk);
	guest_free(&guest);
}

Test(acpi, devices_that_are_not_there_are_not_listed)
{
	struct guest guest = guest_new(64);
	struct sysmem sys = sysmem_init(guest.mem);
	struct error err = {0};

	add_dev(&guest.boot, PLATFORM_BOOT_TIMER, 0xc0000000, PLATFORM_NO_GSI);
	cr_assert_eq(acpi_write(&sys, 1, &guest.boot, &err), 0);
	cr_expect_eq(guest_u32(&guest, dsdt(&guest) + 4), 36, "an empty DSDT");
	guest_free(&guest);
}

Test(acpi, more_devices_than_the_dsdt_can_hold_are_refused)
{
	struct guest guest = guest_new(64);
	struct sysmem sys = sysmem_init(guest.mem);
	struct error err = {0};

	for (unsigned i = 0; i < ARCH_PLATFORM_DEVS_MAX; i++) {
		add_dev(&guest.boot, PLATFORM_VIRTIO_MMIO, 0xc0001000, 5);
	}
	cr_assert_eq(acpi_write(&sys, 1, &guest.boot, &err), -1);
	cr_assert_eq(err.kind, ERR_TOO_LARGE);
	guest_free(&guest);
}

static void save_table(const struct guest *guest, uint64_t at, const char *dir, const char *name)
{
	static uint8_t bytes[TABLE_MAX];
	const uint32_t len = guest_u32(guest, at + 4);
	char path[256];

	cr_assert_leq(len, TABLE_MAX);
	cr_assert_eq(gmem_read(guest->mem, GPA(at), bytes, len), 0);
	(void)snprintf(path, sizeof(path), "%s/%s.dat", dir, name);

	AUTO_FD fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
}

static int run(const char *command)
{
	return system(command); // NOLINT(cert-env33-c): the test's own command
}

/* Disassembles all tables and compiles the DSDT again, which finds what the former lets pass. */
static void compile(const char *more)
{
	char dir[] = "/tmp/squib-acpi-XXXXXX";
	char command[512];
	struct guest guest = with_tables(2, 17);

	if (run("command -v iasl >/dev/null 2>&1") != 0) {
		cr_skip_test("iasl is not installed");
	}
	cr_assert_neq(mkdtemp(dir), NULL);
	save_table(&guest, dsdt(&guest), dir, "dsdt");
	save_table(&guest, xsdt_entry(&guest, 0), dir, "fadt");
	save_table(&guest, xsdt_entry(&guest, 1), dir, "madt");
	if (has_pci) {
		save_table(&guest, xsdt_entry(&guest, 2), dir, "mcfg");
	}
	(void)snprintf(command, sizeof(command),
		       "cd %s && iasl -d dsdt.dat fadt.dat madt.dat %s >log 2>&1 && "
		       "iasl -we -vw 6035 dsdt.dsl >>log 2>&1 && "
		       "grep -q ' 0 Errors, 0 Warnings, 0 Remarks' log && "
		       "! grep -Eiq 'invalid|mismatch|bad|incorrect' log || { cat log; exit 1; }",
		       dir, more);
	cr_expect_eq(run(command), 0);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(run(command), 0);
	guest_free(&guest);
}

Test(acpi, the_reference_compiler_has_nothing_to_complain_of)
{
	compile("");
}

Test(acpi, nor_has_it_of_the_pci_bus)
{
	has_pci = true;
	compile("mcfg.dat");
}

Test(acpi, the_pci_bus_is_in_the_dsdt_and_the_mcfg)
{
	/* UUID, function 5, Return (0). */
	static const uint8_t keep[] = {0xa0, 0x07, 0x93, 0x6a, 0x0a, 0x05, 0xa4, 0x00};
	/* 64-bit memory: 256 GiB to 512 GiB. */
	static const uint8_t window[] = {0x8a, 0x2b, 0x00, 0x00, 0x0c, 0x01};
	struct guest guest = with_tables(1, 0);

	cr_expect_lt(find(&guest, dsdt(&guest), "PC00"), 0);
	cr_expect_eq(guest_u32(&guest, guest_u64(&guest, RSDP + 24) + 4), 36 + 2 * 8);
	guest_free(&guest);
	has_pci = true;
	guest = with_tables(1, 0);
	const uint64_t mcfg = xsdt_entry(&guest, 2);

	expect_table(&guest, mcfg, "MCFG", 60);
	cr_expect_eq(guest_u64(&guest, mcfg + 44), 0xeec00000);
	cr_expect_eq(guest_u32(&guest, mcfg + 52), 0, "segment 0, bus 0 to 0");
	cr_expect_gt(find(&guest, dsdt(&guest), "_SB_PC00"), 0);
	cr_expect_gt(find_bytes(&guest, dsdt(&guest), (const char *)keep, sizeof(keep)), 0);

	const long at = find_bytes(&guest, dsdt(&guest), (const char *)window, sizeof(window));

	cr_assert_gt(at, 0);
	cr_expect_eq(guest_u64(&guest, dsdt(&guest) + (uint64_t)at + 14), 0x4000000000);
	cr_expect_eq(guest_u64(&guest, dsdt(&guest) + (uint64_t)at + 22), 0x7fffffffff);
	cr_expect_eq(guest_u64(&guest, dsdt(&guest) + (uint64_t)at + 38), 0x4000000000);
	guest_free(&guest);
}
