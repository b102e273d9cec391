/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: Firecracker's flags, from one table. */
#ifndef VMM_ARGS_H
#define VMM_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/exitcode.h"

enum args_action {
	ARGS_RUN,
	ARGS_HELP,   /* args_print_help, then exit with 0 */
	ARGS_VERSION /* args_print_version, then exit with 0 */
};

/* Strings are those of argv or constants. */
struct args {
	enum args_action action; /* unless ARGS_RUN, only the defaults are filled in */
	const char *id;
	const char *api_sock;
	uint64_t api_payload_max; /* bytes */
	const char *config_file;  /* NULL where not given, as all strings below */
	bool no_api;
	const char *metadata;	  /* read and checked, for the metadata service to come */
	uint64_t mmds_size_limit; /* bytes; 0: as api_payload_max */
	const char *metrics_path;
	bool boot_timer;
	bool no_seccomp;
	const char *seccomp_filter;
	bool landlock;
	bool check_sandbox;
	bool check_sandbox_json;
	const char *log_path;
	const char *module;
	enum log_level level;
	bool show_level;
	bool show_log_origin;
	/* Microseconds as the jailer passes them; 0 where not given. */
	uint64_t start_time_us;
	uint64_t start_time_cpu_us;
	uint64_t parent_cpu_time_us;
	enum exit_code exit_code; /* after a failure: the status to exit with */
};

enum args_kind {
	ARGS_SWITCH, /* bool */
	ARGS_TEXT,   /* const char * */
	ARGS_ID,     /* const char * */
	ARGS_LEVEL,  /* enum log_level */
	ARGS_U64,    /* uint64_t */
};

enum args_group {
	ARGS_MACHINE,
	ARGS_LOG,
	ARGS_ISOLATION,
	ARGS_INFO,
	ARGS_GROUP_COUNT
};

struct args_flag {
	const char *name;  /* without the dashes */
	const char *value; /* what --help calls its value; NULL: it takes none */
	const char *help;
	enum args_group group;
	enum args_kind kind;
	size_t offset;		/* of its member in struct args; 0: none */
	const char *by_default; /* the value where not given */
	const char *requires;
	const char *forbids;
	const char *lacking; /* what this build lacks for it ("no PCI transport"); NULL: nothing */
};

/* The table of all flags, for --help and for tests that compare documents with it. */
const struct args_flag *args_flags(size_t *count);

/*
 * Reads argv. Failures are in Firecracker's words [compat]; main prints them to the log and to
 * standard error and exits with args->exit_code.
 */
MUST_CHECK int args_parse(int argc, char *const argv[], struct args *args, struct error *err);

void args_print_help(FILE *out);

/*
 * "squib v<version>"; under a name that begins with `firecracker`, Firecracker's own two lines,
 * which its clients parse. `program` is argv[0].
 */
void args_print_version(FILE *out, const char *program);

#endif
