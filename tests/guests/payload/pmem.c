/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: persistent memory has what its file has, takes what is written, and reads as zeroes
 * where the file was cut under the guest, or has holes that a full disk has no room for. The file's
 * word of 8 bytes at offset o is DISK_MARK + o. Output: "pmem: <MiB> MiB ok"; after a byte of input
 * "pmem: after the loss ok". "WRONG: ..." where another word is found.
 */
#include "tests/guests/payload/virtio.h"

enum {
	DEVICE_PMEM = 27,
	WINDOWS = 16,
	PAGE = 0x1000,
	MIB = 0x100000,
	LINE_STATUS = 5,
	INPUT_IS_THERE = 1,
};

static uint64_t find_device(void)
{
	for (unsigned i = 0; i < WINDOWS; i++) {
		uint64_t base = virtio_window + (uint64_t)i * WINDOW_LEN;

		if (memory_read(base + REG_DEVICE_ID, 4) == DEVICE_PMEM) {
			return base;
		}
	}
	return 0;
}

static uint64_t config_word(uint64_t base, unsigned offset)
{
	return memory_read(base + REG_CONFIG + offset, 4) |
	       memory_read(base + REG_CONFIG + offset + 4, 4) << 32;
}

/* Each page from `from` to `to` has its mark at the third word, or zeroes. */
static bool check(uint64_t start, uint64_t from, uint64_t to, bool is_marked)
{
	for (uint64_t at = from + 16; at < to; at += PAGE) {
		uint64_t expected = is_marked ? DISK_MARK + at : 0;

		if (*map_word(start + at) != expected) {
			print("WRONG: another word at ");
			print_hex(at);
			print("\n");
			return false;
		}
	}
	return true;
}

/*
 * What was written to the last page is gone with it, or all of the page is there: of a file that is
 * read-only it is this machine's memory, and no hole takes it away.
 */
static bool check_last(uint64_t start, uint64_t len)
{
	uint64_t at = len - PAGE;
	bool is_kept = *map_word(start + at) == ~UINT64_C(0);
	uint64_t expected = is_kept ? DISK_MARK + at + 16 : 0;

	if ((is_kept || *map_word(start + at) == 0) && *map_word(start + at + 16) == expected) {
		return true;
	}
	print("WRONG: the last page is half there\n");
	return false;
}

void guest_main(void)
{
	uint64_t base = find_device();

	if (base == 0) {
		print("WRONG: no device\n");
		return;
	}
	uint64_t start = config_word(base, 0);
	uint64_t len = config_word(base, 8);

	if (!check(start, 0, len, true)) {
		return;
	}
	*map_word(start + PAGE) = ~UINT64_C(0);
	*map_word(start + len - PAGE) = ~UINT64_C(0);
	print("pmem: ");
	print_number(len / MIB);
	print(" MiB ok\n");
	while ((serial_in(LINE_STATUS) & INPUT_IS_THERE) == 0) {
	}
	/* The host has left the first MiB. What is written to a page that is missing is not lost.
	 */
	*map_word(start + len - 2 * PAGE) = 5;
	if (!check(start, 0, MIB, true) || !check(start, MIB, len - PAGE, false) ||
	    !check_last(start, len)) {
		return;
	}
	if (*map_word(start + PAGE) != ~UINT64_C(0)) {
		print("WRONG: what was written before is lost\n");
		return;
	}
	if (*map_word(start + len - 2 * PAGE) != 5) {
		print("WRONG: what was written to a page that was missing is lost\n");
		return;
	}
	print("pmem: after the loss ok\n");
}
