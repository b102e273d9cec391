/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest under test.
 *
 * Theory of operation. squib runs in a directory of its own with its API's socket there, the
 * guest's console goes to the file "out", the log to "log"; the test types through a pipe. The
 * guest's scripts (tests/guest_scripts) and the test meet at "ready:" lines of the console.
 * Whatever the guest finds wrong is a line with "WRONG:", which ends every wait.
 */
#include "tests/devices/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/api_client.h"

enum {
	BODY_LEN = 4096,
	PATIENCE_MS = 30000, /* for the API and for the end, on an emulated machine */
	WORDS_MAX = 16,
};

#define SOCKET "api.sock"

bool machine_fail(struct machine *machine, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (machine->failure[0] == '\0') {
		vsnprintf(machine->failure, sizeof(machine->failure), fmt, args);
	}
	va_end(args);
	return false;
}

bool machine_init(struct machine *machine, unsigned timeout_s)
{
	*machine = (struct machine){
		.api = -1, .typing = -1, .deadline_ms = now_ms() + timeout_s * 1000ull};
	snprintf(machine->root, sizeof(machine->root), "%.400s/rootfs.ext4", env("DEVICES_DIR"));
	return squib_init(&machine->squib) || machine_fail(machine, "no directory");
}

void machine_kill(struct machine *machine)
{
	squib_stop(&machine->squib);
	if (machine->api >= 0) {
		close(machine->api);
		machine->api = -1;
	}
}

void machine_destroy(struct machine *machine)
{
	machine_kill(machine);
	if (machine->typing >= 0) {
		close(machine->typing);
	}
	squib_destroy(&machine->squib);
}

void machine_path(const struct machine *machine, const char *name, char path[PATH_LEN])
{
	snprintf(path, PATH_LEN, "%.300s/%.200s", machine->squib.dir, name);
}

/* --- the API --- */

bool machine_api(struct machine *machine, unsigned status, const char *method, const char *path,
		 const char *fmt, ...)
{
	char body[BODY_LEN];
	va_list args;

	va_start(args, fmt);
	int body_len = vsnprintf(body, sizeof(body), fmt, args);

	va_end(args);
	unsigned seen = api_ask(machine->api, method, path, body_len > 0 ? body : NULL,
				machine->answer, sizeof(machine->answer), PATIENCE_MS);

	return seen == status || machine_fail(machine, "%s %s is answered %u: %s", method, path,
					      seen, machine->answer);
}

long machine_answer_number(const struct machine *machine, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "\"%s\":", name);
	const char *at = strstr(machine->answer, key);

	return at != NULL ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* --- the machine's life --- */

static bool start_squib(struct machine *machine)
{
	const char *const args[] = {"--api-sock", SOCKET, "--log-path", "log",
				    "--level",	  "Info", NULL};
	int typing[2];
	char path[PATH_LEN];

	/* Of a machine that was here before. */
	machine_path(machine, SOCKET, path);
	unlink(path);
	machine_path(machine, "out", path);
	unlink(path);
	machine_path(machine, "log", path);
	unlink(path);
	machine->matched = 0;
	machine->status = -1;
	if (pipe2(typing, O_CLOEXEC) < 0) {
		return machine_fail(machine, "no pipe");
	}
	if (machine->typing >= 0) {
		close(machine->typing);
	}
	machine->typing = typing[1];
	machine->squib.in = typing[0];
	bool ok = squib_start(&machine->squib, args);

	close(typing[0]);
	machine->squib.in = -1;
	machine_path(machine, SOCKET, path);
	machine->api = ok ? api_connect(path, PATIENCE_MS) : -1;
	return machine->api >= 0 || machine_fail(machine, "squib does not listen");
}

bool machine_configure(struct machine *machine, const struct guest *guest)
{
	char kernel[PATH_LEN];
	char script[512] = "";
	char uuid[128] = "";

	if (guest->payload != NULL) {
		payload_path(guest->payload, kernel);
	} else {
		snprintf(kernel, sizeof(kernel), "%.400s/%s", env("KERNEL_DIR"),
			 is_x86() ? "vmlinux" : "Image");
		base64(guest->script, script);
	}
	if (guest->partuuid != NULL) {
		snprintf(uuid, sizeof(uuid), ", \"partuuid\": \"%s\"", guest->partuuid);
	}
	if (!start_squib(machine) ||
	    !machine_api(machine, 204, "PUT", "/boot-source",
			 "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0 "
			 "reboot=k panic=1 nomodule i8042.noaux i8042.nomux i8042.dumbkbd "
			 "squib.end=reboot squib.run=%s\"}",
			 kernel, script) ||
	    !machine_api(machine, 204, "PUT", "/machine-config",
			 "{\"vcpu_count\": %u, \"mem_size_mib\": %u}", guest->vcpus,
			 guest->mem_mib)) {
		return false;
	}
	return guest->root == NULL ||
	       machine_api(machine, 204, "PUT", "/drives/root",
			   "{\"drive_id\": \"root\", \"is_root_device\": true, \"path_on_host\": "
			   "\"%s\", \"is_read_only\": %s, \"cache_type\": \"Writeback\"%s}",
			   guest->root, guest->is_root_writable ? "false" : "true", uuid);
}

bool machine_start(struct machine *machine)
{
	return machine_api(machine, 204, "PUT", "/actions", "{\"action_type\": \"InstanceStart\"}");
}

bool machine_ends(struct machine *machine)
{
	/* Or it was seen to end while the console was waited for. */
	if (machine->squib.pid != 0 &&
	    !squib_wait(&machine->squib, PATIENCE_MS, &machine->status)) {
		return machine_fail(machine, "squib does not end");
	}
	return machine->status == 0 ||
	       machine_fail(machine, "squib's exit status is %d", machine->status);
}

