/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of any bytes, up to BYTES of them, and each call at each place in it: by the members'
 * rules that is not behind the section's end, nor that behind the file's; here all end where the
 * bytes do. What each call leaves keeps to the rules again. The same of saving, in any room. EVA,
 * which relates no two numbers, sees each place, and each length of a section, alone.
 *
 * Options: -eva-precision 0 -eva-domains cvalue -eva-slevel 4 -eva-split-return full
 * Options: -eva-slevel-function find_section:3000,check_rest:3000,read_head:100,any_length:100
 * Options: -eva-slevel-function codec_section_begin:3000,code_section:3000
 * Options: -eva-slevel-function codec_load:100,code_file:100
 */
#include "tests/eva/error.h"
#include "tests/eva/eva.h"
#include "tests/eva/printf.h"
#include "tests/eva/text.h"
#include "vmm/base/bytes.h"

enum {
	BYTES = 36, /* two sections and a part of a third */
	TEXT = 5,
};

/* Also of a section's length, of which those that fit are seen apart. */
static uint64_t any_length(const void *from)
{
	/*@ assert \valid_read((const char *)from + (0 .. 7)); */
	if (any_bool()) {
		return any_between(BYTES, UINT64_MAX);
	}
	return (uint64_t)Frama_C_interval_split(0, BYTES);
}

#define load_le64(from) any_length(from)

uint64_t crc64(const void *from, size_t len)
{
	/*@ assert len == 0 || \valid_read((const char *)from + (0 .. len - 1)); */
	(void)from;
	keep(len);
	return any_u64();
}

#include "vmm/base/codec_internal.h"

void codec_dump_section(struct codec *codec, const struct codec_section *section)
{
	keep((uint64_t)codec->mode + section->tag);
}

void codec_dump_place(struct codec *codec, const struct codec_place *place)
{
	keep((uint64_t)codec->mode + place->index);
}

void codec_dump_signed(struct codec *codec, const char *name, int64_t value)
{
	keep((uint64_t)codec->mode + (uint64_t)(name != NULL) + (uint64_t)value);
}

void codec_dump_bool(struct codec *codec, const char *name, bool value)
{
	codec_dump_signed(codec, name, value);
}

void codec_dump_number(struct codec *codec, const char *name, uint64_t value)
{
	codec_dump_signed(codec, name, (int64_t)(value >> 1));
}

void codec_dump_bytes(struct codec *codec, const char *name, const uint8_t *bytes, size_t len)
{
	codec_dump_signed(codec, name, len > 0 ? bytes[len - 1] : 0);
}

void codec_dump_text(struct codec *codec, const char *name, const char *text)
{
	codec_dump_signed(codec, name, text[0]);
}

void codec_dump_blob(struct codec *codec, const char *name, const char *text, size_t len)
{
	codec_dump_signed(codec, name, len > 0 ? text[len - 1] : 0);
}

void codec_json_finish(struct codec *codec)
{
	codec->root = NULL;
}

#include "vmm/base/codec.c"

static const struct codec_section section = {.tag = 1, .version = 2, .name = "section"};
static const struct codec_section optional = {.tag = 1, .is_optional = true, .name = "optional"};
static uint8_t bytes[BYTES + 1]; /* a byte of the sum, for what has no byte to be at */
static struct codec codec;

static void make(enum codec_mode mode, size_t at)
{
	fill(bytes, sizeof(bytes));
	codec = (struct codec){.mode = mode, .in = bytes, .out = bytes, .at = at};
	codec.end = mode == CODEC_SAVE ? BYTES - CRC_LEN : BYTES; /* as codec_save leaves it */
	for (unsigned i = 0; i < CODEC_DEPTH_MAX; i++) {
		codec.places[i] = (struct codec_place){.name = "place", .is_item = any_bool()};
	}
	if (any_bool()) {
		codec.err.kind = ERR_CORRUPT;
	}
}

/* As after codec_section_begin, somewhere in the fields. */
static void make_section(enum codec_mode mode, size_t at)
{
	make(mode, at);
	codec.section = &section;
	codec.section_end = codec.end;
	codec.version = (uint16_t)any_u32();
	codec.depth = (unsigned)any_between(0, CODEC_DEPTH_MAX - 1);
}

