/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a machine step by step; the order is explained in vmm/machine/vm.c and arch/arch.h. Each
 * step has its undo: a failure walks back those that were done, and the machine's end all of them.
 */
#include "vmm/machine/machine.h"

#include "arch/device_memory.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"
#include "vmm/base/steps.h"

/* What the steps hand on to each other. */
struct build {
	struct machine *machine;
	const struct machine_plan *plan; /* NULL at the machine's end, when steps are only undone */
	struct cmdline cmdline;
	struct boot_info boot;
	struct loader loader;
};

/* --- Memory and VM --- */

/* Of a file, of the plan's backing, or that which the source has. */
static int new_memory(struct build *build, struct error *err)
{
	const struct machine_plan *plan = build->plan;
	const struct boot_info *boot = &build->boot;
	struct gmem **mem = &build->machine->mem;

	if (plan->source != NULL && plan->source->memory != NULL) {
		*mem = *plan->source->memory;
		*plan->source->memory = NULL;
		gmem_plug_inherit(*mem);
		gmem_pmem_forget(*mem);
		return 0;
	}
	if (plan->source != NULL && plan->source->memory_fd >= 0) {
		return gmem_new_file(boot->ram, boot->ram_count, plan->source->memory_fd, mem, err);
	}
	if (gmem_new(boot->ram, boot->ram_count, plan->backing, mem, err) < 0) {
		return error_wrap(err, "Invalid Memory Configuration");
	}
	return 0;
}

/* The address space for memory that is plugged in; that which the source has, has it already. */
static int add_plug(struct build *build, struct error *err)
{
	const struct machine_plan *plan = build->plan;
	const struct boot_info *boot = &build->boot;
	struct gmem_range range;

	if (plan->plug.len == 0 || (plan->source != NULL && plan->source->memory != NULL)) {
		return 0;
	}
	if (!device_memory_place(boot->ram, boot->ram_count, plan->plug.len, plan->plug.align,
				 &range)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid Memory Configuration: %s has no room for %llu MiB of "
				 "memory that is plugged in, beside %llu MiB",
				 arch_name, (unsigned long long)(plan->plug.len / MIB),
				 (unsigned long long)plan->mem_size_mib);
	}
	if (gmem_plug_add(build->machine->mem, range, plan->plug.block_len, err) < 0) {
		return error_wrap(err, "Invalid Memory Configuration");
	}
	return plan->source != NULL
		       ? machine_state_plug(plan->source->state, build->machine->mem, err)
		       : 0;
}

static int fill_memory(const struct build *build, struct error *err)
{
	const struct machine_source *source = build->plan->source;

	if (source == NULL || source->fill == NULL) {
		return 0;
	}
	if (source->fill(source->arg, build->machine->mem, err) < 0) {
		return -1;
	}
	return build->plan->plug.len > 0 ? gmem_plug_settle(build->machine->mem, err) : 0;
}

static int map_files(const struct build *build, struct error *err)
{
	const struct machine_plan *plan = build->plan;

	return plan->map == NULL
		       ? 0
		       : plan->map(plan->arg, build->machine->mem,
				   plan->source != NULL ? plan->source->state : NULL, err);
}

static int make_memory(void *arg, struct error *err)
{
	struct build *build = arg;
	const struct machine_plan *plan = build->plan;
	struct boot_info *boot = &build->boot;
	uint64_t len;

	if (!mul_u64(plan->mem_size_mib, MIB, &len)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid Memory Configuration: mem_size_mib is beyond 2^64 bytes");
	}
	boot->ram_count = arch_ram_ranges(len, boot->ram);
	if (boot->ram_count == 0) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"Invalid Memory Configuration: %llu MiB are more than %s can place",
			(unsigned long long)plan->mem_size_mib, arch_name);
	}
	if (new_memory(build, err) < 0 || add_plug(build, err) < 0 || fill_memory(build, err) < 0 ||
	    map_files(build, err) < 0) {
		return -1;
	}
	return plan->is_tracked ? gmem_track_dirty(build->machine->mem, err) : 0;
}

static void free_memory(void *arg)
{
	struct machine *machine = ((struct build *)arg)->machine;

	gmem_free(machine->mem);
	machine->mem = NULL;
}

static int make_vm(void *arg, struct error *err)
{
	struct build *build = arg;
	const struct machine_plan *plan = build->plan;
	struct vm_params params = {
		.machine = plan->shape,
		.is_tracked = plan->is_tracked,
		.mem = build->machine->mem,
		.timeline = plan->timeline,
		.metrics = plan->metrics,
		.confine = plan->confine,
		.has_vhost = plan->has_vhost,
	};

	if (plan->source != NULL) {
		params.machine.is_loaded = true;
		params.machine.cpu_template = NULL;
		params.machine.static_template = NULL;
		params.machine.saved = plan->source->state->vcpu_count == plan->shape.vcpu_count
					       ? plan->source->state->vcpus
					       : NULL;
	}
	return vm_init(&build->machine->vm, &params, err);
}

static void destroy_vm(void *arg)
{
	vm_destroy(&((struct build *)arg)->machine->vm);
}

/* The threads find their way to a CPU and park while the kernel is loaded. */
static int start_vcpus(void *arg, struct error *err)
{
	return vm_start(&((struct build *)arg)->machine->vm, err);
}

static void stop_vcpus(void *arg)
{
	vm_stop(&((struct build *)arg)->machine->vm);
}

/* --- Kernel --- */

