/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that the guest has as memory beside its RAM: what is behind devices of persistent memory.
 * gmem_read, gmem_write and gmem_iov reach them too. They are no RAM: no ring lies there, nothing
 * is discarded, and no snapshot has them. All on the VMM thread.
 */
#ifndef VMM_BASE_GMEM_PMEM_H
#define VMM_BASE_GMEM_PMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

enum {
	GMEM_PMEM_MAX = 128,		   /* files of one machine */
	GMEM_PMEM_ALIGN = 2 * 1024 * 1024, /* bytes, of address and length [compat] */
	GMEM_PMEM_NAME_LEN = 64,
};

/* A file that is to be mapped. */
struct gmem_pmem_file {
	const char *name;	/* for messages */
	int fd;			/* open for reading, and for writing unless it is private */
	bool is_private;	/* what the guest writes stays in this process */
	struct gmem_range room; /* where such memory may be; RAM in it is left out */
	uint64_t base;		/* where it has to be; 0: at the first place that is free */
};

/* One that is mapped. */
struct gmem_pmem_info {
	gpa_t base;
	uint64_t len;	   /* bytes; behind the file's end is memory of this process */
	uint64_t file_len; /* bytes, as it was when it was mapped */
	int fd;		   /* stays gmem's */
	bool is_private;
};

/*
 * Maps a file that is not empty and returns its index. On success *file's descriptor belongs to
 * gmem. Where vCPUs may run, no memory slot of KVM is there yet.
 */
MUST_CHECK int gmem_pmem_add(struct gmem *mem, const struct gmem_pmem_file *file, unsigned *index,
			     struct error *err);

/*
 * Takes it out again. KVM's slot stays, and memory of zeroes is in its place: a guest that was not
 * asked may be in the midst of it, and some instructions end a machine where no memory is. It is no
 * guest memory for devices any more. vCPUs may run.
 */
void gmem_pmem_remove(struct gmem *mem, unsigned index);

/* There is such memory, which takes its place and its index. */
bool gmem_pmem_is_left(const struct gmem *mem, unsigned index);

/*
 * Frees it, after KVM's slot is gone. Its addresses in this process are not used for anything but a
 * later file, so a call of the kernel under way fails there and hits nothing.
 */
void gmem_pmem_clear(struct gmem *mem, unsigned index);

/* All indexes are below this; not each of them has a file. */
unsigned gmem_pmem_end(const struct gmem *mem);
bool gmem_pmem_get(const struct gmem *mem, unsigned index, struct gmem_pmem_info *info);

/* For KVM. */
struct gmem_slot gmem_pmem_slot(const struct gmem *mem, unsigned index);

/*
 * True while the file is as long as it was, and all that the guest has written is in it or can get
 * there.
 */
bool gmem_pmem_is_whole(const struct gmem *mem, unsigned index);

/*
 * A vCPU has met a page that the host can't bring: there is a file that was cut, or a hole of one
 * that the disk has no room for, or holes that gmem_pmem_watch has closed.
 */
bool gmem_pmem_is_torn(const struct gmem *mem);

/*
 * Looks without a vCPU that has met anything, which KVM may keep from us: true, a file was cut, or
 * a private one has holes on a tmpfs that is full, and it is to be mended. Holes of other files
 * whose disk is full can't be accessed from then on, so that a vCPU that needs one says so; mending
 * makes them accessible again. vCPUs may run.
 */
bool gmem_pmem_watch(struct gmem *mem);

/*
 * Puts memory of zeroes in place of what is_torn has found, at most as much as the files are long,
 * and logs it. True: a look at so many holes takes several calls, and there are more. While no vCPU
 * runs.
 */
bool gmem_pmem_mend(struct gmem *mem);

/* Of a process that was forked: the files were its parent's, and their descriptors are closed. */
void gmem_pmem_forget(struct gmem *mem);

#endif
