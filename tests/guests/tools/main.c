/* SPDX-License-Identifier: Apache-2.0 */
/* The commands by name, and what they share. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/guests/tools/tools.h"

uint64_t mix(uint64_t number)
{
	number += UINT64_C(0x9e3779b97f4a7c15);
	number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
	return number ^ number >> 31;
}

/* A word of the stream; emulated guests are slow, so words in place of bytes. */
static uint64_t word_at(uint64_t seed, uint64_t index)
{
	uint64_t word = (index + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;

	return word ^ word >> 29;
}

void pattern_fill(void *data, size_t len, uint64_t seed, uint64_t offset)
{
	char *to = data;

	seed = mix(seed);
	while (len > 0) {
		uint64_t word = word_at(seed, offset / 8);
		size_t skip = offset % 8;
		size_t part = len < 8 - skip ? len : 8 - skip;

		memcpy(to, (const char *)&word + skip, part);
		to += part;
		offset += part;
		len -= part;
	}
}

size_t pattern_check(const void *data, size_t len, uint64_t seed, uint64_t offset)
{
	const char *from = data;
	size_t at = 0;

	seed = mix(seed);
	while (at < len) {
		uint64_t word = word_at(seed, (offset + at) / 8);
		size_t skip = (offset + at) % 8;
		size_t part = len - at < 8 - skip ? len - at : 8 - skip;

		if (memcmp(from + at, (const char *)&word + skip, part) != 0) {
			return at;
		}
		at += part;
	}
	return len;
}

int complain(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* One write: threads complain at the same time. */
	dprintf(STDOUT_FILENO, "WRONG: %s\n", text);
	return 1;
}

bool read_all(int fd, void *data, size_t len)
{
	for (char *at = data; len > 0;) {
		ssize_t got = read(fd, at, len);

		if (got <= 0) {
			errno = got == 0 ? EPIPE : errno;
			return false;
		}
		at += got;
		len -= (size_t)got;
	}
	return true;
}

bool write_all(int fd, const void *data, size_t len)
{
	for (const char *at = data; len > 0;) {
		ssize_t put = write(fd, at, len);

		if (put <= 0) {
			return false;
		}
		at += put;
		len -= (size_t)put;
	}
	return true;
}

uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (*text == '\0' || *end != '\0') {
		exit(complain("\"%s\" is no number", text));
	}
	return value;
}

static const struct command {
	const char *name;
	int args; /* at least */
	int (*run)(int argc, char **argv);
	const char *usage;
} commands[] = {
	{"pattern", 5, cmd_pattern, "write|check FILE OFFSET_KIB KIB SEED"},
	{"keep", 2, cmd_keep, "DIRECTORY FIRST: writes files with fsync, and tells each, forever"},
	{"kept", 2, cmd_kept, "DIRECTORY LAST: are the files there as written?"},
	{"serve", 1, cmd_serve, "tcp:IP:PORT|vsock:PORT|unix:PATH [CONNECTIONS]"},
	{"send", 4, cmd_send,
	 "tcp:IP:PORT|vsock:CID:PORT|uds:PATH:PORT OUT_KIB IN_KIB CONNECTIONS [once|held]"},
	{"echo", 2, cmd_echo, "ADDRESS CONNECTIONS: sends back what comes, until they all end"},
	{"linger", 2, cmd_linger,
	 "ADDRESS NAME [idle]: a connection to \"echo\", until somebody ends it"},
	{"offload", 2, cmd_offload, "INTERFACE on|off: segmentation and checksums by the device"},
	{"pairs", 2, cmd_pairs, "INTERFACE N: so many queue pairs"},
	{"queues", 1, cmd_queues, "INTERFACE: the notifications of each queue, as \"tx 0 12\""},
	{"eat", 2, cmd_eat, "MIB SECONDS: holds memory that long"},
	{"io", 3, cmd_io,
	 "read|write|zero|flush DEVICE ok|EIO [OFFSET_KIB KIB BLOCK_KIB]: each must end so"},
	{"answer", 1, cmd_answer, "ADDRESS: sends each that connects a random number, forever"},
	{"backend", 2, cmd_backend,
	 "SOCKET FILE|count: a disk, or a count, by vhost-user, until the monitor ends"},
	{"shout", 2, cmd_shout, "ADDRESS COUNT: sends datagrams that nobody answers"},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (argc > 1 && strcmp(argv[1], commands[i].name) == 0 &&
		    argc - 2 >= commands[i].args) {
			return commands[i].run(argc - 1, argv + 1);
		}
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		printf("gt %s %s\n", commands[i].name, commands[i].usage);
	}
	return 2;
}
