/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's life.
 *
 * Theory of operation. A start is a list of steps with an undo each, so that a failed one leaves
 * the process as it was: no descriptor, thread, timer or memory. The VMM thread confines itself in
 * the last step, when all that only building needs is done; nothing that can fail comes after it.
 * A child of a fork learns right before it whether it is to live.
 * The state changes only here.
 */
#include "vmm/control/controller.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/exitcode.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/log.h"
#include "vmm/base/steps.h"

/* --- Start --- */

struct start {
	struct controller *controller;
	const struct start_plan *plan; /* NULL at the machine's end, when steps are only undone */
	int rules;		       /* of Landlock for the VMM thread; -1: none */
};

static int make_machine(void *arg, struct error *err)
{
	const struct start *start = arg;
	struct controller *controller = start->controller;
	struct machine_plan plan = start->plan->machine;

	plan.has_boot_timer = controller->has_boot_timer;
	plan.shape.has_pci =
		plan.source != NULL ? plan.source->state->has_pci : controller->has_pci;
	plan.loop = controller->loop;
	plan.timeline = controller->timeline;
	plan.metrics = &controller->telemetry->metrics;
	plan.confine = controller->confine;
	plan.has_vhost = start->plan->has_vhost;
	timeline_set(controller->timeline, TIMELINE_CONFIGURED);
	return machine_init(&controller->machine, &plan, err);
}

static void destroy_machine(void *arg)
{
	machine_destroy(&((const struct start *)arg)->controller->machine);
}

/* A machine is debugged by way of its own socket, or of the process's. */
static struct gdb_config debug_of(const struct controller *controller,
				  const struct start_plan *plan)
{
	return plan->debug.path != NULL || controller->gdb_socket == NULL
		       ? plan->debug
		       : (struct gdb_config){.path = controller->gdb_socket};
}

/* The socket's file goes with a failed start alone: a running machine keeps it. */
static void close_debugger(void *arg)
{
	const struct start *start = arg;
	struct controller *controller = start->controller;

	if (controller->debugger == NULL) {
		return;
	}
	vm_stop(&controller->machine.vm);
	gdb_server_free(controller->debugger);
	controller->debugger = NULL;
	const char *path = start->plan != NULL ? debug_of(controller, start->plan).path : NULL;

	if (path != NULL) {
		unlink(path);
	}
}

static int open_debugger(void *arg, struct error *err)
{
	const struct start *start = arg;
	struct controller *controller = start->controller;
	const struct gdb_config config = debug_of(controller, start->plan);

	if (config.path == NULL) {
		return 0;
	}
	controller->debugger =
		gdb_server_new(&config, &controller->machine.vm, controller->loop, err);
	return controller->debugger != NULL ? 0 : -1;
}

static void on_end(struct ev_source *source, uint32_t ready)
{
	struct controller *controller = container_of(source, struct controller, end);

	(void)ready;
	log_info("Vmm is stopping.");
	evloop_stop(controller->loop);
}

static int watch_end(void *arg, struct error *err)
{
	struct controller *controller = ((const struct start *)arg)->controller;

	controller->end = (struct ev_source){.fd = controller->machine.vm.end_event, .fn = on_end};
	return ev_add(controller->loop, &controller->end, EPOLLIN, err);
}

static void unwatch_end(void *arg)
{
	struct controller *controller = ((const struct start *)arg)->controller;

	ev_del(controller->loop, &controller->end);
}

static int start_telemetry(void *arg, struct error *err)
{
	struct controller *controller = ((const struct start *)arg)->controller;

	return telemetry_start(controller->telemetry, controller->loop, err);
}

static void stop_telemetry(void *arg)
{
	telemetry_stop(((const struct start *)arg)->controller->telemetry);
}

/*
 * A loaded machine is one that was paused: its guest is told of the pause, and its devices look at
 * all queues when it goes on. No vCPU has run, and no device has done anything.
 */
static int pause_loaded(void *arg, struct error *err)
{
	const struct start *start = arg;

	if (start->plan->machine.source == NULL) {
		return 0;
	}
	return machine_pause(&start->controller->machine, err);
}

static void let_devices_go(void *arg)
{
	evloop_thaw(((const struct start *)arg)->controller->loop);
}

