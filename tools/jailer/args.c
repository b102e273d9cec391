/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the jailer's command line.
 *
 * Theory of operation
 *
 * The grammar is Firecracker's [compat]: `--name value`, never `--name=value`, and a value must
 * not begin with two dashes. What follows a bare `--` is for the jailed program. First all
 * arguments are matched against the table, then what is required is looked for, and only then
 * values are converted, in the order of the table. --help and --version win over any fault.
 */
#include "tools/jailer/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/version.h"

enum {
	ID_LEN_MIN = 1,
	ID_LEN_MAX = 64, /* [compat] */
};

/* The one value that setresuid(2) takes for "leave it". */
#define NO_ID UINT32_MAX

/* --- Values --- */

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

static bool is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-';
}

/* The id becomes a part of paths: letters, digits and dashes can't lead elsewhere. */
static int store_id(const char *text, struct jail_args *args, struct error *err)
{
	size_t len = strlen(text);

	if (len < ID_LEN_MIN || len > ID_LEN_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid instance ID: Invalid len (%zu);  the length must be "
				 "between %d and %d",
				 len, ID_LEN_MIN, ID_LEN_MAX);
	}
	for (size_t i = 0; i < len; i++) {
		if (!is_id_char(text[i])) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Invalid instance ID: Invalid char (%c) at position %zu",
					 text[i], i);
		}
	}
	args->id = text;
	return 0;
}

static int store_exec_file(const char *text, struct jail_args *args, struct error *err)
{
	(void)err;
	args->exec_file = text;
	return 0;
}

static int store_chroot_base(const char *text, struct jail_args *args, struct error *err)
{
	(void)err;
	args->chroot_base = text;
	return 0;
}

static int store_uid(const char *text, struct jail_args *args, struct error *err)
{
	uint64_t uid;

	if (!parse_u64(text, &uid) || uid >= NO_ID) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid uid: %s", text);
	}
	args->uid = (uid_t)uid;
	return 0;
}

static int store_gid(const char *text, struct jail_args *args, struct error *err)
{
	uint64_t gid;

	if (!parse_u64(text, &gid) || gid >= NO_ID) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid gid: %s", text);
	}
	args->gid = (gid_t)gid;
	return 0;
}

static int store_netns(const char *text, struct jail_args *args, struct error *err)
{
	(void)err;
	args->netns = text;
	return 0;
}

static int store_daemonize(const char *text, struct jail_args *args, struct error *err)
{
	(void)text;
	(void)err;
	args->is_daemon = true;
	return 0;
}

static int store_pid_ns(const char *text, struct jail_args *args, struct error *err)
{
	(void)text;
	(void)err;
	args->has_pid_ns = true;
	return 0;
}

static int store_copy(const char *text, struct jail_args *args, struct error *err)
{
	(void)text;
	(void)err;
	args->copies_exec = true;
	return 0;
}

static int store_parent(const char *text, struct jail_args *args, struct error *err)
{
	args->cgroup.parent = text;
	return cgroup_check_parent(text, err);
}

static int store_version(const char *text, struct jail_args *args, struct error *err)
{
	uint64_t version;

	if (!parse_u64(text, &version) || version < 1 || version > 2) {
		return error_set(err, ERR_BAD_REQUEST, "%s is an invalid cgroup version specifier",
				 text);
	}
	args->cgroup.version = (unsigned)version;
	return 0;
}

static int store_cgroup(const char *text, struct jail_args *args, struct error *err)
{
	struct cgroup_config *cgroup = &args->cgroup;

	if (cgroup->setting_count == CGROUP_SETTINGS_MAX) {
		return error_set(err, ERR_TOO_LARGE, "More than %d cgroup settings",
				 CGROUP_SETTINGS_MAX);
	}
	return cgroup_setting_parse(text, &cgroup->settings[cgroup->setting_count++], err);
}

