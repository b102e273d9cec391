/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small polling driver of virtio devices. On PCI, registers of MMIO are those of the common
 * configuration, with widths of their own.
 */
#include "tests/guests/payload/virtio.h"

enum {
	/* Looks at memory, and after each so many one at the device: exits take time on any KVM. */
	LOOKS = 500,
	PATIENCE = 400000,
	BLOCK_IN = 0,
	REQUEST_LEN = 16,
	RANDOM_LEN = 64,
};

static const uint32_t device_ids[DEVICES] = {5, 2, 1, 19, 4};
const char *const device_names[DEVICES] = {"balloon", "block", "net", "vsock", "entropy"};

struct device devices[DEVICES];
uint8_t scratch[0x1000] __attribute__((aligned(0x1000)));

static struct rings rings_memory[DEVICES][QUEUES_MAX] __attribute__((aligned(0x1000)));

static bool is_pci;

/* Where a register is on PCI. */
struct place {
	unsigned at;
	unsigned width;
};

static struct place place_of(unsigned reg)
{
	enum {
		PCI_CONFIG = 0x4000
	};
	static const struct {
		unsigned reg;
		struct place place;
	} places[] = {
		{REG_FEATURES, {0x04, 4}},	  {REG_FEATURES_SEL, {0x00, 4}},
		{REG_DRIVER_FEATURES, {0x0c, 4}}, {REG_DRIVER_FEATURES_SEL, {0x08, 4}},
		{REG_QUEUE_SEL, {0x16, 2}},	  {REG_QUEUE_NUM_MAX, {0x18, 2}},
		{REG_QUEUE_NUM, {0x18, 2}},	  {REG_QUEUE_READY, {0x1c, 2}},
		{REG_STATUS, {0x14, 1}},	  {REG_QUEUE_DESC, {0x20, 4}},
		{REG_QUEUE_DESC + 4, {0x24, 4}},  {REG_QUEUE_AVAIL, {0x28, 4}},
		{REG_QUEUE_AVAIL + 4, {0x2c, 4}}, {REG_QUEUE_USED, {0x30, 4}},
		{REG_QUEUE_USED + 4, {0x34, 4}},
	};

	for (unsigned i = 0; i < COUNT_OF(places); i++) {
		if (places[i].reg == reg) {
			return places[i].place;
		}
	}
	return (struct place){PCI_CONFIG + reg - REG_CONFIG, 4};
}

uint32_t device_read(const struct device *device, unsigned reg)
{
	struct place place = is_pci ? place_of(reg) : (struct place){reg, 4};

	return (uint32_t)memory_read(device->base + place.at, place.width);
}

void device_write(const struct device *device, unsigned reg, uint32_t value)
{
	struct place place = is_pci ? place_of(reg) : (struct place){reg, 4};

	memory_write(device->base + place.at, place.width, value);
}

bool devices_are_on_pci(void)
{
	return is_pci;
}

uint64_t device_config_space(unsigned index)
{
	return pci_ecam + (uint64_t)(index + 1) * PCI_SLOT_LEN;
}

void device_write64(const struct device *device, unsigned reg, uint64_t value)
{
	device_write(device, reg, (uint32_t)value);
	device_write(device, reg + 4, (uint32_t)(value >> 32));
}

static bool find_on_mmio(struct device *device, unsigned index)
{
	device->base = virtio_window + (uint64_t)index * WINDOW_LEN;
	return device_read(device, REG_MAGIC) == 0x74726976 &&
	       device_read(device, REG_DEVICE_ID) == device_ids[index];
}

/* And lets its window answer, and itself send messages. */
static bool find_on_pci(struct device *device, unsigned index)
{
	uint64_t space = device_config_space(index);

	if (memory_read(space, 4) != ((0x1040 + device_ids[index]) << 16 | 0x1af4)) {
		return false;
	}
	memory_write(space + 4, 2, 6);
	device->base = memory_read(space + 0x14, 4) << 32 | (memory_read(space + 0x10, 4) & ~15u);
	return true;
}

bool devices_find(void)
{
	is_pci = memory_read(pci_ecam, 4) == 0x0d578086;
	for (unsigned i = 0; i < DEVICES; i++) {
		struct device *device = &devices[i];

		if (!(is_pci ? find_on_pci(device, i) : find_on_mmio(device, i))) {
			print("virtio: there is no ");
			print(device_names[i]);
			print(" device\n");
			return false;
		}
		for (unsigned j = 0; j < QUEUES_MAX; j++) {
			device->rings[j] = &rings_memory[i][j];
			device_write(device, REG_QUEUE_SEL, j);
			if (device_read(device, REG_QUEUE_NUM_MAX) >= QUEUE_SIZE) {
				device->queues = j + 1;
			}
		}
	}
	return true;
}

