/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's command line: its commands as a table, and what to do about the API's refusals. */
#ifndef TOOLS_CTL_ARGS_H
#define TOOLS_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "tools/squibctl/ctl_run_args.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

#define CTL_SOCKET_DEFAULT "/run/firecracker.socket" /* squib's --api-sock */

enum ctl_exit {
	CTL_EXIT_OK,
	CTL_EXIT_REFUSED,      /* the API answered with a fault */
	CTL_EXIT_USAGE,	       /* wrong arguments */
	CTL_EXIT_NO_CONNECTION /* no squib there, or it went away */
};

/* What a command prints when it went well. */
enum ctl_output {
	CTL_PRINT_BODY,
	CTL_PRINT_STATUS,
	CTL_PRINT_DONE,	    /* its `done` text */
	CTL_PRINT_STEPS,    /* it has several requests: ctl_snapshot.c */
	CTL_PRINT_CHILDREN, /* it has several requests: ctl_fork.c */
	CTL_PRINT_METADATA, /* the same: ctl_metadata.c */
	CTL_PRINT_MEMORY,   /* the same: ctl_mem.c */
	CTL_PRINT_PLUGGED,  /* the same: ctl_plug.c */
	CTL_PRINT_OVERLAY,  /* it has none: ctl_overlay.c */
	CTL_PRINT_POOL,	    /* the same: ctl_pool.c */
	CTL_PRINT_MACHINE,  /* it is about machines that have names: ctl_machines.c */
	CTL_PRINT_HOST	    /* it is about this host: tools/doctor */
};

struct ctl_command {
	const char *name;
	const char *operands; /* "" if there are none, for the usage */
	const char *help;
	unsigned operands_min;
	unsigned operands_max;
	bool passes_on; /* the words behind its operands are a command's, options included */
	enum ctl_output output;
	const char *exits; /* its exit statuses; NULL: those of requests */
	/* The request; path and body NULL: operands 1 and 2. */
	const char *method;
	const char *path;
	const char *body;
	const char *done;
};

enum ctl_kind {
	CTL_SWITCH, /* a bool */
	CTL_TEXT,   /* a const char * */
	CTL_WORDS   /* a struct ctl_words: it may be given several times */
};

struct ctl_option {
	char letter;	   /* 0: none */
	const char *name;  /* without dashes */
	const char *value; /* NULL: none */
	const char *help;
	const char *command; /* which it goes with, or several with spaces between; NULL: all */
	enum ctl_kind kind;
	size_t offset; /* in struct ctl_args */
};

enum {
	CTL_OPERANDS_MAX = 32,
	CTL_OPTIONS_MAX = 96
};

struct ctl_args {
	const char *socket;
	const char *machine; /* by its name; NULL: by its socket */
	bool is_raw;
	bool waits;
	bool wants_help;
	bool wants_version;
	/* snapshot */
	bool is_diff;
	bool is_live;
	bool state_only;
	bool stay_paused;
	/* fork */
	bool is_of_name;   /* the operand is a machine's name, not a directory */
	const char *count; /* NULL: 1 */
	const char *name;
	const char *keep;
	const char *image;
	bool ends_with_parent;
	bool copy; /* makes the files of `drives` */
	bool landlock;
	/* pool, and some of fork's and load's */
	const char *state;
	const char *memory;
	const char *of;	     /* a machine with a name, or a directory of save; NULL: neither */
	const char *listens; /* where a machine's API listens; NULL: in the directory */
	/* Words that start a squib, NULL: our own; of run and exec the command's. */
	const char *const *program;
	/* overlay */
	const char *base;
	const char *size;    /* MiB */
	const char *cluster; /* KiB */
	/* plug and unplug */
	bool read_only;
	bool force;
	bool resume; /* load, and some of it fork and plug */
	bool sends;  /* opens the files and sends them */
	bool paused;
	bool track_dirty;
	bool clock_realtime;
	struct ctl_words drives; /* ID=PATH */
	struct ctl_words pmems;	 /* ID=PATH */
	struct ctl_words nets;	 /* ID=DEV */
	const char *vsock;
	const char *working_set;
	const char *uffd;
	struct ctl_run_args run; /* and exec, and machines that have names */
	const struct ctl_command *command;
	const char *operands[CTL_OPERANDS_MAX + 1]; /* NULL: absent */
};

/* The tables, for help and for tests; each ends with an entry without a name. */
const struct ctl_command *ctl_commands(void);
const struct ctl_option *ctl_options(void);

/* The option that "-x" or "--name" is for a command (NULL: none yet); NULL: there is none. */
const struct ctl_option *ctl_find_option(const char *arg, const struct ctl_command *command);
/* Whether a command takes an option. */
bool ctl_goes_with(const struct ctl_option *option, const struct ctl_command *command);

/* Points into argv and at constants. A failure's message is for the user, exit CTL_EXIT_USAGE. */
MUST_CHECK int ctl_args_parse(int argc, char *const argv[], struct ctl_args *args,
			      struct error *err);

/* Of all commands; and of one its usage, options and exit statuses. */
void ctl_print_help(FILE *out);
void ctl_print_command_help(const struct ctl_command *command, FILE *out);

/* What there is for an option that a command lacks, by its word or name (a constant); or NULL. */
const char *ctl_advice(const char *command, const char *arg);

/* What a user can do about a fault_message; NULL if that says all. A constant. */
const char *ctl_hint(const char *fault);

#endif
