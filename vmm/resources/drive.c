/* SPDX-License-Identifier: Apache-2.0 */
/* /drives/{id}: block devices on files or block devices of the host, or on other processes. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"
#include "vmm/resources/claims.h"
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/unplug.h"

/* --- Bodies --- */

/* In the order of enum blk_cache_type and enum blk_io_engine. */
static const char *const cache_type_names[] = {"Unsafe", "Writeback", NULL};
static const char *const io_engine_names[] = {"Sync", "Async", NULL};
static const char *const io_engines_listed[] = {"Async", "Sync", NULL};

enum field {
	FIELD_DRIVE_ID,
	FIELD_PARTUUID,
	FIELD_IS_ROOT_DEVICE,
	FIELD_CACHE_TYPE,
	FIELD_IS_READ_ONLY,
	FIELD_PATH_ON_HOST,
	FIELD_RATE_LIMITER,
	FIELD_IO_ENGINE,
	FIELD_SOCKET,
	FIELD_NUM_QUEUES,
	FIELD_BASE,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_DRIVE_ID] = SCHEMA_FIELD(struct blk_config, drive_id, SCHEMA_REQUIRED),
	[FIELD_PARTUUID] = SCHEMA_FIELD(struct blk_config, partuuid, SCHEMA_OPTIONAL),
	[FIELD_IS_ROOT_DEVICE] = SCHEMA_FIELD(struct blk_config, is_root_device, SCHEMA_REQUIRED),
	[FIELD_CACHE_TYPE] = SCHEMA_ENUM_FIELD(struct blk_config, cache_type, SCHEMA_DEFAULTED,
					       cache_type_names),
	[FIELD_IS_READ_ONLY] = SCHEMA_FIELD(struct blk_config, is_read_only, SCHEMA_OPTIONAL),
	[FIELD_PATH_ON_HOST] = SCHEMA_FIELD(struct blk_config, path_on_host, SCHEMA_OPTIONAL),
	[FIELD_RATE_LIMITER] = SCHEMA_OBJECT_FIELD(struct blk_config, rate_limiter, SCHEMA_OPTIONAL,
						   &rate_limiter_schema),
	[FIELD_IO_ENGINE] = SCHEMA_ENUM_FIELD_LISTED(struct blk_config, io_engine, SCHEMA_OPTIONAL,
						     io_engine_names, io_engines_listed),
	[FIELD_SOCKET] = SCHEMA_FIELD(struct blk_config, socket, SCHEMA_OPTIONAL),
	[FIELD_NUM_QUEUES] = SCHEMA_FIELD(struct blk_config, num_queues, SCHEMA_OPTIONAL),
	[FIELD_BASE] = SCHEMA_FIELD(struct blk_config, base, SCHEMA_OPTIONAL),
};

static const struct schema schema = SCHEMA("BlockDeviceConfig", struct blk_config, fields);

