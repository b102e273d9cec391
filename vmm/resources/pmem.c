/* SPDX-License-Identifier: Apache-2.0 */
/* /pmem/{id}: persistent memory, files that the guest has as memory. */
#include "vmm/resources/pmem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "arch/device_memory.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"
#include "vmm/resources/claims.h"
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/unplug.h"

/* --- Bodies --- */

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct pmem_config, id, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct pmem_config, path_on_host, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct pmem_config, root_device, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct pmem_config, read_only, SCHEMA_DEFAULTED),
	SCHEMA_OBJECT_FIELD(struct pmem_config, rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

static const struct schema schema = SCHEMA("PmemConfig", struct pmem_config, fields);

struct pmem_update {
	char *id;
	struct limiter_config rate_limiter;
	bool has_rate_limiter;
};

static const struct schema_field update_fields[] = {
	SCHEMA_FIELD(struct pmem_update, id, SCHEMA_REQUIRED),
	SCHEMA_OBJECT_FIELD(struct pmem_update, rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

static const struct schema update_schema =
	SCHEMA("PmemDeviceUpdateConfig", struct pmem_update, update_fields);

/* --- The configuration --- */

static size_t find(const struct pmem_devices *devices, const char *id)
{
	size_t i = 0;

	while (i < devices->count && strcmp(devices->items[i].config.id, id) != 0) {
		i++;
	}
	return i;
}

bool pmem_has_root(const struct pmem_devices *devices)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (devices->items[i].config.root_device) {
			return true;
		}
	}
	return false;
}

const struct pmem_device *pmem_find_writable(const struct pmem_devices *devices)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (!devices->items[i].config.read_only) {
			return &devices->items[i];
		}
	}
	return NULL;
}

static void clear(struct vm_config *config)
{
	for (size_t i = 0; i < config->pmems.count; i++) {
		schema_free(&schema, &config->pmems.items[i].config);
	}
	free(config->pmems.items);
	config->pmems = (struct pmem_devices){0};
}

