/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the loading of state: the input is a file without its CRC, which is added. What loads
 * keeps its bounds, can be dumped, and saved and loaded again is the same.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/lib/codec_sample.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	INPUT_MAX = 4096
};

static int load(const uint8_t *bytes, size_t len, struct sample *sample, struct error *err)
{
	struct codec codec;

	codec_load(&codec, &sample_file, bytes, len);
	sample_code(&codec, sample);
	return codec_finish(&codec, NULL, err);
}

static size_t save(struct sample *sample, uint8_t bytes[SAMPLE_FILE_LEN])
{
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	codec_save(&codec, &sample_file, bytes, SAMPLE_FILE_LEN);
	sample_code(&codec, sample);
	require(codec_finish(&codec, &len, &err) == 0);
	return len;
}

static void dump(struct sample *sample, bool is_json)
{
	static char text[8192];
	FILE *stream = fmemopen(text, sizeof(text), "w");
	struct codec codec;
	struct error err = {0};

	require(stream != NULL);
	if (is_json) {
		codec_dump_json(&codec, 1, stream);
	} else {
		codec_dump(&codec, stream);
	}
	sample_code(&codec, sample);
	require(codec_finish(&codec, NULL, &err) == 0);
	require(fclose(stream) == 0);
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	require(is_json ? json != NULL : strncmp(text, "section first", 13) == 0);
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[INPUT_MAX + 8];
	static uint8_t again[SAMPLE_FILE_LEN];
	struct sample first = {0};
	struct sample second = {0};
	struct error err = {0};

	if (size > INPUT_MAX) {
		return 0;
	}
	memcpy(bytes, data, size);
	store_le64(bytes + size, crc64(bytes, size));
	int result = load(bytes, size + 8, &first, &err);

	require(first.count <= SAMPLE_ITEMS);
	require(memchr(first.text, '\0', sizeof(first.text)) != NULL);
	if (result < 0) {
		require_fault(&err);
		return 0;
	}
	dump(&first, false);
	dump(&first, true);
	size = save(&first, bytes);
	require(load(bytes, size, &second, &err) == 0);
	require(save(&second, again) == size && memcmp(bytes, again, size) == 0);
	return 0;
}