/* The filter of the VMM thread. */
static enum filter_thread filter_of(const struct controller *controller,
				    const struct start_plan *plan)
{
	if (plan->is_forkable) {
		return FILTER_FORK;
	}
	if (debug_of(controller, plan).path != NULL) {
		return FILTER_DEBUG;
	}
	return plan->has_vhost ? FILTER_VHOST : FILTER_VMM;
}

/* A call must pass all filters of a thread. *is_confined: one is installed, which stays. */
static int install_filters(const struct start *start, bool *is_confined, struct error *err)
{
	const struct filter_set *filters = &start->controller->confine->filters;
	enum filter_thread thread = filter_of(start->controller, start->plan);

	/* Children of a fork plug in all that they have. The other filters let none be installed.
	 */
	if (thread != FILTER_FORK && !start->controller->machine.devmgr.has_pci) {
		if (filter_install(filters, FILTER_NO_PCI, err) < 0) {
			return -1;
		}
		*is_confined |= filters->programs[FILTER_NO_PCI].filter != NULL;
	}
	return filter_install(filters, thread, err);
}

/* What can fail for the host's reasons comes before the start is irrevocable. */
static int make_rules(void *arg, struct error *err)
{
	struct start *start = arg;
	const struct confine *confine = start->controller->confine;

	if (confine == NULL) {
		return 0;
	}
	return landlock_rules_new(&confine->landlock, &start->rules, err) < 0
		       ? -1
		       : start->plan->allow(start->plan->arg, &confine->landlock, start->rules,
					    err);
}

static void close_rules(void *arg)
{
	fd_close(&((struct start *)arg)->rules);
}

static int await_wanted(void *arg, struct error *err)
{
	const struct start_plan *plan = ((const struct start *)arg)->plan;

	return plan->await != NULL ? plan->await(plan->await_arg, err) : 0;
}

static int confine_vmm(void *arg, struct error *err)
{
	const struct start *start = arg;
	const struct confine *confine = start->controller->confine;

	if (confine == NULL) {
		return 0;
	}
	if (landlock_confine(&confine->landlock, start->rules, err) < 0) {
		return -1;
	}
	bool is_confined = landlock_is_on(&confine->landlock);
	bool has_filter = start->plan->is_forked && start->plan->is_forkable;

	if (has_filter || install_filters(start, &is_confined, err) == 0) {
		return 0;
	}
	if (is_confined) {
		/* A failed start must not leave the thread confined: the next one needs more. */
		log_error("%s", err->msg);
		_exit(EXIT_CODE_GENERIC);
	}
	return -1;
}

static const struct step start_steps[] = {
	{make_machine, destroy_machine},
	{open_debugger, close_debugger},
	{watch_end, unwatch_end},
	{start_telemetry, stop_telemetry},
	{pause_loaded, let_devices_go},
	{make_rules, close_rules},
	{await_wanted, NULL},
	{confine_vmm, NULL},
};

/* Writes a line of metrics. A failure is logged: no client waits for this line. */
static void write_metrics(const struct controller *controller)
{
	struct error err = {0};

	if (telemetry_flush(controller->telemetry, &err) < 0) {
		log_warn("%s", err.msg);
	}
}

/* The policy must have the wider filter that such a machine needs. */
static int check_filter(const struct confine *confine, enum filter_thread thread, const char *kind,
			struct error *err)
{
	if (confine->filters.programs[FILTER_VMM].len > 0 &&
	    confine->filters.programs[thread].len == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The policy of --seccomp-filter has no filter `%s`, by which a "
				 "%s machine is held in: see docs/seccomp.md",
				 filter_thread_names[thread], kind);
	}
	return 0;
}

/* What holds the VMM thread in must let a machine be forked that is to be. */
static int check_forkable(const struct controller *controller, const struct start_plan *plan,
			  struct error *err)
{
	const struct confine *confine = controller->confine;

	if (!plan->is_forkable || confine == NULL) {
		return 0;
	}
	if (landlock_is_on(&confine->landlock)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A machine with --landlock can't be forkable, as its children "
				 "could not open their files: hold it in with the jailer");
	}
	return check_filter(confine, FILTER_FORK, "forkable", err);
}

