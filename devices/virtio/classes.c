/* SPDX-License-Identifier: Apache-2.0 */
/* All kinds of virtio devices. */
#include "devices/virtio/classes.h"

#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/fs/fs.h"
#include "devices/virtio/mem/mem.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/pmem/pmem.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "vmm/base/bytes.h"

static const struct virtio_class *const classes[] = {
	&net_class,   &blk_class, &rng_class,  &balloon_class,
	&vsock_class, &mem_class, &pmem_class, &fs_class,
};

const struct virtio_class *virtio_class_of(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_COUNT(classes); i++) {
		if ((uint32_t)classes[i]->type == type) {
			return classes[i];
		}
	}
	return NULL;
}
