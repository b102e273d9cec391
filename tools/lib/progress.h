/* SPDX-License-Identifier: Apache-2.0 */
/* One line on a terminal for what takes long, and sizes for people. */
#ifndef TOOLS_LIB_PROGRESS_H
#define TOOLS_LIB_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SIZE_TEXT_LEN = 24,
	PROGRESS_LINE_LEN = 120,
};

struct size_text {
	char text[SIZE_TEXT_LEN];
};

/* "512 bytes", "4.0 KiB", "1.5 GiB" */
struct size_text size_text(uint64_t bytes);

struct progress {
	const char *what; /* e.g. "compressing" */
	uint64_t total;	  /* bytes; 0: nobody knows */
	uint64_t begin_ns;
	uint64_t drawn_ns; /* 0: never */
	bool is_terminal;
};

/*
 * Begins; `what` stays the caller's. Nothing is drawn unless standard error is a terminal, and not
 * before half a second is over.
 */
void progress_begin(struct progress *progress, const char *what, uint64_t total);

/* Call it as often as you like: it draws ten times a second at most. */
void progress_set(struct progress *progress, uint64_t done);

/* Wipes the line. Before anything else is printed. */
void progress_end(struct progress *progress);

/* What is drawn after so many seconds, of less than PROGRESS_LINE_LEN bytes. */
void progress_line(const struct progress *progress, uint64_t done, uint64_t seconds, char *line);

#endif
