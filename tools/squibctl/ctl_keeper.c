/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a machine.
 *
 * Theory of operation. The keeper stands between squibctl and the guest, so that whoever started a
 * machine may go, by whatever signal. It passes frames on both ways, and of the guest's output it
 * keeps a copy in the log, in frames as well. It reads from the one side only if the other one has
 * room. Who goes may come again, or another one in his place, by a socket: there is one at a time,
 * since the credit for input is one. When the command has ended it closes the connection, which the
 * guest takes as the leave to end, waits for squib, writes the record, and only then says the exit
 * status: so what comes after `squibctl run` finds no machine that still runs.
 */
#include "tools/squibctl/ctl_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/guest_init/frames.h"
#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_deadline.h"
#include "tools/squibctl/ctl_events.h"
#include "tools/squibctl/ctl_http.h"
#include "tools/squibctl/ctl_net.h"
#include "tools/squibctl/ctl_process.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_session.h"
#include "tools/squibctl/ctl_tool.h"
#include "tools/squibctl/ctl_volume.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_listen.h"

enum {
	LOG_MAX = 8 << 20,  /* bytes of one of its two files */
	RETRY_MS = 20,	    /* between tries to connect */
	END_MS = 10 * 1000, /* for a guest whose command has ended */
	LOAD_S = 60,	    /* for squib to load a snapshot */
	TURN_MS = 1000,	    /* between looks whether a machine that waits was removed */
	CONSOLE_TAIL = 4096,
	STATUS_EXEC = 127,
};

struct keeper {
	struct machine *machine;
	const struct keeper_plan *plan;
	pid_t pid;  /* of squib */
	int end_fd; /* readable when squib has ended */
	pid_t virtiofsds[VOLUMES_MAX + 1];
	pid_t passt; /* 0: none */
	int log;
	off_t log_len;
	struct frames *client; /* fd -1: it is gone */
	int listener;	       /* where another one may come; -1: nowhere */
	uint32_t credit;       /* bytes of input that the guest takes now */
	bool input_ended;      /* for ever */
	struct frames *guest;
	bool is_begun;		   /* the command runs */
	uint64_t boot_deadline;	   /* until then it must */
	uint64_t asked_ns;	   /* of session_ends_by */
	bool is_stopped;	   /* by us: squib gets no time to end */
	bool has_last;		   /* the last word for the client: */
	enum frame_kind last_kind; /* FRAME_EXIT or FRAME_FAILED */
	uint32_t status;
	char text[ERROR_MSG_LEN]; /* of FRAME_FAILED */
};

static void note_last(struct keeper *keeper, enum frame_kind kind, uint32_t status,
		      const char *text, size_t len)
{
	if (keeper->has_last) {
		return;
	}
	keeper->has_last = true;
	keeper->last_kind = kind;
	keeper->status = status;
	len = len < sizeof(keeper->text) ? len : sizeof(keeper->text) - 1;
	memcpy(keeper->text, text, len);
	clean_text(keeper->text, len, '\0');
	keeper->text[len] = '\0';
}

static void note_fault(struct keeper *keeper, const char *text)
{
	note_last(keeper, FRAME_FAILED, STATUS_OURS, text, strlen(text));
}

static void lose_client(struct keeper *keeper)
{
	fd_close(&keeper->client->fd);
}

/* --- who comes later --- */

static int listen_clients(struct keeper *keeper, struct error *err)
{
	AUTO_FREE char *path = ctl_machine_path(keeper->machine, KEEPER_SOCKET);

	return path != NULL && unix_listen(path, true, &keeper->listener) == UNIX_LISTENS
		       ? 0
		       : error_sys(err, "Cannot make a socket in %s, whose path may be too long",
				   keeper->machine->dir);
}

static void refuse_client(int fd)
{
	static struct frames frames;
	static const char word[] = "\x7d\0\0\0Somebody is attached already: squibctl logs -f "
				   "shows the output to others";

	memset(&frames, 0, sizeof(frames));
	frames.fd = fd;
	(void)frames_put(&frames, FRAME_FAILED, word, sizeof(word) - 1);
	frames_flush(&frames);
}

