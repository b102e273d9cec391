/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for gdb.
 *
 * Theory of operation. One client at a time. It is held to be as hostile as a client of the API:
 * packets have a limit, and one turn of the event loop does one of them. While there is work that
 * is in our buffer and not in the socket, the loop is asked to call when the socket can be written
 * to, which is at once. Nothing new is read until an answer has been sent.
 *
 * The vCPUs that a debugger stops are held (vm_hold), which is independent of the API's pausing:
 * one runs when neither wants it to stand still. Devices go on meanwhile.
 */
#include "vmm/debug/gdb_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/exitcode.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/unix_listen.h"
#include "vmm/debug/gdb_command.h"

struct gdb_server {
	struct vm *vm;
	struct evloop *loop;
	char *path;
	struct ev_source listener;
	struct ev_wake stopped;	 /* vCPU threads signal it */
	struct ev_source client; /* fd -1: no debugger is attached */
	bool owes_stop;		 /* the session's stop is to be sent */
	struct gdb_session session;
};

/* --- The connection --- */

static void detach(struct gdb_server *server)
{
	ev_del(server->loop, &server->client);
	fd_close(&server->client.fd);
	target_detach(&server->session.target);
	log_info("The debugger has gone, and holds the guest no longer");
}

/* False: the connection is lost. */
static bool flush(struct gdb_server *server)
{
	struct rsp *rsp = &server->session.rsp;

	if (server->owes_stop && rsp_pending(rsp) == 0) {
		server->owes_stop = false;
		gdb_report(&server->session);
	}
	if (rsp_pending(rsp) == 0) {
		return true;
	}
	const ssize_t sent =
		send(server->client.fd, rsp->out + rsp->out_sent, rsp_pending(rsp), MSG_NOSIGNAL);

	if (sent < 0) {
		return errno == EAGAIN || errno == EINTR;
	}
	rsp->out_sent += (size_t)sent;
	return true;
}

static bool receive(struct gdb_server *server)
{
	struct rsp *rsp = &server->session.rsp;
	const size_t room = rsp_room(rsp);

	if (room == 0) {
		return true;
	}
	const ssize_t len = recv(server->client.fd, rsp->in + rsp->in_len, room, MSG_DONTWAIT);

	if (len < 0) {
		return errno == EAGAIN || errno == EINTR;
	}
	rsp->in_len += (size_t)len;
	return len > 0;
}

/* Stops the guest, if it runs, and finds out why it has stopped, unless for `cause`. */
static bool halt(struct gdb_server *server, enum target_cause cause)
{
	struct gdb_session *session = &server->session;
	struct error err = {0};

	if (target_halt(&session->target, &err) < 0) {
		log_error("Cannot stop the guest for the debugger: %s", err.msg);
		return false;
	}
	session->stop = (struct target_stop){.cause = cause};
	(void)target_find_stop(&session->target, &session->stop);
	session->is_running = false;
	return true;
}

/* One event of the client. False: the connection is to end. *is_done: there is none left. */
static bool serve(struct gdb_server *server, bool *is_done)
{
	struct gdb_session *session = &server->session;

	switch (rsp_next(&session->rsp)) {
	case RSP_MORE:
		*is_done = true;
		return true;
	case RSP_REFUSED:
		return true;
	case RSP_AGAIN:
		rsp_resend(&session->rsp);
		return true;
	case RSP_LOST:
		log_warn("The debugger sent more than %d bytes without the end of a packet",
			 RSP_DATA_MAX);
		return false;
	case RSP_INTERRUPT:
		if (session->is_running && halt(server, TARGET_INTERRUPTED)) {
			server->owes_stop = true;
		}
		return true;
	case RSP_PACKET:
		break;
	}
	switch (gdb_command(session)) {
	case GDB_GO_ON:
		break;
	case GDB_STOPPED:
		server->owes_stop = true;
		break;
	case GDB_DETACHED:
		(void)!flush(server);
		return false;
	case GDB_KILLED:
		(void)!flush(server);
		log_info("The debugger has killed the microVM");
		vm_signal_end(server->vm, VM_RESET, "");
		return false;
	}
	return true;
}

static void on_client(struct ev_source *source, uint32_t ready)
{
	struct gdb_server *server = container_of(source, struct gdb_server, client);
	struct rsp *rsp = &server->session.rsp;
	bool is_done = false;
	bool is_alive = flush(server);

	if (is_alive && rsp_pending(rsp) == 0) {
		is_alive = ((ready & ~(uint32_t)EPOLLOUT) == 0 || receive(server)) &&
			   serve(server, &is_done) && flush(server);
	}
	if (!is_alive) {
		detach(server);
		return;
	}
	is_done = is_done && rsp_pending(rsp) == 0 && !server->owes_stop;
	ev_mod(server->loop, source, is_done ? EPOLLIN : EPOLLOUT);
}

/* A vCPU has stopped by itself. */
static void on_stopped(struct ev_wake *wake)
{
	struct gdb_server *server = container_of(wake, struct gdb_server, stopped);
	struct gdb_session *session = &server->session;
	struct target *target = &session->target;
	struct error err = {0};

	if (server->client.fd < 0 || !session->is_running) {
		return;
	}
	if (target_halt(target, &err) == 0) {
		if (target_find_stop(target, &session->stop)) {
			session->is_running = false;
			server->owes_stop = true;
			ev_mod(server->loop, &server->client, EPOLLOUT);
			return;
		}
		if (target_resume(target, target->runs, target->steps, &err) == 0) {
			return;
		}
	}
	log_error("Cannot serve the debugger: %s", err.msg);
	detach(server);
}

