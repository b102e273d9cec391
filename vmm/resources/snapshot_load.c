/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /snapshot/load: a machine from files.
 *
 * Theory of operation. A load configures the microVM as a client would, from the configuration in
 * the state file with what the request overrides, so that devices are made and checked in one way
 * only. Then the machine is made as for a boot, and in place of a kernel it gets the saved memory
 * and state. Whatever fails, all of that is undone.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "arch/arch.h"
#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pager.h"
#include "vmm/base/sent.h"
#include "vmm/persist/memory_file.h"
#include "vmm/persist/memory_lock.h"
#include "vmm/persist/sealed.h"
#include "vmm/persist/working_set.h"
#include "vmm/persist/state_file.h"
#include "vmm/resources/overrides.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/vm_config.h"

enum backend_type {
	BACKEND_FILE,
	BACKEND_UFFD
};

struct backend_body {
	char *backend_path;
	enum backend_type backend_type;
};

/* Those of the machine, or as in the snapshot. */
enum load_pages {
	LOAD_PAGES_SNAPSHOT,
	LOAD_PAGES_NONE,
	LOAD_PAGES_TRANSPARENT,
	LOAD_PAGES_2M
};

struct load_body {
	char *snapshot_path;
	struct backend_body mem_backend;
	bool has_mem_backend;
	char *mem_file_path;
	bool track_dirty_pages;
	bool enable_diff_snapshots;
	bool resume_vm;
	struct overrides overrides;
	bool clock_realtime;
	enum load_pages huge_pages;
	char *working_set_path; /* NULL: none */
};

static const char *const backend_type_names[] = {"File", "Uffd", NULL};
static const char *const load_pages_names[] = {"Snapshot", "None", "Transparent", "2M", NULL};

static const struct schema_field backend_fields[] = {
	SCHEMA_PATH_FIELD(struct backend_body, backend_path, SCHEMA_REQUIRED),
	SCHEMA_ENUM_FIELD(struct backend_body, backend_type, SCHEMA_REQUIRED, backend_type_names),
};

static const struct schema backend_schema =
	SCHEMA("MemBackendConfig", struct backend_body, backend_fields);

static const struct schema_field load_fields[] = {
	SCHEMA_PATH_FIELD(struct load_body, snapshot_path, SCHEMA_REQUIRED),
	SCHEMA_PATH_FIELD(struct load_body, mem_file_path, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct load_body, mem_backend, SCHEMA_OPTIONAL, &backend_schema),
	SCHEMA_FIELD(struct load_body, enable_diff_snapshots, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct load_body, track_dirty_pages, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct load_body, resume_vm, SCHEMA_DEFAULTED),
	OVERRIDES_FIELDS(struct load_body),
	SCHEMA_FIELD(struct load_body, clock_realtime, SCHEMA_DEFAULTED),
	SCHEMA_ENUM_FIELD(struct load_body, huge_pages, SCHEMA_DEFAULTED, load_pages_names),
	SCHEMA_PATH_FIELD(struct load_body, working_set_path, SCHEMA_OPTIONAL),
};

static const struct schema load_schema =
	SCHEMA("LoadSnapshotConfig", struct load_body, load_fields);

/* --- The configuration --- */

/* What no table can say: one of two fields, and one field of one architecture. */
static int check_load(struct request *request, struct error *err)
{
	const struct load_body *body = request->body;

	if (body->has_mem_backend == (body->mem_file_path != NULL)) {
		error_set(err, ERR_BAD_REQUEST,
			  body->has_mem_backend
				  ? "too many fields: either `mem_backend` or `mem_file_path` "
				    "exclusively is required"
				  : "missing field: either `mem_backend` or `mem_file_path` is "
				    "required");
		return json_fault(err, request->json->doc);
	}
	const struct drive_override *drives = body->overrides.drives.items;

	for (size_t i = 0; i < body->overrides.drives.count; i++) {
		if (drives[i].copy) {
			return error_set(err, ERR_BAD_REQUEST,
					 "A drive override of a load can't have `copy`: only a "
					 "fork has a machine to copy the drive of");
		}
	}
	if (body->clock_realtime && strcmp(arch_name, "aarch64") == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "clock_realtime is not supported on aarch64.");
	}
	if (body->mem_file_path != NULL || body->enable_diff_snapshots) {
		request->deprecation =
			"PUT /snapshot/load: mem_file_path and enable_diff_snapshots "
			"fields are deprecated.";
	}
	request->timed = "load snapshot";
	request->timed_metric = offsetof(struct api_metrics, latencies.load_snapshot);
	return 0;
}

