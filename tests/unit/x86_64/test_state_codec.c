/* SPDX-License-Identifier: Apache-2.0 */
/* A state as a file: what is cut or out of bounds is refused with its section and field. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	FILE_LEN = 256 * 1024,
	HEAD_LEN = 14 + 4, /* with the writer's name */
	SECTION_HEAD_LEN = 16,
	CRC_LEN = 8,
};

static struct arch_vcpu_state vcpu;
static struct arch_vm_state vm;
static uint8_t whole[FILE_LEN];
static size_t whole_len;

static struct codec_file head(void)
{
	return (struct codec_file){.magic = arch_state_magic, .format = 1, .writer = "test"};
}

static size_t save(uint8_t *bytes)
{
	const struct codec_file file = head();
	struct codec codec;
	struct error err = {0};
	size_t len;

	codec_save(&codec, &file, bytes, FILE_LEN);
	arch_vcpu_state_codec(&codec, &vcpu);
	arch_vm_state_codec(&codec, &vm);
	cr_assert_eq(codec_finish(&codec, &len, &err), 0, "%s", err.msg);
	return len;
}

static int load(const uint8_t *bytes, size_t len, struct error *err)
{
	const struct codec_file file = head();
	struct codec codec;

	codec_load(&codec, &file, bytes, len);
	arch_vcpu_state_codec(&codec, &vcpu);
	arch_vm_state_codec(&codec, &vm);
	return codec_finish(&codec, NULL, err);
}

static void make(void)
{
	vcpu.cpuid.count = 2;
	vcpu.xcr_count = 2;
	vcpu.xsave_len = 4096;
	vcpu.msr_count = 2;
	whole_len = save(whole);
}

/* The file without the last `cut` bytes of the section at `at`, with a right length and CRC. */
static size_t without(size_t at, size_t cut, uint8_t *bytes)
{
	const uint64_t len = load_le64(whole + at + 8);
	const size_t end = at + SECTION_HEAD_LEN + len;
	const size_t rest = whole_len - CRC_LEN - end;

	memcpy(bytes, whole, end - cut);
	store_le64(bytes + at + 8, len - cut);
	memcpy(bytes + end - cut, whole + end, rest);
	store_le64(bytes + end - cut + rest, crc64(bytes, end - cut + rest));
	return end - cut + rest + CRC_LEN;
}

static const char *const sections[] = {
	"Section vCPU CPUID, field ",	   "Section vCPU registers, field ",
	"Section vCPU local APIC, field ", "Section vCPU XSAVE area, field ",
	"Section vCPU MSRs, field ",	   "Section interrupt controllers, field ",
	"Section timer, field ",	   "Section clock, field ",
};

Test(state_codec, each_section_that_is_cut_is_refused_with_the_field, .init = make)
{
	uint8_t *bytes = malloc(FILE_LEN);
	size_t at = HEAD_LEN;

	for (size_t i = 0; i < ARRAY_COUNT(sections); i++) {
		const uint64_t len = load_le64(whole + at + 8);

		for (size_t cut = 1; cut <= len; cut += len > 1000 ? 61 : 1) {
			struct error err = {0};

			cr_assert_eq(load(bytes, without(at, cut, bytes), &err), -1);
			cr_assert_eq(err.kind, ERR_CORRUPT);
			cr_assert_eq(strncmp(err.msg, sections[i], strlen(sections[i])), 0,
				     "%zu bytes less: %s", cut, err.msg);
			cr_assert_neq(strstr(err.msg, "missing at the section's end"), NULL);
		}
		at += SECTION_HEAD_LEN + len;
	}
	cr_assert_eq(at, whole_len - CRC_LEN, "there are no other sections");
	free(bytes);
}

/* What is in a file stays as it is for ever; a newer version of a section appends. */
Test(state_codec, sections_have_the_tags_and_lengths_of_their_versions, .init = make)
{
	static const struct {
		char tag[5];
		uint64_t len; /* of the first version, and what later ones appended */
	} expected[] = {
		{"XCID", 4 + 2 * 28}, {"XREG", 586 + 9}, {"XAPI", 1024}, {"XSAV", 4 + 4096},
		{"XMSR", 4 + 2 * 12}, {"XIRQ", 244},	 {"XPIT", 76},	 {"XCLK", 28},
	};
	size_t at = HEAD_LEN;

	for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
		cr_expect_arr_eq(whole + at, expected[i].tag, 4);
		cr_expect_eq(load_le64(whole + at + 8), expected[i].len, "%s", expected[i].tag);
		at += SECTION_HEAD_LEN + load_le64(whole + at + 8);
	}
}

