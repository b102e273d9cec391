/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of a running machine: an image of it as of one instant, which is a process, and children
 * that the image makes, each a monitor of its own.
 */
#ifndef VMM_RESOURCES_FORK_H
#define VMM_RESOURCES_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"
#include "vmm/base/schema.h"
#include "vmm/machine/machine_state.h"
#include "vmm/resources/fork_copies.h"
#include "vmm/resources/microvm.h"
#include "vmm/resources/overrides.h"

enum {
	FORK_PATIENCE_MS = 30 * 1000, /* for all children of a request together */
};

/* A child as a request describes it. */
struct fork_child {
	char *id;
	char *api_sock;
	char *log_path;	       /* NULL: the parent's log */
	char *metrics_path;    /* NULL: none */
	char *serial_out_path; /* NULL: the guest's output is thrown away */
	struct token_bucket_config serial_rate_limiter;
	bool has_serial_rate_limiter;
	bool paused;
	bool ends_with_parent;
	struct overrides overrides;
};

/* The body of PUT /fork. */
struct fork_body {
	struct schema_list children; /* struct fork_child */
	bool all_or_none;
	bool landlock; /* the children confine themselves as with --landlock */
	char *keep;    /* the name under which the image is kept; NULL: it ends */
	char *image;   /* the name of one that was kept; NULL: one is made */
	/* no fields of JSON: */
	int socket;	 /* to the image; that of one which was kept is the microVM's */
	uint32_t number; /* of the request, among all to images of the microVM */
};

extern const struct schema fork_schema;

/* All that a new process needs to become the monitor of a child. */
struct fork_birth {
	const struct fork_child *child;
	bool landlock; /* of the request */
	const struct machine_state *state;
	const struct fork_copies *copies;
	size_t copied;	  /* drive overrides of the child that are done with */
	struct gmem *mem; /* inherited; the machine takes it */
	pid_t parent;	  /* the monitor that was forked */
	int report;	  /* a socket to the image; -1: the child lives */
	bool has_failed;  /* and the image knows it */
};

/* Makes the process that calls it the monitor of a child, and ends it. */
typedef void (*fork_become_fn)(void *arg, struct fork_birth *birth);

/* What the image has. The pointers' objects are those of the process that was forked. */
struct fork_image {
	struct gmem *mem;
	struct machine_state state;
	pid_t parent;
	const struct confine *confine; /* of the process that was forked; NULL: none */
	fork_become_fn become;
	void *arg;
	struct fork_copies copies;
	const int *kept; /* descriptors that the purpose needs */
	size_t kept_count;
};

/* What an image does, until it ends by itself. */
typedef void (*fork_image_fn)(const struct fork_image *image, void *arg, int socket);

/* What a fork is for. */
struct fork_purpose {
	fork_image_fn serve;
	void *arg;
	const struct schema_list *children; /* struct fork_child; NULL: none */
	const int *kept;		    /* descriptors that stay open in the image */
	size_t kept_count;
};

/*
 * Has the machine stand still, saves its state, copies the drives of which children are to have a
 * copy, forks the image, and lets the machine go on if it ran. In the image `serve` is called, with
 * no descriptors open but its end of *socket, the log's, those of guest memory and of copies, and
 * those that the purpose keeps.
 * *socket, a stream to the image, is the caller's. VMM thread.
 */
MUST_CHECK int fork_image_start(struct microvm *microvm, const struct fork_purpose *purpose,
				int *socket, struct error *err);

/* A fork_image_fn: makes children as it is asked, until all of *socket is closed. */
void fork_image_serve(const struct fork_image *image, void *arg, int socket);

/* Fails where the machine is none that can be forked. */
MUST_CHECK int fork_check(const struct microvm *microvm, struct error *err);

/*
 * Has the image of body->socket make children; `text` is the body of PUT /fork as it came. *answer,
 * a JSON object, is the caller's. Waits up to FORK_PATIENCE_MS and a little. The children that the
 * answer has wait for fork_image_settle, which follows in any case. Any thread, one at a time.
 */
MUST_CHECK int fork_image_ask(const struct fork_body *body, const char *text, size_t len,
			      json_t **answer, struct error *err);

/* Has the children of the last fork_image_ask live, or end. Does not wait. Any thread. */
void fork_image_settle(const struct fork_body *body, bool lives);

/* Waits, in a child that is ready, until the image says that it is to live; fails if it is not. */
MUST_CHECK int fork_await_go(struct fork_birth *birth, struct error *err);

/*
 * In the process of a child: makes its machine, reports that, and lets the guest run if the image
 * says so. VMM thread.
 */
MUST_CHECK int fork_load(struct microvm *microvm, struct fork_birth *birth, struct error *err);

/* Reports why a child could not be made, if that is not decided yet. */
void fork_report_failure(struct fork_birth *birth, const struct error *err);

/* Ends the images that are kept. */
void fork_images_drop(struct fork_images *images);

#endif
