/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines made of others.
 *
 * Theory of operation. A clone is a machine as any: a name, a directory, a record, and a keeper,
 * which takes the command of its guest over. Of the record it has what the command and the guest
 * are; its sockets, its passt and its disk are its own. A disk is copied while the machine that it
 * is of stands still, by reference where the file system can do that, and else without its holes.
 * All that can fail without squib is done before squib is asked, and what was made goes if it
 * refuses. Who wants to end us by a signal waits until that machine goes on. Children are recorded
 * and get their keepers before one of them is waited for: their commands wait some seconds only.
 */
#include "tools/squibctl/ctl_clone.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "tools/lib/progress.h"
#include "tools/squibctl/ctl_copy_file.h"
#include "tools/squibctl/ctl_events.h"
#include "tools/squibctl/ctl_helper.h"
#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_images.h"
#include "tools/squibctl/ctl_keeper.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_net.h"
#include "tools/squibctl/ctl_overrides.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_session.h"
#include "tools/squibctl/ctl_snapshot.h"
#include "tools/squibctl/ctl_tool.h"
#include "tools/squibctl/ctl_volume.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	MIB_SHIFT = 20,
	BLOCK = 512, /* of st_blocks */
};

/* Files of a directory that save makes. The record is the last one: what lacks it is incomplete. */
static const char saved_record[] = "machine.json";
static const char saved_disk[] = "disk";

/* What a machine's guest and its command are, of a record. */
static const char *const kept[] = {
	"image",       "image_disk", "process",	   "net",	   "tty",      "interactive",
	"stop_signal", "cpus",	     "memory_mib", "boot_timeout", "forkable",
};

/* --- a clone --- */

struct clone {
	struct machine machine;
	int client;	      /* its keeper, for session_run */
	pid_t passt;	      /* 0: none */
	unsigned long number; /* for a % of --net; 0: none */
};

/* Its directory, its record, and an empty disk if there was one. ERR_BAD_STATE: one of those is
 * there by that name. */
