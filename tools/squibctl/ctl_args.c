/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's command line: tables of commands, options and hints. */
#include "tools/squibctl/ctl_args.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/flags.h"

static const struct ctl_command commands[] = {
	{.name = "status",
	 .operands = "",
	 .help = "Show name, state, version, vCPUs and memory of the microVM",
	 .output = CTL_PRINT_STATUS,
	 .method = "GET",
	 .path = "/"},
	{.name = "start",
	 .operands = "",
	 .help = "Boot the microVM that has been configured",
	 .output = CTL_PRINT_DONE,
	 .method = "PUT",
	 .path = "/actions",
	 .body = "{\"action_type\":\"InstanceStart\"}",
	 .done = "started"},
	{.name = "pause",
	 .operands = "",
	 .help = "Stop all vCPUs",
	 .output = CTL_PRINT_DONE,
	 .method = "PATCH",
	 .path = "/vm",
	 .body = "{\"state\":\"Paused\"}",
	 .done = "paused"},
	{.name = "resume",
	 .operands = "",
	 .help = "Let the vCPUs go on",
	 .output = CTL_PRINT_DONE,
	 .method = "PATCH",
	 .path = "/vm",
	 .body = "{\"state\":\"Resumed\"}",
	 .done = "resumed"},
	{.name = "run",
	 .operands = "IMAGE [COMMAND...]",
	 .help = "Run a command in a new machine, made of an image",
	 .operands_min = 1,
	 .operands_max = 1,
	 .passes_on = true,
	 .output = CTL_PRINT_MACHINE},
	{.name = "pull",
	 .operands = "IMAGE",
	 .help = "Fetch an image and make its disk, anew where it comes from a registry",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_MACHINE},
	{.name = "exec",
	 .operands = "NAME COMMAND...",
	 .help = "Run one more command in a machine that runs",
	 .operands_min = 1,
	 .operands_max = 1,
	 .passes_on = true,
	 .output = CTL_PRINT_MACHINE},
	{.name = "ps",
	 .operands = "",
	 .help = "List the machines that run",
	 .output = CTL_PRINT_MACHINE},
	{.name = "logs",
	 .operands = "NAME",
	 .help = "Show what a machine's command has printed",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_MACHINE},
	{.name = "kill",
	 .operands = "NAME",
	 .help = "Send a signal to a machine's command (KILL)",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_MACHINE},
	{.name = "wait",
	 .operands = "NAME",
	 .help = "Wait for a machine's end, and show its exit status",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_MACHINE},
	{.name = "rm",
	 .operands = "NAME",
	 .help = "Remove what is left of a machine that has ended",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_MACHINE},
	{.name = "inspect",
	 .operands = "NAME",
	 .help = "Show all that is known of a machine",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_MACHINE},
	{.name = "stop",
	 .operands = "[NAME]",
	 .help = "End a machine by its name; without, by Ctrl-Alt-Del (x86_64 only)",
	 .operands_max = 1,
	 .output = CTL_PRINT_DONE,
	 .method = "PUT",
	 .path = "/actions",
	 .body = "{\"action_type\":\"SendCtrlAltDel\"}",
	 .done = "sent Ctrl-Alt-Del; the guest decides what to do about it"},
	{.name = "snapshot",
	 .operands = "STATE [MEMORY]",
	 .help = "Save the microVM to files, pausing it meanwhile",
	 .operands_min = 1,
	 .operands_max = 2,
	 .output = CTL_PRINT_STEPS,
	 .method = "PUT",
	 .path = "/snapshot/create"},
	{.name = "load",
	 .operands = "STATE [MEMORY]",
	 .help = "Load a microVM from files, into a squib that has none",
	 .operands_min = 1,
	 .operands_max = 2,
	 .output = CTL_PRINT_STEPS,
	 .method = "PUT",
	 .path = "/snapshot/load"},
	{.name = "fork",
	 .operands = "DIRECTORY",
	 .help = "Make children of the running microVM",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_CHILDREN,
	 .method = "PUT",
	 .path = "/fork"},
	{.name = "pool",
	 .operands = "ACTION DIRECTORY",
	 .help = "Machines that are loaded already: start, take, status, stop",
	 .operands_min = 2,
	 .operands_max = 2,
	 .output = CTL_PRINT_POOL},
	{.name = "plug",
	 .operands = "",
	 .help = "Plug what --drive, --pmem and --net name into the running microVM",
	 .output = CTL_PRINT_PLUGGED,
	 .path = "/devices"},
	{.name = "unplug",
	 .operands = "ID",
	 .help = "Unplug a drive, pmem device or interface, once the guest has let it go",
	 .operands_min = 1,
	 .operands_max = 1,
	 .output = CTL_PRINT_PLUGGED,
	 .path = "/devices"},
	{.name = "mem",
	 .operands = "show|set [MIB]",
	 .help = "Show or set how much memory is plugged in, and wait for the guest",
	 .operands_min = 1,
	 .operands_max = 2,
	 .output = CTL_PRINT_MEMORY,
	 .path = "/hotplug/memory"},
	{.name = "metadata",
	 .operands = "get|set|edit [JSON]",
	 .help = "Show, set or edit what the guest's metadata service tells",
	 .operands_min = 1,
	 .operands_max = 2,
	 .output = CTL_PRINT_METADATA,
	 .path = "/mmds"},
	{.name = "overlay",
	 .operands = "ACTION FILE [TO]",
	 .help = "Overlays of drives: create, inspect, flatten into a plain disk",
	 .operands_min = 2,
	 .operands_max = 3,
	 .output = CTL_PRINT_OVERLAY},
	{.name = "metrics",
	 .operands = "",
	 .help = "Show the metrics, as OpenMetrics text",
	 .method = "GET",
	 .path = "/metrics"},
	{.name = "flush",
	 .operands = "",
	 .help = "Have squib write a line to its metrics path now",
	 .output = CTL_PRINT_DONE,
	 .method = "PUT",
	 .path = "/actions",
	 .body = "{\"action_type\":\"FlushMetrics\"}",
	 .done = "flushed"},
	{.name = "get",
	 .operands = "PATH",
	 .help = "Show a resource of the API, e.g. /vm/config",
	 .operands_min = 1,
	 .operands_max = 1,
	 .method = "GET"},
	{.name = "put",
	 .operands = "PATH JSON|@FILE|-",
	 .help = "Set a resource",
	 .operands_min = 2,
	 .operands_max = 2,
	 .method = "PUT"},
	{.name = "patch",
	 .operands = "PATH JSON|@FILE|-",
	 .help = "Change parts of a resource",
	 .operands_min = 2,
	 .operands_max = 2,
	 .method = "PATCH"},
	{.name = "delete",
	 .operands = "PATH",
	 .help = "Remove a resource",
	 .operands_min = 1,
	 .operands_max = 1,
	 .method = "DELETE"},
	{0},
};

