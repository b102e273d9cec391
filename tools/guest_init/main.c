/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's first process.
 *
 * Theory of operation. It makes the root directory, listens on a port of vsock, and forks a process
 * for each connection, so that no command's fault is another's. What loses its parent is this
 * process's child and vanishes when it ends, since SIGCHLD is ignored. Only the host is served: a
 * command of the guest that knew the way to itself would be root.
 */
#include "tools/guest_init/guest_init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 64,
	CMDLINE_MAX = 4096,
	PATIENCE_MS = 10 * 1000, /* for who takes the place of a connection that was lost */
};

static void say(const char *text)
{
	(void)!write(STDERR_FILENO, text, strlen(text));
}

void guest_die(const char *what, const char *which, int sys)
{
	say("squib: ");
	say(what);
	say(" ");
	say(which);
	if (sys != 0) {
		say(": ");
		say(strerror(sys));
	}
	say("\n");
	sync();
	reboot(RB_AUTOBOOT);
	_exit(1);
}

const char *guest_word(const char *name, const char *fallback, char *value, size_t cap)
{
	static char line[CMDLINE_MAX];
	size_t name_len = strlen(name);
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, line, sizeof(line) - 1) : 0;

	close(fd);
	line[len > 0 ? len : 0] = '\0';
	for (const char *at = line; *at != '\0'; at += strspn(at, " \n")) {
		size_t word = strcspn(at, " \n");

		if (word > name_len && strncmp(at, name, name_len) == 0 && at[name_len] == '=') {
			size_t value_len = word - name_len - 1;

			if (value_len >= cap) {
				guest_die("Too long on the command line:", name, 0);
			}
			memcpy(value, at + name_len + 1, value_len);
			value[value_len] = '\0';
			return value;
		}
		at += word;
	}
	return fallback;
}

/* A kernel without a console leaves 0 to 2 closed. */
static void open_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
}

static int listen_host(void)
{
	const struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = GUEST_PORT};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		guest_die("The kernel has no virtio vsock", "(CONFIG_VIRTIO_VSOCKETS)", errno);
	}
	return fd;
}

static void accept_one(int listener, struct guest_shared *shared)
{
	struct sockaddr_vm peer = {0};
	socklen_t len = sizeof(peer);
	int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		return;
	}
	if (peer.svm_cid == VMADDR_CID_HOST && fork() == 0) {
		close(listener);
		signal(SIGCHLD, SIG_DFL);
		guest_serve(fd, shared);
		_exit(0);
	}
	close(fd);
}

int main(void)
{
	char path[FRAME_SMALL];
	int request = open("/request", O_RDONLY | O_CLOEXEC);

	guest_mount_root();
	guest_raise_network();
	open_standard();
	const char *init = guest_word("squib.init", NULL, path, sizeof(path));

	if (init != NULL) {
		execl(init, init, (char *)NULL);
		guest_die("Cannot execute", init, errno);
	}
	if (request >= 0) {
		guest_run_alone(request);
	}
	struct guest_shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, shared->takers) < 0) {
		guest_die("There is no memory", "for init", errno);
	}
	shared->patience_ms = PATIENCE_MS;
	signal(SIGCHLD, SIG_IGN);
	int listener = listen_host();

	for (;;) {
		accept_one(listener, shared);
	}
}
