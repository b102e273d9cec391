/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's driver, in process. */
#include "tests/lib/vdriver.h"

#include <endian.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/virtio/core/mmio.h"
#include "devices/virtio/core/virtio_internal.h"
#include "tests/lib/vdriver_pci.h"
#include "vmm/base/bytes.h"

enum {
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_NUM_MAX = 0x34,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80,
	REG_QUEUE_AVAIL = 0x90,
	REG_QUEUE_USED = 0xa0,
	REG_CONFIG = 0x100,
};

enum {
	FIRST_AT = 0x1000,
	DESC_LEN = 16,
	SEGMENT_GAP = 64, /* so that neighbours do not become one iovec */
	PATTERN = 0xee,
	BATCHES_MAX = 10000,
	WAIT_S = 10,
};

static const struct gmem_range ranges[] = {
	{{0}, VDRIVER_MEM_LEN / 2},
	{{VDRIVER_MEM_LEN / 2}, VDRIVER_MEM_LEN / 2},
	{{VDRIVER_HIGH}, VDRIVER_HIGH_LEN},
};

NORETURN PRINTF(1, 2) static void fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("vdriver: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

static void count_interrupt(void *arg)
{
	struct vdriver *driver = arg;

	atomic_fetch_add(&driver->interrupts, 1);
}

static void ignore_reset(void *machine)
{
	(void)machine;
}

static void init(struct vdriver *driver, enum gmem_backing backing)
{
	static const struct machine_ops machine_ops = {.reset = ignore_reset};
	struct error err = {0};

	memset(driver, 0, sizeof(*driver));
	if (gmem_new(ranges, ARRAY_COUNT(ranges), backing, &driver->mem, &err) < 0 ||
	    evloop_init(&driver->loop, &err) < 0) {
		fail("%s", err.msg);
	}
	driver->clock = clock_host;
	driver->queue_size = VDRIVER_QUEUE_SIZE;
	driver->free_at = GPA(FIRST_AT);
	driver->env = (struct dev_env){
		.mem = driver->mem,
		.loop = &driver->loop,
		.clock = &driver->clock,
		.machine_ops = &machine_ops,
	};
}

void vdriver_init(struct vdriver *driver)
{
	init(driver, GMEM_ANON);
}

void vdriver_init_shared(struct vdriver *driver)
{
	init(driver, GMEM_MEMFD);
}

void vdriver_destroy(struct vdriver *driver)
{
	evloop_destroy(&driver->loop);
	gmem_free(driver->mem);
	driver->mem = NULL;
}

struct dev_env *vdriver_env(struct vdriver *driver)
{
	return &driver->env;
}

void vdriver_plug(struct vdriver *driver, struct virtio_dev *dev)
{
	const struct irq_line irq = {.fire = count_interrupt, .arg = driver};

	memset(driver->page, 0, sizeof(driver->page));
	virtio_mmio_init(&driver->mmio, dev, &irq);
	virtio_mmio_show(&driver->mmio, driver->page);
	driver->dev = dev;
}

gpa_t vdriver_alloc(struct vdriver *driver, uint64_t len)
{
	gpa_t at = driver->free_at;

	if (len > VDRIVER_MEM_LEN - at.v) {
		fail("no memory for %llu bytes", (unsigned long long)len);
	}
	driver->free_at = GPA(align_up(at.v + len, 4096));
	return at;
}

/* --- registers --- */

uint32_t vdriver_read(struct vdriver *driver, uint64_t reg)
{
	uint8_t data[4] = {0};

	if (driver->pci != NULL) {
		return vdriver_pci_read(driver->pci, reg);
	}
	virtio_mmio_bus_ops.read(&driver->mmio, reg, data, sizeof(data));
	return load_le32(data);
}

void vdriver_write(struct vdriver *driver, uint64_t reg, uint32_t value)
{
	uint8_t data[4];

	if (driver->pci != NULL) {
		vdriver_pci_write(driver->pci, reg, value);
		return;
	}
	store_le32(data, value);
	virtio_mmio_bus_ops.write(&driver->mmio, reg, data, sizeof(data));
}

/* Byte by byte, as Linux does for what is no number. */
void vdriver_read_config(struct vdriver *driver, uint64_t offset, void *buf, uint32_t len)
{
	uint8_t *bytes = buf;

	memset(buf, 0, len);
	for (uint32_t i = 0; i < len; i++) {
		if (driver->pci != NULL) {
			virtio_pci_bar_ops.read(driver->pci, VDRIVER_PCI_CONFIG + offset + i,
						bytes + i, 1);
		} else {
			virtio_mmio_bus_ops.read(&driver->mmio, REG_CONFIG + offset + i, bytes + i,
						 1);
		}
	}
	if (driver->pci == NULL && memcmp(driver->page + REG_CONFIG + offset, buf, len) != 0) {
		fail("the configuration at %#llx is another one in the page",
		     (unsigned long long)offset);
	}
}

void vdriver_write_config(struct vdriver *driver, uint64_t offset, const void *buf, uint32_t len)
{
	if (driver->pci != NULL) {
		virtio_pci_bar_ops.write(driver->pci, VDRIVER_PCI_CONFIG + offset, buf, len);
	} else {
		virtio_mmio_bus_ops.write(&driver->mmio, REG_CONFIG + offset, buf, len);
	}
}

static uint32_t read_page(const struct vdriver *driver, uint64_t reg)
{
	return le32toh(__atomic_load_n((const uint32_t *)(const void *)(driver->page + reg),
				       __ATOMIC_ACQUIRE));
}

/* What a guest reads in the page is what it would be answered, unless it changes just then. */
static void check_page(struct vdriver *driver)
{
	for (uint64_t reg = 0; reg < REG_CONFIG + VIRTIO_CONFIG_MAX; reg += 4) {
		uint32_t before = read_page(driver, reg);
		uint32_t answer = vdriver_read(driver, reg);

		if (before != answer && before == read_page(driver, reg)) {
			fail("register %#x is %#x, and %#x in the page", (unsigned)reg, answer,
			     before);
		}
	}
}

uint8_t vdriver_status(struct vdriver *driver)
{
	if (driver->pci == NULL) {
		check_page(driver);
	}
	return (uint8_t)vdriver_read(driver, REG_STATUS);
}

uint64_t vdriver_offered(struct vdriver *driver)
{
	uint64_t offered = 0;

	for (unsigned i = 0; i < 2; i++) {
		vdriver_write(driver, REG_DEVICE_FEATURES_SEL, i);
		offered |= (uint64_t)vdriver_read(driver, REG_DEVICE_FEATURES) << (32 * i);
	}
	return offered;
}

/* A driver sets one bit after another; true if the device keeps it. */
static bool add_status(struct vdriver *driver, uint8_t bit)
{
	vdriver_write(driver, REG_STATUS, vdriver_status(driver) | bit);
	return (vdriver_status(driver) & bit) != 0;
}

static void write_gpa(struct vdriver *driver, uint64_t reg, gpa_t gpa)
{
	vdriver_write(driver, reg, (uint32_t)gpa.v);
	vdriver_write(driver, reg + 4, (uint32_t)(gpa.v >> 32));
}

void vdriver_set_queue(struct vdriver *driver, unsigned index)
{
	const struct vring *ring = &driver->queues[index].ring;

	vdriver_write(driver, REG_QUEUE_SEL, index);
	vdriver_write(driver, REG_QUEUE_NUM, ring->size);
	write_gpa(driver, REG_QUEUE_DESC, ring->desc);
	write_gpa(driver, REG_QUEUE_AVAIL, ring->avail);
	write_gpa(driver, REG_QUEUE_USED, ring->used);
	vdriver_write(driver, REG_QUEUE_READY, 1);
}

static void make_queue(struct vdriver *driver, unsigned index)
{
	struct vdriver_queue *queue = &driver->queues[index];
	gpa_t base = queue->ring.desc;

	if (queue->ring.size < driver->queue_size) {
		base = vdriver_alloc(driver, vring_len(driver->queue_size));
	}
	vring_init(&queue->ring, driver->mem, base, driver->queue_size);
	memset(queue->is_used, 0, sizeof(queue->is_used));
	for (unsigned i = 0; i < VDRIVER_QUEUE_SIZE; i++) {
		queue->chains[i].is_offered = false;
	}
	queue->notified = 0;
	vdriver_set_queue(driver, index);
}

bool vdriver_begin(struct vdriver *driver, struct virtio_dev *dev, uint64_t features)
{
	if (driver->pci == NULL && dev->transport.arg != &driver->mmio) {
		vdriver_plug(driver, dev);
	}
	vdriver_stop(driver);
	if (!add_status(driver, VIRTIO_STATUS_ACKNOWLEDGE) ||
	    !add_status(driver, VIRTIO_STATUS_DRIVER)) {
		return false;
	}
	driver->features = (features | VIRTIO_F_VERSION_1) & vdriver_offered(driver);
	for (unsigned i = 0; i < 2; i++) {
		vdriver_write(driver, REG_DRIVER_FEATURES_SEL, i);
		vdriver_write(driver, REG_DRIVER_FEATURES,
			      (uint32_t)(driver->features >> (32 * i)));
	}
	if (!add_status(driver, VIRTIO_STATUS_FEATURES_OK)) {
		return false;
	}
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		vdriver_write(driver, REG_QUEUE_SEL, i);
		if (vdriver_read(driver, REG_QUEUE_NUM_MAX) != 0) {
			make_queue(driver, i);
		}
	}
	return true;
}

