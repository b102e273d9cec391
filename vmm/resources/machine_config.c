/* SPDX-License-Identifier: Apache-2.0 */
/* /machine-config: vCPUs and memory. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/template.h"
#include "vmm/resources/resource.h"

/* --- Bodies --- */

/* The templates of all architectures; this one's are taken. */
enum static_template {
	CPU_TEMPLATE_C3,
	CPU_TEMPLATE_T2,
	CPU_TEMPLATE_T2S,
	CPU_TEMPLATE_T2CL,
	CPU_TEMPLATE_T2A,
	CPU_TEMPLATE_V1N1,
	CPU_TEMPLATE_NONE
};

struct body {
	struct machine_config machine;
	enum static_template cpu_template;
	char *gdb_socket_path;
};

static const char *const template_names[] = {"C3",  "T2",   "T2S",  "T2CL",
					     "T2A", "V1N1", "None", NULL};

/* In the order of enum huge_pages. */
static const char *const huge_pages_names[] = {"None", "Transparent", "2M", NULL};

enum field {
	FIELD_VCPU_COUNT,
	FIELD_MEM_SIZE_MIB,
	FIELD_SMT,
	FIELD_CPU_TEMPLATE,
	FIELD_TRACK_DIRTY_PAGES,
	FIELD_HUGE_PAGES,
	FIELD_FORKABLE,
	FIELD_PCI_HOTPLUG_PORTS,
	FIELD_GDB_SOCKET_PATH,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_VCPU_COUNT] =
		SCHEMA_FIELD_AS("vcpu_count", struct body, machine.vcpu_count, SCHEMA_REQUIRED),
	[FIELD_MEM_SIZE_MIB] = SCHEMA_USIZE_FIELD_AS("mem_size_mib", struct body,
						     machine.mem_size_mib, SCHEMA_REQUIRED),
	[FIELD_SMT] = SCHEMA_FIELD_AS("smt", struct body, machine.smt, SCHEMA_DEFAULTED),
	[FIELD_CPU_TEMPLATE] = SCHEMA_ENUM_FIELD_LISTED(struct body, cpu_template, SCHEMA_OPTIONAL,
							template_names, arch_cpu_templates),
	[FIELD_TRACK_DIRTY_PAGES] = SCHEMA_FIELD_AS("track_dirty_pages", struct body,
						    machine.track_dirty_pages, SCHEMA_DEFAULTED),
	[FIELD_HUGE_PAGES] = SCHEMA_ENUM_FIELD_AS("huge_pages", struct body, machine.huge_pages,
						  SCHEMA_DEFAULTED, huge_pages_names),
	[FIELD_FORKABLE] =
		SCHEMA_FIELD_AS("forkable", struct body, machine.forkable, SCHEMA_DEFAULTED),
	[FIELD_PCI_HOTPLUG_PORTS] = SCHEMA_FIELD_AS("pci_hotplug_ports", struct body,
						    machine.pci_hotplug_ports, SCHEMA_DEFAULTED),
	[FIELD_GDB_SOCKET_PATH] = SCHEMA_FIELD(struct body, gdb_socket_path, SCHEMA_OPTIONAL),
};

static const struct schema schema = SCHEMA("MachineConfig", struct body, fields);

static const struct schema patch_schema = {
	.name = "MachineConfigUpdate",
	.fields = fields,
	.count = FIELD_COUNT,
	.size = sizeof(struct body),
	.is_patch = true,
};

static const struct body defaults = {.cpu_template = CPU_TEMPLATE_NONE};

/* A static template that the body names takes the place of the one that is set. */
static void set_template(struct vm_config *config, const struct request *request)
{
	const struct body *body = request->body;

	if ((request->present & 1u << FIELD_CPU_TEMPLATE) == 0) {
		return;
	}
	free((void *)config->cpu_template);
	config->cpu_template = NULL;
	config->static_template = NULL;
	if (body->cpu_template != CPU_TEMPLATE_NONE) {
		config->static_template = template_names[body->cpu_template];
	}
}

static int check_put(struct request *request, struct error *err)
{
	(void)err;
	if (request->present & 1u << FIELD_CPU_TEMPLATE) {
		request->deprecation = "PUT /machine-config: cpu_template field is deprecated.";
	}
	return 0;
}

static int check_patch(struct request *request, struct error *err)
{
	if (request->present == 0) {
		/* [compat] Not counted as a body that is wrong. */
		return error_set(err, ERR_BAD_STATE, "Empty PATCH request.");
	}
	if (request->present & 1u << FIELD_CPU_TEMPLATE) {
		request->deprecation = "PATCH /machine-config: cpu_template field is deprecated.";
	}
	return 0;
}

/* --- The configuration --- */

static void clear(struct vm_config *config)
{
	config->machine = (struct machine_config){.vcpu_count = 1, .mem_size_mib = 128};
	free(config->gdb_socket_path);
	config->gdb_socket_path = NULL;
}

