/* SPDX-License-Identifier: Apache-2.0 */
/* A network interface, with what it uses of the host. */
#ifndef VMM_RESOURCES_INTERFACE_H
#define VMM_RESOURCES_INTERFACE_H

#include "devices/virtio/net/net.h"

/* On a TAP, or on another process (config.backend). */
struct net_interface {
	struct net_config config;
	int tap;	 /* -1: it has a back-end */
	int connection;	 /* to the back-end, until the machine has it; -1: none */
	struct net *net; /* the machine's; NULL: not attached */
};

/* clang-format off */
#define NET_INTERFACE_NONE {.tap = -1, .connection = -1}
/* clang-format on */

#endif
