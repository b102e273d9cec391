/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes all kinds of virtio devices (bed.h), whole and on both transports. The first three bytes
 * of an input choose the device, its settings and the transport; the rest is a program of what a
 * driver, the host and the machine do, with requests in flight or not. Besides the sanitizers'
 * checks: the event loop comes to rest; no queue takes more than it was offered; a status is one
 * that the rules lead to; a reset leaves nothing behind; and a device that is saved can be loaded,
 * and is the same when it is saved again. How many requests were answered is told at the end, by
 * kind and transport: tests/fuzz/run wants some of each.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "devices/virtio/core/virtio_internal.h"
#include "devices/virtio/core/virtio_leave.h"
#include "devices/virtio/core/virtio_state.h"
#include "tests/fuzz/bed.h"

enum action {
	ACT_ASK, /* as a driver of that kind does */
	ACT_ASK_TOO,
	ACT_HOST,
	ACT_TIME,
	ACT_START,
	ACT_STOP,
	ACT_PAUSE,
	ACT_RENEW, /* save, and load into a new one */
	ACT_REGISTER,
	ACT_SPACE, /* of PCI */
	ACT_DESC,
	ACT_OFFER,
	ACT_AVAIL_IDX,
	ACT_MEMORY,
	ACT_CONFIG,
	ACT_LEAVE, /* the device is to be taken out, or stays after all */
	ACT_POWER, /* of a PCI slot is lost */
	ACTIONS
};

enum {
	STEPS_MAX = 300,
	HANDSHAKE = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
		    VIRTIO_STATUS_DRIVER_OK,
	DATA_AT = 8 << 20, /* segments: a place for each descriptor */
	DATA_LEN = 128 << 10,
	QUEUE_SIZE_MAX = 32,
	/* Of a step: what follows it. */
	THEN_NOTIFY = 1,
	THEN_RUN = 2,
};

struct guest {
	struct bed bed;
	uint16_t next_desc[VIRTIO_QUEUES_MAX];
	uint16_t answered[VIRTIO_QUEUES_MAX]; /* as far as they are counted */
	int idle;			      /* eventfd */
	bool is_leaving;
};

static unsigned long totals[BED_KINDS][2];

static void tell(void)
{
	for (unsigned i = 0; i < BED_KINDS; i++) {
		for (unsigned pci = 0; pci < 2; pci++) {
			fprintf(stderr, "answered: %lu, %s by %s\n", totals[i][pci],
				bed_kinds[i].name, pci != 0 ? "PCI" : "MMIO");
		}
	}
}

static void start(struct guest *guest, uint64_t features, unsigned size_shift)
{
	struct vdriver *driver = &guest->bed.driver;

	driver->queue_size = (uint16_t)(QUEUE_SIZE_MAX >> size_shift % 5);
	memset(guest->next_desc, 0, sizeof(guest->next_desc));
	memset(guest->answered, 0, sizeof(guest->answered));
	(void)!vdriver_start(driver, guest->bed.dev, features);
}

static struct virtq *queue_of(struct guest *guest, unsigned index)
{
	return &guest->bed.dev->queues[index].vq;
}

static struct vring *ring_of(struct guest *guest, unsigned *index)
{
	*index %= guest->bed.dev->queue_count;
	struct vring *ring = &guest->bed.driver.queues[*index].ring;

	return ring->size > 0 ? ring : NULL;
}

static void offer(struct guest *guest, struct vring *ring, const struct bed_request *request)
{
	uint16_t *next = &guest->next_desc[request->queue];
	uint16_t head = *next % ring->size;

	if ((uint16_t)(ring->avail_idx - vring_used_idx(ring)) >= ring->size ||
	    request->count > ring->size) {
		return;
	}
	for (unsigned i = 0; i < request->count; i++) {
		const struct bed_segment *segment = &request->segments[i];
		uint16_t place = (*next)++ % ring->size;
		uint64_t at = DATA_AT + (uint64_t)place * DATA_LEN;
		struct vring_desc desc = {
			.addr = at,
			.len = segment->len,
			.flags = (uint16_t)((segment->is_writable ? VRING_WRITE : 0) |
					    (i + 1 < request->count ? VRING_NEXT : 0)),
			.next = *next % ring->size,
		};

		require(gmem_write(ring->mem, GPA(at), segment->head, segment->head_len) == 0);
		vring_set_desc(ring, place, desc);
	}
	vring_offer(ring, head);
}

static void ask(struct guest *guest, unsigned *queue, struct input *input)
{
	struct bed_request request = {.queue = 0};

	guest->bed.kind->ask(input, &request);
	struct vring *ring = ring_of(guest, &request.queue);

	*queue = request.queue;
	if (ring != NULL) {
		offer(guest, ring, &request);
	}
}

/* --- the machine --- */

