/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: memory that the guest has written to once, and only reads since then, keeps what it
 * has; machines that share it share its pages. Output: "read: 1", "read: 2" and so on, one line for
 * each look at all of it; "WRONG: ..." at the first page that has another number. It never ends.
 */
#include "tests/guests/payload/guest.h"

enum {
	PAGES = 4096, /* 16 MiB */
	WORDS = 4096 / sizeof(uint64_t),
};

static volatile uint64_t pages[PAGES][WORDS] __attribute__((aligned(4096)));

void guest_main(void)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		pages[i][i % WORDS] = i + 1;
	}
	for (uint64_t round = 1;; round++) {
		for (uint64_t i = 0; i < PAGES; i++) {
			if (pages[i][i % WORDS] != i + 1) {
				print("WRONG: a page has a number that was not written there\n");
				cpu_idle();
			}
		}
		print("read: ");
		print_number(round);
		print("\n");
	}
}
