/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's socket and the thread behind it.
 *
 * Theory of operation. One event loop has the listener, an eventfd that ends it, and at most ten
 * connections, which live in a fixed array. A connection goes round and round: send what is left of
 * the last answer; take bytes; feed the parser; make an answer. As long as an answer has not been
 * sent nothing is read, so a client that does not read is left alone until it does, and what a
 * connection holds is bounded: one buffer of input, one request, one answer.
 *
 * All ten places may be taken by clients that send nothing. Then a new client gets the place of the
 * one that has been quiet longest, if that is for some seconds; else it is told that there are too
 * many.
 *
 * Descriptors that a client sends with its bytes are for the request that is completed next, and
 * are closed with its answer unless somebody has taken them.
 *
 * An answer may be owed: then the connection rests, and its place is not given away, while the loop
 * waits for the descriptor of that answer as for any other, or for its deadline.
 *
 * A client that closes its sending side gets all its answers, since the end of input is seen only
 * after them. Each wake serves a few requests, then the other connections have their turn.
 *
 * Without a free descriptor, accepting fails while the listener stays ready. It is silenced then,
 * and tried again at the next event or after a while, so that the loop does not spin.
 */
#include "api/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/evloop.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/sent.h"
#include "vmm/base/unix_listen.h"

enum {
	INPUT_LEN = 4096,
	TURN_ROUNDS = 16,      /* of one connection before the others' turn */
	ACCEPT_RETRY_MS = 100, /* when descriptors have run out */
};

#define THREAD_NAME "fc_api"

static const char too_many[] =
	"HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\nContent-Length: 40\r\n\r\n"
	"{ \"error\": \"Too many open connections\" }";

/* Zeroes are a free place, whose pages are never written to. */
struct connection {
	bool is_open;
	struct ev_source source;
	struct api_server *server;
	struct http_parser parser;
	/* taken from the socket, not yet by the parser */
	size_t input_at;
	size_t input_len;
	char input[INPUT_LEN];
	/* the answer: its head, then its body */
	size_t sent;
	size_t head_len;
	size_t body_len;
	char *body; /* heap or NULL */
	char head[HTTP_HEAD_LEN];
	bool is_last;		/* nothing is read behind this answer */
	struct http_owed *owed; /* the handler's: the answer waits for it; NULL: none is owed */
	struct ev_source event; /* its descriptor */
	struct sent sent_fds;	/* that have come for the request that is being read */
	uint64_t moved_ns;	/* when bytes last came or went; CLOCK_MONOTONIC */
};

struct api_server {
	/* immutable after api_server_new */
	uint64_t payload_max;
	uint64_t quiet_ns;
	http_handler handler;
	http_resume resume;
	void *arg;
	void (*confine)(void *arg);
	void *confine_arg;
	/* the maker's thread only */
	pthread_t thread;
	bool has_thread;
	/* the server's thread only, once it runs */
	struct evloop loop;
	struct ev_source listener;
	struct ev_source stop; /* an eventfd, written from outside and never read: the loop ends */
	bool is_accept_paused;
	bool is_accept_failing; /* told already */
	struct connection connections[API_CONNECTIONS_MAX];
};

/* --- one connection --- */

static void close_connection(struct connection *connection)
{
	ev_del(&connection->server->loop, &connection->source);
	fd_close(&connection->source.fd);
	connection->is_open = false;
	sent_close(&connection->sent_fds);
	http_parser_destroy(&connection->parser);
	free(connection->body);
	connection->body = NULL;
}

/* How a round of a connection ends. */
enum round {
	ROUND_AGAIN,
	ROUND_WANTS_INPUT,
	ROUND_WANTS_ROOM, /* to send */
	ROUND_RESTS,	  /* until the answer that is owed is there */
	ROUND_CLOSED,
};

static bool has_answer(const struct connection *connection)
{
	return connection->head_len != 0;
}

static void drop_answer(struct connection *connection)
{
	free(connection->body);
	connection->body = NULL;
	connection->sent = 0;
	connection->head_len = 0;
	connection->body_len = 0;
}

static enum round send_answer(struct connection *connection)
{
	size_t head_left = connection->head_len - min_u64(connection->sent, connection->head_len);
	size_t body_sent = connection->sent + head_left - connection->head_len;
	struct iovec pieces[] = {
		{connection->head + connection->head_len - head_left, head_left},
		{connection->body + body_sent, connection->body_len - body_sent},
	};
	const struct msghdr message = {.msg_iov = pieces,
				       .msg_iovlen = connection->body_len > 0 ? 2 : 1};
	ssize_t count = sendmsg(connection->source.fd, &message, MSG_NOSIGNAL);

