/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process of a guest that squibctl runs. It needs no program of the guest's: it is static
 * and comes in an initrd. Kernel command line:
 *
 *   squib.root=DEVICE   the image, read-only: erofs, squashfs or ext4 (/dev/vda)
 *   squib.disk=DEVICE   an ext4 that takes what is written; without, that is in memory
 *   squib.net=ADDRESS/PREFIX,GATEWAY,NAME_SERVER   of eth0; without, it stays down
 *   squib.init=PATH     execute this program of the image as the first process, and serve nobody
 *
 * If the initrd has a file /request, the payload of a FRAME_RUN, that is run, and nobody served.
 */
#ifndef TOOLS_GUEST_INIT_H
#define TOOLS_GUEST_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tools/guest_init/frames.h"
#include "tools/guest_init/run_request.h"

/* What all processes of init share. */
struct guest_shared {
	_Atomic(pid_t) main_pid; /* of the machine's main command; 0: it does not run */
	_Atomic bool has_main;	 /* it has begun: also when it has ended, its status waits */
	/* Connections that take the main command over: who serves it reads the first one. */
	int takers[2];
	unsigned patience_ms; /* for one of these, when the command's own is lost */
};

/* Prints a sentence on the console, with errno's text if `sys` is not 0, and ends the machine. */
_Noreturn void guest_die(const char *what, const char *which, int sys);

/* The value of NAME= on the kernel's command line, in `value`; `fallback` if it is not there. */
const char *guest_word(const char *name, const char *fallback, char *value, size_t cap);

/* Mounts what a command expects, with the image and a layer above it as the root directory. */
void guest_mount_root(void);

/* Raises the loopback, and an interface by squib.net. */
void guest_raise_network(void);

/* Makes a directory, and those above it. What can't be made is not there. */
void guest_make_path(const char *dir);

/* Mounts what a request has; NULL, or the path of what failed, with errno. */
const char *guest_mount_volumes(const struct run_request *request);

/* Passes a descriptor to another process of init. false: nobody takes it. */
bool guest_send_fd(int to, int fd);

/* One that was passed; -1: none is there. */
int guest_receive_fd(int from);

/* Serves one connection, in a process of its own. Returns when that is over. */
void guest_serve(int fd, struct guest_shared *shared);

/* A command that was started, or why not. */
struct guest_command {
	pid_t pid;
	int in;		      /* what is written is its input; -1: closed */
	int out;	      /* its output, or a terminal's; -1: closed */
	int err;	      /* -1: closed, or the same as `out` */
	int fault;	      /* errno */
	const char *fault_of; /* what failed; NULL: nothing did */
};

/* Starts what was asked for. The descriptors are non-blocking. false: see the fault. */
bool guest_start(struct run_request *request, struct guest_command *command);

/*
 * The same in the foreground of the terminal of this process's session; closes that descriptor.
 * -1: a terminal is made where it is asked for, of a session that the command leads.
 */
bool guest_start_at(struct run_request *request, int terminal, struct guest_command *command);

/* Runs the command of a file of the initrd at the console, and ends the machine with it. */
_Noreturn void guest_run_alone(int fd);

/* Sets the size of a command's terminal. */
void guest_resize(int terminal, uint32_t rows, uint32_t columns);

#endif
