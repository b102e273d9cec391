/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device, from its driver's side; the host's kernel plays a script where it has to. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/virtio/rng.h"
#include "tests/fake/alloc_guard.h"
#include "tests/lib/vdriver.h"
#include "tests/unit/state_bed.h"
#include "vmm/base/bytes.h"

enum {
	REQUEST_MAX = 64 * 1024,
	PATTERN = 0xee /* vdriver's, where a device has not written */
};

static struct vdriver driver;
static struct rng *rng;
static struct rng_metrics *metrics;

/* --- the host's side --- */

enum host {
	HOST_WORKS,
	HOST_IS_INTERRUPTED, /* every second call */
	HOST_IS_SHORT,	     /* some bytes at a time */
	HOST_FAILS,
	HOST_FAILS_LATER, /* after the first call */
};

static enum host host;
static unsigned host_calls;
static unsigned host_flags;

ssize_t getrandom(void *buffer, size_t len, unsigned flags);

/* In place of the library's, for the whole of the test program. */
ssize_t getrandom(void *buffer, size_t len, unsigned flags)
{
	host_calls++;
	host_flags = flags;
	switch (host) {
	case HOST_WORKS:
		break;
	case HOST_IS_INTERRUPTED:
		if (host_calls % 2 == 1) {
			errno = EINTR;
			return -1;
		}
		len = min_u64(len, 256);
		break;
	case HOST_IS_SHORT:
		len = min_u64(len, 1000);
		break;
	case HOST_FAILS_LATER:
		if (host_calls == 1) {
			break;
		}
		errno = EAGAIN;
		return -1;
	case HOST_FAILS:
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_getrandom, buffer, len, flags);
}

/* --- the guest's side --- */

#define ALL_FEATURES (~UINT64_C(0)) /* that are offered */

static uint64_t now_ns;

static uint64_t script_ns(clockid_t id)
{
	(void)id;
	return now_ns;
}

static void start(uint64_t features)
{
	cr_assert(vdriver_start(&driver, rng_virtio(rng), features));
	vdriver_run(&driver);
}

static void make(const struct rng_config *config)
{
	struct error err = {0};

	host = HOST_WORKS;
	host_calls = 0;
	vdriver_init(&driver);
	driver.clock.now_ns = script_ns;
	cr_assert_eq(rng_new(vdriver_env(&driver), config, &rng, &err), 0, "%s", err.msg);
	metrics = rng_metrics(rng);
	start(ALL_FEATURES);
}

static void unmake(void)
{
	rng_free(rng);
	vdriver_destroy(&driver);
	rng = NULL;
}

static void tear_down(void)
{
	if (rng != NULL) {
		unmake();
	}
}

TestSuite(rng, .fini = tear_down);

static unsigned add(const struct vbuf *bufs, size_t count)
{
	unsigned chain = vdriver_add(&driver, 0, bufs, count);

	vdriver_kick(&driver, 0);
	return chain;
}

static unsigned ask(uint32_t len)
{
	return add(&(struct vbuf){.len = len, .flags = VBUF_WRITABLE}, 1);
}

/* What was written for the next chain that came back; -1 if none did. */
static int64_t answer(void)
{
	struct vring_used used;

	return vdriver_used(&driver, 0, &used) ? (int64_t)used.len : -1;
}

static uint64_t count(const struct metric *metric)
{
	return metric_get(metric);
}

/* How many bytes of a segment are not the pattern any more; of random ones, 1 in 256 seems so. */
static size_t changed(unsigned chain, unsigned segment, size_t len)
{
	static uint8_t bytes[1024 * 1024];
	size_t found = 0;

	vdriver_get(&driver, 0, chain, segment, bytes, len);
	for (size_t i = 0; i < len; i++) {
		found += bytes[i] != PATTERN;
	}
	return found;
}

static const struct rng_config unlimited = {.has_rate_limiter = false};