static json_t *show(const struct vm_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->pmems.count; i++) {
		if (json_array_append_new(list,
					  schema_encode(&schema, &config->pmems.items[i].config,
							SCHEMA_ALL)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* Makes room for one more. */
static int grow(struct pmem_devices *devices, struct error *err)
{
	void *list = devices->items;

	if (resource_list_grow(&list, devices->count, sizeof(*devices->items), err) < 0) {
		return -1;
	}
	devices->items = list;
	return 0;
}

/* Takes the strings of *body. */
static void keep_config(struct pmem_config *config, struct pmem_config *body)
{
	*config = *body;
	*body = (struct pmem_config){0};
	rate_limiter_tidy(&config->rate_limiter, &config->has_rate_limiter);
}

/* --- The file --- */

/* [compat] The sentence, but for the path at its end. */
static int open_file(const struct pmem_config *config, int *fd, struct error *err)
{
	/* O_NONBLOCK: a FIFO without a writer must be refused below, not waited for. */
	int flags = (config->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	AUTO_FD opened = open(config->path_on_host, flags);
	struct stat st;

	if (opened < 0 || fstat(opened, &st) < 0) {
		int sys = errno;

		error_set(err, ERR_HOST, "Error accessing backing file: %s (os error %d) %s",
			  error_os_text(sys), sys, config->path_on_host);
		err->sys = sys;
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Error accessing backing file: Not a regular file: %s",
				 config->path_on_host);
	}
	*fd = fd_take(&opened);
	return 0;
}

/* The device of a machine that is loaded; NULL: it had none. */
static const struct virtio_state *find_saved(const struct machine_state *saved, const char *id)
{
	for (uint32_t i = 0; saved != NULL && i < saved->slot_count; i++) {
		const struct virtio_state *state = &saved->slots[i].virtio;

		if (state->type == VIRTIO_TYPE_PMEM &&
		    strncmp(state->id, id, sizeof(state->id) - 1) == 0) {
			return state;
		}
	}
	return NULL;
}

/* As much memory as it was: the guest knows the size. */
static int check_length(const struct pmem_config *config, int fd, const struct virtio_state *saved,
			struct error *err)
{
	uint64_t before = load_le64(saved->config + PMEM_CONFIG_SIZE);
	struct stat st;

	if (fstat(fd, &st) < 0) {
		return error_sys(err, "Cannot find the length of %s", config->path_on_host);
	}
	uint64_t now = align_up((uint64_t)st.st_size, GMEM_PMEM_ALIGN);

	return now == before
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "The file %s has %llu bytes, which are %llu of memory, and "
				   "the guest knows %llu: a load needs a file of the length "
				   "that it had",
				   config->path_on_host, (unsigned long long)st.st_size,
				   (unsigned long long)now, (unsigned long long)before);
}

/* `before`: as the device was; NULL: the machine was not loaded. */
static int open_as_before(const struct pmem_config *config, const struct virtio_state *before,
			  int *fd, struct error *err)
{
	AUTO_FD opened = -1;

	if (open_file(config, &opened, err) < 0 ||
	    (before != NULL && check_length(config, opened, before, err) < 0)) {
		return -1;
	}
	*fd = fd_take(&opened);
	return 0;
}

int pmem_check_files(const struct pmem_devices *devices, const struct machine_state *saved,
		     struct error *err)
{
	for (size_t i = 0; i < devices->count; i++) {
		const struct pmem_config *config = &devices->items[i].config;
		AUTO_FD fd = -1;

		if (open_as_before(config, find_saved(saved, config->id), &fd, err) < 0) {
			return error_wrap(err, "Cannot create pmem device");
		}
	}
	return 0;
}

int pmem_check_saved(const struct pmem_devices *devices, const struct gmem *mem, struct error *err)
{
	for (size_t i = 0; i < devices->count; i++) {
		const struct pmem_device *device = &devices->items[i];

		if (!gmem_pmem_is_whole(mem, device->index)) {
			return error_set(
				err, ERR_BAD_STATE,
				"Cannot save the microVM state: The file %s of the pmem device "
				"%.64s was cut, or its disk had no room for what the guest wrote: "
				"a load would not find what the guest knows",
				device->config.path_on_host, device->config.id);
		}
	}
	return 0;
}

static int map_device(struct pmem_device *device, struct gmem *mem,
		      const struct machine_state *saved, struct error *err)
{
	const struct pmem_config *config = &device->config;
	const struct virtio_state *before = find_saved(saved, config->id);
	AUTO_FD fd = -1;

	if (open_as_before(config, before, &fd, err) < 0) {
		return -1;
	}
	const struct gmem_pmem_file file = {
		.name = config->id,
		.fd = fd,
		.is_private = config->read_only,
		.room = arch_device_memory,
		.base = before != NULL ? load_le64(before->config + PMEM_CONFIG_START) : 0,
	};

	if (gmem_pmem_add(mem, &file, &device->index, err) < 0) {
		return -1;
	}
	(void)fd_take(&fd);
	return 0;
}

static int map(struct microvm *microvm, struct gmem *mem, const struct machine_state *saved,
	       struct error *err)
{
	struct pmem_devices *devices = &microvm->config.pmems;

	for (size_t i = 0; i < devices->count; i++) {
		if (map_device(&devices->items[i], mem, saved, err) < 0) {
			return error_wrap(err, "Cannot create pmem device");
		}
	}
	return 0;
}

/* --- The machine's devices --- */

/* Linux numbers its devices in the order in which it finds them, which is ours. */
static int add_root(struct cmdline *cmdline, const struct pmem_config *config, size_t number,
		    struct error *err)
{
	char text[48];

	(void)!snprintf(text, sizeof(text), "root=/dev/pmem%zu %s", number,
			config->read_only ? "ro" : "rw");
	return cmdline_add(cmdline, text, err);
}

static int make(const struct microvm *microvm, struct pmem_device *device, struct blk_rings *rings,
		struct error *err)
{
	const struct dev_env env = devmgr_env(&microvm->controller.machine.devmgr);
	const struct pmem_parts parts = {&device->config, device->index, rings};

	return pmem_new(&env, &parts, &device->pmem, err);
}

static int attach_device(const struct microvm *microvm, const struct attachment *at, size_t number,
			 struct error *err)
{
	struct pmem_device *device = &microvm->config.pmems.items[number];
	const struct pmem_config *config = &device->config;

	if ((config->root_device && add_root(at->cmdline, config, number, err) < 0) ||
	    make(microvm, device, NULL, err) < 0 ||
	    devmgr_attach(at, pmem_virtio(device->pmem), config->id, err) < 0) {
		return error_wrap(err, "Cannot attach the pmem device %.64s", config->id);
	}
	return 0;
}

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	for (size_t i = 0; i < microvm->config.pmems.count; i++) {
		if (attach_device(microvm, at, i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* PUT opens files of devices that are plugged in. */
static int allow(const struct microvm *microvm, const struct landlock *landlock, int rules,
		 struct error *err)
{
	for (size_t i = 0; i < microvm->config.pmems.count; i++) {
		const struct pmem_device *device = &microvm->config.pmems.items[i];
		struct gmem_pmem_info info;

		(void)!gmem_pmem_get(microvm->controller.machine.mem, device->index, &info);
		const struct landlock_file file = {device->config.path_on_host, info.fd,
						   device->config.read_only};

		if (landlock_allow(landlock, rules, &file, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- PUT and DELETE on a machine that was started --- */

/*
 * What devices that were unplugged have left to a guest that may not have noticed. It is freed when
 * the next one comes, not when a guest says so. A slot that KVM keeps keeps its place.
 */
static void clear_left(struct vm *vm)
{
	struct error err = {0};

	for (unsigned i = 0; i < gmem_pmem_end(vm->mem); i++) {
		if (!gmem_pmem_is_left(vm->mem, i)) {
			continue;
		}
		if (vm_unmap_pmem(vm, i, &err) < 0) {
			log_error("The guest keeps memory of a pmem device that is gone: %s",
				  err.msg);
			error_clear(&err);
		} else {
			gmem_pmem_clear(vm->mem, i);
		}
	}
}

/* Others may have the file at once: a ring that was told to forget it may have it a little longer.
 */
static void give_back(struct gmem *mem, unsigned index)
{
	file_unlock(gmem_pmem_slot(mem, index).fd, FILE_WHOLE);
	gmem_pmem_remove(mem, index);
}

/* The last of the list, which its file is mapped for already. */
static int plug_mapped(struct microvm *microvm, struct request *request, struct pmem_device *device,
		       struct error *err)
{
	struct vm *vm = &microvm->controller.machine.vm;
	const char *id = device->config.id;

	claims_adapt(microvm);
	if (vm_map_pmem(vm, device->index, err) < 0) {
		give_back(vm->mem, device->index);
		gmem_pmem_clear(vm->mem, device->index);
		return error_wrap(err, "Unable to create the virtio-pmem device");
	}
	if (make(microvm, device, &microvm->config.rings, err) < 0) {
		give_back(vm->mem, device->index);
		return error_wrap(err, "Unable to create the virtio-pmem device");
	}
	if (resource_plug(microvm, request, pmem_virtio(device->pmem), id, err) < 0) {
		give_back(vm->mem, device->index);
		return -1;
	}
	mender_watch(&microvm->controller.machine.mender);
	return 0;
}

/* Into the place behind the last of the list. */
static int plug_device(struct microvm *microvm, struct request *request, struct pmem_device *device,
		       struct error *err)
{
	struct vm *vm = &microvm->controller.machine.vm;

	clear_left(vm);
	if (map_device(device, vm->mem, NULL, err) < 0) {
		confine_explain(microvm->controller.confine, "pmem device", err);
		return error_wrap(err, "Unable to create the virtio-pmem device");
	}
	microvm->config.pmems.count++;
	if (plug_mapped(microvm, request, device, err) < 0) {
		microvm->config.pmems.count--;
		claims_adapt(microvm);
		return -1;
	}
	return 0;
}

static const char second_root[] =
	"Attempt to add pmem as a root device while the root device defined as a block device";

static int plug(struct microvm *microvm, struct request *request, struct error *err)
{
	struct pmem_devices *devices = &microvm->config.pmems;
	struct pmem_config *body = request->body;

	if (resource_check_plug(microvm, request, find(devices, body->id) == devices->count,
				resource_id_in_use, err) < 0) {
		return -1;
	}
	if (body->root_device) {
		return error_set(err, ERR_BAD_REQUEST, "%s", second_root); /* [compat] */
	}
	if (grow(devices, err) < 0) {
		return -1;
	}
	struct pmem_device *added = &devices->items[devices->count];

	*added = (struct pmem_device){0};
	keep_config(&added->config, body);
	if (plug_device(microvm, request, added, err) < 0) {
		schema_free(&schema, &added->config);
		return -1;
	}
	return 0;
}

static int unplug(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct pmem_devices *devices = &microvm->config.pmems;
	size_t at = find(devices, request->id);
	struct gmem_pmem_info file;

	if (resource_check_plug(microvm, request, at < devices->count, resource_device_not_found,
				err) < 0) {
		return -1;
	}
	const struct pmem_device *device = &devices->items[at];

	if (resource_check_plug(microvm, request, !device->config.root_device,
				"Cannot unplug root device", err) < 0) {
		return -1;
	}
	(void)!gmem_pmem_get(microvm->controller.machine.mem, device->index, &file);
	return unplug_begin(microvm, request, pmem_virtio(device->pmem),
			    file.is_private ? -1 : file.fd, err);
}

static int unplugged(struct microvm *microvm, struct request *request, struct error *err)
{
	struct pmem_devices *devices = &microvm->config.pmems;
	size_t at = find(devices, request->id);

	assert(at < devices->count); /* it stays until then: unplug() has found it */
	struct pmem_device *device = &devices->items[at];

	if (unplug_end(microvm, request, pmem_virtio(device->pmem), err) < 0) {
		return -1;
	}
	give_back(microvm->controller.machine.mem, device->index);
	schema_free(&schema, &device->config);
	devices->count--;
	memmove(device, device + 1, (devices->count - at) * sizeof(*device));
	claims_adapt(microvm);
	return 0;
}

/* --- PUT before the start --- */

static int check_root(const struct vm_config *config, size_t at, struct error *err)
{
	const struct pmem_devices *devices = &config->pmems;

	if (config->drive_count > 0 && config->drives[0].config.is_root_device) {
		return error_set(err, ERR_BAD_REQUEST, "%s", second_root);
	}
	if (pmem_has_root(devices) &&
	    (at == devices->count || !devices->items[at].config.root_device)) {
		return error_set(err, ERR_BAD_REQUEST, "A root pmem device already exist");
	}
	return 0;
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	if (microvm->controller.state != VM_NOT_STARTED) {
		return plug(microvm, request, err);
	}
	struct pmem_devices *devices = &microvm->config.pmems;
	struct pmem_config *body = request->body;
	size_t at = find(devices, body->id);

	if (body->root_device && check_root(&microvm->config, at, err) < 0) {
		return -1;
	}
	if (at < devices->count) {
		schema_free(&schema, &devices->items[at].config);
	} else if (grow(devices, err) == 0) {
		devices->items[devices->count++] = (struct pmem_device){0};
	} else {
		return -1;
	}
	keep_config(&devices->items[at].config, body);
	return 0;
}

/* --- PATCH --- */

static int update(struct microvm *microvm, const struct pmem_update *change, struct error *err)
{
	struct pmem_devices *devices = &microvm->config.pmems;
	size_t at = find(devices, change->id);

	if (at == devices->count) {
		return error_set(err, ERR_BAD_REQUEST, "%s", resource_not_found);
	}
	struct pmem_device *device = &devices->items[at];

	if (!change->has_rate_limiter) {
		return 0;
	}
	if (pmem_set_limits(device->pmem, &change->rate_limiter, err) < 0) {
		return -1;
	}
	rate_limiter_note(&device->config.rate_limiter, &device->config.has_rate_limiter,
			  &change->rate_limiter);
	return 0;
}

static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	struct error cause = {0};

	if (update(microvm, request->body, &cause) == 0) {
		return 0;
	}
	return error_set(err, cause.kind,
			 "Unable to patch the pmem device: %.400s Please verify the request "
			 "arguments.",
			 cause.msg);
}

const struct resource pmem_resource = {
	.path = {"pmem"},
	.is_for_boot = true,
	.has_id = true,
	.methods =
		{
			[HTTP_PUT] = {.states = ALWAYS,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .prefix = "Pmem config error",
				      .check = resource_check_id,
				      .run = put,
				      PUTS(pmem)},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &update_schema,
					.prefix = "Pmem config error",
					.check = resource_check_id,
					.run = patch,
					PATCHES(pmem)},
			[HTTP_DELETE] = {.states = AFTER_START,
					 .body = BODY_MAYBE,
					 .schema = &unplug_schema,
					 .run = unplug,
					 .finish = unplug_synchronise,
					 .commit = unplugged},
		},
	.key = "pmem",
	.file_prefix = "Pmem device error",
	.is_list = true,
	.need = SCHEMA_OPTIONAL,
	.turn = 12,
	.show = show,
	.metrics = &pmem_metric_group,
	.map = map,
	.attach = attach,
	.allow = allow,
	.clear = clear,
};
