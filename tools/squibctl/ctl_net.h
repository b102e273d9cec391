/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a machine: none, a TAP, or the host's by a passt, which needs no right but its
 * user's. The record's "net" is "user" for the latter, and "publish" has passt's words for ports.
 */
#ifndef TOOLS_CTL_NET_H
#define TOOLS_CTL_NET_H

#include <jansson.h>

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_machine.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/* The file's name of passt's socket and log. */
#define CTL_NET_HELPER "net"

/* Whether the machine has the host's network. */
bool ctl_net_is_user(const struct machine *machine);

/* Checks --net and --publish. */
MUST_CHECK int ctl_net_check(const struct ctl_args *args, struct error *err);

/* Notes what was asked for in the machine's record. */
void ctl_net_record(const struct ctl_args *args, const struct machine *machine);

/* For squib's configuration file: "network-interfaces", a new array. */
json_t *ctl_net_config(const struct ctl_args *args, const struct machine *machine);

/* What the guest's first process is told of it on the kernel's command line; "": nothing. */
const char *ctl_net_boot_args(const struct machine *machine);

/*
 * Starts passt, if the machine has the host's network, and waits until it listens. It ends when its
 * connection does. Stores its pid; 0: none is needed.
 */
MUST_CHECK int ctl_net_start(const struct machine *machine, pid_t *pid, struct error *err);

/*
 * "[ADDRESS:]HOST:GUEST[/tcp|/udp]" as passt has it, "-t" or "-u" and behind it
 * "[ADDRESS/]HOST:GUEST", on the heap; NULL: it is none.
 */
char *ctl_net_publish(const char *word);

#endif
