/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory device.
 *
 * Theory of operation. A region of the guest's address space consists of blocks. The API says how
 * much of it the guest shall have (requested_size); the driver sees that in the configuration, and
 * plugs blocks before it uses them, or unplugs what it can do without, by requests in the one
 * queue. Which blocks are plugged is what guest memory itself knows (vmm/base/gmem_plug.h): all
 * that is not plugged is no RAM, for the guest and for other devices.
 *
 * The driver may plug up to requested_size, within usable_region_size, which grows with it to whole
 * slots and shrinks by UNPLUG_ALL alone [compat].
 *
 * A request may be about any amount of memory, and unplugging frees it. So it is a job, done piece
 * by piece: each turn does a bounded amount and then lets other sources of the event loop run. The
 * chain stays in its queue until the job is done, and the job works on a copy of the request. A
 * block larger than a piece is made of several units of guest memory. Where the host refuses a
 * piece of a plug, the pieces before it are unplugged again and the driver hears that it may try
 * later. A reset leaves blocks as they are [virtio-1.2 §5.15.5.2], a job that it ends too.
 */
#include "devices/virtio/mem/mem.h"

#include <stdlib.h>
#include <time.h>

#include "devices/virtio/core/virtio_state.h"
#include "devices/virtio/mem/mem_req.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/base/log.h"

enum {
	REQUEST_QUEUE,
	QUEUES
};

/* [virtio-1.2 §5.15.3] */
enum {
	F_UNPLUGGED_INACCESSIBLE = 1,
};

static const struct virtio_feature feature_names[] = {
	{F_UNPLUGGED_INACCESSIBLE, "VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE"},
};

/* Offsets in the configuration [virtio-1.2 §5.15.4]. */
enum {
	CONFIG_BLOCK = 0,
	CONFIG_NODE = 8,
	CONFIG_BASE = 16,
	CONFIG_LEN_ALL = 24,
	CONFIG_USABLE = 32,
	CONFIG_PLUGGED = 40,
	CONFIG_REQUESTED = 48,
	CONFIG_LEN = 56,
};

/* A turn's work, in units of about 16 us: a chain, a call to the host, or memory that is freed. */
enum {
	TURN_STEPS = 128,
	TURN_US = 2000, /* after which no piece is begun */
	STEP_BYTES = 1024 * 1024,
};