	if (count < 0) {
		if (errno == EINTR) {
			return ROUND_AGAIN;
		}
		return errno == EAGAIN ? ROUND_WANTS_ROOM : ROUND_CLOSED;
	}
	connection->sent += (size_t)count;
	if (connection->sent < connection->head_len + connection->body_len) {
		return ROUND_AGAIN;
	}
	drop_answer(connection);
	return connection->is_last ? ROUND_CLOSED : ROUND_AGAIN;
}

static enum round take_input(struct connection *connection)
{
	ssize_t count = sent_receive(&connection->sent_fds, connection->source.fd,
				     connection->input, INPUT_LEN);

	if (count < 0) {
		if (errno == EINTR) {
			return ROUND_AGAIN;
		}
		return errno == EAGAIN ? ROUND_WANTS_INPUT : ROUND_CLOSED;
	}
	connection->input_at = 0;
	connection->input_len = (size_t)count;
	return count == 0 ? ROUND_CLOSED : ROUND_AGAIN;
}

static void take_answer(struct connection *connection, struct http_response *response)
{
	response->is_last = connection->is_last;
	/* Answers are HTTP/1.1 whatever the request's version [compat]. */
	connection->head_len = http_format_head(connection->head, HTTP_1_1, response);
	if (!http_has_body(response)) {
		free(response->body);
		return;
	}
	connection->body = response->body;
	connection->body_len = response->body_len;
}

static void on_event(struct ev_source *source, uint32_t ready);

/* Without a place in the loop for its descriptor the answer comes at its deadline. */
static void owe(struct connection *connection, struct http_owed *owed)
{
	struct error err = {0};

	connection->owed = owed;
	connection->event = (struct ev_source){.fd = owed->fd, .fn = on_event};
	if (ev_add(&connection->server->loop, &connection->event, EPOLLIN, &err) < 0) {
		log_warn("The API server can't wait for an answer's event: %s.", err.msg);
	}
}

static void settle(struct connection *connection, struct http_response *response)
{
	if (response->owed != NULL) {
		owe(connection, response->owed);
	} else {
		take_answer(connection, response);
	}
}

static enum round handle(struct connection *connection)
{
	struct api_server *server = connection->server;
	struct http_request request;
	struct http_response response = {0};

	http_parser_request(&connection->parser, &request);
	request.sent = &connection->sent_fds;
	server->handler(server->arg, &request, &response);
	sent_close(&connection->sent_fds);
	connection->is_last = connection->parser.is_last;
	settle(connection, &response);
	return connection->owed != NULL ? ROUND_RESTS : ROUND_AGAIN;
}

/* The answer that is owed, or another debt. */
static void pay(struct connection *connection, bool is_late)
{
	struct api_server *server = connection->server;
	struct http_owed *owed = connection->owed;
	struct http_response response = {0};

	ev_del(&server->loop, &connection->event);
	connection->owed = NULL;
	server->resume(server->arg, owed, is_late, &response);
	settle(connection, &response);
}

static void wait_for_answer(struct connection *connection)
{
	ev_mod(&connection->server->loop, &connection->source,
	       connection->owed != NULL ? 0 : EPOLLOUT);
}

static void on_event(struct ev_source *source, uint32_t ready)
{
	struct connection *connection = container_of(source, struct connection, event);

	(void)ready;
	pay(connection, false);
	wait_for_answer(connection);
}

static enum round feed(struct connection *connection)
{
	size_t used;
	enum http_event event =
		http_parser_feed(&connection->parser, connection->input + connection->input_at,
				 connection->input_len - connection->input_at, &used);

	connection->input_at += used;
	switch (event) {
	case HTTP_MORE:
		break;
	case HTTP_CONTINUE:
		connection->head_len = http_format_continue(connection->head, &connection->parser);
		break;
	case HTTP_REQUEST:
		return handle(connection);
	case HTTP_BAD:
		connection->is_last = connection->parser.is_last;
		connection->head_len = http_format_error(connection->head, &connection->parser);
		break;
	case HTTP_LOST:
		return ROUND_CLOSED;
	}
	return ROUND_AGAIN;
}

static enum round go_round(struct connection *connection)
{
	if (has_answer(connection)) {
		return send_answer(connection);
	}
	if (connection->input_at == connection->input_len) {
		return take_input(connection);
	}
	return feed(connection);
}

