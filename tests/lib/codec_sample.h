/* SPDX-License-Identifier: Apache-2.0 */
/* A state with a field of each kind, for what tests the codec. */
#ifndef TESTS_LIB_CODEC_SAMPLE_H
#define TESTS_LIB_CODEC_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/codec.h"

enum {
	SAMPLE_ITEMS = 3,
	SAMPLE_TEXT_LEN = 8,
	SAMPLE_FILE_LEN = 512, /* a saved one fits */
};

struct sample_item {
	uint16_t size;
	bool is_ready;
};

struct sample {
	/* section "first" */
	uint8_t small;
	uint32_t medium;
	uint64_t large;
	int64_t negative;
	char text[SAMPLE_TEXT_LEN];
	uint8_t bytes[5];
	/* section "items" */
	uint32_t count;
	struct sample_item items[SAMPLE_ITEMS];
	uint32_t newer; /* since version 2 */
	/* section "extra", optional */
	uint8_t extra;
};

/* Not every file that includes this has a use for it. */
__attribute__((unused)) static const struct codec_file sample_file = {
	.magic = UINT64_C(0x1122334455667788), .format = 3, .writer = "1.2"};
static const struct codec_section sample_first = {
	.tag = CODEC_TAG('F', 'I', 'R', 'S'), .version = 1, .name = "first"};
static const struct codec_section sample_items = {
	.tag = CODEC_TAG('I', 'T', 'E', 'M'), .version = 2, .name = "items"};
static const struct codec_section sample_extra = {
	.tag = CODEC_TAG('X', 'T', 'R', 'A'), .version = 1, .is_optional = true, .name = "extra"};

static inline void sample_code_items(struct codec *codec, struct sample *sample)
{
	codec_begin(codec, "list");
	codec_count(codec, "count", &sample->count, SAMPLE_ITEMS);
	for (uint32_t i = 0; i < sample->count; i++) {
		codec_begin_item(codec, "items", i);
		codec_u16(codec, "size", &sample->items[i].size);
		codec_bool(codec, "is_ready", &sample->items[i].is_ready);
		codec_end(codec);
	}
	codec_end(codec);
	codec_u32(codec, "newer", &sample->newer);
}

/* All sections, in any mode. */
static inline void sample_code(struct codec *codec, struct sample *sample)
{
	if (codec_section_begin(codec, &sample_first)) {
		codec_u8(codec, "small", &sample->small);
		codec_u32(codec, "medium", &sample->medium);
		codec_u64(codec, "large", &sample->large);
		codec_i64(codec, "negative", &sample->negative);
		codec_text(codec, "text", sample->text, sizeof(sample->text));
		codec_bytes(codec, "bytes", sample->bytes, sizeof(sample->bytes));
		codec_section_end(codec);
	}
	if (codec_section_begin(codec, &sample_items)) {
		sample_code_items(codec, sample);
		codec_section_end(codec);
	}
	if (codec_section_begin(codec, &sample_extra)) {
		codec_u8(codec, "extra", &sample->extra);
		codec_section_end(codec);
	}
}

#endif
