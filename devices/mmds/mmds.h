/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service without its network: what a client stores, and the answers to a guest's HTTP
 * requests for it [compat]. On the VMM thread, which serves the queues of network devices and runs
 * the API's requests, unless it is said otherwise: nothing here has a lock.
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

/*
 * A document is what mmds_json_load returns, or mmds_merge. Once it is stored it never changes: the
 * next one takes its place. So what takes time is done on other threads: they read and merge
 * documents, measure and write their text, and release them; the VMM thread only exchanges them.
 */

/* The stored document, a null if there is none, for the caller to release by json_decref. */
json_t *mmds_data(const struct mmds *mmds);

/* Fails as a PATCH does [compat] if nothing has been put. */
MUST_CHECK int mmds_want_data(const struct mmds *mmds, struct error *err);
COLD int mmds_refuse(struct error *err); /* this failure */

/*
 * Exchanges the stored document and *document, whose text has `len` bytes. The caller releases the
 * old one; ERR_NO_ROOM: the text is too long, and nothing is exchanged. A PUT begins anew with the
 * fetches that are logged, a PATCH does not.
 */
MUST_CHECK int mmds_put(struct mmds *mmds, json_t **document, size_t len, struct error *err);
MUST_CHECK int mmds_patch(struct mmds *mmds, json_t **document, size_t len, struct error *err);

/* Makes *merged of a document and a merge patch [RFC 7396], which both stay. Any thread. */
MUST_CHECK int mmds_merge(json_t *document, json_t *patch, json_t **merged, struct error *err);

/*
 * Writes a document as JSON text to a heap block that the caller frees; *len is without the NUL.
 * Any thread.
 */
MUST_CHECK int mmds_print(json_t *document, char **text, size_t *len, struct error *err);

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
