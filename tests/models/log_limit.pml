/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that log at one limited call site.
 *
 * Stands for: take_token and log_write_limited in vmm/base/log.c.
 * Shown: while no time passes, BURST lines pass and no more, whoever writes them, and for each unit
 * of time one more; each line that is dropped is told once, or still counted.
 *
 * Mutants: STORE_IN_PLACE_OF_SWAP COUNT_CLEARED_LATER
 * Quick: -DTHREADS=2 -DLINES=3
 * Long: -DTHREADS=3 -DLINES=3
 */
#define BURST 2

byte now, full_at, dropped;
byte passed, refused, told;
byte finished;

#define LATER(a, b) (a > b -> a : b)

proctype write()
{
	byte n, at, seen, next, count;

	for (n : 1 .. LINES) {
		at = now;
		seen = full_at;
try:
		next = LATER(seen, at) + 1;
		if
		:: next - at > BURST ->
			refused++;
			dropped++
		:: else ->
#ifdef STORE_IN_PLACE_OF_SWAP
			full_at = next;
			passed++;
#else
			atomic {
				if
				:: full_at == seen -> full_at = next; passed++
				:: else -> seen = full_at; goto try
				fi
			}
#endif
			assert(passed <= BURST + now);
#ifdef COUNT_CLEARED_LATER
			count = dropped;
			dropped = 0;
#else
			atomic { count = dropped; dropped = 0 };
#endif
			told = told + count
		fi
	}
	finished++
}

active proctype time()
{
	do
	:: now < 2 -> now++
	:: break
	od
}

init
{
	byte i;

	atomic {
		for (i : 1 .. THREADS) {
			run write()
		}
	}
	finished == THREADS;
	assert(told + dropped == refused);
	assert(passed + refused == THREADS * LINES);
	assert(now > 0 || passed == BURST)
}
