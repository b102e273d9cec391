/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves, loads and dumps state.
 *
 * Theory of operation. A reader asks for sections in the order in which writers write them. If the
 * next one in the file has another tag, the reader looks on behind optional ones, which it may not
 * know. It stops at one that is not optional: then the one that is asked for is not in the file.
 *
 * Inside a section every field is checked against the section's end. A field right at the end is
 * one that an older writer did not have, if the file's version of the section is older than ours;
 * else the section is too short.
 */
#include "vmm/base/codec.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/codec_internal.h"
#include "vmm/base/crc64.h"
#include "vmm/base/text.h"

enum {
	SECTION_OPTIONAL = 1, /* a flag */
	SECTION_HEAD_LEN = 16,
	FILE_HEAD_LEN = 14, /* without the writer's text */
	CRC_LEN = 8,
};

static bool has_failed(const struct codec *codec)
{
	return codec->err.kind != ERR_NONE;
}

/* --- names --- */

static void add_places(const struct codec *codec, struct text *text)
{
	for (unsigned i = 0; i < codec->depth; i++) {
		const struct codec_place *place = &codec->places[i];

		text_add(text, "%s", place->name);
		if (place->is_item) {
			text_add(text, "[%u]", place->index);
		}
		text_add(text, ".");
	}
}

/* Sets the error of a field: where it is, and what is wrong. */
PRINTF(3, 4) static void fail_field(struct codec *codec, const char *name, const char *fmt, ...)
{
	char why[128];
	char path[256];
	struct text text;
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	text_init(&text, path, sizeof(path));
	add_places(codec, &text);
	text_add(&text, "%s", name);
	error_set(&codec->err, ERR_CORRUPT, "Section %s, field %s: %s", codec->section->name, path,
		  why);
}

struct tag_text {
	char text[5];
};

static struct tag_text tag_text(uint32_t tag)
{
	struct tag_text shown = {{0}};

	for (unsigned i = 0; i < sizeof(tag); i++) {
		unsigned char c = (unsigned char)(tag >> 8 * i);

		shown.text[i] = isprint(c) ? (char)c : '?';
	}
	return shown;
}

/* --- bytes --- */

static void put(struct codec *codec, const void *bytes, size_t len)
{
	if (has_failed(codec)) {
		return;
	}
	if (codec->end - codec->at < len) {
		error_set(&codec->err, ERR_TOO_LARGE, "The state needs more than %zu bytes",
			  codec->end + CRC_LEN);
		return;
	}
	if (len > 0) { /* of an empty blob there may be no bytes at all */
		memcpy(codec->out + codec->at, bytes, len);
	}
	codec->at += len;
}

static void put_number(struct codec *codec, uint64_t value, size_t len)
{
	put(codec, &value, len); /* little-endian, as the host */
}

/* Copies the next field's bytes out of the section. False: there was an error, or it has none. */
static bool take(struct codec *codec, const char *name, void *bytes, size_t len)
{
	size_t left = codec->section_end - codec->at;

	if (has_failed(codec) || (left == 0 && codec->version < codec->section->version)) {
		return false;
	}
	if (left < len) {
		fail_field(codec, name, "%zu bytes are missing at the section's end", len - left);
		return false;
	}
	if (len > 0) {
		memcpy(bytes, codec->in + codec->at, len);
	}
	codec->at += len;
	return true;
}

/* --- begin and end --- */

void codec_save(struct codec *codec, const struct codec_file *file, void *bytes, size_t cap)
{
	size_t writer_len = strlen(file->writer);

	assert(cap >= CRC_LEN && writer_len < CODEC_WRITER_LEN);
	*codec = (struct codec){
		.mode = CODEC_SAVE,
		.out = bytes,
		.end = min_u64(cap, CODEC_FILE_MAX) - CRC_LEN,
	};
	put_number(codec, file->magic, sizeof(file->magic));
	put_number(codec, file->format, sizeof(file->format));
	put_number(codec, writer_len, sizeof(uint16_t));
	put(codec, file->writer, writer_len);
}

