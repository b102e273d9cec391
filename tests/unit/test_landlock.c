/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/confine/landlock.c: each in a child, since nobody gets out again. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/confine/landlock.h"

static char folder[] = "/tmp/squib-landlock-XXXXXX";
static struct landlock landlock;
static struct landlock_file files_allowed[4];
static size_t allowed_count;

static void make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, 4096) == 0, "%s", path);
	close(fd);
}

static void set_up(void)
{
	static const char *const folders[] = {"written", "written/below", "read", "others"};
	static const char *const files[] = {"written/disk", "written/below/disk", "read/disk",
					    "read/other", "others/disk"};
	struct error err = {0};

	if (landlock_kernel_abi() == 0) {
		cr_skip_test("this kernel has no Landlock");
	}
	capture_log(LOG_INFO);
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	for (size_t i = 0; i < ARRAY_COUNT(folders); i++) {
		cr_assert_eq(mkdir(folders[i], 0700), 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		make(files[i]);
	}
	cr_assert_eq(symlink("../others/disk", "read/link"), 0);
	cr_assert(landlock_init(&landlock, &err) == 0, "%s", err.msg);
}

static void tear_down(void)
{
	landlock_destroy(&landlock);
	landlock_destroy(&landlock);
	char command[64];

	(void)!snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_expect_eq(chdir("/"), 0);
	cr_expect_eq(system(command), 0);
}

TestSuite(landlock, .init = set_up, .fini = tear_down, .timeout = 20);

/* Runs `fn` in a child; it returns NULL or what is wrong, with errno. */
static void in_child(const char *(*fn)(void))
{
	char *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		const char *wrong = fn();

		if (wrong != NULL) {
			(void)!snprintf(told, 4096, "%s: %s", wrong, strerror(errno));
		}
		/* A sanitizer would look for leaks at _exit, and can't without /proc. */
		syscall(SYS_exit_group, 0);
	}
	cr_assert(waitpid(child, &status, 0) == child && status == 0, "%#x", status);
	cr_expect_str_eq(told, "", "%s", told);
	munmap(told, 4096);
}

static const char *confine(void)
{
	static struct error err;

	return landlock_confine(&landlock, -1, &err) < 0 ? err.msg : NULL;
}

