/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread asks, another answers, and the mailbox closes at some time; then the answers may end.
 *
 * Stands for: mailbox_ask, mailbox_close and on_wake in vmm/control/mailbox.c; ev_wake_signal and
 * on_wake in vmm/base/evloop.c.
 * Shown: whoever asks comes back; with an answer if it says so; a request is never touched once its
 * owner is back; no wake-up without a request is answered.
 *
 * Mutants: LEFT_AMID_AN_ANSWER NO_LOOK_AT_THE_SLOT NO_SIGNAL_OF_CLOSE NO_SIGNAL_OF_ANSWER SIGNAL_FIRST
 * Quick: -DREQUESTS=3
 * Long: -DREQUESTS=8
 */
bool is_locked, has_request, is_answering, is_closed;
bool wake;
bool is_asleep;
bool is_owned; /* the asking thread waits, so the request is there */
bool is_answered;
byte came_back;

#define LOCK atomic { !is_locked -> is_locked = true }
#define UNLOCK is_locked = false
#define SIGNAL is_asleep = false

active proctype ask()
{
	bool has_answer;

	do
	:: came_back < REQUESTS ->
		has_answer = false;
		is_answered = false;
		is_owned = true;
		LOCK;
		if
		:: !is_closed ->
			has_request = true;
			wake = true;
			do
#ifdef LEFT_AMID_AN_ANSWER
			:: has_request && !is_closed ->
#else
			:: has_request && (is_answering || !is_closed) ->
#endif
				atomic { is_asleep = true; is_locked = false };
				atomic { !is_asleep && !is_locked -> is_locked = true }
			:: else -> break
			od;
			has_answer = !has_request;
			has_request = false
		:: else
		fi;
		UNLOCK;
		is_owned = false;
		assert(!has_answer || is_answered);
		came_back++
	:: else -> break
	od
}

active proctype answer()
{
	bool has_one;

end:	do
	:: is_closed -> break
	:: wake ->
		wake = false;
		LOCK;
		has_one = has_request;
		is_answering = has_one;
		UNLOCK;
		if
#ifdef NO_LOOK_AT_THE_SLOT
		:: true ->
#else
		:: has_one ->
#endif
			assert(is_owned);
			is_answered = true;
			assert(is_owned);
			LOCK;
#ifdef SIGNAL_FIRST
			SIGNAL;
			UNLOCK;
			LOCK;
			has_request = false;
			is_answering = false;
#else
			has_request = false;
			is_answering = false;
#ifndef NO_SIGNAL_OF_ANSWER
			SIGNAL;
#endif
#endif
			UNLOCK
		:: else
		fi
	od
}

active proctype close()
{
	if
	:: true ->
		LOCK;
		is_closed = true;
#ifndef NO_SIGNAL_OF_CLOSE
		SIGNAL;
#endif
		UNLOCK
	:: true
	fi
}
