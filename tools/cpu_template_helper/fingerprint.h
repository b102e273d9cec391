/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints: what a guest's processor depends on beside the hardware. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_FINGERPRINT_H
#define TOOLS_CPU_TEMPLATE_HELPER_FINGERPRINT_H

#include <jansson.h>
#include <stdio.h>

#include "tools/cpu_template_helper/compare.h"
#include "tools/cpu_template_helper/fingerprint_names.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"

struct fingerprint {
	const char *texts[FINGERPRINT_TEXTS]; /* of the document */
	struct dump *guest;		      /* the caller's */
};

/*
 * A fingerprint of this host, NULL: out of memory. What the host does not say is "unknown", with a
 * note on `notes`. `guest` stays the caller's.
 */
json_t *fingerprint_of_host(json_t *guest, FILE *notes);

/* Reads the texts of a fingerprint from *doc, which outlives it. */
MUST_CHECK int fingerprint_read(const struct json_doc *doc, struct fingerprint *fingerprint,
				struct error *err);

/*
 * Prints the fields in which they differ, of those named in `filters` (NULL at its end; none: all),
 * below a line that says so, and returns how many. The guests are stripped if they differ.
 */
size_t fingerprint_compare(struct fingerprint *prev, struct fingerprint *curr,
			   const char *const *filters, FILE *out);

#endif
