/* SPDX-License-Identifier: Apache-2.0 */
/* The sleep registers of a hardware-reduced ACPI machine: the guest powers off by them. */
#ifndef DEVICES_PLATFORM_ACPI_SLEEP_H
#define DEVICES_PLATFORM_ACPI_SLEEP_H

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	ACPI_SLEEP_CONTROL = 0, /* offsets of the two registers, a byte each */
	ACPI_SLEEP_STATUS = 1,
	ACPI_SLEEP_LEN = 2,
	ACPI_SLEEP_S5 = 5, /* the type of state S5, "soft off", as the tables must tell it */
};

/* Without state that a guest could see: there is nothing to save. */
struct acpi_sleep;

extern const struct bus_ops acpi_sleep_bus_ops;

/* The caller owns *out and frees it (NULL is fine). */
MUST_CHECK int acpi_sleep_new(const struct dev_env *env, struct acpi_sleep **out,
			      struct error *err);
void acpi_sleep_free(struct acpi_sleep *sleep);

#endif
