/* SPDX-License-Identifier: Apache-2.0 */
/* One thread asks another and waits for the answer: a slot, and a waker of the other. */
#ifndef VMM_BASE_MAILBOX_H
#define VMM_BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/evloop.h"

struct mailbox;

/* Answers a request in place, on the thread of the loop. */
typedef void (*mailbox_fn)(void *arg, void *request);

struct mailbox {
	bool is_made;
	/* immutable after init */
	struct ev_wake wake;
	mailbox_fn answer;
	void *arg;
	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void *request;	   /* NULL: none is waiting */
	bool is_answering; /* `request` is being answered, and stays valid until then */
	bool is_closed;
};

/* On the answering thread, as mailbox_destroy. */
MUST_CHECK int mailbox_init(struct mailbox *mailbox, struct evloop *loop, mailbox_fn answer,
			    void *arg, struct error *err);

/*
 * Lets a thread that waits go with -1, and all that ask later. One whose request is being answered
 * gets its answer. Any thread, idempotent.
 */
void mailbox_close(struct mailbox *mailbox);

/* After mailbox_close, when no thread asks any more. A zeroed one is fine. */
void mailbox_destroy(struct mailbox *mailbox);

/* On the one asking thread: returns 0 when `request` has been answered, -1 if the mailbox is
 * closed. */
MUST_CHECK int mailbox_ask(struct mailbox *mailbox, void *request);

#endif
