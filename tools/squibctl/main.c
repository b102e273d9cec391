/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl: controls a microVM through squib's API socket. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/doctor/doctor.h"
#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_body.h"
#include "tools/squibctl/ctl_complete.h"
#include "tools/squibctl/ctl_fork.h"
#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_machines.h"
#include "tools/squibctl/ctl_mem.h"
#include "tools/squibctl/ctl_metadata.h"
#include "tools/squibctl/ctl_overlay.h"
#include "tools/squibctl/ctl_plug.h"
#include "tools/squibctl/ctl_pool.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_session.h"
#include "tools/squibctl/ctl_snapshot.h"
#include "tools/squibctl/ctl_target.h"
#include "tools/squibctl/ctl_user_ns.h"
#include "tools/squibctl/ctl_volume.h"
#include "vmm/base/fd.h"
#include "vmm/version.h"

/* --- What commands show --- */

static enum ctl_exit print_status(int fd, const char *instance_text)
{
	struct ctl_reply machine_reply = {0};
	enum ctl_exit code = ctl_request(fd, "GET", "/machine-config", NULL, &machine_reply);

	if (code != CTL_EXIT_OK) {
		return code;
	}
	json_t *instance = json_loads(instance_text, 0, NULL);
	json_t *machine = json_loads(machine_reply.body != NULL ? machine_reply.body : "", 0, NULL);
	const char *id = "?";
	const char *state = "?";
	const char *version = "?";
	json_int_t vcpus = 0;
	json_int_t mem_mib = 0;

	if (json_unpack(instance, "{s:s, s:s, s:s}", "id", &id, "state", &state, "vmm_version",
			&version) < 0 ||
	    json_unpack(machine, "{s:I, s:I}", "vcpu_count", &vcpus, "mem_size_mib", &mem_mib) <
		    0) {
		code = ctl_fail(
			CTL_EXIT_NO_CONNECTION,
			"The answers on the socket are not squib's; is this its API socket?", NULL);
	} else {
		printf("id       %s\nstate    %s\nversion  %s\nvCPUs    %lld\nmemory   %lld MiB\n",
		       id, state, version, (long long)vcpus, (long long)mem_mib);
	}
	json_decref(instance);
	json_decref(machine);
	free(machine_reply.body);
	return code;
}

static enum ctl_exit wait_end(int fd)
{
	struct error err = {0};

	puts("waiting for squib to end");
	fflush(stdout);
	if (ctl_http_wait_end(fd, &err) < 0) {
		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg, NULL);
	}
	puts("ended");
	return CTL_EXIT_OK;
}

static enum ctl_exit show(int fd, const struct ctl_args *args, const struct ctl_reply *reply)
{
	switch (args->command->output) {
	case CTL_PRINT_STATUS:
		return print_status(fd, reply->body != NULL ? reply->body : "");
	case CTL_PRINT_DONE:
		puts(args->command->done);
		return args->waits ? wait_end(fd) : CTL_EXIT_OK;
	case CTL_PRINT_STEPS:
	case CTL_PRINT_CHILDREN:
	case CTL_PRINT_METADATA:
	case CTL_PRINT_MEMORY:
	case CTL_PRINT_PLUGGED:
	case CTL_PRINT_OVERLAY:
	case CTL_PRINT_POOL:
	case CTL_PRINT_MACHINE:
	case CTL_PRINT_HOST:
		break;
	case CTL_PRINT_BODY:
		if (reply->body != NULL) {
			ctl_print_body(reply->body, args->is_raw);
		}
		return CTL_EXIT_OK;
	}
	return CTL_EXIT_OK;
}

static enum ctl_exit look_at_host(const struct ctl_args *args)
{
	char path[PATH_MAX];
	struct error ignored = {0};
	AUTO_FREE char *kernel = ctl_run_kernel(args, &ignored);
	const struct doctor_plan plan = {
		.squib = process_own_squib(path),
		.kernel = kernel,
		.virtiofsd = ctl_volumes_program(),
		.has_user_namespaces = geteuid() == 0 || ctl_user_ns_is_allowed(),
	};

	return doctor(&plan, args->run.json) == 0 ? CTL_EXIT_OK : CTL_EXIT_REFUSED;
}

