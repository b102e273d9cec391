/* SPDX-License-Identifier: Apache-2.0 */
/* What a request to one resource consists of, whether it came by the socket or the config file. */
#ifndef API_RESOURCE_H
#define API_RESOURCE_H

#include "vmm/action.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"
#include "vmm/base/metrics.h"
#include "vmm/base/schema.h"

/* All borrowed; absent tokens are empty. */
struct resource_path {
	const char *first;
	const char *second; /* the id, where a resource has one */
	const char *third;
};

struct resource_call {
	action_fn execute;
	void *arg;
	const char *arch;	 /* "x86_64" or "aarch64"; NULL in a config file */
	struct metrics *metrics; /* to be told; NULL: none */
	struct resource_path path;
	const struct json_value *json; /* NULL: no body */
	/* The answer. */
	json_t *reply;		 /* owned by the call; NULL: success needs no words */
	const char *deprecation; /* a constant warning about the request; NULL: none */
	const char *timed;	 /* a constant: log how long this took; NULL: don't */
	size_t timed_metric;	 /* where that goes in struct api_metrics */
	char *text;		 /* heap, in place of reply; NULL: none */
	size_t text_len;
	const char *text_type; /* a constant, its Content-Type */
};

/* Answers a call: nothing but call->reply and the rest of the answer is changed in *call. */
typedef int (*resource_fn)(struct resource_call *call, struct error *err);

/* Executes one action. */
MUST_CHECK int resource_execute(const struct resource_call *call, struct action *action,
				struct error *err);

/*
 * The id in the path must be that in the body, which `body`'s first member points to. In a
 * configuration file there is no path.
 */
typedef int (*resource_id_fn)(const struct resource_call *call, const void *body,
			      struct error *err);
MUST_CHECK int resource_check_id(const struct resource_call *call, const void *body,
				 struct error *err);

/* DELETE of any device. */
MUST_CHECK int resource_unplug(struct resource_call *call, struct error *err);

/* Answers with `object`; fails if that is NULL, as schema_encode says that memory is short. */
MUST_CHECK int resource_reply(struct resource_call *call, json_t *object, struct error *err);

/* A resource that this build lacks: refuses with a sentence that names it; returns -1. */
COLD int resource_lacks(const char *what, struct error *err);

/* The same after the body, if any, was validated, and `check` (NULL: none) too. */
MUST_CHECK int resource_refuse(const struct resource_call *call, const struct schema *schema,
			       resource_id_fn check, const char *what, struct error *err);

#endif
