/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-pci transport, modern [virtio-1.2 §4.1].
 *
 * Theory of operation. A driver finds in the configuration space where in the window of base
 * address 0 the structures are; its registers are mapped to what a driver does, as in mmio.c
 * (virtio_internal.h), where the rules are. Interrupts are messages only: the device has no pin.
 *
 * There are two locks. Common and device configuration are under the device's, as those of mmio.c.
 * Configuration space and MSI-X table are under the transport's own: changing a message waits for
 * KVM, and whoever serves a queue must not wait for that. An interrupt takes neither: its vector is
 * an atomic number, and msix.c does the rest.
 *
 * One capability is a second way into the window [virtio-1.2 §4.1.4.9]: the driver writes a place
 * into the configuration space, then reads or writes four bytes there. Such an access is done as if
 * it came by memory, with no lock held.
 */
#include "devices/virtio/core/pci.h"

#include <assert.h>
#include <string.h>

#include "devices/virtio/core/virtio_internal.h"
#include "vmm/base/bytes.h"

/* The window [compat]. */
enum {
	COMMON = 0x0,
	COMMON_LEN = 0x38,
	ISR = 0x2000,
	ISR_LEN = 1,
	DEVICE = 0x4000,
	DEVICE_LEN = 0x1000,
	NOTIFY = VIRTIO_PCI_NOTIFY,
	NOTIFY_LEN = 0x1000,
	TABLE = 0x8000,
	TABLE_LEN = 0x40000,
	PENDING = 0x48000,
	PENDING_LEN = 0x800,
};

/* The common configuration [virtio-1.2 §4.1.4.3]. */
enum {
	REG_DEVICE_FEATURES_SELECT = 0x00,
	REG_DEVICE_FEATURES = 0x04,
	REG_DRIVER_FEATURES_SELECT = 0x08,
	REG_DRIVER_FEATURES = 0x0c,
	REG_CONFIG_VECTOR = 0x10,
	REG_QUEUE_COUNT = 0x12,
	REG_STATUS = 0x14,
	REG_CONFIG_GENERATION = 0x15,
	REG_QUEUE_SELECT = 0x16,
	REG_QUEUE_SIZE = 0x18,
	REG_QUEUE_VECTOR = 0x1a,
	REG_QUEUE_ENABLE = 0x1c,
	REG_QUEUE_NOTIFY = 0x1e,
	REG_QUEUE_DESC = 0x20, /* low, high; the same for the two below */
	REG_QUEUE_AVAIL = 0x28,
	REG_QUEUE_USED = 0x30,
};

enum {
	ISR_QUEUE = 1,
	ISR_CONFIG = 2,
	NO_VECTOR = 0xffff,
};

/* --- What the function is --- */

enum {
	/* Types of capabilities [virtio-1.2 §4.1.4]. */
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
	CAP_WINDOW = 5, /* the access by way of the configuration space */

	CAP_LEN = 16, /* with id and link, as are the offsets below */
	CAP_BAR = 4,
	CAP_OFFSET = 8,
	CAP_LENGTH = 12,
	CAP_DATA = 16,
	CAP_HEAD = 2, /* id and link */
	WORD = 4,

	MSIX_CONTROL = 2, /* offset of the message control */
};

static uint8_t add_capability(struct pci_config *config, uint8_t type, uint32_t offset,
			      uint32_t length, const uint32_t *more)
{
	uint8_t body[CAP_LEN + WORD - CAP_HEAD] = {0};
	uint8_t len = CAP_LEN + (more != NULL ? WORD : 0);

	body[0] = len;
	body[1] = type;
	store_le32(body + CAP_OFFSET - CAP_HEAD, offset);
	store_le32(body + CAP_LENGTH - CAP_HEAD, length);
	store_le32(body + CAP_DATA - CAP_HEAD, more != NULL ? *more : 0);
	return pci_config_add_capability(config, PCI_CAP_VENDOR, body, (uint8_t)(len - CAP_HEAD));
}

