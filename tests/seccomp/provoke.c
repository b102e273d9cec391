/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What squib seldom does, on purpose: last words of each thread, a heap that is used up, KVM
 * without memory, clients too many. A workload of run_all beside the guests; $SQUIB is the tracer,
 * which has its orders in TRACE_FAULT.
 *
 * Each time a payload guest idles, standard input is a terminal and standard output a socket, so
 * that there is a terminal to give back and a flag to restore.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/api_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/squib.h"

enum {
	CLIENTS = 64, /* more than the API takes */
	DISK_LEN = 1 << 20,
	PATHS_LEN = 1600,
};

static bool request(struct squib *squib, const char *method, const char *path, const char *body)
{
	return api_ask(squib->api, method, path, body, squib->answer, sizeof(squib->answer),
		       PATIENCE_MS) != 0 ||
	       squib_fail(squib, "%s is not answered", path);
}

static bool write_files(struct squib *squib)
{
	char kernel[PATH_LEN];
	char config[2048];
	char disk[PATH_LEN];

	payload_path("idle", kernel);
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {\"kernel_image_path\": \"%s\"}, \"drives\": [{\"drive_id\": "
		 "\"disk\", \"is_root_device\": false, \"path_on_host\": \"disk\", "
		 "\"is_read_only\": true}], \"metrics\": {\"metrics_path\": \"metrics\"}}",
		 kernel);
	squib_path(squib, "disk", disk);
	return squib_write(squib, "vm.json", config) && squib_write(squib, "disk", "") &&
	       truncate(disk, DISK_LEN) == 0 && squib_write(squib, "metrics", "");
}

/* The other end of its standard output. */
static int output = -1;

/* Standard input is a terminal, output a socket that nobody reads. */
static bool open_streams(struct squib *squib)
{
	int out[2];

	squib->typing = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (squib->typing < 0 || grantpt(squib->typing) < 0 || unlockpt(squib->typing) < 0 ||
	    (squib->in = open(ptsname(squib->typing), O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) < 0) {
		return squib_fail(squib, "no terminal or socket");
	}
	squib->out = out[1];
	output = out[0];
	return true;
}

static bool start(struct squib *squib)
{
	static const char *const args[] = {"--config-file", "vm.json", NULL};

	if (!open_streams(squib) || !squib_serve(squib, args)) {
		return false;
	}
	/* Started, with the first line of metrics written, when the state is told as such. */
	for (uint64_t until = now_ms() + PATIENCE_MS; now_ms() < until; sleep_ms(5)) {
		if (!request(squib, "GET", "/", NULL)) {
			return false;
		}
		if (strstr(squib->answer, "\"Running\"") != NULL) {
			return true;
		}
	}
	return squib_fail(squib, "the guest does not run");
}

/* --- what is done --- */

#define FLUSH "PUT", "/actions", "{\"action_type\": \"FlushMetrics\"}"

/* A signal for the thread of a kind while metrics are written: with the tracer. */
static bool signal_thread(struct squib *squib, int signo, unsigned kind)
{
	static const struct {
		int signo;
		int exit;
	} exits[] = {{SIGSEGV, 150}, {SIGPIPE, KILLED_BY + SIGTERM}};
	int wanted = KILLED_BY + signo;
	char fault[64];

	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
		wanted = exits[i].signo == signo ? exits[i].exit : wanted;
	}
	snprintf(fault, sizeof(fault), "signal:%d:%u:2", signo, kind);
	setenv("TRACE_FAULT", fault, 1);
	if (!start(squib)) {
		return false;
	}
	/* The answer does not come where the process ends. */
	if (!request(squib, FLUSH)) {
		squib->failure[0] = '\0';
	}
	if (signo == SIGPIPE) {
		kill(squib->pid, SIGTERM);
	}
	return squib_ends(squib, wanted);
}

/* By Ctrl-Alt-Del, or by what the guest waits for. */
static bool stop_by(struct squib *squib, int signo)
{
	kill(squib->pid, signo);
	return squib_ends(squib, KILLED_BY + signo);
}

