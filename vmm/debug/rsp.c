/* SPDX-License-Identifier: Apache-2.0 */
/* The packets of gdb's remote serial protocol. */
#include "vmm/debug/rsp.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

enum {
	INTERRUPT = 3 /* Ctrl-C, outside of packets */
};

void rsp_init(struct rsp *rsp)
{
	rsp->in_len = 0;
	rsp->is_quiet = false;
	rsp->out_len = 0;
	rsp->out_sent = 0;
	rsp->packet_at = 0;
}

size_t rsp_room(const struct rsp *rsp)
{
	return sizeof(rsp->in) - rsp->in_len;
}

static int digit(char c)
{
	const char *found = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);

	return found == NULL ? -1 : (int)(found - digits);
}

/* --- In --- */

static void drop(struct rsp *rsp, size_t len)
{
	rsp->in_len -= len;
	memmove(rsp->in, rsp->in + len, rsp->in_len);
}

static unsigned sum_of(const char *data, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum += (unsigned char)data[i];
	}
	return sum & 0xff;
}

/* Acknowledges. The packet that went out before is done with. */
static void acknowledge(struct rsp *rsp, char how)
{
	rsp->out_len = 0;
	rsp->out_sent = 0;
	if (!rsp->is_quiet) {
		rsp->out[rsp->out_len++] = how;
	}
	rsp->packet_at = rsp->out_len;
}

/* `in` begins with '$'. */
static enum rsp_event next_packet(struct rsp *rsp)
{
	const char *end = memchr(rsp->in, '#', rsp->in_len);
	const size_t whole = end == NULL ? 0 : (size_t)(end - rsp->in) + 3;

	if (end == NULL || whole > rsp->in_len) {
		return rsp->in_len == sizeof(rsp->in) ? RSP_LOST : RSP_MORE;
	}
	const char *data = rsp->in + 1;
	const size_t len = (size_t)(end - data);
	const int high = digit(end[1]);
	const int low = digit(end[2]);

	/* A NUL is in no packet that we know, and would end the text of one. */
	if (high < 0 || low < 0 || sum_of(data, len) != (unsigned)(high << 4 | low) ||
	    memchr(data, '\0', len) != NULL) {
		acknowledge(rsp, '-');
		drop(rsp, whole);
		return RSP_REFUSED;
	}
	memcpy(rsp->data, data, len);
	rsp->data[len] = '\0';
	acknowledge(rsp, '+');
	drop(rsp, whole);
	return RSP_PACKET;
}

enum rsp_event rsp_next(struct rsp *rsp)
{
	assert(rsp_pending(rsp) == 0);
	for (size_t i = 0; i < rsp->in_len; i++) {
		switch (rsp->in[i]) {
		case '$':
			drop(rsp, i);
			return next_packet(rsp);
		case INTERRUPT:
			drop(rsp, i + 1);
			return RSP_INTERRUPT;
		case '-':
			if (rsp->is_quiet) {
				break;
			}
			drop(rsp, i + 1);
			return RSP_AGAIN;
		default:
			break;
		}
	}
	rsp->in_len = 0;
	return RSP_MORE;
}

/* --- Out --- */

void rsp_begin(struct rsp *rsp)
{
	if (rsp_pending(rsp) == 0) {
		rsp->out_len = 0;
		rsp->out_sent = 0;
	}
	assert(rsp->out_len <= 1);
	rsp->packet_at = rsp->out_len;
	rsp->out[rsp->out_len++] = '$';
	rsp->is_cut = false;
}

/* How many bytes of data still fit. */
static size_t room(const struct rsp *rsp)
{
	return RSP_DATA_MAX + 1 - (rsp->out_len - rsp->packet_at);
}

static void add(struct rsp *rsp, const char *fmt, va_list args)
{
	/* vsnprintf writes a NUL, where the sum comes later. */
	const size_t space = room(rsp) + 1;
	const int len = vsnprintf(rsp->out + rsp->out_len, space, fmt, args);

	if (len < 0 || (size_t)len >= space) {
		rsp->is_cut = true;
		return;
	}
	rsp->out_len += (size_t)len;
}

void rsp_add(struct rsp *rsp, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(rsp, fmt, args);
	va_end(args);
}

void rsp_add_hex(struct rsp *rsp, const uint8_t *bytes, size_t len)
{
	if (len > room(rsp) / 2) {
		rsp->is_cut = true;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		rsp->out[rsp->out_len++] = digits[bytes[i] >> 4];
		rsp->out[rsp->out_len++] = digits[bytes[i] & 0xf];
	}
}

void rsp_end(struct rsp *rsp)
{
	if (rsp->is_cut) {
		rsp->out_len = rsp->packet_at + 1;
	}
	const char *data = rsp->out + rsp->packet_at + 1;
	const unsigned sum = sum_of(data, rsp->out_len - rsp->packet_at - 1);

	rsp->out[rsp->out_len++] = '#';
	rsp->out[rsp->out_len++] = digits[sum >> 4];
	rsp->out[rsp->out_len++] = digits[sum & 0xf];
}

void rsp_put(struct rsp *rsp, const char *fmt, ...)
{
	va_list args;

	rsp_begin(rsp);
	va_start(args, fmt);
	add(rsp, fmt, args);
	va_end(args);
	rsp_end(rsp);
}

void rsp_put_hex(struct rsp *rsp, const uint8_t *bytes, size_t len)
{
	rsp_begin(rsp);
	rsp_add_hex(rsp, bytes, len);
	rsp_end(rsp);
}

void rsp_resend(struct rsp *rsp)
{
	rsp->out_sent = rsp->packet_at;
}

/* --- The data of packets --- */

bool rsp_take_number(struct rsp_text *text, uint64_t *value)
{
	const int max = 16;
	int count = 0;

	*value = 0;
	for (int next = digit(*text->at); next >= 0; next = digit(*text->at)) {
		if (++count > max) {
			return false;
		}
		*value = *value << 4 | (unsigned)next;
		text->at++;
	}
	return count > 0;
}

bool rsp_take(struct rsp_text *text, const char *expected)
{
	const size_t len = strlen(expected);

	if (strncmp(text->at, expected, len) != 0) {
		return false;
	}
	text->at += len;
	return true;
}

bool rsp_take_bytes(struct rsp_text *text, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const int high = digit(text->at[0]);

		if (high < 0) {
			return false;
		}
		const int low = digit(text->at[1]);

		if (low < 0) {
			return false;
		}
		bytes[i] = (uint8_t)(high << 4 | low);
		text->at += 2;
	}
	return true;
}
