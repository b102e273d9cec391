/* SPDX-License-Identifier: Apache-2.0 */
/* squib's process: arguments, log, configuration, one machine, the event loop, an exit code. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "api/config_file.h"
#include "api/router.h"
#include "api/server.h"
#include "vmm/args.h"
#include "vmm/base/bytes.h"
#include "vmm/base/evloop.h"
#include "vmm/base/fd.h"
#include "vmm/base/json.h"
#include "vmm/base/log.h"
#include "vmm/control/mailbox.h"
#include "vmm/confine/sandbox.h"
#include "vmm/control/controller.h"
#include "vmm/base/exitcode.h"
#include "vmm/resources/fork.h"
#include "vmm/resources/microvm.h"
#include "vmm/resources/request.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/snapshot_info.h"
#include "vmm/signals.h"
#include "vmm/version.h"

/* Everything in the process that is not on a thread of its own. */
struct process {
	struct args args;
	struct timeline timeline;
	struct telemetry telemetry;
	struct confine confine;
	struct evloop loop;
	struct microvm microvm;
	struct ev_source requests; /* SIGUSR1 */
	struct mailbox mailbox;
	struct router router;
	struct api_server *server;
	char *config; /* the text of --config-file, heap; NULL: none */
	size_t config_len;
	struct fork_birth *birth; /* of a child of a fork; NULL: a process of its own */
	struct ev_source parent;  /* a pidfd of the child's parent, to end with it; fd -1: none */
	enum exit_code exit_code; /* of a failure */
};

enum {
	METADATA_FILE_MAX = 1 << 20, /* bytes, where the limit is lower */
	API_QUIET_MS = 10 * 1000,
	STACK_LEN = 1 << 20, /* bytes of each thread but the first */
};

static void on_request(struct ev_source *source, uint32_t ready)
{
	struct process *process = container_of(source, struct process, requests);
	struct signalfd_siginfo info;
	struct error err = {0};

	(void)ready;
	if (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
	    actions_press_ctrl_alt_del(&process->microvm, &err) < 0) {
		log_warn("SIGUSR1: %s", err.msg);
	}
}

/* [compat] The sentences about log and metrics have no path, which children of a fork need. */
static int add_path(const struct process *process, const char *field, const char *path,
		    struct error *err)
{
	return process->birth != NULL ? error_wrap(err, "%s %s", field, path) : -1;
}

static int configure_log(const struct args *args, struct error *err)
{
	struct log_config log = {
		.path = args->log_path,
		.module = args->module,
		.level = args->level,
		.show_level = args->show_level ? LOG_SHOW : LOG_HIDE,
		.show_origin = args->show_log_origin ? LOG_SHOW : LOG_HIDE,
	};

	log_set_instance(args->id);
	return log_configure(&log, err);
}

static int configure_metrics(struct process *process, struct error *err)
{
	struct metrics_config config = {.path = process->args.metrics_path};

	if (config.path == NULL) {
		return 0;
	}
	return metrics_configure(&process->telemetry.metrics, &config, err) < 0
		       ? add_path(process, "metrics_path", config.path, err)
		       : 0;
}

/* A request on its way from the API thread to the VMM thread and back. */
struct letter {
	struct request *request;
	struct error *err;
	int result;
};

static void answer(void *arg, void *request)
{
	struct letter *letter = request;

	letter->result = request_run(arg, letter->request, letter->err);
}

/* The API thread's request_fn. */
static int ask(void *arg, struct request *request, struct error *err)
{
	struct letter letter = {.request = request, .err = err};

	if (mailbox_ask(arg, &letter) < 0) {
		return error_set(err, ERR_BAD_STATE, "The microVM is shutting down.");
	}
	return letter.result;
}

/* Before any thread starts, so that a bad file is reported like any other bad argument. */
static int load_filters(struct process *process, struct error *err)
{
	const char *path = process->args.seccomp_filter;
	int result = 0;

	if (process->birth != NULL) {
		return 0; /* it has its parent's */
	}
	if (path != NULL) {
		result = filter_set_load(path, &process->confine.filters, err);
	} else if (!process->args.no_seccomp) {
		result = filter_set_default(&process->confine.filters, err);
	}
	return result < 0 ? error_wrap(err, "Seccomp error") : 0;
}

static void confine_api(void *arg)
{
	const struct process *process = arg;
	struct error err = {0};

	if (confine_thread(&process->confine, FILTER_API, -1, &err) < 0) {
		/* Nobody may talk to a thread that is not confined. */
		log_error("%s", err.msg);
		_exit(EXIT_CODE_PANIC);
	}
}

