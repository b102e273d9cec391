/* SPDX-License-Identifier: Apache-2.0 */
/* The data of the metadata service: one document, its limit, and what paths lead to in it. */
#ifndef DEVICES_MMDS_MMDS_STORE_H
#define DEVICES_MMDS_MMDS_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct mmds_store {
	/* A null until something is put. No stored document ever changes. */
	json_t *document;
	uint64_t limit; /* of its text, in bytes */
	bool is_put;
};

void mmds_store_init(struct mmds_store *store, uint64_t limit);
void mmds_store_destroy(struct mmds_store *store); /* a zeroed one is fine */

/*
 * Exchanges the stored document and *document, one of mmds_json_load or mmds_store_merge whose text
 * has `len` bytes: the caller gets the old one, and releases it. ERR_NO_ROOM: the limit is too low,
 * and nothing is exchanged.
 */
MUST_CHECK int mmds_store_put(struct mmds_store *store, json_t **document, size_t len,
			      struct error *err);

/*
 * Makes the document that a merge patch [RFC 7396] leaves of `document`; NULL: memory is short.
 * Neither is changed, and the new one shares with both what it has of them. Any thread.
 */
MUST_CHECK json_t *mmds_store_merge(json_t *document, json_t *patch);

/*
 * The value at a path such as "/a/b/0": keys and indexes as in a JSON pointer [RFC 6901], except
 * that several slashes in a row are one and one at the end is none [compat]. NULL: nothing is
 * there. The store owns the value.
 */
json_t *mmds_store_find(const struct mmds_store *store, const char *path);

/*
 * Writes `value` as EC2's metadata service does, without a NUL; returns its length. `to` NULL: only
 * the length. A string is itself; an object is its keys, one a line, with a slash behind those of
 * objects. -1: the value is something else.
 */
MUST_CHECK int mmds_store_print_imds(json_t *value, char *to, size_t *len);

#endif
