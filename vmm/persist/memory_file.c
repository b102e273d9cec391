/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes guest memory to a file.
 *
 * Theory of operation. The pages of a region are told apart by runs: own ones (gmem_own_pages),
 * which are written from guest memory, or left out as a hole where they are zero; and the others,
 * whose bytes are behind the memory. Behind anonymous memory are zeroes, so the others are holes
 * too. Behind a private mapping is a file, of which they are copied from file to file, without the
 * detour by memory; where the target is that very file they are in place already.
 *
 * No page is read that is not own, so that a save neither fills page tables nor the page cache. A
 * target that had other contents gets its holes punched.
 */
#include "vmm/persist/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/gmem_plug.h"
#include "vmm/persist/durable.h"
#include "vmm/persist/memory_lock.h"

const char memory_file_cannot_make[] = "Cannot perform open on the memory backing file";

enum {
	WRITE_MAX = 16 * 1024 * 1024, /* bytes of one call */
	ZEROES_LEN = 64 * 1024,
};

/* A file that is being written, and the region that is at its turn. */
struct target {
	const struct gmem *mem;
	int fd;
	bool is_blank; /* it was empty: what is not written is a hole */
	bool is_base;  /* the memory is a private mapping of it */
	size_t index;
	struct gmem_slot slot;
	uint64_t offset;	/* of the region in the file */
	_Atomic uint64_t *done; /* NULL: nobody looks */
};

/* --- bytes --- */

static int fail_at(const struct target *target, const char *what, uint64_t at, struct error *err)
{
	unsigned long long in_file = target->offset + at;

	return error_sys(err, "Cannot %s at offset %llu", what, in_file);
}

/* All of the region below `at` is in the file. */
static void note(const struct target *target, uint64_t at)
{
	if (target->done != NULL) {
		atomic_store_explicit(target->done, target->offset + at, memory_order_relaxed);
	}
}

/* Writes `len` bytes at `at` of the region from guest memory. */
static int write_bytes(const struct target *target, uint64_t at, uint64_t len, struct error *err)
{
	struct iovec iov[GMEM_REGIONS_MAX];
	size_t count;

	while (len > 0) {
		const struct gmem_range range = {GPA(target->slot.base.v + at),
						 min_u64(len, WRITE_MAX)};

		/* It is read from, so that nothing is marked: the cast changes nothing. */
		if (gmem_iov((struct gmem *)target->mem, range, GMEM_READ, iov, &count) < 0) {
			errno = EFAULT;
			return fail_at(target, "read guest memory", at, err);
		}
		ssize_t put = pwritev(target->fd, iov, (int)count, (off_t)(target->offset + at));

		if (put < 0 && errno == EINTR) {
			continue;
		}
		if (put <= 0) {
			return fail_at(target, "write guest memory", at, err);
		}
		at += (uint64_t)put;
		len -= (uint64_t)put;
		note(target, at);
	}
	return 0;
}

static int write_zeroes(const struct target *target, uint64_t at, uint64_t len, struct error *err)
{
	static uint8_t zeroes[ZEROES_LEN];

	while (len > 0) {
		const struct iovec iov = {zeroes, min_u64(len, sizeof(zeroes))};
		ssize_t put = pwritev(target->fd, &iov, 1, (off_t)(target->offset + at));

		if (put < 0 && errno == EINTR) {
			continue;
		}
		if (put <= 0) {
			return fail_at(target, "write zeroes", at, err);
		}
		at += (uint64_t)put;
		len -= (uint64_t)put;
	}
	return 0;
}

/* Makes the bytes read as zero, by a hole where the file system has them. */
static int make_hole(const struct target *target, uint64_t at, uint64_t len, struct error *err)
{
	if (target->is_blank || len == 0 ||
	    fallocate(target->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(target->offset + at), (off_t)len) == 0) {
		return 0;
	}
	return errno == EOPNOTSUPP || errno == ENOSYS
		       ? write_zeroes(target, at, len, err)
		       : fail_at(target, "make a hole in the memory file", at, err);
}

/* Copies data, which lies in the file that is behind the memory. */
static int copy_data(const struct target *target, uint64_t at, uint64_t len, struct error *err)
{
	while (len > 0) {
		off_t from = (off_t)(target->slot.offset + at);
		off_t to = (off_t)(target->offset + at);
		ssize_t put = copy_file_range(target->slot.fd, &from, target->fd, &to, len, 0);

		if (put < 0 && errno == EINTR) {
			continue;
		}
		/* File systems that can't, or not among each other: by way of the mapping. */
		if (put <= 0) {
			return write_bytes(target, at, len, err);
		}
		at += (uint64_t)put;
		len -= (uint64_t)put;
		note(target, at);
	}
	return 0;
}

/* --- runs of pages --- */

/* Own pages: what is not zero is written. */
static int save_own(const struct target *target, uint64_t page, uint64_t end, struct error *err)
{
	while (page < end) {
		uint64_t first = page;
		bool is_zero = gmem_is_zero(target->mem, target->index, page);

		do {
			page++;
		} while (page < end && gmem_is_zero(target->mem, target->index, page) == is_zero);

		uint64_t at = first * GMEM_DIRTY_PAGE;
		uint64_t len = (page - first) * GMEM_DIRTY_PAGE;

		if ((is_zero ? make_hole(target, at, len, err)
			     : write_bytes(target, at, len, err)) < 0) {
			return -1;
		}
	}
	return 0;
}