struct drive_update {
	char *drive_id;
	char *path_on_host; /* NULL: as before */
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

static const struct schema_field update_fields[] = {
	SCHEMA_FIELD(struct drive_update, drive_id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct drive_update, path_on_host, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct drive_update, rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

static const struct schema update_schema =
	SCHEMA("BlockDeviceUpdateConfig", struct drive_update, update_fields);

/* --- The configuration --- */

static void drive_destroy(struct drive *drive)
{
	schema_free(&schema, &drive->config);
	blk_file_close(&drive->file);
	vhost_link_close(&drive->link);
}

/* The place of a drive in the list, or the list's length: there is no such drive. */
static size_t find(const struct vm_config *config, const char *drive_id)
{
	size_t i = 0;

	while (i < config->drive_count &&
	       strcmp(config->drives[i].config.drive_id, drive_id) != 0) {
		i++;
	}
	return i;
}

static void clear(struct vm_config *config)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		drive_destroy(&config->drives[i]);
	}
	free(config->drives);
	config->drives = NULL;
	config->drive_count = 0;
	blk_rings_destroy(&config->rings);
}

static json_t *show_drive(const struct blk_config *drive, uint64_t hidden)
{
	json_t *shown = schema_encode(&schema, drive, SCHEMA_ALL & ~hidden);

	/* [compat] A back-end knows these, and nobody else. */
	if (drive->socket != NULL &&
	    (json_object_set_new(shown, fields[FIELD_IS_READ_ONLY].name, json_null()) < 0 ||
	     json_object_set_new(shown, fields[FIELD_IO_ENGINE].name, json_null()) < 0)) {
		json_decref(shown);
		return NULL;
	}
	return shown;
}

static json_t *show(const struct vm_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->drive_count; i++) {
		const struct blk_config *drive = &config->drives[i].config;
		/* What Firecracker does not know is shown only where it was given [compat]. */
		uint64_t hidden = drive->num_queues == 0 ? UINT64_C(1) << FIELD_NUM_QUEUES : 0;

		hidden |= drive->base == NULL ? UINT64_C(1) << FIELD_BASE : 0;
		if (json_array_append_new(list, show_drive(drive, hidden)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* --- PUT --- */

static int check_drive(const struct blk_config *drive, struct error *err)
{
	/* [compat] A file or a socket, and a socket with nothing that is of files only. */
	bool is_of_file = drive->path_on_host != NULL || drive->base != NULL ||
			  drive->is_read_only || drive->has_rate_limiter ||
			  drive->io_engine != BLK_ENGINE_SYNC;

	if (drive->socket != NULL ? is_of_file : drive->path_on_host == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Unable to create the virtio block device: Invalid block config.");
	}
	if (drive->num_queues > BLK_QUEUES_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Unable to create the virtio block device: Invalid block config: "
				 "num_queues is %u, more than the limit of %d",
				 drive->num_queues, BLK_QUEUES_MAX);
	}
	return 0;
}

/*
 * The root device is the first, so that its name in the guest is known: the drive that was the
 * first takes the place of a drive that becomes the root device.
 */
static void store(struct vm_config *config, const struct drive *drive, size_t at)
{
	if (at == config->drive_count) {
		config->drive_count++;
		if (drive->config.is_root_device) {
			memmove(&config->drives[1], &config->drives[0], at * sizeof(*drive));
			at = 0;
		}
	} else {
		drive_destroy(&config->drives[at]);
		if (drive->config.is_root_device) {
			config->drives[at] = config->drives[0];
			at = 0;
		}
	}
	config->drives[at] = *drive;
}

/*
 * A drive that has a base is an overlay over it; PATCH brings another file, never another base.
 * What was saved or forked had written to its disk, so there an empty file is a mistake.
 */
static int open_file(const struct blk_config *drive, const char *path, bool is_loaded,
		     struct blk_file *file, struct error *err)
{
	const struct blk_overlay_paths paths = {path, drive->base, drive->is_read_only, !is_loaded};

	return drive->base == NULL ? blk_file_open(path, drive->is_read_only, file, err)
				   : blk_file_open_overlay(&paths, file, err);
}

/* [compat] The sentences of PUT. */
static int open_put(const struct blk_config *drive, bool is_loaded, struct drive *added,
		    struct error *err)
{
	if (drive->socket != NULL) {
		return vhost_blk_open(drive, &added->link, err) < 0
			       ? error_wrap(err, "Unable to create the virtio block device")
			       : 0;
	}
	return open_file(drive, drive->path_on_host, is_loaded, &added->file, err) < 0
		       ? error_wrap(err, "Unable to create the virtio block device: Virtio backend "
					 "error")
		       : 0;
}

/* Takes the strings of *body. */
static void keep_config(struct drive *drive, struct blk_config *body)
{
	drive->config = *body;
	*body = (struct blk_config){0};
	rate_limiter_tidy(&drive->config.rate_limiter, &drive->config.has_rate_limiter);
}

/* --- PUT and DELETE on a machine that was started --- */

static int plug_drive(struct microvm *microvm, struct request *request, struct drive *drive,
		      struct error *err)
{
	const struct dev_env env = devmgr_env(&microvm->controller.machine.devmgr);

	if (blk_new_plugged(&env, &drive->config, &drive->file, &microvm->config.rings, &drive->blk,
			    err) < 0) {
		return error_wrap(err, "Unable to create the virtio block device");
	}
	return resource_plug(microvm, request, blk_virtio(drive->blk), drive->config.drive_id, err);
}

/* [compat] The order of the checks, and that a root device is the one that the machine has. */
static int plug(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	struct blk_config *body = request->body;
	struct drive added = DRIVE_NONE;
	void *list = config->drives;

	if (resource_check_plug(microvm, request,
				find(config, body->drive_id) == config->drive_count,
				resource_id_in_use, err) < 0) {
		return -1;
	}
	if (body->is_root_device) {
		return error_set(err, ERR_BAD_REQUEST, "A root block device already exists!");
	}
	if (body->socket != NULL) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A drive with a `socket` can't be plugged in: the machine's "
				 "memory is shared with back-ends from the start on, or not at "
				 "all. Put it before the start");
	}
	if (check_drive(body, err) < 0 ||
	    resource_list_grow(&list, config->drive_count, sizeof(added), err) < 0) {
		return -1;
	}
	config->drives = list;
	if (open_put(body, false, &added, err) < 0) {
		confine_explain(microvm->controller.confine, "drive", err);
		return -1;
	}
	keep_config(&added, body);
	struct drive *drive = &config->drives[config->drive_count++];

	*drive = added;
	claims_adapt(microvm);
	if (plug_drive(microvm, request, drive, err) < 0) {
		config->drive_count--;
		drive_destroy(drive);
		claims_adapt(microvm);
		return -1;
	}
	return 0;
}

static int unplug(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	size_t at = find(config, request->id);

	if (resource_check_plug(microvm, request, at < config->drive_count,
				resource_device_not_found, err) < 0) {
		return -1;
	}
	const struct drive *drive = &config->drives[at];

	if (resource_check_plug(microvm, request, !drive->config.is_root_device,
				"Cannot unplug root device", err) < 0) {
		return -1;
	}
	if (drive->vhost != NULL) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The drive %s is served by another process, and can't be "
				 "unplugged",
				 drive->config.drive_id);
	}
	return unplug_begin(microvm, request, blk_virtio(drive->blk),
			    blk_file_unwritten(&drive->file, &drive->config), err);
}