struct saved {
	struct virtio_state dev;
	struct virtio_mmio_state mmio;
	struct virtio_pci_state pci;
};

static void save(struct bed *bed, struct saved *saved)
{
	memset(saved, 0, sizeof(*saved));
	virtio_save(bed->dev, &saved->dev);
	if (bed->is_on_pci) {
		virtio_pci_save(&bed->pci, &saved->pci);
	} else {
		virtio_mmio_save(&bed->driver.mmio, &saved->mmio);
	}
}

static void load(struct bed *bed, const struct saved *saved)
{
	struct error err = {0};

	if (bed->is_on_pci) {
		require(virtio_pci_load(&bed->pci, &saved->pci, &err) == 0);
		require(virtio_load(bed->dev, &saved->dev, &err) == 0);
	} else {
		require(virtio_load(bed->dev, &saved->dev, &err) == 0);
		require(virtio_mmio_load(&bed->driver.mmio, &saved->mmio, &err) == 0);
	}
}

static void renew(struct bed *bed)
{
	static struct saved before, after;

	if (bed->kind >= &bed_kinds[BED_SAVED_KINDS]) {
		return;
	}
	evloop_freeze(&bed->driver.loop);
	virtio_quiesce(bed->dev);
	save(bed, &before);
	bed_remake(bed);
	load(bed, &before);
	save(bed, &after);
	/* What is left of a rate limit: a load keeps less than a whole refill of it. */
	memcpy(before.dev.own, after.dev.own, sizeof(before.dev.own));
	/* A new connection is up, where the old one had ended: the driver is told. */
	bool is_told = before.dev.config_generation != after.dev.config_generation;

	require(is_told || memcmp(&before, &after, sizeof(before)) == 0);
	virtio_resume(bed->dev);
	evloop_thaw(&bed->driver.loop);
}

/* --- what a hostile driver does --- */

static void access_registers(struct bed *bed, bool is_write, struct input *input)
{
	uint64_t offset = input_number(input, 2);
	uint32_t len = (uint32_t)input_number(input, 1) % 8 + 1;
	uint64_t value = is_write ? input_number(input, len) : 0;
	const struct bus_ops *ops = bed->is_on_pci ? &virtio_pci_bar_ops : &virtio_mmio_bus_ops;
	void *device = bed->is_on_pci ? (void *)&bed->pci : (void *)&bed->driver.mmio;

	if (is_write) {
		ops->write(device, offset, (const uint8_t *)&value, len);
	} else {
		ops->read(device, offset, (uint8_t *)&value, len);
	}
}

/* But for the command: a window that is not there answers nothing. */
static void access_space(struct bed *bed, struct input *input)
{
	uint8_t offset = (uint8_t)input_number(input, 1);
	uint8_t data[4];

	store_le32(data, (uint32_t)input_number(input, 4));
	if (bed->is_on_pci && offset >= 8) {
		virtio_pci_config_ops.write(&bed->pci, offset & ~3U, data, sizeof(data));
		virtio_pci_config_ops.read(&bed->pci, offset & ~3U, data, sizeof(data));
	}
}

static void set_desc(struct vring *ring, struct input *input)
{
	uint16_t index = (uint16_t)input_number(input, 1);
	struct vring_desc desc = {.addr = input_number(input, 5)};

	desc.len = (uint32_t)input_number(input, 3);
	desc.flags = (uint16_t)(input_number(input, 1) & 7);
	desc.next = (uint16_t)input_number(input, 1);
	vring_set_desc(ring, index % ring->size, desc);
}

static void spoil_ring(struct guest *guest, enum action action, unsigned *queue,
		       struct input *input)
{
	*queue = (unsigned)input_number(input, 1);
	struct vring *ring = ring_of(guest, queue);

	if (ring == NULL) {
		return;
	}
	if (action == ACT_DESC) {
		set_desc(ring, input);
	} else if (action == ACT_OFFER) {
		vring_offer(ring, (uint16_t)(input_number(input, 1) % (ring->size + 1U)));
	} else {
		vring_set_avail_idx(ring, (uint16_t)input_number(input, 2));
	}
}

static void spoil_memory(struct bed *bed, struct input *input)
{
	gpa_t at = GPA(input_number(input, 4));
	uint64_t value = input_number(input, 8);

	(void)!gmem_write(bed->driver.mem, at, &value, sizeof(value));
}

static void write_config(struct bed *bed, struct input *input)
{
	uint64_t offset = input_number(input, 1) % VIRTIO_CONFIG_MAX;
	uint32_t len = 1U << input_number(input, 1) % 4;
	uint64_t value = input_number(input, len);

	vdriver_write_config(&bed->driver, offset, &value, len);
	vdriver_read_config(&bed->driver, offset, &value, len);
}