static int start_api(struct process *process, struct error *err)
{
	struct api_server_config config = {
		.path = process->args.api_sock,
		.payload_max = process->args.api_payload_max,
		.quiet_ms = API_QUIET_MS,
		.handler = router_handle,
		.resume = router_resume,
		.arg = &process->router,
		.confine = confine_api,
		.confine_arg = process,
	};
	char shown[JSON_QUOTE_LEN];

	process->microvm.api_socket = config.path;
	process->router = (struct router){
		.execute = ask,
		.arg = &process->mailbox,
		.api = &process->telemetry.api,
		.metrics = &process->telemetry.metrics,
	};
	if (mailbox_init(&process->mailbox, &process->loop, answer, &process->microvm, err) < 0 ||
	    api_server_new(&config, &process->server, err) < 0) {
		return -1;
	}
	json_quote(config.path, strlen(config.path), shown, sizeof(shown));
	log_info("Listening on API socket (\"%s\").", shown);
	if (api_server_start(process->server, err) < 0) {
		return -1;
	}
	telemetry_set_started(&process->telemetry, &process->args);
	return 0;
}

/* [compat] The upstream process panics over a file that is no JSON, hence the exit code. */
static int load_metadata(struct process *process, struct error *err)
{
	const char *path = process->args.metadata;
	size_t max = max_u64(METADATA_FILE_MAX, process->microvm.metadata_max);
	AUTO_FREE char *text = NULL;
	size_t len;

	if (path == NULL) {
		return 0;
	}
	process->exit_code = EXIT_CODE_PANIC;
	if (read_file(path, "The metadata", max, &text, &len, err) < 0) {
		return error_wrap(err, "Unable to open or read from the mmds content file");
	}
	if (metadata_load(&process->microvm, text, len, err) < 0) {
		process->exit_code = err->kind == ERR_NO_ROOM ? EXIT_CODE_GENERIC : EXIT_CODE_PANIC;
		return -1;
	}
	process->exit_code = EXIT_CODE_GENERIC;
	log_info("Successfully added metadata to mmds from file");
	return 0;
}

/* The text is applied later. [compat] The upstream process panics if there is none. */
static int read_config(struct process *process, struct error *err)
{
	if (process->args.config_file == NULL) {
		return 0;
	}
	process->exit_code = EXIT_CODE_PANIC;
	if (config_file_read(process->args.config_file, &process->config, &process->config_len,
			     err) < 0) {
		return -1;
	}
	process->exit_code = EXIT_CODE_GENERIC;
	return 0;
}

static int boot_from_file(struct process *process, struct error *err)
{
	if (process->config == NULL) {
		return 0;
	}
	if (config_file_apply(process->config, process->config_len, request_run_here,
			      &process->microvm, err) < 0) {
		return -1;
	}
	if (actions_start(&process->microvm, err) < 0) {
		return error_wrap(err, "Could not Start MicroVM from one single json");
	}
	log_info("Successfully started microvm that was configured from one single json");
	return 0;
}

static void on_parent_end(struct ev_source *source, uint32_t ready)
{
	struct process *process = container_of(source, struct process, parent);

	(void)ready;
	log_info("The parent of this microVM has ended, and so does it.");
	evloop_stop(&process->loop);
}

static int watch_parent(struct process *process, struct error *err)
{
	if (!process->birth->child->ends_with_parent) {
		return 0;
	}
	process->parent.fn = on_parent_end;
	process->parent.fd = pidfd_open(process->birth->parent, 0);
	if (process->parent.fd < 0) {
		return error_sys(err, "Cannot watch the parent");
	}
	return ev_add(&process->loop, &process->parent, EPOLLIN, err);
}

/* What the machine is made from: a file, or what a fork has inherited; else clients make it. */
static int make_machine(struct process *process, struct error *err)
{
	if (process->birth != NULL) {
		return watch_parent(process, err) < 0
			       ? -1
			       : fork_load(&process->microvm, process->birth, err);
	}
	if (boot_from_file(process, err) < 0) {
		return error_wrap(err, "Failed to build MicroVM from Json");
	}
	return 0;
}

/* From the socket to the machine's end. */
static int serve(struct process *process, struct error *err)
{
	const struct controller *controller = &process->microvm.controller;

	if (!process->args.no_api && start_api(process, err) < 0) {
		return -1;
	}
	if (make_machine(process, err) < 0) {
		return -1;
	}
	if (evloop_run(&process->loop, err) < 0) {
		return -1;
	}
	if (controller_result(controller, err) < 0) {
		return error_wrap(err, "MicroVM stopped with an error");
	}
	return 0;
}

