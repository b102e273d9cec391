/* SPDX-License-Identifier: Apache-2.0 */
/* The AML writer, byte for byte against what ACPI's compiler makes of the same source. */
#include "aml.h"

#include <criterion/criterion.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	CAP = 8192
};

struct written {
	struct aml aml;
	uint8_t bytes[CAP];
};

#define EXPECT_BYTES(written, ...)                                                                 \
	do {                                                                                       \
		static const uint8_t expected[] = {__VA_ARGS__};                                   \
		cr_assert_eq(aml_len(&(written)->aml), sizeof(expected), "%zu bytes",              \
			     aml_len(&(written)->aml));                                            \
		cr_assert_arr_eq((written)->bytes, expected, sizeof(expected));                    \
	} while (0)

Test(aml, integers_take_the_shortest_form)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));
	aml_name_int(&w.aml, "AAAA", 0);
	aml_name_int(&w.aml, "AAAA", 1);
	aml_name_int(&w.aml, "AAAA", 2);
	aml_name_int(&w.aml, "AAAA", 0x100);
	aml_name_int(&w.aml, "AAAA", 0x10000);
	EXPECT_BYTES(&w, 0x08, 'A', 'A', 'A', 'A', 0x00, 0x08, 'A', 'A', 'A', 'A', 0x01, 0x08, 'A',
		     'A', 'A', 'A', 0x0a, 2, 0x08, 'A', 'A', 'A', 'A', 0x0b, 0, 1, 0x08, 'A', 'A',
		     'A', 'A', 0x0c, 0, 0, 1, 0);
}

Test(aml, a_pnp_id_is_packed_into_four_bytes)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));
	aml_name_eisaid(&w.aml, "_HID", "PNP0501");
	EXPECT_BYTES(&w, 0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x05, 0x01);
}

Test(aml, a_device_has_its_length_before_its_name)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));

	const size_t device = aml_device_begin(&w.aml, "_SB_.COM1");

	aml_name_string(&w.aml, "_HID", "A");
	aml_device_end(&w.aml, device);
	EXPECT_BYTES(&w, 0x5b, 0x82, 18, 0x2e, '_', 'S', 'B', '_', 'C', 'O', 'M', '1', 0x08, '_',
		     'H', 'I', 'D', 0x0d, 'A', 0);
}

Test(aml, resources_are_a_buffer_with_an_end_tag)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));

	const struct aml_crs crs = aml_crs_begin(&w.aml);

	aml_memory32(&w.aml, 0xc0001000, 0x1000);
	aml_io(&w.aml, 0x3f8, 8);
	aml_interrupt(&w.aml, 5);
	aml_crs_end(&w.aml, crs);
	EXPECT_BYTES(&w, 0x08, '_', 'C', 'R', 'S', 0x11, 35, 0x0b, 31, 0, 0x86, 9, 0, 1, 0, 0x10, 0,
		     0xc0, 0, 0x10, 0, 0, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x89, 6, 0, 3, 1, 5, 0,
		     0, 0, 0x79, 0);
}

Test(aml, a_method_notifies_the_device_of_an_event)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));

	const size_t method = aml_method_begin(&w.aml, "_EVT", 1);

	aml_notify_if(&w.aml, 22, "VGEN");
	aml_method_end(&w.aml, method);
	EXPECT_BYTES(&w, 0x14, 19, '_', 'E', 'V', 'T', 0x09, 0xa0, 12, 0x93, 0x68, 0x0a, 22, 0x86,
		     'V', 'G', 'E', 'N', 0x0a, 0x80);
}

/* The package length's borders: it counts itself, in 1, 2 or 3 bytes [acpi-6.5 20.2.4]. */
static const struct {
	size_t body; /* bytes in the device, its name included */
	uint8_t length[3];
	size_t length_len;
} lengths[] = {
	{62, {63}, 1},
	{63, {0x40 | 1, 4}, 2},	       /* 65 = 0x41 */
	{4093, {0x40 | 0xf, 0xff}, 2}, /* 4095 */
	{4094, {0x80 | 1, 0, 1}, 3},   /* 4097 = 0x1001 */
};

