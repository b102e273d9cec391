/* SPDX-License-Identifier: Apache-2.0 */
/* The Sync engine: a call is done when it returns. */
#ifndef DEVICES_VIRTIO_BLK_SYNC_H
#define DEVICES_VIRTIO_BLK_SYNC_H

#include "devices/virtio/blk/blk_io.h"
#include "vmm/base/attr.h"

/* Makes the next call of an *io that is started (BLK_IO_MORE) on `fd`, and advances it. */
MUST_CHECK enum blk_progress blk_sync_step(int fd, struct blk_io *io);

#endif
