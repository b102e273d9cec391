/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl's command line: how words are taken by the tables of ctl_tables.c. */
#include "tools/squibctl/ctl_args.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/squibctl/ctl_clone.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/flags.h"

static const struct ctl_command *find_command(const char *name)
{
	const struct ctl_command *command = ctl_commands();

	while (command->name != NULL && strcmp(command->name, name) != 0) {
		command++;
	}
	return command->name != NULL ? command : NULL;
}

bool ctl_goes_with(const struct ctl_option *option, const struct ctl_command *command)
{
	size_t len = strlen(command->name);
	const char *at = option->command;

	for (; at != NULL; at = strchr(at, ' '), at = at != NULL ? at + 1 : NULL) {
		if (strncmp(at, command->name, len) == 0 && (at[len] == ' ' || at[len] == '\0')) {
			return true;
		}
	}
	return option->command == NULL;
}

/* Whether `arg` is the option's: "-s", "--socket" or "--socket=...". */
static bool is_called(const struct ctl_option *option, const char *arg)
{
	size_t len = strlen(option->name);

	if (arg[1] != '-') {
		return option->letter != 0 && arg[1] == option->letter && arg[2] == '\0';
	}
	return strncmp(arg + 2, option->name, len) == 0 &&
	       (arg[2 + len] == '\0' || arg[2 + len] == '=');
}

/*
 * The option that `arg` is; NULL: none. A letter is that of the command's own option, or else of
 * the one for all commands. Before there is a command it may be that of any.
 */
const struct ctl_option *ctl_find_option(const char *arg, const struct ctl_command *command)
{
	bool any = command == NULL || arg[1] == '-';
	const struct ctl_option *found = NULL;

	for (const struct ctl_option *option = ctl_options(); option->name != NULL; option++) {
		if (!is_called(option, arg)) {
			continue;
		}
		if (command != NULL && option->command != NULL && ctl_goes_with(option, command)) {
			return option;
		}
		if (option->command == NULL || (any && found == NULL)) {
			found = option;
		}
	}
	return found;
}

/* Several switches behind one dash, as -it. */
static bool are_switches(const char *arg, const struct ctl_command *command)
{
	char one[] = "-x";

	if (arg[1] == '-' || arg[2] == '\0') {
		return false;
	}
	for (size_t i = 1; arg[i] != '\0'; i++) {
		one[1] = arg[i];
		const struct ctl_option *option = ctl_find_option(one, command);

		if (option == NULL || option->kind != CTL_SWITCH) {
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
		const char *more = strstr(args->command->operands, "JSON") != NULL
					   ? "; quote JSON for the shell"
					   : "";

		if (strcmp(args->command->name, "snapshot") == 0) {
			more = "; a machine is named by -m NAME";
		}
		return error_set(err, ERR_BAD_REQUEST,
				 "'%s' is one word too many: squibctl %s%s%s%s", word,
				 args->command->name, args->command->operands[0] != '\0' ? " " : "",
				 args->command->operands, more);
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

/* Machines with names: squibctl gives them all else. */
static int check_pool_of(const struct ctl_args *args, struct error *err)
{
	bool has_paths = args->state != NULL || args->is_live || args->program != NULL ||
			 args->vsock != NULL || args->drives.count > 0 || args->pmems.count > 0 ||
			 args->track_dirty || args->working_set != NULL || args->socket != NULL;

	if (args->of == NULL && args->run.remove) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--rm goes with pool start --of: other machines have no names");
	}
	return args->of == NULL || !has_paths
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "With pool start --of go --count, --name, --net and --rm alone");
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
	bool is_made = args->of != NULL || args->run.remove || args->count != NULL ||
		       args->name != NULL || args->state != NULL || args->memory != NULL ||
		       args->is_live || args->program != NULL || args->listens != NULL ||
		       args->vsock != NULL || args->track_dirty || args->working_set != NULL ||
		       count_devices(args) > 0;

	if (at != 0 && is_made) {
		return error_set(err, ERR_BAD_REQUEST,
				 "What the machines of a pool are goes with pool start");
	}
	if (args->run.json && strcmp(what, "status") != 0) {
		return error_set(err, ERR_BAD_REQUEST, "--json goes with pool status");
	}
	if (args->paused && strcmp(what, "take") != 0) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"--paused goes with pool take: what a pool keeps is paused anyway");
	}
	if ((args->state != NULL) != (args->memory != NULL)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--state and --memory (-m) are the two files of one snapshot; for "
				 "machines of one with a name say --of NAME");
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
	return check_pool_of(args, err) < 0 || check_name(args->name, err) < 0
		       ? -1
		       : check_devices(args, err);
}