static int make(const char *name, const json_t *record, struct machine *machine, struct error *err)
{
	AUTO_FD disk = -1;

	if (ctl_machine_create(name, machine, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < ARRAY_COUNT(kept); i++) {
		json_object_set(machine->record, kept[i], json_object_get(record, kept[i]));
	}
	if (ctl_machine_save(machine, err) == 0 && (json_object_get(record, "disk") == NULL ||
						    ctl_run_new_disk(machine, &disk, err) == 0)) {
		return 0;
	}
	ctl_machine_remove(machine);
	return -1;
}

/* Makes its disk, if it has one, like that at `path`. */
static int copy_disk(const char *path, const struct machine *machine, struct error *err)
{
	const char *disk = ctl_machine_text(machine, "disk");
	AUTO_FD to = disk != NULL ? open(disk, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (disk == NULL) {
		return 0;
	}
	if (to < 0) {
		return error_sys(err, "Cannot open the disk %s", disk);
	}
	return ctl_copy_file(path, to, err) == 0 ? 0
						 : error_wrap(err, "Cannot make the disk %s", disk);
}

static void unmake(struct clone *clone)
{
	if (clone->machine.record != NULL) {
		/* An answer may be lost whose request was obeyed. */
		ctl_machine_end_squib(&clone->machine);
		ctl_machine_remove(&clone->machine);
	}
	if (clone->passt > 0) {
		process_end(clone->passt, process_born(clone->passt));
	}
	ctl_machine_close(&clone->machine);
}

/* Puts what it has for itself alone into a child of PUT /fork, or a body of PUT /snapshot/load. */
static json_t * override(const struct ctl_args *args, const struct machine *machine,
			 unsigned long number, json_t *body)
{
	AUTO_FREE char *vsock = ctl_machine_path(machine, "vsock");
	AUTO_FREE char *socket = ctl_helper_file(machine, CTL_NET_HELPER, "sock");
	const char *disk = ctl_machine_text(machine, "disk");
	const char *image = ctl_machine_text(machine, "image_disk");
	json_t *drives = json_pack("[{s:s, s:s}]", "drive_id", "image", "path_on_host", image);
	json_t *nets = ctl_overrides(&args->nets, "iface_id", "host_dev_name", number);

	if (disk != NULL) {
		json_array_append_new(
			drives, json_pack("{s:s, s:s}", "drive_id", "disk", "path_on_host", disk));
	}
	if (ctl_net_is_user(machine)) {
		json_array_append_new(nets,
				      json_pack("{s:s, s:{s:s, s:s}}", "iface_id", "eth0",
						"backend", "type", "stream", "socket", socket));
	}
	json_object_set_new(body, "drive_overrides", drives);
	json_object_set_new(body, "network_overrides", nets);
	json_object_set_new(body, "vsock_override", json_pack("{s:s}", "uds_path", vsock));
	return body;
}

static const struct session_options begins = {.only_starts = true, .may_detach = true};

/* Has its keeper take the command over. */
static int begin(struct machine *machine, struct keeper_plan plan, int *client, struct error *err)
{
	static struct run_request request;
	const json_t *process = json_object_get(machine->record, "process");

	*client = -1;
	if (session_request(process, &begins, &request, err) < 0) {
		return -1;
	}
	request.flags = RUN_TAKE;
	request.host = machine->name;
	plan.request = &request;
	return keeper_start(machine, &plan, client, err);
}

int ctl_clone_await(const struct machine *machine, int *client,
		    const struct session_options *options, struct error *err)
{
	static struct frames frames;

	memset(&frames, 0, sizeof(frames));
	frames.fd = *client;
	int status = session_run(&frames, options, err);

	fd_close(client);
	if (status != 0 && err->kind == ERR_NONE) {
		(void)error_set(err, ERR_BAD_STATE, "The command of %s has ended: squibctl wait %s",
				machine->name, machine->name);
	}
	return status == 0 ? 0 : -1;
}

/* Prints its name when its keeper has the command. */
static int await(const struct machine *machine, int *client, struct error *err)
{
	int status = ctl_clone_await(machine, client, &begins, err);

	if (status == 0) {
		puts(machine->name);
	}
	return status;
}

/* A clone has no TAP of the machine that it is made of. */
static int check_nets(const struct ctl_args *args, const struct machine *machine, struct error *err)
{
	const char *net = ctl_machine_text(machine, "net");
	bool has_tap = net != NULL && strncmp(net, "tap=", strlen("tap=")) == 0;

	if (has_tap && args->nets.count == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s is on a TAP, which is one machine's alone: name another one "
				 "by --net eth0=DEV",
				 machine->name);
	}
	if (!has_tap && args->nets.count > 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "--net eth0=DEV is for machines on TAPs: %s has %s", machine->name,
				 net != NULL && strcmp(net, "user") == 0 ? "the host's network"
									 : "no network");
	}
	return 0;
}

/* What a clone can't have of the machine that it is made of. */
static int check_parts(const struct ctl_args *args, const struct machine *machine,
		       struct error *err)
{
	if (check_nets(args, machine, err) < 0) {
		return -1;
	}
	if (json_array_size(json_object_get(machine->record, "publish")) > 0) {
		fprintf(stderr, "squibctl: The ports that %s publishes stay its own\n",
			machine->name);
	}
	return 0;
}

static int worse(int a, int b)
{
	return a != CTL_EXIT_OK ? a : b;
}

/* --- a machine that stands still --- */

struct pause {
	int fd; /* of its API; the caller's */
	bool was_running;
};

static enum ctl_exit stand_still(struct pause *pause)
{
	enum ctl_exit code = ctl_find_running(pause->fd, &pause->was_running);

	return code == CTL_EXIT_OK && pause->was_running ? ctl_set_running(pause->fd, false) : code;
}

/* Lets it go on, whatever `code` says of what was done meanwhile. */
static enum ctl_exit go_on(const struct pause *pause, enum ctl_exit code)
{
	enum ctl_exit resumed = pause->was_running ? ctl_set_running(pause->fd, true) : CTL_EXIT_OK;

	return code != CTL_EXIT_OK ? code : resumed;
}

static int open_running(const char *name, struct machine *machine, int *fd, struct error *err)
{
	if (ctl_machine_open(name, machine, err) < 0 || ctl_machine_check_runs(machine, err) < 0) {
		return -1;
	}
	AUTO_FREE char *path = ctl_machine_path(machine, "api.sock");

	return path != NULL ? ctl_http_connect(path, fd, err)
			    : error_set(err, ERR_HOST, "There is no memory for a path");
}

