/* SPDX-License-Identifier: Apache-2.0 */
/* The Sync engine: a request is done when the call returns. */
#ifndef DEVICES_VIRTIO_BLK_SYNC_H
#define DEVICES_VIRTIO_BLK_SYNC_H

#include "devices/virtio/blk_io.h"
#include "vmm/base/attr.h"

/* Does all of a filled *io on `fd`; BLK_IO_DONE or BLK_IO_FAILED. */
MUST_CHECK enum blk_progress blk_sync_run(int fd, struct blk_io *io);

#endif
