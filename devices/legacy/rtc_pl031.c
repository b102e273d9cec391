/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real-time clock: Arm's PL031 [pl031 r1p3].
 *
 * Theory of operation. The counter is the host's wall clock in seconds plus an offset, which the
 * guest sets by writing the time to the load register. So nothing ticks here, and the host's
 * corrections arrive in the guest. The match register keeps its value but never matches: the raw
 * interrupt status is always 0, and the interrupt line stays quiet [compat].
 */
#include "devices/legacy/rtc_pl031.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/base/bytes.h"

/* Offsets [pl031 r1p3 3.2]. */
enum {
	REG_DATA = 0x000,
	REG_MATCH = 0x004,
	REG_LOAD = 0x008,
	REG_CONTROL = 0x00c,
	REG_INTERRUPT_MASK = 0x010,
	REG_RAW_INTERRUPT = 0x014,
	REG_MASKED_INTERRUPT = 0x018,
	REG_INTERRUPT_CLEAR = 0x01c,
	REG_ID = 0xfe0,
	REG_END = 0x1000,
};

enum {
	CONTROL_ENABLED = 1,
	INTERRUPT_MASK = 1,
	REG_LEN = 4,
};

/* RTCPeriphID0-3 and RTCPCellID0-3, by which Linux's bus finds the driver [pl031 r1p3 3.3.9]. */
static const uint8_t ids[] = {0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

static const struct metric_field metric_fields[] = {
	{METRIC_COUNT(rtc_pl031_metrics, error_count)},
	{METRIC_COUNT(rtc_pl031_metrics, missed_read_count)},
	{METRIC_COUNT(rtc_pl031_metrics, missed_write_count)},
};

const struct metric_group rtc_pl031_metric_group = {
	METRIC_GROUP("rtc", rtc_pl031_metrics, metric_fields, 0)};

struct rtc_pl031 {
	struct rtc_pl031_metrics metrics; /* shared */

	const struct clock *clock; /* immutable after init */

	pthread_mutex_t lock; /* guards all below */
	uint32_t offset;      /* seconds from the host's time to the guest's, modulo 2^32 */
	uint32_t match;
	uint32_t load;
	uint32_t interrupt_mask;
};

/* The register has 32 bits, so it wraps in 2106. */
static uint32_t host_seconds(const struct rtc_pl031 *rtc)
{
	return (uint32_t)(rtc->clock->now_ns(CLOCK_REALTIME) / NS_PER_S);
}

static uint32_t read_register(const struct rtc_pl031 *rtc, uint64_t reg)
{
	if (reg >= REG_ID && reg < REG_END) {
		return ids[(reg - REG_ID) / REG_LEN];
	}
	switch (reg) {
	case REG_DATA:
		return host_seconds(rtc) + rtc->offset;
	case REG_MATCH:
		return rtc->match;
	case REG_LOAD:
		return rtc->load;
	case REG_CONTROL:
		return CONTROL_ENABLED;
	case REG_INTERRUPT_MASK:
		return rtc->interrupt_mask;
	case REG_RAW_INTERRUPT:
	case REG_MASKED_INTERRUPT:
	default: /* unused, or write-only */
		return 0;
	}
}

static void write_register(struct rtc_pl031 *rtc, uint64_t reg, uint32_t value)
{
	switch (reg) {
	case REG_MATCH:
		rtc->match = value;
		break;
	case REG_LOAD:
		rtc->load = value;
		rtc->offset = value - host_seconds(rtc);
		break;
	case REG_INTERRUPT_MASK:
		rtc->interrupt_mask = value & INTERRUPT_MASK;
		break;
	case REG_CONTROL: /* on already, and nothing but a reset turns it off [pl031 r1p3 3.3.4] */
	case REG_INTERRUPT_CLEAR: /* there is never one */
	default:		  /* read-only or unused */
		break;
	}
}

/* The bus of the real chip knows aligned 32-bit accesses only; others read 0 [compat]. */
static bool is_register(uint64_t offset, uint32_t len)
{
	return len == REG_LEN && is_aligned(offset, REG_LEN);
}

static void bus_read(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	struct rtc_pl031 *rtc = device;

	if (!is_register(offset, len)) {
		metric_add(&rtc->metrics.missed_read_count, 1);
		return;
	}
	pthread_mutex_lock(&rtc->lock);
	uint32_t value = read_register(rtc, offset);

	pthread_mutex_unlock(&rtc->lock);
	store_le32(data, value);
}

static void bus_write(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	struct rtc_pl031 *rtc = device;

	if (!is_register(offset, len)) {
		metric_add(&rtc->metrics.missed_write_count, 1);
		return;
	}
	pthread_mutex_lock(&rtc->lock);
	write_register(rtc, offset, load_le32(data));
	pthread_mutex_unlock(&rtc->lock);
}

const struct bus_ops rtc_pl031_bus_ops = {
	.read = bus_read,
	.write = bus_write,
};

int rtc_pl031_new(const struct dev_env *env, struct rtc_pl031 **out, struct error *err)
{
	struct rtc_pl031 *rtc = calloc(1, sizeof(*rtc));

	if (rtc == NULL) {
		return error_sys(err, "Cannot allocate the real-time clock");
	}
	rtc->clock = env->clock;
	pthread_mutex_init(&rtc->lock, NULL);
	*out = rtc;
	return 0;
}

void rtc_pl031_free(struct rtc_pl031 *rtc)
{
	if (rtc == NULL) {
		return;
	}
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}

struct rtc_pl031_metrics *rtc_pl031_metrics(struct rtc_pl031 *rtc)
{
	return &rtc->metrics;
}

/* --- State --- */

static const struct codec_section section = {
	.tag = CODEC_TAG('P', 'L', '3', '1'), .version = 1, .name = "rtc"};

void rtc_pl031_state_codec(struct codec *codec, struct rtc_pl031_state *state)
{
	if (!codec_section_begin(codec, &section)) {
		return;
	}
	codec_u32(codec, "offset", &state->offset);
	codec_u32(codec, "match", &state->match);
	codec_u32(codec, "load", &state->load);
	codec_u32(codec, "interrupt_mask", &state->interrupt_mask);
	codec_section_end(codec);
}

void rtc_pl031_save(struct rtc_pl031 *rtc, struct rtc_pl031_state *state)
{
	pthread_mutex_lock(&rtc->lock);
	*state = (struct rtc_pl031_state){
		.offset = rtc->offset,
		.match = rtc->match,
		.load = rtc->load,
		.interrupt_mask = rtc->interrupt_mask,
	};
	pthread_mutex_unlock(&rtc->lock);
}

int rtc_pl031_load(struct rtc_pl031 *rtc, const struct rtc_pl031_state *state, struct error *err)
{
	if ((state->interrupt_mask & ~(uint32_t)INTERRUPT_MASK) != 0) {
		return error_set(err, ERR_CORRUPT,
				 "The real-time clock can't be loaded: its interrupt mask is %#x",
				 state->interrupt_mask);
	}
	pthread_mutex_lock(&rtc->lock);
	rtc->offset = state->offset;
	rtc->match = state->match;
	rtc->load = state->load;
	rtc->interrupt_mask = state->interrupt_mask;
	pthread_mutex_unlock(&rtc->lock);
	return 0;
}
