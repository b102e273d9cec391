/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of tools/squibctl/ctl_session.c against guests that are scripts, and mean no good. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/lib/frames_pair.h"
#include "tools/squibctl/ctl_session.h"
#include "vmm/base/bytes.h"

static struct frames ours;
static struct frames guest;

/* Runs a session with a guest that has said all that it will, and has gone. */
static int run(const struct session_options *options, struct error *err)
{
	frames_flush(&guest);
	close(guest.fd);
	int status = session_run(&ours, options, err);

	close(ours.fd);
	return status;
}

Test(ctl_session, an_exit_status_is_one_byte)
{
	const struct session_options options = {0};
	struct error err = {0};

	frames_pair(&ours, &guest);
	frames_put_number(&guest, FRAME_EXIT, 256 + 3);
	cr_expect_eq(run(&options, &err), 3);
	cr_expect_str_eq(err.msg, "");
}

Test(ctl_session, a_failure_is_told_without_control_characters)
{
	static const char word[] = "\x7f\0\0\0no\x1b[2J\nway";
	const struct session_options options = {0};
	struct error err = {0};

	frames_pair(&ours, &guest);
	frames_put(&guest, FRAME_FAILED, word, sizeof(word) - 1);
	cr_expect_eq(run(&options, &err), 127);
	cr_expect_str_eq(err.msg, "no [2J way");
}

Test(ctl_session, a_guest_that_ends_early_is_told)
{
	const struct session_options options = {0};
	struct error err = {0};

	frames_pair(&ours, &guest);
	frames_put(&guest, FRAME_DONE, NULL, 0);
	cr_expect_eq(run(&options, &err), -1);
	cr_expect_str_eq(err.msg, "The machine has ended before the command did");
}

Test(ctl_session, an_answer_has_a_deadline_whatever_the_guest_says, .timeout = 20)
{
	/* One that says nothing, and one whose words come too late. */
	static const struct {
		uint64_t ms;
		bool says;
	} guests[] = {{50, false}, {0, true}};

	for (size_t i = 0; i < ARRAY_COUNT(guests); i++) {
		const struct session_options options = {.only_starts = true,
							.deadline = deadline_in(guests[i].ms)};
		struct error err = {0};

		frames_pair(&ours, &guest);
		if (guests[i].says) {
			frames_put(&guest, FRAME_DONE, NULL, 0);
			frames_flush(&guest);
		}
		cr_expect_eq(session_run(&ours, &options, &err), -1);
		cr_expect_str_eq(err.msg, "The guest's first process does not answer");
		close(ours.fd);
		close(guest.fd);
	}
}

static const struct {
	enum frame_kind kind;
	const char *payload;
	size_t len;
} nonsense[] = {
	{FRAME_RUN, "", 0},	     {FRAME_STDIN, "abcd", 4},	    {FRAME_SIZE, "abcdefgh", 8},
	{FRAME_SIGNAL, "abcd", 4},   {FRAME_EXIT, "abc", 3},	    {FRAME_FAILED, "", 0},
	{FRAME_CREDIT, "\1\0\0", 3}, {FRAME_CREDIT, "\1\0\0\0", 4}, {FRAME_KINDS, "", 0},
};

Test(ctl_session, what_has_no_place_ends_the_conversation)
{
	for (size_t i = 0; i < ARRAY_COUNT(nonsense); i++) {
		const struct session_options options = {0};
		struct error err = {0};

		frames_pair(&ours, &guest);
		frames_put(&guest, nonsense[i].kind, nonsense[i].payload, nonsense[i].len);
		frames_put_number(&guest, FRAME_EXIT, 0);
		cr_expect_eq(run(&options, &err), -1, "%zu", i);
		cr_expect_str_eq(err.msg, "The guest's first process says nonsense", "%zu", i);
	}
}

/* In the guest's process: the bytes of input up to `most`, or until nothing comes for a while. */
static size_t take_input(size_t most, bool *has_ended)
{
	struct pollfd slot = {.fd = guest.fd, .events = POLLIN};
	struct frame frame;
	size_t len = 0;

	while (len < most && !*has_ended && poll(&slot, 1, 200) > 0 && frames_fill(&guest)) {
		while (frames_next(&guest, &frame) == FRAMES_FRAME) {
			len += frame.kind == FRAME_STDIN ? frame.len : 0;
			*has_ended |= frame.kind == FRAME_STDIN && frame.len == 0;
		}
	}
	return len;
}

