/* SPDX-License-Identifier: Apache-2.0 */
/* One request, from wherever it comes: what is asked, its body as a struct, and the answer. */
#ifndef VMM_RESOURCES_REQUEST_H
#define VMM_RESOURCES_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"
#include "vmm/base/metrics.h"

struct method;
struct microvm;
struct resource;
struct sent;

struct request {
	/* set by whoever asks */
	const struct resource *resource;
	const struct method *method;
	const char *id;	    /* in the path; NULL: there is no path */
	const char *prefix; /* of errors, in place of the method's; NULL: the method's; "": none */
	struct metrics *metrics; /* for GET /metrics; NULL: none */
	struct sent *sent;	 /* descriptors that came with it, to be taken; NULL: none */
	bool is_loaded; /* the body is a snapshot's: nothing is opened that only boots read */
	/* The body as text, and what messages about it begin with, for BODY_TEXT; no root. */
	struct json_doc unread;
	/* by request_read */
	const struct json_value *json; /* the body, while it is checked; NULL: none */
	/* By the method's check, of a body that no schema describes; NULL: none. */
	json_t *content;
	size_t content_len; /* of its text */
	/* by request_do */
	json_t *stored;	    /* for the method's `finish`: what the machine has; NULL: none */
	bool is_committing; /* request_run does the method's `commit`, not its `run` */
	/* by the method's `run`, if something has to happen before its `finish` */
	bool waits;
	int event; /* gets readable then; the machine's until `commit` */
	unsigned patience_ms;
	bool is_late;	  /* by whoever waits: it has not happened */
	void *body;	  /* as the method's schema says; NULL: no schema */
	uint64_t present; /* bit i: the body has field i of the schema */
	/* the answer */
	json_t *reply; /* NULL: the answer is 204, without a body */
	char *text;    /* heap, in place of reply; NULL: none */
	size_t text_len;
	const char *text_type;	 /* a constant: its Content-Type */
	const char *deprecation; /* a constant: a warning about the request; NULL: none */
	const char *timed;	 /* a constant: what to log the duration of; NULL: nothing */
	size_t timed_metric;	 /* where the duration goes in struct api_metrics */
};

/* Executes a request on the VMM thread, whatever thread it is called on; arg is the caller's. */
typedef int (*request_fn)(void *arg, struct request *request, struct error *err);

/*
 * Decodes and checks the body (NULL: there is none). On the thread that asks; `json` is not used
 * after it.
 */
MUST_CHECK int request_read(struct request *request, const struct json_value *json,
			    struct error *err);

/*
 * Does what is asked, if it is legal in the machine's state. On failure the machine is as before,
 * unless the method says otherwise. VMM thread.
 */
MUST_CHECK int request_run(struct microvm *microvm, struct request *request, struct error *err);

enum {
	REQUEST_WAITS = 1
};

/*
 * Does all steps of the method, those of the VMM thread by way of `execute`, the long work between
 * them here. REQUEST_WAITS: it waits for request->event, and request_go_on has to follow, also
 * where that does not come. On the thread that asks, after request_read.
 */
MUST_CHECK int request_do(struct request *request, request_fn execute, void *arg,
			  struct error *err);
MUST_CHECK int request_go_on(struct request *request, request_fn execute, void *arg,
			     struct error *err);

/* request_run as a request_fn, whose `arg` is the microVM. */
MUST_CHECK int request_run_here(void *microvm, struct request *request, struct error *err);

/* What PUT /actions does, for those who are no client of the API. VMM thread. */
MUST_CHECK int actions_start(struct microvm *microvm, struct error *err);
MUST_CHECK int actions_press_ctrl_alt_del(struct microvm *microvm, struct error *err);

/* The same for PUT /mmds with a file's text; ERR_NO_ROOM: it is more than the limit. */
MUST_CHECK int metadata_load(struct microvm *microvm, const char *text, size_t len,
			     struct error *err);

/* Sets the answer, which the request owns from now on; fails if it is NULL: memory is short. */
MUST_CHECK int request_reply(struct request *request, json_t *reply, struct error *err);

/* Frees the body and the answer. */
void request_destroy(struct request *request);

#endif