static int unplugged(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	size_t at = find(config, request->id);

	assert(at < config->drive_count); /* it stays until then: unplug() has found it */
	struct drive *drive = &config->drives[at];

	if (unplug_is_synchronised(request)) {
		blk_set_synchronised(drive->blk);
	}
	if (unplug_end(microvm, request, blk_virtio(drive->blk), err) < 0) {
		return -1;
	}
	drive_destroy(drive);
	config->drive_count--;
	memmove(drive, drive + 1, (config->drive_count - at) * sizeof(*drive));
	claims_adapt(microvm);
	return 0;
}

/* --- PUT before the start --- */

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	if (microvm->controller.state != VM_NOT_STARTED) {
		return plug(microvm, request, err);
	}
	struct vm_config *config = &microvm->config;
	struct blk_config *drive = request->body;
	size_t at = find(config, drive->drive_id);
	struct drive added = DRIVE_NONE;
	void *list = config->drives;

	if (drive->is_root_device && pmem_has_root(&config->pmems)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Attempt to add block as a root device while the root device "
				 "defined as a pmem device");
	}
	if (drive->is_root_device && at != 0 && config->drive_count > 0 &&
	    config->drives[0].config.is_root_device) {
		return error_set(err, ERR_BAD_REQUEST, "A root block device already exists!");
	}
	if (check_drive(drive, err) < 0) {
		return -1;
	}
	if (at == config->drive_count) {
		if (resource_list_grow(&list, at, sizeof(added), err) < 0) {
			return -1;
		}
		config->drives = list;
	} else {
		/* A back-end may have no second connection to give. */
		vhost_link_close(&config->drives[at].link);
	}
	if (open_put(drive, request->is_loaded, &added, err) < 0) {
		return -1;
	}
	keep_config(&added, drive);
	store(config, &added, at);
	return 0;
}

/* --- PATCH --- */

/* Exchanges the drive's file and path for these. */
static void exchange(struct drive *drive, struct blk_file *file, char **path)
{
	const struct blk_file old = drive->file;
	char *old_path = drive->config.path_on_host;

	if (fd_is_same_file(old.fd, file->fd)) {
		file_unlock(old.fd, FILE_CONTENT);
	}
	drive->file = *file;
	drive->config.path_on_host = *path;
	*file = old;
	*path = old_path;
}

/*
 * The new file may be the old one, opened anew. Another one is had besides, until nothing is in
 * flight any more.
 */
static int use_file(struct microvm *microvm, struct drive *drive, struct blk_file *file,
		    char **path, struct error *err)
{
	exchange(drive, file, path);
	claims_adapt(microvm);
	if (blk_set_file(drive->blk, &drive->file, err) == 0) {
		return 0;
	}
	exchange(drive, file, path);
	claims_adapt(microvm);
	return -1;
}

