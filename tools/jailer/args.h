/* SPDX-License-Identifier: Apache-2.0 */
/* The jailer's command line: upstream's flags, from one table. */
#ifndef TOOLS_JAILER_ARGS_H
#define TOOLS_JAILER_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "tools/jailer/cgroup.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/flags.h"

/* Strings are those of argv or constants. */
struct jail_args {
	enum flags_action action; /* unless FLAGS_RUN, nothing else is filled in */
	const char *id;
	const char *exec_file;
	const char *chroot_base;
	const char *netns; /* NULL: stay in the caller's */
	uid_t uid;
	gid_t gid;
	bool is_daemon;
	bool has_pid_ns;
	bool copies_exec;
	struct cgroup_config cgroup; /* its parent is NULL where not given */
	bool has_fsize;
	uint64_t fsize;	    /* bytes */
	uint64_t no_file;   /* descriptors */
	char *const *extra; /* what follows `--`, NULL-terminated */
	size_t extra_count;
};

/* The table of all flags, for --help and for tests that compare documents with it. */
const struct flag *jail_args_flags(size_t *count);

/*
 * Reads argv, whose last element is NULL. Failures are in upstream's words [compat].
 */
MUST_CHECK int jail_args_parse(int argc, char *const argv[], struct jail_args *args,
			       struct error *err);

void jail_args_print_help(FILE *out);

#endif
