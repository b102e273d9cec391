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
#include "vmm/base/flags.h"
#include "vmm/base/log.h"
#include "vmm/base/exitcode.h"

/* Strings are those of argv or constants. */
struct args {
	enum flags_action action; /* unless FLAGS_RUN, nothing else is filled in */
	const char *id;
	const char *api_sock;
	uint64_t api_payload_max; /* bytes */
	const char *config_file;  /* NULL where not given, as all strings below */
	bool no_api;
	const char *metadata;	  /* read and checked, for the metadata service to come */
	uint64_t mmds_size_limit; /* bytes; UINT64_MAX: as api_payload_max */
	const char *metrics_path;
	bool enable_pci;
	const char *gdb_socket;
	bool boot_timer;
	bool no_seccomp;
	const char *seccomp_filter;
	bool landlock;
	bool snapshot_version;
	const char *describe_snapshot;
	const char *describe_snapshot_json;
	const char *explain;
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

/* The table of all flags, for --help and for tests that compare documents with it. */
const struct flag *args_flags(size_t *count);

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