/* Exits with 0 if it is sent what it has given credit for, and no more. */
static _Noreturn void be_guest(void)
{
	bool has_ended = false;

	frames_put(&guest, FRAME_DONE, NULL, 0);
	frames_flush(&guest);
	if (take_input(SIZE_MAX, &has_ended) != STDIN_WINDOW) {
		_exit(1);
	}
	frames_put_number(&guest, FRAME_CREDIT, 10);
	frames_flush(&guest);
	if (take_input(SIZE_MAX, &has_ended) != 10 || has_ended) {
		_exit(2);
	}
	frames_put_number(&guest, FRAME_CREDIT, STDIN_WINDOW);
	frames_flush(&guest);
	if (take_input(SIZE_MAX, &has_ended) != 5 || !has_ended) {
		_exit(3);
	}
	frames_put_number(&guest, FRAME_EXIT, 42);
	frames_flush(&guest);
	_exit(0);
}

Test(ctl_session, input_is_sent_as_far_as_there_is_credit)
{
	const struct session_options options = {.has_input = true};
	char path[] = "/tmp/squib-input-XXXXXX";
	struct error err = {0};
	int input = mkstemp(path);
	int status = -1;

	unlink(path);
	cr_assert_eq(ftruncate(input, STDIN_WINDOW + 15), 0);
	cr_assert_eq(dup2(input, STDIN_FILENO), STDIN_FILENO);
	frames_pair(&ours, &guest);
	pid_t pid = fork();

	if (pid == 0) {
		close(ours.fd);
		be_guest();
	}
	close(guest.fd);
	cr_expect_eq(session_run(&ours, &options, &err), 42, "%s", err.msg);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
}

Test(ctl_session, signals_go_to_the_command)
{
	const struct session_options options = {0};
	struct pollfd slot;
	struct frame frame;
	struct error err = {0};
	int status = -1;

	frames_pair(&ours, &guest);
	pid_t pid = fork();

	if (pid == 0) {
		uint32_t number = 0;

		close(ours.fd);
		frames_put(&guest, FRAME_DONE, NULL, 0);
		frames_flush(&guest);
		slot = (struct pollfd){.fd = guest.fd, .events = POLLIN};
		while (frames_next(&guest, &frame) != FRAMES_FRAME) {
			if (poll(&slot, 1, -1) < 0 || !frames_fill(&guest)) {
				_exit(1);
			}
		}
		(void)!frame_number(&frame, &number);
		frames_put_number(&guest, FRAME_EXIT, 128 + number);
		frames_flush(&guest);
		_exit(0);
	}
	close(guest.fd);
	/* It waits until somebody takes it. */
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGTERM);
	slot = (struct pollfd){.fd = ours.fd, .events = POLLIN};
	cr_assert_eq(poll(&slot, 1, -1), 1);
	cr_expect_eq(session_run(&ours, &options, &err), 128 + SIGTERM);
	waitpid(pid, &status, 0);
	cr_expect_eq(status, 0);
}

Test(ctl_session, before_there_is_a_command_a_signal_ends_the_wait, .timeout = 20)
{
	const struct session_options options = {0};
	struct error err = {0};
	sigset_t set;

	frames_pair(&ours, &guest);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGINT);
	cr_expect_eq(session_run(&ours, &options, &err), 128 + SIGINT);
}

Test(ctl_session, a_second_signal_to_end_is_not_passed_on)
{
	uint64_t asked = 0;

	cr_expect(session_ends_by(SIGUSR1, false, &asked));
	asked = 0;
	cr_expect_not(session_ends_by(SIGUSR1, true, &asked));
	cr_expect_not(session_ends_by(SIGTERM, true, &asked));
	/* timeout(1) sends it twice. */
	cr_expect_not(session_ends_by(SIGTERM, true, &asked));
	asked -= 2 * NS_PER_S;
	cr_expect_not(session_ends_by(SIGHUP, true, &asked));
	cr_expect(session_ends_by(SIGINT, true, &asked));
	/* Much later it is the first one again. */
	asked -= 20 * NS_PER_S;
	cr_expect_not(session_ends_by(SIGINT, true, &asked));
	cr_expect_not(session_ends_by(SIGINT, true, &asked));
}

