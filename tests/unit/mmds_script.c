/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations of a guest with one TCP connection of the metadata service: the player. */
#include "tests/unit/mmds_script.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/tcp.h"
#include "vmm/base/bytes.h"

enum {
	STREAM_LEN = 256 * 1024,
	NS_PER_MS = 1000000,
};

struct play {
	struct mmds_tcp tcp;
	uint8_t buf[MMDS_REQUEST_MAX];
	uint32_t guest; /* the first sequence numbers */
	uint32_t ours;
	uint64_t now_ns;
	uint32_t consumed; /* of the guest's bytes */
	uint32_t replied;  /* bytes of all replies so far */
	bool is_given_up;
	const char *line;
};

static uint8_t stream[STREAM_LEN];

struct words {
	char flags[8];
	unsigned seq;
	unsigned ack;
	struct mmds_segment segment;
	bool has_window;
	enum mmds_tcp_verdict verdict;
};

static uint8_t parse_flags(const char *text)
{
	static const struct {
		char name;
		uint8_t flag;
	} names[] = {{'S', MMDS_TCP_SYN},
		     {'A', MMDS_TCP_ACK},
		     {'F', MMDS_TCP_FIN},
		     {'R', MMDS_TCP_RST},
		     {'P', MMDS_TCP_PSH}};
	uint8_t flags = 0;

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (strchr(text, names[i].name) != NULL) {
			flags |= names[i].flag;
		}
	}
	return flags;
}

static void parse_options(const struct play *play, const char *rest, struct words *words)
{
	char name[16];
	unsigned value = 0;
	int used = 0;

	for (; sscanf(rest, " %15s %n", name, &used) == 1; rest += used) {
		if (strcmp(name, "unusual") == 0) {
			words->verdict = MMDS_TCP_UNUSUAL;
			continue;
		}
		if (strcmp(name, "refused") == 0) {
			words->verdict = MMDS_TCP_REFUSED;
			continue;
		}
		if (strcmp(name, "ended") == 0) {
			words->verdict = MMDS_TCP_ENDED;
			continue;
		}
		rest += used;
		cr_assert_eq(sscanf(rest, "%u %n", &value, &used), 1, "%s", play->line);
		if (strcmp(name, "len") == 0) {
			words->segment.len = (uint16_t)value;
		} else if (strcmp(name, "win") == 0) {
			words->segment.window = (uint16_t)value;
			words->has_window = true;
		} else {
			cr_assert_str_eq(name, "mss", "%s", play->line);
			words->segment.mss = (uint16_t)value;
		}
	}
}

static struct words parse_segment(const struct play *play, uint32_t seq_base, uint32_t ack_base)
{
	struct words words = {.segment.window = 65535};
	int used = 0;

	cr_assert_eq(
		sscanf(play->line + 1, " %7s %u %u %n", words.flags, &words.seq, &words.ack, &used),
		3, "%s", play->line);
	parse_options(play, play->line + 1 + used, &words);
	words.segment.flags = parse_flags(words.flags);
	words.segment.seq = seq_base + words.seq;
	words.segment.ack = ack_base + words.ack;
	return words;
}

static void receive(struct play *play)
{
	struct words words = parse_segment(play, play->guest, play->ours);
	struct mmds_segment *segment = &words.segment;

	if (words.seq > 0) {
		segment->payload = stream + words.seq - 1;
	}
	if (play->tcp.state == MMDS_TCP_FREE) {
		mmds_tcp_open(&play->tcp, segment, play->ours, play->now_ns);
		play->tcp.buf = play->buf;
		return;
	}
	cr_assert_eq(mmds_tcp_receive(&play->tcp, segment, play->now_ns), words.verdict, "%s",
		     play->line);
	cr_assert_arr_eq(play->buf, stream + play->consumed, play->tcp.buf_len, "%s", play->line);
}