static void on_connection(struct ev_source *source, uint32_t ready)
{
	struct connection *connection = container_of(source, struct connection, source);
	struct evloop *loop = &connection->server->loop;
	enum round round = connection->owed != NULL ? ROUND_RESTS : ROUND_AGAIN;

	(void)ready;
	connection->moved_ns = clock_host.now_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < TURN_ROUNDS && round == ROUND_AGAIN; i++) {
		round = go_round(connection);
	}
	switch (round) {
	case ROUND_WANTS_INPUT:
		ev_mod(loop, source, EPOLLIN);
		break;
	case ROUND_AGAIN: /* either there is room, and it is called again soon, or it waits */
	case ROUND_WANTS_ROOM:
		ev_mod(loop, source, EPOLLOUT);
		break;
	case ROUND_RESTS:
		ev_mod(loop, source, 0);
		break;
	case ROUND_CLOSED:
		close_connection(connection);
		break;
	}
}

/* --- answers that are owed --- */

static int ms_until(uint64_t deadline_ns)
{
	uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);

	return deadline_ns <= now ? 0 : (int)((deadline_ns - now) / NS_PER_MS + 1);
}

/* The time until the first deadline; `timeout_ms`, which may be -1, if that is less. */
static int least_timeout(const struct api_server *server, int timeout_ms)
{
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		const struct connection *connection = &server->connections[i];

		if (connection->owed != NULL) {
			int left_ms = ms_until(connection->owed->deadline_ns);

			timeout_ms = timeout_ms < 0 || left_ms < timeout_ms ? left_ms : timeout_ms;
		}
	}
	return timeout_ms;
}

static void pay_late(struct api_server *server)
{
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		struct connection *connection = &server->connections[i];

		if (connection->owed != NULL && ms_until(connection->owed->deadline_ns) == 0) {
			pay(connection, true);
			wait_for_answer(connection);
		}
	}
}

/* What was owed when the server ends: it is sent if there is room for it. */
static void pay_all(struct api_server *server)
{
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		struct connection *connection = &server->connections[i];

		if (connection->owed != NULL) {
			pay(connection, true);
			(void)!send_answer(connection);
		}
	}
}

/* --- the listener --- */

/* A free place, else that of the connection that has been quiet longest, if that is long enough. */
static struct connection *free_connection(struct api_server *server)
{
	struct connection *quietest = NULL;

	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		struct connection *connection = &server->connections[i];

		if (!connection->is_open) {
			return connection;
		}
		if (connection->owed == NULL &&
		    (quietest == NULL || connection->moved_ns < quietest->moved_ns)) {
			quietest = connection;
		}
	}
	if (quietest == NULL ||
	    clock_host.now_ns(CLOCK_MONOTONIC) - quietest->moved_ns < server->quiet_ns) {
		return NULL;
	}
	close_connection(quietest);
	return quietest;
}

static void open_connection(struct api_server *server, int fd)
{
	struct connection *connection = free_connection(server);
	const struct ev_source source = {.fd = fd, .fn = on_connection};
	struct error err = {0};

	if (connection == NULL) {
		(void)!send(fd, too_many, sizeof(too_many) - 1, MSG_NOSIGNAL);
		close(fd);
		return;
	}
	connection->is_open = true;
	connection->source = source;
	connection->server = server;
	connection->input_at = 0;
	connection->input_len = 0;
	connection->is_last = false;
	connection->moved_ns = clock_host.now_ns(CLOCK_MONOTONIC);
	drop_answer(connection);
	http_parser_init(&connection->parser, server->payload_max);
	if (ev_add(&server->loop, &connection->source, EPOLLIN, &err) < 0) {
		log_warn("API connection dropped: %s.", err.msg);
		close_connection(connection);
	}
}

/* Those that the client caused, or that are over by the next try. */
static bool is_passing(int sys)
{
	return sys == EAGAIN || sys == EINTR || sys == ECONNABORTED;
}

static void on_client(struct ev_source *source, uint32_t ready)
{
	struct api_server *server = container_of(source, struct api_server, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)ready;
	if (fd >= 0) {
		server->is_accept_failing = false;
		open_connection(server, fd);
		return;
	}
	if (is_passing(errno)) {
		return;
	}
	if (!server->is_accept_failing) {
		log_warn("The API server can't accept connections now: %s (os error %d).",
			 error_os_text(errno), errno);
	}
	server->is_accept_failing = true;
	server->is_accept_paused = true;
	ev_mod(&server->loop, source, 0);
}

/* --- the thread --- */

static void on_stop(struct ev_source *source, uint32_t ready)
{
	struct api_server *server = container_of(source, struct api_server, stop);

	(void)ready;
	log_debug("shutdown request received, API server thread ending.");
	evloop_stop(&server->loop);
}