static bool pause_slowly(struct squib *squib)
{
	setenv("TRACE_FAULT", "pause", 1);
	return start(squib) && request(squib, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
	       request(squib, "PATCH", "/vm", "{\"state\": \"Resumed\"}") &&
	       stop_by(squib, SIGTERM);
}

static bool lack_memory(struct squib *squib)
{
	setenv("TRACE_FAULT", "nomem", 1);
	/* It may have ended before it answers. */
	(void)start(squib);
	squib->failure[0] = '\0';
	return squib_ends(squib, 1);
}

static bool run_nothing(struct squib *squib)
{
	setenv("TRACE_FAULT", "norun", 1);
	(void)start(squib);
	squib->failure[0] = '\0';
	return squib_ends(squib, 1);
}

static bool save(struct squib *squib, const char *fault)
{
	setenv("TRACE_FAULT", fault, 1);
	return start(squib) && request(squib, "PATCH", "/vm", "{\"state\": \"Paused\"}") &&
	       request(squib, "PUT", "/snapshot/create",
		       "{\"snapshot_path\": \"state\", \"mem_file_path\": \"memory\"}");
}

/* Of x86_64: what KVM had before. */
static bool save_with_old_kvm(struct squib *squib)
{
	return save(squib, "oldkvm") &&
	       (squib->answer[0] == '\0' || squib_fail(squib, "an old KVM is not enough")) &&
	       stop_by(squib, SIGTERM);
}

/* Of x86_64, where few hosts have shadow stacks: of one more register this KVM may not know. */
static bool save_shadow_stacks(struct squib *squib)
{
	return save(squib, "shstk") && stop_by(squib, SIGTERM);
}

/* Every thread reads the clock: for the log, for the metrics. */
static bool lack_vdso(struct squib *squib)
{
	setenv("TRACE_FAULT", "vdso", 1);
	return start(squib) && request(squib, FLUSH) && stop_by(squib, SIGTERM);
}

static bool crowd(struct squib *squib)
{
	int clients[CLIENTS];
	char path[PATH_LEN];

	if (!start(squib)) {
		return false;
	}
	squib_path(squib, "api.sock", path);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = api_connect(path, PATIENCE_MS);
	}
	bool is_whole;
	bool ok = api_receive(clients[CLIENTS - 1], squib->answer, sizeof(squib->answer),
			      PATIENCE_MS, &is_whole) > 0 ||
		  squib_fail(squib, "the last client is not refused");

	for (int i = 0; i < CLIENTS; i++) {
		close(clients[i]);
	}
	return ok && stop_by(squib, SIGTERM);
}

/* The drive's file by a name of this length. */
static bool rename_disk(struct squib *squib, size_t len)
{
	char path[PATHS_LEN + 1];
	char body[2 * PATHS_LEN];

	for (size_t i = 0; i < len; i++) {
		path[i] = "./"[i % 2];
	}
	path[len] = '\0';
	snprintf(body, sizeof(body),
		 "{\"drive_id\": \"disk\", \"path_on_host\": \"%sdisk\", "
		 "\"rate_limiter\": {\"ops\": {\"size\": 5, \"refill_time\": 10}}}",
		 path);
	return request(squib, "PATCH", "/drives/disk", body);
}

/*
 * Both of malloc's ways to more memory, as when the heap is used up. The API thread allocates what
 * a body says, the VMM thread what the configuration shows.
 */
static bool use_up(struct squib *squib, const char *tunables)
{
	setenv("GLIBC_TUNABLES", tunables, 1);
	if (!start(squib)) {
		return false;
	}
	/* Where the heap ends on whose page is chance: with many lengths each thread comes across.
	 */
	for (size_t len = 0; len < PATHS_LEN; len += 100) {
		if (!rename_disk(squib, len) || !request(squib, "GET", "/vm/config", NULL)) {
			return false;
		}
	}
	return request(squib, "PATCH", "/drives/disk",
		       "{\"drive_id\": \"disk\", \"path_on_host\": \"disk\"}") &&
	       request(squib, "GET", "/vm/config", NULL) &&
	       request(squib, "GET", "/metrics", NULL) && request(squib, FLUSH) &&
	       stop_by(squib, SIGTERM);
}