static int check_file(struct codec *codec, const struct codec_file *file, size_t len)
{
	const char *what = file->what != NULL ? file->what : "state";

	if (len > CODEC_FILE_MAX) {
		return error_set(&codec->err, ERR_TOO_LARGE,
				 "The %s has %zu bytes, and at most %d are read", what, len,
				 CODEC_FILE_MAX);
	}
	if (len < FILE_HEAD_LEN + CRC_LEN) {
		return error_set(&codec->err, ERR_CORRUPT, "The %s has only %zu bytes", what, len);
	}
	uint64_t magic = load_le64(codec->in);
	uint32_t format = load_le32(codec->in + 8);

	if (magic != file->magic) {
		return error_set(&codec->err, ERR_CORRUPT,
				 "This is no %s%s: it begins with %#llx and not with %#llx", what,
				 file->what == NULL ? " of this architecture" : "",
				 (unsigned long long)magic, (unsigned long long)file->magic);
	}
	if (format > file->format) {
		return error_set(&codec->err, ERR_NOT_SUPPORTED,
				 "The %s has format %u, and %u is the newest that is known", what,
				 format, file->format);
	}
	if (crc64(codec->in, len - CRC_LEN) != load_le64(codec->in + len - CRC_LEN)) {
		return error_set(&codec->err, ERR_CORRUPT,
				 "The %s is damaged: its CRC is not that of its bytes", what);
	}
	return 0;
}

void codec_load(struct codec *codec, const struct codec_file *file, const void *bytes, size_t len)
{
	*codec = (struct codec){.mode = CODEC_LOAD, .in = bytes};
	if (check_file(codec, file, len) < 0) {
		return;
	}
	codec->format = load_le32(codec->in + 8);

	size_t writer_len = load_le16(codec->in + 12);

	codec->at = FILE_HEAD_LEN;
	codec->end = len - CRC_LEN;
	if (writer_len >= CODEC_WRITER_LEN || writer_len > codec->end - codec->at) {
		error_set(&codec->err, ERR_CORRUPT, "The state has a writer's version of %zu bytes",
			  writer_len);
		return;
	}
	memcpy(codec->writer, codec->in + codec->at, writer_len);
	codec->at += writer_len;
}

void codec_dump(struct codec *codec, FILE *stream)
{
	*codec = (struct codec){.mode = CODEC_DUMP, .dump = stream};
}

/* --- sections --- */

struct section_head {
	uint32_t tag;
	uint16_t version;
	uint16_t flags;
	size_t at; /* of its fields */
	size_t end;
};

/* Reads the head of a section at `at`. False: there is none, which is an error unless it is the
 * end. */
static bool read_head(struct codec *codec, size_t at, struct section_head *head)
{
	size_t left = codec->end - at;

	if (left == 0) {
		return false;
	}
	if (left < SECTION_HEAD_LEN) {
		error_set(&codec->err, ERR_CORRUPT,
			  "%zu bytes behind the last section are no section", left);
		return false;
	}
	uint64_t len = load_le64(codec->in + at + 8);

	*head = (struct section_head){
		.tag = load_le32(codec->in + at),
		.version = load_le16(codec->in + at + 4),
		.flags = load_le16(codec->in + at + 6),
		.at = at + SECTION_HEAD_LEN,
	};
	if (len > left - SECTION_HEAD_LEN) {
		error_set(&codec->err, ERR_CORRUPT,
			  "Section %s has %llu bytes, and the file only %zu more",
			  tag_text(head->tag).text, (unsigned long long)len,
			  left - SECTION_HEAD_LEN);
		return false;
	}
	head->end = head->at + len;
	return true;
}

/* Finds the section in what is left of the file. False: it is not there, or there was an error. */
static bool find_section(struct codec *codec, const struct codec_section *section,
			 struct section_head *head)
{
	size_t at = codec->at;