static void add_capabilities(struct virtio_pci *pci)
{
	static const uint32_t step = VIRTIO_PCI_NOTIFY_STEP;
	static const uint32_t none;
	struct pci_config *config = &pci->config;
	uint8_t msix[2 + 2 * WORD];

	add_capability(config, CAP_COMMON, COMMON, COMMON_LEN, NULL);
	add_capability(config, CAP_ISR, ISR, ISR_LEN, NULL);
	add_capability(config, CAP_DEVICE, DEVICE, DEVICE_LEN, NULL);
	add_capability(config, CAP_NOTIFY, NOTIFY, NOTIFY_LEN, &step);
	pci->window_cap = add_capability(config, CAP_WINDOW, 0, 0, &none);
	pci_config_allow(config, pci->window_cap + CAP_BAR, 1);
	pci_config_allow(config, pci->window_cap + CAP_OFFSET, 2 * WORD);
	/* The size less one; where table and pending bits are, both in base address 0. */
	store_le16(msix, (uint16_t)(pci->msix.count - 1));
	store_le32(msix + 2, TABLE);
	store_le32(msix + 2 + WORD, PENDING);
	pci->msix_cap = pci_config_add_capability(config, PCI_CAP_MSIX, msix, sizeof(msix));
	config->writable[pci->msix_cap + MSIX_CONTROL + 1] =
		(MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK) >> 8;
}

static struct pci_identity identity_of(enum virtio_type type)
{
	enum {
		VENDOR = 0x1af4,
		DEVICE_FIRST = 0x1040,
		REVISION = 1,
		CLASS_NET = 0x020000,
		CLASS_STORAGE = 0x018000,
		CLASS_OTHER = 0xffff00,
	};
	uint16_t device = (uint16_t)(DEVICE_FIRST + type);
	uint32_t class = CLASS_OTHER;

	if (type == VIRTIO_TYPE_NET) {
		class = CLASS_NET;
	} else if (type == VIRTIO_TYPE_BLOCK) {
		class = CLASS_STORAGE;
	}
	return (struct pci_identity){
		.vendor = VENDOR,
		.device = device,
		.revision = REVISION,
		.class = class,
		.subsystem_vendor = VENDOR,
		.subsystem = device,
	};
}

/* --- Interrupts and reset --- */

unsigned virtio_pci_vectors(const struct virtio_dev *dev)
{
	return dev->queue_count + 1;
}

static void interrupt(void *arg, enum virtio_cause cause, unsigned queue)
{
	struct virtio_pci *pci = arg;
	bool is_used = cause == VIRTIO_CAUSE_USED;
	uint16_t vector = atomic_load(is_used ? &pci->queue_vectors[queue] : &pci->config_vector);

	atomic_fetch_or(&pci->isr, is_used ? ISR_QUEUE : ISR_CONFIG);
	if (vector != NO_VECTOR) {
		msix_raise(&pci->msix, vector);
	}
}

/* MSI-X and configuration space are the function's, and stay. */
static void reset(void *arg)
{
	struct virtio_pci *pci = arg;

	pci->device_features_select = 0;
	pci->driver_features_select = 0;
	pci->queue_select = 0;
	atomic_store(&pci->isr, 0);
	atomic_store(&pci->config_vector, NO_VECTOR);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		atomic_store(&pci->queue_vectors[i], NO_VECTOR);
	}
}

void virtio_pci_init(struct virtio_pci *pci, struct virtio_dev *dev,
		     const struct virtio_pci_place *place, const struct msi_port *port)
{
	const struct pci_identity identity = identity_of(dev->class->type);

	*pci = (struct virtio_pci){
		.dev = dev, .base = place->base, .lock = PTHREAD_MUTEX_INITIALIZER};
	reset(pci);
	pci_config_init(&pci->config, &identity);
	pci_config_add_bar64(&pci->config, 0, place->base, VIRTIO_PCI_BAR_LEN,
			     place->is_behind_bridge);
	msix_init(&pci->msix, virtio_pci_vectors(dev), port);
	add_capabilities(pci);
	dev->transport =
		(struct virtio_transport){.interrupt = interrupt, .reset = reset, .arg = pci};
}

void virtio_pci_destroy(struct virtio_pci *pci)
{
	if (pci->dev != NULL) {
		pthread_mutex_destroy(&pci->lock);
		pci->dev = NULL;
	}
}