static void attach(struct gdb_server *server)
{
	struct gdb_session *session = &server->session;
	struct error err = {0};

	rsp_init(&session->rsp);
	session->vcpu = 0;
	server->owes_stop = false;
	if (!halt(server, TARGET_ATTACHED)) {
		vm_release(server->vm, target_all(&session->target));
		fd_close(&server->client.fd);
		return;
	}
	if (ev_add(server->loop, &server->client, EPOLLIN, &err) < 0) {
		log_error("Cannot serve the debugger: %s", err.msg);
		detach(server);
		return;
	}
	log_info("A debugger has attached, and the guest stands still");
}

static void on_connection(struct ev_source *source, uint32_t ready)
{
	struct gdb_server *server = container_of(source, struct gdb_server, listener);
	AUTO_FD fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)ready;
	if (fd < 0) {
		return;
	}
	if (server->client.fd >= 0) {
		log_warn("A second debugger is refused: one is attached already");
		return;
	}
	server->client.fd = fd_take(&fd);
	attach(server);
}

/* --- Life --- */

static int listen_at(struct gdb_server *server, struct error *err)
{
	static const char failed[] = "Cannot open the debugger's socket";

	switch (unix_listen(server->path, true, &server->listener.fd)) {
	case UNIX_LISTENS:
		return 0;
	case UNIX_PATH_EMPTY:
		return error_set(err, ERR_BAD_REQUEST, "%s: its path is empty", failed);
	case UNIX_PATH_TOO_LONG:
		return error_set(err, ERR_BAD_REQUEST,
				 "%s: its path has %zu bytes, and that of a socket at most %d",
				 failed, strlen(server->path), UNIX_PATH_MAX);
	case UNIX_REFUSED:
		break;
	}
	if (errno == EADDRINUSE) {
		return error_set(err, ERR_BAD_REQUEST,
				 "%s %s: there is a file of this name. Remove it, or give another",
				 failed, server->path);
	}
	return error_sys(err, "%s %s", failed, server->path);
}

static int start(struct gdb_server *server, const struct gdb_config *config, struct error *err)
{
	const struct debug_can can = debug_find_abilities(server->vm->kvm_fd);

	if (server->path == NULL) {
		return error_set(err, ERR_HOST, "Out of memory for the debugger's server");
	}
	if (!can.debug) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "This host's KVM can't debug guests: it lacks "
				 "KVM_CAP_SET_GUEST_DEBUG");
	}
	target_init(&server->session.target, server->vm, can);
	if (ev_wake_init(&server->stopped, server->loop, err) < 0 ||
	    (config->waits && vm_hold(server->vm, err) < 0) || listen_at(server, err) < 0) {
		return -1;
	}
	if (ev_add(server->loop, &server->listener, EPOLLIN, err) < 0) {
		unlink(server->path);
		return -1;
	}
	server->vm->debugger = &server->stopped;
	log_info("Listening for a debugger on %s%s", config->path,
		 config->waits ? "; the guest waits for it before its first instruction" : "");
	return 0;
}

struct gdb_server *gdb_server_new(const struct gdb_config *config, struct vm *vm,
				  struct evloop *loop, struct error *err)
{
	struct gdb_server *server = calloc(1, sizeof(*server));

	if (server == NULL) {
		(void)error_set(err, ERR_HOST, "Out of memory for the debugger's server");
		return NULL;
	}
	server->vm = vm;
	server->loop = loop;
	server->path = strdup(config->path);
	server->listener = (struct ev_source){.fd = -1, .fn = on_connection};
	server->client = (struct ev_source){.fd = -1, .fn = on_client};
	server->stopped.fn = on_stopped;
	if (start(server, config, err) < 0) {
		gdb_server_free(server);
		return NULL;
	}
	return server;
}

/* To a debugger that waits for a stop: why the guest has ended, and squib's exit status. */
static void report_end(struct gdb_server *server)
{
	const struct vm *vm = server->vm;
	struct rsp *rsp = &server->session.rsp;
	const bool has_failed = vm->end == VM_FAILED;

	if (server->client.fd < 0 || !server->session.is_running || rsp_pending(rsp) > 0 ||
	    vm->end == VM_NOT_ENDED) {
		return;
	}
	if (has_failed) {
		rsp_begin(rsp);
		rsp_add(rsp, "O"); /* text for gdb's console */
		rsp_add_hex(rsp, (const uint8_t *)vm->end_reason, strlen(vm->end_reason));
		rsp_add(rsp, "0a");
		rsp_end(rsp);
		(void)!flush(server);
	}
	if (rsp_pending(rsp) == 0) {
		rsp_put(rsp, "W%02x", has_failed ? EXIT_CODE_GENERIC : EXIT_CODE_OK);
		(void)!flush(server);
	}
}

void gdb_server_free(struct gdb_server *server)
{
	if (server == NULL) {
		return;
	}
	report_end(server);
	ev_del(server->loop, &server->client);
	ev_del(server->loop, &server->listener);
	fd_close(&server->client.fd);
	fd_close(&server->listener.fd);
	ev_wake_destroy(&server->stopped);
	server->vm->debugger = NULL;
	free(server->path);
	free(server);
}

bool gdb_server_is_attached(const struct gdb_server *server)
{
	return server != NULL && server->client.fd >= 0;
}
