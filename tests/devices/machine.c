/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest under test.
 *
 * Theory of operation. The guest's scripts (tests/guests/scripts) and the test meet at "ready:"
 * lines of the console. Whatever the guest finds wrong is a line with "WRONG:", which ends every
 * wait.
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

enum {
	WORDS_MAX = 16,
};

const char *machine_root(void)
{
	static char path[PATH_LEN];

	snprintf(path, sizeof(path), "%.400s/rootfs.ext4", env("DEVICES_DIR"));
	return path;
}

const char *machine_clients(void)
{
	static char path[PATH_LEN];

	snprintf(path, sizeof(path), "%.400s/clients.ext4", env("DEVICES_DIR"));
	return path;
}

bool machine_configure(struct squib *squib, const struct guest *guest)
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
	if (!squib_serve(squib, guest->args) ||
	    !squib_put(squib, "/boot-source",
		       "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0 quiet "
		       "reboot=k panic=1 nomodule i8042.noaux i8042.nomux i8042.dumbkbd "
		       "squib.end=reboot squib.run=%s %s\"}",
		       kernel, script, guest->words != NULL ? guest->words : "") ||
	    !squib_put(squib, "/machine-config", "{\"vcpu_count\": %u, \"mem_size_mib\": %u}",
		       guest->vcpus, guest->mem_mib)) {
		return false;
	}
	return guest->root == NULL ||
	       squib_put(squib, "/drives/root",
			 "{\"drive_id\": \"root\", \"is_root_device\": true, \"path_on_host\": "
			 "\"%s\", \"is_read_only\": %s, \"cache_type\": \"Writeback\"%s}",
			 guest->root, guest->is_root_writable ? "false" : "true", uuid);
}

bool machine_meet(struct squib *squib, const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "ready: %s", name);
	return squib_expect(squib, text, NULL);
}

bool machine_go_on(struct squib *squib)
{
	return squib_type(squib, "go\n");
}

/* --- disks --- */

bool machine_make_disk(struct squib *squib, const char *name, unsigned mib)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && ftruncate(fd, (off_t)mib << 20) == 0;

	if (fd >= 0) {
		close(fd);
	}
	return ok || squib_fail(squib, "cannot make the disk %s: %s", name, strerror(errno));
}

bool machine_copy_disk(struct squib *squib, const char *from, const char *name)
{
	static char data[64 << 10];
	char path[PATH_LEN];
	ssize_t got = -1;
	off_t at = 0;
	bool ok;

	snprintf(path, sizeof(path), "%.400s/%.64s", env("DEVICES_DIR"), from);
	int in = open(path, O_RDONLY | O_CLOEXEC);

	squib_path(squib, name, path);
	int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ok = in >= 0 && out >= 0;
	for (; ok && (got = read(in, data, sizeof(data))) > 0; at += got) {
		bool is_hole = data[0] == 0 && memcmp(data, data + 1, (size_t)got - 1) == 0;

		ok = is_hole || pwrite(out, data, (size_t)got, at) == got;
	}
	ok = ok && got == 0 && ftruncate(out, at) == 0;
	close(in);
	close(out);
	return ok || squib_fail(squib, "cannot copy %s: %s", from, strerror(errno));
}

long machine_disk_kib(const struct squib *squib, const char *name)
{
	char path[PATH_LEN];
	struct stat st;

	squib_path(squib, name, path);
	return stat(path, &st) == 0 ? (long)st.st_blocks / 2 : -1;
}

bool machine_wait_socket(struct squib *squib, const char *name, const char *whose)
{
	char path[PATH_LEN];

	squib_path(squib, name, path);
	while (now_ms() < squib->deadline_ms) {
		if (access(path, F_OK) == 0) {
			return true;
		}
		sleep_ms(50);
	}
	return squib_fail(squib, "%s makes no socket %s", whose, name);
}

/* --- metrics --- */

bool machine_flush_metrics(struct squib *squib)
{
	return squib_put(squib, "/actions", "{\"action_type\": \"FlushMetrics\"}");
}

long machine_metric(const struct squib *squib, const char *group, const char *field)
{
	char head[64];
	char name[64];
	size_t len = 0;
	char *text = squib_file(squib, "metrics", &len);
	long sum = 0;

	snprintf(head, sizeof(head), "\"%s\":{", group);
	snprintf(name, sizeof(name), "\"%s\":", field);
	for (const char *at = text; at != NULL && (at = strstr(at, head)) != NULL;) {
		at = strstr(at, name);
		sum += at != NULL ? strtol(at + strlen(name), NULL, 10) : 0;
	}
	free(text);
	return sum;
}

/* --- programs --- */

static pid_t spawn(struct squib *squib, char *command)
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
		int out = squib_become(squib) && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
					  chdir(squib->dir) == 0
				  ? open("host", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
				  : -1;

		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		execv(words[0], words);
		_exit(127);
	}
	return pid;
}

pid_t machine_spawn(struct squib *squib, const char *fmt, ...)
{
	char command[MESSAGE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	return spawn(squib, command);
}

bool machine_reap(struct squib *squib, pid_t pid, const char *what)
{
	int status = -1;

	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > squib->deadline_ms) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return squib_fail(squib, "the host's \"%s\" does not end", what);
		}
		sleep_ms(20);
	}
	if (pid <= 0 || exit_of(status) != 0) {
		size_t len = 0;
		char *said = squib_file(squib, "host", &len);
		size_t tail = said != NULL && len > 200 ? len - 200 : 0;

		squib_fail(squib, "the host's \"%s\" ends with %d: %s", what, exit_of(status),
			   said != NULL ? said + tail : "");
		free(said);
		return false;
	}
	return true;
}

bool machine_run(struct squib *squib, const char *fmt, ...)
{
	char command[MESSAGE_LEN];
	char words[MESSAGE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	snprintf(words, sizeof(words), "%s", command);
	return machine_reap(squib, spawn(squib, command), words);
}