/* --- Common configuration --- */

/* The registers' widths, by offset; 0: none begins there. */
static const uint8_t widths[COMMON_LEN] = {
	[REG_DEVICE_FEATURES_SELECT] = 4,
	[REG_DEVICE_FEATURES] = 4,
	[REG_DRIVER_FEATURES_SELECT] = 4,
	[REG_DRIVER_FEATURES] = 4,
	[REG_CONFIG_VECTOR] = 2,
	[REG_QUEUE_COUNT] = 2,
	[REG_STATUS] = 1,
	[REG_CONFIG_GENERATION] = 1,
	[REG_QUEUE_SELECT] = 2,
	[REG_QUEUE_SIZE] = 2,
	[REG_QUEUE_VECTOR] = 2,
	[REG_QUEUE_ENABLE] = 2,
	[REG_QUEUE_NOTIFY] = 2,
	[REG_QUEUE_DESC] = 4,
	[REG_QUEUE_DESC + WORD] = 4,
	[REG_QUEUE_AVAIL] = 4,
	[REG_QUEUE_AVAIL + WORD] = 4,
	[REG_QUEUE_USED] = 4,
	[REG_QUEUE_USED + WORD] = 4,
};

static uint32_t high_word(uint64_t reg)
{
	return (uint32_t)(reg / WORD % 2);
}

static uint32_t read_queue(const struct virtio_pci *pci, const struct virtio_queue *queue,
			   uint64_t reg)
{
	const struct virtq_config *config = &queue->config;

	switch (reg) {
	case REG_QUEUE_SIZE:
		return config->size;
	case REG_QUEUE_VECTOR:
		return atomic_load(&pci->queue_vectors[pci->queue_select]);
	case REG_QUEUE_ENABLE:
		return config->is_ready;
	case REG_QUEUE_NOTIFY:
		return pci->queue_select;
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + WORD:
		return virtio_word(config->desc.v, high_word(reg));
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + WORD:
		return virtio_word(config->avail.v, high_word(reg));
	default:
		return virtio_word(config->used.v, high_word(reg));
	}
}

static uint32_t read_common(const struct virtio_pci *pci, uint64_t reg)
{
	struct virtio_dev *dev = pci->dev;
	const struct virtio_queue *queue = virtio_queue(dev, pci->queue_select);

	switch (reg) {
	case REG_DEVICE_FEATURES_SELECT:
		return pci->device_features_select;
	case REG_DEVICE_FEATURES:
		return virtio_word(dev->offered, pci->device_features_select);
	case REG_DRIVER_FEATURES_SELECT:
		return pci->driver_features_select;
	case REG_DRIVER_FEATURES:
		return virtio_word(dev->acked, pci->driver_features_select);
	case REG_CONFIG_VECTOR:
		return atomic_load(&pci->config_vector);
	case REG_QUEUE_COUNT:
		return dev->queue_count;
	case REG_STATUS:
		return dev->status;
	case REG_CONFIG_GENERATION:
		return dev->config_generation;
	case REG_QUEUE_SELECT:
		return pci->queue_select;
	default:
		return queue != NULL ? read_queue(pci, queue, reg) : 0;
	}
}

/* One that does not exist is stored as none, by which a driver sees that it can't have it. */
static uint16_t vector_of(const struct virtio_pci *pci, uint32_t value)
{
	return value < pci->msix.count ? (uint16_t)value : NO_VECTOR;
}

static void write_queue(struct virtio_pci *pci, uint64_t reg, uint32_t value)
{
	struct virtq_config *config = virtio_queue_config(pci->dev, pci->queue_select);

	if (config == NULL) {
		return;
	}
	switch (reg) {
	case REG_QUEUE_SIZE:
		config->size = virtio_queue_size(value);
		break;
	case REG_QUEUE_ENABLE:
		/* Nothing but a reset disables a queue [virtio-1.2 §4.1.4.3.2]. */
		config->is_ready |= value == 1;
		break;
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + WORD:
		virtio_set_word(&config->desc.v, high_word(reg), value);
		break;
	case REG_QUEUE_AVAIL:
	case REG_QUEUE_AVAIL + WORD:
		virtio_set_word(&config->avail.v, high_word(reg), value);
		break;
	case REG_QUEUE_USED:
	case REG_QUEUE_USED + WORD:
		virtio_set_word(&config->used.v, high_word(reg), value);
		break;
	default:
		break;
	}
}