bool vdriver_finish(struct vdriver *driver)
{
	return add_status(driver, VIRTIO_STATUS_DRIVER_OK) &&
	       (vdriver_status(driver) & VIRTIO_STATUS_NEEDS_RESET) == 0;
}

bool vdriver_start(struct vdriver *driver, struct virtio_dev *dev, uint64_t features)
{
	return vdriver_begin(driver, dev, features) && vdriver_finish(driver);
}

void vdriver_stop(struct vdriver *driver)
{
	vdriver_write(driver, REG_STATUS, 0);
	if (vdriver_status(driver) != 0) {
		fail("the device did not reset");
	}
}

/* --- chains --- */

static uint16_t take_desc(struct vdriver_queue *queue)
{
	for (uint16_t i = 0; i < queue->ring.size; i++) {
		if (!queue->is_used[i]) {
			queue->is_used[i] = true;
			return i;
		}
	}
	fail("the queue is full");
}

static uint64_t room_of(const struct vbuf *buf)
{
	return align_up(buf->len + SEGMENT_GAP, SEGMENT_GAP);
}

/* Room for the segments and a table; each starts at a multiple of SEGMENT_GAP. */
static void make_block(struct vdriver *driver, struct vdriver_chain *chain, const struct vbuf *bufs)
{
	uint64_t len = align_up(chain->count * DESC_LEN + SEGMENT_GAP, SEGMENT_GAP);

	for (unsigned i = 0; i < chain->count; i++) {
		len += room_of(&bufs[i]);
	}
	if (len > chain->block_len) {
		chain->block = vdriver_alloc(driver, len);
		chain->block_len = align_up(len, 4096);
	}
}