Test(rng, is_a_device_with_one_queue_and_nothing_else)
{
	make(&unlimited);
	const struct virtio_dev *dev = rng_virtio(rng);

	cr_expect_eq(dev->class->type, 4);
	cr_expect_eq(dev->queue_count, 1);
	cr_expect_eq(dev->config_len, 0);
	cr_expect_eq(dev->offered & 0xffffff, 0);
	cr_expect_str_eq(dev->id, "rng");
}

Test(rng, fills_a_buffer)
{
	make(&unlimited);
	unsigned chain = ask(4096);

	vdriver_run(&driver);
	cr_expect_eq(answer(), 4096);
	cr_expect_gt(changed(chain, 0, 4096), 3900);
	cr_expect_eq(vdriver_interrupts(&driver), 1);
	cr_expect_eq(count(&metrics->entropy_event_count), 1);
	cr_expect_eq(count(&metrics->entropy_bytes), 4096);
	cr_expect_eq(count(&metrics->entropy_event_fails), 0);
	cr_expect(host_flags & GRND_NONBLOCK);
}

Test(rng, fills_what_is_writable_and_at_most_64_KiB_of_it)
{
	static const struct {
		const char *name;
		struct vbuf bufs[4];
		size_t count;
		int64_t written;
		uint64_t fails;
	} cases[] = {
		{"one byte", {{NULL, 1, VBUF_WRITABLE}}, 1, 1, 0},
		{"three parts",
		 {{NULL, 1, VBUF_WRITABLE}, {NULL, 300, VBUF_WRITABLE}, {NULL, 7, VBUF_WRITABLE}},
		 3,
		 308,
		 0},
		{"after a readable part", {{NULL, 64, 0}, {NULL, 300, VBUF_WRITABLE}}, 2, 300, 0},
		{"64 KiB", {{NULL, REQUEST_MAX, VBUF_WRITABLE}}, 1, REQUEST_MAX, 0},
		{"one more", {{NULL, REQUEST_MAX + 1, VBUF_WRITABLE}}, 1, REQUEST_MAX, 0},
		{"1 MiB", {{NULL, MIB, VBUF_WRITABLE}}, 1, REQUEST_MAX, 0},
		{"64 KiB and a bit in parts",
		 {{NULL, 40000, VBUF_WRITABLE}, {NULL, 40000, VBUF_WRITABLE}},
		 2,
		 REQUEST_MAX,
		 0},
		{"nothing writable", {{NULL, 64, 0}}, 1, 0, 1},
	};

	for (size_t i = 0; i < 2 * ARRAY_COUNT(cases); i++) {
		size_t which = i / 2;

		make(&unlimited);
		start(i % 2 == 0 ? 0 : ALL_FEATURES);
		unsigned chain = add(cases[which].bufs, cases[which].count);
		size_t left = (size_t)cases[which].written;

		vdriver_run(&driver);
		cr_expect_eq(answer(), cases[which].written, "%s", cases[which].name);
		cr_expect_eq(count(&metrics->entropy_event_fails), cases[which].fails, "%s",
			     cases[which].name);
		for (unsigned j = 0; j < cases[which].count; j++) {
			const struct vbuf *buf = &cases[which].bufs[j];

			if (buf->flags & VBUF_WRITABLE) {
				size_t filled = min_u64(buf->len, left);
				size_t seen = changed(chain, j, buf->len);

				cr_expect(seen <= filled && seen >= filled - filled / 64 - 1,
					  "%s: %zu of %zu", cases[which].name, seen, filled);
				left -= filled;
			}
		}
		unmake();
	}
}

Test(rng, two_answers_differ)
{
	uint8_t first[64];
	uint8_t second[64];

	make(&unlimited);
	unsigned chains[] = {ask(sizeof(first)), ask(sizeof(second))};

	vdriver_run(&driver);
	vdriver_get(&driver, 0, chains[0], 0, first, sizeof(first));
	vdriver_get(&driver, 0, chains[1], 0, second, sizeof(second));
	cr_expect(memcmp(first, second, sizeof(first)) != 0);
}

