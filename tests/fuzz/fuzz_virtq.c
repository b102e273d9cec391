/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes virtqueues: an input is the bytes of guest memory around the rings, and a program of what
 * the device does and the guest changes meanwhile. Besides the sanitizers' checks, every chain must
 * keep its promises, and our own indexes must not follow the guest's.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/core/virtq.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"

#define MEM_LEN (UINT64_C(64) << 10) /* of each of two regions with a gap between them */
#define SECOND_AT (UINT64_C(128) << 10)
#define FEATURES (UINT64_C(1) << 28 | UINT64_C(1) << 29)

enum {
	HEAD_LEN = 16,
	STEPS_MAX = 512,
	IOV_MAX_TRIED = 8,
};

enum action {
	ACT_POP,
	ACT_PUSH,
	ACT_UNDO,
	ACT_PUBLISH,
	ACT_ARM,
	ACT_DISARM,
	ACT_WRITE, /* by the guest: address and 8 bytes follow */
	ACT_STOP,
	ACT_SAVE,    /* and go on from there */
	ACT_RESTORE, /* from indexes that follow */
	ACTIONS
};

struct machine {
	struct gmem *mem;
	struct virtq vq;
	struct virtq_chain chain;
	bool has_chain;
	bool is_undoable;
	uint16_t popped;
};

static void check_bytes(struct machine *machine, enum virtq_side side, uint32_t side_len)
{
	uint8_t data[64];
	uint32_t len = (uint32_t)min_u64(side_len, sizeof(data));
	struct iovec list[VIRTQ_IOV_MAX];
	struct virtq_iov iov = {.iov = list, .cap = VIRTQ_IOV_MAX};
	struct virtq_span all = {side, 0, side_len};
	uint64_t total = 0;

	if (side == VIRTQ_READABLE) {
		require(virtq_chain_read(machine->mem, &machine->chain, side_len - len, data,
					 len) == 0);
		require(virtq_chain_read(machine->mem, &machine->chain, side_len, data, 1) < 0);
	} else {
		memset(data, 0, sizeof(data));
		require(virtq_chain_write(machine->mem, &machine->chain, side_len - len, data,
					  len) == 0);
		require(virtq_chain_write(machine->mem, &machine->chain, side_len, data, 1) < 0);
	}
	require(virtq_chain_iov(machine->mem, &machine->chain, all, &iov) == 0);
	for (size_t i = 0; i < iov.count; i++) {
		total += list[i].iov_len;
	}
	require(total == side_len);
	all.len++;
	require(side_len == UINT32_MAX ||
		virtq_chain_iov(machine->mem, &machine->chain, all, &iov) < 0);
	iov.cap = IOV_MAX_TRIED;
	iov.count = IOV_MAX_TRIED - 1;
	all.len = side_len;
	(void)!virtq_chain_iov(machine->mem, &machine->chain, all, &iov);
	require(iov.count <= IOV_MAX_TRIED);
}

static void check_chain(struct machine *machine)
{
	const struct virtq_chain *chain = &machine->chain;
	uint64_t read_len = 0;
	uint64_t write_len = 0;

	require(chain->head < machine->vq.size && chain->count > 0);
	require(chain->count <= VIRTQ_CHAIN_MAX && chain->readable <= chain->count);
	for (unsigned i = 0; i < chain->count; i++) {
		require(chain->segs[i].len > 0);
		require(gmem_contains(machine->mem, chain->segs[i].gpa, chain->segs[i].len));
		*(i < chain->readable ? &read_len : &write_len) += chain->segs[i].len;
	}
	require(read_len == chain->read_len && write_len == chain->write_len);
	check_bytes(machine, VIRTQ_READABLE, chain->read_len);
	check_bytes(machine, VIRTQ_WRITABLE, chain->write_len);
}

static void pop(struct machine *machine)
{
	uint16_t before = machine->vq.next_avail;
	uint16_t pending = virtq_pending(&machine->vq);
	enum virtq_result result = virtq_pop(&machine->vq, &machine->chain);
	bool is_taken = result == VIRTQ_OK || result == VIRTQ_BAD;

	require((uint16_t)(machine->vq.next_avail - before) == is_taken);
	require(pending <= machine->vq.size && (pending > 0 || !is_taken));
	require(result != VIRTQ_EMPTY || pending == 0);
	machine->has_chain = is_taken;
	machine->is_undoable = is_taken;
	if (result == VIRTQ_OK) {
		check_chain(machine);
	} else if (result == VIRTQ_BAD) {
		require(machine->chain.head < machine->vq.size && machine->chain.count == 0);
	}
}

