/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources: all that a client can configure, ask or change, one row each.
 *
 * Theory of operation. A resource is a file of this folder with one row, which says how it is
 * called, in which states of the machine each method is legal, what its body looks like, and the
 * functions that do it. The API, the configuration file, GET /vm/config, the attaching of devices,
 * --landlock and the API's description are loops over the list of rows (resources.c).
 */
#ifndef VMM_RESOURCES_RESOURCE_H
#define VMM_RESOURCES_RESOURCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/http.h"
#include "vmm/base/schema.h"
#include "vmm/resources/microvm.h"
#include "vmm/resources/request.h"
#include "vmm/resources/rows.h"

enum {
	RESOURCE_TOKENS = 3, /* of a path, at most */

	/* States in which a method is legal, as bits of enum vm_state. */
	BEFORE_START = 1 << VM_NOT_STARTED,
	AFTER_START = 1 << VM_RUNNING | 1 << VM_PAUSED,
	ALWAYS = BEFORE_START | AFTER_START,
};

/* [compat] The refusal of a change to a device that the machine lacks. */
extern const char resource_not_found[];

/*
 * A check before a device is plugged into a machine that was started, or unplugged: there must be a
 * PCI bus. `is_right`: the id is one that can be, or `wrong` is the refusal. [compat] These
 * sentences have no prefix.
 */
extern const char resource_id_in_use[], resource_device_not_found[];
MUST_CHECK int resource_check_plug(const struct microvm *microvm, struct request *request,
				   bool is_right, const char *wrong, struct error *err);

/* devmgr_plug, whose failures have no prefix either [compat]. */
MUST_CHECK int resource_plug(struct microvm *microvm, struct request *request,
			     struct virtio_dev *dev, const char *id, struct error *err);

enum body_rule {
	BODY_NONE,   /* requests with a body are refused */
	BODY_JSON,   /* requests without one are refused */
	BODY_MAYBE,  /* JSON where there is one */
	BODY_UNREAD, /* there may be one, which nobody looks at */
	BODY_TEXT,   /* as BODY_JSON, but the method's check parses it: request->unread */
};

/* How a resource answers one method of HTTP. */
struct method {
	unsigned states; /* in which it is legal; 0: the resource has no such method */
	enum body_rule body;
	const struct schema *schema; /* of the body; NULL: any JSON */
	const void *defaults;	     /* of the schema's struct; NULL: zeroes */
	const char *prefix;	     /* [compat] of the errors of `run`; NULL: none */
	const char *refusal;	     /* in another state; NULL: the usual sentence */
	/*
	 * On the thread that asks, before the machine is asked: checks what no table can say, and
	 * may set parts of the answer. NULL: nothing to check.
	 */
	int (*check)(struct request *request, struct error *err);
	/*
	 * On the VMM thread: does it. The strings that it keeps of request->body it replaces there
	 * by NULL. NULL: there is nothing to do.
	 */
	int (*run)(struct microvm *microvm, struct request *request, struct error *err);
	/*
	 * On the thread that asks, after `run` has succeeded: what takes long, or waits for what
	 * other processes do, as the VMM thread may not. If `run` has set request->waits, other
	 * requests are done before. NULL: nothing is left to do.
	 */
	int (*finish)(struct request *request, struct error *err);
	/* On the VMM thread again: gives the machine what `finish` has made. NULL: nothing. */
	int (*commit)(struct microvm *microvm, struct request *request, struct error *err);
	bool answers; /* with a body, as GET does: for the API's description */
	/* Offsets in struct api_metrics of what counts requests and those that failed; 0: none. */
	size_t count, fails;
};

struct resource {
	/* Where it is below the API's root: tokens that a request's path begins with. */
	const char *path[RESOURCE_TOKENS];
	bool has_id;	  /* the next token is an id */
	const char *arch; /* that has it, in place of a row of NULL with the same path */
	/* [compat] Once a client has tried to set it, no snapshot is loaded any more. */
	bool is_for_boot;
	const struct schema *answer; /* of GET, for the API's description; NULL: not described */
	struct method methods[HTTP_METHODS];

	/* --- In the configuration file and in GET /vm/config --- */
	const char *key;	  /* NULL: in neither */
	bool is_list;		  /* of objects: one per device */
	bool is_shown_with_items; /* a list that Firecracker lacks is not shown empty [compat] */
	bool is_file_or_path;	 /* [compat] in the file it may be the path of a file that has it */
	enum schema_need need;	 /* in the file */
	const char *file_prefix; /* [compat] of the errors of PUT for a file; NULL: PUT's own */
	unsigned turn; /* [compat] among the keys of a file, which are applied in this order */
	json_t *(*show)(const struct vm_config *config); /* NULL: null, or an empty list */

	/* --- What it is to a machine; NULL where it is nothing --- */
	const struct metric_group *metrics;	   /* of its devices */
	const struct metric_group *remote_metrics; /* of those that another process serves */
	int (*map)(struct microvm *microvm, struct gmem *mem, const struct machine_state *saved,
		   struct error *err); /* as machine_plan's */
	int (*attach)(struct microvm *microvm, const struct attachment *at, struct error *err);
	int (*allow)(const struct microvm *microvm, const struct landlock *landlock, int rules,
		     struct error *err);
	void (*clear)(struct vm_config *config); /* frees what PUT stored, and sets the defaults */
	void (*undo)(const struct vm_config *config); /* removes the files that PUT made */
};

#define RESOURCE_DECLARATION(name) extern const struct resource name##_resource;
RESOURCE_ROWS(RESOURCE_DECLARATION)

/* All of them, in the order of rows.h. NULL ends the list. */
extern const struct resource *const resources[];

bool resource_is_here(const struct resource *resource); /* on this architecture */

/* Lists the groups of metrics of all devices; returns how many there are, `max` at most. */
size_t resource_metric_groups(const struct metric_group *groups[], size_t max);

/* The values of `count` and `fails`. */
#define GETS(name) .count = offsetof(struct api_metrics, get.name##_count)
#define PUTS(name)                                                                                 \
	.count = offsetof(struct api_metrics, put.name##_count),                                   \
	.fails = offsetof(struct api_metrics, put.name##_fails)
#define PATCHES(name)                                                                              \
	.count = offsetof(struct api_metrics, patch.name##_count),                                 \
	.fails = offsetof(struct api_metrics, patch.name##_fails)

/* A check: the id in the path must be that in the body, which its first member points to. */
MUST_CHECK int resource_check_id(struct request *request, struct error *err);

/* `list` is one of *count items of `size` bytes; makes room for one more. */
MUST_CHECK int resource_list_grow(void **list, size_t count, size_t size, struct error *err);

/* The object of the configuration's `member` for GET /vm/config, null where there is none. */
json_t *resource_show(bool is_there, const struct schema *schema, const void *member);

#endif
