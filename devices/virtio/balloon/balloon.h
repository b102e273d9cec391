/* SPDX-License-Identifier: Apache-2.0 */
/* The memory balloon: takes pages from the guest and gives them back to the host
 * [virtio-1.2 §5.5]. */
#ifndef DEVICES_VIRTIO_BALLOON_H
#define DEVICES_VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

/* As the API describes it. */
struct balloon_config {
	uint32_t amount_mib;
	bool deflate_on_oom;
	uint16_t stats_polling_interval_s; /* 0: no statistics */
	bool free_page_hinting;
	bool free_page_reporting;
};

enum {
	BALLOON_STATS_TAGS = 16 /* [linux include/uapi/linux/virtio_balloon.h] */
};

/* By tag; what the guest has not reported is not in `present`. */
struct balloon_stats {
	uint32_t target_pages; /* of 4 KiB */
	uint32_t actual_pages;
	uint32_t target_mib;
	uint32_t actual_mib;
	uint32_t present; /* bit by tag */
	uint64_t values[BALLOON_STATS_TAGS];
};

struct balloon_hinting {
	uint32_t host_cmd;
	uint32_t guest_cmd;
	bool has_guest_cmd;
};

struct balloon_metrics {
	struct metric activate_fails;
	struct metric inflate_count;
	struct metric stats_updates_count;
	struct metric stats_update_fails;
	struct metric deflate_count;
	struct metric event_fails;
	struct metric free_page_report_count;
	struct metric free_page_report_freed;
	struct metric free_page_report_fails;
	struct metric free_page_hint_count;
	struct metric free_page_hint_freed;
	struct metric free_page_hint_fails;
};

extern const struct metric_group balloon_metric_group;

extern const struct virtio_class balloon_class;

struct balloon;

/* Copies *config; the caller owns *out. VMM thread, like all below. */
MUST_CHECK int balloon_new(const struct dev_env *env, const struct balloon_config *config,
			   struct balloon **out, struct error *err);
void balloon_free(struct balloon *balloon); /* NULL is fine */

struct virtio_dev *balloon_virtio(struct balloon *balloon);
struct balloon_metrics *balloon_metrics(struct balloon *balloon);

/*
 * The sentences are those of the API's errors [compat], without what the API puts before them. What
 * would change the configuration that the guest sees is ERR_BAD_STATE until its driver is there.
 */
MUST_CHECK int balloon_set_amount(struct balloon *balloon, uint32_t amount_mib, struct error *err);
MUST_CHECK int balloon_set_stats_interval(struct balloon *balloon, uint16_t seconds,
					  struct error *err);
MUST_CHECK int balloon_get_stats(struct balloon *balloon, struct balloon_stats *stats,
				 struct error *err);
MUST_CHECK int balloon_start_hinting(struct balloon *balloon, bool acknowledge_on_stop,
				     struct error *err);
MUST_CHECK int balloon_stop_hinting(struct balloon *balloon, struct error *err);
MUST_CHECK int balloon_get_hinting(struct balloon *balloon, struct balloon_hinting *hinting,
				   struct error *err);

#endif
