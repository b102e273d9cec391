/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live snapshots.
 *
 * Theory of operation. The guest stands still while the process is forked, and for no longer. The
 * image writes memory and state as a Full snapshot does, to files whose names end in ".part", with
 * the filter that the VMM thread of any other machine has. It sends one message when it is done:
 * nothing, or why it failed. The VMM thread then gives the files their names, both or none. If
 * image or monitor end before that, the files of those names are as they were.
 *
 * Memfds that came with the request have no names to give: they are sealed in place of that, so
 * that machines in other jails can have their memory from them.
 */
#include "vmm/resources/snapshot_live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/confine/confine.h"
#include "vmm/persist/durable.h"
#include "vmm/persist/memory_file.h"
#include "vmm/persist/sealed.h"
#include "vmm/persist/snapshot.h"
#include "vmm/persist/state_file.h"
#include "vmm/resources/fork.h"
#include "vmm/resources/resource.h"

static const char part[] = ".part";

static const char *const cannot_make[] = {
	[SNAPSHOT_LIVE_MEMORY] = memory_file_cannot_make,
	[SNAPSHOT_LIVE_STATE] = state_file_cannot_make,
};

/* --- In the image --- */

static int write_files(const struct fork_image *image, const struct snapshot_live *live,
		       struct error *err)
{
	struct machine_state state = image->state;

	if (confine_thread(image->confine, FILTER_VMM, -1, err) < 0) {
		return -1;
	}
	if (live->is_sent) {
		const char *name = live->files[SNAPSHOT_LIVE_STATE].name;

		return memory_file_write(image->mem, live->sent[SNAPSHOT_LIVE_MEMORY],
					 live->written_bytes, err) < 0
			       ? -1
			       : state_file_fill(&state, live->sent[SNAPSHOT_LIVE_STATE], name,
						 err);
	}
	return memory_file_save(image->mem, live->files[SNAPSHOT_LIVE_MEMORY].part,
				live->written_bytes, err) < 0
		       ? -1
		       : state_file_write(&state, live->files[SNAPSHOT_LIVE_STATE].part, err);
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
	for (size_t i = 0; i < SNAPSHOT_LIVE_FILES; i++) {
		free(live->files[i].name);
		free(live->files[i].part);
		live->files[i] = (struct snapshot_live_file){0};
		if (live->is_sent) {
			fd_close(&live->sent[i]);
		}
	}
}

static void remove_parts(const struct snapshot_live *live)
{
	for (size_t i = 0; i < SNAPSHOT_LIVE_FILES; i++) {
		if (live->files[i].part != NULL && !live->is_sent) {
			(void)unlink(live->files[i].part);
		}
	}
}

/* There was none. */
static void forget(struct snapshot_live *live)
{
	free_paths(live);
	if (live->written_bytes != NULL) {
		munmap(live->written_bytes, sizeof(*live->written_bytes));
	}
	*live = (struct snapshot_live){0};
}

static int share_progress(struct snapshot_live *live, struct error *err)
{
	void *page = mmap(NULL, sizeof(*live->written_bytes), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED) {
		return error_sys(err, "Cannot share memory with who writes the live snapshot");
	}
	live->written_bytes = page;
	return 0;
}

static void stop_waiting(struct snapshot_live *live, struct evloop *loop)
{
	ev_del(loop, &live->image);
	fd_close(&live->image.fd);
}

/* Names and parts are regular files or not there, and each is another file. */
static int check_files(const struct snapshot_live *live, struct error *err)
{
	struct stat seen[2 * SNAPSHOT_LIVE_FILES];

	for (size_t i = 0; i < ARRAY_COUNT(seen); i++) {
		const struct snapshot_live_file *file = &live->files[i / 2];
		const char *path = i % 2 == 0 ? file->name : file->part;

		if (durable_look(path, cannot_make[i / 2], &seen[i], err) < 0) {
			return -1;
		}
		for (size_t j = 0; j < i; j++) {
			if (seen[i].st_ino != 0 && seen[i].st_ino == seen[j].st_ino &&
			    seen[i].st_dev == seen[j].st_dev) {
				return error_set(
					err, ERR_BAD_REQUEST,
					"snapshot_path and mem_file_path name the same file");
			}
		}
	}
	return 0;
}

