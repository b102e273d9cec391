/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl run, and what it and exec have in common. */
#ifndef TOOLS_CTL_RUN_H
#define TOOLS_CTL_RUN_H

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_image.h"
#include "tools/squibctl/ctl_session.h"

/* From an image to a machine that runs a command. Returns the exit status of the process. */
int ctl_run(const struct ctl_args *args);

/* Fetches an image and prints the path of its disk. */
int ctl_pull(const struct ctl_args *args);

/*
 * Puts NAME=VALUE in place of what a list has of that name. NAME alone takes the value that this
 * process has, and is left out if it has none.
 */
void ctl_run_set_variable(json_t *list, const char *text);

/* The words of a command as docker has them, a new array; NULL: the image names none. */
json_t *ctl_run_words(const json_t *config, const char *entrypoint, const char *const *words);

/* Bytes of "512m", "2g" and the like, as MiB. false: it is no size of at least one MiB. */
bool ctl_run_mib(const char *text, uint64_t *mib);

/* A number of seconds that poll(2) can wait for; NULL: `otherwise`. The error names the option. */
MUST_CHECK int ctl_run_seconds(const char *text, const char *option, unsigned otherwise,
			       unsigned *seconds, struct error *err);

/* The path of the guest's kernel, by --kernel, the environment or where one is looked for; heap. */
char *ctl_run_kernel(const struct ctl_args *args, struct error *err);

/* What is run, of the image and the options: Args (none: the image names nothing), Env, User,
 * WorkingDir. */
json_t *ctl_run_process(const struct ctl_args *args, const struct ctl_image *image);

/* What PUT /serial is told of machines: how much their consoles may write. A new object. */
json_t *ctl_run_serial(void);

/* A new, empty file for the machine's disk, which its record names from then on, for writing. */
MUST_CHECK int ctl_run_new_disk(struct machine *machine, int *disk, struct error *err);

/* The kernel's command line. */
extern const char ctl_run_boot_args[];

/* What -i and -t mean; on a terminal, both where neither is given. */
struct session_options ctl_run_options(const struct ctl_args *args);

/* Prints the machine's name for who has detached from it, and returns 0; else `status`. */
int ctl_run_detached(const struct machine *machine, int status);

/* Prints what `err` has, if anything, and returns `status`, or STATUS_OURS for -1. */
int ctl_run_end(int status, const struct error *err);

#endif
