/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the probe's guest. */
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

#include "arch/arch.h"
#include "tools/kvm_probe/kvm_probe.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

enum {
	/* Ticks of a timer that interrupts a guest which runs astray. */
	TICK_US = 100000,
	TICKS_MAX = 30
};

static volatile sig_atomic_t ticks;

static void on_tick(int signal)
{
	(void)signal;
	ticks++;
}

/* The timer goes on, so a tick between two KVM_RUNs is only a late one. */
static void start_ticks(void)
{
	struct sigaction action = {.sa_handler = on_tick};
	struct itimerval every = {
		.it_interval = {.tv_usec = TICK_US},
		.it_value = {.tv_usec = TICK_US},
	};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_ticks(void)
{
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}

static enum probe_progress run_guest(int vcpu, const struct kvm_run *run, struct error *err)
{
	enum probe_progress reached = PROBE_FAILED;

	while (ticks < TICKS_MAX) {
		enum kvm_run_result result = kvm_run(vcpu);

		if (result == KVM_INTERRUPTED) {
			continue;
		}
		if (result == KVM_FAILED) {
			(void)error_sys(err, "KVM_RUN failed");
			return reached;
		}
		enum probe_progress progress = probe_progress(run);

		if (progress == PROBE_ALL) {
			return PROBE_ALL;
		}
		if (progress == PROBE_FAILED) {
			(void)error_set(err, ERR_HOST, "The guest stopped with exit reason %u",
					run->exit_reason);
			return reached;
		}
		reached = progress;
	}
	(void)error_set(err, ERR_HOST, "The guest did not end within %d us", TICK_US * TICKS_MAX);
	return reached;
}

static enum probe_progress probe(struct gmem *mem, struct error *err)
{
	AUTO_FD kvm = -1;
	AUTO_FD vm = -1;
	AUTO_FD vcpu = -1;
	struct gmem_slot slot = gmem_slot(mem, 0);
	struct kvm_run *run = NULL;
	size_t run_len = 0;

	if (kvm_open(&kvm, err) < 0 || kvm_create_vm(kvm, arch_vm_type(kvm), &vm, err) < 0 ||
	    kvm_set_memory(vm, 0, &slot, false, err) < 0 ||
	    kvm_create_vcpu(vm, 0, &vcpu, err) < 0 || probe_set_registers(vm, vcpu, err) < 0 ||
	    kvm_map_run(kvm, vcpu, &run, &run_len, err) < 0) {
		return PROBE_FAILED;
	}
	enum probe_progress reached = run_guest(vcpu, run, err);

	kvm_unmap_run(run, run_len);
	return reached;
}

enum probe_progress kvm_probe(struct error *err)
{
	struct gmem *mem = NULL;
	enum probe_progress reached = PROBE_FAILED;

	start_ticks();
	if (gmem_new(&probe_ram, 1, GMEM_ANON, &mem, err) == 0 && probe_load(mem, err) == 0) {
		reached = probe(mem, err);
	}
	gmem_free(mem);
	stop_ticks();
	return reached;
}