/* Of a machine that has a name: its children are such machines, which squibctl gives all else. */
static int check_fork_of_name(const struct ctl_args *args, struct error *err)
{
	bool has_paths = args->keep != NULL || args->image != NULL || args->vsock != NULL ||
			 args->drives.count > 0 || args->pmems.count > 0 ||
			 args->ends_with_parent || args->paused;
	unsigned long count = 1;

	if (args->copy) {
		return error_set(err, ERR_BAD_REQUEST,
				 "fork NAME copies the machine's disk anyway: leave --copy out");
	}
	if (has_paths) {
		return error_set(err, ERR_BAD_REQUEST,
				 "With fork NAME go --count, --name, --net, --rm and --landlock "
				 "alone; for the others say fork -m NAME DIRECTORY");
	}
	if (args->count != NULL) {
		count = args->count[strspn(args->count, "0123456789")] == '\0'
				? strtoul(args->count, NULL, 10)
				: 0;
	}
	return count > 0 && count <= CLONES_MAX
		       ? check_overrides("net", "ID=DEV", &args->nets, err)
		       : error_set(err, ERR_BAD_REQUEST,
				   "--count is a number from 1 to %d for a machine that has a name",
				   CLONES_MAX);
}

static int check_fork(const struct ctl_args *args, struct error *err)
{
	if (args->is_of_name) {
		return check_fork_of_name(args, err);
	}
	if (args->run.remove) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--rm goes with fork NAME, not with fork DIRECTORY");
	}
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

static int check_socket(const struct ctl_args *args, const bool given[CTL_OPTIONS_MAX],
			struct error *err)
{
	const struct ctl_option *options = ctl_options();
	bool has_name = args->command->output == CTL_PRINT_MACHINE || args->operands[0] != NULL;

	for (size_t i = 0; options[i].name != NULL; i++) {
		if (has_name && given[i] && strcmp(options[i].name, "socket") == 0) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"--socket does not go with %s: machines that have names are "
				"found by them",
				args->command->name);
		}
	}
	return 0;
}

static int check_machine(const struct ctl_args *args, const bool given[CTL_OPTIONS_MAX],
			 struct error *err)
{
	const char *name = args->command->name;

	if (check_socket(args, given, err) < 0) {
		return -1;
	}
	if (strcmp(name, "restore") == 0 &&
	    check_overrides("net", "ID=DEV", &args->nets, err) < 0) {
		return -1;
	}
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
	for (unsigned i = 0; i < args->run.env.count; i++) {
		const char *variable = args->run.env.items[i];

		if (variable[0] == '=' || variable[0] == '\0') {
			return error_set(err, ERR_BAD_REQUEST,
					 "--env is NAME=VALUE, or NAME to pass on ours, not '%s'",
					 variable);
		}
	}
	return 0;
}

/* A squib is named in one way. */
static int check_target(const struct ctl_args *args, struct error *err)
{
	bool is_operand = strcmp(args->command->operands, "[NAME]") == 0 &&
			  args->command->output != CTL_PRINT_MACHINE && args->operands[0] != NULL;

	return (args->socket != NULL) + is_operand + (args->machine != NULL) <= 1
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "Name one microVM: by its socket, or by a machine's name");
}

/* The option is there, but goes with other commands. */
static int refuse_place(const struct ctl_option *option, const struct ctl_command *command,
			struct error *err)
{
	const char *advice = ctl_advice(command->name, option->name);

	return error_set(err, ERR_BAD_REQUEST, "--%s goes with %s only%s%s", option->name,
			 option->command, advice != NULL ? ": " : "", advice != NULL ? advice : "");
}

/* `given` tells for each option whether it is there. */
static int check(const struct ctl_args *args, unsigned count, const bool given[CTL_OPTIONS_MAX],
		 struct error *err)
{
	const struct ctl_command *command = args->command;
	const struct ctl_option *options = ctl_options();

	if (command == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "No command was given");
	}
	if (count < command->operands_min) {
		return error_set(err, ERR_BAD_REQUEST, "Words are missing: squibctl %s %s",
				 command->name, command->operands);
	}
	for (size_t i = 0; options[i].name != NULL; i++) {
		if (given[i] && !ctl_goes_with(&options[i], command)) {
			return refuse_place(&options[i], command, err);
		}
	}
	if (check_target(args, err) < 0) {
		return -1;
	}
	if (command->output == CTL_PRINT_MACHINE || strcmp(command->name, "stop") == 0) {
		return check_machine(args, given, err);
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
	return command->path == NULL && count > 0 ? check_path(args->operands[0], err) : 0;
}

static void take_switches(struct ctl_args *args, const char *arg, bool given[CTL_OPTIONS_MAX])
{
	char one[] = "-x";

	for (size_t i = 1; arg[i] != '\0'; i++) {
		one[1] = arg[i];
		const struct ctl_option *option = ctl_find_option(one, args->command);

		*(bool *)((char *)args + option->offset) = true;
		given[option - ctl_options()] = true;
	}
}