uint64_t memory_file_seek(int fd, uint64_t at, uint64_t end, int whence)
{
	off_t found = lseek(fd, (off_t)at, whence);

	if (found < 0) {
		/* Nothing more, or a file system that does not tell: then all is data. */
		return errno == ENXIO || whence == SEEK_HOLE ? end : at;
	}
	return min_u64((uint64_t)found, end);
}

/* The same of the file behind the memory, in offsets of the region. */
static uint64_t next_of(const struct target *target, uint64_t at, uint64_t end, int whence)
{
	uint64_t base = target->slot.offset;

	return memory_file_seek(target->slot.fd, base + at, base + end, whence) - base;
}

/* Pages that are as in the file behind the memory, which is another one than the target. */
static int save_others(const struct target *target, uint64_t at, uint64_t end, struct error *err)
{
	while (at < end) {
		uint64_t data = next_of(target, at, end, SEEK_DATA);
		uint64_t hole = data < end ? next_of(target, data, end, SEEK_HOLE) : end;

		if (make_hole(target, at, data - at, err) < 0 ||
		    copy_data(target, data, hole - data, err) < 0) {
			return -1;
		}
		at = hole;
	}
	return 0;
}

/* One run of pages, all own or none. */
static int save_run(const struct target *target, const uint64_t *own, uint64_t page, uint64_t end,
		    struct error *err)
{
	uint64_t at = page * GMEM_DIRTY_PAGE;
	uint64_t len = (end - page) * GMEM_DIRTY_PAGE;

	/* What a page fault handler has not brought yet is brought by reading it. */
	if (page_bit(own, page) || target->slot.is_paged) {
		return save_own(target, page, end, err);
	}
	if (target->is_base) {
		return 0;
	}
	return target->slot.fd >= 0 ? save_others(target, at, at + len, err)
				    : make_hole(target, at, len, err);
}

static int save_region(const struct target *target, const uint64_t *own, struct error *err)
{
	uint64_t pages = target->slot.len / GMEM_DIRTY_PAGE;

	for (uint64_t page = 0; page < pages;) {
		bool is_ram;
		uint64_t ram_end = gmem_ram_run(target->mem, target->index, page, &is_ram);
		uint64_t end = is_ram ? page_run_end(own, page, ram_end) : ram_end;

		if ((is_ram ? save_run(target, own, page, end, err)
			    : make_hole(target, page * GMEM_DIRTY_PAGE,
					(end - page) * GMEM_DIRTY_PAGE, err)) < 0) {
			return -1;
		}
		page = end;
		note(target, page * GMEM_DIRTY_PAGE);
	}
	return 0;
}

static int save_changed_region(const struct target *target, const uint64_t *changed,
			       struct error *err)
{
	uint64_t pages = target->slot.len / GMEM_DIRTY_PAGE;

	for (uint64_t page = 0; page < pages;) {
		bool is_ram;
		uint64_t ram_end = gmem_ram_run(target->mem, target->index, page, &is_ram);
		uint64_t end = page_run_end(changed, page, ram_end);

		if (is_ram && page_bit(changed, page) &&
		    write_bytes(target, page * GMEM_DIRTY_PAGE, (end - page) * GMEM_DIRTY_PAGE,
				err) < 0) {
			return -1;
		}
		page = end;
	}
	return 0;
}

/* --- the file --- */

/* Gives the target its length. A file that the memory is mapped from is never cut. */
static int set_length(struct target *target, struct error *err)
{
	struct stat st;

	if (fstat(target->fd, &st) < 0) {
		return error_sys(err, "Cannot perform get_metadata on the memory backing file");
	}
	uint64_t len = gmem_len(target->mem);

	if (gmem_check_behind(target->mem, err) < 0) {
		return -1;
	}

	target->is_base = fd_is_same_file(gmem_slot(target->mem, 0).fd, target->fd);
	if (target->is_base || (uint64_t)st.st_size == len) {
		return 0;
	}
	target->is_blank = true;
	if (ftruncate(target->fd, 0) < 0 || ftruncate(target->fd, (off_t)len) < 0) {
		return error_sys(err, "Cannot perform set_length on the memory backing file");
	}
	return 0;
}

static int save_regions(struct target *target, const struct page_sets *changed, struct error *err)
{
	struct page_sets own = {0};
	int result = changed == NULL ? page_sets_init(&own, target->mem, err) : 0;

	for (size_t i = 0; i < gmem_region_count(target->mem) && result == 0; i++) {
		target->index = i;
		target->slot = gmem_slot(target->mem, i);
		if (changed != NULL) {
			result = save_changed_region(target, changed->bits[i], err);
		} else if (gmem_own_pages(target->mem, i, own.bits[i], err) < 0) {
			result = -1;
		} else {
			result = save_region(target, own.bits[i], err);
		}
		target->offset += target->slot.len;
	}
	page_sets_destroy(&own);
	return result;
}

