/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMClock.
 *
 * Theory of operation. The page tells no time: its counter is "invalid", and the fields of a clock
 * are 0. What it has are the two counters. They are written as a reader expects who may have been
 * stopped by the save between two of its own loads: the sequence count becomes odd, then come the
 * fields, then it becomes the next even number. The reader sees another number than before and
 * begins anew. All is written from the device's own state and nothing is read back, so that what a
 * guest writes to its page is its own affair.
 */
#include "devices/platform/vmclock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

enum {
	MAGIC = 0x4b4c4356, /* "VCLK" in memory */
	VERSION = 1,
	COUNTER_INVALID = 0xff,
	STATUS_UNKNOWN = 0,
	VM_GEN_COUNTER_PRESENT = 1 << 8,
	NOTIFICATION_PRESENT = 1 << 9,
};

/* What is used of the page, little-endian as all machines here are [vmclock]. */
struct page {
	uint32_t magic;
	uint32_t size;
	uint16_t version;
	uint8_t counter_id;
	uint8_t time_type; /* says nothing where no time is told */
	uint32_t seq_count;
	uint64_t disruption_marker;
	uint64_t flags;
	uint8_t padding[2];
	uint8_t clock_status;
	uint8_t clock[69]; /* leap seconds, counter and time */
	uint64_t vm_generation_counter;
};

static_assert(offsetof(struct page, seq_count) == 12, "[vmclock]");
static_assert(offsetof(struct page, flags) == 24, "[vmclock]");
static_assert(offsetof(struct page, clock_status) == 34, "[vmclock]");
static_assert(offsetof(struct page, vm_generation_counter) == 104, "[vmclock]");
static_assert(sizeof(struct page) == 112, "[vmclock]");

struct vmclock {
	struct gmem *mem;
	struct irq_line irq;
	struct vmclock_state state; /* seq_count is even */
};

static int write_page(const struct vmclock *vmclock, uint32_t seq_count, struct error *err)
{
	const struct vmclock_state *state = &vmclock->state;
	const struct page page = {
		.magic = MAGIC,
		.size = VMCLOCK_LEN,
		.version = VERSION,
		.counter_id = COUNTER_INVALID,
		.seq_count = seq_count,
		.disruption_marker = state->disruption_marker,
		.flags = VM_GEN_COUNTER_PRESENT | NOTIFICATION_PRESENT,
		.clock_status = STATUS_UNKNOWN,
		.vm_generation_counter = state->vm_generation_counter,
	};

	if (gmem_write(vmclock->mem, GPA(state->at), &page, sizeof(page)) < 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for its VMClock page at "
				 "0x%" PRIx64,
				 state->at);
	}
	return 0;
}

static int write_seq_count(const struct vmclock *vmclock, uint32_t seq_count, struct error *err)
{
	const gpa_t at = GPA(vmclock->state.at + offsetof(struct page, seq_count));

	atomic_thread_fence(memory_order_seq_cst);
	if (gmem_write(vmclock->mem, at, &seq_count, sizeof(seq_count)) < 0) {
		return error_set(err, ERR_BAD_REQUEST, "The VMClock page is not in memory");
	}
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

/* Writes a page that a guest may be reading. */
static int update(struct vmclock *vmclock, struct error *err)
{
	const uint32_t odd = vmclock->state.seq_count + 1;

	vmclock->state.seq_count += 2;
	return write_seq_count(vmclock, odd, err) < 0 || write_page(vmclock, odd, err) < 0
		       ? -1
		       : write_seq_count(vmclock, odd + 1, err);
}

int vmclock_new(const struct dev_env *env, gpa_t at, struct vmclock **out, struct error *err)
{
	struct vmclock *vmclock = calloc(1, sizeof(*vmclock));

	if (vmclock == NULL) {
		return error_sys(err, "Cannot allocate the VMClock");
	}
	*vmclock = (struct vmclock){.mem = env->mem, .irq = env->irq, .state = {.at = at.v}};
	if (write_page(vmclock, 0, err) < 0) {
		free(vmclock);
		return -1;
	}
	*out = vmclock;
	return 0;
}

void vmclock_free(struct vmclock *vmclock)
{
	free(vmclock);
}

/* --- Saving and loading --- */

void vmclock_state_codec(struct codec *codec, struct vmclock_state *state)
{
	static const struct codec_section section = {
		.tag = CODEC_TAG('V', 'C', 'L', 'K'), .version = 1, .name = "VMClock"};

	if (codec_section_begin(codec, &section)) {
		codec_u64(codec, "at", &state->at);
		codec_u32(codec, "seq_count", &state->seq_count);
		codec_u64(codec, "disruption_marker", &state->disruption_marker);
		codec_u64(codec, "vm_generation_counter", &state->vm_generation_counter);
		codec_section_end(codec);
	}
}

void vmclock_save(const struct vmclock *vmclock, struct vmclock_state *state)
{
	*state = vmclock->state;
}

int vmclock_load(struct vmclock *vmclock, const struct vmclock_state *state, struct error *err)
{
	if (state->at != vmclock->state.at) {
		return error_set(err, ERR_CORRUPT,
				 "The VMClock page was at 0x%" PRIx64 ", and is at 0x%" PRIx64
				 " now",
				 state->at, vmclock->state.at);
	}
	vmclock->state = *state;
	vmclock->state.seq_count &= ~UINT32_C(1); /* an odd one would stop readers for good */
	vmclock->state.disruption_marker++;
	vmclock->state.vm_generation_counter++;
	if (update(vmclock, err) < 0) {
		return -1;
	}
	irq_line_fire(&vmclock->irq);
	return 0;
}
