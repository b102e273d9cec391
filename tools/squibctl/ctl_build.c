/* SPDX-License-Identifier: Apache-2.0 */
/*
 * squibctl build.
 *
 * Theory of operation. What squibctl run says to the guest's first process by vsock is a file of
 * the initrd here, and the machine's console is the command's terminal: so nobody is needed beside
 * squib. All is made in a directory with another name, which is renamed when it is whole.
 */
#include "tools/squibctl/ctl_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/squibctl/ctl_image.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	MEMORY_MIB = 512,
	CHUNK = 1 << 30, /* bytes that are copied at once */
};

static const char run_script[] =
	"#!/bin/sh\n"
	"# Boots this machine: needs squib, here or in PATH or named by SQUIB, and /dev/kvm. The\n"
	"# console is the command's terminal.\n"
	"cd \"$(dirname \"$0\")\" || exit\n"
	"[ ! -x ./squib ] || SQUIB=${SQUIB:-./squib}\n"
	"exec \"${SQUIB:-squib}\" --no-api --config-file vm.json --level Error \"$@\"\n";

/* The path of a file in the directory that is made; heap. */
static char *path_in(const char *dir, const char *file)
{
	return ctl_text("%s/%s", dir, file);
}

static int write_file(const char *dir, const char *file, const void *data, size_t len, mode_t mode,
		      struct error *err)
{
	AUTO_FREE char *path = path_in(dir, file);

	if (path == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	if (ctl_write_file(path, data, len, err) < 0) {
		return -1;
	}
	return chmod(path, mode) == 0 ? 0 : error_sys(err, "Cannot set the mode of %s", path);
}

static int copy_file(const char *from, const char *dir, const char *file, struct error *err)
{
	AUTO_FREE char *path = path_in(dir, file);
	AUTO_FD in = -1;
	AUTO_FD out = -1;
	uint64_t left;

	if (path == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	if (fd_open_file(from, "A part of the machine", &in, &left, err) < 0) {
		return -1;
	}
	out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (out < 0) {
		return error_sys(err, "Cannot make %s", path);
	}
	while (left > 0) {
		ssize_t done = sendfile(out, in, NULL, min_u64(left, CHUNK));

		if (done <= 0) {
			return error_sys(err, "Cannot copy %s to %s", from, path);
		}
		left -= (uint64_t)done;
	}
	return 0;
}

/* The initrd, with the command in it. */
static int make_initrd(const struct ctl_args *args, const struct ctl_image *image, const char *dir,
		       struct error *err)
{
	static struct run_request request;
	static uint8_t payload[FRAME_MAX];
	const struct session_options options = {.has_terminal = true, .has_input = true};
	json_t *process = ctl_run_process(args, image);
	AUTO_FREE uint8_t *archive = NULL;
	size_t len = 0;
	int done = -1;

	if (json_array_size(json_object_get(process, "Args")) == 0) {
		(void)error_set(err, ERR_BAD_REQUEST,
				"The image names no command: say which one to run");
	} else if (session_request(process, &options, &request, err) == 0) {
		request.flags = RUN_TTY | RUN_STDIN | RUN_MAIN;
		/* Of the terminal that it is built at. */
		request.rows = 0;
		request.columns = 0;
		request.host = args->name != NULL ? args->name : "squib";
		size_t payload_len = run_request_write(&request, payload, sizeof(payload));

		done = payload_len > 0
			       ? ctl_image_archive(payload, payload_len, &archive, &len, err)
			       : error_set(err, ERR_TOO_LARGE,
					   "Command and environment have more than %zu bytes",
					   sizeof(payload));
	}
	json_decref(process);
	return done == 0 ? write_file(dir, "initrd", archive, len, 0644, err) : -1;
}

static int make_config(const struct ctl_args *args, const char *dir, struct error *err)
{
	uint64_t mib = MEMORY_MIB;
	char *end = NULL;
	unsigned long cpus = args->run.cpus != NULL ? strtoul(args->run.cpus, &end, 10) : 1;

	if (cpus == 0 || cpus > UINT8_MAX || (end != NULL && *end != '\0')) {
		return error_set(err, ERR_BAD_REQUEST, "--cpus is a number of CPUs, not '%s'",
				 args->run.cpus);
	}
	if (args->memory != NULL && !ctl_run_mib(args->memory, &mib)) {
		return error_set(err, ERR_BAD_REQUEST, "--memory is a size like 512m, not '%s'",
				 args->memory);
	}
	json_t *config = json_pack(
		"{s:{s:s, s:s, s:s}, s:[{s:s, s:s, s:b, s:b}], s:{s:I, s:I}, s:{}}", "boot-source",
		"kernel_image_path", "kernel", "initrd_path", "initrd", "boot_args",
		ctl_run_boot_args, "drives", "drive_id", "image", "path_on_host", "root.img",
		"is_root_device", 0, "is_read_only", 1, "machine-config", "vcpu_count",
		(json_int_t)cpus, "mem_size_mib", (json_int_t)mib, "entropy");
	AUTO_FREE char *text = config != NULL ? json_dumps(config, JSON_INDENT(2)) : NULL;

	json_decref(config);
	return text != NULL ? write_file(dir, "vm.json", text, strlen(text), 0644, err)
			    : error_set(err, ERR_HOST, "There is no memory for a configuration");
}

static int fill(const struct ctl_args *args, const char *dir, struct error *err)
{
	struct ctl_image image = {0};
	AUTO_FREE char *kernel = ctl_run_kernel(args, err);
	int done = -1;

	if (kernel != NULL && make_config(args, dir, err) == 0 &&
	    ctl_image_get(args->operands[0], false, &image, err) == 0 &&
	    make_initrd(args, &image, dir, err) == 0 &&
	    copy_file(kernel, dir, "kernel", err) == 0 &&
	    copy_file(image.disk, dir, "root.img", err) == 0) {
		done = write_file(dir, "run", run_script, strlen(run_script), 0755, err);
	}
	ctl_image_close(&image);
	return done;
}

/* Another name beside `dir`, so that one that was killed is in nobody's way. */
static int make_draft(const char *dir, char **draft, struct error *err)
{
	*draft = ctl_text("%s.XXXXXX", dir);
	if (*draft == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	return mkdtemp(*draft) != NULL && chmod(*draft, 0755) == 0
		       ? 0
		       : error_sys(err, "Cannot make the directory %s", *draft);
}

int ctl_build(const struct ctl_args *args)
{
	AUTO_FREE char *dir = strdup(args->operands[1]);
	AUTO_FREE char *draft = NULL;
	struct error err = {0};
	size_t len = dir != NULL ? strlen(dir) : 0;

	while (len > 1 && dir[len - 1] == '/') {
		dir[--len] = '\0';
	}
	if (dir == NULL) {
		(void)error_set(&err, ERR_HOST, "There is no memory for a path");
	} else if (access(dir, F_OK) == 0) {
		(void)error_set(&err, ERR_BAD_REQUEST, "There is a %s already: name another one",
				dir);
	} else if (make_draft(dir, &draft, &err) == 0) {
		if (fill(args, draft, &err) == 0 && rename(draft, dir) < 0) {
			(void)error_sys(&err, "Cannot rename %s", draft);
		}
		ctl_remove_tree(draft);
	}
	return ctl_run_end(err.kind == ERR_NONE ? CTL_EXIT_OK : -1, &err);
}
