/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport, modern layout [virtio-1.2 §4.2].
 *
 * Theory of operation. A driver goes through the states of its status register one bit at a time
 * [compat]; each register can be written in the states that the table below gives it, and in no
 * other. So nothing that the device was started with changes under it: what is written to the
 * registers of a queue after DRIVER_OK has no effect at all.
 *
 *	0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK
 *	                    features   queues
 *
 * 0 resets from anywhere, FAILED can be set from anywhere, and after that only 0 is accepted.
 *
 * The registers that a driver uses while the device works (notification, interrupt status and its
 * acknowledgment) take no lock: its holder may be in the middle of a batch on the VMM thread.
 */
#include "devices/virtio/mmio.h"

#include <stdbool.h>
#include <string.h>

#include "devices/virtio/virtio_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

/* [virtio-1.2 §4.2.2] */
enum {
	REG_MAGIC = 0x00,
	REG_VERSION = 0x04,
	REG_DEVICE_ID = 0x08,
	REG_VENDOR_ID = 0x0c,
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_NUM_MAX = 0x34,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = VIRTIO_MMIO_QUEUE_NOTIFY,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80, /* low, high; the same for the two below */
	REG_QUEUE_AVAIL = 0x90,
	REG_QUEUE_USED = 0xa0,
	REG_SHM_LEN_LOW = 0xb0,
	REG_SHM_LEN_HIGH = 0xb4,
	REG_SHM_BASE_LOW = 0xb8,
	REG_SHM_BASE_HIGH = 0xbc,
	REG_CONFIG_GENERATION = 0xfc,
	REG_CONFIG = 0x100,
};

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0, /* [compat] */
	WORD = 4,   /* the width of all registers but the configuration's */
};

static struct virtio_queue *selected(struct virtio_dev *dev)
{
	return dev->queue_select < dev->queue_count ? &dev->queues[dev->queue_select] : NULL;
}

/* Word `select` of 64 bits; 0 beyond them. */
static uint32_t half(uint64_t value, uint32_t select)
{
	return select < 2 ? (uint32_t)(value >> (32 * select)) : 0;
}

static void set_half(uint64_t *value, uint32_t select, uint32_t word)
{
	if (select < 2) {
		unsigned shift = 32 * select;

		*value = (*value & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)word << shift;
	}
}

static uint32_t read_register(struct virtio_dev *dev, uint64_t reg)
{
	const struct virtio_queue *queue = selected(dev);

	switch (reg) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return VERSION;
	case REG_DEVICE_ID:
		return dev->ops->type;
	case REG_VENDOR_ID:
		return VENDOR;
	case REG_DEVICE_FEATURES:
		return half(dev->offered, dev->device_features_select);
	case REG_QUEUE_NUM_MAX:
		return queue != NULL ? VIRTQ_SIZE_MAX : 0;
	case REG_QUEUE_READY:
		return queue != NULL && queue->config.is_ready;
	case REG_STATUS:
		return dev->status;
	case REG_SHM_LEN_LOW:
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH:
		return UINT32_MAX; /* there is no such region, whatever its number */
	case REG_CONFIG_GENERATION:
		return dev->config_generation;
	default:
		return 0;
	}
}

/* --- status --- */

/* The bit that a driver may set next, by the bits that are set. */
static uint8_t next_status(uint8_t status)
{
	static const uint8_t order[] = {
		VIRTIO_STATUS_ACKNOWLEDGE,
		VIRTIO_STATUS_DRIVER,
		VIRTIO_STATUS_FEATURES_OK,
		VIRTIO_STATUS_DRIVER_OK,
	};

	for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
		if ((status & order[i]) == 0) {
			return order[i];
		}
	}
	return 0;
}

static bool accept_features(const struct virtio_dev *dev)
{
	if ((dev->acked & ~dev->offered) != 0 || (dev->acked & VIRTIO_F_VERSION_1) == 0) {
		log_guest_warn("The driver of %s device %s wants features %#llx of %#llx: refused",
			       dev->ops->name, dev->id, (unsigned long long)dev->acked,
			       (unsigned long long)dev->offered);
		return false;
	}
	return true;
}

static void write_status(struct virtio_dev *dev, uint32_t value)
{
	/* DEVICE_NEEDS_RESET is ours: drivers write back what they have read. */
	uint8_t ours = VIRTIO_STATUS_NEEDS_RESET;
	uint8_t before = dev->status & (uint8_t)~ours;
	uint32_t wanted = value & ~(uint32_t)ours;

	if (value == 0) {
		virtio_reset(dev);
		return;
	}
	if ((wanted & VIRTIO_STATUS_FAILED) != 0) {
		dev->status |= VIRTIO_STATUS_FAILED;
		return;
	}
	if (wanted == before) {
		return;
	}
	if ((before & VIRTIO_STATUS_FAILED) != 0 || wanted != (before | next_status(before))) {
		log_guest_warn("The driver of %s device %s sets status %#x after %#x: ignored",
			       dev->ops->name, dev->id, value, dev->status);
		return;
	}
	if (next_status(before) == VIRTIO_STATUS_FEATURES_OK && !accept_features(dev)) {
		return;
	}
	dev->status |= next_status(before);
	if (next_status(before) == VIRTIO_STATUS_DRIVER_OK) {
		virtio_activate(dev);
	}
}