static bool use_up_by_brk(struct squib *squib)
{
	return use_up(squib, "glibc.malloc.top_pad=0:glibc.malloc.trim_threshold=1");
}

static bool use_up_by_mmap(struct squib *squib)
{
	return use_up(squib, "glibc.malloc.mmap_threshold=16");
}

/* A drive goes on with a block device: one on our own file. */
static bool use_block_device(struct squib *squib)
{
	char body[256];
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	char path[32];

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	int loop = open(path, O_RDWR | O_CLOEXEC);
	char disk[PATH_LEN];

	squib_path(squib, "disk", disk);
	int file = open(disk, O_RDWR | O_CLOEXEC);
	bool ok = number >= 0 && loop >= 0 && ioctl(loop, LOOP_SET_FD, file) == 0;

	snprintf(body, sizeof(body), "{\"drive_id\": \"disk\", \"path_on_host\": \"%s\"}", path);
	if (!ok) {
		squib_fail(squib, "no loop device");
	} else {
		ok = start(squib) && request(squib, "PATCH", "/drives/disk", body) &&
		     stop_by(squib, SIGTERM);
		ioctl(loop, LOOP_CLR_FD, 0);
	}
	close(file);
	close(loop);
	close(control);
	return ok;
}

/* A drive goes on with another overlay. */
static bool use_overlay(struct squib *squib)
{
	char kernel[PATH_LEN];
	char config[2048];

	payload_path("idle", kernel);
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {\"kernel_image_path\": \"%s\"}, \"drives\": [{\"drive_id\": "
		 "\"disk\", \"is_root_device\": false, \"path_on_host\": \"own\", \"base\": "
		 "\"disk\"}], \"metrics\": {\"metrics_path\": \"metrics\"}}",
		 kernel);
	return squib_write(squib, "vm.json", config) && squib_write(squib, "own", "") &&
	       squib_write(squib, "other", "") && start(squib) &&
	       request(squib, "PATCH", "/drives/disk",
		       "{\"drive_id\": \"disk\", \"path_on_host\": \"other\"}") &&
	       stop_by(squib, SIGTERM);
}

/* --- forks --- */

static bool start_forkable(struct squib *squib)
{
	char kernel[PATH_LEN];
	char config[1024];

	payload_path("idle", kernel);
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {\"kernel_image_path\": \"%s\"}, \"drives\": [], "
		 "\"machine-config\": {\"vcpu_count\": 1, \"mem_size_mib\": 64, \"forkable\": "
		 "true}, \"vsock\": {\"guest_cid\": 3, \"uds_path\": \"vsock\"}}",
		 kernel);
	return squib_write(squib, "vm.json", config) && start(squib);
}

/* A process that has ended has no program, even while nobody has waited for it. */
static bool await_end(struct squib *squib, pid_t pid)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	char path[64];
	char program[PATH_LEN];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	while (readlink(path, program, sizeof(program)) >= 0) {
		if (now_ms() > until) {
			return squib_fail(squib, "a child does not end");
		}
		sleep_ms(5);
	}
	return true;
}

/* Each signal that the VMM thread raises for itself is a child's end. */
static bool end_children(struct squib *squib)
{
	static const int signals[] = {SIGINT, SIGQUIT, SIGABRT, SIGTERM};

	if (!start_forkable(squib)) {
		return false;
	}
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (!squib_api(squib, 200, "PUT", "/fork",
			       "{\"children\": [{\"id\": \"c%u\", \"api_sock\": \"c%u.sock\", "
			       "\"log_path\": \"c%u.log\", \"ends_with_parent\": true, "
			       "\"vsock_override\": {\"uds_path\": \"vsock%u\"}}]}",
			       i, i, i, i)) {
			return false;
		}
		pid_t child = (pid_t)squib_answer_number(squib, "pid");

		if (child <= 1 || syscall(SYS_tgkill, child, child, signals[i]) < 0 ||
		    !await_end(squib, child)) {
			return squib_fail(squib, "there is no child");
		}
	}
	return stop_by(squib, SIGTERM);
}

