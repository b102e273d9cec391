/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request of HTTP/1.x ends, in bytes that may hold less than one, or several. Pure. */
#ifndef DEVICES_MMDS_FRAMING_H
#define DEVICES_MMDS_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/attr.h"

/*
 * Returns the length of the first request in `data`, with its body, or 0 if it is not complete. The
 * head ends at the first empty line; lines end in LF or CRLF. A body is as long as Content-Length
 * says; a request with a value that is no number has no body here, and is bad to whoever reads it.
 *
 * A request longer than `max` whose head is there is returned without its body: *is_cut is true.
 */
MUST_CHECK size_t mmds_request_len(const char *data, size_t len, size_t max, bool *is_cut);

#endif
