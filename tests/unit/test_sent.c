/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/base/sent.c, on a real socket. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/sent.h"

enum {
	FDS_MAX = 8
};

/* Sends a text with that many descriptors of one file beside it. */
static void send_with(int socket, const char *text, int file, size_t count)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {0};
	int fds[FDS_MAX];
	struct iovec iov = {(char *)text, strlen(text)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > 0) {
		for (size_t i = 0; i < count; i++) {
			fds[i] = file;
		}
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
	}
	cr_assert(sendmsg(socket, &message, 0) == (ssize_t)strlen(text));
}

static int next_fd(void)
{
	int fd = dup(STDIN_FILENO);

	close(fd);
	return fd;
}

static int new_file(void)
{
	int file = memfd_create("sent", MFD_CLOEXEC);

	cr_assert(file >= 0);
	return file;
}

Test(sent, descriptors_are_collected_until_they_are_closed)
{
	struct sent sent = {0};
	struct error err = {0};
	char text[16];
	int pair[2];
	int fd = -1;
	int other = -1;

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	int file = new_file();
	int unused = next_fd();

	send_with(pair[0], "ab", file, 1);
	send_with(pair[0], "cd", file, 2);
	send_with(pair[0], "ef", file, 0);
	/* A read ends behind bytes that came with descriptors. */
	cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == 2 && sent.count == 1);
	cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == 2 && sent.count == 3);
	cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == 2 && sent.count == 3);
	cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == -1 && sent.count == 3);
	cr_expect(!sent.has_too_many);
	cr_assert(sent_take(&sent, "sent:1", &fd, &err) == 0, "%s", err.msg);
	cr_expect(fd_is_same_file(fd, file) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	cr_expect(sent_take(&sent, "sent:1", &other, &err) == -1 && other == -1);
	cr_expect_str_eq(err.msg, "sent:1 is named twice");
	sent_close(&sent);
	cr_expect(sent.count == 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC, "what is taken stays open");
	close(fd);
	cr_expect(next_fd() == unused, "the others are closed");
}

Test(sent, what_is_too_many_is_closed_and_refused)
{
	static const size_t counts[][2] = {{5, 0}, {3, 2}, {4, 1}};

	for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
		struct sent sent = {0};
		struct error err = {0};
		char text[16];
		int pair[2];
		int fd = -1;

		cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		int file = new_file();
		int unused = next_fd();

		for (size_t j = 0; j < 2; j++) {
			send_with(pair[0], "a", file, counts[i][j]);
			cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == 1);
		}
		cr_expect(sent.count == SENT_MAX && sent.has_too_many);
		cr_expect(sent_take(&sent, "sent:0", &fd, &err) == -1 && fd == -1);
		cr_expect(strstr(err.msg, "More than 4 descriptors") != NULL, "%s", err.msg);
		sent_close(&sent);
		cr_expect(next_fd() == unused);
		cr_expect(!sent.has_too_many);
	}
}

Test(sent, names_are_digits_behind_a_prefix)
{
	static const struct {
		const char *name;
		bool is_name;
		const char *fault;
	} rows[] = {
		{"./sent:0", false, NULL},
		{"sent", false, NULL},
		{"sent:", true, "sent: is no descriptor"},
		{"sent:4", true, "sent:4 is no descriptor"},
		{"sent:00", true, "sent:00 is no descriptor"},
		{"sent:-1", true, "sent:-1 is no descriptor"},
		{"sent:3", true, "sent:3 did not come with the request: 0 descriptors did"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct sent sent = {0};
		struct error err = {0};
		int fd = -1;

		cr_expect(sent_is_name(rows[i].name) == rows[i].is_name, "%s", rows[i].name);
		if (!rows[i].is_name) {
			continue;
		}
		for (size_t j = 0; j < 2; j++) {
			error_clear(&err);
			cr_expect(sent_take(j == 0 ? &sent : NULL, rows[i].name, &fd, &err) == -1);
			cr_expect(strstr(err.msg, rows[i].fault) == err.msg, "%s", err.msg);
		}
	}
}

/* Else who sends its own end of the connection would never be gone. */
Test(sent, what_is_no_regular_file_is_closed_at_once)
{
	struct sent sent = {0};
	struct error err = {0};
	char text[16];
	int pair[2];
	int fd = -1;

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	send_with(pair[0], "a", pair[0], 2);
	close(pair[0]);
	cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == 1 && sent.count == 2);
	cr_expect(sent_receive(&sent, pair[1], text, sizeof(text)) == 0, "the other end is gone");
	cr_expect(sent_take(&sent, "sent:1", &fd, &err) == -1 && fd == -1);
	cr_expect_str_eq(err.msg, "sent:1 is not a regular file");
	sent_close(&sent);
}
