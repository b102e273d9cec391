/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time clock of an aarch64 guest: Arm's PL031, without its alarm. */
#ifndef DEVICES_LEGACY_RTC_PL031_H
#define DEVICES_LEGACY_RTC_PL031_H

#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

struct rtc_pl031;

struct rtc_pl031_metrics {
	struct metric error_count;	 /* nothing can fail here: 0 [compat] */
	struct metric missed_read_count; /* accesses that the chip's bus does not know */
	struct metric missed_write_count;
};

extern const struct metric_group rtc_pl031_metric_group;

/* The 4 KiB of registers. `device` is the clock. */
extern const struct bus_ops rtc_pl031_bus_ops;

/* Takes only env->clock. The caller owns *out and frees it (NULL is fine). */
MUST_CHECK int rtc_pl031_new(const struct dev_env *env, struct rtc_pl031 **out, struct error *err);
void rtc_pl031_free(struct rtc_pl031 *rtc);

/* The clock's own counters, as long as it lives. */
struct rtc_pl031_metrics *rtc_pl031_metrics(struct rtc_pl031 *rtc);

struct rtc_pl031_state {
	uint32_t offset; /* seconds from the host's time to the guest's, modulo 2^32 */
	uint32_t match;
	uint32_t load;
	uint32_t interrupt_mask;
};

/* A section of its own. */
void rtc_pl031_state_codec(struct codec *codec, struct rtc_pl031_state *state);

/* While no vCPU runs. Changes nothing. Any thread. */
void rtc_pl031_save(struct rtc_pl031 *rtc, struct rtc_pl031_state *state);

/*
 * Into a clock that was just made. It goes on with the host's time, as if the machine had run in
 * between: a clock with a battery does so, and it is where a guest that was loaded learns how late
 * it is. ERR_CORRUPT: bits that the mask does not keep. Any thread.
 */
MUST_CHECK int rtc_pl031_load(struct rtc_pl031 *rtc, const struct rtc_pl031_state *state,
			      struct error *err);

#endif
