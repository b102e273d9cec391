/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of TAPs. */
#ifndef TESTS_DEVICES_HOST_NET_H
#define TESTS_DEVICES_HOST_NET_H

#include "tests/devices/machine.h"

/* This process and its children get a network namespace of their own. */
bool host_net_isolate(struct squib *squib);

/* A TAP, made unless it is there, that squib inherits; -1 after a failure. It may outlast all
 * descriptors. */
int host_net_tap(struct squib *squib, const char *name, bool is_lasting);
/* The same, open as one queue of a TAP that has several, and lasts. */
int host_net_queue(struct squib *squib, const char *name);
/* As no process has set any. */
bool host_net_forget_offloads(struct squib *squib, int tap);

/* Gives the interface an address of 24 bits and a MTU, and switches it on. */
bool host_net_up(struct squib *squib, const char *name, const char *address, int mtu);
/* Switches it off or on. */
bool host_net_switch(struct squib *squib, const char *name, bool is_on);
bool host_net_delete(struct squib *squib, const char *name);

#endif
