/* SPDX-License-Identifier: Apache-2.0 */
/* A drive, with what it uses of the host. */
#ifndef VMM_RESOURCES_DRIVE_H
#define VMM_RESOURCES_DRIVE_H

#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/vhost_blk.h"

/* On a file, or on a socket of another process (config.socket). */
struct drive {
	struct blk_config config;
	struct blk_file file;
	struct vhost_link link;	 /* to the other process, until the machine has it */
	struct blk *blk;	 /* the machine's; NULL: not attached, or on a socket */
	struct vhost_blk *vhost; /* the machine's; NULL: not attached, or on a file */
	bool is_file_held;	 /* it has the file's lock, or had it at a save (claims.h) */
};

/* clang-format off */
#define DRIVE_NONE {.file = {.fd = -1}, .link = {.fd = -1}}
/* clang-format on */

#endif
