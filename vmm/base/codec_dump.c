/* SPDX-License-Identifier: Apache-2.0 */
/* What a dump of state looks like: a line a field, two spaces a level; or JSON, by codec_json.c. */
#include <ctype.h>
#include <string.h>

#include "vmm/base/codec_internal.h"

enum {
	LINE_BYTES = 32
};

static bool is_json(const struct codec *codec)
{
	return codec->root != NULL;
}

static void indent(const struct codec *codec, unsigned depth)
{
	fprintf(codec->dump, "%*s", (int)(2 * depth), "");
}

static void print_name(const struct codec *codec, const char *name)
{
	indent(codec, codec->depth + 1);
	fprintf(codec->dump, "%s: ", name);
}

void codec_dump_signed(struct codec *codec, const char *name, int64_t value)
{
	if (is_json(codec)) {
		codec_json_signed(codec, name, value);
		return;
	}
	print_name(codec, name);
	fprintf(codec->dump, "%lld\n", (long long)value);
}

void codec_dump_bool(struct codec *codec, const char *name, bool value)
{
	if (is_json(codec)) {
		codec_json_bool(codec, name, value);
		return;
	}
	print_name(codec, name);
	fputs(value ? "true\n" : "false\n", codec->dump);
}

void codec_dump_number(struct codec *codec, const char *name, uint64_t value)
{
	if (is_json(codec)) {
		codec_json_number(codec, name, value);
		return;
	}
	print_name(codec, name);
	fprintf(codec->dump, "%llu", (unsigned long long)value);
	if (value >= 10) {
		fprintf(codec->dump, " (%#llx)", (unsigned long long)value);
	}
	fputc('\n', codec->dump);
}

void codec_dump_bytes(struct codec *codec, const char *name, const uint8_t *bytes, size_t len)
{
	if (is_json(codec)) {
		codec_json_bytes(codec, name, bytes, len);
		return;
	}
	print_name(codec, name);
	fprintf(codec->dump, "%zu bytes\n", len);
	for (size_t i = 0; i < len; i++) {
		if (i % LINE_BYTES == 0) {
			indent(codec, codec->depth + 2);
		}
		bool is_last = i % LINE_BYTES == LINE_BYTES - 1 || i == len - 1;

		fprintf(codec->dump, "%02x%c", bytes[i], is_last ? '\n' : ' ');
	}
}

/* Bytes that are no printable ASCII, and those of `escaped`, as \xNN: no terminal obeys a file. */
static void print_text(FILE *out, const char *text, size_t len, const char *escaped)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x80 && isprint(c) && strchr(escaped, c) == NULL) {
			fputc(c, out);
		} else {
			fprintf(out, "\\x%02x", c);
		}
	}
}

void codec_dump_text(struct codec *codec, const char *name, const char *text)
{
	if (is_json(codec)) {
		codec_json_text(codec, name, text, strlen(text));
		return;
	}
	print_name(codec, name);
	fputc('"', codec->dump);
	print_text(codec->dump, text, strlen(text), "\"\\");
	fputs("\"\n", codec->dump);
}

void codec_dump_blob(struct codec *codec, const char *name, const char *text, size_t len)
{
	if (is_json(codec)) {
		codec_json_text(codec, name, text, len);
		return;
	}
	print_name(codec, name);
	print_text(codec->dump, text, len, "");
	fputc('\n', codec->dump);
}

void codec_dump_section(struct codec *codec, const struct codec_section *section)
{
	if (is_json(codec)) {
		codec_json_section(codec, section);
		return;
	}
	fprintf(codec->dump, "section %s, version %u\n", section->name, section->version);
}

void codec_dump_place(struct codec *codec, const struct codec_place *place)
{
	if (is_json(codec)) {
		codec_json_place(codec, place);
		return;
	}
	indent(codec, codec->depth + 1);
	if (place->is_item) {
		fprintf(codec->dump, "%s[%u]:\n", place->name, place->index);
	} else {
		fprintf(codec->dump, "%s:\n", place->name);
	}
}