static int check_debug(const struct controller *controller, const struct start_plan *plan,
		       struct error *err)
{
	if (debug_of(controller, plan).path == NULL) {
		return 0;
	}
	if (plan->is_forkable || plan->is_forked) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A forkable machine can't be debugged, as its children would have "
				 "the debugger's breakpoints: leave out `forkable`, or the "
				 "debugger's socket");
	}
	return controller->confine == NULL
		       ? 0
		       : check_filter(controller->confine, FILTER_DEBUG, "debugged", err);
}

/* Both filters are found out here: at the driver's start it would be too late. */
static int check_vhost(const struct controller *controller, const struct start_plan *plan,
		       struct error *err)
{
	const struct confine *confine = controller->confine;

	if (!plan->has_vhost || confine == NULL) {
		return 0;
	}
	return check_filter(confine, FILTER_VHOST, "`vhost`", err) < 0 ||
			       check_filter(confine, FILTER_VHOST_VCPU, "`vhost`", err) < 0 ||
			       confine_check_vhost(confine, filter_of(controller, plan), err) < 0 ||
			       confine_check_vhost(confine, FILTER_VHOST_VCPU, err) < 0
		       ? -1
		       : 0;
}

/* Ports need a bus. */
static int check_ports(const struct controller *controller, const struct start_plan *plan,
		       struct error *err)
{
	if (plan->machine.shape.pci_ports > 0 && plan->machine.source == NULL &&
	    !controller->has_pci) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The machine-config has pci_hotplug_ports, and the machine no PCI "
				 "bus: start squib with --enable-pci");
	}
	return 0;
}

int controller_start(struct controller *controller, const struct start_plan *plan,
		     struct error *err)
{
	struct start start = {.controller = controller, .plan = plan, .rules = -1};

	if (check_forkable(controller, plan, err) < 0 || check_debug(controller, plan, err) < 0 ||
	    check_vhost(controller, plan, err) < 0 || check_ports(controller, plan, err) < 0) {
		return -1;
	}
	if (steps_run(start_steps, ARRAY_COUNT(start_steps), &start, err) < 0) {
		return -1;
	}
	fd_close(&start.rules);
	timeline_log_start(controller->timeline);
	write_metrics(controller);
	if (plan->is_paused) {
		telemetry_pause(controller->telemetry);
		controller->state = VM_PAUSED;
		return 0;
	}
	controller->state = VM_RUNNING;
	log_debug("event_start: boot microvm");
	machine_resume(&controller->machine);
	log_debug("event_end: boot microvm");
	return 0;
}

/* --- Pause --- */

void controller_note_latency(const char *what, struct metric *metric, uint64_t begin_ns)
{
	uint64_t us = (clock_host.now_ns(CLOCK_MONOTONIC) - begin_ns) / NS_PER_US;

	log_info("'%s' VMM action took %llu us.", what, (unsigned long long)us);
	metric_set(metric, us);
}

int controller_pause(struct controller *controller, struct error *err)
{
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	if (machine_pause(&controller->machine, err) < 0) {
		return -1;
	}
	telemetry_pause(controller->telemetry);
	controller->state = VM_PAUSED;
	controller_note_latency("pause vm", &controller->telemetry->api.latencies.vmm_pause_vm,
				begin);
	return 0;
}

void controller_resume(struct controller *controller)
{
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	telemetry_resume(controller->telemetry);
	machine_resume(&controller->machine);
	controller->state = VM_RUNNING;
	controller_note_latency("resume vm", &controller->telemetry->api.latencies.vmm_resume_vm,
				begin);
}

/* --- End --- */

int controller_result(const struct controller *controller, struct error *err)
{
	const struct vm *vm = &controller->machine.vm;

	if (controller->state == VM_NOT_STARTED || vm->end != VM_FAILED) {
		return 0;
	}
	struct error cause = {0};

	/* KVM says no more than that an address is bad. */
	return gmem_check_behind(controller->machine.mem, &cause) < 0
		       ? error_set(err, ERR_GUEST, "%s. %s", vm->end_reason, cause.msg)
		       : error_set(err, ERR_GUEST, "%s", vm->end_reason);
}

void controller_destroy(struct controller *controller)
{
	struct start start = {.controller = controller, .rules = -1};

	if (controller->state == VM_NOT_STARTED) {
		return;
	}
	log_info("Killing vCPU threads");
	telemetry_stop(controller->telemetry);
	write_metrics(controller);
	steps_undo(start_steps, ARRAY_COUNT(start_steps), &start);
	controller->state = VM_NOT_STARTED;
}