Test(rng, a_full_queue_is_served_in_turns)
{
	struct error err = {0};
	unsigned done = 0;

	make(&unlimited);
	for (unsigned i = 0; i < VDRIVER_QUEUE_SIZE; i++) {
		ask(16);
	}
	cr_assert_eq(evloop_run_once(&driver.loop, 0, &err), 0);
	while (answer() >= 0) {
		done++;
	}
	cr_expect(done > 0 && done < VDRIVER_QUEUE_SIZE, "%u in the first turn", done);
	vdriver_run(&driver);
	while (answer() >= 0) {
		done++;
	}
	cr_expect_eq(done, VDRIVER_QUEUE_SIZE);
	cr_expect_eq(count(&metrics->entropy_bytes), 16 * VDRIVER_QUEUE_SIZE);
}

Test(rng, an_unusable_chain_comes_back_empty)
{
	struct vring *ring;

	make(&unlimited);
	ring = &driver.queues[0].ring;
	vring_set_desc(ring, 0, (struct vring_desc){VDRIVER_HOLE, 64, VRING_WRITE, 0});
	vring_set_desc(ring, 1, (struct vring_desc){0, 0, VRING_WRITE, 0});
	vring_set_desc(ring, 2, (struct vring_desc){VDRIVER_HOLE - 8, 16, VRING_WRITE, 0});
	vring_set_desc(ring, 3, (struct vring_desc){0, 16, VRING_WRITE | VRING_NEXT, 3});
	for (uint16_t head = 0; head < 4; head++) {
		vring_offer(ring, head);
	}
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	for (uint16_t head = 0; head < 4; head++) {
		struct vring_used used;

		cr_assert(vring_take_used(ring, &used));
		cr_expect_eq(used.id, head);
		cr_expect_eq(used.len, 0);
	}
	cr_expect_eq(count(&metrics->entropy_event_fails), 4);
	cr_expect_eq(host_calls, 0);
}

Test(rng, a_broken_queue_needs_a_reset_and_works_after_it)
{
	make(&unlimited);
	vring_set_avail_idx(&driver.queues[0].ring, 1000);
	vdriver_notify(&driver, 0);
	vdriver_run(&driver);
	cr_expect(vdriver_status(&driver) & 64);
	cr_expect_eq(count(&metrics->entropy_event_fails), 1);
	start(ALL_FEATURES);
	ask(16);
	vdriver_run(&driver);
	cr_expect_eq(answer(), 16);
}

Test(rng, a_host_that_is_slow_or_interrupted_is_asked_again)
{
	static const enum host hosts[] = {HOST_IS_INTERRUPTED, HOST_IS_SHORT};

	for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
		make(&unlimited);
		host = hosts[i];
		unsigned chain = ask(REQUEST_MAX);

		vdriver_run(&driver);
		cr_expect_eq(answer(), REQUEST_MAX);
		cr_expect_gt(changed(chain, 0, REQUEST_MAX), REQUEST_MAX - REQUEST_MAX / 64);
		cr_expect_gt(host_calls, 60);
		cr_expect_eq(count(&metrics->host_rng_fails), 0);
		unmake();
	}
}

Test(rng, a_host_that_fails_gives_nothing)
{
	static const enum host hosts[] = {HOST_FAILS, HOST_FAILS_LATER};

	for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
		/* Apart in memory, so that each is a call of its own. */
		const struct vring_desc parts[] = {
			{MIB, 64, VRING_WRITE | VRING_NEXT, 1},
			{2 * MIB, 64, VRING_WRITE, 0},
		};

		make(&unlimited);
		host = hosts[i];
		gpa_t room = vdriver_alloc(&driver, 4096);

		for (uint16_t j = 0; j < ARRAY_COUNT(parts); j++) {
			struct vring_desc desc = parts[j];

			desc.addr = room.v + 1024 * j;
			vring_set_desc(&driver.queues[0].ring, j, desc);
		}
		vring_offer(&driver.queues[0].ring, 0);
		vdriver_notify(&driver, 0);
		vdriver_run(&driver);
		struct vring_used used;

		cr_assert(vring_take_used(&driver.queues[0].ring, &used));
		cr_expect_eq(used.len, 0);
		cr_expect_eq(count(&metrics->host_rng_fails), 1);
		cr_expect_eq(count(&metrics->entropy_event_fails), 1);
		cr_expect_eq(count(&metrics->entropy_bytes), 0);
		unmake();
	}
}