static void stay(struct guest *guest)
{
	if (guest->is_leaving) {
		guest->is_leaving = false;
		virtio_stay(guest->bed.dev);
	}
}

static void leave_or_stay(struct guest *guest)
{
	if (guest->is_leaving) {
		stay(guest);
		return;
	}
	guest->is_leaving = true;
	if (virtio_leave(guest->bed.dev, guest->idle)) {
		require(!virtio_is_busy(guest->bed.dev));
	}
}

static void lose_power(struct bed *bed)
{
	if (bed->is_on_pci) {
		virtio_pci_reset(&bed->pci);
		vdriver_enable_pci(&bed->pci);
	}
}

/* --- a program --- */

static void pause_machine(struct bed *bed)
{
	evloop_freeze(&bed->driver.loop);
	virtio_quiesce(bed->dev);
	virtio_resume(bed->dev);
	evloop_thaw(&bed->driver.loop);
}

static void play(struct guest *guest, enum action action, unsigned *queue, struct input *input)
{
	struct bed *bed = &guest->bed;
	uint64_t features;

	switch (action) {
	case ACT_ASK:
	case ACT_ASK_TOO:
		ask(guest, queue, input);
		break;
	case ACT_HOST:
		if (bed->kind->act != NULL) {
			bed->kind->act(bed, input);
		}
		break;
	case ACT_TIME:
		bed_pass(bed, input_number(input, 3) * NS_PER_US);
		break;
	case ACT_START:
		features = input_number(input, 4);
		start(guest, features, (unsigned)input_number(input, 1));
		break;
	case ACT_STOP:
		vdriver_stop(&bed->driver);
		break;
	case ACT_PAUSE:
		pause_machine(bed);
		break;
	case ACT_RENEW:
		stay(guest);
		renew(bed);
		break;
	case ACT_REGISTER:
		access_registers(bed, (input_number(input, 1) & 1) != 0, input);
		break;
	case ACT_SPACE:
		access_space(bed, input);
		break;
	case ACT_DESC:
	case ACT_OFFER:
	case ACT_AVAIL_IDX:
		spoil_ring(guest, action, queue, input);
		break;
	case ACT_MEMORY:
		spoil_memory(bed, input);
		break;
	case ACT_CONFIG:
		write_config(bed, input);
		break;
	case ACT_LEAVE:
		leave_or_stay(guest);
		break;
	case ACT_POWER:
	case ACTIONS:
		lose_power(bed);
		break;
	}
}

static void check(struct guest *guest)
{
	struct bed *bed = &guest->bed;
	unsigned long *total = &totals[bed->kind - bed_kinds][bed->is_on_pci];
	uint8_t status = bed->dev->status;

	require(!bed->dev->is_active || (status & HANDSHAKE) == HANDSHAKE);
	require((status & VIRTIO_STATUS_DRIVER_OK) == 0 || bed->dev->is_active ||
		(status & VIRTIO_STATUS_NEEDS_RESET) != 0);
	for (unsigned i = 0; i < bed->dev->queue_count; i++) {
		const struct virtq *vq = queue_of(guest, i);

		require((uint16_t)(vq->next_avail - vq->next_used) <= vq->size);
		if (vq->size > 0 && !bed->kind->is_remote) {
			*total += (uint16_t)(vq->next_used - guest->answered[i]);
			guest->answered[i] = vq->next_used;
		}
	}
	if (bed->kind->is_remote) {
		*total += atomic_exchange(&bed->driver.interrupts, 0);
	}
}

static void stop(struct guest *guest)
{
	struct bed *bed = &guest->bed;

	stay(guest);
	vdriver_stop(&bed->driver);
	for (unsigned i = 0; i < bed->dev->queue_count; i++) {
		require(queue_of(guest, i)->size == 0);
	}
	bed_close(bed);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return atexit(tell);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest guest;
	struct input input = {data, size};
	unsigned kind = (unsigned)input_number(&input, 1) % BED_KINDS;
	uint8_t settings = (uint8_t)input_number(&input, 1);

	if (guest.idle == 0) {
		guest.idle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	bed_open(&guest.bed, kind, settings, (input_number(&input, 1) & 1) != 0);
	start(&guest, UINT64_MAX, 0);
	for (unsigned i = 0; i < STEPS_MAX && input.size > 0; i++) {
		unsigned step = (unsigned)input_number(&input, 1);
		unsigned queue = 0;

		play(&guest, (enum action)((step >> 2) % ACTIONS), &queue, &input);
		if ((step & THEN_NOTIFY) != 0) {
			vdriver_notify_exit(&guest.bed.driver, queue);
		}
		if ((step & THEN_RUN) != 0) {
			(void)vdriver_run(&guest.bed.driver);
		}
		check(&guest);
	}
	(void)vdriver_run(&guest.bed.driver);
	check(&guest);
	stop(&guest);
	return 0;
}
