/* SPDX-License-Identifier: Apache-2.0 */
/* squibctl run: an image, a machine, a command. */
#include "tools/squibctl/ctl_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_image.h"
#include "tools/squibctl/ctl_keeper.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_net.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_tool.h"
#include "tools/squibctl/ctl_volume.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	MEMORY_MIB = 512,
	BOOT_S = 120, /* for the guest to begin with the command */
	GUEST_CID = 3,
	CONSOLE_BYTES = 1 << 20, /* that a guest may write to its console's file in an hour */
	HOUR_MS = 3600 * 1000,
};

/* What the options ask for. */
struct wants {
	uint64_t cpus;
	uint64_t mib;
	json_t *volumes; /* owned */
	char *kernel;	 /* heap */
	unsigned boot_s;
};

const char ctl_run_boot_args[] = "console=ttyS0 quiet reboot=k panic=1 nomodule i8042.noaux "
				 "i8042.nomux i8042.dumbkbd swiotlb=noforce";

int ctl_run_end(int status, const struct error *err)
{
	if (err->msg[0] != '\0') {
		ctl_complain(err->msg);
	}
	return status >= 0 ? status : STATUS_OURS;
}

int ctl_run_detached(const struct machine *machine, int status)
{
	if (status != STATUS_DETACHED) {
		return status;
	}
	printf("\n%s\n", machine->name);
	return CTL_EXIT_OK;
}

/* --- words --- */

void ctl_run_set_variable(json_t *list, const char *text)
{
	size_t name_len = strcspn(text, "=");
	AUTO_FREE char *own = NULL;
	size_t i = 0;

	if (text[name_len] == '\0') {
		const char *value = getenv(text);

		if (value == NULL) {
			return;
		}
		own = ctl_text("%s=%s", text, value);
		text = own != NULL ? own : "";
	}
	while (i < json_array_size(list)) {
		const char *other = json_string_value(json_array_get(list, i));

		if (other != NULL && strncmp(other, text, name_len) == 0 &&
		    other[name_len] == '=') {
			json_array_remove(list, i);
		} else {
			i++;
		}
	}
	json_array_append_new(list, json_string(text));
}

json_t *ctl_run_words(const json_t *config, const char *entrypoint, const char *const *words)
{
	json_t *list = json_array();

	if (entrypoint != NULL) {
		json_array_append_new(list, json_string(entrypoint));
	} else {
		json_array_extend(list, json_object_get(config, "Entrypoint"));
	}
	if (words[0] == NULL && entrypoint == NULL) {
		json_array_extend(list, json_object_get(config, "Cmd"));
	}
	for (; words[0] != NULL; words++) {
		json_array_append_new(list, json_string(*words));
	}
	if (json_array_size(list) == 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

bool ctl_run_mib(const char *text, uint64_t *mib)
{
	static const struct {
		char letter;
		uint64_t bytes;
	} units[] = {{'\0', 1}, {'b', 1}, {'k', KIB}, {'m', MIB}, {'g', GIB}};
	char *end;
	uint64_t bytes;

	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || errno != 0 || (*end != '\0' && end[1] != '\0')) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if ((*end | (*end != '\0' ? ' ' : 0)) == units[i].letter) {
			*mib = mul_u64(number, units[i].bytes, &bytes) ? bytes / MIB : 0;
			return *mib > 0;
		}
	}
	return false;
}

int ctl_run_seconds(const char *text, const char *option, unsigned otherwise, unsigned *seconds,
		    struct error *err)
{
	bool is_number = text != NULL && *text != '\0' && text[strspn(text, "0123456789")] == '\0';
	unsigned long number = is_number ? strtoul(text, NULL, 10) : otherwise;

	*seconds = (unsigned)number;
	return (text == NULL || is_number) && number <= INT32_MAX / 1000
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST, "--%s is a number of seconds, not '%s'",
				   option, text);
}

struct session_options ctl_run_options(const struct ctl_args *args)
{
	bool is_terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
	bool is_implied =
		is_terminal && !args->run.interactive && !args->run.tty && !args->run.detach;

	return (struct session_options){
		.has_terminal = args->run.tty || is_implied,
		.has_input = args->run.interactive || is_implied,
		.only_starts = args->run.detach,
	};
}

