/* SPDX-License-Identifier: Apache-2.0 */
/* All kinds of virtio devices, for who has a type alone: a state that is read. */
#ifndef DEVICES_VIRTIO_CLASSES_H
#define DEVICES_VIRTIO_CLASSES_H

#include <stdint.h>

#include "devices/virtio/core/virtio.h"

/* The class of a type (enum virtio_type); NULL: there is none. A virtio_class_fn. Any thread. */
const struct virtio_class *virtio_class_of(uint32_t type);

#endif