/* Where a file has the name already, that one is the part from now on. */
static int give_name(const struct snapshot_live_file *file, struct error *err)
{
	if (renameat2(AT_FDCWD, file->part, AT_FDCWD, file->name, RENAME_EXCHANGE) == 0 ||
	    /* There is none, or the file system can't exchange names. */
	    renameat(AT_FDCWD, file->part, AT_FDCWD, file->name) == 0) {
		return 0;
	}
	return error_sys(err, "Cannot rename %s to %s", file->part, file->name);
}

/* The reverse of give_name. */
static void take_name(const struct snapshot_live_file *file)
{
	const struct snapshot_live_file reverse = {.name = file->part, .part = file->name};
	struct error ignored = {0};

	(void)!give_name(&reverse, &ignored);
}

/* Both names, or none. The state's is the last, as it says that both are there. */
static int give_names(const struct snapshot_live *live, struct error *err)
{
	size_t count = 0;
	int result = check_files(live, err);

	while (result == 0 && count < SNAPSHOT_LIVE_FILES) {
		result = give_name(&live->files[count], err);
		if (result == 0) {
			result = durable_sync_directory(live->files[count].name, err);
			count++;
		}
	}
	while (result < 0 && count > 0) {
		count--;
		take_name(&live->files[count]);
	}
	return result;
}