/* --- the other registers --- */

/* The status has all bits of `set` and none of `clear`, FAILED or NEEDS_RESET. */
static bool is_in(const struct virtio_dev *dev, uint8_t set, uint8_t clear)
{
	const unsigned never = VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET;

	return (dev->status & set) == set && (dev->status & (clear | never)) == 0;
}

static void write_queue(struct virtq_config *config, uint64_t reg, uint32_t value)
{
	switch (reg) {
	case REG_QUEUE_NUM:
		/* Not cut to a number that may be valid; virtq_start refuses 0. */
		config->size = value <= VIRTQ_SIZE_MAX ? (uint16_t)value : 0;
		break;
	case REG_QUEUE_READY:
		config->is_ready = value == 1;
		break;
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + WORD:
		set_half(&config->desc.v, reg != REG_QUEUE_DESC, value);
		break;
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + WORD:
		set_half(&config->avail.v, reg != REG_QUEUE_AVAIL, value);
		break;
	default:
		set_half(&config->used.v, reg != REG_QUEUE_USED, value);
		break;
	}
}

static void write_register(struct virtio_dev *dev, uint64_t reg, uint32_t value)
{
	switch (reg) {
	case REG_DEVICE_FEATURES_SEL:
		dev->device_features_select = value;
		break;
	case REG_DRIVER_FEATURES_SEL:
		dev->driver_features_select = value;
		break;
	case REG_DRIVER_FEATURES:
		if (is_in(dev, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_FEATURES_OK)) {
			set_half(&dev->acked, dev->driver_features_select, value);
		}
		break;
	case REG_QUEUE_SEL:
		dev->queue_select = value;
		break;
	case REG_QUEUE_NUM:
	case REG_QUEUE_READY:
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + WORD:
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + WORD:
	case REG_QUEUE_USED:
	case REG_QUEUE_USED + WORD:
		if (selected(dev) != NULL &&
		    is_in(dev, VIRTIO_STATUS_FEATURES_OK, VIRTIO_STATUS_DRIVER_OK)) {
			write_queue(&selected(dev)->config, reg, value);
		}
		break;
	case REG_STATUS:
		write_status(dev, value);
		break;
	default:
		break;
	}
}

/* --- the bus --- */

static void read_config(struct virtio_dev *dev, uint64_t offset, uint8_t *data, uint32_t len)
{
	if (offset < dev->config_len) {
		memcpy(data, dev->config + offset, min_u64(len, dev->config_len - offset));
	}
}

static void write_config(struct virtio_dev *dev, uint64_t offset, const uint8_t *data, uint32_t len)
{
	bool is_within = offset < dev->config_len && len <= dev->config_len - offset;

	if (dev->ops->config_write == NULL || !is_within || !is_in(dev, VIRTIO_STATUS_DRIVER, 0)) {
		log_guest_warn("A write to the configuration of %s device %s is ignored",
			       dev->ops->name, dev->id);
		return;
	}
	dev->ops->config_write(dev, offset, data, len);
}

static void bus_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct virtio_dev *dev = device;

	if (offset < REG_CONFIG && len != WORD) {
		return;
	}
	if (offset == REG_INTERRUPT_STATUS) {
		store_le32(data, atomic_load(&dev->interrupt_status));
		return;
	}
	virtio_lock(dev);
	if (offset >= REG_CONFIG) {
		read_config(dev, offset - REG_CONFIG, data, len);
	} else {
		store_le32(data, read_register(dev, offset));
	}
	virtio_unlock(dev);
}

/* What KVM's ioeventfds did not take, be it for its width or because there are none. */
static void notify(struct virtio_dev *dev, const uint8_t *data, uint32_t len)
{
	uint8_t padded[8] = {0};

	memcpy(padded, data, min_u64(len, sizeof(padded)));
	uint64_t index = load_le64(padded);

	if (index < dev->queue_count) {
		virtio_kick(dev, (unsigned)index);
	}
}

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct virtio_dev *dev = device;

	if (offset == REG_QUEUE_NOTIFY) {
		notify(dev, data, len);
		return;
	}
	if (offset < REG_CONFIG && len != WORD) {
		return;
	}
	if (offset == REG_INTERRUPT_ACK) {
		atomic_fetch_and(&dev->interrupt_status, ~load_le32(data));
		return;
	}
	virtio_lock(dev);
	if (offset >= REG_CONFIG) {
		write_config(dev, offset - REG_CONFIG, data, len);
	} else {
		write_register(dev, offset, load_le32(data));
	}
	virtio_unlock(dev);
}

const struct bus_ops virtio_mmio_bus_ops = {
	.read = bus_read,
	.write = bus_write,
};
