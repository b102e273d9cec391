/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: a command and its streams.
 *
 * Theory of operation. One loop moves bytes between the connection and the command. It never waits
 * for one of the two alone. What the command has written before its end is sent before its status.
 * If the connection is lost the command goes on without a reader, or is hung up if it has a
 * terminal. Before that the main command waits some seconds for another connection to take it over,
 * since a machine that was forked or loaded finds all of them lost: what it writes meanwhile is not
 * read, and so not lost. When the main command has ended all others are killed, and the machine
 * ends as soon as the host has closed the connection, so that the status is not lost.
 */
#include "tools/guest_init/guest_init.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/reboot.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

enum {
	CREDIT_STEP = 8 << 10, /* bytes of credit that are worth a frame */
	LAST_WORDS_MS = 200,   /* for a terminal to pass on what was written before the end */
	LAST_WORDS = 1 << 20,  /* bytes that a pipe can have of them */
	GOODBYE_MS = 5000,     /* for the host to take the exit status */
	CLOCK_FAR_S = 2,
	END_OF_FILE = 4, /* Ctrl-D */
	STATUS_NOT_FOUND = 127,
	STATUS_NOT_EXECUTED = 126,
	STATUS_SIGNAL = 128,
};

enum slot {
	SLOT_HOST,
	SLOT_IN,
	SLOT_OUT,
	SLOT_ERR,
	SLOT_END,
	SLOT_TAKER,
	SLOTS
};

struct session {
	struct frames *frames;
	bool is_lost;	       /* the connection */
	uint64_t let_go_at_ms; /* it may be replaced until then; 0: it is there, or nobody waits */
	bool is_tty;
	bool is_main;
	struct guest_command command;
	struct guest_shared *shared;
	const char *volume; /* that could not be mounted; NULL: none */
	int end_fd; /* readable when the command has ended; -1: it has, and `status` is set */
	int status;
	size_t last_words; /* bytes of output that may still be the command's */
	bool input_ends;
	uint32_t owed; /* credit */
	size_t in_start;
	size_t in_end;
	uint8_t in[STDIN_WINDOW];
};

static void close_one(int *fd)
{
	if (*fd >= 0) {
		close(*fd);
	}
	*fd = -1;
}

static uint64_t now_ms(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* From now on the command has neither input nor a reader. */
static void let_go(struct session *session)
{
	session->let_go_at_ms = 0;
	close_one(&session->command.in);
	if (session->is_tty) {
		close_one(&session->command.out);
		/* The last descriptor of a terminal hangs its session up. */
		kill(-session->command.pid, SIGHUP);
	}
}

static void lose(struct session *session)
{
	session->is_lost = true;
	if (session->is_main) {
		session->let_go_at_ms = now_ms() + session->shared->patience_ms;
	} else {
		let_go(session);
	}
}

/* --- input --- */

static bool take_input(struct session *session, const struct frame *frame)
{
	size_t have = session->in_end - session->in_start;

	if (frame->len == 0) {
		session->input_ends = true;
		return true;
	}
	if (session->input_ends || frame->len > sizeof(session->in) - have) {
		return false; /* beyond its credit */
	}
	memmove(session->in, session->in + session->in_start, have);
	memcpy(session->in + have, frame->data, frame->len);
	session->in_start = 0;
	session->in_end = have + frame->len;
	return true;
}

static bool has_input(const struct session *session)
{
	return session->command.in >= 0 &&
	       (session->in_end > session->in_start || session->input_ends);
}

static void end_input(struct session *session)
{
	const char end = END_OF_FILE;

	if (session->is_tty && write(session->command.in, &end, 1) < 0 && errno == EAGAIN) {
		return;
	}
	close_one(&session->command.in);
}

static void feed(struct session *session)
{
	size_t have = session->in_end - session->in_start;

	if (have == 0) {
		end_input(session);
		return;
	}
	ssize_t done = write(session->command.in, session->in + session->in_start, have);

	if (done > 0) {
		session->in_start += (size_t)done;
		session->owed += (uint32_t)done;
	} else if (errno != EAGAIN) {
		/* It reads no more: what comes is for nobody, and gets no credit. */
		close_one(&session->command.in);
	}
}

/* Credit for what the command has taken. */
static void grant(struct session *session)
{
	bool is_due = session->owed >= CREDIT_STEP ||
		      (session->owed > 0 && session->in_end == session->in_start);

	if (is_due && !session->is_lost &&
	    frames_have_room(session->frames, sizeof(session->owed)) &&
	    frames_put_number(session->frames, FRAME_CREDIT, session->owed)) {
		session->owed = 0;
	}
}

/* --- output --- */

static void drain(struct session *session, int *fd, enum frame_kind kind)
{
	static uint8_t bytes[DATA_MAX];
	ssize_t got = read(*fd, bytes, sizeof(bytes));

	if (got > 0) {
		if (!session->is_lost) {
			(void)!frames_put(session->frames, kind, bytes, (size_t)got);
		}
		if (session->end_fd < 0) {
			session->last_words -= min_u64(session->last_words, (uint64_t)got);
		}
		return;
	}
	/* EIO: nobody has the terminal open any more. */
	if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		close_one(fd);
	}
}