#define MEMBER(name) offsetof(struct ctl_args, name)

static const struct ctl_option options[] = {
	{'s', "socket", "PATH", "API socket of squib (default: " CTL_SOCKET_DEFAULT ")", NULL,
	 CTL_TEXT, MEMBER(socket)},
	{'r', "raw", NULL, "Show JSON as it came, on terminals too", NULL, CTL_SWITCH,
	 MEMBER(is_raw)},
	{'w', "wait", NULL, "With stop: return when squib has ended", "stop", CTL_SWITCH,
	 MEMBER(waits)},
	{0, "diff", NULL, "With snapshot: of the memory only what changed", "snapshot", CTL_SWITCH,
	 MEMBER(is_diff)},
	{0, "live", NULL, "With snapshot, pool: without a pause, of a forkable microVM",
	 "snapshot pool", CTL_SWITCH, MEMBER(is_live)},
	{0, "state-only", NULL, "With snapshot: write no memory", "snapshot", CTL_SWITCH,
	 MEMBER(state_only)},
	{0, "stay-paused", NULL, "With snapshot: do not resume", "snapshot", CTL_SWITCH,
	 MEMBER(stay_paused)},
	{0, "resume", NULL, "With load: let it run at once", "load", CTL_SWITCH, MEMBER(resume)},
	{0, "send", NULL, "With load: open the files here, for a squib in a jail", "load",
	 CTL_SWITCH, MEMBER(sends)},
	{0, "paused", NULL, "With load, fork, pool take: leave it paused (load's default)",
	 "load fork pool", CTL_SWITCH, MEMBER(paused)},
	{0, "drive", "ID=PATH",
	 "With load, fork, pool: another file for a drive; with plug: a new one",
	 "load fork pool plug", CTL_WORDS, MEMBER(drives)},
	{0, "pmem", "ID=PATH", "The same for a pmem device", "load fork pool plug", CTL_WORDS,
	 MEMBER(pmems)},
	{0, "net", "ID=DEV",
	 "With load, fork, pool: another TAP for an interface; with plug: a new one; with run: "
	 "none (default) or tap=DEV",
	 "load fork pool plug run", CTL_WORDS, MEMBER(nets)},
	{0, "read-only", NULL, "With plug: drives and pmem devices can't be written", "plug",
	 CTL_SWITCH, MEMBER(read_only)},
	{0, "force", NULL, "With unplug: don't ask the guest; with rm: end what runs", "unplug rm",
	 CTL_SWITCH, MEMBER(force)},
	{0, "vsock", "PATH", "With load, fork, pool: another socket for the vsock device",
	 "load fork pool", CTL_TEXT, MEMBER(vsock)},
	{'n', "count", "N", "With fork, pool: how many machines (default: 1)", "fork pool",
	 CTL_TEXT, MEMBER(count)},
	{0, "name", "NAME",
	 "With run: of the machine; with fork, pool: they are NAME-1 and so on (child, pool)",
	 "fork pool run", CTL_TEXT, MEMBER(name)},
	{0, "state", "PATH", "With pool: the state of a snapshot", "pool", CTL_TEXT, MEMBER(state)},
	{0, "memory", "PATH", "With pool: its memory; with run: how much, as 512m (default)",
	 "pool run", CTL_TEXT, MEMBER(memory)},
	{0, "listens", "PATH", "With pool: the API socket of machine % (DIRECTORY/%.sock)", "pool",
	 CTL_TEXT, MEMBER(listens)},
	{0, "keep", "IMAGE", "With fork: keep the image for more children", "fork", CTL_TEXT,
	 MEMBER(keep)},
	{0, "image", "IMAGE", "With fork: children of an image that was kept", "fork", CTL_TEXT,
	 MEMBER(image)},
	{0, "copy", NULL, "With fork: make the files of --drive, by reflink", "fork", CTL_SWITCH,
	 MEMBER(copy)},
	{0, "ends-with-parent", NULL, "With fork: they end when their parent does", "fork",
	 CTL_SWITCH, MEMBER(ends_with_parent)},
	{0, "track-dirty", NULL, "With load, pool: note changes, for Diffs", "load pool",
	 CTL_SWITCH, MEMBER(track_dirty)},
	{0, "clock-realtime", NULL, "With load: the guest's clock jumps to now", "load", CTL_SWITCH,
	 MEMBER(clock_realtime)},
	{0, "working-set", "PATH", "With load, pool: what to bring in at once", "load pool",
	 CTL_TEXT, MEMBER(working_set)},
	{0, "uffd", "SOCKET", "With load: memory from a page fault handler", "load", CTL_TEXT,
	 MEMBER(uffd)},
	{0, "base", "PATH", "With overlay create, flatten: its base", "overlay", CTL_TEXT,
	 MEMBER(base)},
	{0, "size", "MIB", "With overlay create: a longer disk than the base", "overlay", CTL_TEXT,
	 MEMBER(size)},
	{0, "cluster", "KIB", "With overlay create: of 4 to 256 KiB (default: 64)", "overlay",
	 CTL_TEXT, MEMBER(cluster)},
	{'i', "interactive", NULL, "With run, exec: pass on standard input", "run exec", CTL_SWITCH,
	 MEMBER(run.interactive)},
	{'t', "tty", NULL, "With run, exec: give the command a terminal", "run exec", CTL_SWITCH,
	 MEMBER(run.tty)},
	{'d', "detach", NULL, "With run: return when the command runs", "run", CTL_SWITCH,
	 MEMBER(run.detach)},
	{0, "rm", NULL, "With run: remove the machine when it ends", "run", CTL_SWITCH,
	 MEMBER(run.remove)},
	{0, "cpus", "N", "With run: how many vCPUs (default: 1)", "run", CTL_TEXT,
	 MEMBER(run.cpus)},
	{0, "disk", "SIZE", "With run: a disk, as 2g, for what is written (default: in memory)",
	 "run", CTL_TEXT, MEMBER(run.disk)},
	{0, "kernel", "PATH", "With run: the guest's kernel", "run", CTL_TEXT, MEMBER(run.kernel)},
	{'e', "env", "NAME=VALUE", "With run, exec: set a variable", "run exec", CTL_WORDS,
	 MEMBER(run.env)},
	{'u', "user", "USER", "With run, exec: a user[:group], by name or number", "run exec",
	 CTL_TEXT, MEMBER(run.user)},
	{0, "workdir", "PATH", "With run, exec: the working directory", "run exec", CTL_TEXT,
	 MEMBER(run.workdir)},
	{0, "entrypoint", "PROGRAM", "With run: in place of the image's entry point", "run",
	 CTL_TEXT, MEMBER(run.entrypoint)},
	{'f', "follow", NULL, "With logs: go on until the machine ends", "logs", CTL_SWITCH,
	 MEMBER(run.follow)},
	{'a', "all", NULL, "With ps: also those that have ended", "ps", CTL_SWITCH,
	 MEMBER(run.all)},
	{0, "json", NULL, "With ps: JSON, for programs", "ps", CTL_SWITCH, MEMBER(run.json)},
	{0, "timeout", "SECONDS", "With stop NAME: until it is killed (default: 10)", "stop",
	 CTL_TEXT, MEMBER(run.timeout)},
	{0, "signal", "SIGNAL", "With kill: another one than KILL", "kill", CTL_TEXT,
	 MEMBER(run.signal)},
	{'h', "help", NULL, "Print this text and exit", NULL, CTL_SWITCH, MEMBER(wants_help)},
	{0, "version", NULL, "Print the version and exit", NULL, CTL_SWITCH, MEMBER(wants_version)},
	{0},
};

