/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations with a guest's first process.
 *
 * Theory of operation. One loop waits for all that may happen: nothing but our own output may keep
 * the command waiting, and signals get through while it does. What the guest says is checked as
 * what a stranger says: a frame that has no place in a conversation ends it.
 */
#include "tools/squibctl/ctl_session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_keeper.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/text.h"
#include "vmm/base/unix_address.h"

enum {
	LINE_MAX_LEN = 32, /* "OK <port>" */
	/* Between two signals to end: timeout(1) sends the first one twice, and people wait. */
	PATIENCE_S = 1,
	INSIST_S = 10,
	STATUS_MASK = 255,
	DETACH_FIRST = 0x10, /* Ctrl-P: held back until the next key is known */
	DETACH_SECOND = 0x11 /* Ctrl-Q */
};

/* --- connecting --- */

int session_open(const struct machine *machine, const char *file, int *fd, struct error *err)
{
	AUTO_FREE char *path = ctl_machine_path(machine, file);
	struct sockaddr_un address;

	if (path == NULL || !unix_address(path, &address)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The path of the machine's directory is too long: %s",
				 machine->dir);
	}
	AUTO_FD own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval limit = {.tv_sec = SESSION_ANSWER_MS / 1000};
	const struct timeval none = {0};

	/* One that accepts nobody lets many wait, and then all others for ever. */
	if (own < 0 || setsockopt(own, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(own, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		return error_sys(err, "Cannot connect to the machine at %s", path);
	}
	(void)setsockopt(own, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	*fd = fd_take(&own);
	return 0;
}

int session_keeper(const struct machine *machine, int *fd, struct error *err)
{
	if (session_open(machine, KEEPER_SOCKET, fd, err) < 0) {
		return -1;
	}
	fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
	return 0;
}

/* The answer's line, byte by byte: what is behind it is the guest's. */
static bool read_answer(int fd, uint64_t deadline, int wake)
{
	char line[LINE_MAX_LEN] = "";
	struct pollfd slots[] = {{.fd = fd, .events = POLLIN}, {.fd = wake, .events = POLLIN}};

	for (size_t i = 0; i < sizeof(line); i++) {
		if (poll(slots, ARRAY_COUNT(slots), deadline_left(deadline)) <= 0 ||
		    slots[0].revents == 0 || read(fd, &line[i], 1) != 1) {
			return false;
		}
		if (line[i] == '\n') {
			return strncmp(line, "OK ", 3) == 0;
		}
	}
	return false;
}

int session_connect(const struct machine *machine, uint64_t deadline, int wake, int *fd,
		    struct error *err)
{
	AUTO_FD own = -1;
	char line[LINE_MAX_LEN];
	struct text text;

	if (session_open(machine, "vsock", &own, err) < 0) {
		return -1;
	}
	text_init(&text, line, sizeof(line));
	text_add(&text, "CONNECT %d\n", GUEST_PORT);
	if (send(own, line, text.len, MSG_NOSIGNAL) != (ssize_t)text.len ||
	    !read_answer(own, deadline, wake)) {
		return 0;
	}
	fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK);
	*fd = fd_take(&own);
	return 1;
}

static int reach(const struct machine *machine, uint64_t deadline, int *fd, struct error *err)
{
	int got = session_connect(machine, deadline, -1, fd, err);

	if (got == 0) {
		return error_set(err, ERR_BAD_STATE, "Nobody listens in the guest of %s",
				 machine->name);
	}
	return got > 0 ? 0 : -1;
}

int session_reach(const struct machine *machine, int *fd, struct error *err)
{
	return reach(machine, deadline_in(SESSION_ANSWER_MS), fd, err);
}

/* --- requests --- */

static int take_words(const json_t *list, const char *words[RUN_WORDS_MAX + 1], unsigned *count,
		      const char *what, struct error *err)
{
	if (json_array_size(list) > RUN_WORDS_MAX) {
		return error_set(err, ERR_TOO_LARGE, "There are more than %d %s", RUN_WORDS_MAX,
				 what);
	}
	*count = (unsigned)json_array_size(list);
	for (unsigned i = 0; i < *count; i++) {
		words[i] = json_string_value(json_array_get(list, i));
		if (words[i] == NULL) {
			return error_set(err, ERR_CORRUPT, "One of the %s is no text", what);
		}
	}
	return 0;
}

static const char *text_of(const json_t *process, const char *key)
{
	const char *text = json_string_value(json_object_get(process, key));

	return text != NULL ? text : "";
}

int session_request(const json_t *process, const struct session_options *options,
		    struct run_request *request, struct error *err)
{
	struct winsize size = {0};

	*request = (struct run_request){
		.flags = (options->has_terminal ? RUN_TTY : 0U) |
			 (options->has_input ? RUN_STDIN : 0U),
		.host = "",
		.user = text_of(process, "User"),
		.dir = text_of(process, "WorkingDir"),
	};
	if (options->has_terminal && (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 ||
				      ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)) {
		request->rows = size.ws_row;
		request->columns = size.ws_col;
	}
	return take_words(json_object_get(process, "Args"), request->words, &request->word_count,
			  "words of the command", err) < 0
		       ? -1
		       : take_words(json_object_get(process, "Env"), request->env,
				    &request->env_count, "variables of the environment", err);
}

int session_put_request(struct frames *frames, const struct run_request *request, struct error *err)
{
	static uint8_t payload[FRAME_MAX];
	size_t len = run_request_write(request, payload, sizeof(payload));

	if (len == 0) {
		return error_set(err, ERR_TOO_LARGE,
				 "The command and its environment have more than %d KiB",
				 FRAME_MAX >> 10);
	}
	return frames_put(frames, FRAME_RUN, payload, len)
		       ? 0
		       : error_set(err, ERR_HOST, "There is no room for the request");
}

/* --- the loop --- */

enum slot {
	SLOT_GUEST,
	SLOT_INPUT,
	SLOT_OUTPUT,
	SLOT_SIGNALS,
	SLOT_END,
	SLOTS
};

struct session {
	struct frames *frames;
	const struct session_options *options;
	struct error *err;
	int signals;
	sigset_t mask;	 /* as it was before */
	bool is_started; /* the command runs */
	bool is_raw;
	struct termios saved;
	bool has_input; /* and it has not ended */
	uint32_t credit;
	uint64_t deadline;
	uint64_t asked_ns;
	bool is_held;	       /* the first of the keys that detach */
	bool is_going;	       /* both: once all that came before is sent */
	const uint8_t *output; /* of a frame: what is not written yet */
	size_t output_len;
	int output_fd;
	bool is_deaf[STDERR_FILENO + 1]; /* who read that output is gone */
	bool is_over;
	int status;
};

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

static int open_signals(struct session *session)
{
	sigset_t set;

	sigprocmask(SIG_BLOCK, NULL, &session->mask);
	if (session->options->no_signals) {
		return 0;
	}
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_COUNT(forwarded); i++) {
		sigaddset(&set, forwarded[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, &session->mask);
	session->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return session->signals >= 0 ? 0 : error_sys(session->err, "Cannot watch signals");
}

/* Not before there is a command: until then Ctrl-C is for us. */
static void make_raw(struct session *session)
{
	struct termios raw;

	if (!session->options->has_terminal || !session->has_input || session->is_raw ||
	    tcgetattr(STDIN_FILENO, &session->saved) < 0) {
		return;
	}
	raw = session->saved;
	cfmakeraw(&raw);
	session->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void restore(const struct session *session)
{
	if (session->is_raw) {
		(void)!tcsetattr(STDIN_FILENO, TCSADRAIN, &session->saved);
	}
}

static void finish(struct session *session, int status)
{
	session->is_over = true;
	session->status = status;
}

static void fail(struct session *session, const char *text)
{
	finish(session, -1);
	(void)error_set(session->err, ERR_GUEST, "%s", text);
}

static void send_size(struct session *session)
{
	struct winsize size;
	uint32_t numbers[2];

	if (session->options->has_terminal && (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 ||
					       ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)) {
		numbers[0] = size.ws_row;
		numbers[1] = size.ws_col;
		(void)frames_put(session->frames, FRAME_SIZE, numbers, sizeof(numbers));
	}
}

bool session_ends_by(uint32_t number, bool has_begun, uint64_t *asked_ns)
{
	uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);
	uint64_t since = now - *asked_ns;
	bool is_second = *asked_ns > 0 && since <= INSIST_S * NS_PER_S;

	if (has_begun && number != SIGINT && number != SIGTERM) {
		return false;
	}
	if (!is_second) {
		*asked_ns = now;
	}
	return !has_begun || (is_second && since >= PATIENCE_S * NS_PER_S);
}

static void pass_signal(struct session *session)
{
	struct signalfd_siginfo info;

	if (read(session->signals, &info, sizeof(info)) != sizeof(info)) {
		return;
	}
	if (info.ssi_signo == SIGWINCH) {
		send_size(session);
		return;
	}
	/* A keeper, which may be on the other side, hears them itself, and ends its machine. */
	bool has_keeper = session->options->may_detach;
	bool ends = session_ends_by(info.ssi_signo, session->is_started || has_keeper,
				    &session->asked_ns);

	if (ends && !has_keeper) {
		finish(session, STATUS_SIGNAL + (int)info.ssi_signo);
		return;
	}
	if (ends) {
		session->deadline =
			deadline_first(session->deadline, deadline_in(SESSION_ANSWER_MS));
	}
	(void)frames_put_number(session->frames, FRAME_SIGNAL, info.ssi_signo);
}

/* What is left of typed bytes when the keys that detach are taken out: *len may grow by one. */
static void take_keys(struct session *session, uint8_t *bytes, size_t *len)
{
	uint8_t kept[DATA_MAX + 1] = {0};
	size_t count = 0;

	for (size_t i = 0; i < *len; i++) {
		if (session->is_held && bytes[i] == DETACH_SECOND) {
			session->is_going = true;
			session->has_input = false;
			break;
		}
		if (session->is_held) {
			kept[count++] = DETACH_FIRST;
		}
		session->is_held = bytes[i] == DETACH_FIRST;
		if (!session->is_held) {
			kept[count++] = bytes[i];
		}
	}
	memcpy(bytes, kept, count);
	*len = count;
}

static void pass_input(struct session *session)
{
	static uint8_t bytes[DATA_MAX + 1];
	size_t most = min_u64(session->credit - session->is_held, DATA_MAX);
	ssize_t got = read(STDIN_FILENO, bytes, most);

	if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
		return;
	}
	if (got <= 0) {
		session->has_input = false;
		got = 0;
	}
	size_t len = (size_t)got;

	if (got > 0 && session->is_raw && session->options->may_detach) {
		take_keys(session, bytes, &len);
	}
	session->credit -= (uint32_t)len;
	if (len > 0 || got == 0) {
		(void)frames_put(session->frames, FRAME_STDIN, bytes, len);
	}
}

/* As much as a pipe takes that poll(2) calls writable. */
static void write_output(struct session *session)
{
	ssize_t done =
		write(session->output_fd, session->output, min_u64(session->output_len, PIPE_BUF));

	if (done >= 0) {
		session->output += done;
		session->output_len -= (size_t)done;
	} else if (errno != EINTR && errno != EAGAIN) {
		/* As in a pipeline the command is told, once. What it still says is for nobody. */
		if (!session->is_deaf[session->output_fd]) {
			(void)frames_put_number(session->frames, FRAME_SIGNAL, SIGPIPE);
		}
		session->is_deaf[session->output_fd] = true;
		session->output_len = 0;
	}
}

static void take_failure(struct session *session, const struct frame *frame, uint32_t status)
{
	char text[ERROR_MSG_LEN];
	size_t len = min_u64(frame->len - sizeof(status), sizeof(text) - 1);

	memcpy(text, frame->data + sizeof(status), len);
	clean_text(text, len, '\0');
	text[len] = '\0';
	(void)error_set(session->err, ERR_GUEST, "%s", text);
	finish(session, (int)(status & STATUS_MASK));
}

static void take(struct session *session, const struct frame *frame)
{
	uint32_t number = 0;
	bool has_number = frame_number(frame, &number);

	if (frame->kind == FRAME_STDOUT || frame->kind == FRAME_STDERR) {
		session->output_fd = frame->kind == FRAME_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
		session->output = frame->data;
		session->output_len = session->is_deaf[session->output_fd] ? 0 : frame->len;
		if (session->options->is_plain && frame->kind == FRAME_STDERR) {
			clean_text((char *)session->frames->in +
					   (frame->data - session->frames->in),
				   frame->len, '\n');
		}
	} else if (frame->kind == FRAME_DONE) {
		session->is_started = true;
		if (session->options->only_starts) {
			finish(session, 0);
		} else {
			make_raw(session);
		}
	} else if (frame->kind == FRAME_CREDIT && has_number &&
		   number <= STDIN_WINDOW - session->credit) {
		session->credit += number;
	} else if (frame->kind == FRAME_EXIT && has_number) {
		finish(session, (int)(number & STATUS_MASK));
	} else if (frame->kind == FRAME_FAILED && has_number) {
		take_failure(session, frame, number);
	} else {
		fail(session, "The guest's first process says nonsense");
	}
}

/* The frames that were read, up to one with output. */
static void take_all(struct session *session)
{
	struct frame frame;

	while (!session->is_over && session->output_len == 0) {
		enum frames_state state = frames_next(session->frames, &frame);

		if (state == FRAMES_MORE) {
			return;
		}
		if (state == FRAMES_BROKEN) {
			fail(session, "The guest's first process says nonsense");
			return;
		}
		take(session, &frame);
	}
}

static void exchange(struct session *session, short events)
{
	frames_flush(session->frames);
	if ((events & ~POLLOUT) != 0 && session->output_len == 0 && !frames_fill(session->frames)) {
		fail(session, "The machine has ended before the command did");
	}
}

static void turn(struct session *session)
{
	bool has_room = frames_have_room(session->frames, DATA_MAX);
	bool reads = session->output_len == 0;
	short guest = (short)((reads ? POLLIN : 0) | (frames_wait(session->frames) ? POLLOUT : 0));
	/* What is typed before there is a command waits in our terminal. */
	bool takes_input = session->has_input && session->credit > session->is_held && has_room &&
			   (session->is_started || !session->options->has_terminal);
	struct pollfd slots[SLOTS] = {
		[SLOT_GUEST] = {.fd = session->frames->fd, .events = guest},
		[SLOT_INPUT] = {.fd = takes_input ? STDIN_FILENO : -1, .events = POLLIN},
		[SLOT_OUTPUT] = {.fd = reads ? -1 : session->output_fd, .events = POLLOUT},
		[SLOT_SIGNALS] = {.fd = has_room ? session->signals : -1, .events = POLLIN},
		[SLOT_END] = {.fd = session->options->end > 0 ? session->options->end : -1,
			      .events = POLLIN},
	};

	/* A connection that is over is always ready: not while there is no use in that. */
	if (guest == 0) {
		slots[SLOT_GUEST].fd = -1;
	}
	int left = deadline_left(session->deadline);
	int got = poll(slots, SLOTS, left);

	/* Also for one that says a little, again and again. */
	if (got == 0 || left == 0) {
		fail(session, "The guest's first process does not answer");
	} else if (slots[SLOT_END].revents != 0) {
		fail(session, "Interrupted");
	}
	if (got <= 0 || session->is_over) {
		return;
	}
	if (slots[SLOT_OUTPUT].revents != 0) {
		write_output(session);
	}
	if (slots[SLOT_INPUT].revents != 0) {
		pass_input(session);
	}
	if (slots[SLOT_GUEST].revents != 0) {
		exchange(session, slots[SLOT_GUEST].revents);
	}
	take_all(session);
	/* Behind the word that the command runs. */
	if (slots[SLOT_SIGNALS].revents != 0 && !session->is_over) {
		pass_signal(session);
	}
	if (session->is_going && !session->is_over && !frames_wait(session->frames)) {
		finish(session, STATUS_DETACHED);
	}
}

int session_run(struct frames *frames, const struct session_options *options, struct error *err)
{
	struct session session = {
		.frames = frames,
		.options = options,
		.err = err,
		.signals = -1,
		.has_input = options->has_input && !options->only_starts,
		.credit = options->attaches ? 0 : STDIN_WINDOW,
		.deadline = options->deadline > 0 ? options->deadline : DEADLINE_NEVER,
	};

	if (open_signals(&session) < 0) {
		return -1;
	}
	/* What changed before signals were watched. */
	send_size(&session);
	while (!session.is_over) {
		turn(&session);
	}
	restore(&session);
	sigprocmask(SIG_SETMASK, &session.mask, NULL);
	fd_close(&session.signals);
	return session.status;
}

/* --- a signal alone --- */

int session_signal(const struct machine *machine, int number, uint64_t deadline, struct error *err)
{
	static struct frames frames;
	const struct session_options options = {.only_starts = true, .deadline = deadline};
	AUTO_FD fd = -1;

	if (reach(machine, deadline, &fd, err) < 0) {
		return -1;
	}
	memset(&frames, 0, sizeof(frames));
	frames.fd = fd;
	(void)frames_put_number(&frames, FRAME_SIGNAL, (uint32_t)number);
	int status = session_run(&frames, &options, err);

	if (status > 0 && err->kind == ERR_NONE) {
		return error_set(err, ERR_BAD_STATE, "Interrupted before %s got the signal",
				 machine->name);
	}
	return status == 0 ? 0 : -1;
}