static int start_loader(void *arg, struct error *err)
{
	struct build *build = arg;
	const struct machine_plan *plan = build->plan;

	(void)err;
	build->loader = (struct loader){
		.source = &plan->boot,
		.mem = build->machine->mem,
		.boot = &build->boot,
	};
	/* A machine that is loaded has its kernel in its memory. */
	if (plan->source == NULL) {
		loader_start(&build->loader);
	}
	return 0;
}

static void cancel_loader(void *arg)
{
	loader_cancel(&((struct build *)arg)->loader);
}

static int await_kernel(void *arg, struct error *err)
{
	struct build *build = arg;

	if (loader_finish(&build->loader, err) < 0) {
		return -1;
	}
	if (build->plan->source == NULL) {
		timeline_set(build->plan->timeline, TIMELINE_KERNEL);
	}
	return 0;
}

/* --- Console and devices --- */

/* On PCI files may come while the machine runs. */
static int start_mender(const struct build *build, struct error *err)
{
	struct machine *machine = build->machine;
	const struct machine_plan *plan = build->plan;

	return plan->shape.has_pci || gmem_pmem_end(machine->mem) > 0
		       ? mender_init(&machine->mender, &machine->vm, plan->loop, err)
		       : 0;
}

/* What virtio devices are on. A guest that is not to look for PCI does not [compat]. */
static int attach_bus(const struct attachment *at, const struct arch_machine *shape,
		      struct error *err)
{
	return shape->has_pci ? devmgr_attach_pci(at, shape->pci_ports, err)
			      : cmdline_add(at->cmdline, "pci=off", err);
}

static int attach_devices(void *arg, struct error *err)
{
	struct build *build = arg;
	const struct machine_plan *plan = build->plan;
	struct machine *machine = build->machine;
	struct cmdline *cmdline = &build->cmdline;
	struct attachment at = {&machine->devmgr, cmdline, &build->boot};
	const char *boot_args = plan->boot.boot_args;

	machine->devmgr.vm = &machine->vm;
	machine->devmgr.loop = plan->loop;
	machine->devmgr.console = &machine->console;
	machine->devmgr.has_boot_timer = plan->has_boot_timer;
	machine->devmgr.saved = plan->source != NULL ? plan->source->state : NULL;
	if (console_init(&machine->console, plan->loop, &plan->console, err) < 0 ||
	    cmdline_init(cmdline, boot_args != NULL ? boot_args : arch_cmdline_default, err) < 0 ||
	    attach_bus(&at, &plan->shape, err) < 0 || plan->attach(plan->arg, &at, err) < 0 ||
	    devmgr_attach_platform(&at, err) < 0 || cmdline_finish(cmdline, err) < 0 ||
	    start_mender(build, err) < 0) {
		return -1;
	}
	machine->devmgr.saved = NULL;
	build->boot.cmdline = cmdline->text;
	if (machine->devmgr.serial != NULL) {
		console_attach(&machine->console, machine->devmgr.serial);
	}
	return 0;
}

/* The console first: it counts in the serial port's metrics until it is closed. */
static void destroy_devices(void *arg)
{
	struct machine *machine = ((struct build *)arg)->machine;

	console_destroy(&machine->console);
	mender_destroy(&machine->mender);
	devmgr_destroy(&machine->devmgr);
}

/* --- What the guest finds --- */

static int load_state(const struct build *build, struct error *err)
{
	const struct machine_source *source = build->plan->source;

	return machine_load(build->machine, source->state, &source->clock, err);
}

static int set_state(void *arg, struct error *err)
{
	struct build *build = arg;
	struct vm *vm = &build->machine->vm;

	if (build->plan->source != NULL) {
		return load_state(build, err);
	}
	if (arch_write_boot_info(&vm->arch, vm->mem, &build->boot, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if (arch_vcpu_set_boot_state(&vm->vcpus[i].arch, &build->boot, err) < 0) {
			return -1;
		}
	}
	timeline_set(build->plan->timeline, TIMELINE_DEVICES);
	return 0;
}

static const struct step steps[] = {
	{make_memory, free_memory}, {start_loader, cancel_loader},
	{make_vm, destroy_vm},	    {start_vcpus, stop_vcpus},
	{await_kernel, NULL},	    {attach_devices, destroy_devices},
	{set_state, NULL},
};

/* --- A machine's life --- */

int machine_init(struct machine *machine, const struct machine_plan *plan, struct error *err)
{
	struct build build = {.machine = machine, .plan = plan};

	log_debug("event_start: build microvm for boot");
	if (steps_run(steps, ARRAY_COUNT(steps), &build, err) < 0) {
		*machine = (struct machine){0};
		return -1;
	}
	log_debug("event_end: build microvm for boot");
	return 0;
}

void machine_destroy(struct machine *machine)
{
	struct build build = {.machine = machine};

	if (machine->mem == NULL) {
		return;
	}
	/* No vCPU may be inside a device when it is freed. */
	vm_stop(&machine->vm);
	steps_undo(steps, ARRAY_COUNT(steps), &build);
	*machine = (struct machine){0};
}

int machine_pause(struct machine *machine, struct error *err)
{
	if (vm_pause(&machine->vm, err) < 0) {
		/* Some vCPUs may have parked already: they run again. */
		vm_resume(&machine->vm);
		return -1;
	}
	mender_settle(&machine->mender);
	evloop_freeze(machine->devmgr.loop);
	devmgr_quiesce(&machine->devmgr);
	console_pause(&machine->console);
	return 0;
}

void machine_resume(struct machine *machine)
{
	struct evloop *loop = machine->devmgr.loop;

	if (loop->is_frozen) {
		console_resume(&machine->console);
		devmgr_resume(&machine->devmgr);
		evloop_thaw(loop);
	}
	vm_resume(&machine->vm);
}
