/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes ACPI Machine Language.
 *
 * Theory of operation: a package starts with its length, in 1 to 4 bytes that count themselves
 * [acpi-6.5 20.2.4]. As it is known only at the end, begin remembers where the length belongs, and
 * end moves the body up by as many bytes as it takes.
 */
#include "aml.h"

#include <string.h>

#include "vmm/base/bytes.h"

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_OR = 0x7d,
	OP_CREATE_DWORD_FIELD = 0x8a,
	OP_RETURN = 0xa4,
	OP_EXTENDED = 0x5b,
	OP_ARG0 = 0x68,
	OP_DEVICE = 0x82, /* after OP_EXTENDED */
	OP_NOTIFY = 0x86,
	OP_EQUAL = 0x93,
	OP_IF = 0xa0,

	METHOD_SERIALIZED = 1 << 3,
	STATE_CHANGED = 0x80,

	NAME_LEN = 4,

	RES_END_TAG = 0x79,
	RES_IO = 0x47,
	RES_MEMORY32_FIXED = 0x86,
	RES_INTERRUPT = 0x89,
	RES_WINDOW16 = 0x88,
	RES_WINDOW32 = 0x87,
	RES_WINDOW64 = 0x8a,
	RES_TYPE_MEMORY = 0,
	RES_TYPE_IO = 1,
	RES_TYPE_BUS = 2,
	RES_WINDOW_FIXED = 0x0c, /* passed on, from exactly here to exactly there */
	RES_WINDOW_IO_ALL = 3,
	RES_IO_DECODE_16 = 1,
	RES_MEMORY_WRITABLE = 1,
	RES_INTERRUPT_CONSUMER = 1 << 0,
	RES_INTERRUPT_EDGE = 1 << 1,
};

void aml_init(struct aml *aml, void *buf, size_t cap)
{
	*aml = (struct aml){.buf = buf, .cap = cap};
}

size_t aml_len(const struct aml *aml)
{
	return aml->is_full ? 0 : aml->len;
}

static void put(struct aml *aml, const void *bytes, size_t len)
{
	if (aml->is_full || len > aml->cap - aml->len) {
		aml->is_full = true;
		return;
	}
	memcpy(aml->buf + aml->len, bytes, len);
	aml->len += len;
}

static void put_u8(struct aml *aml, uint8_t value)
{
	put(aml, &value, sizeof(value));
}

static void put_u16(struct aml *aml, uint16_t value)
{
	put(aml, &value, sizeof(value));
}

static void put_u32(struct aml *aml, uint32_t value)
{
	put(aml, &value, sizeof(value));
}