	while (read_head(codec, at, head)) {
		if (head->tag == section->tag) {
			return true;
		}
		if ((head->flags & SECTION_OPTIONAL) == 0) {
			break;
		}
		at = head->end;
	}
	if (!has_failed(codec) && !section->is_optional) {
		error_set(&codec->err, ERR_CORRUPT, "Section %s is missing", section->name);
	}
	return false;
}

bool codec_section_begin(struct codec *codec, const struct codec_section *section)
{
	struct section_head head;

	if (has_failed(codec)) {
		return false;
	}
	assert(codec->section == NULL && codec->depth == 0);
	switch (codec->mode) {
	case CODEC_SAVE:
		put_number(codec, section->tag, sizeof(section->tag));
		put_number(codec, section->version, sizeof(section->version));
		put_number(codec, section->is_optional ? SECTION_OPTIONAL : 0, sizeof(uint16_t));
		put_number(codec, 0, sizeof(uint64_t)); /* the length, when it is known */
		codec->section_at = codec->at;
		break;
	case CODEC_LOAD:
		if (!find_section(codec, section, &head)) {
			return false;
		}
		codec->at = head.at;
		codec->section_end = head.end;
		codec->version = head.version;
		break;
	case CODEC_DUMP:
		codec_dump_section(codec, section);
		break;
	}
	codec->section = has_failed(codec) ? NULL : section;
	return codec->section != NULL;
}

void codec_section_end(struct codec *codec)
{
	assert(codec->section != NULL && codec->depth == 0);
	if (has_failed(codec)) {
		return;
	}
	if (codec->mode == CODEC_SAVE) {
		store_le64(codec->out + codec->section_at - sizeof(uint64_t),
			   codec->at - codec->section_at);
	}
	if (codec->mode == CODEC_LOAD) {
		size_t left = codec->section_end - codec->at;

		if (left > 0 && codec->version <= codec->section->version) {
			error_set(&codec->err, ERR_CORRUPT,
				  "Section %s has %zu bytes more than its fields",
				  codec->section->name, left);
		}
		codec->at = codec->section_end;
	}
	codec->section = NULL;
}

/* What is left must be for readers that know more. */
static void check_rest(struct codec *codec)
{
	struct section_head head;

	while (read_head(codec, codec->at, &head)) {
		if ((head.flags & SECTION_OPTIONAL) == 0) {
			error_set(&codec->err, ERR_NOT_SUPPORTED,
				  "Section %s is unknown, and the state is not whole without it",
				  tag_text(head.tag).text);
			return;
		}
		codec->at = head.end;
	}
}

int codec_finish(struct codec *codec, size_t *len, struct error *err)
{
	if (codec->mode == CODEC_LOAD && !has_failed(codec)) {
		check_rest(codec);
	}
	if (codec->root != NULL) {
		codec_json_finish(codec);
	}
	if (has_failed(codec)) {
		*err = codec->err;
		return -1;
	}
	if (codec->mode == CODEC_SAVE) {
		store_le64(codec->out + codec->at, crc64(codec->out, codec->at));
		codec->at += CRC_LEN;
	}
	if (len != NULL) {
		*len = codec->at;
	}
	return 0;
}

/* --- fields --- */

/* Saves or loads. */
static void code(struct codec *codec, const char *name, void *bytes, size_t len)
{
	if (codec->mode == CODEC_SAVE) {
		put(codec, bytes, len);
	} else {
		(void)take(codec, name, bytes, len);
	}
}

static void number(struct codec *codec, const char *name, void *value, size_t len)
{
	uint64_t shown = 0;

	if (codec->mode == CODEC_DUMP) {
		memcpy(&shown, value, len);
		codec_dump_number(codec, name, shown);
	} else {
		code(codec, name, value, len);
	}
}

