/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads.
 *
 * Theory of operation. A vCPU thread is either parked (waiting on vm->changed) or running (inside
 * KVM_RUN or serving its exit). The VMM thread sets vm->want and kicks: it sets immediate_exit in
 * the run area and sends a signal. immediate_exit makes the next KVM_RUN return at once, the signal
 * ends one that is under way, so between them no kick is lost [kvm-api 5, immediate_exit]. Only the
 * thread itself clears immediate_exit, under the lock and only when it is wanted to run, so a kick
 * that comes later is not wiped out.
 *
 * An exit for I/O is complete only when KVM_RUN is entered again. A kicked thread therefore never
 * leaves its loop after serving an exit: it re-enters, and KVM finishes the instruction and returns
 * EINTR because of immediate_exit. A parked vCPU is thus always at an instruction boundary, as
 * snapshots need it.
 */
#include "vmm/machine/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arch/device_memory.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/base/kvm.h"
#include "vmm/base/log.h"
#include "vmm/machine/mender.h"
#include "vmm/machine/vm.h"

/*
 * KVM can lack memory for a moment when many VMs start at once: 1 + 2 + ... + 32 ms of patience,
 * anew after each exit.
 */
enum {
	RUN_RETRIES = 6
};

enum {
	EXIT_MEMORY_FAULT = 39 /* KVM_EXIT_MEMORY_FAULT, in headers of Linux 6.8 */
};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(vcpu_metrics, exit_io_in)},
	{METRIC_COUNT(vcpu_metrics, exit_io_out)},
	{METRIC_COUNT(vcpu_metrics, exit_mmio_read)},
	{METRIC_COUNT(vcpu_metrics, exit_mmio_write)},
	{METRIC_COUNT(vcpu_metrics, failures)},
	{METRIC_COUNT(vcpu_metrics, kvmclock_ctrl_fails)},
	{METRIC_ROW(vcpu_metrics, exit_io_in_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_ROW(vcpu_metrics, exit_io_out_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_ROW(vcpu_metrics, exit_mmio_read_agg, METRIC_LATENCY, METRIC_US)},
	{METRIC_ROW(vcpu_metrics, exit_mmio_write_agg, METRIC_LATENCY, METRIC_US)},
};

const struct metric_group vcpu_metric_group = {
	METRIC_GROUP("vcpu", vcpu_metrics, metric_fields, 4)};

int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned index, struct error *err)
{
	*vcpu = (struct vcpu){.is_made = true, .vm = vm, .index = index, .fd = -1};
	snprintf(vcpu->name, sizeof(vcpu->name), "fc_vcpu %u", index);
	if (kvm_create_vcpu(vm->vm_fd, index, &vcpu->fd, err) < 0 ||
	    kvm_map_run(vm->kvm_fd, vcpu->fd, &vcpu->run, &vcpu->run_len, err) < 0 ||
	    arch_vcpu_init(&vcpu->arch, &vm->arch, vcpu->fd, index, err) < 0) {
		return error_wrap(err, "Cannot create vCPU %u", index);
	}
	if (vm->metrics != NULL) {
		metrics_add(vm->metrics, &vcpu->metric_source, &vcpu_metric_group, &vcpu->metrics);
	}
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (!vcpu->is_made) {
		return;
	}
	metrics_remove(vcpu->vm->metrics, &vcpu->metric_source);
	kvm_unmap_run(vcpu->run, vcpu->run_len);
	fd_close(&vcpu->fd);
	*vcpu = (struct vcpu){0};
}

static void do_nothing(int signo)
{
	(void)signo;
}

int vcpu_kick_setup(struct error *err)
{
	/* Without SA_RESTART, so that KVM_RUN returns. */
	struct sigaction action = {.sa_handler = do_nothing};

	if (sigaction(SIGRTMIN, &action, NULL) < 0) {
		return error_sys(err, "Cannot install the vCPU kick signal's handler");
	}
	return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (vcpu->has_thread && !vcpu->is_parked) {
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		pthread_kill(vcpu->thread, SIGRTMIN);
	}
}

