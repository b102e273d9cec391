/* SPDX-License-Identifier: Apache-2.0 */
/* seccompiler: compiles a seccomp policy in JSON to the filters that squib loads. */
#include <errno.h>
#include <getopt.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "seccomp/compile.h"
#include "seccomp/filter.h"
#include "seccomp/policy.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/version.h"

enum {
	POLICY_LEN_MAX = 1 << 20
};

struct options {
	const char *input;
	const char *arch;
	const char *output;
	bool is_basic;
	bool is_split;
};

static const char usage[] =
	"usage: seccompiler --input-file POLICY --target-arch x86_64|aarch64 [OPTION...]\n"
	"\n"
	"Compiles the seccomp policy POLICY (JSON) to a file for squib's --seccomp-filter.\n"
	"\n"
	"  -i, --input-file FILE    the policy\n"
	"  -t, --target-arch ARCH   what the filters are for: x86_64 or aarch64\n"
	"  -o, --output-file FILE   where they go (default: seccomp_binary_filter.out)\n"
	"  -b, --basic              leave out all conditions on arguments\n"
	"      --split-output       also write <thread>.bpf, one raw program each, beside FILE\n"
	"  -h, --help               print this text\n"
	"  -V, --version            print the version\n";

struct program {
	struct sock_filter *code;
	size_t len; /* bytes */
};

static int find_thread(const char *name)
{
	for (int i = 0; i < FILTER_THREADS; i++) {
		if (strcasecmp(filter_thread_names[i], name) == 0) {
			return i;
		}
	}
	return -1;
}

static int compile(const struct options *options, const struct policy *policy,
		   struct program programs[FILTER_THREADS], struct error *err)
{
	for (size_t i = 0; i < policy->filter_count; i++) {
		const struct policy_filter *filter = &policy->filters[i];
		int thread = find_thread(filter->thread);

		if (thread < 0 || programs[thread].code != NULL) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"filter `%s`: there must be vmm, api and vcpu, and may be fork, "
				"debug and no_pci",
				filter->thread);
		}
		struct program *program = &programs[thread];

		if (compile_filter(filter, options->arch, !options->is_basic, &program->code,
				   &program->len, err) < 0) {
			return -1;
		}
		if (program->len / sizeof(*program->code) > FILTER_INSTRUCTIONS_MAX) {
			return error_set(err, ERR_TOO_LARGE,
					 "filter `%s`: more than %d instructions", filter->thread,
					 FILTER_INSTRUCTIONS_MAX);
		}
	}
	for (int i = 0; i < FILTER_THREADS; i++) {
		if (i < FILTER_FORK && programs[i].code == NULL) {
			return error_set(err, ERR_BAD_REQUEST, "the filter `%s` is missing",
					 filter_thread_names[i]);
		}
	}
	return 0;
}

static int write_split(const struct options *options, const struct program *program,
		       const char *thread, struct error *err)
{
	const char *slash = strrchr(options->output, '/');
	int folder = slash != NULL ? (int)(slash - options->output + 1) : 0;
	char path[4096];

	if (snprintf(path, sizeof(path), "%.*s%s.bpf", folder, options->output, thread) >=
	    (int)sizeof(path)) {
		return error_set(err, ERR_BAD_REQUEST, "the path %s is too long", options->output);
	}
	FILE *file = fopen(path, "wbe");

	if (file == NULL) {
		return error_sys(err, "Cannot create %s", path);
	}
	bool is_written = fwrite(program->code, program->len, 1, file) == 1;

	if (fclose(file) != 0 || !is_written) {
		return error_sys(err, "Cannot write %s", path);
	}
	return 0;
}

static int write_file(const struct options *options, const struct program *programs,
		      struct error *err)
{
	struct filter_header header = {.arch = seccomp_arch_resolve_name(options->arch)};
	FILE *file = fopen(options->output, "wbe");

	if (file == NULL) {
		return error_sys(err, "Cannot create %s", options->output);
	}
	memcpy(header.magic, filter_magic, sizeof(header.magic));
	for (int i = 0; i < FILTER_THREADS; i++) {
		header.counts[i] = (uint32_t)(programs[i].len / sizeof(*programs[i].code));
	}
	bool is_written = fwrite(&header, sizeof(header), 1, file) == 1;

	for (int i = 0; i < FILTER_THREADS; i++) {
		is_written &= programs[i].len == 0 ||
			      fwrite(programs[i].code, programs[i].len, 1, file) == 1;
	}
	if (fclose(file) != 0 || !is_written) {
		return error_sys(err, "Cannot write %s", options->output);
	}
	for (int i = 0; options->is_split && i < FILTER_THREADS; i++) {
		if (programs[i].len > 0 &&
		    write_split(options, &programs[i], filter_thread_names[i], err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int run(const struct options *options, struct error *err)
{
	struct program programs[FILTER_THREADS] = {0};
	AUTO_FREE char *text = NULL;
	struct policy policy = {0};
	size_t len;
	int result = -1;

	if (read_file(options->input, "The policy", POLICY_LEN_MAX, &text, &len, err) < 0) {
		return -1;
	}
	if (policy_parse(text, len, &policy, err) < 0 ||
	    compile(options, &policy, programs, err) < 0) {
		error_wrap(err, "%s", options->input);
	} else {
		result = write_file(options, programs, err);
	}
	for (int i = 0; i < FILTER_THREADS; i++) {
		free(programs[i].code);
	}
	policy_free(&policy);
	return result;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"input-file", required_argument, NULL, 'i'},
		{"target-arch", required_argument, NULL, 't'},
		{"output-file", required_argument, NULL, 'o'},
		{"basic", no_argument, NULL, 'b'},
		{"split-output", no_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "i:t:o:bhV", names, NULL)) != -1) {
		switch (option) {
		case 'i':
			options->input = optarg;
			break;
		case 't':
			options->arch = optarg;
			break;
		case 'o':
			options->output = optarg;
			break;
		case 'b':
			options->is_basic = true;
			break;
		case 's':
			options->is_split = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		case 'V':
			puts("seccompiler " SQUIB_VERSION);
			exit(EXIT_SUCCESS);
		default:
			return -1;
		}
	}
	return optind == argc && options->input != NULL && options->arch != NULL ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct options options = {.output = "seccomp_binary_filter.out"};
	struct error err = {0};

	if (parse_options(argc, argv, &options) < 0) {
		fputs(usage, stderr);
		return EXIT_FAILURE;
	}
	if (run(&options, &err) < 0) {
		fprintf(stderr, "seccompiler: %s\n", err.msg);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