/* To new files, and over old ones. */
static bool save_live(struct squib *squib)
{
	if (!start_forkable(squib)) {
		return false;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (!squib_put(squib, "/snapshot/create",
			       "{\"snapshot_type\": \"Live\", \"snapshot_path\": \"state\", "
			       "\"mem_file_path\": \"memory\"}")) {
			return false;
		}
		do {
			sleep_ms(5);
			if (!squib_api(squib, 200, "GET", "/snapshot", "%s", "")) {
				return false;
			}
		} while (strstr(squib->answer, "Writing") != NULL);
		if (strstr(squib->answer, "Done") == NULL) {
			return squib_fail(squib, "a live snapshot failed");
		}
	}
	return stop_by(squib, SIGTERM);
}

/* --- a debugger --- */

enum {
	GDB_LEN = 8192
};

/* A packet with what follows it, and the data of its answer. */
static bool ask_gdb_with(struct squib *squib, int fd, const char *data, const char *more,
			 char answer[GDB_LEN])
{
	char packet[GDB_LEN];
	unsigned sum = 0;
	size_t len = 0;
	bool is_closed = false;

	for (size_t i = 0; data[i] != '\0'; i++) {
		sum += (unsigned char)data[i];
	}
	int packet_len =
		snprintf(packet, sizeof(packet), "$%.4000s#%02x%s", data, sum & 0xff, more);

	if (!api_send(fd, packet, (size_t)packet_len, PATIENCE_MS)) {
		return squib_fail(squib, "the debugger's socket takes no %s", data);
	}
	/* The acknowledgement comes before the answer; a byte at a time, up to the sum. */
	while (len < 5 || answer[len - 3] != '#') {
		if (len == GDB_LEN - 1 ||
		    api_read(fd, answer + len, 1, PATIENCE_MS, &is_closed) != 1) {
			return squib_fail(squib, "the debugger has no answer to %s", data);
		}
		len++;
	}
	answer[len - 3] = '\0';
	memmove(answer, answer + 2, len - 4);
	return true;
}

static bool ask_gdb(struct squib *squib, int fd, const char *data, char answer[GDB_LEN])
{
	return ask_gdb_with(squib, fd, data, "", answer);
}

/* Changes the lowest bit of a register. */
static bool change_register(struct squib *squib, int fd, unsigned number)
{
	static char answer[GDB_LEN];
	char packet[64];

	snprintf(packet, sizeof(packet), "p%x", number);
	if (!ask_gdb(squib, fd, packet, answer) || strlen(answer) < 8) {
		return squib_fail(squib, "register %u can't be read", number);
	}
	answer[1] = answer[1] == '1' ? '0' : '1';
	snprintf(packet, sizeof(packet), "P%x=%.40s", number, answer);
	return ask_gdb(squib, fd, packet, answer) &&
	       (strcmp(answer, "OK") == 0 ||
		squib_fail(squib, "register %u can't be set: %s", number, answer));
}

