/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the command line.
 *
 * Theory of operation
 *
 * The grammar is Firecracker's [compat]: `--name value`, never `--name=value`, and a value must
 * not begin with two dashes. First all arguments up to a bare `--` are matched against the table,
 * then what flags require and forbid is checked, and only then values are converted. --help and
 * --version win over any fault elsewhere on the line.
 */
#include "vmm/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/version.h"

/* Limits of --id [compat]. */
enum {
	ID_LEN_MIN = 1,
	ID_LEN_MAX = 64
};

#define MEMBER(name) offsetof(struct args, name)

static const struct args_flag flags[] = {
	{.name = "config-file",
	 .value = "PATH",
	 .help = "Boot the microVM that this JSON file describes",
	 .group = ARGS_MACHINE,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(config_file)},
	{.name = "no-api",
	 .help = "Run without an API socket; needs --config-file",
	 .group = ARGS_MACHINE,
	 .offset = MEMBER(no_api),
	 .requires = "config-file"},
	{.name = "id",
	 .value = "ID",
	 .help = "Name of the microVM in the log",
	 .group = ARGS_MACHINE,
	 .kind = ARGS_ID,
	 .offset = MEMBER(id),
	 .by_default = "anonymous-instance"},
	{.name = "boot-timer",
	 .help = "Add the device by which a guest reports that it has booted",
	 .group = ARGS_MACHINE,
	 .offset = MEMBER(boot_timer)},
	{.name = "api-sock",
	 .value = "PATH",
	 .help = "Unix socket of the API",
	 .group = ARGS_MACHINE,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(api_sock),
	 .by_default = "/run/firecracker.socket"},
	{.name = "http-api-max-payload-size",
	 .value = "BYTES",
	 .help = "Largest body of an API request",
	 .group = ARGS_MACHINE,
	 .kind = ARGS_U64,
	 .offset = MEMBER(api_payload_max),
	 .by_default = "51200"},
	{.name = "metadata",
	 .value = "PATH",
	 .help = "JSON file for the metadata service (not there yet)",
	 .group = ARGS_MACHINE,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(metadata)},
	{.name = "mmds-size-limit",
	 .value = "BYTES",
	 .help = "Largest content of the metadata service (not there yet)",
	 .group = ARGS_MACHINE,
	 .kind = ARGS_U64,
	 .offset = MEMBER(mmds_size_limit)},
	{.name = "enable-pci",
	 .help = "Virtio devices on PCI in place of MMIO",
	 .group = ARGS_MACHINE,
	 .lacking = "no PCI transport"},
	{.name = "log-path",
	 .value = "PATH",
	 .help = "File or FIFO for the log (default: standard output)",
	 .group = ARGS_LOG,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(log_path)},
	{.name = "level",
	 .value = "LEVEL",
	 .help = "Off, Error, Warn, Info, Debug or Trace",
	 .group = ARGS_LOG,
	 .kind = ARGS_LEVEL,
	 .offset = MEMBER(level),
	 .by_default = "Info"},
	{.name = "module",
	 .value = "PREFIX",
	 .help = "Log only what comes from source files whose path begins so",
	 .group = ARGS_LOG,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(module)},
	{.name = "show-level",
	 .help = "Show the level in each line of the log",
	 .group = ARGS_LOG,
	 .offset = MEMBER(show_level)},
	{.name = "show-log-origin",
	 .help = "Show source file and line in each line of the log",
	 .group = ARGS_LOG,
	 .offset = MEMBER(show_log_origin)},
	{.name = "metrics-path",
	 .value = "PATH",
	 .help = "File or FIFO for the metrics",
	 .group = ARGS_LOG,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(metrics_path)},
	{.name = "no-seccomp",
	 .help = "Install no system call filters",
	 .group = ARGS_ISOLATION,
	 .offset = MEMBER(no_seccomp),
	 .forbids = "seccomp-filter"},
	{.name = "seccomp-filter",
	 .value = "PATH",
	 .help = "System call filters in place of the built-in ones",
	 .group = ARGS_ISOLATION,
	 .kind = ARGS_TEXT,
	 .offset = MEMBER(seccomp_filter)},
	{.name = "landlock",
	 .help = "Once started, let the microVM's threads open only its drives",
	 .group = ARGS_ISOLATION,
	 .offset = MEMBER(landlock)},
	{.name = "start-time-us",
	 .value = "US",
	 .help = "Monotonic time at which the jailer started",
	 .group = ARGS_ISOLATION,
	 .kind = ARGS_U64,
	 .offset = MEMBER(start_time_us)},
	{.name = "start-time-cpu-us",
	 .value = "US",
	 .help = "CPU time at which the jailer started squib",
	 .group = ARGS_ISOLATION,
	 .kind = ARGS_U64,
	 .offset = MEMBER(start_time_cpu_us)},
	{.name = "parent-cpu-time-us",
	 .value = "US",
	 .help = "CPU time that the jailer used",
	 .group = ARGS_ISOLATION,
	 .kind = ARGS_U64,
	 .offset = MEMBER(parent_cpu_time_us)},
	{.name = "snapshot-version",
	 .help = "Print the version of the snapshot format",
	 .group = ARGS_INFO,
	 .lacking = "no snapshots"},
	{.name = "describe-snapshot",
	 .value = "PATH",
	 .help = "Print the version of a snapshot file",
	 .group = ARGS_INFO,
	 .lacking = "no snapshots"},
	{.name = "check-sandbox",
	 .help = "Print what would hold this process in, and exit",
	 .group = ARGS_INFO,
	 .offset = MEMBER(check_sandbox),
	 .forbids = "check-sandbox-json"},
	{.name = "check-sandbox-json",
	 .help = "The same as JSON",
	 .group = ARGS_INFO,
	 .offset = MEMBER(check_sandbox_json)},
	{.name = "help", .help = "Print this text and exit (also -h)", .group = ARGS_INFO},
	{.name = "version", .help = "Print the version and exit", .group = ARGS_INFO},
};