json_t *ctl_run_process(const struct ctl_args *args, const struct ctl_image *image)
{
	static const char *const shell[] = {"/bin/sh", NULL};
	bool has_config = json_object_size(image->config) > 0;
	json_t *words = ctl_run_words(image->config, args->run.entrypoint, args->program);
	json_t *env = json_deep_copy(json_object_get(image->config, "Env"));
	const char *user = json_string_value(json_object_get(image->config, "User"));
	const char *dir = json_string_value(json_object_get(image->config, "WorkingDir"));

	if (words == NULL && !has_config) {
		/* A directory or a disk says nothing. */
		words = ctl_run_words(NULL, NULL, shell);
	}
	env = env != NULL ? env : json_array();
	for (unsigned i = 0; i < args->run.env.count; i++) {
		ctl_run_set_variable(env, args->run.env.items[i]);
	}
	user = args->run.user != NULL ? args->run.user : user;
	dir = args->run.workdir != NULL ? args->run.workdir : dir;
	return json_pack("{s:o, s:o, s:s, s:s}", "Args", words != NULL ? words : json_array(),
			 "Env", env, "User", user != NULL ? user : "", "WorkingDir",
			 dir != NULL ? dir : "");
}

/* --- the machine --- */

char *ctl_run_kernel(const struct ctl_args *args, struct error *err)
{
	static const char *const names[] = {"vmlinux", "Image", "bzImage"};
	const char *variable = getenv("SQUIB_KERNEL");
	const char *given = args->run.kernel;
	AUTO_FREE char *home = ctl_home("XDG_DATA_HOME", ".local/share");
	const char *const dirs[] = {home != NULL ? home : "", "/usr/local/share/squib",
				    "/usr/share/squib"};

	if (given == NULL && variable != NULL && variable[0] != '\0') {
		given = variable;
	}
	if (given != NULL) {
		char *path = realpath(given, NULL);

		if (path == NULL) {
			(void)error_sys(err, "Cannot find the kernel %s", given);
		}
		return path;
	}
	for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
		for (size_t j = 0; j < ARRAY_COUNT(names); j++) {
			char *path = ctl_text("%s/%s", dirs[i], names[j]);

			if (path != NULL && access(path, R_OK) == 0) {
				return path;
			}
			free(path);
		}
	}
	(void)error_set(err, ERR_BAD_REQUEST,
			"There is no guest kernel: name one by --kernel or SQUIB_KERNEL, or put it "
			"at %s/vmlinux (docs/guest-kernels.md says what it needs)",
			home);
	return NULL;
}

json_t *ctl_run_serial(void)
{
	return json_pack("{s:{s:i, s:i}}", "rate_limiter", "size", CONSOLE_BYTES, "refill_time",
			 HOUR_MS);
}

int ctl_run_new_disk(struct machine *machine, int *disk, struct error *err)
{
	AUTO_FREE char *home = ctl_home("XDG_DATA_HOME", ".local/share");
	AUTO_FREE char *dir = home != NULL ? ctl_text("%s/disks", home) : NULL;
	AUTO_FREE char *path = dir != NULL ? ctl_text("%s/%s.ext4", dir, machine->name) : NULL;

	if (path == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	if (ctl_make_dir(dir, err) < 0) {
		return -1;
	}
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST) {
		return error_set(err, ERR_BAD_STATE,
				 "There is a disk %s of an earlier machine already: remove it, or "
				 "choose another name",
				 path);
	}
	if (fd < 0) {
		return error_sys(err, "Cannot make the disk %s", path);
	}
	json_object_set_new(machine->record, "disk", json_string(path));
	*disk = fd_take(&fd);
	return ctl_machine_save(machine, err);
}

/* A sparse ext4 of its own that takes what the guest writes. */
static int make_disk(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	const char *argv[] = {"mke2fs", "-q", "-F", "-t", "ext4", NULL, NULL};
	const struct ctl_tool tool = {
		.what = "making the disk", .package = "e2fsprogs", .argv = argv};
	AUTO_FD fd = -1;
	uint64_t mib;

	if (args->run.disk == NULL) {
		return 0;
	}
	if (!ctl_run_mib(args->run.disk, &mib) || ctl_run_new_disk(machine, &fd, err) < 0) {
		return -1;
	}
	argv[ARRAY_COUNT(argv) - 2] = ctl_machine_text(machine, "disk");
	if (ftruncate(fd, (off_t)(mib * MIB)) < 0) {
		return error_sys(err, "Cannot make the disk %s so long",
				 ctl_machine_text(machine, "disk"));
	}
	return ctl_tool_run(&tool, err);
}