static int store_limit(const char *text, struct jail_args *args, struct error *err)
{
	const char *equals = strchr(text, '=');
	uint64_t value;

	if (equals == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid format for resources limits: %s",
				 text);
	}
	if (!parse_u64(equals + 1, &value)) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid limit value for resource: %s: %s",
				 equals + 1,
				 equals[1] == '\0' ? "cannot parse integer from empty string"
						   : "invalid digit found in string");
	}
	int name_len = (int)(equals - text);

	if (strncmp(text, "fsize=", strlen("fsize=")) == 0) {
		args->has_fsize = true;
		args->fsize = value;
	} else if (strncmp(text, "no-file=", strlen("no-file=")) == 0) {
		args->no_file = value;
	} else {
		return error_set(err, ERR_BAD_REQUEST, "Invalid resource argument: %.*s", name_len,
				 text);
	}
	return 0;
}

/* --- The table --- */

static const struct jail_flag flags[] = {
	{"id", "ID", "Name of the jail: 1 to 64 letters, digits and dashes", NULL, JAIL_FLAG_ONCE,
	 true, store_id},
	{"exec-file", "PATH", "Program to run in the jail: squib", NULL, JAIL_FLAG_ONCE, true,
	 store_exec_file},
	{"chroot-base-dir", "DIR", "Directory below which jails are made", "/srv/jailer",
	 JAIL_FLAG_ONCE, false, store_chroot_base},
	{"uid", "UID", "User id that the program runs with", NULL, JAIL_FLAG_ONCE, true, store_uid},
	{"gid", "GID", "Group id that the program runs with", NULL, JAIL_FLAG_ONCE, true,
	 store_gid},
	{"netns", "PATH", "Network namespace to join", NULL, JAIL_FLAG_ONCE, false, store_netns},
	{"daemonize", NULL, "Leave the session, with /dev/null for input and output", NULL,
	 JAIL_FLAG_SWITCH, false, store_daemonize},
	{"new-pid-ns", NULL, "Run the program in a new PID namespace", NULL, JAIL_FLAG_SWITCH,
	 false, store_pid_ns},
	{"parent-cgroup", "PATH", "Cgroup above the jail's (default: the program's file name)",
	 NULL, JAIL_FLAG_ONCE, false, store_parent},
	{"cgroup-version", "1|2", "Version of the cgroups to use", "1", JAIL_FLAG_ONCE, false,
	 store_version},
	{"cgroup", "FILE=VALUE", "Value for a file of the jail's cgroup; may be repeated", NULL,
	 JAIL_FLAG_REPEATED, false, store_cgroup},
	{"resource-limit", "NAME=N", "Limit fsize (bytes) or no-file (2048); may be repeated", NULL,
	 JAIL_FLAG_REPEATED, false, store_limit},
	{"copy-exec-file", NULL, "Copy the program into the jail, never bind-mount it", NULL,
	 JAIL_FLAG_SWITCH, false, store_copy},
	{"help", NULL, "Print this text and exit (also -h)", NULL, JAIL_FLAG_SWITCH, false, NULL},
	{"version", NULL, "Print the version and exit", NULL, JAIL_FLAG_SWITCH, false, NULL},
};

enum {
	FLAG_COUNT = ARRAY_COUNT(flags),
	NO_FILE_DEFAULT = 2048 /* [compat] */
};

const struct jail_flag *jail_args_flags(size_t *count)
{
	*count = FLAG_COUNT;
	return flags;
}

/* The index of the flag that argv's word names, FLAG_COUNT if there is none. */
static size_t find_flag(const char *word)
{
	size_t i = 0;

	if (strncmp(word, "--", 2) != 0) {
		return FLAG_COUNT;
	}
	while (i < FLAG_COUNT && strcmp(flags[i].name, word + 2) != 0) {
		i++;
	}
	return i;
}

/* --- Passes over the words of argv before `--` --- */