enum {
	OPTION_COUNT = ARRAY_COUNT(options) - 1
};

/* First match counts. */
static const struct {
	const char *part;
	const char *hint;
} hints[] = {
	{"not supported before starting", "start the microVM first: squibctl start"},
	{"PCI is not enabled",
	 "only a squib that was started with --enable-pci takes devices later"},
	{"not supported after starting",
	 "this is set before the start only: configure a new squib process"},
	{"without kernel configuration",
	 "name a kernel first: squibctl put /boot-source '{\"kernel_image_path\": \"/PATH\"}'"},
	{"does not supported on aarch64",
	 "there is no such key on aarch64: shut down from inside the guest, or end squib with "
	 "SIGTERM"},
	{"(os error 2)", "paths are as squib sees them: relative to its working directory, or "
			 "inside its chroot"},
	{"(os error 13)", "the user who runs squib needs access to it"},
	{"Invalid request method and/or path", "man squibctl lists the paths of the API"},
	{"not allowed after configuring boot-specific resources",
	 "load into a squib process that was not configured"},
	{"deserializing the json body", "man squibctl tells where the fields are described"},
	{"is larger than the limit", "start squib with a larger --http-api-max-payload-size"},
	{"Too many open connections", "squib serves ten connections at a time: close one"},
	{"Reinitialization of metrics", "squib got its metrics path already, from an earlier "
					"request or from --metrics-path"},
};

