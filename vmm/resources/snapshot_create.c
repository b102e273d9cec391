/* SPDX-License-Identifier: Apache-2.0 */
/* /snapshot/create: a machine as files; /snapshot/working-set: which pages of it are used. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/persist/snapshot.h"
#include "vmm/persist/working_set.h"
#include "vmm/resources/claims.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/snapshot_live.h"
#include "vmm/resources/vm_config.h"

enum snapshot_type {
	SNAPSHOT_DIFF,
	SNAPSHOT_FULL,
	SNAPSHOT_LIVE
};

struct create_body {
	enum snapshot_type snapshot_type;
	char *snapshot_path;
	char *mem_file_path; /* NULL: the state alone */
};

static const char *const snapshot_type_names[] = {"Diff", "Full", "Live", NULL};

static const struct schema_field create_fields[] = {
	SCHEMA_ENUM_FIELD(struct create_body, snapshot_type, SCHEMA_DEFAULTED, snapshot_type_names),
	SCHEMA_PATH_FIELD(struct create_body, snapshot_path, SCHEMA_REQUIRED),
	SCHEMA_PATH_FIELD(struct create_body, mem_file_path, SCHEMA_OPTIONAL),
};

static const struct create_body create_defaults = {.snapshot_type = SNAPSHOT_FULL};

static const struct schema create_schema =
	SCHEMA("CreateSnapshotParams", struct create_body, create_fields);

struct create_kind {
	const char *action; /* [compat] in the log */
	size_t request_metric, action_metric;
};

static const struct create_kind create_kinds[] = {
	[SNAPSHOT_DIFF] = {"create diff snapshot",
			   offsetof(struct api_metrics, latencies.diff_create_snapshot),
			   offsetof(struct api_metrics, latencies.vmm_diff_create_snapshot)},
	[SNAPSHOT_FULL] = {"create full snapshot",
			   offsetof(struct api_metrics, latencies.full_create_snapshot),
			   offsetof(struct api_metrics, latencies.vmm_full_create_snapshot)},
	[SNAPSHOT_LIVE] = {"create live snapshot",
			   offsetof(struct api_metrics, latencies.full_create_snapshot),
			   offsetof(struct api_metrics, latencies.vmm_full_create_snapshot)},
};

static int check_create(struct request *request, struct error *err)
{
	const struct create_body *body = request->body;
	const struct create_kind *kind = &create_kinds[body->snapshot_type];

	if (body->snapshot_type == SNAPSHOT_LIVE && body->mem_file_path == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "A live snapshot needs a mem_file_path: nobody else could read "
				 "the memory of that instant");
	}
	if (body->snapshot_type != SNAPSHOT_LIVE &&
	    (sent_is_name(body->snapshot_path) ||
	     (body->mem_file_path != NULL && sent_is_name(body->mem_file_path)))) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"Only a live snapshot is written to descriptors (sent:0); a file of "
			"such a name is ./sent:0");
	}
	request->timed = kind->action;
	request->timed_metric = kind->request_metric;
	return 0;
}

/* Landlock's refusal looks like a missing permission. */
static COLD int explain_landlock(const struct controller *controller, struct error *err)
{
	bool is_on = controller->confine != NULL && landlock_is_on(&controller->confine->landlock);

	return is_on && err->sys == EACCES
		       ? error_wrap(err,
				    "With --landlock a running microVM opens no files but those "
				    "in the directories of its drives: name files that are "
				    "there already, beside a drive that is not read-only")
		       : -1;
}

static int fail_own(const char *path, const char *what, const char *id, struct error *err)
{
	return error_set(err, ERR_BAD_REQUEST,
			 "Cannot save the microVM state: %s is a file of this machine's %s %.64s, "
			 "which a save would overwrite: name another",
			 path, what, id);
}

/* Of a fork the lock on the file is its parent's as well: nobody could tell who has it. */
static int check_not_shared(const struct microvm *microvm, const char *path, struct error *err)
{
	bool has_forks = microvm->is_forked || microvm->images.has_begun ||
			 microvm->live.status == SNAPSHOT_LIVE_WRITING;

	return has_forks && path != NULL &&
			       snapshot_check_path(&microvm->controller.machine, path, err) < 0
		       ? error_wrap(err, "A machine and its forks save to files of their own")
		       : 0;
}

