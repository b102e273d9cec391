/* SPDX-License-Identifier: Apache-2.0 */
/* A client of HTTP over a Unix socket.
 *
 * Theory of operation
 *
 * The answer is read into one buffer that grows up to a limit. After each read ctl_http_parse
 * looks at the whole of it again: heads are short, and a parser without state is easy to trust.
 * Only Content-Length delimits a body, which is all that squib sends. Interim answers (100
 * Continue) are dropped.
 */
#include "tools/squibctl/ctl_http.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/unix_address.h"

enum {
	REPLY_TIMEOUT_S = 120, /* pausing waits up to 30 s for a stuck vCPU */
	CHUNK = 16 << 10,
};

/* --- Parsing --- */

static int bad(struct error *err, const char *what)
{
	return error_set(err, ERR_CORRUPT,
			 "The answer on the socket is not squib's: %s; is this the API socket of "
			 "a squib?",
			 what);
}

/* "HTTP/1.x NNN..." */
static int parse_status(const char *line, unsigned *status, struct error *err)
{
	enum {
		DIGITS_AT = 9,
		DIGITS = 3
	};

	if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) ||
	    line[8] != ' ') {
		return bad(err, "it does not begin with HTTP/1");
	}
	*status = 0;
	for (size_t i = DIGITS_AT; i < DIGITS_AT + DIGITS; i++) {
		if (!isdigit((unsigned char)line[i])) {
			return bad(err, "it has no status code");
		}
		*status = *status * 10 + (unsigned)(line[i] - '0');
	}
	return 0;
}

static int parse_length(const char *value, size_t *len, struct error *err)
{
	char *end = NULL;

	while (*value == ' ' || *value == '\t') {
		value++;
	}
	errno = 0;
	unsigned long long number = strtoull(value, &end, 10);

	if (!isdigit((unsigned char)*value) || errno != 0 ||
	    (*end != '\r' && *end != ' ' && *end != '\t')) {
		return bad(err, "its Content-Length is not a number");
	}
	if (number > CTL_BODY_MAX) {
		return bad(err, "it is longer than 16 MiB");
	}
	*len = (size_t)number;
	return 0;
}

/* `head` is NUL-terminated and ends with an empty line. */
static int parse_head(const char *head, struct ctl_http_message *message, struct error *err)
{
	static const char name[] = "Content-Length:";

	message->body_len = 0;
	if (parse_status(head, &message->status, err) < 0) {
		return -1;
	}
	for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
		line += strlen("\r\n");
		if (strncasecmp(line, name, strlen(name)) == 0 &&
		    parse_length(line + strlen(name), &message->body_len, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int ctl_http_parse(const char *bytes, size_t len, struct ctl_http_message *message,
		   struct error *err)
{
	const char *end = memmem(bytes, len, "\r\n\r\n", 4);
	char head[CTL_HEAD_MAX + 1];
	size_t head_len = end != NULL ? (size_t)(end - bytes) + 4 : len;

	if (head_len > CTL_HEAD_MAX) {
		return bad(err, "its headers are longer than 16 KiB");
	}
	if (end == NULL) {
		return 0;
	}
	memcpy(head, bytes, head_len);
	head[head_len] = '\0';
	if (strlen(head) != head_len) {
		return bad(err, "its headers have NUL bytes");
	}
	if (parse_head(head, message, err) < 0) {
		return -1;
	}
	message->body_start = head_len;
	return len - head_len >= message->body_len;
}

/* --- The socket --- */

static int explain_connect(const char *path, struct error *err)
{
	switch (errno) {
	case ENOENT:
		return error_set(err, ERR_HOST,
				 "There is no socket at %s: start squib with --api-sock %s, or "
				 "name its socket with -s",
				 path, path);
	case ECONNREFUSED:
		return error_set(err, ERR_HOST,
				 "No squib serves %s any more, it has ended and left the file "
				 "behind: remove it before the next start",
				 path);
	case EACCES:
		return error_set(err, ERR_BAD_REQUEST,
				 "You may not use the socket %s: it belongs to the user who runs "
				 "squib",
				 path);
	case EAGAIN:
		return error_set(err, ERR_HOST,
				 "squib does not take connections at %s: it stands still", path);
	default:
		return error_sys(err, "Cannot connect to %s", path);
	}
}

int ctl_http_connect_for(const char *path, unsigned seconds, int *fd, struct error *err)
{
	struct sockaddr_un address;
	struct timeval patience = {.tv_sec = seconds};
	AUTO_FD sock = -1;

	if (!unix_address(path, &address)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The path of a Unix socket has 1 to %d bytes: %s", UNIX_PATH_MAX,
				 path);
	}
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0) {
		return error_sys(err, "Cannot make a socket");
	}
	/* Before it connects, which waits for room in the queue of a squib that stands still. */
	(void)!setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)!setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0) {
		return explain_connect(path, err);
	}
	*fd = fd_take(&sock);
	return 0;
}

int ctl_http_connect(const char *path, int *fd, struct error *err)
{
	return ctl_http_connect_for(path, REPLY_TIMEOUT_S, fd, err);
}

static int refuse_silence(int fd, struct error *err)
{
	struct timeval patience = {0};
	socklen_t len = sizeof(patience);

	(void)!getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, &len);
	return error_set(err, ERR_HOST, "squib has not answered for %ld seconds: its log tells why",
			 (long)patience.tv_sec);
}