Test(state_codec, a_file_that_is_cut_is_refused, .init = make)
{
	for (size_t len = 0; len < whole_len; len += len < 2000 ? 1 : 97) {
		struct error err = {0};

		cr_assert_eq(load(whole, len, &err), -1, "%zu bytes", len);
		error_clear(&err);
		if (len >= CRC_LEN) { /* and with the CRC of what is left */
			uint8_t kept[CRC_LEN];

			memcpy(kept, whole + len - CRC_LEN, CRC_LEN);
			store_le64(whole + len - CRC_LEN, crc64(whole, len - CRC_LEN));
			cr_assert_eq(load(whole, len, &err), -1, "%zu bytes", len);
			memcpy(whole + len - CRC_LEN, kept, CRC_LEN);
		}
	}
}

/* Where the files of this state and of another one begin to differ, heads of sections aside. */
static size_t first_difference(const uint8_t *other, size_t section)
{
	size_t at = section + SECTION_HEAD_LEN;

	while (whole[at] == other[at]) {
		at++;
	}
	return at;
}

static void expect_too_many(size_t at, uint32_t limit, const char *field)
{
	uint8_t *bytes = malloc(FILE_LEN);
	struct error err = {0};

	memcpy(bytes, whole, whole_len);
	store_le32(bytes + at, limit + 1);
	store_le64(bytes + whole_len - CRC_LEN, crc64(bytes, whole_len - CRC_LEN));
	cr_expect_eq(load(bytes, whole_len, &err), -1);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_eq(strncmp(err.msg, field, strlen(field)), 0, "%s", err.msg);
	cr_expect_neq(strstr(err.msg, " is more than "), NULL, "%s", err.msg);
	free(bytes);
}

/* The `index`th section of the file. */
static size_t section_at(unsigned index)
{
	size_t at = HEAD_LEN;

	for (unsigned i = 0; i < index; i++) {
		at += SECTION_HEAD_LEN + load_le64(whole + at + 8);
	}
	return at;
}

Test(state_codec, a_count_out_of_bounds_is_refused, .init = make)
{
	uint8_t *other = malloc(FILE_LEN);

	vcpu.xcr_count = 3;
	save(other);
	vcpu.xcr_count = 2;
	expect_too_many(first_difference(other, section_at(1)), KVM_MAX_XCRS,
			"Section vCPU registers, field xcr_count: 17");
	expect_too_many(section_at(0) + SECTION_HEAD_LEN, CPUID_ENTRIES_MAX,
			"Section vCPU CPUID, field count: 257");
	expect_too_many(section_at(3) + SECTION_HEAD_LEN, STATE_XSAVE_MAX,
			"Section vCPU XSAVE area, field len: 16385");
	expect_too_many(section_at(4) + SECTION_HEAD_LEN, STATE_MSRS_MAX,
			"Section vCPU MSRs, field count: 513");
	free(other);
}

Test(state_codec, the_largest_state_is_loaded)
{
	struct error err = {0};

	vcpu.cpuid.count = CPUID_ENTRIES_MAX;
	vcpu.xcr_count = KVM_MAX_XCRS;
	vcpu.xsave_len = STATE_XSAVE_MAX;
	vcpu.msr_count = STATE_MSRS_MAX;
	vcpu.msrs[STATE_MSRS_MAX - 1].value = 4711;
	whole_len = save(whole);
	memset(&vcpu, 0, sizeof(vcpu));
	cr_assert_eq(load(whole, whole_len, &err), 0, "%s", err.msg);
	cr_expect_eq(vcpu.msrs[STATE_MSRS_MAX - 1].value, 4711);
}

Test(state_codec, what_a_state_file_begins_with_is_known)
{
	cr_expect_eq(arch_state_magic, 0x0710198486640000);
}

Test(state_codec, a_dump_names_registers, .init = make)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);
	struct codec codec;
	struct error err = {0};

	vcpu.regs.rip = 0x1234;
	codec_dump(&codec, stream);
	arch_vcpu_state_codec(&codec, &vcpu);
	arch_vm_state_codec(&codec, &vm);
	cr_assert_eq(codec_finish(&codec, NULL, &err), 0);
	fclose(stream);
	cr_expect_neq(strstr(text, "rip"), NULL);
	cr_expect_neq(strstr(text, "redirection"), NULL);
	free(text);
}

Test(state_codec, a_dump_as_json_has_each_field_once, .init = make)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);
	struct codec codec;
	struct error err = {0};

	vcpu.regs.rip = 0x1234;
	codec_dump_json(&codec, 1, stream);
	arch_vcpu_state_codec(&codec, &vcpu); /* names that are there twice are an assertion */
	arch_vm_state_codec(&codec, &vm);
	cr_assert_eq(codec_finish(&codec, NULL, &err), 0, "%s", err.msg);
	fclose(stream);
	cr_expect_neq(strstr(text, "\"rip\": 4660"), NULL);
	free(text);
}