static int override_machine(json_t *config, const struct load_body *body, struct error *err)
{
	json_t *object = json_object_get(config, "machine-config");
	bool is_tracked = body->track_dirty_pages || body->enable_diff_snapshots;

	if (!json_is_object(object)) {
		return 0; /* which the schema of the configuration refuses */
	}
	if (json_object_set_new(object, "track_dirty_pages", json_boolean(is_tracked)) < 0) {
		return error_set(err, ERR_HOST, "Out of memory for the configuration");
	}
	return body->huge_pages == LOAD_PAGES_SNAPSHOT
		       ? 0
		       : overrides_set(object, "huge_pages", load_pages_names[body->huge_pages],
				       err);
}

/* What the request overrides of the saved configuration. */
static int change(json_t *config, const void *arg, struct error *err)
{
	const struct load_body *body = arg;

	if (overrides_apply(&body->overrides, config, err) < 0) {
		return error_wrap(err, "Failed to get snapshot state from file");
	}
	return override_machine(config, body, err);
}

/* --- The machine --- */

static uint64_t memory_len(const struct machine_state *state)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < state->region_count; i++) {
		len += state->regions[i].len;
	}
	return len;
}

/* A descriptor that came with the request: nobody can change what it has. */
static int take_file(struct sent *sent, const char *name, int *fd, struct error *err)
{
	AUTO_FD taken = -1;

	if (sent_take(sent, name, &taken, err) < 0 || sealed_check(taken, name, err) < 0) {
		return -1;
	}
	*fd = fd_take(&taken);
	return 0;
}

/*
 * All who were sent one descriptor have one open file, and one lock. So that each has its own, a
 * file is opened once more, where there is /proc. A memfd, which is sealed, needs no lock.
 */
static void open_anew(int *fd)
{
	char path[32];

	(void)!snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
	int again = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (again >= 0) {
		fd_close(fd);
		*fd = again;
	}
}

static int take_memory(struct sent *sent, const char *name, int *fd, uint64_t *len,
		       struct error *err)
{
	AUTO_FD taken = -1;
	struct stat st;

	if (take_file(sent, name, &taken, err) < 0) {
		return -1;
	}
	if (fstat(taken, &st) < 0) {
		return error_sys(err, "Cannot find out how long %s is", name);
	}
	open_anew(&taken);
	*len = (uint64_t)st.st_size;
	*fd = fd_take(&taken);
	return 0;
}

static int check_memory(const struct machine_state *state, const char *path, int fd, uint64_t len,
			struct error *err)
{
	if (len != memory_len(state)) {
		return error_set(err, ERR_CORRUPT,
				 "The memory file has %llu bytes, and the memory of the guest "
				 "%llu: it is not the one that was saved with this state",
				 (unsigned long long)len, (unsigned long long)memory_len(state));
	}
	return memory_lock_share(fd, path, err) < 0
		       ? -1
		       : memory_file_check_whole(fd, path, state->base_page, err);
}

static int open_memory(const struct machine_state *state, const char *path, struct sent *sent,
		       int *fd, struct error *err)
{
	struct error cause = {0};
	uint64_t len;

	if (sent_is_name(path) && take_memory(sent, path, fd, &len, err) < 0) {
		return error_wrap(err, "Failed to load guest memory");
	}
	if (*fd >= 0 || fd_open_file(path, "The file", fd, &len, &cause) == 0) {
		return check_memory(state, path, *fd, len, err);
	}
	if (cause.sys == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Failed to load guest memory: it is not a regular file");
	}
	return error_set(err, ERR_BAD_REQUEST, "Failed to load guest memory: %s (os error %d)",
			 error_os_text(cause.sys), cause.sys);
}

/* Where the memory comes from, as the request says. */
struct memory {
	const char *path;
	struct sent *sent; /* what came with the request */
	bool is_paged;
	bool is_copied;
	int fd; /* of a file */
	struct gmem_pager *pager;
	const char *working_set; /* NULL: none */
	bool has_failed;	 /* and the error says so in Firecracker's words [compat] */
};

static int replay(struct gmem *mem, const char *path, struct error *err)
{
	struct working_set set = {0};
	int result = working_set_read(path, &set, err);

	if (result == 0) {
		result = working_set_load(mem, &set, err);
	}
	working_set_destroy(&set);
	return result;
}

/*
 * The API's own socket accepts whoever connects, but its thread brings no pages: the first touch
 * of memory would wait for ever.
 */
static int check_pager(const struct microvm *microvm, const char *path, struct error *err)
{
	struct stat own;
	struct stat named;

	if (microvm->api_socket == NULL || stat(microvm->api_socket, &own) < 0 ||
	    stat(path, &named) < 0 || own.st_dev != named.st_dev || own.st_ino != named.st_ino) {
		return 0;
	}
	return error_set(err, ERR_BAD_REQUEST,
			 "Failed to load guest memory: Error creating guest memory from uffd: %s "
			 "is the socket of this microVM's API and not that of a page fault handler",
			 path);
}

