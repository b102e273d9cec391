/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time clock of an aarch64 guest: Arm's PL031, without its alarm. */
#ifndef DEVICES_LEGACY_RTC_PL031_H
#define DEVICES_LEGACY_RTC_PL031_H

#include "devices/device.h"
#include "vmm/base/attr.h"
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

#endif
