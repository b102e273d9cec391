/* SPDX-License-Identifier: Apache-2.0 */
/* The jailer's command line: its flags, for vmm/base/flags.c, and its texts. */
#include "tools/jailer/args.h"

#include <string.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/version.h"

/* The one value that setresuid(2) takes for "leave it". */
#define NO_ID UINT32_MAX

/* --- Values --- */

/* uid_t or gid_t, which are the same to the kernel. */
static int store_owner(const struct flag *flag, const char *text, void *out, struct error *err)
{
	uint64_t id;

	if (!flag_parse_u64(text, &id) || id >= NO_ID) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid %s: %s", flag->name, text);
	}
	*(uint32_t *)((char *)out + flag->offset) = (uint32_t)id;
	return 0;
}

static int store_parent(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct jail_args *args = out;

	(void)flag;
	args->cgroup.parent = text;
	return cgroup_check_parent(text, err);
}

static int store_version(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct jail_args *args = out;
	uint64_t version;

	(void)flag;
	if (!flag_parse_u64(text, &version) || version < 1 || version > 2) {
		return error_set(err, ERR_BAD_REQUEST, "%s is an invalid cgroup version specifier",
				 text);
	}
	args->cgroup.version = (unsigned)version;
	return 0;
}

static int store_cgroup(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct jail_args *args = out;
	struct cgroup_config *cgroup = &args->cgroup;

	(void)flag;
	if (cgroup->setting_count == CGROUP_SETTINGS_MAX) {
		return error_set(err, ERR_TOO_LARGE, "More than %d cgroup settings",
				 CGROUP_SETTINGS_MAX);
	}
	return cgroup_setting_parse(text, &cgroup->settings[cgroup->setting_count++], err);
}

static int store_limit(const struct flag *flag, const char *text, void *out, struct error *err)
{
	struct jail_args *args = out;
	const char *equals = strchr(text, '=');
	uint64_t value;

	(void)flag;
	if (equals == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid format for resources limits: %s",
				 text);
	}
	if (!flag_parse_u64(equals + 1, &value)) {
		return error_set(err, ERR_BAD_REQUEST, "Invalid limit value for resource: %s: %s",
				 equals + 1,
				 equals[1] == '\0' ? "cannot parse integer from empty string"
						   : "invalid digit found in string");
	}
	int name_len = (int)(equals - text);

	if (strncmp(text, "fsize=", strlen("fsize=")) == 0) {
		args->has_fsize = true;
		args->fsize = value;
	} else if (strncmp(text, "no-file=", strlen("no-file=")) == 0 &&
		   value > STDERR_FILENO + 1) {
		args->no_file = value;
	} else if (strncmp(text, "no-file=", strlen("no-file=")) == 0) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"Invalid limit value for resource: no-file=%llu leaves the program no "
			"descriptor beside its standard input, output and error",
			(unsigned long long)value);
	} else {
		return error_set(err, ERR_BAD_REQUEST, "Invalid resource argument: %.*s", name_len,
				 text);
	}
	return 0;
}

/* --- The table --- */

#define MEMBER(name) offsetof(struct jail_args, name)

static const struct flag flags[] = {
	{.name = "id",
	 .value = "ID",
	 .help = "Name of the jail: 1 to 64 letters, digits and dashes",
	 .is_required = true,
	 .store = flag_store_id,
	 .offset = MEMBER(id)},
	{.name = "exec-file",
	 .value = "PATH",
	 .help = "Program to run in the jail: squib",
	 .is_required = true,
	 .store = flag_store_text,
	 .offset = MEMBER(exec_file)},
	{.name = "chroot-base-dir",
	 .value = "DIR",
	 .help = "Directory below which jails are made",
	 .by_default = "/srv/jailer",
	 .store = flag_store_text,
	 .offset = MEMBER(chroot_base)},
	{.name = "uid",
	 .value = "UID",
	 .help = "User id that the program runs with",
	 .is_required = true,
	 .store = store_owner,
	 .offset = MEMBER(uid)},
	{.name = "gid",
	 .value = "GID",
	 .help = "Group id that the program runs with",
	 .is_required = true,
	 .store = store_owner,
	 .offset = MEMBER(gid)},
	{.name = "netns",
	 .value = "PATH",
	 .help = "Network namespace to join",
	 .store = flag_store_text,
	 .offset = MEMBER(netns)},
	{.name = "daemonize",
	 .help = "Leave the session, with /dev/null for input and output",
	 .store = flag_store_switch,
	 .offset = MEMBER(is_daemon)},
	{.name = "new-pid-ns",
	 .help = "Run the program in a new PID namespace",
	 .store = flag_store_switch,
	 .offset = MEMBER(has_pid_ns)},
	{.name = "parent-cgroup",
	 .value = "PATH",
	 .help = "Cgroup above the jail's (default: the program's file name)",
	 .store = store_parent},
	{.name = "cgroup-version",
	 .value = "1|2",
	 .help = "Version of the cgroups to use",
	 .by_default = "1",
	 .store = store_version},
	{.name = "cgroup",
	 .value = "FILE=VALUE",
	 .help = "Value for a file of the jail's cgroup; may be repeated",
	 .is_repeated = true,
	 .store = store_cgroup},
	{.name = "resource-limit",
	 .value = "NAME=N",
	 .help = "Limit fsize (bytes) or no-file (2048); may be repeated",
	 .is_repeated = true,
	 .store = store_limit},
	{.name = "copy-exec-file",
	 .help = "Copy the program into the jail, never bind-mount it",
	 .store = flag_store_switch,
	 .offset = MEMBER(copies_exec)},
	{.name = "help", .help = "Print this text and exit (also -h)"},
	{.name = "version", .help = "Print the version and exit"},
};

enum {
	FLAG_COUNT = ARRAY_COUNT(flags),
	NO_FILE_DEFAULT = 2048 /* [compat] */
};

const struct flag *jail_args_flags(size_t *count)
{
	*count = FLAG_COUNT;
	return flags;
}

int jail_args_parse(int argc, char *const argv[], struct jail_args *args, struct error *err)
{
	struct flags_line line = {
		.flags = flags, .flag_count = FLAG_COUNT, .argc = argc, .argv = argv};

	*args = (struct jail_args){.action = flags_begin(&line), .no_file = NO_FILE_DEFAULT};
	if (args->action != FLAGS_RUN) {
		return 0;
	}
	if (flags_match(&line, err) < 0) {
		return error_wrap(err, "Failed to parse arguments");
	}
	args->extra = line.argc < argc ? argv + line.argc + 1 : argv + argc;
	args->extra_count = line.argc < argc ? (size_t)(argc - line.argc - 1) : 0;
	return flags_store(&line, args, err);
}

void jail_args_print_help(FILE *out)
{
	fprintf(out,
		"Jailer v%s: runs squib in a jail of its own\n\n"
		"Usage: jailer --id ID --exec-file PATH --uid UID --gid GID [FLAGS] [-- ARGS]\n\n",
		SQUIB_VERSION);
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		flag_print(&flags[i], 26, out);
	}
	fputs("\nAny arguments after the -- separator will be supplied to the jailed binary.\n"
	      "\nExample:\n"
	      "  jailer --id vm-1 --exec-file /usr/local/bin/squib --uid 12000 --gid 12000 \\\n"
	      "      --cgroup-version 2 --cgroup memory.max=300M -- --config-file vm.json\n"
	      "\nMore: man jailer; docs/jailer.md tells how to run it in production.\n",
	      out);
}
