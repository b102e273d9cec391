/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of tools/guest_init/serve.c: the main command of a machine whose connections are lost.
 *
 * The first process of a PID namespace accepts connections as that of a guest does. When the main
 * command has ended all other processes of it are killed, and a reboot ends the namespace alone.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/guest_init/guest_init.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

static char folder[] = "/tmp/squib-serve-XXXXXX";
static struct guest_shared *shared;
static pid_t guest;
static struct frames host;

/* --- the guest --- */

const char *guest_mount_volumes(const struct run_request *request)
{
	(void)request;
	return NULL;
}

void guest_resize(int terminal, uint32_t rows, uint32_t columns)
{
	(void)terminal;
	(void)rows;
	(void)columns;
}

/* The word is a script for a shell. */
bool guest_start(struct run_request *request, struct guest_command *command)
{
	int in[2];
	int out[2];

	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	command->pid = fork();
	if (command->pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", request->words[0], (char *)NULL);
		_exit(1);
	}
	close(in[0]);
	close(out[1]);
	command->in = in[1];
	command->out = out[0];
	command->err = -1;
	return fcntl(in[1], F_SETFL, O_NONBLOCK) == 0 && fcntl(out[0], F_SETFL, O_NONBLOCK) == 0;
}

static _Noreturn void be_guest(int listener)
{
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0 && fork() == 0) {
			close(listener);
			signal(SIGCHLD, SIG_DFL);
			guest_serve(fd, shared);
			_exit(0);
		}
		close(fd);
	}
}

static struct sockaddr_un address(void)
{
	return (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "guest"};
}

/* --- the host --- */

static void set_up(void)
{
	const struct sockaddr_un at = address();
	AUTO_FD listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(mkdtemp(folder) != NULL && chdir(folder) == 0);
	cr_assert(bind(listener, (const struct sockaddr *)&at, sizeof(at)) == 0 &&
		  listen(listener, 4) == 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	cr_assert(shared != MAP_FAILED);
	cr_assert(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			     shared->takers) == 0);
	shared->patience_ms = 10 * 1000;
	host.fd = -1;
	if (unshare(CLONE_NEWPID) < 0) {
		cr_skip_test("no PID namespace can be made here");
	}
	guest = fork();
	if (guest == 0) {
		be_guest(listener);
	}
}

static void tear_down(void)
{
	static const char *const files[] = {"guest", "go", "stopped", "lost", "alone", "late"};

	fd_close(&host.fd);
	if (guest > 0) {
		kill(guest, SIGKILL);
		waitpid(guest, NULL, 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		(void)unlink(files[i]);
	}
	(void)rmdir(folder);
}

TestSuite(guest_serve, .init = set_up, .fini = tear_down, .timeout = 60);

/* A connection in place of the one before, if there was one. */
static void ask(uint32_t flags, const char *script)
{
	static struct run_request request;
	static uint8_t bytes[FRAME_MAX];
	const struct sockaddr_un at = address();

	fd_close(&host.fd);
	memset(&host, 0, sizeof(host));
	host.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(connect(host.fd, (const struct sockaddr *)&at, sizeof(at)) == 0);
	request = (struct run_request){.flags = flags, .host = "", .user = "", .dir = ""};
	request.words[0] = script;
	request.word_count = 1;
	size_t len = run_request_write(&request, bytes, sizeof(bytes));

	cr_assert(len > 0 && frames_put(&host, FRAME_RUN, bytes, len));
	frames_flush(&host);
}

/* The next frame says this: a text, or a number. */
static void expect(enum frame_kind kind, const char *text, uint32_t number)
{
	struct frame frame = {0};
	uint32_t got = 0;
	enum frames_state state;

	while ((state = frames_next(&host, &frame)) == FRAMES_MORE) {
		cr_assert(frames_fill(&host), "the connection has ended before frame %u", kind);
	}
	cr_assert(state == FRAMES_FRAME);
	cr_assert_eq(frame.kind, kind, "frame %u in place of %u", frame.kind, kind);
	if (text != NULL) {
		cr_assert(frame.len == strlen(text) && memcmp(frame.data, text, frame.len) == 0,
			  "%.*s", (int)frame.len, (const char *)frame.data);
	} else if (frame.len > 0) {
		cr_assert(frame_number(&frame, &got) && got == number, "%u", got);
	}
}

static void wait_for(const char *file)
{
	while (access(file, F_OK) < 0) {
		usleep(1000);
	}
}

static void make_file(const char *name)
{
	cr_assert(close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == 0);
}

/* The namespace ends as a machine does. */
static void expect_end(void)
{
	int status;

	fd_close(&host.fd);
	cr_assert(waitpid(guest, &status, 0) == guest);
	guest = 0;
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP, "it rebooted");
}

