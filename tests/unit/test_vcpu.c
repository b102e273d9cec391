/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/vcpu.c: scripted exits and what becomes of them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/lib/ram.h"
#include "vmm/base/bytes.h"
#include "vmm/machine/vm.h"

static struct timeline timeline;
static struct vm vm;
static struct metrics metrics;

/* One step of a script: returns as KVM_RUN does. A step looks at what the one before it got. */
typedef int (*step_fn)(struct kvm_run *run);

static const step_fn *steps;
static _Atomic unsigned step_count;
static _Atomic unsigned steps_done;

static int fail(int sys)
{
	errno = sys;
	return -1;
}

/* Follows the script, then computes until kicked. */
static int follow(int fd, unsigned long request, void *arg)
{
	struct kvm_run *run = kvm_fake_run_area(fd);

	(void)request;
	(void)arg;
	if (__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		return fail(EINTR);
	}
	if (steps_done < step_count) {
		int result = steps[steps_done](run);
		int saved = errno;

		steps_done++;
		errno = saved;
		return result;
	}
	usleep(200);
	return fail(EINTR);
}

/* A device that remembers its accesses. */
static struct {
	unsigned reads;
	unsigned writes;
	uint64_t offset;
	uint32_t len;
	uint8_t written[64];
} device;

static void device_read(void *arg, uint64_t offset, uint8_t *data, uint32_t len)
{
	(void)arg;
	device.offset = offset;
	device.len = len;
	/* Only the first byte: the others must read 0. */
	data[0] = (uint8_t)(0xa0 + device.reads++);
}

static void device_write(void *arg, uint64_t offset, const uint8_t *data, uint32_t len)
{
	(void)arg;
	device.offset = offset;
	device.len = len;
	memcpy(device.written + (size_t)device.writes++ * len, data, len);
}

static const struct bus_ops device_ops = {.read = device_read, .write = device_write};

/* One more device, if a test has one. */
static const struct bus_range *late_range;

/* Runs a script on one vCPU to its end or the guest's, pauses, and returns the log. */
static const char *play(const step_fn *script, unsigned count)
{
	struct vm_params params = {.machine = {.vcpu_count = 1},
				   .mem = new_ram(MIB),
				   .timeline = &timeline,
				   .metrics = &metrics};
	struct bus_range mmio = {.base = 0xd0000000, .len = 0x100, .ops = &device_ops};
	struct bus_range pio = {.base = 0x3f8, .len = 8, .ops = &device_ops};
	struct error err = {0};
	int log = capture_log(LOG_INFO);

	steps = script;
	step_count = count;
	kvm_fake_script(KVM_RUN, follow);
	cr_assert(vm_init(&vm, &params, &err) == 0, "%s", err.msg);
	cr_assert(bus_attach(&vm.mmio, &mmio, &err) == 0 && bus_attach(&vm.pio, &pio, &err) == 0);
	cr_assert(late_range == NULL || bus_attach(&vm.mmio, late_range, &err) == 0);
	cr_assert(vm_start(&vm, &err) == 0, "%s", err.msg);
	vm_resume(&vm);
	while (steps_done < step_count && vm.end == VM_NOT_ENDED) {
		usleep(100);
	}
	usleep(1000);
	cr_assert(vm_pause(&vm, &err) == 0, "%s", err.msg);
	vm_stop(&vm);
	return captured(log);
}

static void mmio_exit(struct kvm_run *run, uint64_t addr, uint32_t len, bool is_write)
{
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = addr;
	run->mmio.len = len;
	run->mmio.is_write = is_write;
	memset(run->mmio.data, is_write ? 0x77 : 0xee, sizeof(run->mmio.data));
}

static int mmio_read(struct kvm_run *run)
{
	mmio_exit(run, 0xd0000010, 4, false);
	return 0;
}

static int mmio_write(struct kvm_run *run)
{
	static const uint8_t first_answer[8] = {0xa0};

	cr_expect(memcmp(run->mmio.data, first_answer, 8) == 0, "rest of the answer is not 0");
	mmio_exit(run, 0xd0000020, 8, true);
	return 0;
}

static int mmio_read_nowhere(struct kvm_run *run)
{
	mmio_exit(run, 0xd0000100, 8, false);
	return 0;
}

static int mmio_write_nowhere(struct kvm_run *run)
{
	static const uint8_t zeroes[8];

	cr_expect(memcmp(run->mmio.data, zeroes, 8) == 0, "nowhere does not read 0");
	mmio_exit(run, 0xd00000fe, 4, true);
	return 0;
}

/* No kernel says so, but a length is a length. */
static int mmio_too_long(struct kvm_run *run)
{
	mmio_exit(run, 0xd0000000, 4000, false);
	return 0;
}