static int change_file(struct microvm *microvm, struct drive *drive, struct drive_update *update,
		       struct error *err)
{
	struct blk_file file = {.fd = -1};

	if (open_file(&drive->config, update->path_on_host, false, &file, err) < 0) {
		metric_add(&blk_metrics(drive->blk)->update_fails, 1);
		confine_explain(microvm->controller.confine, "drive", err);
		return error_wrap(err, "Block: Virtio backend error");
	}
	int result = use_file(microvm, drive, &file, &update->path_on_host, err);

	blk_file_close(&file);
	return result < 0 ? error_wrap(err, "Block: Virtio backend error") : 0;
}

/* Its configuration is asked for again, and the answer waited for. */
static int ask_backend(struct drive *drive, struct request *request, struct error *err)
{
	const struct drive_update *update = request->body;
	struct vhost_user *vu = vhost_blk_user(drive->vhost);

	if (update->path_on_host != NULL || update->has_rate_limiter) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Block: Running method expected different backend. A drive on a "
				 "socket takes neither `path_on_host` nor `rate_limiter`.");
	}
	if (vhost_user_ask_config(vu, err) < 0) {
		return error_wrap(err, "Block: Vhost user backend error");
	}
	request->waits = true;
	request->event = vu->told;
	request->patience_ms = 2 * VHOST_PATIENCE_MS;
	return 0;
}

/* The file is changed first, then the limits. If the latter fails the new file stays [compat]. */
static int update_drive(struct microvm *microvm, struct request *request, struct error *err)
{
	struct drive_update *update = request->body;
	size_t at = find(&microvm->config, update->drive_id);

	if (at == microvm->config.drive_count) {
		return error_set(err, ERR_BAD_REQUEST, "%s", resource_not_found);
	}
	struct drive *drive = &microvm->config.drives[at];

	if (drive->vhost != NULL) {
		return ask_backend(drive, request, err);
	}
	if (update->path_on_host == NULL && !update->has_rate_limiter) {
		/* [compat] It asks a vhost-user backend for its configuration. */
		return error_set(err, ERR_BAD_REQUEST,
				 "Block: Running method expected different backend. A drive on a "
				 "file takes `path_on_host` and `rate_limiter`.");
	}
	if (update->path_on_host != NULL && change_file(microvm, drive, update, err) < 0) {
		return -1;
	}
	if (update->has_rate_limiter) {
		if (blk_set_limits(drive->blk, &update->rate_limiter, err) < 0) {
			return -1;
		}
		rate_limiter_note(&drive->config.rate_limiter, &drive->config.has_rate_limiter,
				  &update->rate_limiter);
	}
	return 0;
}

static int explain_patch(const struct error *cause, struct error *err)
{
	error_set(err, cause->kind,
		  "Unable to patch the block device: %.400s Please verify the request arguments.",
		  cause->msg);
	err->sys = cause->sys;
	return -1;
}

static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct vm_config *config = &microvm->config;
	size_t at = find(config, ((const struct drive_update *)request->body)->drive_id);
	struct error cause = {0};

	if (at < config->drive_count && config->drives[at].vhost == NULL &&
	    unplug_check_stays(microvm, blk_virtio(config->drives[at].blk), err) < 0) {
		return -1;
	}
	return update_drive(microvm, request, &cause) == 0 ? 0 : explain_patch(&cause, err);
}

/* What a back-end has answered, or that it has not. */
static int patched(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct vm_config *config = &microvm->config;
	struct error cause = {0};

	if (!request->waits) {
		return 0;
	}
	size_t at = find(config, ((const struct drive_update *)request->body)->drive_id);

	assert(at < config->drive_count); /* a drive on a socket can't be unplugged */
	if (vhost_user_config_result(vhost_blk_user(config->drives[at].vhost), &cause) == 0) {
		return 0;
	}
	(void)error_wrap(&cause, "Block: Vhost user backend error");
	return explain_patch(&cause, err);
}

/* --- The machine's devices --- */

/* [compat] Of the root device alone, whose partuuid goes to the kernel; spaces pass. */
static int check_partuuid(const char *partuuid, struct error *err)
{
	for (size_t i = 0; partuuid[i] != '\0'; i++) {
		if (partuuid[i] < ' ' || partuuid[i] > '~') {
			return error_set(err, ERR_BAD_REQUEST,
					 "Invalid kernel command line: String contains a "
					 "non-printable ASCII character: byte %zu of partuuid",
					 i + 1);
		}
	}
	return 0;
}

