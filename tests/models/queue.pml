/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtqueue between a driver and its device: notifications in both directions.
 *
 * Stands for: virtq_arm_kick_at, virtq_disarm_kick, virtq_pop and virtq_publish in
 * devices/virtio/core/virtq.c; virtio_serve, take_chain and virtio_kick in
 * devices/virtio/core/virtio.c. The driver does what [virtio-1.2 §2.7.13, §2.7.14] asks for.
 * Shown: each chain that is offered is taken, and each that is used is collected; nobody sleeps
 * while there is work, with the event index and with flags. A turn may end for want of budget at
 * any time, but not for ever. Indexes wrap on the way. Memory is sequentially consistent, as both sides' barriers make
 * it where a store is followed by a load.
 *
 * Mutants: NO_SECOND_LOOK LOOK_BEFORE_WISH WANTED_BEFORE_SHOWN NO_KICK_OF_OURS OFF_BY_ONE
 * Quick: -DCHAINS=2 -DSTOPS=1
 * Long: -DCHAINS=4 -DSTOPS=2
 */
byte avail_idx = 254, avail_event = 254; /* the device's wish is at the first chain at first */
byte used_idx = 254, used_event = 254;
bool no_notify, no_interrupt;
bool has_event_idx;
bool kick, interrupt; /* edges that nobody has taken yet */
byte collected;

#define PASSED(event, now, before) (((now - event - 1) & 255) < ((now - (before)) & 255))

active proctype offer()
{
	byte left = CHAINS, before, event;
	bool is_quiet;

	do
	:: left > 0 ->
		before = avail_idx;
		if
		:: avail_idx++; left--
		:: left > 1 -> avail_idx = avail_idx + 2; left = left - 2
		fi;
		is_quiet = no_notify;
		event = avail_event;
		if
		:: has_event_idx && PASSED(event, avail_idx, before) -> kick = true
		:: !has_event_idx && !is_quiet -> kick = true
		:: else
		fi
	:: else -> break
	od
}

active proctype collect()
{
	byte last = 254;

	do
	:: collected == CHAINS -> break
	:: collected < CHAINS ->
		no_interrupt = true;
		do
		:: last != used_idx -> last++; collected++
		:: else -> break
		od;
		used_event = last;
		no_interrupt = false;
		if
		:: last != used_idx || collected == CHAINS
		:: else -> interrupt -> interrupt = false
		fi
	od
}

active proctype device()
{
	byte next_avail = 254, next_used = 254, published = 254, shown, event, stops;
	bool is_waiting, is_wanted;

	if
	:: has_event_idx = true
	:: has_event_idx = false
	fi;
	kick = true; /* activation kicks each queue */
end:	do
	:: kick ->
		kick = false;
		no_notify = true;
		is_waiting = false;
		do
		:: is_waiting -> break
		:: !is_waiting && stops < STOPS -> /* the budget or the time is used up */
			stops++;
#ifndef NO_KICK_OF_OURS
			kick = true;
#endif
			break
		:: !is_waiting && avail_idx != next_avail -> next_avail++; next_used++
		:: !is_waiting && avail_idx == next_avail ->
#ifdef LOOK_BEFORE_WISH
			shown = avail_idx;
#endif
			avail_event = next_avail;
			no_notify = false;
#ifndef LOOK_BEFORE_WISH
			shown = avail_idx;
#endif
#ifdef NO_SECOND_LOOK
			shown = next_avail;
#endif
			is_waiting = shown == next_avail
		od;
		if
		:: next_used != published ->
#ifdef WANTED_BEFORE_SHOWN
			event = used_event;
			is_wanted = !no_interrupt;
#endif
			used_idx = next_used;
#ifndef WANTED_BEFORE_SHOWN
			event = used_event;
			is_wanted = !no_interrupt;
#endif
			if
#ifdef OFF_BY_ONE
			:: has_event_idx && PASSED(event, next_used, published + 1) -> interrupt = true
#else
			:: has_event_idx && PASSED(event, next_used, published) -> interrupt = true
#endif
			:: !has_event_idx && is_wanted -> interrupt = true
			:: else
			fi;
			published = next_used
		:: else
		fi
	od
}