static void fill(struct vdriver *driver, gpa_t at, const struct vbuf *buf)
{
	uint8_t same[4096];
	const uint8_t *data = buf->data;

	memset(same, (buf->flags & VBUF_WRITABLE) != 0 ? PATTERN : 0, sizeof(same));
	for (uint32_t done = 0; done < buf->len;) {
		uint32_t part = (uint32_t)min_u64(buf->len - done, sizeof(same));

		if (gmem_write(driver->mem, GPA(at.v + done), data != NULL ? data + done : same,
			       part) < 0) {
			fail("a segment outside of memory");
		}
		done += part;
	}
}

static void set_desc(struct vdriver_queue *queue, const struct vdriver_chain *chain, uint16_t index,
		     struct vring_desc desc)
{
	if (chain->is_indirect) {
		vring_set_indirect(&queue->ring, chain->block, index, desc);
	} else {
		vring_set_desc(&queue->ring, index, desc);
	}
}

unsigned vdriver_add(struct vdriver *driver, unsigned index, const struct vbuf *bufs, size_t count)
{
	struct vdriver_queue *queue = &driver->queues[index];
	uint16_t head = take_desc(queue);
	struct vdriver_chain *chain = &queue->chains[head];

	chain->is_offered = true;
	chain->count = (uint16_t)count;
	chain->is_indirect = count > 1 && (driver->features & VIRTIO_F_INDIRECT_DESC) != 0;
	make_block(driver, chain, bufs);
	uint64_t at = align_up(chain->block.v + count * DESC_LEN, SEGMENT_GAP);
	uint16_t place = chain->is_indirect ? 0 : head;

	for (size_t i = 0; i < count; i++) {
		struct vring_desc desc = {.addr = at, .len = bufs[i].len};

		desc.flags = (bufs[i].flags & VBUF_WRITABLE) != 0 ? VRING_WRITE : 0;
		if (i + 1 < count) {
			desc.flags |= VRING_NEXT;
			desc.next = chain->is_indirect ? (uint16_t)(place + 1) : take_desc(queue);
		}
		if (!chain->is_indirect) {
			queue->next[place] = desc.next;
		}
		fill(driver, GPA(at), &bufs[i]);
		set_desc(queue, chain, place, desc);
		place = desc.next;
		at += room_of(&bufs[i]);
	}
	if (chain->is_indirect) {
		struct vring_desc table = {.addr = chain->block.v, .flags = VRING_INDIRECT};

		table.len = (uint32_t)(count * DESC_LEN);
		vring_set_desc(&queue->ring, head, table);
	}
	vring_offer(&queue->ring, head);
	return head;
}

