/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as clients of Firecracker know them [compat]: texts, and log lines too. */
#include "api/reply.h"

#include <string.h>

#include "vmm/base/json.h"
#include "vmm/base/log.h"

/* If there is no memory for the text, only the status is sent. */
static void set_body(struct http_response *response, unsigned status, char *text)
{
	response->status = text != NULL ? status : 500;
	response->body = text;
	response->body_len = text != NULL ? strlen(text) : 0;
}

void reply_success(struct http_response *response, const json_t *object)
{
	if (object == NULL) {
		response->status = 204;
		log_info("The request was executed successfully. Status code: 204 No Content.");
		return;
	}
	set_body(response, 200, json_to_text(object));
	log_info("The request was executed successfully. Status code: 200 OK.");
}

void reply_text(struct http_response *response, char *text, size_t len, const char *type)
{
	response->status = 200;
	response->body = text;
	response->body_len = len;
	response->content_type = type;
	log_info("The request was executed successfully. Status code: 200 OK.");
}

void reply_fault(struct http_response *response, const struct error *err)
{
	json_t *message = json_string(err->msg);
	bool is_too_large = err->kind == ERR_NO_ROOM;

	log_error("Received Error. Status code: %s. Message: %s",
		  is_too_large ? "413 Payload too large" : "400 Bad Request", err->msg);
	if (message == NULL) {
		/* Not UTF-8: a path, or a sentence that was cut within a character. */
		char text[ERROR_MSG_LEN];

		memcpy(text, err->msg, sizeof(text));
		for (char *c = text; *c != '\0'; c++) {
			if ((unsigned char)*c >= 0x80) {
				*c = '?';
			}
		}
		message = json_string(text);
	}

	json_t *object = json_pack("{s:o}", "fault_message", message);

	set_body(response, is_too_large ? 413 : 400, object != NULL ? json_to_text(object) : NULL);
	json_decref(object);
}
