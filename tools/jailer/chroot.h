/* SPDX-License-Identifier: Apache-2.0 */
/* The jail's mount namespace and its root. */
#ifndef TOOLS_JAILER_CHROOT_H
#define TOOLS_JAILER_CHROOT_H

#include "tools/jailer/beneath.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Enters a mount namespace of its own, in which nothing that is mounted shows on the host. Opens
 * directories and files for mounts after this: the kernel mounts only what it finds in here.
 */
MUST_CHECK int chroot_isolate(struct error *err);

/* Makes the directory a mount of its own; root->fd becomes the mount's. */
MUST_CHECK int chroot_mount_root(struct beneath_dir *root, struct error *err);

/* Makes that mount the root of everything, without a way back. */
MUST_CHECK int chroot_pivot(struct beneath_dir *root, struct error *err);

#endif