static void check(void)
{
	/*@ assert codec.at <= codec.end; */
}

/* --- Fields --- */

/* Each sets what it was given, or leaves it. */
static void code_number(void)
{
	uint8_t small = 1;
	uint16_t middle = 2;
	uint32_t large = 3;
	uint64_t huge = 4;
	int64_t with_sign = 5;

	switch (any_between(0, 4)) {
	case 0:
		codec_u8(&codec, "small", &small);
		break;
	case 1:
		codec_u16(&codec, "middle", &middle);
		break;
	case 2:
		codec_u32(&codec, "large", &large);
		break;
	case 3:
		codec_u64(&codec, "huge", &huge);
		break;
	default:
		codec_i64(&codec, "with sign", &with_sign);
		break;
	}
	keep(small + middle + large);
	keep(huge);
	keep((uint64_t)with_sign);
}

static void code_other(void)
{
	bool is_set = any_bool();
	uint8_t blob[3] = {0};
	char text[TEXT] = "text";
	uint32_t count = (uint32_t)any_between(0, 7);

	switch (any_between(0, 5)) {
	case 0:
		codec_bool(&codec, "is set", &is_set);
		break;
	case 1:
		codec_bytes(&codec, "blob", blob, any_bool() ? sizeof(blob) : 0);
		break;
	case 2:
		codec_blob_text(&codec, "blob text", (char *)blob, sizeof(blob));
		break;
	case 3:
		codec_text(&codec, "text", text, sizeof(text));
		break;
	case 4:
		codec_count(&codec, "count", &count, 7);
		break;
	default:
		codec_begin(&codec, "place");
		codec_end(&codec);
		codec_begin_item(&codec, "item", any_u32());
		codec_end(&codec);
		break;
	}
	keep(is_set);
	keep(blob[0]);
	keep((unsigned char)text[0]);
	/*@ assert count <= 7; */
}

static void code_fields(enum codec_mode mode, size_t at)
{
	make_section(mode, at);
	code_number();
	check();
	make_section(mode, at);
	code_other();
	check();
	make_section(mode, at);
	codec.depth = 0;
	codec.section_at = sizeof(uint64_t);
	codec_section_end(&codec);
	check();
}

/* --- Sections and files --- */

static void code_section(enum codec_mode mode, size_t at)
{
	struct error err = {0};
	size_t len = 0;

	make(mode, at);
	if (codec_section_begin(&codec, any_bool() ? &section : &optional)) {
		check();
		/*@ assert mode != CODEC_LOAD || codec.at <= codec.section_end <= codec.end; */
	}
	make(mode, at);
	if (codec_finish(&codec, any_bool() ? &len : NULL, &err) == 0) {
		/*@ assert codec.at <= BYTES; */
		keep(len);
	}
}

static void code_file(size_t len)
{
	const struct codec_file file = {.magic = 1, .format = any_u32(), .writer = "0.1"};
	struct error err = {0};

	fill(bytes, sizeof(bytes));
	codec_load(&codec, &file, bytes, len);
	/*@ assert codec.err.kind != ERR_NONE || codec.at <= codec.end <= len; */
	if (len >= CRC_LEN && len <= BYTES) {
		codec_save(&codec, &file, bytes, len);
		/*@ assert codec.at <= codec.end; */
	}
}

void main(void)
{
	codec_dump(&codec, NULL);
	code_fields(CODEC_DUMP, 0);
	code_section(CODEC_DUMP, 0);
	/*@ loop unroll BYTES + 1; */
	for (size_t at = 0; at <= BYTES; at++) {
		code_fields(CODEC_LOAD, at);
		code_section(CODEC_LOAD, at);
		if (at <= BYTES - CRC_LEN) {
			code_fields(CODEC_SAVE, at);
			code_section(CODEC_SAVE, at);
		}
		code_file(at);
	}
	code_file(any_between(CODEC_FILE_MAX + 1, UINT64_MAX));
}