Test(aml, package_lengths_change_form_where_they_must)
{
	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		char filler[CAP] = {0};
		struct written w;

		memset(filler, 'x', lengths[i].body - 4 - 7);
		aml_init(&w.aml, w.bytes, sizeof(w.bytes));

		const size_t device = aml_device_begin(&w.aml, "DEV0");

		aml_name_string(&w.aml, "_HID", filler);
		aml_device_end(&w.aml, device);
		cr_expect_eq(aml_len(&w.aml), 2 + lengths[i].length_len + lengths[i].body);
		cr_expect_arr_eq(w.bytes + 2, lengths[i].length, lengths[i].length_len);
		cr_expect_arr_eq(w.bytes + 2 + lengths[i].length_len, "DEV0", 4);
	}
}

static void write_device(struct aml *aml)
{
	const size_t device = aml_device_begin(aml, "_SB_.COM1");

	aml_name_eisaid(aml, "_HID", "PNP0501");

	const struct aml_crs crs = aml_crs_begin(aml);

	aml_io(aml, 0x3f8, 8);
	aml_crs_end(aml, crs);
	aml_device_end(aml, device);
}

Test(aml, a_buffer_that_is_too_small_is_never_overrun_and_always_told)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));
	write_device(&w.aml);

	const size_t whole = aml_len(&w.aml);

	for (size_t cap = 0; cap <= whole; cap++) {
		memset(w.bytes, 0xee, sizeof(w.bytes));
		aml_init(&w.aml, w.bytes, cap);
		write_device(&w.aml);
		cr_expect_eq(aml_len(&w.aml), cap == whole ? whole : 0);
		cr_expect_eq(w.bytes[cap], 0xee);
	}
}

Test(aml, windows_have_first_last_and_length)
{
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));
	aml_bus_numbers(&w.aml, 0, 0);
	aml_port_window(&w.aml, 0xd00, 0xffff);
	EXPECT_BYTES(&w, 0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x88, 13, 0, 1,
		     0x0c, 3, 0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0, 0xf3);
	aml_init(&w.aml, w.bytes, sizeof(w.bytes));
	aml_memory_window32(&w.aml, 0xc0001000, 0xeebfffff);
	EXPECT_BYTES(&w, 0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0x10, 0, 0xc0, 0xff, 0xff, 0xbf,
		     0xee, 0, 0, 0, 0, 0, 0xf0, 0xbf, 0x2e);
}

/* Method (TEST, 4) { If (Arg0 == Buffer (16)) { Return (Arg3) } ... Return (Buffer (1) {7}) } */
Test(aml, a_method_compares_and_returns)
{
	static const uint8_t uuid[16] = {1, 2, 3};
	struct written w;

	aml_init(&w.aml, w.bytes, sizeof(w.bytes));
	const size_t method = aml_method_begin(&w.aml, "TEST", 4);
	const size_t same = aml_if_arg_uuid(&w.aml, 0, uuid);

	aml_return_arg(&w.aml, 3);
	aml_if_end(&w.aml, same);
	aml_arg_or(&w.aml, 3, "WORD", 4);
	aml_return_byte(&w.aml, 7);
	aml_method_end(&w.aml, method);
	EXPECT_BYTES(&w, 0x14, 0x37, 'T', 'E', 'S', 'T', 0x0c, 0xa0, 0x19, 0x93, 0x68, 0x11, 0x13,
		     0x0a, 16, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa4, 0x6b, 0x8a,
		     0x6b, 0x00, 'W', 'O', 'R', 'D', 0x7d, 'W', 'O', 'R', 'D', 0x0a, 4, 'W', 'O',
		     'R', 'D', 0xa4, 0x11, 3, 0x01, 7);
}