Test(guest_serve, who_takes_a_command_over_has_its_input_and_its_end)
{
	ask(RUN_MAIN | RUN_STDIN, "read line; echo got $line; exit 7");
	expect(FRAME_DONE, NULL, 0);
	ask(RUN_TAKE, "not used");
	expect(FRAME_DONE, NULL, 0);
	expect(FRAME_CREDIT, NULL, STDIN_WINDOW);
	cr_assert(frames_put(&host, FRAME_STDIN, "late\n", 5));
	frames_flush(&host);
	expect(FRAME_CREDIT, NULL, 5);
	expect(FRAME_STDOUT, "got late\n", 0);
	expect(FRAME_EXIT, NULL, 7);
	expect_end();
}

/* Who serves it finds the connection lost and the output there at once. */
Test(guest_serve, who_comes_behind_the_end_of_a_command_hears_it_nevertheless)
{
	ask(RUN_MAIN, "while [ ! -e go ]; do sleep 0.01; done; kill -STOP $PPID; touch stopped; "
		      "while [ ! -e lost ]; do sleep 0.01; done; echo last words; "
		      "kill -CONT $PPID; exit 7");
	expect(FRAME_DONE, NULL, 0);
	make_file("go");
	wait_for("stopped");
	fd_close(&host.fd);
	make_file("lost");
	while (shared->main_pid != 0) {
		usleep(1000);
	}
	ask(RUN_TAKE, "not used");
	expect(FRAME_DONE, NULL, 0);
	expect(FRAME_CREDIT, NULL, STDIN_WINDOW);
	expect(FRAME_STDOUT, "last words\n", 0);
	expect(FRAME_EXIT, NULL, 7);
	expect_end();
}

/* It went on without input and without a reader, and what it says from now on is heard again. */
Test(guest_serve, who_comes_too_late_gets_what_is_still_to_come)
{
	shared->patience_ms = 20;
	ask(RUN_MAIN | RUN_STDIN,
	    "cat; echo nobody hears; touch alone; while [ ! -e late ]; do sleep 0.01; done; "
	    "echo heard; exit 7");
	expect(FRAME_DONE, NULL, 0);
	fd_close(&host.fd);
	wait_for("alone");
	/* All that it had said was read by nobody: a pipe that is full would hold it. */
	ask(RUN_TAKE, "not used");
	expect(FRAME_DONE, NULL, 0);
	make_file("late");
	struct frame frame = {0};
	enum frames_state state;

	/* The words before may be read by now, or not. */
	while ((state = frames_next(&host, &frame)) == FRAMES_MORE) {
		cr_assert(frames_fill(&host));
	}
	cr_assert(state == FRAMES_FRAME && frame.kind == FRAME_STDOUT);
	if (memmem(frame.data, frame.len, "heard\n", 6) == NULL) {
		expect(FRAME_STDOUT, "heard\n", 0);
	}
	expect(FRAME_EXIT, NULL, 7);
	expect_end();
}

Test(guest_serve, nobody_takes_over_what_does_not_run)
{
	ask(RUN_TAKE, "not used");
	expect(FRAME_FAILED, NULL, 1);
}
