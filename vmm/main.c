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
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "api/config_file.h"
#include "api/router.h"
#include "api/server.h"
#include "arch/arch.h"
#include "seccomp/filter.h"
#include "vmm/args.h"
#include "vmm/base/bytes.h"
#include "vmm/base/evloop.h"
#include "vmm/base/fd.h"
#include "vmm/base/json.h"
#include "vmm/base/log.h"
#include "vmm/base/mailbox.h"
#include "vmm/controller.h"
#include "vmm/exitcode.h"
#include "vmm/landlock.h"
#include "vmm/sandbox.h"
#include "vmm/signals.h"
#include "vmm/version.h"

/* Everything in the process that is not on a thread of its own. */
struct process {
	struct args args;
	struct timeline timeline;
	struct telemetry telemetry;
	struct filter_set filters;
	struct landlock landlock;
	struct evloop loop;
	struct controller controller;
	struct ev_source requests; /* SIGUSR1 */
	struct mailbox mailbox;
	struct router router;
	struct api_server *server;
	enum exit_code exit_code; /* of a failure */
};

enum {
	METADATA_MAX = 1 << 20
};

static void on_request(struct ev_source *source, uint32_t ready)
{
	struct process *process = container_of(source, struct process, requests);
	struct action action = {.kind = ACTION_CTRL_ALT_DEL};
	struct signalfd_siginfo info;
	struct error err = {0};

	(void)ready;
	if (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
	    controller_execute(&process->controller, &action, &err) < 0) {
		log_warn("SIGUSR1: %s", err.msg);
	}
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
	return metrics_configure(&process->telemetry.metrics, &config, err);
}

/* An action on its way from the API thread to the VMM thread and back. */
struct letter {
	struct action *action;
	struct error *err;
	int result;
};

static void answer(void *arg, void *request)
{
	struct letter *letter = request;

	letter->result = controller_execute(arg, letter->action, letter->err);
}

/* The API thread's action_fn. */
static int ask(void *arg, struct action *action, struct error *err)
{
	struct letter letter = {.action = action, .err = err};

	if (mailbox_ask(arg, &letter) < 0) {
		return error_set(err, ERR_BAD_STATE, "The microVM is shutting down.");
	}
	return letter.result;
}

/* Read before any thread starts, so that a file that is no good is told like any other argument. */
static int load_filters(struct process *process, struct error *err)
{
	const char *path = process->args.seccomp_filter;
	int result = 0;

	if (path != NULL) {
		result = filter_set_load(path, &process->filters, err);
	} else if (!process->args.no_seccomp) {
		result = filter_set_default(&process->filters, err);
	}
	return result < 0 ? error_wrap(err, "Seccomp error") : 0;
}

static void confine_api(void *arg)
{
	const struct process *process = arg;
	struct error err = {0};

	if (landlock_confine(&process->landlock, &err) < 0 ||
	    filter_install(&process->filters, FILTER_API, &err) < 0) {
		/* Nobody may talk to a thread that is not held in. */
		log_error("%s", err.msg);
		_exit(EXIT_CODE_PANIC);
	}
}

static int start_api(struct process *process, struct error *err)
{
	struct api_server_config config = {
		.path = process->args.api_sock,
		.payload_max = process->args.api_payload_max,
		.handler = router_handle,
		.arg = &process->router,
		.confine = confine_api,
		.confine_arg = process,
	};

	process->router = (struct router){
		.execute = ask,
		.arg = &process->mailbox,
		.arch = arch_name,
		.api = &process->telemetry.api,
		.metrics = &process->telemetry.metrics,
	};
	if (mailbox_init(&process->mailbox, &process->loop, answer, &process->controller, err) <
		    0 ||
	    api_server_new(&config, &process->server, err) < 0) {
		return -1;
	}
	if (api_server_start(process->server, err) < 0) {
		return -1;
	}
	telemetry_set_started(&process->telemetry, &process->args);
	return 0;
}

/*
 * The metadata must be readable and JSON already, though nobody serves it yet. [compat] The
 * upstream process panics over it, hence the exit code.
 */