static int confine_to_files(const struct landlock *by, struct error *err)
{
	AUTO_FD rules = -1;

	if (landlock_rules_new(by, &rules, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < allowed_count; i++) {
		if (landlock_allow(by, rules, &files_allowed[i], err) < 0) {
			return -1;
		}
	}
	return landlock_confine(by, rules, err);
}

static const char *confine_to_drives(void)
{
	static struct error err;

	return confine_to_files(&landlock, &err) < 0 ? err.msg : NULL;
}

static bool opens(const char *path, int flags)
{
	AUTO_FD fd = open(path, flags | O_CLOEXEC, 0600);

	return fd >= 0;
}

static bool is_refused(const char *path, int flags)
{
	return !opens(path, flags) && errno == EACCES;
}

/* --- Nothing is left --- */

static const char *open_nothing(void)
{
	int before = open("read/disk", O_RDWR | O_CLOEXEC);
	const char *wrong = confine();
	static const struct {
		const char *path;
		int flags;
	} cases[] = {
		{"read/disk", O_RDONLY},
		{"read/disk", O_WRONLY},
		{"written/new", O_WRONLY | O_CREAT},
		{"written", O_RDONLY | O_DIRECTORY},
		{"/dev/null", O_RDWR},
		{"/proc/self/status", O_RDONLY},
	};

	for (size_t i = 0; wrong == NULL && i < ARRAY_COUNT(cases); i++) {
		if (!is_refused(cases[i].path, cases[i].flags)) {
			wrong = cases[i].path;
		}
	}
	if (wrong != NULL) {
		return wrong;
	}
	if (unlink("read/disk") == 0 || mkdir("more", 0700) == 0 ||
	    rename("read/disk", "written/more") == 0) {
		return "the file system can be changed";
	}
	return pwrite(before, "x", 1, 0) == 1 ? NULL : "what was open can't be used";
}

Test(landlock, a_confined_thread_opens_nothing_but_uses_what_is_open)
{
	in_child(open_nothing);
}

static struct sockaddr_in listener_address = {.sin_family = AF_INET};

static const char *reach_no_tcp(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	const char *wrong = confine();
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (wrong != NULL) {
		return wrong;
	}
	if (connect(fd, (struct sockaddr *)&listener_address, sizeof(listener_address)) == 0 ||
	    errno != EACCES) {
		return "connect";
	}
	return bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 && errno == EACCES ? NULL
										     : "bind";
}

Test(landlock, a_confined_thread_makes_no_tcp_connection)
{
	socklen_t len = sizeof(listener_address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (landlock.abi < 4) {
		cr_skip_test("version %d of Landlock knows no TCP", landlock.abi);
	}
	listener_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert(bind(fd, (struct sockaddr *)&listener_address, len) == 0 && listen(fd, 1) == 0 &&
		  getsockname(fd, (struct sockaddr *)&listener_address, &len) == 0);
	in_child(reach_no_tcp);
	close(fd);
}

static struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = "\0squib-landlock-test"};

static const char *reach_no_process(void)
{
	const char *wrong = confine();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (wrong != NULL) {
		return wrong;
	}
	if (connect(fd, (struct sockaddr *)&abstract, sizeof(abstract)) == 0 || errno != EPERM) {
		return "an abstract socket";
	}
	if (kill(getppid(), 0) == 0 || errno != EPERM) {
		return "a signal";
	}
	return kill(getpid(), 0) == 0 ? NULL : "a signal to itself";
}

Test(landlock, a_confined_thread_reaches_no_process)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (landlock.abi < 7) {
		cr_skip_test("version %d of Landlock has no scopes, or not all", landlock.abi);
	}
	cr_assert(bind(fd, (struct sockaddr *)&abstract, sizeof(abstract)) == 0 &&
		  listen(fd, 1) == 0);
	in_child(reach_no_process);
	close(fd);
}

/* --- Threads --- */

static pthread_barrier_t turn;

static void on_kick(int signo)
{
	(void)signo;
}

/* Confines itself, as vCPUs do; is kicked meanwhile. */
static void *sibling_main(void *arg)
{
	const char **wrong = arg;

	*wrong = confine();
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	return NULL;
}

static const char *kick_a_sibling(void)
{
	struct sigaction action = {.sa_handler = on_kick};
	const char *wrong = NULL;
	pthread_t sibling;

	sigaction(SIGUSR2, &action, NULL);
	pthread_barrier_init(&turn, NULL, 2);
	if (pthread_create(&sibling, NULL, sibling_main, &wrong) != 0) {
		return "pthread_create";
	}
	pthread_barrier_wait(&turn);
	if (wrong == NULL && !opens("read/disk", O_RDONLY)) {
		wrong = "another thread's confinement is ours";
	}
	if (wrong == NULL) {
		wrong = confine_to_drives();
	}
	errno = pthread_kill(sibling, SIGUSR2);
	if (wrong == NULL && errno != 0) {
		wrong = "pthread_kill";
	}
	pthread_barrier_wait(&turn);
	pthread_join(sibling, NULL);
	return wrong;
}

Test(landlock, threads_that_are_confined_each_can_still_kick_each_other)
{
	in_child(kick_a_sibling);
}

/* --- Drives --- */