static json_t *drive(const char *id, const char *path, bool is_read_only)
{
	return json_pack("{s:s, s:s, s:b, s:b}", "drive_id", id, "path_on_host", path,
			 "is_root_device", 0, "is_read_only", is_read_only);
}

/* squib's configuration file. */
static int write_config(const struct ctl_args *args, const struct machine *machine,
			const struct ctl_image *image, const char *kernel, const char *initrd,
			struct error *err)
{
	AUTO_FREE char *path = ctl_machine_path(machine, "vm.json");
	AUTO_FREE char *vsock = ctl_machine_path(machine, "vsock");
	const char *disk = ctl_machine_text(machine, "disk");
	AUTO_FREE char *line =
		ctl_text("%s%s%s", ctl_run_boot_args, disk != NULL ? " squib.disk=/dev/vdb" : "",
			 ctl_net_boot_args(machine));
	json_t *drives = json_pack("[o]", drive("image", image->disk, true));

	if (disk != NULL) {
		json_array_append_new(drives, drive("disk", disk, false));
	}
	json_t *config = json_pack(
		"{s:{s:s, s:s, s:s}, s:o, s:o, s:o, s:{s:I, s:I, s:b}, s:{s:i, s:s}, "
		"s:{}, s:o}",
		"boot-source", "kernel_image_path", kernel, "initrd_path", initrd, "boot_args",
		line, "drives", drives, "network-interfaces", ctl_net_config(args, machine),
		"filesystems", ctl_volumes_config(machine), "machine-config", "vcpu_count",
		ctl_machine_number(machine, "cpus"), "mem_size_mib",
		ctl_machine_number(machine, "memory_mib"), "forkable", args->run.forkable, "vsock",
		"guest_cid", GUEST_CID, "uds_path", vsock, "entropy", "serial", ctl_run_serial());
	AUTO_FREE char *text = config != NULL ? json_dumps(config, JSON_INDENT(2)) : NULL;

	json_decref(config);
	return path != NULL && text != NULL
		       ? ctl_write_file(path, text, strlen(text), err)
		       : error_set(err, ERR_HOST, "There is no memory for a configuration");
}

/* What the options say, before an image is fetched for nothing. */
static int check(const struct ctl_args *args, struct wants *wants, struct error *err)
{
	uint64_t disk_mib;
	char *end = NULL;

	wants->cpus = args->run.cpus != NULL ? strtoull(args->run.cpus, &end, 10) : 1;
	wants->mib = MEMORY_MIB;
	if (wants->cpus == 0 || wants->cpus > UINT8_MAX || (end != NULL && *end != '\0')) {
		return error_set(err, ERR_BAD_REQUEST, "--cpus is a number of CPUs, not '%s'",
				 args->run.cpus);
	}
	if (args->memory != NULL && !ctl_run_mib(args->memory, &wants->mib)) {
		return error_set(err, ERR_BAD_REQUEST, "--memory is a size like 512m, not '%s'",
				 args->memory);
	}
	if (args->run.disk != NULL && !ctl_run_mib(args->run.disk, &disk_mib)) {
		return error_set(err, ERR_BAD_REQUEST, "--disk is a size like 2g, not '%s'",
				 args->run.disk);
	}
	if (ctl_run_seconds(args->run.boot_timeout, "boot-timeout", BOOT_S, &wants->boot_s, err) <
		    0 ||
	    ctl_net_check(args, err) < 0) {
		return -1;
	}
	wants->kernel = ctl_run_kernel(args, err);
	if (wants->kernel == NULL) {
		return -1;
	}
	wants->volumes = ctl_volumes_read(&args->run.volumes, err);
	if (wants->volumes == NULL) {
		return -1;
	}
	return args->run.forkable && ctl_volumes_are_shared(wants->volumes)
		       ? error_set(err, ERR_BAD_REQUEST,
				   "A machine with a volume that is shared can't be forked: leave "
				   "out --volume, and copy by squibctl cp, or --forkable")
		       : 0;
}

