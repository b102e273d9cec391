/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service without its network: what a client stores, and the answers to a guest's HTTP
 * requests for it [compat]. All on the VMM thread, which serves the queues of network devices and
 * runs the API's requests, so that nothing here has a lock.
 */
#ifndef DEVICES_MMDS_MMDS_H
#define DEVICES_MMDS_MMDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/clock.h"
#include "vmm/base/error.h"
#include "vmm/base/metric.h"

enum mmds_version {
	MMDS_V1, /* a guest may leave the token out [compat: deprecated] */
	MMDS_V2
};

/* How guests are served. */
struct mmds_settings {
	enum mmds_version version;
	bool imds_compat;   /* answers are never JSON, whatever a guest accepts */
	uint8_t address[4]; /* IPv4, as on the wire */
};

/* [compat] devices/mmds/netstack.h counts frames, segments and connections. */
struct mmds_metrics {
	struct metric rx_accepted;	   /* frames that the service took off the guest's */
	struct metric rx_accepted_err;	   /* of these, bad ones, and those for other ports */
	struct metric rx_accepted_unusual; /* of these, others that a good client does not send */
	struct metric rx_bad_eth;	   /* of these, without an Ethernet header */
	struct metric rx_invalid_token;
	struct metric rx_no_token;
	struct metric rx_count;	 /* segments for the service's port */
	struct metric tx_bytes;	 /* of tx_frames */
	struct metric tx_count;	 /* packets made */
	struct metric tx_errors; /* buffers too short for a frame */
	struct metric tx_frames; /* frames handed to the device */
	struct metric connections_created;
	struct metric connections_destroyed;
};

extern const struct metric_group mmds_metric_group; /* "mmds" */

/* One per machine: its data, its settings, the key of its tokens, its metrics. */
struct mmds;

/*
 * `id` is the machine's, which its tokens are bound to; `limit` is that of the data, in bytes of
 * JSON text. The caller owns *out; *clock outlives it.
 */
MUST_CHECK int mmds_new(const char *id, uint64_t limit, const struct clock *clock,
			struct mmds **out, struct error *err);
void mmds_free(struct mmds *mmds); /* NULL is fine */

/* V1, JSON and 169.254.169.254 until they are set. */
void mmds_configure(struct mmds *mmds, const struct mmds_settings *settings);
const struct mmds_settings *mmds_settings(const struct mmds *mmds);
struct mmds_metrics *mmds_metrics(struct mmds *mmds);

/* Makes all tokens void: for a machine whose memory another one has too, after a load or a fork. */
void mmds_forget_tokens(struct mmds *mmds);

/* --- Data --- */

/* A document is what mmds_json_load returns. These take it over, also where they fail. */
MUST_CHECK int mmds_put(struct mmds *mmds, json_t *document, struct error *err);
MUST_CHECK int mmds_patch(struct mmds *mmds, json_t *document, struct error *err); /* RFC 7396 */

/* The data as JSON text in a heap block that the caller frees; *len is without the NUL. */
MUST_CHECK int mmds_get(const struct mmds *mmds, char **text, size_t *len, struct error *err);

/* --- A guest's requests --- */

/* A whole response, head and body, in one heap block: of the data's limit and about 2 KiB at most.
 */
struct mmds_response {
	char *text;
	size_t len;
};

/*
 * Answers the one request that `request` has: up to its empty line, of any bytes. A request with a
 * body is refused. -1: there is no memory for a response, and *out is zeroed. Nothing is kept of
 * the request; the response doesn't change when the data does.
 */
MUST_CHECK int mmds_handle(struct mmds *mmds, const char *request, size_t len,
			   struct mmds_response *out);
void mmds_response_free(struct mmds_response *response); /* a zeroed one is fine */

#endif