static enum ctl_exit run(const struct ctl_args *args)
{
	const struct ctl_command *command = args->command;
	const char *path = command->path != NULL ? command->path : args->operands[0];
	AUTO_FREE char *body = NULL;
	AUTO_FD fd = -1;
	struct ctl_reply reply = {0};
	struct error err = {0};
	const char *word = command->path != NULL ? command->body : args->operands[1];

	if (command->output == CTL_PRINT_OVERLAY) {
		return ctl_overlay_run(args);
	}
	if (command->output == CTL_PRINT_POOL) {
		return ctl_pool_run(args);
	}
	if (command->output == CTL_PRINT_HOST) {
		return look_at_host(args);
	}
	if (word != NULL && ctl_read_body(word, &body, &err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	if (ctl_http_connect(args->socket, &fd, &err) < 0) {
		bool is_default = strcmp(args->socket, CTL_SOCKET_DEFAULT) == 0;

		return ctl_fail(CTL_EXIT_NO_CONNECTION, err.msg,
				is_default && command->output == CTL_PRINT_CHILDREN
					? "a word with a slash is a directory for children of that "
					  "squib; a machine is forked by its name alone"
					: NULL);
	}
	if (command->output == CTL_PRINT_STEPS) {
		return ctl_snapshot_run(fd, args);
	}
	if (command->output == CTL_PRINT_CHILDREN) {
		return ctl_fork_run(fd, args);
	}
	if (command->output == CTL_PRINT_METADATA) {
		return ctl_metadata_run(fd, args);
	}
	if (command->output == CTL_PRINT_MEMORY) {
		return ctl_mem_run(fd, args);
	}
	if (command->output == CTL_PRINT_PLUGGED) {
		return ctl_plug_run(fd, args);
	}
	enum ctl_exit code = ctl_request(fd, command->method, path, body, &reply);

	if (code == CTL_EXIT_OK) {
		code = show(fd, args, &reply);
	}
	free(reply.body);
	return code;
}

/* The same on the squib that the options mean. */
static enum ctl_exit run_on(struct ctl_args *args)
{
	struct ctl_target target = {0};
	struct error err = {0};
	enum ctl_exit code = ctl_target_find(args, &target, &err) < 0
				     ? ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL)
				     : run(args);

	if (code == CTL_EXIT_OK) {
		ctl_target_done(args, &target);
	}
	ctl_target_close(&target);
	return code;
}

/* What was printed must have got there: a list that is cut off is no success. */
static int end(const struct ctl_args *args, int status)
{
	bool is_written = fflush(stdout) == 0 && ferror(stdout) == 0;

	if (is_written || status != CTL_EXIT_OK) {
		return status;
	}
	fprintf(stderr, "squibctl: Cannot write to standard output: %s\n", strerror(errno));
	return args->command != NULL && args->command->passes_on ? STATUS_OURS : CTL_EXIT_REFUSED;
}

int main(int argc, char **argv)
{
	struct ctl_args args;
	struct error err = {0};

	/* A descriptor of ours must not be taken for one of those that are closed. */
	if (fd_open_standard(&err) < 0) {
		return ctl_fail(CTL_EXIT_USAGE, err.msg, NULL);
	}
	/* What the shells' completions call, and no person: tools/completion. */
	if (argc > 1 && strcmp(argv[1], "__complete") == 0) {
		ctl_complete(argc - 2, argv + 2, stdout);
		return CTL_EXIT_OK;
	}
	if (ctl_args_parse(argc, argv, &args, &err) < 0) {
		bool runs = args.command != NULL && args.command->passes_on;

		(void)ctl_fail(CTL_EXIT_USAGE, err.msg, "see squibctl --help");
		return runs ? STATUS_OURS : CTL_EXIT_USAGE;
	}
	if (args.wants_help && args.command != NULL) {
		ctl_print_command_help(args.command, stdout);
		return end(&args, CTL_EXIT_OK);
	}
	if (args.wants_help) {
		ctl_print_help(stdout);
		return end(&args, CTL_EXIT_OK);
	}
	if (args.wants_version) {
		puts("squibctl v" SQUIB_VERSION);
		return CTL_EXIT_OK;
	}
	return end(&args, ctl_machines_has(&args) ? ctl_machines_run(&args) : (int)run_on(&args));
}
