/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that accesses any register by up to 8 bytes, at any time, amid any saved states.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-split-return full
 */
#include "tests/eva/bus.h"

#include "devices/legacy/rtc_pl031.c"

static uint64_t now_ns(clockid_t clock)
{
	keep((uint64_t)clock);
	return any_u64();
}

static void renew(struct rtc_pl031 *rtc)
{
	struct rtc_pl031_state state;
	struct error err = {0};

	rtc_pl031_save(rtc, &state);
	keep(state.offset + state.match + state.load + state.interrupt_mask);
	rtc_pl031_state_codec(NULL, &state);
	keep(rtc_pl031_load(rtc, &state, &err));
}

void main(void)
{
	static const struct clock clock = {.now_ns = now_ns};
	const struct dev_env env = {.clock = &clock};
	struct rtc_pl031 *rtc = NULL;
	struct error err = {0};

	if (rtc_pl031_new(&env, &rtc, &err) == 0) {
		while (any_bool()) {
			if (any_bool()) {
				access_any(&rtc_pl031_bus_ops, rtc);
			} else {
				renew(rtc);
			}
		}
		keep(metric_get(&rtc_pl031_metrics(rtc)->missed_read_count));
	}
	rtc_pl031_free(rtc);
}