static void put_drive(const char *path, bool is_read_only)
{
	int fd = open(path, (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	cr_assert(fd >= 0, "%s", path);
	files_allowed[allowed_count++] = (struct landlock_file){path, fd, is_read_only};
}

static const char *open_drives(void)
{
	static const struct {
		const char *path;
		int flags;
		bool is_allowed;
	} cases[] = {
		{"written/disk", O_RDWR, true},
		{"written/below/disk", O_RDWR, true},
		{"read/disk", O_RDONLY, true},
		{"read/disk", O_RDWR, false},
		{"read/other", O_RDONLY, true},
		{"written/../read/other", O_RDONLY, true},
		{"others/disk", O_RDONLY, false},
		{"written/../others/disk", O_RDONLY, false},
		{"/dev/null", O_RDONLY, false},
		/* Neither made, nor listed. */
		{"written/new", O_RDWR | O_CREAT, false},
		{"written", O_RDONLY | O_DIRECTORY, false},
	};
	const char *wrong = confine_to_drives();

	for (size_t i = 0; wrong == NULL && i < ARRAY_COUNT(cases); i++) {
		bool is_right = cases[i].is_allowed ? opens(cases[i].path, cases[i].flags)
						    : is_refused(cases[i].path, cases[i].flags);

		wrong = is_right ? NULL : cases[i].path;
	}
	return wrong;
}

Test(landlock, files_beside_a_drive_are_left_and_nothing_else)
{
	put_drive("written/disk", false);
	put_drive("read/disk", true);
	in_child(open_drives);
}

static const char *open_link(void)
{
	const char *wrong = confine_to_drives();

	if (wrong == NULL && !opens("read/link", O_RDWR)) {
		wrong = "the drive itself";
	}
	if (wrong == NULL && !opens("read/other", O_RDWR)) {
		wrong = "beside its name";
	}
	return wrong;
}

Test(landlock, a_drive_behind_a_link_is_left)
{
	put_drive("read/link", false);
	in_child(open_link);
}

static const char *open_memfd(void)
{
	const char *wrong = confine_to_drives();

	return wrong == NULL && opens("others/disk", O_RDONLY) ? "others/disk" : wrong;
}

Test(landlock, a_drive_without_a_name_is_no_reason_to_fail)
{
	char path[64];
	int fd = file_of("x", 1);

	(void)!snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	put_drive(path, false);
	in_child(open_memfd);
	close(fd);
}

static const char *open_below_root(void)
{
	const char *wrong;

	/* The drive was put as others/disk, which is /disk from here. */
	if (chroot("others") < 0 || chdir("/") < 0) {
		return "chroot";
	}
	files_allowed[0].path = "/disk";
	wrong = confine_to_drives();
	if (wrong == NULL && !opens("/disk", O_RDWR)) {
		wrong = "the drive";
	}
	return wrong == NULL && !is_refused("/beside", O_RDONLY) ? "its neighbour" : wrong;
}

Test(landlock, a_drive_in_the_root_directory_does_not_open_the_whole_host)
{
	if (geteuid() != 0) {
		cr_skip_test("only root has a root directory of its own");
	}
	make("others/beside");
	put_drive("others/disk", false);
	in_child(open_below_root);
}

static const char *fail_before(void)
{
	struct error err = {0};

	if (unlink("others/disk") < 0 || rmdir("others") < 0 ||
	    confine_to_files(&landlock, &err) == 0) {
		return "no failure";
	}
	if (strstr(err.msg, "Cannot allow the directory of others/disk for --landlock: ") == NULL) {
		return "another sentence";
	}
	return opens("read/disk", O_RDONLY) ? NULL : "it is confined";
}

Test(landlock, what_fails_confines_nothing)
{
	put_drive("others/disk", false);
	in_child(fail_before);
}

static const char *stay_free(void)
{
	static const struct landlock none;
	struct error err = {0};

	if (landlock_confine(&none, -1, &err) < 0 || confine_to_files(&none, &err) < 0) {
		return "a failure";
	}
	return opens("others/disk", O_RDWR) ? NULL : "it is confined";
}

Test(landlock, who_did_not_ask_for_it_is_not_confined)
{
	in_child(stay_free);
}
