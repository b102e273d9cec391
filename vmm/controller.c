/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's life.
 *
 * Theory of operation. Every action goes through one table: in which states it is legal, what its
 * errors begin with, and the function that does it. The state changes only here. All functions
 * validate before they change anything, so a failed action leaves the machine as it was; a failed
 * start destroys what it built and leaves the configuration to be mended.
 */
#include "vmm/controller.h"

#include <stdlib.h>
#include <sys/epoll.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/device_actions.h"

/* Legal in these states, as bits of enum vm_state. */
enum {
	BEFORE_START = 1 << VM_NOT_STARTED,
	AFTER_START = 1 << VM_RUNNING | 1 << VM_PAUSED,
	ALWAYS = BEFORE_START | AFTER_START,
};

/* [compat] What is plugged into a running machine goes to a PCI bus. */
static const char no_pci[] = "PCI is not enabled";

static void on_end(struct ev_source *source, uint32_t ready)
{
	struct controller *controller = container_of(source, struct controller, end);

	(void)ready;
	log_info("Vmm is stopping.");
	evloop_stop(controller->loop);
}

static int get(struct controller *controller, struct action *action, struct error *err)
{
	(void)controller;
	(void)action;
	(void)err;
	return 0;
}

static int put_machine(struct controller *controller, struct action *action, struct error *err)
{
	return vm_config_put_machine(&controller->config, &action->machine, err);
}

static int put_boot_source(struct controller *controller, struct action *action, struct error *err)
{
	return vm_config_put_boot_source(&controller->config, &action->boot_source, err);
}

static int put_serial(struct controller *controller, struct action *action, struct error *err)
{
	(void)err;
	vm_config_put_serial(&controller->config, &action->serial);
	return 0;
}

static int put_logger(struct controller *controller, struct action *action, struct error *err)
{
	(void)controller;
	return log_configure(&action->log, err);
}

static int put_metrics(struct controller *controller, struct action *action, struct error *err)
{
	struct metrics_config config = {
		.path = action->metrics.metrics_path,
		.id = action->metrics.emit_id ? controller->id : NULL,
		.properties = action->metrics.properties,
	};

	if (metrics_configure(&controller->telemetry->metrics, &config, err) < 0) {
		return -1;
	}
	free(action->metrics.metrics_path);
	free(action->metrics.properties);
	action->metrics = (struct metrics_sink_config){0};
	return 0;
}

static int flush_metrics(struct controller *controller, struct action *action, struct error *err)
{
	(void)action;
	return telemetry_flush(controller->telemetry, err);
}

/* A line that nobody asked for: what fails is told by the next one. */
static void tell_metrics(struct controller *controller)
{
	struct error err = {0};

	if (telemetry_flush(controller->telemetry, &err) < 0) {
		log_warn("%s", err.msg);
	}
}

static int start(struct controller *controller, struct action *action, struct error *err)
{
	struct microvm *microvm = &controller->microvm;
	struct builder_params params = {
		.config = &controller->config,
		.loop = controller->loop,
		.timeline = controller->timeline,
		.metrics = &controller->telemetry->metrics,
		.filters = controller->filters,
		.landlock = controller->landlock,
		.has_boot_timer = controller->has_boot_timer,
	};

	(void)action;
	timeline_set(controller->timeline, TIMELINE_CONFIGURED);
	if (builder_build(microvm, &params, err) < 0) {
		return -1;
	}
	controller->end = (struct ev_source){.fd = microvm->vm.end_event, .fn = on_end};
	if (ev_add(controller->loop, &controller->end, EPOLLIN, err) < 0 ||
	    telemetry_start(controller->telemetry, controller->loop, err) < 0 ||
	    /* Last, so that they need not allow what only building takes. */
	    landlock_confine_to_drives(controller->landlock, &controller->config, err) < 0 ||
	    filter_install(controller->filters, FILTER_VMM, err) < 0) {
		ev_del(controller->loop, &controller->end);
		microvm_destroy(microvm);
		return -1;
	}
	controller->state = VM_RUNNING;
	tell_metrics(controller);
	log_debug("event_start: boot microvm");
	vm_resume(&microvm->vm);
	log_debug("event_end: boot microvm");
	return 0;
}

static void tell_latency(const char *what, struct metric *metric, uint64_t begin_ns)
{
	uint64_t us = (clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns) / 1000;

	log_info("'%s' VMM action took %llu us.", what, (unsigned long long)us);
	metric_set(metric, us);
}

static int pause_vm(struct controller *controller, struct action *action, struct error *err)
{
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	(void)action;
	if (vm_pause(&controller->microvm.vm, err) < 0) {
		/* Those that did park must not stay behind. */
		vm_resume(&controller->microvm.vm);
		return -1;
	}
	evloop_freeze(controller->loop);
	devmgr_drain(&controller->microvm.devmgr);
	console_pause(&controller->microvm.console);
	telemetry_pause(controller->telemetry);
	controller->state = VM_PAUSED;
	tell_latency("pause vm", &controller->telemetry->api.latencies.vmm_pause_vm, begin);
	return 0;
}

static int resume_vm(struct controller *controller, struct action *action, struct error *err)
{
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	(void)action;
	(void)err;
	console_resume(&controller->microvm.console);
	telemetry_resume(controller->telemetry);
	if (controller->state == VM_PAUSED) {
		devmgr_resume(&controller->microvm.devmgr);
	}
	evloop_thaw(controller->loop);
	vm_resume(&controller->microvm.vm);
	controller->state = VM_RUNNING;
	tell_latency("resume vm", &controller->telemetry->api.latencies.vmm_resume_vm, begin);
	return 0;
}