static int fill(void *arg, struct gmem *mem, struct error *err)
{
	struct memory *memory = arg;
	int result = 0;

	if (memory->is_paged) {
		result = gmem_pager_open(mem, memory->path, memory->pager, err);
	} else if (memory->is_copied) {
		result = memory_file_load(mem, memory->fd, err);
	}
	if (result < 0) {
		memory->has_failed = true;
		return error_wrap(err,
				  "Failed to load guest memory: Error creating guest memory "
				  "from %s",
				  memory->is_paged ? "uffd" : "file");
	}
	return memory->working_set != NULL ? replay(mem, memory->working_set, err) : 0;
}

/*
 * Pages of 2 MiB can't be those of a file, nor can memory that other processes share and write to,
 * so the file's data are copied into them.
 */
static int choose_source(const struct microvm *microvm, const struct machine_plan *plan,
			 struct memory *memory, struct machine_source *source, struct error *err)
{
	bool is_shared = plan->backing == GMEM_MEMFD;

	source->memory_fd = -1;
	source->fill = fill;
	source->arg = memory;
	if (memory->is_paged) {
		return is_shared ? error_set(err, ERR_NOT_SUPPORTED,
					     "Failed to load guest memory: A machine with "
					     "vhost-user devices can't have it from a page fault "
					     "handler, as their back-ends would not wait for it")
				 : check_pager(microvm, memory->path, err);
	}
	if (open_memory(source->state, memory->path, memory->sent, &memory->fd, err) < 0) {
		return error_wrap(err, "Failed to load guest memory: Error creating guest memory "
				       "from file");
	}
	memory->is_copied = is_shared || plan->backing == GMEM_HUGE_2M;
	if (!memory->is_copied) {
		source->memory_fd = memory->fd;
	}
	return 0;
}

static int load_machine(struct microvm *microvm, const struct machine_state *state,
			const struct request *request, struct error *err)
{
	const struct load_body *body = request->body;
	struct memory memory = {
		.path = body->has_mem_backend ? body->mem_backend.backend_path
					      : body->mem_file_path,
		.sent = request->sent,
		.is_paged = body->has_mem_backend && body->mem_backend.backend_type == BACKEND_UFFD,
		.fd = -1,
		.pager = &microvm->pager,
		.working_set = body->working_set_path,
	};
	struct machine_source source = {
		.state = state,
		.clock = {.clock_realtime = body->clock_realtime},
	};
	struct start_plan plan = actions_plan(microvm);
	int result = actions_check_shared(&microvm->config, err);

	if (result == 0) {
		result = choose_source(microvm, &plan.machine, &memory, &source, err);
	}

	plan.machine.source = &source;
	plan.is_paused = !body->resume_vm;
	if (result == 0 && controller_start(&microvm->controller, &plan, err) < 0) {
		gmem_pager_close(&microvm->pager);
		result = memory.has_failed
				 ? -1
				 : error_wrap(err, "Failed to build microVM from snapshot");
	}
	fd_close(&memory.fd);
	return result;
}

static int read_state(const struct request *request, struct machine_state *state, struct error *err)
{
	const struct load_body *body = request->body;
	AUTO_FD fd = -1;

	if (!sent_is_name(body->snapshot_path)) {
		return state_file_read(body->snapshot_path, state, err);
	}
	return take_file(request->sent, body->snapshot_path, &fd, err) < 0
		       ? -1
		       : state_file_read_from(fd, body->snapshot_path, state, err);
}

static int load(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct load_body *body = request->body;
	const struct vm_config_change changes = {.fn = change, .arg = body};
	struct machine_state state = {0};
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	if (microvm->is_configured) {
		return error_set(err, ERR_BAD_STATE,
				 "Loading a microVM snapshot not allowed after configuring "
				 "boot-specific resources.");
	}
	int result = read_state(request, &state, err);

	if (result < 0) {
		(void)error_wrap(err, "Failed to get snapshot state from file");
	} else {
		result = vm_config_load_changed(state.config, state.config_len, &changes, microvm,
						err);
	}
	if (result == 0) {
		result = load_machine(microvm, &state, request, err);
	}
	machine_state_destroy(&state);
	if (result < 0) {
		vm_config_unload(&microvm->config);
		return error_wrap(err, "Failed to restore from snapshot");
	}
	controller_note_latency("load snapshot",
				&microvm->controller.telemetry->api.latencies.vmm_load_snapshot,
				begin);
	return 0;
}

const struct resource snapshot_load_resource = {
	.path = {"snapshot", "load"},
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &load_schema,
			      .prefix = "Load snapshot error",
			      .check = check_load,
			      .run = load},
};
