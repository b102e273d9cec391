/* SPDX-License-Identifier: Apache-2.0 */
/* FRAME_RUN's payload: numbers, then strings, each ended by a NUL. */
#include "tools/guest_init/run_request.h"

#include <string.h>

#include "vmm/base/bytes.h"

enum {
	AT_FLAGS = 0,
	AT_ROWS = 4,
	AT_COLUMNS = 8,
	AT_WORDS = 12,
	AT_ENV = 16,
	AT_MOUNTS = 20,
	AT_CLOCK = 24,
	AT_STRINGS = 32
};

struct writer {
	uint8_t *to;
	size_t cap;
	size_t len;
	bool is_cut;
};

static void write_string(struct writer *writer, const char *string)
{
	size_t len = strlen(string) + 1;

	if (writer->is_cut || len > writer->cap - writer->len) {
		writer->is_cut = true;
		return;
	}
	memcpy(writer->to + writer->len, string, len);
	writer->len += len;
}

size_t run_request_write(const struct run_request *request, uint8_t *to, size_t cap)
{
	struct writer writer = {.to = to, .cap = cap, .len = AT_STRINGS};

	if (cap < AT_STRINGS) {
		return 0;
	}
	store_le32(to + AT_FLAGS, request->flags);
	store_le32(to + AT_ROWS, request->rows);
	store_le32(to + AT_COLUMNS, request->columns);
	store_le32(to + AT_WORDS, request->word_count);
	store_le32(to + AT_ENV, request->env_count);
	store_le32(to + AT_MOUNTS, request->mount_count);
	store_le64(to + AT_CLOCK, request->clock_s);
	write_string(&writer, request->host);
	write_string(&writer, request->user);
	write_string(&writer, request->dir);
	for (unsigned i = 0; i < request->word_count; i++) {
		write_string(&writer, request->words[i]);
	}
	for (unsigned i = 0; i < request->env_count; i++) {
		write_string(&writer, request->env[i]);
	}
	for (unsigned i = 0; i < request->mount_count; i++) {
		write_string(&writer, request->mounts[i]);
	}
	return writer.is_cut ? 0 : writer.len;
}

struct reader {
	const uint8_t *at;
	size_t left;
	bool is_bad;
};

static const char *read_string(struct reader *reader)
{
	const char *string = (const char *)reader->at;
	const uint8_t *end = reader->left > 0 ? memchr(reader->at, 0, reader->left) : NULL;

	if (end == NULL) {
		reader->is_bad = true;
		return "";
	}
	reader->left -= (size_t)(end + 1 - reader->at);
	reader->at = end + 1;
	return string;
}

bool run_request_read(const uint8_t *from, size_t len, struct run_request *request)
{
	if (len < AT_STRINGS) {
		return false;
	}
	struct reader reader = {.at = from + AT_STRINGS, .left = len - AT_STRINGS};

	*request = (struct run_request){
		.flags = load_le32(from + AT_FLAGS),
		.rows = load_le32(from + AT_ROWS),
		.columns = load_le32(from + AT_COLUMNS),
		.clock_s = load_le64(from + AT_CLOCK),
		.word_count = load_le32(from + AT_WORDS),
		.env_count = load_le32(from + AT_ENV),
		.mount_count = load_le32(from + AT_MOUNTS),
	};
	if (request->flags > RUN_FLAGS || request->word_count == 0 ||
	    request->word_count > RUN_WORDS_MAX || request->env_count > RUN_WORDS_MAX ||
	    request->mount_count > RUN_MOUNTS_MAX) {
		return false;
	}
	request->host = read_string(&reader);
	request->user = read_string(&reader);
	request->dir = read_string(&reader);
	for (unsigned i = 0; i < request->word_count; i++) {
		request->words[i] = read_string(&reader);
	}
	for (unsigned i = 0; i < request->env_count; i++) {
		request->env[i] = read_string(&reader);
	}
	for (unsigned i = 0; i < request->mount_count; i++) {
		request->mounts[i] = read_string(&reader);
	}
	return !reader.is_bad && reader.left == 0;
}
