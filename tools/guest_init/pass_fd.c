/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that one process of init passes to another. */
#include "tools/guest_init/guest_init.h"

#include <string.h>
#include <sys/socket.h>

/* A message of one byte, with one descriptor. */
struct envelope {
	char byte;
	struct iovec iov;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr message;
};

static void address(struct envelope *envelope)
{
	*envelope = (struct envelope){.byte = 0};
	envelope->iov = (struct iovec){.iov_base = &envelope->byte, .iov_len = 1};
	envelope->message = (struct msghdr){
		.msg_iov = &envelope->iov,
		.msg_iovlen = 1,
		.msg_control = envelope->control,
		.msg_controllen = sizeof(envelope->control),
	};
}

bool guest_send_fd(int to, int fd)
{
	struct envelope envelope;

	address(&envelope);
	struct cmsghdr *head = CMSG_FIRSTHDR(&envelope.message);

	*head = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS,
				 .cmsg_len = CMSG_LEN(sizeof(fd))};
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	return sendmsg(to, &envelope.message, 0) == 1;
}

int guest_receive_fd(int from)
{
	struct envelope envelope;
	int fd = -1;

	address(&envelope);
	if (recvmsg(from, &envelope.message, MSG_CMSG_CLOEXEC) == 1) {
		const struct cmsghdr *head = CMSG_FIRSTHDR(&envelope.message);

		if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
			memcpy(&fd, CMSG_DATA(head), sizeof(fd));
		}
	}
	return fd;
}