enum {
	FLAG_COUNT = ARRAY_COUNT(flags)
};

const struct args_flag *args_flags(size_t *count)
{
	*count = FLAG_COUNT;
	return flags;
}

/* The index of the flag called `name`, FLAG_COUNT if there is none. */
static size_t find_flag(const char *name)
{
	size_t i = 0;

	while (i < FLAG_COUNT && strcmp(flags[i].name, name) != 0) {
		i++;
	}
	return i;
}

/* --- Matching: argv to given[], which has the text of each flag's value, "" for switches --- */

static int match(int argc, char *const argv[], const char *given[FLAG_COUNT], struct error *err)
{
	for (int i = 1; i < argc; i++) {
		bool is_flag = strncmp(argv[i], "--", 2) == 0;
		const char *name = is_flag ? argv[i] + 2 : argv[i];
		size_t flag = is_flag ? find_flag(name) : FLAG_COUNT;

		if (flag == FLAG_COUNT) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Found argument '%s' which wasn't expected, or isn't "
					 "valid in this context.",
					 name);
		}
		if (given[flag] != NULL) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The argument '%s' was provided more than once.", name);
		}
		given[flag] = "";
		if (flags[flag].value == NULL) {
			continue;
		}
		i++;
		if (i >= argc || strncmp(argv[i], "--", 2) == 0) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"The argument '%s' requires a value, but none was supplied.", name);
		}
		given[flag] = argv[i];
	}
	return 0;
}

static int check_combination(const char *const given[FLAG_COUNT], struct error *err)
{
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const struct args_flag *flag = &flags[i];

		if (given[i] == NULL) {
			continue;
		}
		if (flag->requires != NULL && given[find_flag(flag->requires)] == NULL) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Argument '%s' required, but not found.", flag->requires);
		}
		if (flag->forbids != NULL && given[find_flag(flag->forbids)] != NULL) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Argument '%s' cannot be used together with argument "
					 "'%s'.",
					 flag->forbids, flag->name);
		}
	}
	return 0;
}

static int check_supported(const char *const given[FLAG_COUNT], struct error *err)
{
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		if (given[i] != NULL && flags[i].lacking != NULL) {
			return error_set(err, ERR_NOT_SUPPORTED,
					 "This build of squib has %s yet: leave out --%s",
					 flags[i].lacking, flags[i].name);
		}
	}
	return 0;
}

/* --- Values --- */

static bool is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-';
}

static int check_id(const char *id, struct error *err)
{
	size_t len = strlen(id);

	if (len < ID_LEN_MIN || len > ID_LEN_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid instance ID: Invalid len (%zu);  the length must be "
				 "between %d and %d",
				 len, ID_LEN_MIN, ID_LEN_MAX);
	}
	for (size_t i = 0; i < len; i++) {
		if (!is_id_char(id[i])) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Invalid instance ID: Invalid char (%c) at position %zu",
					 id[i], i);
		}
	}
	return 0;
}