static int check_metadata(struct process *process, struct error *err)
{
	const char *path = process->args.metadata;
	AUTO_FREE char *text = NULL;
	struct json_doc doc = {0};
	size_t len;

	if (path == NULL) {
		return 0;
	}
	process->exit_code = EXIT_CODE_PANIC;
	if (read_file(path, "The metadata", METADATA_MAX, &text, &len, err) < 0) {
		return error_wrap(err, "Unable to open or read from the mmds content file");
	}
	if (json_doc_load(text, len, "Invalid JSON", &doc, err) < 0) {
		return error_wrap(err, "MMDS error: metadata provided not valid json");
	}
	json_doc_free(&doc);
	process->exit_code = EXIT_CODE_GENERIC;
	log_warn("This build of squib has no metadata service yet: --metadata is not served.");
	return 0;
}

static int boot_from_file(struct process *process, struct error *err)
{
	struct action start = {.kind = ACTION_START};

	if (process->args.config_file == NULL) {
		return 0;
	}
	if (config_file_load(process->args.config_file, controller_execute, &process->controller,
			     err) < 0) {
		return -1;
	}
	if (controller_execute(&process->controller, &start, err) < 0) {
		return error_wrap(err, "Could not Start MicroVM from one single json");
	}
	log_info("Successfully started microvm that was configured from one single json");
	return 0;
}

static int run(struct process *process, struct error *err)
{
	struct controller *controller = &process->controller;

	if (configure_log(&process->args, err) < 0) {
		return -1;
	}
	telemetry_init(&process->telemetry);
	signals_set_telemetry(&process->telemetry);
	log_info("Running Firecracker-compatible squib v" SQUIB_VERSION);
	if (signals_setup(err) < 0 || evloop_init(&process->loop, err) < 0) {
		return -1;
	}
	controller->loop = &process->loop;
	controller->timeline = &process->timeline;
	controller->id = process->args.id;
	controller->telemetry = &process->telemetry;
	controller->filters = &process->filters;
	controller->landlock = &process->landlock;
	controller->has_boot_timer = process->args.boot_timer;
	controller_init(controller);
	process->requests.fn = on_request;
	if (signals_open_requests(&process->requests.fd, err) < 0 ||
	    ev_add(&process->loop, &process->requests, EPOLLIN, err) < 0 ||
	    configure_metrics(process, err) < 0 || load_filters(process, err) < 0 ||
	    (process->args.landlock && landlock_init(&process->landlock, err) < 0) ||
	    check_metadata(process, err) < 0 ||
	    (!process->args.no_api && start_api(process, err) < 0) ||
	    boot_from_file(process, err) < 0 || evloop_run(&process->loop, err) < 0) {
		return -1;
	}
	return controller_result(controller, err);
}

static enum exit_code fail(const struct error *err, enum exit_code code)
{
	log_error("%s", err->msg);
	log_error("squib exiting with error. exit_code=%d", (int)code);
	fprintf(stderr, "Error: %s\n", err->msg);
	return code;
}

/* Instead of a run: what would hold it in, with these arguments. */
static enum exit_code check_sandbox(struct process *process)
{
	static struct sandbox sandbox;
	struct sandbox_plan plan = {
		.filters = &process->filters,
		.filters_path = process->args.seccomp_filter,
		.landlock = process->args.landlock,
	};
	struct error err = {0};

	if (load_filters(process, &err) < 0) {
		return fail(&err, EXIT_CODE_GENERIC);
	}
	sandbox_collect(&plan, &sandbox);
	filter_set_free(&process->filters);
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

static void destroy(struct process *process)
{
	mailbox_close(&process->mailbox);
	api_server_stop(process->server);
	api_server_free(process->server);
	mailbox_destroy(&process->mailbox);
	controller_destroy(&process->controller);
	signals_set_telemetry(NULL);
	telemetry_destroy(&process->telemetry);
	fd_close(&process->requests.fd);
	evloop_destroy(&process->loop);
	filter_set_free(&process->filters);
	landlock_destroy(&process->landlock);
}

static void prepare_libraries(void)
{
	size_t seed;

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
	timeline_set_exec(&process->timeline, process->args.start_time_us);
	process->requests.fd = -1;
	process->exit_code = EXIT_CODE_GENERIC;
	int result = run(process, &err);

	destroy(process);
	if (result < 0) {
		return fail(&err, process->exit_code);
	}
	log_info("squib exiting successfully. exit_code=0");
	return EXIT_CODE_OK;
}
