/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What squibctl and a guest's first process say to each other over a stream, in frames:
 *
 *   le32 length of the payload, u8 kind, three bytes of zero, payload
 *
 * One connection is one command. The host begins with FRAME_RUN, and the guest answers FRAME_DONE
 * or FRAME_FAILED. Input goes as far as the guest has given credit, so that frames behind it never
 * wait for the command to read: whoever sends anything else may wait for the other side to take it.
 * A connection that begins with FRAME_SIGNAL is about the machine's main command.
 *
 * A machine that was forked or loaded has lost its connections. Who keeps it takes its main command
 * over by RUN_TAKE. The answer is FRAME_DONE, and what credit there is if the command has input.
 */
#ifndef TOOLS_GUEST_INIT_FRAMES_H
#define TOOLS_GUEST_INIT_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GUEST_PORT = 1000, /* of vsock; below 1024 only root of the guest could take its place */
	FRAME_HEAD = 8,
	FRAME_MAX = 64 << 10,	 /* bytes of a payload */
	FRAME_SMALL = 64,	 /* room for some frames of numbers */
	STDIN_WINDOW = 64 << 10, /* the credit that a command begins with, in bytes */
	DATA_MAX = 32 << 10,	 /* bytes of input or output that we put into one frame */
};

enum frame_kind {
	/* of the host */
	FRAME_RUN = 1, /* a struct run_request, once */
	FRAME_STDIN,   /* bytes; none: the end of the input */
	FRAME_SIZE,    /* of the terminal: le32 rows, le32 columns */
	FRAME_SIGNAL,  /* le32 number */
	/* of the guest */
	FRAME_DONE,   /* the command runs; the signal was sent */
	FRAME_FAILED, /* le32 exit status, and a sentence: it does not run */
	FRAME_STDOUT, /* bytes; of a terminal all output */
	FRAME_STDERR,
	FRAME_CREDIT, /* le32: so many more bytes of input may be sent */
	FRAME_EXIT,   /* le32 exit status, 128 + a signal's number; behind all output */
	FRAME_KINDS
};

struct frame {
	enum frame_kind kind;
	size_t len;
	const uint8_t *data; /* in the buffer of the stream, until more is read */
};

/* A stream with what was read of it and what is to be written. All zeroes but `fd` to begin. */
struct frames {
	int fd; /* non-blocking; its owner closes it */
	size_t in_start;
	size_t in_end;
	size_t out_start;
	size_t out_end;
	uint8_t in[FRAME_HEAD + FRAME_MAX];
	uint8_t out[2 * (FRAME_HEAD + FRAME_MAX)];
};

enum frames_state {
	FRAMES_MORE,  /* there is no whole frame: read more */
	FRAMES_FRAME, /* *frame is one */
	FRAMES_BROKEN /* these are no frames */
};

/* Reads what there is. false: the stream has ended, or is broken. */
bool frames_fill(struct frames *frames);

/* The next frame of what was read. */
enum frames_state frames_next(struct frames *frames, struct frame *frame);

/* Whether a frame of `len` bytes can be put, with room for frames of numbers behind it. */
bool frames_have_room(const struct frames *frames, size_t len);

/* Puts a frame behind what waits to be written. false: there is no room for it. */
bool frames_put(struct frames *frames, enum frame_kind kind, const void *data, size_t len);
bool frames_put_number(struct frames *frames, enum frame_kind kind, uint32_t number);

/* Whether something waits to be written. */
bool frames_wait(const struct frames *frames);

/*
 * Writes what the stream takes. For one that takes nothing any more all is dropped: what it has
 * said before its end may still be read, and that it has ended is seen by reading.
 */
void frames_flush(struct frames *frames);

/* The number that a frame begins with. false: it is too short for one. */
bool frame_number(const struct frame *frame, uint32_t *number);

/* Writes a frame's head, FRAME_HEAD bytes. */
void frame_head(uint8_t *head, enum frame_kind kind, size_t len);

#endif
