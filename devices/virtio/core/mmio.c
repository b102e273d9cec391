/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport, modern layout [virtio-1.2 §4.2].
 *
 * Theory of operation. The registers are mapped to what a driver does (virtio_internal.h), where
 * the rules are. The registers that a driver uses while the device works (notification, interrupt
 * status and its acknowledgment) take no lock: its holder may be in the middle of a batch on the
 * VMM thread.
 *
 * The interrupt status is set before the line fires, and the driver acknowledges what it has read
 * before it looks at the rings: an event is thus seen by the handler that runs, or fires again.
 *
 * Where the machine has a page for it, a guest reads the registers there, without an exit, and only
 * its writes come by the bus. The page is written anew after each of these, and when the device
 * itself changes what it shows. The interrupt status lives in the page. Words are stored whole, and
 * the configuration before its generation, so that a driver that reads it meanwhile sees another
 * generation afterwards, or at the latest is interrupted for the change and reads once more.
 *
 * KVM may take acknowledgments of used buffers alone. Then that bit stays set from the first
 * interrupt to the reset: a driver that looks at its queues in vain goes on.
 */
#include "devices/virtio/core/mmio.h"

#include <stdatomic.h>
#include <string.h>

#include "devices/virtio/core/virtio_internal.h"
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
	REG_INTERRUPT_ACK = VIRTIO_MMIO_INTERRUPT_ACK,
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
	INT_USED = VIRTIO_MMIO_ACK_USED, /* bits of the interrupt status */
	INT_CONFIG = 2,
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0, /* [compat] */
	WORD = 4,   /* the width of all registers but the configuration's */
};

static void interrupt(void *arg, enum virtio_cause cause, unsigned queue)
{
	struct virtio_mmio *mmio = arg;

	(void)queue;
	atomic_fetch_or(mmio->interrupt_status, cause == VIRTIO_CAUSE_USED ? INT_USED : INT_CONFIG);
	irq_line_fire(&mmio->irq);
}

/*
 * Who has it fires the line and can't set the status, which from now on always says that there may
 * be used buffers: a driver that looks in vain goes on.
 */
static int call_fd(void *arg, unsigned queue)
{
	struct virtio_mmio *mmio = arg;

	(void)queue;
	atomic_store(&mmio->is_shared, true);
	atomic_fetch_or(mmio->interrupt_status, INT_USED);
	return mmio->irq.eventfd(mmio->irq.arg);
}

static uint32_t read_register(const struct virtio_mmio *mmio, uint64_t reg)
{
	struct virtio_dev *dev = mmio->dev;
	const struct virtio_queue *queue = virtio_queue(dev, mmio->queue_select);

	switch (reg) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return VERSION;
	case REG_DEVICE_ID:
		return dev->class->type;
	case REG_VENDOR_ID:
		return VENDOR;
	case REG_DEVICE_FEATURES:
		return virtio_word(dev->offered, mmio->device_features_select);
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

static void store_word(uint8_t *at, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)at, value, __ATOMIC_RELEASE);
}

/* Under the lock: what a driver finds in the page is what it would be answered. */
static void show(void *arg)
{
	const struct virtio_mmio *mmio = arg;

	if (mmio->page == NULL) {
		return;
	}
	for (uint32_t at = 0; at < VIRTIO_CONFIG_MAX; at += WORD) {
		uint8_t word[WORD] = {0};

		virtio_read_config(mmio->dev, at, word, WORD);
		store_word(mmio->page + REG_CONFIG + at, load_le32(word));
	}
	for (uint32_t reg = 0; reg < REG_CONFIG; reg += WORD) {
		if (reg != REG_INTERRUPT_STATUS) {
			store_word(mmio->page + reg, read_register(mmio, reg));
		}
	}
}

static void reset_registers(void *arg)
{
	struct virtio_mmio *mmio = arg;

	mmio->device_features_select = 0;
	mmio->driver_features_select = 0;
	mmio->queue_select = 0;
	atomic_store(mmio->interrupt_status, atomic_load(&mmio->is_shared) ? INT_USED : 0);
	show(mmio);
}

void virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_dev *dev, const struct irq_line *irq)
{
	*mmio = (struct virtio_mmio){.dev = dev, .irq = *irq};
	mmio->interrupt_status = &mmio->own_status;
	dev->transport = (struct virtio_transport){
		.interrupt = interrupt,
		.call_fd = irq->eventfd != NULL ? call_fd : NULL,
		.changed = show,
		.reset = reset_registers,
		.arg = mmio,
	};
}

void virtio_mmio_show(struct virtio_mmio *mmio, uint8_t *page)
{
	virtio_lock(mmio->dev);
	mmio->page = page;
	mmio->interrupt_status = (_Atomic uint32_t *)(void *)(page + REG_INTERRUPT_STATUS);
	show(mmio);
	virtio_unlock(mmio->dev);
}