static bool may_drain(const struct session *session)
{
	return session->is_lost ? session->let_go_at_ms == 0
				: frames_have_room(session->frames, DATA_MAX);
}

/* --- frames of the host --- */

/* What a terminal would send goes to all that the command has begun, as from a terminal. */
static int send_signal(pid_t pid, int number)
{
	bool is_terminals =
		number == SIGINT || number == SIGQUIT || number == SIGHUP || number == SIGPIPE;

	return kill(is_terminals ? -pid : pid, number);
}

static bool obey(struct session *session, const struct frame *frame)
{
	uint32_t number;

	if (frame->kind == FRAME_STDIN) {
		return take_input(session, frame);
	}
	if (!frame_number(frame, &number)) {
		return false;
	}
	if (frame->kind == FRAME_SIZE && frame->len == 2 * sizeof(number)) {
		uint32_t columns;

		memcpy(&columns, frame->data + sizeof(number), sizeof(columns));
		if (session->is_tty && session->command.out >= 0) {
			guest_resize(session->command.out, number, columns);
		}
		return true;
	}
	if (frame->kind == FRAME_SIGNAL) {
		if (session->end_fd >= 0) {
			send_signal(session->command.pid, (int)number);
		}
		return true;
	}
	return false;
}

/* All frames that were read. */
static void obey_all(struct session *session)
{
	struct frame frame;
	enum frames_state state;

	while ((state = frames_next(session->frames, &frame)) == FRAMES_FRAME) {
		if (!obey(session, &frame)) {
			state = FRAMES_BROKEN;
			break;
		}
	}
	if (state == FRAMES_BROKEN) {
		lose(session);
	}
}

static void exchange(struct session *session, bool is_readable)
{
	frames_flush(session->frames);
	if (is_readable && !frames_fill(session->frames)) {
		lose(session);
		return;
	}
	obey_all(session);
}

/* What the old connection still had to say or to hear is that of the machine's twin. */
static void take_over(struct session *session)
{
	int fd = guest_receive_fd(session->shared->takers[0]);
	size_t have = session->in_end - session->in_start;
	bool has_input = session->command.in >= 0 && !session->input_ends;

	if (fd < 0) {
		return;
	}
	close_one(&session->frames->fd);
	memset(session->frames, 0, sizeof(*session->frames));
	session->frames->fd = fd;
	session->is_lost = false;
	session->let_go_at_ms = 0;
	session->owed = 0;
	(void)!frames_put(session->frames, FRAME_DONE, NULL, 0);
	if (has_input) {
		(void)!frames_put_number(session->frames, FRAME_CREDIT,
					 (uint32_t)(sizeof(session->in) - have));
	}
}

/* --- the loop --- */

