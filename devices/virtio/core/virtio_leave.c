/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/core/virtio_leave.h"

#include <sys/eventfd.h>

bool virtio_has_calls(const struct virtio_dev *dev)
{
	return dev->is_active && dev->class->is_busy != NULL && dev->class->is_busy(dev);
}

static bool is_busy(const struct virtio_dev *dev)
{
	return dev->is_resetting || virtio_has_calls(dev);
}

bool virtio_is_busy(struct virtio_dev *dev)
{
	virtio_lock(dev);
	bool result = is_busy(dev);

	virtio_unlock(dev);
	return result;
}

bool virtio_leave(struct virtio_dev *dev, int idle)
{
	virtio_lock(dev);
	dev->idle = idle;
	bool result = is_busy(dev);

	virtio_unlock(dev);
	return !result;
}

void virtio_stay(struct virtio_dev *dev)
{
	virtio_lock(dev);
	dev->idle = -1;
	virtio_unlock(dev);
	virtio_resume(dev);
}

void virtio_note_idle(const struct virtio_dev *dev)
{
	if (dev->idle >= 0) {
		/* Fails only when it is readable anyway. */
		(void)!eventfd_write(dev->idle, 1);
	}
}
