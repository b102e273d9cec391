/* SPDX-License-Identifier: Apache-2.0 */
/* A file system that another process serves. */
#ifndef VMM_RESOURCES_FILESYSTEM_H
#define VMM_RESOURCES_FILESYSTEM_H

#include "devices/virtio/fs/fs.h"

struct filesystem {
	struct fs_config config;
	struct vhost_link link; /* to the process, until the machine has it */
};

#endif