static void send(struct play *play)
{
	struct words words = parse_segment(play, play->ours, play->guest);
	const struct mmds_segment *wanted = &words.segment;
	struct mmds_segment sent;

	cr_assert(mmds_tcp_send(&play->tcp, &sent, play->now_ns), "nothing for: %s", play->line);
	cr_assert_eq(sent.flags, wanted->flags, "flags %u: %s", sent.flags, play->line);
	cr_assert_eq(sent.seq, wanted->seq, "seq %u: %s", sent.seq - play->ours, play->line);
	cr_assert_eq(sent.ack, wanted->ack, "ack %u: %s", sent.ack - play->guest, play->line);
	cr_assert_eq(sent.len, wanted->len, "len %u: %s", sent.len, play->line);
	cr_assert_eq(sent.mss, wanted->mss, "mss %u: %s", sent.mss, play->line);
	cr_assert(!words.has_window || sent.window == wanted->window, "window %u: %s", sent.window,
		  play->line);
	if (sent.len > 0) {
		cr_assert_arr_eq(sent.payload, stream + words.seq - 1, sent.len, "%s", play->line);
	}
}

static void pass_time(struct play *play, unsigned ms)
{
	play->now_ns += (uint64_t)ms * NS_PER_MS;
	if (play->tcp.deadline_ns <= play->now_ns) {
		play->is_given_up |= !mmds_tcp_expire(&play->tcp, play->now_ns);
	}
}

/* What is above the connection, and questions. */
static void act(struct play *play)
{
	struct mmds_tcp *tcp = &play->tcp;
	const char *line = play->line;
	unsigned value = 0;
	int ms = 0;

	if (sscanf(line, "reply %u", &value) == 1) {
		mmds_tcp_reply(tcp, stream + play->replied, value);
		play->replied += value;
	} else if (sscanf(line, "consume %u", &value) == 1) {
		mmds_tcp_consume(tcp, value);
		play->consumed += value;
	} else if (sscanf(line, "has %u", &value) == 1) {
		cr_assert_eq(tcp->buf_len, value, "%u: %s", tcp->buf_len, line);
	} else if (sscanf(line, "timer %d", &ms) == 1) {
		int left = (int)((tcp->deadline_ns - play->now_ns) / NS_PER_MS);

		cr_assert_eq(tcp->deadline_ns == UINT64_MAX ? -1 : left, ms, "%d: %s", left, line);
	} else if (strcmp(line, "close") == 0) {
		mmds_tcp_close(tcp);
	} else if (strcmp(line, "buffer") == 0) {
		tcp->buf = play->buf;
	} else if (strcmp(line, "no buffer") == 0) {
		tcp->buf = NULL;
	} else if (strcmp(line, "replied") == 0) {
		cr_assert_null(tcp->reply, "%s", line);
	} else if (strcmp(line, "over") == 0) {
		cr_assert(mmds_tcp_is_over(tcp), "%s", line);
	} else if (strcmp(line, "given up") == 0) {
		cr_assert(play->is_given_up, "%s", line);
	} else {
		cr_assert_fail("what is '%s'?", line);
	}
}

static void play_line(struct play *play)
{
	struct mmds_segment none;

	switch (play->line[0]) {
	case '<':
		receive(play);
		break;
	case '>':
		send(play);
		break;
	case '-':
		cr_assert_not(mmds_tcp_send(&play->tcp, &none, play->now_ns),
			      "something to send: flags %u seq %u len %u", none.flags,
			      none.seq - play->ours, none.len);
		break;
	case '+':
		pass_time(play, (unsigned)strtoul(play->line + 1, NULL, 10));
		break;
	default:
		act(play);
		break;
	}
}

void mmds_play(const char *const *lines)
{
	/* In the middle, and such that all that matters wraps, or passes the sign's change. */
	static const uint32_t starts[][2] = {
		{1000, 5000},
		{UINT32_MAX, UINT32_MAX},
		{UINT32_MAX - 700, UINT32_MAX - 3000},
		{INT32_MAX - 600, INT32_MAX - 2000},
	};

	for (size_t i = 0; i < STREAM_LEN; i++) {
		stream[i] = (uint8_t)(i * 7 + i / 256);
	}
	for (size_t i = 0; i < ARRAY_COUNT(starts); i++) {
		struct play play = {.guest = starts[i][0], .ours = starts[i][1], .now_ns = 1};

		for (size_t at = 0; lines[at] != NULL; at++) {
			play.line = lines[at];
			play_line(&play);
		}
	}
}