static void save(struct machine *machine)
{
	struct virtq *vq = &machine->vq;
	struct virtq_state state = {0};
	struct error err = {0};
	struct virtq before;

	/* A driver may offer a chain that is held again: a pause gives all of them back first. */
	if (vq->size == 0 || virtq_held(vq) > vq->size) {
		return;
	}
	(void)!virtq_publish(vq);
	before = *vq;
	virtq_save(vq, &state);
	virtq_stop(vq);
	require(virtq_restore(vq, &state, machine->mem, &err) == 0);
	/* Member by member: what lies between them is nobody's. */
	require(vq->size == before.size && vq->has_event_idx == before.has_event_idx &&
		vq->has_indirect == before.has_indirect && vq->next_avail == before.next_avail &&
		vq->next_used == before.next_used && vq->published == before.published);
	require(vq->desc == before.desc && vq->avail == before.avail && vq->used == before.used);
}

/* What an undo was for, another queue does not know. */
static void restore(struct machine *machine, struct input *input)
{
	struct virtq *vq = &machine->vq;
	struct virtq_state state = {0};
	struct error err = {0};

	if (vq->size == 0) {
		return;
	}
	(void)!virtq_publish(vq);
	virtq_save(vq, &state);
	state.next_avail = (uint16_t)input_number(input, 2);
	state.next_used = (uint16_t)input_number(input, 2);
	machine->has_chain = false;
	machine->is_undoable = false;
	if (virtq_restore(vq, &state, machine->mem, &err) < 0) {
		require(err.kind == ERR_CORRUPT && vq->size == 0);
		return;
	}
	require(virtq_held(vq) <= vq->size && vq->published == vq->next_used);
}

static void act(struct machine *machine, struct input *input)
{
	struct virtq *vq = &machine->vq;

	switch ((enum action)(input_number(input, 1) % ACTIONS)) {
	case ACT_POP:
		pop(machine);
		break;
	case ACT_PUSH:
		if (machine->has_chain) {
			uint16_t before = vq->next_used;

			virtq_push(vq, machine->chain.head, machine->chain.write_len);
			require(vq->size == 0 || vq->next_used == (uint16_t)(before + 1));
			machine->has_chain = false;
			machine->is_undoable = false;
		}
		break;
	case ACT_UNDO:
		if (machine->is_undoable) {
			virtq_rewind(vq, 1);
			machine->has_chain = false;
			machine->is_undoable = false;
		}
		break;
	case ACT_PUBLISH: {
		bool is_new = vq->next_used != vq->published;
		bool is_wanted = virtq_publish(vq);

		require((is_new || !is_wanted) && vq->published == vq->next_used);
		break;
	}
	case ACT_ARM:
		(void)!virtq_arm_kick(vq);
		break;
	case ACT_DISARM:
		virtq_disarm_kick(vq);
		break;
	case ACT_WRITE: {
		gpa_t gpa = GPA(input_number(input, 2));
		uint64_t value = input_number(input, 8);

		(void)!gmem_write(machine->mem, gpa, &value, sizeof(value));
		break;
	}
	case ACT_SAVE:
		save(machine);
		break;
	case ACT_RESTORE:
		restore(machine, input);
		break;
	case ACT_STOP:
	case ACTIONS:
		virtq_stop(vq);
		require(virtq_pop(vq, &machine->chain) == VIRTQ_EMPTY);
		machine->has_chain = false;
		machine->is_undoable = false;
		break;
	}
}

/*
 * 16 bytes of where the rings are, how long the program is and at which index to start; the
 * program; and the rest is what lies in the first region.
 */
static bool start(struct machine *machine, struct input *input, struct input *program)
{
	struct error err = {0};
	struct virtq_config config = {.size = (uint16_t)(1u << input_number(input, 1) % 10)};
	uint64_t features = input_number(input, 1) << 28 & FEATURES;

	config.desc = GPA(input_number(input, 3));
	config.avail = GPA(input_number(input, 3));
	config.used = GPA(input_number(input, 3));
	uint16_t index = (uint16_t)input_number(input, 2);
	size_t len = min_u64(input_number(input, 2), input->size);

	*program = (struct input){input->data, len};
	input_skip(input, len);
	if (gmem_write(machine->mem, GPA(0), input->data, min_u64(input->size, MEM_LEN)) < 0) {
		abort();
	}
	if (virtq_start(&machine->vq, &config, machine->mem, features, &err) < 0) {
		require(err.kind == ERR_GUEST && machine->vq.size == 0);
		return false;
	}
	machine->vq.next_avail = index;
	machine->vq.next_used = index;
	machine->vq.published = index;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct gmem_range ranges[] = {{GPA(0), MEM_LEN}, {GPA(SECOND_AT), MEM_LEN}};
	static struct machine machine;
	struct input input = {data, size};
	struct input program = {0};
	struct error err = {0};

	if (size < HEAD_LEN) {
		return 0;
	}
	memset(&machine, 0, sizeof(machine));
	require(gmem_new(ranges, ARRAY_COUNT(ranges), GMEM_ANON, &machine.mem, &err) == 0);
	if (start(&machine, &input, &program)) {
		for (unsigned i = 0; i < STEPS_MAX && program.size > 0; i++) {
			act(&machine, &program);
		}
	}
	gmem_free(machine.mem);
	return 0;
}
