/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters that threads add to while others write lines of them, which may fail.
 *
 * Stands for: metric_add in vmm/base/metric.h; try_lock, unlock, sample_add, commit_line and flush
 * in vmm/base/metrics.c.
 * Shown: the lines that were written have, in sum, each count once: what was counted before the
 * last of them, and nothing twice; a line that failed leaves its counts to the next one.
 *
 * Mutants: NO_LOCK TOLD_IS_THE_VALUE COMMIT_OF_A_FAILED_LINE ADD_IN_TWO_STEPS
 * Quick: -DADDS=2 -DLINES=2
 * Long: -DADDS=4 -DLINES=3
 */
byte value, in_line, told, written, added;
bool is_locked;

#ifdef ADD_IN_TWO_STEPS
#define ADD seen = value; value = seen + 1
#else
#define ADD value++
#endif

proctype count()
{
	byte n, seen;

	for (n : 1 .. ADDS) {
		ADD
	}
	added = added + ADDS
}

proctype flush()
{
	byte n, line;
	bool has_lock;

	for (n : 1 .. LINES) {
#ifdef NO_LOCK
		has_lock = true;
#else
		atomic { has_lock = !is_locked; is_locked = true };
#endif
		if
		:: has_lock ->
			in_line = value;
			line = in_line - told;
			if
			:: /* the line is written */
				written = written + line;
#ifdef TOLD_IS_THE_VALUE
				told = value;
#else
				told = in_line;
#endif
			:: /* it fails */
#ifdef COMMIT_OF_A_FAILED_LINE
				told = in_line;
#else
				skip
#endif
			fi;
#ifndef NO_LOCK
			assert(written == told);
			is_locked = false
#endif
		:: else /* another line is being written */
		fi
	}
}

init
{
	atomic {
		run count();
		run count();
		run flush();
		run flush()
	}
	_nr_pr == 1;
	assert(value == added);
	/* The last line has all that is left. */
	in_line = value;
	written = written + in_line - told;
	told = in_line;
	assert(written == added)
}