/* --- limits --- */

static struct rng_config limit(uint64_t bytes, uint64_t ops)
{
	return (struct rng_config){
		.has_rate_limiter = true,
		.rate_limiter =
			{
				.has_bandwidth = bytes > 0,
				.bandwidth = {.size = bytes, .refill_time_ms = 10},
				.has_ops = ops > 0,
				.ops = {.size = ops, .refill_time_ms = 10},
			},
	};
}

static bool is_answered(void *arg)
{
	(void)arg;
	return vring_used_idx(&driver.queues[0].ring) != driver.queues[0].ring.used_idx;
}

Test(rng, requests_beyond_a_limit_wait)
{
	static const struct {
		uint64_t bytes;
		uint64_t ops;
	} limits[] = {{200, 0}, {0, 2}, {200, 100}, {100000, 2}};

	for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
		struct rng_config config = limit(limits[i].bytes, limits[i].ops);

		make(&config);
		for (unsigned j = 0; j < 3; j++) {
			ask(100);
		}
		vdriver_run(&driver);
		cr_expect_eq(answer(), 100, "case %zu", i);
		cr_expect_eq(answer(), 100, "case %zu", i);
		cr_expect_eq(answer(), -1, "case %zu", i);
		cr_expect_gt(count(&metrics->entropy_rate_limiter_throttled), 0);
		cr_expect_eq(count(&metrics->entropy_event_count), 2);
		/* A notification is no budget. */
		uint64_t events = count(&metrics->rate_limiter_event_count);

		vdriver_notify(&driver, 0);
		evloop_freeze(&driver.loop);
		usleep(20 * 1000);
		vdriver_run(&driver);
		cr_expect_eq(answer(), -1, "case %zu", i);
		now_ns += 20 * 1000 * 1000;
		evloop_thaw(&driver.loop);
		vdriver_wait(&driver, is_answered, NULL);
		cr_expect_eq(answer(), 100, "case %zu", i);
		cr_expect_gt(count(&metrics->rate_limiter_event_count), events);
		unmake();
	}
}

Test(rng, a_request_costs_what_it_gets)
{
	struct rng_config config = limit(2 * REQUEST_MAX, 0);

	make(&config);
	ask(MIB);
	ask(MIB);
	vdriver_run(&driver);
	cr_expect_eq(answer(), REQUEST_MAX);
	cr_expect_eq(answer(), REQUEST_MAX);
	cr_expect_eq(count(&metrics->entropy_rate_limiter_throttled), 0);
}

Test(rng, a_request_without_a_buffer_costs_nothing)
{
	struct rng_config config = limit(0, 1);

	make(&config);
	for (unsigned i = 0; i < 10; i++) {
		add(&(struct vbuf){.len = 1}, 1);
	}
	ask(16);
	vdriver_run(&driver);
	for (unsigned i = 0; i < 10; i++) {
		cr_expect_eq(answer(), 0);
	}
	cr_expect_eq(answer(), 16);
}

Test(rng, a_request_that_the_host_fails_costs_nothing)
{
	static const struct {
		uint64_t bytes;
		uint64_t ops;
	} limits[] = {{200, 0}, {0, 2}};

	for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
		struct rng_config config = limit(limits[i].bytes, limits[i].ops);

		make(&config);
		host = HOST_FAILS;
		ask(100);
		vdriver_run(&driver);
		cr_expect_eq(answer(), 0, "case %zu", i);
		host = HOST_WORKS;
		ask(100);
		ask(100);
		vdriver_run(&driver);
		cr_expect_eq(answer(), 100, "case %zu", i);
		cr_expect_eq(answer(), 100, "case %zu", i);
		unmake();
	}
}

