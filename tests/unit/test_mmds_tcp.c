/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection of the metadata service, as conversations. mmds_script.h has their language. */
#include <criterion/criterion.h>

#include "devices/mmds/tcp.h"
#include "tests/unit/mmds_script.h"
#include "vmm/base/bytes.h"

/* A guest with MSS 1000 has shaken hands; the next numbers are 1 and 1. */
#define OPEN "< S 0 0 mss 1000", "> SA 0 1 win 2500 mss 1460", "< A 1 1"
/* It has sent a request of 100 bytes, which was answered by N bytes. */
#define ASK(n) OPEN, "< PA 1 1 len 100", "has 100", "consume 100", "reply " #n

Test(mmds_tcp, a_request_gets_its_reply_and_the_guest_closes)
{
	PLAY(ASK(2500), "> A 1 101 len 1000 win 2500", "> A 1001 101 len 1000",
	     "> PA 2001 101 len 500", "-", "< A 101 2001", "-", "< A 101 2501", "replied",
	     "timer -1", "< FA 101 2501", "close", "> FA 2501 102", "-", "< A 102 2502", "over",
	     "timer -1");
}

Test(mmds_tcp, we_close_behind_the_last_reply)
{
	PLAY(ASK(500), "close", "> FPA 1 101 len 500", "-", "< A 101 502", "replied", "timer -1",
	     "< FA 101 502", "> A 502 102", "over");
}

Test(mmds_tcp, both_close_at_once)
{
	PLAY(ASK(500), "close", "> FPA 1 101 len 500", "< FA 101 501", "> A 502 102", "-",
	     "< A 102 502", "over");
	PLAY(ASK(500), "close", "> FPA 1 101 len 500", "< FA 101 1", "> A 502 102", "+ 300",
	     "> FPA 1 102 len 500", "< A 102 502", "over");
}

Test(mmds_tcp, the_guest_may_close_before_it_has_its_reply)
{
	PLAY(OPEN, "< FPA 1 1 len 100", "consume 100", "reply 500", "> PA 1 102 len 500",
	     "< A 102 501", "replied", "close", "> FA 501 102", "< A 102 502", "over");
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "< FA 1 1", "close", "> FA 1 2", "< A 2 2", "over");
}

Test(mmds_tcp, a_second_request_waits_for_the_first_reply)
{
	PLAY(ASK(500), "> PA 1 101 len 500", "< PA 101 1 len 200", "has 200",
	     "> A 501 301 win 2300", "-", "< A 301 501", "replied", "consume 200", "reply 300",
	     "> PA 501 301 len 300 win 2500", "< A 301 801", "replied");
}

Test(mmds_tcp, segments_keep_to_the_guests_mss)
{
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "< A 1 1", "reply 600", "> A 1 1 len 536",
	     "> PA 537 1 len 64");
	PLAY("< S 0 0 mss 28", "> SA 0 1 mss 1460", "< A 1 1", "reply 30", "> A 1 1 len 28",
	     "> PA 29 1 len 2");
	PLAY("< S 0 0 mss 9000", "> SA 0 1 mss 1460", "< A 1 1", "reply 1500", "> A 1 1 len 1460",
	     "> PA 1461 1 len 40");
}

Test(mmds_tcp, a_syn_that_comes_again_is_answered_again)
{
	PLAY("< S 0 0 mss 1000", "> SA 0 1 mss 1460", "-", "< S 0 0 mss 1000", "> SA 0 1 mss 1460",
	     "-", "< A 1 1", "-", "timer -1");
}

Test(mmds_tcp, a_lost_syn_of_ours_is_sent_a_few_times)
{
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "timer 300", "+ 299", "-", "+ 1", "> SA 0 1 mss 1460",
	     "timer 600", "+ 600", "> SA 0 1 mss 1460", "+ 1200", "> SA 0 1 mss 1460", "+ 2400",
	     "> SA 0 1 mss 1460", "+ 4800", "> SA 0 1 mss 1460", "timer 4800", "+ 4800",
	     "given up");
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "+ 300", "> SA 0 1 mss 1460", "< A 1 1", "-");
}