static void write_common(struct virtio_pci *pci, uint64_t reg, uint32_t value)
{
	struct virtio_dev *dev = pci->dev;

	switch (reg) {
	case REG_DEVICE_FEATURES_SELECT:
		pci->device_features_select = value;
		break;
	case REG_DRIVER_FEATURES_SELECT:
		pci->driver_features_select = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_write_features(dev, pci->driver_features_select, value);
		break;
	case REG_CONFIG_VECTOR:
		atomic_store(&pci->config_vector, vector_of(pci, value));
		break;
	case REG_STATUS:
		virtio_write_status(dev, value);
		break;
	case REG_QUEUE_SELECT:
		pci->queue_select = (uint16_t)value;
		break;
	case REG_QUEUE_VECTOR:
		/* In any state: it is about interrupts, and nothing of the queue depends on it. */
		if (virtio_queue(dev, pci->queue_select) != NULL) {
			atomic_store(&pci->queue_vectors[pci->queue_select], vector_of(pci, value));
		}
		break;
	default:
		write_queue(pci, reg, value);
		break;
	}
}

/* A whole register, or both halves of one of 64 bits. All other widths and places are none. */
static bool is_register(uint64_t reg, uint32_t len)
{
	bool is_wide = len == sizeof(uint64_t) && reg >= REG_QUEUE_DESC && is_aligned(reg, len);

	return reg < COMMON_LEN && (is_wide || (widths[reg] != 0 && widths[reg] == len));
}

/* --- The window --- */

/* What is behind an offset, of all `len` bytes. */
static bool is_in(uint64_t offset, uint32_t len, uint64_t begin, uint64_t size)
{
	return offset >= begin && offset < begin + size && len <= begin + size - offset;
}

static void read_registers(struct virtio_pci *pci, uint64_t offset, uint8_t *data, uint32_t len)
{
	virtio_lock_driver(pci->dev);
	if (is_in(offset, len, DEVICE, DEVICE_LEN)) {
		virtio_read_config(pci->dev, offset - DEVICE, data, len);
	} else if (is_register(offset, len)) {
		for (uint32_t i = 0; i < len; i += WORD) {
			uint32_t value = read_common(pci, offset + i);

			memcpy(data + i, &value, min_u64(len, WORD));
		}
	}
	virtio_unlock_driver(pci->dev);
}

static void write_registers(struct virtio_pci *pci, uint64_t offset, const uint8_t *data,
			    uint32_t len)
{
	virtio_lock_driver(pci->dev);
	if (is_in(offset, len, DEVICE, DEVICE_LEN)) {
		virtio_write_config(pci->dev, offset - DEVICE, data, len);
	} else if (is_register(offset, len)) {
		for (uint32_t i = 0; i < len; i += WORD) {
			uint32_t value = 0;

			memcpy(&value, data + i, min_u64(len, WORD));
			write_common(pci, offset + i, value);
		}
	}
	virtio_unlock_driver(pci->dev);
}

/* What KVM's ioeventfds did not take, because there are none: the place is the queue's number. */
static void notify(struct virtio_dev *dev, uint64_t offset)
{
	uint64_t index = offset / VIRTIO_PCI_NOTIFY_STEP;

	if (index < dev->queue_count) {
		virtio_kick(dev, (unsigned)index);
	}
}

static void read_window(struct virtio_pci *pci, uint64_t offset, uint8_t *data, uint32_t len)
{
	if (offset == ISR && len == ISR_LEN) {
		data[0] = atomic_exchange(&pci->isr, 0); /* a read acknowledges */
	} else if (offset < TABLE) {
		read_registers(pci, offset, data, len);
	} else {
		pthread_mutex_lock(&pci->lock);
		if (is_in(offset, len, TABLE, TABLE_LEN)) {
			msix_read_table(&pci->msix, offset - TABLE, data, len);
		} else if (is_in(offset, len, PENDING, PENDING_LEN)) {
			msix_read_pending(&pci->msix, offset - PENDING, data, len);
		}
		pthread_mutex_unlock(&pci->lock);
	}
}