/* --- the console --- */

char *machine_console(const struct machine *machine)
{
	size_t len = 0;
	char *text = squib_file(&machine->squib, "out", &len);

	for (size_t i = 0; i < len; i++) {
		/* Text to search in. */
		text[i] = text[i] == '\0' ? '?' : text[i];
	}
	return text;
}

static void copy_line(const char *from, char to[MESSAGE_LEN])
{
	snprintf(to, MESSAGE_LEN, "%.*s", (int)strcspn(from, "\r\n"), from);
}

/* Whether the console has it by now, as a whole line. */
static bool find(struct machine *machine, const char *text, char rest[MESSAGE_LEN])
{
	char *console = machine_console(machine);
	char *wrong = console != NULL ? strstr(console, "WRONG:") : NULL;
	char *at = console != NULL ? strstr(console + machine->matched, text) : NULL;
	bool is_found = at != NULL && strchr(at, '\n') != NULL;

	if (wrong != NULL && strchr(wrong, '\n') != NULL) {
		*strpbrk(wrong, "\r\n") = '\0';
		machine_fail(machine, "the guest: %s", wrong);
		is_found = false;
	} else if (is_found) {
		machine->matched = (size_t)(at - console) + strlen(text);
		if (rest != NULL) {
			copy_line(at + strlen(text), rest);
		}
	}
	free(console);
	return is_found;
}

bool machine_expect(struct machine *machine, const char *text, char rest[MESSAGE_LEN])
{
	while (!find(machine, text, rest)) {
		if (machine->failure[0] != '\0') {
			return false;
		}
		if (now_ms() > machine->deadline_ms) {
			return machine_fail(machine, "timed out waiting for \"%s\"", text);
		}
		if (machine->squib.pid == 0 || squib_wait(&machine->squib, 50, &machine->status)) {
			return find(machine, text, rest) ||
			       machine_fail(machine, "squib ended (%d) without \"%s\"",
					    machine->status, text);
		}
	}
	return true;
}

bool machine_meet(struct machine *machine, const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "ready: %s", name);
	return machine_expect(machine, text, NULL);
}

bool machine_go_on(struct machine *machine)
{
	return write(machine->typing, "go\n", 3) == 3 || machine_fail(machine, "cannot type");
}

/* --- disks --- */

bool machine_make_disk(struct machine *machine, const char *name, unsigned mib)
{
	char path[PATH_LEN];

	machine_path(machine, name, path);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && ftruncate(fd, (off_t)mib << 20) == 0;

	if (fd >= 0) {
		close(fd);
	}
	return ok || machine_fail(machine, "cannot make the disk %s: %s", name, strerror(errno));
}

bool machine_copy_disk(struct machine *machine, const char *from, const char *name)
{
	static char data[64 << 10];
	char path[PATH_LEN];
	ssize_t got = -1;
	off_t at = 0;
	bool ok;

	snprintf(path, sizeof(path), "%.400s/%.64s", env("DEVICES_DIR"), from);
	int in = open(path, O_RDONLY | O_CLOEXEC);

	machine_path(machine, name, path);
	int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ok = in >= 0 && out >= 0;
	for (; ok && (got = read(in, data, sizeof(data))) > 0; at += got) {
		bool is_hole = data[0] == 0 && memcmp(data, data + 1, (size_t)got - 1) == 0;

		ok = is_hole || pwrite(out, data, (size_t)got, at) == got;
	}
	ok = ok && got == 0 && ftruncate(out, at) == 0;
	close(in);
	close(out);
	return ok || machine_fail(machine, "cannot copy %s: %s", from, strerror(errno));
}

long machine_disk_kib(const struct machine *machine, const char *name)
{
	char path[PATH_LEN];
	struct stat st;

	machine_path(machine, name, path);
	return stat(path, &st) == 0 ? (long)st.st_blocks / 2 : -1;
}

/* --- programs --- */

static pid_t spawn(struct machine *machine, char *command)
{
	char *words[WORDS_MAX + 2] = {(char *)(uintptr_t)env("GT")};
	int count = strchr(command, '/') == command ? 0 : 1;
	char *rest = NULL;

	for (char *word = strtok_r(command, " ", &rest); word != NULL && count < WORDS_MAX;
	     word = strtok_r(NULL, " ", &rest)) {
		words[count++] = word;
	}
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int out = chdir(machine->squib.dir) == 0
				  ? open("host", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
				  : -1;

		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		execv(words[0], words);
		_exit(127);
	}
	return pid;
}

pid_t machine_spawn(struct machine *machine, const char *fmt, ...)
{
	char command[MESSAGE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	return spawn(machine, command);
}

bool machine_reap(struct machine *machine, pid_t pid, const char *what)
{
	int status = -1;

	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > machine->deadline_ms) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return machine_fail(machine, "the host's \"%s\" does not end", what);
		}
		sleep_ms(20);
	}
	if (pid <= 0 || exit_of(status) != 0) {
		size_t len = 0;
		char *said = squib_file(&machine->squib, "host", &len);
		size_t tail = said != NULL && len > 200 ? len - 200 : 0;

		machine_fail(machine, "the host's \"%s\" ends with %d: %s", what, exit_of(status),
			     said != NULL ? said + tail : "");
		free(said);
		return false;
	}
	return true;
}

bool machine_run(struct machine *machine, const char *fmt, ...)
{
	char command[MESSAGE_LEN];
	char words[MESSAGE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	snprintf(words, sizeof(words), "%s", command);
	return machine_reap(machine, spawn(machine, command), words);
}