static int seal(const struct snapshot_live *live, struct error *err)
{
	for (size_t i = 0; i < SNAPSHOT_LIVE_FILES; i++) {
		if (sealed_close(live->sent[i], live->files[i].name, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static void end(struct snapshot_live *live, const char *failure)
{
	struct error err = {0};

	if (failure[0] != '\0') {
		(void)error_set(&err, ERR_HOST, "%s", failure);
	} else if (live->is_sent) {
		(void)!seal(live, &err);
	} else {
		(void)!give_names(live, &err);
	}
	remove_parts(live);
	free_paths(live);
	if (err.kind == ERR_NONE) {
		live->status = SNAPSHOT_LIVE_DONE;
		log_info("The live snapshot is complete.");
	} else {
		live->status = SNAPSHOT_LIVE_FAILED;
		live->err = err;
		log_error("The live snapshot failed: %s", err.msg);
	}
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

static int set_path(struct snapshot_live_file *file, const char *name, struct error *err)
{
	file->name = strdup(name);
	if (asprintf(&file->part, "%s%s", name, part) < 0) {
		file->part = NULL;
	}
	return file->name != NULL && file->part != NULL
		       ? 0
		       : error_set(err, ERR_HOST, "Out of memory for a live snapshot");
}

/* Empty files, which show whether there can be any, and whether all are different ones. */
static int make_parts(const struct snapshot_live *live, struct error *err)
{
	int result = 0;

	if (check_files(live, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < SNAPSHOT_LIVE_FILES && result == 0; i++) {
		AUTO_FD fd = -1;

		result = durable_open(live->files[i].part, cannot_make[i], &fd, err);
	}
	if (result < 0 || check_files(live, err) < 0) {
		remove_parts(live);
		return -1;
	}
	return 0;
}

static int start(struct microvm *microvm, struct snapshot_live *live, struct error *err)
{
	live->loop = microvm->controller.loop;
	live->image = (struct ev_source){.fd = -1, .fn = on_image};
	live->total_bytes = gmem_len(microvm->controller.machine.mem);
	if (share_progress(live, err) < 0 || (!live->is_sent && make_parts(live, err) < 0)) {
		return -1;
	}
	const struct fork_purpose purpose = {
		.serve = write_and_tell,
		.arg = live,
		.kept = live->sent,
		.kept_count = live->is_sent ? SNAPSHOT_LIVE_FILES : 0,
	};

	if (fork_image_start(microvm, &purpose, &live->image.fd, err) < 0 ||
	    ev_add(live->loop, &live->image, EPOLLIN, err) < 0) {
		fd_close(&live->image.fd);
		remove_parts(live);
		return -1;
	}
	return 0;
}

/* Takes the descriptors that the names mean. */
static int take_sent(struct snapshot_live *live, struct sent *sent, struct error *err)
{
	live->is_sent = true;
	for (size_t i = 0; i < SNAPSHOT_LIVE_FILES; i++) {
		live->sent[i] = -1;
	}
	for (size_t i = 0; i < SNAPSHOT_LIVE_FILES; i++) {
		const char *name = live->files[i].name;

		if (sent_take(sent, name, &live->sent[i], err) < 0 ||
		    sealed_check_open(live->sent[i], name, err) < 0) {
			return -1;
		}
	}
	return fd_is_same_file(live->sent[0], live->sent[1])
		       ? error_set(err, ERR_BAD_REQUEST,
				   "snapshot_path and mem_file_path name the same file")
		       : 0;
}

/* Where state and memory go. */
static int set_places(struct microvm *microvm, const char *state_path, const char *memory_path,
		      struct sent *sent, struct error *err)
{
	struct snapshot_live *live = &microvm->live;

	if (set_path(&live->files[SNAPSHOT_LIVE_MEMORY], memory_path, err) < 0 ||
	    set_path(&live->files[SNAPSHOT_LIVE_STATE], state_path, err) < 0) {
		return -1;
	}
	if (sent_is_name(state_path) != sent_is_name(memory_path)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Either both files of a live snapshot are descriptors that come "
				 "with the request, or none");
	}
	return sent_is_name(state_path)
		       ? take_sent(live, sent, err)
		       : snapshot_check_path(&microvm->controller.machine, state_path, err);
}

int snapshot_live_start(struct microvm *microvm, const char *state_path, const char *memory_path,
			struct sent *sent, struct error *err)
{
	struct snapshot_live *live = &microvm->live;

	if (live->status == SNAPSHOT_LIVE_WRITING) {
		return error_set(err, ERR_BAD_STATE,
				 "A live snapshot is being written: GET /snapshot tells when it is "
				 "complete");
	}
	if (fork_check(microvm, err) < 0 ||
	    pmem_check_saved(&microvm->config.pmems, microvm->controller.machine.mem, err) < 0) {
		return -1;
	}
	/* Nothing of it is open: of the last one there is only what GET shows. */
	struct snapshot_live last = *live;

	*live = (struct snapshot_live){0};
	if (set_places(microvm, state_path, memory_path, sent, err) < 0 ||
	    start(microvm, live, err) < 0) {
		forget(live);
		*live = last;
		return -1;
	}
	forget(&last);
	live->status = SNAPSHOT_LIVE_WRITING;
	return 0;
}

void snapshot_live_destroy(struct snapshot_live *live, struct evloop *loop)
{
	if (live->status == SNAPSHOT_LIVE_WRITING) {
		stop_waiting(live, loop);
		remove_parts(live);
	}
	forget(live);
}

/* --- GET /snapshot --- */

struct shown {
	enum snapshot_live_status live;
	uint64_t written_bytes;
	uint64_t total_bytes;
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
	SCHEMA_FIELD(struct shown, total_bytes, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct shown, error, SCHEMA_OPTIONAL),
};

static const struct schema schema = SCHEMA("SnapshotStatus", struct shown, fields);

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	struct snapshot_live *live = &microvm->live;
	struct shown shown = {.live = live->status, .total_bytes = live->total_bytes};

	if (live->written_bytes != NULL) {
		shown.written_bytes = *live->written_bytes;
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
