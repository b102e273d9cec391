/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live snapshots.
 *
 * Theory of operation. The guest stands still while the process is forked, and for no longer. The
 * image writes memory and state as a Full snapshot does, to files whose names end in ".part", with
 * the filter that the VMM thread of any other machine has. It sends one message when it is done:
 * nothing, or why it failed. The VMM thread then gives the files their names. If image or monitor
 * end before that, the files of those names are as they were.
 */
#include "vmm/resources/snapshot_live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/confine/confine.h"
#include "vmm/persist/durable.h"
#include "vmm/persist/memory_file.h"
#include "vmm/persist/state_file.h"
#include "vmm/resources/fork.h"
#include "vmm/resources/resource.h"

static const char part[] = ".part";

/* --- In the image --- */

static int write_files(const struct fork_image *image, const struct snapshot_live *live,
		       struct error *err)
{
	struct machine_state state = image->state;

	if (confine_thread(image->confine, FILTER_VMM, -1, err) < 0) {
		return -1;
	}
	return memory_file_save(image->mem, live->memory_part, err) < 0
		       ? -1
		       : state_file_write(&state, live->state_part, err);
}

static void write_and_tell(const struct fork_image *image, void *arg, int socket)
{
	struct error err = {0};
	/* One byte more than the message, so that success is a message as well. */
	size_t len = 1;

	if (write_files(image, arg, &err) < 0) {
		len = strlen(err.msg) + 1;
	}
	(void)!write(socket, err.msg, len);
}

/* --- In the monitor --- */

static void free_paths(struct snapshot_live *live)
{
	free(live->state_part);
	free(live->memory_part);
	live->state_part = NULL;
	live->memory_part = NULL;
}

static void stop_waiting(struct snapshot_live *live, struct evloop *loop)
{
	ev_del(loop, &live->image);
	fd_close(&live->image.fd);
}

/* "x.part" becomes "x". */
static int give_name(const char *path, struct error *err)
{
	AUTO_FREE char *name = strndup(path, strlen(path) - strlen(part));

	if (name == NULL || rename(path, name) < 0) {
		return error_sys(err, "Cannot rename %s to the name that was asked for", path);
	}
	return durable_sync_directory(name, err);
}

/* The state last, as its name says that both are there. */
static void end(struct snapshot_live *live, const char *failure)
{
	struct error err = {0};

	if (failure[0] != '\0') {
		(void)error_set(&err, ERR_HOST, "%s", failure);
	} else if (give_name(live->memory_part, &err) == 0) {
		(void)!give_name(live->state_part, &err);
	}
	if (err.kind == ERR_NONE) {
		live->status = SNAPSHOT_LIVE_DONE;
		log_info("The live snapshot is complete.");
	} else {
		live->status = SNAPSHOT_LIVE_FAILED;
		live->err = err;
		(void)unlink(live->memory_part);
		(void)unlink(live->state_part);
		log_error("The live snapshot failed: %s", err.msg);
	}
	free_paths(live);
}

static void on_image(struct ev_source *source, uint32_t ready)
{
	struct snapshot_live *live = container_of(source, struct snapshot_live, image);
	char message[ERROR_MSG_LEN];
	ssize_t len = recv(source->fd, message, sizeof(message) - 1, MSG_DONTWAIT);

	(void)ready;
	if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	stop_waiting(live, live->loop);
	message[len > 0 ? len : 0] = '\0';
	end(live, len > 0 ? message : "The image of the machine ended; see the log");
}

static int set_paths(struct snapshot_live *live, const char *state_path, const char *memory_path,
		     struct error *err)
{
	if (asprintf(&live->state_part, "%s%s", state_path, part) < 0) {
		live->state_part = NULL;
	}
	if (asprintf(&live->memory_part, "%s%s", memory_path, part) < 0) {
		live->memory_part = NULL;
	}
	return live->state_part != NULL && live->memory_part != NULL
		       ? 0
		       : error_set(err, ERR_HOST, "Out of memory for a live snapshot");
}

static int start(struct microvm *microvm, struct snapshot_live *live, struct error *err)
{
	live->loop = microvm->controller.loop;
	live->image = (struct ev_source){.fd = -1, .fn = on_image};
	if (fork_image_start(microvm, write_and_tell, live, &live->image.fd, err) < 0) {
		return -1;
	}
	if (ev_add(live->loop, &live->image, EPOLLIN, err) < 0) {
		fd_close(&live->image.fd);
		return -1;
	}
	return 0;
}

int snapshot_live_start(struct microvm *microvm, const char *state_path, const char *memory_path,
			struct error *err)
{
	struct snapshot_live *live = &microvm->live;

	if (live->status == SNAPSHOT_LIVE_WRITING) {
		return error_set(err, ERR_BAD_STATE,
				 "A live snapshot is being written: GET /snapshot tells when it is "
				 "complete");
	}
	if (fork_check(microvm, err) < 0) {
		return -1;
	}
	*live = (struct snapshot_live){0};
	if (set_paths(live, state_path, memory_path, err) < 0 || start(microvm, live, err) < 0) {
		free_paths(live);
		return -1;
	}
	live->status = SNAPSHOT_LIVE_WRITING;
	return 0;
}

void snapshot_live_destroy(struct snapshot_live *live, struct evloop *loop)
{
	if (live->status == SNAPSHOT_LIVE_WRITING) {
		stop_waiting(live, loop);
		(void)unlink(live->memory_part);
		(void)unlink(live->state_part);
	}
	free_paths(live);
}

/* --- GET /snapshot --- */

struct shown {
	enum snapshot_live_status live;
	uint64_t written_bytes;
	char *error;
};

static const char *const status_names[] = {
	[SNAPSHOT_LIVE_NONE] = "None",	   [SNAPSHOT_LIVE_WRITING] = "Writing",
	[SNAPSHOT_LIVE_DONE] = "Done",	   [SNAPSHOT_LIVE_FAILED] = "Failed",
	[SNAPSHOT_LIVE_FAILED + 1] = NULL,
};

static const struct schema_field fields[] = {
	SCHEMA_ENUM_FIELD(struct shown, live, SCHEMA_REQUIRED, status_names),
	SCHEMA_FIELD(struct shown, written_bytes, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct shown, error, SCHEMA_OPTIONAL),
};

static const struct schema schema = SCHEMA("SnapshotStatus", struct shown, fields);

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	struct snapshot_live *live = &microvm->live;
	struct shown shown = {.live = live->status};
	struct stat st;

	if (live->status == SNAPSHOT_LIVE_WRITING && stat(live->memory_part, &st) == 0) {
		shown.written_bytes = (uint64_t)st.st_blocks * 512;
	}
	if (live->status == SNAPSHOT_LIVE_FAILED) {
		shown.error = live->err.msg;
	}
	return request_reply(request, schema_encode(&schema, &shown, SCHEMA_ALL), err);
}

const struct resource snapshot_live_resource = {
	.path = {"snapshot"},
	.answer = &schema,
	.methods[HTTP_GET] = {.states = ALWAYS, .run = get},
};
