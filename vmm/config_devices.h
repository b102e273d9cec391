/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of a configuration, each with what it uses of the host. */
#ifndef VMM_CONFIG_DEVICES_H
#define VMM_CONFIG_DEVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "devices/virtio/balloon.h"
#include "devices/virtio/blk.h"
#include "devices/virtio/net.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"

/*
 * What is opened is so when the device is put, as clients expect the error there. The configuration
 * owns it, and devices borrow it. Strings are heap blocks, NULL where not given.
 */
struct drive {
	struct blk_config config;
	struct blk_file file;
};

struct net_interface {
	struct net_config config;
	int tap;
};

struct vsock_socket {
	struct vsock_config config; /* uds_path NULL: none */
	int listener;
};

/* Changes while the machine runs, as the API describes them. */
struct drive_update {
	char *drive_id;
	char *path_on_host; /* NULL: as before */
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

struct net_update {
	char *iface_id;
	struct limiter_config rx_rate_limiter;
	bool has_rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
	bool has_tx_rate_limiter;
};

enum {
	CONFIG_DEVICES_MAX = 128 /* of one list; a machine has fewer interrupts */
};

struct vm_config;

/*
 * Add a device, or replace the one of the same id. They open what it uses, then take over the
 * strings as vm_config_put_boot_source does.
 */
MUST_CHECK int vm_config_put_drive(struct vm_config *config, struct blk_config *drive,
				   struct error *err);
MUST_CHECK int vm_config_put_net(struct vm_config *config, struct net_config *net,
				 struct error *err);

/*
 * The same for the only socket device. The socket file of the one before is removed, that of the
 * last one stays when the process ends [compat]. Where both have one path, a failure leaves none.
 */
MUST_CHECK int vm_config_put_vsock(struct vm_config *config, struct vsock_config *vsock,
				   struct error *err);

void vm_config_put_entropy(struct vm_config *config, const struct rng_config *entropy);
MUST_CHECK int vm_config_put_balloon(struct vm_config *config, const struct balloon_config *balloon,
				     struct error *err);

/* The place in its list, or the list's length: no such device. */
size_t vm_config_find_drive(const struct vm_config *config, const char *drive_id);
size_t vm_config_find_net(const struct vm_config *config, const char *iface_id);

/*
 * Notes limits that a device was given: those that *update has replace those that *limits has, and
 * a bucket of size or time 0 is none.
 */
void vm_config_note_limits(struct limiter_config *limits, bool *has_limits,
			   const struct limiter_config *update);

/* Frees and closes all devices. For vm_config_destroy. */
void vm_config_destroy_devices(struct vm_config *config);

#endif
