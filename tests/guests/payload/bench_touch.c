/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: none; a measure. The guest writes to as many pages as a line of input says, from the
 * top of its RAM down, where its initrd is. After a line that ends with '+' it says "waiting" first
 * and gives the host a while to fork it. Output: "touch: ready", then "touched" after each line; it
 * never ends.
 */
#include "tests/guests/payload/guest.h"

enum {
	REG_DATA = 0,
	REG_LSR = 5,
	LSR_DATA_READY = 0x01,
	RANGES_MAX = 16,
	PAGE = 4096,
	TURNS = 200000 /* about 100 ms on an interpreting KVM */
};

static uint8_t input(void)
{
	while (!(serial_in(REG_LSR) & LSR_DATA_READY)) {
	}
	return serial_in(REG_DATA);
}

static void wait(void)
{
	print("waiting\n");
	for (volatile unsigned turn = 0; turn < TURNS; turn++) {
	}
}

static uint64_t input_number(void)
{
	uint64_t number = 0;
	uint8_t byte = input();

	for (; byte >= '0' && byte <= '9'; byte = input()) {
		number = number * 10 + (byte - '0');
	}
	if (byte == '+') {
		wait();
	}
	return number;
}

void guest_main(void)
{
	struct ram_range ranges[RANGES_MAX];
	size_t count = ram_ranges(ranges, RANGES_MAX);
	const struct ram_range *last = &ranges[count - 1];
	uint64_t turn = 0;

	print("touch: ready\n");
	for (;;) {
		uint64_t pages = input_number();

		turn++;
		for (uint64_t page = 1; page <= pages; page++) {
			*map_word(last->base + last->len - page * PAGE) = turn;
		}
		print("touched\n");
	}
}