/* As if the command had just begun, if it has, with what is left of the credit. */
static void accept_client(struct keeper *keeper)
{
	AUTO_FD fd = accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		return;
	}
	if (keeper->client->fd >= 0) {
		refuse_client(fd);
		return;
	}
	memset(keeper->client, 0, sizeof(*keeper->client));
	keeper->client->fd = fd_take(&fd);
	if (keeper->is_begun) {
		(void)frames_put(keeper->client, FRAME_DONE, NULL, 0);
	}
	if (keeper->credit > 0 && !keeper->input_ended) {
		(void)frames_put_number(keeper->client, FRAME_CREDIT, keeper->credit);
	}
}

/* --- squib --- */

static _Noreturn void be_squib(const struct machine *machine, bool boots)
{
	static char path[PATH_MAX];
	AUTO_FREE char *config = ctl_machine_path(machine, "vm.json");
	AUTO_FREE char *socket = ctl_machine_path(machine, "api.sock");
	AUTO_FREE char *console = ctl_machine_path(machine, "console");
	const char *program = process_own_squib(path);
	int in = open("/dev/null", O_RDONLY);
	int out =
		console != NULL ? open(console, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600) : -1;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (in >= 0 && out >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0) {
		execlp(program, program, "--id", machine->name, "--api-sock", socket, "--level",
		       "Error", boots ? "--config-file" : NULL, config, (char *)NULL);
		dprintf(STDERR_FILENO, "Cannot execute %s: %s\n", program, strerror(errno));
	}
	_exit(STATUS_EXEC);
}

static int start_squib(struct keeper *keeper, struct error *err)
{
	bool is_there = keeper->plan->way == KEEPER_TAKES;

	keeper->pid = is_there ? ctl_machine_process(keeper->machine, "squib") : fork();
	if (keeper->pid == 0 && !is_there) {
		be_squib(keeper->machine, keeper->plan->way == KEEPER_BOOTS);
	}
	keeper->end_fd = keeper->pid > 0 ? pidfd_open(keeper->pid, 0) : -1;
	if (keeper->end_fd < 0) {
		return is_there ? error_set(err, ERR_HOST, "The machine %s was killed",
					    keeper->machine->name)
				: error_sys(err, "Cannot start squib");
	}
	ctl_machine_set_process(keeper->machine, "squib", keeper->pid);
	ctl_machine_set_process(keeper->machine, "keeper", getpid());
	return ctl_machine_save(keeper->machine, err);
}

/* What squib's last words have in front of the reason. */
static const char *reason_of(const char *line)
{
	static const char *const fronts[] = {
		"Error: ",
		"RunWithApiError error: ",
		"Failed to build MicroVM from Json: ",
		"Could not Start MicroVM from one single json: ",
		"MicroVM stopped with an error: ",
		"squib: ", /* of guest-init */
	};

	for (size_t i = 0; i < ARRAY_COUNT(fronts); i++) {
		size_t len = strlen(fronts[i]);

		line += strncmp(line, fronts[i], len) == 0 ? len : 0;
	}
	return line;
}

/* The line of a console's end that says why: squib's or guest-init's, a panic, or what is last. */
static const char *last_words(char *tail)
{
	enum {
		ANY = 1,
		PANIC,
		SQUIB
	} best = 0;
	const char *found = "its console is empty";
	char *rest = tail;

	for (char *line = strsep(&rest, "\r\n"); line != NULL; line = strsep(&rest, "\r\n")) {
		bool is_squib = strncmp(line, "Error: ", strlen("Error: ")) == 0 ||
				strncmp(line, "squib: ", strlen("squib: ")) == 0;
		int rank = is_squib ? SQUIB : strstr(line, "Kernel panic - ") != NULL ? PANIC : ANY;

		clean_text(line, strlen(line), '\0');
		if (line[strspn(line, " ")] != '\0' && rank >= (int)best) {
			best = rank;
			found = line;
		}
	}
	return reason_of(found);
}

static void note_console(struct keeper *keeper)
{
	AUTO_FREE char *path = ctl_machine_path(keeper->machine, "console");
	char tail[CONSOLE_TAIL + 1] = "";
	char text[ERROR_MSG_LEN];
	AUTO_FD fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		off_t from = st.st_size > CONSOLE_TAIL ? st.st_size - CONSOLE_TAIL : 0;

		(void)!pread(fd, tail, CONSOLE_TAIL, from);
	}
	snprintf(text, sizeof(text), "The machine %s has ended before its command did: %s",
		 keeper->machine->name, last_words(tail));
	note_fault(keeper, text);
}

