/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between virtio.c and the transports: what a driver does to a device, whatever registers it does
 * it by.
 *
 * A driver goes through the states of the status one bit at a time [compat]; each of these may be
 * written in the states that the functions below say, and in no other. So nothing that the device
 * was started with changes under it: what is written about a queue after DRIVER_OK has no effect.
 *
 *	0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK
 *	                    features   queues
 *
 * 0 resets from anywhere, FAILED can be set from anywhere, and after that only 0 is accepted.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_INTERNAL_H
#define DEVICES_VIRTIO_VIRTIO_INTERNAL_H

#include <stdint.h>

#include "devices/virtio/core/virtio.h"

/* Bits of the device status [virtio-1.2 §2.1]. */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* Features of the queues and the interface as such [virtio-1.2 §6]. */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)
#define VIRTIO_FEATURES_ALWAYS (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)

/* --- Under the lock --- */

/*
 * The driver writes the status: 0 brings the device back to where virtio_init left it, the last bit
 * starts its queues and the device, or asks for a reset.
 */
void virtio_write_status(struct virtio_dev *dev, uint32_t value);

/* Word `word` of the driver's features; no effect before DRIVER and after FEATURES_OK. */
void virtio_write_features(struct virtio_dev *dev, uint32_t word, uint32_t value);

/* The queue `index`, NULL if there is none. */
struct virtio_queue *virtio_queue(struct virtio_dev *dev, uint32_t index);

/* What a driver may write of queue `index`; NULL if there is none, or in another state. */
struct virtq_config *virtio_queue_config(struct virtio_dev *dev, uint32_t index);

/* A queue's size as the driver writes it: not cut to one that may be valid; virtq_start refuses 0.
 */
static inline uint16_t virtio_queue_size(uint32_t value)
{
	return value <= VIRTQ_SIZE_MAX ? (uint16_t)value : 0;
}

/* The device's configuration: what lies beyond it reads as 0, and is not written. */
void virtio_read_config(const struct virtio_dev *dev, uint64_t offset, uint8_t *data, uint32_t len);
void virtio_write_config(struct virtio_dev *dev, uint64_t offset, const uint8_t *data,
			 uint32_t len);

/* --- Words of 64-bit registers --- */

/* Word `word` of 64 bits: 0 beyond them, where a write has no effect. */
uint32_t virtio_word(uint64_t value, uint32_t word);
void virtio_set_word(uint64_t *value, uint32_t word, uint32_t to);

#endif