static bool is_read_only(const struct drive *drive)
{
	return drive->config.socket != NULL
		       ? vhost_blk_is_read_only(&vhost_blk_user(drive->vhost)->link)
		       : drive->config.is_read_only;
}

static int add_root(struct cmdline *cmdline, const struct drive *drive, struct error *err)
{
	char text[ARCH_CMDLINE_MAX];
	const char *partuuid = drive->config.partuuid;
	bool has_uuid = partuuid != NULL;

	if (has_uuid && check_partuuid(partuuid, err) < 0) {
		return -1;
	}
	/* A text that is cut here exceeds the command line, too, which is then refused. */
	(void)!snprintf(text, sizeof(text), "root=%s%s %s", has_uuid ? "PARTUUID=" : "/dev/vda",
			has_uuid ? partuuid : "", is_read_only(drive) ? "ro" : "rw");
	return cmdline_add(cmdline, text, err);
}

static struct virtio_dev *new_device(struct drive *drive, const struct dev_env *env,
				     struct error *err)
{
	if (drive->config.socket == NULL) {
		return blk_new(env, &drive->config, &drive->file, &drive->blk, err) < 0
			       ? NULL
			       : blk_virtio(drive->blk);
	}
	return vhost_blk_new(env, &drive->config, &drive->link, &drive->vhost, err) < 0
		       ? NULL
		       : &vhost_blk_user(drive->vhost)->dev;
}

static int attach_drive(struct drive *drive, const struct attachment *at, struct error *err)
{
	const struct dev_env env = devmgr_env(at->devmgr);
	const char *id = drive->config.drive_id;
	struct virtio_dev *dev = new_device(drive, &env, err);
	bool is_named = dev != NULL &&
			(!drive->config.is_root_device || add_root(at->cmdline, drive, err) == 0);

	if (!is_named) {
		virtio_free(dev);
	}
	if (!is_named || devmgr_attach(at, dev, id, err) < 0) {
		return error_wrap(err, "Cannot attach the drive %.64s", id);
	}
	return 0;
}

/* For drives that are plugged in later, while rings can be made. */
static void stock_rings(struct microvm *microvm, const struct attachment *at)
{
	if (at->devmgr->has_pci) {
		blk_rings_init(&microvm->config.rings);
	}
}

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	stock_rings(microvm, at);
	for (size_t i = 0; i < microvm->config.drive_count; i++) {
		if (attach_drive(&microvm->config.drives[i], at, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* PATCH opens another file, and the base anew. */
static int allow(const struct microvm *microvm, const struct landlock *landlock, int rules,
		 struct error *err)
{
	for (size_t i = 0; i < microvm->config.drive_count; i++) {
		const struct drive *drive = &microvm->config.drives[i];
		const struct landlock_file file = {drive->config.path_on_host, drive->file.fd,
						   drive->config.is_read_only};
		const struct landlock_file base = {drive->config.base,
						   blk_file_base_fd(&drive->file), true};

		if (file.path == NULL) {
			continue; /* Landlock is not about connections to sockets */
		}
		if (landlock_allow(landlock, rules, &file, err) < 0 ||
		    (base.path != NULL && landlock_allow(landlock, rules, &base, err) < 0)) {
			return -1;
		}
	}
	return 0;
}

const struct resource drive_resource = {
	.path = {"drives"},
	.is_for_boot = true,
	.has_id = true,
	.methods =
		{
			[HTTP_PUT] = {.states = ALWAYS,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .prefix = "Drive config error",
				      .check = resource_check_id,
				      .run = put,
				      PUTS(drive)},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &update_schema,
					.prefix = "Drive config error",
					.check = resource_check_id,
					.run = patch,
					.commit = patched,
					PATCHES(drive)},
			[HTTP_DELETE] = {.states = AFTER_START,
					 .body = BODY_MAYBE,
					 .schema = &unplug_schema,
					 .run = unplug,
					 .finish = unplug_synchronise,
					 .commit = unplugged},
		},
	.key = "drives",
	.file_prefix = "Block device error",
	.is_list = true,
	.need = SCHEMA_REQUIRED,
	.turn = 6,
	.show = show,
	.metrics = &blk_metric_group,
	.remote_metrics = &vhost_blk_metric_group,
	.attach = attach,
	.allow = allow,
	.clear = clear,
};