const struct ctl_command *ctl_commands(void)
{
	return commands;
}

const struct ctl_option *ctl_options(void)
{
	return options;
}

const char *ctl_hint(const char *fault)
{
	for (size_t i = 0; i < ARRAY_COUNT(hints); i++) {
		if (strstr(fault, hints[i].part) != NULL) {
			return hints[i].hint;
		}
	}
	return NULL;
}

static const struct ctl_command *find_command(const char *name)
{
	const struct ctl_command *command = commands;

	while (command->name != NULL && strcmp(command->name, name) != 0) {
		command++;
	}
	return command->name != NULL ? command : NULL;
}

/* The option that `arg` is ("-s", "--socket"), OPTION_COUNT if none. */
static size_t find_option(const char *arg)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		bool is_short =
			options[i].letter != 0 && arg[1] == options[i].letter && arg[2] == '\0';
		bool is_long = strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, options[i].name) == 0;

		if (is_short || is_long) {
			return i;
		}
	}
	return OPTION_COUNT;
}

/* Several switches behind one dash, as -it. */
static bool are_switches(const char *arg)
{
	char one[] = "-x";

	if (arg[1] == '-' || arg[2] == '\0') {
		return false;
	}
	for (size_t i = 1; arg[i] != '\0'; i++) {
		one[1] = arg[i];
		size_t option = find_option(one);

		if (option == OPTION_COUNT || options[option].kind != CTL_SWITCH) {
			return false;
		}
	}
	return true;
}