/* --- the keys that detach --- */

static const struct {
	const char *typed;
	const char *reaches; /* the command */
} keys[] = {
	{"ab\x10\x11 behind", "ab"},
	{"a\x10"
	 "b\x10\x10\x11",
	 "a\x10"
	 "b\x10"},
	{"\x11\x10 \x11\x10\x11", "\x11\x10 \x11"},
};

static void read_all_input(char *text, size_t cap)
{
	struct frame frame;
	size_t len = 0;

	while (frames_fill(&guest)) {
		while (frames_next(&guest, &frame) == FRAMES_FRAME) {
			cr_assert(frame.kind != FRAME_STDIN || frame.len > 0, "its end");
			if (frame.kind == FRAME_STDIN && frame.len < cap - len) {
				memcpy(text + len, frame.data, frame.len);
				len += frame.len;
			}
		}
	}
	text[len] = '\0';
}

Test(ctl_session, two_keys_detach_and_are_not_passed_on)
{
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
		const struct session_options options = {.has_terminal = true,
							.has_input = true,
							.attaches = true,
							.may_detach = true};
		struct error err = {0};
		char text[64];
		int keyboard = posix_openpt(O_RDWR | O_NOCTTY);

		cr_assert(grantpt(keyboard) == 0 && unlockpt(keyboard) == 0);
		int terminal = open(ptsname(keyboard), O_RDWR | O_NOCTTY);
		struct termios raw;

		cr_assert(dup2(terminal, STDIN_FILENO) == STDIN_FILENO);
		/* What is typed before the session makes it raw is not edited either. */
		cr_assert(tcgetattr(terminal, &raw) == 0);
		cfmakeraw(&raw);
		cr_assert(tcsetattr(terminal, TCSANOW, &raw) == 0);
		frames_pair(&ours, &guest);
		frames_put(&guest, FRAME_DONE, NULL, 0);
		/* One key at a time, too. */
		for (size_t sent = 0; sent <= strlen(keys[i].typed); sent++) {
			frames_put_number(&guest, FRAME_CREDIT, 1);
		}
		frames_flush(&guest);
		cr_assert(write(keyboard, keys[i].typed, strlen(keys[i].typed)) > 0);
		cr_expect_eq(session_run(&ours, &options, &err), STATUS_DETACHED, "%zu %s", i,
			     err.msg);
		close(ours.fd);
		read_all_input(text, sizeof(text));
		cr_expect_str_eq(text, keys[i].reaches, "%zu", i);
		close(guest.fd);
		close(terminal);
		close(keyboard);
	}
}

/* --- requests --- */

Test(ctl_session, a_request_has_its_bounds)
{
	static struct run_request request;
	const struct session_options options = {.has_input = true};
	static char word[FRAME_MAX];
	struct error err = {0};
	json_t *process = json_pack("{s:[], s:[]}", "Args", "Env");
	json_t *args = json_object_get(process, "Args");

	for (unsigned i = 0; i < RUN_WORDS_MAX; i++) {
		json_array_append_new(args, json_string("a"));
	}
	cr_assert_eq(session_request(process, &options, &request, &err), 0, "%s", err.msg);
	cr_expect(request.word_count == RUN_WORDS_MAX && request.flags == RUN_STDIN);
	memset(&ours, 0, sizeof(ours));
	cr_expect_eq(session_put_request(&ours, &request, &err), 0);
	json_array_append_new(args, json_string("a"));
	cr_expect_eq(session_request(process, &options, &request, &err), -1);
	cr_expect_str_eq(err.msg, "There are more than 1024 words of the command");
	error_clear(&err);
	memset(word, 'a', sizeof(word) - 1);
	json_array_clear(args);
	json_array_append_new(args, json_string(word));
	cr_expect_eq(session_request(process, &options, &request, &err), 0);
	cr_expect_eq(session_put_request(&ours, &request, &err), -1);
	cr_expect_str_eq(err.msg, "The command and its environment have more than 64 KiB");
	json_decref(process);
}
