/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the end-to-end tests of guests.c against the real binary, on a machine whose /dev/kvm works.
 *
 * Theory of operation. Each test writes a configuration file, starts squib with a console to type
 * on and a log apart from it, walks through its steps and judges the exit status. All paths come
 * from the environment (see usage), so that the same static program runs on the host and inside a
 * nested machine of either architecture. A test that the machine can't run is skipped with the
 * reason.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"
#include "tests/lib/runner.h"

enum {
	DEFAULT_TIMEOUT_S = 60
};

/* --- the kernels --- */

/* Copies at most `limit` bytes of `from` to `to`, with one 4-byte word replaced if it is found. */
static bool copy_file(const char *from, const char *to, size_t limit, const char *find)
{
	FILE *in = fopen(from, "re");
	FILE *out = fopen(to, "we");
	struct stat st;
	bool ok = in != NULL && out != NULL && fstat(fileno(in), &st) == 0;

	if (ok) {
		size_t len = (size_t)st.st_size < limit ? (size_t)st.st_size : limit;
		char *data = malloc(len + 1);

		ok = data != NULL && fread(data, 1, len, in) == len;
		char *at = ok && find != NULL ? memmem(data, len, find, 16) : NULL;

		if (at != NULL) {
			at[8] = 0x7f; /* a note type nobody knows */
		}
		ok = ok && (find == NULL || at != NULL) && fwrite(data, 1, len, out) == len;
		free(data);
	}
	if (in != NULL) {
		fclose(in);
	}
	return (out == NULL || fclose(out) == 0) && ok;
}

/* namesz 4, descsz 8 or 4, type 18, "Xen": XEN_ELFNOTE_PHYS32_ENTRY */
static bool hide_pvh_note(const char *from, const char *to)
{
	static const char wide[] = "\4\0\0\0\10\0\0\0\22\0\0\0Xen";
	static const char narrow[] = "\4\0\0\0\4\0\0\0\22\0\0\0Xen";

	return copy_file(from, to, SIZE_MAX, wide) || copy_file(from, to, SIZE_MAX, narrow);
}

