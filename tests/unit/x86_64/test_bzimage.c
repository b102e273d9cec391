/* SPDX-License-Identifier: Apache-2.0 */
/* The bzImage loader: what loads, and every way in which a file may be damaged. */
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <string.h>

#include "images.h"
#include "vmm/base/bytes.h"

enum {
	GUEST_MIB = 64
};

Test(bzimage, loads_its_payload_at_the_preferred_address)
{
	const struct image image = image_bzimage();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	cr_assert_eq(guest_load(&guest, &image, &err), 0, "%s", err.msg);
	cr_assert_eq(guest.boot.protocol, BOOT_LINUX64_BZIMAGE);
	cr_assert_eq(guest.boot.entry.v, IMAGE_PREF_ADDRESS + 0x200);
	cr_assert_eq(guest.boot.kernel_end.v, IMAGE_PREF_ADDRESS + IMAGE_INIT_SIZE);
	cr_assert_eq(guest_u32(&guest, IMAGE_PREF_ADDRESS), 0xcccccccc);
	cr_assert_eq(guest_u32(&guest, IMAGE_PREF_ADDRESS + IMAGE_PAYLOAD_LEN - 4), 0xcccccccc);
	cr_assert_eq(guest_u32(&guest, IMAGE_PREF_ADDRESS + IMAGE_PAYLOAD_LEN), 0);
	cr_assert_eq(guest.boot.setup_header_len, sizeof(struct setup_header));
	cr_assert_arr_eq(guest.boot.setup_header, image.bytes + IMAGE_SETUP_HEADER,
			 sizeof(struct setup_header));
	guest_free(&guest);
}

/* A number written into the header of a good image. */
struct patch {
	size_t at;
	uint64_t value;
	unsigned size;
};

#define AT(field)                                                                                  \
	.at = IMAGE_SETUP_HEADER + offsetof(struct setup_header, field),                           \
	.size = sizeof(((struct setup_header *)0)->field)

static void apply(struct image *image, const struct patch *patch)
{
	memcpy(image->bytes + patch->at, &patch->value, patch->size);
}

static const struct {
	const char *what;
	struct patch patch;
	const char *sentence; /* part of it */
} damages[] = {
	{"boot flag", {AT(boot_flag), .value = 0x55aa}, "boot flag is 0x55aa"},
	{"magic", {AT(header), .value = 0x53726449}, "neither an ELF (vmlinux) nor a bzImage"},
	{"protocol 2.11", {AT(version), .value = 0x020b}, "protocol 2.11"},
	{"protocol 0", {AT(version), .value = 0}, "protocol 0.00"},
	{"zImage", {AT(loadflags), .value = 0}, "zImage"},
	{"32-bit", {AT(xloadflags), .value = 0xfffe}, "32-bit kernel"},
	{"255 setup sectors", {AT(setup_sects), .value = 255}, "truncated"},
	{"0 setup sectors mean 4", {AT(setup_sects), .value = 0}, "4 setup sectors"},
	{"syssize just beyond", {AT(syssize), .value = IMAGE_PAYLOAD_LEN / 16 + 1}, "truncated"},
	{"syssize of 64 GiB", {AT(syssize), .value = UINT32_MAX}, "truncated"},
	{"init_size 0", {AT(init_size), .value = 0}, "larger than the memory"},
	{"init_size just small", {AT(init_size), .value = IMAGE_PAYLOAD_LEN - 1}, "larger than"},
	{"init_size beyond RAM", {AT(init_size), .value = 64 * MIB}, "memory there ends"},
	{"init_size of 4 GiB", {AT(init_size), .value = UINT32_MAX}, "memory there ends"},
	{"address 0", {AT(pref_address), .value = 0}, "below 1 MiB"},
	{"address beyond RAM", {AT(pref_address), .value = 64 * MIB}, "memory there ends"},
	{"address overflows", {AT(pref_address), .value = UINT64_MAX - 15}, "memory there ends"},
};

Test(bzimage, each_damage_is_one_sentence_that_names_it)
{
	for (size_t i = 0; i < ARRAY_COUNT(damages); i++) {
		struct image image = image_bzimage();
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		apply(&image, &damages[i].patch);
		cr_expect_eq(guest_load(&guest, &image, &err), -1, "%s", damages[i].what);
		cr_expect_eq(err.kind, ERR_CORRUPT, "%s", damages[i].what);
		cr_expect_neq(strstr(err.msg, damages[i].sentence), NULL, "%s: %s", damages[i].what,
			      err.msg);
		guest_free(&guest);
	}
}

/* Its size is told in paragraphs of 16 bytes, the last of which need not be full. */
Test(bzimage, a_file_that_lacks_a_paragraph_is_corrupt)
{
	const struct image whole = image_bzimage();
	struct guest guest = guest_new(GUEST_MIB);

	for (size_t len = 0; len < whole.len; len++) {
		bool is_whole = len > whole.len - 16;
		struct image image = whole;
		struct error err = {0};

		image.len = len;
		cr_expect_eq(guest_load(&guest, &image, &err), is_whole ? 0 : -1, "cut at %zu: %s",
			     len, err.msg);
		cr_expect(is_whole || err.kind == ERR_CORRUPT, "cut at %zu: %s", len, err.msg);
	}
	guest_free(&guest);
}

Test(bzimage, a_kernel_that_unpacks_above_the_mapped_gib_is_refused)
{
	const struct patch patch = {AT(pref_address), .value = GIB - IMAGE_INIT_SIZE + 1};
	struct image image = image_bzimage();
	struct guest guest = guest_new(2048);
	struct error err = {0};

	apply(&image, &patch);
	cr_assert_eq(guest_load(&guest, &image, &err), -1);
	cr_assert_neq(strstr(err.msg, "above the first GiB"), NULL, "%s", err.msg);
	guest_free(&guest);
}

Test(bzimage, a_signature_behind_the_kernel_is_no_damage)
{
	struct image image = image_bzimage();
	struct guest guest = guest_new(GUEST_MIB);
	struct error err = {0};

	image.len += 1000;
	cr_assert_eq(guest_load(&guest, &image, &err), 0, "%s", err.msg);
	guest_free(&guest);
}

Test(bzimage, the_header_ends_where_its_jump_lands)
{
	/* A short header, as protocol 2.12 had it, and one longer than squib knows. */
	static const struct {
		uint8_t jump;
		size_t len;
	} cases[] = {{0x66, 0x202 + 0x66 - 0x1f1}, {0xff, sizeof(struct setup_header)}};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct image image = image_bzimage();
		struct guest guest = guest_new(GUEST_MIB);
		struct error err = {0};

		image.bytes[0x201] = cases[i].jump;
		cr_assert_eq(guest_load(&guest, &image, &err), 0, "%s", err.msg);
		cr_expect_eq(guest.boot.setup_header_len, cases[i].len);
		guest_free(&guest);
	}
}