static int take_option(struct ctl_args *args, const struct ctl_option *option, const char *value,
		       struct error *err)
{
	char *member = (char *)args + option->offset;

	if (option->value != NULL && value == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "--%s needs a value: %s", option->name,
				 option->value);
	}
	switch (option->kind) {
	case CTL_SWITCH:
		*(bool *)member = true;
		break;
	case CTL_TEXT:
		*(const char **)member = value;
		break;
	case CTL_WORDS: {
		struct ctl_words *words = (struct ctl_words *)member;

		if (words->count == CTL_WORDS_MAX) {
			return error_set(err, ERR_BAD_REQUEST, "--%s is there more than %d times",
					 option->name, CTL_WORDS_MAX);
		}
		words->items[words->count++] = value;
		break;
	}
	}
	return 0;
}

static int take_word(struct ctl_args *args, unsigned *count, const char *word, struct error *err)
{
	if (args->command == NULL) {
		args->command = find_command(word);
		return args->command != NULL
			       ? 0
			       : error_set(err, ERR_BAD_REQUEST, "There is no command '%s'", word);
	}
	if (*count == args->command->operands_max) {
		return error_set(err, ERR_BAD_REQUEST,
				 "'%s' is one word too many: squibctl %s %s; quote JSON for the "
				 "shell",
				 word, args->command->name, args->command->operands);
	}
	args->operands[(*count)++] = word;
	return 0;
}

/* The path becomes part of the request line unchanged. */
static int check_path(const char *path, struct error *err)
{
	if (path[0] != '/') {
		return error_set(err, ERR_BAD_REQUEST, "The path '%s' must begin with '/'", path);
	}
	for (const char *at = path; *at != '\0'; at++) {
		if (*at <= ' ' || *at > '~') {
			return error_set(err, ERR_BAD_REQUEST,
					 "The path '%s' must be printable ASCII without spaces",
					 path);
		}
	}
	return 0;
}

static int check_snapshot(const struct ctl_args *args, struct error *err)
{
	if (args->is_live && (args->is_diff || args->state_only || args->stay_paused)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--live excludes --diff, --state-only and --stay-paused");
	}
	if (args->state_only == (args->operands[1] == NULL)) {
		return 0;
	}
	return error_set(err, ERR_BAD_REQUEST, "%s",
			 args->state_only ? "--state-only writes no file for the memory: name none"
					  : "Name a file for the memory, or say --state-only");
}

