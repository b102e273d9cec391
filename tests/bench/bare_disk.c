/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bare_disk FILE: the floor for tests/guests/payload/bench_disk.c, in the same words.
 *
 * The system calls that move the same data between the same file and memory, one after the other,
 * and nothing else: what a device that costs nothing would take.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	DEPTH = 32,
	DISK_LEN = 16 << 20,
	LEN_MAX = 128 << 10,
	SETTLE_US = 50000,
};

static void measure(int fd, char *data, unsigned depth, size_t len, bool is_write)
{
	unsigned count = len == LEN_MAX ? 1024 : 4096;
	const char *name = is_write ? "write" : "read";
	static unsigned number;

	printf("bench: begin %s %zu KiB, depth %u\n", name, len >> 10, depth);
	usleep(SETTLE_US);
	for (unsigned i = 0; i < count; i++) {
		struct iovec iov = {data + i % depth * LEN_MAX, len};
		off_t at = (off_t)((number++ * 7 + 3) % (DISK_LEN / len) * len);
		ssize_t done = is_write ? pwritev(fd, &iov, 1, at) : preadv(fd, &iov, 1, at);

		if (done != (ssize_t)len) {
			perror("bench: failed");
			exit(EXIT_FAILURE);
		}
	}
	printf("bench: end %s %zu KiB, depth %u\t%u\t0\n", name, len >> 10, depth, count);
	usleep(SETTLE_US);
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	char *data = mmap(NULL, (size_t)DEPTH * LEN_MAX, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (fd < 0 || data == MAP_FAILED) {
		perror("bare_disk");
		return EXIT_FAILURE;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t len = 4096; len <= LEN_MAX; len *= LEN_MAX / 4096) {
		for (unsigned i = 0; i < 4; i++) {
			measure(fd, data, i % 2 == 0 ? 1 : DEPTH, len, i >= 2);
		}
	}
	printf("bench: done\n");
	return EXIT_SUCCESS;
}
