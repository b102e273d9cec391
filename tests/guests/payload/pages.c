/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: memory has what the guest wrote there last. Two vCPUs, each with pages of its own,
 * count rounds in all of them; who sees another machine's write finds a wrong number. Output:
 * "round: 1", "round: 2" and so on; "WRONG: ..." at the first wrong number. It never ends.
 */
#include "tests/guests/payload/guest.h"

enum {
	PAGES = 64, /* of each vCPU */
	WORDS = 4096 / sizeof(uint64_t),
};

static volatile uint64_t pages[2][PAGES][WORDS] __attribute__((aligned(4096)));
static volatile bool is_wrong;

static void count(unsigned cpu, uint64_t round)
{
	for (unsigned i = 0; i < PAGES; i++) {
		if (pages[cpu][i][0] != round - 1 || pages[cpu][i][WORDS - 1] != round - 1) {
			is_wrong = true;
		}
		pages[cpu][i][0] = round;
		pages[cpu][i][WORDS - 1] = round;
	}
}

void guest_secondary(void)
{
	for (uint64_t round = 1;; round++) {
		count(1, round);
	}
}

void guest_main(void)
{
	unsigned expected = cpus_start();

	while (cpus_running() < expected) {
	}
	for (uint64_t round = 1; !is_wrong; round++) {
		count(0, round);
		print("round: ");
		print_number(round);
		print("\n");
	}
	print("WRONG: a page has a number that was not written there\n");
	for (;;) {
		cpu_idle();
	}
}
