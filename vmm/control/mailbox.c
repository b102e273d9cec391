/* SPDX-License-Identifier: Apache-2.0 */
/* A one-slot mailbox between the API thread, which asks, and the VMM thread, which answers. */
#include "vmm/control/mailbox.h"

#include "vmm/base/bytes.h"

static void on_wake(struct ev_wake *wake)
{
	struct mailbox *mailbox = container_of(wake, struct mailbox, wake);

	pthread_mutex_lock(&mailbox->lock);
	/* NULL, too, if the thread that asked has left because the mailbox was closed. */
	void *request = mailbox->request;

	mailbox->is_answering = request != NULL;
	pthread_mutex_unlock(&mailbox->lock);
	if (request == NULL) {
		return;
	}
	/*
	 * Without the lock: the thread that asked sleeps until this is done, so nobody else touches
	 * the request.
	 */
	mailbox->answer(mailbox->arg, request);
	pthread_mutex_lock(&mailbox->lock);
	mailbox->request = NULL;
	mailbox->is_answering = false;
	pthread_cond_signal(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
}

int mailbox_init(struct mailbox *mailbox, struct evloop *loop, mailbox_fn answer, void *arg,
		 struct error *err)
{
	*mailbox = (struct mailbox){.wake = {.fn = on_wake}, .answer = answer, .arg = arg};
	if (ev_wake_init(&mailbox->wake, loop, err) < 0) {
		return -1;
	}
	pthread_mutex_init(&mailbox->lock, NULL);
	pthread_cond_init(&mailbox->changed, NULL);
	mailbox->is_made = true;
	return 0;
}

void mailbox_close(struct mailbox *mailbox)
{
	if (!mailbox->is_made) {
		return;
	}
	pthread_mutex_lock(&mailbox->lock);
	mailbox->is_closed = true;
	pthread_cond_signal(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_destroy(struct mailbox *mailbox)
{
	if (!mailbox->is_made) {
		return;
	}
	ev_wake_destroy(&mailbox->wake);
	pthread_cond_destroy(&mailbox->changed);
	pthread_mutex_destroy(&mailbox->lock);
	mailbox->is_made = false;
}

int mailbox_ask(struct mailbox *mailbox, void *request)
{
	bool is_answered = false;

	pthread_mutex_lock(&mailbox->lock);
	if (!mailbox->is_closed) {
		mailbox->request = request;
		ev_wake_signal(&mailbox->wake);
		while (mailbox->request != NULL && (mailbox->is_answering || !mailbox->is_closed)) {
			pthread_cond_wait(&mailbox->changed, &mailbox->lock);
		}
		/* An answer that was ready before the mailbox closed counts. */
		is_answered = mailbox->request == NULL;
		mailbox->request = NULL;
	}
	pthread_mutex_unlock(&mailbox->lock);
	return is_answered ? 0 : -1;
}
