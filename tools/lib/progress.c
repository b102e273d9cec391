/* SPDX-License-Identifier: Apache-2.0 */
/* Draws progress on standard error, which leaves standard output to what was asked for. */
#include "tools/lib/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"

enum {
	BAR_WIDTH = 30
};

static const uint64_t patience_ns = 500 * NS_PER_MS;
static const uint64_t redraw_ns = 100 * NS_PER_MS;

struct size_text size_text(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	struct size_text size;
	double value = (double)bytes / (double)KIB;
	size_t unit = 0;

	if (bytes < KIB) {
		(void)!snprintf(size.text, sizeof(size.text), "%u bytes", (unsigned)bytes);
		return size;
	}
	while (value >= 1023.95 && unit + 1 < ARRAY_COUNT(units)) {
		value /= 1024;
		unit++;
	}
	(void)!snprintf(size.text, sizeof(size.text), "%.1f %s", value, units[unit]);
	return size;
}

void progress_begin(struct progress *progress, const char *what, uint64_t total)
{
	*progress = (struct progress){
		.what = what,
		.total = total,
		.begin_ns = clock_host.now_ns(CLOCK_MONOTONIC),
		.is_terminal = isatty(STDERR_FILENO) == 1,
	};
}

void progress_line(const struct progress *progress, uint64_t done, uint64_t seconds, char *line)
{
	char bar[BAR_WIDTH + 1];
	double part;

	if (progress->total == 0) {
		(void)!snprintf(line, PROGRESS_LINE_LEN, "%s: %s, %llu s", progress->what,
				size_text(done).text, (unsigned long long)seconds);
		return;
	}
	part = (double)min_u64(done, progress->total) / (double)progress->total;
	for (int i = 0; i < BAR_WIDTH; i++) {
		bar[i] = i < (int)(part * BAR_WIDTH) ? '#' : '.';
	}
	bar[BAR_WIDTH] = '\0';
	(void)!snprintf(line, PROGRESS_LINE_LEN, "%s [%s] %3d%% of %s, %llu s", progress->what, bar,
			(int)(part * 100), size_text(progress->total).text,
			(unsigned long long)seconds);
}

void progress_set(struct progress *progress, uint64_t done)
{
	char line[PROGRESS_LINE_LEN];

	if (!progress->is_terminal) {
		return;
	}
	uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);
	uint64_t age = now - progress->begin_ns;

	if (age < patience_ns || now - progress->drawn_ns < redraw_ns) {
		return;
	}
	progress->drawn_ns = now;
	progress_line(progress, done, age / NS_PER_S, line);
	fprintf(stderr, "\r%s\x1b[K", line);
}

void progress_end(struct progress *progress)
{
	if (progress->drawn_ns != 0) {
		fputs("\r\x1b[K", stderr);
		progress->drawn_ns = 0;
	}
}
