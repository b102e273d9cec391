/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts while signals interrupt: KVM_CREATE_VM, for one, then fails with EINTR and must be tried
 * again, since the kernel does not do it by itself.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/live.h"

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

static bool start_once(struct live *live)
{
	char kernel[PATH_LEN];

	payload_path("idle", kernel);
	if (!live_start(live) ||
	    !live_api(live, 204, "PUT", "/boot-source",
		      "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
		      kernel) ||
	    !live_api(live, 204, "PUT", "/machine-config",
		      "{\"vcpu_count\": 4, \"mem_size_mib\": 64}")) {
		return false;
	}
	pid_t storm = begin_storm(live->squib.pid);
	bool is_ok = live_instance_start(live, 204);

	end_storm(storm, live->squib.pid);
	return is_ok && live_console(live, "", "idle: ready");
}

bool signal_storm_test(struct live *live)
{
	for (unsigned i = 0; i < STARTS; i++) {
		if (!start_once(live)) {
			return false;
		}
		live_destroy(live);
		if (!live_init(live)) {
			return false;
		}
	}
	return true;
}
