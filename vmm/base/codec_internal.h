/* SPDX-License-Identifier: Apache-2.0 */
/* What codec.c needs of codec_dump.c and codec_json.c: dumps as lines, and as JSON. */
#ifndef VMM_BASE_CODEC_INTERNAL_H
#define VMM_BASE_CODEC_INTERNAL_H

#include "vmm/base/codec.h"

void codec_dump_section(struct codec *codec, const struct codec_section *section);
void codec_dump_place(struct codec *codec, const struct codec_place *place);
void codec_dump_signed(struct codec *codec, const char *name, int64_t value);
void codec_dump_bool(struct codec *codec, const char *name, bool value);
void codec_dump_number(struct codec *codec, const char *name, uint64_t value);
void codec_dump_bytes(struct codec *codec, const char *name, const uint8_t *bytes, size_t len);
void codec_dump_text(struct codec *codec, const char *name, const char *text);
void codec_dump_blob(struct codec *codec, const char *name, const char *text, size_t len);

/* Each adds to a dump as JSON. Without memory for it the codec's error is set. */
void codec_json_section(struct codec *codec, const struct codec_section *section);
void codec_json_place(struct codec *codec, const struct codec_place *place);
void codec_json_signed(struct codec *codec, const char *name, int64_t value);
void codec_json_bool(struct codec *codec, const char *name, bool value);
void codec_json_number(struct codec *codec, const char *name, uint64_t value);
void codec_json_bytes(struct codec *codec, const char *name, const uint8_t *bytes, size_t len);
void codec_json_text(struct codec *codec, const char *name, const char *text, size_t len);

/* Writes what was collected unless there was an error, and frees it. */
void codec_json_finish(struct codec *codec);

#endif
