/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes ACPI Machine Language [acpi-6.5 20]: just what describes a few fixed devices. A buffer
 * that is too small makes the writer fail for good, which is asked once at the end: aml_len is then
 * 0.
 */
#ifndef ARCH_X86_64_AML_H
#define ARCH_X86_64_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf; /* the caller's */
	size_t cap;
	size_t len;
	bool is_full;
};

void aml_init(struct aml *aml, void *buf, size_t cap);

/* Bytes written so far, or 0 if they did not all fit. */
size_t aml_len(const struct aml *aml);

/*
 * Device (path): `path` is a name of 4 characters, or two joined by a dot. All that follows until
 * aml_device_end is inside; `start` connects the two.
 */
size_t aml_device_begin(struct aml *aml, const char *path);
void aml_device_end(struct aml *aml, size_t start);

/* Method (name, argument_count, Serialized): its body follows until aml_method_end. */
size_t aml_method_begin(struct aml *aml, const char *name, uint8_t argument_count);
void aml_method_end(struct aml *aml, size_t start);

/* In a method: If (Arg0 == value) { Notify (device, 0x80) }, "the device's state changed". */
void aml_notify_if(struct aml *aml, uint32_t value, const char *device);

/*
 * In a method: If (argument == value), or a buffer with the 16 bytes of a UUID: what follows until
 * aml_if_end is done then.
 */
size_t aml_if_arg(struct aml *aml, unsigned argument, uint32_t value);
size_t aml_if_arg_uuid(struct aml *aml, unsigned argument, const uint8_t uuid[16]);
void aml_if_end(struct aml *aml, size_t start);

/* In a method: Return of an integer, of a buffer with one byte, of an argument. */
void aml_return_int(struct aml *aml, uint32_t value);
void aml_return_byte(struct aml *aml, uint8_t value);
void aml_return_arg(struct aml *aml, unsigned argument);

/* In a method: sets bits in the first 32-bit word of a buffer, an argument. `name` is of the word.
 */
void aml_arg_or(struct aml *aml, unsigned argument, const char *name, uint32_t bits);

/* Name (name, value) for the three kinds of value; `id` is a PNP id like "PNP0501". */
void aml_name_int(struct aml *aml, const char *name, uint32_t value);
void aml_name_string(struct aml *aml, const char *name, const char *value);
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);

/* Name (name, Package () {...}) of `count` integers. */
void aml_name_package(struct aml *aml, const char *name, const uint32_t *values, uint8_t count);

/* Name (_CRS, ResourceTemplate ()), whose descriptors follow until aml_crs_end. */
struct aml_crs {
	size_t start;
	size_t body;
};

struct aml_crs aml_crs_begin(struct aml *aml);
void aml_crs_end(struct aml *aml, struct aml_crs crs);

/* Descriptors: writable fixed memory, 16-bit ports, an edge-triggered active-high interrupt. */
void aml_memory32(struct aml *aml, uint32_t base, uint32_t len);
void aml_io(struct aml *aml, uint16_t base, uint8_t len);
void aml_interrupt(struct aml *aml, uint32_t gsi);

/* Descriptors of what a bus passes on, first and last included: bus numbers, ports, memory. */
void aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last);
void aml_port_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory_window32(struct aml *aml, uint32_t first, uint32_t last);
void aml_memory_window64(struct aml *aml, uint64_t first, uint64_t last);

#endif