/* Checks the grammar; given[] tells which flags are there. */
static int match(int argc, char *const argv[], bool given[FLAG_COUNT], struct error *err)
{
	for (int i = 1; i < argc; i++) {
		const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : argv[i];
		size_t flag = find_flag(argv[i]);

		if (flag == FLAG_COUNT) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Found argument '%s' which wasn't expected, or isn't "
					 "valid in this context.",
					 name);
		}
		if (given[flag] && flags[flag].kind != JAIL_FLAG_REPEATED) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The argument '%s' was provided more than once.", name);
		}
		given[flag] = true;
		if (flags[flag].value == NULL) {
			continue;
		}
		i++;
		if (i >= argc || strncmp(argv[i], "--", 2) == 0) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"The argument '%s' requires a value, but none was supplied.", name);
		}
	}
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		if (flags[i].is_required && !given[i]) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Argument '%s' required, but not found.", flags[i].name);
		}
	}
	return 0;
}

/* Stores every value of one flag, from words that match() has found in order. */
static int store_given(const struct jail_flag *flag, int argc, char *const argv[],
		       struct jail_args *args, struct error *err)
{
	for (int i = 1; i < argc; i++) {
		const struct jail_flag *found = &flags[find_flag(argv[i])];
		const char *text = found->value != NULL ? argv[++i] : NULL;

		if (found == flag && flag->store != NULL && flag->store(text, args, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static bool has_word(int argc, char *const argv[], const char *word)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], word) == 0) {
			return true;
		}
	}
	return false;
}

int jail_args_parse(int argc, char *const argv[], struct jail_args *args, struct error *err)
{
	bool given[FLAG_COUNT] = {false};
	int end = 1;

	*args = (struct jail_args){.no_file = NO_FILE_DEFAULT};
	while (end < argc && strcmp(argv[end], "--") != 0) {
		end++;
	}
	if (has_word(end, argv, "--help") || has_word(end, argv, "-h")) {
		args->action = JAIL_HELP;
		return 0;
	}
	if (has_word(end, argv, "--version")) {
		args->action = JAIL_VERSION;
		return 0;
	}
	if (match(end, argv, given, err) < 0) {
		return error_wrap(err, "Failed to parse arguments");
	}
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		if (!given[i] && flags[i].by_default != NULL &&
		    flags[i].store(flags[i].by_default, args, err) < 0) {
			return -1;
		}
		if (given[i] && store_given(&flags[i], end, argv, args, err) < 0) {
			return -1;
		}
	}
	args->extra = end < argc ? argv + end + 1 : argv + argc;
	args->extra_count = end < argc ? (size_t)(argc - end - 1) : 0;
	return 0;
}

void jail_args_print_help(FILE *out)
{
	fprintf(out,
		"Jailer v%s: runs squib in a jail of its own\n\n"
		"Usage: jailer --id ID --exec-file PATH --uid UID --gid GID [FLAGS] [-- ARGS]\n\n",
		SQUIB_VERSION);
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		char left[64];

		(void)!snprintf(left, sizeof(left), "--%s%s%s", flags[i].name,
				flags[i].value != NULL ? " " : "",
				flags[i].value != NULL ? flags[i].value : "");
		fprintf(out, "  %-26s%s", left, flags[i].help);
		if (flags[i].by_default != NULL) {
			fprintf(out, " (default: %s)", flags[i].by_default);
		}
		fputs(flags[i].is_required ? " (required)\n" : "\n", out);
	}
	fputs("\nAny arguments after the -- separator will be supplied to the jailed binary.\n"
	      "\nExample:\n"
	      "  jailer --id vm-1 --exec-file /usr/local/bin/squib --uid 12000 --gid 12000 \\\n"
	      "      --cgroup-version 2 --cgroup memory.max=300M -- --config-file vm.json\n"
	      "\nMore: man jailer; docs/jailer.md tells how to run it in production.\n",
	      out);
}
