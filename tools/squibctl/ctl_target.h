/* SPDX-License-Identifier: Apache-2.0 */
/* Which squib a command is for, where that is said by a machine's name. */
#ifndef TOOLS_CTL_TARGET_H
#define TOOLS_CTL_TARGET_H

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	TARGET_TEXTS_MAX = CTL_OPERANDS_MAX + 2 * CTL_WORDS_MAX + 1
};

struct ctl_target {
	struct machine machine;	       /* name NULL: none was named */
	char *texts[TARGET_TEXTS_MAX]; /* heap: what was put into the arguments */
	unsigned text_count;
};

/*
 * With --machine, or a name behind a command that takes one: the socket is that machine's, and
 * names of files are from the root directory on, which is where a machine's squib works. Without,
 * nothing changes. The arguments last as long as the target.
 */
MUST_CHECK int ctl_target_find(struct ctl_args *args, struct ctl_target *target, struct error *err);

/* Notes what the command has done to the machine. */
void ctl_target_done(const struct ctl_args *args, const struct ctl_target *target);

void ctl_target_close(struct ctl_target *target);

#endif