/* Parks until the vCPU is wanted; false when the thread is to end. */
static bool wait_until_wanted(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	pthread_mutex_lock(&vm->lock);
	while (vm->want == VM_PARK ||
	       (vm->want == VM_RUN && (vm->end != VM_NOT_ENDED || vcpu->is_held))) {
		if (!vcpu->is_parked) {
			vcpu->is_parked = true;
			vm->parked++;
			pthread_cond_broadcast(&vm->changed);
		}
		pthread_cond_wait(&vm->changed, &vm->lock);
	}
	if (vcpu->is_parked) {
		vcpu->is_parked = false;
		vm->parked--;
	}
	bool is_wanted = vm->want == VM_RUN;

	if (is_wanted) {
		__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&vm->lock);
	return is_wanted;
}

/* The vCPU can't go on, so the machine ends, with this reason. */
PRINTF(2, 3) static void stop(struct vcpu *vcpu, const char *fmt, ...)
{
	metric_add(&vcpu->metrics.failures, 1);
	char reason[ERROR_MSG_LEN];
	va_list args;
	int len = snprintf(reason, sizeof(reason), "vCPU %u stopped: ", vcpu->index);

	va_start(args, fmt);
	vsnprintf(reason + len, sizeof(reason) - (size_t)len, fmt, args);
	va_end(args);
	vm_signal_end(vcpu->vm, VM_FAILED, reason);
}

static uint64_t now_us(void)
{
	return clock_host.now_ns(CLOCK_MONOTONIC) / NS_PER_US;
}

/*
 * Counts an exit that began to be served at `begin_us`. Times are cut to microseconds before they
 * are subtracted [compat]: so the sum over many exits, each shorter than one, comes out right.
 */
static void count_exit(struct metric *count, struct metric_latency *latency, uint64_t begin_us)
{
	metric_add(count, 1);
	metric_latency_add(latency, now_us() - begin_us);
}

/*
 * An access to a page of a file that is missing comes as one to no memory where KVM interprets the
 * instruction. False: it can't be one. Else the vCPU ends the instruction and waits (settle_missed)
 * until the VMM thread, which alone knows the files, has looked what it is.
 */
static bool note_missed(struct vcpu *vcpu, const struct vcpu_access *access)
{
	const struct gmem_range *range = &arch_device_memory;

	if (vcpu->vm->mender == NULL || vcpu->missed_count == VCPU_MISSED_MAX ||
	    access->addr < range->base.v || access->addr - range->base.v >= range->len) {
		return false;
	}
	vcpu->missed[vcpu->missed_count++] = *access;
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	return true;
}

void vcpu_warn_invalid(const struct vcpu_access *access)
{
	log_guest_warn("Invalid MMIO %s @ %#llx:%#x", access->is_write ? "write" : "read",
		       (unsigned long long)access->addr, access->len);
}

/* No device has served what is in the run area. */
static COLD void miss(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	struct vcpu_access access = {
		.addr = run->mmio.phys_addr,
		.len = (uint32_t)min_u64(run->mmio.len, sizeof(access.data)),
		.is_write = run->mmio.is_write != 0,
	};

	memcpy(access.data, run->mmio.data, sizeof(access.data));
	if (!note_missed(vcpu, &access)) {
		vcpu_warn_invalid(&access);
	}
}

static void serve_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t len = (uint32_t)min_u64(run->mmio.len, sizeof(run->mmio.data));
	uint64_t addr = run->mmio.phys_addr;
	struct vcpu_metrics *metrics = &vcpu->metrics;
	uint64_t begin_us = now_us();
	bool is_served;

	if (run->mmio.is_write) {
		is_served = bus_write(&vcpu->vm->mmio, addr, run->mmio.data, len);
		count_exit(&metrics->exit_mmio_write, &metrics->exit_mmio_write_agg, begin_us);
	} else {
		/* What no device fills in reads as 0 [compat]. */
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
		is_served = bus_read(&vcpu->vm->mmio, addr, run->mmio.data, len);
		count_exit(&metrics->exit_mmio_read, &metrics->exit_mmio_read_agg, begin_us);
	}
	if (!is_served) {
		miss(vcpu);
	}
}