static int make_record(const struct ctl_args *args, const struct wants *wants,
		       struct machine *machine, const struct ctl_image *image, struct error *err)
{
	const struct session_options options = ctl_run_options(args);
	json_t *process = ctl_run_process(args, image);
	const char *signal = json_string_value(json_object_get(image->config, "StopSignal"));

	json_object_set_new(machine->record, "image", json_string(args->operands[0]));
	json_object_set_new(machine->record, "image_disk", json_string(image->disk));
	json_object_set_new(machine->record, "process", process);
	ctl_net_record(args, machine);
	json_object_set(machine->record, "volumes", wants->volumes);
	json_object_set_new(machine->record, "tty", json_boolean(options.has_terminal));
	json_object_set_new(machine->record, "interactive", json_boolean(options.has_input));
	json_object_set_new(machine->record, "stop_signal",
			    json_string(signal != NULL ? signal : "TERM"));
	json_object_set_new(machine->record, "cpus", json_integer((json_int_t)wants->cpus));
	json_object_set_new(machine->record, "memory_mib", json_integer((json_int_t)wants->mib));
	json_object_set_new(machine->record, "boot_timeout", json_integer(wants->boot_s));
	json_object_set_new(machine->record, "forkable", json_boolean(args->run.forkable));
	return json_array_size(json_object_get(process, "Args")) > 0
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "The image names no command: say which one to run");
}

static int prepare(const struct ctl_args *args, const struct wants *wants, struct machine *machine,
		   const struct ctl_image *image, struct error *err)
{
	AUTO_FREE char *initrd = NULL;

	if (make_record(args, wants, machine, image, err) < 0 ||
	    ctl_image_initrd(&initrd, err) < 0 || make_disk(args, machine, err) < 0 ||
	    write_config(args, machine, image, wants->kernel, initrd, err) < 0) {
		return -1;
	}
	return ctl_machine_save(machine, err);
}

static int start(const struct ctl_args *args, struct machine *machine, struct error *err)
{
	static struct frames frames;
	static struct run_request request;
	struct session_options options = ctl_run_options(args);
	AUTO_FD client = -1;

	options.may_detach = true;
	if (session_request(json_object_get(machine->record, "process"), &options, &request, err) <
	    0) {
		return -1;
	}
	request.flags |= RUN_MAIN;
	ctl_volumes_request(machine, &request);
	request.host = machine->name;
	const struct keeper_plan plan = {
		.way = KEEPER_BOOTS, .request = &request, .removes = args->run.remove};

	if (keeper_start(machine, &plan, &client, err) < 0) {
		return -1;
	}
	frames.fd = client;
	int status = session_run(&frames, &options, err);

	if (status < 0 && err->kind == ERR_GUEST) {
		/* It has a last word for all other ends. */
		error_clear(err);
		(void)error_set(
			err, ERR_HOST,
			"The process that keeps %s was killed, or does not answer: squibctl "
			"rm --force %s ends and removes what is left",
			machine->name, machine->name);
	}
	if (args->run.detach && status == 0) {
		puts(machine->name);
	}
	return ctl_run_detached(machine, status);
}

int ctl_pull(const struct ctl_args *args)
{
	struct ctl_image image = {0};
	struct error err = {0};
	int status = -1;

	if (ctl_image_get(args->operands[0], true, &image, &err) == 0) {
		puts(image.disk);
		status = CTL_EXIT_OK;
	}
	ctl_image_close(&image);
	return ctl_run_end(status, &err);
}

int ctl_run(const struct ctl_args *args)
{
	struct ctl_image image = {0};
	struct machine machine = {0};
	struct error err = {0};
	struct wants wants = {0};
	int status = -1;

	if (check(args, &wants, &err) == 0 &&
	    ctl_image_get(args->operands[0], false, &image, &err) == 0 &&
	    ctl_machine_create(args->name, &machine, &err) == 0) {
		if (prepare(args, &wants, &machine, &image, &err) < 0) {
			ctl_machine_remove(&machine);
		} else {
			status = start(args, &machine, &err);
		}
	}
	json_decref(wants.volumes);
	free(wants.kernel);
	ctl_machine_close(&machine);
	ctl_image_close(&image);
	return ctl_run_end(status, &err);
}
