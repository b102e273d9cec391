/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures what a jail costs: `jailer JAILER SQUIB`, as root.
 *
 * Each round starts squib --version bare and then in jails of several kinds, and waits for its end;
 * kinds alternate, so that a busy machine slows all of them. Figures are medians, and ratios to the
 * bare start. Mounts for the last kinds are made in a mount namespace of the benchmark's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"

enum {
	ROUNDS = 60,
	PARALLEL = 10,
	MOUNTS = 500
};

struct kind {
	const char *title;
	bool is_jail;
	bool copies;
	unsigned parallel;
	unsigned mounts;
	double ms[ROUNDS]; /* per start */
};

static struct kind kinds[] = {
	{.title = "bare", .parallel = 1},
	{.title = "jail", .is_jail = true, .parallel = 1},
	{.title = "jail, program copied", .is_jail = true, .copies = true, .parallel = 1},
	{.title = "10 bare at once", .parallel = PARALLEL},
	{.title = "10 jails at once", .is_jail = true, .parallel = PARALLEL},
	{.title = "jail, 500 mounts", .is_jail = true, .parallel = 1, .mounts = MOUNTS},
};

static char base[] = "/tmp/squib-bench-XXXXXX";
static const char *jailer;
static const char *squib;
static unsigned serial;

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static pid_t start(const struct kind *kind)
{
	char id[16];
	const char *const bare[] = {squib, "--version", NULL};
	const char *const jailed[] = {
		jailer,	 "--id",  id,	       "--exec-file", squib,
		"--uid", "12000", "--gid",     "12000",	      "--chroot-base-dir",
		base,	 "--",	  "--version", NULL};
	const char *const copied[] = {
		jailer,	 "--id",      id,      "--exec-file",	    squib, "--uid",
		"12000", "--gid",     "12000", "--chroot-base-dir", base,  "--copy-exec-file",
		"--",	 "--version", NULL};
	const char *const *in_jail = kind->copies ? copied : jailed;
	const char *const *argv = kind->is_jail ? in_jail : bare;
	posix_spawn_file_actions_t actions;
	char *const environment[] = {NULL};
	pid_t pid;

	(void)!snprintf(id, sizeof(id), "b%u", serial++);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environment) != 0) {
		perror(argv[0]);
		exit(EXIT_FAILURE);
	}
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static double measure(const struct kind *kind)
{
	pid_t pids[PARALLEL];
	char dir[64];
	int status;
	double begin = now_ms();

	for (unsigned i = 0; i < kind->parallel; i++) {
		pids[i] = start(kind);
	}
	for (unsigned i = 0; i < kind->parallel; i++) {
		if (waitpid(pids[i], &status, 0) < 0 || status != 0) {
			fprintf(stderr, "%s: a start failed\n", kind->title);
			exit(EXIT_FAILURE);
		}
	}
	double ms = (now_ms() - begin) / kind->parallel;

	(void)!snprintf(dir, sizeof(dir), "%s/squib", base);
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return ms;
}

static void make_mounts(unsigned count)
{
	char dir[64];

	(void)!snprintf(dir, sizeof(dir), "%s/mounts", base);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
	    mkdir(dir, 0700) < 0) {
		perror("mounts");
		exit(EXIT_FAILURE);
	}
	for (unsigned i = 0; i < count; i++) {
		if (mount("none", dir, "tmpfs", 0, "size=4k") < 0) {
			perror("mounts");
			exit(EXIT_FAILURE);
		}
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void run(bool has_mounts)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
			if ((kinds[i].mounts > 0) == has_mounts) {
				kinds[i].ms[round] = measure(&kinds[i]);
			}
		}
	}
}

int main(int argc, char *argv[])
{
	if (argc != 3 || geteuid() != 0 || mkdtemp(base) == NULL) {
		fprintf(stderr, "usage, as root: %s JAILER SQUIB\n", argv[0]);
		return EXIT_FAILURE;
	}
	jailer = argv[1];
	squib = argv[2];
	run(false);
	make_mounts(MOUNTS);
	run(true);
	printf("Start and end of squib --version, median of %d, ms each\n\n", ROUNDS);
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		qsort(kinds[i].ms, ROUNDS, sizeof(kinds[i].ms[0]), compare);
		printf("%-24s %8.2f   x %.1f\n", kinds[i].title, kinds[i].ms[ROUNDS / 2],
		       kinds[i].ms[ROUNDS / 2] / kinds[0].ms[ROUNDS / 2]);
	}
	/* The mounts are gone with this process. */
	for (unsigned i = 0; i < MOUNTS; i++) {
		char dir[64];

		(void)!snprintf(dir, sizeof(dir), "%s/mounts", base);
		(void)umount(dir);
	}
	(void)nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return EXIT_SUCCESS;
}