Test(rng, a_throttled_device_can_be_reset_and_started_again)
{
	struct rng_config config = limit(0, 1);

	make(&config);
	ask(16);
	ask(16);
	vdriver_run(&driver);
	cr_expect_eq(answer(), 16);
	vdriver_stop(&driver);
	usleep(20 * 1000);
	now_ns += 20 * 1000 * 1000;
	vdriver_run(&driver); /* the timer finds no driver */
	start(ALL_FEATURES);
	ask(16);
	vdriver_wait(&driver, is_answered, NULL);
	cr_expect_eq(answer(), 16);
	cr_expect_eq(answer(), -1);
}

Test(rng, a_request_that_waits_is_in_its_queue_during_a_pause)
{
	struct rng_config config = limit(0, 1);

	make(&config);
	ask(16);
	ask(16);
	vdriver_run(&driver);
	cr_expect_eq(answer(), 16);
	vdriver_pause(&driver);
	vdriver_resume(&driver);
	vdriver_run(&driver);
	cr_expect_eq(answer(), -1, "a pause is no budget");
	now_ns += 20 * 1000 * 1000;
	vdriver_wait(&driver, is_answered, NULL);
	cr_expect_eq(answer(), 16);
}

Test(rng, allocates_nothing_while_it_works)
{
	struct rng_config config = limit(1000, 0);

	make(&config);
	ask(MIB);
	ask(16);
	alloc_guard_begin();
	vdriver_run(&driver);
	cr_expect_eq(alloc_guard_end(), 0);
	cr_expect_eq(answer(), REQUEST_MAX);
}

Test(rng, buffers_that_are_the_rings_themselves_do_no_harm)
{
	make(&unlimited);
	struct vring *ring = &driver.queues[0].ring;
	const gpa_t targets[] = {ring->desc, ring->avail, ring->used};

	for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
		start(0);
		for (unsigned j = 0; j < 8; j++) {
			const struct vring_desc desc = {
				.addr = targets[i].v, .len = 4096, .flags = VRING_WRITE};
			const struct vbuf buf = {.len = 4096, .flags = VBUF_WRITABLE};

			vring_set_desc(ring, (uint16_t)vdriver_add(&driver, 0, &buf, 1), desc);
		}
		vdriver_kick(&driver, 0);
		vdriver_run(&driver);
		start(ALL_FEATURES);
		ask(100);
		vdriver_run(&driver);
		cr_expect_eq(answer(), 100, "%zu", i);
	}
}

/* --- saved and loaded --- */

Test(rng, one_that_is_loaded_answers_what_waits_and_keeps_its_limit)
{
	static struct state_bed bed;
	const struct rng_config config = {
		.rate_limiter = {.ops = {.size = 2, .refill_time_ms = 1000}, .has_ops = true},
		.has_rate_limiter = true,
	};
	struct error err = {0};

	make(&config);
	for (unsigned i = 0; i < 4; i++) {
		vdriver_add(&driver, 0, &(struct vbuf){.len = 16, .flags = VBUF_WRITABLE}, 1);
	}
	state_bed_take(&bed, &driver);
	rng_free(rng);
	cr_assert_eq(rng_new(vdriver_env(&driver), &config, &rng, &err), 0);
	state_bed_give(&bed, &driver, rng_virtio(rng));
	vdriver_run(&driver);
	cr_expect(answer() == 16 && answer() == 16 && answer() == -1);
	state_bed_take(&bed, &driver);
	rng_free(rng);
	cr_assert_eq(rng_new(vdriver_env(&driver), &config, &rng, &err), 0);
	state_bed_give(&bed, &driver, rng_virtio(rng));
	vdriver_run(&driver);
	cr_expect_eq(answer(), -1, "the bucket is as empty as before");
}
