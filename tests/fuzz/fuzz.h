/* SPDX-License-Identifier: Apache-2.0 */
/* What fuzzers share: how an input is read piece by piece, and how they fail. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool is_true)
{
	if (!is_true) {
		abort();
	}
}

/* A failure that the input is to blame for, and that is told. */
static inline void require_fault(const struct error *err)
{
	require(err->kind != ERR_NONE && err->kind != ERR_HOST && err->msg[0] != '\0');
}

/* What an input does wrong is logged, millions of times. */
static inline void be_quiet(void)
{
	static const struct log_config quiet = {.level = LOG_OFF};
	struct error err = {0};

	require(log_configure(&quiet, &err) == 0);
}

/* What is left of an input. */
struct input {
	const uint8_t *data;
	size_t size;
};

static inline void input_skip(struct input *input, size_t len)
{
	input->data += len;
	input->size -= len;
}

/* Fills in all of a struct, or returns false at the end. */
static inline bool input_take(struct input *input, void *out, size_t len)
{
	if (input->size < len) {
		return false;
	}
	memcpy(out, input->data, len);
	input_skip(input, len);
	return true;
}

/* The next `len` bytes, at most 8, as a number; beyond the end there are zeroes. */
static inline uint64_t input_number(struct input *input, size_t len)
{
	uint8_t bytes[8] = {0};

	len = min_u64(len, input->size);
	memcpy(bytes, input->data, len);
	input_skip(input, len);
	return load_le64(bytes);
}

#endif