Test(vcpu, mmio_reaches_devices_and_nowhere_reads_0, .timeout = 10)
{
	static const step_fn script[] = {mmio_read, mmio_write, mmio_read_nowhere,
					 mmio_write_nowhere, mmio_too_long};
	static const uint8_t sevens[8] = {0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77};
	const char *log = play(script, ARRAY_COUNT(script));

	cr_assert(device.reads == 2 && device.writes == 1);
	cr_assert(memcmp(device.written, sevens, 8) == 0);
	cr_assert(device.offset == 0 && device.len == 8);
	cr_assert(strstr(log, "Invalid MMIO read @ 0xd0000100:0x8") != NULL, "%s", log);
	cr_assert(strstr(log, "Invalid MMIO write @ 0xd00000fe:0x4") != NULL, "%s", log);
	cr_assert(vm.end == VM_NOT_ENDED);
}

static void pio_exit(struct kvm_run *run, bool is_write, uint16_t port, uint8_t size)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = is_write ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	run->io.port = port;
	run->io.size = size;
	run->io.count = 5;
	run->io.data_offset = 4096;
}

static uint8_t *pio_data(struct kvm_run *run)
{
	return (uint8_t *)run + 4096;
}

static int outs(struct kvm_run *run)
{
	pio_exit(run, true, 0x3f9, 2);
	memcpy(pio_data(run), "0123456789", 10);
	return 0;
}

static int ins(struct kvm_run *run)
{
	pio_exit(run, false, 0x3fa, 2);
	memset(pio_data(run), 0xee, 16);
	return 0;
}

static int ins_nowhere(struct kvm_run *run)
{
	static const uint8_t answer[12] = {0xa0, 0, 0xa1, 0, 0xa2, 0, 0xa3, 0, 0xa4, 0, 0xee, 0xee};

	cr_expect(memcmp(pio_data(run), answer, sizeof(answer)) == 0);
	pio_exit(run, false, 0x80, 1);
	memset(pio_data(run), 0xee, 16);
	return 0;
}

static int outs_nowhere(struct kvm_run *run)
{
	static const uint8_t answer[6] = {0, 0, 0, 0, 0, 0xee};

	cr_expect(memcmp(pio_data(run), answer, sizeof(answer)) == 0);
	pio_exit(run, true, 0x3ff, 2);
	return 0;
}

Test(vcpu, string_instructions_move_all_items, .timeout = 10)
{
	static const step_fn script[] = {outs, ins, ins_nowhere, outs_nowhere};
	const char *log = play(script, ARRAY_COUNT(script));

	cr_assert(device.writes == 5 && device.reads == 5);
	cr_assert(memcmp(device.written, "0123456789", 10) == 0);
	cr_assert(device.offset == 2 && device.len == 2);
	cr_assert(strstr(log, "Invalid PIO read @ 0x80:0x1") != NULL, "%s", log);
	cr_assert(strstr(log, "Invalid PIO write @ 0x3ff:0x2") != NULL, "%s", log);
}

static int system_event(struct kvm_run *run, uint32_t type)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = type;
	run->system_event.ndata = 1;
	run->system_event.data[0] = 77;
	return 0;
}

static int event_shutdown(struct kvm_run *run)
{
	return system_event(run, KVM_SYSTEM_EVENT_SHUTDOWN);
}

static int event_reset(struct kvm_run *run)
{
	return system_event(run, KVM_SYSTEM_EVENT_RESET);
}

static int event_crash(struct kvm_run *run)
{
	return system_event(run, KVM_SYSTEM_EVENT_CRASH);
}

static int exit_shutdown(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static int exit_internal_error(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	return 0;
}

static int exit_fail_entry(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	return 0;
}

static int exit_unknown(struct kvm_run *run)
{
	run->exit_reason = 4242;
	return 0;
}

static int run_fails(struct kvm_run *run)
{
	(void)run;
	return fail(EFAULT);
}

static const struct {
	step_fn step;
	enum vm_end end;
	const char *sentence;
} ends[] = {
	{event_shutdown, VM_RESET, "Received KVM_SYSTEM_EVENT: type: 1, event: [77]"},
	{event_reset, VM_RESET, "Received KVM_SYSTEM_EVENT: type: 2, event: [77]"},
	{event_crash, VM_FAILED, "raised system event 3, which squib does not know"},
	{exit_shutdown, VM_FAILED, "vCPU 0 stopped: exit 8 of vCPU 0"},
	{exit_internal_error, VM_FAILED, "vCPU 0 stopped: exit 17 of vCPU 0"},
	{exit_fail_entry, VM_FAILED, "vCPU 0 stopped: exit 9 of vCPU 0"},
	{exit_unknown, VM_FAILED, "vCPU 0 stopped: exit 4242 of vCPU 0"},
	{run_fails, VM_FAILED, "vCPU 0 stopped: KVM_RUN failed: Bad address (os error 14)"},
};

Test(vcpu, a_guest_ends_for_known_reasons, .timeout = 10)
{
	for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
		/* The second step must not be reached. */
		const step_fn script[] = {ends[i].step, mmio_read};

		steps_done = 0;
		const char *log = play(script, 2);

		cr_expect((int)vm.end == (int)ends[i].end, "case %zu: %d", i, vm.end);
		const char *said = ends[i].end == VM_RESET ? log : vm.end_reason;

		cr_expect(strstr(said, ends[i].sentence) != NULL, "case %zu: %s", i, said);
		cr_expect(steps_done == 1 && device.reads == 0, "case %zu ran on", i);
		vm_destroy(&vm);
	}
}

