/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump of state as JSON: built as a tree, so that it is valid whatever a file has in it, and
 * written at the end.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "vmm/base/codec_internal.h"
#include "vmm/base/fd.h"

enum {
	NUMBER_LEN = 24
};

static const uint64_t exact_max = UINT64_C(1) << 53; /* RFC 8259 6: beyond it readers may round */

static void fail(struct codec *codec)
{
	if (codec->err.kind == ERR_NONE) {
		error_set(&codec->err, ERR_HOST, "There is no memory for the state as JSON");
	}
}

/*
 * Puts a new value, NULL if there was no memory for it, into the innermost object. Names differ
 * there: else a reader of the JSON would miss one.
 */
static bool put(struct codec *codec, const char *name, json_t *value)
{
	assert(json_object_get(codec->objects[codec->depth], name) == NULL);
	bool is_put = json_object_set_new(codec->objects[codec->depth], name, value) == 0;

	if (!is_put) {
		fail(codec);
	}
	return is_put;
}

void codec_dump_json(struct codec *codec, uint32_t format, FILE *stream)
{
	*codec = (struct codec){.mode = CODEC_DUMP, .dump = stream};
	codec->root = json_pack("{s:I, s:[]}", "format", (json_int_t)format, "sections");
	if (codec->root == NULL) {
		fail(codec);
	}
}

void codec_json_section(struct codec *codec, const struct codec_section *section)
{
	json_t *fields = json_object();
	json_t *entry = json_pack("{s:s, s:i, s:o}", "section", section->name, "version",
				  (int)section->version, "fields", fields);

	bool is_put = json_array_append_new(json_object_get(codec->root, "sections"), entry) == 0;

	codec->objects[0] = is_put ? fields : NULL;
	if (!is_put) {
		fail(codec);
	}
}

/* The array of items of this name in the innermost object; NULL: there is no memory for it. */
static json_t *items_of(struct codec *codec, const char *name)
{
	json_t *items = json_object_get(codec->objects[codec->depth], name);

	if (items == NULL) {
		items = json_array();
		items = put(codec, name, items) ? items : NULL;
	}
	return items;
}

void codec_json_place(struct codec *codec, const struct codec_place *place)
{
	json_t *object = json_object();
	bool is_put;

	if (!place->is_item) {
		is_put = put(codec, place->name, object);
	} else {
		is_put = json_array_append_new(items_of(codec, place->name), object) == 0;
	}
	if (!is_put) {
		fail(codec);
	}
	codec->objects[codec->depth + 1] = is_put ? object : NULL;
}

void codec_json_signed(struct codec *codec, const char *name, int64_t value)
{
	char text[NUMBER_LEN];

	if (value >= -(int64_t)exact_max && value <= (int64_t)exact_max) {
		(void)put(codec, name, json_integer(value));
		return;
	}
	(void)!snprintf(text, sizeof(text), "%lld", (long long)value);
	(void)put(codec, name, json_string(text));
}

void codec_json_bool(struct codec *codec, const char *name, bool value)
{
	(void)put(codec, name, json_boolean(value));
}

void codec_json_number(struct codec *codec, const char *name, uint64_t value)
{
	char text[NUMBER_LEN];

	if (value <= exact_max) {
		(void)put(codec, name, json_integer((json_int_t)value));
		return;
	}
	(void)!snprintf(text, sizeof(text), "%#llx", (unsigned long long)value);
	(void)put(codec, name, json_string(text));
}

void codec_json_bytes(struct codec *codec, const char *name, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	AUTO_FREE char *text = malloc(2 * len + 1);

	if (text == NULL) {
		fail(codec);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	(void)put(codec, name, json_stringn(text, 2 * len));
}

/* Text that is no UTF-8, which JSON can't have, has its bytes beyond ASCII as \xNN. */
static json_t *escape(const char *text, size_t len)
{
	AUTO_FREE char *escaped = malloc(4 * len + 1);
	size_t used = 0;

	if (escaped == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x80) {
			escaped[used++] = text[i];
		} else {
			used += (size_t)snprintf(escaped + used, 5, "\\x%02x", c);
		}
	}
	return json_stringn(escaped, used);
}

void codec_json_text(struct codec *codec, const char *name, const char *text, size_t len)
{
	json_t *value = json_stringn(text, len);

	(void)put(codec, name, value != NULL ? value : escape(text, len));
}

void codec_json_finish(struct codec *codec)
{
	if (codec->err.kind == ERR_NONE) {
		if (json_dumpf(codec->root, codec->dump, JSON_INDENT(2)) < 0) {
			error_set(&codec->err, ERR_HOST, "Cannot write the state as JSON");
		}
		fputc('\n', codec->dump);
	}
	json_decref(codec->root);
	codec->root = NULL;
}