static void serve_pio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t len = run->io.size;
	bool is_write = run->io.direction == KVM_EXIT_IO_OUT;
	struct vcpu_metrics *metrics = &vcpu->metrics;
	uint64_t begin_us = now_us();
	bool is_served = true;

	/* A string instruction moves `count` items through one port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += len) {
		if (is_write) {
			is_served &= bus_write(&vcpu->vm->pio, run->io.port, data, len);
		} else {
			memset(data, 0, len);
			is_served &= bus_read(&vcpu->vm->pio, run->io.port, data, len);
		}
	}
	if (is_write) {
		count_exit(&metrics->exit_io_out, &metrics->exit_io_out_agg, begin_us);
	} else {
		count_exit(&metrics->exit_io_in, &metrics->exit_io_in_agg, begin_us);
	}
	if (!is_served) {
		log_guest_warn("Invalid PIO %s @ %#x:%#x", is_write ? "write" : "read",
			       run->io.port, len);
	}
}

static void serve_system_event(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	unsigned type = run->system_event.type;

	log_info("Received KVM_SYSTEM_EVENT: type: %u, event: [%llu]", type,
		 (unsigned long long)(run->system_event.ndata > 0 ? run->system_event.data[0] : 0));
	if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET) {
		vm_signal_end(vcpu->vm, VM_RESET, "");
	} else {
		stop(vcpu, "the guest raised system event %u, which squib does not know", type);
	}
}

/* Parks the vCPU for the debugger, which stops the others and looks why. */
static void serve_debug(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	pthread_mutex_lock(&vm->lock);
	vcpu->is_held = true;
	vcpu->has_stopped = true;
	vcpu->stop = vcpu->run->debug.arch;
	pthread_mutex_unlock(&vm->lock);
	ev_wake_signal(vm->debugger);
}

static void serve_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_MMIO:
		serve_mmio(vcpu);
		break;
	case KVM_EXIT_IO:
		serve_pio(vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		serve_system_event(vcpu);
		break;
	default: {
		char reason[ERROR_MSG_LEN];
		struct text text;

		text_init(&text, reason, sizeof(reason));
		arch_vcpu_describe_exit(&vcpu->arch, vcpu->run, &text);
		stop(vcpu, "%s", reason);
	}
	}
}

/*
 * Memory that is not plugged has no permissions, so KVM gets EFAULT for it. Since Linux 6.8 it says
 * where [kvm-api 5, KVM_EXIT_MEMORY_FAULT].
 */
static void stop_at_unplugged(struct vcpu *vcpu, struct gmem_range range)
{
	const struct kvm_run *run = vcpu->run;
	struct {
		uint64_t flags;
		uint64_t gpa;
		uint64_t len;
	} at;
	uint64_t end = range.base.v + range.len;

	memcpy(&at, &run->hw, sizeof(at)); /* where each kind of exit has its own */
	if (run->exit_reason == EXIT_MEMORY_FAULT) {
		stop(vcpu, "the guest touched memory that is not plugged, at %#llx",
		     (unsigned long long)at.gpa);
	} else {
		stop(vcpu, "the guest touched memory that is not plugged, between %#llx and %#llx",
		     (unsigned long long)range.base.v, (unsigned long long)end);
	}
}

/*
 * A page of a file may be missing, which the VMM thread mends: true, the vCPU is to try again. A
 * look that began before the page was missed tells nothing, so two have to find nothing.
 */
static bool await_page(struct vcpu *vcpu)
{
	struct mender *mender = vcpu->vm->mender;

	if (mender == NULL) {
		return false;
	}
	unsigned looks = mender_ask(mender);

	if (!vcpu->is_starved) {
		vcpu->is_starved = true;
		vcpu->first_looks = looks;
	}
	usleep(1000);
	return looks - vcpu->first_looks < 2;
}

