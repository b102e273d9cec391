/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk I/O that knows what must come back.
 *
 * Theory of operation. Each thread of `disk` owns a part of the device, and remembers for every
 * sector of it which write was the last: the content follows from the sector's number and that
 * write's. All sectors are zeroed first; a sector that is discarded must be zeros again, as holes
 * of the backing file are. Reads, writes, discards and flushes come at random, of random lengths,
 * in several pieces of memory, past the page cache; in the end the whole part is read once more.
 * Threads sit on CPUs of their own, so that they use queues of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest_tools/tools.h"

enum {
	SECTOR = 512,
	RUN_MAX = 128, /* sectors of one operation */
	PIECES_MAX = 4,
	THREADS_MAX = 16,
	BLOCK = 64 << 10,
};

struct worker {
	pthread_t thread;
	const char *path;
	unsigned index;
	uint64_t first; /* sector */
	uint64_t sectors;
	uint64_t operations;
	uint64_t random;
	uint32_t *writes; /* by sector: number of the last write, 0 for none */
	uint32_t write_count;
	unsigned counts[4]; /* reads, writes, discards, flushes */
	bool has_discard;
	bool is_wrong;
};

static void fill_sector(const struct worker *worker, uint64_t sector, void *data)
{
	uint32_t write = worker->writes[sector];

	if (write == 0) {
		memset(data, 0, SECTOR);
	} else {
		pattern_fill(data, SECTOR, write, (worker->first + sector) * SECTOR);
	}
}

/* The buffer's pieces: several segments of a request, in an order that is not that of memory. */
static int cut(char *data, uint64_t sectors, struct iovec *pieces)
{
	int count = sectors >= PIECES_MAX ? PIECES_MAX : 1;
	uint64_t part = sectors / (unsigned)count;

	for (int i = 0; i < count; i++) {
		pieces[i].iov_base = data + (size_t)(count - 1 - i) * RUN_MAX * SECTOR;
		pieces[i].iov_len =
			(i < count - 1 ? part : sectors - part * (unsigned)(count - 1)) * SECTOR;
	}
	return count;
}

static bool write_run(struct worker *worker, int fd, char *data, uint64_t at, uint64_t sectors)
{
	struct iovec pieces[PIECES_MAX];
	int count = cut(data, sectors, pieces);
	uint64_t sector = at;

	worker->write_count++;
	for (uint64_t i = 0; i < sectors; i++) {
		worker->writes[at + i] = worker->write_count;
	}
	for (int i = 0; i < count; i++) {
		for (size_t done = 0; done < pieces[i].iov_len; done += SECTOR) {
			fill_sector(worker, sector++, (char *)pieces[i].iov_base + done);
		}
	}
	return pwritev(fd, pieces, count, (off_t)((worker->first + at) * SECTOR)) ==
	       (ssize_t)(sectors * SECTOR);
}

static bool read_run(struct worker *worker, int fd, char *data, uint64_t at, uint64_t sectors)
{
	struct iovec pieces[PIECES_MAX];
	int count = cut(data, sectors, pieces);
	uint64_t sector = at;
	char want[SECTOR];

	for (int i = 0; i < count; i++) {
		memset(pieces[i].iov_base, 0xee, pieces[i].iov_len);
	}
	if (preadv(fd, pieces, count, (off_t)((worker->first + at) * SECTOR)) !=
	    (ssize_t)(sectors * SECTOR)) {
		return false;
	}
	for (int i = 0; i < count; i++) {
		for (size_t done = 0; done < pieces[i].iov_len; done += SECTOR, sector++) {
			fill_sector(worker, sector, want);
			if (memcmp((char *)pieces[i].iov_base + done, want, SECTOR) != 0) {
				complain("%s: sector %llu is not write %u of thread %u",
					 worker->path, (unsigned long long)(worker->first + sector),
					 worker->writes[sector], worker->index);
				worker->is_wrong = true;
				return true;
			}
		}
	}
	return true;
}

static bool discard_run(struct worker *worker, int fd, uint64_t at, uint64_t sectors)
{
	uint64_t range[2] = {(worker->first + at) * SECTOR, sectors * SECTOR};

	memset(&worker->writes[at], 0, sectors * sizeof(worker->writes[0]));
	return ioctl(fd, BLKDISCARD, range) == 0;
}

static uint64_t roll(struct worker *worker, uint64_t below)
{
	worker->random = mix(worker->random);
	return worker->random % below;
}