void vdriver_notify(struct vdriver *driver, unsigned index)
{
	driver->queues[index].notified = driver->queues[index].ring.avail_idx;
	(void)eventfd_write(driver->dev->queues[index].kick.fd, 1);
}

void vdriver_notify_exit(struct vdriver *driver, unsigned index)
{
	driver->queues[index].notified = driver->queues[index].ring.avail_idx;
	vdriver_write(driver, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

void vdriver_kick(struct vdriver *driver, unsigned index)
{
	struct vdriver_queue *queue = &driver->queues[index];
	uint16_t now = queue->ring.avail_idx;
	bool is_wanted = !vring_is_no_notify(&queue->ring);

	if ((driver->features & VIRTIO_F_EVENT_IDX) != 0) {
		uint16_t event = vring_avail_event(&queue->ring);

		is_wanted = (uint16_t)(now - event - 1) < (uint16_t)(now - queue->notified);
	}
	if (is_wanted) {
		vdriver_notify(driver, index);
	}
	queue->notified = now;
}

static void dispatch(struct vdriver *driver, int timeout_ms)
{
	struct error err = {0};

	if (evloop_run_once(&driver->loop, timeout_ms, &err) < 0) {
		fail("%s", err.msg);
	}
}

unsigned vdriver_run(struct vdriver *driver)
{
	struct pollfd loop = {.fd = driver->loop.epoll_fd, .events = POLLIN};
	unsigned batches = 0;

	for (; batches < BATCHES_MAX && poll(&loop, 1, 0) == 1; batches++) {
		dispatch(driver, 0);
	}
	if (batches == BATCHES_MAX) {
		fail("the event loop does not come to rest");
	}
	return batches;
}

void vdriver_wait(struct vdriver *driver, bool (*condition)(void *arg), void *arg)
{
	uint64_t start = clock_host.now_ns(CLOCK_MONOTONIC);

	while (!condition(arg)) {
		dispatch(driver, 10);
		if (clock_host.now_ns(CLOCK_MONOTONIC) - start > WAIT_S * UINT64_C(1000000000)) {
			fail("waited in vain");
		}
	}
}

static bool has_used(void *arg)
{
	const struct vring *ring = arg;

	return vring_used_idx(ring) != ring->used_idx;
}

void vdriver_wait_used(struct vdriver *driver, unsigned index)
{
	vdriver_wait(driver, has_used, &driver->queues[index].ring);
}

bool vdriver_used(struct vdriver *driver, unsigned index, struct vring_used *used)
{
	struct vdriver_queue *queue = &driver->queues[index];

	if (!vring_take_used(&queue->ring, used)) {
		return false;
	}
	if (used->id >= queue->ring.size || !queue->chains[used->id].is_offered) {
		fail("the device gave back chain %u, which it did not have", used->id);
	}
	vring_set_used_event(&queue->ring, queue->ring.used_idx);
	struct vdriver_chain *chain = &queue->chains[used->id];
	uint16_t desc = (uint16_t)used->id;

	chain->is_offered = false;
	for (unsigned i = 0; i < (chain->is_indirect ? 1 : chain->count); i++) {
		queue->is_used[desc] = false;
		desc = queue->next[desc];
	}
	return true;
}

static void reload_queue(struct vdriver *driver, unsigned index)
{
	struct virtq *vq = &driver->dev->queues[index].vq;
	struct virtq_state state = {0};
	struct error err = {0};

	if (vq->size == 0) {
		return;
	}
	virtq_save(vq, &state);
	if (state.next_avail != state.next_used ||
	    state.next_used != vring_used_idx(&driver->queues[index].ring)) {
		fail("queue %u was left with %u chains taken, %u given back", index,
		     state.next_avail, state.next_used);
	}
	virtq_stop(vq);
	if (virtq_restore(vq, &state, driver->mem, &err) < 0) {
		fail("queue %u: %s", index, err.msg);
	}
}

void vdriver_pause(struct vdriver *driver)
{
	evloop_freeze(&driver->loop);
	virtio_quiesce(driver->dev);
	for (unsigned i = 0; i < driver->dev->queue_count; i++) {
		reload_queue(driver, i);
	}
}

void vdriver_resume(struct vdriver *driver)
{
	virtio_resume(driver->dev);
	evloop_thaw(&driver->loop);
}

/* By the descriptors as they are in memory. */
static struct vring_desc find_desc(struct vdriver *driver, unsigned index, unsigned head,
				   unsigned segment)
{
	const struct vdriver_queue *queue = &driver->queues[index];
	const struct vdriver_chain *chain = &queue->chains[head];
	gpa_t table = chain->is_indirect ? chain->block : queue->ring.desc;
	struct vring_desc desc = {.next = chain->is_indirect ? 0 : (uint16_t)head};

	for (unsigned i = 0; i <= segment; i++) {
		if (i >= chain->count ||
		    gmem_read(driver->mem, GPA(table.v + (uint64_t)desc.next * DESC_LEN), &desc,
			      sizeof(desc)) < 0) {
			fail("chain %u has no segment %u", head, segment);
		}
	}
	return desc;
}

void vdriver_get(struct vdriver *driver, unsigned queue, unsigned chain, unsigned segment,
		 void *buf, size_t len)
{
	struct vring_desc desc = find_desc(driver, queue, chain, segment);

	if (len > desc.len || gmem_read(driver->mem, GPA(desc.addr), buf, len) < 0) {
		fail("segment %u of chain %u has %u bytes", segment, chain, desc.len);
	}
}

gpa_t vdriver_segment(struct vdriver *driver, unsigned queue, unsigned chain, unsigned segment)
{
	return GPA(find_desc(driver, queue, chain, segment).addr);
}

unsigned vdriver_interrupts(struct vdriver *driver)
{
	vdriver_write(driver, REG_INTERRUPT_ACK, vdriver_read(driver, REG_INTERRUPT_STATUS));
	return atomic_exchange(&driver->interrupts, 0);
}