static void write_window(struct virtio_pci *pci, uint64_t offset, const uint8_t *data, uint32_t len)
{
	if (is_in(offset, len, NOTIFY, NOTIFY_LEN)) {
		notify(pci->dev, offset - NOTIFY);
	} else if (offset < TABLE) {
		write_registers(pci, offset, data, len);
	} else if (is_in(offset, len, TABLE, TABLE_LEN)) {
		pthread_mutex_lock(&pci->lock);
		msix_write_table(&pci->msix, offset - TABLE, data, len);
		pthread_mutex_unlock(&pci->lock);
	}
}

static void bar_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct virtio_pci *pci = device;

	if (atomic_load(&pci->is_mapped)) {
		read_window(pci, offset, data, len);
	} else {
		memset(data, 0xff, len);
	}
}

static void bar_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct virtio_pci *pci = device;

	if (atomic_load(&pci->is_mapped)) {
		write_window(pci, offset, data, len);
	}
}

const struct bus_ops virtio_pci_bar_ops = {.read = bar_read, .write = bar_write};

/* --- Configuration space --- */

/* The place in the window that the driver has written; len 0: none. */
struct place {
	uint32_t offset;
	uint32_t len;
};

/* Of an access to the four bytes that stand for a part of the window. Under the lock. */
static struct place find_place(const struct virtio_pci *pci, uint64_t offset, uint32_t len)
{
	unsigned cap = pci->window_cap;
	struct place place = {
		.offset = pci_config_u32(&pci->config, cap + CAP_OFFSET),
		.len = pci_config_u32(&pci->config, cap + CAP_LENGTH),
	};
	bool is_valid = pci->config.bytes[cap + CAP_BAR] == 0 && place.len <= WORD &&
			(place.len & (place.len - 1)) == 0 &&
			is_in(place.offset, place.len, 0, VIRTIO_PCI_BAR_LEN);

	if (!is_valid || offset != cap + CAP_DATA || len < place.len) {
		place.len = 0;
	}
	return place;
}

static void config_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct virtio_pci *pci = device;

	pthread_mutex_lock(&pci->lock);
	pci_config_read(&pci->config, offset, data, len);
	struct place place = find_place(pci, offset, len);

	pthread_mutex_unlock(&pci->lock);
	if (place.len > 0) {
		read_window(pci, place.offset, data, place.len);
	}
}

/* What follows from the registers that were written. Under the lock. */
static void settle(struct virtio_pci *pci)
{
	uint16_t command = pci_config_u16(&pci->config, PCI_COMMAND);

	atomic_store(&pci->is_mapped, (command & PCI_COMMAND_MEMORY) != 0);
	msix_write_control(&pci->msix, pci_config_u16(&pci->config, pci->msix_cap + MSIX_CONTROL));
}

static void config_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct virtio_pci *pci = device;

	pthread_mutex_lock(&pci->lock);
	pci_config_write(&pci->config, offset, data, len);
	settle(pci);
	struct place place = find_place(pci, offset, len);

	pthread_mutex_unlock(&pci->lock);
	if (place.len > 0) {
		write_window(pci, place.offset, data, place.len);
	}
}

void virtio_pci_reset(struct virtio_pci *pci)
{
	virtio_reset(pci->dev);
	pthread_mutex_lock(&pci->lock);
	pci_config_reset(&pci->config);
	settle(pci);
	msix_reset(&pci->msix);
	pthread_mutex_unlock(&pci->lock);
}

const struct bus_ops virtio_pci_config_ops = {.read = config_read, .write = config_write};

/* --- Saving and loading --- */

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'P', 'C', 'I'), .version = 1, .name = "virtio-pci"};