static void become_child(void *arg, struct fork_birth *birth);

static int run(struct process *process, struct error *err)
{
	struct controller *controller = &process->microvm.controller;
	const struct metric_group *groups[TELEMETRY_GROUPS_MAX];

	if (configure_log(&process->args, err) < 0) {
		return add_path(process, "log_path", process->args.log_path, err);
	}
	telemetry_init(&process->telemetry, groups,
		       resource_metric_groups(groups, ARRAY_COUNT(groups)));
	signals_set_telemetry(&process->telemetry);
	log_info("Running Firecracker-compatible squib v" SQUIB_VERSION);
	if (signals_setup(err) < 0 || evloop_init(&process->loop, err) < 0) {
		return -1;
	}
	controller->loop = &process->loop;
	controller->timeline = &process->timeline;
	controller->id = process->args.id;
	controller->telemetry = &process->telemetry;
	controller->confine = &process->confine;
	controller->has_boot_timer = process->args.boot_timer;
	controller->has_pci = process->args.enable_pci;
	controller->gdb_socket = process->args.gdb_socket;
	process->microvm.metadata_max = process->args.mmds_size_limit != UINT64_MAX
						? process->args.mmds_size_limit
						: process->args.api_payload_max;
	microvm_init(&process->microvm);
	process->microvm.become = become_child;
	process->microvm.become_arg = process;
	process->requests.fn = on_request;
	if (signals_open_requests(&process->requests.fd, err) < 0 ||
	    ev_add(&process->loop, &process->requests, EPOLLIN, err) < 0 ||
	    configure_metrics(process, err) < 0 || load_filters(process, err) < 0 ||
	    (process->args.landlock && landlock_init(&process->confine.landlock, err) < 0) ||
	    read_config(process, err) < 0 || load_metadata(process, err) < 0) {
		return -1;
	}
	if (serve(process, err) < 0) {
		return error_wrap(err, "RunWith%sApiError error",
				  process->args.no_api ? "out" : "");
	}
	return 0;
}

static enum exit_code fail(const struct error *err, enum exit_code code)
{
	log_error("%s", err->msg);
	log_error("Firecracker exiting with error. exit_code=%d", (int)code);
	fprintf(stderr, "Error: %s\n", err->msg);
	return code;
}

/* Instead of a run: what would hold it in, with these arguments. */
static enum exit_code check_sandbox(struct process *process)
{
	static struct sandbox sandbox;
	struct sandbox_plan plan = {
		.filters = &process->confine.filters,
		.filters_path = process->args.seccomp_filter,
		.landlock = process->args.landlock,
	};
	struct error err = {0};

	if (load_filters(process, &err) < 0) {
		return fail(&err, EXIT_CODE_GENERIC);
	}
	sandbox_collect(&plan, &sandbox);
	confine_destroy(&process->confine);
	if (!process->args.check_sandbox_json) {
		sandbox_print_table(&sandbox, stdout);
	} else if (sandbox_print_json(&sandbox, stdout, &err) < 0) {
		return fail(&err, EXIT_CODE_GENERIC);
	}
	if (fflush(stdout) != 0) {
		error_sys(&err, "Cannot write to standard output");
		return fail(&err, EXIT_CODE_GENERIC);
	}
	return sandbox_is_closed(&sandbox) ? EXIT_CODE_OK : EXIT_CODE_GENERIC;
}

static bool is_about_snapshot(const struct args *args)
{
	return args->snapshot_version || args->describe_snapshot != NULL ||
	       args->describe_snapshot_json != NULL || args->explain != NULL;
}

/* Instead of a run: about a snapshot. */
static enum exit_code tell_of_snapshot(const struct args *args)
{
	struct error err = {0};
	bool loads = true;
	int result = 0;

	if (args->snapshot_version) {
		snapshot_print_version(stdout);
	} else if (args->describe_snapshot != NULL) {
		result = snapshot_describe(args->describe_snapshot, stdout, &err);
	} else if (args->describe_snapshot_json != NULL) {
		result = snapshot_describe_json(args->describe_snapshot_json, stdout, &err);
	} else {
		result = snapshot_explain(args->explain, stdout, &loads, &err);
	}
	if (result == 0 && fflush(stdout) != 0) {
		result = error_sys(&err, "Cannot write to standard output");
	}
	if (result < 0) {
		/* No log: whoever asks reads both. */
		fprintf(stderr, "Error: %s\n", err.msg);
		return EXIT_CODE_GENERIC;
	}
	return loads ? EXIT_CODE_OK : EXIT_CODE_GENERIC;
}

