/* SPDX-License-Identifier: Apache-2.0 */
/* The two kinds of answers: what was asked for, and why not. */
#ifndef API_REPLY_H
#define API_REPLY_H

#include <jansson.h>

#include "vmm/base/error.h"
#include "vmm/base/http.h"

/* 200 with `object` as its compact text, or 204 if that is NULL. Logs the success. */
void reply_success(struct http_response *response, const json_t *object);

/* 200 with `text` (a heap block, which passes to the response). Logs the success. */
void reply_text(struct http_response *response, char *text, size_t len, const char *type);

/* 400 with the sentence as fault_message. Logs it. */
void reply_fault(struct http_response *response, const struct error *err);

#endif
