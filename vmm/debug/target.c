/* SPDX-License-Identifier: Apache-2.0 */
/* A machine under a debugger. */
#include "vmm/debug/target.h"

#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

void target_init(struct target *target, struct vm *vm, struct debug_can can)
{
	target->vm = vm;
	target->plan = (struct debug_plan){.can = can};
	target->break_count = 0;
	target->waits = 0;
	target->blocked = 0;
	target->runs = target_all(target);
	target->steps = 0;
}

uint32_t target_all(const struct target *target)
{
	return (uint32_t)((UINT64_C(1) << target->vm->machine.vcpu_count) - 1);
}

/* --- Memory --- */

/* Calls copy for each piece that lies on one page. */
static size_t each_page(const struct target *target, unsigned vcpu, uint64_t address, size_t len,
			int (*copy)(struct gmem *mem, gpa_t gpa, uint8_t *bytes, size_t len),
			uint8_t *bytes)
{
	const struct vm *vm = target->vm;
	size_t done = 0;

	while (done < len) {
		uint64_t left;
		gpa_t gpa;

		if (!debug_translate(&vm->vcpus[vcpu].arch, vm->mem, address + done, &gpa, &left)) {
			break;
		}
		const size_t piece = min_u64(left, len - done);

		if (copy(vm->mem, gpa, bytes + done, piece) < 0) {
			break;
		}
		done += piece;
	}
	return done;
}

static int copy_out(struct gmem *mem, gpa_t gpa, uint8_t *bytes, size_t len)
{
	return gmem_read(mem, gpa, bytes, len);
}

static int copy_in(struct gmem *mem, gpa_t gpa, uint8_t *bytes, size_t len)
{
	return gmem_write_code(mem, gpa, bytes, len);
}

size_t target_read(const struct target *target, unsigned vcpu, uint64_t address, uint8_t *bytes,
		   size_t len)
{
	return each_page(target, vcpu, address, len, copy_out, bytes);
}

/* Whether all of a piece is RAM, for a write to come. */
static int look(struct gmem *mem, gpa_t gpa, uint8_t *bytes, size_t len)
{
	(void)bytes;
	return gmem_contains(mem, gpa, len) ? 0 : -1;
}

bool target_write(const struct target *target, unsigned vcpu, uint64_t address,
		  const uint8_t *bytes, size_t len)
{
	uint8_t *from = (uint8_t *)bytes; /* which copy_in leaves as it is */

	return each_page(target, vcpu, address, len, look, from) == len &&
	       each_page(target, vcpu, address, len, copy_in, from) == len;
}

/* --- Breakpoints --- */

static struct target_break *find_break(struct target *target, uint64_t address)
{
	for (unsigned i = 0; i < target->break_count; i++) {
		if (target->breaks[i].address == address) {
			return &target->breaks[i];
		}
	}
	return NULL;
}

bool target_set_break(struct target *target, unsigned vcpu, uint64_t address)
{
	const struct vm *vm = target->vm;
	uint64_t left;
	gpa_t gpa;

	if (find_break(target, address) != NULL) {
		return true;
	}
	if (target->break_count == TARGET_BREAKS_MAX ||
	    !debug_translate(&vm->vcpus[vcpu].arch, vm->mem, address, &gpa, &left) ||
	    gpa.v % debug_trap.len != 0 || !gmem_contains(vm->mem, gpa, debug_trap.len)) {
		return false;
	}
	target->breaks[target->break_count++] =
		(struct target_break){.address = address, .gpa = gpa};
	return true;
}

void target_clear_break(struct target *target, uint64_t address)
{
	struct target_break *found = find_break(target, address);

	if (found != NULL) {
		*found = target->breaks[--target->break_count];
	}
}

static void write_breaks(struct target *target)
{
	struct gmem *mem = target->vm->mem;

	for (unsigned i = 0; i < target->break_count; i++) {
		struct target_break *at = &target->breaks[i];

		at->is_written =
			gmem_read(mem, at->gpa, at->saved, debug_trap.len) == 0 &&
			gmem_write_code(mem, at->gpa, debug_trap.bytes, debug_trap.len) == 0;
	}
}

/* Backwards: two addresses may be of one place. What the guest has overwritten stays so. */
static void erase_breaks(struct target *target)
{
	struct gmem *mem = target->vm->mem;

	for (unsigned i = target->break_count; i > 0; i--) {
		struct target_break *at = &target->breaks[i - 1];
		uint8_t now[DEBUG_TRAP_MAX];

		if (at->is_written && gmem_read(mem, at->gpa, now, debug_trap.len) == 0 &&
		    memcmp(now, debug_trap.bytes, debug_trap.len) == 0) {
			(void)!gmem_write_code(mem, at->gpa, at->saved, debug_trap.len);
		}
		at->is_written = false;
	}
}

/* By the place in memory, which the guest may reach by another address than the debugger's. */
static bool is_own_break(const struct target *target, unsigned vcpu, uint64_t address)
{
	const struct vm *vm = target->vm;
	uint64_t left;
	gpa_t gpa;

	if (!debug_translate(&vm->vcpus[vcpu].arch, vm->mem, address, &gpa, &left)) {
		return false;
	}
	for (unsigned i = 0; i < target->break_count; i++) {
		if (target->breaks[i].gpa.v == gpa.v) {
			return true;
		}
	}
	return false;
}

static struct debug_point *find_point(struct target *target, const struct debug_point *point)
{
	struct debug_plan *plan = &target->plan;

	for (unsigned i = 0; i < plan->point_count; i++) {
		if (plan->points[i].kind == point->kind &&
		    plan->points[i].address == point->address &&
		    (point->kind == DEBUG_EXEC || plan->points[i].len == point->len)) {
			return &plan->points[i];
		}
	}
	return NULL;
}