Test(mmds_tcp, a_handshake_takes_no_other_acknowledgement)
{
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "< A 1 0 len 10 refused", "has 0", "-",
	     "< A 1 2 len 10 refused", "has 0", "-", "< A 1 1 len 10", "has 10");
	/* Before our SYN is sent, too. */
	PLAY("< S 0 0", "< A 1 0 len 10 refused", "< A 1 1 len 10 refused", "has 0",
	     "> SA 0 1 mss 1460");
}

Test(mmds_tcp, silence_brings_everything_again_at_a_slower_pace)
{
	PLAY(ASK(1500), "> A 1 101 len 1000", "> PA 1001 101 len 500", "-", "timer 300", "+ 300",
	     "> A 1 101 len 1000", "> PA 1001 101 len 500", "-", "timer 600", "+ 600",
	     "> A 1 101 len 1000", "< A 101 1001", "timer 300", "> PA 1001 101 len 500", "-",
	     "< A 101 1501", "replied", "timer -1");
}

Test(mmds_tcp, an_acknowledgement_jumps_over_what_is_being_sent_again)
{
	PLAY(ASK(3000), "> A 1 101 len 1000", "> A 1001 101 len 1000", "> PA 2001 101 len 1000",
	     "+ 300", "> A 1 101 len 1000", "< A 101 2001", "> PA 2001 101 len 1000", "-",
	     "< A 101 3001", "replied");
}

Test(mmds_tcp, a_guest_that_never_answers_is_given_up)
{
	PLAY(ASK(100), "> PA 1 101 len 100", "+ 300", "+ 600", "+ 1200", "+ 2400", "+ 4800",
	     "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800",
	     "+ 4800", "+ 4800", "> PA 1 101 len 100", "+ 4800", "given up");
}

Test(mmds_tcp, three_duplicates_bring_the_lost_segment_once)
{
	PLAY(ASK(5000), "> A 1 101 len 1000", "> A 1001 101 len 1000", "> A 2001 101 len 1000",
	     "> A 3001 101 len 1000", "> PA 4001 101 len 1000", "< A 101 1 unusual",
	     "< A 101 1 unusual", "-", "< A 101 1 unusual", "> A 1 101 len 1000", "-",
	     "< A 101 1 unusual", "< A 101 1 unusual", "< A 101 1 unusual", "-",
	     /* The guest lacks another one: it comes without more duplicates. */
	     "< A 101 3001", "> A 3001 101 len 1000", "-", "< A 101 5001", "replied", "timer -1");
}

Test(mmds_tcp, duplicates_of_what_was_sent_twice_are_no_loss)
{
	PLAY(ASK(3000), "> A 1 101 len 1000", "> A 1001 101 len 1000", "> PA 2001 101 len 1000",
	     "+ 300", "> A 1 101 len 1000", "> A 1001 101 len 1000", "> PA 2001 101 len 1000",
	     "< A 101 2001", "< A 101 2001 unusual", "< A 101 2001 unusual", "< A 101 2001 unusual",
	     "-", "< A 101 3001", "replied");
}

Test(mmds_tcp, the_guests_window_is_kept)
{
	PLAY("< S 0 0 mss 1000 win 1500", "> SA 0 1 mss 1460", "< A 1 1 win 1500", "reply 4000",
	     "> A 1 1 len 1000", "-", /* the 500 bytes that would fit wait */
	     "< A 1 1001 win 1500", "> A 1001 1 len 1000", "< A 1 2001 win 1500",
	     "> A 2001 1 len 1000", "< A 1 3001 win 500", "> A 3001 1 len 500",
	     "< A 1 3501 win 5000", "> PA 3501 1 len 500", "< A 1 4001", "replied");
}

