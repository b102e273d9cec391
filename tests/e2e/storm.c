/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts while signals interrupt. SIGSTOP can't be blocked: KVM_CREATE_VM, for one, then fails with
 * EINTR and must be tried again, since the kernel does not do it by itself.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"

enum {
	STARTS = 12,
	STOPPED_US = 20,
	RUNNING_US = 100, /* at least; each pause is twice as long as the last, seven times */
	PAUSES = 7,
};

/* A process that stops and wakes the monitor all the time. */
static pid_t begin_storm(pid_t target)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned i = 0; kill(target, SIGSTOP) == 0; i++) {
			usleep(STOPPED_US);
			kill(target, SIGCONT);
			/* An emulated machine needs a while for what is not to be interrupted. */
			usleep(RUNNING_US << i % PAUSES);
		}
		_exit(0);
	}
	return pid;
}

static void end_storm(pid_t storm, pid_t target)
{
	if (storm > 0) {
		kill(storm, SIGKILL);
		waitpid(storm, NULL, 0);
		kill(target, SIGCONT);
	}
}

static bool start_once(struct squib *squib)
{
	char kernel[PATH_LEN];

	payload_path("idle", kernel);
	if (!squib_serve(squib, NULL) ||
	    !squib_put(squib, "/boot-source",
		       "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
		       kernel) ||
	    !squib_put(squib, "/machine-config", "{\"vcpu_count\": 4, \"mem_size_mib\": 64}")) {
		return false;
	}
	pid_t storm = begin_storm(squib->pid);
	bool is_ok = squib_api_start(squib, 204);

	end_storm(storm, squib->pid);
	return is_ok && squib_ask(squib, "", "idle: ready");
}

bool signal_storm_test(struct squib *squib)
{
	for (unsigned i = 0; i < STARTS; i++) {
		if (!start_once(squib)) {
			return false;
		}
		squib_destroy(squib);
		if (!squib_init(squib, 120)) {
			return false;
		}
	}
	return true;
}
