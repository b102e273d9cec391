/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries a KVM's debugging.
 *
 * Theory of operation. KVM_CAP_SET_GUEST_DEBUG promises more than some KVMs keep: one that
 * interprets guests, or one on an emulated processor. There a breakpoint instruction goes to the
 * guest, which it kills. So a small guest is debugged: `mov %al, 0x1800; int3` in 32-bit mode at
 * 0x1000, without any handler. What is not handed to us ends in a triple fault, an exit of another
 * kind.
 */
#include "debug_probe.h"

#include <string.h>

#include "kvm_x86.h"
#include "regs.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

enum {
	CODE = 0x1000,
	WATCHED = 0x1800,
	INT3 = CODE + 5,
	VECTOR_DB = 1,
	VECTOR_BP = 3,
	DR7_EXEC_0 = 0x602,	       /* G0, and the bits that are always set */
	DR7_WRITE_0 = 0x602 | 1 << 16, /* a byte */
	RUNS_MAX = 100,		       /* that signals interrupt */
};

struct rig {
	struct gmem *mem;
	int vm;
	int vcpu;
	struct kvm_run *run;
	size_t run_len;
};

static int build(struct rig *rig, int kvm, struct error *err)
{
	static const struct gmem_range page = {{CODE}, 4 * KIB};
	static const uint8_t code[] = {0xa2, WATCHED & 0xff, WATCHED >> 8, 0, 0, 0xcc};
	struct gmem_slot slot;

	if (gmem_new(&page, 1, GMEM_ANON, &rig->mem, err) < 0 ||
	    gmem_write(rig->mem, GPA(CODE), code, sizeof(code)) < 0) {
		return -1;
	}
	slot = gmem_slot(rig->mem, 0);
	return kvm_create_vm(kvm, 0, &rig->vm, err) == 0 &&
			       kvm_set_memory(rig->vm, 0, &slot, false, err) == 0 &&
			       kvm_set_tss_addr(rig->vm, LAYOUT_KVM_TSS, err) == 0 &&
			       kvm_create_vcpu(rig->vm, 0, &rig->vcpu, err) == 0 &&
			       kvm_map_run(kvm, rig->vcpu, &rig->run, &rig->run_len, err) == 0
		       ? 0
		       : -1;
}

static void destroy(struct rig *rig)
{
	kvm_unmap_run(rig->run, rig->run_len);
	fd_close(&rig->vcpu);
	fd_close(&rig->vm);
	gmem_free(rig->mem);
}

/* Runs from CODE on; *is_told: the guest stopped for us with this exception. */
static int try(const struct rig *rig, const struct kvm_guest_debug *debug, unsigned vector,
	       bool *is_told, struct error *err)
{
	const struct kvm_regs regs = {.rip = CODE, .rflags = 2};
	struct kvm_sregs sregs;
	enum kvm_run_result result = KVM_INTERRUPTED;

	if (kvm_get_sregs(rig->vcpu, &sregs, err) < 0) {
		return -1;
	}
	regs_set_system(&sregs, BOOT_PVH);
	if (kvm_set_sregs(rig->vcpu, &sregs, err) < 0 || kvm_set_regs(rig->vcpu, &regs, err) < 0 ||
	    kvm_set_guest_debug(rig->vcpu, debug, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < RUNS_MAX && result == KVM_INTERRUPTED; i++) {
		result = kvm_run(rig->vcpu);
	}
	*is_told = result == KVM_RAN && rig->run->exit_reason == KVM_EXIT_DEBUG &&
		   rig->run->debug.arch.exception == vector;
	return 0;
}

static int try_all(const struct rig *rig, struct debug_probe *probe, struct error *err)
{
	static const struct kvm_guest_debug trap = {.control = KVM_GUESTDBG_ENABLE |
							       KVM_GUESTDBG_USE_SW_BP};
	static const struct kvm_guest_debug exec = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = {[0] = INT3, [7] = DR7_EXEC_0},
	};
	static const struct kvm_guest_debug watch = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = {[0] = WATCHED, [7] = DR7_WRITE_0},
	};

	return try(rig, &trap, VECTOR_BP, &probe->traps, err) == 0 &&
			       try(rig, &exec, VECTOR_DB, &probe->breaks, err) == 0 &&
			       try(rig, &watch, VECTOR_DB, &probe->watches, err) == 0
		       ? 0
		       : -1;
}

int debug_probe_run(int kvm, struct debug_probe *probe, struct error *err)
{
	struct rig rig = {.vm = -1, .vcpu = -1};
	int result = build(&rig, kvm, err);

	*probe = (struct debug_probe){0};
	if (result == 0) {
		result = try_all(&rig, probe, err);
	}
	destroy(&rig);
	return result;
}
