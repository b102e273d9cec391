/* SPDX-License-Identifier: Apache-2.0 */
/* A one-slot mailbox between the API thread, which asks, and the VMM thread, which answers. */
#include "vmm/base/mailbox.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static void on_wake(struct ev_source *source, uint32_t ready)
{
	struct mailbox *mailbox = container_of(source, struct mailbox, wake);
	eventfd_t count;

	(void)ready;
	(void)!eventfd_read(source->fd, &count);
	pthread_mutex_lock(&mailbox->lock);
	/* NULL also when the asker has left because the mailbox was closed. */
	void *request = mailbox->request;

	mailbox->is_answering = request != NULL;
	pthread_mutex_unlock(&mailbox->lock);
	if (request == NULL) {
		return;
	}
	/* Without the lock: the asker sleeps until this is over, so the request is ours. */
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
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	*mailbox = (struct mailbox){0};
	if (fd < 0) {
		return error_sys(err, "Cannot create the eventfd of a mailbox");
	}
	struct ev_source wake = {.fd = fd, .fn = on_wake};

	mailbox->wake = wake;
	if (ev_add(loop, &mailbox->wake, EPOLLIN, err) < 0) {
		return -1;
	}
	(void)fd_take(&fd);
	mailbox->loop = loop;
	mailbox->answer = answer;
	mailbox->arg = arg;
	pthread_mutex_init(&mailbox->lock, NULL);
	pthread_cond_init(&mailbox->changed, NULL);
	return 0;
}

void mailbox_close(struct mailbox *mailbox)
{
	if (mailbox->loop == NULL) {
		return;
	}
	pthread_mutex_lock(&mailbox->lock);
	mailbox->is_closed = true;
	pthread_cond_signal(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_destroy(struct mailbox *mailbox)
{
	if (mailbox->loop == NULL) {
		return;
	}
	ev_del(mailbox->loop, &mailbox->wake);
	fd_close(&mailbox->wake.fd);
	pthread_cond_destroy(&mailbox->changed);
	pthread_mutex_destroy(&mailbox->lock);
	mailbox->loop = NULL;
}

int mailbox_ask(struct mailbox *mailbox, void *request)
{
	bool is_answered = false;

	pthread_mutex_lock(&mailbox->lock);
	if (!mailbox->is_closed) {
		mailbox->request = request;
		(void)!eventfd_write(mailbox->wake.fd, 1);
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
