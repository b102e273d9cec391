/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: the RAM that the boot protocol tells of is there, to its first and last byte, and no
 * two ranges are the same memory.
 * Output: a line "ram 0x<base> 0x<length>" per range, then "memory: <MiB> MiB ok"; exit status 0.
 */
#include "tests/guests/payload/guest.h"

enum {
	RANGES_MAX = 16,
	WORD = 8
};

static uint64_t edge(const struct ram_range *range, unsigned which)
{
	return which == 0 ? range->base : range->base + range->len - WORD;
}

/* Writes a mark of its own to each edge, then looks for them, then puts the old words back. */
void guest_main(void)
{
	struct ram_range ranges[RANGES_MAX];
	uint64_t saved[RANGES_MAX][2];
	size_t count = ram_ranges(ranges, RANGES_MAX);
	uint64_t total = 0;
	bool is_ok = count > 0;

	for (size_t i = 0; i < count; i++) {
		for (unsigned j = 0; j < 2; j++) {
			volatile uint64_t *word = map_word(edge(&ranges[i], j));

			saved[i][j] = *word;
			*word = ~edge(&ranges[i], j);
		}
		total += ranges[i].len;
	}
	for (size_t i = 0; i < count; i++) {
		for (unsigned j = 0; j < 2; j++) {
			volatile uint64_t *word = map_word(edge(&ranges[i], j));

			is_ok = is_ok && *word == ~edge(&ranges[i], j);
			*word = saved[i][j];
		}
	}
	for (size_t i = 0; i < count; i++) {
		print("ram ");
		print_hex(ranges[i].base);
		print(" ");
		print_hex(ranges[i].len);
		print("\n");
	}
	print("memory: ");
	print_number(total >> 20);
	print(is_ok ? " MiB ok\n" : " MiB wrong\n");
}