void virtio_pci_state_codec(struct codec *codec, struct virtio_pci_state *state)
{
	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u32(codec, "device_features_select", &state->device_features_select);
	codec_u32(codec, "driver_features_select", &state->driver_features_select);
	codec_u16(codec, "queue_select", &state->queue_select);
	codec_u8(codec, "isr", &state->isr);
	codec_u16(codec, "config_vector", &state->config_vector);
	codec_count(codec, "queues", &state->queue_count, VIRTIO_QUEUES_MAX);
	for (uint32_t i = 0; i < state->queue_count; i++) {
		codec_begin_item(codec, "queue", i);
		codec_u16(codec, "vector", &state->queue_vectors[i]);
		codec_end(codec);
	}
	codec_u8(codec, "probed", &state->probed);
	codec_bytes(codec, "config", state->bytes, sizeof(state->bytes));
	msix_state_codec(codec, &state->msix);
	codec_section_end(codec);
}

void virtio_pci_save(struct virtio_pci *pci, struct virtio_pci_state *state)
{
	virtio_lock_driver(pci->dev);
	*state = (struct virtio_pci_state){
		.device_features_select = pci->device_features_select,
		.driver_features_select = pci->driver_features_select,
		.queue_select = pci->queue_select,
		.isr = atomic_load(&pci->isr),
		.config_vector = atomic_load(&pci->config_vector),
		.queue_count = pci->dev->queue_count,
	};
	for (unsigned i = 0; i < pci->dev->queue_count; i++) {
		state->queue_vectors[i] = atomic_load(&pci->queue_vectors[i]);
	}
	virtio_unlock_driver(pci->dev);
	pthread_mutex_lock(&pci->lock);
	state->probed = pci->config.probed;
	memcpy(state->bytes, pci->config.bytes, sizeof(state->bytes));
	msix_save(&pci->msix, &state->msix);
	pthread_mutex_unlock(&pci->lock);
}

static bool is_possible(const struct virtio_pci *pci, const struct virtio_pci_state *state)
{
	bool are_vectors = vector_of(pci, state->config_vector) == state->config_vector;

	if (state->queue_count != pci->dev->queue_count) {
		return false;
	}
	for (uint32_t i = 0; i < state->queue_count; i++) {
		are_vectors &= vector_of(pci, state->queue_vectors[i]) == state->queue_vectors[i];
	}
	return are_vectors && (state->isr & ~(ISR_QUEUE | ISR_CONFIG)) == 0;
}

static void load_registers(struct virtio_pci *pci, const struct virtio_pci_state *state)
{
	virtio_lock_driver(pci->dev);
	pci->device_features_select = state->device_features_select;
	pci->driver_features_select = state->driver_features_select;
	pci->queue_select = state->queue_select;
	atomic_store(&pci->isr, state->isr);
	atomic_store(&pci->config_vector, state->config_vector);
	for (uint32_t i = 0; i < state->queue_count; i++) {
		atomic_store(&pci->queue_vectors[i], state->queue_vectors[i]);
	}
	virtio_unlock_driver(pci->dev);
}

/* As a driver writes it: what none can write stays as it is. */
static int load_function(struct virtio_pci *pci, const struct virtio_pci_state *state,
			 struct error *err)
{
	uint16_t control = load_le16(state->bytes + pci->msix_cap + MSIX_CONTROL) &
			   (MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK);

	if (control != state->msix.control) {
		return error_set(err, ERR_CORRUPT,
				 "Its MSI-X is %#x, and %#x in its configuration space",
				 state->msix.control, control);
	}
	pci_config_write(&pci->config, 0, state->bytes, sizeof(state->bytes));
	pci_config_load_probed(&pci->config, state->probed);
	if (msix_load(&pci->msix, &state->msix, err) < 0) {
		return -1;
	}
	settle(pci);
	return 0;
}

int virtio_pci_load(struct virtio_pci *pci, const struct virtio_pci_state *state, struct error *err)
{
	if (!is_possible(pci, state)) {
		return error_set(err, ERR_CORRUPT,
				 "No driver can have written its virtio-pci registers");
	}
	load_registers(pci, state);
	pthread_mutex_lock(&pci->lock);
	int result = load_function(pci, state, err);

	pthread_mutex_unlock(&pci->lock);
	return result;
}