static bool operate(struct worker *worker, int fd, char *data)
{
	uint64_t sectors = 1 + roll(worker, RUN_MAX);
	uint64_t at = roll(worker, worker->sectors - sectors);
	uint64_t what = roll(worker, 100);

	if (what < 45) {
		worker->counts[0]++;
		return read_run(worker, fd, data, at, sectors);
	}
	if (what < 90 || (what < 95 && !worker->has_discard)) {
		worker->counts[1]++;
		return write_run(worker, fd, data, at, sectors);
	}
	if (what < 95) {
		worker->counts[2]++;
		return discard_run(worker, fd, at, sectors);
	}
	worker->counts[3]++;
	return fdatasync(fd) == 0;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	cpu_set_t cpus;
	int fd = open(worker->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	char *data = aligned_alloc(4096, (size_t)PIECES_MAX * RUN_MAX * SECTOR);
	uint64_t range[2] = {worker->first * SECTOR, worker->sectors * SECTOR};
	bool ok = fd >= 0 && data != NULL && ioctl(fd, BLKZEROOUT, range) == 0;

	CPU_ZERO(&cpus);
	CPU_SET(worker->index % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	for (uint64_t i = 0; ok && !worker->is_wrong && i < worker->operations; i++) {
		ok = operate(worker, fd, data);
	}
	for (uint64_t at = 0; ok && !worker->is_wrong && at < worker->sectors; at += RUN_MAX) {
		uint64_t left = worker->sectors - at;

		ok = read_run(worker, fd, data, at, left < RUN_MAX ? left : RUN_MAX);
	}
	if (!ok) {
		worker->is_wrong = true;
		complain("%s: thread %u: %s", worker->path, worker->index, strerror(errno));
	}
	free(data);
	close(fd);
	return NULL;
}

/* Does the queue of that device take discards? The kernel would answer EOPNOTSUPP to ours. */
static bool takes_discards(const char *path)
{
	char name[256];
	unsigned long long most = 0;
	const char *base = strrchr(path, '/');

	snprintf(name, sizeof(name), "/sys/block/%s/queue/discard_max_bytes",
		 base != NULL ? base + 1 : path);
	FILE *file = fopen(name, "re");

	if (file != NULL) {
		(void)!fscanf(file, "%llu", &most);
		fclose(file);
	}
	return most > 0;
}

int cmd_disk(int argc, char **argv)
{
	static struct worker workers[THREADS_MAX];
	uint64_t sectors = number(argv[2]) << 11;
	uint64_t threads = number(argv[3]);
	unsigned counts[4] = {0};
	bool is_wrong = false;

	(void)argc;
	if (threads == 0 || threads > THREADS_MAX || sectors / threads < 2 * RUN_MAX) {
		return complain("disk: too many threads or too few MiB");
	}
	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){.path = argv[1],
					     .index = i,
					     .first = sectors / threads * i,
					     .sectors = sectors / threads,
					     .operations = number(argv[4]) / threads,
					     .random = mix(i + 1),
					     .has_discard = takes_discards(argv[1])};
		workers[i].writes = calloc(sectors / threads, sizeof(uint32_t));
		if (workers[i].writes == NULL ||
		    pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
			return complain("disk: no memory");
		}
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		is_wrong |= workers[i].is_wrong;
		for (unsigned j = 0; j < 4; j++) {
			counts[j] += workers[i].counts[j];
		}
	}
	if (!is_wrong) {
		printf("disk: ok %s: %u reads, %u writes, %u discards, %u flushes\n", argv[1],
		       counts[0], counts[1], counts[2], counts[3]);
	}
	return is_wrong;
}

int cmd_pattern(int argc, char **argv)
{
	static char data[BLOCK];
	bool is_write = strcmp(argv[1], "write") == 0;
	uint64_t offset = number(argv[3]) << 10;
	uint64_t end = offset + (number(argv[4]) << 10);
	uint64_t seed = number(argv[5]);
	int fd =
		open(argv[2], is_write ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600);

	(void)argc;
	if (fd < 0 || lseek(fd, (off_t)offset, SEEK_SET) < 0) {
		return complain("pattern: %s: %s", argv[2], strerror(errno));
	}
	for (uint64_t at = offset; at < end;) {
		size_t part = end - at < BLOCK ? end - at : BLOCK;

		if (is_write) {
			pattern_fill(data, part, seed, at);
		}
		if (!(is_write ? write_all(fd, data, part) : read_all(fd, data, part))) {
			return complain("pattern: %s: %s", argv[2], strerror(errno));
		}
		size_t good = is_write ? part : pattern_check(data, part, seed, at);

		if (good < part) {
			return complain("pattern: %s: wrong at byte %llu", argv[2],
					(unsigned long long)(at + good));
		}
		at += part;
	}
	if ((is_write && fsync(fd) < 0) || close(fd) < 0) {
		return complain("pattern: %s: %s", argv[2], strerror(errno));
	}
	printf("pattern: ok\n");
	return 0;
}

int cmd_timed(int argc, char **argv)
{
	bool is_write = strcmp(argv[1], "write") == 0;
	uint64_t block = number(argv[4]) << 10;
	char *data = aligned_alloc(4096, block);
	int fd = open(argv[2], O_RDWR | O_DIRECT | O_CLOEXEC);
	struct timespec from;
	struct timespec to;

	(void)argc;
	if (fd < 0 || data == NULL) {
		return complain("timed: %s: %s", argv[2], strerror(errno));
	}
	memset(data, 't', block);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint64_t left = number(argv[3]) << 10; left >= block; left -= block) {
		ssize_t done = is_write ? write(fd, data, block) : read(fd, data, block);

		if (done != (ssize_t)block) {
			return complain("timed: %s: %s", argv[2], strerror(errno));
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("timed: ok %lld ms\n",
	       (long long)(to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
	free(data);
	return close(fd);
}
