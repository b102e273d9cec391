/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger that sends any bytes, as many as there is room for, and packets that go out with any
 * text or bytes, behind an acknowledgement or not; buffers for 2 bytes of data.
 *
 * Fewer: vmm/debug/rsp.h RSP_DATA_MAX 2
 * Options: -eva-precision 1 -eva-domains cvalue -eva-slevel 200 -eva-split-return full
 */
#include "vmm/debug/rsp.h"

#include "tests/eva/printf.h"

#include <string.h>

/* Where a byte is, each place apart; EVA knows only what the library's may return. */
static char *find(const char *in, char of, size_t len)
{
	int at = Frama_C_interval_split(-1, RSP_DATA_MAX + RSP_FRAME - 1);

	look_at(in, len);
	return at < 0 || (size_t)at >= len || in[at] != of ? NULL : (char *)in + at;
}

#define memchr(in, of, len) find(in, of, len)

/* Of digits, any one, whatever the character: else EVA sees all texts apart. */
#define strchr(in, of) (any_bool() ? NULL : (in) + any_between(0, 15))

/* Each length of a text apart, more than there is room for included. */
static int format_apart(char *to, size_t size)
{
	(void)format(to, size);
	return Frama_C_interval_split(-1, RSP_DATA_MAX + 3);
}

#undef vsnprintf
#define vsnprintf(to, size, fmt, args) format_apart(to, size)

#include "vmm/debug/rsp.c"

static struct rsp rsp;

enum {
	DATA_LEN = 18 /* more digits than a number has */
};

/* As the server leaves it before it takes an event: nothing is to be sent. */
static void take(size_t len)
{
	rsp_init(&rsp);
	rsp.is_quiet = any_bool();
	fill(rsp.in, len);
	rsp.in_len = len;
	keep(rsp_next(&rsp));
	/*@ assert rsp.in_len <= sizeof(rsp.in) && rsp.out_len <= 1; */
	keep(rsp_room(&rsp));
}

/* What a packet begins with is an acknowledgement at most. */
static void put(size_t acknowledged)
{
	uint8_t bytes[RSP_DATA_MAX];

	fill(bytes, sizeof(bytes));
	rsp_init(&rsp);
	rsp.out_len = acknowledged;
	switch (any_between(0, 2)) {
	case 0:
		rsp_put(&rsp, "text");
		break;
	case 1:
		rsp_put_hex(&rsp, bytes, (size_t)Frama_C_interval_split(0, sizeof(bytes)));
		break;
	default:
		rsp_begin(&rsp);
		rsp_add(&rsp, "text");
		rsp_add_hex(&rsp, bytes, (size_t)Frama_C_interval_split(0, sizeof(bytes)));
		rsp_end(&rsp);
		break;
	}
	/*@ assert rsp.out_len <= sizeof(rsp.out) && rsp.packet_at < rsp.out_len; */
	rsp_resend(&rsp);
	keep(rsp_pending(&rsp));
}

/* What is left of a packet's data: `len` bytes and a NUL. */
static char data[DATA_LEN + 1];

static struct rsp_text left(size_t len)
{
	struct rsp_text text = {data + DATA_LEN - len};

	return text;
}

static void take_number(size_t len)
{
	struct rsp_text text = left(len);
	uint64_t value;

	if (rsp_take_number(&text, &value)) {
		keep(value);
	}
}

static void take_text(size_t len)
{
	struct rsp_text text = left(len);

	keep(rsp_take(&text, "ab"));
}

static void take_bytes(size_t len)
{
	struct rsp_text text = left(len);
	uint8_t bytes[2];

	if (rsp_take_bytes(&text, bytes, sizeof(bytes))) {
		keep(bytes[1]);
	}
}

void main(void)
{
	/*@ loop unroll RSP_DATA_MAX + RSP_FRAME + 1; */
	for (size_t len = 0; len <= RSP_DATA_MAX + RSP_FRAME; len++) {
		take(len);
	}
	fill(data, DATA_LEN);
	put(0);
	put(1);
	/*@ loop unroll DATA_LEN + 1; */
	for (size_t len = 0; len <= DATA_LEN; len++) {
		take_number(len);
		take_text(len);
		take_bytes(len);
	}
}