static int check_overrides(const char *name, const char *shape, const struct ctl_words *words,
			   struct error *err)
{
	for (unsigned i = 0; i < words->count; i++) {
		const char *equals = strchr(words->items[i], '=');

		if (equals == NULL || equals == words->items[i] || equals[1] == '\0') {
			return error_set(err, ERR_BAD_REQUEST, "--%s is %s, not '%s'", name, shape,
					 words->items[i]);
		}
	}
	return 0;
}

static int check_devices(const struct ctl_args *args, struct error *err)
{
	return check_overrides("drive", "ID=PATH", &args->drives, err) < 0 ||
			       check_overrides("pmem", "ID=PATH", &args->pmems, err) < 0
		       ? -1
		       : check_overrides("net", "ID=DEV", &args->nets, err);
}

static unsigned count_devices(const struct ctl_args *args)
{
	return args->drives.count + args->pmems.count + args->nets.count;
}

static int check_load(const struct ctl_args *args, struct error *err)
{
	if (args->resume && args->paused) {
		return error_set(err, ERR_BAD_REQUEST, "--resume and --paused exclude each other");
	}
	if (args->sends && args->uffd != NULL) {
		return error_set(err, ERR_BAD_REQUEST, "--send and --uffd exclude each other");
	}
	if ((args->uffd != NULL) != (args->operands[1] == NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s",
				 args->uffd != NULL
					 ? "--uffd takes the place of the memory's file: name none"
					 : "Name the file of the memory, or a handler by --uffd");
	}
	return check_devices(args, err);
}

/* Of machines called NAME-N, whatever N is. */
static int check_name(const char *name, struct error *err)
{
	AUTO_FREE char *longest = NULL;
	struct error ignored = {0};

	if (name == NULL) {
		return 0;
	}
	if (asprintf(&longest, "%s-%lu", name, ULONG_MAX) < 0) {
		longest = NULL;
		return error_set(err, ERR_HOST, "There is no memory for a name");
	}
	return flag_check_id(longest, &ignored) == 0
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "--name is up to 43 letters, digits and hyphens, not '%s'",
				   name);
}

static int check_pool(const struct ctl_args *args, struct error *err)
{
	static const char *const actions[] = {"start", "take", "status", "stop"};
	const char *what = args->operands[0];
	size_t at = 0;

	while (at < ARRAY_COUNT(actions) && strcmp(actions[at], what) != 0) {
		at++;
	}
	if (at == ARRAY_COUNT(actions)) {
		return error_set(err, ERR_BAD_REQUEST, "pool start, take, status or stop, not '%s'",
				 what);
	}
	bool is_made = args->count != NULL || args->name != NULL || args->state != NULL ||
		       args->memory != NULL || args->is_live || args->program != NULL ||
		       args->listens != NULL || args->vsock != NULL || args->track_dirty ||
		       args->working_set != NULL || count_devices(args) > 0;

	if (at != 0 && is_made) {
		return error_set(err, ERR_BAD_REQUEST,
				 "What the machines of a pool are goes with pool start");
	}
	if ((args->state != NULL) != (args->memory != NULL)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--state and --memory are the two files of one snapshot");
	}
	if (args->is_live && args->state != NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--live takes the place of --state and --memory");
	}
	if ((args->program != NULL) != (args->listens != NULL)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "A command behind -- needs --listens, where its squib's API will "
				 "be, and this one a command");
	}
	if (args->listens != NULL && strchr(args->listens, '%') == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--listens needs a %% for the machine's number: each machine has "
				 "a socket of its own");
	}
	return check_name(args->name, err) < 0 ? -1 : check_devices(args, err);
}

static bool goes_with(const struct ctl_option *option, const struct ctl_command *command)
{
	size_t len = strlen(command->name);
	const char *at = option->command;

	while (at != NULL && strncmp(at, command->name, len) != 0) {
		at = strchr(at, ' ');
		at = at != NULL ? at + 1 : NULL;
	}
	return option->command == NULL || at != NULL;
}

