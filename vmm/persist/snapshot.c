/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves machines.
 *
 * Theory of operation. Of what changed there are two sources. A machine that tracks dirty pages has
 * bitmaps of those written to since its last snapshot. They are taken before the memory is written
 * and put back if that fails, so that no mark is ever lost. A machine that does not track is asked
 * for its own pages: all that differs from the file that it was loaded from, or from zeroes. That
 * is more than what changed since the last snapshot, and never less.
 *
 * A state can't know what will become of a Diff: it may have been written into its base, merged
 * into it later, or be all that there is, as the first one of a machine that was booted. So in
 * place of a kind it names a page that is not zero and that the Diff lacks. A file that has zeroes
 * there is not the memory, whatever it is.
 */
#include "vmm/persist/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/persist/durable.h"
#include "vmm/persist/memory_file.h"
#include "vmm/persist/state_file.h"

/* What other processes write is in no log, and what they have written may be anywhere. */
static int check_changed(const struct machine *machine, struct error *err)
{
	return gmem_slot(machine->mem, 0).is_shared
		       ? error_set(err, ERR_NOT_SUPPORTED,
				   "Which pages have changed is not known of a machine with "
				   "vhost-user devices, whose back-ends write to its memory: only "
				   "a full snapshot has all")
		       : 0;
}

/* Fills in which pages changed. What was taken is there after a failure, too. */
static int take_changed(const struct machine *machine, struct page_sets *changed, struct error *err)
{
	for (unsigned i = 0; i < gmem_region_count(machine->mem); i++) {
		uint64_t *bits = changed->bits[i];
		int result = machine->vm.is_tracked ? vm_dirty_take(&machine->vm, i, bits, err)
						    : gmem_own_pages(machine->mem, i, bits, err);

		if (result < 0) {
			return error_wrap(err, "Cannot get dirty bitmap");
		}
	}
	return 0;
}

static void put_back(const struct machine *machine, const struct page_sets *changed)
{
	for (unsigned i = 0; machine->vm.is_tracked && i < gmem_region_count(machine->mem); i++) {
		gmem_dirty_put_back(machine->mem, i, changed->bits[i],
				    gmem_bitmap_words(machine->mem, i));
	}
}

/* Where the memory file has a page that others than these must have, if there is one. */
static uint64_t find_base_page(const struct gmem *mem, const struct page_sets *changed)
{
	uint64_t offset = 0;

	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		uint64_t page = i == 0 ? 1 : 0; /* an offset of 0 means that there is none */

		if (gmem_find_other(mem, i, changed->bits[i], &page)) {
			return offset + page * GMEM_DIRTY_PAGE;
		}
		offset += gmem_slot(mem, i).len;
	}
	return 0;
}

int snapshot_find_changed(const struct machine *machine, struct page_sets *changed,
			  struct error *err)
{
	if (check_changed(machine, err) < 0) {
		return -1;
	}
	int result = take_changed(machine, changed, err);

	put_back(machine, changed);
	return result;
}

/* Both are there, and the same. By open and fstat: no more calls for the filter to allow. */
static bool is_same_file(const char *a, const char *b)
{
	AUTO_FD fd_a = open(a, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	AUTO_FD fd_b = open(b, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd_a >= 0 && fd_b >= 0 && fd_is_same_file(fd_a, fd_b);
}

int snapshot_check_path(const struct machine *machine, const char *path, struct error *err)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int memory = gmem_slot(machine->mem, 0).fd;

	return fd >= 0 && memory >= 0 && fd_is_same_file(fd, memory)
		       ? error_set(err, ERR_BAD_REQUEST,
				   "%s is the file that this machine has its memory from", path)
		       : 0;
}

/* The state must overwrite neither the memory that is saved nor that which is in use. */
static int check_files(const struct machine *machine, const struct snapshot_files *files,
		       struct error *err)
{
	if (files->memory != NULL && (strcmp(files->state, files->memory) == 0 ||
				      is_same_file(files->state, files->memory))) {
		return error_set(err, ERR_BAD_REQUEST,
				 "snapshot_path and mem_file_path name the same file");
	}
	return snapshot_check_path(machine, files->state, err);
}

/*
 * A state that is there already goes with the memory that is about to be overwritten: whatever ends
 * this process meanwhile, the two of them must not be taken for a snapshot.
 */
static int spoil_state(const struct machine *machine, const struct snapshot_files *files,
		       struct error *err)
{
	AUTO_FD state = -1;

	if (!durable_is_there(files->state)) {
		return 0;
	}
	if (memory_file_check(machine->mem, files->memory, err) < 0 ||
	    durable_open(files->state, state_file_cannot_make, &state, err) < 0) {
		return -1;
	}
	return ftruncate(state, 0) == 0 && fsync(state) == 0
		       ? 0
		       : error_sys(err, "Cannot empty %s", files->state);
}

static int write_memory(const struct machine *machine, const struct snapshot_files *files,
			const struct page_sets *changed, struct error *err)
{
	if (files->memory == NULL) {
		return 0;
	}
	if (spoil_state(machine, files, err) < 0) {
		return -1;
	}
	if ((files->is_diff ? memory_file_save_pages(machine->mem, changed, files->memory, err)
			    : memory_file_save(machine->mem, files->memory, NULL, err)) < 0) {
		return -1;
	}
	/* Again, as a link may have led to the file that is there since now. */
	return check_files(machine, files, err);
}

/* Not where another one has made the file meanwhile, and writes to it or has it loaded. */
static void remove_memory(const struct machine *machine, const char *path)
{
	struct error ignored = {0};

	if (memory_file_check(machine->mem, path, &ignored) == 0) {
		durable_unmake(path);
	}
}

/* Writes both files, with the marks of what changed taken for as long as that may fail. */
static int write_files(const struct machine *machine, const struct snapshot_files *files,
		       struct machine_state *state, struct error *err)
{
	struct page_sets changed = {0};
	bool is_wanted = files->memory != NULL && (files->is_diff || machine->vm.is_tracked);
	bool is_new = files->memory != NULL && !durable_is_there(files->memory);

	if (is_wanted && page_sets_init(&changed, machine->mem, err) < 0) {
		return -1;
	}
	int result = is_wanted ? take_changed(machine, &changed, err) : 0;

	if (result == 0 && is_wanted && files->is_diff) {
		/* The page that is looked for is none of those that are saved. */
		result = gmem_check_behind(machine->mem, err);
		state->base_page = result == 0 ? find_base_page(machine->mem, &changed) : 0;
	}
	if (result == 0) {
		result = write_memory(machine, files, &changed, err);
	}
	if (result == 0) {
		result = state_file_write(state, files->state, err);
	}
	if (result < 0 && is_wanted) {
		put_back(machine, &changed);
	}
	if (result < 0 && is_new) {
		remove_memory(machine, files->memory);
	}
	page_sets_destroy(&changed);
	return result;
}

int snapshot_save(const struct machine *machine, const char *config,
		  const struct snapshot_files *files, struct error *err)
{
	struct machine_state state = {0};
	int result = check_files(machine, files, err);

	if (result == 0 && files->is_diff) {
		result = check_changed(machine, err);
	}
	if (result == 0) {
		result = machine_save(machine, config, &state, err);
		if (result < 0) {
			(void)error_wrap(err, "Cannot save the microVM state");
		}
	}
	if (result == 0) {
		result = write_files(machine, files, &state, err);
	}
	machine_state_destroy(&state);
	return result;
}