Test(mmds_tcp, a_closed_window_is_probed_until_it_opens)
{
	PLAY("< S 0 0 mss 1000 win 1000", "> SA 0 1 mss 1460", "< A 1 1 win 1000", "reply 3000",
	     "> A 1 1 len 1000", "< A 1 1001 win 0", "-", "timer 300", "+ 300", "> A 1001 1 len 1",
	     "-", "< A 1 1001 win 0 unusual", "-", "timer 600", "+ 600", "> A 1001 1 len 1",
	     "< A 1 1001 win 0 unusual", "+ 1200", "> A 1001 1 len 1", "< A 1 1002 win 0", "-",
	     "timer 300", "+ 300", "> A 1002 1 len 1", "< A 1 1003 win 2000", "> A 1003 1 len 1000",
	     "> PA 2003 1 len 998", "< A 1 3001", "replied");
}

Test(mmds_tcp, a_closed_window_that_is_answered_is_never_given_up)
{
	PLAY("< S 0 0 win 0", "> SA 0 1 mss 1460", "< A 1 1 win 0", "reply 10", "-", "+ 300",
	     "> A 1 1 len 1", "+ 600", "+ 1200", "+ 2400", "+ 4800", "+ 4800", "+ 4800", "+ 4800",
	     "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800", "+ 4800",
	     "< A 1 1 win 0 unusual", "+ 4800", "> A 1 1 len 1", "< A 1 1 win 100",
	     "> PA 2 1 len 9", "< A 1 11", "replied");
}

Test(mmds_tcp, an_acknowledgement_while_the_window_is_closed_is_one_that_the_guest_takes)
{
	/* The number of the probe's byte is beyond the guest's window. */
	PLAY("< S 0 0 win 0", "> SA 0 1 mss 1460", "< A 1 1 win 0", "reply 10", "-", "+ 300",
	     "> A 1 1 len 1", "< A 1 1 len 5 win 0", "> A 1 6");
}

Test(mmds_tcp, a_window_that_shrinks_is_kept_too)
{
	PLAY("< S 0 0 mss 1000 win 3000", "> SA 0 1 mss 1460", "< A 1 1 win 3000", "reply 4000",
	     "> A 1 1 len 1000", "> A 1001 1 len 1000", "> A 2001 1 len 1000", "< A 1 1001 win 100",
	     "-", "+ 300", "> A 1001 1 len 100", "-", "+ 600", "> A 1001 1 len 100",
	     "< A 1 3001 win 5000", "> PA 3001 1 len 1000", "< A 1 4001", "replied");
}

Test(mmds_tcp, an_old_segment_does_not_change_the_window)
{
	PLAY(OPEN, "< A 1 1 len 10 win 1000", "< A 11 1 len 10 win 3000", "consume 20",
	     "< A 1 1 len 10 win 1 unusual", "reply 2500", "> A 1 21 len 1000",
	     "> A 1001 21 len 1000", "> PA 2001 21 len 500");
}

Test(mmds_tcp, only_what_comes_in_order_is_taken)
{
	PLAY(OPEN, "< A 101 1 len 100 unusual", "has 0", "> A 1 1", "< A 1 1 len 100", "has 100",
	     "> A 1 101", "< A 51 1 len 100", "has 150", "> A 1 151", "< A 1 1 len 150 unusual",
	     "has 150", "> A 1 151", "< A 1 1 len 151", "has 151", "> A 1 152");
}

Test(mmds_tcp, no_more_is_taken_than_the_window_has_room_for)
{
	PLAY(OPEN, "< A 1 1 len 2400", "has 2400", "> A 1 2401 win 100",
	     "< A 2401 1 len 200 unusual", "has 2500", "> A 1 2501 win 0",
	     /* A probe of the guest. */
	     "< A 2501 1 len 1 unusual", "has 2500", "> A 1 2501 win 0", "consume 2500",
	     "> A 1 2501 win 2500", "< A 2501 1 len 2", "has 2");
	/* A FIN behind what was cut off is not taken. */
	PLAY(OPEN, "< FA 1 1 len 2501 unusual", "has 2500", "> A 1 2501 win 0",
	     "< A 2502 1 len 1 unusual", "has 2500");
}

Test(mmds_tcp, a_closed_window_lets_acknowledgements_through)
{
	PLAY(ASK(500), "> PA 1 101 len 500", "< A 101 1 len 2500", "> A 501 2601 win 0",
	     "< A 2601 501 len 10 unusual", "replied", "has 2500");
}