static void fill_slots(const struct session *session, struct pollfd slots[SLOTS])
{
	bool drains = may_drain(session);
	int host = session->is_lost ? -1 : session->frames->fd;
	short host_events = frames_wait(session->frames) ? POLLIN | POLLOUT : POLLIN;

	slots[SLOT_HOST] = (struct pollfd){.fd = host, .events = host_events};
	slots[SLOT_IN] = (struct pollfd){.fd = has_input(session) ? session->command.in : -1,
					 .events = POLLOUT};
	slots[SLOT_OUT] =
		(struct pollfd){.fd = drains ? session->command.out : -1, .events = POLLIN};
	slots[SLOT_ERR] =
		(struct pollfd){.fd = drains ? session->command.err : -1, .events = POLLIN};
	slots[SLOT_END] = (struct pollfd){.fd = session->end_fd, .events = POLLIN};
	slots[SLOT_TAKER] = (struct pollfd){
		.fd = session->is_main ? session->shared->takers[0] : -1, .events = POLLIN};
}

static void note_end(struct session *session)
{
	int status = 0;

	while (waitpid(session->command.pid, &status, 0) < 0 && errno == EINTR) {
	}
	session->status =
		WIFSIGNALED(status) ? STATUS_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
	close_one(&session->end_fd);
	session->last_words = LAST_WORDS;
	if (session->is_main) {
		session->shared->main_pid = 0;
		/* So that nothing holds its streams open. */
		kill(-1, SIGKILL);
	}
}

static bool is_over(const struct session *session)
{
	bool has_output = session->command.out >= 0 || session->command.err >= 0;

	return session->let_go_at_ms == 0 && session->end_fd < 0 &&
	       (!has_output || session->last_words == 0);
}

/* How long nothing may happen; -1: for ever. */
static int patience(const struct session *session)
{
	uint64_t now = now_ms();

	if (session->let_go_at_ms != 0) {
		return session->let_go_at_ms > now ? (int)(session->let_go_at_ms - now) : 0;
	}
	if (session->end_fd >= 0 || !may_drain(session)) {
		return -1;
	}
	return session->is_tty || session->is_main ? LAST_WORDS_MS : 0;
}

/* Until the command has ended and its output was read. */
static void relay(struct session *session)
{
	struct pollfd slots[SLOTS];

	obey_all(session); /* what came with the first frame */
	while (!is_over(session)) {
		grant(session);
		fill_slots(session, slots);
		int ready = poll(slots, SLOTS, patience(session));

		if (ready == 0 && session->let_go_at_ms != 0) {
			let_go(session);
			continue;
		}
		if (ready == 0) {
			/* What still has its streams open is nobody's command. */
			break;
		}
		if (slots[SLOT_HOST].revents != 0) {
			exchange(session, (slots[SLOT_HOST].revents & ~POLLOUT) != 0);
		}
		if (slots[SLOT_IN].revents != 0 && session->command.in >= 0) {
			feed(session);
		}
		/* Not what was there when the connection was lost: who takes it over hears it. */
		if (slots[SLOT_OUT].revents != 0 && session->command.out >= 0 &&
		    may_drain(session)) {
			drain(session, &session->command.out, FRAME_STDOUT);
		}
		if (slots[SLOT_ERR].revents != 0 && session->command.err >= 0 &&
		    may_drain(session)) {
			drain(session, &session->command.err, FRAME_STDERR);
		}
		if (slots[SLOT_END].revents != 0) {
			note_end(session);
		}
		if (slots[SLOT_TAKER].revents != 0) {
			take_over(session);
		}
	}
}

/* Sends what waits, then waits until the host has closed the connection. */
static void say_goodbye(struct frames *frames)
{
	struct pollfd host = {.fd = frames->fd};
	struct frame ignored;
	bool is_open = true;

	while (is_open) {
		host.events = frames_wait(frames) ? POLLIN | POLLOUT : POLLIN;
		if (poll(&host, 1, frames_wait(frames) ? -1 : GOODBYE_MS) <= 0) {
			break;
		}
		frames_flush(frames);
		is_open = (host.revents & ~POLLOUT) == 0 || frames_fill(frames);
		while (frames_next(frames, &ignored) == FRAMES_FRAME) {
		}
	}
}

static void end_machine(void)
{
	sync();
	reboot(RB_AUTOBOOT);
}