bool target_set_point(struct target *target, const struct debug_point *point)
{
	struct debug_plan *plan = &target->plan;

	if (find_point(target, point) != NULL) {
		return true;
	}
	if (plan->point_count == DEBUG_POINTS_MAX) {
		return false;
	}
	plan->points[plan->point_count++] = *point;
	if (!debug_plan_fits(plan)) {
		plan->point_count--;
		return false;
	}
	return true;
}

void target_clear_point(struct target *target, const struct debug_point *point)
{
	struct debug_point *found = find_point(target, point);

	if (found != NULL) {
		*found = target->plan.points[--target->plan.point_count];
	}
}

/* --- Stopping and going on --- */

int target_halt(struct target *target, struct error *err)
{
	struct vm *vm = target->vm;

	if (vm_hold(vm, err) < 0) {
		return -1;
	}
	erase_breaks(target);
	for (unsigned i = 0; target->blocked != 0; i++) {
		const uint32_t bit = UINT32_C(1) << i;

		if ((target->blocked & bit) != 0 &&
		    debug_unblock_irqs(&vm->vcpus[i].arch, err) < 0) {
			return -1;
		}
		target->blocked &= ~bit;
	}
	return 0;
}

int target_resume(struct target *target, uint32_t runs, uint32_t steps, struct error *err)
{
	struct vm *vm = target->vm;
	struct debug_plan plan = target->plan;

	plan.has_traps = target->break_count > 0;
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		plan.is_stepping = (steps >> i & 1) != 0;
		if (debug_apply(&vm->vcpus[i].arch, &plan, err) < 0) {
			return error_wrap(err, "Cannot let vCPU %u go on", i);
		}
		if (plan.is_stepping && debug_block_irqs(&vm->vcpus[i].arch, vm->mem)) {
			target->blocked |= UINT32_C(1) << i;
		}
	}
	target->runs = runs;
	target->steps = steps;
	write_breaks(target);
	vm_release(vm, runs);
	return 0;
}

/* What the stop of a vCPU is to the debugger. False: nothing. */
static bool judge(struct target *target, struct vcpu *vcpu, struct target_stop *stop,
		  struct error *err)
{
	struct debug_plan plan = target->plan;
	struct debug_stop found;

	plan.is_stepping = (target->steps >> vcpu->index & 1) != 0;
	if (debug_explain(&vcpu->arch, &plan, &vcpu->stop, &found, err) < 0) {
		return false;
	}
	*stop = (struct target_stop){.vcpu = vcpu->index};
	switch (found.kind) {
	case DEBUG_STOP_TRAP:
		stop->cause = TARGET_BREAK;
		if (is_own_break(target, vcpu->index, found.address)) {
			return true;
		}
		break;
	case DEBUG_STOP_POINT:
		stop->kind = plan.points[found.point].kind;
		stop->address = plan.points[found.point].address;
		stop->cause = stop->kind == DEBUG_EXEC ? TARGET_HARD_BREAK : TARGET_WATCH;
		return true;
	case DEBUG_STOP_STEP:
		stop->cause = TARGET_STEPPED;
		return true;
	case DEBUG_STOP_GUEST:
		break;
	}
	(void)!debug_inject(&vcpu->arch, &vcpu->stop, err);
	return false;
}

/* The oldest watchpoint that no one was told of, unless it was removed meanwhile. */
static bool take_waiting(struct target *target, struct target_stop *stop)
{
	for (unsigned i = 0; i < ARCH_VCPUS_MAX; i++) {
		if ((target->waits >> i & 1) == 0) {
			continue;
		}
		target->waits &= ~(UINT32_C(1) << i);
		*stop = target->waiting[i];
		for (unsigned j = 0; j < target->plan.point_count; j++) {
			if (target->plan.points[j].kind == stop->kind &&
			    target->plan.points[j].address == stop->address) {
				return true;
			}
		}
	}
	return false;
}

/*
 * Several vCPUs can stop at once. A watchpoint's access is done, so it is kept until it can be
 * told. The others come again when the vCPU goes on, if they are still wanted.
 */
bool target_find_stop(struct target *target, struct target_stop *stop)
{
	struct vm *vm = target->vm;
	bool is_found = take_waiting(target, stop);

	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];
		struct target_stop other;
		struct error err = {0};

		if (!vcpu->has_stopped) {
			continue;
		}
		vcpu->has_stopped = false;
		if (!judge(target, vcpu, &other, &err)) {
			if (err.msg[0] != '\0') {
				log_warn("vCPU %u stopped for the debugger: %s", i, err.msg);
			}
		} else if (!is_found) {
			is_found = true;
			*stop = other;
		} else if (other.cause == TARGET_WATCH) {
			target->waiting[i] = other;
			target->waits |= UINT32_C(1) << i;
		}
	}
	return is_found;
}

void target_detach(struct target *target)
{
	struct vm *vm = target->vm;
	const struct debug_plan nothing = {0};
	struct target_stop ignored;
	struct error err = {0};

	if (target_halt(target, &err) < 0) {
		log_error("Cannot take the debugger's breakpoints from the guest: %s", err.msg);
		return;
	}
	(void)target_find_stop(target, &ignored);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if (debug_apply(&vm->vcpus[i].arch, &nothing, &err) < 0) {
			log_error("vCPU %u may stop for a debugger that is gone: %s", i, err.msg);
			error_clear(&err);
		}
	}
	target_init(target, vm, target->plan.can);
	vm_release(vm, target_all(target));
}
