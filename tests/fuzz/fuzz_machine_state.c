/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the reading of a whole state file: the input is its sections; head and CRC are added. What
 * is wrong is told in a sentence; what is read can be dumped, and written and read again is the
 * same. The architecture is the fake one.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/base/crc64.h"
#include "vmm/persist/state_file.h"

enum {
	INPUT_MAX = 65536,
	HEAD_LEN = 15, /* with a writer of one byte */
	CRC_LEN = 8,
	FILE_MAX = 2 * INPUT_MAX,
};

static int new_file(void)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	require(fd >= 0);
	return fd;
}

static void put(int fd, const uint8_t *bytes, size_t len)
{
	require(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len);
	require(lseek(fd, 0, SEEK_SET) == 0);
}

static size_t make(uint8_t *bytes, const uint8_t *sections, size_t len)
{
	store_le64(bytes, arch_state_magic);
	store_le32(bytes + 8, STATE_FORMAT);
	memcpy(bytes + 12, "\1\0f", 3);
	memcpy(bytes + HEAD_LEN, sections, len);
	store_le64(bytes + HEAD_LEN + len, crc64(bytes, HEAD_LEN + len));
	return HEAD_LEN + len + CRC_LEN;
}

static void dump(struct machine_state *state)
{
	static FILE *nowhere;
	struct error err = {0};

	if (nowhere == NULL) {
		nowhere = fopen("/dev/null", "we");
	}
	state_file_dump(state, nowhere);
	require(state_file_dump_json(state, nowhere, &err) == 0);
}

/* Writes *state and returns how many bytes that are. */
static size_t write_state(struct machine_state *state, int fd, uint8_t bytes[FILE_MAX])
{
	struct error err = {0};

	put(fd, NULL, 0);
	require(state_file_fill(state, fd, "state", &err) == 0);
	ssize_t len = pread(fd, bytes, FILE_MAX, 0);

	require(len > 0 && len < FILE_MAX);
	return (size_t)len;
}

static void copy(struct machine_state *state, int fd)
{
	static uint8_t bytes[2][FILE_MAX];
	struct machine_state again = {0};
	struct error err = {0};
	size_t len = write_state(state, fd, bytes[0]);

	require(lseek(fd, 0, SEEK_SET) == 0);
	require(state_file_read_from(fd, "state", &again, &err) == 0);
	require(write_state(&again, fd, bytes[1]) == len && memcmp(bytes[0], bytes[1], len) == 0);
	machine_state_destroy(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[HEAD_LEN + INPUT_MAX + CRC_LEN];
	static int fd = -1;
	struct machine_state state = {0};
	struct error err = {0};

	if (size > INPUT_MAX) {
		return 0;
	}
	if (fd < 0) {
		fd = new_file();
		be_quiet();
	}
	put(fd, bytes, make(bytes, data, size));
	if (state_file_read_from(fd, "state", &state, &err) < 0) {
		require_fault(&err);
	} else {
		dump(&state);
		copy(&state, fd);
	}
	machine_state_destroy(&state);
	return 0;
}