static int ctrl_alt_del(struct controller *controller, struct action *action, struct error *err)
{
	struct i8042 *i8042 = controller->microvm.devmgr.i8042;

	(void)action;
	if (i8042 == NULL) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "This machine has no keyboard to press Ctrl-Alt-Del on");
	}
	return i8042_ctrl_alt_del(i8042, err);
}

static int unplug(struct controller *controller, struct action *action, struct error *err)
{
	(void)controller;
	(void)action;
	return error_set(err, ERR_NOT_SUPPORTED, "%s", no_pci);
}

static const struct {
	int (*execute)(struct controller *controller, struct action *action, struct error *err);
	unsigned states;
	const char *prefix;  /* [compat] of errors; NULL: none */
	const char *refusal; /* in another state; NULL: the usual sentence */
} rules[ACTION_KINDS] = {
	[ACTION_GET] = {get, ALWAYS, NULL, NULL},
	[ACTION_PUT_MACHINE] = {put_machine, BEFORE_START, "Machine config error", NULL},
	[ACTION_PUT_BOOT_SOURCE] = {put_boot_source, BEFORE_START, "Boot source error", NULL},
	[ACTION_PUT_SERIAL] = {put_serial, BEFORE_START, NULL, NULL},
	[ACTION_PUT_LOGGER] = {put_logger, BEFORE_START, "Logger error", NULL},
	[ACTION_PUT_METRICS] = {put_metrics, BEFORE_START, "Metrics error", NULL},
	[ACTION_FLUSH_METRICS] = {flush_metrics, AFTER_START, "Internal VMM error", NULL},
	[ACTION_START] = {start, BEFORE_START, "Start microvm error", NULL},
	[ACTION_PAUSE] = {pause_vm, AFTER_START, "Internal VMM error", NULL},
	[ACTION_RESUME] = {resume_vm, AFTER_START, "Internal VMM error", NULL},
	[ACTION_CTRL_ALT_DEL] = {ctrl_alt_del, AFTER_START, "Internal VMM error", NULL},
	[ACTION_PUT_DRIVE] = {device_put_drive, BEFORE_START, "Drive config error", no_pci},
	[ACTION_PATCH_DRIVE] = {device_patch_drive, AFTER_START, "Drive config error", NULL},
	[ACTION_PUT_NET] = {device_put_net, BEFORE_START, "Network config error", no_pci},
	[ACTION_PATCH_NET] = {device_patch_net, AFTER_START, "Network config error", NULL},
	[ACTION_PUT_PMEM] = {device_put_pmem, BEFORE_START, NULL, no_pci},
	[ACTION_UNPLUG] = {unplug, AFTER_START, NULL, NULL},
	[ACTION_PUT_VSOCK] = {device_put_vsock, BEFORE_START, "Vsock config error", NULL},
	[ACTION_PUT_ENTROPY] = {device_put_entropy, BEFORE_START, "Entropy config error", NULL},
	[ACTION_PUT_BALLOON] = {device_put_balloon, BEFORE_START, "Balloon config error", NULL},
	[ACTION_GET_BALLOON] = {device_get_balloon, ALWAYS, NULL, NULL},
	[ACTION_PATCH_BALLOON] = {device_patch_balloon, AFTER_START, "Balloon update error", NULL},
	[ACTION_GET_BALLOON_STATS] = {device_get_balloon_stats, AFTER_START, "Internal VMM error",
				      NULL},
	[ACTION_PATCH_BALLOON_STATS] = {device_patch_balloon_stats, AFTER_START,
					"Balloon update error", NULL},
	[ACTION_START_HINTING] = {device_start_hinting, AFTER_START, "Balloon update error", NULL},
	[ACTION_GET_HINTING] = {device_get_hinting, AFTER_START, "Balloon update error", NULL},
	[ACTION_STOP_HINTING] = {device_stop_hinting, AFTER_START, "Balloon update error", NULL},
};

static COLD void refuse_state(const struct controller *controller, const char *refusal,
			      struct error *err)
{
	if (refusal != NULL) {
		error_set(err, ERR_BAD_STATE, "%s", refusal);
	} else {
		error_set(err, ERR_BAD_STATE,
			  "The requested operation is not supported %s starting the microVM.",
			  controller->state == VM_NOT_STARTED ? "before" : "after");
	}
}

int controller_execute(void *arg, struct action *action, struct error *err)
{
	struct controller *controller = arg;
	int result = -1;

	if ((rules[action->kind].states & 1u << controller->state) == 0) {
		refuse_state(controller, rules[action->kind].refusal, err);
	} else {
		result = rules[action->kind].execute(controller, action, err);
		if (result < 0 && rules[action->kind].prefix != NULL) {
			error_wrap(err, "%s", rules[action->kind].prefix);
		}
	}
	action->config = &controller->config;
	action->id = controller->id;
	action->state = controller->state;
	return result;
}

int controller_result(const struct controller *controller, struct error *err)
{
	if (controller->state == VM_NOT_STARTED || controller->microvm.vm.end != VM_FAILED) {
		return 0;
	}
	return error_set(err, ERR_GUEST, "%s", controller->microvm.vm.end_reason);
}

void controller_init(struct controller *controller)
{
	vm_config_init(&controller->config);
}

void controller_destroy(struct controller *controller)
{
	if (controller->state != VM_NOT_STARTED) {
		telemetry_stop(controller->telemetry);
		tell_metrics(controller);
		ev_del(controller->loop, &controller->end);
		microvm_destroy(&controller->microvm);
		evloop_thaw(controller->loop);
		controller->state = VM_NOT_STARTED;
	}
	vm_config_destroy(&controller->config);
}
