/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of the drive, past the guest's page cache, one or many at a time. The buffer is
 * in huge pages, so that the data of a request are in one piece whatever memory was free.
 */
#include "tests/bench/guest/operations.h"

#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	DISK_LEN = 16 << 20, /* of the drive, that is used */
	DEPTH = 32,
	LEN_MAX = 128 << 10,
	HUGE_LEN = 2 << 20,
	COUNT_SMALL = 1024,
	COUNT_LARGE = 128,
	COUNT_BESIDE = 256,
	WARM_UP = 64,
};

static struct io_uring ring;

/* Far apart, so that no scheduler can merge them. */
static off_t place(unsigned number, size_t len)
{
	size_t places = DISK_LEN / len;

	return (off_t)((number * 7 + 3) % places * len);
}

static void one_by_one(int fd, char *data, size_t len, bool is_write, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		off_t at = place(i, len);
		ssize_t done = is_write ? pwrite(fd, data, len, at) : pread(fd, data, len, at);

		if (done != (ssize_t)len) {
			die("%s of %zu bytes", is_write ? "write" : "read", len);
		}
	}
}

static void queue_one(int fd, char *data, size_t len, bool is_write, uint64_t slot, unsigned number)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	char *at = data + slot * len;

	if (is_write) {
		io_uring_prep_write(sqe, fd, at, (unsigned)len, (uint64_t)place(number, len));
	} else {
		io_uring_prep_read(sqe, fd, at, (unsigned)len, (uint64_t)place(number, len));
	}
	sqe->user_data = slot;
}

static void many(int fd, char *data, size_t len, bool is_write, unsigned count)
{
	unsigned queued = 0;
	struct io_uring_cqe *cqe;

	for (; queued < DEPTH; queued++) {
		queue_one(fd, data, len, is_write, queued, queued);
	}
	for (unsigned done = 0; done < count;) {
		unsigned seen = 0;
		unsigned head;

		if (io_uring_submit_and_wait(&ring, 1) < 0) {
			die("io_uring");
		}
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			if (cqe->res != (int)len) {
				die("result %d for %zu bytes", cqe->res, len);
			}
			if (queued < count) {
				queue_one(fd, data, len, is_write, cqe->user_data, queued++);
			}
			seen++;
		}
		io_uring_cq_advance(&ring, seen);
		done += seen;
	}
}

static void measure(int fd, char *data, size_t len, bool is_write, bool is_deep)
{
	void (*run)(int fd, char *data, size_t len, bool is_write, unsigned count) =
		is_deep ? many : one_by_one;
	unsigned count = len == LEN_MAX ? COUNT_LARGE : COUNT_SMALL;
	char row[64];

	run(fd, data, len, is_write, WARM_UP);
	snprintf(row, sizeof(row), "%s %zu KiB, depth %d", is_write ? "write" : "read", len >> 10,
		 is_deep ? DEPTH : 1);
	ops_begin(row);
	run(fd, data, len, is_write, count);
	ops_end(count);
}

void disk_measure(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	size_t len = (size_t)DEPTH * LEN_MAX;
	char *data = aligned_alloc(HUGE_LEN, len);

	if (fd < 0 || data == NULL || madvise(data, len, MADV_HUGEPAGE) < 0 ||
	    io_uring_queue_init(DEPTH, &ring, 0) < 0) {
		die("%s", path);
	}
	memset(data, 1, len);
	for (size_t each = 4096; each <= LEN_MAX; each *= LEN_MAX / 4096) {
		for (unsigned i = 0; i < 4; i++) {
			measure(fd, data, each, i >= 2, i % 2 == 1);
		}
	}
	io_uring_queue_exit(&ring);
	free(data);
	close(fd);
}

/* What one request takes while another process sends as many frames as it can. */
void disk_measure_beside(const char *path, const char *interface)
{
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *data = aligned_alloc(4096, 4096);
	pid_t flood = fork();

	if (flood == 0) {
		net_flood(interface);
	}
	if (fd < 0 || data == NULL || flood < 0) {
		die("%s", path);
	}
	one_by_one(fd, data, 4096, false, WARM_UP);
	ops_begin("beside a flood of frames, read 4 KiB");
	one_by_one(fd, data, 4096, false, COUNT_BESIDE);
	ops_end(COUNT_BESIDE);
	kill(flood, SIGKILL);
	waitpid(flood, NULL, 0);
	free(data);
	close(fd);
}