static json_t *show(const struct vm_config *config)
{
	struct body body = {.machine = config->machine,
			    .cpu_template = CPU_TEMPLATE_NONE,
			    .gdb_socket_path = config->gdb_socket_path};
	uint64_t shown = SCHEMA_ALL;

	/* [compat] A custom template is shown as None, and none at all is not. */
	for (int i = 0; config->static_template != NULL && template_names[i] != NULL; i++) {
		if (template_names[i] == config->static_template) {
			body.cpu_template = (enum static_template)i;
		}
	}
	if (config->static_template == NULL && config->cpu_template == NULL) {
		shown &= ~(UINT64_C(1) << FIELD_CPU_TEMPLATE);
	}
	/* Nor fields that Firecracker lacks. */
	if (!config->machine.forkable) {
		shown &= ~(UINT64_C(1) << FIELD_FORKABLE);
	}
	if (config->machine.pci_hotplug_ports == 0) {
		shown &= ~(UINT64_C(1) << FIELD_PCI_HOTPLUG_PORTS);
	}
	/* [compat] Firecracker has it only in builds for debugging. */
	if (config->gdb_socket_path == NULL) {
		shown &= ~(UINT64_C(1) << FIELD_GDB_SOCKET_PATH);
	}
	return schema_encode(&schema, &body, shown);
}

/* KVM on arm64 gives guests one thread per core. */
static bool has_smt(void)
{
	return strcmp(arch_name, "aarch64") != 0;
}

static bool is_vcpu_count_valid(const struct machine_config *machine)
{
	unsigned count = machine->vcpu_count;

	if (count < 1 || count > ARCH_VCPUS_MAX) {
		return false;
	}
	return !machine->smt || count == 1 || count % 2 == 0;
}

static bool is_mem_size_valid(const struct machine_config *machine)
{
	/* Both kinds of huge pages have 2 MiB. */
	uint64_t page_mib = machine->huge_pages == HUGE_PAGES_NONE ? 1 : 2;

	return machine->mem_size_mib > 0 && machine->mem_size_mib % page_mib == 0;
}

static int store(struct vm_config *config, const struct machine_config *machine,
		 const struct request *request, struct error *err)
{
	/* The sentences are Firecracker's to the letter, "less than 32" too [compat]. */
	if (machine->smt && !has_smt()) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Enabling simultaneous multithreading is not supported on "
				 "aarch64.");
	}
	if (!is_vcpu_count_valid(machine)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The number of vCPUs must be greater than 0, less than 32 and "
				 "must be 1 or an even number if SMT is enabled.");
	}
	if (!is_mem_size_valid(machine)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The memory size (MiB) is either 0, or not a multiple of the "
				 "configured page size.");
	}
	if (config->has_balloon && machine->mem_size_mib < config->balloon.amount_mib) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The memory size (MiB) is smaller than the previously set balloon "
				 "device target size.");
	}
	if (machine->pci_hotplug_ports > PCI_PORTS_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "pci_hotplug_ports is %u, more than the limit of %d",
				 machine->pci_hotplug_ports, PCI_PORTS_MAX);
	}
	config->machine = *machine;
	set_template(config, request);
	return 0;
}

/* The body's string becomes the configuration's. A loaded machine does not wait for a debugger. */
static void take_socket(struct vm_config *config, const struct request *request)
{
	struct body *body = request->body;

	free(config->gdb_socket_path);
	config->gdb_socket_path = NULL;
	if (!request->is_loaded) {
		config->gdb_socket_path = body->gdb_socket_path;
		body->gdb_socket_path = NULL;
	}
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct body *body = request->body;

	if (store(&microvm->config, &body->machine, request, err) < 0) {
		return -1;
	}
	take_socket(&microvm->config, request);
	return 0;
}

/* Fields that are absent keep what they have; all change or none. */
static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct body *body = request->body;
	const struct machine_config *asked = &body->machine;
	struct machine_config machine = microvm->config.machine;
	uint64_t present = request->present;

	if (present & 1u << FIELD_VCPU_COUNT) {
		machine.vcpu_count = asked->vcpu_count;
	}
	if (present & 1u << FIELD_MEM_SIZE_MIB) {
		machine.mem_size_mib = asked->mem_size_mib;
	}
	if (present & 1u << FIELD_SMT) {
		machine.smt = asked->smt;
	}
	if (present & 1u << FIELD_TRACK_DIRTY_PAGES) {
		machine.track_dirty_pages = asked->track_dirty_pages;
	}
	if (present & 1u << FIELD_HUGE_PAGES) {
		machine.huge_pages = asked->huge_pages;
	}
	if (present & 1u << FIELD_FORKABLE) {
		machine.forkable = asked->forkable;
	}
	if (present & 1u << FIELD_PCI_HOTPLUG_PORTS) {
		machine.pci_hotplug_ports = asked->pci_hotplug_ports;
	}
	if (store(&microvm->config, &machine, request, err) < 0) {
		return -1;
	}
	if (present & 1u << FIELD_GDB_SOCKET_PATH) {
		take_socket(&microvm->config, request);
	}
	return 0;
}

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	return request_reply(request, show(&microvm->config), err);
}

const struct resource machine_config_resource = {
	.path = {"machine-config"},
	.is_for_boot = true,
	.methods =
		{
			[HTTP_GET] = {.states = ALWAYS, .run = get, GETS(machine_cfg)},
			[HTTP_PUT] = {.states = BEFORE_START,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .defaults = &defaults,
				      .prefix = "Machine config error",
				      .check = check_put,
				      .run = put,
				      PUTS(machine_cfg)},
			[HTTP_PATCH] = {.states = BEFORE_START,
					.body = BODY_JSON,
					.schema = &patch_schema,
					.defaults = &defaults,
					.prefix = "Machine config error",
					.check = check_patch,
					.run = patch,
					PATCHES(machine_cfg)},
		},
	.key = "machine-config",
	.file_prefix = "VM config error",
	.need = SCHEMA_OPTIONAL,
	.turn = 3,
	.show = show,
	.clear = clear,
};