/* All that it can make the VMM thread do; the guest goes on at its end. */
static bool debug(struct squib *squib)
{
	/* On x86_64: rax, mxcsr and cr2, which KVM has in a structure each. */
	static const unsigned registers[] = {0, 56, 60};
	static char answer[GDB_LEN];
	char kernel[PATH_LEN];
	char path[PATH_LEN];
	char config[1024];

	payload_path("idle", kernel);
	snprintf(config, sizeof(config),
		 "{\"boot-source\": {\"kernel_image_path\": \"%s\"}, \"drives\": [], "
		 "\"machine-config\": {\"vcpu_count\": 1, \"mem_size_mib\": 64, "
		 "\"gdb_socket_path\": \"gdb.sock\"}}",
		 kernel);
	squib_path(squib, "gdb.sock", path);
	if (!squib_write(squib, "vm.json", config) || !start(squib)) {
		return false;
	}
	int fd = api_connect(path, PATIENCE_MS);

	if (fd < 0) {
		return squib_fail(squib, "no debugger can connect");
	}
	for (size_t i = 0; i < (is_x86() ? 3 : 1); i++) {
		if (!change_register(squib, fd, registers[i]) ||
		    !change_register(squib, fd, registers[i])) {
			return false;
		}
	}
	/* One step, then on until Ctrl-C. */
	bool is_ok = ask_gdb(squib, fd, is_x86() ? "m1000,4" : "m80001000,4", answer) &&
		     strlen(answer) == 8 && ask_gdb(squib, fd, "vCont;s:1", answer) &&
		     strncmp(answer, "T05", 3) == 0 &&
		     ask_gdb_with(squib, fd, "vCont;c", "\x03", answer) &&
		     strncmp(answer, "T02", 3) == 0;

	close(fd);
	return (is_ok || squib_fail(squib, "the debugger has the answer %.40s", answer)) &&
	       stop_by(squib, SIGTERM);
}

/* --- all of it --- */

static void judge(struct runner *runner, const char *name, bool is_ok, struct squib *squib)
{
	if (!runner_judge(runner, name, is_ok, squib->failure)) {
		printf("%.500s\n", squib->answer);
		squib_show(squib, "log");
	}
	squib_destroy(squib);
	close(output);
	output = -1;
	unsetenv("TRACE_FAULT");
	unsetenv("GLIBC_TUNABLES");
}

static void signal_all_threads(struct runner *runner)
{
	static const int signals[] = {SIGINT, SIGQUIT, SIGABRT, SIGTERM, SIGSEGV, SIGPIPE};
	static struct squib squib;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		for (unsigned kind = 1; kind <= 3; kind++) {
			/* The API thread has the signals blocked that others send. */
			if (kind == 2 && signals[i] != SIGABRT && signals[i] != SIGSEGV) {
				continue;
			}
			char name[64];

			snprintf(name, sizeof(name), "signal %d for thread %u", signals[i], kind);
			if (runner_begins(runner, name, KVM_NONE)) {
				judge(runner, name,
				      squib_init(&squib, 0) && write_files(&squib) &&
					      signal_thread(&squib, signals[i], kind),
				      &squib);
			}
		}
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool (*fn)(struct squib *squib);
	} cases[] = {
		{"a pause that is disturbed", pause_slowly},
		{"no memory for KVM_RUN", lack_memory},
		{"an exit of KVM_RUN that nobody knows", run_nothing},
		{"a clock without a vDSO", lack_vdso},
		{"a machine that is saved with an old KVM", save_with_old_kvm},
		{"a machine with shadow stacks that is saved", save_shadow_stacks},
		{"more clients than the API takes", crowd},
		{"a heap that grows by brk", use_up_by_brk},
		{"a heap that grows by mmap", use_up_by_mmap},
		{"a block device for a drive", use_block_device},
		{"an overlay for a drive", use_overlay},
		{"children that end by signals", end_children},
		{"live snapshots", save_live},
		{"a debugger that is attached", debug},
	};
	static struct squib squib;
	struct runner runner;

	if (!runner_init(&runner, argc, argv, "GUEST_DIR TRACE_SQUIB TRACE_FILTERS")) {
		return 2;
	}
	signal_all_threads(&runner);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (runner_begins(&runner, cases[i].name, KVM_NONE)) {
			judge(&runner, cases[i].name,
			      squib_init(&squib, 0) && write_files(&squib) && cases[i].fn(&squib),
			      &squib);
		}
	}
	return runner_end(&runner);
}
