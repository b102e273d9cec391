/* SPDX-License-Identifier: Apache-2.0 */
/* What the options of squibctl run and its kin set. */
#ifndef TOOLS_CTL_RUN_ARGS_H
#define TOOLS_CTL_RUN_ARGS_H

#include <stdbool.h>

enum {
	CTL_WORDS_MAX = 32
};

/* Of an option that may be given several times. */
struct ctl_words {
	const char *items[CTL_WORDS_MAX];
	unsigned count;
};

struct ctl_run_args {
	bool interactive;
	bool tty;
	bool detach;
	bool remove;
	bool forkable;
	bool follow;
	bool all;
	bool json;
	bool no_stdin;
	bool quiet;
	const char *cpus; /* NULL here and below: not given */
	const char *kernel;
	const char *disk;
	const char *user;
	const char *workdir;
	const char *entrypoint;
	const char *timeout; /* seconds, and so is the next one */
	const char *boot_timeout;
	const char *signal;
	const char *older;	  /* an age */
	struct ctl_words env;	  /* NAME=VALUE, or NAME */
	struct ctl_words publish; /* [ADDRESS:]HOST:GUEST[/udp] */
	struct ctl_words volumes; /* HOST:GUEST[:ro] */
};

#endif
