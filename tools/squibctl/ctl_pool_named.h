/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of a pool that have names: each is restored of what was saved, and waits, paused, until
 * it is taken. From then on it is a machine as any.
 */
#ifndef TOOLS_CTL_POOL_NAMED_H
#define TOOLS_CTL_POOL_NAMED_H

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_pool_dir.h"

/*
 * What --of means: a directory of save, or a machine that runs, which is saved into the pool's
 * directory. By who holds the lock. The caller closes *saved in any case.
 */
enum ctl_exit pool_named_open(const struct ctl_args *args, const struct pool_dir *dir,
			      struct machine *saved);

/* Whether pool_named_open still saves the machine, which stands still meanwhile. */
bool pool_named_saves(const struct pool_dir *dir);

/* Removes what pool_named_open has saved. Machines that were made of it have its memory. */
void pool_named_drop(const struct pool_dir *dir);

/*
 * Makes one more, called --name-N, or as what was saved. What fails is told, and leaves nothing;
 * `end` is readable when it is to be left undone. The caller frees *record, an empty one before, in
 * any case.
 */
enum ctl_exit pool_named_make(const struct ctl_args *args, const struct pool_dir *dir,
			      const struct machine *saved, int end, struct pool_machine *record);

/* Ends one that is ready, whose record of the pool somebody has removed. false: it is not. */
bool pool_named_end(const struct pool_machine *machine);

/*
 * Has a machine go on that is the caller's, and prints its name once its command runs.
 * CTL_EXIT_NO_CONNECTION: it does not, which is told unless it has ended before.
 */
enum ctl_exit pool_named_take(const struct pool_machine *machine);

#endif