/* In the shortest of the forms of a constant. */
static void put_int(struct aml *aml, uint32_t value)
{
	if (value <= 1) {
		put_u8(aml, value == 0 ? OP_ZERO : OP_ONE);
	} else if (value <= UINT8_MAX) {
		put_u8(aml, OP_BYTE);
		put_u8(aml, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		put_u8(aml, OP_WORD);
		put_u16(aml, (uint16_t)value);
	} else {
		put_u8(aml, OP_DWORD);
		put_u32(aml, value);
	}
}

/* Makes room for `len` bytes at `at` and fills it. */
static void insert(struct aml *aml, size_t at, const void *bytes, size_t len)
{
	const size_t end = aml->len;

	put(aml, bytes, len);
	if (!aml->is_full) {
		memmove(aml->buf + at + len, aml->buf + at, end - at);
		memcpy(aml->buf + at, bytes, len);
	}
}

static void package_end(struct aml *aml, size_t start)
{
	enum {
		ONE_BYTE_MAX = 0x3f,
		NIBBLE = 4,
		LENGTH_MAX = 4
	};
	const size_t body = aml->len - start;
	uint8_t length[LENGTH_MAX];
	size_t more = 0; /* bytes after the first */

	if (body + 1 <= ONE_BYTE_MAX) {
		length[0] = (uint8_t)(body + 1);
	} else {
		size_t total;

		do {
			more++;
			total = body + 1 + more;
		} while (more < LENGTH_MAX - 1 && total >> (NIBBLE + 8 * more) != 0);
		length[0] = (uint8_t)(more << 6 | (total & 0xf));
		for (size_t i = 1; i <= more; i++) {
			length[i] = (uint8_t)(total >> (NIBBLE + 8 * (i - 1)));
		}
	}
	insert(aml, start, length, 1 + more);
}

static void put_path(struct aml *aml, const char *path)
{
	const char *dot = strchr(path, '.');

	if (dot != NULL) {
		put_u8(aml, OP_DUAL_NAME);
		put(aml, path, NAME_LEN);
		path = dot + 1;
	}
	put(aml, path, NAME_LEN);
}

size_t aml_device_begin(struct aml *aml, const char *path)
{
	put_u8(aml, OP_EXTENDED);
	put_u8(aml, OP_DEVICE);

	const size_t start = aml->len;

	put_path(aml, path);
	return start;
}

void aml_device_end(struct aml *aml, size_t start)
{
	package_end(aml, start);
}

size_t aml_method_begin(struct aml *aml, const char *name, uint8_t argument_count)
{
	put_u8(aml, OP_METHOD);

	const size_t start = aml->len;

	put_path(aml, name);
	put_u8(aml, argument_count | METHOD_SERIALIZED);
	return start;
}

void aml_method_end(struct aml *aml, size_t start)
{
	package_end(aml, start);
}

/* If (argument ==: the value follows. */
static size_t if_arg(struct aml *aml, unsigned argument)
{
	put_u8(aml, OP_IF);

	const size_t start = aml->len;

	put_u8(aml, OP_EQUAL);
	put_u8(aml, (uint8_t)(OP_ARG0 + argument));
	return start;
}

static void put_buffer(struct aml *aml, const void *bytes, uint8_t len)
{
	put_u8(aml, OP_BUFFER);

	const size_t start = aml->len;

	put_int(aml, len);
	put(aml, bytes, len);
	package_end(aml, start);
}

size_t aml_if_arg(struct aml *aml, unsigned argument, uint32_t value)
{
	const size_t start = if_arg(aml, argument);

	put_int(aml, value);
	return start;
}

size_t aml_if_arg_uuid(struct aml *aml, unsigned argument, const uint8_t uuid[16])
{
	const size_t start = if_arg(aml, argument);

	put_buffer(aml, uuid, 16);
	return start;
}

void aml_if_end(struct aml *aml, size_t start)
{
	package_end(aml, start);
}

void aml_notify_if(struct aml *aml, uint32_t value, const char *device)
{
	const size_t start = aml_if_arg(aml, 0, value);

	put_u8(aml, OP_NOTIFY);
	put_path(aml, device);
	put_int(aml, STATE_CHANGED);
	aml_if_end(aml, start);
}

void aml_return_int(struct aml *aml, uint32_t value)
{
	put_u8(aml, OP_RETURN);
	put_int(aml, value);
}

void aml_return_byte(struct aml *aml, uint8_t value)
{
	put_u8(aml, OP_RETURN);
	put_buffer(aml, &value, 1);
}

void aml_return_arg(struct aml *aml, unsigned argument)
{
	put_u8(aml, OP_RETURN);
	put_u8(aml, (uint8_t)(OP_ARG0 + argument));
}

void aml_arg_or(struct aml *aml, unsigned argument, const char *name, uint32_t bits)
{
	put_u8(aml, OP_CREATE_DWORD_FIELD);
	put_u8(aml, (uint8_t)(OP_ARG0 + argument));
	put_int(aml, 0);
	put_path(aml, name);
	put_u8(aml, OP_OR);
	put_path(aml, name);
	put_int(aml, bits);
	put_path(aml, name);
}

static void put_name(struct aml *aml, const char *name)
{
	put_u8(aml, OP_NAME);
	put_path(aml, name);
}

void aml_name_int(struct aml *aml, const char *name, uint32_t value)
{
	put_name(aml, name);
	put_int(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *value)
{
	put_name(aml, name);
	put_u8(aml, OP_STRING);
	put(aml, value, strlen(value) + 1);
}

void aml_name_package(struct aml *aml, const char *name, const uint32_t *values, uint8_t count)
{
	put_name(aml, name);
	put_u8(aml, OP_PACKAGE);

	const size_t start = aml->len;

	put_u8(aml, count);
	for (uint8_t i = 0; i < count; i++) {
		put_int(aml, values[i]);
	}
	package_end(aml, start);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits and four hex digits, most significant byte first [acpi-6.5 19.3.4]. */
void aml_name_eisaid(struct aml *aml, const char *name, const char *id)
{
	uint32_t packed = 0;

	for (size_t i = 0; i < 3; i++) {
		packed = packed << 5 | (uint32_t)(id[i] - '@');
	}
	for (size_t i = 3; i < 7; i++) {
		packed = packed << 4 | hex_digit(id[i]);
	}
	put_name(aml, name);
	put_int(aml, __builtin_bswap32(packed));
}

struct aml_crs aml_crs_begin(struct aml *aml)
{
	struct aml_crs crs;

	put_name(aml, "_CRS");
	put_u8(aml, OP_BUFFER);
	crs.start = aml->len;
	put_u8(aml, OP_WORD);
	put_u16(aml, 0); /* the buffer's size, known at the end */
	crs.body = aml->len;
	return crs;
}

void aml_crs_end(struct aml *aml, struct aml_crs crs)
{
	put_u8(aml, RES_END_TAG);
	put_u8(aml, 0); /* no checksum [acpi-6.5 6.4.2.9] */
	if (!aml->is_full) {
		store_le16(aml->buf + crs.body - sizeof(uint16_t), (uint16_t)(aml->len - crs.body));
	}
	package_end(aml, crs.start);
}

void aml_memory32(struct aml *aml, uint32_t base, uint32_t len)
{
	put_u8(aml, RES_MEMORY32_FIXED);
	put_u16(aml, 9);
	put_u8(aml, RES_MEMORY_WRITABLE);
	put_u32(aml, base);
	put_u32(aml, len);
}

void aml_io(struct aml *aml, uint16_t base, uint8_t len)
{
	put_u8(aml, RES_IO);
	put_u8(aml, RES_IO_DECODE_16);
	put_u16(aml, base);
	put_u16(aml, base);
	put_u8(aml, 1); /* alignment */
	put_u8(aml, len);
}

void aml_interrupt(struct aml *aml, uint32_t gsi)
{
	put_u8(aml, RES_INTERRUPT);
	put_u16(aml, 6);
	put_u8(aml, RES_INTERRUPT_CONSUMER | RES_INTERRUPT_EDGE);
	put_u8(aml, 1); /* one interrupt */
	put_u32(aml, gsi);
}

/* Address space descriptors [acpi-6.5 6.4.3.5], with numbers of `width` bytes. */
static void put_window(struct aml *aml, uint8_t tag, uint8_t width, uint8_t type, uint8_t flags,
		       uint64_t first, uint64_t last)
{
	const uint64_t numbers[] = {0 /* granularity */, first, last, 0 /* translation */,
				    last - first + 1};

	put_u8(aml, tag);
	put_u16(aml, (uint16_t)(3 + ARRAY_COUNT(numbers) * width));
	put_u8(aml, type);
	put_u8(aml, RES_WINDOW_FIXED);
	put_u8(aml, flags);
	for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
		put(aml, &numbers[i], width);
	}
}

void aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last)
{
	put_window(aml, RES_WINDOW16, sizeof(first), RES_TYPE_BUS, 0, first, last);
}

void aml_port_window(struct aml *aml, uint16_t first, uint16_t last)
{
	put_window(aml, RES_WINDOW16, sizeof(first), RES_TYPE_IO, RES_WINDOW_IO_ALL, first, last);
}

void aml_memory_window32(struct aml *aml, uint32_t first, uint32_t last)
{
	put_window(aml, RES_WINDOW32, sizeof(first), RES_TYPE_MEMORY, RES_MEMORY_WRITABLE, first,
		   last);
}

void aml_memory_window64(struct aml *aml, uint64_t first, uint64_t last)
{
	put_window(aml, RES_WINDOW64, sizeof(first), RES_TYPE_MEMORY, RES_MEMORY_WRITABLE, first,
		   last);
}
