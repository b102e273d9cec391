/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata as JSON: read and written as serde_json does it, which clients know [compat]. */
#ifndef DEVICES_MMDS_MMDS_JSON_H
#define DEVICES_MMDS_MMDS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * A document is a tree of jansson's in which no number and no plain string is: both are strings
 * with a mark in front, since jansson has no type for all numbers. Only this module knows the mark.
 * Objects have their keys in the order of their bytes. There are at most JSON_DEPTH_MAX levels.
 */

/*
 * Parses one value of any type. Of duplicate keys the last counts; keys with NULs are refused, as
 * jansson has none. Messages about the text begin with `fault`, as those of json_doc_load. The
 * caller releases *document with json_decref.
 */
MUST_CHECK int mmds_json_load(const char *text, size_t len, const char *fault, json_t **document,
			      struct error *err);

/* Puts the keys of an object in order again after a change; -1: memory is short. */
MUST_CHECK int mmds_json_sort(json_t *object);

/*
 * Writes `value`, a document or a part of one, as compact JSON without a NUL; returns its length.
 * `to` NULL: only the length. Allocates nothing.
 */
size_t mmds_json_print(json_t *value, char *to);

/* The text of a string, of *len bytes, which the document owns; NULL: `value` is none. */
const char *mmds_json_string(const json_t *value, size_t *len);

#endif
