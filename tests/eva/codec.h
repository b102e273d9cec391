/* SPDX-License-Identifier: Apache-2.0 */
/* A state file for EVA, with anything that codec.c lets through; no codec means a load. */
#ifndef TESTS_EVA_CODEC_H
#define TESTS_EVA_CODEC_H

#include "tests/eva/eva.h"
#include "vmm/base/codec.h"

bool codec_section_begin(struct codec *codec, const struct codec_section *section)
{
	(void)codec;
	(void)section;
	return any_bool();
}

void codec_section_end(struct codec *codec)
{
	(void)codec;
}

void codec_u8(struct codec *codec, const char *name, uint8_t *value)
{
	(void)codec;
	(void)name;
	*value = (uint8_t)any_u32();
}

void codec_u16(struct codec *codec, const char *name, uint16_t *value)
{
	(void)codec;
	(void)name;
	*value = (uint16_t)any_u32();
}

void codec_u32(struct codec *codec, const char *name, uint32_t *value)
{
	(void)codec;
	(void)name;
	*value = any_u32();
}

void codec_u64(struct codec *codec, const char *name, uint64_t *value)
{
	(void)codec;
	(void)name;
	*value = any_u64();
}

void codec_bool(struct codec *codec, const char *name, bool *value)
{
	(void)codec;
	(void)name;
	*value = any_bool();
}

void codec_bytes(struct codec *codec, const char *name, void *bytes, size_t len)
{
	(void)codec;
	(void)name;
	if (len > 0) {
		fill(bytes, len);
	}
}

void codec_text(struct codec *codec, const char *name, char *text, size_t cap)
{
	(void)codec;
	(void)name;
	fill(text, cap);
	text[cap - 1] = '\0';
}

void codec_count(struct codec *codec, const char *name, uint32_t *count, uint32_t limit)
{
	(void)name;
	if (codec == NULL || codec->mode == CODEC_LOAD) {
		*count = (uint32_t)any_between(0, limit);
		return;
	}
	/*@ assert *count <= limit; */
}

void codec_begin(struct codec *codec, const char *name)
{
	(void)codec;
	keep((uint64_t)(name != NULL));
}

void codec_begin_item(struct codec *codec, const char *name, uint32_t index)
{
	(void)codec;
	keep((uint64_t)(name != NULL) + index);
}

void codec_end(struct codec *codec)
{
	(void)codec;
}

#endif