static int check_fork(const struct ctl_args *args, struct error *err)
{
	if (args->keep != NULL && args->image != NULL) {
		return error_set(err, ERR_BAD_REQUEST, "--keep and --image exclude each other");
	}
	return check_devices(args, err);
}

static int check_plug(const struct ctl_args *args, struct error *err)
{
	if (args->operands[0] == NULL && count_devices(args) == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Say what to plug in: --drive ID=PATH, --pmem ID=PATH, --net "
				 "ID=DEV");
	}
	return check_devices(args, err);
}

static int check_mem(const struct ctl_args *args, struct error *err)
{
	const char *what = args->operands[0];
	const char *size = args->operands[1];
	bool is_set = strcmp(what, "set") == 0;

	if (!is_set && strcmp(what, "show") != 0) {
		return error_set(err, ERR_BAD_REQUEST, "mem show or set, not '%s'", what);
	}
	if (is_set != (size != NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s",
				 is_set ? "Words are missing: squibctl mem set MIB"
					: "mem show takes no further word");
	}
	return !is_set || (*size != '\0' && size[strspn(size, "0123456789")] == '\0')
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST, "The size is a number of MiB, not '%s'",
				   size);
}

static int check_metadata(const struct ctl_args *args, struct error *err)
{
	const char *what = args->operands[0];
	bool is_set = strcmp(what, "set") == 0;

	if (!is_set && strcmp(what, "get") != 0 && strcmp(what, "edit") != 0) {
		return error_set(err, ERR_BAD_REQUEST, "metadata get, set or edit, not '%s'", what);
	}
	if (is_set == (args->operands[1] != NULL)) {
		return 0;
	}
	return error_set(err, ERR_BAD_REQUEST, "%s",
			 is_set ? "Words are missing: squibctl metadata set JSON|@FILE|-"
				: "metadata get and edit take no further word");
}

static int check_overlay(const struct ctl_args *args, struct error *err)
{
	const char *what = args->operands[0];
	bool is_create = strcmp(what, "create") == 0;
	bool is_flatten = strcmp(what, "flatten") == 0;

	if (!is_create && !is_flatten && strcmp(what, "inspect") != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "overlay create, inspect or flatten, not '%s'", what);
	}
	if (is_flatten != (args->operands[2] != NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s",
				 is_flatten ? "Words are missing: squibctl overlay flatten FILE TO"
					    : "overlay create and inspect take one file");
	}
	if (is_create && args->base == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Name the base: squibctl overlay create --base BASE FILE");
	}
	return is_create || (args->size == NULL && args->cluster == NULL)
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "--size and --cluster go with overlay create only");
}

static int check_machine(const struct ctl_args *args, struct error *err)
{
	const char *name = args->command->name;

	if (strcmp(name, "exec") == 0 && args->program[0] == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Words are missing: squibctl exec NAME COMMAND...");
	}
	if (strcmp(name, "stop") == 0 &&
	    (args->operands[0] != NULL ? args->waits : args->run.timeout != NULL)) {
		return error_set(err, ERR_BAD_REQUEST, "%s",
				 args->waits ? "stop NAME waits anyway: leave --wait out"
					     : "--timeout goes with stop NAME");
	}
	return 0;
}