/* --- forks --- */

struct job {
	const struct ctl_args *args;
	struct machine parent;
	struct clone clones[CLONES_MAX];
	unsigned long count; /* that are wanted */
	unsigned long made;
	bool has_forked; /* their squibs are there */
};

/* NAME-1 and so on, but numbers that are taken. */
static int make_children(struct job *job, struct error *err)
{
	const char *prefix = job->args->name != NULL ? job->args->name : job->parent.name;
	unsigned long number = 0;

	while (job->made < job->count) {
		struct clone *clone = &job->clones[job->made];
		AUTO_FREE char *name = ctl_text("%s-%lu", prefix, ++number);

		if (name != NULL && make(name, job->parent.record, &clone->machine, err) == 0) {
			clone->number = number;
			json_object_set_new(clone->machine.record, "landlock",
					    json_boolean(job->args->landlock));
			job->made++;
		} else if (err->kind == ERR_BAD_STATE) {
			ctl_machine_close(&clone->machine);
			error_clear(err);
		} else {
			ctl_machine_close(&clone->machine);
			return -1;
		}
	}
	for (unsigned long i = 0; i < job->made; i++) {
		struct clone *clone = &job->clones[i];

		if (ctl_net_start(&clone->machine, &clone->passt, err) < 0) {
			return -1;
		}
		if (clone->passt > 0) {
			/* For whoever removes it, if we should be killed. */
			ctl_machine_set_process(&clone->machine, "passt", clone->passt);
			if (ctl_machine_save(&clone->machine, err) < 0) {
				return -1;
			}
		}
	}
	return 0;
}

