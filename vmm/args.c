/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: its flags, for vmm/base/flags.c, and its texts. */
#include "vmm/args.h"

#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/version.h"

enum args_group {
	ARGS_MACHINE,
	ARGS_LOG,
	ARGS_ISOLATION,
	ARGS_INFO,
	ARGS_GROUP_COUNT
};

/* --- Values: each kind fails with a status of its own, see vmm/base/exitcode.h --- */

static int store_id(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct args *args = out;

	args->exit_code = EXIT_CODE_PANIC;
	return flag_store_id(flag, text, out, err);
}

static int store_u64(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct args *args = out;

	args->exit_code = EXIT_CODE_PANIC;
	return flag_store_u64(flag, text, out, err);
}

static int store_level(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct args *args = out;

	(void)flag;
	args->exit_code = EXIT_CODE_BAD_CONFIGURATION;
	if (!log_level_parse(text, &args->level)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid value for logger level: %s.Possible values: "
				 "[Error, Warning, Info, Debug]",
				 text);
	}
	return 0;
}

/* --- The table --- */

#define MEMBER(name) offsetof(struct args, name)

static const struct flag flags[] = {
	{.name = "config-file",
	 .value = "PATH",
	 .help = "Boot the microVM that this JSON file describes",
	 .group = ARGS_MACHINE,
	 .store = flag_store_text,
	 .offset = MEMBER(config_file)},
	{.name = "no-api",
	 .help = "Run without an API socket; needs --config-file",
	 .group = ARGS_MACHINE,
	 .store = flag_store_switch,
	 .offset = MEMBER(no_api),
	 .requires = "config-file"},
	{.name = "id",
	 .value = "ID",
	 .help = "Name of the microVM in the log",
	 .group = ARGS_MACHINE,
	 .store = store_id,
	 .offset = MEMBER(id),
	 .by_default = "anonymous-instance"},
	{.name = "boot-timer",
	 .help = "Add the device by which a guest reports that it has booted",
	 .group = ARGS_MACHINE,
	 .store = flag_store_switch,
	 .offset = MEMBER(boot_timer)},
	{.name = "api-sock",
	 .value = "PATH",
	 .help = "Unix socket of the API",
	 .group = ARGS_MACHINE,
	 .store = flag_store_text,
	 .offset = MEMBER(api_sock),
	 .by_default = "/run/firecracker.socket"},
	{.name = "http-api-max-payload-size",
	 .value = "BYTES",
	 .help = "Largest body of an API request",
	 .group = ARGS_MACHINE,
	 .store = store_u64,
	 .offset = MEMBER(api_payload_max),
	 .by_default = "51200"},
	{.name = "metadata",
	 .value = "PATH",
	 .help = "JSON file with the first data of the metadata service",
	 .group = ARGS_MACHINE,
	 .store = flag_store_text,
	 .offset = MEMBER(metadata)},
	{.name = "mmds-size-limit",
	 .value = "BYTES",
	 .help = "Largest data of the metadata service, as JSON text",
	 .group = ARGS_MACHINE,
	 .store = store_u64,
	 .offset = MEMBER(mmds_size_limit)},
	{.name = "enable-pci",
	 .help = "Give the microVM a PCI bus, and put its virtio devices on it",
	 .group = ARGS_MACHINE,
	 .store = flag_store_switch,
	 .offset = MEMBER(enable_pci)},
	{.name = "gdb-socket",
	 .value = "PATH",
	 .help = "Unix socket at which gdb can debug the guest",
	 .group = ARGS_MACHINE,
	 .store = flag_store_text,
	 .offset = MEMBER(gdb_socket)},
	{.name = "log-path",
	 .value = "PATH",
	 .help = "File or FIFO for the log (default: standard output)",
	 .group = ARGS_LOG,
	 .store = flag_store_text,
	 .offset = MEMBER(log_path)},
	{.name = "level",
	 .value = "LEVEL",
	 .help = "Off, Error, Warn, Info, Debug or Trace",
	 .group = ARGS_LOG,
	 .store = store_level,
	 .by_default = "Info"},
	{.name = "module",
	 .value = "PREFIX",
	 .help = "Log only these source files, or modules of Firecracker",
	 .group = ARGS_LOG,
	 .store = flag_store_text,
	 .offset = MEMBER(module)},
	{.name = "show-level",
	 .help = "Show the level in each line of the log",
	 .group = ARGS_LOG,
	 .store = flag_store_switch,
	 .offset = MEMBER(show_level)},
	{.name = "show-log-origin",
	 .help = "Show source file and line in each line of the log",
	 .group = ARGS_LOG,
	 .store = flag_store_switch,
	 .offset = MEMBER(show_log_origin)},
	{.name = "metrics-path",
	 .value = "PATH",
	 .help = "File or FIFO for the metrics",
	 .group = ARGS_LOG,
	 .store = flag_store_text,
	 .offset = MEMBER(metrics_path)},
	{.name = "no-seccomp",
	 .help = "Install no system call filters",
	 .group = ARGS_ISOLATION,
	 .store = flag_store_switch,
	 .offset = MEMBER(no_seccomp),
	 .forbids = "seccomp-filter"},
	{.name = "seccomp-filter",
	 .value = "PATH",
	 .help = "System call filters in place of the built-in ones",
	 .group = ARGS_ISOLATION,
	 .store = flag_store_text,
	 .offset = MEMBER(seccomp_filter)},
	{.name = "landlock",
	 .help = "Once started, let the microVM's threads open only its drives",
	 .group = ARGS_ISOLATION,
	 .store = flag_store_switch,
	 .offset = MEMBER(landlock)},
	{.name = "start-time-us",
	 .value = "US",
	 .help = "Monotonic time at which the jailer started",
	 .group = ARGS_ISOLATION,
	 .store = store_u64,
	 .offset = MEMBER(start_time_us)},
	{.name = "start-time-cpu-us",
	 .value = "US",
	 .help = "CPU time at which the jailer started squib",
	 .group = ARGS_ISOLATION,
	 .store = store_u64,
	 .offset = MEMBER(start_time_cpu_us)},
	{.name = "parent-cpu-time-us",
	 .value = "US",
	 .help = "CPU time that the jailer used",
	 .group = ARGS_ISOLATION,
	 .store = store_u64,
	 .offset = MEMBER(parent_cpu_time_us)},
	{.name = "snapshot-version",
	 .help = "Print the version of the snapshot format and exit",
	 .group = ARGS_INFO,
	 .store = flag_store_switch,
	 .offset = MEMBER(snapshot_version)},
	{.name = "describe-snapshot",
	 .value = "PATH",
	 .help = "Print what a snapshot's state file has, and exit",
	 .group = ARGS_INFO,
	 .store = flag_store_text,
	 .offset = MEMBER(describe_snapshot),
	 .forbids = "describe-snapshot-json"},
	{.name = "describe-snapshot-json",
	 .value = "PATH",
	 .help = "The same as JSON",
	 .group = ARGS_INFO,
	 .store = flag_store_text,
	 .offset = MEMBER(describe_snapshot_json)},
	{.name = "explain",
	 .value = "PATH",
	 .help = "Say whether a snapshot's state file loads here, and exit",
	 .group = ARGS_INFO,
	 .store = flag_store_text,
	 .offset = MEMBER(explain)},
	{.name = "check-sandbox",
	 .help = "Print what would hold this process in, and exit",
	 .group = ARGS_INFO,
	 .store = flag_store_switch,
	 .offset = MEMBER(check_sandbox),
	 .forbids = "check-sandbox-json"},
	{.name = "check-sandbox-json",
	 .help = "The same as JSON",
	 .group = ARGS_INFO,
	 .store = flag_store_switch,
	 .offset = MEMBER(check_sandbox_json)},
	{.name = "help", .help = "Print this text and exit (also -h)", .group = ARGS_INFO},
	{.name = "version", .help = "Print the version and exit", .group = ARGS_INFO},
};