static void destroy(struct process *process)
{
	mailbox_close(&process->mailbox);
	api_server_stop(process->server);
	api_server_free(process->server);
	mailbox_destroy(&process->mailbox);
	microvm_destroy(&process->microvm);
	signals_set_telemetry(NULL);
	telemetry_destroy(&process->telemetry);
	fd_close(&process->requests.fd);
	fd_close(&process->parent.fd);
	free(process->config);
	evloop_destroy(&process->loop);
	confine_destroy(&process->confine);
}

/* A process with its arguments read, from its first step to its exit code. */
static enum exit_code live(struct process *process)
{
	struct error err = {0};

	process->requests.fd = -1;
	process->parent.fd = -1;
	process->exit_code = EXIT_CODE_GENERIC;
	int result = run(process, &err);

	if (result < 0 && process->birth != NULL) {
		fork_report_failure(process->birth, &err);
		/* What Landlock holds in can't remove a file, and would be ended for trying. */
		if (process->server != NULL &&
		    (process->birth->report >= 0 || !process->args.landlock)) {
			unlink(process->args.api_sock);
		}
	}
	destroy(process);
	if (result < 0) {
		return fail(&err, process->exit_code);
	}
	log_info("Firecracker exiting successfully. exit_code=0");
	return EXIT_CODE_OK;
}

/*
 * A child of a fork: what this memory has of the parent's objects is left alone, as if it were
 * another program's. It has the parent's arguments, but those that name what is its own.
 */
static void become_child(void *arg, struct fork_birth *birth)
{
	struct process *process = arg;
	const struct fork_child *child = birth->child;
	struct args args = process->args;

	args.id = child->id;
	args.api_sock = child->api_sock;
	args.log_path = child->log_path;
	args.metrics_path = child->metrics_path;
	args.no_api = false;
	args.config_file = NULL;
	args.metadata = NULL;
	args.start_time_us = 0;
	args.start_time_cpu_us = 0;
	args.parent_cpu_time_us = 0;
	args.landlock = birth->landlock;
	struct confine confine = process->confine;

	*process = (struct process){.args = args, .confine = confine, .birth = birth};
	filter_set_name_self(&process->confine.filters);
	timeline_set(&process->timeline, TIMELINE_MAIN);
	log_set_thread("main");
	prctl(PR_SET_NAME, program_invocation_short_name);
	exit(live(process));
}

/*
 * Threads need little stack, as no recursion depends on input. The usual 8 MiB have room for a huge
 * page, which a thread may get where the host gives those unasked (transparent_hugepage=always,
 * before Linux 6.7).
 */
static void set_stacks(void)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_LEN);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

static void prepare_libraries(void)
{
	size_t seed;

	set_stacks();
	/* Two threads allocate, seldom: a heap each would cost pages, and system calls to grow. */
	mallopt(M_ARENA_MAX, 1);
	/* Else jansson opens /dev/urandom at the first object, on a thread that may not. */
	memcpy(&seed, (const void *)getauxval(AT_RANDOM), sizeof(seed));
	json_object_seed(seed);
	/* Else the first line of the log reads the time zone, whichever thread that is on. */
	tzset();
}

int main(int argc, char **argv)
{
	/* Static, so that the pages of its buffers cost nothing until they are used. */
	static struct process the_process;
	struct process *process = &the_process;
	struct error err = {0};

	timeline_set(&process->timeline, TIMELINE_MAIN);
	prepare_libraries();
	if (fd_open_standard(&err) < 0) {
		return fail(&err, EXIT_CODE_INTERNAL);
	}
	fd_raise_limit();
	if (args_parse(argc, argv, &process->args, &err) < 0) {
		return fail(&err, process->args.exit_code);
	}
	if (process->args.action == FLAGS_HELP) {
		args_print_help(stdout);
		return EXIT_CODE_OK;
	}
	if (process->args.action == FLAGS_VERSION) {
		args_print_version(stdout, argv[0]);
		return EXIT_CODE_OK;
	}
	if (process->args.check_sandbox || process->args.check_sandbox_json) {
		return check_sandbox(process);
	}
	if (is_about_snapshot(&process->args)) {
		return tell_of_snapshot(&process->args);
	}
	timeline_set_exec(&process->timeline, process->args.start_time_us);
	return live(process);
}