void device_begin(struct device *device, uint64_t wanted)
{
	uint64_t offered;

	device_write(device, REG_STATUS, 0);
	device_write(device, REG_STATUS, STATUS_ACKNOWLEDGE);
	device_write(device, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	device_write(device, REG_FEATURES_SEL, 0);
	offered = device_read(device, REG_FEATURES);
	device_write(device, REG_FEATURES_SEL, 1);
	offered |= (uint64_t)device_read(device, REG_FEATURES) << 32;
	offered &= wanted;
	device_write(device, REG_DRIVER_FEATURES_SEL, 0);
	device_write(device, REG_DRIVER_FEATURES, (uint32_t)offered);
	device_write(device, REG_DRIVER_FEATURES_SEL, 1);
	device_write(device, REG_DRIVER_FEATURES, (uint32_t)(offered >> 32));
	device_write(device, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
}

void device_queue_at(struct device *device, unsigned index, uint64_t desc, uint64_t avail,
		     uint64_t used)
{
	device_write(device, REG_QUEUE_SEL, index);
	device_write(device, REG_QUEUE_NUM, QUEUE_SIZE);
	device_write64(device, REG_QUEUE_DESC, desc);
	device_write64(device, REG_QUEUE_AVAIL, avail);
	device_write64(device, REG_QUEUE_USED, used);
	device_write(device, REG_QUEUE_READY, 1);
}

void device_queue(struct device *device, unsigned index)
{
	volatile struct rings *rings = device->rings[index];
	volatile uint64_t *words = (volatile uint64_t *)rings;

	for (size_t i = 0; i < sizeof(*rings) / sizeof(*words); i++) {
		words[i] = 0;
	}
	device_queue_at(device, index, (uint64_t)&rings->desc, (uint64_t)&rings->avail,
			(uint64_t)&rings->used);
}

void device_run(struct device *device)
{
	memory_barrier();
	device_write(device, REG_STATUS,
		     STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

void device_start(struct device *device)
{
	device_begin(device, UINT64_C(1) << 32);
	for (unsigned i = 0; i < device->queues; i++) {
		device_queue(device, i);
	}
	device_run(device);
}

void device_notify(const struct device *device, unsigned queue)
{
	enum {
		PCI_NOTIFY = 0x6000
	};

	memory_barrier();
	if (is_pci) {
		memory_write(device->base + PCI_NOTIFY + (uint64_t)queue * 4, 2, queue);
		return;
	}
	device_write(device, REG_QUEUE_NOTIFY, queue);
}

void rings_offer(volatile struct rings *rings, uint16_t head)
{
	uint16_t idx = rings->avail.idx;

	rings->avail.ring[idx % QUEUE_SIZE] = head;
	memory_barrier();
	rings->avail.idx = (uint16_t)(idx + 1);
	memory_barrier();
}

void desc_set(volatile struct desc *desc, volatile void *addr, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	desc->addr = (uint64_t)addr;
	desc->len = len;
	desc->flags = flags;
	desc->next = next;
}

/* Offers descriptor 0 of queue 0 and waits until it is used. */
static bool complete(struct device *device, const char *name)
{
	volatile struct rings *rings = device->rings[0];
	uint16_t used = rings->used.idx;

	rings_offer(rings, 0);
	device_notify(device, 0);
	for (unsigned i = 0; i < PATIENCE; i++) {
		for (unsigned j = 0; j < LOOKS; j++) {
			if (rings->used.idx != used) {
				return true;
			}
		}
		(void)device_read(device, REG_STATUS);
	}
	print(name);
	print(" does not answer, status ");
	print_hex(device_read(device, REG_STATUS));
	print("\n");
	return false;
}

bool disk_works(uint64_t sector)
{
	static volatile struct {
		uint32_t type;
		uint32_t reserved;
		uint64_t sector;
		uint64_t words[SECTOR / 8];
		uint8_t status;
	} request;
	struct device *device = &devices[DEV_BLOCK];
	volatile struct desc *desc = device->rings[0]->desc;

	request.type = BLOCK_IN;
	request.sector = sector;
	request.status = 0xff;
	request.words[0] = 0;
	request.words[SECTOR / 8 - 1] = 0;
	desc_set(&desc[0], &request, REQUEST_LEN, DESC_NEXT, 1);
	desc_set(&desc[1], request.words, SECTOR, DESC_NEXT | DESC_WRITE, 2);
	desc_set(&desc[2], &request.status, 1, DESC_WRITE, 0);
	if (!complete(device, "block")) {
		return false;
	}
	for (unsigned i = 0; i < SECTOR / 8; i++) {
		if (request.status != 0 ||
		    request.words[i] != DISK_MARK + sector * SECTOR + (uint64_t)i * 8) {
			print("block answers wrong data, status ");
			print_number(request.status);
			print("\n");
			return false;
		}
	}
	return true;
}

bool entropy_works(void)
{
	static volatile uint64_t words[RANDOM_LEN / 8];
	struct device *device = &devices[DEV_ENTROPY];
	uint64_t all = 0;

	for (unsigned i = 0; i < COUNT_OF(words); i++) {
		words[i] = 0;
	}
	desc_set(&device->rings[0]->desc[0], words, RANDOM_LEN, DESC_WRITE, 0);
	if (!complete(device, "entropy")) {
		return false;
	}
	for (unsigned i = 0; i < COUNT_OF(words); i++) {
		all |= words[i];
	}
	if (all == 0) {
		print("entropy gives nothing\n");
	}
	return all != 0;
}

/* xorshift64 */
uint64_t random_next(void)
{
	static uint64_t state = UINT64_C(0x2545f4914f6cdd1d);

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}
