/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a machine's vCPUs, and looks at the first.
 *
 * Theory of operation. The configuration file is applied as squib applies it, so it must be whole:
 * files are opened, TAPs too. Of the machine there is only what a vCPU is made of: memory, VM,
 * interrupt controller and vCPUs, by squib's own functions. No kernel is loaded, no device made, no
 * thread runs.
 */
#include "tools/cpu_template_helper/guest.h"

#include <stdlib.h>

#include "api/config_file.h"
#include "arch/template.h"
#include "tools/cpu_template_helper/files.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/resources/microvm.h"
#include "vmm/resources/request.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/vm_config.h"

/* A process has one: it is large. */
struct guest {
	struct evloop loop;
	struct timeline timeline;
	struct telemetry telemetry;
	struct microvm microvm;
	struct gmem *mem;
	struct vm vm;
};

static int configure(struct guest *guest, const char *path, struct error *err)
{
	static const struct log_config quiet = {.level = LOG_OFF};
	static const struct metric_group *groups[TELEMETRY_GROUPS_MAX];
	struct controller *controller = &guest->microvm.controller;
	AUTO_FREE char *text = NULL;
	size_t len = 0;

	telemetry_init(&guest->telemetry, groups,
		       resource_metric_groups(groups, ARRAY_COUNT(groups)));
	controller->loop = &guest->loop;
	controller->timeline = &guest->timeline;
	controller->id = "anonymous-instance";
	controller->telemetry = &guest->telemetry;
	microvm_init(&guest->microvm);
	if (log_configure(&quiet, err) < 0 || evloop_init(&guest->loop, err) < 0) {
		return -1;
	}
	if (path == NULL) {
		return 0;
	}
	return file_read_text(path, &text, &len, err) < 0
		       ? -1
		       : config_file_apply(text, len, request_run_here, &guest->microvm, err);
}

/* It takes the place of the configuration's [compat]. */
static int set_template(struct guest *guest, const char *path, struct error *err)
{
	struct vm_config *config = &guest->microvm.config;
	struct cpu_template_block *block;

	if (path == NULL) {
		return 0;
	}
	if (file_load_template(path, &block, err) < 0) {
		return -1;
	}
	free((void *)config->cpu_template);
	config->cpu_template = &block->bits;
	config->static_template = NULL;
	return 0;
}

static int make(struct guest *guest, struct error *err)
{
	const struct start_plan plan = actions_plan(&guest->microvm);
	struct gmem_range ram[ARCH_RAM_RANGES_MAX];
	const size_t count = arch_ram_ranges(plan.machine.mem_size_mib * MIB, ram);
	struct vm_params params = {.machine = plan.machine.shape, .timeline = &guest->timeline};

	if (gmem_new(ram, count, plan.machine.backing, &guest->mem, err) < 0) {
		return error_wrap(err, "Invalid Memory Configuration");
	}
	params.mem = guest->mem;
	return vm_init(&guest->vm, &params, err);
}

static int look(const struct guest *guest, struct cells *seen, struct cells *asked,
		struct error *err)
{
	static const struct cpu_template nothing;
	const struct cpu_template *wanted = guest->vm.machine.cpu_template;
	AUTO_FREE struct cpu_template_block *block = NULL;

	if (arch_dump_cpu(&guest->vm.vcpus[0].arch, &block, err) < 0 ||
	    cells_of(&block->bits, seen, err) < 0) {
		return -1;
	}
	return asked != NULL ? cells_of(wanted != NULL ? wanted : &nothing, asked, err) : 0;
}

static void destroy(struct guest *guest)
{
	vm_destroy(&guest->vm);
	gmem_free(guest->mem);
	vm_config_unload(&guest->microvm.config); /* with the files that it made */
	microvm_destroy(&guest->microvm);
	telemetry_destroy(&guest->telemetry);
	evloop_destroy(&guest->loop);
}

int guest_dump(const char *config_path, const char *template_path, struct cells *seen,
	       struct cells *asked, struct error *err)
{
	static struct guest guest;
	int result;

	guest = (struct guest){.mem = NULL};
	result = configure(&guest, config_path, err) < 0 ||
				 set_template(&guest, template_path, err) < 0
			 ? -1
			 : make(&guest, err);
	if (result < 0) {
		error_wrap(err, "Cannot make the microVM");
	} else {
		result = look(&guest, seen, asked, err);
	}
	destroy(&guest);
	return result;
}