static int copy_disks(struct job *job, struct error *err)
{
	const char *disk = ctl_machine_text(&job->parent, "disk");

	for (unsigned long i = 0; i < job->made; i++) {
		if (copy_disk(disk, &job->clones[i].machine, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static json_t *child_body(const struct ctl_args *args, const struct clone *clone)
{
	AUTO_FREE char *socket = ctl_machine_path(&clone->machine, "api.sock");
	AUTO_FREE char *console = ctl_machine_path(&clone->machine, "console");
	json_t *body = ctl_run_serial();

	json_object_set(body, "serial_rate_limiter", json_object_get(body, "rate_limiter"));
	json_object_del(body, "rate_limiter");
	json_object_set_new(body, "id", json_string(clone->machine.name));
	json_object_set_new(body, "api_sock", json_string(socket));
	json_object_set_new(body, "serial_out_path", json_string(console));
	json_object_set_new(body, "log_path", json_string(console));
	return override(args, &clone->machine, clone->number, body);
}

/* Their squibs, of one instant. */
static enum ctl_exit fork_squibs(struct job *job, int fd)
{
	json_t *list = json_array();
	struct ctl_reply reply = {0};
	const json_t *child;
	size_t i;

	for (unsigned long n = 0; n < job->made; n++) {
		json_array_append_new(list, child_body(job->args, &job->clones[n]));
	}
	json_t *body = json_pack("{s:o, s:b}", "children", list, "landlock", job->args->landlock);
	AUTO_FREE char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL) {
		return ctl_fail(CTL_EXIT_USAGE, "A name is no UTF-8", NULL);
	}
	enum ctl_exit code = ctl_request(fd, "PUT", "/fork", text, &reply);
	json_t *answer = json_loads(reply.body != NULL ? reply.body : "", 0, NULL);

	json_array_foreach(json_object_get(answer, "children"), i, child)
	{
		if (i < job->made) {
			ctl_machine_set_process(
				&job->clones[i].machine, "squib",
				(pid_t)json_integer_value(json_object_get(child, "pid")));
		}
	}
	json_decref(answer);
	free(reply.body);
	return code;
}

/* The disks' and the memory's instant is the same: the parent stands still where it has one. */
static enum ctl_exit fork_at_once(struct job *job, int fd, struct error *err)
{
	struct pause pause = {.fd = fd};
	bool has_disk = ctl_machine_text(&job->parent, "disk") != NULL;
	enum ctl_exit code = has_disk ? stand_still(&pause) : CTL_EXIT_OK;

	if (code != CTL_EXIT_OK) {
		return code;
	}
	code = copy_disks(job, err) < 0 ? CTL_EXIT_REFUSED : fork_squibs(job, fd);
	job->has_forked = code == CTL_EXIT_OK;
	return go_on(&pause, code);
}

/* Who their squibs are, before anything may fail, and then their keepers. */
static int begin_children(struct job *job)
{
	int result = CTL_EXIT_OK;
	struct error err = {0};

	for (unsigned long i = 0; i < job->made; i++) {
		if (ctl_machine_save(&job->clones[i].machine, &err) < 0) {
			result = ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
			error_clear(&err);
		}
	}
	for (unsigned long i = 0; i < job->made; i++) {
		struct clone *clone = &job->clones[i];
		const struct keeper_plan plan = {.way = KEEPER_TAKES,
						 .removes = job->args->run.remove};

		if (begin(&clone->machine, plan, &clone->client, &err) < 0) {
			result = ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
			error_clear(&err);
		}
	}
	return result;
}

static int await_children(struct job *job)
{
	int result = CTL_EXIT_OK;

	for (unsigned long i = 0; i < job->made; i++) {
		struct clone *clone = &job->clones[i];
		struct error err = {0};

		if (clone->client >= 0 && await(&clone->machine, &clone->client, &err) != 0) {
			result = ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
		}
		ctl_machine_close(&clone->machine);
	}
	return result;
}

/* Its squib opens no other files, so nothing is made of it. */
static int check_open(const struct machine *machine, const char *what, struct error *err)
{
	return !json_is_true(json_object_get(machine->record, "landlock"))
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "%s is held in by Landlock, and can't be %s: take the machine "
				   "that it was forked from",
				   machine->name, what);
}

static int check_fork(const struct job *job, struct error *err)
{
	if (check_open(&job->parent, "forked", err) < 0) {
		return -1;
	}
	return json_is_true(json_object_get(job->parent.record, "forkable"))
		       ? check_parts(job->args, &job->parent, err)
		       : error_set(err, ERR_BAD_REQUEST,
				   "%s can't be forked: a machine that is to be runs with "
				   "--forkable",
				   job->parent.name);
}

int ctl_clone_fork(const struct ctl_args *args)
{
	static struct job job;
	struct error err = {0};
	AUTO_FD fd = -1;
	int result = CTL_EXIT_REFUSED;
	sigset_t mask = ctl_hold_ends();

	job.args = args;
	job.count = args->count != NULL ? strtoul(args->count, NULL, 10) : 1;
	if (open_running(args->operands[0], &job.parent, &fd, &err) == 0 &&
	    check_fork(&job, &err) == 0 && make_children(&job, &err) == 0) {
		result = (int)fork_at_once(&job, fd, &err);
	}
	if (job.has_forked) {
		ctl_event(&job.parent, "forked", CTL_NO_STATUS);
		result = worse(result, begin_children(&job));
	}
	for (unsigned long i = 0; !job.has_forked && i < job.made; i++) {
		unmake(&job.clones[i]);
	}
	ctl_release_ends(&mask);
	if (job.has_forked) {
		result = worse(result, await_children(&job));
	}
	ctl_machine_close(&job.parent);
	return err.kind != ERR_NONE ? (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL) : result;
}

/* --- saving --- */

static int save_disk(const struct machine *machine, const char *dir, struct error *err)
{
	const char *disk = ctl_machine_text(machine, "disk");
	AUTO_FREE char *path = ctl_text("%s/%s", dir, saved_disk);
	AUTO_FD to = disk != NULL && path != NULL
			     ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
			     : -1;

	if (disk == NULL) {
		return 0;
	}
	return to >= 0 ? ctl_copy_file(disk, to, err) : error_sys(err, "Cannot make %s", path);
}

static int save_record(const struct machine *machine, const char *dir, struct error *err)
{
	AUTO_FREE char *path = ctl_text("%s/%s", dir, saved_record);
	AUTO_FREE char *text = json_dumps(machine->record, JSON_INDENT(2));

	return path != NULL && text != NULL
		       ? ctl_write_file(path, text, strlen(text), err)
		       : error_set(err, ERR_HOST, "There is no memory for a record");
}

/* Memory, state and disk of one instant, and the record. */
static enum ctl_exit save_parts(const struct machine *machine, const char *dir, int fd,
				bool *is_saved, struct error *err)
{
	struct pause pause = {.fd = fd};
	AUTO_FREE char *state = ctl_text("%s/state", dir);
	AUTO_FREE char *memory = ctl_text("%s/memory", dir);
	enum ctl_exit code = stand_still(&pause);

	if (code != CTL_EXIT_OK) {
		return code;
	}
	code = ctl_save(fd, state, memory);
	if (code == CTL_EXIT_OK &&
	    (save_disk(machine, dir, err) < 0 || save_record(machine, dir, err) < 0)) {
		code = CTL_EXIT_REFUSED;
	}
	*is_saved = code == CTL_EXIT_OK;
	return go_on(&pause, code);
}

static int make_saved(const char *path, char **dir, struct error *err)
{
	if (mkdir(path, 0700) < 0) {
		return errno == EEXIST
			       ? error_set(err, ERR_BAD_REQUEST,
					   "There is a %s already: name another directory, or "
					   "remove that",
					   path)
			       : error_sys(err, "Cannot make the directory %s", path);
	}
	*dir = realpath(path, NULL);
	return *dir != NULL ? 0 : error_sys(err, "Cannot find %s", path);
}

static int check_save(const struct machine *machine, struct error *err)
{
	if (check_open(machine, "saved", err) < 0) {
		return -1;
	}
	return !ctl_volumes_are_shared(json_object_get(machine->record, "volumes"))
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "%s has a volume that is shared, which can't be saved: run it "
				   "without --volume, and copy by squibctl cp",
				   machine->name);
}

/* Bytes that may be written there; more than anybody needs if that is not known. */
static uint64_t room_of(const char *dir)
{
	struct statvfs fs;

	return dir != NULL && statvfs(dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize
						     : UINT64_MAX;
}

/* Of a save that has failed where there was `room`: behind the reason, which may be that. */
static void tell_room(const struct machine *machine, const char *dir, uint64_t room)
{
	const char *disk = ctl_machine_text(machine, "disk");
	uint64_t need = (uint64_t)ctl_machine_number(machine, "memory_mib") << MIB_SHIFT;
	struct stat st;

	if (disk != NULL && stat(disk, &st) == 0) {
		need += (uint64_t)st.st_blocks * BLOCK;
	}
	if (room < need) {
		fprintf(stderr,
			"squibctl: that may be for want of room: there was %s in %s, and memory "
			"and disk of %s take up to %s\n",
			size_text(room).text, dir, machine->name, size_text(need).text);
	}
}

int ctl_clone_save(const char *name, const char *path, const struct ctl_args *clones)
{
	struct machine machine = {0};
	struct error err = {0};
	AUTO_FREE char *dir = NULL;
	AUTO_FD fd = -1;
	enum ctl_exit code = CTL_EXIT_REFUSED;
	uint64_t room = UINT64_MAX; /* until there is a directory */
	bool is_saved = false;
	sigset_t mask = ctl_hold_ends();

	if (open_running(name, &machine, &fd, &err) == 0 && check_save(&machine, &err) == 0 &&
	    (clones == NULL || check_nets(clones, &machine, &err) == 0) &&
	    make_saved(path, &dir, &err) == 0) {
		room = room_of(dir);
		code = save_parts(&machine, dir, fd, &is_saved, &err);
		if (is_saved) {
			ctl_images_pin(ctl_machine_text(&machine, "image_disk"), dir);
			ctl_event(&machine, "saved", CTL_NO_STATUS);
		} else {
			ctl_remove_tree(dir);
		}
	}
	ctl_release_ends(&mask);
	if (err.kind != ERR_NONE) {
		code = ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	if (!is_saved) {
		tell_room(&machine, dir, room);
	}
	ctl_machine_close(&machine);
	if (is_saved && clones == NULL) {
		puts(dir);
	}
	return (int)code;
}

/* --- restoring --- */

/* The record of what was saved, as a machine without a name of its own. */
static int open_saved(const char *dir, struct machine *saved, struct error *err)
{
	AUTO_FREE char *path = NULL;

	saved->dir = realpath(dir, NULL);
	if (saved->dir == NULL) {
		return error_sys(err, "Cannot find %s", dir);
	}
	path = ctl_machine_path(saved, saved_record);
	if (path == NULL || access(path, F_OK) < 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s is no machine that squibctl save has saved: it has no %s", dir,
				 saved_record);
	}
	saved->record = ctl_machine_load(path);
	if (ctl_machine_text(saved, "image_disk") == NULL) {
		return error_set(err, ERR_CORRUPT, "%s is damaged: save the machine again", path);
	}
	saved->name = strdup(ctl_machine_text(saved, "name"));
	return saved->name != NULL ? 0 : error_set(err, ERR_HOST, "There is no memory");
}

/* Where the image is, or is in this user's cache, by its digest. */
static int find_image(const struct machine *saved, struct error *err)
{
	const char *disk = ctl_machine_text(saved, "image_disk");
	const char *at = strstr(disk, "/images/");
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");
	AUTO_FREE char *own = at != NULL && home != NULL ? ctl_text("%s%s", home, at) : NULL;

	if (access(disk, R_OK) == 0) {
		return 0;
	}
	if (own != NULL && access(own, R_OK) == 0) {
		json_object_set_new(saved->record, "image_disk", json_string(own));
		return 0;
	}
	return error_set(err, ERR_BAD_REQUEST, "The image of %s is gone, %s: squibctl pull %s",
			 saved->name, disk, ctl_machine_text(saved, "image"));
}

static char *load_body(const struct ctl_args *args, const struct machine *saved,
		       const struct machine *machine, const struct ctl_clone_way *way)
{
	AUTO_FREE char *state = ctl_machine_path(saved, "state");
	AUTO_FREE char *memory = ctl_machine_path(saved, "memory");
	json_t *body = json_pack("{s:s, s:{s:s, s:s}, s:b}", "snapshot_path", state, "mem_backend",
				 "backend_type", "File", "backend_path", memory, "resume_vm",
				 way->pool == NULL);
	char *text = body != NULL
			     ? json_dumps(override(args, machine, way->number, body), JSON_COMPACT)
			     : NULL;

	json_decref(body);
	return text;
}

int ctl_clone_open(const struct ctl_args *args, const char *dir, struct machine *saved,
		   struct error *err)
{
	return open_saved(dir, saved, err) < 0 || check_parts(args, saved, err) < 0
		       ? -1
		       : find_image(saved, err);
}

int ctl_clone_make(const struct machine *saved, const char *name, struct machine *machine,
		   struct error *err)
{
	AUTO_FREE char *disk = ctl_machine_path(saved, saved_disk);

	if (make(name, saved->record, machine, err) < 0) {
		return -1;
	}
	if (disk != NULL && copy_disk(disk, machine, err) == 0) {
		return 0;
	}
	ctl_machine_remove(machine);
	return -1;
}

int ctl_clone_load(const struct ctl_args *args, const struct machine *saved,
		   struct machine *machine, struct ctl_clone_way way, int *client,
		   struct error *err)
{
	AUTO_FREE char *load = load_body(args, saved, machine, &way);
	const struct keeper_plan plan = {.way = KEEPER_LOADS,
					 .load = load,
					 .removes = args->run.remove,
					 .waits = way.pool != NULL};

	if (way.pool != NULL) {
		json_object_set_new(machine->record, "pool", json_string(way.pool));
	}
	return load != NULL ? begin(machine, plan, client, err)
			    : error_set(err, ERR_BAD_REQUEST, "A name is no UTF-8");
}

int ctl_clone_restore(const struct ctl_args *args)
{
	static const struct ctl_clone_way goes_on = {0};
	struct machine saved = {0};
	struct machine machine = {0};
	struct error err = {0};
	int client = -1;
	int status = -1;

	if (ctl_clone_open(args, args->operands[0], &saved, &err) == 0 &&
	    ctl_clone_make(&saved, args->name, &machine, &err) == 0 &&
	    ctl_clone_load(args, &saved, &machine, goes_on, &client, &err) == 0) {
		status = await(&machine, &client, &err);
	}
	ctl_machine_close(&saved);
	ctl_machine_close(&machine);
	return status == 0 ? CTL_EXIT_OK : (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
}