static bool prepare_kernel(struct squib *squib, const struct guest_test *test, char *path)
{
	char own[PATH_LEN];

	snprintf(own, sizeof(own), "%s/%s", env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image");
	squib_path(squib, "kernel", path);
	switch (test->kernel) {
	case OWN_KERNEL:
		snprintf(path, PATH_LEN, "%.500s", own);
		break;
	case OWN_BZIMAGE:
		snprintf(path, PATH_LEN, "%s/bzImage", env("KERNEL_DIR"));
		break;
	case STOCK_KERNEL:
		snprintf(path, PATH_LEN, "%s", env("STOCK_KERNEL"));
		break;
	case PAYLOAD:
		payload_path(test->payload, path);
		break;
	case FOREIGN:
		snprintf(path, PATH_LEN, "%s", env("SQUIB"));
		break;
	case NO_KERNEL:
		break;
	case OWN_ELF64:
		return hide_pvh_note(own, path) ||
		       squib_fail(squib, "cannot make %s from %s", path, own);
	case DAMAGED_STOCK:
		snprintf(own, sizeof(own), "%s", env("STOCK_KERNEL"));
		__attribute__((fallthrough));
	case DAMAGED_OWN:
		return copy_file(own, path, (size_t)test->cut, NULL) ||
		       squib_fail(squib, "cannot make %s from %s", path, own);
	}
	return test->kernel == NO_KERNEL || access(path, R_OK) == 0 ||
	       squib_fail(squib, "%s is missing", path);
}

/* --- starting squib --- */

static bool write_config(struct squib *squib, const struct guest_test *test)
{
	char kernel[PATH_LEN];
	char initrd[PATH_LEN] = "";
	char script[2048] = "";
	char config[8192];

	if (!prepare_kernel(squib, test, kernel)) {
		return false;
	}
	if (!test->has_no_initrd && test->kernel != PAYLOAD) {
		snprintf(initrd, sizeof(initrd), ", \"initrd_path\": \"%.400s/initrd.cpio\"",
			 env("IMAGE_DIR"));
	}
	if (test->run != NULL) {
		strcpy(script, " squib.run=");
		base64(test->run, script + strlen(script));
	}
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {\"kernel_image_path\": \"%s\"%s, \"boot_args\": "
		 "\"console=ttyS0 quiet "
		 "reboot=k panic=1 nomodule i8042.noaux i8042.nomux i8042.dumbkbd%s%s%s%s%s\"}, "
		 "\"drives\": [], \"machine-config\": {\"vcpu_count\": %u, \"mem_size_mib\": %u, "
		 "\"smt\": %s, \"huge_pages\": \"%s\"}%s%s}\n",
		 kernel, initrd, test->boot_args != NULL ? " " : "",
		 test->boot_args != NULL ? test->boot_args : "", script,
		 test->end != NULL ? " squib.end=" : "", test->end != NULL ? test->end : "",
		 test->vcpus > 0 ? test->vcpus : 1, test->mem_mib > 0 ? test->mem_mib : 128,
		 test->smt ? "true" : "false", test->huge_pages != NULL ? test->huge_pages : "None",
		 test->more != NULL ? ", " : "", test->more != NULL ? test->more : "");
	return squib_write(squib, "vm.json", config);
}

static bool start(struct squib *squib, const struct guest_test *test)
{
	const char *args[24] = {"--no-api", "--config-file", "vm.json", "--log-path", "log"};
	char flags[256];
	size_t count = 5;

	snprintf(flags, sizeof(flags), "%s", test->flags != NULL ? test->flags : "");
	for (char *flag = strtok(flags, " "); flag != NULL && count < 23;
	     flag = strtok(NULL, " ")) {
		args[count++] = flag;
	}
	return squib_open_console(squib) && fcntl(squib->typing, F_SETFL, O_NONBLOCK) == 0 &&
	       squib_start(squib, args);
}

/* --- steps --- */

static bool flood(struct squib *squib, long bytes)
{
	uint64_t until = now_ms() + 2000;
	char chunk[4096];

	memset(chunk, 'x', sizeof(chunk));
	while (bytes > 0 && now_ms() < until) {
		size_t part = bytes < (long)sizeof(chunk) ? (size_t)bytes : sizeof(chunk);
		ssize_t put = write(squib->typing, chunk, part);

		bytes -= put > 0 ? put : 0;
		sleep_ms(put > 0 ? 0 : 10);
	}
	return true;
}

static bool do_step(struct squib *squib, const struct step *step)
{
	const char *wrong;
	int status;

	switch (step->kind) {
	case EXPECT:
		return step->text == NULL || squib_expect(squib, step->text, NULL);
	case SEND:
		return squib_type(squib, step->text);
	case FLOOD:
		return flood(squib, step->number);
	case SIGNAL:
		return kill(squib->pid, (int)step->number) == 0 ||
		       squib_fail(squib, "cannot signal");
	case PAUSE:
		return !squib_wait(squib, (unsigned)step->number, &status) ||
		       squib_fail(squib, "the process ended early");
	case CHECK:
		wrong = step->check(squib->pid);
		return wrong == NULL || squib_fail(squib, "%s", wrong);
	}
	return false;
}

static bool never_printed(struct squib *squib, const char *text)
{
	static const char *const files[] = {"out", "log"};

	for (size_t i = 0; text != NULL && i < 2; i++) {
		char *content = squib_text(squib, files[i]);

		if (content != NULL && strstr(content, text) != NULL) {
			squib_fail(squib, "printed \"%s\"", text);
		}
		free(content);
	}
	return squib->failure[0] == '\0';
}

static bool run_test(struct squib *squib, const void *arg)
{
	const struct guest_test *test = arg;

	if (!write_config(squib, test) || !start(squib, test)) {
		return false;
	}
	for (size_t i = 0; i < STEPS_MAX; i++) {
		if (!do_step(squib, &test->steps[i])) {
			return false;
		}
	}
	uint64_t now = now_ms();

	if (squib->pid > 0 &&
	    !squib_wait(squib, now < squib->deadline_ms ? (unsigned)(squib->deadline_ms - now) : 0,
			&squib->status)) {
		return squib_fail(squib, "timed out waiting for the end");
	}
	return squib_ends(squib, test->exit_status) && never_printed(squib, test->never);
}

/* --- all of it --- */

static void run_guest(struct runner *runner, const struct guest_test *test)
{
	if (test->arch != ANY_ARCH && (test->arch == X86_64) != is_x86()) {
		if (runner_begins(runner, test->name, KVM_NONE)) {
			runner_skip(runner, test->name,
				    test->arch == X86_64 ? "only on x86_64" : "only on aarch64");
		}
		return;
	}
	runner_run(runner,
		   &(struct runner_test){
			   .name = test->name,
			   .needs = test->needs,
			   .timeout_s = test->timeout_s > 0 ? test->timeout_s : DEFAULT_TIMEOUT_S,
			   .run = run_test,
			   .arg = test,
		   });
}

static const struct live_test live_tests[] = {
	{"a line of metrics is written each minute, but not while paused", KVM_PAYLOAD,
	 metrics_minute_test, 120},
	{"a running machine is forked, children too, and an image that is kept", KVM_PAYLOAD,
	 fork_test, 120},
	{"a fork that fails leaves nothing", KVM_PAYLOAD, fork_failure_test, 120},
	{"a machine with several interfaces is forked", KVM_PAYLOAD, fork_networks_test, 120},
	{"a fork to a TAP of another kind is refused by a sentence", KVM_PAYLOAD, fork_no_tap_test,
	 120},
	{"a fork copies drives by reference", KVM_PAYLOAD, fork_copies_test, 120},
	{"a fork does not copy drives otherwise", KVM_PAYLOAD, fork_no_copies_test, 120},
	{"a forked image that is killed is forgotten", KVM_PAYLOAD, fork_killed_test, 120},
	{"a forked child never writes to a disk that others use", KVM_PAYLOAD, fork_drives_test,
	 120},
	{"a forked child confines itself by Landlock", KVM_PAYLOAD, fork_landlock_test, 120},
	{"forked machines end with their parent or outlive it, as asked", KVM_PAYLOAD,
	 fork_parent_test, 120},
	{"a machine is forked while its processes are killed", KVM_PAYLOAD, fork_storm_test, 300},
	{"children of a forked monitor that is killed before it has their names", KVM_PAYLOAD,
	 fork_unwanted_test, 120},
	{"a machine that is forked answers all requests on all connections", KVM_PAYLOAD,
	 fork_asked_test, 120},
	{"a machine that is forked 1,000 times is as before", KVM_PAYLOAD, fork_endless_test, 300},
	{"a fork for a live snapshot", KVM_PAYLOAD, live_snapshot_test, 120},
	{"what a fork for a live snapshot must not replace", KVM_PAYLOAD, live_names_test, 120},
	{"a fork of a machine is handed on by descriptors that are sealed", KVM_PAYLOAD,
	 handed_on_test, 120},
	{"a machine starts in a storm of signals", KVM_PAYLOAD, signal_storm_test, 120},
	{"drives come and go 200 times while a guest uses them, and leave nothing", KVM_PAYLOAD,
	 plug_cycles_test, 400},
	{"drives come and go behind hot-plug ports whose guest plays with their power", KVM_PAYLOAD,
	 plug_ports_test, 400},
	{"hot-plugged memory comes and goes, and a ring in what went is refused", KVM_PAYLOAD,
	 hotplug_test, 120},
	{"hot-plugged memory that is touched before it is plugged ends the guest", KVM_LINUX,
	 hotplug_touch_test, 120},
	{"hot-plugged memory on a pool of 2 MiB pages that is too small", KVM_PAYLOAD,
	 hotplug_pool_test, 120},
	{"a guest that is asked for a device takes its time, the API does not", KVM_PAYLOAD,
	 plug_patience_test, 120},
	{"a bus costs a machine as much memory as it needs", KVM_PAYLOAD, plug_memory_test, 120},
	{"gdb stops, steps and changes a payload guest", KVM_PAYLOAD, debug_payload_test, 180},
	{"gdb hears how the guest has ended", KVM_PAYLOAD, debug_end_test, 180},
	{"gdb debugs Linux from its start and while it runs", KVM_LINUX, debug_linux_test, 400},
	{"a monitor's own memory has no room for huge pages that nobody asked for", KVM_PAYLOAD,
	 huge_unasked_test, 120},
	{"2 MiB pages: a small pool is told and mended, Linux runs, all is given back", KVM_LINUX,
	 huge_pages_test, 400},
	{"2 MiB pages: a run of hinting gives whole pages back", KVM_LINUX, huge_hinting_test, 400},
};

static const char *lack_of(const struct live_test *test)
{
	return test->run == fork_copies_test	 ? fork_copies_lacks()
	       : test->run == fork_networks_test ? fork_networks_lacks()
	       : test->run == fork_landlock_test ? fork_landlock_lacks()
	       : test->run == fork_no_tap_test	 ? fork_networks_lacks()
	       : test->run == hotplug_pool_test	 ? hotplug_pool_lacks()
						 : NULL;
}

static bool run_live(struct squib *squib, const void *arg)
{
	const struct live_test *test = arg;

	return test->run(squib);
}

int main(int argc, char **argv)
{
	struct runner runner;

	if (!runner_init(&runner, argc, argv, "KERNEL_DIR IMAGE_DIR STOCK_KERNEL GUEST_DIR")) {
		return 2;
	}
	for (size_t i = 0; i < guest_test_count; i++) {
		run_guest(&runner, &guest_tests[i]);
	}
	for (size_t i = 0; i < sizeof(live_tests) / sizeof(live_tests[0]); i++) {
		const struct live_test *test = &live_tests[i];
		const char *lack = lack_of(test);

		if (lack != NULL && runner_begins(&runner, test->name, test->needs)) {
			runner_skip(&runner, test->name, lack);
		}
		if (lack != NULL) {
			continue;
		}
		runner_run(&runner, &(struct runner_test){
					    .name = test->name,
					    .needs = test->needs,
					    .timeout_s = test->timeout_s,
					    .run = run_live,
					    .arg = test,
				    });
	}
	return runner_end(&runner);
}
