/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of every role with any chain, in any state of the device; a host that takes memory back or
 * does not. What a list's ranges are, eva_balloon_pfn.c shows.
 *
 * Options: -eva-precision 1 -eva-domains cvalue,gauges -eva-split-return full
 */
#include "tests/eva/gmem.h"

#include "tests/eva/log.h"

#include "devices/virtio/balloon/balloon_steps.c"

static struct balloon balloon;
static struct virtio_queue queues[QUEUES_MAX];
static struct gmem guest;

/* --- In place of others --- */

int gmem_discard(struct gmem *mem, gpa_t gpa, uint64_t len)
{
	(void)mem;
	keep(gpa.v + len);
	return any_bool() ? 0 : -1;
}

void pfn_sort(uint32_t *pfns, size_t count)
{
	/*@ assert count == 0 || \valid(pfns + (0 .. count - 1)); */
	(void)pfns;
}

size_t pfn_next_range(const uint32_t *pfns, size_t count, struct pfn_range *range)
{
	keep(pfns[0]);
	range->first = any_u32();
	range->count = any_u32();
	(void)count;
	return any_between(1, PFNS_PER_PIECE);
}

int virtq_chain_read(const struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		     void *buf, size_t len)
{
	/* EVA sees where the device ends, but not where one of its members does. */
	size_t room = buf == balloon.pfns	   ? sizeof(balloon.pfns)
		      : buf == balloon.stats_bytes ? sizeof(balloon.stats_bytes)
						   : CMD_LEN;

	/*@ assert len <= room; */
	keep(chain->head + offset + room);
	return gmem_read(mem, GPA(0), buf, len);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	keep(vq->size + head + written);
}

void virtio_spend(struct virtio_dev *dev, uint64_t units)
{
	(void)dev;
	keep(units);
}

void virtio_publish(struct virtio_dev *dev, unsigned index)
{
	keep(dev->queues[index].vq.size);
}

void virtio_config_changed(struct virtio_dev *dev)
{
	dev->config_generation++;
}

void ev_timer_set(struct ev_timer *timer, uint64_t first_ns, uint64_t period_ns)
{
	(void)timer;
	keep(first_ns + period_ns);
}

/* --- The steps --- */

/* What virtq_pop promises of its counts; addresses and lengths are any. */
static void make_chain(struct virtq_chain *chain)
{
	fill(chain, sizeof(*chain));
	chain->count = (uint16_t)any_between(1, VIRTQ_CHAIN_MAX);
}

static void make_state(unsigned index)
{
	make_chain(&balloon.dev.chain);
	balloon.roles[index] = any_between(ROLE_NONE, ROLE_REPORT);
	balloon.jobs[index] = (struct job){
		.is_new = any_bool(),
		.seg = (uint16_t)any_u32(),
		.done = any_u64(),
	};
	balloon.dev.is_active = any_bool();
	balloon.hinting.status.host_cmd = any_u32();
	balloon.hinting.status.guest_cmd = any_u32();
	balloon.hinting.status.has_guest_cmd = any_bool();
	balloon.hinting.acknowledge_on_stop = any_bool();
	balloon.is_timer_armed = any_bool();
	balloon.has_stats_head = any_bool();
	balloon.stats_head = (uint16_t)any_u32();
	balloon.stats_index = (unsigned)any_between(0, QUEUES_MAX - 1);
	balloon.stats_interval_s = (uint16_t)any_u32();
}

void main(void)
{
	/*@ widen_hints global:"all", 255, 256, 1023, 1024; */
	balloon.dev.mem = &guest;
	balloon.dev.queues = queues;
	balloon.dev.queue_count = QUEUES_MAX;
	/*@ loop unroll QUEUES_MAX; */
	for (unsigned index = 0; index < QUEUES_MAX; index++) {
		make_state(index);
		balloon_step(&balloon, index);
		keep(metric_get(balloon_fails(&balloon, index)));
		/*@ assert balloon.stats_index < QUEUES_MAX; */
	}
	balloon_set_host_cmd(&balloon, any_u32());
	balloon_request_stats(&balloon);
	balloon_set_timer(&balloon, (uint16_t)any_u32());
}