static int no_memory(struct kvm_run *run)
{
	(void)run;
	return fail(ENOMEM);
}

static int try_again(struct kvm_run *run)
{
	(void)run;
	return fail(EAGAIN);
}

static int interrupted(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTR;
	return 0;
}

Test(vcpu, a_passing_lack_of_memory_is_waited_out_each_time, .timeout = 10)
{
	static const step_fn script[] = {
		no_memory, no_memory, no_memory, no_memory, no_memory, no_memory, interrupted,
		no_memory, no_memory, no_memory, no_memory, no_memory, no_memory, mmio_read,
	};

	play(script, ARRAY_COUNT(script));
	cr_assert(vm.end == VM_NOT_ENDED && device.reads == 1);
}

Test(vcpu, a_lasting_lack_of_memory_ends_the_guest, .timeout = 10)
{
	static const step_fn script[] = {
		no_memory, no_memory, no_memory, no_memory,
		no_memory, no_memory, no_memory, mmio_read,
	};

	play(script, ARRAY_COUNT(script));
	cr_assert(vm.end == VM_FAILED && steps_done == 7);
	cr_assert_str_eq(vm.end_reason,
			 "vCPU 0 stopped: KVM_RUN failed: Out of memory (os error 12)");
}

Test(vcpu, a_vcpu_that_is_not_ready_is_tried_for_ever, .timeout = 10)
{
	static step_fn script[501];

	for (size_t i = 0; i < 500; i++) {
		script[i] = i % 2 ? try_again : interrupted;
	}
	script[500] = mmio_read;
	play(script, ARRAY_COUNT(script));
	cr_assert(vm.end == VM_NOT_ENDED && device.reads == 1);
}

Test(vcpu, an_exit_is_completed_before_a_vcpu_parks, .timeout = 10)
{
	static const step_fn script[] = {mmio_read};

	play(script, 1);
	/* The run after the one that exited, which finishes the instruction. */
	cr_assert(kvm_fake_count(KVM_RUN) >= 2);
}

Test(vcpu, the_first_run_is_marked_and_the_thread_has_its_name, .timeout = 10)
{
	static const step_fn script[] = {mmio_read};

	play(script, 1);
	cr_assert(timeline.at_ns[TIMELINE_RUN] > 0);
	cr_assert_str_eq(vm.vcpus[0].name, "fc_vcpu 0");
}

Test(vcpu, failures_at_creation_are_wrapped)
{
	static const unsigned long requests[] = {KVM_CREATE_VCPU, KVM_GET_VCPU_MMAP_SIZE};

	for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
		struct vm_params params = {
			.machine = {.vcpu_count = 2}, .mem = new_ram(MIB), .timeline = &timeline};
		struct error err = {0};

		/* Of the second vCPU, counting from the first failure's script. */
		kvm_fake_fail(requests[i], 2, EINVAL);
		cr_expect(vm_init(&vm, &params, &err) == -1);
		cr_expect(strncmp(err.msg, "Cannot create vCPU 1: KVM_", 26) == 0, "%s", err.msg);
		vm_destroy(&vm);
	}
}

static int mmio_slow(struct kvm_run *run)
{
	mmio_exit(run, 0xd0000200, 4, true);
	return 0;
}

static void slow_write(void *arg, uint64_t offset, const uint8_t *data, uint32_t len)
{
	device_write(arg, offset, data, len);
	usleep(3000);
}

Test(vcpu, exits_are_counted_with_the_time_that_they_took, .timeout = 10)
{
	static const struct bus_ops slow_ops = {.read = device_read, .write = slow_write};
	static const step_fn script[] = {mmio_read, mmio_slow, mmio_slow, mmio_read_nowhere,
					 outs,	    ins,       outs,	  exit_unknown};
	struct bus_range slow = {.base = 0xd0000200, .len = 0x10, .ops = &slow_ops};
	const struct vcpu_metrics *counts = &vm.vcpus[0].metrics;

	late_range = &slow;
	play(script, ARRAY_COUNT(script));
	cr_assert(metric_get(&counts->exit_mmio_read) == 2);
	cr_assert(metric_get(&counts->exit_mmio_write) == 2);
	cr_assert(metric_get(&counts->exit_io_in) == 1 && metric_get(&counts->exit_io_out) == 2);
	cr_assert(metric_get(&counts->failures) == 1);
	const struct metric_latency *writes = &counts->exit_mmio_write_agg;

	cr_assert(metric_get(&writes->sum_us) >= 5900 && writes->max_us >= 2900);
	cr_assert(~writes->not_min_us >= 2900 && ~writes->not_min_us <= writes->max_us);
	cr_assert(~counts->exit_mmio_read_agg.not_min_us < 2900);
	/* It is listed as long as it lives. */
	cr_assert(metrics.sources == &vm.vcpus[0].metric_source);
	vm_destroy(&vm);
	cr_assert(metrics.sources == NULL);
}
