/* SPDX-License-Identifier: Apache-2.0 */
/* What is expected to fail: disk I/O with the error that it must end with; frames for nobody. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

enum {
	SEED = 51, /* of what `io` writes and reads */
	FRAME_LEN = 1000,
	DISCARD_PORT = 9,
};

/* Reads what was written, or zeros. */
static bool is_known(const char *data, size_t len, uint64_t offset)
{
	return (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0) ||
	       pattern_check(data, len, SEED, offset) == len;
}

/* 0 or an error. */
static int operate(int fd, const char *what, char *data, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = {offset, len};
	ssize_t done = (ssize_t)len;

	if (strcmp(what, "flush") == 0) {
		return fdatasync(fd) == 0 ? 0 : errno;
	}
	if (strcmp(what, "zero") == 0) {
		return ioctl(fd, BLKZEROOUT, range) == 0 ? 0 : errno;
	}
	if (strcmp(what, "write") == 0) {
		pattern_fill(data, len, SEED, offset);
		done = pwrite(fd, data, len, (off_t)offset);
	} else {
		done = pread(fd, data, len, (off_t)offset);
		if (done == (ssize_t)len && !is_known(data, len, offset)) {
			return EILSEQ;
		}
	}
	return done < 0 ? errno : done == (ssize_t)len ? 0 : ENODATA;
}

int cmd_io(int argc, char **argv)
{
	int want = strcmp(argv[3], "EIO") == 0 ? EIO : 0;
	uint64_t offset = argc > 6 ? number(argv[4]) << 10 : 0;
	uint64_t block = argc > 6 ? number(argv[6]) << 10 : 4096;
	uint64_t end = argc > 6 ? offset + (number(argv[5]) << 10) : block;
	char *data = aligned_alloc(4096, block);
	int fd = open(argv[2], O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || data == NULL) {
		return complain("io: %s: %s", argv[2], strerror(errno));
	}
	for (; offset < end; offset += block) {
		int got = operate(fd, argv[1], data, offset, block);

		if (got != want) {
			return complain("io: %s %s at %llu KiB: %s", argv[1], argv[2],
					(unsigned long long)offset >> 10, strerror(got));
		}
	}
	printf("io: ok\n");
	free(data);
	return close(fd);
}

int cmd_shout(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	static char frame[FRAME_LEN];
	int on = 1;

	(void)argc;
	if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0) {
		return complain("shout: %s: %s", argv[1], strerror(errno));
	}
	for (uint64_t left = number(argv[2]); left > 0; left--) {
		if (sendto(fd, frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		    errno != ENOBUFS) {
			return complain("shout: %s", strerror(errno));
		}
	}
	printf("shout: ok\n");
	return close(fd);
}
