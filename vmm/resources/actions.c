/* SPDX-License-Identifier: Apache-2.0 */
/* /actions: what is done once on request: start, flush metrics, press Ctrl-Alt-Del. */
#include <string.h>

#include "arch/arch.h"
#include "vmm/base/bytes.h"
#include "vmm/resources/claims.h"
#include "vmm/resources/resource.h"

enum action_type {
	FLUSH_METRICS,
	INSTANCE_START,
	SEND_CTRL_ALT_DEL
};

struct body {
	enum action_type action_type;
};

static const char *const type_names[] = {"FlushMetrics", "InstanceStart", "SendCtrlAltDel", NULL};

static const struct schema_field fields[] = {
	SCHEMA_ENUM_FIELD(struct body, action_type, SCHEMA_REQUIRED, type_names),
};

static const struct schema schema = SCHEMA("ActionBody", struct body, fields);

/* --- Start --- */

static int map(void *arg, struct gmem *mem, const struct machine_state *saved, struct error *err)
{
	struct microvm *microvm = arg;

	microvm->is_loaded = saved != NULL;
	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->map != NULL && resources[i]->map(arg, mem, saved, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int attach(void *arg, const struct attachment *at, struct error *err)
{
	if (claims_begin(arg, err) < 0) {
		return -1;
	}
	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->attach != NULL && resources[i]->attach(arg, at, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int allow(void *arg, const struct landlock *landlock, int rules, struct error *err)
{
	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->allow != NULL &&
		    resources[i]->allow(arg, landlock, rules, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* Devices that other processes serve, which must see the memory. */
static bool is_shared(const struct vm_config *config)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		if (config->drives[i].config.socket != NULL) {
			return true;
		}
	}
	for (size_t i = 0; i < config->net_count; i++) {
		if (net_interface_is_remote(&config->nets[i])) {
			return true;
		}
	}
	return config->filesystem_count > 0;
}

/* Interfaces that the host's kernel serves. */
static bool has_vhost(const struct vm_config *config)
{
	for (size_t i = 0; i < config->net_count; i++) {
		if (config->nets[i].config.vhost) {
			return true;
		}
	}
	return false;
}

static int check_vhost(const struct vm_config *config, struct error *err)
{
	if (config->machine.forkable) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A machine with `vhost` of an interface can't be forkable, as the "
				 "kernel serves that one process alone");
	}
	return !config->machine.track_dirty_pages
		       ? 0
		       : error_set(err, ERR_NOT_SUPPORTED,
				   "A machine with `vhost` of an interface can't have "
				   "track_dirty_pages, as nobody notes what the kernel writes");
}

int actions_check_shared(const struct vm_config *config, struct error *err)
{
	if (has_vhost(config) && check_vhost(config, err) < 0) {
		return -1;
	}
	if (!is_shared(config)) {
		return 0;
	}
	if (config->machine.forkable) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A machine with vhost-user devices can't be forkable, as their "
				 "back-ends have no copies");
	}
	if (memory_plug(&config->memory).len > 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A machine with vhost-user devices can't have memory that is "
				 "plugged in: their back-ends reach what is not plugged, too");
	}
	return config->machine.huge_pages == HUGE_PAGES_NONE
		       ? 0
		       : error_set(err, ERR_NOT_SUPPORTED,
				   "A machine with vhost-user devices can't have huge_pages: its "
				   "memory is a file that the back-ends have, too");
}

struct start_plan actions_plan(struct microvm *microvm)
{
	static const enum gmem_backing backing[] = {
		[HUGE_PAGES_NONE] = GMEM_ANON,
		[HUGE_PAGES_TRANSPARENT] = GMEM_ANON_THP,
		[HUGE_PAGES_2M] = GMEM_HUGE_2M,
	};
	const struct vm_config *config = &microvm->config;
	const struct boot_source_config *source = &config->boot_source;