static void write_queue(struct virtq_config *config, uint64_t reg, uint32_t value)
{
	switch (reg) {
	case REG_QUEUE_NUM:
		config->size = virtio_queue_size(value);
		break;
	case REG_QUEUE_READY:
		config->is_ready = value == 1;
		break;
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + WORD:
		virtio_set_word(&config->desc.v, reg != REG_QUEUE_DESC, value);
		break;
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + WORD:
		virtio_set_word(&config->avail.v, reg != REG_QUEUE_AVAIL, value);
		break;
	default:
		virtio_set_word(&config->used.v, reg != REG_QUEUE_USED, value);
		break;
	}
}

static void write_register(struct virtio_mmio *mmio, uint64_t reg, uint32_t value)
{
	struct virtio_dev *dev = mmio->dev;
	struct virtq_config *config;

	switch (reg) {
	case REG_DEVICE_FEATURES_SEL:
		mmio->device_features_select = value;
		break;
	case REG_DRIVER_FEATURES_SEL:
		mmio->driver_features_select = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_write_features(dev, mmio->driver_features_select, value);
		break;
	case REG_QUEUE_SEL:
		mmio->queue_select = value;
		break;
	case REG_QUEUE_NUM:
	case REG_QUEUE_READY:
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + WORD:
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + WORD:
	case REG_QUEUE_USED:
	case REG_QUEUE_USED + WORD:
		config = virtio_queue_config(dev, mmio->queue_select);
		if (config != NULL) {
			write_queue(config, reg, value);
		}
		break;
	case REG_STATUS:
		virtio_write_status(dev, value);
		break;
	default:
		break;
	}
}

/* --- The bus --- */

static void bus_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct virtio_mmio *mmio = device;
	struct virtio_dev *dev = mmio->dev;

	if (offset < REG_CONFIG && len != WORD) {
		return;
	}
	if (offset == REG_INTERRUPT_STATUS) {
		store_le32(data, atomic_load(mmio->interrupt_status));
		return;
	}
	virtio_lock_driver(dev);
	if (offset >= REG_CONFIG) {
		virtio_read_config(dev, offset - REG_CONFIG, data, len);
	} else {
		store_le32(data, read_register(mmio, offset));
	}
	virtio_unlock_driver(dev);
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

static void acknowledge(struct virtio_mmio *mmio, uint32_t events)
{
	if (atomic_load(&mmio->is_shared)) {
		events &= ~(uint32_t)INT_USED;
	}
	atomic_fetch_and(mmio->interrupt_status, ~events);
}

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct virtio_mmio *mmio = device;
	struct virtio_dev *dev = mmio->dev;

	if (offset == REG_QUEUE_NOTIFY) {
		notify(dev, data, len);
		return;
	}
	if (offset < REG_CONFIG && len != WORD) {
		return;
	}
	if (offset == REG_INTERRUPT_ACK) {
		acknowledge(mmio, load_le32(data));
		return;
	}
	virtio_lock_driver(dev);
	if (offset >= REG_CONFIG) {
		virtio_write_config(dev, offset - REG_CONFIG, data, len);
	} else {
		write_register(mmio, offset, load_le32(data));
	}
	show(mmio);
	virtio_unlock_driver(dev);
}

const struct bus_ops virtio_mmio_bus_ops = {
	.read = bus_read,
	.write = bus_write,
};

/* --- Saving and loading --- */

static const struct codec_section section = {
	.tag = CODEC_TAG('M', 'M', 'I', 'O'), .version = 1, .name = "virtio-mmio"};

void virtio_mmio_state_codec(struct codec *codec, struct virtio_mmio_state *state)
{
	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u32(codec, "device_features_select", &state->device_features_select);
	codec_u32(codec, "driver_features_select", &state->driver_features_select);
	codec_u32(codec, "queue_select", &state->queue_select);
	codec_u32(codec, "interrupt_status", &state->interrupt_status);
	codec_section_end(codec);
}

void virtio_mmio_save(struct virtio_mmio *mmio, struct virtio_mmio_state *state)
{
	virtio_lock_driver(mmio->dev);
	*state = (struct virtio_mmio_state){
		.device_features_select = mmio->device_features_select,
		.driver_features_select = mmio->driver_features_select,
		.queue_select = mmio->queue_select,
		.interrupt_status = atomic_load(mmio->interrupt_status),
	};
	virtio_unlock_driver(mmio->dev);
}

/* The selections may be any number, as a driver may write any. */
int virtio_mmio_load(struct virtio_mmio *mmio, const struct virtio_mmio_state *state,
		     struct error *err)
{
	if ((state->interrupt_status & ~(uint32_t)(INT_USED | INT_CONFIG)) != 0) {
		return error_set(err, ERR_CORRUPT,
				 "The %s device %s can't be loaded: its interrupt status is %#x",
				 mmio->dev->class->name, mmio->dev->id, state->interrupt_status);
	}
	virtio_lock_driver(mmio->dev);
	mmio->device_features_select = state->device_features_select;
	mmio->driver_features_select = state->driver_features_select;
	mmio->queue_select = state->queue_select;
	show(mmio);
	virtio_unlock_driver(mmio->dev);
	/* Beside a change of the configuration that virtio_load has found. */
	atomic_fetch_or(mmio->interrupt_status, state->interrupt_status);
	if (state->interrupt_status != 0) {
		irq_line_fire(&mmio->irq);
	}
	return 0;
}
