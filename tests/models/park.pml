/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads that are started, parked, resumed and ended.
 *
 * Stands for: vcpu_kick, wait_until_wanted, run_guest and vcpu_main in vmm/machine/vcpu.c; set_want,
 * await_parked, vm_run and vm_quit in vmm/machine/vm.c. KVM_RUN returns at once if immediate_exit is
 * set, and when a signal comes; it finishes the instruction that the last exit was for first
 * [kvm-api 5, immediate_exit]. A signal that comes while the thread is in user space is lost.
 * Shown: a pause ends; then no vCPU is in the guest or has an instruction half done; each runs
 * again when it is wanted; all threads end.
 *
 * Mutants: NO_IMMEDIATE_EXIT NO_SIGNAL CLEARED_WITHOUT_LOCK PARKED_BEHIND_AN_EXIT NO_BROADCAST
 * Quick: -DVCPUS=2 -DPAUSES=1
 * Long: -DVCPUS=2 -DPAUSES=3
 */
mtype = {RUN, PARK, QUIT};
mtype want = PARK;
bool is_locked;
byte parked;
byte changes; /* pthread_cond_wait sleeps until this has another value */
bool is_parked[VCPUS], immediate_exit[VCPUS], has_signal[VCPUS];
bool is_in_guest[VCPUS], is_half_done[VCPUS], has_run[VCPUS];

#define LOCK atomic { !is_locked -> is_locked = true }
#define UNLOCK is_locked = false
#define BROADCAST changes++

inline wait(seen)
{
	atomic { seen = changes; is_locked = false };
	atomic { changes != seen && !is_locked -> is_locked = true }
}

proctype vcpu(byte i)
{
	byte seen;

again:	LOCK;
	do
	:: want == PARK ->
		if
		:: !is_parked[i] -> is_parked[i] = true; parked++;
#ifndef NO_BROADCAST
			BROADCAST
#endif
		:: else
		fi;
		wait(seen)
	:: else -> break
	od;
	if
	:: is_parked[i] -> is_parked[i] = false; parked--
	:: else
	fi;
	if
	:: want == QUIT -> UNLOCK; goto done
	:: else
	fi;
#ifndef CLEARED_WITHOUT_LOCK
	immediate_exit[i] = false;
#endif
	UNLOCK;
#ifdef CLEARED_WITHOUT_LOCK
	immediate_exit[i] = false;
#endif
	do
	:: has_signal[i] -> has_signal[i] = false /* the handler does nothing */
	:: atomic { /* KVM_RUN */
		is_half_done[i] = false;
		if
		:: immediate_exit[i] -> goto again
		:: else -> is_in_guest[i] = true; has_run[i] = true
		fi }
		if
		:: true -> /* the guest halts */
			atomic { has_signal[i] -> has_signal[i] = false; is_in_guest[i] = false };
			goto again
		:: atomic { is_in_guest[i] = false; is_half_done[i] = true }; /* an exit, which is served */
#ifdef PARKED_BEHIND_AN_EXIT
			if
			:: immediate_exit[i] -> goto again
			:: else
			fi
#endif
		fi
	od;
done:	skip
}

inline set_want(to)
{
	want = to;
	i = 0;
	do
	:: want != RUN && i < VCPUS ->
		if
		:: !is_parked[i] ->
#ifndef NO_IMMEDIATE_EXIT
			immediate_exit[i] = true;
#endif
#ifndef NO_SIGNAL
			has_signal[i] = true
#else
			skip
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	BROADCAST
}

inline await_parked()
{
	do
	:: parked < VCPUS -> wait(seen)
	:: else -> break
	od;
	for (i : 0 .. VCPUS - 1) {
		assert(!is_in_guest[i] && !is_half_done[i])
	}
}

active proctype vmm()
{
	byte i, round, seen;

	for (i : 0 .. VCPUS - 1) {
		run vcpu(i)
	}
	LOCK;
	await_parked();
	UNLOCK;
	for (round : 1 .. PAUSES) {
		for (i : 0 .. VCPUS - 1) {
			has_run[i] = false
		}
		LOCK;
		set_want(RUN);
		UNLOCK;
		if
		:: for (i : 0 .. VCPUS - 1) {
			has_run[i]
		}
		:: skip
		fi;
		LOCK;
		set_want(PARK);
		await_parked();
		UNLOCK
	}
	LOCK;
	set_want(RUN);
	UNLOCK;
	LOCK;
	set_want(QUIT);
	UNLOCK;
	_nr_pr == 1 /* pthread_join */
}