/* There is none of that name: says what has its place here, for one of docker's. */
static int refuse_option(const struct ctl_args *args, const char *arg, struct error *err)
{
	const char *advice = args->command != NULL ? ctl_advice(args->command->name, arg) : NULL;

	return advice != NULL
		       ? error_set(err, ERR_BAD_REQUEST, "There is no option '%s': %s", arg, advice)
		       : error_set(err, ERR_BAD_REQUEST, "There is no option '%s'", arg);
}

/* Takes the option at argv[*at], and moves *at to its value if that is a word of its own. */
static int take_argument(char *const argv[], int *at, struct ctl_args *args,
			 bool given[CTL_OPTIONS_MAX], struct error *err)
{
	const char *arg = argv[*at];
	const struct ctl_option *option = ctl_find_option(arg, args->command);
	const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
	const char *value = equals != NULL ? equals + 1 : NULL;

	if (are_switches(arg, args->command)) {
		take_switches(args, arg, given);
		return 0;
	}
	if (option == NULL) {
		return refuse_option(args, arg, err);
	}
	if (option->value == NULL && value != NULL) {
		return error_set(err, ERR_BAD_REQUEST, "--%s takes no value", option->name);
	}
	if (option->value != NULL && value == NULL && argv[*at + 1] != NULL) {
		value = argv[++*at];
	}
	given[option - ctl_options()] = true;
	return take_option(args, option, value, err);
}

int ctl_args_parse(int argc, char *const argv[], struct ctl_args *args, struct error *err)
{
	unsigned count = 0;
	bool given[CTL_OPTIONS_MAX] = {false};
	bool only_words = false;

	*args = (struct ctl_args){0};
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
		if (take_argument(argv, &i, args, given, err) < 0) {
			return -1;
		}
	}
	/* As no name has a slash, a directory is one by that. */
	args->is_of_name = args->command != NULL && strcmp(args->command->name, "fork") == 0 &&
			   args->socket == NULL && args->machine == NULL && count > 0 &&
			   strchr(args->operands[0], '/') == NULL;
	if (!args->wants_help && !args->wants_version && check(args, count, given, err) < 0) {
		return -1;
	}
	args->socket = args->socket != NULL ? args->socket : CTL_SOCKET_DEFAULT;
	return 0;
}

static void print_option(const struct ctl_option *option, FILE *out)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%c%c --%s %s", option->letter != 0 ? "-" : " ",
		 option->letter != 0 ? option->letter : ' ', option->letter != 0 ? ',' : ' ',
		 option->name, option->value != NULL ? option->value : "");
	fprintf(out, "  %-25s %s\n", left, option->help);
}

void ctl_print_command_help(const struct ctl_command *command, FILE *out)
{
	fprintf(out, "%s\n\nUsage: squibctl [OPTION...] %s %s\n\nOptions:\n", command->help,
		command->name, command->operands);
	for (const struct ctl_option *option = ctl_options(); option->name != NULL; option++) {
		bool is_target =
			strcmp(option->name, "socket") == 0 && command->output == CTL_PRINT_MACHINE;

		if (ctl_goes_with(option, command) && !is_target &&
		    strcmp(option->name, "version") != 0) {
			print_option(option, out);
		}
	}
	fprintf(out, "\nExit status: %s.\nMore: man squibctl; squibctl --help has all commands.\n",
		command->exits != NULL ? command->exits
				       : "0 done, 1 refused, 2 usage, 3 no connection");
}

void ctl_print_help(FILE *out)
{
	fputs("squibctl: controls a microVM through squib's API socket\n\n"
	      "Usage: squibctl [OPTION...] COMMAND\n\nCommands:\n",
	      out);
	for (const struct ctl_command *command = ctl_commands(); command->name != NULL; command++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", command->name, command->operands);
		fprintf(out, "  %-25s %s\n", left, command->help);
	}
	fputs("\nOptions:\n", out);
	for (const struct ctl_option *option = ctl_options(); option->name != NULL; option++) {
		print_option(option, out);
	}
	fputs("\nJSON is written as it is, or read from a file (@FILE) or standard input (-).\n"
	      "Exit status: 0 done, 1 the API refused, 2 usage, 3 no connection, or no machine in "
	      "a\n"
	      "pool; of run and exec the command's, 125 if it did not run.\n"
	      "squibctl COMMAND --help has the options of one command.\n\nExamples:\n"
	      "  squibctl put /boot-source '{\"kernel_image_path\": \"/boot/vmlinux\"}' && "
	      "squibctl start\n"
	      "  squibctl run --rm -it ./rootfs sh\n",
	      out);
}
