/* SPDX-License-Identifier: Apache-2.0 */
/* What a microVM knows of the processes that were forked from it. */
#ifndef VMM_RESOURCES_IMAGES_H
#define VMM_RESOURCES_IMAGES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/evloop.h"

struct fork_birth; /* fork.h */

enum {
	FORK_IMAGES_MAX = 8
};

/* Images of this machine that are kept: see fork.h. Zeroed: none. */
struct fork_images {
	bool has_begun;	       /* one was made, which may live on or have children */
	uint32_t last_request; /* number of the last one to any of them */
	size_t count;
	struct {
		char *name; /* heap */
		int socket;
	} items[FORK_IMAGES_MAX];
};

/* The files of a live snapshot, in the order in which they get their names. */
enum {
	SNAPSHOT_LIVE_MEMORY,
	SNAPSHOT_LIVE_STATE,
	SNAPSHOT_LIVE_FILES
};

enum snapshot_live_status {
	SNAPSHOT_LIVE_NONE,
	SNAPSHOT_LIVE_WRITING,
	SNAPSHOT_LIVE_DONE,
	SNAPSHOT_LIVE_FAILED
};

/* A file of a live snapshot. */
struct snapshot_live_file {
	char *name; /* heap */
	char *part; /* heap: where it is until all files are complete */
};

/* The last live snapshot: see snapshot_live.h. Zeroed: none. */
struct snapshot_live {
	enum snapshot_live_status status;
	struct evloop *loop;
	struct ev_source image; /* the socket to who writes; while it is writing */
	struct snapshot_live_file files[SNAPSHOT_LIVE_FILES];
	/* Descriptors that came with the request, in place of names: `name` is what it calls them.
	 */
	bool is_sent;
	int sent[SNAPSHOT_LIVE_FILES]; /* -1: none */
	/* A page that is shared with who writes: bytes of the memory that are in its file. */
	_Atomic uint64_t *written_bytes; /* NULL: there was no live snapshot */
	uint64_t total_bytes;		 /* of the memory */
	struct error err;		 /* of one that failed */
};

#endif