Test(mmds_tcp, without_a_buffer_payload_is_not_acknowledged)
{
	PLAY(OPEN, "no buffer", "< FA 1 1 len 100 unusual", "> A 1 1 win 2500", "buffer",
	     "< FA 1 1 len 100", "has 100", "> A 1 102");
}

Test(mmds_tcp, what_comes_after_we_closed_is_acknowledged_and_forgotten)
{
	PLAY(ASK(500), "close", "no buffer", "> FPA 1 101 len 500", "< A 101 502 len 2000", "has 0",
	     "> A 502 2101 win 2500", "< FA 2101 502 len 500", "> A 502 2602", "over");
}

Test(mmds_tcp, nothing_is_taken_behind_the_guests_fin)
{
	PLAY(OPEN, "< FA 1 1", "> A 1 2", "< A 2 1 len 100 unusual", "has 0", "> A 1 2",
	     "< FA 1 1 unusual", "> A 1 2", "-");
	/* A FIN out of order comes too early. */
	PLAY(OPEN, "< FA 11 1 unusual", "> A 1 1", "< A 1 1 len 10", "> A 1 11", "< FA 11 1",
	     "> A 1 12");
}

Test(mmds_tcp, a_reset_counts_only_with_the_expected_number)
{
	PLAY(OPEN, "< R 2 0 unusual", "> A 1 1", "< R 2500 0 unusual", "> A 1 1",
	     "< R 3000 0 unusual", "-", "< R 0 0 unusual", "-", "< R 1 0 ended");
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "< RA 1 1 ended");
}

Test(mmds_tcp, a_syn_in_the_middle_is_challenged)
{
	PLAY(OPEN, "< S 500 0 unusual", "> A 1 1", "< S 0 0 unusual", "> A 1 1", "< SA 0 1 unusual",
	     "> A 1 1", "-");
	PLAY("< S 0 0", "> SA 0 1 mss 1460", "< S 7 0 unusual", "> A 1 1");
}

Test(mmds_tcp, segments_that_can_not_be_are_not_acted_on)
{
	/* An acknowledgement of what was never sent; no ACK at all; far from the window; a
	 * keep-alive. */
	PLAY(ASK(500), "> PA 1 101 len 500", "< A 101 502 len 10 unusual", "has 0", "> A 501 101",
	     "< P 101 0 len 10 unusual", "has 0", "-", "< A 5000 501 len 10 unusual", "has 0",
	     "> A 501 101", "< A 100 501 unusual", "> A 501 101", "-", "< A 101 501", "replied");
}

Test(mmds_tcp, an_old_acknowledgement_with_new_payload_is_taken)
{
	PLAY(ASK(500), "> PA 1 101 len 500", "< A 101 501", "< A 101 1 len 10", "has 10",
	     "> A 501 111");
}

Test(mmds_tcp, the_segments_that_reset)
{
	static const struct {
		struct mmds_segment segment;
		struct mmds_segment rst;
	} cases[] = {
		{{.seq = 7, .ack = 9, .flags = MMDS_TCP_ACK, .len = 5},
		 {.seq = 9, .flags = MMDS_TCP_RST}},
		{{.seq = 7, .flags = MMDS_TCP_SYN},
		 {.ack = 8, .flags = MMDS_TCP_RST | MMDS_TCP_ACK}},
		{{.seq = 7, .flags = MMDS_TCP_FIN, .len = 5},
		 {.ack = 13, .flags = MMDS_TCP_RST | MMDS_TCP_ACK}},
	};
	struct mmds_segment rst;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		cr_assert(mmds_tcp_refuse(&cases[i].segment, &rst), "case %zu", i);
		cr_expect_eq(rst.seq, cases[i].rst.seq, "case %zu", i);
		cr_expect_eq(rst.ack, cases[i].rst.ack, "case %zu", i);
		cr_expect_eq(rst.flags, cases[i].rst.flags, "case %zu", i);
	}
	cr_expect_not(mmds_tcp_refuse(&(struct mmds_segment){.flags = MMDS_TCP_RST}, &rst));
}