static bool parse_u64(const char *text, uint64_t *value)
{
	char *end = NULL;

	/* strtoull takes signs and white space too. */
	if (*text < '0' || *text > '9') {
		return false;
	}
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

/* Each kind fails with a status of its own: see vmm/exitcode.h. */
static int store(const struct args_flag *flag, const char *text, struct args *args,
		 struct error *err)
{
	void *member = (char *)args + flag->offset;

	switch (flag->kind) {
	case ARGS_SWITCH:
		*(bool *)member = true;
		break;
	case ARGS_TEXT:
		*(const char **)member = text;
		break;
	case ARGS_ID:
		args->exit_code = EXIT_CODE_PANIC;
		if (check_id(text, err) < 0) {
			return -1;
		}
		*(const char **)member = text;
		break;
	case ARGS_LEVEL:
		args->exit_code = EXIT_CODE_BAD_CONFIGURATION;
		if (!log_level_parse(text, (enum log_level *)member)) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Invalid value for logger level: %s.Possible values: "
					 "[Error, Warning, Info, Debug]",
					 text);
		}
		break;
	case ARGS_U64:
		args->exit_code = EXIT_CODE_PANIC;
		if (!parse_u64(text, (uint64_t *)member)) {
			return error_set(err, ERR_BAD_REQUEST,
					 "'%s' parameter expected to be of 'u64' type.",
					 flag->name);
		}
		break;
	}
	return 0;
}

static int convert(const char *const given[FLAG_COUNT], struct args *args, struct error *err)
{
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const char *text = given[i] != NULL ? given[i] : flags[i].by_default;

		if (text != NULL && flags[i].lacking == NULL &&
		    store(&flags[i], text, args, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- Public --- */

static bool has_arg(int argc, char *const argv[], const char *arg)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], arg) == 0) {
			return true;
		}
	}
	return false;
}

/* How many of argv count: up to a bare `--`. */
static int args_end(int argc, char *const argv[])
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			return i;
		}
	}
	return argc;
}

int args_parse(int argc, char *const argv[], struct args *args, struct error *err)
{
	const char *given[FLAG_COUNT] = {0};
	int end = args_end(argc, argv);

	*args = (struct args){.exit_code = EXIT_CODE_ARGUMENTS};
	if (has_arg(end, argv, "--help") || has_arg(end, argv, "-h")) {
		args->action = ARGS_HELP;
		return convert(given, args, err);
	}
	if (has_arg(end, argv, "--version")) {
		args->action = ARGS_VERSION;
		return convert(given, args, err);
	}
	if (match(end, argv, given, err) < 0 || check_combination(given, err) < 0) {
		char msg[ERROR_MSG_LEN];

		/* [compat] With the space before the line feeds. */
		(void)!snprintf(msg, sizeof(msg), "%s", err->msg);
		error_clear(err);
		return error_set(err, ERR_BAD_REQUEST,
				 "Arguments parsing error: %.400s \n\nFor more information try "
				 "--help.",
				 msg);
	}
	if (check_supported(given, err) < 0) {
		return -1;
	}
	return convert(given, args, err);
}

void args_print_help(FILE *out)
{
	static const char *const titles[ARGS_GROUP_COUNT + 1] = {
		[ARGS_MACHINE] = "The microVM:",
		[ARGS_LOG] = "Log and metrics:",
		[ARGS_ISOLATION] = "Isolation (the jailer passes the times):",
		[ARGS_INFO] = "Information:",
		[ARGS_GROUP_COUNT] = "Known, but not in this build yet:",
	};

	fprintf(out, "squib v%s: runs a microVM on KVM\n\nUsage: squib [FLAGS]\n", SQUIB_VERSION);
	for (size_t group = 0; group < ARRAY_COUNT(titles); group++) {
		fprintf(out, "\n%s\n", titles[group]);
		for (size_t i = 0; i < FLAG_COUNT; i++) {
			const struct args_flag *flag = &flags[i];
			size_t shown_in = flag->lacking != NULL ? ARGS_GROUP_COUNT : flag->group;
			char left[64];

			if (shown_in != group) {
				continue;
			}
			snprintf(left, sizeof(left), "--%s%s%s", flag->name,
				 flag->value != NULL ? " " : "",
				 flag->value != NULL ? flag->value : "");
			fprintf(out, "  %-34s%s", left, flag->help);
			if (flag->by_default != NULL) {
				fprintf(out, " (default: %s)", flag->by_default);
			}
			fputc('\n', out);
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