/*
 * Of a vCPU that is at an instruction boundary: true, it goes on; false, accesses of its last
 * instruction are not done yet, or can't be, which ends the guest.
 */
static bool settle_missed(struct vcpu *vcpu)
{
	if (vcpu->missed_count == 0) {
		return true;
	}
	switch ((enum vcpu_missed)atomic_load(&vcpu->missed_state)) {
	case VCPU_MISSED_OWN:
		atomic_store(&vcpu->missed_state, VCPU_MISSED_ASKED);
		mender_serve(vcpu->vm->mender);
		break;
	case VCPU_MISSED_ASKED:
		usleep(1000);
		break;
	case VCPU_MISSED_DONE:
		vcpu->missed_count = 0;
		atomic_store(&vcpu->missed_state, VCPU_MISSED_OWN);
		return true;
	case VCPU_MISSED_FAILED:
		stop(vcpu,
		     "the guest's persistent memory at %#llx can't be reached: its file "
		     "can't be read or written there",
		     (unsigned long long)vcpu->missed[0].addr);
		break;
	}
	return false;
}

static void serve_failed_run(struct vcpu *vcpu)
{
	struct gmem_range range;
	uint64_t block_len;
	struct gmem_blocks blocks;
	int sys = errno;

	if (sys == EFAULT && await_page(vcpu)) {
		return;
	}
	errno = sys;
	if (errno == ENOMEM && vcpu->failed_runs < RUN_RETRIES) {
		usleep(1000u << vcpu->failed_runs++);
		return;
	}
	if (errno == EFAULT && gmem_plug_region(vcpu->vm->mem, &range, &block_len, &blocks)) {
		stop_at_unplugged(vcpu, range);
		return;
	}
	stop(vcpu, "KVM_RUN failed: %s (os error %d)", error_os_text(errno), errno);
}

/* Runs the guest until a kick, or until the guest ends. */
static void run_guest(struct vcpu *vcpu)
{
	while (atomic_load_explicit(&vcpu->vm->end, memory_order_relaxed) == VM_NOT_ENDED) {
		switch (kvm_run(vcpu->fd)) {
		case KVM_RAN:
			vcpu->failed_runs = 0;
			vcpu->is_starved = false;
			if (vcpu->run->exit_reason == KVM_EXIT_DEBUG &&
			    vcpu->vm->debugger != NULL) {
				serve_debug(vcpu);
				return; /* no instruction is half done */
			}
			serve_exit(vcpu);
			break;
		case KVM_INTERRUPTED:
			vcpu->is_starved = false; /* all vCPUs are parked for what is mended */
			return;
		case KVM_FAILED:
			serve_failed_run(vcpu);
			break;
		}
	}
}

/* Our parent may have blocked the kick signal; masks are inherited. */
static void unblock_kick(void)
{
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, SIGRTMIN);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	bool is_first_run = vcpu->index == 0;
	enum filter_thread filter = vcpu->vm->has_vhost ? FILTER_VHOST_VCPU : FILTER_VCPU;
	struct error err = {0};

	unblock_kick();
	pthread_setname_np(pthread_self(), vcpu->name);
	log_set_thread(vcpu->name);
	if (confine_thread(vcpu->vm->confine, filter, -1, &err) < 0) {
		/*
		 * A thread without its filter runs no instruction of the guest: the machine ends.
		 */
		stop(vcpu, "%s", err.msg);
	}
	while (wait_until_wanted(vcpu)) {
		if (!settle_missed(vcpu)) {
			continue;
		}
		if (is_first_run) {
			timeline_set(vcpu->vm->timeline, TIMELINE_RUN);
			is_first_run = false;
		}
		run_guest(vcpu);
	}
	return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct error *err)
{
	int sys = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);

	if (sys != 0) {
		errno = sys;
		return error_sys(err, "Cannot start the thread of vCPU %u", vcpu->index);
	}
	vcpu->has_thread = true;
	return 0;
}