static void fail(struct session *session, const struct run_request *request)
{
	const struct guest_command *command = &session->command;
	struct {
		uint32_t status;
		char text[256];
	} word = {0};
	bool is_missing =
		session->volume == NULL && (command->fault == ENOENT || command->fault == ENOTDIR);
	const char *which = command->fault == 0 ? request->user : request->words[0];

	which = session->volume != NULL ? session->volume : which;
	word.status = is_missing ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTED;
	int len = snprintf(word.text, sizeof(word.text), "%s '%s'%s%s", command->fault_of, which,
			   command->fault != 0 ? ": " : "",
			   command->fault != 0 ? strerror(command->fault) : "");

	if (len >= (int)sizeof(word.text)) {
		len = sizeof(word.text) - 1;
	}
	(void)!frames_put(session->frames, FRAME_FAILED, &word,
			  sizeof(word.status) + (size_t)(len > 0 ? len : 0));
}

static void set_up_machine(const struct run_request *request)
{
	time_t now = time(NULL);
	time_t wanted = (time_t)request->clock_s;

	if (request->host[0] != '\0') {
		(void)!sethostname(request->host, strlen(request->host));
	}
	if (wanted != 0 && (now < wanted - CLOCK_FAR_S || now > wanted + CLOCK_FAR_S)) {
		const struct timeval time = {.tv_sec = wanted};

		settimeofday(&time, NULL);
	}
}

/* Says that there is no main command. */
static void refuse(struct session *session)
{
	static const char none[4 + 34] = "\x01\0\0\0The machine's command does not run";

	frames_put(session->frames, FRAME_FAILED, none, sizeof(none));
	say_goodbye(session->frames);
}

/* The connection becomes that of the process that serves the main command. */
static void hand_over(struct session *session, const struct run_request *request)
{
	set_up_machine(request);
	if (!session->shared->has_main ||
	    !guest_send_fd(session->shared->takers[1], session->frames->fd)) {
		refuse(session);
	}
}

static void run(struct session *session, const struct frame *frame)
{
	static struct run_request request;

	if (!run_request_read(frame->data, frame->len, &request)) {
		return;
	}
	if ((request.flags & RUN_TAKE) != 0) {
		hand_over(session, &request);
		return;
	}
	session->is_tty = (request.flags & RUN_TTY) != 0;
	session->is_main = (request.flags & RUN_MAIN) != 0;
	if (session->is_main) {
		set_up_machine(&request);
		session->volume = guest_mount_volumes(&request);
		session->command.fault = errno;
		session->command.fault_of = "Cannot mount the volume";
	}
	if (session->volume != NULL || !guest_start(&request, &session->command)) {
		fail(session, &request);
	} else {
		session->end_fd = pidfd_open(session->command.pid, 0);
		if (session->is_main) {
			session->shared->main_pid = session->command.pid;
			session->shared->has_main = true;
		}
		frames_put(session->frames, FRAME_DONE, NULL, 0);
		relay(session);
		frames_put_number(session->frames, FRAME_EXIT, (uint32_t)session->status);
	}
	if (!session->is_lost) {
		say_goodbye(session->frames);
	}
	if (session->is_main) {
		end_machine();
	}
}

/* A signal for the main command, of who has no connection to it. */
static void pass_signal(struct session *session, const struct frame *frame)
{
	pid_t pid = session->shared->main_pid;
	uint32_t number;

	if (frame_number(frame, &number) && pid > 0 && send_signal(pid, (int)number) == 0) {
		frames_put(session->frames, FRAME_DONE, NULL, 0);
		say_goodbye(session->frames);
	} else {
		refuse(session);
	}
}

void guest_serve(int fd, struct guest_shared *shared)
{
	static struct frames frames;
	static struct session session;
	struct pollfd host = {.fd = fd, .events = POLLIN};
	struct frame frame;
	enum frames_state state = FRAMES_MORE;

	frames.fd = fd;
	session = (struct session){.frames = &frames, .shared = shared, .end_fd = -1};
	signal(SIGPIPE, SIG_IGN);
	while (state == FRAMES_MORE && poll(&host, 1, -1) > 0 && frames_fill(&frames)) {
		state = frames_next(&frames, &frame);
	}
	if (state != FRAMES_FRAME) {
		return;
	}
	if (frame.kind == FRAME_RUN) {
		run(&session, &frame);
	} else if (frame.kind == FRAME_SIGNAL) {
		pass_signal(&session, &frame);
	}
}