static const uint64_t piece_len = 32 * MIB;

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(mem_metrics, activate_fails)},
	{METRIC_COUNT(mem_metrics, queue_event_fails)},
	{METRIC_COUNT(mem_metrics, queue_event_count)},
	{METRIC_ROW(mem_metrics, plug_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(mem_metrics, plug_count)},
	{METRIC_ROW(mem_metrics, plug_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(mem_metrics, plug_fails)},
	{METRIC_ROW(mem_metrics, unplug_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(mem_metrics, unplug_count)},
	{METRIC_ROW(mem_metrics, unplug_bytes, METRIC_COUNTER, METRIC_BYTES)},
	{METRIC_COUNT(mem_metrics, unplug_fails)},
	{METRIC_COUNT(mem_metrics, unplug_discard_fails)},
	{METRIC_ROW(mem_metrics, unplug_all_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(mem_metrics, unplug_all_count)},
	{METRIC_COUNT(mem_metrics, unplug_all_fails)},
	{METRIC_ROW(mem_metrics, state_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_COUNT(mem_metrics, state_count)},
	{METRIC_COUNT(mem_metrics, state_fails)},
};

const struct metric_group mem_metric_group = {
	METRIC_GROUP("memory_hotplug", mem_metrics, metric_fields, 4)};

/* A request that is under way: all of it is checked. */
struct job {
	bool is_open;
	bool is_undone; /* a plug that failed: its pieces are unplugged again */
	uint16_t head;	/* of its chain */
	uint16_t type;	/* enum mem_req_type */
	struct gmem_blocks units;
	uint64_t done; /* units */
	uint64_t begin_us;
};

struct mem {
	struct virtio_dev dev;
	/* immutable */
	uint64_t base; /* of the region */
	uint64_t len;
	uint64_t block_len;
	uint64_t slot_len;
	uint64_t unit_len; /* of what guest memory calls a block */
	uint64_t unit_count;
	struct mem_metrics metrics; /* shared */
	/* under the device's lock */
	struct job job;
};

static struct mem *to_mem(struct virtio_dev *dev)
{
	return container_of(dev, struct mem, dev);
}

static uint64_t config_get(const struct mem *mem, size_t offset)
{
	return load_le64(mem->dev.config + offset);
}

static void config_set(struct mem *mem, size_t offset, uint64_t value)
{
	store_le64(mem->dev.config + offset, value);
}

static void note_plugged(struct mem *mem)
{
	const struct gmem_blocks all = {0, mem->unit_count};

	config_set(mem, CONFIG_PLUGGED, gmem_plugged(mem->dev.mem, all) * mem->unit_len);
}

/* --- The queues --- */

/* What is counted of requests of one type. */
struct req_metrics {
	struct metric *count, *fails, *bytes; /* bytes NULL: not counted */
	struct metric_latency *latency;
};

static struct req_metrics metrics_of(struct mem *mem, uint16_t type)
{
	struct mem_metrics *m = &mem->metrics;
	const struct req_metrics all[MEM_REQ_TYPES] = {
		[MEM_PLUG] = {&m->plug_count, &m->plug_fails, &m->plug_bytes, &m->plug_agg},
		[MEM_UNPLUG] = {&m->unplug_count, &m->unplug_fails, &m->unplug_bytes,
				&m->unplug_agg},
		[MEM_UNPLUG_ALL] = {&m->unplug_all_count, &m->unplug_all_fails, NULL,
				    &m->unplug_all_agg},
		[MEM_STATE] = {&m->state_count, &m->state_fails, NULL, &m->state_agg},
	};

	return all[type];
}

static uint64_t now_us(const struct mem *mem)
{
	return mem->dev.clock->now_ns(CLOCK_MONOTONIC) / NS_PER_US;
}

/* Ends the job and gives back the chain, which is in dev.chain. */
static void answer(struct mem *mem, enum mem_resp_type type, enum mem_state state)
{
	struct job *job = &mem->job;
	const struct virtq_chain *chain = &mem->dev.chain;
	struct req_metrics metrics = metrics_of(mem, job->type);
	uint8_t bytes[MEM_RESP_LEN];
	uint32_t written = MEM_RESP_LEN;

	if (type != MEM_ACK) {
		metric_add(metrics.fails, 1);
	} else if (metrics.bytes != NULL) {
		metric_add(metrics.bytes, job->units.count * mem->unit_len);
	}
	metric_latency_add(metrics.latency, now_us(mem) - job->begin_us);
	job->is_open = false;
	mem_resp_store(bytes, type, state);
	if (virtq_chain_write(mem->dev.mem, chain, 0, bytes, sizeof(bytes)) < 0) {
		/* It lay in what was just unplugged, or the driver has changed the chain. */
		log_guest_warn("Memory: the response has no place any more");
		metric_add(&mem->metrics.queue_event_fails, 1);
		written = 0;
	}
	virtq_push(&mem->dev.queues[REQUEST_QUEUE].vq, chain->head, written);
}

/* What the driver asked for can't be: says so and why. */
static void refuse(struct mem *mem, enum mem_resp_type type, const char *why)
{
	log_guest_warn("Memory: a request is refused: %s", why);
	answer(mem, type, MEM_PLUGGED);
}

static enum mem_state state_of(struct mem *mem, struct gmem_blocks units)
{
	uint64_t count = gmem_plugged(mem->dev.mem, units);

	return count == 0 ? MEM_UNPLUGGED : count == units.count ? MEM_PLUGGED : MEM_MIXED;
}

/* The next units of a job, up to a border of pieces: so mappings are split at few places. */
static struct gmem_blocks next_piece(const struct mem *mem)
{
	const struct job *job = &mem->job;
	uint64_t first = job->units.first + job->done;
	uint64_t per_piece = piece_len / mem->unit_len;

	return (struct gmem_blocks){
		first, min_u64(job->units.count - job->done, per_piece - first % per_piece)};
}

static int unplug_piece(struct mem *mem, struct gmem_blocks piece, struct error *err)
{
	if (gmem_plugged(mem->dev.mem, piece) == 0) {
		return 0;
	}
	if (gmem_unplug(mem->dev.mem, piece, err) < 0) {
		return -1;
	}
	virtio_spend(&mem->dev, piece.count * mem->unit_len / STEP_BYTES);
	if (gmem_plug_discard(mem->dev.mem, piece) < 0) {
		log_guest_warn("Memory: the host does not take back what is unplugged");
		metric_add(&mem->metrics.unplug_discard_fails, 1);
	}
	return 0;
}

/* A piece that the host refuses. Before the first one nothing has changed. */
static void step_failed(struct mem *mem, const struct error *err)
{
	struct job *job = &mem->job;

	if (job->type == MEM_PLUG && !job->is_undone) {
		log_guest_warn("Memory: cannot plug: %s", err->msg);
		job->is_undone = true;
		job->units.count = job->done;
		job->done = 0;
	} else {
		refuse(mem, job->done == 0 ? MEM_BUSY : MEM_ERROR, err->msg);
	}
}

/* Does the next piece of the open job, and answers after the last. */
static void step(struct mem *mem)
{
	struct job *job = &mem->job;
	struct gmem_blocks piece = next_piece(mem);
	bool is_plug = job->type == MEM_PLUG && !job->is_undone;
	struct error err = {0};

	if (job->done < job->units.count) {
		if ((is_plug ? gmem_plug(mem->dev.mem, piece, &err)
			     : unplug_piece(mem, piece, &err)) < 0) {
			step_failed(mem, &err);
		} else {
			job->done += piece.count;
		}
		note_plugged(mem);
		virtio_changed(&mem->dev);
	}
	if (!job->is_open || job->done < job->units.count) {
		return;
	}
	if (job->type == MEM_UNPLUG_ALL) {
		config_set(mem, CONFIG_USABLE, 0);
		virtio_config_changed(&mem->dev);
	}
	answer(mem, job->is_undone ? MEM_BUSY : MEM_ACK, MEM_PLUGGED);
}

/* --- Checks --- */

static void begin_plug(struct mem *mem)
{
	uint64_t more = mem->job.units.count * mem->unit_len;

	if (config_get(mem, CONFIG_PLUGGED) + more > config_get(mem, CONFIG_REQUESTED)) {
		refuse(mem, MEM_NACK, "it would be more than is requested");
	} else if (state_of(mem, mem->job.units) != MEM_UNPLUGGED) {
		refuse(mem, MEM_ERROR, "it plugs what is plugged");
	}
}

static void begin_unplug(struct mem *mem)
{
	if (mem->job.type == MEM_UNPLUG && state_of(mem, mem->job.units) != MEM_PLUGGED) {
		refuse(mem, MEM_ERROR, "it unplugs what is not plugged");
	} else if (gmem_plug_has_ring(mem->dev.mem, mem->job.units)) {
		refuse(mem, MEM_BUSY, "a queue has its ring in what it unplugs");
	}
}

static void begin_checked(struct mem *mem, const struct mem_req *req)
{
	const struct mem_area area = {mem->base, config_get(mem, CONFIG_USABLE), mem->block_len};
	uint64_t offset = 0;
	uint64_t len = mem->len;

	if (req->type != MEM_UNPLUG_ALL && !mem_req_place(&area, req, &offset, &len)) {
		refuse(mem, MEM_ERROR, "its blocks are unaligned or not usable");
		return;
	}
	mem->job.units = (struct gmem_blocks){offset / mem->unit_len, len / mem->unit_len};
	if (req->type == MEM_STATE) {
		answer(mem, MEM_ACK, state_of(mem, mem->job.units));
	} else if (req->type == MEM_PLUG) {
		begin_plug(mem);
	} else {
		begin_unplug(mem);
	}
}

/* Opens a job for the chain, or gives it back if that is all. */
static void begin(struct mem *mem, const struct virtq_chain *chain)
{
	uint8_t bytes[MEM_REQ_LEN];
	struct mem_req req;

	mem->job = (struct job){.is_open = false};
	if (chain->read_len < MEM_REQ_LEN || chain->write_len < MEM_RESP_LEN ||
	    virtq_chain_read(mem->dev.mem, chain, 0, bytes, sizeof(bytes)) < 0) {
		log_guest_warn("Memory: a request of %u bytes with %u for the response",
			       chain->read_len, chain->write_len);
		metric_add(&mem->metrics.queue_event_fails, 1);
		virtq_push(&mem->dev.queues[REQUEST_QUEUE].vq, chain->head, 0);
		return;
	}
	mem_req_parse(bytes, &req);
	mem->job.is_open = true;
	mem->job.head = chain->head;
	mem->job.begin_us = now_us(mem);
	if (req.type >= MEM_REQ_TYPES) {
		/* It counts as a query, of which there are the fewest rules. */
		mem->job.type = MEM_STATE;
		metric_add(&mem->metrics.queue_event_fails, 1);
		refuse(mem, MEM_ERROR, "nobody knows its type");
		return;
	}
	mem->job.type = req.type;
	metric_add(metrics_of(mem, req.type).count, 1);
	begin_checked(mem, &req);
}

static enum virtio_step take(struct virtio_dev *dev, unsigned queue,
			     const struct virtq_chain *chain)
{
	struct mem *mem = to_mem(dev);
	struct job *job = &mem->job;
	uint64_t end_us = now_us(mem) + TURN_US;

	(void)queue;
	if (!job->is_open || job->head != chain->head) {
		begin(mem, chain);
	}
	/* How long pages take to be freed, nobody knows before. */
	while (job->is_open && dev->budget > 0 && now_us(mem) < end_us) {
		virtio_spend(dev, 1);
		step(mem);
	}
	return job->is_open ? VIRTIO_LATER : VIRTIO_DONE;
}

static void fault(struct virtio_dev *dev, unsigned queue, enum virtq_result result)
{
	struct mem *mem = to_mem(dev);

	(void)queue;
	(void)result;
	mem->job.is_open = false;
	metric_add(&mem->metrics.queue_event_fails, 1);
}

/* --- Events --- */

static void queue_ready(struct virtio_dev *dev, unsigned index)
{
	metric_add(&to_mem(dev)->metrics.queue_event_count, 1);
	virtio_serve(dev, index, TURN_STEPS);
}

/* --- State --- */

/* The job. Which units are plugged comes with guest memory, the sizes with the configuration. */
struct mem_saved {
	bool is_open;
	bool is_undone;
	uint16_t head;
	uint16_t type;
	uint64_t first;
	uint64_t count;
	uint64_t done;
};

VIRTIO_STATE_FITS(struct mem_saved);

static const struct codec_section section = {
	.tag = CODEC_TAG('V', 'M', 'E', 'M'), .version = 1, .name = "virtio-mem"};

static void state_codec(struct codec *codec, void *own)
{
	struct mem_saved *state = own;

	codec_bool(codec, "is_open", &state->is_open);
	codec_bool(codec, "is_undone", &state->is_undone);
	codec_u16(codec, "head", &state->head);
	codec_u16(codec, "type", &state->type);
	codec_u64(codec, "first", &state->first);
	codec_u64(codec, "count", &state->count);
	codec_u64(codec, "done", &state->done);
}

static void state_save(struct virtio_dev *dev, void *own)
{
	const struct job *job = &to_mem(dev)->job;
	struct mem_saved *state = own;

	if (job->is_open) {
		*state = (struct mem_saved){
			.is_open = true,
			.is_undone = job->is_undone,
			.head = job->head,
			.type = job->type,
			.first = job->units.first,
			.count = job->units.count,
			.done = job->done,
		};
	}
}

/* The sizes that came with the configuration: what no device says. */
static bool sizes_fit(const struct mem *mem)
{
	uint64_t usable = config_get(mem, CONFIG_USABLE);
	uint64_t requested = config_get(mem, CONFIG_REQUESTED);

	return usable <= mem->len && usable % mem->block_len == 0 && requested <= mem->len &&
	       requested % mem->block_len == 0;
}

static int state_load(struct virtio_dev *dev, const void *own, struct error *err)
{
	struct mem *mem = to_mem(dev);
	const struct mem_saved *state = own;

	if (state->first > mem->unit_count || state->count > mem->unit_count - state->first ||
	    state->done > state->count || state->type >= MEM_STATE || !sizes_fit(mem)) {
		return error_set(err, ERR_CORRUPT, "its sizes or its request are impossible");
	}
	note_plugged(mem);
	mem->job = (struct job){
		.is_open = state->is_open,
		.is_undone = state->is_undone,
		.head = state->head,
		.type = state->type,
		.units = {state->first, state->count},
		.done = state->done,
		.begin_us = now_us(mem),
	};
	return 0;
}

static const struct virtio_config_field config_fields[] = {
	{"block size", CONFIG_BLOCK, CONFIG_NODE - CONFIG_BLOCK, VIRTIO_CONFIG_SAME},
	{"node", CONFIG_NODE, CONFIG_BASE - CONFIG_NODE, VIRTIO_CONFIG_SAME},
	{"address", CONFIG_BASE, CONFIG_LEN_ALL - CONFIG_BASE, VIRTIO_CONFIG_SAME},
	{"total size", CONFIG_LEN_ALL, CONFIG_USABLE - CONFIG_LEN_ALL, VIRTIO_CONFIG_SAME},
	{"usable size", CONFIG_USABLE, CONFIG_PLUGGED - CONFIG_USABLE, VIRTIO_CONFIG_SAVED},
	{"plugged size", CONFIG_PLUGGED, CONFIG_REQUESTED - CONFIG_PLUGGED, VIRTIO_CONFIG_SAVED},
	{"requested size", CONFIG_REQUESTED, CONFIG_LEN - CONFIG_REQUESTED, VIRTIO_CONFIG_SAVED},
};

static const struct virtio_class_state class_state = {
	VIRTIO_CONFIG_FIELDS(config_fields),
	.section = &section,
	.size = sizeof(struct mem_saved),
	.codec = state_codec,
	.save = state_save,
	.load = state_load,
};

/* --- The driver --- */

/* A driver that would read what is not plugged must not start [virtio-1.2 §5.15.5.1]. */
static int activate(struct virtio_dev *dev, struct error *err)
{
	return virtio_has(dev, F_UNPLUGGED_INACCESSIBLE)
		       ? 0
		       : error_set(err, ERR_GUEST,
				   "The driver does not know that unplugged memory is "
				   "inaccessible: Linux knows it since 5.16");
}

static void reset(struct virtio_dev *dev)
{
	to_mem(dev)->job.is_open = false;
}

static void destroy(struct virtio_dev *dev)
{
	mem_free(to_mem(dev));
}

const struct virtio_class mem_class = {
	.type = VIRTIO_TYPE_MEM,
	.name = "memory",
	.metrics = &mem_metric_group,
	VIRTIO_FEATURES(feature_names),
	.state = &class_state,
	.activate = activate,
	.queue_ready = queue_ready,
	.take = take,
	.fault = fault,
	.reset = reset,
	.destroy = destroy,
};

/* --- Making and changing --- */

uint64_t mem_unit_len(const struct mem_config *config)
{
	return min_u64(config->block_size_mib * MIB, piece_len);
}

static int build(struct mem *mem, const struct dev_env *env, const struct mem_config *config,
		 struct error *err)
{
	const struct virtio_params params = {
		.class = &mem_class,
		.metrics = &mem->metrics,
		.activate_fails = &mem->metrics.activate_fails,
		.id = "mem", /* [compat] */
		.features = UINT64_C(1) << F_UNPLUGGED_INACCESSIBLE,
		.queue_count = QUEUES,
		.config_len = CONFIG_LEN,
	};
	struct gmem_range range;
	struct gmem_blocks all;

	if (!gmem_plug_region(env->mem, &range, &mem->unit_len, &all) ||
	    range.len != config->total_size_mib * MIB || mem->unit_len != mem_unit_len(config)) {
		return error_set(err, ERR_CORRUPT,
				 "Guest memory has no room for %u MiB that are plugged in",
				 config->total_size_mib);
	}
	if (virtio_init(&mem->dev, env, &params, err) < 0) {
		return -1;
	}
	mem->base = range.base.v;
	mem->len = range.len;
	mem->unit_count = all.count;
	mem->block_len = config->block_size_mib * MIB;
	mem->slot_len = config->slot_size_mib * MIB;
	config_set(mem, CONFIG_BLOCK, mem->block_len);
	config_set(mem, CONFIG_BASE, mem->base);
	config_set(mem, CONFIG_LEN_ALL, mem->len);
	return 0;
}

int mem_new(const struct dev_env *env, const struct mem_config *config, struct mem **out,
	    struct error *err)
{
	struct mem *mem = calloc(1, sizeof(*mem));

	if (mem == NULL) {
		return error_sys(err, "Cannot allocate the memory device");
	}
	if (build(mem, env, config, err) < 0) {
		mem_free(mem);
		return -1;
	}
	*out = mem;
	return 0;
}

void mem_free(struct mem *mem)
{
	if (mem != NULL) {
		virtio_destroy(&mem->dev);
		free(mem);
	}
}

struct virtio_dev *mem_virtio(struct mem *mem)
{
	return &mem->dev;
}

struct mem_metrics *mem_metrics(struct mem *mem)
{
	return &mem->metrics;
}

static int check_request(const struct mem *mem, uint64_t size, struct error *err)
{
	if (!mem->dev.is_active) {
		return error_set(err, ERR_BAD_STATE, "Device is not active");
	}
	if (size % mem->block_len != 0 || size > mem->len) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Size %llu is invalid: it must be a multiple of block size and "
				 "less than the total size",
				 (unsigned long long)size);
	}
	return 0;
}

int mem_request(struct mem *mem, uint32_t size_mib, struct error *err)
{
	uint64_t size = size_mib * MIB;

	virtio_lock(&mem->dev);
	int result = check_request(mem, size, err);

	if (result == 0) {
		if (config_get(mem, CONFIG_USABLE) < size) {
			uint64_t slots = (size + mem->slot_len - 1) / mem->slot_len;

			config_set(mem, CONFIG_USABLE, slots * mem->slot_len);
		}
		config_set(mem, CONFIG_REQUESTED, size);
		virtio_config_changed(&mem->dev);
	}
	virtio_unlock(&mem->dev);
	return result;
}

void mem_get_status(struct mem *mem, struct mem_status *status)
{
	virtio_lock(&mem->dev);
	status->plugged_size_mib = (uint32_t)(config_get(mem, CONFIG_PLUGGED) / MIB);
	status->requested_size_mib = (uint32_t)(config_get(mem, CONFIG_REQUESTED) / MIB);
	virtio_unlock(&mem->dev);
}