static int send_all(int fd, const char *bytes, size_t len, struct error *err)
{
	while (len > 0) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR) {
			continue;
		}
		if (sent < 0) {
			return error_sys(err, "squib closed the connection");
		}
		bytes += sent;
		len -= (size_t)sent;
	}
	return 0;
}

/* The first byte, with descriptors beside it. */
static int send_first(int fd, const char *bytes, const struct ctl_fds *fds, struct error *err)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(CTL_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {(char *)bytes, 1};
	const struct msghdr message = {.msg_iov = &iov,
				       .msg_iovlen = 1,
				       .msg_control = control.bytes,
				       .msg_controllen = CMSG_SPACE(fds->count * sizeof(int))};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(fds->count * sizeof(int));
	memcpy(CMSG_DATA(&control.head), fds->items, fds->count * sizeof(int));
	return sendmsg(fd, &message, MSG_NOSIGNAL) == 1
		       ? 0
		       : error_sys(err, "Cannot send descriptors to squib");
}

int ctl_http_send(int fd, const char *method, const char *path, const char *body,
		  const struct ctl_fds *fds, struct error *err)
{
	AUTO_FREE char *head = NULL;
	int sent = 0;
	int len;

	if (body == NULL) {
		len = asprintf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method, path);
	} else {
		len = asprintf(&head,
			       "%s %s HTTP/1.1\r\nHost: localhost\r\n"
			       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
			       method, path, strlen(body));
	}
	if (len < 0) {
		head = NULL;
		return error_set(err, ERR_HOST, "There is no memory for the request");
	}
	if (fds != NULL && fds->count > 0) {
		if (send_first(fd, head, fds, err) < 0) {
			return -1;
		}
		sent = 1;
	}
	if (send_all(fd, head + sent, (size_t)(len - sent), err) < 0) {
		return -1;
	}
	return body != NULL ? send_all(fd, body, strlen(body), err) : 0;
}

struct buffer {
	char *bytes;
	size_t len;
	size_t size;
};

static int read_more(int fd, struct buffer *buffer, struct error *err)
{
	if (buffer->size - buffer->len < CHUNK) {
		size_t size = buffer->size * 2 + CHUNK;
		char *bytes = realloc(buffer->bytes, size);

		if (bytes == NULL) {
			error_set(err, ERR_HOST, "There is no memory for the answer");
			return -1;
		}
		buffer->bytes = bytes;
		buffer->size = size;
	}
	for (;;) {
		ssize_t got = recv(fd, buffer->bytes + buffer->len, CHUNK, 0);

		if (got > 0) {
			buffer->len += (size_t)got;
			return 0;
		}
		if (got == 0) {
			return error_set(err, ERR_HOST,
					 "squib closed the connection before it answered: its log "
					 "tells why");
		}
		if (errno == EAGAIN) {
			return refuse_silence(fd, err);
		}
		if (errno != EINTR) {
			return error_sys(err, "Cannot read the answer");
		}
	}
}

/* Drops an interim answer, so that the next message is at the begin. */
static void drop(struct buffer *buffer, size_t len)
{
	buffer->len -= len;
	memmove(buffer->bytes, buffer->bytes + len, buffer->len);
}

static int take_body(const struct buffer *buffer, const struct ctl_http_message *message,
		     struct ctl_reply *reply, struct error *err)
{
	*reply = (struct ctl_reply){.status = message->status};
	if (message->body_len == 0) {
		return 0;
	}
	reply->body = strndup(buffer->bytes + message->body_start, message->body_len);
	if (reply->body == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for the answer");
	}
	reply->body_len = strlen(reply->body);
	return 0;
}

int ctl_http_receive(int fd, struct ctl_reply *reply, struct error *err)
{
	struct buffer buffer = {0};
	struct ctl_http_message message = {0};
	int whole = 0;

	while (whole == 0) {
		if (read_more(fd, &buffer, err) != 0) {
			whole = -1;
			break;
		}
		whole = ctl_http_parse(buffer.bytes, buffer.len, &message, err);
		while (whole == 1 && message.status == CTL_STATUS_CONTINUE) {
			drop(&buffer, message.body_start + message.body_len);
			whole = ctl_http_parse(buffer.bytes, buffer.len, &message, err);
		}
	}
	int result = whole < 0 ? -1 : take_body(&buffer, &message, reply, err);

	free(buffer.bytes);
	return result;
}

int ctl_http_exchange(int fd, const char *method, const char *path, const char *body,
		      struct ctl_reply *reply, struct error *err)
{
	return ctl_http_send(fd, method, path, body, NULL, err) < 0
		       ? -1
		       : ctl_http_receive(fd, reply, err);
}

int ctl_http_wait_end(int fd, struct error *err)
{
	char byte;

	for (;;) {
		ssize_t got = recv(fd, &byte, 1, 0);

		if (got == 0 || (got < 0 && errno == ECONNRESET)) {
			return 0;
		}
		if (got > 0) {
			return bad(err, "it speaks unasked");
		}
		if (errno != EINTR && errno != EAGAIN) {
			return error_sys(err, "Cannot wait for the end of squib");
		}
	}
}