void codec_u8(struct codec *codec, const char *name, uint8_t *value)
{
	number(codec, name, value, sizeof(*value));
}

void codec_u16(struct codec *codec, const char *name, uint16_t *value)
{
	number(codec, name, value, sizeof(*value));
}

void codec_u32(struct codec *codec, const char *name, uint32_t *value)
{
	number(codec, name, value, sizeof(*value));
}

void codec_u64(struct codec *codec, const char *name, uint64_t *value)
{
	number(codec, name, value, sizeof(*value));
}

void codec_i64(struct codec *codec, const char *name, int64_t *value)
{
	if (codec->mode == CODEC_DUMP) {
		codec_dump_signed(codec, name, *value);
	} else {
		code(codec, name, value, sizeof(*value));
	}
}

void codec_bool(struct codec *codec, const char *name, bool *value)
{
	uint8_t byte = *value;

	if (codec->mode == CODEC_DUMP) {
		codec_dump_bool(codec, name, *value);
		return;
	}
	code(codec, name, &byte, sizeof(byte));
	if (byte > 1) {
		fail_field(codec, name, "%u is neither 0 nor 1", byte);
		return;
	}
	*value = byte == 1;
}

void codec_bytes(struct codec *codec, const char *name, void *bytes, size_t len)
{
	if (codec->mode == CODEC_DUMP) {
		codec_dump_bytes(codec, name, bytes, len);
	} else {
		code(codec, name, bytes, len);
	}
}

void codec_blob_text(struct codec *codec, const char *name, char *bytes, size_t len)
{
	if (codec->mode == CODEC_DUMP) {
		codec_dump_blob(codec, name, bytes, len);
	} else {
		code(codec, name, bytes, len);
	}
}

static void load_text(struct codec *codec, const char *name, char *text, size_t cap)
{
	uint16_t len;

	if (!take(codec, name, &len, sizeof(len))) {
		return;
	}
	const char *from = (const char *)codec->in + codec->at;
	size_t left = codec->section_end - codec->at;

	if (len >= cap || len > left) {
		fail_field(codec, name, "a text of %u bytes, and at most %zu fit", len,
			   min_u64(cap - 1, left));
		return;
	}
	if (memchr(from, '\0', len) != NULL) {
		fail_field(codec, name, "a text with a byte of 0");
		return;
	}
	memcpy(text, from, len);
	text[len] = '\0';
	codec->at += len;
}

void codec_text(struct codec *codec, const char *name, char *text, size_t cap)
{
	size_t len = strnlen(text, cap);

	assert(len < cap && cap <= UINT16_MAX);
	switch (codec->mode) {
	case CODEC_SAVE:
		put_number(codec, len, sizeof(uint16_t));
		put(codec, text, len);
		break;
	case CODEC_LOAD:
		load_text(codec, name, text, cap);
		break;
	case CODEC_DUMP:
		codec_dump_text(codec, name, text);
		break;
	}
}

void codec_count(struct codec *codec, const char *name, uint32_t *count, uint32_t limit)
{
	uint32_t value = *count;

	assert(value <= limit);
	number(codec, name, &value, sizeof(value));
	if (value > limit) {
		fail_field(codec, name, "%u is more than %u", value, limit);
		return;
	}
	*count = value;
}

/* --- places --- */

static void enter(struct codec *codec, struct codec_place place)
{
	if (codec->mode == CODEC_DUMP) {
		codec_dump_place(codec, &place);
	}
	assert(codec->depth < CODEC_DEPTH_MAX);
	codec->places[codec->depth++] = place;
}

void codec_begin(struct codec *codec, const char *name)
{
	enter(codec, (struct codec_place){.name = name});
}

void codec_begin_item(struct codec *codec, const char *name, uint32_t index)
{
	enter(codec, (struct codec_place){.name = name, .index = index, .is_item = true});
}

void codec_end(struct codec *codec)
{
	assert(codec->depth > 0);
	codec->depth--;
}