/* `given` has a bit for each option that is there. */
static int check(const struct ctl_args *args, unsigned count, uint64_t given, struct error *err)
{
	const struct ctl_command *command = args->command;

	if (command == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "No command was given");
	}
	if (count < command->operands_min) {
		return error_set(err, ERR_BAD_REQUEST, "Words are missing: squibctl %s %s",
				 command->name, command->operands);
	}
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if ((given & 1ULL << i) != 0 && !goes_with(&options[i], command)) {
			return error_set(err, ERR_BAD_REQUEST, "--%s goes with %s only",
					 options[i].name, options[i].command);
		}
	}
	if (command->output == CTL_PRINT_MACHINE || strcmp(command->name, "stop") == 0) {
		return check_machine(args, err);
	}
	if (command->output == CTL_PRINT_CHILDREN) {
		return check_fork(args, err);
	}
	if (command->output == CTL_PRINT_MEMORY) {
		return check_mem(args, err);
	}
	if (command->output == CTL_PRINT_METADATA) {
		return check_metadata(args, err);
	}
	if (command->output == CTL_PRINT_PLUGGED) {
		return check_plug(args, err);
	}
	if (command->output == CTL_PRINT_POOL) {
		return check_pool(args, err);
	}
	if (command->output == CTL_PRINT_OVERLAY) {
		return check_overlay(args, err);
	}
	if (command->output == CTL_PRINT_STEPS) {
		return strcmp(command->name, "load") == 0 ? check_load(args, err)
							  : check_snapshot(args, err);
	}
	return command->path == NULL ? check_path(args->operands[0], err) : 0;
}

static void take_switches(struct ctl_args *args, const char *arg, uint64_t *given)
{
	char one[] = "-x";

	for (size_t i = 1; arg[i] != '\0'; i++) {
		one[1] = arg[i];
		size_t option = find_option(one);

		*(bool *)((char *)args + options[option].offset) = true;
		*given |= 1ULL << option;
	}
}

int ctl_args_parse(int argc, char *const argv[], struct ctl_args *args, struct error *err)
{
	unsigned count = 0;
	uint64_t given = 0;
	bool only_words = false;

	*args = (struct ctl_args){.socket = CTL_SOCKET_DEFAULT};
	for (int i = 1; i < argc; i++) {
		/* A lone dash is an operand. */
		if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
			if (take_word(args, &count, argv[i], err) < 0) {
				return -1;
			}
			if (args->command->passes_on && count == args->command->operands_max) {
				args->program = (const char *const *)&argv[i + 1];
				break;
			}
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			if (args->command != NULL && args->command->output == CTL_PRINT_POOL) {
				args->program = (const char *const *)&argv[i + 1];
				break;
			}
			only_words = true;
			continue;
		}
		if (are_switches(argv[i])) {
			take_switches(args, argv[i], &given);
			continue;
		}
		size_t option = find_option(argv[i]);

		if (option == OPTION_COUNT) {
			return error_set(err, ERR_BAD_REQUEST, "There is no option '%s'", argv[i]);
		}
		const char *value = NULL;

		if (options[option].value != NULL && i + 1 < argc) {
			value = argv[++i];
		}
		if (take_option(args, &options[option], value, err) < 0) {
			return -1;
		}
		given |= 1ULL << option;
	}
	return args->wants_help || args->wants_version ? 0 : check(args, count, given, err);
}

void ctl_print_help(FILE *out)
{
	fputs("squibctl: controls a microVM through squib's API socket\n\n"
	      "Usage: squibctl [OPTION...] COMMAND\n\nCommands:\n",
	      out);
	for (const struct ctl_command *command = commands; command->name != NULL; command++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", command->name, command->operands);
		fprintf(out, "  %-26s%s\n", left, command->help);
	}
	fputs("\nOptions:\n", out);
	for (const struct ctl_option *option = options; option->name != NULL; option++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%c%c --%s %s", option->letter != 0 ? "-" : " ",
			 option->letter != 0 ? option->letter : ' ',
			 option->letter != 0 ? ',' : ' ', option->name,
			 option->value != NULL ? option->value : "");
		fprintf(out, "  %-26s%s\n", left, option->help);
	}
	fputs("\nJSON is written as it is, or read from a file (@FILE) or standard input (-).\n"
	      "Exit status: 0 done, 1 the API refused, 2 usage, 3 no connection; of run and exec\n"
	      "the command's, 125 if it did not run.\n\nExamples:\n"
	      "  squibctl put /boot-source '{\"kernel_image_path\": \"/boot/vmlinux\"}' && "
	      "squibctl start\n"
	      "  squibctl run --rm -it ./rootfs sh\n",
	      out);
}
