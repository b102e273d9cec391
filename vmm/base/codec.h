/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State as a file. One function per struct of state names its fields, in an order that never
 * changes; it serves saving, loading and a readable dump. Little-endian, no padding:
 *
 *   magic u64, format u32, writer u16 + text; sections; CRC-64 of all before
 *   section: tag u32, version u16, flags u16 (1: optional), length u64, fields
 *
 * A newer version of a section only appends fields. A reader that is older skips them; one that is
 * newer leaves what an older file lacks as it was in the struct, which holds defaults.
 *
 * Errors stick: the first one stays, after it all calls do nothing and structs keep what they have.
 * What was loaded is bounded but otherwise as untrusted as the file.
 */
#ifndef VMM_BASE_CODEC_H
#define VMM_BASE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	CODEC_FILE_MAX = 10 * 1024 * 1024, /* bytes [compat] */
	CODEC_WRITER_LEN = 64,
	CODEC_DEPTH_MAX = 8,
};

enum codec_mode {
	CODEC_SAVE,
	CODEC_LOAD,
	CODEC_DUMP,
};

/* What a file begins with. */
struct codec_file {
	uint64_t magic;	    /* tells what it is, of a state the architecture too */
	uint32_t format;    /* a newer one is refused */
	const char *writer; /* the version of the program that saves */
	const char *what;   /* in messages; NULL: a machine's state */
};

#define CODEC_TAG(a, b, c, d)                                                                      \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct codec_section {
	uint32_t tag;
	uint16_t version;
	bool is_optional; /* readers that don't know it skip it, and files may lack it */
	const char *name;
};

struct json_t;

struct codec_place {
	const char *name;
	uint32_t index;
	bool is_item;
};

/* The members are codec.c's, but for mode, writer and format. */
struct codec {
	enum codec_mode mode;
	char writer[CODEC_WRITER_LEN]; /* of the file that is loaded */
	uint32_t format;	       /* the same */
	FILE *dump;
	struct json_t *root;			     /* of a dump as JSON */
	struct json_t *objects[CODEC_DEPTH_MAX + 1]; /* the open section's fields, then places' */
	uint8_t *out;
	const uint8_t *in;
	size_t at;			     /* the next byte of out or in */
	size_t end;			     /* of the room in out, of the sections in in */
	const struct codec_section *section; /* the open one, or NULL */
	size_t section_at;		     /* where its fields begin */
	size_t section_end;
	uint16_t version; /* in the file */
	struct codec_place places[CODEC_DEPTH_MAX];
	unsigned depth;
	struct error err;
};

/*
 * Each begins one. Saving is into `cap` bytes of the caller's (of which CODEC_FILE_MAX are used at
 * most). Loading checks length, CRC and head of the `len` bytes, which stay the caller's until
 * codec_finish. Dumping writes indented lines to a stream; a failure to write is the stream's.
 */
void codec_save(struct codec *codec, const struct codec_file *file, void *bytes, size_t cap);
void codec_load(struct codec *codec, const struct codec_file *file, const void *bytes, size_t len);
void codec_dump(struct codec *codec, FILE *stream);

/*
 * The same as one JSON object, which codec_finish writes: {"format", "sections": [{"section",
 * "version", "fields": {...}}]}. A struct is an object, items are an array of objects, bytes are
 * hex digits. Numbers beyond 2^53, which readers of JSON round, are text: "0xffff...".
 */
void codec_dump_json(struct codec *codec, uint32_t format, FILE *stream);

/*
 * Ends one; -1 with the first error. *len (may be NULL) is the length of what was saved. A file
 * with more sections than were asked for is refused unless those are optional.
 */
MUST_CHECK int codec_finish(struct codec *codec, size_t *len, struct error *err);

/*
 * Sections follow each other, several of one tag too. If begin returns false, the fields are not to
 * be coded and end is not to be called: there was an error, or the file lacks the optional section.
 */
MUST_CHECK bool codec_section_begin(struct codec *codec, const struct codec_section *section);
void codec_section_end(struct codec *codec);

void codec_u8(struct codec *codec, const char *name, uint8_t *value);
void codec_u16(struct codec *codec, const char *name, uint16_t *value);
void codec_u32(struct codec *codec, const char *name, uint32_t *value);
void codec_u64(struct codec *codec, const char *name, uint64_t *value);
void codec_i64(struct codec *codec, const char *name, int64_t *value);
void codec_bool(struct codec *codec, const char *name, bool *value); /* a byte, 0 or 1 */

/* Always `len` bytes. */
void codec_bytes(struct codec *codec, const char *name, void *bytes, size_t len);

/* The same, but it is text for who reads a dump. */
void codec_blob_text(struct codec *codec, const char *name, char *bytes, size_t len);

/* A string in `cap` bytes: its length as u16, then so many bytes without a NUL. */
void codec_text(struct codec *codec, const char *name, char *text, size_t cap);

/* How many items of an array follow, which the caller then codes: at most `limit`. */
void codec_count(struct codec *codec, const char *name, uint32_t *count, uint32_t limit);

/* A struct in a struct, an item of an array: names for messages and the dump, no bytes. */
void codec_begin(struct codec *codec, const char *name);
void codec_begin_item(struct codec *codec, const char *name, uint32_t index);
void codec_end(struct codec *codec);

#endif