/* A file that is there may be the guest's own disk, by whatever name. */
static int check_not_own(const struct microvm *microvm, const char *path, struct error *err)
{
	const struct vm_config *config = &microvm->config;
	const struct gmem *mem = microvm->controller.machine.mem;
	AUTO_FD fd = path == NULL || sent_is_name(path)
			     ? -1
			     : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	for (size_t i = 0; fd >= 0 && i < config->drive_count; i++) {
		const struct drive *drive = &config->drives[i];

		if (fd_is_same_file(fd, drive->file.fd) ||
		    fd_is_same_file(fd, blk_file_base_fd(&drive->file))) {
			return fail_own(path, "drive", drive->config.drive_id, err);
		}
	}
	for (size_t i = 0; fd >= 0 && i < config->pmems.count; i++) {
		const struct pmem_device *device = &config->pmems.items[i];

		if (fd_is_same_file(fd, gmem_pmem_slot(mem, device->index).fd)) {
			return fail_own(path, "pmem device", device->config.id, err);
		}
	}
	return 0;
}

static int create_live(struct microvm *microvm, struct request *request, uint64_t begin,
		       struct error *err)
{
	const struct create_body *body = request->body;
	const struct create_kind *kind = &create_kinds[body->snapshot_type];

	if (snapshot_live_start(microvm, body->snapshot_path, body->mem_file_path, request->sent,
				err) < 0) {
		return -1;
	}
	controller_note_latency(kind->action,
				(struct metric *)((char *)&microvm->controller.telemetry->api +
						  kind->action_metric),
				begin);
	return 0;
}

static int create(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct create_body *body = request->body;
	const struct create_kind *kind = &create_kinds[body->snapshot_type];
	struct controller *controller = &microvm->controller;
	const struct snapshot_files files = {
		.state = body->snapshot_path,
		.memory = body->mem_file_path,
		.is_diff = body->snapshot_type == SNAPSHOT_DIFF,
	};
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	if (check_not_own(microvm, body->snapshot_path, err) < 0 ||
	    check_not_own(microvm, body->mem_file_path, err) < 0) {
		return -1;
	}
	if (body->snapshot_type == SNAPSHOT_LIVE) {
		return create_live(microvm, request, begin, err);
	}
	if (controller->state != VM_PAUSED) {
		return error_set(err, ERR_BAD_STATE,
				 "Cannot save the microVM state: Operation not allowed: "
				 "save/restore unavailable while running");
	}
	if (devmgr_check_saved(&controller->machine.devmgr, err) < 0) {
		return error_wrap(err, "Cannot save the microVM state: Operation not allowed");
	}
	if (pmem_check_saved(&microvm->config.pmems, controller->machine.mem, err) < 0) {
		return -1;
	}
	if (gdb_server_is_attached(controller->debugger)) {
		return error_set(err, ERR_BAD_STATE,
				 "Cannot save the microVM state: a debugger is attached, which may "
				 "have changed how the guest goes on: detach it first");
	}
	AUTO_FREE char *config = vm_config_text(&microvm->config, err);

	if (config == NULL) {
		return -1;
	}
	if (check_not_shared(microvm, body->mem_file_path, err) < 0 ||
	    snapshot_save(&controller->machine, config, &files, err) < 0) {
		return explain_landlock(controller, err);
	}
	claims_hand_over(microvm);
	controller_note_latency(
		kind->action,
		(struct metric *)((char *)&controller->telemetry->api + kind->action_metric),
		begin);
	return 0;
}

const struct resource snapshot_create_resource = {
	.path = {"snapshot", "create"},
	.methods[HTTP_PUT] = {.states = AFTER_START,
			      .body = BODY_JSON,
			      .schema = &create_schema,
			      .defaults = &create_defaults,
			      .prefix = "Create snapshot error",
			      .check = check_create,
			      .run = create},
};

/* --- The working set --- */

struct working_set_body {
	char *working_set_path;
};

static const struct schema_field working_set_fields[] = {
	SCHEMA_PATH_FIELD(struct working_set_body, working_set_path, SCHEMA_REQUIRED),
};

static const struct schema working_set_schema =
	SCHEMA("WorkingSetParams", struct working_set_body, working_set_fields);

static int put_working_set(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct working_set_body *body = request->body;
	const struct machine *machine = &microvm->controller.machine;
	struct working_set set = {0};
	int result = snapshot_check_path(machine, body->working_set_path, err);

	if (result == 0) {
		result = working_set_find(machine->mem, &set, err);
	}
	if (result == 0) {
		result = working_set_write(&set, body->working_set_path, err);
	}
	working_set_destroy(&set);
	return result;
}

const struct resource working_set_resource = {
	.path = {"snapshot", "working-set"},
	.methods[HTTP_PUT] = {.states = AFTER_START,
			      .body = BODY_JSON,
			      .schema = &working_set_schema,
			      .prefix = "Working set error",
			      .run = put_working_set},
};
