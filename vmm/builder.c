/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a machine as one ordered list of steps; the order is explained in vmm/vm.c and
 * arch/arch.h. */
#include "vmm/builder.h"

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

/* What the steps hand on to each other. */
struct build {
	struct microvm *microvm;
	const struct builder_params *params;
	struct cmdline cmdline;
	struct boot_info boot;
};

static int build_vm(struct build *build, struct error *err)
{
	static const enum gmem_backing backing[] = {
		[HUGE_PAGES_NONE] = GMEM_ANON,
		[HUGE_PAGES_TRANSPARENT] = GMEM_ANON_THP,
		[HUGE_PAGES_2M] = GMEM_HUGE_2M,
	};
	const struct machine_config *machine = &build->params->config->machine;
	struct vm_params params = {
		.machine = {.vcpu_count = machine->vcpu_count, .smt = machine->smt},
		.backing = backing[machine->huge_pages],
		.timeline = build->params->timeline,
		.metrics = build->params->metrics,
		.filters = build->params->filters,
		.landlock = build->params->landlock,
	};

	if (!mul_u64(machine->mem_size_mib, MIB, &params.mem_len)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid Memory Configuration: mem_size_mib is beyond 2^64 bytes");
	}
	build->boot.ram_count = arch_ram_ranges(params.mem_len, build->boot.ram);
	if (vm_init(&build->microvm->vm, &params, err) < 0) {
		return -1;
	}
	/* The threads find their way to a CPU and park while this one loads the kernel. */
	return vm_start(&build->microvm->vm, err);
}

static int load_kernel(struct build *build, struct error *err)
{
	const struct boot_source_config *source = &build->params->config->boot_source;
	struct gmem *mem = build->microvm->vm.mem;
	struct boot_info *boot = &build->boot;

	if (arch_load_kernel(mem, source->kernel_fd, source->kernel_len, boot, err) < 0) {
		return error_wrap(err, "Cannot load the kernel %s", source->kernel_image_path);
	}
	if (source->initrd_fd >= 0 && (arch_initrd_place(boot, source->initrd_len, err) < 0 ||
				       gmem_load_file(mem, boot->initrd, source->initrd_fd, 0,
						      source->initrd_len, err) < 0)) {
		return error_wrap(err, "Cannot load the initrd %s", source->initrd_path);
	}
	log_debug("Kernel loaded using %s", boot_protocol_name(boot->protocol));
	timeline_set(build->params->timeline, TIMELINE_KERNEL);
	return 0;
}

static int attach_devices(struct build *build, struct error *err)
{
	struct microvm *microvm = build->microvm;
	const char *boot_args = build->params->config->boot_source.boot_args;

	if (boot_args == NULL) {
		boot_args = arch_cmdline_default;
	}
	microvm->devmgr.vm = &microvm->vm;
	microvm->devmgr.loop = build->params->loop;
	microvm->devmgr.console = &microvm->console;
	microvm->devmgr.has_boot_timer = build->params->has_boot_timer;
	if (console_init(&microvm->console, build->params->loop, &build->params->config->serial,
			 err) < 0 ||
	    cmdline_init(&build->cmdline, boot_args, err) < 0 ||
	    cmdline_add(&build->cmdline, "pci=off", err) < 0 ||
	    devmgr_attach_virtio(&microvm->devmgr, build->params->config, &build->cmdline,
				 &build->boot, err) < 0 ||
	    devmgr_attach_platform(&microvm->devmgr, &build->cmdline, &build->boot, err) < 0 ||
	    cmdline_finish(&build->cmdline, err) < 0) {
		return -1;
	}
	build->boot.cmdline = build->cmdline.text;
	if (microvm->devmgr.serial != NULL) {
		console_attach(&microvm->console, microvm->devmgr.serial);
	}
	return 0;
}

static int set_boot_state(struct build *build, struct error *err)
{
	struct vm *vm = &build->microvm->vm;

	if (arch_write_boot_info(&vm->arch, vm->mem, &build->boot, err) < 0) {
		return -1;
	}
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++) {
		if (arch_vcpu_set_boot_state(&vm->vcpus[i].arch, &build->boot, err) < 0) {
			return -1;
		}
	}
	timeline_set(build->params->timeline, TIMELINE_DEVICES);
	return 0;
}

int builder_build(struct microvm *microvm, const struct builder_params *params, struct error *err)
{
	static int (*const steps[])(struct build * build, struct error * err) = {
		build_vm,
		load_kernel,
		attach_devices,
		set_boot_state,
	};
	struct build build = {.microvm = microvm, .params = params};

	if (params->config->boot_source.kernel_image_path == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Cannot start microvm without kernel configuration.");
	}
	log_debug("event_start: build microvm for boot");
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		if (steps[i](&build, err) < 0) {
			microvm_destroy(microvm);
			return -1;
		}
	}
	log_debug("event_end: build microvm for boot");
	return 0;
}

void microvm_destroy(struct microvm *microvm)
{
	vm_stop(&microvm->vm);
	console_destroy(&microvm->console);
	devmgr_destroy(&microvm->devmgr);
	vm_destroy(&microvm->vm);
	*microvm = (struct microvm){0};
}