static int write_all(struct target *target, const struct page_sets *changed, struct error *err)
{
	return set_length(target, err) < 0 ? -1 : save_regions(target, changed, err);
}

/* Nobody else has it as long as it is open. *own: the memory's descriptor of that file, or -1. */
static int open_alone(const struct gmem *mem, const char *path, int *fd, int *own,
		      struct error *err)
{
	const struct gmem_slot behind = gmem_slot(mem, 0);
	AUTO_FD opened = -1;

	if (durable_open(path, memory_file_cannot_make, &opened, err) < 0) {
		return -1;
	}
	*own = fd_is_same_file(behind.fd, opened) ? behind.fd : -1;
	if (memory_lock_begin(opened, *own, path, err) < 0) {
		return -1;
	}
	*fd = fd_take(&opened);
	return 0;
}

static int save(struct target *target, const struct page_sets *changed, const char *path,
		struct error *err)
{
	int own;

	if (open_alone(target->mem, path, &target->fd, &own, err) < 0) {
		return -1;
	}
	int result = write_all(target, changed, err);

	if (result == 0) {
		result = durable_sync(target->fd, path, err);
	}
	memory_lock_end(target->fd, own);
	fd_close(&target->fd);
	return result;
}

int memory_file_save(const struct gmem *mem, const char *path, _Atomic uint64_t *done,
		     struct error *err)
{
	struct target target = {.mem = mem, .done = done};

	return save(&target, NULL, path, err);
}

int memory_file_check(const struct gmem *mem, const char *path, struct error *err)
{
	AUTO_FD fd = -1;
	int own;

	if (open_alone(mem, path, &fd, &own, err) < 0) {
		return -1;
	}
	memory_lock_end(fd, own);
	return 0;
}

int memory_file_write(const struct gmem *mem, int fd, _Atomic uint64_t *done, struct error *err)
{
	struct target target = {.mem = mem, .fd = fd, .done = done};

	return write_all(&target, NULL, err);
}

int memory_file_save_pages(const struct gmem *mem, const struct page_sets *changed,
			   const char *path, struct error *err)
{
	struct target target = {.mem = mem};

	return save(&target, changed, path, err);
}

/* --- loading --- */

int memory_file_check_whole(int fd, const char *name, uint64_t base_page, struct error *err)
{
	static const uint8_t zeroes[GMEM_DIRTY_PAGE];
	uint8_t page[GMEM_DIRTY_PAGE];

	if (base_page == 0) {
		return 0;
	}
	if (pread_full(fd, page, sizeof(page), base_page, err) < 0) {
		return error_wrap(err, "Section memory, base_page");
	}
	return memcmp(page, zeroes, sizeof(page)) != 0
		       ? 0
		       : error_set(
				 err, ERR_CORRUPT,
				 "%s is not the whole memory: the guest has something at offset "
				 "%llu, and the file zeroes. It is a Diff that was not merged "
				 "into its base: snapshot-editor edit-memory rebase --memory-path "
				 "BASE --diff-path LAYER makes BASE the memory that goes with "
				 "this state",
				 name, (unsigned long long)base_page);
}

/* Memory that is all RAM, and begins at `offset` in the file. */
static int load_run(struct gmem *mem, struct gmem_range run, int fd, uint64_t offset,
		    struct error *err)
{
	uint64_t end = offset + run.len;

	for (uint64_t at = offset; at < end;) {
		uint64_t data = memory_file_seek(fd, at, end, SEEK_DATA);
		uint64_t hole = memory_file_seek(fd, data, end, SEEK_HOLE);

		if (data < hole && gmem_load_file(mem, GPA(run.base.v + (data - offset)), fd, data,
						  hole - data, err) < 0) {
			return -1;
		}
		at = hole;
	}
	return 0;
}

static int load_region(struct gmem *mem, size_t index, int fd, uint64_t offset, struct error *err)
{
	const struct gmem_slot slot = gmem_slot(mem, index);
	bool is_ram;

	for (uint64_t at = 0; at < slot.len;) {
		uint64_t end =
			gmem_ram_run(mem, index, at / GMEM_DIRTY_PAGE, &is_ram) * GMEM_DIRTY_PAGE;
		const struct gmem_range run = {GPA(slot.base.v + at), end - at};

		if (is_ram && load_run(mem, run, fd, offset + at, err) < 0) {
			return -1;
		}
		at = end;
	}
	return 0;
}

int memory_file_load(struct gmem *mem, int fd, struct error *err)
{
	uint64_t offset = 0;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		return error_sys(err, "Cannot find out how long the memory file is");
	}
	if ((uint64_t)st.st_size < gmem_len(mem)) {
		return error_set(err, ERR_CORRUPT,
				 "The memory file has %llu bytes, and the memory of the guest %llu",
				 (unsigned long long)st.st_size, (unsigned long long)gmem_len(mem));
	}
	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		if (load_region(mem, i, fd, offset, err) < 0) {
			return -1;
		}
		offset += gmem_slot(mem, i).len;
	}
	return 0;
}
