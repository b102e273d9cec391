/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that save a microVM to files and load one from them. */
#ifndef TOOLS_CTL_SNAPSHOT_H
#define TOOLS_CTL_SNAPSHOT_H

#include <jansson.h>
#include <signal.h>

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_http.h"

/* How a request calls the two descriptors of a snapshot that are sent with it. */
#define CTL_SENT_STATE "sent:0"
#define CTL_SENT_MEMORY "sent:1"

/* Runs `snapshot` or `load` over a connection to squib, and prints what came of it. */
enum ctl_exit ctl_snapshot_run(int fd, const struct ctl_args *args);

/* Whether the microVM runs, and is not paused. */
enum ctl_exit ctl_find_running(int fd, bool *is_running);

/* Pauses or resumes it. */
enum ctl_exit ctl_set_running(int fd, bool runs);

/* A Full snapshot of one that is paused, drawing progress. */
enum ctl_exit ctl_save(int fd, const char *state, const char *memory);

/* A live snapshot to two memfds that can be sealed; returns when they are complete. */
enum ctl_exit ctl_hand_on(int fd, const struct ctl_fds *fds);

/* Opens the files of a snapshot; ctl_close_fds closes them. */
enum ctl_exit ctl_open_snapshot(const char *state, const char *memory, struct ctl_fds *fds);
void ctl_close_fds(struct ctl_fds *fds);

/*
 * The body of a load of these files, with the command line's overrides, in which a % is the number
 * (0: it stays); NULL where they are no UTF-8.
 */
json_t *ctl_load_body(const struct ctl_args *args, const char *state, const char *memory,
		      unsigned long number);

/*
 * Asks for a load, with descriptors beside it; takes the body. Once `end` (0: none) is readable the
 * answer is not waited for: CTL_EXIT_NO_CONNECTION, without a word.
 */
enum ctl_exit ctl_load(int fd, json_t *body, const struct ctl_fds *fds, int end);

/*
 * Holds signals that would end this process while a machine stands still, which nobody would let go
 * on then. Copies of disks look whether one waits. Returns the mask for ctl_release_ends.
 */
sigset_t ctl_hold_ends(void);
void ctl_release_ends(const sigset_t *mask);

#endif
