/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that come with a request.
 *
 * Theory of operation. The kernel hands them over with the first byte that was sent with them, and
 * ends the read behind these bytes. So they are there before their request is complete, and belong
 * to the one that is completed next. There is room for SENT_MAX; the kernel closes what is beyond.
 *
 * Only regular files are kept. A client that sends its own end of the connection would else never
 * be gone: the server would hold both ends.
 */
#include "vmm/base/sent.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"

static const char prefix[] = "sent:";

enum {
	TAKEN = -1,
	NO_FILE = -2, /* it was none that is kept */
};

static void add(struct sent *sent, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		fd = NO_FILE;
	}
	if (sent->count == SENT_MAX) {
		sent->has_too_many = true;
		fd_close(&fd);
		return;
	}
	sent->fds[sent->count++] = fd;
}

ssize_t sent_receive(struct sent *sent, int socket, void *buf, size_t len)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(SENT_MAX * sizeof(int))];
	} control;
	struct iovec iov = {buf, len};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);

	if (count < 0) {
		return count;
	}
	for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL;
	     head = CMSG_NXTHDR(&message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
			continue;
		}
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= head->cmsg_len;
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, (const char *)head + at, sizeof(fd));
			add(sent, fd);
		}
	}
	sent->has_too_many |= (message.msg_flags & MSG_CTRUNC) != 0;
	return count;
}

void sent_close(struct sent *sent)
{
	for (size_t i = 0; i < sent->count; i++) {
		fd_close(&sent->fds[i]);
	}
	*sent = (struct sent){0};
}

bool sent_is_name(const char *name)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

int sent_take(struct sent *sent, const char *name, int *fd, struct error *err)
{
	const char *digit = name + strlen(prefix);
	size_t at = (size_t)(digit[0] - '0');
	size_t count = sent != NULL ? sent->count : 0;

	if (digit[0] < '0' || at >= SENT_MAX || digit[1] != '\0') {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s is no descriptor that comes with a request: they are sent:0 "
				 "to sent:%d (a file of such a name is ./%s)",
				 name, SENT_MAX - 1, name);
	}
	if (sent != NULL && sent->has_too_many) {
		return error_set(err, ERR_BAD_REQUEST,
				 "More than %d descriptors came with the request, or there was no "
				 "room for them",
				 SENT_MAX);
	}
	if (at >= count) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s did not come with the request: %zu descriptors did; they are "
				 "sent by SCM_RIGHTS, with a byte of it",
				 name, count);
	}
	if (sent->fds[at] == NO_FILE) {
		return error_set(err, ERR_BAD_REQUEST, "%s is not a regular file", name);
	}
	if (sent->fds[at] == TAKEN) {
		return error_set(err, ERR_BAD_REQUEST, "%s is named twice", name);
	}
	*fd = fd_take(&sent->fds[at]);
	return 0;
}