static void *server_main(void *arg)
{
	struct api_server *server = arg;
	struct error err = {0};

	pthread_setname_np(pthread_self(), THREAD_NAME);
	log_set_thread(THREAD_NAME);
	if (server->confine != NULL) {
		server->confine(server->confine_arg);
	}
	log_info("API server started.");
	while (!server->loop.is_stopping) {
		int timeout_ms = server->is_accept_paused ? ACCEPT_RETRY_MS : -1;

		if (evloop_run_once(&server->loop, least_timeout(server, timeout_ms), &err) < 0) {
			log_error("The API server has ended: %s.", err.msg);
			break;
		}
		if (timeout_ms >= 0) {
			server->is_accept_paused = false;
			ev_mod(&server->loop, &server->listener, EPOLLIN);
		}
		pay_late(server);
	}
	pay_all(server);
	return NULL;
}

int api_server_start(struct api_server *server, struct error *err)
{
	/* Signals that the thread causes itself. The VMM thread takes all others. */
	static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGABRT, SIGXFSZ};
	sigset_t blocked;
	sigset_t before;

	sigfillset(&blocked);
	for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
		sigdelset(&blocked, own[i]);
	}
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	int sys = pthread_create(&server->thread, NULL, server_main, server);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (sys != 0) {
		errno = sys;
		return error_sys(err, "Cannot start the API server's thread");
	}
	server->has_thread = true;
	return 0;
}

void api_server_stop(struct api_server *server)
{
	if (server == NULL || !server->has_thread) {
		return;
	}
	(void)!eventfd_write(server->stop.fd, 1);
	pthread_join(server->thread, NULL);
	server->has_thread = false;
}

/* --- life --- */

static int listen_at(const char *path, int *fd, struct error *err)
{
	static const char failed[] = "Failed to open the API socket at: ";

	switch (unix_listen(path, false, fd)) {
	case UNIX_LISTENS:
		return 0;
	case UNIX_PATH_EMPTY:
		return error_set(err, ERR_BAD_REQUEST, "%sthe path is empty", failed);
	case UNIX_PATH_TOO_LONG:
		return error_set(err, ERR_BAD_REQUEST,
				 "%s%s: the path has %zu bytes, and that of a socket at most %d",
				 failed, path, strlen(path), UNIX_PATH_MAX);
	case UNIX_REFUSED:
		break;
	}
	if (errno == EADDRINUSE) {
		/* With its full stop [compat]. */
		return error_set(err, ERR_HOST, "%s%s. Check that it is not already used.", failed,
				 path);
	}
	return error_sys(err, "%s%s", failed, path);
}

static int build(struct api_server *server, const char *path, struct error *err)
{
	if (evloop_init(&server->loop, err) < 0) {
		return -1;
	}
	server->stop.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->stop.fd < 0) {
		return error_sys(err, "Cannot create the eventfd of the API server");
	}
	if (listen_at(path, &server->listener.fd, err) < 0 ||
	    ev_add(&server->loop, &server->stop, EPOLLIN, err) < 0 ||
	    ev_add(&server->loop, &server->listener, EPOLLIN, err) < 0) {
		return -1;
	}
	AUTO_FD client = fcntl(server->stop.fd, F_DUPFD_CLOEXEC, 0);

	return client >= 0 ? 0
			   : error_sys(err, "The limit of open files (ulimit -n) leaves the API "
					    "server no descriptor for a client");
}

int api_server_new(const struct api_server_config *config, struct api_server **out,
		   struct error *err)
{
	/* Not calloc, which may clear it: the buffers of connections are to stay untouched. */
	struct api_server *server = mmap(NULL, sizeof(*server), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (server == MAP_FAILED) {
		return error_sys(err, "Cannot create the API server");
	}
	server->payload_max = config->payload_max;
	server->quiet_ns = config->quiet_ms * NS_PER_MS;
	server->handler = config->handler;
	server->resume = config->resume;
	server->arg = config->arg;
	server->confine = config->confine;
	server->confine_arg = config->confine_arg;
	server->listener = (struct ev_source){.fd = -1, .fn = on_client};
	server->stop = (struct ev_source){.fd = -1, .fn = on_stop};
	if (build(server, config->path, err) < 0) {
		api_server_free(server);
		return -1;
	}
	*out = server;
	return 0;
}

void api_server_free(struct api_server *server)
{
	if (server == NULL) {
		return;
	}
	for (size_t i = 0; i < API_CONNECTIONS_MAX; i++) {
		if (server->connections[i].is_open) {
			close_connection(&server->connections[i]);
		}
	}
	fd_close(&server->listener.fd);
	fd_close(&server->stop.fd);
	evloop_destroy(&server->loop);
	munmap(server, sizeof(*server));
}