	return (struct start_plan){
		.machine =
			{
				.shape = {.vcpu_count = config->machine.vcpu_count,
					  .smt = config->machine.smt,
					  .cpu_template = config->cpu_template,
					  .static_template = config->static_template,
					  .pci_ports = config->machine.pci_hotplug_ports},
				.mem_size_mib = config->machine.mem_size_mib,
				.backing = is_shared(config) ? GMEM_MEMFD
							     : backing[config->machine.huge_pages],
				.plug = memory_plug(&config->memory),
				.is_tracked = config->machine.track_dirty_pages,
				.boot = {.kernel_path = source->kernel_image_path,
					 .kernel_fd = source->kernel_fd,
					 .kernel_len = source->kernel_len,
					 .initrd_path = source->initrd_path,
					 .initrd_fd = source->initrd_fd,
					 .initrd_len = source->initrd_len,
					 .boot_args = source->boot_args},
				.console = {.path = config->serial.serial_out_path,
					    .rate_limiter = config->serial.rate_limiter},
				.map = map,
				.attach = attach,
				.arg = microvm,
			},
		.is_forkable = config->machine.forkable,
		.has_vhost = has_vhost(config),
		.debug = {.path = config->gdb_socket_path, .waits = true},
		.allow = allow,
		.arg = microvm,
	};
}

static int start(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct start_plan plan = actions_plan(microvm);

	(void)request;
	if (microvm->config.boot_source.kernel_image_path == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Cannot start microvm without kernel configuration.");
	}
	if (actions_check_shared(&microvm->config, err) < 0) {
		return -1;
	}
	if (controller_start(&microvm->controller, &plan, err) < 0) {
		claims_drop(microvm);
		return -1;
	}
	return 0;
}

/* --- The others --- */

static int press_ctrl_alt_del(struct microvm *microvm, struct request *request, struct error *err)
{
	struct i8042 *i8042 = microvm->controller.machine.devmgr.i8042;

	(void)request;
	if (i8042 == NULL) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "This machine has no keyboard to press Ctrl-Alt-Del on");
	}
	return i8042_ctrl_alt_del(i8042, err);
}

static int flush_metrics(struct microvm *microvm, struct request *request, struct error *err)
{
	(void)request;
	return telemetry_flush(microvm->controller.telemetry, err);
}

/* --- Which of them --- */

static const struct method actions[] = {
	[FLUSH_METRICS] = {.states = AFTER_START,
			   .schema = &schema,
			   .prefix = "Internal VMM error",
			   .run = flush_metrics},
	[INSTANCE_START] = {.states = BEFORE_START,
			    .schema = &schema,
			    .prefix = "Start microvm error",
			    .run = start},
	[SEND_CTRL_ALT_DEL] = {.states = AFTER_START,
			       .schema = &schema,
			       .prefix = "Internal VMM error",
			       .run = press_ctrl_alt_del},
};

/* The body says which action it is; from here on the request goes by that one's row. */
static int check(struct request *request, struct error *err)
{
	const struct body *body = request->body;

	if (body->action_type == SEND_CTRL_ALT_DEL && strcmp(arch_name, "aarch64") == 0) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "SendCtrlAltDel does not supported on aarch64.");
	}
	request->method = &actions[body->action_type];
	return 0;
}

const struct resource actions_resource = {
	.path = {"actions"},
	.methods[HTTP_PUT] = {.states = ALWAYS,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .check = check,
			      PUTS(actions)},
};

/* The prefixes of errors are for clients of the API. */
static int run(struct microvm *microvm, enum action_type type, struct error *err)
{
	struct request request = {
		.resource = &actions_resource, .method = &actions[type], .prefix = ""};

	return request_run(microvm, &request, err);
}

int actions_start(struct microvm *microvm, struct error *err)
{
	return run(microvm, INSTANCE_START, err);
}

int actions_press_ctrl_alt_del(struct microvm *microvm, struct error *err)
{
	return run(microvm, SEND_CTRL_ALT_DEL, err);
}