enum {
	FLAG_COUNT = ARRAY_COUNT(flags)
};

const struct flag *args_flags(size_t *count)
{
	*count = FLAG_COUNT;
	return flags;
}

/* --- Public --- */

int args_parse(int argc, char *const argv[], struct args *args, struct error *err)
{
	struct flags_line line = {
		.flags = flags, .flag_count = FLAG_COUNT, .argc = argc, .argv = argv};

	*args = (struct args){.action = flags_begin(&line),
			      .exit_code = EXIT_CODE_ARGUMENTS,
			      .mmds_size_limit = UINT64_MAX};
	if (args->action != FLAGS_RUN) {
		return 0;
	}
	if (flags_match(&line, err) < 0) {
		char msg[ERROR_MSG_LEN];

		/* [compat] With the space before the line feeds. */
		(void)!snprintf(msg, sizeof(msg), "%s", err->msg);
		error_clear(err);
		return error_set(err, ERR_BAD_REQUEST,
				 "Arguments parsing error: %.400s \n\nFor more information try "
				 "--help.",
				 msg);
	}
	return flags_store(&line, args, err);
}

void args_print_help(FILE *out)
{
	static const char *const titles[ARGS_GROUP_COUNT] = {
		[ARGS_MACHINE] = "The microVM:",
		[ARGS_LOG] = "Log and metrics:",
		[ARGS_ISOLATION] = "Isolation (the jailer passes the times):",
		[ARGS_INFO] = "Information:",
	};

	fprintf(out, "squib v%s: runs a microVM on KVM\n\nUsage: squib [FLAGS]\n", SQUIB_VERSION);
	for (size_t group = 0; group < ARRAY_COUNT(titles); group++) {
		fprintf(out, "\n%s\n", titles[group]);
		for (size_t i = 0; i < FLAG_COUNT; i++) {
			if (flags[i].group == group) {
				flag_print(&flags[i], 34, out);
			}
		}
	}
	fputs("\nExamples:\n"
	      "  squib --no-api --config-file vm.json\n"
	      "  squib --no-api --config-file vm.json --id web-1 --log-path web-1.log --level "
	      "Debug\n"
	      "\nMore: man squib; docs/config-file.md describes the configuration file.\n",
	      out);
}

void args_print_version(FILE *out, const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash != NULL ? slash + 1 : program;

	if (strncmp(name, "firecracker", strlen("firecracker")) == 0) {
		fprintf(out, "Firecracker v%s\n\n", SQUIB_VERSION);
	} else {
		fprintf(out, "squib v%s\n", SQUIB_VERSION);
	}
}