/* Waits for squib, and notes how it has ended unless the command's end is known. */
static void end_squib(struct keeper *keeper, int patience_ms)
{
	struct pollfd end = {.fd = keeper->end_fd, .events = POLLIN};
	bool is_stuck = poll(&end, 1, patience_ms) <= 0;
	char text[ERROR_MSG_LEN];
	struct error err = {0};
	int status = 0;

	if (is_stuck) {
		(void)pidfd_send_signal(keeper->end_fd, SIGKILL, NULL, 0);
		poll(&end, 1, -1);
	}
	/* A child of a fork is another process's, and how it has ended is not known. */
	while (waitpid(keeper->pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (is_stuck) {
		snprintf(text, sizeof(text),
			 "The guest's first process of %s has gone without a word, and its machine "
			 "did not end",
			 keeper->machine->name);
		note_fault(keeper, text);
	} else if (WIFSIGNALED(status)) {
		snprintf(text, sizeof(text),
			 "The machine %s was killed: its squib ended by signal %d (%s)",
			 keeper->machine->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
		note_fault(keeper, text);
	}
	if (!keeper->is_begun && !keeper->has_last &&
	    ctl_volumes_have_failed(keeper->machine, keeper->virtiofsds, &err)) {
		note_fault(keeper, err.msg);
	}
	note_console(keeper);
}

/* --- the log --- */

static void open_log(struct keeper *keeper)
{
	AUTO_FREE char *path = ctl_machine_path(keeper->machine, KEEPER_LOG);

	fd_close(&keeper->log);
	keeper->log =
		path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600)
			     : -1;
	keeper->log_len = 0;
}

/* Who reads the log sees whole frames, or a part of the last one. */
static void log_output(struct keeper *keeper, const struct frame *frame)
{
	uint8_t head[FRAME_HEAD];

	if (keeper->log_len > LOG_MAX) {
		AUTO_FREE char *path = ctl_machine_path(keeper->machine, KEEPER_LOG);
		AUTO_FREE char *old = ctl_machine_path(keeper->machine, KEEPER_LOG_OLD);

		if (path != NULL && old != NULL) {
			(void)!rename(path, old);
		}
		open_log(keeper);
	}
	frame_head(head, frame->kind, frame->len);
	if (keeper->log >= 0 &&
	    (write(keeper->log, head, sizeof(head)) != sizeof(head) ||
	     write(keeper->log, frame->data, frame->len) != (ssize_t)frame->len)) {
		/* A disk that is full: half a frame would spoil what comes behind it. */
		fd_close(&keeper->log);
	}
	keeper->log_len += (off_t)(FRAME_HEAD + frame->len);
}

/* --- frames --- */

static void to_client(struct keeper *keeper, const struct frame *frame)
{
	if (keeper->client->fd >= 0 &&
	    !frames_put(keeper->client, frame->kind, frame->data, frame->len)) {
		lose_client(keeper);
	}
}

/* There is room for it. false: it ends the machine. */
static bool take_client(struct keeper *keeper, const struct frame *frame)
{
	uint32_t number;

	if (frame->kind == FRAME_SIGNAL && frame_number(frame, &number) &&
	    session_ends_by(number, keeper->is_begun, &keeper->asked_ns)) {
		note_last(keeper, FRAME_EXIT, STATUS_SIGNAL + number, "", 0);
		keeper->is_stopped = true;
		return false;
	}
	if (frame->kind == FRAME_STDIN) {
		if (keeper->input_ended) {
			return true;
		}
		if (frame->len > keeper->credit) {
			lose_client(keeper);
			return true;
		}
		keeper->credit -= (uint32_t)frame->len;
		keeper->input_ended = frame->len == 0;
	}
	(void)frames_put(keeper->guest, frame->kind, frame->data, frame->len);
	return true;
}

/* From now on it has so long to begin. */
static void expect_command(struct keeper *keeper)
{
	keeper->boot_deadline =
		deadline_in(1000 * (uint64_t)ctl_machine_number(keeper->machine, "boot_timeout"));
}

/* Whether the command should have begun by now. */
static bool is_late(struct keeper *keeper)
{
	char text[ERROR_MSG_LEN];

	if (keeper->is_begun || deadline_left(keeper->boot_deadline) != 0) {
		return false;
	}
	snprintf(text, sizeof(text),
		 "The command did not begin within %lld s: the guest of %s does not boot, or does "
		 "not listen (--boot-timeout gives it longer)",
		 (long long)ctl_machine_number(keeper->machine, "boot_timeout"),
		 keeper->machine->name);
	note_fault(keeper, text);
	keeper->is_stopped = true;
	return true;
}

/* false: more than what was taken of it. */
static bool take_credit(struct keeper *keeper, const struct frame *frame)
{
	uint32_t number;

	if (!frame_number(frame, &number) || number > STDIN_WINDOW - keeper->credit) {
		return false;
	}
	keeper->credit += number;
	to_client(keeper, frame);
	return true;
}

/* false: the guest has said its last word, or nonsense. */
static bool take_guest(struct keeper *keeper, const struct frame *frame)
{
	uint32_t status = 0;
	struct error ignored = {0};

	switch (frame->kind) {
	case FRAME_STDOUT:
	case FRAME_STDERR:
		log_output(keeper, frame);
		to_client(keeper, frame);
		return true;
	case FRAME_CREDIT:
		if (take_credit(keeper, frame)) {
			return true;
		}
		break;
	case FRAME_DONE:
		if (keeper->is_begun) {
			return true;
		}
		keeper->is_begun = true;
		json_object_set_new(keeper->machine->record, "started", json_true());
		(void)!ctl_machine_save(keeper->machine, &ignored);
		ctl_event(keeper->machine, "started", CTL_NO_STATUS);
		to_client(keeper, frame);
		return true;
	case FRAME_EXIT:
	case FRAME_FAILED:
		if (frame_number(frame, &status)) {
			note_last(keeper, frame->kind, status,
				  (const char *)frame->data + sizeof(status),
				  frame->len - sizeof(status));
		}
		return false;
	case FRAME_RUN:
	case FRAME_STDIN:
	case FRAME_SIZE:
	case FRAME_SIGNAL:
	case FRAME_KINDS:
		break;
	}
	note_fault(keeper, "The guest's first process says nonsense");
	return false;
}

static bool client_may_take(const struct keeper *keeper)
{
	return keeper->client->fd < 0 || frames_have_room(keeper->client, FRAME_MAX);
}

/* Passes on what was read. false: the guest's side is over, or the machine is to end. */
static bool pass_frames(struct keeper *keeper)
{
	struct frame frame;
	enum frames_state state = FRAMES_MORE;

	while (client_may_take(keeper) &&
	       (state = frames_next(keeper->guest, &frame)) == FRAMES_FRAME) {
		if (!take_guest(keeper, &frame)) {
			return false;
		}
	}
	if (state == FRAMES_BROKEN) {
		note_fault(keeper, "The guest's first process says nonsense");
		return false;
	}
	while (keeper->client->fd >= 0 && frames_have_room(keeper->guest, FRAME_MAX) &&
	       frames_next(keeper->client, &frame) == FRAMES_FRAME) {
		if (!take_client(keeper, &frame)) {
			return false;
		}
	}
	return !is_late(keeper);
}

static short events_of(const struct frames *frames, bool reads)
{
	return (short)((reads ? POLLIN : 0) | (frames_wait(frames) ? POLLOUT : 0));
}

/* Until the command has ended, or the machine. */
static void relay(struct keeper *keeper)
{
	struct frames *guest = keeper->guest;
	struct frames *client = keeper->client;

	while (pass_frames(keeper)) {
		bool reads_guest = client_may_take(keeper);
		bool reads_client = frames_have_room(guest, FRAME_MAX);
		struct pollfd slots[] = {
			{.fd = guest->fd, .events = events_of(guest, reads_guest)},
			{.fd = client->fd, .events = events_of(client, reads_client)},
			{.fd = keeper->listener, .events = POLLIN},
		};

		/* One that has ended is always ready: not while there is no use in that. */
		slots[0].fd = slots[0].events != 0 ? guest->fd : -1;
		if (poll(slots, ARRAY_COUNT(slots),
			 keeper->is_begun ? -1 : deadline_left(keeper->boot_deadline)) < 0) {
			continue;
		}
		frames_flush(client);
		frames_flush(guest);
		if ((slots[1].revents & ~POLLOUT) != 0 && (!reads_client || !frames_fill(client))) {
			lose_client(keeper);
		}
		/* Behind the look at the one who may have gone. */
		if (slots[2].revents != 0) {
			accept_client(keeper);
		}
		if ((slots[0].revents & ~POLLOUT) != 0 && reads_guest && !frames_fill(guest)) {
			return;
		}
	}
}

/* --- the beginning --- */

/* What the client says before there is a guest waits for that. false: the machine is to end. */
static bool hear_client(struct keeper *keeper)
{
	struct frame frame;

	if (keeper->client->fd < 0 || !frames_have_room(keeper->guest, FRAME_MAX)) {
		return true;
	}
	if (!frames_fill(keeper->client)) {
		lose_client(keeper);
		return true;
	}
	while (frames_have_room(keeper->guest, FRAME_MAX) &&
	       frames_next(keeper->client, &frame) == FRAMES_FRAME) {
		if (!take_client(keeper, &frame)) {
			return false;
		}
	}
	return true;
}

/* false: there is no guest to talk to. */
static bool connect_guest(struct keeper *keeper)
{
	struct pollfd end = {.fd = keeper->end_fd, .events = POLLIN};
	struct error err = {0};

	for (;;) {
		bool hears = frames_have_room(keeper->guest, FRAME_MAX);
		uint64_t deadline =
			deadline_first(keeper->boot_deadline, deadline_in(SESSION_ANSWER_MS));

		if (session_connect(keeper->machine, deadline, hears ? keeper->client->fd : -1,
				    &keeper->guest->fd, &err) > 0) {
			return true;
		}
		error_clear(&err);
		/* One that has begun may have left for ever. */
		bool has_left = keeper->is_begun && deadline_left(keeper->boot_deadline) == 0;

		if (has_left || !hear_client(keeper) || is_late(keeper) ||
		    poll(&end, 1, RETRY_MS) != 0) {
			return false;
		}
	}
}

/* One request to squib whose answer must be a success. */
static int ask_squib(int fd, const char *method, const char *path, const char *body,
		     struct error *err)
{
	struct ctl_reply reply = {0};

	if (ctl_http_exchange(fd, method, path, body, &reply, err) < 0) {
		return -1;
	}
	json_t *json = json_loads(reply.body != NULL ? reply.body : "", 0, NULL);
	const char *fault = json_string_value(json_object_get(json, "fault_message"));

	if (reply.status >= CTL_STATUS_FAULT) {
		(void)error_set(err, ERR_HOST, "%s", fault != NULL ? fault : "squib refused it");
	}
	json_decref(json);
	free(reply.body);
	return err->kind == ERR_NONE ? 0 : -1;
}

/* false: there is no machine, and why is noted. */
static bool load_snapshot(struct keeper *keeper)
{
	AUTO_FREE char *path = ctl_machine_path(keeper->machine, "api.sock");
	json_t *limit = ctl_run_serial();
	AUTO_FREE char *serial = limit != NULL ? json_dumps(limit, JSON_COMPACT) : NULL;
	struct pollfd end = {.fd = keeper->end_fd, .events = POLLIN};
	struct error err = {0};
	AUTO_FD fd = -1;

	json_decref(limit);
	while (path != NULL && serial != NULL &&
	       ctl_http_connect_for(path, LOAD_S, &fd, &err) < 0) {
		error_clear(&err);
		if (is_late(keeper) || poll(&end, 1, RETRY_MS) != 0) {
			return false;
		}
	}
	if (ask_squib(fd, "PUT", "/serial", serial, &err) < 0 ||
	    ask_squib(fd, "PUT", "/snapshot/load", keeper->plan->load, &err) < 0) {
		note_fault(keeper, err.msg);
		return false;
	}
	return true;
}

/* Whether the machine that is loaded stands still until somebody comes, for ps. */
static bool note_waiting(struct keeper *keeper, bool waits)
{
	struct error err = {0};

	json_object_set_new(keeper->machine->record, "waits", json_boolean(waits));
	if (ctl_machine_save(keeper->machine, &err) < 0) {
		note_fault(keeper, err.msg);
		return false;
	}
	return true;
}

static bool let_go_on(struct keeper *keeper)
{
	AUTO_FREE char *path = ctl_machine_path(keeper->machine, "api.sock");
	struct error err = {0};
	AUTO_FD fd = -1;

	if (path == NULL || ctl_http_connect_for(path, LOAD_S, &fd, &err) < 0 ||
	    ask_squib(fd, "PATCH", "/vm", "{\"state\":\"Resumed\"}", &err) < 0) {
		note_fault(keeper, err.msg);
		return false;
	}
	expect_command(keeper);
	return note_waiting(keeper, false);
}

/* Whether somebody has removed its directory: nobody could come any more. */
static bool is_removed(const struct machine *machine)
{
	return (access(machine->dir, F_OK) < 0 && errno == ENOENT) || ctl_machine_is_gone(machine);
}

/* Whoever has made it leaves, and the next one who comes takes it. false: it has ended before. */
static bool await_taker(struct keeper *keeper)
{
	struct frames *client = keeper->client;
	bool is_left = false;

	if (!note_waiting(keeper, true)) {
		return false;
	}
	(void)frames_put(client, FRAME_DONE, NULL, 0);
	while (!is_left || client->fd < 0) {
		struct pollfd slots[] = {
			{.fd = client->fd, .events = events_of(client, true)},
			{.fd = is_left ? keeper->listener : -1, .events = POLLIN},
			{.fd = keeper->end_fd, .events = POLLIN},
		};

		int changes = poll(slots, ARRAY_COUNT(slots), TURN_MS);

		if (changes < 0) {
			continue;
		}
		if (slots[2].revents != 0 || (changes == 0 && is_removed(keeper->machine))) {
			return false;
		}
		frames_flush(client);
		if ((slots[0].revents & ~POLLOUT) != 0 && !frames_fill(client)) {
			lose_client(keeper);
		}
		if (slots[1].revents != 0) {
			accept_client(keeper);
		}
		is_left = is_left || client->fd < 0;
	}
	return let_go_on(keeper);
}

static bool copy_volumes(struct keeper *keeper)
{
	struct error err = {0};

	if (ctl_volumes_copy(keeper->machine, &err) < 0) {
		note_fault(keeper, err.msg);
		return false;
	}
	expect_command(keeper);
	return true;
}

/* --- the end --- */

/* Their connections are over, unless there never was one. */
static void end_helpers(const struct keeper *keeper)
{
	if (keeper->passt > 0) {
		kill(keeper->passt, SIGTERM);
	}
	if (keeper->plan->way == KEEPER_TAKES) {
		ctl_machine_end(keeper->machine, "passt");
	}
	for (unsigned i = 0; keeper->virtiofsds[i] > 0; i++) {
		kill(keeper->virtiofsds[i], SIGTERM);
	}
}

static void say_last(struct keeper *keeper)
{
	struct frames *client = keeper->client;
	struct pollfd slot = {.fd = client->fd, .events = POLLOUT};
	struct {
		uint32_t status;
		char text[ERROR_MSG_LEN];
	} word = {.status = keeper->status};
	size_t len = strlen(keeper->text);

	memcpy(word.text, keeper->text, len);
	while (client->fd >= 0 && !frames_have_room(client, sizeof(word))) {
		poll(&slot, 1, -1);
		frames_flush(client);
	}
	if (client->fd >= 0) {
		(void)frames_put(client, keeper->last_kind, &word, sizeof(word.status) + len);
	}
	while (client->fd >= 0 && frames_wait(client)) {
		poll(&slot, 1, -1);
		frames_flush(client);
	}
}

static void record_end(struct keeper *keeper, bool removes)
{
	struct error err = {0};

	json_object_set_new(keeper->machine->record, "exit_status",
			    json_integer((json_int_t)keeper->status));
	json_object_set_new(keeper->machine->record, "ended", json_integer(time(NULL)));
	if (keeper->last_kind == FRAME_FAILED) {
		json_t *fault = json_string(keeper->text);

		json_object_set_new(keeper->machine->record, "fault",
				    fault != NULL ? fault : json_string("Its reason is no UTF-8"));
	}
	if (ctl_machine_is_gone(keeper->machine)) {
		return;
	}
	(void)!ctl_machine_save(keeper->machine, &err);
	/* One that nobody has taken has had no command. */
	ctl_event(keeper->machine, "ended",
		  json_is_true(json_object_get(keeper->machine->record, "waits"))
			  ? CTL_NO_STATUS
			  : (int)keeper->status);
	if (removes) {
		ctl_event(keeper->machine, "removed", CTL_NO_STATUS);
		ctl_machine_remove(keeper->machine);
	}
}

/* squib, and what it needs, is there. false: why not is noted. */
static bool prepare(struct keeper *keeper)
{
	enum keeper_way way = keeper->plan->way;
	struct error err = {0};

	/* One that is there ends with us, whatever else fails. */
	if ((way == KEEPER_TAKES && start_squib(keeper, &err) < 0) ||
	    (way == KEEPER_BOOTS &&
	     ctl_volumes_share(keeper->machine, keeper->virtiofsds, &err) < 0) ||
	    (way != KEEPER_TAKES && ctl_net_start(keeper->machine, &keeper->passt, &err) < 0) ||
	    listen_clients(keeper, &err) < 0 ||
	    (way != KEEPER_TAKES && start_squib(keeper, &err) < 0)) {
		note_fault(keeper, err.msg);
		return false;
	}
	return way != KEEPER_LOADS || load_snapshot(keeper);
}

/* Until the command has ended, or the connection; false: there was none. */
static bool converse(struct keeper *keeper)
{
	struct error err = {0};

	keeper->plan->request->clock_s = (uint64_t)time(NULL);
	if (session_put_request(keeper->guest, keeper->plan->request, &err) < 0) {
		note_fault(keeper, err.msg);
		return false;
	}
	if (!connect_guest(keeper) ||
	    (keeper->plan->way == KEEPER_BOOTS && !copy_volumes(keeper))) {
		return false;
	}
	relay(keeper);
	fd_close(&keeper->guest->fd);
	return true;
}

/*
 * Whether to connect once more: when the guest learns that it is a clone all its connections end,
 * even the one that has come already.
 */
static bool comes_again(struct keeper *keeper)
{
	struct pollfd end = {.fd = keeper->end_fd, .events = POLLIN};

	if (keeper->plan->way == KEEPER_BOOTS || keeper->has_last ||
	    deadline_left(keeper->boot_deadline) == 0 || poll(&end, 1, RETRY_MS) != 0) {
		return false;
	}
	memset(keeper->guest, 0, sizeof(*keeper->guest));
	keeper->guest->fd = -1;
	keeper->credit = 0;
	return true;
}

static void keep(struct keeper *keeper)
{
	bool was_there = false;

	expect_command(keeper);
	if (prepare(keeper) && (!keeper->plan->waits || await_taker(keeper))) {
		open_log(keeper);
		do {
			was_there = converse(keeper);
		} while (was_there && comes_again(keeper));
	}
	int patience_ms = was_there && !keeper->is_stopped ? END_MS : 0;

	if (keeper->pid > 0) {
		end_squib(keeper, patience_ms);
	}
	end_helpers(keeper);
	record_end(keeper, keeper->plan->removes);
	say_last(keeper);
}

static _Noreturn void be_keeper(struct machine *machine, const struct keeper_plan *plan,
				int client_fd)
{
	static struct frames client;
	static struct frames guest;
	struct keeper keeper = {
		.machine = machine,
		.plan = plan,
		.end_fd = -1,
		.log = -1,
		.client = &client,
		.guest = &guest,
		.listener = -1,
		.credit = plan->way == KEEPER_BOOTS ? STDIN_WINDOW : 0,
	};
	int null = open("/dev/null", O_RDWR);
	struct error ignored = {0};
	sigset_t none;

	for (int i = 0; i <= STDERR_FILENO; i++) {
		dup2(null, i);
	}
	/* A lock of whoever started us would be held as long as the machine lives. */
	(void)!fd_close_all_but(&client_fd, 1, &ignored);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	client.fd = client_fd;
	guest.fd = -1;
	(void)!chdir("/");
	keep(&keeper);
	_exit(0);
}

int keeper_start(struct machine *machine, const struct keeper_plan *plan, int *client,
		 struct error *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		return error_sys(err, "Cannot make a socket");
	}
	pid_t pid = fork();

	if (pid == 0) {
		close(ends[0]);
		be_keeper(machine, plan, ends[1]);
	}
	close(ends[1]);
	*client = ends[0];
	return pid > 0 ? 0 : error_sys(err, "Cannot make a process");
}
