/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that are remembered: by a pid and the time at which it began, which together mean one
 * process for as long as the host runs.
 */
#ifndef TOOLS_CTL_PROCESS_H
#define TOOLS_CTL_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* When a process began, in ticks since the host did; 0: there is none, or it has ended. */
uint64_t process_born(pid_t pid);

/* Whether a signal has stopped it, so that it does nothing until SIGCONT. */
bool process_is_stopped(pid_t pid);

/* A pidfd of the process that began then, which is the caller's to close; -1: it has ended. */
int process_open(pid_t pid, uint64_t born);

/* Kills it, and waits for its end. */
void process_end(pid_t pid, uint64_t born);

/* The process that listens at the other end of a connection; 0: the kernel does not tell. */
pid_t process_peer(int fd);

/* A squib beside this program, else one of PATH. Writes to `path`, which what it returns may be. */
const char *process_own_squib(char path[PATH_MAX]);

#endif
