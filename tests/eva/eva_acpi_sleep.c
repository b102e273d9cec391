/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that accesses it anywhere by up to 8 bytes.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"
#include "tests/eva/log.h"

#include "devices/platform/acpi_sleep.c"

void main(void)
{
	const struct machine_ops ops = {.reset = note};
	const struct dev_env env = {.machine_ops = &ops};
	struct acpi_sleep *sleep = NULL;
	struct error err = {0};

	if (acpi_sleep_new(&env, &sleep, &err) == 0) {
		access_any(&acpi_sleep_bus_ops, sleep);
	}
	acpi_sleep_free(sleep);
}
