/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI sleep registers: only "enter soft off" counts. */
#include <criterion/criterion.h>

#include "devices/platform/acpi_sleep.h"

static unsigned resets;
static struct acpi_sleep *registers;

static void count(void *machine)
{
	(*(unsigned *)machine)++;
}

static void set_up(void)
{
	static const struct machine_ops machine_ops = {.reset = count};
	const struct dev_env env = {.machine_ops = &machine_ops, .machine = &resets};
	struct error err = {0};

	resets = 0;
	cr_assert_eq(acpi_sleep_new(&env, &registers, &err), 0, "%s", err.msg);
}

static void tear_down(void)
{
	acpi_sleep_free(registers);
	registers = NULL;
}

TestSuite(acpi_sleep, .init = set_up, .fini = tear_down);

Test(acpi_sleep, the_machine_ends_for_soft_off_only)
{
	for (unsigned offset = 0; offset < ACPI_SLEEP_LEN + 1; offset++) {
		for (uint32_t len = 1; len <= 8; len++) {
			for (unsigned value = 0; value < 256; value++) {
				uint8_t data[8] = {(uint8_t)value};
				bool is_off = offset == 0 && len == 1 && (value & 0x20) != 0 &&
					      (value >> 2 & 7) == 5;

				resets = 0;
				acpi_sleep_bus_ops.write(registers, offset, data, len);
				cr_assert_eq(resets, is_off, "offset %u, %u bytes, value %#x",
					     offset, len, value);
			}
		}
	}
}

Test(acpi_sleep, both_registers_read_zero)
{
	uint8_t data[2] = {0};

	acpi_sleep_bus_ops.read(registers, ACPI_SLEEP_CONTROL, data, 1);
	acpi_sleep_bus_ops.read(registers, ACPI_SLEEP_STATUS, data + 1, 1);
	cr_assert(data[0] == 0 && data[1] == 0);
}
